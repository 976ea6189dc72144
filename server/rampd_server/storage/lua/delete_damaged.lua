-- Purpose: deletes a component whose data can't be read, whatever its keys hold, and keeps the highest numbers that are found.
--
-- KEYS[1]  meta              hash
-- KEYS[2]  feed              stream
-- KEYS[3]  feed-bytes        string
-- KEYS[4]  request           string
-- KEYS[5]  components        zset
-- KEYS[6]  history           stream
-- KEYS[7]  rollout           hash
-- KEYS[8]  queue             list
-- KEYS[9]  releases          hash
-- KEYS[10] attributes        hash
-- KEYS[11] quarantine        hash
-- KEYS[12] timeline          hash
-- KEYS[13] overrides         hash
-- KEYS[14] overrides-index   zset
-- KEYS[15] overrides-expiry  zset
--
-- ARGV[1]  epoch believed in
-- ARGV[2]  digest of the request
-- ARGV[3]  nonce of this attempt
-- ARGV[4]  life of the idempotency record, ms
-- ARGV[5]  most entries of the feed
-- ARGV[6]  most bytes of the feed
-- ARGV[7]  component
-- ARGV[8]  lowest that its revision may have been
-- ARGV[9]  lowest that its last release may have been
-- ARGV[10] result: release, position, disposition
-- ARGV[11..] fields of the history entry, name and value in turn
--
-- Returns: {DONE, entry id, id before, revision, last release, the component's entry before} | {WRONG_TYPE, {key, types}}
--   | {NEWER_SCHEMA, schema found} | {RESET, epoch found} | {REPLAYED, record} | {REUSED, record}
--
-- Why atomic: a reader sees the damaged component or none, and no writer comes between the numbers and the deletion.

local meta, feed, feed_bytes, request, components, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local rollout, queue, releases, attributes, quarantine = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local timeline, overrides, overrides_index, overrides_expiry = KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local epoch, digest, nonce, life_ms, max_entries, max_bytes = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local component, revision, last_number, result = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]

-- The component's own keys may be of any type.
local wrong = find_wrong_type(
  meta, 'hash', feed, 'stream', feed_bytes, 'string', request, 'string', components, 'zset'
)
if wrong then
  return {WRONG_TYPE, wrong}
end
local refusal = refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end

local function larger(number, text)
  return text and is_count(text) and math.max(number, tonumber(text)) or number
end
local base = ''
if not find_wrong_type(rollout, 'hash') then
  base = redis.call('HGET', rollout, 'entry') or ''
  revision = larger(revision, redis.call('HGET', rollout, 'revision'))
  last_number = larger(last_number, redis.call('HGET', rollout, 'last_number'))
end
if not find_wrong_type(releases, 'hash') then
  for _, number in ipairs(redis.call('HKEYS', releases)) do
    last_number = larger(last_number, number)
  end
end
if find_wrong_type(history, 'stream') then
  redis.call('UNLINK', history)
end
local newest = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1] or {'', {}}
for i = 1, #newest[2], 2 do
  if newest[2][i] == 'revision' then
    revision = larger(revision, newest[2][i + 1])
  end
end
revision, last_number = next_revision(revision), string.format('%.0f', last_number)

redis.call(
  'UNLINK', rollout, queue, releases, attributes, quarantine, timeline, overrides, overrides_index, overrides_expiry
)
redis.call('ZREM', components, component)
local now = now_ms()
local patch = string.format('{"delete":true,"rollout":{"set":["last_number","%s","deleted","1"]}}', last_number)
local fields = {'component', component, 'revision', revision, 'base', base, 'patch', patch, 'deleted', '1'}
local id, previous = append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
redis.call(
  'HSET', rollout, 'last_number', last_number, 'deleted', '1', 'revision', revision, 'entry', id, 'state_entry', id
)
append_history(history, id, revision, now, {unpack(ARGV, 11)})
remember(request, life_ms, digest, nonce, id, revision, '1', result)
return {DONE, id, previous, revision, last_number, base}
