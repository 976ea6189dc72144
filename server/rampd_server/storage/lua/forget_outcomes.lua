-- Purpose: drops what was counted for trials that have ended.
--
-- KEYS[1]  outcomes          hash
-- KEYS[2]  first-outcomes    string
-- KEYS[3]  first-failures    string
-- KEYS[4]  waiting-outcomes  zset
-- KEYS[5]  waiting-failures  zset
-- KEYS[6]  clients           hash
-- KEYS[7]  clients-order     zset
--
-- ARGV[1]  epoch believed in
-- ARGV[2]  release that is next; 0: the component is gone, and its clients go too
-- ARGV[3]  trial
-- ARGV[4]  revision at which that trial is in force
--
-- Returns: {DONE} | {UNCHANGED} | {WRONG_TYPE, key} | {MALFORMED, key, field}
--
-- Why atomic: what is counted meanwhile for the present trial stays.

local outcomes, first_outcomes, first_failures = KEYS[1], KEYS[2], KEYS[3]
local waiting_outcomes, waiting_failures, clients, clients_order = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local epoch, release, trial, revision = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local wrong = find_wrong_type(outcomes, 'hash')
if wrong then
  return {WRONG_TYPE, wrong}
end
local head = redis.call('HMGET', outcomes, 'epoch', 'release', 'trial', 'revision', 'batches')
local epoch_found, revision_found, batches = head[1], head[4] or '0', head[5] or '0'
if epoch_found ~= epoch or (head[2] == release and head[3] == trial) then
  return {UNCHANGED}
end
if not is_count(revision_found) then
  return {MALFORMED, outcomes, 'revision'}
end
if tonumber(revision) <= tonumber(revision_found) then
  return {UNCHANGED}
end

local others = {first_outcomes, first_failures, waiting_outcomes, waiting_failures}
if release == '0' then
  others[#others + 1] = clients
  others[#others + 1] = clients_order
end
begin_trial(outcomes, others, epoch, release, trial, revision, batches)
return {DONE}
