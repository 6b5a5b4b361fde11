-- Where rows come from: a file or standard input, CSV or NDJSON.

local core = require "imattr.core"
local csv = require "imattr.cli.csv"
local exit = require "imattr.cli.exit"
local ndjson = require "imattr.cli.ndjson"
local text = require "imattr.cli.text"

local input = {}

local FIRST_BYTES = 4096
local STDIN = 0

-- How long standard input is waited for before requests are looked after, and the other way round.
local WAIT_MS = 20

---Bytes from here to the end of a regular file; nil when there is no such thing.
local function size_of(file)
  local here = file:seek("cur")
  local last = here and file:seek("end")
  if last then
    file:seek("set", here)
  end
  return last and last > here and last - here or nil
end

---Waits for standard input, and lets requests go on meanwhile: a pipe may pause for longer than an
---answer may take. False when the run was stopped.
local function await(self)
  while self.tend and not core.readable(STDIN, WAIT_MS) do
    if not self.tend(WAIT_MS) then
      return false
    end
  end
  return true
end

---Reads what there is on standard input. Not through the io library, which waits until it has as
---much as was asked for.
local function read_pipe(self, bytes)
  if not await(self) then
    self.is_stopped = true
    return nil
  end
  return core.read(STDIN, bytes)
end

---A chunk function over an input, and its first bytes, which it will give again.
local function chunks_of(self)
  local function read(bytes)
    if self.file then
      return self.file:read(bytes)
    end
    return read_pipe(self, bytes)
  end
  local first, failure = read(FIRST_BYTES)
  local pending = first
  local function read_again(bytes)
    if pending then
      local chunk = pending
      pending = nil
      return chunk
    elseif failure then
      return nil, failure
    end
    return read(bytes)
  end
  return read_again, first or ""
end

---The format: what the flag says, else the name's ending, else the first byte.
local function format_of(path, flag, first)
  local ending = path:lower():match("%.(%w+)$")
  if flag or ending == "csv" then
    return flag or "csv"
  elseif ending == "ndjson" or ending == "jsonl" then
    return "ndjson"
  end
  return first:gsub("^\239\187\191", ""):match("^%s*{") and "ndjson" or "csv"
end

---An input that is open.
---@class imattr.cli.input
---@field path string
---@field reader imattr.cli.csv.reader|imattr.cli.ndjson.reader
---@field size integer? bytes, when it is a regular file
---@field file file*? nil: standard input
---@field tend (fun(time_ms: integer): boolean)? lets the run go on while the input is waited for
---@field is_stopped boolean? the run was stopped while the input was waited for

---Opens an input and reads its header.
---@param path string or "-" for standard input
---@param format "csv"|"ndjson"|nil nil: found out
---@param io table the io library, or one like it
---@return imattr.cli.input? input
---@return string? message
---@return integer? code exit code
function input.open(path, format, io)
  local self = { path = path }
  if path ~= "-" then
    local file, message = io.open(path, "rb")
    if not file then
      return nil, text.visible(message), exit.NO_INPUT
    end
    self.file, self.size = file, size_of(file)
  end
  local read, first = chunks_of(self)
  format = format_of(path, format, first)
  if format == "ndjson" and first ~= "" then
    self.reader = ndjson.open(read)
    return self
  end
  local reader, fault, code = csv.open(read)
  if not reader then
    fault = ("%s: %s"):format(text.visible(path), text.visible(fault))
    return nil, fault, code == "READ_FAILED" and exit.NO_INPUT or exit.BAD_INPUT
  end
  self.reader = reader
  return self
end

return input
