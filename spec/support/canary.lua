-- canary: looks for secrets in everything that a program can get to see.
--
--   canary.see(name, text)     keeps a text that must hold no secret
--   canary.know(secret)        a key or a UserSig that was in use
--   canary.leaks()             every secret in every text kept: "name: key in base64"
--   canary.in_text(text, secrets)    the same of one text, as a list of words
--   canary.hits_in_file(path, secret)   how often it stands in a file of any size
--   canary.hits_in_memory(pid, secret)   and in the memory of another process
--   canary.dump(value)         all that pairs, getmetatable and tostring can reach, as one text
--
-- A secret is found raw, percent-encoded, in base64 and in hex, and when only a part of it leaked:
-- any part that is PART letters long and a little more. debug.getupvalue reaches further than
-- `dump`: who uses it takes a program to pieces, and is not who prints a table.

local canary = {}

-- The keys that other specs use: nothing that any of them prints may hold one (spec/canary).
canary.KEYS_IN_USE = {
  "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e", -- support.app
  ("5ecret0123456789"):rep(4), -- support.command
}

-- A key of no app; a whole one, as long as the vendor's.
canary.KEY = "c4a11e5ca0a11e5f10c0b0b57a7e1e55d15ab1edacce55edfee1deadbea75a1d"

-- So many letters of a secret are a leak, whatever is around them.
local PART = 16
local STEP = 4

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

