-- Purpose: reads overrides in the order of their repos, each with the entry of the history that set it.
--
-- KEYS[1] overrides         hash
-- KEYS[2] overrides-index   zset
-- KEYS[3] overrides-origin  hash
-- KEYS[4] history           stream
--
-- ARGV[1]  first  where the list begins, as ZRANGEBYLEX takes it
-- ARGV[2]  last   where it ends
-- ARGV[3]  most   overrides to return
--
-- Returns: {DONE, {repo, override or nil, entry or nil, repo, ...}, {entry, {name, text, ...}, entry, ...}}, where the names are
--   those of `is_told` | {WRONG_TYPE, {key, types}}
--
-- Why atomic: an override and the entry that set it change together. It is a script, because a thousand entries would be many
-- times as large as what is needed of them, and because a Redis with full memory refuses MULTI, and reads have to work then.

local is_told = {time = true, actor = true, claimed = true, note = true}

local refusal = refuse_types(overrides, 'hash', overrides_index, 'zset', overrides_origin, 'hash')
if refusal then
  return refusal
end

-- Returns what the history has of an entry: nothing if the entry is not there, or if the history or the id is damaged.
local function told(entry)
  local found, fields = redis.pcall('XRANGE', history, entry, entry, 'COUNT', 1), {}
  if found.err or not found[1] then
    return fields
  end
  local all = found[1][2]
  for i = 1, #all, 2 do
    if is_told[all[i]] then
      fields[#fields + 1] = all[i]
      fields[#fields + 1] = all[i + 1]
    end
  end
  return fields
end

local rows, entries, is_known = {}, {}, {}
local repos = redis.call('ZRANGEBYLEX', overrides_index, first, last, 'LIMIT', 0, most)
local origins = call_in_chunks('HMGET', overrides_origin, repos)
for chunk, texts in ipairs(call_in_chunks('HMGET', overrides, repos)) do
  for i, text in ipairs(texts) do
    local entry = origins[chunk][i]
    rows[#rows + 1] = repos[(chunk - 1) * 1000 + i]
    rows[#rows + 1] = text
    rows[#rows + 1] = entry
    if entry and not is_known[entry] then
      is_known[entry] = true
      entries[#entries + 1] = entry
      entries[#entries + 1] = told(entry)
    end
  end
end
return {DONE, rows, entries}
