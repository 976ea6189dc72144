-- Purpose: ends an import: gives the namespace an epoch that servers follow as after an adopt, and a first entry in the feed.
--
-- KEYS[1]  meta        hash
-- KEYS[2]  feed        stream
-- KEYS[3]  feed-bytes  string
-- KEYS[4]  history     stream
--
-- ARGV[1]     mark         of the import
-- ARGV[2]     epoch        to set
-- ARGV[3]     nonce        of this attempt
-- ARGV[4]     digest       of the content
-- ARGV[5]     newest       id that the import has written: the next entry comes after it
-- ARGV[6]     max_entries  of the feed
-- ARGV[7]     max_bytes    of the feed
-- ARGV[8]     freeze       of the namespace, empty for none
-- ARGV[9]     namespace    JSON
-- ARGV[10..]  event        fields of the event, name and text in turn
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NOT_IMPORTING}
--
-- Why atomic: a server that sees the epoch sees everything.

local refusal = refuse_types(meta, 'hash', feed, 'stream', feed_bytes, 'string', history, 'stream')
if refusal then
  return refusal
end
if redis.call('HGET', meta, 'epoch') == epoch then
  return {DONE}
end
local other = refuse_import(meta, mark)
if other then
  return other
end

local now = now_ms()
redis.call('HSET', meta, 'epoch', epoch, 'adopted_ms', now, 'imported', digest, 'head', newest)
if freeze ~= '' then
  redis.call('HSET', meta, 'freeze', freeze)
end
local id = append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, {'namespace', namespace})
append_history(history, id, '0', now, event)
redis.call('HDEL', meta, 'import')
return {DONE}
