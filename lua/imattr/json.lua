-- json: reads JSON as RFC 8259 has it, for what comes from outside. cjson alone takes more: hex
-- numbers and NaN, `01`, `1.` and `-.5`, control characters in strings, and a text that ends at a
-- NUL, whatever stands behind it.

-- an instance of its own: settings of this decoder reach nobody else's
local cjson = require("cjson").new()
local errors = require "imattr.errors"

local find, gsub = string.find, string.gsub

cjson.decode_invalid_numbers(false)
-- The deepest documented reply has five levels; a hostile one must not go deeper than this.
cjson.decode_max_depth(16)

local json = { null = cjson.null }

-- Without any of these in a text cjson lets nothing through; what a server ends a text with aside.
local PLAIN = "^[^%z\1-\31\\.]*%s*$"

-- What cjson let through and RFC 8259 does not; nil: nothing.
local function fault_of(text)
  if find(text, PLAIN) then
    return nil
  end
  if find(text, "%z") then
    return "Found a NUL byte"
  end
  local bare = gsub(gsub(text, "\\.", ""), '"[^"%z\1-\31]*"', "")
  if find(bare, '"', 1, true) then
    return "Found a control character in a string"
  elseif find(bare, "%.%D") or find(bare, "%D%.") or find(bare, "^%.") or find(bare, "%.$") then
    return "Found a number without a digit beside its point"
  end
end

--- Decodes a JSON text.
---@param text string
---@return any value nil when the text is none
---@return string? message
function json.decode(text)
  local ok, value = pcall(cjson.decode, text)
  errors.pass_no_memory(ok, value)
  local fault = not ok and value or fault_of(text)
  if fault then
    return nil, fault
  end
  return value
end

return json
