-- Purpose: reads a component as it is at one moment, without its history, and whether it has overrides.
--
-- KEYS[1]   meta              hash
-- KEYS[2]   rollout           hash
-- KEYS[3]   queue             list
-- KEYS[4]   releases          hash
-- KEYS[5]   attributes        hash
-- KEYS[6]   quarantine        hash
-- KEYS[7]   timeline          hash
-- KEYS[8]   components        zset
-- KEYS[9]   overrides         hash
-- KEYS[10]  overrides-index   zset
-- KEYS[11]  overrides-expiry  zset
--
-- ARGV[1]  component
--
-- Returns: {DONE, {epoch, freeze, head, schema}, TIME, 1 if `components` names a component without data, number of keys with
--   overrides, rollout, queue, releases, attributes, quarantine, timeline} | {WRONG_TYPE, {key, types}}
--
-- Why atomic: the answer has the state of one moment. It is a script, because a Redis with full memory refuses MULTI, and reads
-- have to work then.

local refusal = refuse_types(
  meta, 'hash', rollout, 'hash', queue, 'list', releases, 'hash',
  attributes, 'hash', quarantine, 'hash', timeline, 'hash'
)
if refusal then
  return refusal
end

local fields = redis.call('HGETALL', rollout)
local listed = 0
if not redis.call('HGET', rollout, 'current') and not refuse_types(components, 'zset') then
  listed = #redis.call('ZRANGEBYLEX', components, '[' .. component, '[' .. component)
end
local reply = {
  DONE,
  redis.call('HMGET', meta, 'epoch', 'freeze', 'head', 'schema'),
  redis.call('TIME'),
  listed,
  redis.call('EXISTS', overrides, overrides_index, overrides_expiry),
  fields,
  redis.call('LRANGE', queue, 0, -1),
}
for _, key in ipairs({releases, attributes, quarantine, timeline}) do
  reply[#reply + 1] = redis.call('HGETALL', key)
end
return reply
