-- Purpose: drops the counters of trials that have ended, and of releases that are no longer kept.
--
-- KEYS[1]   outcomes          hash
-- KEYS[2]   first-outcomes    string
-- KEYS[3]   first-failures    string
-- KEYS[4]   waiting-outcomes  zset
-- KEYS[5]   waiting-failures  zset
-- KEYS[6]   clients           hash
-- KEYS[7]   clients-order     zset
-- KEYS[8]   release-outcomes  hash
-- KEYS[9]   seen-repos        zset
-- KEYS[10]  seen-depths       hash
-- KEYS[11]  fine-samples      list
-- KEYS[12]  coarse-samples    list
-- KEYS[13]  next-repos        string
--
-- ARGV[1]    epoch        that the server knows
-- ARGV[2]    release      that is next; 0: the component is deleted, and its clients, its releases, its samples and the repos that it was
--            resolved for are dropped too
-- ARGV[3]    trial
-- ARGV[4]    revision     at which that trial is in force
-- ARGV[5]    last_number  the component's last release
-- ARGV[6..]  releases     that are kept; the counters of all others up to last_number are dropped
--
-- Returns: {DONE} | {UNCHANGED} | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--
-- Why atomic: outcomes that are counted at the same time for the present trial stay.

local refusal = refuse_types(outcomes, 'hash', release_outcomes, 'hash', seen_depths, 'hash')
if refusal then
  return refusal
end
-- Repos are seen of components without outcomes, too.
if release == '0' and redis.call('HGET', seen_depths, 'epoch') == epoch then
  redis.call('UNLINK', seen_repos, seen_depths)
end
local head = redis.call('HMGET', outcomes, 'epoch', 'release', 'trial', 'revision', 'batches')
local epoch_found, revision_found, batches = head[1], head[4] or '0', head[5] or '0'
if epoch_found ~= epoch then
  return {UNCHANGED}
end
if not is_count(revision_found) then
  return {MALFORMED, outcomes, 'revision'}
end

local is_known, forgotten = {}, {}
for _, number in ipairs(releases) do
  is_known[number] = true
end
for _, field in ipairs(redis.call('HKEYS', release_outcomes)) do
  local number = string.match(field, '^(%d+) ')
  if number and not is_known[number] and tonumber(number) <= tonumber(last_number) then
    forgotten[#forgotten + 1] = field
  end
end
call_in_chunks('HDEL', release_outcomes, forgotten)
if (head[2] == release and head[3] == trial) or tonumber(revision) <= tonumber(revision_found) then
  return {UNCHANGED}
end

local others = {first_outcomes, first_failures, waiting_outcomes, waiting_failures}
if head[2] ~= release then
  others[#others + 1] = next_repos
end
if release == '0' then
  others[#others + 1] = clients
  others[#others + 1] = clients_order
  others[#others + 1] = release_outcomes
  others[#others + 1] = fine_samples
  others[#others + 1] = coarse_samples
end
begin_trial(outcomes, others, epoch, release, trial, revision, batches)
return {DONE}
