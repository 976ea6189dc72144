-- Purpose: says that the data of a namespace have the form of this server from now on, so that an older one writes nothing.
--
-- KEYS[1]  meta  hash
--
-- ARGV[1]  schema
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found}
--
-- Why atomic: a schema is never lowered, and none is given to a namespace that has no epoch.

local refusal = refuse_types(meta, 'hash') or refuse_schema(redis.call('HGET', meta, 'schema'))
if refusal then
  return refusal
end
if redis.call('HGET', meta, 'epoch') then
  redis.call('HSET', meta, 'schema', schema)
end
return {DONE}
