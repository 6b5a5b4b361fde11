-- check: what must hold whatever happens. It sees every request that is started, arrives, is acted
-- upon and comes back, every result, report and progress, and keeps books of its own.
--
-- The invariants, by the numbers of the library's promises:
--   1 conservation  every update has exactly one fate, and the counts add up to the input
--   2 truth         done was acknowledged, and the vendor holds it or something newer; not_sent,
--                   invalid: the vendor never acted on it; unknown: it may have
--   3 newest wins   never two requests for one user in flight, never an older value after a newer
--   4 rate          never more arrivals in a second than the limit
--   5 bounds        users, bytes, requests in flight, updates waiting
--   6 restraint     retries at most 500 and 10 %, none after a mistake, one re-sign per request
--   7 liveness      (simulation.lua watches the time)
--   8 silence       nothing is started after close, after the end of a run or by the dead
--
-- A request that reaches the vendor after the client was told of its end, or after its slot is free
-- by itself, is late: nobody can call it back. 3 and 4 leave room for exactly these.

local cjson = require("cjson").new()
local codes = require "imattr.codes"
local fates = require "simulation.fates"

local check = {}

local USERS_MAX, BODY_BYTES_MAX = 100, 1048576
local CREDIT, SECOND_US, HOLD_US = 500, 1000000, 60000000

local Check = {}
Check.__index = Check
for name, method in pairs(fates) do
  Check[name] = method
end

---@param sim table now_us; limit and mode of the app
function check.new(sim)
  return setmetatable({ sim = sim, last = {}, runs = {}, windows = {}, randoms = {},
    counts = { requests = 0, arrivals = 0, updates = 0 } }, Check)
end

--- Notes a violation, for good: whoever catches the error that is raised, the seed has failed.
function Check:fail(promise, message, ...)
  local text = ("%s: %s"):format(promise, message:format(...))
  self.violation = self.violation or text
  error(text, 0)
end

