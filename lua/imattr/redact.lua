-- redact: takes out of a text that somebody will see what may be a key or a UserSig. Every error,
-- every misuse and every word of the vendor's goes through here: whole, before it is cut.

local redact = {}

-- A run of letters as long as this, digits among them, may be a secret: keys have 64, UserSigs 188
-- and more. What has a place in a sentence is shorter: an account has 32 at most.
local SECRET_LEN_MIN = 40

-- The letters of hex, base64, a UserSig and percent-encoding; not the slash, which parts paths.
local WORD = "[%w*_%%+=-]+"

-- What follows these names is a UserSig, or the MAC from which one can be made: it goes whatever
-- its length.
local FIELDS = {
  "([Uu][Ss][Ee][Rr][Ss][Ii][Gg]=)[%w*_%%+/=-]+",
  '([Tt][Ll][Ss]%.[Ss][Ii][Gg]\\?"?%s*[:=]%s*\\?"?)[%w*_%%+/=-]+',
}

local function word(found)
  return #found >= SECRET_LEN_MIN and found:find("%d") and "REDACTED" or nil
end

--- The text without what may be a secret.
---@param shown string
---@return string
function redact.text(shown)
  for _, field in ipairs(FIELDS) do
    shown = shown:gsub(field, "%1REDACTED")
  end
  return (shown:gsub(WORD, word))
end

return redact
