-- Purpose: writes the idempotency record of a request that succeeded and changed nothing.
--
-- KEYS[1]  meta     hash
-- KEYS[2]  request  string
--
-- ARGV[1]  epoch     that the server knows
-- ARGV[2]  digest    of the request
-- ARGV[3]  nonce     of this attempt
-- ARGV[4]  life_ms   of the idempotency record
-- ARGV[5]  dry_run   1 if nothing is to be written
-- ARGV[6]  revision
-- ARGV[7]  result    release, position, disposition
--
-- Returns: {DONE, entry id} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--   | {REPLAYED, record} | {REUSED, record}
--
-- Why atomic: if two requests have the same id, only the first is recorded.

local refusal = refuse_types(meta, 'hash', request, 'string') or refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end

if dry_run ~= '1' then
  remember(request, life_ms, digest, nonce, '0-0', revision, '0', result)
end
return {DONE, '0-0'}
