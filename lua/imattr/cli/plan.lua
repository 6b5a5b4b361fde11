-- imattr plan: what an import would change, before it does: reads the input and the present values,
-- and keeps both in a file, for imattr apply, verify and undo. Killed or interrupted, the same line
-- goes on.

local exit = require "imattr.cli.exit"
local flags = require "imattr.cli.flags"
local imattr = require "imattr"
local import = require "imattr.cli.import"
local input = require "imattr.cli.input"
local plan_change = require "imattr.cli.plan_change"
local plan_file = require "imattr.cli.plan_file"
local plan_run = require "imattr.cli.plan_run"
local preflight = require "imattr.cli.preflight"
local terminal = require "imattr.cli.terminal"
local text = require "imattr.cli.text"

local SAMPLES = 5 -- changes that are shown

local plan = {
  name = "plan",
  summary = "Shows what imattr set would change, and keeps it for imattr apply.",
  usage = "plan [options] FILE",
  examples = {
    "imattr plan users.csv                  writes users.csv.plan",
    "imattr plan users.csv -o plan.imattr",
    "imattr apply plan.imattr               sends the differences",
    "imattr verify plan.imattr              is all as wanted?",
    "imattr undo plan.imattr                as it was before",
    "",
    "Reads the present values of all users and sends nothing that changes one.",
    "Exit code 0: nothing to do; 2: there are changes, or users that failed.",
    "Killed or interrupted, the same line goes on.",
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function plan.define(command)
  command:argument("file"):argname("FILE")
    :description "CSV or NDJSON, also as gzip"
  command:option("-o --output"):target("plan"):argname("PLAN")
    :description "the plan's file (default: FILE.plan)"
  flags.define_input(command)
  flags.define_null(command)
  plan_run.define(command)
end

-- {===== reading the input =====

---A client that screens users as the one that sends would, and knows the registered names.
local function screen_of(run, names)
  local options = { attr_names = names }
  for name, value in pairs(run.options) do
    options[name] = value
  end
  return assert(imattr.new(options))
end

---What a row wants: values, and NULL for names that are to go.
local function wanted_of(attrs, removes)
  local wanted = {}
  for name, value in pairs(attrs) do
    wanted[name] = value
  end
  for _, name in ipairs(removes or {}) do
    wanted[name] = plan_file.NULL
  end
  return wanted
end

---Reads all rows of an input into the run's plan. Screening answers about a row before the next is
---asked for.
---@param run imattr.cli.plan_run
---@param opened imattr.cli.input
---@return boolean? ok
---@return string? message
---@return integer? code
function plan.read_input(run, opened)
  local names, err = preflight.names(run.client, { { input = opened } })
  if not names then
    return nil, text.visible(tostring(err)), exit.of(err)
  end
  local file, screen = run.file, screen_of(run, names)
  local rows = import.new { sources = { { input = opened } }, dry_run = true }
  rows.registered = names
  local pending
  rows.tally = { add = function(_, row, fate, failure, words)
    pending = nil
    file:fail("plan", row, fate, failure, words)
  end }
  local function keep()
    if pending then
      file:add(pending.line, pending.account, wanted_of(pending.attrs, pending.removes))
      pending = nil
    end
  end
  file:clear()
  screen:set_attr(function(tend)
    keep()
    local account, attrs, removes = rows:next(tend)
    if account and not file.failure then
      pending = { line = opened.reader:place(), account = account, attrs = attrs,
        removes = removes }
      return account, attrs, removes
    end
  end, { dry_run = true, failures_max = 0, removes = run.args.null ~= nil,
    on_failure = function(result) rows:settle(result) end })
  screen:close()
  keep()
  if rows.read_failure then
    return nil, ("%s: %s"):format(text.visible(opened.path), text.visible(rows.read_failure)),
      rows.read_code
  end
  file:note("read_s", os.time())
  return file:commit() or nil, file.failure and text.visible(file.failure), exit.CANNOT_WRITE
end

-- }=====

---Asks what users have. True when all have answered, or never will.
local function ask(run)
  local file = run.file
  return run:carry {
    command = "get_attr",
    users = file:count "plan",
    next = file:users "plan",
    settle = function(user, fate, code, message)
      if fate == "done" then -- who has nothing may be left out of the answer
        local present = {}
        for name in pairs(user.wanted) do
          present[name] = user.found and user.found[name]
        end
        local set, remove = plan_change.of(present, user.wanted)
        file:answer(user.number, (set or remove) and "change" or "unchanged", present)
      elseif fate == "invalid" or fate == "refused" then
        file:move(user.number, "failed")
        file:fail("plan", user, fate, code, message)
      end
    end,
  }
end

-- {===== what comes of it =====

---The first changes of a plan.
local function samples_of(file)
  local samples = {}
  for user in file:users "change" do
    samples[#samples + 1] = { account = user.account,
      words = plan_change.words(user.present, user.wanted) }
    if #samples == SAMPLES then
      break
    end
  end
  return samples
end

---What a plan says.
---@param run imattr.cli.plan_run
---@return imattr.cli.comparison
local function found_of(run)
  local file = run.file
  local states, reasons, more = file:states(), file:reasons "plan"
  local failed = more
  for _, reason in ipairs(reasons) do
    failed = failed + reason.count
  end
  local change, same = states.change, states.unchanged
  return {
    title = ("plan for %s of %s"):format(text.counted(change + same + failed, "user"),
      text.visible(run.args.file)),
    users = change + same + failed, different = change, same = same, failed = failed,
    words = { different = "change", same = "unchanged" },
    attributes = file:changes(), samples = samples_of(file), reasons = reasons,
    requests = file:requests(), quota = run.quota,
  }
end

---The members of a report about a comparison.
---@param run imattr.cli.plan_run
---@param found imattr.cli.comparison
---@param names { different: string, same: string } what the members are called
---@return {[1]: string, [2]: any}[]
function plan.json_of(run, found, names)
  local attributes, samples, reasons = {}, {}, {}
  for index, attribute in ipairs(found.attributes) do
    attributes[index] = text.json_object { { "name", attribute.name },
      { "users", attribute.users } }
  end
  for index, sample in ipairs(found.samples) do
    samples[index] = text.json_object { { "account", sample.account }, { "change", sample.words } }
  end
  for index, reason in ipairs(found.reasons) do
    reasons[index] = text.json_object { { "code", reason.code }, { "fate", reason.fate },
      { "users", reason.count }, { "line", reason.line }, { "message", reason.message } }
  end
  return { { "users", found.users }, { names.different, found.different },
    { names.same, found.same }, { "failed", found.failed }, { "attributes", attributes },
    { "samples", samples }, { "reasons", reasons }, { "requests", found.requests },
    { "error", run:json_error() } }
end

---Shows how the plan ended; gives the exit code.
local function conclude(run, is_whole)
  local path, file = text.shell(run.args.plan), run.file
  if not is_whole then
    local code = run:code(exit.OTHER)
    run:show(("the plan is not finished; to go on:\n  imattr plan %s -o %s"):format(
      text.shell(run.args.file), path))
    return run:print({ { "plan", run.args.plan }, { "error", run:json_error() } }, code)
  end
  local found = found_of(run)
  run:show(terminal.comparison(found, run.look))
  if found.different > 0 then
    run:show("to do it:\n  imattr apply " .. path)
  end
  local members = plan.json_of(run, found, { different = "change", same = "unchanged" })
  table.insert(members, 1, { "plan", file.path })
  return run:print(members, run:code(found.different + found.failed > 0 and exit.SOME_FAILED
    or exit.OK))
end

-- }=====

---The plan to go on with, or a new one; nil, message, exit code.
local function open_file(run)
  local path = run.args.plan
  local message
  run.file, message = plan_file.create(path, run.args.file, { sdkappid = run.options.sdkappid })
  if run.file or not plan_file.is_there(path, run.io) then
    return run.file ~= nil or nil, message and text.visible(message), exit.CANNOT_WRITE
  end
  run.file, message = plan_file.open(path)
  if not run.file then
    return nil, text.visible(message), exit.CANNOT_WRITE
  elseif run.file:get "planned_s" then
    return nil, text.visible(path) .. ": there is a plan already; take the file away, or name "
      .. "another", exit.CANNOT_WRITE
  end
  message = run:app_fault() or run.file:fault_of_input(run.args.file)
  return not message or nil, message and text.visible(message), exit.BAD_INPUT
end

local function work(run)
  local args = run.args
  args.plan = args.plan or args.file .. ".plan"
  if args.file == "-" then
    return nil, "plan: wants a file, which is still there when the plan is applied", exit.USAGE
  end
  local opened, message, code = input.open(args.file, args, run.io)
  local ok
  if opened then
    ok, message, code = open_file(run)
  end
  if ok then
    ok, message, code = run:connect()
  end
  if ok and not run.file:get "read_s" then
    ok, message, code = plan.read_input(run, opened)
  end
  if not ok then
    return nil, message, code
  end
  local is_whole = ask(run)
  if is_whole then
    run.file:note("planned_s", os.time())
    is_whole = run.file:commit()
  end
  return conclude(run, is_whole)
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function plan.run(args, io)
  return plan_run.run(args, io, work)
end

return plan
