-- wire: how the vendor is spoken to and understood: commands, hosts, URLs, and what a reply means.

local cjson = require("cjson").new()
local codes = require "imattr.codes"
local core = require "imattr.core"
local errors = require "imattr.errors"
local json = require "imattr.json"
local redact = require "imattr.redact"

local wire = {}

-- What the vendor answers when there is nothing more to say, to the letter of its pages: the one
-- reply that is known without being parsed.
local PLAIN_OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'

-- What that means: one table for all, nobody writes into it.
local PLAINLY_DELIVERED = { kind = "delivered", object = {} }

-- ErrorInfo is somebody else's text: this much of it is shown.
local INFO_BYTES_MAX = 200

--- Users in one request (every attribute page of the vendor: "a maximum of 100 users").
wire.USERS_MAX = 100

--- Which command has which path, shape and limits, by family.
---@type { [string]: { [string]: { path: string, shape: string } } }
wire.services = {
  all_member_push = {
    set_attr = { path = "im_set_attr", shape = "set" },
    remove_attr = { path = "im_remove_attr", shape = "remove" },
    get_attr = { path = "im_get_attr", shape = "accounts" },
    set_attr_name = { path = "im_set_attr_name", shape = "whole" },
    get_attr_name = { path = "im_get_attr_name", shape = "whole" },
  },
}

--- Limits of a family: bytes of an account (Use Limits page) and of a value (im_set_attr page).
wire.limits = {
  all_member_push = { account_bytes_max = 32, value_bytes_max = 50 },
}

--- The hosts of the vendor's regions: the one of the im_set_attr page, and the one of the REST
--- overview page for when a carrier's name servers mislead about the first.
wire.regions = {
  china = { "console.tim.qq.com", "adminapi.my-imcloud.com" },
  singapore = { "adminapisgp.im.qcloud.com", "adminapisgp.my-imcloud.com" },
  seoul = { "adminapikr.im.qcloud.com", "adminapikr.my-imcloud.com" },
  tokyo = { "adminapijpn.im.qcloud.com", "adminapijpn.my-imcloud.com" },
  frankfurt = { "adminapiger.im.qcloud.com", "adminapiger.my-imcloud.com" },
  silicon_valley = { "adminapiusa.im.qcloud.com", "adminapiusa.my-imcloud.com" },
  jakarta = { "adminapiidn.im.qcloud.com", "adminapiidn.my-imcloud.com" },
}

local function is_loopback(host)
  return host == "localhost" or host == "[::1]" or host:match("^127%.%d+%.%d+%.%d+$") ~= nil
end

--- Takes an endpoint apart.
---@param endpoint string
---@return { url: string, host: string, is_loopback: boolean, is_plain: boolean }? parts
---@return string? problem
function wire.endpoint(endpoint)
  local scheme, host, port, rest = endpoint:match("^(%a+)://(%[[%x:.]+%])(:?%d*)(.*)$")
  if not scheme then
    scheme, host, port, rest = endpoint:match("^(%a+)://([%w.-]+)(:?%d*)(.*)$")
  end
  local number = tonumber(port and port:sub(2)) or port == "" and 443
  if not scheme or (rest ~= "" and rest ~= "/") or not number or number < 1 or number > 65535 then
    return nil, ("endpoint: %q, wants https://host or https://host:port"):format(endpoint)
  end
  scheme = scheme:lower()
  if scheme ~= "https" and not (scheme == "http" and is_loopback(host)) then
    return nil, ("endpoint: %q, wants https; http is for loopback only"):format(endpoint)
  end
  return {
    url = scheme .. "://" .. host .. port,
    host = host .. port,
    is_loopback = is_loopback(host),
    is_plain = scheme == "http",
  }
end

