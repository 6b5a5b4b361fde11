-- ndjson: the reader of NDJSON against a model that has the whole text before it and reads JSON
-- strictly. The first byte says how the text is cut into chunks, the second, when odd, sets the
-- limit of a line to 60 bytes.

local lines = require "imattr.cli.lines"
local ndjson = require "imattr.cli.ndjson"
local pieces = require "fuzz.pieces"
local strict = require "fuzz.strict"
local watch = require "fuzz.watch"

local LINE_BYTES_MAX = lines.LINE_BYTES_MAX
local LINE_BYTES_SHORT = 60
local NUMBER_MAX = 2 ^ 53

-- {===== the model =====

-- The value of an attribute as text; nil when it is none.
local function value_of(value)
  if type(value) == "number" then
    local is_integer = value == math.floor(value) and math.abs(value) < NUMBER_MAX
    return is_integer and ("%.0f"):format(value) or nil
  end
  return type(value) == "string" and value or nil
end

-- The user of a line: account and attributes, or nil; and whether the RFC leaves it open.
local function user_of(line)
  local ok, object, free = strict.read(line)
  if not ok or type(object) ~= "table" or type(object.To_Account) ~= "string"
      or type(object.Attrs) ~= "table" or object.Attrs == strict.null then
    return nil, nil, free
  end
  local attrs = {}
  for name, value in pairs(object.Attrs) do
    attrs[name] = type(name) == "string" and value_of(value)
    if not attrs[name] then
      return nil, nil, free
    end
  end
  return object.To_Account, attrs, free
end

-- { line, account, attrs, is_free, is_long } for each line that is not blank.
local function model(text, most)
  local rows, number = {}, 0
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    local is_long = #line > most
    if number == 1 and not is_long then
      line = line:gsub("^\239\187\191", "")
    end
    if is_long then
      rows[#rows + 1] = { line = number, is_long = true }
    elseif line:find("[^ \t\r]") then
      local account, attrs, is_free = user_of(line)
      rows[#rows + 1] = { line = number, account = account, attrs = attrs, is_free = is_free }
    end
  end
  return rows
end

-- }=====

local function same_attrs(a, b)
  local count = 0
  for name, value in pairs(a) do
    if b[name] ~= value then
      return false
    end
    count = count + 1
  end
  for _ in pairs(b) do
    count = count - 1
  end
  return count == 0
end

local function same_row(a, b)
  return a.line == b.line and a.raw == b.raw and a.account == b.account and a.code == b.code
    and a.message == b.message and same_attrs(a.attrs or {}, b.attrs or {})
end

local CODES = { BAD_JSON = true, BAD_SHAPE = true, BAD_VALUE = true, ROW_TOO_LONG = true }

local function read_all(text, seed)
  local reader, rows = ndjson.open(pieces.chunks(text, seed)), {}
  while true do
    local row, failure = reader:next()
    if not row then
      assert(failure == nil)
      break
    end
    assert(reader:line() == row.line)
    if row.code then
      assert(CODES[row.code] and type(row.message) == "string" and row.attrs == nil)
    else
      assert(type(row.account) == "string" and type(row.attrs) == "table")
    end
    rows[#rows + 1] = row
  end
  assert(reader:bytes() == #text, "all bytes were read")
  return rows
end

local function check_row(wanted, found)
  assert(wanted.line == found.line, "another line")
  assert((wanted.is_long or false) == (found.code == "ROW_TOO_LONG"))
  if wanted.is_free then
    return
  elseif not wanted.account then
    assert(found.code, "a bad line is taken")
  else
    assert(not found.code, "a good line is refused")
    assert(wanted.account == found.account and same_attrs(wanted.attrs, found.attrs),
      "other values")
    for _, value in pairs(found.attrs) do
      assert(type(value) == "string")
    end
  end
end

local function check(text, seed, most)
  watch(true)
  local rows = read_all(text, seed)
  watch(false)
  local whole = read_all(text, 0)
  assert(#rows == #whole, "chunks make a difference")
  local wanted = model(text, most)
  assert(#wanted == #rows, "another number of rows")
  for index, row in ipairs(rows) do
    assert(same_row(row, whole[index]), "chunks make a difference")
    check_row(wanted[index], row)
  end
end

return function(bytes)
  local input = pieces.of(bytes)
  local seed, mode = input:byte(), input:byte()
  local most = mode % 2 == 1 and LINE_BYTES_SHORT or LINE_BYTES_MAX
  lines.LINE_BYTES_MAX, ndjson.LINE_BYTES_MAX = most, most
  check(input:rest(), seed, most)
  lines.LINE_BYTES_MAX, ndjson.LINE_BYTES_MAX = LINE_BYTES_MAX, LINE_BYTES_MAX
end
