-- network: transports that live in virtual time, and everything that can go wrong between a client
-- and the vendor. A transport keeps the contract of imattr/transport/curl.lua: what was started
-- leaves with the next wait; a wait may end before its time, and then the pump asks again.

local random = require "simulation.random"

local network = {}

local MS_US = 1000

-- What answers that are not the vendor's look like.
local FOREIGN = { "", "null", "[]", "{}", "17", '"OK"', "<html><body>Welcome</body></html>",
  '{"ActionStatus":"OK"}', '{"ErrorCode":0}', '{"ActionStatus":"OK","ErrorCode":"0"}',
  '{"ActionStatus":"FAIL","ErrorCode":0}', '{"ActionStatus":"OK","ErrorCode":false}',
  '{"ActionStatus":"FAIL","ErrorCode":9223372036854775808}', '{"ActionStatus":"OK","ErrorCode":-1}',
  '{"ActionStatus":"FAIL","ErrorCode":90033.5}', '{"ActionStatus":"OK","ErrorCode":1e9}',
  ("["):rep(40), "\0\255\254" }

local HTML = "<html><h1>Bad Gateway</h1></html>"

local Network = {}
Network.__index = Network

---@param sim table
function network.new(sim)
  return setmetatable({ sim = sim, plan = sim.plan.network, dice = random.new(sim.plan.seed, 2),
    serial = 0, flying = 0, faults = sim.plan.network.faults }, Network)
end

-- {===== the ends of a request =====

local function finish(self, flight, reply)
  if flight.is_over then
    return
  end
  flight.is_over = true
  self.flying = self.flying - 1
  local transport = flight.transport
  reply.id = flight.id
  flight.reply = reply
  transport.ready[#transport.ready + 1] = flight
  if transport.waiting then
    self.sim.time:rouse(transport.waiting)
  end
end

-- The client is told so at a moment, or of the time-out if that is before.
local function tell(self, flight, at_us, reply)
  if at_us >= flight.deadline_us then
    at_us = flight.deadline_us
    reply = { status = "TIMEOUT", may_have_arrived = true, http_status = 0, body = "",
      message = "simulated" }
  end
  self.sim.time:at(at_us, function() finish(self, flight, reply) end)
end

local function trouble(status, may_have_arrived)
  return { status = status, may_have_arrived = may_have_arrived, http_status = 0, body = "",
    message = "simulated" }
end

local DAYS = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }
local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
  "Dec" }

-- A Date header (RFC 9110), without the machine's calendar.
local function date_of(time_s)
  local days = math.floor(time_s / 86400)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return ("%s, %02d %s %d %02d:%02d:%02d GMT"):format(DAYS[days % 7 + 1],
    doy - math.floor((153 * mp + 2) / 5) + 1, MONTHS[month], year,
    math.floor(time_s / 3600) % 24, math.floor(time_s / 60) % 60, time_s % 60)
end

local function answer(self, body, http_status)
  return { status = "OK", may_have_arrived = true, http_status = http_status or 200, body = body,
    date = self.plan.has_date and date_of(self.sim.vendor:time_s()) or nil }
end

-- One way of the wire. A spike may be longer than any time-out, and so is a fault.
local function way_us(self)
  local dice, plan = self.dice, self.plan
  local time_us = math.floor(plan.rtt_us / 2)
  if plan.jitter_us > 0 then
    time_us = time_us + dice:int(plan.jitter_us)
  end
  if plan.spike_rate > 0 and not self.sim.is_calm and dice:chance(plan.spike_rate) then
    time_us = time_us + dice:int(plan.spike_us)
  end
  return time_us
end

-- The request arrives at a moment; `deed(body)` says what comes of the answer.
local function arrive(self, flight, at_us, deed, code)
  self.travelling = (self.travelling or 0) + 1
  self.sim.time:at(at_us, function()
    self.travelling = self.travelling - 1
    deed(self.sim.vendor:serve(flight, code))
  end)
end

-- It arrives, and its answer, changed by `change(body)`, comes back.
local function exchange(self, flight, change, code)
  local sim = self.sim
  arrive(self, flight, sim.now_us + way_us(self), function(body)
    tell(self, flight, sim.now_us + way_us(self), change(body))
  end, code)
end

-- }=====

