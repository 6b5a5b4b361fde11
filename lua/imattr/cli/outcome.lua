-- What became of a run of many users: in words, as JSON, as an exit code, and what to do next.

local columns = require "imattr.cli.columns"
local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local setup = require "imattr.cli.setup"
local terminal = require "imattr.cli.terminal"
local text = require "imattr.cli.text"

local outcome = {}

local FATES = { "done", "invalid", "refused", "unknown", "not_sent" }
local NULL = { json = "null" }

---Words on standard error, on a line of their own.
---@param run imattr.cli.bulk.run
---@param message string
function outcome.say(run, message)
  run.progress:clear()
  run.io.stderr:write("imattr: ", message, "\n")
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
  local came_too_late = err and (err.class == "interrupted" or err.class == "deadline")
    and run.import.ended and numbers.not_sent + numbers.unknown == 0 -- when all was done
  numbers.error = not came_too_late and err or nil
  numbers.quota = run.quota
  numbers.plan = run.verb.plan
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
  local has_failed = run.import.tally.count > 0 or run.job and run.job:has_failed()
  return has_failed and exit.SOME_FAILED or exit.OK
end

---Says what went wrong with the run as a whole.
local function say_troubles(run, numbers)
  local failures = run.import
  if failures.write_failure then
    outcome.say(run, text.visible(failures.write_failure))
  end
  if run.aborted then
    outcome.say(run, "aborted")
  elseif was_interrupted(run, numbers) then
    return -- it was said when it happened
  elseif failures.read_failure then
    outcome.say(run, ("%s: %s"):format(text.visible(failures:input().path),
      text.visible(failures.read_failure)))
  elseif failures.halted then
    outcome.say(run, failures.halted)
  elseif numbers.error and numbers.error.class == "deadline" then
    outcome.say(run, ("stopped at the deadline, %s"):format(run.args.deadline.shown))
  elseif numbers.error then
    outcome.say(run, setup.redact(text.visible(tostring(numbers.error))))
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

---The command line that sends an input of this kind, without its files.
local function command_of(run)
  local null = run.args.null
  return "imattr " .. run.verb.name .. (null and " --null " .. text.shell(null) or "")
end

---A sentence that fits the terminal, and a command line, which is not broken: it will be copied.
local function step(run, sentence, command)
  local room = run.look.columns and run.look.columns - 1
  return table.concat(columns.wrapped(sentence, room), "\n") .. "\n  " .. command
end

---What to do about the rows in rejects files.
local function rejects_step(run, files, numbers)
  local rows, shown, paths = 0, {}, {}
  for index, file in ipairs(files) do
    rows, shown[index], paths[index] = rows + file.count, text.visible(file.path), file.path
  end
  local sent = numbers.unknown + numbers.not_sent >= rows
  return step(run, ("%s %s in %s; %s:"):format(text.counted(rows, "row"),
    rows == 1 and "is" or "are", table.concat(shown, ", "),
    sent and "to send them" or "mend them, then"), command_of(run) .. " " .. shell_words(paths))
end

---What to do next, as sentences and commands.
local function next_steps(run, numbers)
  local steps, files = {}, run.import:rejects()
  if run.args.dry_run then
    return ""
  end
  if run.job and not run.job:get("ended_s") then
    steps[1] = step(run, "to go on:", "imattr resume " .. text.shell(run.job.path))
  elseif numbers.done == 0 and (numbers.next_line or numbers.not_sent > 0) then
    steps[1] = step(run, ("nothing was %s; to begin again:"):format(run.verb.done),
      command_of(run) .. " " .. shell_words(run.args.files))
  elseif numbers.next_line then
    steps[1] = step(run, "to go on where this ended:", ("%s --from-line %d %s"):format(
      command_of(run), numbers.next_line, shell_words(numbers.next_paths)))
  end
  if #files > 0 then
    steps[#steps + 1] = rejects_step(run, files, numbers)
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

---Shows what became of everything.
---@param run imattr.cli.bulk.run
---@param report imattr.Report? the client's; nil: nothing could begin
---@param err imattr.Error?
---@return integer exit code
function outcome.conclude(run, report, err)
  local numbers = numbers_of(run, report, err)
  local code = code_of(run, numbers)
  run.progress:clear()
  if report and not run.args.quiet then
    local show = run.args.dry_run and terminal.plan or terminal.summary
    run.io.stderr:write(show(numbers, run.look), "\n")
  end
  say_troubles(run, numbers)
  local steps = (report or code ~= exit.BAD_INPUT) and next_steps(run, numbers) or ""
  if steps ~= "" and not (run.args.quiet and code == exit.SOME_FAILED) then
    run.io.stderr:write(steps, "\n")
  end
  if run.args.json then
    local written = run.io.stdout:write(json_of(run, numbers), "\n") and run.io.stdout:flush()
    if not written then
      outcome.say(run, "standard output: cannot write the report")
      return exit.CANNOT_WRITE
    end
  end
  return code
end

return outcome
