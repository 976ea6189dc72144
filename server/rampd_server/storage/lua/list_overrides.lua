-- Purpose: reads overrides in the order of their repos, each with the entry that set it.
--
-- KEYS[1] overrides         hash
-- KEYS[2] overrides-index   zset
-- KEYS[3] overrides-origin  hash
--
-- ARGV[1]  first  where the list begins, as ZRANGEBYLEX takes it
-- ARGV[2]  last   where it ends
-- ARGV[3]  most   overrides to return
--
-- Returns: {DONE, {repo, override or nil, entry or nil, repo, ...}} | {WRONG_TYPE, {key, types}}
--
-- Why atomic: an override and the entry that set it change together. It is a script, because a Redis with full memory refuses
-- MULTI, and reads have to work then.

local refusal = refuse_types(overrides, 'hash', overrides_index, 'zset', overrides_origin, 'hash')
if refusal then
  return refusal
end

local rows = {}
local repos = redis.call('ZRANGEBYLEX', overrides_index, first, last, 'LIMIT', 0, most)
local origins = call_in_chunks('HMGET', overrides_origin, repos)
for chunk, texts in ipairs(call_in_chunks('HMGET', overrides, repos)) do
  for i, text in ipairs(texts) do
    rows[#rows + 1] = repos[(chunk - 1) * 1000 + i]
    rows[#rows + 1] = text
    rows[#rows + 1] = origins[chunk][i]
  end
end
return {DONE, rows}
