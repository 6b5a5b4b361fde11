-- virtual: an engine in virtual time, which watches what the engine promises.
--
-- After every step a world takes all results and checks: each update is in one place, each ticket
-- is settled once, the counts tell the same as the results, a user is never in two requests at
-- once, and no limit is passed.

local cjson = require("cjson").new()
local core = require "imattr.core"

local virtual = {}

virtual.SECOND_US = 1000000
virtual.RTT_US = 20000
virtual.FATES = { "done", "invalid", "refused", "unknown", "not_sent" }

local STEPS_MAX = 100000

-- As assert.equal, which only specs have; and a hundred times faster.
local function must_equal(wanted, found, what)
  if wanted ~= found then
    error(("%s: %s, wants %s"):format(what, tostring(found), tostring(wanted)), 2)
  end
end

-- The number that stands for a status: code("TIMEOUT").
---@param name string
---@return integer
function virtual.code(name)
  return core.statuses[name].code
end

--- What core.engine wants, with the client's defaults.
---@param changes table?
---@return table
function virtual.config(changes)
  local config = {
    lanes = { { shape = "set" }, { shape = "remove" } },
    account_bytes_max = 32, value_bytes_max = 50,
    users_max = 100, body_bytes_max = 1000000, queue_max = 10000, in_flight_max = 64,
    attempts_max = 5, hold_us = 15 * virtual.SECOND_US, deadline_us = 0,
    outage_max_us = 0, seed = 1,
  }
  for name, value in pairs(changes or {}) do config[name] = value end
  return config
end

-- Random numbers of the specs' own (Park and Miller), the same on every Lua: random(n) is 1 to n.
---@param seed integer
---@return fun(n: integer): integer
function virtual.random(seed)
  local state = (seed * 7919 + 1) % 2147483647
  return function(n)
    state = state * 16807 % 2147483647
    return state % n + 1
  end
end

-- ---- what a body says

local function accounts_of(object)
  local accounts = {}
  for i, user in ipairs(object.UserAttrs or object.To_Account) do
    accounts[i] = type(user) == "table" and user.To_Account or user
  end
  return accounts
end

-- ---- the world

local World = {}
World.__index = World

---@param changes table? of the config
---@return table world
function virtual.world(changes)
  local config = virtual.config(changes)
  return setmetatable({
    config = config,
    engine = core.engine(config),
    now_us = 0,
    pushed = 0, -- tickets given out
    results = {}, -- ticket -> { fate, code, attempts, account }
    told = { done = 0, invalid = 0, refused = 0, unknown = 0, not_sent = 0 },
    flights = {}, -- id -> request
    flight_count = 0,
    users_flying = {}, -- account -> id
    requests = {}, -- all that were sent, in order
    counts_table = {},
  }, World)
end

function World:counts()
  return self.engine:counts(self.counts_table)
end

-- Notes the end of an update. Raises when it had one.
function World:settle(ticket, fate, code, attempts, account)
  assert(ticket >= 1 and ticket <= self.pushed, "a ticket nobody got: " .. ticket)
  assert(not self.results[ticket], "settled twice: " .. ticket)
  self.results[ticket] = { fate = fate, code = code, attempts = attempts, account = account }
  self.told[fate] = self.told[fate] + 1
end

local function take_results(self)
  while true do
    local ticket, fate, code, attempts, account = self.engine:result()
    if not ticket then return end
    assert(not (self.config.quiet and fate == "done"), "a quiet engine tells of a done update")
    self:settle(ticket, fate, code, attempts, account)
  end
end

