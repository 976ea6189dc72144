-- Purpose: reads the samples of a component's counters: the fine ones, the coarse ones that are older, and one of this moment.
--
-- KEYS[1] outcomes          hash
-- KEYS[2] release-outcomes  hash
-- KEYS[3] fine-samples      stream
-- KEYS[4] coarse-samples    stream
--
-- ARGV[1]  epoch  that the server knows
--
-- Returns: {DONE, coarse entries, fine entries, now in ms, the sample of now}, or {DONE} if there are no counters of this epoch
--   | {WRONG_TYPE, {key, types}} | {MALFORMED, key, field}
--
-- Why atomic: no batch is counted between two of the reads. The script writes nothing, because reads have to work while memory is
-- full.

local refusal = refuse_types(
  outcomes, 'hash', release_outcomes, 'hash', fine_samples, 'stream', coarse_samples, 'stream'
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
-- Samples that are ahead of now are from before the clock was set back.
local now = now_ms()
local fine = redis.call('XRANGE', fine_samples, '-', now)
local coarse = redis.call('XRANGE', coarse_samples, '-', fine[1] and '(' .. fine[1][1] or now)
local sample = write_sample(release or '0', trial or '0', found[1] or '0', {unpack(found, 2)})
return {DONE, coarse, fine, now, sample}
