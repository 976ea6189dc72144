-- Purpose: says that the data of a namespace have the form of this server from now on, so that an older one writes nothing.
--
-- KEYS[1]  meta  hash
--
-- ARGV[1]  schema
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found}
--
-- Why atomic: a schema is never lowered, and none is given to a namespace that has no epoch.

local meta = KEYS[1]
local schema = ARGV[1]

local wrong = find_wrong_type(meta, 'hash')
if wrong then
  return {WRONG_TYPE, wrong}
end
local found = redis.call('HMGET', meta, 'epoch', 'schema')
local refusal = refuse_schema(found[2])
if refusal then
  return refusal
end
if found[1] then
  redis.call('HSET', meta, 'schema', schema)
end
return {DONE}
