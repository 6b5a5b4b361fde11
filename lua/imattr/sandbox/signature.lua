-- signature: reads and verifies a UserSig for the rules, with the C core.
--
-- The rules are pure and know no cryptography; these are the two functions
-- they are given.

local cjson = require("cjson.safe").new()

local signature = {}

local VERSION = "2.0"
local INTEGER_MAX = 2 ^ 53

local function is_natural(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0 and value < INTEGER_MAX
end

-- The named parts of a UserSig's JSON; nil when one is missing or of the wrong type.
local function fields_of(text)
  local object = cjson.decode(text)
  if type(object) ~= "table" or object["TLS.ver"] ~= VERSION then
    return nil
  end
  local fields = {
    identifier = object["TLS.identifier"],
    sdkappid = object["TLS.sdkappid"],
    time = object["TLS.time"],
    expire = object["TLS.expire"],
    userbuf = object["TLS.userbuf"],
    mac = object["TLS.sig"],
  }
  local is_whole = type(fields.identifier) == "string"
    and type(fields.mac) == "string"
    and (fields.userbuf == nil or type(fields.userbuf) == "string")
    and is_natural(fields.sdkappid)
    and is_natural(fields.time)
    and is_natural(fields.expire)
  return is_whole and fields or nil
end

-- The functions `open_usersig` and `verify` of the rules' settings. One
-- UserSig serves many requests, so the last one opened is kept, and so is its
-- verdict.
---@param core table imattr.core
---@param key string the app's key
---@return fun(usersig: string): table? open_usersig
---@return fun(fields: table): boolean verify
function signature.functions(core, key)
  local signer = core.signer(key)
  local last, last_fields

  local function open_usersig(usersig)
    if usersig ~= last then
      local text = core.usersig_unpack(usersig)
      last, last_fields = usersig, text and fields_of(text)
    end
    return last_fields
  end

  local function verify(fields)
    if fields.holds == nil then
      fields.holds = signer:verify(fields.sdkappid, fields.identifier, fields.time,
        fields.expire, fields.userbuf, fields.mac)
    end
    return fields.holds
  end

  return open_usersig, verify
end

return signature
