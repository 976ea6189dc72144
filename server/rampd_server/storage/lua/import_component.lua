-- Purpose: writes a piece of a component for an import.
--
-- KEYS[1]  meta              hash
-- KEYS[2]  components        zset
-- KEYS[3]  deleted           zset
-- KEYS[4]  rollout           hash
-- KEYS[5]  queue             list
-- KEYS[6]  releases          hash
-- KEYS[7]  attributes        hash
-- KEYS[8]  quarantine        hash
-- KEYS[9]  timeline          hash
-- KEYS[10] overrides         hash
-- KEYS[11] overrides-index   zset
-- KEYS[12] overrides-expiry  zset
-- KEYS[13] overrides-origin  hash
--
-- ARGV[1]  mark        of the import
-- ARGV[2]  component
-- ARGV[3]  deleted_ms  when the component was deleted; empty if it exists
-- ARGV[4]  piece_json  section to names and values in turn (of a sorted set: scores and members); the queue is a list
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NOT_IMPORTING}
--
-- Why atomic: nothing is written for an import that another one has taken over. A piece may be written twice.

local refusal = refuse_types(
  meta, 'hash', components, 'zset', deleted, 'zset', rollout, 'hash', queue, 'list', releases, 'hash',
  attributes, 'hash', quarantine, 'hash', timeline, 'hash', overrides, 'hash', overrides_index, 'zset',
  overrides_expiry, 'zset', overrides_origin, 'hash'
) or refuse_import(meta, mark)
if refusal then
  return refusal
end

local hashes = {
  rollout = rollout, releases = releases, attributes = attributes, quarantine = quarantine, timeline = timeline,
  overrides = overrides, overrides_origin = overrides_origin
}
local sorted_sets = {overrides_index = overrides_index, overrides_expiry = overrides_expiry}
local piece = cjson.decode(piece_json)
for section, key in pairs(hashes) do
  call_in_chunks('HSET', key, piece[section] or {})
end
for section, key in pairs(sorted_sets) do
  call_in_chunks('ZADD', key, piece[section] or {})
end
if piece.queue then
  redis.call('DEL', queue)
  call_in_chunks('RPUSH', queue, piece.queue)
end
if deleted_ms == '' then
  redis.call('ZADD', components, 0, component)
else
  redis.call('ZADD', deleted, deleted_ms, component)
end
return {DONE}
