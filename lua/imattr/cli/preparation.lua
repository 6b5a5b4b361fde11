-- What a run of many users needs before anything is sent: its inputs, each with its rejects file,
-- the set-up, and its job.

local exit = require "imattr.cli.exit"
local input = require "imattr.cli.input"
local job = require "imattr.cli.job"
local rejects = require "imattr.cli.rejects"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local preparation = {
  SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" },
}

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
local function open_sources(verb, args, io)
  local sources = {}
  local how = { format = args.format, delimiter = args.delimiter, columns = args.columns,
    null = args.null, takes_names = verb.takes_names }
  for number, path in ipairs(args.files) do
    local opened, message, code = input.open(path, how, io)
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
local REMEMBERED = { "format", "delimiter", "columns", "null", "max_errors", "rejects",
  "no_rejects", "no_preflight", "sdkappid", "identifier", "region", "endpoint", "service",
  "ca_file", "rate", "profile" }

---Begins a job for the input; nil, message, exit code.
---@param verb imattr.cli.bulk.verb
---@param args table
---@param options table
---@return imattr.cli.job?
---@return string? message
---@return integer? code exit code
function preparation.begin_job(verb, args, options)
  local remembered = {}
  for _, name in ipairs(REMEMBERED) do
    remembered[name] = args[name]
  end
  local begun, message = job.create(args.file, { command = verb.command,
    sdkappid = options.sdkappid, arguments = job.encoded(remembered) })
  if not begun then
    return nil, text.visible(message), exit.CANNOT_WRITE
  end
  return begun
end

---Opens the inputs and reads the set-up. Sets args.files and args.file, the first of them.
---@param verb imattr.cli.bulk.verb
---@param args table parsed command line
---@param io table the io library, or one like it
---@param opened imattr.cli.job? the job to go on with
---@return { sources: table[], options: table }? prepared sources as import.new takes them, options
---  as imattr.new does
---@return string? message
---@return integer? code exit code
function preparation.new(verb, args, io, opened)
  args.files, args.file = args.file, args.file[1]
  local message, code = files_fault(args), exit.USAGE
  local sources, options
  if not message then
    sources, message, code = open_sources(verb, args, io)
  end
  if sources then
    options, message, code = setup.read(args, preparation.SETUP, io, os.getenv, args.dry_run)
  end
  if message then
    return nil, message, code
  elseif opened and opened:get("sdkappid") ~= options.sdkappid then
    return nil, ("%s: a job of the app %s, not of %s"):format(text.visible(opened.path),
      tostring(opened:get("sdkappid")), tostring(options.sdkappid)), exit.SETUP
  end
  return { sources = sources, options = options }
end

return preparation
