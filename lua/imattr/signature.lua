-- signature: a client's UserSig: made once, used again, renewed before it expires.
--
-- Programs print tables, clients too, with all that is in them. So no secret is in a field: a
-- function holds them, which nothing calls but this module.

local errors = require "imattr.errors"
local usersig = require "imattr.usersig"

local signature = {}

-- A UserSig is renewed when this share of its life is over.
local RENEW_AT = 0.8

-- A clock further off than this is corrected by the reply's Date.
local SKEW_MIN_S = 60

---@class imattr.Signature.Secrets
---@field signer table? holds the key
---@field source string|fun(): string? a UserSig that somebody else made
---@field text string? the UserSig in use

---@class imattr.Signature
---@field _secrets fun(): imattr.Signature.Secrets
local Signature = {}
Signature.__index = Signature

-- A field of a metatable is no place for secrets to show: nothing prints a signature.
function Signature:__tostring()
  return "imattr.signature"
end

local function check_sources(given)
  local count = (given.key and 1 or 0) + (given.key_file and 1 or 0) + (given.usersig and 1 or 0)
  if count == 1 then
    return true
  end
  local message = count == 0 and "key: missing; give key, key_file or a usersig"
    or "key, key_file and usersig: give one of them, not several"
  return nil, errors.new { code = count == 0 and "MISSING_KEY" or "TWO_KEYS", message = message,
    class = "setup" }
end

--- Opens the signature that a client's options ask for.
---@param given table checked options
---@param time_s fun(): integer this machine's clock, in seconds since 1970
---@return imattr.Signature?
---@return imattr.Error?
function signature.new(given, time_s)
  local ok, err = check_sources(given)
  if not ok then
    return nil, err
  end
  local secrets = { source = given.usersig }
  if not given.usersig then
    secrets.signer, err = usersig.signer(given.key, given.key_file)
    if not secrets.signer then
      return nil, err
    end
  end
  return setmetatable({
    _secrets = function() return secrets end,
    _sdkappid = given.sdkappid,
    _identifier = given.identifier,
    _expire_s = given.usersig_expire_s,
    _time_s = time_s,
    _skew_s = 0,
    _renew_at = 0,
  }, Signature)
end

-- When a UserSig that somebody else made should be asked for again.
local function renewal_of(text)
  local fields = usersig.open(text)
  return fields and fields.time + RENEW_AT * fields.expire or math.huge
end

function Signature:_make(now_s)
  local secrets = self._secrets()
  if secrets.signer then
    local text, code, message = secrets.signer:sign(self._sdkappid, self._identifier, now_s,
      self._expire_s)
    if not text then
      return nil, errors.new { code = code, message = "identifier: " .. message, class = "setup" }
    end
    return text, now_s + RENEW_AT * self._expire_s
  end
  if type(secrets.source) == "string" then
    return secrets.source, math.huge
  end
  local text, reason = secrets.source()
  if type(text) ~= "string" then
    return nil, errors.new { code = "NO_USERSIG", class = "setup", message =
      "usersig: the function returned no string: " .. tostring(reason or type(text)) }
  end
  return text, renewal_of(text)
end

--- The UserSig for a request that leaves now.
---@return string? usersig
---@return imattr.Error? err
function Signature:get()
  local now_s = self._time_s() + self._skew_s
  local secrets = self._secrets()
  if not secrets.text or now_s >= self._renew_at then
    local text, renew_at = self:_make(now_s)
    if not text then
      return nil, renew_at
    end
    secrets.text, self._renew_at = text, renew_at
  end
  return secrets.text
end

--- The vendor refused the UserSig that a request carried: the next `get` makes another, by the
--- vendor's clock when ours is off. A UserSig made since that request is kept.
---@param used string the UserSig refused
---@param server_s integer? seconds since 1970 by the reply's Date
function Signature:renew(used, server_s)
  local secrets = self._secrets()
  if used ~= secrets.text then
    return
  end
  secrets.text = nil
  local skew_s = server_s and server_s - self._time_s() or 0
  self._skew_s = math.abs(skew_s) >= SKEW_MIN_S and skew_s or 0
end

--- Wipes the key.
function Signature:close()
  local secrets = self._secrets()
  if secrets.signer then
    secrets.signer:close()
    secrets.signer = nil
  end
  secrets.text, secrets.source = nil, nil
end

return signature
