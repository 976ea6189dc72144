-- Purpose: writes the result of a check by the server that has the turn, ends its lease, and drops checks that left the policy.
--
-- KEYS[1] meta    hash
-- KEYS[2] checks  hash
--
-- ARGV[1]    epoch         that the server knows
-- ARGV[2]    lease_field
-- ARGV[3]    result_field
-- ARGV[4]    turn          id of this turn
-- ARGV[5]    result        when the check was asked, scope, counts
-- ARGV[6..]  fields        of the policy's checks; all other fields are deleted
--
-- Returns: {DONE} | {UNCHANGED} | {WRONG_TYPE, {key, types}} | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--
-- Why atomic: a result that arrives after another server has taken the turn changes nothing. A result that arrives twice, because
-- its first reply was lost, is accepted.

local refusal = refuse_types(meta, 'hash', checks, 'hash') or refuse_store(meta, epoch)
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
for _, field in ipairs(fields) do
  wanted[field] = true
end
for _, field in ipairs(redis.call('HKEYS', checks)) do
  if not wanted[field] then
    redis.call('HDEL', checks, field)
  end
end
return {DONE}
