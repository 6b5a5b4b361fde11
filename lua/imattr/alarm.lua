-- alarm: the vendor's webhook Alert.RequestOverLimit. It comes while an app sends more than 80 % of
-- a command's limit, and says what the limit is (vendor's page 1047/60256).

local core = require "imattr.core"
local errors = require "imattr.errors"
local json = require "imattr.json"
local wire = require "imattr.wire"

local alarm = {}

local COMMAND = "Alert.RequestOverLimit"

-- A signed request is good for this long (vendor's page 1047/34354): older ones are replayed.
local AGE_MAX_S = 60

-- The highest limit that a pace keeps to.
local LIMIT_MAX = 1000

local OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'
local FAIL = '{"ActionStatus":"FAIL","ErrorInfo":"%s","ErrorCode":1}'

---@class imattr.Alarm
---@field command string
---@field requests integer? a second, as the vendor counted
---@field limit integer requests a second

local function refuse(status, sentence)
  return nil, errors.new { code = "BAD_ALARM", class = "caller",
    message = "webhook: " .. sentence }, status
end

-- Digests are compared, not signatures: how long that takes tells nothing of the right one.
local function is_signed(args, token)
  return core.sha256(tostring(args.Sign):lower())
    == core.sha256(core.sha256(token .. tostring(args.RequestTime)))
end

local function is_whole(value)
  return type(value) == "number" and value >= 1 and value == math.floor(value)
end

--- What a webhook request says.
---@param args table of its URL
---@param body string?
---@param known { sdkappid: integer, token: string, time_s: integer }
---@return imattr.Alarm? alarm nil alone: another webhook, or one that tells no limit
---@return imattr.Error? err
---@return integer? status of HTTP to refuse it with
function alarm.read(args, body, known)
  local time_s = tonumber(args.RequestTime)
  if tonumber(args.SdkAppid) ~= known.sdkappid then
    return refuse(403, ("SdkAppid is not %.0f"):format(known.sdkappid))
  elseif not is_signed(args, known.token) then
    return refuse(403, "Sign is not that of the token: compare it with the console's")
  elseif not time_s or math.abs(known.time_s - time_s) > AGE_MAX_S then
    return refuse(403, ("RequestTime is more than %d s away"):format(AGE_MAX_S))
  elseif args.CallbackCommand ~= COMMAND then
    return nil
  end
  local object = json.decode(body or "")
  if type(object) ~= "table" or type(object.Command) ~= "string" or not is_whole(object.Limit) then
    return refuse(400, "wants a JSON object with Command and Limit")
  end
  return { command = object.Command, limit = math.min(object.Limit, LIMIT_MAX),
    requests = is_whole(object.Request) and object.Request or nil }
end

-- Has the commands of an app heed an alarm: the one that it names. Returns whether there is one.
local function heed(client, told)
  for _, command in pairs(wire.services[client._options.service]) do
    local pace = command.path == told.command and client:_pace(command.path)
    if pace then
      pace:limit(told.limit, client._world.now_us())
      return true
    end
  end
  return false
end

local function answer(ngx, status, text)
  ngx.status = status
  ngx.header.content_type = "application/json"
  ngx.print(text)
end

--- See Client:serve_alarm.
---@param client imattr.Client
---@param token string
---@return imattr.Alarm?
---@return imattr.Error?
function alarm.serve(client, token)
  local ngx = rawget(_G, "ngx")
  if not ngx or ngx.get_phase() ~= "content" then
    error("serve_alarm: wants to be called in content_by_lua of nginx", 3)
  end
  if type(token) ~= "string" or token == "" then
    error("serve_alarm: wants the webhook's token, a string", 3)
  end
  ngx.req.read_body()
  local told, err, status = alarm.read(ngx.req.get_uri_args(), ngx.req.get_body_data(),
    { sdkappid = client._options.sdkappid, token = token, time_s = client._world.time_s() })
  answer(ngx, status or 200, err and FAIL:format(err.message) or OK)
  if told and not heed(client, told) then
    return nil
  end
  return told, err
end

return alarm
