-- imattr undo: gives users back what an apply replaced. Killed or interrupted, the same line goes
-- on.

local apply = require "imattr.cli.apply"
local exit = require "imattr.cli.exit"
local plan_change = require "imattr.cli.plan_change"
local plan_run = require "imattr.cli.plan_run"
local text = require "imattr.cli.text"

local undo = {
  name = "undo",
  summary = "Restores the values that imattr apply replaced.",
  usage = "undo [options] PLAN",
  examples = {
    "imattr undo plan.imattr",
    "",
    "Users get the values of the plan back; attributes that were not there are",
    "removed. Killed or interrupted, the same line goes on.",
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function undo.define(command)
  command:argument("plan"):argname("PLAN"):description "the plan's file, which was applied"
  plan_run.define(command)
end

---A change of a plan, backwards.
local WAY = { step = "undo", half = "undoing", done = "undone",
  change = function(user) return plan_change.of(user.wanted, plan_change.before(user)) end }

-- What speaks against an undo now: a message and an exit code.
local function objection(file)
  local path = text.visible(file.path)
  if file:get "undone_s" then
    return path .. ": all is undone", exit.OK
  elseif not file:get "sent_to" then
    return path .. ": nothing of it was applied", exit.OK
  end
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
  run.file:note("undo_s", os.time())
  run.file:forget_failures "undo"
  run.file:commit()
  local is_whole = plan_change.carry(run, WAY)
  if is_whole and run.tally.count == 0 then
    run.file:note("undone_s", os.time())
    is_whole = run.file:commit()
  end
  local again = not is_whole and "to go on" or run.tally.count > 0 and "to try those again"
  return apply.conclude(run, again
    and ("%s:\n  imattr undo %s"):format(again, text.shell(run.args.plan)) or "")
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function undo.run(args, io)
  return plan_run.run(args, io, work)
end

return undo
