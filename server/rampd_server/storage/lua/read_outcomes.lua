-- Purpose: reads the counters of a component's outcomes, and the outcomes whose wait is over and that no batch has moved yet.
--
-- KEYS[1] outcomes          hash
-- KEYS[2] waiting-outcomes  zset
-- KEYS[3] waiting-failures  zset
--
-- Returns: {DONE, outcomes, matured outcomes, matured failures} | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--
-- Why atomic: an outcome that a batch moves from waiting to counted is seen only once. The script writes nothing, because reads
-- have to work while memory is full.

local refusal = refuse_types(outcomes, 'hash', waiting_outcomes, 'zset', waiting_failures, 'zset')
if refusal then
  return refusal
end
local now = tonumber(now_ms())
local longest_wait = redis.call('HGET', outcomes, 'longest_wait') or '0'
if not is_count(longest_wait) then
  return {MALFORMED, outcomes, 'longest_wait'}
end

return {
  DONE,
  redis.call('HGETALL', outcomes),
  find_matured(waiting_outcomes, now, longest_wait, redis.call('ZCARD', waiting_outcomes)),
  find_matured(waiting_failures, now, longest_wait, redis.call('ZCARD', waiting_failures)),
}
