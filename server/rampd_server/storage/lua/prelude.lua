-- Functions that the scripts share. The loader puts this file in front of each script. Before it come the result codes and limits
-- that are defined in Python. After it comes a local for each key and argument, with its name from the head of the script.
-- All names are local, because a global would outlive the call.

-- Takes (key, type, key, type, ...). Returns the answer for the first key that has another type (the key, its type, the expected
-- type), or nil. A command on a key of the wrong type would fail after some of the writes were done.
local function refuse_types(...)
  local arguments = {...}
  for i = 1, #arguments, 2 do
    local found = redis.call('TYPE', arguments[i]).ok
    if found ~= 'none' and found ~= arguments[i + 1] then
      return {WRONG_TYPE, {arguments[i], found, arguments[i + 1]}}
    end
  end
end

-- Whether a stored count is a whole number that can be increased.
local function is_count(text)
  return #text <= 15 and string.match(text, '^%d+$') ~= nil
end

-- Returns the answer for a schema that this server does not know, or nil. `schema` is the schema of meta, if there is one.
local function refuse_schema(schema)
  if schema and not (is_count(schema) and tonumber(schema) <= SCHEMA) then
    return {NEWER_SCHEMA, schema}
  end
end

-- Whether a change has the form of another schema than the data. The schema may have been raised since the change was decided.
local function is_other_schema(meta, schema)
  return (redis.call('HGET', meta, 'schema') or schema) ~= schema
end

-- Returns the answer for a write to data of a newer schema or under another epoch, or nil.
local function refuse_store(meta, epoch)
  local epoch_found, schema = unpack(redis.call('HMGET', meta, 'epoch', 'schema'))
  local refusal = refuse_schema(schema)
  if refusal then
    return refusal
  end
  if epoch_found ~= epoch then
    return {RESET, epoch_found or ''}
  end
end

