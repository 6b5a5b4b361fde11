-- Users out of NDJSON, in constant memory and whatever the file holds: the vendor's user object,
-- one a line, as in {"To_Account":"xiaojun012","Attrs":{"sex":"attr1"}}, or with names alone, as in
-- {"To_Account":"xiaojun012","Attrs":["sex"]}. Blank lines are passed over. A bad line is a value,
-- not an end: it comes out with a code and a message.
--
-- Members of other names are left alone; a rejects file has three more (line, code, reason).

local json = require "imattr.json"
local lines = require "imattr.cli.lines"

local find, sub = string.find, string.sub

local BOM = "\239\187\191"
local NUMBER_MAX = 9007199254740992 -- 2^53: above it a JSON number loses digits here

local ndjson = { LINE_BYTES_MAX = lines.LINE_BYTES_MAX }

local reader = {}
reader.__index = reader

---The word for a decoded value's JSON type.
local function json_type(value)
  if value == json.null then
    return "null"
  end
  return type(value) == "table" and "object or array" or type(value)
end

---What is wrong with one attribute's value, as far as JSON is concerned; nil: nothing.
local function value_fault(name, value)
  if type(name) ~= "string" then
    return "Attrs: array, must be an object"
  elseif type(value) == "number" and not (value > -NUMBER_MAX and value < NUMBER_MAX) then
    return ("attribute %s: number beyond 2^53, must be a string to keep its digits"):format(name)
  elseif type(value) == "number" and value % 1 ~= 0 then
    return ("attribute %s: %g, must be a string or an integer"):format(name, value)
  elseif type(value) ~= "string" and type(value) ~= "number" then
    return ("attribute %s: %s, must be a string"):format(name, json_type(value))
  end
end

---Writes integers as text: a decoder without integers gives 34 as 34.0.
local function integers_to_text(attrs)
  for name, value in pairs(attrs) do
    if type(value) == "number" then
      attrs[name] = ("%.0f"):format(value)
    end
  end
  return attrs
end

---Attributes as names alone: those of an object, or a list of them; nil and what is wrong.
local function names_of(attrs)
  local names = {}
  for key, value in pairs(attrs) do
    local name = type(key) == "string" and key or value
    if type(name) ~= "string" then
      return nil, ("Attrs: %s, must be an attribute's name"):format(json_type(name))
    end
    names[name] = ""
  end
  return names
end

---What is wrong with a decoded line (code, message); nil: nothing.
local function object_fault(object)
  if type(object) ~= "table" or object[1] ~= nil then
    return "BAD_SHAPE", "line: not a JSON object"
  end
  local account, attrs = object.To_Account, object.Attrs
  if account == nil then
    return "BAD_SHAPE", "To_Account: missing"
  elseif type(account) ~= "string" then
    return "BAD_SHAPE", ("To_Account: %s, must be a string"):format(json_type(account))
  elseif attrs == nil then
    return "BAD_SHAPE", "Attrs: missing"
  elseif type(attrs) ~= "table" then
    return "BAD_SHAPE", ("Attrs: %s, must be an object"):format(json_type(attrs))
  end
end

---The attributes of a line as values, or as names alone; nil and what is wrong.
local function attrs_of(given, takes_names)
  if takes_names then
    return names_of(given)
  end
  for name, value in pairs(given) do
    local fault = value_fault(name, value)
    if fault then
      return nil, fault
    end
  end
  return integers_to_text(given)
end

---The row of one line of text.
local function row_of(line, text, takes_names)
  local object, message = json.decode(text)
  if object == nil then
    return { line = line, raw = text, code = "BAD_JSON", message = "JSON: " .. message }
  end
  local code, attrs
  code, message = object_fault(object)
  if not code then
    attrs, message = attrs_of(object.Attrs, takes_names)
    code = not attrs and "BAD_VALUE" or nil
  end
  local account = type(object) == "table" and object.To_Account
  return { line = line, raw = text, account = type(account) == "string" and account or nil,
    attrs = attrs, code = code, message = message }
end

---The next row.
---@return imattr.cli.row? row nil and nothing else: the input is at its end
---@return string? message reading failed
function reader:next()
  local source = self._lines
  while true do
    local text, code, detail = source:next()
    if code == "TOO_LONG" then
      local message = ("line: over %d bytes, limit %d"):format(
        ndjson.LINE_BYTES_MAX, ndjson.LINE_BYTES_MAX)
      return { line = source.number, code = "ROW_TOO_LONG", message = message }
    elseif not text then
      return nil, detail
    end
    if source.number == 1 and sub(text, 1, 3) == BOM then
      text = sub(text, 4)
    end
    if find(text, "[^ \t\r]") then
      return row_of(source.number, (text:gsub("[ \t\r]+$", "")), self._takes_names)
    end
  end
end

---The next row, as values: as the reader of CSV gives them.
---@return string? account
---@return table<string, string>|imattr.cli.row|nil attrs
---@return string? message
function reader:take()
  local row, message
  repeat
    row, message = self:next()
  until not row or row.line >= self._first_line
  if not row then
    return nil, nil, message
  elseif row.code then
    return nil, row
  end
  self._row = row
  return row.account, row.attrs
end

---`take` passes over rows in lines before.
---@param line integer
function reader:begin_at(line)
  self._first_line = line
end

---Where the row taken last stands.
---@return integer line
function reader:place()
  return self._row.line
end

---The text of the row taken last.
---@return string
function reader:raw()
  return self._row.raw
end

---Bytes read from the source so far.
---@return integer
function reader:bytes()
  return self._lines.bytes
end

---Number of the line read last.
---@return integer
function reader:line()
  return self._lines.number
end

---@class imattr.cli.ndjson.reader
---@field next fun(self): imattr.cli.row?, string?
---@field line fun(self): integer
---@field bytes fun(self): integer

---Starts reading.
---@param read imattr.cli.read
---@param options { takes_names: boolean? }? names: Attrs may be a list of names, and values do not
---  matter
---@return imattr.cli.ndjson.reader
function ndjson.open(read, options)
  return setmetatable({ format = "ndjson", _lines = lines.new(read), _first_line = 0,
    _takes_names = options and options.takes_names }, reader)
end

return ndjson
