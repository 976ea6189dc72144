-- Purpose: finds the commands that rampd needs and this connection's user may not run. It writes nothing, and reads no data.
--
-- KEYS: none
--
-- ARGV[1]  commands  one on each line, its words separated by spaces: `HSET key field value`
--
-- Returns: {DONE, each line whose command is denied or not known ...}
--
-- Why atomic: it need not be. It is a script, because a script may ask for its caller's permissions without the right to use ACL.

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