-- {===== faults: what becomes of an attempt =====

local fates = {}

local function no_connection(status)
  return function(self, flight)
    tell(self, flight, self.sim.now_us + way_us(self), trouble(status, false))
  end
end

fates.refused = no_connection("CONNECT")
fates.resolve = no_connection("RESOLVE")
fates.handshake = no_connection("CUT")
fates.tls = no_connection("TLS")

function fates.connect_hole(self, flight)
  local patience_us = math.min(flight.transport.connect_timeout_us, flight.timeout_us)
  self.sim.time:at(self.sim.now_us + patience_us, function()
    finish(self, flight, trouble("TIMEOUT", false))
  end)
end

-- The connection ends before, in the middle of or behind the request.
function fates.cut_before(self, flight)
  tell(self, flight, self.sim.now_us + way_us(self), trouble("CUT", self.dice:chance(0.5)))
end

function fates.cut_middle(self, flight)
  tell(self, flight, self.sim.now_us + way_us(self), trouble("CUT", true))
end

function fates.cut_after(self, flight)
  exchange(self, flight, function() return trouble("CUT", true) end)
end

-- The client sees the connection end before the vendor has read what is in its queue.
function fates.cut_late(self, flight)
  local end_us = self.sim.now_us + way_us(self)
  tell(self, flight, end_us, trouble("CUT", true))
  arrive(self, flight, end_us + self.dice:int(flight.timeout_us), function() end)
end

-- Nothing comes back: the request, or its answer, is lost.
function fates.hole(self, flight)
  tell(self, flight, flight.deadline_us, trouble("TIMEOUT", true))
end

function fates.lost(self, flight)
  arrive(self, flight, self.sim.now_us + way_us(self), function() end)
  tell(self, flight, flight.deadline_us, trouble("TIMEOUT", true))
end

-- The vendor thinks for long, or the request travels for long, perhaps beyond the time-out.
function fates.slow(self, flight)
  local sim = self.sim
  arrive(self, flight, sim.now_us + way_us(self), function(body)
    tell(self, flight, sim.now_us + self.dice:int(2 * flight.timeout_us), answer(self, body))
  end)
end

function fates.crawl(self, flight)
  local sim = self.sim
  tell(self, flight, flight.deadline_us, trouble("TIMEOUT", true))
  arrive(self, flight, sim.now_us + self.dice:int(2 * flight.timeout_us), function(body)
    tell(self, flight, sim.now_us + way_us(self), answer(self, body))
  end)
end

-- HTTP: a gateway speaks, before or after the vendor has acted.
local function by_gateway(flight, self, statuses)
  local status = self.dice:pick(statuses)
  flight.answer = "http"
  return answer(self, HTML, status)
end

local SERVER_TROUBLE = { 500, 502, 503, 504, 408 }

local function gateway_alone(statuses)
  return function(self, flight)
    tell(self, flight, self.sim.now_us + way_us(self) + way_us(self),
      by_gateway(flight, self, statuses))
  end
end

fates.http_before = gateway_alone(SERVER_TROUBLE)
fates.http_429 = gateway_alone { 429 }
fates.http_stop = gateway_alone { 301, 400, 403, 404, 413 }

function fates.http_after(self, flight)
  exchange(self, flight, function() return by_gateway(flight, self, SERVER_TROUBLE) end)
end

-- Bodies that are not whole, or not the vendor's.
function fates.truncated(self, flight)
  exchange(self, flight, function(body)
    flight.answer = "foreign"
    return answer(self, body:sub(1, self.dice:int(#body) - 1))
  end)
end

function fates.foreign(self, flight)
  tell(self, flight, self.sim.now_us + way_us(self) + way_us(self),
    answer(self, self.dice:pick(FOREIGN)))
  flight.answer = "foreign"
end

function fates.huge(self, flight)
  exchange(self, flight, function() return trouble("REPLY_TOO_LARGE", true) end)
end

-- The vendor's codes.
local function refuses(class)
  return function(self, flight)
    exchange(self, flight, function(body) return answer(self, body) end,
      self.sim.vendor:code(class))
  end
end

fates.code_retry = refuses("retry")
fates.code_rate = refuses("rate")
fates.code_resign = refuses("resign")
fates.code_user = refuses("user")
fates.code_stop = refuses("stop")
fates.code_hold = refuses("hold")

-- It acts, and then says that it had an inner error.
function fates.code_retry_after(self, flight)
  exchange(self, flight, function()
    flight.answer = self.sim.vendor:code("retry")
    return answer(self, self.sim.vendor.refusal(flight.answer))
  end)
end

function fates.none(self, flight)
  exchange(self, flight, function(body) return answer(self, body) end)
end

-- }=====

-- {===== sending =====

-- Is the host away now? "refused", "connect_hole" or nil.
local function outage(self, flight)
  local since_us = self.sim.now_us - self.sim.start_us
  for _, one in ipairs(self.plan.outages) do
    if since_us >= one.from_us and since_us < one.to_us and one.host == flight.host then
      return one.is_hole and "connect_hole" or "refused"
    end
  end
end

local function draw_fate(self, flight)
  if self.sim.is_calm and not self.sim.plant.storm then
    return "none"
  end
  local x = self.dice:share()
  for _, fault in ipairs(self.faults) do
    x = x - fault.rate
    if x < 0 then
      return outage(self, flight) or fault.name
    end
  end
  return outage(self, flight) or "none"
end

-- A request leaves the machine.
local function launch(self, flight)
  local sim = self.sim
  local fate = draw_fate(self, flight)
  sim.check:left(flight)
  flight.deadline_us = sim.now_us + flight.timeout_us
  self.flying = self.flying + 1
  sim.launched = sim.launched + 1
  sim:reach("fault " .. fate)
  sim.trace:event(sim.now_us, "leaves", flight.serial, fate, #flight.users, flight.base)
  fates[fate](self, flight)
  if sim.plant.launches and sim.plant.launches(flight) then
    arrive(self, flight, sim.now_us + way_us(self), function() end)
  end
end

-- }=====

-- {===== transports =====

local Transport = {}
Transport.__index = Transport

--- A transport for a process's client.
---@param process table
---@param settings { timeout_ms: integer, connect_timeout_ms: integer }
function Network:transport(process, settings)
  return setmetatable({ network = self, process = process, started = {}, flights = {}, ready = {},
    timeout_us = settings.timeout_ms * MS_US,
    connect_timeout_us = settings.connect_timeout_ms * MS_US }, Transport)
end

function Transport:start(id, base, target, body)
  local sim = self.network.sim
  local run = assert(sim.time.current.run, "a request outside of a call")
  self.network.serial = self.network.serial + 1
  local flight = { id = id, base = base, target = target, body = body, run = run,
    transport = self, serial = self.network.serial, started_us = sim.now_us,
    timeout_us = self.timeout_us, host = base:find("backup", 1, true) and 2 or 1 }
  sim.check:started(flight)
  sim.trace:event(sim.now_us, "starts", flight.serial, self.process.name, #body,
    flight.users[1].account)
  self.started[#self.started + 1] = flight
  self.flights[#self.flights + 1] = flight
end

local function take_reply(self)
  local flight = table.remove(self.ready, 1)
  if not flight then
    return nil
  end
  for i, other in ipairs(self.flights) do
    if other == flight then
      table.remove(self.flights, i)
      break
    end
  end
  local sim, reply = self.network.sim, flight.reply
  sim.trace:event(sim.now_us, "reads", flight.serial, reply.status, reply.http_status,
    flight.answer)
  sim.check:read(flight, reply)
  return sim.plant.reads and sim.plant.reads(reply) or reply
end

local function leave(self)
  local started = self.started
  if #started > 0 then
    self.started = {}
    for _, flight in ipairs(started) do
      launch(self.network, flight)
    end
  end
end

-- Waits are in whole milliseconds, and may end early.
local function until_when(self, timeout_us)
  local network_, sim = self.network, self.network.sim
  if not timeout_us then
    if #self.flights == 0 then
      sim.check:fail("7 liveness", "waits without end for nothing")
    end
    timeout_us = 1000 * MS_US
  end
  local plan = network_.plan
  if plan.early_rate > 0 and network_.dice:chance(plan.early_rate) then
    timeout_us = math.floor(timeout_us / 2)
  end
  return sim.now_us + math.ceil(timeout_us / MS_US) * MS_US
end

-- A process may be stopped for a while in one of its waits, whatever it is about to read.
local function thaw(process, time)
  local freeze = process.freeze
  if freeze then
    freeze.wait = freeze.wait - 1
    if freeze.wait == 0 then
      time:reach("freeze")
      time:sleep(freeze.for_us)
    end
  end
end

function Transport:wait(timeout_us)
  local time = self.network.sim.time
  leave(self)
  local reply = take_reply(self)
  if reply then
    return reply
  end
  self.waiting = time.current
  time:park(until_when(self, timeout_us))
  self.waiting = nil
  thaw(self.process, time)
  return take_reply(self)
end

function Transport:close()
  local sim = self.network.sim
  if self.process.is_dead or sim.is_ended then
    return -- the collector closes what is left of the dead
  end
  for _, flight in ipairs(self.flights) do
    if not flight.is_over and flight.deadline_us then
      self.network.flying = self.network.flying - 1
    end
    flight.is_over = true
    sim.check:broken_off(flight)
  end
  self.flights, self.started, self.ready = {}, {}, {}
end

--- Is anything still on its way, there or back?
function Network:is_quiet()
  return self.flying == 0 and (self.travelling or 0) == 0
end

-- }=====

return network
