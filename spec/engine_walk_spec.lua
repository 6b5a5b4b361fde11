-- The engine on a random walk: thousands of pushes, sends and verdicts in an order drawn from a
-- seed, with a server that really keeps what it is sent. After every step spec/support/virtual.lua
-- checks the books: every update in one place, each ticket settled once, no user in two requests at
-- once, the limits kept. At the end the server must hold, for every user and attribute, the newest
-- value that was done. A failing seed is in the test's name.

local virtual = require "support.virtual"

local SET, REMOVE = 1, 2
local STEPS = 5000
local USERS = 60
local NAMES = 14 -- more than one update can hold, so that some cannot merge

-- ---- the server

local server = {}

-- Applies a body: { [account] = { [name] = value } }.
function server.apply(held, request)
  for _, user in ipairs(request.object.UserAttrs) do
    local attrs = held[user.To_Account] or {}
    held[user.To_Account] = attrs
    for key, value in pairs(user.Attrs) do
      if request.lane == SET then attrs[key] = value else attrs[value] = nil end
    end
  end
end

-- ---- the walker

local Walker = {}
Walker.__index = Walker

local function new_walker(seed)
  local random = virtual.random(seed)
  return setmetatable({
    random = random,
    world = virtual.world {
      seed = seed, users_max = random(2) == 1 and 10 or 3, in_flight_max = random(5),
      queue_max = 20 + random(60), attempts_max = 3 + random(4),
    },
    held = {}, -- by the server
    pushes = {}, -- account -> name -> { { ticket, value or false } ... }
    given_up = 0, -- requests in a row
    applied = {}, -- body -> true
    old = {}, -- requests that have landed
    tally = {},
  }, Walker)
end

function Walker:count(word)
  self.tally[word] = (self.tally[word] or 0) + 1
end

