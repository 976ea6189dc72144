-- Purpose: counts the outcomes of one component in one batch.
--
-- KEYS[1]  outcomes          hash
-- KEYS[2]  first-outcomes    string
-- KEYS[3]  first-failures    string
-- KEYS[4]  waiting-outcomes  zset
-- KEYS[5]  waiting-failures  zset
-- KEYS[6]  clients           hash
-- KEYS[7]  clients-order     zset
-- KEYS[8]  release-outcomes  hash
-- KEYS[9]  fine-samples      list
-- KEYS[10] coarse-samples    list
-- KEYS[11] next-repos        string
--
-- ARGV[1]   epoch        that the server knows
-- ARGV[2]   replaced     another epoch whose counters may be dropped, because `meta` has `epoch`; empty: no counters exist yet
-- ARGV[3]   release      that is next
-- ARGV[4]   trial
-- ARGV[5]   revision     at which that trial is in force
-- ARGV[6]   reporter     identity
-- ARGV[7]   client
-- ARGV[8]   sequence
-- ARGV[9]   digest       of the batch
-- ARGV[10]  answer       to a repeat
-- ARGV[11]  max_clients  that are remembered
-- ARGV[12]  max_waiting  outcomes that wait, of each kind
-- ARGV[13]  interval_ms  length of the intervals in which the jobs of current are counted, too
-- ARGV[14]  intervals    that are kept
-- ARGV[15]  fine_ms      the step of fine samples
-- ARGV[16]  max_fine     fine samples that are kept
-- ARGV[17]  coarse_ms    the step of coarse samples
-- ARGV[18]  max_coarse   coarse samples that are kept
-- ARGV[19]  counts_json  JSON: {"add": {field: number}, "outcomes": [[index of the unit, weight, channel, 1 if failed,
--           wait in ms]], "failures": [[index, weight, channel, wait]], "releases": {field: number}, "current_revision":
--           text, "next_repos": [repo]}; each index once in each list; `releases` adds to the counters that outlive the trial;
--           `current_revision` is the revision at which current became current; `longest_wait` is the longest possible wait of
--           these, in ms; `next_repos` have run next
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field} | {RESET, epoch found} | {REPLAYED, answer}
--   | {REUSED, sequence found} | {UNCHANGED, sequence found} | {CONFLICT, revision found}
--
-- Why atomic: a batch is counted as a whole and only once, even if it is sent several times.

local max_clients, max_waiting, interval_ms = tonumber(max_clients), tonumber(max_waiting), tonumber(interval_ms)

local refusal = refuse_types(
  outcomes, 'hash', first_outcomes, 'string', first_failures, 'string', waiting_outcomes, 'zset',
  waiting_failures, 'zset', clients, 'hash', clients_order, 'zset', release_outcomes, 'hash', fine_samples, 'list',
  coarse_samples, 'list'
)
if refusal then
  return refusal
end
local head = redis.call('HMGET', outcomes, 'epoch', 'release', 'trial', 'revision', 'batches', 'longest_wait', 'repos_of')
local epoch_found, revision_found, batches, longest_wait = head[1] or '', head[4] or '0', head[5] or '0', head[6] or '0'
local is_same_epoch = epoch_found == epoch
if not is_same_epoch and epoch_found ~= replaced then
  return {RESET, epoch_found}
end
if not is_count(revision_found) then
  return {MALFORMED, outcomes, 'revision'}
end
if not is_count(batches) then
  return {MALFORMED, outcomes, 'batches'}
end
if not is_count(longest_wait) then
  return {MALFORMED, outcomes, 'longest_wait'}
end

local record = is_same_epoch and redis.call('HGET', clients, client)
if record then
  local last, last_digest, last_answer = string.match(record, '^(%d+) (%x+) (.*)$')
  if not last then
    return {MALFORMED, clients, client}
  end
  if last == sequence then
    if last_digest ~= digest then
      return {REUSED, last}
    end
    return {REPLAYED, last_answer}
  end
  -- A double can't hold every sequence exactly, so sequences are compared as text.
  if #sequence < #last or (#sequence == #last and sequence < last) then
    return {UNCHANGED, last}
  end