function canary.base64(text)
  return (text:gsub("..?.?", function(bytes)
    local a, b, c = bytes:byte(1, 3)
    local number = a * 65536 + (b or 0) * 256 + (c or 0)
    local letters = {}
    for i = 1, #bytes + 1 do
      local index = math.floor(number / 64 ^ (4 - i)) % 64
      letters[i] = BASE64:sub(index + 1, index + 1)
    end
    return table.concat(letters) .. ("="):rep(3 - #bytes)
  end))
end

local function each_byte(text, format)
  return (text:gsub(".", function(byte) return format:format(byte:byte()) end))
end

-- How a secret may look: form -> text. Base64 has three, by what stands before; first and last
-- letters, which depend on the neighbours, are left out.
local function forms_of(secret)
  local forms = {
    raw = secret,
    ["percent-encoded"] = secret:gsub("[^%w%-._~]", function(c) return each_byte(c, "%%%02X") end),
    ["percent-encoded (lower case)"] = secret:gsub("[^%w%-._~]", function(c)
      return each_byte(c, "%%%02x")
    end),
    ["percent-encoded (every byte)"] = each_byte(secret, "%%%02X"),
    hex = each_byte(secret, "%02x"),
    ["hex (upper case)"] = each_byte(secret, "%02X"),
  }
  for before = 0, 2 do
    forms["base64 " .. before] = canary.base64(("\0"):rep(before) .. secret):sub(5, -5)
  end
  return forms
end

-- Parts of a form, each of which gives it away.
local function parts_of(form)
  local parts = {}
  for at = 1, math.max(1, #form - PART + 1), STEP do
    parts[#parts + 1] = form:sub(at, at + PART - 1)
  end
  return parts
end

local known_forms = {} -- secret -> { { form, parts } }: asked for again and again

local function shapes_of(secret)
  if not known_forms[secret] then
    local shapes = {}
    for name, form in pairs(forms_of(secret)) do
      shapes[#shapes + 1] = { name, parts_of(form) }
    end
    known_forms[secret] = shapes
  end
  return known_forms[secret]
end

-- The runs of letters in which a part could be; all others are passed over, for speed.
local function words_of(text)
  local words = {}
  for word in text:gmatch("[%w*_%%+/=.~-]+") do
    if #word >= PART then words[#words + 1] = word end
  end
  return table.concat(words, " ")
end

local function is_in(text, parts)
  for _, part in ipairs(parts) do
    if text:find(part, 1, true) then return true end
  end
  return false
end

-- Every UserSig begins like this: one that nobody knew of is found too.
local function has_unknown_usersig(text)
  for word in text:gmatch("eJ[%w*_%%-]+") do
    if #word >= 80 then return true end
  end
  return false
end

--- The secrets in a text, by the forms they were found in.
---@param text string
---@param secrets string[]
---@return string[] found
function canary.in_text(text, secrets)
  local found = {}
  text = words_of(text)
  for number, secret in ipairs(secrets) do
    for _, shape in ipairs(shapes_of(secret)) do
      if is_in(text, shape[2]) then
        found[#found + 1] = ("secret %d, %s"):format(number, shape[1])
      end
    end
  end
  if has_unknown_usersig(text) then
    found[#found + 1] = "something like a UserSig"
  end
  table.sort(found)
  return found
end

-- ---- texts kept

local texts, secrets = {}, { canary.KEY }

--- How many texts were kept.
canary.count = 0

function canary.see(name, text)
  canary.count = canary.count + 1
  texts[#texts + 1] = { name, tostring(text) }
end

function canary.know(secret)
  for _, known in ipairs(secrets) do
    if known == secret then return end
  end
  secrets[#secrets + 1] = secret
end

--- All leaks in the texts kept, which are then forgotten.
---@return string[]
function canary.leaks()
  local leaks = {}
  for _, item in ipairs(texts) do
    local found = canary.in_text(item[2], secrets)
    if found[1] then
      leaks[#leaks + 1] = ("%s: %s: %s"):format(item[1], found[#found], item[2]:sub(1, 300))
    end
  end
  texts = {}
  return leaks
end

-- ---- files and memory

local CHUNK_BYTES = 1048576

-- Counts the secret's raw parts in what `read` gives, chunk by chunk.
local function hits_in(read, parts)
  local hits, tail = 0, ""
  local chunk = read()
  while chunk do
    local text = tail .. chunk
    for _, part in ipairs(parts) do
      local at = text:find(part, 1, true)
      while at do
        hits = hits + 1
        at = text:find(part, at + 1, true)
      end
    end
    tail = text:sub(-PART + 1) -- too short for a whole part: nothing counts twice
    chunk = read()
  end
  return hits
end

--- How often parts of a secret stand in a file.
---@param path string
---@param secret string
---@return integer
function canary.hits_in_file(path, secret)
  local file = assert(io.open(path, "rb"))
  local hits = hits_in(function() return file:read(CHUNK_BYTES) end, parts_of(secret))
  file:close()
  return hits
end

--- How often parts of a secret stand in the memory of a process of ours, and how many bytes were
--- looked at.
---@param pid integer
---@param secret string
---@return integer hits
---@return integer bytes
function canary.hits_in_memory(pid, secret)
  local parts, hits, bytes = parts_of(secret), 0, 0
  local memory = assert(io.open(("/proc/%d/mem"):format(pid), "rb"))
  memory:setvbuf("no")
  for line in io.lines(("/proc/%d/maps"):format(pid)) do
    local from, to, rights = line:match("^(%x+)%-(%x+) (%S+)")
    from, to = tonumber(from, 16), tonumber(to, 16)
    if rights:sub(1, 1) == "r" and not line:find("%[v") and memory:seek("set", from) then
      hits = hits + hits_in(function()
        local chunk = from < to and memory:read(math.min(CHUNK_BYTES, to - from))
        from = from + (chunk and #chunk or 0)
        bytes = bytes + (chunk and #chunk or 0)
        return chunk or nil
      end, parts)
    end
  end
  memory:close()
  return hits, bytes
end

-- ---- values

local function dump_into(out, value, seen)
  out[#out + 1] = tostring(value)
  if type(value) == "function" or seen[value] then
    return
  end
  seen[value] = true
  local meta = type(value) ~= "string" and getmetatable(value)
  if meta then
    dump_into(out, meta, seen)
  end
  if type(value) == "table" then
    for key, item in next, value do
      dump_into(out, key, seen)
      dump_into(out, item, seen)
    end
  end
end

--- Everything in a value that a program reaches by pairs (or next), getmetatable and tostring.
---@param ... any
---@return string
function canary.dump(...)
  local out, seen = {}, {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if value == nil then
      out[#out + 1] = "nil"
    else
      dump_into(out, value, seen)
    end
  end
  return table.concat(out, "\n")
end

--- The least number of texts that the suite has to look at (spec/counts).
---@return integer
function canary.count_min()
  local file = assert(io.open("spec/counts"))
  local text = file:read("*a")
  file:close()
  return assert(tonumber(text:match("canary_texts (%d+)")), "spec/counts has no canary_texts")
end

return canary
