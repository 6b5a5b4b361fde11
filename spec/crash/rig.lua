-- rig: an import with a job, disturbed on purpose, then brought to its end by `imattr resume`, and
-- looked at: by the server, which knows what arrived, not by the job file, which might be wrong.
--
-- Each round writes other values for the same users, so a user that was lost shows its old value.
-- What must hold after every round:
--   * every user has the round's value, and there are no others;
--   * the rejects file is, byte for byte, that of a run that nobody disturbed;
--   * the server accepted at most REPEATED_MAX users more per kill than there are: those that were
--     in flight.
-- Disturbances come from strace, which kills, or fails, the N-th call of a kind.

local command = require "support.command"
local imattr = require "imattr"
local job = require "imattr.cli.job"
local process = require "support.process"
local sandbox = require "support.sandbox"
local store = require "imattr.job"

local rig = {}

-- The sandbox of a long run ends by itself after this.
local SECONDS_MAX = 7200

-- After a failure sending stops within this time.
local SENDING_MAX_S = 1

-- in_flight_max requests of 100 users.
rig.REPEATED_MAX = 64 * 100

-- Answers take this long, so that many requests are in flight.
local LATENCY_MS = 20

local KILLED, SOME_FAILED, CANNOT_WRITE = 137, 2, 74

-- Files of the job, and what is written beside it.
local FILES = { "users.csv.imattr", "users.csv.imattr-wal", "users.csv.imattr-shm",
  "users.csv.rejects.csv" }

-- Kinds of calls. Those of which other things do many are looked at for the job's files alone.
local BY_FILE = { openat = true, close = true, write = true, flock = true }

-- Among the first users: so they are the same for any number of users that is not small.
local BAD_EVERY, BAD_LAST = 1000, 6000

-- So many users are imported by the run that nobody disturbs.
local LEARNED_FROM = 10000

-- What begins the import. Names that are not registered are let through, for the server to refuse.
local BEGIN = { "set", "--job", "--no-preflight", "-q", "users.csv" }

local round, users, client = 0, 0, nil

---Can strace trace here? Nil and why not.
---@return boolean? ok
---@return string? why
function rig.can_trace()
  local tried = process.run { "strace", "-f", "-qq", "-o", "/dev/null", "-e",
    "inject=write:signal=SIGKILL:when=1", "echo" }
  if tried.code ~= KILLED then
    return nil, "strace cannot trace here: " .. tried.stderr
  end
  return true
end

