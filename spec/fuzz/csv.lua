-- csv: the reader of CSV against a model that has the whole text before it. The first byte says how
-- the text is cut into chunks. Of the second, bit 0 puts a header in front (bit 2: which), bit 1
-- sets the limit of a line to 60 bytes, bit 3 makes the separator a semicolon, bit 6 makes cells
-- with a dash remove their attribute.

local csv = require "imattr.cli.csv"
local lines = require "imattr.cli.lines"
local pieces = require "fuzz.pieces"
local watch = require "fuzz.watch"

local HEADERS = { "To_Account,sex,city\n", "To_Account,sex,line,code,reason\n" }
local LINE_BYTES_MAX, HEAD_BYTES = lines.LINE_BYTES_MAX, lines.HEAD_BYTES
local LINE_BYTES_SHORT, HEAD_BYTES_SHORT = 60, 20

local BOM = "\239\187\191"

local COMMA, SEMICOLON, DASH = ",", ";", "-"

-- What the reader is told: { delimiter, null }.
local options

-- {===== the model: RFC 4180 and the contract in csv.lua's head =====

-- Lines of a text without their newlines; what follows the last newline is one if it is not empty.
local function lines_of(text)
  local list = {}
  for line in text:gmatch("([^\n]*)\n") do
    list[#list + 1] = line
  end
  local last = text:match("([^\n]+)$")
  list[#list + 1] = last
  return list
end

-- Takes a separator, a quote or a run of other bytes into a record; false when it is none any more.
-- States: start (of a field), plain, quoted, quote (one in a quoted field: its end, or the first of
-- two).
local function feed_piece(record, piece)
  local state = record.state
  if state == "quoted" and piece == '"' then
    record.state = "quote"
  elseif piece == options.delimiter and state ~= "quoted" then
    record.fields[#record.fields + 1], record.field, record.state = record.field, "", "start"
  elseif piece == '"' and state == "start" then
    record.state = "quoted"
  elseif piece == '"' and state == "plain" or piece ~= '"' and state == "quote" then
    return false
  else
    record.field = record.field .. piece
    record.state = (state == "quoted" or state == "quote") and "quoted" or "plain"
  end
  return true
end

local RUNS = { [COMMA] = '^[^",]+', [SEMICOLON] = '^[^";]+' }

local function feed(record, text)
  local at, run = 1, RUNS[options.delimiter]
  while at <= #text do
    local piece = text:match(run, at) or text:sub(at, at)
    if not feed_piece(record, piece) then
      return false
    end
    at = at + #piece
  end
  return true
end

local function trim(text)
  return (text:gsub("\r$", ""))
end

-- The record that begins at line `at`: its fields, its text and the next line's place. nil: none.
local function record_at(list, at, most)
  local record = { fields = {}, field = "", state = "start" }
  local text, last = list[at], at
  while feed(record, trim(list[last])) do
    if record.state ~= "quoted" then
      record.fields[#record.fields + 1] = record.field
      return record.fields, trim(text), last + 1
    end
    feed(record, list[last]:match("\r$") or "")
    feed(record, "\n")
    last = last + 1
    if not list[last] then
      return nil
    end
    text = text .. "\n" .. list[last]
    if #text > most or #list[last] > most then
      return nil
    end
  end
end

local function header_of(list, most)
  local at = 1
  local text
  repeat
    text = list[at]
    if not text or #text > most then
      return nil
    end
    text = trim(at == 1 and text:sub(1, 3) == BOM and text:sub(4) or text)
    at = at + 1
  until text ~= ""
  local is_other = text:find("^\255\254") or text:find("^\254\255") or text:find("[%z\r]")
  local fields = not is_other and record_at({ text }, 1, most)
  if not fields or #fields > csv.COLUMNS_MAX or fields[1] ~= "To_Account" then
    return nil
  end
  local count, seen = #fields, {}
  local has_trailer = count > 3 and table.concat(fields, ",", count - 2) == "line,code,reason"
    and fields[count - 2] == "line" and fields[count - 1] == "code"
  for column = 1, has_trailer and count - 3 or count do
    if fields[column] == "" or seen[fields[column]] then
      return nil
    end
    seen[fields[column]] = true
  end
  if count - (has_trailer and 3 or 0) < 2 then
    return nil
  end
  return { fields = fields, at = at, has_trailer = has_trailer }
end

local function row_of(header, fields)
  local count = #header.fields
  if #fields ~= count then
    return { code = #fields < count and "SHORT_ROW" or "LONG_ROW" }
  elseif header.has_trailer and not fields[count - 2]:find("^%d*$") then
    return { code = "SHIFTED_ROW" }
  end
  local attrs, removes = {}, nil
  for column = 2, header.has_trailer and count - 3 or count do
    local name, cell = header.fields[column], fields[column]
    if cell == options.null then
      removes = removes or {}
      removes[#removes + 1] = name
    elseif cell ~= "" then
      attrs[name] = cell
    end
  end
  return { account = fields[1], attrs = attrs, removes = removes }
end

-- All rows of a text; nil: its header is not good.
local function model(text, most)
  local list = lines_of(text)
  local header = header_of(list, most)
  local rows, at = {}, header and header.at
  while header and list[at] do
    local line, row, next_at = list[at], nil, at + 1
    if #line > most then
      row = { code = "ROW_TOO_LONG" }
    elseif line:find("%z") then
      row = { code = "NUL_BYTE" }
    elseif trim(line) ~= "" then
      local fields, whole, after = record_at(list, at, most)
      next_at = fields and after or next_at
      row = not fields and { code = "QUOTES" } or whole:find("%z") and { code = "NUL_BYTE" }
        or row_of(header, fields)
    end
    if row then
      row.line = at
      rows[#rows + 1] = row
    end
    at = next_at
  end
  return header and rows, header
end

-- }=====

-- {===== the reader =====

local QUOTES = { OPEN_QUOTE = "QUOTES", BARE_QUOTE = "QUOTES", TEXT_AFTER_QUOTE = "QUOTES" }

-- What the model and the reader must say alike of a row, as one text.
local function shown(row, names)
  if row.code then
    return row.line .. " " .. (QUOTES[row.code] or row.code)
  end
  local parts, count = { row.line, row.account, table.concat(row.removes or {}, "\1") }, 0
  for index, name in ipairs(names) do
    parts[index + 3] = row.attrs[name] or ""
  end
  for _ in pairs(row.attrs) do
    count = count + 1
  end
  parts[#parts + 1] = count
  return table.concat(parts, "\0")
end

-- All there is to say of a row: it must not depend on chunks.
local function told(row, names)
  return table.concat({ shown(row, names), row.raw or "", row.message or "", row.account or "" },
    "\0")
end

local function check_row(row)
  if row.code then
    assert(type(row.message) == "string" and #row.message > 0 and row.attrs == nil)
  else
    local fields = assert(csv.split(row.raw))
    local again = assert(csv.split(csv.join(fields)))
    assert(table.concat(fields, "\0") == table.concat(again, "\0"), "written and read again")
  end
end

-- { shown of each row }, a text with all that was told, and the reader; or nil and the message.
local function read_all(text, seed)
  local reader, message, code = csv.open(pieces.chunks(text, seed), options)
  if not reader then
    assert(type(message) == "string" and #message > 0 and code ~= "READ_FAILED")
    return nil, message
  end
  local names, rows, all, before = reader.names, {}, { reader.header }, 0
  local row, failure = reader:next()
  while row do
    assert(row.line > before and reader:line() >= row.line, "lines go up")
    if seed > 0 then
      check_row(row)
    end
    before, rows[#rows + 1], all[#all + 1] = row.line, shown(row, names), told(row, names)
    row, failure = reader:next()
  end
  assert(failure == nil and reader:next() == nil, "the end is the end")
  assert(reader:bytes() == #text, "all bytes were read")
  return rows, table.concat(all, "\n"), reader
end

local function check_header(header, reader)
  local last = header.has_trailer and #header.fields - 3 or #header.fields
  local names = table.concat(header.fields, "\0", 2, last)
  assert(reader.trailer == header.has_trailer)
  assert(names == table.concat(reader.names, "\0"), "other names")
  assert(header.fields[1] .. "\0" .. names == table.concat(csv.split(reader.header), "\0"),
    "another header")
end

local function check(text, seed, most)
  watch(true)
  local rows, all, reader = read_all(text, seed)
  watch(false)
  local _, other = read_all(text, 0)
  assert(all == other, "chunks make a difference")
  local wanted, header = model(text, most)
  assert(not wanted == not rows, "the header is good, or not")
  if rows then
    check_header(header, reader)
    assert(#wanted == #rows, "another number of rows")
    for index, row in ipairs(wanted) do
      assert(shown(row, reader.names) == rows[index], "another row")
    end
  end
end

-- }=====

local function set_limits(line_bytes, head_bytes)
  lines.LINE_BYTES_MAX, csv.RECORD_BYTES_MAX, lines.HEAD_BYTES = line_bytes, line_bytes, head_bytes
end

local function has_bit(mode, bit)
  return math.floor(mode / bit) % 2 == 1
end

return function(bytes)
  local input = pieces.of(bytes)
  local seed, mode = input:byte(), input:byte()
  local text = input:rest()
  options = { delimiter = has_bit(mode, 8) and SEMICOLON or COMMA,
    null = has_bit(mode, 64) and DASH or nil }
  if has_bit(mode, 1) then
    text = HEADERS[has_bit(mode, 4) and 2 or 1]:gsub(COMMA, options.delimiter) .. text
  end
  if has_bit(mode, 2) then
    set_limits(LINE_BYTES_SHORT, HEAD_BYTES_SHORT)
  end
  check(text, seed, lines.LINE_BYTES_MAX)
  set_limits(LINE_BYTES_MAX, HEAD_BYTES)
end
