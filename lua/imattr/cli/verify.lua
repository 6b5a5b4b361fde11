-- imattr verify: reads users back, and says who is not as a plan, or an input, wants it.

local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local flags = require "imattr.cli.flags"
local input = require "imattr.cli.input"
local plan = require "imattr.cli.plan"
local plan_change = require "imattr.cli.plan_change"
local plan_file = require "imattr.cli.plan_file"
local plan_run = require "imattr.cli.plan_run"
local terminal = require "imattr.cli.terminal"
local text = require "imattr.cli.text"

local SAMPLES = 5 -- users that are shown

local verify = {
  name = "verify",
  summary = "Reads users back: are they as a plan or a file wants them?",
  usage = "verify [options] PLAN|FILE",
  examples = {
    "imattr verify plan.imattr              after imattr apply, or imattr undo",
    "imattr verify users.csv                after imattr set",
    "imattr verify --sample 1000 users.csv  a thousand of them, by chance",
    "",
    "Exit code 0: all are as wanted; 2: some are not.",
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function verify.define(command)
  command:argument("plan"):argname("PLAN|FILE")
    :description "a plan's file, or CSV or NDJSON, also as gzip"
  command:option("--sample"):argname("N"):convert(flags.integer("--sample", 1))
    :description "only so many users, picked by chance"
  flags.define_input(command)
  flags.define_null(command)
  plan_run.define(command)
end

---Opens the plan; or reads the input into one that nobody keeps. nil, message, exit code.
local function open(run)
  local args = run.args
  if plan_file.is_there(args.plan, run.io) then
    local ok, message, code = run:open()
    if ok then
      ok, message, code = run:connect()
    end
    return ok, message, code
  end
  local opened, message, code = input.open(args.plan, args, run.io)
  local ok
  if opened then
    run.file, message = plan_file.scratch(("%s/imattr-verify-%d"):format(os.getenv "TMPDIR"
      or "/tmp", core.getpid()))
    ok, code = run.file ~= nil, exit.CANNOT_WRITE
  end
  if ok then
    ok, message, code = run:connect()
  end
  if ok then
    ok, message, code = plan.read_input(run, opened)
  end
  return ok or nil, message, code
end

---Asks what users have, and compares. True when all have answered, or never will.
local function ask(run, found)
  local file, which = run.file, run.args.sample and "sample" or "all"
  local is_undone = file:get "undo_s" ~= nil
  local by_name = {}
  if run.args.sample then
    file:pick(run.args.sample)
  end
  local is_whole = run:carry {
    command = "get_attr",
    users = file:count(which),
    next = file:users(which),
    settle = function(user, fate)
      if fate ~= "done" then
        return
      end
      local is, wanted = user.found or {}, is_undone and plan_change.before(user) or user.wanted
      local names = plan_change.names(is, wanted)
      for _, name in ipairs(names) do
        by_name[name] = (by_name[name] or 0) + 1
      end
      found.different = found.different + (names[1] and 1 or 0)
      if names[1] and #found.samples < SAMPLES then
        found.samples[#found.samples + 1] = { account = user.account,
          words = plan_change.words(is, wanted) }
      end
    end,
  }
  for name, users in pairs(by_name) do
    found.attributes[#found.attributes + 1] = { name = name, users = users }
  end
  table.sort(found.attributes, function(a, b)
    return a.users > b.users or a.users == b.users and a.name < b.name
  end)
  return is_whole
end

---Rows of an input that no request could carry: they are not as wanted either.
local function add_failed_rows(run, found)
  local reasons, more = run.file:reasons "plan"
  local is_input = run.file:get "planned_s" == nil
  for _, reason in ipairs(is_input and reasons or {}) do
    found.failed = found.failed + reason.count
    found.reasons[#found.reasons + 1] = reason
  end
  found.failed = found.failed + (is_input and more or 0)
end

local function work(run)
  local ok, message, code = open(run)
  if not ok then
    return nil, message, code
  end
  local found = { different = 0, words = { different = "different" },
    attributes = {}, samples = {}, seconds = 0, reasons = {}, failed = 0 }
  found.words.same = run.file:get "undo_s" and "as before" or "as wanted"
  local is_whole = ask(run, found)
  local numbers = run:numbers()
  found.reasons, found.failed = numbers.reasons, run.tally.count
  found.requests, found.seconds = numbers.requests, numbers.seconds
  add_failed_rows(run, found)
  found.same = numbers.done - found.different
  found.users = numbers.done + found.failed
  found.title = ("%s read back%s"):format(text.counted(found.users, "user"),
    is_whole and "" or ", and not all")
  run:show(terminal.comparison(found, run.look))
  code = run:code(found.different + found.failed > 0 and exit.SOME_FAILED or exit.OK)
  return run:print(plan.json_of(run, found, { different = "different", same = "as_wanted" }), code)
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function verify.run(args, io)
  return plan_run.run(args, io, work)
end

return verify
