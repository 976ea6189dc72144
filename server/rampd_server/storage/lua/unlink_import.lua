-- Purpose: removes keys that an earlier attempt of an import has left, or all keys of an import that is discarded.
--
-- KEYS[1]  meta  hash
--
-- ARGV[1]    mark   of the import
-- ARGV[2..]  names  of the keys to remove, which have the hash tag of `meta`
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NOT_IMPORTING}
--
-- Why atomic: nothing is removed for an import that another one has taken over, because the other one may have written it.

local refusal = refuse_types(meta, 'hash') or refuse_import(meta, mark)
if refusal then
  return refusal
end
redis.call('UNLINK', unpack(names))
return {DONE}
