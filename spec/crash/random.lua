-- random: one job, killed so many times in a row at random moments, many of them while it still
-- finds out where it was. Moments come from a seed; what the machine does in between does not.

local command = require "support.command"
local job = require "imattr.cli.job"
local process = require "support.process"
local rig = require "crash.rig"
local shell = require "imattr.sandbox.shell"

-- Answers take this long; so all 64 requests that may be are in flight.
local LATENCY_MS = 400
local IN_FLIGHT = 64
local SETTLED = 80

local random = {}

local function arrivals()
  return command.server:stats().commands.im_set_attr.arrivals
end

-- How many rows have their fate; nil: the job was not begun yet.
local function settled()
  local opened = job.open(command.path("users.csv.imattr"), "read")
  if not opened then
    return nil
  end
  local counts = opened.counts
  opened:close()
  return counts.done + counts.invalid + counts.refused
end

-- Waits until the run has sent so many requests, or has ended.
local function wait_for(run, wanted)
  process.wait_until(function()
    return arrivals() >= wanted or not process.exists(run.pid)
  end, 60)
end

-- One run that is killed: in recovery, when its first requests are in flight, or after their
-- answers came: then some 80 requests are settled. `left`: how many the job still wants; `kills`:
-- how many kills are to come. The job shall last until the last of them.
local function kill_once(state, left, kills)
  local before = arrivals()
  local run = (state.is_begun and rig.start_again or rig.start)()
  local settles = left > 4 * IN_FLIGHT and state.next(1000) <= 1000 * left / kills / SETTLED
  if not settles and state.recovery_s and state.next(2) == 1 then
    shell.run(("sleep %.3f"):format(state.next(1000) / 1000 * state.recovery_s))
  else
    local start_us = state.now_us()
    wait_for(run, before + 1)
    state.recovery_s = (state.now_us() - start_us) / 1e6
    wait_for(run, settles and before + IN_FLIGHT + state.next(IN_FLIGHT / 2) or 0)
  end
  run:kill("KILL")
  local ended = run:wait(10)
  run:close()
  return ended
end

---@param kills integer
---@param seed integer
---@param tell fun(kill: integer, settled: integer)? after each kill
---@return string? problem
function random.run(kills, seed, tell)
  rig.begin(LATENCY_MS)
  local state = { next = require("support.virtual").random(seed),
    now_us = require("imattr.core").now_us }
  local reached, wrong = 0, nil
  for kill = 1, kills do
    local ended = kill_once(state, (rig.rows - reached) / 100, kills - kill + 1)
    local now = settled()
    state.is_begun, now = now ~= nil, now or 0
    if not ended or ended.code ~= 137 then
      wrong = ("kill %d of %d found the job at its end: %s"):format(kill, kills,
        ended and ended.code .. " " .. ended.stderr or "no end")
    elseif now < reached then
      wrong = ("kill %d: %d rows were settled, and now %d"):format(kill, reached, now)
    end
    reached = now
    if wrong then break end
    if tell then tell(kill, now) end
  end
  command.server:settings { latency_ms = 0 }
  wrong = wrong or rig.problem(rig.go_on(), kills)
  rig.finish()
  return wrong
end

return random
