-- Purpose: removes overrides that expired a while ago, a limited number at a time.
--
-- KEYS[1]  meta              hash
-- KEYS[2]  feed              stream
-- KEYS[3]  feed-bytes        string
-- KEYS[4]  overrides         hash
-- KEYS[5]  overrides-index   zset
-- KEYS[6]  overrides-expiry  zset
-- KEYS[7]  overrides-origin  hash
-- KEYS[8]  rollout           hash
--
-- ARGV[1]  epoch        that the server knows
-- ARGV[2]  max_entries  of the feed
-- ARGV[3]  max_bytes    of the feed
-- ARGV[4]  component
-- ARGV[5]  most         overrides to remove in this call
-- ARGV[6]  nonce        of this attempt
--
-- Returns: {DONE, number removed} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--
-- Why atomic: hash, index and expiry have the same overrides, and the feed has those that were removed. A sweep is not a
-- revision, because expired overrides have no effect already.

local refusal = refuse_types(
  meta, 'hash', feed, 'stream', feed_bytes, 'string',
  overrides, 'hash', overrides_index, 'zset', overrides_expiry, 'zset', overrides_origin, 'hash',
  rollout, 'hash'
) or refuse_store(meta, epoch)
if refusal then
  return refusal
end
local now = now_ms()
local latest = string.format('%.0f', now - SWEEP_AFTER_MS)
local expired = redis.call('ZRANGEBYSCORE', overrides_expiry, '-inf', latest, 'LIMIT', 0, most)
if #expired == 0 then
  return {DONE, 0}
end

local removed = 0
for _, count in ipairs(call_in_chunks('HDEL', overrides, expired)) do
  removed = removed + count
end
count_by(rollout, -removed, overrides)
call_in_chunks('ZREM', overrides_index, expired)
call_in_chunks('ZREM', overrides_expiry, expired)
call_in_chunks('HDEL', overrides_origin, expired)
local fields = {'component', component, 'expired', table.concat(expired, ' ')}
append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
return {DONE, #expired}
