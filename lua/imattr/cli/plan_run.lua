-- A run over users of a plan: hands them to the client, a few at a time, learns what became of
-- each, and writes it down. What the verbs plan, apply, verify and undo have in common.

local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local imattr = require "imattr"
local plan_file = require "imattr.cli.plan_file"
local progress = require "imattr.cli.progress"
local setup = require "imattr.cli.setup"
local tally = require "imattr.cli.tally"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" }
local PATIENCE_MS = 300000 -- a run that has begun sits out an outage of this length
local NULL = { json = "null" }
local ABORT = {} -- raised through the client at the second Ctrl-C

---@class imattr.cli.plan_run
---@field args table
---@field io table
---@field options table of the client
---@field client imattr.Client? see `connect`
---@field file imattr.cli.plan_file
---@field look imattr.cli.look
---@field progress imattr.cli.progress
---@field quota number
---@field tally imattr.cli.tally users that failed in this run
---@field counts table<string, integer> users of this run by fate
---@field requests integer
---@field retries integer
---@field seconds number
---@field error imattr.Error? why the run ended early, or users have no answer
---@field read_failure string? the plan cannot be read on
local plan_run = {}
plan_run.__index = plan_run

---Adds the flags that all of these verbs have.
---@param command table of argparse
function plan_run.define(command)
  command:flag("--json"):description "print the report as one JSON object"
  command:flag("-q --quiet"):description "no progress and no summary"
  setup.define(command, SETUP)
end

local function now_s()
  return core.now_us() / 1e6
end

---Reads the set-up; nil, message, exit code.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return imattr.cli.plan_run?
---@return string? message
---@return integer? code
function plan_run.new(args, io)
  local options, message, code = setup.read(args, SETUP, io, os.getenv)
  if not options then
    return nil, message, code
  end
  options.patience_ms = PATIENCE_MS
  local look = progress.look(core, os.getenv)
  return setmetatable({
    args = args, io = io, options = options, look = look,
    quota = options.rate or setup.default "rate",
    tally = tally.new(),
    counts = { done = 0, invalid = 0, refused = 0, unknown = 0, not_sent = 0 },
    requests = 0, retries = 0, seconds = 0,
    progress = progress.new { look = look, now_s = now_s,
      columns = function() return core.columns(2) end,
      write = function(shown)
        if not args.quiet then
          io.stderr:write(shown)
        end
      end },
  }, plan_run)
end

---Opens the plan that the command line names, if it is whole and one of this app; nil, message,
---exit code.
---@return boolean? ok
---@return string? message
---@return integer? code
function plan_run:open()
  local path = self.args.plan
  local file, message, is_no_plan = plan_file.open(path)
  if not file then
    return nil, text.visible(message), is_no_plan and exit.BAD_INPUT or exit.NO_INPUT
  end
  self.file = file
  message = self:app_fault()
  if not message and not file:get "planned_s" then
    message = ("%s: a plan that is not finished; to go on:\n  imattr plan %s -o %s"):format(
      text.visible(path), text.shell(file:get "input"), text.shell(path))
  end
  return not message or nil, message, exit.BAD_INPUT
end

---What is wrong with the plan's app, if it is not the one of the set-up.
---@return string? message
function plan_run:app_fault()
  local app = self.file:get "sdkappid"
  if app ~= self.options.sdkappid then
    return ("%s: a plan of the app %s, not of %s"):format(text.visible(self.file.path),
      tostring(app), tostring(self.options.sdkappid))
  end
end

---Opens the client; nil, message, exit code.
---@return boolean? ok
---@return string? message
---@return integer? code
function plan_run:connect()
  self.options.backfill = true -- a service that runs on this machine goes before
  local client, err = imattr.new(self.options)
  if not client then
    return nil, text.visible(tostring(err)), exit.of(err)
  end
  self.client = client
  return true
end

---Words on standard error, on a line of their own.
---@param message string
function plan_run:say(message)
  self.progress:clear()
  self.io.stderr:write("imattr: ", setup.redact(message), "\n")
end

