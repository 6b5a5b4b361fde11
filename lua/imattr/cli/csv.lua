-- Users out of CSV (RFC 4180), in constant memory and whatever the file holds: the first column is
-- To_Account, then one column per attribute; an empty cell leaves that attribute alone.
--
-- A bad row is a value, not an end: it comes out with a code and a message, and reading goes on
-- at the line after the *first* line of that row. So a quote that somebody forgot costs one row and
-- not the rest of the file. (It costs no time either: the look ahead ends at the next line with an
-- odd number of quotes, whether that line closes the field or not, so no line is read more than
-- twice.)
--
-- The last three columns may be `line`, `code`, `reason`: a rejects file. They are left out, so a
-- rejects file, mended, is the next input. Quotes are taken strictly (a bare quote is an error):
-- guessing would write wrong values into users.

local lines = require "imattr.cli.lines"

local byte, find, gsub, sub = string.byte, string.find, string.gsub, string.sub
local unpack = table.unpack or unpack

local COMMA, QUOTE, RETURN = 44, 34, 13
local BOM = "\239\187\191"

local csv = {
  RECORD_BYTES_MAX = lines.LINE_BYTES_MAX,
  COLUMNS_MAX = 256, -- an app has ten attributes; more is not a table of users
}

local reader = {}
reader.__index = reader

---One row of an input, of any format. `code` is there when the row cannot be sent.
---@class imattr.cli.row
---@field line integer number of its first line in the input, counted from 1
---@field raw string? its text, without the line's end; nil when it was too long to keep
---@field account string? whose row it is, as far as it is known
---@field attrs table<string, string|number>?
---@field code string? why it cannot be sent, in UPPER_CASE
---@field message string? the same as a sentence

-- why a record does not split into fields
local MESSAGES = {
  OPEN_QUOTE = "a quoted field has no closing quote",
  BARE_QUOTE = "a quote inside a field that is not quoted",
  TEXT_AFTER_QUOTE = "text after the closing quote of a field",
  NUL_BYTE = "a NUL byte in the row",
}

---The quoted field that begins at `at`: its text, and where the text after it begins.
local function quoted_field(text, at)
  local stop = find(text, '"', at + 1, true)
  local doubled = false
  while stop and byte(text, stop + 1) == QUOTE do
    doubled = true
    stop = find(text, '"', stop + 2, true)
  end
  if not stop then
    return nil
  end
  local field = sub(text, at + 1, stop - 1)
  return doubled and gsub(field, '""', '"') or field, stop + 1
end

---Splits one record into its fields.
---@param text string a record without the line's end
---@return string[]? fields
---@return string? code OPEN_QUOTE, BARE_QUOTE or TEXT_AFTER_QUOTE
function csv.split(text)
  local fields, count, at = {}, 0, 1
  while at do
    local field, after
    if byte(text, at) == QUOTE then
      field, after = quoted_field(text, at)
      if not field then
        return nil, "OPEN_QUOTE"
      elseif after <= #text and byte(text, after) ~= COMMA then
        return nil, "TEXT_AFTER_QUOTE"
      end
      after = after <= #text and after or nil
    else
      after = find(text, ",", at, true)
      field = sub(text, at, (after or 0) - 1)
      if find(field, '"', 1, true) then
        return nil, "BARE_QUOTE"
      end
    end
    count = count + 1
    fields[count] = field
    at = after and after + 1
  end
  return fields
end

---One field as it is written: quoted when it has to be.
---@param text string
---@return string
function csv.quote(text)
  if find(text, '[",\r\n]') or find(text, "^%s") or find(text, "%s$") then
    return '"' .. gsub(text, '"', '""') .. '"'
  end
  return text
end

---A record as it is written, without a line's end.
---@param fields string[]
---@return string
function csv.join(fields)
  local cells = {}
  for index, field in ipairs(fields) do
    cells[index] = csv.quote(field)
  end
  return table.concat(cells, ",")
end

---The text of a record without a carriage return at its end.
local function trim_return(text)
  return byte(text, -1) == RETURN and sub(text, 1, -2) or text
end