end

local is_same_release = is_same_epoch and head[2] == release
local is_same_trial = is_same_release and head[3] == trial
if is_same_epoch and not is_same_trial and tonumber(revision) <= tonumber(revision_found) then
  return {CONFLICT, revision_found}
end

-- From here to the first write the script only reads, so that an error leaves nothing half done.
local counts = cjson.decode(counts_json)
local add = counts.add
local now = tonumber(now_ms())
local function increase(field)
  add[field] = (add[field] or 0) + 1
end
local function count_outcome(weight, channel, is_failed)
  increase(weight .. ' ' .. channel .. ' first_outcomes')
  if is_failed then
    increase(weight .. ' ' .. channel .. ' failed_first_outcomes')
  end
end
local function count_failure(weight, channel, by)
  increase(weight .. ' ' .. channel .. ' first_failures')
  if channel == 'next' then
    increase(weight .. ' reporter ' .. by)
  end
end

local known_reporter = 'reporter ' .. reporter
if #counts.outcomes > 0 and not (is_same_trial and redis.call('HEXISTS', outcomes, known_reporter) == 1) then
  local reporters = is_same_trial and redis.call('HGET', outcomes, 'reporters') or '0'
  if not is_count(reporters) then
    return {MALFORMED, outcomes, 'reporters'}
  end
  if tonumber(reporters) < MAX_REPORTERS then
    add[known_reporter] = 1
    add['reporters'] = 1
  else
    reporter = ''
  end
end

local matured_outcomes, matured_failures, waiting = {}, {}, {0, 0}
if is_same_trial then
  matured_outcomes = find_matured(waiting_outcomes, now, longest_wait, MAX_MATURED)
  matured_failures = find_matured(waiting_failures, now, longest_wait, MAX_MATURED)
  waiting = {redis.call('ZCARD', waiting_outcomes), redis.call('ZCARD', waiting_failures)}
end
for _, member in ipairs(matured_outcomes) do
  local weight, channel, failed = string.match(member, '^%d+ (%d+) (%a+) ([01])$')
  if not weight then
    return {MALFORMED, waiting_outcomes, member}
  end
  count_outcome(weight, channel, failed == '1')
end
for _, member in ipairs(matured_failures) do
  local weight, channel, by = string.match(member, '^%d+ (%d+) (%a+) (.*)$')
  if not weight then
    return {MALFORMED, waiting_failures, member}
  end
  count_failure(weight, channel, by)
end

local function is_first(key, index)
  return not is_same_trial or redis.call('GETBIT', key, index) == 0
