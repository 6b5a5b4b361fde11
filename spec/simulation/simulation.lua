-- simulation: one seed from its beginning to its end. The real client, engine and pace, several
-- processes of them on one slot ring, in virtual time, against the sandbox's rules, with a network
-- between. First faults; then none, and everything must settle, and a last call must succeed.
--
--   simulation.run(seed, { write = function(line) end?, plant = {}? })
--     -> { ok, message, hash, events, requests, updates, ... }

local check = require "simulation.check"
local client = require "imattr.client"
local core = require "imattr.core"
local network = require "simulation.network"
local plan = require "simulation.plan"
local program = require "simulation.program"
local random = require "simulation.random"
local schedule = require "simulation.schedule"
local shell = require "imattr.sandbox.shell"
local trace = require "simulation.trace"
local vendor = require "simulation.vendor"

local simulation = {}

local SECOND_US = 1000000

-- Faults end at the latest after so long.
local FAULTS_MAX_US = 6 * 3600 * SECOND_US

-- How long a pause of the library may be: the cap of the back-off or the wait for the next probe;
-- after "too fast" a wait more, and a pace that creeps back; after 70050 a minute.
local PAUSE_US, SLOW_PAUSE_US, HOLD_PAUSE_US = 21 * SECOND_US, 51 * SECOND_US, 60 * SECOND_US

local uid

-- {===== the world of a process =====

local function ring_path(name)
  uid = uid or shell.output("id -u")
  return ("/dev/shm/imattr-%s-%s"):format(uid, name)
end

-- The ring that all processes share: a real one, with a name that no other program uses.
local function open_pace(sim, rate, mode, name)
  rate = sim.plant.rate or rate
  name = ("%s-sim-%d"):format(name, core.getpid())
  if not sim.rings[name] then
    sim.rings[name] = true
    os.remove(ring_path(name))
  end
  return core.pace(rate, mode, name)
end

local function world_of(sim, process)
  return {
    now_us = function()
      sim.now_us = sim.now_us + 1
      return sim.now_us
    end,
    time_s = function()
      return sim.vendor:time_s() + (sim.is_calm and 0 or process.skew_s)
    end,
    random_u32 = sim.random_u32,
    pace = function(rate, mode, name) return open_pace(sim, rate, mode, name) end,
    transport = function(settings) return sim.network:transport(process, settings) end,
  }
end

local function new_client(sim, process)
  local options = { sdkappid = vendor.SDKAPPID, key = vendor.KEY, pace = sim.mode }
  for name, value in pairs(process.options) do
    options[name] = value
  end
  if sim.plant.options then
    sim.plant.options(options)
  end
  local handle, err = client.new(options, world_of(sim, process))
  if not handle then
    sim.check:fail("the library refuses", "%s", tostring(err))
  end
  return { process = process, options = process.options, handle = handle, flying = {} }
end

-- }=====

