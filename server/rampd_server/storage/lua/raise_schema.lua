-- Purpose: raises the schema of a namespace, so that servers that do not know the new one write nothing.
--
-- KEYS[1]  meta  hash
--
-- ARGV[1]  schema
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found}
--
-- Why atomic: a schema is never lowered, and a namespace without an epoch gets no schema.

local refusal = refuse_types(meta, 'hash') or refuse_schema(redis.call('HGET', meta, 'schema'))
if refusal then
  return refusal
end
local epoch_found, schema_found = unpack(redis.call('HMGET', meta, 'epoch', 'schema'))
if epoch_found and tonumber(schema_found or 0) < tonumber(schema) then
  redis.call('HSET', meta, 'schema', schema)
end
return {DONE}
