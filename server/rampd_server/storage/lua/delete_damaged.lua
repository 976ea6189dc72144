-- Purpose: deletes a component whose data can't be read, whatever its keys hold, and keeps the highest numbers it finds.
--
-- KEYS[1]  meta              hash
-- KEYS[2]  feed              stream
-- KEYS[3]  feed-bytes        string
-- KEYS[4]  request           string
-- KEYS[5]  components        zset
-- KEYS[6]  deleted           zset
-- KEYS[7]  history           stream
-- KEYS[8]  rollout           hash
-- KEYS[9]  queue             list
-- KEYS[10] releases          hash
-- KEYS[11] attributes        hash
-- KEYS[12] quarantine        hash
-- KEYS[13] timeline          hash
-- KEYS[14] overrides         hash
-- KEYS[15] overrides-index   zset
-- KEYS[16] overrides-expiry  zset
-- KEYS[17] overrides-origin  hash
--
-- ARGV[1]     epoch           that the server knows
-- ARGV[2]     digest          of the request
-- ARGV[3]     nonce           of this attempt
-- ARGV[4]     life_ms         of the idempotency record
-- ARGV[5]     dry_run         1 if nothing is to be written
-- ARGV[6]     max_entries     of the feed
-- ARGV[7]     max_bytes       of the feed
-- ARGV[8]     component
-- ARGV[9]     revision_floor  the lowest possible value of its last revision
-- ARGV[10]    number_floor    the lowest possible number of its last release
-- ARGV[11]    result          release, position, disposition
-- ARGV[12..]  event           fields of the event, name and text in turn
--
-- Returns: {DONE, entry id, id before, revision, last release, the component's entry before} | {WRONG_TYPE, {key, types}}
--   | {NEWER_SCHEMA, schema found} | {RESET, epoch found} | {REPLAYED, record} | {REUSED, record}
--
-- Why atomic: a reader sees the damaged component or no component, and nobody writes between reading the numbers and deleting.

local revision, last_number = tonumber(revision_floor), tonumber(number_floor)

-- The component's own keys may be of any type.
local refusal = refuse_types(
  meta, 'hash', feed, 'stream', feed_bytes, 'string', request, 'string', components, 'zset', deleted, 'zset'
) or refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end

local function larger(number, text)
  return text and is_count(text) and math.max(number, tonumber(text)) or number
end
local base = ''
if not refuse_types(rollout, 'hash') then
  base = redis.call('HGET', rollout, 'entry') or ''
  revision = larger(revision, redis.call('HGET', rollout, 'revision'))
  last_number = larger(last_number, redis.call('HGET', rollout, 'last_number'))
end
if not refuse_types(releases, 'hash') then
  for _, number in ipairs(redis.call('HKEYS', releases)) do
    last_number = larger(last_number, number)
  end
end
local is_history_readable = not refuse_types(history, 'stream')
local newest = is_history_readable and redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1] or {'', {}}
for i = 1, #newest[2], 2 do
  if newest[2][i] == 'revision' then
    revision = larger(revision, newest[2][i + 1])
  end
end
revision, last_number = next_revision(revision), string.format('%.0f', last_number)
local now = now_ms()
if dry_run == '1' then
  local id, previous = next_entry(meta, now, nonce)
  return {DONE, id, previous, revision, last_number, base}
end

if not is_history_readable then
  redis.call('UNLINK', history)
end
redis.call(
  'UNLINK', rollout, queue, releases, attributes, quarantine, timeline, overrides, overrides_index, overrides_expiry,
  overrides_origin
)
redis.call('ZREM', components, component)
local patch = string.format('{"delete":true,"rollout":{"set":["last_number","%s","deleted","1"]}}', last_number)
local fields = {'component', component, 'revision', revision, 'base', base, 'patch', patch, 'deleted', '1'}
local id, previous = append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
redis.call(
  'HSET', rollout, 'last_number', last_number, 'deleted', '1', 'revision', revision, 'entry', id, 'state_entry', id
)
note_deletion(deleted, component, id)
append_history(history, id, revision, now, event)
remember(request, life_ms, digest, nonce, id, revision, '1', result)
return {DONE, id, previous, revision, last_number, base}
