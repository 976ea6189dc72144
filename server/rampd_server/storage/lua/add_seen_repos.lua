-- Purpose: adds repos to those of a component that were seen in the last day, and keeps a sample if they are too many.
--
-- KEYS[1]  seen-repos   zset
-- KEYS[2]  seen-depths  hash
--
-- ARGV[1]   epoch     that the server knows
-- ARGV[2]   replaced  another epoch whose repos may be dropped, because `meta` has `epoch`; empty: no repos exist yet
-- ARGV[3]   depth     the server has left out repos of a lower depth
-- ARGV[4..] seen      depth of the repo, a space, the repo; at most a thousand
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field} | {RESET, epoch found}
--
-- Why atomic: a repo that is left out is always below the depth of the hour. Without this, two servers could leave out
-- repos that the depth does not tell of.

local refusal = refuse_types(seen_repos, 'zset', seen_depths, 'hash')
if refusal then
  return refusal
end
local now = tonumber(now_ms())
local hour = string.format('%.0f', now - now % HOUR_MS)
local head = redis.call('HMGET', seen_depths, 'epoch', hour)
local epoch_found = head[1] or ''
local is_same_epoch = epoch_found == epoch
if not is_same_epoch and epoch_found ~= replaced then
  return {RESET, epoch_found}
end
local depth_found = is_same_epoch and head[2] or '0'
if not is_count(depth_found) then
  return {MALFORMED, seen_depths, hour}
end

local depth = math.max(tonumber(depth), tonumber(depth_found))
local function is_left_out(member)
  return tonumber(string.match(member, '^(%d+) ') or -1) < depth
end

-- The first write. A Redis without free memory refuses it, so that nothing is half done.
redis.call('HSET', seen_depths, 'epoch', epoch)
local old_hours = {}
for _, field in ipairs(redis.call('HKEYS', seen_depths)) do
  local is_kept = is_same_epoch and is_count(field) and math.abs(tonumber(field) - tonumber(hour)) <= SEEN_MS
  if field ~= 'epoch' and not is_kept then
    old_hours[#old_hours + 1] = field
  end
end
call_in_chunks('HDEL', seen_depths, old_hours)
if not is_same_epoch then
  redis.call('UNLINK', seen_repos)
end
-- A time that is a day ahead was written before the clock was set back.
local time = string.format('%.0f', now)
for _, bounds in ipairs({{'-inf', string.format('%.0f', now - SEEN_MS)}, {string.format('%.0f', now + SEEN_MS), '+inf'}}) do
  call_in_chunks('ZREM', seen_repos, redis.call('ZRANGEBYSCORE', seen_repos, unpack(bounds)))
end
local added = {}
for _, member in ipairs(seen) do
  if not is_left_out(member) then
    added[#added + 1] = time
    added[#added + 1] = member
  end
end
call_in_chunks('ZADD', seen_repos, added)
while redis.call('ZCARD', seen_repos) > MAX_SEEN_REPOS do
  depth = depth + 1
  local left_out = {}
  for _, member in ipairs(redis.call('ZRANGE', seen_repos, 0, -1)) do
    if is_left_out(member) then
      left_out[#left_out + 1] = member
    end
  end
  call_in_chunks('ZREM', seen_repos, left_out)
end
if depth > 0 then
  redis.call('HSET', seen_depths, hour, depth)
end
-- If nothing is seen any more, or the component was deleted, both go a day later.
redis.call('PEXPIRE', seen_repos, SEEN_MS + HOUR_MS)
redis.call('PEXPIRE', seen_depths, SEEN_MS + HOUR_MS)
return {DONE}
