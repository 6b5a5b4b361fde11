-- rules: the vendor's behaviour as one pure function.
--
-- `rules.answer(state, request, now_us, now_s)` turns a request into a reply.
-- It has no clock, no socket and no randomness, so nginx serves it on loopback
-- and a simulation lives through a year of it in a minute. What it knows is in
-- the state; what it knows of cryptography comes in as two functions.
--
-- Like the vendor it answers HTTP 200 to whatever it is asked; the outcome is
-- in the body: ActionStatus, ErrorCode, ErrorInfo.

local cjson = require("cjson").new()
local access = require "imattr.sandbox.access"
local body = require "imattr.sandbox.body"
local commands = require "imattr.sandbox.commands"
local statistics = require "imattr.sandbox.statistics"
local window = require "imattr.sandbox.window"

local rules = {}

local SERVICE_PREFIX = "^/v4/all_member_push/([%w_]+)$"
local NAMES_MAX = 10
-- Statistics of requests that name no command of ours.
local NO_COMMAND = "other"

---@class imattr.sandbox.settings
---@field sdkappid integer? the app
---@field admins string[]? accounts that may call
---@field attr_names string[]? registered names, from index 0 on
---@field limit integer? requests per second and command; 0 is no limit
---@field store boolean? false checks everything and remembers no user
---@field latency_ms number? how late the reply is
---@field latency_jitter_ms number? how much later still, at random (the server rolls the dice)
---@field region_ok boolean? false plays the wrong data centre
---@field open_usersig fun(usersig: string): table? fields of a UserSig, nil when unreadable
---@field verify fun(fields: table): boolean does its signature hold?

---@class imattr.sandbox.request
---@field method string
---@field path string
---@field args table<string, string> URL parameters, decoded
---@field body string?

---@class imattr.sandbox.reply
---@field status integer
---@field body string
---@field delay_ms number how long to keep the client waiting

-- What a sandbox is when nothing is said.
rules.DEFAULTS = {
  sdkappid = 1400000000,
  admins = { "administrator" },
  attr_names = { "city", "country", "tier", "sex", "level" },
  limit = 100,
  store = true,
  latency_ms = 0,
  latency_jitter_ms = 0,
  region_ok = true,
}