-- Returns the answer for a write that refuse_store refuses or whose request id was used before, or nil.
local function refuse(meta, epoch, request, digest)
  local refusal = refuse_store(meta, epoch)
  if refusal then
    return refusal
  end
  local record = redis.call('GET', request)
  if record then
    local is_same = string.sub(record, 1, #digest + 1) == digest .. ' '
    return {is_same and REPLAYED or REUSED, record}
  end
end

-- Returns the answer for a write of an import that is not the one under way, or nil. An adopt by an earlier rampd ends an import.
local function refuse_import(meta, mark)
  local mark_found, epoch_found = unpack(redis.call('HMGET', meta, 'import', 'epoch'))
  if mark_found ~= mark or epoch_found then
    return {NOT_IMPORTING}
  end
end

-- Returns milliseconds since 1970, as text.
local function now_ms()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

-- Whether a change was decided too long before or after now. If `decided` is empty, the time does not matter.
local function is_untimely(now, decided)
  return decided ~= '' and math.abs(tonumber(now) - tonumber(decided)) > MAX_DECISION_AGE_MS
end

-- unpack() is limited to a few thousand values. The size of a chunk is even, so that pairs stay together.
local function call_in_chunks(command, key, arguments)
  local replies = {}
  for first = 1, #arguments, 1000 do
    local last = math.min(first + 999, #arguments)
    replies[#replies + 1] = redis.call(command, key, unpack(arguments, first, last))
  end
  return replies
end

-- Keeps the number of overrides in the rollout's hash, so that lost overrides are noticed. The number is adjusted by the
-- difference and not counted again, because a change after a loss must not hide the loss. If there is no number yet, the
-- overrides are counted.
local function count_by(rollout, difference, overrides)
  local counted = redis.call('HGET', rollout, 'overrides')
  if not counted then
    redis.call('HSET', rollout, 'overrides', redis.call('HLEN', overrides))
  elseif is_count(counted) then
    redis.call('HINCRBY', rollout, 'overrides', string.format('%.0f', difference))
  end
end

local function count_bytes(fields)
  local bytes = 0
  for _, text in ipairs(fields) do
    bytes = bytes + #text
  end
  return bytes
end

-- Returns the id of the entry after `previous`: the time, and as sequence a random number (from `nonce`, hexadecimal). So two
-- histories have no id in common, even if a failover has lost one of them.
local function next_id(previous, now, nonce)
  local chance = tonumber(string.sub(nonce, 1, 8), 16) + 1
  local time, sequence = string.match(previous, '^(%d+)%-(%d+)$')
  time, sequence = tonumber(time or 0), tonumber(sequence or 0)
  if tonumber(now) > time then
    return now .. '-' .. string.format('%.0f', chance)
  end
  -- A double can't hold every number above this exactly.
  if sequence > 2 ^ 52 then
    time, sequence = time + 1, 0
  end
  return string.format('%.0f-%.0f', time, sequence + chance)
end

-- Returns the id of the next entry of the feed, and of the entry before.
local function next_entry(meta, now, nonce)
  local previous = redis.call('HGET', meta, 'head') or '0-0'
  return next_id(previous, now, nonce), previous
end

-- Appends under an id, with options such as MAXLEN. If somebody else has added a later entry to the stream, Redis chooses the id,
-- because a failure here would leave the other writes half done.
local function append(stream, options, id, fields)
  local arguments = {unpack(options)}
  local place = #arguments + 1
  arguments[place] = id
  for _, text in ipairs(fields) do
    arguments[#arguments + 1] = text
  end
  local added = redis.pcall('XADD', stream, unpack(arguments))
  if type(added) == 'table' then
    arguments[place] = '*'
    added = redis.call('XADD', stream, unpack(arguments))
  end
  return added
end

-- Appends to the feed and keeps it within its limits. The newest entry always stays. Returns the ids of the new entry and of
-- the entry before.
local function append_feed(meta, feed, feed_bytes, max_entries, max_bytes, now, nonce, fields)
  local intended, previous = next_entry(meta, now, nonce)
  fields[#fields + 1] = 'prev'
  fields[#fields + 1] = previous
  local id = append(feed, {}, intended, fields)
  redis.call('HSET', meta, 'head', id)
  local length = redis.call('XLEN', feed)
  local bytes = count_bytes(fields)
  if length > 1 then
    bytes = bytes + (tonumber(redis.call('GET', feed_bytes) or '0') or 0)
  end
  local is_over = length > tonumber(max_entries) or bytes > tonumber(max_bytes)
  local removed = 0
  while is_over and length > 1 and removed < MAX_REMOVED do
    local oldest = redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', feed, oldest[1])
    removed = removed + 1
    length = length - 1
    bytes = math.max(0, bytes - count_bytes(oldest[2]))
    is_over = length > tonumber(max_entries) or bytes > tonumber(max_bytes)
  end
  redis.call('SET', feed_bytes, string.format('%.0f', bytes))
  return id, previous
end

-- Appends under the id of the same change in the feed, so that a history shows whether it has the change. Returns the id.
local function append_history(history, id, revision, now, fields)
  return append(history, {'MAXLEN', '=', MAX_EVENTS}, id, {'revision', revision, 'time', now, unpack(fields)})
end

-- Keeps the name of a deleted component with the time of its last entry, so that its history is found. Names of components that
-- were deleted long ago are dropped.
local function note_deletion(deleted, component, id)
  redis.call('ZADD', deleted, string.match(id, '^%d+'), component)
  call_in_chunks('ZREM', deleted, redis.call('ZRANGE', deleted, 0, -MAX_DELETED - 1))
end

-- Returns the revision after `found`, as text.
local function next_revision(found)
  return string.format('%.0f', tonumber(found) + 1)
end

local function remember(request, life_ms, ...)
  redis.call('SET', request, table.concat({...}, ' '), 'PX', life_ms)
end

-- Returns at most `most` waiting members whose wait is over. The wait is over at the time of the score. It is also over if that
-- time is further ahead than the longest wait, because then the clock was set back. `longest_wait` '0' means not known.
local function find_matured(waiting, now, longest_wait, most)
  local matured = redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, most)
  if longest_wait ~= '0' and #matured < most then
    local latest = string.format('(%.0f', now + longest_wait)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', waiting, latest, '+inf', 'LIMIT', 0, most - #matured)) do
      matured[#matured + 1] = member
    end
  end
  return matured
end

-- The fields of `release-outcomes` that a sample has: jobs and failures of each channel, whatever its release was.
local SAMPLED = {'total current jobs', 'total current failures', 'total next jobs', 'total next failures'}

-- Returns a sample as text. `counts` are the values of these fields. In trial 0 there is no next.
local function write_sample(time, release, trial, current_revision, counts)
  local words = {time, trial == '0' and '0' or release, trial, current_revision}
  for i = 1, #SAMPLED do
    words[#words + 1] = counts[i] or '0'
  end
  return table.concat(words, ' ')
end

-- Drops a component's counters, and begins to count for another trial. A Redis without free memory refuses the first write, so
-- that nothing is half done.
local function begin_trial(outcomes, others, epoch, release, trial, revision, batches)
  redis.call(
    'HSET', outcomes, 'epoch', epoch, 'release', release, 'trial', trial, 'revision', revision, 'batches', batches
  )
  local is_kept = {epoch = true, release = true, trial = true, revision = true, batches = true}
  is_kept.repos_of = redis.call('HGET', outcomes, 'repos_of') == release
  local dropped = {}
  for _, field in ipairs(redis.call('HKEYS', outcomes)) do
    if not is_kept[field] then
      dropped[#dropped + 1] = field
    end
  end
  call_in_chunks('HDEL', outcomes, dropped)
  redis.call('UNLINK', unpack(others))
end
