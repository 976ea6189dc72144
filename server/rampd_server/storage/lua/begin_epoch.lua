-- Purpose: gives a namespace its first epoch, or a new one if an operator adopts the store.
--
-- KEYS[1]  meta  hash
-- KEYS[2]  feed  stream
--
-- ARGV[1]  epoch     to set
-- ARGV[2]  schema    of a namespace that has none yet
-- ARGV[3]  earliest  schema that data may keep
-- ARGV[4]  adopted   1 if an operator adopts the data, 0 to set only a missing epoch
--
-- Returns: {DONE, epoch in force} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {IMPORTING, digest}
--
-- Why atomic: two servers that start at once get the same epoch.

local refusal = refuse_types(meta, 'hash', feed, 'stream') or refuse_schema(redis.call('HGET', meta, 'schema'))
if refusal then
  return refusal
end
local import = redis.call('HGET', meta, 'import')
if import then
  return {IMPORTING, string.match(import, '^%S*')}
end
local epoch_found = redis.call('HGET', meta, 'epoch')
if epoch_found and adopted ~= '1' then
  return {DONE, epoch_found}
end

local newest = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
local schema_kept = math.max(tonumber(redis.call('HGET', meta, 'schema') or schema), tonumber(earliest))
redis.call('HSET', meta, 'schema', schema_kept, 'epoch', epoch, 'head', newest and newest[1] or '0-0')
if adopted == '1' then
  redis.call('HSET', meta, 'adopted_ms', now_ms())
else
  redis.call('HDEL', meta, 'adopted_ms')
end
return {DONE, epoch}
