-- Purpose: writes a component's change as its next revision: state, history, feed and idempotency record.
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
-- ARGV[2]     schema          in whose form the change is
-- ARGV[3]     digest          of the request
-- ARGV[4]     nonce           of this attempt
-- ARGV[5]     life_ms         of the idempotency record
-- ARGV[6]     dry_run         1 if nothing is to be written
-- ARGV[7]     max_entries     of the feed
-- ARGV[8]     max_bytes       of the feed
-- ARGV[9]     component
-- ARGV[10]    state_entry     of the last change of the rollout itself that the server knows, empty for none
-- ARGV[11]    last_entry      of the last change, overrides included, that the server knows; empty for any
-- ARGV[12]    freeze          of the namespace, as the server knows it; empty for none
-- ARGV[13]    patch_json
-- ARGV[14]    result          release, position, disposition
-- ARGV[15]    decided_ms      when the change was decided; empty if that does not matter
-- ARGV[16]    revision_floor  the new revision must be higher
-- ARGV[17]    is_urgent       1 if other changes have to wait for this one
-- ARGV[18..]  event           fields of the event, name and text in turn
--
-- Returns: {DONE, entry id, id before, revision, the component's entry before} | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--   | {NEWER_SCHEMA, schema found} | {RESET, epoch found} | {REPLAYED, record} | {REUSED, record}
--   | {CONFLICT, revision found} | {UNTIMELY, ms since 1970} | {TOO_MANY_COMPONENTS, most}
--
-- Why atomic: a reader sees all of a revision or nothing. If two writers start from the same state, the second one changes
-- nothing. A state is named by its entry and not by its revision, because two histories may use the same revision. A change of
-- overrides also takes a revision, but no decision depends on it. If an urgent change conflicts with another change, all changes
-- that are not urgent conflict for a moment (`yield_until`). Otherwise the urgent change could lose again and again.

local revision_floor, is_urgent, is_dry_run = tonumber(revision_floor), is_urgent == '1', dry_run == '1'
local hashes = {
  rollout = rollout, releases = releases, attributes = attributes, quarantine = quarantine, timeline = timeline
}

-- The other keys are only replaced or removed as a whole, which works with any type.
local refusal = refuse_types(
  meta, 'hash', feed, 'stream', feed_bytes, 'string', request, 'string', components, 'zset', deleted, 'zset',
  history, 'stream', rollout, 'hash', releases, 'hash', attributes, 'hash', quarantine, 'hash', timeline, 'hash'
) or refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end
local found = redis.call('HMGET', rollout, 'revision', 'state_entry', 'entry', 'yield_until')
local revision_found, yield_until = found[1] or '0', found[4]
local now = now_ms()
if (found[2] or '') ~= state_entry or (redis.call('HGET', meta, 'freeze') or '') ~= freeze then
  if is_urgent and not is_dry_run and found[2] then
    redis.call('HSET', rollout, 'yield_until', string.format('%.0f', now + YIELD_MS))
  end
  return {CONFLICT, revision_found}
end
if is_other_schema(meta, schema) then
  return {CONFLICT, revision_found}
end
if yield_until and not is_urgent then
  local left_ms = (tonumber(yield_until) or 0) - now
  if left_ms > 0 and left_ms <= YIELD_MS then
    return {CONFLICT, revision_found}
  end
end
if last_entry ~= '' and found[3] ~= last_entry then
  return {CONFLICT, revision_found}
end
if not is_count(revision_found) then
  return {MALFORMED, rollout, 'revision'}
end
if is_untimely(now, decided_ms) then
  return {UNTIMELY, now}
end
local revision = next_revision(math.max(tonumber(revision_found), revision_floor))
local patch = cjson.decode(patch_json)
if not patch.delete and not redis.call('ZSCORE', components, component) then
  if redis.call('ZCARD', components) >= MAX_COMPONENTS then
    return {TOO_MANY_COMPONENTS, MAX_COMPONENTS}
  end
end
if is_dry_run then
  local id, previous = next_entry(meta, now, nonce)
  return {DONE, id, previous, revision, found[3] or ''}
end

if patch.delete then
  redis.call(
    'UNLINK', rollout, queue, releases, attributes, quarantine, timeline, overrides, overrides_index, overrides_expiry,
    overrides_origin
  )
  redis.call('ZREM', components, component)
elseif redis.call('ZADD', components, 0, component) == 1 then
  redis.call('ZREM', deleted, component)
end
for section, key in pairs(hashes) do
  local change = patch[section]
  if change then
    call_in_chunks('HSET', key, change.set or {})
    call_in_chunks('HDEL', key, change.del or {})
  end
end
if patch.queue then
  redis.call('DEL', queue)
  call_in_chunks('RPUSH', queue, patch.queue)
end
if patch.assignment then
  redis.call('HSET', timeline, revision, patch.assignment)
end
if patch.is_new_current then
  redis.call('HSET', rollout, 'current_revision', revision)
end
local fields = {'component', component, 'revision', revision, 'base', found[3] or '', 'patch', patch_json}
if patch.delete then
  fields[#fields + 1] = 'deleted'
  fields[#fields + 1] = '1'
end
local id, previous = append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
redis.call('HSET', rollout, 'revision', revision, 'entry', id, 'state_entry', id)
if patch.delete then
  note_deletion(deleted, component, id)
end
if yield_until then
  redis.call('HDEL', rollout, 'yield_until')
end
append_history(history, id, revision, now, event)
remember(request, life_ms, digest, nonce, id, revision, '1', result)
return {DONE, id, previous, revision, found[3] or ''}
