-- Users out of CSV (RFC 4180), in constant memory and whatever the file holds: a column of
-- accounts, To_Account, and a column per attribute; an empty cell leaves that attribute alone.
-- The scanning is imattr.csv's, in C; here is what the columns mean.
--
-- A bad row is a value, not an end: it comes out with a code and a message, and reading goes on
-- at the line after the *first* line of that row. So a quote that somebody forgot costs one row and
-- not the rest of the file.
--
-- The last three columns may be `line`, `code`, `reason`: a rejects file. They are left out, so a
-- rejects file, mended, is the next input. Quotes are taken strictly (a bare quote is an error):
-- guessing would write wrong values into users.
--
-- Rows come out in two ways: `next` gives one as a table of its own; `take` gives account and
-- attributes, these in one table for all rows, and the rest is asked for when it is wanted.

local core = require "imattr.csv"

local byte, find, gsub, sub = string.byte, string.find, string.gsub, string.sub

local COMMA, QUOTE = 44, 34
local ACCOUNT = "To_Account"
local CHUNK_BYTES = 65536 -- asked of the chunk function at a time

local csv = {
  RECORD_BYTES_MAX = 1048576, -- a user is some 1,100 bytes; 1 MiB is a broken file, not a user
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

-- {===== rows =====

-- Feeds one more chunk, or says that there are none. False when reading failed, now or before.
local function feed(self)
  if self._failure then
    return false
  end
  local chunk, message = self._read(CHUNK_BYTES)
  if chunk then
    self.core:feed(chunk)
  elseif message then
    self._failure = message
    return false
  else
    self.core:finish()
  end
  return true
end

---The row's cells as they are written: with commas, the account first.
local function written_cells(self, cells)
  if self._account > 1 and cells[self._account] then
    table.insert(cells, 1, table.remove(cells, self._account))
  end
  return csv.join(cells)
end

-- Too long to keep: who it is about, if the account is where it should be.
local function account_in(self, head)
  if self._account == 1 then
    return string.match(head, '^"?([^"%' .. self._delimiter .. "\r\n%z]*)")
  end
end

---How many columns the row has and should have. The columns line, code, reason do not count.
local function misfit(self)
  local count, width = self.core:count(), self._width
  local code = count < width and "SHORT_ROW" or "LONG_ROW"
  if self.trailer then
    count, width = count > 3 and count - 3 or count, width - 3
  end
  return code, ("%d column%s, header has %d"):format(count, count == 1 and "" or "s", width)
end

---The bad row that the core's answer is about.
local function bad_row(self, answer)
  local source = self.core
  local row = { line = (source:place()), raw = self:raw() }
  if answer == "bad" then
    row.code, row.message = source:fault()
    if row.code == "ROW_TOO_LONG" then
      row.account, row.raw = account_in(self, row.raw), nil
      row.message = ("row: over %d bytes, limit %d"):format(self._bytes_max, self._bytes_max)
    end
    return row
  end
  row.account = source:fields()[self._account]
  if answer == "misfit" then
    row.code, row.message = misfit(self)
  else
    row.code, row.message = "SHIFTED_ROW", "column line holds no number: cells are shifted"
  end
  return row
end

---The next row, as values: its attributes are in one table for all rows, good until the next
---call. What else there is to know, `place` and `raw` tell until then. Blank lines are passed over.
---@return string? account nil: see the others
---@return table<string, string>|imattr.cli.row|nil attrs or a row that is bad
---@return string[]|string|nil removes names of the cells that hold the null text; or, when there is
---  no row, why reading failed; nil: the input is at its end
function reader:take()
  local account, attrs, removes = self.core:row()
  if account then
    return account, attrs, removes
  end
  return self:resume(attrs)
end

---As `take`, when the core was asked for a row (reader.core:row(), which is faster where most rows
---are good) and gave none.
---@param answer string the core's
---@return string? account
---@return table<string, string>|imattr.cli.row|nil attrs
---@return string[]|string|nil removes
function reader:resume(answer)
  if answer == "end" then
    return nil
  elseif answer ~= "hungry" then
    return nil, bad_row(self, answer)
  elseif not feed(self) then
    return nil, nil, self._failure
  end
  return self:take()
end

---The next row, as a table of its own.
---@return imattr.cli.row? row nil and nothing else: the input is at its end
---@return string? message reading failed
function reader:next()
  local account, attrs, removes = self:take()
  if not account then
    return attrs, removes
  end
  local copy = {}
  for name, value in pairs(attrs) do
    copy[name] = value
  end
  return { line = (self.core:place()), raw = self:raw(), account = account, attrs = copy,
    removes = removes }
end

---Rows that begin in lines before are passed over, as fast as they can be read.
---@param line integer
function reader:begin_at(line)
  self.core:begin_at(line)
end

---Where the row taken last stands: number of its first line, how many lines it has, its first byte.
---@return integer line
---@return integer lines
---@return integer offset
function reader:place()
  return self.core:place()
end

---The text of the row taken last, without the line's end. Where columns are renamed or separated
---by something else, as they stand in `header`: with commas.
---@return string
function reader:raw()
  local cells = not self._is_plain and self.core:fields()
  return cells and #cells > 0 and written_cells(self, cells) or self.core:raw()
end

---Bytes read from the source so far.
---@return integer
function reader:bytes()
  local _, bytes = self.core:position()
  return bytes
end

---Number of the line read last.
---@return integer
function reader:line()
  return (self.core:position())
end

---Bytes that were looked at twice, behind bad rows.
---@return integer
function reader:again()
  local _, _, again = self.core:position()
  return again
end

-- }=====

-- {===== the header =====

-- separators as words and as what --delimiter takes
local SEPARATORS = {
  [","] = { "commas", "','" }, [";"] = { '";"', "';'" }, ["\t"] = { "tabs", "tab" },
  ["|"] = { '"|"', "'|'" },
}

---What is wrong with the first line, before its fields are looked at; nil: nothing.
local function first_line_fault(text)
  if find(text, "^\255\254") or find(text, "^\254\255") or find(text, "\0", 1, true) then
    return "header: not UTF-8 text (UTF-16?); save the file as UTF-8"
  elseif find(text, "\r", 1, true) then
    return "header: lines end in a carriage return alone; save the file with LF or CRLF"
  end
end

---Are the columns separated by something else? nil: it does not look like it.
local function separator_fault(fields, delimiter)
  local found = string.match(fields[1], "^To_Account([,;\t|])")
    or #fields == 1 and string.match(fields[1], "[,;\t|]")
  if not found or found == delimiter then
    return nil
  end
  local wanted = SEPARATORS[delimiter] and SEPARATORS[delimiter][1] or ('"%s"'):format(delimiter)
  return ("header: columns are separated by %s, must be %s; or give --delimiter %s"):format(
    SEPARATORS[found][1], wanted, SEPARATORS[found][2])
end

---The column of the accounts; nil and what is wrong.
local function account_column(fields, last, name)
  for column = 1, last do
    if fields[column] == name and (column == 1 or name ~= ACCOUNT) then
      return column
    elseif fields[column] == name then
      return nil, ("header: To_Account is column %d, must be the first"):format(column)
    end
  end
  return nil, ("header: first column: %s, must be To_Account"):format(sub(fields[1], 1, 60))
end

---What is wrong with the names of the columns; nil: nothing.
local function names_fault(names)
  local seen = {}
  for column, name in ipairs(names) do
    if name == "" then
      return ("header: column %d has no name"):format(column)
    elseif seen[name] then
      return ("header: columns %d and %d are both named %s"):format(seen[name], column, name)
    end
    seen[name] = column
  end
  if #names < 2 then
    return "header: no attribute column after To_Account"
  end
end

---How many columns are there without line, code, reason at the end?
local function last_column(fields)
  local count = #fields
  local trailer = count > 3 and fields[count - 2] == "line" and fields[count - 1] == "code"
    and fields[count] == "reason"
  return trailer and count - 3 or count
end

---Which names the columns have: those of the header, or others by `renamed` (name -> column of the
---input). Gives the names, and the place of the accounts; or nil and what is wrong.
local function names_of(fields, last, renamed)
  local names, places = {}, {}
  for column = 1, last do
    names[column] = fields[column]
    places[fields[column]] = column
  end
  local missing = {}
  for _, given in pairs(renamed) do
    missing[#missing + 1] = not places[given] and given or nil
  end
  if #missing > 0 then
    table.sort(missing)
    return nil, ("--columns: no column is named %s; there are: %s"):format(missing[1],
      table.concat(names, ", ", 1, math.min(last, 20))), "NO_COLUMN"
  end
  local account, fault = account_column(fields, last, renamed[ACCOUNT] or ACCOUNT)
  if not account then
    return nil, fault
  end
  for name, given in pairs(renamed) do
    names[places[given]] = name
  end
  fault = names_fault(names)
  if fault then
    return nil, fault
  end
  return names, account
end

---The header's record, which is the first: its fields; or nil, what is wrong and a code.
local function header_fields(self)
  local source = self.core
  local answer = source:next()
  while answer == "hungry" do
    if not feed(self) then
      return nil, "input: " .. self._failure, "READ_FAILED"
    end
    answer = source:next()
  end
  if answer == "end" then
    return nil, "input is empty"
  end
  local code, sentence = source:fault()
  if code == "ROW_TOO_LONG" then
    return nil, ("header: over %d bytes, limit %d"):format(self._bytes_max, self._bytes_max)
  end
  local _, lines = source:place()
  local first = source:raw()
  if lines > 1 then
    first = gsub(string.match(first, "^[^\n]*"), "\r$", "")
  end
  local fault = first_line_fault(first)
  if fault or code or lines > 1 then
    return nil, fault or "header: " .. (sentence or core.faults.OPEN_QUOTE)
  elseif source:count() > csv.COLUMNS_MAX then
    return nil, ("header: %d columns, limit %d"):format(source:count(), csv.COLUMNS_MAX)
  end
  return source:fields()
end

---Tells the core what the columns are.
local function set_columns(self, fields, names, null)
  local places, width, last = {}, #fields, #names
  self.names = {}
  for column = 1, last do
    if column ~= self._account then
      places[column] = names[column]
      self.names[#self.names + 1] = names[column]
    end
  end
  self.header = written_cells(self, names)
  self.trailer = last < width
  self._width = width
  self.core:columns { width = width, account = self._account, names = places, null = null,
    line = self.trailer and width - 2 or nil }
end

---@class imattr.cli.csv.reader
---@field core table imattr.csv's reader
---@field header string the header's text, without the columns line, code, reason
---@field names string[] names of the attribute columns, in order
---@field trailer boolean does the header end in line, code, reason?
---@field next fun(self): imattr.cli.row?, string?
---@field line fun(self): integer
---@field bytes fun(self): integer

---@class imattr.cli.csv.options
---@field delimiter string? one byte; default: a comma
---@field columns table<string, string>? name -> the column that has another name; To_Account may be
---  any column then
---@field null string? a cell that holds exactly this removes the attribute: see row.removes

---Starts reading: takes the header.
---@param read imattr.cli.read
---@param options imattr.cli.csv.options?
---@return imattr.cli.csv.reader? reader
---@return string? message what is wrong with the header
---@return string? code READ_FAILED when it is the reading that failed, NO_COLUMN when options name
---  a column that is not there
function csv.open(read, options)
  options = options or {}
  local renamed, most = options.columns or {}, csv.RECORD_BYTES_MAX
  local self = setmetatable({ format = "csv", _read = read, _bytes_max = most, _account = 1,
    _delimiter = options.delimiter or "," }, reader)
  self.core = core.reader { delimiter = self._delimiter, record_bytes_max = most,
    field_bytes_max = most, fields_max = csv.COLUMNS_MAX }
  self._is_plain = true -- the header is told as it is
  local fields, fault, code = header_fields(self)
  if not fields then
    return nil, fault, code
  end
  fault = separator_fault(fields, self._delimiter)
  if fault then
    return nil, fault
  end
  local names, account
  names, account, code = names_of(fields, last_column(fields), renamed)
  if not names then
    return nil, account, code
  end
  self._is_plain = self._delimiter == "," and next(renamed) == nil
  self._account = account
  set_columns(self, fields, names, options.null)
  return self
end

-- }=====

return csv
