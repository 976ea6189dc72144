-- Purpose: marks components as such whose outcomes a server is about to count, so that every server looks at them soon.
--
-- KEYS[1] meta           hash
-- KEYS[2] outcome-marks  zset
--
-- ARGV[1]    epoch       that the server knows
-- ARGV[2..]  components
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--
-- Why atomic: all marks of one call have the same time, by the store's clock. Marks that every server has seen long ago are dropped,
-- and marks of the future, which are from before the clock was set back.

local refusal = refuse_types(meta, 'hash', outcome_marks, 'zset') or refuse_store(meta, epoch)
if refusal then
  return refusal
end
local now = now_ms()
local marks = {}
for _, component in ipairs(components) do
  marks[#marks + 1] = now
  marks[#marks + 1] = component
end
call_in_chunks('ZADD', outcome_marks, marks)
local latest = string.format('%.0f', now - MARK_LIFE_MS)
call_in_chunks('ZREM', outcome_marks, redis.call('ZRANGEBYSCORE', outcome_marks, '-inf', latest))
call_in_chunks('ZREM', outcome_marks, redis.call('ZRANGEBYSCORE', outcome_marks, '(' .. now, '+inf'))
return {DONE}
