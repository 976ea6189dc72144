-- Purpose: reads the samples of a component's counters, and makes one of this moment.
--
-- KEYS[1] outcomes          hash
-- KEYS[2] release-outcomes  hash
-- KEYS[3] fine-samples      list
-- KEYS[4] coarse-samples    list
--
-- ARGV[1]  epoch  that the server knows
--
-- Returns: {DONE, fine samples, coarse samples, sample of now}, or {DONE} if there are no counters of samples in this epoch
--   | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--
-- Why atomic: no batch is counted between two of the reads. The script writes nothing, because reads have to work while memory is
-- full.

local refusal = refuse_types(
  outcomes, 'hash', release_outcomes, 'hash', fine_samples, 'list', coarse_samples, 'list'
)
if refusal then
  return refusal
end
local epoch_found, release, trial = unpack(redis.call('HMGET', outcomes, 'epoch', 'release', 'trial'))
if epoch_found ~= epoch then
  return {DONE}
end
local names = {'current_revision', unpack(SAMPLED)}
local found = redis.call('HMGET', release_outcomes, unpack(names))
for i, value in ipairs(found) do
  if value and not is_count(value) then
    return {MALFORMED, release_outcomes, names[i]}
  end
end
-- The next batch drops samples of counters that are not there.
if not found[#names] then
  return {DONE}
end
local fine, coarse = redis.call('LRANGE', fine_samples, 0, -1), redis.call('LRANGE', coarse_samples, 0, -1)
return {DONE, fine, coarse, write_sample(now_ms(), release or '0', trial or '0', found[1] or '0', {unpack(found, 2)})}
