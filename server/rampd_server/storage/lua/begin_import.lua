-- Purpose: begins an import into an empty namespace, or takes over an import that has not ended.
--
-- KEYS[1]  meta        hash
-- KEYS[2]  components  zset
-- KEYS[3]  deleted     zset
-- KEYS[4]  feed        stream
-- KEYS[5]  history     stream
--
-- ARGV[1]  digest     of the content
-- ARGV[2]  nonce      of this attempt
-- ARGV[3]  takes_any  1 to take over any import, and to begin none
--
-- Returns: {DONE} | {UNCHANGED} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {NOT_EMPTY} | {IMPORTING, digest}
--
-- Why atomic: no server writes into a namespace after it was found empty, because a namespace without an epoch refuses all writes.

local refusal = refuse_types(meta, 'hash', components, 'zset', deleted, 'zset', feed, 'stream', history, 'stream')
  or refuse_schema(redis.call('HGET', meta, 'schema'))
if refusal then
  return refusal
end
local found = redis.call('HGET', meta, 'import')
if found then
  local digest_found = string.match(found, '^%S*')
  if takes_any ~= '1' and digest_found ~= digest then
    return {IMPORTING, digest_found}
  end
elseif takes_any == '1' then
  return {UNCHANGED}
elseif redis.call('EXISTS', components, deleted, feed, history) > 0 then
  return {NOT_EMPTY}
end
redis.call('HSET', meta, 'schema', SCHEMA, 'import', digest .. ' ' .. nonce)
redis.call('HDEL', meta, 'epoch', 'head', 'adopted_ms', 'freeze', 'imported')
return {DONE}
