-- Purpose: changes the freeze of the namespace, which holds for all its components.
--
-- KEYS[1]  meta        hash
-- KEYS[2]  feed        stream
-- KEYS[3]  feed-bytes  string
-- KEYS[4]  request     string
-- KEYS[5]  history     stream
--
-- ARGV[1]     epoch          that the server knows
-- ARGV[2]     schema         in whose form the change is
-- ARGV[3]     digest         of the request
-- ARGV[4]     nonce          of this attempt
-- ARGV[5]     life_ms        of the idempotency record
-- ARGV[6]     dry_run        1 if nothing is to be written
-- ARGV[7]     max_entries    of the feed
-- ARGV[8]     max_bytes      of the feed
-- ARGV[9]     freeze_before  that the server knows, empty for none
-- ARGV[10]    freeze         after, empty for none
-- ARGV[11]    namespace      after, JSON
-- ARGV[12]    result         release, position, disposition
-- ARGV[13]    decided_ms     when the change was decided; empty if that does not matter
-- ARGV[14..]  event          fields of the event, name and text in turn
--
-- Returns: {DONE, entry id, id before} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--   | {REPLAYED, record} | {REUSED, record} | {CONFLICT, revision} | {UNTIMELY, ms since 1970}
--
-- Why atomic: each commit of a rollout names the freeze that was in force when it was decided.

local refusal = refuse_types(
  meta, 'hash', feed, 'stream', feed_bytes, 'string', request, 'string', history, 'stream'
) or refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end
if (redis.call('HGET', meta, 'freeze') or '') ~= freeze_before or is_other_schema(meta, schema) then
  return {CONFLICT, '0'}
end
local now = now_ms()
if is_untimely(now, decided_ms) then
  return {UNTIMELY, now}
end
if dry_run == '1' then
  return {DONE, next_entry(meta, now, nonce)}
end

if freeze == '' then
  redis.call('HDEL', meta, 'freeze')
else
  redis.call('HSET', meta, 'freeze', freeze)
end
local fields = {'namespace', namespace}
local id, previous = append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
append_history(history, id, '0', now, event)
remember(request, life_ms, digest, nonce, id, '0', '1', result)
return {DONE, id, previous}
