-- Purpose: counts a component's overrides in each of their keys, so that missing overrides are noticed.
--
-- KEYS[1] overrides         hash
-- KEYS[2] overrides-index   zset
-- KEYS[3] overrides-expiry  zset
-- KEYS[4] rollout           hash
--
-- Returns: {DONE, overrides, index, expiry, number in the rollout or empty} | {WRONG_TYPE, {key, types}}
--
-- Why atomic: the keys change together, so their numbers can be compared only if they are read at one moment.

local refusal = refuse_types(
  overrides, 'hash', overrides_index, 'zset', overrides_expiry, 'zset', rollout, 'hash'
)
if refusal then
  return refusal
end

return {
  DONE,
  redis.call('HLEN', overrides),
  redis.call('ZCARD', overrides_index),
  redis.call('ZCARD', overrides_expiry),
  redis.call('HGET', rollout, 'overrides') or '',
}
