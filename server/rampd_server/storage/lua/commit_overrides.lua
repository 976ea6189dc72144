-- Purpose: sets and deletes overrides of a component as its next revision, all of them or none.
--
-- KEYS[1]  meta              hash
-- KEYS[2]  feed              stream
-- KEYS[3]  feed-bytes        string
-- KEYS[4]  request           string
-- KEYS[5]  history           stream
-- KEYS[6]  rollout           hash
-- KEYS[7]  overrides         hash
-- KEYS[8]  overrides-index   zset
-- KEYS[9]  overrides-expiry  zset
-- KEYS[10] overrides-origin  hash
--
-- ARGV[1]     epoch              that the server knows
-- ARGV[2]     schema             in whose form the change is
-- ARGV[3]     digest             of the request
-- ARGV[4]     nonce              of this attempt
-- ARGV[5]     life_ms            of the idempotency record
-- ARGV[6]     dry_run            1 if nothing is to be written
-- ARGV[7]     max_entries        of the feed
-- ARGV[8]     max_bytes          of the feed
-- ARGV[9]     component
-- ARGV[10]    expected_revision  of the caller, empty for any
-- ARGV[11]    known_revision     that the server knows, 0 for none
-- ARGV[12]    known_entry        of that revision, empty for any
-- ARGV[13]    must_exist         1 if each override to delete must exist
-- ARGV[14]    changes_json       repo to text, empty to delete
-- ARGV[15]    single             the repo if the request names one, empty if it is a bulk change
-- ARGV[16]    is_own_id          1 if the request id is the caller's own
-- ARGV[17]    result             release, position, disposition
-- ARGV[18..]  event              fields of the event, name and text in turn
--
-- Returns: {DONE, entry id, id before, revision, the component's entry before, ms} | {UNCHANGED, revision}
--   | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--   | {NEWER_SCHEMA, schema found} | {RESET, epoch found} | {REPLAYED, record} | {REUSED, record} | {NO_COMPONENT}
--   | {REVISION_MISMATCH, revision found} | {CONFLICT, revision found} | {NO_OVERRIDE, repo} | {TOO_MANY_OVERRIDES, most}
--
-- Why atomic: hash, index and expiry have the same overrides, and each revision has one entry in the feed. If the store has lost
-- a revision that the server knows, nothing is written until the loss is settled. Otherwise a revision would be given twice.

local known_revision = tonumber(known_revision)
local must_exist, is_own_id, is_dry_run = must_exist == '1', is_own_id == '1', dry_run == '1'

local refusal = refuse_types(
  meta, 'hash', feed, 'stream', feed_bytes, 'string', request, 'string', history, 'stream', rollout, 'hash',
  overrides, 'hash', overrides_index, 'zset', overrides_expiry, 'zset', overrides_origin, 'hash'
) or refuse(meta, epoch, request, digest)
if refusal then
  return refusal
end
local found = redis.call('HMGET', rollout, 'revision', 'current', 'entry')
local revision_found, current, entry_found = found[1], found[2], found[3]
if not current then
  return {NO_COMPONENT}
end
if not revision_found or not is_count(revision_found) then
  return {MALFORMED, rollout, 'revision'}
end
local ahead = tonumber(revision_found) - known_revision
if ahead < 0 or (ahead == 0 and known_entry ~= '' and known_entry ~= entry_found) or is_other_schema(meta, schema) then
  return {CONFLICT, revision_found}
end
if expected_revision ~= '' and expected_revision ~= revision_found then
  return {REVISION_MISMATCH, revision_found}
end

local changes = cjson.decode(changes_json)
local now = now_ms()
local repos, before = {}, {}
for repo in pairs(changes) do
  repos[#repos + 1] = repo
end
for chunk, values in ipairs(call_in_chunks('HMGET', overrides, repos)) do
  for i, value in ipairs(values) do
    before[repos[(chunk - 1) * 1000 + i]] = value
  end
end
local set, indexed, expiring, deleted, unexpiring, count = {}, {}, {}, {}, {}, 0
for _, repo in ipairs(repos) do
  local old, new = before[repo] or '', changes[repo]
  local old_expiry, new_expiry = string.match(old, ' expire=(%d+)$'), string.match(new, ' expire=(%d+)$')
  local is_gone = old == '' or (old_expiry and tonumber(old_expiry) <= tonumber(now))
  if must_exist and new == '' and is_gone then
    return {NO_OVERRIDE, repo}
  end
  if old ~= new then
    count = count + 1
    if new == '' then
      deleted[#deleted + 1] = repo
    else
      set[#set + 1] = repo
      set[#set + 1] = new
      if old == '' then
        indexed[#indexed + 1] = 0
        indexed[#indexed + 1] = repo
      end
    end
    if new_expiry then
      expiring[#expiring + 1] = new_expiry
      expiring[#expiring + 1] = repo
    elseif old_expiry then
      unexpiring[#unexpiring + 1] = repo
    end
  end
end
if count == 0 then
  if is_own_id and not is_dry_run then
    remember(request, life_ms, digest, nonce, '0-0', revision_found, '0', result)
  end
  return {UNCHANGED, revision_found}
end

local more = #indexed / 2 - #deleted
if more > 0 and redis.call('HLEN', overrides) + more > MAX_OVERRIDES then
  return {TOO_MANY_OVERRIDES, MAX_OVERRIDES}
end
local revision = next_revision(revision_found)
if is_dry_run then
  local id, previous = next_entry(meta, now, nonce)
  return {DONE, id, previous, revision, entry_found or '', now}
end

call_in_chunks('HSET', overrides, set)
call_in_chunks('ZADD', overrides_index, indexed)
call_in_chunks('ZADD', overrides_expiry, expiring)
call_in_chunks('HDEL', overrides, deleted)
call_in_chunks('ZREM', overrides_index, deleted)
call_in_chunks('ZREM', overrides_expiry, unexpiring)
call_in_chunks('HDEL', overrides_origin, deleted)
count_by(rollout, #indexed / 2 - #deleted, overrides)
local changed = {'count', tostring(count)}
if single ~= '' then
  changed = {'override', single, 'before', before[single] or '', 'after', changes[single]}
end
for _, text in ipairs(changed) do
  event[#event + 1] = text
end
local patch = string.format('{"rollout":{"set":["update_ms","%s"]}}', now)
local fields = {
  'component', component, 'revision', revision, 'base', entry_found or '', 'patch', patch, 'overrides', changes_json
}
local id, previous = append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
redis.call('HSET', rollout, 'revision', revision, 'entry', id, 'update_ms', now)
local origin, origins = append_history(history, id, revision, now, event), {}
for i = 1, #set, 2 do
  origins[i], origins[i + 1] = set[i], origin
end
call_in_chunks('HSET', overrides_origin, origins)
remember(request, life_ms, digest, nonce, id, revision, '1', result)
return {DONE, id, previous, revision, entry_found or '', now}