-- {===== processes =====

local start_process

-- The calls of a lane, one after the other.
local function run_lane(sim, process, lane)
  while lane.next <= #lane.calls and not process.client.is_closed do
    program.call(sim, process.client, lane.calls[lane.next])
    lane.next = lane.next + 1
  end
end

local function kill(sim, process)
  if process.is_dead or sim.is_calm or process.lanes_over == #process.lanes then
    return
  end
  sim.trace:event(sim.now_us, "dies", process.name)
  process.is_dead = true
  sim:reach("death")
  for _, task in ipairs(process.tasks) do
    sim:kill(task)
  end
  sim.starts = sim.starts + 1
  sim:at(sim.now_us + process.restart_us, function()
    sim.starts = sim.starts - 1
    start_process(sim, { name = process.name .. "+", options = process.options, jumps = {},
      lanes = process.lanes })
  end)
end

local function close(sim, process)
  if not process.is_dead and not sim.is_calm and not process.client.is_closed then
    program.close(sim, process.client)
  end
end

function start_process(sim, process)
  process.skew_s, process.tasks, process.lanes_over = 0, {}, 0
  process.client = new_client(sim, process)
  sim.processes[#sim.processes + 1] = process
  sim.trace:event(sim.now_us, "lives", process.name, process.options.rate,
    process.options.in_flight_max, process.options.attempts_max)
  for _, jump in ipairs(process.jumps) do
    sim:at(sim.now_us + jump.at_us, function() process.skew_s = jump.skew_s end)
  end
  for i, lane in ipairs(process.lanes) do
    process.tasks[i] = sim:spawn(process.name .. i, {}, function()
      run_lane(sim, process, lane)
      process.lanes_over = process.lanes_over + 1
    end)
  end
  if process.kill_us then
    sim:at(sim.start_us + process.kill_us, function() kill(sim, process) end)
  end
  if process.close_us then
    sim:at(sim.start_us + process.close_us, function() close(sim, process) end)
  end
end

local function start_all(sim)
  for _, process in ipairs(sim.plan.processes) do
    local lanes = {}
    for i, calls in ipairs(process.lanes) do
      lanes[i] = { calls = calls, next = 1 }
    end
    process.lanes = lanes
    sim.starts = sim.starts + 1
    sim:at(sim.now_us + process.start_us, function()
      sim.starts = sim.starts - 1
      start_process(sim, process)
    end)
  end
end

-- }=====

-- {===== liveness =====

-- From now on nothing goes wrong any more.
local function calm(sim)
  if not sim.is_calm then
    sim.is_calm, sim.calm_us = true, sim.now_us
    sim.calm_launched, sim.calm_slept_us = sim.launched, sim.slept_us
    sim.vendor.poison = {}
    sim.trace:event(sim.now_us, "calm")
  end
end

-- The longest a request may take to be sent, and to be answered, when nothing goes wrong.
local function longest_us(sim)
  local rate, timeout_ms, in_flight = sim.limit, 0, 1000
  for _, process in ipairs(sim.processes) do
    rate = math.min(rate, process.options.rate)
    timeout_ms = math.max(timeout_ms, process.options.timeout_ms)
    in_flight = math.min(in_flight, process.options.in_flight_max)
  end
  local net = sim.plan.network
  local trip_us = net.rtt_us + 2 * net.jitter_us + (net.spike_rate > 0 and 2 * net.spike_us or 0)
  rate = rate > 0 and rate or 1000 -- no pace: what a loop can do
  local request_us = math.max(SECOND_US / rate * (1.01 + trip_us / SECOND_US), trip_us / in_flight)
  return request_us, timeout_ms * 1000, SLOW_PAUSE_US + 30 * SECOND_US / rate
end

-- Has it taken longer than it may since `since_us`, for so many requests?
local function check_time(sim, since_us, requests, slept_us, what)
  local request_us, timeout_us, slow_us = longest_us(sim)
  local most_us = 1.3 * requests * request_us + 2 * timeout_us + PAUSE_US + slept_us
    + (sim.reached["too fast"] and slow_us or 0) + (sim.reached["hold"] and HOLD_PAUSE_US or 0)
  if sim.now_us - since_us > most_us then
    sim.check:fail("7 liveness", "%s takes %.1f s for %d requests, wants %.1f at most", what,
      (sim.now_us - since_us) / 1e6, requests, most_us / 1e6)
  end
end

-- Lets time run until `is_done`; there must be something to wait for.
local function run_until(sim, what, is_done)
  sim:run(function() return sim.check.violation or is_done() end)
  if sim.check.violation then
    error(sim.check.violation, 0)
  elseif not is_done() then
    sim.check:fail("7 liveness", "%s: nothing more happens", what)
  end
end

-- All accounts of the seed, or a part, with new values.
local function clean_call(sim)
  local dice, numbers = random.new(sim.plan.seed, 4), sim.plan.numbers
  local share, name = dice:pick { 0.1, 1, 1 }, dice:pick(plan.NAMES)
  local updates, seen = {}, {}
  for _, account in ipairs(sim.accounts) do
    if not seen[account] and (#updates == 0 or dice:chance(share)) then
      seen[account] = true
      numbers.last = numbers.last + 1
      updates[#updates + 1] = { n = numbers.last, account = account, names = { name },
        attrs = { [name] = ("%d"):format(numbers.last) }, is_invalid = false }
    end
  end
  return { kind = "set", count = #updates, form = dice:pick { "list", "iterator" },
    updates = updates, callbacks = {}, has_on_result = dice:chance(0.5), deadline_ms = 0 }
end

-- The client for it: one that has seen it all, or a new one.
local function clean_client(sim)
  local process = sim.processes[#sim.processes]
  if process.is_dead or process.client.is_closed or sim.plan.seed % 2 == 0 then
    process = { name = "z", options = process.options, skew_s = 0 }
    process.client = new_client(sim, process)
  end
  return process.client
end

local function run_clean(sim)
  local call, since_us, launched, slept_us = clean_call(sim), sim.now_us, sim.launched, sim.slept_us
  local report, run = nil, nil
  local task = sim:spawn("clean", {}, function()
    report, run = program.call(sim, clean_client(sim), call)
  end)
  run_until(sim, "the clean call", function() return task.is_over end)
  check_time(sim, since_us, sim.launched - launched, sim.slept_us - slept_us,
    "the clean call")
  if not report.ok or report.done ~= #call.updates then
    sim.check:fail("7 liveness", "the clean call: %d of %d done: %s", report.done, #call.updates,
      tostring(report.error))
  end
  sim.check:end_clean(run)
end

-- }=====

-- {===== a seed =====

-- The accounts in the order of their first update; some of them the vendor does not like.
local function gather_accounts(sim)
  local dice, seen, poison = random.new(sim.plan.seed, 5), {}, sim.plan.poison
  sim.accounts = {}
  for _, process in ipairs(sim.plan.processes) do
    for _, lane in ipairs(process.lanes) do
      for _, call in ipairs(lane) do
        for _, update in ipairs(call.updates) do
          if not update.is_invalid and not seen[update.account] then
            seen[update.account] = true
            sim.accounts[#sim.accounts + 1] = update.account
            if dice:chance(poison.rate) then
              sim.vendor.poison[update.account] = dice:pick(poison.codes)
            end
          end
        end
      end
    end
  end
  sim.accounts[1] = sim.accounts[1] or "nobody-yet"
end

local function new(seed, options)
  local sim = schedule.new()
  sim.time, sim.start_us = sim, sim.now_us
  sim.plan = plan.draw(seed)
  sim.plant = options.plant or {}
  if sim.plant.plan then
    sim.plant.plan(sim.plan)
  end
  sim.trace = trace.new(options.write)
  sim.limit, sim.mode = sim.plan.limit, sim.plan.mode
  sim.processes, sim.rings, sim.starts, sim.launched = {}, {}, 0, 0
  sim.random_u32 = random.distinct(seed * 7919)
  sim.check = check.new(sim)
  sim.network = network.new(sim)
  sim.vendor = vendor.new(sim)
  return sim
end

local function live(sim)
  gather_accounts(sim)
  start_all(sim)
  if sim.plan.stranger then
    sim.vendor:be_visited()
  end
  local calm_us = sim.plan.calm_us or FAULTS_MAX_US
  sim:at(sim.start_us + calm_us, function() calm(sim) end)
  run_until(sim, "the calls", function() return sim.starts == 0 and sim.tasks_alive == 0 end)
  if sim.is_calm then
    check_time(sim, sim.calm_us, sim.launched - sim.calm_launched,
      sim.slept_us - sim.calm_slept_us, "what was left")
  end
  calm(sim)
  run_until(sim, "the network", function() return sim.network:is_quiet() end)
  run_clean(sim)
  run_until(sim, "the network", function() return sim.network:is_quiet() end)
  sim.check:end_all(sim.vendor.state.users)
end

--- Runs a seed.
---@param seed integer
---@param options { write: fun(line: string)?, plant: table? }?
---@return table result
function simulation.run(seed, options)
  local sim = new(seed, options or {})
  local ok, problem = xpcall(live, function(message)
    return sim.check.violation or debug.traceback(tostring(message), 2)
  end, sim)
  sim.is_ended = true
  for name in pairs(sim.rings) do
    os.remove(ring_path(name))
  end
  local counts = sim.check.counts
  return {
    ok = ok and not sim.check.violation,
    message = sim.check.violation or problem,
    hash = sim.trace.hash,
    events = sim.trace.count,
    requests = counts.requests,
    updates = counts.updates,
    arrivals = counts.arrivals,
    reached = sim.reached,
    runs = #sim.check.runs,
    seconds = (sim.now_us - sim.start_us) / 1e6,
  }
end

-- }=====

return simulation