-- {===== what is imported =====


local function value_of(i)
  return ("round %d city %d"):format(round, i)
end

-- Writes the input. Some rows fail, the same in every round: every other has a stray quote and is
-- invalid, every other an attribute that is not registered; it is refused, and its batch halved.
local function write_input()
  local rows = { "To_Account,city,colour" }
  for i = 1, users do
    rows[#rows + 1] = ("u%d,%s,"):format(i, value_of(i))
    if i <= BAD_LAST and i % BAD_EVERY == 7 then
      rows[#rows + 1] = (i % (2 * BAD_EVERY) == 7 and 'x%d,a"b,' or "x%d,town,red"):format(i)
    end
  end
  command.write("users.csv", table.concat(rows, "\n") .. "\n")
  return #rows - 1
end

-- }=====

-- {===== commands =====

---Begins a round: new values, no job.
---@param latency_ms integer?
function rig.begin(latency_ms)
  round = round + 1
  command.enter()
  command.server:settings { latency_ms = latency_ms or LATENCY_MS }
  rig.rows = write_input()
end

---Ends a round: takes its folder away.
function rig.finish()
  command.leave()
end

local function place()
  local options = command.place()
  options.timeout_s = 300
  return options
end

local function strace(rule, words)
  local argv = { "strace", "-f", "-qq", "-ttt", "-y", "-o", command.path("trace") }
  if BY_FILE[rule.call] then
    for _, name in ipairs(FILES) do
      for _, path in ipairs { name, command.path(name) } do
        argv[#argv + 1] = "-P"
        argv[#argv + 1] = path
      end
    end
  end
  argv[#argv + 1] = "-e"
  argv[#argv + 1] = "trace=sendto," .. rule.call
  argv[#argv + 1] = "-e"
  argv[#argv + 1] = ("inject=%s:%s:when=%d%s"):format(rule.call,
    rule.error and "error=" .. rule.error or "signal=SIGKILL", rule.nth, rule.forever and "+" or "")
  for _, word in ipairs(command.line(words)) do
    argv[#argv + 1] = word
  end
  return process.run(argv, place())
end

-- Runs the command, disturbed by a rule or not.
local function run(rule, words)
  return rule and strace(rule, words) or process.run(command.line(words), place())
end

---Begins the import, and does not wait for it.
---@return table job of support.process
function rig.start()
  return process.start(command.line(BEGIN), place())
end

---The same with a job that is there.
---@return table job
function rig.start_again()
  return process.start(command.line { "resume", "-q", "users.csv.imattr" }, place())
end

---Goes on as a person would: what resume does not know as a job is begun.
---@param rule table? what disturbs this run too
---@return { code: integer, stdout: string, stderr: string }
function rig.go_on(rule)
  local output = run(rule, { "resume", "-q", "users.csv.imattr" })
  if output.code == 66 or output.stderr:find("was not begun", 1, true) then
    output = run(rule, BEGIN)
  end
  return output
end

-- }=====

-- {===== looking =====

-- What the server says that is not as it should be.
local function problem_at_server(kills)
  local stats = command.server:stats()
  local repeated = stats.commands.im_set_attr.users - users
  rig.repeated = repeated
  if repeated < 0 or repeated > kills * rig.REPEATED_MAX then
    return ("%d users repeated after %d kills"):format(repeated, kills)
  elseif stats.users_stored ~= users then
    return ("%d users stored"):format(stats.users_stored)
  end
end

-- Reads everybody back; what the first wrong user has.
local function problem_of_values()
  local i, right, wrong = 0, 0, nil
  local _, report = client:get_attr(function()
    i = i + 1
    return i <= users and "u" .. i or nil
  end, { on_user = function(account, attrs)
    local wanted = value_of(tonumber(account:sub(2)))
    if attrs.city == wanted and next(attrs, next(attrs)) == nil then
      right = right + 1
    else
      wrong = wrong or ("%s has %q, not %q"):format(account, tostring(attrs.city), wanted)
    end
  end })
  return wrong or right ~= users and ("%d of %d users are right; %s"):format(right, users,
    tostring(report.error))
end

-- What the job file says that is not as it should be.
local function problem_of_job()
  local opened, message = job.open(command.path("users.csv.imattr"), "read")
  if not opened then
    return message
  end
  local counts = opened.counts
  local says = ("%d done, %d failed, %d rows, ended %s"):format(counts.done,
    counts.invalid + counts.refused, opened:get("rows") or 0,
    tostring(opened:get("ended_s") ~= nil))
  opened:close()
  local wanted = ("%d done, %d failed, %d rows, ended true"):format(users, rig.rows - users,
    rig.rows)
  local db = assert(store.open(command.path("users.csv.imattr"), "read"))
  local integrity = db:run("PRAGMA integrity_check")
  db:close()
  return says ~= wanted and says or integrity ~= "ok" and integrity or nil
end

---Compares what there is with the undisturbed run; nil, or what is wrong.
---@param output { code: integer, stderr: string } of the last run
---@param kills integer that went before it
---@return string?
function rig.problem(output, kills)
  if output.code ~= SOME_FAILED then
    return ("exit code %s: %s"):format(tostring(output.code), output.stderr)
  end
  local rejected = command.read("users.csv.rejects.csv")
  return problem_at_server(kills) or problem_of_values() or problem_of_job()
    or rejected ~= rig.rejected and "rejects: " .. tostring(rejected) or nil
end

-- }=====

-- {===== what is tried =====

---Starts the sandbox, and learns from a run that nobody disturbs.
---@param count integer users
function rig.open(count)
  users = math.min(count, LEARNED_FROM)
  command.server = sandbox.start { key = command.KEY, sdkappid = command.SDKAPPID, limit = 0,
    attr_names = { "sex", "city" }, max_seconds = SECONDS_MAX }
  client = assert(imattr.new { sdkappid = command.SDKAPPID, key = command.KEY, rate = 0,
    endpoint = command.server.endpoint, ca_file = command.server.ca_file })
  rig.begin()
  local output = run(nil, BEGIN)
  rig.rejected = command.read("users.csv.rejects.csv")
  local wrong = rig.problem(output, 0)
  rig.finish()
  assert(not wrong and rig.rejected, wrong)
  users = count
end

function rig.close()
  client:close()
  command.close()
end

---Kills an import at the N-th call of a kind, and perhaps its recovery too; then all must be right.
---@param rule { call: string, nth: integer }
---@param second { call: string, nth: integer }? for the recovery
---@return boolean was_killed false: there is no N-th call (of the second, if there is one)
---@return string? problem
function rig.kill(rule, second)
  rig.begin()
  local output = run(rule, BEGIN)
  local kills = output.code == KILLED and 1 or 0
  if kills == 1 then
    output = rig.go_on(second)
    if second and output.code == KILLED then
      kills = 2
      output = rig.go_on()
    end
  end
  local wrong = rig.problem(output, kills)
  rig.finish()
  return kills == (second and 2 or 1), wrong
end

-- What the trace shows of a failure: was it one of the job's files (SQLite does not mind when its
-- folder cannot be synced)? was something sent before it, for how long after it, and what else was
-- called after it?
local function read_trace()
  local failure
  local sent_before = false
  for line in command.read("trace"):gmatch("[^\n]+") do
    local time, call = line:match("^%d+ +([%d.]+) ([%w_]+)%(")
    local is_of_job = line:find("users.csv.imattr", 1, true) ~= nil
    if line:find("(INJECTED)", 1, true) and (not failure
      or is_of_job and not failure.is_of_job) then
      failure = { time_s = tonumber(time), sent_before = sent_before, sent_for_s = 0, after = {},
        is_of_job = is_of_job }
    elseif failure and call then
      failure.after[call] = true
      failure.sent_for_s = call == "sendto" and tonumber(time) - failure.time_s
        or failure.sent_for_s
    end
    sent_before = sent_before or call == "sendto"
  end
  return failure
end

-- What is wrong with how a run ended after a failure.
local function problem_of_end(rule, failure, output)
  local is_told = output.code == CANNOT_WRITE
  local is_within = failure.sent_before and failure.sent_for_s > 0 and failure.is_of_job
  if not is_told and output.code ~= SOME_FAILED then
    return ("exit code %d: %s"):format(output.code, output.stderr)
  elseif is_told and not output.stderr:find("users.csv", 1, true) then
    return "does not say which file: " .. output.stderr
  elseif is_within and not is_told then
    return "the failure is told to nobody"
  elseif is_told and failure.sent_for_s > SENDING_MAX_S then
    return ("went on sending for %.1f s"):format(failure.sent_for_s)
  elseif is_within and rule.call == "fdatasync" and (failure.after.fdatasync
      or failure.after.unlink) then
    return "a failed fdatasync was tried again as if all were fine"
  end
end

---Lets a call fail, once or from then on; the run must say so and end, and a resume be right.
---@param rule { call: string, nth: integer, error: string, forever: boolean? }
---@return integer? code of the run that was disturbed; nil: there is no N-th call
---@return string? problem
function rig.fail(rule)
  rig.begin()
  local output = run(rule, BEGIN)
  local code = output.code
  local failure = read_trace()
  local wrong = failure and problem_of_end(rule, failure, output)
  command.server:settings { latency_ms = 0 }
  if code == CANNOT_WRITE then
    output = rig.go_on()
  end
  wrong = wrong or rig.problem(output, code == CANNOT_WRITE and 1 or 0)
  rig.finish()
  return failure and code, wrong
end

-- }=====

return rig