-- {===== carrying users =====

-- Ctrl-C, once or twice, SIGUSR1, a disk that is full. What is known is written down first.
local function should_stop(self)
  local count, questions = core.interrupts(), core.questions()
  if count > 1 then
    error(ABORT, 0)
  elseif count == 1 and not self.is_stopping then
    self.is_stopping = true
    self:say("stopping; what is in flight is waited for, Ctrl-C again aborts")
  end
  if questions > (self.answered or 0) then
    self.answered = questions
    self:say(("%s of %s"):format(text.count(self.users), text.counted(self.users_max, "user")))
  end
  return not self.file:commit() or count > 0
end

local function show_progress(self, of_client)
  self.progress:update { users = self.users, failed = self.tally.count,
    requests = self.requests + of_client.requests, quota = self.quota,
    fraction = self.users_max > 0 and math.min(self.users / self.users_max, 1) or nil,
    note = self.is_stopping and "stopping" or nil }
end

-- Attributes as a server gave them; what is no text is none.
local function texts_of(attrs)
  local texts = {}
  for name, value in pairs(attrs) do
    texts[name] = type(value) == "string" and value
      or type(value) == "number" and ("%.14g"):format(value) or nil
  end
  return texts
end

-- The client's callbacks about users, and its source.
local function hooks_of(self, step)
  local flying, by_account, index = {}, {}, 0
  local function take(result)
    local row = flying[result.index]
    flying[result.index], by_account[row.account] = nil, nil
    local code, message = result.code or "UNKNOWN", result.message or result.fate
    self.users = self.users + 1
    if result.fate ~= "done" then
      self.tally:add(row, result.fate, code, message)
    end
    if step.settle(row, result.fate, code, message) ~= false then
      self.counts[result.fate] = self.counts[result.fate] + 1
    end
  end
  local function next_user()
    if self.file.failure then
      return nil
    end
    local ok, row, attrs = pcall(step.next)
    if not ok or not row then
      self.read_failure = not ok and ("%s: %s"):format(self.file.path, tostring(row)) or nil
      self.is_through = ok
      return nil
    end
    index = index + 1
    flying[index], by_account[row.account] = row, row
    return row.account, attrs
  end
  return next_user, {
    failures_max = 0, -- the tally has them
    should_stop = function() return should_stop(self) end,
    on_progress = function(counts) show_progress(self, counts) end,
    on_result = take,
    on_user = step.command == "get_attr" and function(account, attrs)
      if by_account[account] then
        by_account[account].found = texts_of(attrs)
      end
    end or nil,
  }
end

---@class imattr.cli.plan_run.step
---@field command string the client's method
---@field users integer how many there are, for the progress
---@field next fun(): imattr.cli.plan_file.user?, table? the next user, with what is sent
---@field settle fun(row: imattr.cli.plan_file.user, fate: string, code: string, message: string):
---  boolean? takes a user's fate; row.found is what the user has, when that was asked. False: the
---  user is not through yet

---Carries users through a command. True when all of them have their fate for good.
---@param step imattr.cli.plan_run.step
---@return boolean
function plan_run:carry(step)
  self.users, self.users_max, self.is_through = 0, step.users, false
  local next_user, hooks = hooks_of(self, step)
  core.catch_interrupts()
  local ok, report, err = pcall(self.client[step.command], self.client, next_user, hooks)
  core.release_interrupts()
  self.file:commit()
  if not ok and report ~= ABORT then
    error(report, 0)
  end
  self.is_aborted = not ok
  local written = self.client:last_report()
  for _, name in ipairs { "requests", "retries", "seconds" } do
    self[name] = self[name] + (written and written[name] or 0)
  end
  self.error = err
  if written then
    self.error = written.error
  end
  return self:is_whole()
end

---Has everybody a fate for good, and is it written down?
---@return boolean
function plan_run:is_whole()
  return self.is_through and self.counts.unknown + self.counts.not_sent == 0
    and not (self.is_aborted or self.read_failure or self.file.failure)
end

-- }=====

-- {===== what comes of it =====

---The numbers of the run, for its summary.
---@return imattr.cli.summary_numbers
function plan_run:numbers()
  local numbers = { users = 0, merged = 0, requests = self.requests, retries = self.retries,
    seconds = self.seconds, quota = self.quota, reasons = self.tally:reasons(),
    more_codes = self.tally.more_codes }
  for fate, count in pairs(self.counts) do
    numbers[fate], numbers.users = count, numbers.users + count
  end
  return numbers
end

---The exit code, and on standard error why it is not `good`.
---@param good integer the exit code of a run that came to its end
---@return integer
function plan_run:code(good)
  if self.file.failure then
    self:say(text.visible(self.file.failure))
    return exit.CANNOT_WRITE
  elseif self.is_aborted or self.is_stopping and not self:is_whole() then
    if self.is_aborted then
      self:say("aborted")
    end
    return exit.INTERRUPTED
  elseif self.read_failure then
    self:say(text.visible(self.read_failure))
    return exit.NO_INPUT
  elseif self.error and not self:is_whole() then
    self:say(text.visible(tostring(self.error)))
    return exit.of(self.error)
  end
  return good
end

---Why the run ended early, as a member of a report.
---@return { json: string }
function plan_run:json_error()
  local err = not self:is_whole() and self.error
  return err and text.json_object { { "code", err.code }, { "message", setup.redact(err.message) },
    { "class", err.class } } or NULL
end

---Prints the report, if it is asked for. Gives the exit code.
---@param members {[1]: string, [2]: any}[]
---@param code integer
---@return integer code
function plan_run:print(members, code)
  if self.args.json then
    local shown = text.json_object(members).json
    if not (self.io.stdout:write(shown, "\n") and self.io.stdout:flush()) then
      self:say("standard output: cannot write the report")
      return exit.CANNOT_WRITE
    end
  end
  return code
end

---Lines on standard error, unless --quiet.
---@param lines string
function plan_run:show(lines)
  self.progress:clear()
  if not self.args.quiet then
    self.io.stderr:write(lines, "\n")
  end
end

---Closes what is open.
function plan_run:close()
  if self.client then
    self.client:close()
  end
  if self.file then
    self.file:close()
  end
end

---Runs a verb: `work` gives its exit code, or nil, a message and the exit code of that.
---@param args table parsed command line
---@param io table the io library, or one like it
---@param work fun(run: imattr.cli.plan_run): integer?, string?, integer?
---@return integer exit code
function plan_run.run(args, io, work)
  local run, message, code = plan_run.new(args, io)
  if run then
    local done
    done, message, code = work(run)
    run:close()
    code = done or code
  end
  if message then
    io.stderr:write("imattr: ", setup.redact(message), "\n")
  end
  return code
end

-- }=====

return plan_run
