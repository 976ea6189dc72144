-- Purpose: writes the idempotency record of a request that succeeded and changed nothing.
--
-- KEYS[1]  meta     hash
-- KEYS[2]  request  string
--
-- ARGV[1]  epoch believed in
-- ARGV[2]  digest of the request
-- ARGV[3]  nonce of this attempt
-- ARGV[4]  life of the idempotency record, ms
-- ARGV[5]  revision
-- ARGV[6]  result: release, position, disposition
--
-- Returns: {DONE, entry id} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--   | {REPLAYED, record} | {REUSED, record}
--
-- Why atomic: of two requests with one id, one is the first.

local meta, request = KEYS[1], KEYS[2]
local epoch, digest, nonce, life_ms, revision, result = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local wrong = find_wrong_type(meta, 'hash', request, 'string')
if wrong then
  return {WRONG_TYPE, wrong}
end
local refusal = refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end

remember(request, life_ms, digest, nonce, '0-0', revision, '0', result)
return {DONE, '0-0'}
