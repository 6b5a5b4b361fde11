-- scale: many users through the real client, against a vendor that answers after 80 ms +- 20 and
-- fails in one of a hundred requests. How long would it take, in how many requests, and does memory
-- grow? The vendor keeps nothing, and checks the rate.

local client = require "imattr.client"
local core = require "imattr.core"
local random = require "simulation.random"

local scale = {}

local RATE, USERS_IN_REQUEST = 100, 100
local RTT_US, JITTER_US, SECOND_US = 80000, 20000, 1000000
local FAULT_RATE = 0.01
local START_US = 3600 * SECOND_US

local PLAIN_OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'

-- What may go wrong, alike often: nothing arrives, or its answer does not come back.
local FAULTS = {
  { status = "CONNECT", may_have_arrived = false },
  { status = "CUT", may_have_arrived = true, arrives = true },
  { status = "TIMEOUT", may_have_arrived = true, arrives = true, late_us = 10 * SECOND_US },
  { status = "OK", may_have_arrived = true, http_status = 502, body = "Bad Gateway" },
  { status = "OK", may_have_arrived = true, http_status = 200,
    body = '{"ActionStatus":"FAIL","ErrorCode":91000,"ErrorInfo":"inner error"}' },
}
local FINE = { status = "OK", may_have_arrived = true, http_status = 200, body = PLAIN_OK,
  arrives = true }

-- {===== the wire =====

local Wire = {}
Wire.__index = Wire
Wire.borrows = true -- nobody looks into the bodies

local function new_wire()
  return setmetatable({ now_us = START_US, dice = random.new(1, 6), replies = {}, first = 1,
    last = 0, times = {}, oldest = 1, newest = 0, most = 0, requests = 0 }, Wire)
end

-- Arrivals of the last second; requests reach the vendor nearly in the order of the sends.
local function arrive(self, at_us)
  local place = self.newest
  while place >= self.oldest and self.times[place] > at_us do
    self.times[place + 1] = self.times[place]
    place = place - 1
  end
  self.times[place + 1] = at_us
  self.newest = self.newest + 1
  while self.times[self.newest] - self.times[self.oldest] >= SECOND_US do
    self.times[self.oldest] = nil
    self.oldest = self.oldest + 1
  end
  self.most = math.max(self.most, self.newest - self.oldest + 1)
end

function Wire:start(id)
  local dice, outcome = self.dice, FINE
  if dice:chance(FAULT_RATE) then
    outcome = dice:pick(FAULTS)
  end
  local there_us = self.now_us + math.floor(RTT_US / 2)
  self.requests = self.requests + 1
  if outcome.arrives then
    arrive(self, there_us)
  end
  local at_us = there_us + math.floor(RTT_US / 2) - JITTER_US + dice:int(2 * JITTER_US)
    + (outcome.late_us or 0)
  local place, replies = self.last, self.replies
  while place >= self.first and replies[place].at_us > at_us do
    replies[place + 1] = replies[place]
    place = place - 1
  end
  replies[place + 1] = { at_us = at_us, id = id, status = outcome.status,
    may_have_arrived = outcome.may_have_arrived, http_status = outcome.http_status or 0,
    body = outcome.body or "" }
  self.last = self.last + 1
end

function Wire:wait(timeout_us)
  local reply = self.replies[self.first]
  if reply and (not timeout_us or reply.at_us <= self.now_us + timeout_us) then
    self.replies[self.first] = nil
    self.first = self.first + 1
    self.now_us = math.max(self.now_us, reply.at_us)
    return reply
  end
  self.now_us = self.now_us + assert(timeout_us, "waits without end for nothing")
end

function Wire.close() end

-- }=====

-- {===== measuring =====

-- KiB that the process has in memory, and that Lua has.
local function memory_kib()
  collectgarbage()
  collectgarbage()
  local rss
  for line in io.lines("/proc/self/status") do
    rss = rss or tonumber(line:match("^VmRSS:%s*(%d+)"))
  end
  return rss, math.floor(collectgarbage("count"))
end

local function new_client(wire)
  return assert(client.new({ sdkappid = 1400000713, key = "scale", usersig_expire_s = 3600,
    endpoint = "https://main.example", rate = RATE, pace_scope = "process" }, {
    now_us = function()
      wire.now_us = wire.now_us + 1
      return wire.now_us
    end,
    time_s = function() return 1800000000 + math.floor(wire.now_us / SECOND_US) end,
    random_u32 = random.distinct(1),
    pace = function(rate, mode) return core.pace(rate, mode) end,
    transport = function() return wire end,
  }))
end

--- Sends `count` users. The early measure is taken after a twentieth of them, when every buffer
--- has its size.
---@param count integer
---@return table figures
function scale.run(count)
  local wire = new_wire()
  local i, early, early_rss, early_lua = 0, math.floor(count / 20), nil, nil
  local attrs = { city = "Shenzhen", level = "17" }
  local started = os.clock()
  local report = assert(new_client(wire):set_attr(function()
    i = i + 1
    if i == early then
      early_rss, early_lua = memory_kib()
    end
    if i <= count then
      return ("user%09d"):format(i), attrs
    end
  end))
  local rss, lua = memory_kib()
  return { report = report, seconds = (wire.now_us - START_US) / 1e6, sent = wire.requests,
    most = wire.most, cpu_s = os.clock() - started, early_rss = early_rss or rss, rss = rss,
    early_lua = early_lua or lua, lua = lua, best = math.ceil(count / USERS_IN_REQUEST) }
end

--- The same in words. Returns whether all went well.
function scale.tell(count)
  local figures = scale.run(count)
  local report = figures.report
  print(("%d users: %d done in %d requests (%d retries; %d would do), at most %d in a second")
    :format(count, report.done, report.requests, report.retries, figures.best, figures.most))
  print(("virtual time %d h %02d min %02d s: %.1f requests/s, %.0f users/s"):format(
    math.floor(figures.seconds / 3600), math.floor(figures.seconds / 60) % 60,
    math.floor(figures.seconds) % 60, report.requests / figures.seconds, count / figures.seconds))
  print(("processor time %.1f s: %.0f users/s; memory %d KiB at a twentieth, %d KiB at the end "
    .. "(Lua: %d, %d)"):format(figures.cpu_s, count / figures.cpu_s, figures.early_rss, figures.rss,
    figures.early_lua, figures.lua))
  return report.ok and report.done == count and figures.most <= RATE
end

-- }=====

return scale