local function is_count(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0 and value <= 4294967295
end

local function is_duration(value)
  return type(value) == "number" and value >= 0 and value < math.huge
end

local function is_boolean(value)
  return type(value) == "boolean"
end

local function is_function(value)
  return type(value) == "function"
end

-- A list of different, non-empty strings; at most `max` of them.
local function is_words(value, max)
  if type(value) ~= "table" or #value > (max or math.huge) then
    return false
  end
  local seen = {}
  for key, word in pairs(value) do
    if type(key) ~= "number" or type(word) ~= "string" or word == "" or seen[word] then
      return false
    end
    seen[word] = true
  end
  return true
end

local function is_names(value)
  return is_words(value, NAMES_MAX)
end

local SETTINGS = {
  sdkappid = { is_count, "an integer from 0 to 4294967295" },
  admins = { is_words, "a list of different strings" },
  attr_names = { is_names, "a list of at most 10 different strings" },
  limit = { is_count, "an integer, 0 for no limit" },
  store = { is_boolean, "a boolean" },
  latency_ms = { is_duration, "a number of milliseconds" },
  latency_jitter_ms = { is_duration, "a number of milliseconds" },
  region_ok = { is_boolean, "a boolean" },
  open_usersig = { is_function, "a function" },
  verify = { is_function, "a function" },
}

-- Are these settings what they must be?
---@param changes imattr.sandbox.settings
---@return boolean? ok
---@return string? message
function rules.check(changes)
  for name, value in pairs(changes) do
    local setting = SETTINGS[name]
    if not setting then
      return nil, "unknown setting: " .. tostring(name)
    elseif not setting[1](value) then
      return nil, ("%s: must be %s"):format(name, setting[2])
    end
  end
  return true
end

local function register_admins(state, admins)
  state.is_admin = {}
  for _, admin in ipairs(admins) do
    state.is_admin[admin] = true
  end
end

local function register_names(state, names)
  state.names, state.index_of = {}, {}
  for i, name in ipairs(names) do
    local index = tostring(i - 1)
    state.names[index], state.index_of[name] = name, index
  end
end

-- Changes settings of a living state. All of `changes`, or none.
---@param state table
---@param changes imattr.sandbox.settings
---@return boolean? ok
---@return string? message
function rules.change(state, changes)
  local ok, message = rules.check(changes)
  if not ok then
    return nil, message
  end
  for name, value in pairs(changes) do
    state.settings[name] = value
  end
  if changes.admins then
    register_admins(state, changes.admins)
  end
  if changes.attr_names then
    register_names(state, changes.attr_names)
  end
  state.open_usersig, state.verify = state.settings.open_usersig, state.settings.verify
  return true
end

-- Forgets the statistics. Users, names and the frequency of the last second stay.
---@param state table
function rules.reset(state)
  state.counters = { [NO_COMMAND] = statistics.new() }
  for name in pairs(commands.by_name) do
    state.counters[name] = statistics.new()
  end
end

-- A new app with its settings; raises when a setting is not what it must be.
---@param settings imattr.sandbox.settings `open_usersig` and `verify` are required
---@return table state
function rules.new(settings)
  local state = { settings = {}, users = {}, admitted = {}, now_us = -math.huge }
  for name in pairs(commands.by_name) do
    state.admitted[name] = window.new()
  end
  rules.reset(state)
  assert(rules.change(state, rules.DEFAULTS))
  local ok, message = rules.change(state, settings)
  if ok and not (state.verify and state.open_usersig) then
    ok, message = nil, "open_usersig, verify: missing"
  end
  if not ok then
    error(message, 2)
  end
  return state
end

-- Why the call is not served: the vendor's code and a sentence; nothing when it is.
local function refusal(state, call)
  for _, check in ipairs(access.checks) do
    local code, info = check(state, call)
    if code then
      return code, info
    end
  end
  local object, code, info = body.open(call.body)
  if not object then
    return code, info
  end
  call.object = object
  return commands.by_name[call.command].check(state, object)
end

-- What a refused request and an accepted one look like.
local function outcome(state, call)
  local code, info = refusal(state, call)
  if code then
    return { ActionStatus = "FAIL", ErrorCode = code, ErrorInfo = info }
  end
  local fields, users = commands.by_name[call.command].apply(state, call.object)
  fields = fields or {}
  fields.ActionStatus, fields.ErrorCode, fields.ErrorInfo = "OK", 0, ""
  return fields, users
end

local function command_of(path)
  local name = path:match(SERVICE_PREFIX)
  return commands.by_name[name] and name
end

-- Answers one request.
---@param state table
---@param request imattr.sandbox.request
---@param now_us number monotonic time of its arrival; a time before the last one is taken as that
---@param now_s number seconds since 1970, for the signature's age
---@return imattr.sandbox.reply
function rules.answer(state, request, now_us, now_s)
  state.now_us = math.max(now_us, state.now_us)
  local call = {
    method = request.method,
    path = request.path,
    args = request.args,
    body = request.body,
    command = command_of(request.path),
    now_us = state.now_us,
    now_s = now_s,
  }
  local counter = state.counters[call.command or NO_COMMAND]
  statistics.arrive(counter, request, call.now_us)
  local fields, users = outcome(state, call)
  statistics.settle(counter, fields.ErrorCode, users)
  -- Faults (a late, cut, wrong or missing reply, by seed) belong here: after
  -- the deed, before the word.
  return {
    status = 200,
    body = cjson.encode(fields),
    delay_ms = state.settings.latency_ms,
  }
end

-- What was seen since the last reset, and how many users are kept.
---@param state table
---@return { commands: table<string, imattr.sandbox.statistics>, users_stored: integer }
function rules.stats(state)
  local stats = { commands = {}, users_stored = 0 }
  for name, counter in pairs(state.counters) do
    stats.commands[name] = statistics.export(counter)
  end
  for _, attrs in pairs(state.users) do
    stats.users_stored = stats.users_stored + (next(attrs) ~= nil and 1 or 0)
  end
  return stats
end

return rules