---Reads on while a quoted field is open. Gives the fields of the whole record and its text; or nil
---and (third) why it is none, with every line after its first given back.
local function whole_record(self, first)
  local source, list, bytes = self._lines, { first }, #first
  local _, quotes = gsub(first, '"', "")
  while quotes % 2 == 1 do
    local line, code, detail = source:next()
    if line then
      list[#list + 1], bytes = line, bytes + #line + 1
      quotes = quotes + select(2, gsub(line, '"', ""))
    elseif code == "TOO_LONG" then
      list[#list + 1], bytes = { head = detail }, math.huge
    end
    if not line or bytes > csv.RECORD_BYTES_MAX then
      source:give_back(list, 2)
      return nil, first, "OPEN_QUOTE"
    end
  end
  local text = trim_return(table.concat(list, "\n"))
  local fields, code = csv.split(text)
  if not fields then
    source:give_back(list, 2)
  end
  return fields, text, code
end

---The fields of a record that holds a quote, and its text; or nil, the text of its first line, and
---why not.
local function quoted_record(self, first)
  local text = trim_return(first)
  local fields, code = csv.split(text)
  if code ~= "OPEN_QUOTE" then
    return fields, text, code
  end
  local whole
  fields, whole, code = whole_record(self, first)
  return fields, fields and whole or text, code
end

local function bad_row(line, raw, code, message, account)
  return { line = line, raw = raw, code = code, message = message or MESSAGES[code],
    account = account }
end

---The row of a line that was too long.
local function too_long_row(self, head)
  local message = ("row: over %d bytes, limit %d"):format(
    csv.RECORD_BYTES_MAX, csv.RECORD_BYTES_MAX)
  local account = string.match(head, '^"?([^",\r\n%z]*)')
  return bad_row(self._lines.number, nil, "ROW_TOO_LONG", message, account)
end

---A row that is not as wide as the header. The columns line, code, reason do not count.
local function misfit_row(self, line, text, fields)
  local count, width = #fields, self._width
  local code = count < width and "SHORT_ROW" or "LONG_ROW"
  if self.trailer then
    count, width = count > 3 and count - 3 or count, width - 3
  end
  local message = ("%d column%s, header has %d"):format(count, count == 1 and "" or "s", width)
  return bad_row(line, text, code, message, fields[1])
end

---The row of fields that are as many as the header has; or a bad row.
local function row_of(self, line, text, fields)
  if #fields ~= self._width then
    return misfit_row(self, line, text, fields)
  end
  if self.trailer and not find(fields[self._line_column], "^%d*$") then
    return bad_row(line, text, "SHIFTED_ROW", "column line holds no number: cells are shifted",
      fields[1])
  end
  local attrs, names = {}, self.names
  for column = 2, #names + 1 do
    local cell = fields[column]
    if cell ~= "" then
      attrs[names[column - 1]] = cell
    end
  end
  return { line = line, raw = text, account = fields[1], attrs = attrs }
end

---The row of a record without quotes, without making a list of its fields first; nil when it has
---not as many as the header.
local function plain_row(self, line, text)
  local comma = find(text, ",", 1, true)
  local account, attrs, names = sub(text, 1, (comma or 1) - 1), {}, self.names
  for index = 1, #names do
    if not comma then
      return nil
    end
    local from = comma + 1
    comma = find(text, ",", from, true)
    if comma ~= from then
      local cell = sub(text, from, (comma or 0) - 1)
      if cell ~= "" then
        attrs[names[index]] = cell
      end
    end
  end
  if comma then
    return nil
  end
  return { line = line, raw = text, account = account, attrs = attrs }
end

---The row of a record that holds a quote.
local function quoted_row(self, line, first)
  local fields, text, code = quoted_record(self, first)
  if not fields then
    return bad_row(line, text, code)
  elseif find(text, "\0", 1, true) then
    return bad_row(line, text, "NUL_BYTE")
  end
  return row_of(self, line, text, fields)
end

---The next row; blank lines are passed over.
---@return imattr.cli.row? row nil and nothing else: the input is at its end
---@return string? message reading failed
function reader:next()
  local source = self._lines
  local text, code, detail
  repeat
    text, code, detail = source:next()
    if not text then
      if code == "TOO_LONG" then
        return too_long_row(self, detail)
      end
      return nil, detail
    end
  until text ~= "" and text ~= "\r"
  local line = source.number
  if find(text, "\0", 1, true) then
    return bad_row(line, trim_return(text), "NUL_BYTE")
  elseif find(text, '"', 1, true) then
    return quoted_row(self, line, text)
  end
  text = trim_return(text)
  local row = not self.trailer and plain_row(self, line, text)
  return row or row_of(self, line, text, csv.split(text))
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

---What is wrong with the first line, before it is split at all; nil: nothing.
local function first_line_fault(text)
  if find(text, "^\255\254") or find(text, "^\254\255") or find(text, "\0", 1, true) then
    return "header: not UTF-8 text (UTF-16?); save the file as UTF-8"
  elseif find(text, "\r", 1, true) then
    return "header: lines end in a carriage return alone; save the file with LF or CRLF"
  end
end

---What is wrong with the first column's name; nil: nothing.
local function first_column_fault(fields)
  local first = fields[1]
  if first == "To_Account" then
    return nil
  end
  local separator = string.match(first, "^To_Account([;\t|])")
  if separator then
    return ("header: columns are separated by %q, must be commas"):format(separator)
  end
  for column = 2, #fields do
    if fields[column] == "To_Account" then
      return ("header: To_Account is column %d, must be the first"):format(column)
    end
  end
  return ("header: first column: %s, must be To_Account"):format(sub(first, 1, 60))
end

---What is wrong with the names of the columns up to `last`; nil: nothing.
local function names_fault(fields, last)
  local seen = {}
  for column = 1, last do
    local name = fields[column]
    if name == "" then
      return ("header: column %d has no name"):format(column)
    elseif seen[name] then
      return ("header: columns %d and %d are both named %s"):format(seen[name], column, name)
    end
    seen[name] = column
  end
end

---How many columns are there without line, code, reason at the end?
local function last_column(fields)
  local count = #fields
  local trailer = count > 3 and fields[count - 2] == "line" and fields[count - 1] == "code"
    and fields[count] == "reason"
  return trailer and count - 3 or count
end

---Splits the header: its fields and how many are without line, code, reason; or nil and what is
---wrong with it.
local function header_fields(text)
  local fault = first_line_fault(text)
  if fault then
    return nil, fault
  end
  local fields, code = csv.split(text)
  if not fields then
    return nil, "header: " .. MESSAGES[code]
  elseif #fields > csv.COLUMNS_MAX then
    return nil, ("header: %d columns, limit %d"):format(#fields, csv.COLUMNS_MAX)
  end
  local last = last_column(fields)
  fault = first_column_fault(fields) or names_fault(fields, last)
  if not fault and last < 2 then
    fault = "header: no attribute column after To_Account"
  end
  if fault then
    return nil, fault
  end
  return fields, last
end

---The first line that is not blank, without a byte order mark.
local function first_line(source)
  local text, code, detail
  repeat
    text, code, detail = source:next()
    if not text then
      local message = code == "TOO_LONG"
        and ("header: over %d bytes, limit %d"):format(csv.RECORD_BYTES_MAX, csv.RECORD_BYTES_MAX)
      return nil, message or (code and "input: " .. detail) or "input is empty", code
    end
    if source.number == 1 and sub(text, 1, 3) == BOM then
      text = sub(text, 4)
    end
    text = trim_return(text)
  until text ~= ""
  return text
end

---@class imattr.cli.csv.reader
---@field header string the header's text, without the columns line, code, reason
---@field names string[] names of the attribute columns, in order
---@field trailer boolean does the header end in line, code, reason?
---@field next fun(self): imattr.cli.row?, string?
---@field line fun(self): integer
---@field bytes fun(self): integer

---Starts reading: takes the header.
---@param read imattr.cli.read
---@return imattr.cli.csv.reader? reader
---@return string? message what is wrong with the header
---@return string? code READ_FAILED when it is the reading that failed
function csv.open(read)
  local source = lines.new(read)
  local text, message, code = first_line(source)
  if not text then
    return nil, message, code
  end
  local fields, last = header_fields(text)
  if not fields then
    return nil, last
  end
  local width = #fields
  return setmetatable({
    format = "csv",
    header = csv.join({ unpack(fields, 1, last) }),
    names = { unpack(fields, 2, last) },
    trailer = last < width,
    _lines = source,
    _line_column = width - 2,
    _width = width,
  }, reader)
end

return csv