local function escape(text)
  return (text:gsub("[^%w%-._~]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end

--- The target (path and query) of a command up to its random number, which differs from request to
--- request.
---@param service string
---@param path string
---@param account { sdkappid: integer, identifier: string, usersig: string }
---@return string
function wire.target(service, path, account)
  return ("/v4/%s/%s?sdkappid=%.0f&identifier=%s&usersig=%s&contenttype=json&random="):format(
    service, path, account.sdkappid, escape(account.identifier), escape(account.usersig))
end

--- Encodes a request that is not a batch of users. An empty table is an object.
---@param value table
---@return string
function wire.encode(value)
  return cjson.encode(value)
end

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }

-- Days from 1970-01-01 to a date of the Gregorian calendar; March is the first month of a year.
local function days(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

-- The last second of the last year with four digits.
local DATE_MAX_S = 253402300799

--- Seconds since 1970 of a Date header (RFC 9110 IMF-fixdate), or nil: also for one that no UserSig
--- could be made for, before 1970 or beyond the year 9999.
---@param date string?
---@return integer?
function wire.date_s(date)
  local day, name, year, hour, minute, second =
    (date or ""):match("^%a+, (%d+) (%a+) (%d+) (%d+):(%d+):(%d+) GMT$")
  if not day or not MONTHS[name] then
    return nil
  end
  local date_s = days(tonumber(year), MONTHS[name], tonumber(day)) * 86400 + hour * 3600
    + minute * 60 + second
  return date_s >= 0 and date_s <= DATE_MAX_S and date_s or nil
end

---@class imattr.Reply
---@field id integer of the request
---@field status string "OK": an HTTP answer was read to its end; else a status of the core
---@field may_have_arrived boolean could the vendor have acted on the request?
---@field http_status integer
---@field body string
---@field date string?
---@field message string? the transport's words for a status that is not OK

---@class imattr.Verdict
---@field kind string delivered retry slow_down hold_off resign split stop give_up skip
---@field code integer? the vendor's, or a status's number
---@field may_have_arrived boolean?
---@field refused { [string]: integer }? accounts the vendor refused, with codes
---@field object table? the reply's JSON, when delivered
---@field info string? the vendor's or the transport's words

-- One line of somebody else's text, without a UserSig, cut.
local function clean(text)
  if type(text) ~= "string" or text == "" then
    return nil
  end
  return (redact.text(text):sub(1, INFO_BYTES_MAX):gsub("%c", " "))
end

local function world(kind, name, reply, info)
  return {
    kind = kind,
    code = core.statuses[name].code,
    may_have_arrived = reply.may_have_arrived,
    info = clean(info),
  }
end

-- No answer was read to its end.
local function of_transport(reply)
  local name = reply.status
  local kind = "retry"
  if name == "TLS" or name == "FORKED" then
    kind = "stop"
  elseif name == "REPLY_TOO_LARGE" then
    kind = "give_up"
  end
  return world(kind, name, reply, reply.message)
end

-- An answer that is not the vendor's: only network or gateway trouble has another status than 200.
local function of_http(reply)
  local status = reply.http_status
  local kind = "stop"
  if status >= 500 or status == 408 then
    kind = "retry"
  elseif status == 429 then
    kind = "slow_down"
  end
  return world(kind, "HTTP_STATUS", reply, "HTTP status " .. status)
end

local KINDS = { retry = "retry", rate = "slow_down", hold = "hold_off", resign = "resign",
  user = "split", caller = "stop", permission = "stop", setup = "stop" }

local function of_refusal(object)
  local code = object.ErrorCode
  local class = codes[code].class
  return {
    kind = KINDS[class],
    code = code,
    may_have_arrived = class == "retry",
    info = clean(object.ErrorInfo),
  }
end

-- The vendor's codes are five digits; what is not such a number is not the vendor's answer.
local function is_code(value)
  return type(value) == "number" and value >= 10000 and value <= 999999
    and value == math.floor(value)
end

-- { account = code } of an ErrorList, or nil. Absent, null and empty are alike. A user in it was
-- not done, whatever its code looks like.
local function refused_users(list)
  local refused
  for _, item in ipairs(type(list) == "table" and list or {}) do
    if type(item) == "table" and type(item.To_Account) == "string" then
      refused = refused or {}
      refused[item.To_Account] = is_code(item.ErrorCode) and item.ErrorCode
        or core.statuses.BAD_REPLY.code
    end
  end
  return refused
end

--- What a reply means.
---@param reply imattr.Reply
---@return imattr.Verdict
function wire.verdict(reply)
  if reply.status ~= "OK" then
    return of_transport(reply)
  end
  if reply.http_status ~= 200 then
    return of_http(reply)
  end
  if reply.body == PLAIN_OK then
    return PLAINLY_DELIVERED
  end
  local object = json.decode(reply.body)
  if type(object) ~= "table" then
    return world("retry", "BAD_REPLY", reply, "not a JSON object")
  end
  if object.ActionStatus == "OK" and object.ErrorCode == 0 then
    return { kind = "delivered", object = object, refused = refused_users(object.ErrorList) }
  end
  if is_code(object.ErrorCode) then
    return of_refusal(object)
  end
  return world("retry", "BAD_REPLY", reply, "ActionStatus and ErrorCode do not agree")
end

--- The error for a code: a vendor's ("70009") or a status's name ("CONNECT").
---@param code string
---@param where string "https://host"
---@param info string? the vendor's or the transport's words
---@return imattr.Error
function wire.error(code, where, info)
  local known = codes[tonumber(code) or 0]
  if not tonumber(code) then
    return errors.world(code, where, info)
  end
  local message = ("%s: %s"):format(code, known.message) -- the vendor's, whatever the host
  message = message .. (info and (" (%s)"):format(info) or "")
  message = message .. (known.hint and "; " .. known.hint or "")
  local class = (known.class == "resign" or known.class == "hold") and "permission" or known.class
  return errors.new { code = code, message = message, class = class, vendor_code = tonumber(code) }
end

return wire
