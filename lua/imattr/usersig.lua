-- usersig: the vendor's signature of an account: signed in C, opened and checked here.

local cjson = require("cjson").new()
local core = require "imattr.core"
local errors = require "imattr.errors"
local redact = require "imattr.redact"

local usersig = {}

-- A UserSig's JSON is flat.
cjson.decode_max_depth(4)

local function bad(code, message)
  return nil, errors.new { code = code, message = message, class = "signature" }
end

local FIELDS = { sdkappid = "number", identifier = "string", key = "string", key_file = "string",
  expire = "number", time = "number", userbuf = "string" }

-- SDKAppIDs have 32 bits; times are seconds, and far enough.
local RANGES = { sdkappid = { 1, 4294967295 }, time = { 0, 2 ^ 40 }, expire = { 1, 2 ^ 40 } }

local function in_range(value, low, high)
  return value >= low and value <= high and value == math.floor(value)
end

local function check_fields(fields)
  if type(fields) ~= "table" then
    error("usersig.sign: a " .. type(fields) .. ", wants a table", 3)
  end
  for name, value in pairs(fields) do
    if FIELDS[name] ~= type(value) then
      local wanted = FIELDS[name] and ("a %s, wants a %s"):format(type(value), FIELDS[name])
        or "unknown field"
      error(("usersig.sign: %s: %s"):format(redact.text(tostring(name)), wanted), 3)
    end
  end
  if not fields.sdkappid or not fields.identifier then
    error("usersig.sign: wants sdkappid and identifier", 3)
  end
  if fields.key and fields.key_file then
    error("usersig.sign: wants key or key_file, not both", 3)
  end
  for name, range in pairs(RANGES) do
    local value = fields[name]
    if value and not in_range(value, range[1], range[2]) then
      error(("usersig.sign: %s: %.17g, wants an integer from %.0f to %.0f"):format(name, value,
        range[1], range[2]), 3)
    end
  end
end

--- Opens a signer for a key or a file that holds one; close it after use.
---@param key string?
---@param key_file string?
---@return table? signer
---@return imattr.Error? err
function usersig.signer(key, key_file)
  local signer, code
  if key then
    signer, code = core.signer(key)
  else
    signer, code = core.signer_file(key_file)
  end
  if not signer then
    return nil, errors.world(code, key and "key" or "key_file " .. key_file)
  end
  return signer
end

--- Signs for an account. Raises for a field of the wrong type.
---@param fields { sdkappid: integer, identifier: string, key: string?, key_file: string?,
---  expire: integer?, time: integer?, userbuf: string? } expire in seconds (86400), time in
---  seconds since 1970 (now), userbuf in base64
---@return string? usersig
---@return imattr.Error? err
function usersig.sign(fields)
  check_fields(fields)
  if not fields.key and not fields.key_file then
    return nil, errors.world("BAD_KEY", "usersig.sign")
  end
  local signer, err = usersig.signer(fields.key, fields.key_file)
  if not signer then
    return nil, err
  end
  local text, code, message = signer:sign(fields.sdkappid, fields.identifier,
    fields.time or os.time(), fields.expire or 86400, fields.userbuf)
  signer:close()
  if not text then
    return bad(code, "identifier: " .. message)
  end
  return text
end

local NAMES = { ver = "string", identifier = "string", sdkappid = "number", time = "number",
  expire = "number", sig = "string", userbuf = "string" }

-- cjson gives floats; Lua 5.4 would show them with ".0".
local to_integer = rawget(math, "tointeger") or function(value)
  return value
end

-- The fields of a UserSig's JSON by our names, or nil when one is missing or of the wrong type.
local function read(json)
  local ok, object = pcall(cjson.decode, json)
  errors.pass_no_memory(ok, object)
  if not ok or type(object) ~= "table" then
    return nil
  end
  local fields = {}
  for name, wanted in pairs(NAMES) do
    local value = object["TLS." .. name]
    if type(value) ~= wanted and not (name == "userbuf" and value == nil) then
      return nil
    end
    fields[name] = wanted == "number" and to_integer(value) or value
  end
  return fields
end

-- Whether the key signed the fields; nil and a code when the check itself failed.
local function is_signed(fields, key)
  local signer = core.signer(key)
  if not signer then
    return false
  end
  for name, range in pairs(RANGES) do
    if not in_range(fields[name], range[1], range[2]) then
      signer:close()
      return false
    end
  end
  local holds, code = signer:verify(fields.sdkappid, fields.identifier, fields.time, fields.expire,
    fields.userbuf, fields.sig)
  signer:close()
  return holds, code
end

local CHECKS = { key = "string", now = "number" }

local function check_check(check)
  if check ~= nil and type(check) ~= "table" then
    error("usersig.open: a " .. type(check) .. ", wants a table like { key = key }", 3)
  end
  for name, value in pairs(check or {}) do
    if CHECKS[name] ~= type(value) then
      error(("usersig.open: %s: a %s, wants key (a string) and now (a number)"):format(
        redact.text(tostring(name)), type(value)), 3)
    end
  end
end

--- Opens a UserSig. With a key its signature and its time are checked; without one nothing is.
---@param text string
---@param check { key: string?, now: integer? }? now in seconds since 1970
---@return { identifier: string, sdkappid: integer, time: integer, expire: integer, ver: string,
---  sig: string, userbuf: string? }? fields
---@return imattr.Error? err BAD_USERSIG, BAD_SIGNATURE or EXPIRED
function usersig.open(text, check)
  if type(text) ~= "string" then
    error("usersig.open: a " .. type(text) .. ", wants a string", 2)
  end
  check_check(check)
  local json = core.usersig_unpack(text)
  local fields = json and read(json)
  if not fields then
    return bad("BAD_USERSIG", "the UserSig cannot be read; it may be cut or not be one")
  end
  if check and check.key then
    local holds, code = is_signed(fields, check.key)
    if holds == nil then
      return nil, errors.world(code, "usersig.open")
    elseif not holds then
      return bad("BAD_SIGNATURE", "the UserSig was not signed with this key")
    end
    local now = check.now or os.time()
    if now > fields.time + fields.expire then
      return bad("EXPIRED", ("the UserSig expired %.0f seconds ago"):format(
        now - fields.time - fields.expire))
    end
  end
  return fields
end

return usersig
