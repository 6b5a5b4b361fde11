-- access: may this request be served at all?
--
-- The checks of the vendor's gateway, which need the request line and the
-- clock but not the body: method, path, the five URL parameters, the UserSig,
-- the administrator, the frequency. Each is a function of the state and the
-- call that returns nothing when content, or the vendor's code and a sentence.
-- Their order in `access.checks` is the order in which they speak.

local window = require "imattr.sandbox.window"

local access = {}

local RANDOM_MAX = 4294967295
local RANDOM_DIGITS_MAX = 10

-- Text of the caller, made safe to stand in a sentence: short, printable.
local function shown(text)
  local short = text:sub(1, 40):gsub("[^\32-\126]", "?")
  return #text > 40 and short .. "..." or short
end

-- A URL parameter: its text, "" when missing or empty; nil and a refusal when
-- it was given twice.
local function parameter(call, name)
  local value = call.args[name]
  if type(value) == "table" then
    return nil, 60025, name .. ": given more than once"
  end
  return type(value) == "string" and value or ""
end

local function check_method(_, call)
  if call.method ~= "POST" then
    return 60002, ("method: %s, must be POST"):format(shown(tostring(call.method)))
  end
end

local function check_path(_, call)
  if not call.command then
    return 60009, ("path: %s is not a command of this service"):format(shown(call.path))
  end
end

local function check_sdkappid(state, call)
  local text, code, info = parameter(call, "sdkappid")
  if not text then
    return code, info
  elseif text == "" then
    return 60012, "sdkappid: missing"
  elseif not text:find("^%d+$") then
    return 60025, ("sdkappid: %s is not a number"):format(shown(text))
  elseif text ~= ("%d"):format(state.settings.sdkappid) then
    return 70020, ("sdkappid: %s not found, check the app and the host of its region"):format(
      shown(text))
  end
end

local function check_contenttype(_, call)
  local text, code, info = parameter(call, "contenttype")
  if not text then
    return code, info
  elseif text ~= "json" then
    return 60025, ("contenttype: %q, must be json"):format(shown(text))
  end
end

local function check_random(_, call)
  local text, code, info = parameter(call, "random")
  if not text then
    return code, info
  end
  local is_decimal = text:find("^%d+$") and #text <= RANDOM_DIGITS_MAX
  if not is_decimal or tonumber(text) > RANDOM_MAX then
    return 60025, ("random: %q is not an integer from 0 to %d"):format(shown(text), RANDOM_MAX)
  end
end

local function check_identifier(_, call)
  local text, code, info = parameter(call, "identifier")
  if not text then
    return code, info
  elseif text == "" then
    return 60025, "identifier: missing"
  end
end

-- Opens the UserSig for the checks that follow.
local function check_usersig(state, call)
  local text, code, info = parameter(call, "usersig")
  if not text then
    return code, info
  elseif text == "" then
    return 70002, "usersig: empty"
  end
  call.fields = state.open_usersig(text)
  if not call.fields then
    return 70003, "usersig: cannot be read, truncated or badly encoded"
  end
end

local function check_usersig_owner(state, call)
  local fields, sdkappid = call.fields, state.settings.sdkappid
  if fields.identifier ~= call.args.identifier then
    return 70013, ("identifier: %s, but the usersig is for %s"):format(
      shown(call.args.identifier), shown(fields.identifier))
  elseif fields.sdkappid ~= sdkappid then
    return 70014, ("sdkappid: %d, but the usersig is for %d"):format(sdkappid, fields.sdkappid)
  end
end

-- The last second of a signature's life still passes.
local function check_usersig_time(_, call)
  local age_s = call.now_s - call.fields.time
  if age_s > call.fields.expire then
    return 70001, ("usersig: expired, %d s old, valid for %d s"):format(
      math.floor(age_s), call.fields.expire)
  end
end

local function check_usersig_mac(state, call)
  local sdkappid = state.settings.sdkappid
  if not state.settings.region_ok then
    return 70016, ("sdkappid: no key for %d here, wrong data centre"):format(sdkappid)
  elseif not state.verify(call.fields) then
    return 70009, ("usersig: does not verify with the key of sdkappid %d"):format(sdkappid)
  end
end

local function check_admin(state, call)
  if not state.is_admin[call.args.identifier] then
    return 90009, ("identifier: %s is not an administrator of the app"):format(
      shown(call.args.identifier))
  end
end

-- `limit` requests in every second, wherever it starts. Refused requests do
-- not use the limit up: they are arrivals, not calls.
local function check_frequency(state, call)
  local admitted, limit = state.admitted[call.command], state.settings.limit
  if limit > 0 and window.count(admitted, call.now_us) >= limit then
    return 60007, ("requests per second of %s: more than the limit %d"):format(
      call.command, limit)
  end
  window.add(admitted, call.now_us)
end

access.checks = {
  check_method,
  check_path,
  check_sdkappid,
  check_contenttype,
  check_random,
  check_identifier,
  check_usersig,
  check_usersig_owner,
  check_usersig_time,
  check_usersig_mac,
  check_admin,
  check_frequency,
}

return access
