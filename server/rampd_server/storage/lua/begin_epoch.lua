-- Purpose: gives a namespace its epoch: the first one, or by an operator's choice a new one.
--
-- KEYS[1]  meta  hash
-- KEYS[2]  feed  stream
--
-- ARGV[1]  the new epoch
-- ARGV[2]  schema
-- ARGV[3]  1 if an operator adopts what is there, 0 if only a missing epoch is to be made
--
-- Returns: {DONE, epoch in force} | {WRONG_TYPE, key} | {NEWER_SCHEMA, schema found}
--
-- Why atomic: of two servers that start at once both get the same epoch.

local meta, feed = KEYS[1], KEYS[2]
local epoch, schema, adopted = ARGV[1], ARGV[2], ARGV[3]

local wrong = find_wrong_type(meta, 'hash', feed, 'stream')
if wrong then
  return {WRONG_TYPE, wrong}
end
local found = redis.call('HMGET', meta, 'epoch', 'schema')
local epoch_found = found[1]
local refusal = refuse_schema(found[2])
if refusal then
  return refusal
end
if epoch_found and adopted ~= '1' then
  return {DONE, epoch_found}
end

local newest = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
redis.call('HSET', meta, 'schema', schema, 'epoch', epoch, 'head', newest and newest[1] or '0-0')
if adopted == '1' then
  redis.call('HSET', meta, 'adopted_ms', now_ms())
else
  redis.call('HDEL', meta, 'adopted_ms')
end
return {DONE, epoch}
