-- Text for people and for programs: counts, times, JSON, and data made safe to look at.

local text = {}

---The bytes of the UTF-8 character at `at`, and its code point; nil when it is none.
local function decode_at(bytes, at)
  local lead = bytes:byte(at)
  local length = lead < 0x80 and 1 or lead < 0xC2 and 0 or lead < 0xE0 and 2
    or lead < 0xF0 and 3 or lead < 0xF5 and 4 or 0
  local code = length == 1 and lead or length > 0 and lead % 2 ^ (7 - length) or 0
  for index = at + 1, at + length - 1 do
    local byte = bytes:byte(index)
    if not byte or byte < 0x80 or byte > 0xBF then
      return nil
    end
    code = code * 64 + byte % 64
  end
  local overlong = length == 3 and code < 0x800 or length == 4 and code < 0x10000
  local surrogate = code >= 0xD800 and code <= 0xDFFF
  if length == 0 or overlong or surrogate or code > 0x10FFFF then
    return nil
  end
  return length, code
end

---Rewrites text character by character: `good(code, character)` and `bad(byte)` give what is
---written for a UTF-8 character and for a byte that belongs to none.
local function rewrite(bytes, good, bad)
  local out, at = {}, 1
  while at <= #bytes do
    local length, code = decode_at(bytes, at)
    if length then
      out[#out + 1] = good(code, bytes:sub(at, at + length - 1))
    else
      out[#out + 1] = bad(bytes:byte(at))
    end
    at = at + (length or 1)
  end
  return table.concat(out)
end

---Does a terminal act on this character, or hide it? Control characters, and the ones that turn
---the direction of writing or have no width.
local function is_active(code)
  return code < 0x20 or code >= 0x7F and code <= 0x9F
    or code >= 0x200B and code <= 0x200F or code >= 0x2028 and code <= 0x202E
    or code >= 0x2060 and code <= 0x206F or code == 0xFEFF
    or code >= 0xE0000 and code <= 0xE007F
end

local function visible_character(code, character)
  if not is_active(code) then
    return character
  end
  return code < 0x80 and ("\\x%02X"):format(code) or ("\\u{%X}"):format(code)
end

local function visible_byte(byte)
  return ("\\x%02X"):format(byte)
end

---Data made safe for a terminal: what would act on it is written out (`\x1B`, `\u{202E}`), and
---so is every byte that is not UTF-8.
---@param data string
---@return string
function text.visible(data)
  if not data:find("[%z\1-\31\127-\255]") then
    return data
  end
  return rewrite(data, visible_character, visible_byte)
end

---Data cut to at most so many characters, the last of them "...", and made visible.
---@param data string
---@param characters integer
---@return string
function text.short(data, characters)
  local shown = text.visible(data:sub(1, characters * 4 + 4))
  local count, cut = 0, nil
  for at in shown:gmatch("()[^\128-\191]") do
    count = count + 1
    cut = count == characters - 2 and at or cut
  end
  return count > characters and shown:sub(1, cut - 1) .. "..." or shown
end

---A whole number with commas: 19331 -> "19,331".
---@param number number
---@return string
function text.count(number)
  local digits = ("%.0f"):format(number)
  local head, rest = digits:match("^(%-?%d%d?%d?)(.*)$")
  while #rest % 3 ~= 0 do
    head, rest = head:sub(1, -2), head:sub(-1) .. rest
  end
  return head .. rest:gsub("(%d%d%d)", ",%1")
end

---A number and its noun: (1, "user") -> "1 user", (2, "user") -> "2 users".
---@param number number
---@param noun string
---@return string
function text.counted(number, noun)
  local plural = noun:gsub("([^aeiou])y$", "%1ie") .. "s"
  return text.count(number) .. " " .. (number == 1 and noun or plural)
end

---A time for people: 0.42 s, 12.3 s, 2 min 05 s, 1 h 02 min.
---@param seconds number
---@return string
function text.duration(seconds)
  if seconds < 9.95 then
    return ("%.2g s"):format(math.max(seconds, 0.01))
  end
  local whole = math.floor(seconds + 0.5)
  local minutes = math.floor(whole / 60)
  if minutes < 1 then
    return ("%d s"):format(whole)
  elseif minutes < 60 then
    return ("%d min %02d s"):format(minutes, whole % 60)
  end
  return ("%d h %02d min"):format(math.floor(minutes / 60), minutes % 60)
end

---A name as a shell takes it: quoted when it has to be.
---@param name string
---@return string
function text.shell(name)
  if name:find("^%-.") then
    name = "./" .. name -- not a flag
  end
  if name == "-" or name:find("^[%w%._/@%%+,:=][%w%._/@%%+,:=%-]*$") then
    return name
  end
  return "'" .. text.visible(name:gsub("'", "'\\''")) .. "'"
end

local JSON_ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t" }

---A JSON string. Bytes pass as they are; `repaired` bytes that are not UTF-8 become U+FFFD.
---@param data string
---@param repaired? boolean
---@return string
function text.json_string(data, repaired)
  if repaired and data:find("[\128-\255]") then
    data = rewrite(data, function(_, character) return character end,
      function() return "\239\191\189" end)
  end
  return '"' .. data:gsub('[%z\1-\31\127"\\]', function(character)
    return JSON_ESCAPES[character] or ("\\u%04x"):format(character:byte())
  end) .. '"'
end

---JSON of a scalar or of a list.
local function json_value(value)
  if type(value) == "string" then
    return text.json_string(value, true)
  elseif type(value) == "number" then
    return value % 1 == 0 and ("%.0f"):format(value) or ("%.6g"):format(value)
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif value.json then
    return value.json
  end
  local items = {}
  for index, item in ipairs(value) do
    items[index] = json_value(item)
  end
  return "[" .. table.concat(items, ",") .. "]"
end

---A JSON object whose members keep their order; a member without a value is left out. The result
---may itself be a member of another.
---@param members {[1]: string, [2]: any}[]
---@return {json: string}
function text.json_object(members)
  local parts = {}
  for _, member in ipairs(members) do
    if member[2] ~= nil then
      parts[#parts + 1] = text.json_string(member[1]) .. ":" .. json_value(member[2])
    end
  end
  return { json = "{" .. table.concat(parts, ",") .. "}" }
end

---A map of strings as a JSON object, names in order.
---@param map table<string, string>
---@return {json: string}
function text.json_map(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  local members = {}
  for index, name in ipairs(names) do
    members[index] = { name, map[name] }
  end
  return text.json_object(members)
end

return text
