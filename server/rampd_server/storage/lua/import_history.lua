-- Purpose: writes a piece of a history for an import. Events up to the newest one that is there are left out.
--
-- KEYS[1]  meta     hash
-- KEYS[2]  history  stream
--
-- ARGV[1]  mark         of the import
-- ARGV[2]  events_json  the events in order, each as its id and its fields, name and text in turn
--
-- Returns: {DONE} | {WRONG_TYPE, {key, types}} | {NOT_IMPORTING}
--
-- Why atomic: nothing is written for an import that another one has taken over. A piece may be written twice.

local refusal = refuse_types(meta, 'hash', history, 'stream') or refuse_import(meta, mark)
if refusal then
  return refusal
end

local function numbers(id)
  local time, sequence = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(time), tonumber(sequence)
end
local newest = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
local last_time, last_sequence = numbers(newest and newest[1] or '0-0')
for _, event in ipairs(cjson.decode(events_json)) do
  local time, sequence = numbers(event[1])
  if time > last_time or (time == last_time and sequence > last_sequence) then
    redis.call('XADD', history, 'MAXLEN', '=', MAX_EVENTS, event[1], unpack(event[2]))
  end
end
return {DONE}
