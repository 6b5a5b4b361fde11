-- imattr resume: goes on with a job that was interrupted, killed, or could not reach the service.

local bulk = require "imattr.cli.bulk"
local exit = require "imattr.cli.exit"
local job = require "imattr.cli.job"
local remove = require "imattr.cli.remove"
local set = require "imattr.cli.set"
local text = require "imattr.cli.text"

-- What goes on, by the command that a job is of.
local VERBS = { [set.command] = set, [remove.command] = remove }

local resume = {
  name = "resume",
  summary = "Goes on with a job that did not come to its end.",
  usage = "resume [options] JOB",
  examples = { "imattr resume users.csv.imattr" },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function resume.define(command)
  command:argument("job"):argname("JOB"):description "the job's file, FILE.imattr"
  bulk.define_run(command)
end

---What the job was begun with, under what this command line says.
local function arguments_of(opened, args)
  local merged = opened:arguments()
  for name, value in pairs(args) do
    merged[name] = value
  end
  merged.job, merged.verb, merged.file = true, nil, { opened:get("input") }
  return merged
end

local function refuse(io, message, code)
  io.stderr:write("imattr: ", text.visible(message), "\n")
  return code
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function resume.run(args, io)
  local opened, message, is_no_job = job.open(args.job, "write")
  if not opened then
    return refuse(io, message, is_no_job and exit.BAD_INPUT or exit.NO_INPUT)
  end
  local problem = opened:problem_of_input()
  if problem then
    opened:close()
    return refuse(io, problem, exit.BAD_INPUT)
  end
  if opened:get("ended_s") then
    local has_failed = opened:has_failed()
    opened:close()
    return refuse(io, args.job .. (has_failed and ": all is over, some users failed"
      or ": all is done"), has_failed and exit.SOME_FAILED or exit.OK)
  end
  return bulk.run(VERBS[opened:get("command")], arguments_of(opened, args), io, opened)
end

return resume
