-- Purpose: counts a component's overrides in each of their keys, so that a part that is gone is noticed.
--
-- KEYS[1] overrides         hash
-- KEYS[2] overrides-index   zset
-- KEYS[3] overrides-expiry  zset
--
-- Returns: {DONE, overrides, index, expiry} | {WRONG_TYPE, key}
--
-- Why atomic: the three change together, so their numbers are equal at one moment only.

local overrides, index, expiry = KEYS[1], KEYS[2], KEYS[3]

local wrong = find_wrong_type(overrides, 'hash', index, 'zset', expiry, 'zset')
if wrong then
  return {WRONG_TYPE, wrong}
end

return {DONE, redis.call('HLEN', overrides), redis.call('ZCARD', index), redis.call('ZCARD', expiry)}
