-- Many users from files to the service: what imattr set and imattr remove have in common, which is
-- all but the command that is sent.

local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local figures = require "imattr.cli.figures"
local flags = require "imattr.cli.flags"
local imattr = require "imattr"
local import = require "imattr.cli.import"
local outcome = require "imattr.cli.outcome"
local preflight = require "imattr.cli.preflight"
local preparation = require "imattr.cli.preparation"
local progress = require "imattr.cli.progress"
local setup = require "imattr.cli.setup"
local status = require "imattr.cli.status"
local text = require "imattr.cli.text"

local bulk = {}

---A verb that sends many users.
---@class imattr.cli.bulk.verb : imattr.cli.verb
---@field command string the client's method, as in set_attr
---@field plan string what a dry run would do, in nine letters
---@field done string what was done with attributes: "set"
---@field takes_names boolean? of attributes, and no values

---Adds the flags that are about one run, also one that goes on with a job.
---@param command table of argparse
function bulk.define_run(command)
  command:option("--deadline"):argname("TIME"):convert(flags.deadline)
    :description "stop then, and say how to go on: at 06:00, the next one here, or after 90m or 2h"
  command:option("--metrics-file"):argname("PATH")
    :description "write figures for Prometheus there, now and then and at the end"
  command:flag("--json"):description "print the report as one JSON object"
  command:flag("-q --quiet"):description "no progress and no summary"
  setup.define(command, preparation.SETUP)
end

---Adds a verb's arguments and flags.
---@param command table of argparse
function bulk.define(command)
  command:argument("file"):argname("FILE"):args("+")
    :description 'CSV or NDJSON, also as gzip; "-" is standard input'
  flags.define_input(command)
  command:flag("--dry-run"):description "check everything, send nothing"
  command:flag("--no-preflight")
    :description "do not look first whether all attribute names are registered with the app"
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
  bulk.define_run(command)
end

---A run of a verb: what it was told, and what it holds.
---@class imattr.cli.bulk.run
---@field verb imattr.cli.bulk.verb
---@field args table
---@field io table
---@field options table
---@field sources { input: imattr.cli.input, rejects: imattr.cli.rejects? }[]
---@field job imattr.cli.job?
---@field import imattr.cli.import
---@field progress imattr.cli.progress
---@field look imattr.cli.look
---@field figures imattr.cli.figures?
---@field quota number

local function now_s()
  return core.now_us() / 1e6
end

