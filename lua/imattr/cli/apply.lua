-- imattr apply: sends what a plan would change. Killed or interrupted, the same line goes on.

local exit = require "imattr.cli.exit"
local plan_change = require "imattr.cli.plan_change"
local plan_run = require "imattr.cli.plan_run"
local terminal = require "imattr.cli.terminal"
local text = require "imattr.cli.text"

local apply = {
  name = "apply",
  summary = "Sends the changes of a plan, and keeps the values they replace.",
  usage = "apply [options] PLAN",
  examples = {
    "imattr apply plan.imattr",
    "",
    "Killed or interrupted, the same line goes on. imattr undo takes it back.",
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function apply.define(command)
  command:argument("plan"):argname("PLAN"):description "the plan's file, of imattr plan"
  plan_run.define(command)
end

---A change of a plan, forwards.
local WAY = { step = "apply", half = "applying", done = "applied", failed = "failed",
  announces = true,
  change = function(user) return plan_change.of(user.present, user.wanted) end }

---Shows how a run that changed users ended; gives its exit code.
---@param run imattr.cli.plan_run
---@param steps string what to do next, or ""
---@return integer
function apply.conclude(run, steps)
  local numbers = run:numbers()
  run:show(terminal.summary(numbers, run.look))
  local code = run:code(run.tally.count > 0 and exit.SOME_FAILED or exit.OK)
  if steps ~= "" then
    run:show(steps)
  end
  return run:print({
    { "plan", run.args.plan }, { "users", numbers.users }, { "done", numbers.done },
    { "invalid", numbers.invalid }, { "refused", numbers.refused },
    { "unknown", numbers.unknown }, { "not_sent", numbers.not_sent },
    { "requests", numbers.requests }, { "retries", numbers.retries },
    { "seconds", numbers.seconds }, { "error", run:json_error() },
    { "failures", run.tally:json() }, { "failures_more", run.tally.count - #run.tally.failures },
  }, code)
end

-- What speaks against an apply now: a message and an exit code.
local function objection(file)
  local path = text.visible(file.path)
  if file:get "undo_s" then
    return path .. ": was undone; make a new plan", exit.BAD_INPUT
  elseif file:get "applied_s" then
    local has_failed = #file:reasons "apply" > 0
    return path .. (has_failed and ": all is over, some users failed" or ": all is applied"),
      has_failed and exit.SOME_FAILED or exit.OK
  elseif file:count "apply" == 0 then
    return path .. ": nothing to do", exit.OK
  end
  local problem = file:problem_of_input()
  return problem and text.visible(problem), exit.BAD_INPUT
end

local function work(run)
  local _, message, code = run:open()
  if not message then
    message, code = objection(run.file)
  end
  if not message then
    _, message, code = run:connect()
  end
  if message then
    return nil, message, code
  end
  local is_whole = plan_change.carry(run, WAY)
  if is_whole then
    run.file:note("applied_s", os.time())
    is_whole = run.file:commit()
  end
  local path = text.shell(run.args.plan)
  return apply.conclude(run, is_whole and run.counts.done > 0
    and "to take it back:\n  imattr undo " .. path
    or not is_whole and "to go on:\n  imattr apply " .. path or "")
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function apply.run(args, io)
  return plan_run.run(args, io, work)
end

return apply
