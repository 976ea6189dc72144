-- Purpose: reads a component as it stands at one moment, without its overrides and its history.
--
-- KEYS[1] meta        hash
-- KEYS[2] rollout     hash
-- KEYS[3] queue       list
-- KEYS[4] releases    hash
-- KEYS[5] attributes  hash
-- KEYS[6] quarantine  hash
-- KEYS[7] timeline    hash
--
-- Returns: {DONE, {epoch, freeze, head, schema}, TIME, rollout, queue, releases, attributes, quarantine, timeline}
--   | {WRONG_TYPE, key}
--
-- Why atomic: what is read together was written together. A script, because MULTI is refused by a Redis whose memory is
-- full, and reads have to go on.

local meta, rollout, queue, releases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local attributes, quarantine, timeline = KEYS[5], KEYS[6], KEYS[7]

local wrong = find_wrong_type(
  meta, 'hash', rollout, 'hash', queue, 'list', releases, 'hash',
  attributes, 'hash', quarantine, 'hash', timeline, 'hash'
)
if wrong then
  return {WRONG_TYPE, wrong}
end

local reply = {
  DONE,
  redis.call('HMGET', meta, 'epoch', 'freeze', 'head', 'schema'),
  redis.call('TIME'),
  redis.call('HGETALL', rollout),
  redis.call('LRANGE', queue, 0, -1),
}
for _, key in ipairs({releases, attributes, quarantine, timeline}) do
  reply[#reply + 1] = redis.call('HGETALL', key)
end
return reply