-- Takes the results and checks the books.
function World:check()
  take_results(self)
  local counts, ended = self:counts(), 0
  for _, fate in ipairs(virtual.FATES) do
    ended = ended + counts[fate]
    if not (self.config.quiet and fate == "done") then
      must_equal(counts[fate], self.told[fate], "told " .. fate)
    end
  end
  must_equal(self.pushed, counts.users, "users")
  must_equal(counts.users, ended + counts.waiting + counts.in_flight, "users somewhere")
  must_equal(#self.requests, counts.requests, "requests")
  assert(counts.waiting <= self.config.queue_max, "more wait than queue_max")
  assert(self.flight_count <= self.config.in_flight_max, "more fly than in_flight_max")
  return counts
end

--- Pushes an update; ticket | nil, code, message, as the engine.
function World:push(lane, account, attrs)
  local ticket, code, message, refused = self.engine:push(lane, account, attrs)
  if ticket or refused then
    self.pushed = self.pushed + 1
    must_equal(self.pushed, ticket or refused, "ticket")
    if refused then self:settle(refused, "invalid", code, 0) end
  end
  self:check()
  return ticket, code, message
end

--- Pushes `count` users u1, u2, ... with one attribute each.
function World:push_users(count, lane)
  for i = 1, count do assert(self:push(lane or 1, "u" .. i, { city = "c" .. i })) end
end

function World:flush(is_on)
  self.engine:flush(is_on)
  self:check()
end

function World:stop(name)
  self.engine:stop(virtual.code(name))
  self:check()
end

local function takes_off(self, request)
  assert(#request.accounts == request.users)
  assert(request.users <= self.config.users_max)
  assert(not self.flights[request.id], "an id twice")
  for _, account in ipairs(request.accounts) do
    assert(not self.users_flying[account], "in two requests at once: " .. account)
    self.users_flying[account] = request.id
  end
  self.flights[request.id] = request
  self.flight_count = self.flight_count + 1
  self.requests[#self.requests + 1] = request
end

local function lands(self, request)
  self.flights[request.id] = nil
  self.flight_count = self.flight_count - 1
  for _, account in ipairs(request.accounts) do self.users_flying[account] = nil end
end

--- "ready", request | "wait", until_us? | "idle"
function World:next()
  local answer, id, lane, body, users, attempt = self.engine:next(self.now_us)
  if answer ~= "ready" then
    assert(answer == "idle" or not id or id > self.now_us, "waits for the past")
    self:check()
    return answer, id
  end
  local object = cjson.decode(body)
  local request = {
    id = id, lane = lane, body = body, users = users, attempt = attempt, sent_us = self.now_us,
    object = object, accounts = accounts_of(object),
  }
  takes_off(self, request)
  self:check()
  return "ready", request
end

--- Sends all that may leave now: the requests, then the last answer and its moment.
function World:send()
  local requests = {}
  while true do
    local answer, request = self:next()
    if answer ~= "ready" then return requests, answer, request end
    requests[#requests + 1] = request
  end
end

--- The request that leaves now. Raises when none does.
function World:sent()
  local answer, request = self:next()
  must_equal("ready", answer, "answer")
  return request
end

--- Feeds a verdict: true | nil, "UNKNOWN_ID", message.
function World:feed(request, kind, code, may_have_arrived)
  local ok, name, message = self.engine:feed(request.id, self.now_us, kind, code, may_have_arrived)
  if ok then lands(self, request) end
  self:check()
  return ok, name, message
end

local function feed_reply(self, request)
  local reply = request.reply
  for account, code in pairs(reply.refused or {}) do
    assert(self.engine:refuse_user(request.id, account, code))
  end
  assert(self:feed(request, reply[1], reply[2], reply[3]))
end

local function first_reply(self)
  local first
  for _, request in pairs(self.flights) do
    if request.reply and (not first or request.reply_us < first.reply_us
        or request.reply_us == first.reply_us and request.id < first.id) then
      first = request
    end
  end
  return first
end

-- Lets time pass up to `until_us` (nil: no matter) or the next reply.
local function pass(self, until_us)
  local first = first_reply(self)
  assert(first or until_us, "waits for nothing")
  if first and (not until_us or first.reply_us <= until_us) then
    self.now_us = first.reply_us
    feed_reply(self, first)
  else
    self.now_us = until_us
  end
end

--- Runs to the end. `answer(request)` tells what is replied: { verdict, code?, may_have_arrived?,
--- refused = { [account] = code }?, rtt_us? }.
function World:run(answer)
  self:flush(true)
  for _ = 1, STEPS_MAX do
    local what, request = self:next()
    if what == "ready" then
      request.reply = answer(request)
      request.reply_us = self.now_us + (request.reply.rtt_us or virtual.RTT_US)
    elseif what == "wait" then
      pass(self, request)
    else
      must_equal(0, self.flight_count, "in flight when idle")
      return self:check()
    end
  end
  error("the run does not end")
end

--- Lets time pass until a request leaves; the request and how long that took.
function World:after_wait()
  local start_us = self.now_us
  while true do
    local answer, request = self:next()
    if answer == "ready" then return request, self.now_us - start_us end
    must_equal("wait", answer, "answer")
    self.now_us = assert(request, "only a reply can help")
  end
end

--- The fates of all tickets, in order: "done done not_sent".
function World:fates()
  local fates = {}
  for i = 1, self.pushed do fates[i] = self.results[i] and self.results[i].fate or "-" end
  return table.concat(fates, " ")
end

-- ---- answers for run

function virtual.delivered()
  return { "delivered" }
end

-- Refuses every body that holds one of these accounts.
---@param bad table<string, boolean>
---@param code integer?
function virtual.refuses(bad, code)
  return function(request)
    for _, account in ipairs(request.accounts) do
      if bad[account] then return { "split", code or 90033 } end
    end
    return { "delivered" }
  end
end

return virtual