local function note(self, account, name, ticket, value)
  local names = self.pushes[account] or {}
  local list = names[name] or {}
  self.pushes[account], names[name] = names, list
  list[#list + 1] = { ticket = ticket, value = value }
end

-- One to nine names, drawn without regard to repeats.
local function draw_names(self)
  local names = {}
  for i = 1, self.random(self.random(3) == 1 and 9 or 2) do names[i] = "a" .. self.random(NAMES) end
  return names
end

function Walker:push()
  local lane = self.random(4) == 1 and REMOVE or SET
  local account = "u" .. self.random(USERS)
  local names, attrs = draw_names(self), {}
  for i, name in ipairs(names) do
    if lane == SET then attrs[name] = "v" .. self.world.pushed else attrs[i] = name end
  end
  local ticket = self.world:push(lane, account, attrs)
  if not ticket then return self:count("full") end
  self:count("pushed")
  for _, name in ipairs(names) do
    note(self, account, name, ticket, lane == SET and attrs[name])
  end
end

function Walker:push_bad()
  self:count("invalid")
  self.world:push(SET, "u" .. self.random(USERS), { [""] = "1" })
end

function Walker:send()
  local answer, request = self.world:next()
  self:count(answer)
  if answer == "ready" and self.random(2) == 1 then
    self:act(request) -- before anything else happens
  end
end

-- One of these, as often as it stands here.
local VERDICTS = {}
for verdict, times in pairs {
  delivered = 20, retry = 3, lost = 3, slow_down = 3, resign = 3, split = 4, give_up = 1,
} do
  for _ = 1, times do VERDICTS[#VERDICTS + 1] = verdict end
end
table.sort(VERDICTS)

-- A server that has done a body before does not refuse it now; "sign again" twice would end the
-- run.
local function draw_verdict(self, request)
  local verdict = VERDICTS[self.random(#VERDICTS)]
  if verdict == "resign" and request.attempt > 1
      or verdict == "split" and self.applied[request.body] then
    return "delivered"
  end
  return verdict
end

local function without(request, account)
  local users = {}
  for _, user in ipairs(request.object.UserAttrs) do
    if user.To_Account ~= account then users[#users + 1] = user end
  end
  return { lane = request.lane, object = { UserAttrs = users } }
end

-- The server acts on a request, or does not get it: decided once for each attempt.
function Walker:act(request)
  if request.verdict then return end
  local verdict = draw_verdict(self, request)
  request.verdict = verdict
  if verdict == "delivered" and not self.applied[request.body] and self.random(4) == 1 then
    request.refused = request.accounts[self.random(#request.accounts)]
  end
  if verdict == "delivered" or verdict == "give_up"
      or verdict == "lost" and self.random(2) == 1 then
    self.applied[request.body] = true
    server.apply(self.held, without(request, request.refused))
  end
end

-- The oldest, or some other, request in flight.
local function some_flight(self)
  local ids = {}
  for id in pairs(self.world.flights) do ids[#ids + 1] = id end
  table.sort(ids)
  return #ids > 0 and self.world.flights[ids[self.random(#ids)]]
end

local CODES = {
  retry = 91000, lost = virtual.code("TIMEOUT"), slow_down = 60007, resign = 70001, split = 90033,
  give_up = virtual.code("BAD_REPLY"),
}

function Walker:feed()
  local request = some_flight(self)
  if not request then return end
  self:act(request)
  self:count(request.verdict)
  self.old[#self.old + 1] = request
  if request.refused then
    assert(self.world.engine:refuse_user(request.id, request.refused, 70107))
  end
  local kind = request.verdict == "lost" and "retry" or request.verdict
  if self.given_up == 2 and (kind == "retry" or kind == "give_up") then
    kind = "slow_down" -- a third one given up would end the run
  end
  local lost = self.world.told.unknown + self.world.told.not_sent
  assert(self.world:feed(request, kind, CODES[request.verdict],
    request.verdict == "lost" or request.verdict == "give_up"))
  if kind == "delivered" then
    self.given_up = 0
  elseif self.world.told.unknown + self.world.told.not_sent > lost then
    self.given_up = self.given_up + 1
  end
end

-- A reply that comes late, or twice.
function Walker:feed_old()
  local request = self.old[self.random(#self.old + 1)]
  if request then
    self:count("late")
    local ok, code = self.world.engine:feed(request.id, self.world.now_us, "delivered")
    assert(not ok and code == "UNKNOWN_ID")
    self.world:check()
  end
end

function Walker:pass_time()
  local most_us = self.random(2) == 1 and 1000 or 3 * virtual.SECOND_US
  self.world.now_us = self.world.now_us + self.random(most_us) - 1
end

function Walker:toggle_flush()
  self.world:flush(self.random(3) > 1)
end

-- How often of a hundred steps.
local STEPS_OF = {
  { 40, "push" }, { 2, "push_bad" }, { 25, "send" }, { 20, "feed" }, { 3, "feed_old" },
  { 8, "pass_time" }, { 2, "toggle_flush" },
}

function Walker:step()
  local drawn = self.random(100)
  for _, row in ipairs(STEPS_OF) do
    drawn = drawn - row[1]
    if drawn <= 0 then return self[row[2]](self) end
  end
end

-- Until all is settled: everything still in flight gets its verdict.
function Walker:finish()
  self.world:flush(true)
  for _ = 1, 100000 do
    local answer, until_us = self.world:next()
    if answer == "idle" then return end
    if answer == "wait" and self.world.flight_count > 0 then
      self:feed()
    elseif answer == "wait" then
      self.world.now_us = until_us
    end
  end
  error("the walk does not end")
end

-- ---- judging

-- The values the server may hold: of the newest update that was done, or of a newer one that may
-- have arrived.
local function may_hold(self, pushes)
  local allowed = {}
  for i = #pushes, 1, -1 do
    local fate = self.world.results[pushes[i].ticket].fate
    if fate == "done" or fate == "unknown" then allowed[tostring(pushes[i].value)] = true end
    if fate == "done" then return allowed end
  end
  allowed["false"] = true -- as in the beginning
  return allowed
end

local function judge(self)
  for account, names in pairs(self.pushes) do
    for name, pushes in pairs(names) do
      local value = tostring(self.held[account] and self.held[account][name] or false)
      if not may_hold(self, pushes)[value] then
        local last = pushes[#pushes]
        error(("%s %s: the server holds %s, the last pushed is %s, %s"):format(account, name, value,
          tostring(last.value), self.world.results[last.ticket].fate))
      end
    end
  end
end

local function walk(seed, steps)
  local walker = new_walker(seed)
  for _ = 1, steps do walker:step() end
  return walker
end

describe("a random walk", function()
  for seed = 1, 12 do
    it(("keeps every promise with seed %d%s"):format(seed, seed > 3 and " #slow" or ""), function()
      local walker = walk(seed, STEPS)
      walker:finish()
      local counts = walker.world:check()
      assert.equal(0, counts.waiting + counts.in_flight)
      assert.is_nil(walker.world.engine:stop_code())
      assert(counts.requests > 200, counts.requests .. " requests")
      assert.equal(walker.world.pushed, #walker.world.results)
      judge(walker)
    end)
  end

  it("goes everywhere #slow", function()
    local tally = {}
    for seed = 1, 12 do
      for word, count in pairs(walk(seed, 1000).tally) do
        tally[word] = (tally[word] or 0) + count
      end
    end
    for _, word in ipairs {
      "pushed", "full", "invalid", "ready", "wait", "idle", "delivered", "retry", "lost",
      "slow_down", "resign", "split", "give_up", "late",
    } do
      assert((tally[word] or 0) >= 20, ("%s: %d times"):format(word, tally[word] or 0))
    end
  end)

  for seed = 101, 106 do
    it(("leaves nothing out when it is stopped, with seed %d"):format(seed), function()
      local walker = walk(seed, 200 + seed * 3)
      walker.world:stop("INTERRUPTED")
      local sent = #walker.world.requests
      for _ = 1, 200 do walker:step() end
      walker:finish()
      assert.equal(sent, #walker.world.requests)
      assert.equal(walker.world.pushed, #walker.world.results)
      judge(walker)
    end)
  end

  it("is forgotten without a trace in the middle", function()
    for seed = 201, 210 do
      local walker = walk(seed, 500)
      walker.world.engine:close()
    end
  end)
end)
