-- Where rows come from: a file or standard input, plain or gzip, CSV or NDJSON.

local core = require "imattr.core"
local csv = require "imattr.cli.csv"
local exit = require "imattr.cli.exit"
local gzip = require "imattr.cli.gzip"
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

---The chunk function of what was opened, compressed or not; it counts bytes.
local function read_file(self, bytes)
  local chunk, message
  if self.file then
    chunk, message = self.file:read(bytes)
  else
    chunk, message = read_pipe(self, bytes)
  end
  self._bytes = self._bytes + (chunk and #chunk or 0)
  if not chunk and not message and self.size and self._bytes < self.size then
    self.is_cut = true
    message = ("cut short while it is read: %s bytes are left of %s"):format(
      text.count(self._bytes), text.count(self.size))
  end
  return chunk, message
end

---A chunk function over another one, and its first bytes, which it will give again.
local function peek(read)
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

---A chunk function over an input's plain text, and its first bytes; nil and what is wrong.
local function chunks_of(self)
  local read, first = peek(function(bytes) return read_file(self, bytes) end)
  if gzip.is_gzip(first) then
    self.is_gzip = true
    return peek(gzip.reader(read))
  elseif self.path:lower():find("%.gz$") and first ~= "" then
    return nil, "gzip: not gzip data"
  end
  return read, first
end

---The format: what the flag says, else the name's ending, else the first byte.
local function format_of(path, flag, first)
  local ending = path:lower():gsub("%.gz$", ""):match("%.(%w+)$")
  if flag or ending == "csv" then
    return flag or "csv"
  elseif ending == "ndjson" or ending == "jsonl" then
    return "ndjson"
  end
  return first:gsub("^\239\187\191", ""):match("^%s*{") and "ndjson" or "csv"
end

---The exit code for what csv.open did not like.
local function code_of(self, code)
  if code == "NO_COLUMN" then
    return exit.USAGE
  end
  return code == "READ_FAILED" and self:failure_code() or exit.BAD_INPUT
end

---An input that is open.
---@class imattr.cli.input
---@field path string
---@field reader imattr.cli.csv.reader|imattr.cli.ndjson.reader
---@field size integer? bytes, when it is a regular file
---@field file file*? nil: standard input
---@field is_gzip boolean?
---@field is_cut boolean? the file has become shorter than it was
---@field bytes fun(self): integer bytes read from the file so far, compressed as they are
---@field tend (fun(time_ms: integer): boolean)? lets the run go on while the input is waited for
---@field is_stopped boolean? the run was stopped while the input was waited for
local Input = {}
Input.__index = Input

function Input:bytes()
  return self._bytes
end

---The exit code when reading failed: is what it holds at fault, or the system?
---@return integer
function Input:failure_code()
  return (self.is_gzip or self.is_cut) and exit.BAD_INPUT or exit.NO_INPUT
end

---Opens an input and reads its header.
---@param path string or "-" for standard input
---@param options { format: string?, delimiter: string?, columns: table<string, string>?,
---  null: string?, takes_names: boolean? }|string|nil a format alone, or with what csv.open and
---  ndjson.open take; a format that is not given is found out
---@param io table the io library, or one like it
---@return imattr.cli.input? input
---@return string? message
---@return integer? code exit code
function input.open(path, options, io)
  options = type(options) == "table" and options or { format = options }
  local self = setmetatable({ path = path, _bytes = 0 }, Input)
  if path ~= "-" then
    local file, message = io.open(path, "rb")
    if not file then
      return nil, text.visible(message), exit.NO_INPUT
    end
    self.file, self.size = file, size_of(file)
  end
  local read, first = chunks_of(self)
  if read and first ~= "" and format_of(path, options.format, first) == "ndjson" then
    self.reader = ndjson.open(read, options)
    return self
  end
  local reader, fault, code
  if read then
    reader, fault, code = csv.open(read, options)
  else
    fault = "input: " .. first
  end
  if not reader then
    fault = ("%s: %s"):format(text.visible(path), text.visible(fault))
    return nil, fault, code_of(self, code)
  end
  self.reader = reader
  return self
end

return input
