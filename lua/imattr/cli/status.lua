-- imattr status: how far a job is, asked from outside, while it runs or after.

local exit = require "imattr.cli.exit"
local job = require "imattr.cli.job"
local text = require "imattr.cli.text"

-- Codes that are listed, the most frequent first.
local CODES_MAX = 10

local status = {
  name = "status",
  summary = "Shows how far a job is.",
  usage = "status [options] JOB",
  examples = { "imattr status users.csv.imattr" },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function status.define(command)
  command:argument("job"):argname("JOB"):description "the job's file, FILE.imattr"
  command:flag("--json"):description "print it as one JSON object"
end

---What a job is doing: "running", "finished", or "waiting" for somebody to go on with it.
---@param opened imattr.cli.job
---@return string
function status.state(opened)
  if opened:is_running() then
    return "running"
  end
  return opened:get("ended_s") and "finished" or "waiting"
end

local function as_json(opened)
  local codes = {}
  for _, one in ipairs(opened:codes(CODES_MAX)) do
    codes[#codes + 1] = text.json_object { { "code", one.code }, { "users", one.users } }
  end
  return text.json_object {
    { "job", opened.path }, { "input", opened:get("input") }, { "command", opened:get("command") },
    { "state", status.state(opened) }, { "rows", opened:get("rows") },
    { "done", opened.counts.done }, { "invalid", opened.counts.invalid },
    { "refused", opened.counts.refused }, { "requests", opened.requests },
    { "started_s", opened:get("started_s") }, { "ended_s", opened:get("ended_s") },
    { "codes", codes },
  }.json
end

-- How long ago something was, or nothing.
local function ago(time_s)
  return time_s and (" (%s ago)"):format(text.duration(math.max(0, os.time() - time_s))) or ""
end

---The lines about a job, for people.
---@param opened imattr.cli.job
---@return string
function status.lines(opened)
  local state = status.state(opened)
  local counts = opened.counts
  local settled = counts.done + counts.invalid + counts.refused
  local rows = opened:get("rows")
  local lines = {
    ("%s of %s"):format(opened:get("command"), text.visible(opened:get("input"))),
    ("  %-9s %s%s"):format("state", state, ago(opened:get("ended_s")
      or opened:get("started_s"))),
    ("  %-9s %s%s"):format("settled", text.counted(settled, "user"),
      rows and " of " .. text.count(rows) or ""),
  }
  for _, fate in ipairs { "done", "invalid", "refused" } do
    lines[#lines + 1] = ("  %-9s %s"):format(fate, text.count(counts[fate]))
  end
  lines[#lines + 1] = ("  %-9s %s"):format("requests", text.count(opened.requests))
  for _, one in ipairs(opened:codes(CODES_MAX)) do
    lines[#lines + 1] = ("  %9s %s"):format(text.count(one.users), text.visible(one.code))
  end
  if state == "waiting" then
    lines[#lines + 1] = "to go on:\n  imattr resume " .. text.shell(opened.path)
  end
  return table.concat(lines, "\n")
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function status.run(args, io)
  local opened, message, is_no_job = job.open(args.job, "read")
  if not opened then
    io.stderr:write("imattr: ", text.visible(message), "\n")
    return is_no_job and exit.BAD_INPUT or exit.NO_INPUT
  end
  local shown = args.json and as_json(opened) or status.lines(opened)
  opened:close()
  return io.stdout:write(shown, "\n") and io.stdout:flush() and exit.OK or exit.CANNOT_WRITE
end

return status
