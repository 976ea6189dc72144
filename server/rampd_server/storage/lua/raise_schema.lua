-- Purpose: raises the schema of a namespace to this server's, so that older servers write nothing.
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
if redis.call('HGET', meta, 'epoch') then
  redis.call('HSET', meta, 'schema', schema)
end
return {DONE}
