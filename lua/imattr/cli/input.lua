-- Where rows come from: a file or standard input, CSV or NDJSON.

local csv = require "imattr.cli.csv"
local exit = require "imattr.cli.exit"
local ndjson = require "imattr.cli.ndjson"
local text = require "imattr.cli.text"

local input = {}

local FIRST_BYTES = 4096

---Bytes from here to the end of a regular file; nil when there is no such thing.
local function size_of(file)
  local here = file:seek("cur")
  local last = here and file:seek("end")
  if last then
    file:seek("set", here)
  end
  return last and last > here and last - here or nil
end

---A chunk function over a file, and its first bytes, which it will give again.
local function chunks_of(file)
  local first, failure = file:read(FIRST_BYTES)
  local pending = first
  local function read(bytes)
    if pending then
      local chunk = pending
      pending = nil
      return chunk
    elseif failure then
      return nil, failure
    end
    return file:read(bytes)
  end
  return read, first or ""
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

---Opens an input and reads its header.
---@param path string or "-" for standard input
---@param format "csv"|"ndjson"|nil nil: found out
---@param io table the io library, or one like it
---@return imattr.cli.input? input
---@return string? message
---@return integer? code exit code
function input.open(path, format, io)
  local file, message = io.stdin, "standard input is closed"
  if path ~= "-" then
    file, message = io.open(path, "rb")
  end
  if not file then
    return nil, text.visible(message), exit.NO_INPUT
  end
  local size = size_of(file)
  local read, first = chunks_of(file)
  format = format_of(path, format, first)
  if format == "ndjson" and first ~= "" then
    return { path = path, reader = ndjson.open(read), size = size }
  end
  local reader, fault, code = csv.open(read)
  if not reader then
    fault = ("%s: %s"):format(text.visible(path), text.visible(fault))
    return nil, fault, code == "READ_FAILED" and exit.NO_INPUT or exit.BAD_INPUT
  end
  return { path = path, reader = reader, size = size }
end

return input
