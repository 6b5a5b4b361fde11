-- imattr set: brings the users of a file to the service.

local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local flags = require "imattr.cli.flags"
local imattr = require "imattr"
local import = require "imattr.cli.import"
local input = require "imattr.cli.input"
local job = require "imattr.cli.job"
local status = require "imattr.cli.status"
local progress = require "imattr.cli.progress"
local rejects = require "imattr.cli.rejects"
local setup = require "imattr.cli.setup"
local terminal = require "imattr.cli.terminal"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" }
local FATES = { "done", "invalid", "refused", "unknown", "not_sent" }
local NULL = { json = "null" }

local set = {
  SETUP = SETUP,
  name = "set",
  summary = "Sets attributes of the users in CSV or NDJSON files.",
  usage = "set [options] FILE...",
  examples = {
    "imattr set users.csv",
    "imattr set --dry-run users.csv       checks it, sends nothing, needs no key",
    "imattr set --job users.csv           survives anything: imattr resume goes on",
    "imattr set users.csv.rejects.csv     sends what failed, once it is mended",
    "imattr set users.csv.gz              reads gzip, as standard input (-) too",
    "imattr set --columns account=uid,city=town export.csv",
    "",
    "A CSV file has To_Account as its first column, then a column per attribute; an",
    "empty cell leaves that attribute alone:",
    "  To_Account,sex,city",
    "  xiaojun012,m,Osaka",
    "NDJSON has one user a line:",
    '  {"To_Account":"xiaojun012","Attrs":{"sex":"m","city":"Osaka"}}',
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function set.define(command)
  command:argument("file"):argname("FILE"):args("+")
    :description 'CSV or NDJSON, also as gzip; "-" is standard input'
  command:option("--format"):argname("FORMAT"):choices({ "csv", "ndjson" })
    :description "what the input is: csv or ndjson (default: by its name, then its first byte)"
  command:option("--delimiter"):argname("BYTE"):convert(flags.delimiter)
    :description "what separates the columns of CSV: ';', tab, ... (default: a comma)"
  command:option("--columns"):argname("NAME=COLUMN,..."):convert(flags.columns)
    :description "other names for columns: account=uid,city=town; the account may be any column"
  command:flag("--dry-run"):description "check everything, send nothing"
  command:flag("--job")
    :description "keep FILE.imattr, which knows what is done: imattr resume goes on from there"
  command:option("--limit"):argname("N"):convert(flags.integer("--limit", 1))
    :description "only the first N rows"
  command:option("--max-errors"):argname("N|P%"):convert(flags.errors_max)
    :description "stop at more errors than that: a number, or a share of the users"
  command:option("--from-line"):argname("N"):convert(function(given)
    return given:match("^%d+$") and tonumber(given) or nil,
      ("--from-line: %s, must be a line number"):format(given)
  end):description "go on at this line of the (first) input; rejects are added to those of before"
  command:mutex(
    command:option("--rejects"):argname("PATH")
      :description "where rows that failed go (default: FILE.rejects.csv or .ndjson)",
    command:flag("--no-rejects"):description "do not write them anywhere"
  )
  command:flag("--json"):description "print the report as one JSON object"
  command:flag("-q --quiet"):description "no progress and no summary"
  setup.define(command, SETUP)
end

---A run of the verb: what it was told, and what it holds.
---@class imattr.cli.set.run
---@field args table
---@field io table
---@field options table
---@field job imattr.cli.job?
---@field import imattr.cli.import
---@field progress imattr.cli.progress
---@field look imattr.cli.look
---@field quota number

local function now_s()
  return core.now_us() / 1e6
end

---The rejects file of an input that the flags ask for; nil, message, exit code when they cannot
---have it.
local function rejects_of(args, opened)
  if args.no_rejects then
    return nil
  end
  local path = args.rejects or rejects.path_for(opened.path, opened.reader.format)
  for _, file in ipairs(args.files) do
    if path:gsub("^%./", "") == file:gsub("^%./", "") then
      return nil, ("rejects: %s is the input itself"):format(text.visible(path)), exit.USAGE
    end
  end
  return rejects.new(path, opened.reader, args.from_line ~= nil)
end

-- What a job cannot go with.
local NO_JOB = { dry_run = "--dry-run", limit = "--limit", from_line = "--from-line" }

---What is wrong with the inputs named together; nil: nothing.
local function files_fault(args)
  for name, flag in pairs(args.job and NO_JOB or {}) do
    if args[name] then
      return ("--job and %s: give one of them"):format(flag)
    end
  end
  if args.job and (#args.files > 1 or args.files[1] == "-") then
    return "--job: wants one file, which is still there when the job goes on"
  end
  if #args.files > 1 and args.rejects then
    return "--rejects: one file for several inputs; leave it out, and each has its own"
  end
  local seen = {}
  for _, path in ipairs(args.files) do
    if seen[path] then
      return ("%s is given twice"):format(text.visible(path))
    end
    seen[path] = true
  end
end

---Opens all inputs, each with its rejects file; nil, message, exit code.
local function open_sources(args, io)
  local sources = {}
  for number, path in ipairs(args.files) do
    local opened, message, code = input.open(path, args, io)
    if not opened then
      return nil, message, code
    end
    local file
    file, message, code = rejects_of(args, opened)
    if message then
      return nil, message, code
    end
    sources[number] = { input = opened, rejects = file }
  end
  return sources
end

-- What a job remembers of its command line: how to read its input, and where to send.
local REMEMBERED = { "format", "delimiter", "columns", "max_errors", "rejects", "no_rejects",
  "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate", "profile" }

---Begins a job for the input; nil, message, exit code.
local function begin_job(args, options)
  local remembered = {}
  for _, name in ipairs(REMEMBERED) do
    remembered[name] = args[name]
  end
  local begun, message = job.create(args.file, { command = "set_attr", sdkappid = options.sdkappid,
    arguments = job.encoded(remembered) })
  if not begun then
    return nil, text.visible(message), exit.CANNOT_WRITE
  end
  return begun
end

---The job of a run: the one that goes on, a new one, or none; nil, message, exit code.
local function job_of(args, options, opened)
  if opened and opened:get("sdkappid") ~= options.sdkappid then
    return nil, ("%s: a job of the app %s, not of %s"):format(text.visible(opened.path),
      tostring(opened:get("sdkappid")), tostring(options.sdkappid)), exit.SETUP
  elseif args.job and not opened then
    return begin_job(args, options)
  end
  return opened
end

---Opens and prepares all that a run needs; nil, message, exit code.
local function prepare(args, io, opened_job)
  args.files, args.file = args.file, args.file[1]
  local message, code = files_fault(args), exit.USAGE
  local sources, options
  if not message then
    sources, message, code = open_sources(args, io)
  end
  if sources then
    options, message, code = setup.read(args, SETUP, io, os.getenv, args.dry_run)
  end
  local kept_job
  if options then
    kept_job, message, code = job_of(args, options, opened_job)
  end
  if message then
    return nil, message, code
  end
  local look = progress.look(core, os.getenv)
  return {
    args = args,
    io = io,
    options = options,
    job = kept_job,
    import = import.new { sources = sources, from_line = args.from_line, limit = args.limit,
      errors_max = args.max_errors, dry_run = args.dry_run, job = kept_job },
    look = look,
    quota = options.rate or setup.default "rate",
    progress = progress.new {
      look = look,
      now_s = now_s,
      columns = function() return core.columns(2) end,
      write = function(shown)
        if not args.quiet then
          io.stderr:write(shown)
        end
      end,
    },
  }
end

---Words on standard error, on a line of their own.
local function say(run, message)
  run.progress:clear()
  run.io.stderr:write("imattr: ", message, "\n")
end

local ABORT = {} -- raised through the client at the second Ctrl-C

local function abort_if_asked()
  if core.interrupts() > 1 then
    error(ABORT, 0)
  end
end

---Shows how far the run is.
local function show_progress(run, progress_of_client)
  abort_if_asked()
  run.requests = progress_of_client.requests
  local counts = run.import.counts
  local failed = counts.invalid + counts.refused + counts.unknown + counts.not_sent
  run.progress:update {
    users = counts.done + failed,
    failed = run.args.dry_run and counts.invalid or failed,
    requests = progress_of_client.requests,
    quota = run.quota,
    fraction = run.import:fraction(),
    note = run.stopping and ("stopping, %s in flight"):format(
      text.counted(progress_of_client.in_flight, "request")),
  }
end

---Somebody asks by SIGUSR1 how far the run is.
local function answer(run)
  local questions = core.questions()
  if questions > (run.answered or 0) then
    run.answered = questions
    local counts = run.import.counts
    say(run, ("%s done, %s failed%s"):format(text.count(counts.done),
      text.count(counts.invalid + counts.refused + counts.unknown),
      run.job and "\n" .. status.lines(run.job) or ""))
  end
end

---Shall the client stop? The first Ctrl-C lets it finish what is in flight; the second aborts.
local function should_stop(run)
  abort_if_asked()
  answer(run)
  run.import:commit(run.requests)
  local interrupted = core.interrupts() > 0
  if interrupted and not run.stopping then
    run.stopping = true
    say(run, "stopping; what is in flight is waited for, Ctrl-C again aborts")
  end
  return interrupted or run.import.write_failure ~= nil
end

---Sends everything; gives the client's report, or the error that left none. Raises what is a bug.
local function send(run, client)
  local ok, report, err = pcall(client.set_attr, client, function(tend)
    return run.import:next(tend)
  end, {
    dry_run = run.args.dry_run,
    failures_max = 0, -- the tally has them
    should_stop = function() return should_stop(run) end,
    [run.args.dry_run and "on_failure" or "on_result"] = function(result)
      run.import:settle(result)
    end,
    on_progress = function(counts) show_progress(run, counts) end,
  })
  if ok then
    return report, err
  end
  local raised = report
  run.aborted = raised == ABORT
  if not run.aborted and not (type(raised) == "table" and raised.class) then
    error(raised, 0)
  end
  return client:last_report(), not run.aborted and raised or nil
end

---The numbers of the run: users as this side counted them, requests as the client did.
local function numbers_of(run, report, err)
  local numbers = { merged = 0, requests = 0, retries = 0, seconds = 0 }
  for name in pairs(numbers) do
    numbers[name] = report and report[name] or 0
  end
  run.import:commit(numbers.requests, true)
  run.import:finish()
  numbers.users = 0
  for _, fate in ipairs(FATES) do
    numbers[fate] = run.import.counts[fate]
    numbers.users = numbers.users + numbers[fate]
  end
  local came_too_late = err and err.class == "interrupted" and run.import.ended
    and numbers.not_sent + numbers.unknown == 0 -- Ctrl-C, when all was done
  numbers.error = not came_too_late and err or nil
  numbers.quota = run.quota
  numbers.reasons = run.import.tally:reasons()
  numbers.more_codes = run.import.tally.more_codes
  numbers.next_line, numbers.next_paths = run.import:next_line()
  return numbers
end

---Did Ctrl-C end the run before it was through?
local function was_interrupted(run, numbers)
  return run.aborted or core.interrupts() > 0 and (numbers.not_sent > 0 or numbers.next_line)
end

---The exit code of a run that took place.
local function code_of(run, numbers)
  if run.import.write_failure then
    return exit.CANNOT_WRITE
  elseif was_interrupted(run, numbers) then
    return exit.INTERRUPTED
  elseif run.import.read_failure then
    return run.import.read_code
  elseif numbers.error then
    return exit.of(numbers.error)
  end
  return run.import.tally.count > 0 and exit.SOME_FAILED or exit.OK
end

---Says what went wrong with the run as a whole.
local function say_troubles(run, numbers)
  local failures = run.import
  if failures.write_failure then
    say(run, "rejects: " .. text.visible(failures.write_failure))
  end
  if run.aborted then
    say(run, "aborted")
  elseif was_interrupted(run, numbers) then
    return -- it was said when it happened
  elseif failures.read_failure then
    say(run, ("%s: %s"):format(text.visible(failures:input().path),
      text.visible(failures.read_failure)))
  elseif failures.halted then
    say(run, failures.halted)
  elseif numbers.error then
    say(run, setup.redact(text.visible(tostring(numbers.error))))
  end
end

---Paths as a shell takes them, side by side.
local function shell_words(paths)
  local words = {}
  for index, path in ipairs(paths) do
    words[index] = text.shell(path)
  end
  return table.concat(words, " ")
end

---What to do about the rows in rejects files.
local function rejects_step(files, numbers)
  local rows, shown, paths = 0, {}, {}
  for index, file in ipairs(files) do
    rows, shown[index], paths[index] = rows + file.count, text.visible(file.path), file.path
  end
  local sent = numbers.unknown + numbers.not_sent >= rows
  return ("%s %s in %s; %s:\n  imattr set %s"):format(text.counted(rows, "row"),
    rows == 1 and "is" or "are", table.concat(shown, ", "),
    sent and "to send them" or "mend them, then", shell_words(paths))
end

---What to do next, as sentences and commands.
local function next_steps(run, numbers)
  local steps, files = {}, run.import:rejects()
  if run.args.dry_run then
    return ""
  end
  if run.job and not run.job:get("ended_s") then
    steps[#steps + 1] = "to go on:\n  imattr resume " .. text.shell(run.job.path)
  elseif numbers.done == 0 and (numbers.next_line or numbers.not_sent > 0) then
    steps[#steps + 1] = "nothing was set; to begin again:\n  imattr set "
      .. shell_words(run.args.files)
  elseif numbers.next_line then
    steps[#steps + 1] = ("to go on where this ended:\n  imattr set --from-line %d %s"):format(
      numbers.next_line, shell_words(numbers.next_paths))
  end
  if #files > 0 then
    steps[#steps + 1] = rejects_step(files, numbers)
  end
  return table.concat(steps, "\n")
end

---The rejects files as JSON: a path, null, or with several inputs a list.
local function json_of_rejects(run)
  local paths = {}
  for index, file in ipairs(run.import:rejects()) do
    paths[index] = file.path
  end
  return #run.args.files > 1 and paths or paths[1] or NULL
end

---The report as JSON.
local function json_of(run, numbers)
  local err = numbers.error
  return text.json_object {
    { "dry_run", run.args.dry_run or false },
    { "users", numbers.users }, { "done", numbers.done }, { "invalid", numbers.invalid },
    { "refused", numbers.refused }, { "unknown", numbers.unknown },
    { "not_sent", numbers.not_sent }, { "merged", numbers.merged },
    { "requests", numbers.requests }, { "retries", numbers.retries },
    { "seconds", numbers.seconds },
    { "next_line", numbers.next_line or NULL },
    { "rejects", json_of_rejects(run) },
    { "error", err and text.json_object {
      { "code", err.code }, { "message", setup.redact(err.message) }, { "class", err.class },
    } or NULL },
    { "failures", run.import.tally:json() },
    { "failures_more", run.import.tally.count - #run.import.tally.failures },
  }.json
end

---Shows what became of everything; gives the exit code.
local function conclude(run, numbers)
  local code = code_of(run, numbers)
  run.progress:clear()
  if not run.args.quiet then
    local show = run.args.dry_run and terminal.plan or terminal.summary
    run.io.stderr:write(show(numbers, run.look), "\n")
  end
  say_troubles(run, numbers)
  local steps = next_steps(run, numbers)
  if steps ~= "" and not (run.args.quiet and code == exit.SOME_FAILED) then
    run.io.stderr:write(steps, "\n")
  end
  if run.args.json then
    local written = run.io.stdout:write(json_of(run, numbers), "\n") and run.io.stdout:flush()
    if not written then
      say(run, "standard output: cannot write the report")
      return exit.CANNOT_WRITE
    end
  end
  return code
end

-- An import that has begun sits out an outage of this length.
local PATIENCE_MS = 300000

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function set.run(args, io)
  return set.go_on(args, io)
end

---Runs the verb, or goes on with a job.
---@param args table as for run
---@param io table
---@param opened imattr.cli.job?
---@return integer exit code
function set.go_on(args, io, opened)
  local run, message, code = prepare(args, io, opened)
  if not run then
    io.stderr:write("imattr: ", setup.redact(message), "\n")
    return code
  end
  run.options.patience_ms = PATIENCE_MS
  local client, err = imattr.new(run.options)
  if not client then
    say(run, setup.redact(text.visible(tostring(err))))
    return exit.of(err)
  end
  if args.file == "-" and core.isatty(0) then
    say(run, "reading users from the terminal, Ctrl-D ends")
  end
  core.catch_interrupts()
  local report, trouble = send(run, client)
  core.release_interrupts()
  client:close()
  code = conclude(run, numbers_of(run, report, trouble))
  if run.job then
    run.job:close()
  end
  return code
end

return set
