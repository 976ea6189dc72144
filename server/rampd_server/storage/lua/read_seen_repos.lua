-- Purpose: reads the repos of a component that were seen in the last day, and the depth of the sample.
--
-- KEYS[1] seen-repos   zset
-- KEYS[2] seen-depths  hash
--
-- ARGV[1]  epoch  that the server knows
--
-- Returns: {DONE, depth, repos with their depths} | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--
-- Why atomic: the sample and its depth belong together. The script writes nothing, because reads have to work while memory is full.

local refusal = refuse_types(seen_repos, 'zset', seen_depths, 'hash')
if refusal then
  return refusal
end
if redis.call('HGET', seen_depths, 'epoch') ~= epoch then
  return {DONE, 0, {}}
end
local now = tonumber(now_ms())
local hour, depth = now - now % HOUR_MS, 0
local flat = redis.call('HGETALL', seen_depths)
for i = 1, #flat, 2 do
  local field, value = flat[i], flat[i + 1]
  if field ~= 'epoch' then
    if not (is_count(field) and is_count(value)) then
      return {MALFORMED, seen_depths, field}
    end
    if math.abs(tonumber(field) - hour) <= SEEN_MS then
      depth = math.max(depth, tonumber(value))
    end
  end
end
local after, before = string.format('(%.0f', now - SEEN_MS), string.format('(%.0f', now + SEEN_MS)
return {DONE, depth, redis.call('ZRANGEBYSCORE', seen_repos, after, before)}
