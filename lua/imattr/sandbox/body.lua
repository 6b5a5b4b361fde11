-- body: from the bytes of a request to the JSON object it must be.

local cjson = require("cjson.safe").new()

local body = {}

-- UserAttrs is a list of objects with an object in each: four levels.
local DEPTH_MAX = 8

cjson.decode_max_depth(DEPTH_MAX)
cjson.decode_invalid_numbers(false)

-- UTF-8: first and last first byte, and a character that begins so; the
-- pattern ends with the position after it.
local SEQUENCES = {
  { 0xC2, 0xDF, "^.[\128-\191]()" },
  { 0xE0, 0xE0, "^.[\160-\191][\128-\191]()" },
  { 0xE1, 0xEC, "^.[\128-\191][\128-\191]()" },
  { 0xED, 0xED, "^.[\128-\159][\128-\191]()" },
  { 0xEE, 0xEF, "^.[\128-\191][\128-\191]()" },
  { 0xF0, 0xF0, "^.[\144-\191][\128-\191][\128-\191]()" },
  { 0xF1, 0xF3, "^.[\128-\191][\128-\191][\128-\191]()" },
  { 0xF4, 0xF4, "^.[\128-\143][\128-\191][\128-\191]()" },
}

local sequence_of = {}
for _, sequence in ipairs(SEQUENCES) do
  for byte = sequence[1], sequence[2] do
    sequence_of[byte] = sequence[3]
  end
end

-- Where the text stops being UTF-8; nil when it is UTF-8 to its end.
local function first_bad_byte(text)
  local position = text:find("[\128-\255]")
  while position do
    local sequence = sequence_of[text:byte(position)]
    local after = sequence and text:match(sequence, position)
    if not after then
      return position
    end
    position = text:find("[\128-\255]", after)
  end
end

-- The JSON object in `text`, or nil, the vendor's code and a sentence: 60003
-- when it is no JSON at all, 90001 when it is JSON but no object.
---@param text string?
---@return table? object
---@return integer? code
---@return string? info
function body.open(text)
  if not text or text == "" then
    return nil, 60003, "body: empty"
  end
  local bad = first_bad_byte(text)
  if bad then
    return nil, 60003, ("body: not UTF-8 at byte %d"):format(bad)
  end
  local object, message = cjson.decode(text)
  if object == nil then
    return nil, 60003, "body: not JSON: " .. message
  elseif not text:find("^%s*{") then
    return nil, 90001, "body: not a JSON object"
  end
  return object
end

return body
