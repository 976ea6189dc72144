-- Purpose: writes the result of a check by the server whose turn it is, ends its lease, and drops what the policy has lost.
--
-- KEYS[1] meta    hash
-- KEYS[2] checks  hash
--
-- ARGV[1] epoch believed in
-- ARGV[2] field of the lease
-- ARGV[3] field of the result
-- ARGV[4] id of this turn
-- ARGV[5] result: when it was asked, scope, counts
-- ARGV[6..] fields of the policy's checks; all others go
--
-- Returns: {DONE} | {UNCHANGED} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--
-- Why atomic: a result that comes after another server has taken the turn changes nothing. One that comes twice, because
-- its first reply was lost, is the same.

local meta, checks = KEYS[1], KEYS[2]
local epoch, lease_field, result_field, turn, result = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local wrong = find_wrong_type(meta, 'hash', checks, 'hash')
if wrong then
  return {WRONG_TYPE, wrong}
end
local refusal = refuse_store(meta, epoch)
if refusal then
  return refusal
end
local holder = string.match(redis.call('HGET', checks, lease_field) or '', '^(%S+) ')
if holder ~= turn then
  if redis.call('HGET', checks, result_field) == result then
    return {DONE}
  end
  return {UNCHANGED}
end

redis.call('HSET', checks, result_field, result)
redis.call('HDEL', checks, lease_field)
local wanted = {}
for _, field in ipairs({unpack(ARGV, 6)}) do
  wanted[field] = true
end
for _, field in ipairs(redis.call('HKEYS', checks)) do
  if not wanted[field] then
    redis.call('HDEL', checks, field)
  end
end
return {DONE}
