-- imattr get: prints or exports the attributes of users, in shapes that the set verb reads.

local accounts = require "imattr.cli.accounts"
local columns = require "imattr.cli.columns"
local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local export = require "imattr.cli.export"
local imattr = require "imattr"
local output = require "imattr.cli.output"
local progress = require "imattr.cli.progress"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" }
local SAID_MAX = 20 -- accounts without an answer that are named
local LISTED_MAX = 1000 -- and those that --json lists
local PATIENCE_MS = 300000 -- an export that has begun sits out an outage of this length
local COLUMNS_MAX = 10

local get = {
  name = "get",
  summary = "Prints the attributes of users, or exports them into a file.",
  usage = "get [options] ACCOUNT...|FILE|-",
  examples = {
    "imattr get xiaojun012 xiaojun013      one JSON object a line",
    "imattr get --json xiaojun012          one object for all of them",
    "imattr get users.csv -o present.csv   of the users in a file, as CSV",
    "psql -Atc 'select account from customers' | imattr get - -o present.ndjson",
    "",
    "FILE is CSV with To_Account as its first column, NDJSON, or a list of",
    "accounts, one a line. Users come out in its order, in constant memory.",
  },
}

---Names with commas between them.
local function names_of(given)
  local list, seen = {}, {}
  for name in (given .. ","):gmatch("([^,]*),") do
    if name == "" or seen[name] then
      return nil, ("--columns: %s: a name is empty or comes twice"):format(text.short(given, 60))
    end
    seen[name], list[#list + 1] = true, name
  end
  if #list > COLUMNS_MAX then
    return nil, ("--columns: %d names, limit %d"):format(#list, COLUMNS_MAX)
  end
  return list
end

---Adds the verb's arguments and flags.
---@param command table of argparse
function get.define(command)
  command:argument("accounts"):argname("ACCOUNT"):args("+")
    :description 'whose attributes; or a file of accounts, "-" for standard input'
  command:mutex(
    command:flag("--accounts"):target("accounts_flag")
      :description "what is given are accounts, though there are files of such names",
    command:flag("--file"):description "what is given are files, whatever they are called"
  )
  command:mutex(
    command:option("-o --output"):argname("FILE")
      :description 'write a CSV or NDJSON file; "-" is standard output',
    command:flag("--json"):description "print one JSON object instead of one a line; for few users"
  )
  command:option("--format"):argname("FORMAT"):choices({ "csv", "ndjson" })
    :description "csv or ndjson (default: by the name of the output, or ndjson)"
  command:option("--columns"):argname("A,B,C"):convert(names_of)
    :description "columns of a CSV output (default: the app's registered names)"
  command:flag("-q --quiet"):description "no progress and no summary"
  setup.define(command, SETUP)
end

-- {===== a run =====

---A run of the verb: what it was told, and what it holds.
---@class imattr.cli.get.run
---@field args table
---@field io table
---@field source table
---@field output imattr.cli.output
---@field export imattr.cli.export
---@field progress imattr.cli.progress
---@field objects table[] for --json
---@field failures table[] the first LISTED_MAX
---@field requests integer
---@field seconds number
---@field columns integer? of the terminal where words go

local function say(run, message)
  run.progress:clear()
  run.io.stderr:write("imattr: ", message, "\n")
end

---Remembers and says who has no answer.
local function take_failure(run, failure)
  local count = run.export.counts.failed
  if count <= LISTED_MAX then
    run.failures[count] = failure
  end
  if count <= SAID_MAX then
    local where = run.source.is_file and ("%s:%d"):format(run.source.path == "-"
      and "standard input" or text.visible(run.source.path), failure.line)
    local who = failure.account and text.visible(failure.account)
    say(run, ("%s: %s"):format(where and who and where .. ": " .. who or where or who,
      setup.redact(text.visible(failure.message))))
  end
end

local function now_s()
  return core.now_us() / 1e6
end

local function new_run(args, io, source)
  local look = progress.look(core, os.getenv)
  local is_quiet = args.quiet or not source.is_file or not args.output and core.isatty(1)
  local run = { args = args, io = io, source = source, objects = {}, failures = {}, requests = 0,
    seconds = 0, columns = look.columns }
  run.progress = progress.new { look = look, now_s = now_s,
    columns = function() return core.columns(2) end,
    write = function(shown)
      if not is_quiet then
        io.stderr:write(shown)
      end
    end }
  run.export = export.new { source = source,
    write = function(account, attrs)
      if args.json then
        run.objects[#run.objects + 1] = output.object(account, attrs)
        return true
      end
      return run.output:add(account, attrs)
    end,
    on_failure = function(failure) take_failure(run, failure) end }
  return run
end

local ABORT = {} -- raised through the client at the second Ctrl-C

---Shall the client stop? The first Ctrl-C lets it finish what is in flight; the second aborts.
local function should_stop(run)
  local count = core.interrupts()
  if count > 1 then
    error(ABORT, 0)
  elseif count == 1 and not run.is_stopping then
    run.is_stopping = true
    say(run, "stopping; what is in flight is waited for, Ctrl-C again aborts")
  end
  return count > 0 or run.export.write_failure ~= nil
end

---One call of the client; the error that ended it.
local function call_once(run, client, quota)
  local ok, attributes, err, written = pcall(client.get_attr, client, function(tend)
    return run.export:next(tend)
  end, {
    failures_max = 0,
    should_stop = function() return should_stop(run) end,
    on_user = function(account, attrs) run.export:take(account, attrs) end,
    on_result = function(result) run.export:settle(result) end,
    on_progress = function(counts)
      local done = run.export.counts
      run.progress:update { users = done.users, failed = done.failed,
        requests = run.requests + counts.requests, quota = quota,
        fraction = run.source.fraction and run.source:fraction(),
        note = run.is_stopping and "stopping" or nil }
    end,
  })
  if not ok and attributes ~= ABORT then
    error(attributes, 0)
  elseif not ok then
    run.is_aborted = true
    return nil
  end
  local report = attributes and err or written
  run.requests = run.requests + (report and report.requests or 0)
  run.seconds = run.seconds + (report and report.seconds or 0)
  return not attributes and err or nil
end

---Asks for everything; the error that ended it.
local function ask(run, client, quota)
  local err
  core.catch_interrupts()
  local ok, raised = pcall(function()
    repeat
      err = call_once(run, client, quota)
    until err or run.is_aborted or run.is_stopping or run.export:is_through()
  end)
  core.release_interrupts()
  if not ok then
    error(raised, 0)
  end
  return err
end

-- }=====

-- {===== what comes of it =====

local function json_of(run)
  local failures = {}
  for index, failure in ipairs(run.failures) do
    failures[index] = text.json_object {
      { "account", failure.account }, { "fate", failure.fate },
      { "code", failure.code }, { "message", setup.redact(failure.message) },
    }
  end
  return text.json_object { { "UserAttrs", run.objects }, { "failures", failures } }.json .. "\n"
end

---Was all asked for, and all written that there is?
local function is_whole(run, err)
  local done = run.export
  return not (err or run.is_aborted or run.is_stopping or done.read_failure or done.write_failure)
end

---Says what has no place in the output.
local function say_left_out(run)
  local list = {}
  for name, count in pairs(run.output.left_out) do
    list[#list + 1] = ("%s (%s)"):format(text.visible(name), text.counted(count, "value"))
  end
  table.sort(list)
  if #list > 0 then
    say(run, ("attributes without a column: %s; name them with --columns"):format(
      table.concat(list, ", ")))
  end
end

---Says how it went, when a file was asked for.
local function say_summary(run, whole)
  local counts, path = run.export.counts, run.output.path
  if counts.failed > SAID_MAX then
    say(run, ("%s more have no answer"):format(text.count(counts.failed - SAID_MAX)))
  end
  if not run.args.columns then
    say_left_out(run)
  end
  if path and not run.args.quiet then
    local sentence = ("%s in %s, %s in %s"):format(text.counted(counts.users, "user"),
      text.visible(whole and path or run.output.place), text.counted(run.requests, "request"),
      text.duration(run.seconds))
    local lines = columns.wrapped(sentence, run.columns and run.columns - 1)
    run.io.stderr:write(table.concat(lines, "\n"), "\n")
  end
end

---Ends a run: gives the exit code.
local function conclude(run, err)
  local done, whole = run.export, is_whole(run, err)
  run.progress:clear()
  local ok, message = run.output:close(whole)
  if ok and run.args.json and not err then
    ok = run.io.stdout:write(json_of(run)) and run.io.stdout:flush()
    message = "standard output: cannot write"
  end
  if done.read_failure then
    say(run, "input: " .. text.visible(done.read_failure))
  end
  if err and not run.is_stopping then
    say(run, setup.redact(text.visible(tostring(err))))
  elseif run.is_aborted then
    say(run, "aborted")
  end
  say_summary(run, whole)
  if not ok or done.write_failure then
    say(run, message or run.output.path and "output: " .. text.visible(done.write_failure)
      or "standard output: cannot write")
    return exit.CANNOT_WRITE
  elseif run.is_aborted or run.is_stopping then
    return exit.INTERRUPTED
  elseif done.read_failure then
    return exit.NO_INPUT
  elseif err then
    return exit.of(err)
  end
  return done.counts.failed > 0 and exit.SOME_FAILED or exit.OK
end

---Writes the header of a CSV output; nil, message, exit code.
local function write_head(run, client)
  if run.output.format ~= "csv" then
    return true
  end
  local names = run.args.columns
  if not names then
    local by_index, err = client:get_attr_name()
    if not by_index then
      return nil, setup.redact(text.visible(tostring(err))), exit.of(err)
    end
    names = {}
    for index = 0, 9 do
      names[#names + 1] = by_index[tostring(index)]
    end
  end
  local ok, message = run.output:head(names)
  return ok, message and "output: " .. text.visible(message), exit.CANNOT_WRITE
end

---Opens all that a run needs: run, client; nil, message, exit code.
local function prepare(args, io)
  local format, message = output.format_of(args.output, args.format)
  if not format or args.json and args.format == "csv" then
    return nil, message or "--json and --format csv: give one of them", exit.USAGE
  end
  local source, options, code
  source, message, code = accounts.of(args.accounts,
    args.file and "file" or args.accounts_flag and "account" or nil, io)
  if source then
    options, message, code = setup.read(args, SETUP, io, os.getenv)
  end
  if not options then
    return nil, message, code
  end
  options.patience_ms = PATIENCE_MS
  local client, err = imattr.new(options)
  if not client then
    return nil, setup.redact(text.visible(tostring(err))), exit.of(err)
  end
  local run = new_run(args, io, source)
  run.output, message, code = output.open { path = args.output, format = format, io = io }
  if run.output then
    local ok
    ok, message, code = write_head(run, client)
    if ok then
      return run, client, options.rate or setup.default "rate"
    end
    run.output:close(false)
  end
  client:close()
  return nil, message, code
end

-- }=====

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function get.run(args, io)
  local run, client, quota = prepare(args, io)
  if not run then
    io.stderr:write("imattr: ", client, "\n")
    return quota
  end
  local err = ask(run, client, quota)
  client:close()
  run.source:close()
  return conclude(run, err)
end

return get
