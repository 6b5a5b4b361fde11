-- imattr resume: goes on with a job that was interrupted, killed, or could not reach the service.

local exit = require "imattr.cli.exit"
local job = require "imattr.cli.job"
local set = require "imattr.cli.set"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

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
  command:flag("--json"):description "print the report as one JSON object"
  command:flag("-q --quiet"):description "no progress and no summary"
  setup.define(command, set.SETUP)
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
  local opened, message = job.open(args.job, "write")
  if not opened then
    return refuse(io, message, exit.NO_INPUT)
  end
  local problem = opened:problem_of_input()
  if problem then
    opened:close()
    return refuse(io, problem, exit.BAD_INPUT)
  end
  if opened:get("ended_s") then
    opened:close()
    return refuse(io, args.job .. ": all is done", exit.OK)
  end
  return set.go_on(arguments_of(opened, args), io, opened)
end

return resume