---Opens and prepares all that a run needs; nil, message, exit code.
local function new_run(verb, args, io, opened)
  local prepared, message, code = preparation.new(verb, args, io, opened)
  if not prepared then
    return nil, message, code
  end
  local look = progress.look(core, os.getenv)
  return {
    verb = verb,
    args = args,
    io = io,
    options = prepared.options,
    sources = prepared.sources,
    job = opened,
    import = import.new { sources = prepared.sources, from_line = args.from_line,
      limit = args.limit, errors_max = args.max_errors, dry_run = args.dry_run, job = opened,
      takes_names = verb.takes_names, removes = args.null ~= nil },
    look = look,
    quota = prepared.options.rate or setup.default "rate",
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
  if run.figures then
    run.figures.requests = progress_of_client.requests
    run.figures.waiting = progress_of_client.waiting
  end
  local counts = run.import.counts
  local failed = counts.invalid + counts.refused + counts.unknown + counts.not_sent
  run.progress:update {
    users = counts.done + failed,
    failed = run.args.dry_run and counts.invalid or failed,
    requests = progress_of_client.requests,
    quota = run.quota,
    fraction = run.import:fraction(),
    note = run.stopping and ("stopping, %s in flight"):format(
      text.counted(progress_of_client.in_flight, "user")),
  }
end

---Somebody asks by SIGUSR1 how far the run is.
local function answer(run)
  local questions = core.questions()
  if questions > (run.answered or 0) then
    run.answered = questions
    local counts = run.import.counts
    outcome.say(run, ("%s done, %s failed%s"):format(text.count(counts.done),
      text.count(counts.invalid + counts.refused + counts.unknown),
      run.job and "\n" .. status.lines(run.job) or ""))
  end
end

---Shall the client stop? The first Ctrl-C lets it finish what is in flight; the second aborts.
local function should_stop(run)
  abort_if_asked()
  answer(run)
  if run.figures and run.figures:tick(now_s()) then
    outcome.say(run, run.figures.failure)
  end
  run.import:commit(run.requests)
  local interrupted = core.interrupts() > 0
  if interrupted and not run.stopping then
    run.stopping = true
    outcome.say(run, "stopping; what is in flight is waited for, Ctrl-C again aborts")
  end
  return interrupted or run.import.write_failure ~= nil
end

---The time that is left until the deadline; nil: there is none.
local function time_left_ms(args)
  return args.deadline and math.max(1, (args.deadline.at_s - os.time()) * 1000)
end

---Sends everything; gives the client's report, or the error that left none. Raises what is a bug.
local function send(run, client)
  local ok, report, err = pcall(client[run.verb.command], client, function(tend)
    return run.import:next(tend)
  end, {
    dry_run = run.args.dry_run,
    removes = run.args.null ~= nil or nil,
    deadline_ms = time_left_ms(run.args),
    failures_max = 0, -- the tally has them
    should_stop = function() return should_stop(run) end,
    [run.args.dry_run and "on_failure" or "on_result"] = function(result)
      run.import:settle(result)
    end,
    on_progress = function(counts) show_progress(run, counts) end,
    on_attempt = run.figures and function(attempt) run.figures:attempt(attempt) end,
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

-- An import that has begun sits out an outage of this length.
local PATIENCE_MS = 300000

---Begins the job that the flags ask for; nil, message, exit code.
local function begin_job(run)
  if not run.args.job or run.job then
    return true
  end
  local begun, message, code = preparation.begin_job(run.verb, run.args, run.options)
  if not begun then
    return nil, message, code
  end
  run.job = begun
  run.import:keep(begun)
  return true
end

---Opens the figures that the flags ask for; nil, message, exit code.
local function open_figures(run)
  if not run.args.metrics_file then
    return true
  end
  local opened, message = figures.open(run.args.metrics_file, run.io,
    { counts = run.import.counts, quota = run.quota }, now_s())
  run.figures = opened
  return opened, message, exit.CANNOT_WRITE
end

---The figures at the end; gives the exit code, which changes when they cannot be written.
local function write_figures(run, code)
  run.figures:finish()
  run.figures:write(now_s())
  if run.figures.failure then
    outcome.say(run, run.figures.failure)
    return exit.CANNOT_WRITE
  end
  return code
end

---Does the work of a run with its client; gives the exit code.
local function carry_out(run, client)
  if run.options.preflight then
    local names, err = preflight.names(client, run.sources)
    if not names then
      return outcome.conclude(run, nil, err)
    end
    run.import.registered = names
  end
  local ok, message, code = begin_job(run)
  if ok then
    ok, message, code = open_figures(run)
  end
  if not ok then
    outcome.say(run, message)
    return code
  end
  if run.args.file == "-" and core.isatty(0) then
    outcome.say(run, "reading users from the terminal, Ctrl-D ends")
  end
  core.catch_interrupts()
  local report, trouble = send(run, client)
  core.release_interrupts()
  code = outcome.conclude(run, report, trouble)
  return run.figures and write_figures(run, code) or code
end

---Runs a verb, or goes on with a job of it.
---@param verb imattr.cli.bulk.verb
---@param args table parsed command line
---@param io table the io library, or one like it
---@param opened imattr.cli.job? the job to go on with
---@return integer exit code
function bulk.run(verb, args, io, opened)
  local run, message, code = new_run(verb, args, io, opened)
  if not run then
    io.stderr:write("imattr: ", setup.redact(message), "\n")
    return code
  end
  run.options.patience_ms = PATIENCE_MS
  run.options.backfill = true -- a service that runs on this machine goes before
  run.options.preflight = not args.dry_run and not args.no_preflight
  local client, err = imattr.new(run.options)
  if not client then
    outcome.say(run, setup.redact(text.visible(tostring(err))))
    return exit.of(err)
  end
  code = carry_out(run, client)
  client:close()
  if run.job then
    run.job:close()
  end
  return code
end

return bulk
