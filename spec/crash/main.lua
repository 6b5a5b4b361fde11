-- The command line of spec/crash/run, and the whole of it.

local random = require "crash.random"
local rig = require "crash.rig"
local torn = require "crash.torn"

local USERS = 20000

-- All kinds of calls by which a job changes the world.
local KINDS = { "openat", "flock", "write", "pwrite64", "fdatasync", "ftruncate", "unlink",
  "rename", "close", "connect", "sendto" }
-- Those whose failure says that the disk is full, or bad.
local FAULTS = {
  { call = "pwrite64", error = "ENOSPC" }, { call = "pwrite64", error = "EIO" },
  { call = "fdatasync", error = "EIO" }, { call = "ftruncate", error = "EIO" },
  { call = "openat", error = "ENOSPC" }, { call = "write", error = "ENOSPC" },
  { call = "write", error = "EIO" }, { call = "unlink", error = "EIO" },
}
-- Calls of which there are many are failed at every so-many-th.
local FAULT_STEP = { pwrite64 = 101 }

-- Of the damages to a job's files, every so-many-th.
local TORN_STEP = 17

-- The import dies, and then its recovery: at so many calls of each kind.
local SECOND_KILLS = { pwrite64 = 12, fdatasync = 3, ftruncate = 2, unlink = 2, openat = 5,
  close = 3, sendto = 9 }

-- Calls of which there are hundreds, all alike: every so-many-th. No number that divides how many
-- calls a commit, or a request, makes.
local SWEEP_STEP = { pwrite64 = 19, sendto = 11 }

local failed = 0

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

-- Tells what does not hold, and how to see it again.
local function tell(problem, ...)
  if problem then
    failed = failed + 1
    say("NOT HELD: %s\n  to see it again: spec/crash/run %s", problem, table.concat({ ... }, " "))
  end
end

local most_repeated = 0

local function one_kill(first, second)
  local words = { "kill", first.call, first.nth }
  if second then
    words[4], words[5] = second.call, second.nth
  end
  local was_killed, problem = rig.kill(first, second)
  most_repeated = math.max(most_repeated, rig.repeated or 0)
  tell(problem, (unpack or table.unpack)(words))
  return was_killed
end

-- The N-th call of a kind, for every N there is, or every step-th. Runs differ in how many calls
-- they make: twice in a row beyond the last is the end.
local function sweep(call, step)
  local nth, kills, beyond = 1, 0, 0
  while beyond < 2 do
    local was_killed = one_kill { call = call, nth = nth }
    beyond = was_killed and 0 or beyond + 1
    kills = kills + (was_killed and 1 or 0)
    nth = nth + (step or SWEEP_STEP[call] or 1)
  end
  say("kill -9 at %-10s %4d calls", call, kills)
  return kills
end

-- In recovery: the import dies while it sends, its first resume at its N-th call of each kind.
local function sweep_recovery()
  local kills = 0
  for call, most in pairs(SECOND_KILLS) do
    for nth = 1, most do
      if one_kill({ call = "sendto", nth = 60 + 10 * nth }, { call = call, nth = nth }) then
        kills = kills + 1
      end
    end
  end
  say("kill -9 in recovery   %4d calls", kills)
  return kills
end

local function one_fault(rule)
  local code, problem = rig.fail(rule)
  tell(problem, "fail", rule.call, rule.nth, rule.error, rule.forever and "forever" or "")
  return code
end

local function faults(step)
  local counts = {}
  for _, fault in ipairs(FAULTS) do
    for _, forever in ipairs { false, true } do
      local nth = 1
      repeat
        local code = one_fault { call = fault.call, nth = nth, error = fault.error,
          forever = forever }
        local key = tostring(code)
        counts[key] = (counts[key] or 0) + (code and 1 or 0)
        nth = nth + (step or FAULT_STEP[fault.call] or 1)
      until not code
    end
  end
  say("disk faults: %d end with 74 and go on when there is room, %d do no harm", counts["74"] or 0,
    counts["2"] or 0)
end

local function tear(step)
  local counts, wrong = torn.run(tonumber(step) or TORN_STEP)
  for what, found in pairs(counts) do
    say("torn, %-13s %6d whole, %6d less, %6d refused, %d wrong", what, found.whole, found.less,
      found.refused, found.WRONG)
  end
  tell(wrong[1], "torn")
end

local function with_users(count, action)
  rig.open(count)
  local ok, message = pcall(action)
  rig.close()
  assert(ok, message)
end

local function kill_randomly(kills, users, seed)
  with_users(users, function()
    local problem = random.run(kills, seed, function(kill, settled)
      if kill % 50 == 0 then say("%d kills, %d rows settled", kill, settled) end
    end)
    tell(problem, "random", kills, users, seed)
    if not problem then
      say("%d kills -9 in a row on one job of %d users: %d repeated, %.0f a kill (limit %d)", kills,
        users, rig.repeated, rig.repeated / kills, rig.REPEATED_MAX)
    end
  end)
end

local verbs = {}

function verbs.kill(call, nth, second, second_nth)
  with_users(USERS, function()
    one_kill({ call = call, nth = tonumber(nth) },
      second and { call = second, nth = tonumber(second_nth) })
  end)
end

function verbs.fail(call, nth, name, forever)
  with_users(USERS, function()
    local code = one_fault { call = call, nth = tonumber(nth), error = name,
      forever = forever == "forever" }
    say("exit code %s", tostring(code))
  end)
end

function verbs.sweep(call, step)
  with_users(USERS, function()
    local kills = 0
    for _, kind in ipairs(call and { call } or KINDS) do
      kills = kills + sweep(kind, tonumber(step))
    end
    kills = kills + (call and 0 or sweep_recovery())
    say("%d kills -9: at most %d users repeated in a round (limit %d a kill)", kills, most_repeated,
      rig.REPEATED_MAX)
  end)
end

function verbs.faults(step)
  with_users(USERS, function() faults(tonumber(step)) end)
end

function verbs.random(kills, users, seed)
  kill_randomly(tonumber(kills), tonumber(users), tonumber(seed))
end

verbs.torn = tear

if not rig.can_trace() then
  io.stderr:write(select(2, rig.can_trace()), "\n")
  os.exit(1)
end
local verb = verbs[arg[1]]
if not verb then
  io.stderr:write("see the head of spec/crash/run\n")
  os.exit(64)
end
verb((unpack or table.unpack)(arg, 2))
os.exit(failed == 0 and 0 or 1)
