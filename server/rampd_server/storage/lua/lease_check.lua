-- Purpose: gives one server the turn to ask a check for a limited time, if the check is due.
--
-- KEYS[1] meta    hash
-- KEYS[2] checks  hash
--
-- ARGV[1]  epoch         that the server knows
-- ARGV[2]  lease_field
-- ARGV[3]  result_field
-- ARGV[4]  turn          id of this turn
-- ARGV[5]  lease_ms      how long the lease lasts
-- ARGV[6]  interval_ms   how often the check is asked
-- ARGV[7]  scope         of the counts: a result of another scope is ignored, and the check is due at once
--
-- Returns: {DONE, time, result or empty} | {UNCHANGED, ms to wait} | {WRONG_TYPE, {key, types}}
--   | {NEWER_SCHEMA, schema found} | {RESET, epoch found}
--
-- Why atomic: if two servers ask for the turn, only one gets it. The lease stores its end by the store's clock; it is not a
-- time-out of a key. After the clock was set back, an end or a result may be too far in the future. Then it is ignored.

local lease_ms, interval_ms = tonumber(lease_ms), tonumber(interval_ms)

local refusal = refuse_types(meta, 'hash', checks, 'hash') or refuse_store(meta, epoch)
if refusal then
  return refusal
end
local now_text = now_ms()
local now = tonumber(now_text)
local holder, end_text = string.match(redis.call('HGET', checks, lease_field) or '', '^(%S+) (%d+)$')
local left_ms = holder and holder ~= turn and tonumber(end_text) - now or 0
if left_ms > 0 and left_ms <= MAX_LEASE_MS then
  return {UNCHANGED, left_ms}
end
local result = redis.call('HGET', checks, result_field) or ''
local asked_text, scope_found = string.match(result, '^(%d+) (%S+) ')
local since_ms = scope_found == scope and now - tonumber(asked_text) or interval_ms
if since_ms >= 0 and since_ms < interval_ms then
  return {UNCHANGED, interval_ms - since_ms}
end

redis.call('HSET', checks, lease_field, string.format('%s %.0f', turn, now + lease_ms))
return {DONE, now_text, result}
