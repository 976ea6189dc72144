-- Purpose: changes what holds for all components of the namespace: its freeze.
--
-- KEYS[1]  meta        hash
-- KEYS[2]  feed        stream
-- KEYS[3]  feed-bytes  string
-- KEYS[4]  request     string
-- KEYS[5]  history     stream
--
-- ARGV[1]  epoch believed in
-- ARGV[2]  digest of the request
-- ARGV[3]  nonce of this attempt
-- ARGV[4]  life of the idempotency record, ms
-- ARGV[5]  most entries of the feed
-- ARGV[6]  most bytes of the feed
-- ARGV[7]  freeze believed in, empty for none
-- ARGV[8]  freeze after, empty for none
-- ARGV[9]  namespace after, JSON
-- ARGV[10] result: release, position, disposition
-- ARGV[11] when this was decided, ms; empty where that does not matter
-- ARGV[12..] fields of the history entry, name and value in turn
--
-- Returns: {DONE, entry id, id before} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--   | {REPLAYED, record} | {REUSED, record} | {CONFLICT, revision} | {UNTIMELY, ms since 1970}
--
-- Why atomic: each commit of a rollout names the freeze that it was decided under.

local meta, feed, feed_bytes, request, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local epoch, digest, nonce, life_ms, max_entries, max_bytes = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local freeze_before, freeze, namespace, result, decided = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]

local wrong = find_wrong_type(
  meta, 'hash', feed, 'stream', feed_bytes, 'string', request, 'string', history, 'stream'
)
if wrong then
  return {WRONG_TYPE, wrong}
end
local refusal = refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end
if (redis.call('HGET', meta, 'freeze') or '') ~= freeze_before then
  return {CONFLICT, '0'}
end
local now = now_ms()
if is_untimely(now, decided) then
  return {UNTIMELY, now}
end

if freeze == '' then
  redis.call('HDEL', meta, 'freeze')
else
  redis.call('HSET', meta, 'freeze', freeze)
end
local fields = {'namespace', namespace}
local id, previous = append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
append_history(history, id, '0', now, {unpack(ARGV, 12)})
remember(request, life_ms, digest, nonce, id, '0', '1', result)
return {DONE, id, previous}
