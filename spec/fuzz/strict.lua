-- strict: a JSON reader that takes RFC 8259 and nothing else, against which cjson and what is built
-- on it are held. What the RFC leaves to a reader (broken UTF-8 and lone surrogates in strings,
-- numbers beyond a double, deep nests, a name twice) is read, and noted as `free`.

local strict = {}

--- Stands for null.
strict.null = setmetatable({}, { __tostring = function() return "null" end })

-- Deeper than this is free.
local DEPTH_MAX = 16

local function refuse(why, at)
  error({ why = why, at = at }, 0)
end

local function skip_space(self)
  self.at = self.text:find("[^ \t\n\r]", self.at) or #self.text + 1
end

local function take(self, pattern)
  local found = self.text:match("^" .. pattern, self.at)
  if found then
    self.at = self.at + #found
  end
  return found
end

local function take_number(self)
  local number = take(self, "%-?0") or take(self, "%-?[1-9]%d*")
  if not number then
    refuse("no number", self.at)
  end
  if self.text:find("^%.", self.at) then
    number = number .. (take(self, "%.%d+") or refuse("no digit after the point", self.at))
  end
  if self.text:find("^[eE]", self.at) then
    number = number .. (take(self, "[eE][+-]?%d+") or refuse("no exponent", self.at))
  end
  local value = tonumber(number) + 0.0
  value = value == 0 and number:find("^-") and -0.0 or value -- tonumber takes -0 for an integer
  if value ~= value or value == math.huge or value == -math.huge then
    self.free = true
  end
  return value
end

local ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r",
  t = "\t" }

-- UTF-8 of a code point, by arithmetic.
local function utf8_of(code)
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64,
      0x80 + code % 64)
  end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function take_hex(self)
  local hex = take(self, "%x%x%x%x") or refuse("no four hex digits", self.at)
  return tonumber(hex, 16)
end

-- What stands behind `\u`.
local function take_unicode(self)
  local code = take_hex(self)
  if code >= 0xD800 and code <= 0xDBFF and take(self, "\\u") then
    local low = take_hex(self)
    if low >= 0xDC00 and low <= 0xDFFF then
      return utf8_of(0x10000 + (code - 0xD800) * 1024 + low - 0xDC00)
    end
    self.free = true
    return "?"
  elseif code >= 0xD800 and code <= 0xDFFF then
    self.free = true
    return "?"
  end
  return utf8_of(code)
end

-- Well-formed sequences, by their first bytes (RFC 3629, 4).
local SEQUENCES = {
  "[\194-\223][\128-\191]",
  "\224[\160-\191][\128-\191]",
  "[\225-\236\238\239][\128-\191][\128-\191]",
  "\237[\128-\159][\128-\191]",
  "\240[\144-\191][\128-\191][\128-\191]",
  "[\241-\243][\128-\191][\128-\191][\128-\191]",
  "\244[\128-\143][\128-\191][\128-\191]",
}

--- Is this UTF-8?
---@param text string
---@return boolean
function strict.is_utf8(text)
  for _, sequence in ipairs(SEQUENCES) do
    if not text:find("[\128-\255]") then
      break
    end
    text = text:gsub(sequence, "x")
  end
  return not text:find("[\128-\255]")
end

local function take_string(self)
  local parts, from = {}, self.at
  self.at = self.at + 1
  while true do
    parts[#parts + 1] = take(self, '[^"\\%z\1-\31]*')
    local byte = take(self, '["\\]') or refuse("no end of the string", self.at)
    if byte == '"' then
      break
    elseif take(self, "u") then
      parts[#parts + 1] = take_unicode(self)
    else
      parts[#parts + 1] = ESCAPES[take(self, ".")] or refuse("no escape", self.at)
    end
  end
  -- by the text as it stands: where a sequence is broken is all the same
  self.free = self.free or not strict.is_utf8(self.text:sub(from, self.at - 1))
  return table.concat(parts)
end

local take_value

local function take_array(self, depth)
  local list, count = {}, 0
  self.at = self.at + 1
  skip_space(self)
  if take(self, "%]") then
    return list
  end
  repeat
    count = count + 1
    list[count] = take_value(self, depth)
    skip_space(self)
  until not take(self, ",")
  return take(self, "%]") and list or refuse("no end of the array", self.at)
end

local function take_member(self, object, depth)
  skip_space(self)
  if self.text:sub(self.at, self.at) ~= '"' then
    refuse("no name", self.at)
  end
  local name = take_string(self)
  skip_space(self)
  if not take(self, ":") then
    refuse("no colon", self.at)
  end
  self.free = self.free or object[name] ~= nil
  object[name] = take_value(self, depth)
  skip_space(self)
end

local function take_object(self, depth)
  local object = {}
  self.at = self.at + 1
  skip_space(self)
  if take(self, "}") then
    return object
  end
  repeat
    take_member(self, object, depth)
  until not take(self, ",")
  return take(self, "}") and object or refuse("no end of the object", self.at)
end

local WORDS = { t = { "true", true }, f = { "false", false }, n = { "null", strict.null } }

function take_value(self, depth)
  skip_space(self)
  local first = self.text:sub(self.at, self.at)
  self.free = self.free or depth >= DEPTH_MAX and (first == "[" or first == "{")
  if first == "{" then
    return take_object(self, depth + 1)
  elseif first == "[" then
    return take_array(self, depth + 1)
  elseif first == '"' then
    return take_string(self)
  elseif WORDS[first] then
    local word = WORDS[first]
    if not take(self, word[1]) then
      refuse("no word", self.at)
    end
    return word[2]
  end
  return take_number(self)
end

--- Reads a JSON text.
---@param text string
---@return boolean ok
---@return any value or why not
---@return boolean free did the text touch what the RFC leaves to its reader? (Also when not ok.)
---@return string? kind "object" or "array" for a table
function strict.read(text)
  local self = { text = text, at = 1, free = false }
  local ok, value = pcall(function()
    local found = take_value(self, 0)
    skip_space(self)
    if self.at <= #text then
      refuse("something behind", self.at)
    end
    return found
  end)
  if not ok and type(value) ~= "table" then
    -- the stack of Lua's matcher or of C is at its end: deep nests
    return false, value, true
  end
  local kind = ok and type(value) == "table" and value ~= strict.null
    and (text:match("^%s*{") and "object" or "array") or nil
  if not ok then
    value = value.why
  end
  return ok, value, self.free, kind
end

return strict