-- {===== runs =====

--- A run begins. `updates` are what the caller will give, in their order.
function Check:begin_run(process, client, call)
  local run = {
    process = process, client = client, kind = call.kind, updates = call.updates, call = call,
    options = client.options, bodies = {}, in_flight = 0, retries = 0, delivered = 0,
    acked = {}, applied = {}, maybe = {}, fates = {}, fates_count = 0, requests = 0, hold_us = 0,
    by_n = {}, by_name = {},
  }
  for _, update in ipairs(call.updates) do
    if call.kind == "set" then
      run.by_n[update.n] = update
    elseif not update.is_invalid then
      for _, name in ipairs(update.names) do
        run.by_name[update.account .. "\0" .. name] = update
      end
    end
  end
  self.runs[#self.runs + 1] = run
  self.counts.updates = self.counts.updates + #call.updates
  return run
end

-- The update that an attribute in a body comes from: its number.
local function number_of(self, run, account, name, value)
  local update
  if run.kind == "set" then
    update = run.by_n[tonumber(value:match("^%d+"))]
  else
    update = run.by_name[account .. "\0" .. name]
  end
  if not update or update.account ~= account or update.is_invalid then
    self:fail("2 truth", "%s of %s was never given, or is invalid", name, account)
  end
  return update.n
end

-- A body as a list of users: { account, { name, n }... } in the order of names.
local function read_body(self, run, body)
  local users = {}
  for i, user in ipairs(cjson.decode(body).UserAttrs) do
    local account, attrs = user.To_Account, {}
    for name, value in pairs(user.Attrs) do
      if run.kind == "remove" then
        name = value
      end
      attrs[#attrs + 1] = { name = name, n = number_of(self, run, account, name, value) }
    end
    if #attrs > 1 then
      table.sort(attrs, function(a, b) return a.name < b.name end)
    end
    users[i] = { account = account, attrs = attrs }
  end
  return users
end

-- }=====

-- {===== requests =====

local function check_silence(self, run)
  if run.process.is_dead then
    self:fail("8 silence", "the dead process %s starts a request", run.process.name)
  elseif run.client.is_closed then
    self:fail("8 silence", "a closed client starts a request")
  elseif run.is_over then
    self:fail("8 silence", "a run that is over starts a request")
  elseif run.call.dry_run then
    self:fail("8 silence", "a dry run starts a request")
  elseif run.mistake then
    self:fail("6 restraint", "a request is started after %s", run.mistake)
  elseif self.sim.now_us < run.hold_us then
    self:fail("6 restraint", "a request is started %.1f s after 70050, wants a minute",
      60 - (run.hold_us - self.sim.now_us) / 1e6)
  end
end

-- May this body be sent once more?
local function check_again(self, run, trip)
  local why = trip.last
  if why == "retry" then
    run.retries = run.retries + 1
    if run.retries > CREDIT + run.delivered / 10 then
      self:fail("6 restraint", "%d retries, %d delivered", run.retries, run.delivered)
    end
  elseif why == "resign" then
    trip.resigns = trip.resigns + 1
    if trip.resigns > 1 then
      self:fail("6 restraint", "a request is signed again twice")
    end
  elseif why == "hold" then
    trip.holds = trip.holds + 1
  elseif why ~= "rate" then
    self:fail("6 restraint", "a request is sent again after: %s", why or "nothing, it is out")
  end
  trip.last = nil
end

local function check_bounds(self, run, trip, body)
  if #trip.users < 1 or #trip.users > USERS_MAX then
    self:fail("5 bounds", "%d users in a request", #trip.users)
  elseif #body > BODY_BYTES_MAX then
    self:fail("5 bounds", "%d bytes in a body", #body)
  elseif run.in_flight >= run.options.in_flight_max then
    self:fail("5 bounds", "%d requests in flight", run.in_flight + 1)
  end
end

--- A client hands a request to its transport.
function Check:started(flight)
  local run, body = flight.run, flight.body
  local trip = run.bodies[body]
  check_silence(self, run)
  if trip then
    check_again(self, run, trip)
  else
    trip = { users = read_body(self, run, body), resigns = 0, holds = 0 }
    run.bodies[body] = trip
  end
  check_bounds(self, run, trip, body)
  run.in_flight, run.requests = run.in_flight + 1, run.requests + 1
  self.counts.requests = self.counts.requests + 1
  flight.trip, flight.users = trip, trip.users
  for _, user in ipairs(trip.users) do
    if run.client.flying[user.account] then
      self:fail("3 newest wins", "%s is in two requests at once", user.account)
    end
    run.client.flying[user.account] = true
  end
end

--- A request leaves the machine. Its slot is held for the time-out and a second from when it was
--- taken: a request that leaves later may arrive when somebody else has the slot.
function Check:left(flight)
  local late_us = self.sim.now_us - flight.started_us
  if late_us > SECOND_US then
    self:fail("4 rate", "a request leaves %.1f s after it took its slot", late_us / 1e6)
  end
end

local function land(flight)
  local run = flight.run
  run.in_flight = run.in_flight - 1
  for _, user in ipairs(flight.users) do
    run.client.flying[user.account] = nil
  end
end

--- A client breaks a request off: nobody waits for its answer.
function Check:broken_off(flight)
  land(flight)
end

local WORLD_KINDS = { TLS = "stop", REPLY_TOO_LARGE = "give_up" }

-- What an answer must mean to the client; the code, if it is one; might the vendor have acted?
local function meaning(flight, reply)
  if reply.status ~= "OK" then
    return WORLD_KINDS[reply.status] or "retry", reply.status, reply.may_have_arrived
  elseif flight.answer == "done" then
    return "delivered", nil, true
  elseif type(flight.answer) == "number" then
    local class = codes[flight.answer].class
    local is_mistake = class == "caller" or class == "permission" or class == "setup"
    return is_mistake and "stop" or class, flight.answer, class == "retry"
  end
  local status = reply.http_status
  local kind = status == 429 and "rate" or (status == 200 or status >= 500 or status == 408)
    and "retry" or "stop"
  return kind, "HTTP " .. status, reply.may_have_arrived
end

-- Notes what the vendor acknowledged.
local function acknowledge(run, flight)
  run.delivered = run.delivered + 1
  for _, user in ipairs(flight.users) do
    if not (flight.listed and flight.listed[user.account]) then
      local acked = run.acked[user.account] or {}
      for _, attr in ipairs(user.attrs) do
        acked[attr.n] = true
        acked[attr.name] = math.max(acked[attr.name] or 0, attr.n)
      end
      run.acked[user.account] = acked
    end
  end
end

-- Does this end the run? With two hosts a wrong certificate sends the client to the other.
local function is_final(run, trip, kind, code)
  return kind == "stop" and (code ~= "TLS" or type(run.options.endpoint) == "string")
    or kind == "resign" and trip.resigns > 0
    or kind == "hold" and trip.holds > 0
end

--- A client reads the end of a request.
function Check:read(flight, reply)
  local run, trip = flight.run, flight.trip
  flight.is_read = true
  local kind, code, may_have_arrived = meaning(flight, reply)
  if code == "TLS" and not is_final(run, trip, kind, code) then
    kind = "retry"
  end
  land(flight)
  if kind == "delivered" then
    acknowledge(run, flight)
  elseif is_final(run, trip, kind, code) then
    run.mistake = tostring(code)
  elseif kind == "rate" then
    self.sim:reach("too fast")
  elseif kind == "hold" then
    self.sim:reach("hold")
    run.hold_us = math.max(run.hold_us, self.sim.now_us + HOLD_US)
  end
  if may_have_arrived then
    for _, user in ipairs(flight.users) do
      run.maybe[user.account] = true
    end
  end
  if flight.was_applied and not may_have_arrived then
    self:fail("simulation", "the network says that an applied request cannot have arrived")
  end
  trip.last = kind
end

-- }=====

-- {===== the vendor's side =====

-- Arrivals of the last second, at `path`.
local function note_arrival(self, path, now_us, is_late)
  local window = self.windows[path]
  if not window then
    window = { first = 1, last = 0, times = {}, lates = 0 }
    self.windows[path] = window
  end
  window.last = window.last + 1
  window.times[window.last] = { now_us, is_late }
  window.lates = window.lates + (is_late and 1 or 0)
  while now_us - window.times[window.first][1] >= SECOND_US do
    window.lates = window.lates - (window.times[window.first][2] and 1 or 0)
    window.times[window.first] = nil
    window.first = window.first + 1
  end
  return window.last - window.first + 1 - window.lates
end

--- A request reaches the vendor.
function Check:arrived(flight, path, number)
  local now_us = self.sim.now_us
  if self.randoms[number] then
    self:fail("4 rate", "the random number of a request comes twice: it was sent twice")
  end
  self.randoms[number] = true
  flight.is_late = flight.is_read or now_us > flight.started_us + flight.timeout_us
  self.counts.arrivals = self.counts.arrivals + 1
  local count = note_arrival(self, path, now_us, flight.is_late)
  if count == self.sim.limit then
    self.sim:reach("a full second")
  end
  if flight.is_late then
    self.sim:reach("late")
  end
  if self.sim.mode == "strict" and self.sim.limit > 0 and count > self.sim.limit then
    self:fail("4 rate", "%d arrivals in a second, limit %d", count, self.sim.limit)
  end
end

--- The vendor acts on some users of a request.
function Check:applied(flight, users)
  local run, last = flight.run, self.last
  flight.was_applied = true
  for _, user in ipairs(users) do
    local account = user.account
    local held = last[account] or {}
    local applied = run.applied[account] or {}
    for _, attr in ipairs(user.attrs) do
      local before = held[attr.name]
      if before and before.run == run and before.n > attr.n and not flight.is_late then
        self:fail("3 newest wins", "%s of %s: %d after %d", attr.name, account, attr.n, before.n)
      end
      held[attr.name] = { n = attr.n, run = run, is_late = flight.is_late }
      applied[attr.n] = true
      applied[attr.name] = math.max(applied[attr.name] or 0, attr.n)
    end
    last[account], run.applied[account] = held, applied
  end
end

-- }=====

return check
