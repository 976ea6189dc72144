-- Purpose: reads the counters of a component's outcomes, and the outcomes whose wait is over and that no batch has moved yet.
--
-- KEYS[1] outcomes          hash
-- KEYS[2] waiting-outcomes  zset
-- KEYS[3] waiting-failures  zset
-- KEYS[4] next-repos        string
--
-- Returns: {DONE, outcomes, matured outcomes, matured failures, when the next one matures in ms or empty, repos of next}
--   | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--
-- Why atomic: an outcome that a batch moves from waiting to counted is seen only once. The script writes nothing, because reads
-- have to work while memory is full.

local refusal = refuse_types(outcomes, 'hash', waiting_outcomes, 'zset', waiting_failures, 'zset')
if refusal then
  return refusal
end
local counts = redis.call('HGETALL', outcomes)
-- They are for show. If they are damaged, which the next batch says, the guards go on without them.
local repos = redis.pcall('PFCOUNT', next_repos)
if type(repos) ~= 'number' then
  repos = 0
end
local matured, next_ms = {}, nil
for i, waiting in ipairs({waiting_outcomes, waiting_failures}) do
  local most = redis.call('ZCARD', waiting)
  matured[i] = {}
  if most > 0 then
    local longest_wait = redis.call('HGET', outcomes, 'longest_wait') or '0'
    if not is_count(longest_wait) then
      return {MALFORMED, outcomes, 'longest_wait'}
    end
    local now = tonumber(now_ms())
    matured[i] = find_matured(waiting, now, longest_wait, most)
    local first = redis.call('ZRANGEBYSCORE', waiting, string.format('(%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if first[2] and (not next_ms or tonumber(first[2]) < next_ms) then
      next_ms = tonumber(first[2])
    end
  end
end

return {DONE, counts, matured[1], matured[2], next_ms and string.format('%.0f', next_ms) or '', repos}
