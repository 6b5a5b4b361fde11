-- vendor: the other side. The sandbox's rules answer; around them are users that the vendor does
-- not like, a stranger who uses up the quota, and answers that have nothing to do with the request.

local cjson = require("cjson").new()
local codes = require "imattr.codes"
local core = require "imattr.core"
local plan = require "simulation.plan"
local random = require "simulation.random"
local rules = require "imattr.sandbox.rules"
local signature = require "imattr.sandbox.signature"
local window = require "imattr.sandbox.window"

local vendor = {}

vendor.SDKAPPID = 1400000713 -- no other spec has it: a ring is known by this
vendor.KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e" -- the sample key
vendor.EPOCH_S = 1800000000 -- seconds since 1970 when the simulation's clock is at 0

-- To the letter of the vendor's pages.
local PLAIN_OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'

-- Codes of each class, in order.
local BY_CLASS = {}
do
  local all = {}
  for code in pairs(codes) do
    all[#all + 1] = code
  end
  table.sort(all)
  for _, code in ipairs(all) do
    local class = codes[code].class
    if class == "caller" or class == "permission" or class == "setup" then
      class = "stop"
    end
    BY_CLASS[class] = BY_CLASS[class] or {}
    table.insert(BY_CLASS[class], code)
  end
  table.insert(BY_CLASS.retry, 91777) -- codes that are in no row
  table.insert(BY_CLASS.user, 90777)
  table.insert(BY_CLASS.user, 123456)
end

local Vendor = {}
Vendor.__index = Vendor

---@param sim table now_us, check, plan
function vendor.new(sim)
  local open_usersig, verify = signature.functions(core, vendor.KEY)
  return setmetatable({
    sim = sim,
    dice = random.new(sim.plan.seed, 3),
    poison = {}, -- account -> code
    state = rules.new { sdkappid = vendor.SDKAPPID, attr_names = plan.NAMES, limit = sim.plan.limit,
      open_usersig = open_usersig, verify = verify },
  }, Vendor)
end

--- Seconds since 1970, by the vendor's clock.
function Vendor:time_s()
  return vendor.EPOCH_S + math.floor(self.sim.now_us / 1000000)
end

--- A code of a class, drawn.
function Vendor:code(class)
  return self.dice:pick(BY_CLASS[class])
end

--- What a refusal looks like.
function Vendor.refusal(code)
  return cjson.encode { ActionStatus = "FAIL", ErrorCode = code, ErrorInfo = "simulated" }
end

-- {===== requests =====

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local targets = {} -- everything before the random number -> path and arguments, kept
local targets_count = 0

local function read_target(target)
  local prefix, number = target:match("^(.*&random=)(%d+)$")
  local known = targets[prefix]
  if not known then
    local path, query = prefix:match("^([^?]*)%?(.*)$")
    known = { path = path, args = {} }
    for name, value in query:gmatch("([^&=]*)=([^&]*)") do
      known.args[name] = unescape(value)
    end
    targets_count = targets_count + 1
    if targets_count > 100 then
      targets, targets_count = {}, 0
    end
    targets[prefix] = known
  end
  known.args.random = number
  return known
end

-- The users of a request that the vendor does not like, and those it likes.
local function sort_out(self, flight)
  local bad, good, code = nil, nil, nil
  for index, user in ipairs(flight.users) do
    if self.poison[user.account] then
      bad = bad or {}
      bad[#bad + 1] = { To_Account = user.account, ErrorCode = self.poison[user.account] }
      code = code or self.poison[user.account]
    else
      good = good or {}
      good[#good + 1] = index
    end
  end
  return bad, good, code
end

-- Some users are refused, the others served: the answer of some commands.
local function answer_by_list(self, flight, request, bad, good)
  local object, code = { ActionStatus = "OK", ErrorCode = 0 }, 0
  if good then
    local whole, part = cjson.decode(flight.body), {}
    for i, index in ipairs(good) do
      part[i] = whole.UserAttrs[index]
    end
    request.body = cjson.encode { UserAttrs = part }
    object = cjson.decode(rules.answer(self.state, request, self.sim.now_us, self:time_s()).body)
    code = object.ErrorCode
  end
  if code == 0 then
    bad[#bad + 1] = { To_Account = "nobody-asked", ErrorCode = 90003 }
    object.ErrorList = bad
    flight.listed = {}
    for _, item in ipairs(bad) do
      flight.listed[item.To_Account] = true
    end
  end
  return cjson.encode(object), code
end

local function list_users(flight, indexes)
  local users = {}
  for i, index in ipairs(indexes) do
    users[i] = flight.users[index]
  end
  return users
end

-- Answers a request as the vendor would. Returns the body and the code, 0 when it was acted upon.
local function answer(self, flight, request)
  local bad, good, code = sort_out(self, flight)
  if bad and self.sim.plan.poison.by_list then
    local text, list_code = answer_by_list(self, flight, request, bad, good)
    return text, list_code, list_code == 0 and good and list_users(flight, good) or {}
  elseif bad then
    return self.refusal(code), code, {}
  end
  local text = rules.answer(self.state, request, self.sim.now_us, self:time_s()).body
  if text:find('"OK"', 1, true) then
    return self.sim.plan.network.is_terse and PLAIN_OK or text, 0, flight.users
  end
  return text, cjson.decode(text).ErrorCode, {}
end

--- A request arrives. `code`: the vendor refuses it with this, whatever it is about.
---@return string body
function Vendor:serve(flight, code)
  local known = read_target(flight.target)
  local sim = self.sim
  sim.check:arrived(flight, known.path, known.args.random)
  if code then
    flight.answer = code
    return self.refusal(code)
  end
  local body, number, users = answer(self, flight, { method = "POST", path = known.path,
    args = known.args, body = flight.body })
  if number == 0 then
    sim.check:applied(flight, users)
  end
  flight.answer = number == 0 and "done" or number
  sim.trace:event(sim.now_us, "vendor", flight.serial, number, #users, flight.is_late and "late")
  return body
end

-- }=====

--- Somebody else's program takes a part of the quota that our rings do not know of.
function Vendor:be_visited()
  local stranger, state = self.sim.plan.stranger, self.state
  local time = self.sim.time
  local gap_us = math.ceil(1000000 / (state.settings.limit * math.max(0.01, stranger.share)))
  local function visit()
    for _, path in ipairs { "im_set_attr", "im_remove_attr" } do
      if window.count(state.admitted[path], self.sim.now_us) < state.settings.limit then
        window.add(state.admitted[path], self.sim.now_us)
      end
    end
    if not self.sim.is_calm then
      time:at(self.sim.now_us + gap_us, visit)
    end
  end
  visit()
end

return vendor