end
local outcome_bits, failure_bits, new_outcomes, new_failures = {}, {}, {}, {}
for _, outcome in ipairs(counts.outcomes) do
  local index, weight, channel, failed, wait = unpack(outcome)
  if is_first(first_outcomes, index) then
    if wait == 0 then
      outcome_bits[#outcome_bits + 1] = index
      count_outcome(weight, channel, failed == 1)
    elseif waiting[1] - #matured_outcomes + #new_outcomes / 2 < max_waiting then
      outcome_bits[#outcome_bits + 1] = index
      new_outcomes[#new_outcomes + 1] = now + wait
      new_outcomes[#new_outcomes + 1] = index .. ' ' .. weight .. ' ' .. channel .. ' ' .. failed
    end
  end
end
for _, failure in ipairs(counts.failures) do
  local index, weight, channel, wait = unpack(failure)
  if is_first(first_failures, index) then
    if wait == 0 then
      failure_bits[#failure_bits + 1] = index
      count_failure(weight, channel, reporter)
    elseif waiting[2] - #matured_failures + #new_failures / 2 < max_waiting then
      failure_bits[#failure_bits + 1] = index
      new_failures[#new_failures + 1] = now + wait
      new_failures[#new_failures + 1] = index .. ' ' .. weight .. ' ' .. channel .. ' ' .. reporter
    end
  end
end

local fields = {}
for field in pairs(add) do
  fields[#fields + 1] = field
end
if is_same_trial then
  for chunk, values in ipairs(call_in_chunks('HMGET', outcomes, fields)) do
    for i, value in ipairs(values) do
      if value and not is_count(value) then
        return {MALFORMED, outcomes, fields[(chunk - 1) * 1000 + i]}
      end
    end
  end
end

-- Counters that outlive the trial. A server that knows only an earlier current adds nothing to the present current's. An interval
-- takes the place of the oldest one. It names the revision of its current, because only its own counts begin at zero.
local start_ms = now - now % interval_ms
local interval = string.format('recent %.0f ', start_ms / interval_ms % intervals)
local names = {'current_revision'}
for _, kind in ipairs({'start_ms', 'current_revision', 'jobs', 'failures'}) do
  names[#names + 1] = interval .. kind
end
for _, name in ipairs(SAMPLED) do
  names[#names + 1] = name
end
local release_fields, fixed = {'epoch', epoch}, #names
for name in pairs(counts.releases) do
  names[#names + 1] = name
end
local found = is_same_epoch and #names > fixed and redis.call('HMGET', release_outcomes, unpack(names)) or {}
for i, value in ipairs(found) do
  if value and not is_count(value) then
    return {MALFORMED, release_outcomes, names[i]}
  end
end
local newer = tonumber(counts.current_revision) - tonumber(found[1] or '0')
if newer >= 0 then
  release_fields[3], release_fields[4] = 'current_revision', counts.current_revision
end
for i = fixed + 1, #names do
  local is_of_current = string.sub(names[i], 1, 8) == 'current '
  if not is_of_current or newer >= 0 then
    local before = not (is_of_current and newer > 0) and tonumber(found[i] or '0') or 0
    release_fields[#release_fields + 1] = names[i]
    release_fields[#release_fields + 1] = string.format('%.0f', before + counts.releases[names[i]])
  end
end
if newer >= 0 and (counts.releases['current jobs'] or 0) > 0 then
  local is_same = found[2] == string.format('%.0f', start_ms) and found[3] == counts.current_revision
  local values = {string.format('%.0f', start_ms), counts.current_revision}
  for i, kind in ipairs({'jobs', 'failures'}) do
    values[#values + 1] = string.format('%.0f', (is_same and found[3 + i] or 0) + counts.releases['current ' .. kind])
  end
  for i, value in ipairs(values) do
    release_fields[#release_fields + 1] = names[1 + i]
    release_fields[#release_fields + 1] = value
  end
end

-- The counters that samples have: the jobs of each channel, whichever release it is. In trial 0 there is no next.
local prefixes = {current = newer >= 0 and 'current ', next = trial ~= '0' and release .. ' '}
for i, name in ipairs(SAMPLED) do
  local channel, kind = string.match(name, '(%a+) (%a+)$')
  local more = prefixes[channel] and counts.releases[prefixes[channel] .. kind] or 0
  release_fields[#release_fields + 1] = name
  release_fields[#release_fields + 1] = string.format('%.0f', (found[fixed - #SAMPLED + i] or 0) + more)
end
-- The first batch after a multiple of the step adds a sample of that time, which has the counts before this batch.
local current_revision = newer < 0 and found[1] or counts.current_revision
local counts_before = {unpack(found, fixed - #SAMPLED + 1, fixed)}
local function time_of(text)
  return tonumber(string.match(text or '', '^%d+')) or 0
end
local function add_sample(samples, step_ms, most)
  local time_ms = now - now % step_ms
  local newest_ms = time_of(redis.call('LRANGE', samples, -1, -1)[1])
  if newest_ms > time_ms + step_ms then
    -- The clock was set back: what is ahead of it goes.
    local all, ahead = redis.call('LRANGE', samples, 0, -1), 0
    while ahead < #all and time_of(all[#all - ahead]) > time_ms do
      ahead = ahead + 1
    end
    redis.call('LTRIM', samples, 0, -ahead - 1)
    newest_ms = time_of(all[#all - ahead])
  end
  if newest_ms < time_ms then
    local time = string.format('%.0f', time_ms)
    redis.call('RPUSH', samples, write_sample(time, release, trial, current_revision, counts_before))
    redis.call('LTRIM', samples, -most, -1)
  end
end

local batch_number = string.format('%.0f', is_same_epoch and batches + 1 or 1)
if is_same_trial then
  redis.call('HSET', outcomes, 'batches', batch_number)
else
  local others = {first_outcomes, first_failures, waiting_outcomes, waiting_failures}
  if not is_same_epoch then
    others[#others + 1] = clients
    others[#others + 1] = clients_order
    others[#others + 1] = release_outcomes
  end
  begin_trial(outcomes, others, epoch, release, trial, revision, batch_number)
end
-- Nothing is counted yet where the repos can't be added: a HyperLogLog that is damaged may still tell its number.
if #counts.next_repos > 0 then
  if not (is_same_release and head[7] == release) then
    -- They are of another release, which an earlier version of rampd, which does not know repos, may have ended.
    redis.call('UNLINK', next_repos)
    redis.call('HSET', outcomes, 'repos_of', release)
  end
  local added = redis.pcall('PFADD', next_repos, unpack(counts.next_repos))
  if type(added) ~= 'number' then
    local problem = tostring(added.err)
    if string.find(problem, 'WRONGTYPE') or string.find(problem, 'INVALIDOBJ') then
      return {WRONG_TYPE, {next_repos, redis.call('TYPE', next_repos).ok, 'HyperLogLog'}}
    end
    return added
  end
end
if #names > fixed then
  if not found[fixed] then
    -- The samples are of counters that were dropped: of another epoch, or by an earlier version of rampd, which does not know samples.
    redis.call('UNLINK', fine_samples, coarse_samples)
  end
  add_sample(fine_samples, tonumber(fine_ms), max_fine)
  add_sample(coarse_samples, tonumber(coarse_ms), max_coarse)
end
-- The counters come last. In a Cluster, a command on a key that is gone fails while its slot is moved to another node. Then nothing
-- is counted yet, and the batch is sent again. For the same reason, what waits is added before what has waited is removed.
call_in_chunks('ZADD', waiting_outcomes, new_outcomes)
call_in_chunks('ZADD', waiting_failures, new_failures)
call_in_chunks('ZREM', waiting_outcomes, matured_outcomes)
call_in_chunks('ZREM', waiting_failures, matured_failures)
local function set_bits(key, indices)
  -- Redis doubles the memory of a string that grows bit by bit. It does not do so for a string of full length.
  if #indices > 0 and redis.call('EXISTS', key) == 0 then
    redis.call('SETBIT', key, UNIT_BITS - 1, 0)
  end
  for _, index in ipairs(indices) do
    redis.call('SETBIT', key, index, 1)
  end
end
set_bits(first_outcomes, outcome_bits)
set_bits(first_failures, failure_bits)
redis.call('HSET', clients, client, sequence .. ' ' .. digest .. ' ' .. answer)
redis.call('ZADD', clients_order, batch_number, client)
local too_many = redis.call('ZCARD', clients_order) - max_clients
if too_many > 0 then
  for _, forgotten in ipairs(redis.call('ZRANGE', clients_order, 0, math.min(too_many, 1000) - 1)) do
    redis.call('ZREM', clients_order, forgotten)
    redis.call('HDEL', clients, forgotten)
  end
end
if tonumber(counts.longest_wait) > (is_same_trial and tonumber(longest_wait) or 0) then
  redis.call('HSET', outcomes, 'longest_wait', counts.longest_wait)
end
if #names > fixed then
  redis.call('HSET', release_outcomes, unpack(release_fields))
end
for field, by in pairs(add) do
  redis.call('HINCRBY', outcomes, field, string.format('%.0f', by))
end
return {DONE}
