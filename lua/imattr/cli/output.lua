-- Where users go: a CSV or NDJSON file, or standard output. A file is written as FILE.part and gets
-- its name at the end, so that what has the name is whole. Devices and pipes are written as they
-- are: a file must not take their place.

local exit = require "imattr.cli.exit"
local text = require "imattr.cli.text"

local output = {}
output.__index = output

local BUFFER_LINES = 500

---@class imattr.cli.output
---@field format "csv"|"ndjson"
---@field path string? nil: standard output
---@field place string? where it is written: FILE.part, or the device itself
---@field left_out table<string, integer> values of attributes that have no column, by name

local FORMATS = { csv = "csv", ndjson = "ndjson", jsonl = "ndjson" }

---The format that the flag or the name's ending says; nil and a message when neither does.
---@param path string? "-" or nil: standard output
---@param flag string?
---@return string? format
---@return string? message
function output.format_of(path, flag)
  if flag or not path or path == "-" then
    return flag or "ndjson"
  end
  local format = FORMATS[(path:lower():match("%.(%w+)$"))]
  return format, not format and ("output: %s: wants a name that ends in .csv or .ndjson, "
    .. "or --format"):format(text.visible(path)) or nil
end

---Is a path a file, or free to become one?
---@param path string
---@return boolean
function output.is_plain(path)
  local word = "'" .. path:gsub("'", "'\\''") .. "'"
  local status = os.execute(("[ -f %s ] || [ ! -e %s ]"):format(word, word))
  return status == true or status == 0
end

---Opens an output; nil, message, exit code.
---@param options { path: string?, format: string, io: table }
---@return imattr.cli.output?
---@return string? message
---@return integer? code
function output.open(options)
  local self = setmetatable({ format = options.format, left_out = {}, _lines = {}, _count = 0,
    _file = options.io.stdout }, output)
  if options.path and options.path ~= "-" then
    local place = output.is_plain(options.path) and options.path .. ".part" or options.path
    local file, message = options.io.open(place, "wb")
    if not file then
      return nil, "output: " .. text.visible(message), exit.CANNOT_WRITE
    end
    self.path, self.place, self._file = options.path, place, file
  end
  return self
end

---Writes out what is gathered; nil and a message when it cannot.
local function flush(self)
  if self._count == 0 then
    return true
  end
  self._lines[self._count + 1] = ""
  local ok, message = self._file:write(table.concat(self._lines, "\n", 1, self._count + 1))
  self._count = 0
  return ok, message
end

---A CSV record (RFC 4180): fields are quoted when they have to be.
local function record(fields)
  local cells = {}
  for index, field in ipairs(fields) do
    local is_bare = not field:find('[",\r\n]') and not field:find("^%s") and not field:find("%s$")
    cells[index] = is_bare and field or '"' .. field:gsub('"', '""') .. '"'
  end
  return table.concat(cells, ",")
end

local function add_line(self, line)
  self._count = self._count + 1
  self._lines[self._count] = line
  if self._count >= BUFFER_LINES then
    return flush(self)
  end
  return true
end

---Names the columns, before the first user of a CSV output.
---@param names string[]
---@return boolean? ok
---@return string? message
function output:head(names)
  self._names, self._has_column = names, {}
  for _, name in ipairs(names) do
    self._has_column[name] = true
  end
  return add_line(self, record { "To_Account", (table.unpack or unpack)(names) })
end

---The line of a user in CSV.
local function csv_line(self, account, attrs)
  local cells = { account }
  for index, name in ipairs(self._names) do
    cells[index + 1] = attrs[name] or ""
  end
  for name in pairs(attrs) do
    if not self._has_column[name] then
      self.left_out[name] = (self.left_out[name] or 0) + 1
    end
  end
  return record(cells)
end

---The vendor's object of a user.
---@param account string
---@param attrs table<string, string>
---@return {json: string}
function output.object(account, attrs)
  return text.json_object { { "To_Account", account }, { "Attrs", text.json_map(attrs) } }
end

---Adds a user.
---@param account string
---@param attrs table<string, string>
---@return boolean? ok
---@return string? message
function output:add(account, attrs)
  return add_line(self, self.format == "csv" and csv_line(self, account, attrs)
    or output.object(account, attrs).json)
end

---Ends it. A file gets its name when it `is_whole`; else it stays FILE.part.
---@param is_whole boolean
---@return boolean? ok
---@return string? message
function output:close(is_whole)
  local ok, message = flush(self)
  if not self.path then
    ok = ok and self._file:flush()
    return ok, not ok and "standard output: cannot write" or nil
  end
  local closed, close_message = self._file:close()
  message = message or close_message
  if ok and closed and is_whole and self.place ~= self.path then
    ok, message = os.rename(self.place, self.path)
  end
  if not (ok and closed) then
    return nil, "output: " .. text.visible(message or "cannot write " .. self.path)
  end
  return true
end

return output
