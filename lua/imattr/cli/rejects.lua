-- The rejects file: every row that was not done, as it was in the input, with where it stood and
-- why it failed. It is itself a valid next input: the set verb leaves out what is added here.
--
-- A row that could be read keeps its text. A row that could not keeps as much as is readable, in a
-- shape that is refused again until somebody mends it: a short row stays short, and a row with a
-- stray quote becomes one cell that holds its text.

local csv = require "imattr.cli.csv"
local text = require "imattr.cli.text"

local rejects = {}
rejects.__index = rejects

local FORMATS = {}

---The cells of a row that are kept: without line, code, reason when the input had them already.
local function kept_cells(row, trailer)
  if not row.raw then
    return { row.account or "" }
  end
  local cells = csv.split(row.raw)
  if not cells then
    return { row.raw }
  end
  for _ = 1, trailer and #cells > 3 and 3 or 0 do
    cells[#cells] = nil
  end
  return cells
end

FORMATS.csv = {
  header = function(source)
    return source.header .. ",line,code,reason\n"
  end,
  row = function(row, code, reason, source)
    local kept = row.raw
    if not kept or row.code or source.trailer then
      kept = csv.join(kept_cells(row, source.trailer))
    end
    return ("%s,%d,%s,%s\n"):format(kept, row.line, csv.quote(code), csv.quote(reason))
  end,
}

---The members of a JSON object as text, without the braces, and without what an earlier rejects
---file added; nil when the text is no object.
local function members_of(row)
  if not row.raw or row.code == "BAD_JSON" then
    return nil
  end
  local inner = row.raw:match("^%s*{(.*)}%s*$")
  return inner and inner:gsub(',?"line":%d+,"code":"[^"]*","reason":".*"%s*$', "")
end

FORMATS.ndjson = {
  header = function()
    return ""
  end,
  row = function(row, code, reason)
    local inner = members_of(row)
    if not inner then
      inner = row.raw and '"raw":' .. text.json_string(row.raw) or ""
    end
    local comma = inner:find("%S") and "," or ""
    return ('{%s%s"line":%d,"code":%s,"reason":%s}\n'):format(inner, comma, row.line,
      text.json_string(code), text.json_string(reason))
  end,
}

---The rejects file that belongs to an input: users.csv -> users.csv.rejects.csv, and that of a
---rejects file is users.csv.rejects2.csv: an input is never its own rejects file.
---@param input string path of the input, or "-"
---@param format "csv"|"ndjson"
---@return string path
function rejects.path_for(input, format)
  if input == "-" then
    return "imattr.rejects." .. format
  end
  local before, number = input:match("^(.*%.rejects)(%d*)%." .. format .. "$")
  if before then
    return ("%s%d.%s"):format(before, (tonumber(number) or 1) + 1, format)
  end
  return ("%s.rejects.%s"):format(input, format)
end

---A rejects file that does not exist before its first row. `continued` adds to the file that is
---there; otherwise the first row replaces it.
---@param path string
---@param source imattr.cli.csv.reader|imattr.cli.ndjson.reader
---@param continued? boolean
---@return imattr.cli.rejects
function rejects.new(path, source, continued)
  return setmetatable({
    path = path,
    count = 0,
    _source = source,
    _format = FORMATS[source.format],
    _continued = continued,
  }, rejects)
end

---Has the file anything in it?
local function is_filled(path)
  local file = io.open(path, "rb")
  local first = file and file:read(1)
  if file then
    file:close()
  end
  return first ~= nil
end

---Opens the file at its first row.
local function open_file(self)
  local filled = self._continued and is_filled(self.path)
  local file, message = io.open(self.path, filled and "ab" or "wb")
  if not file then
    return nil, message
  end
  self._file = file
  if not filled then
    return file:write(self._format.header(self._source))
  end
  return true
end

---Writes one row.
---@param row imattr.cli.row
---@param code string
---@param reason string
---@return boolean? written
---@return string? message the system's, with the path
function rejects:add(row, code, reason)
  if not self._file then
    local opened, message = open_file(self)
    if not opened then
      return nil, message
    end
  end
  local written, message = self._file:write(self._format.row(row, code, reason, self._source))
  if not written then
    return nil, message
  end
  self.count = self.count + 1
  return true
end

---Writes what is buffered and closes the file.
---@return boolean? closed
---@return string? message
function rejects:close()
  local file = self._file
  if not file then
    return true
  end
  self._file = nil
  local flushed, message = file:flush()
  file:close()
  return flushed and true, message
end

return rejects
