-- Purpose: finds what this connection's user may not do of what rampd needs. Writes nothing, and reads no data.
--
-- KEYS: none, since it touches none
--
-- ARGV[1]  commands  one on each line, its words with a space between them: `HSET key field value`
--
-- Returns: {DONE, the lines whose command is denied or not known ...}
--
-- Why atomic: it need not be. A script, because it may ask for its caller's permissions without the right to use ACL.

local denied = {}
for line in string.gmatch(commands, '[^\n]+') do
  local words = {}
  for word in string.gmatch(line, '%S+') do
    words[#words + 1] = word
  end
  local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(words))
  if not (is_known and is_allowed) then
    denied[#denied + 1] = line
  end
end
return {DONE, unpack(denied)}
