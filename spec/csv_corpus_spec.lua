-- The CSV reader over the files of spec/data/csv, against what is written beside them, whatever the
-- pieces are in which a file comes; and the records' places, by which a file could be read again.
local csv = require "imattr.cli.csv"

local FOLDER = "spec/data/csv/"
local expected = dofile(FOLDER .. "expected.lua")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function pieces(text, size)
  local at = 1
  return function()
    if at > #text then return nil end
    local piece = text:sub(at, at + size - 1)
    at = at + size
    return piece
  end
end

-- Names in order, as `name=value` or `-name`.
local function described_attrs(attrs, removes)
  local words = {}
  for name, value in pairs(attrs) do words[#words + 1] = name .. "=" .. value end
  table.sort(words)
  local gone = {}
  for _, name in ipairs(removes or {}) do gone[#gone + 1] = "-" .. name end
  table.sort(gone)
  for _, word in ipairs(gone) do words[#words + 1] = word end
  return table.concat(words, " ")
end

-- All rows as `line@offset account ...`; nil and what is wrong with the header.
local function rows_of(text, size, options)
  local reader, fault = csv.open(pieces(text, size), options)
  if not reader then return nil, fault end
  local rows = {}
  while true do
    local account, attrs, removes = reader:take()
    if not account and not attrs then
      assert.is_nil(removes)
      break
    end
    local line, _, offset = reader:place()
    local what = account and described_attrs(attrs, removes) or attrs.code
    rows[#rows + 1] = ("%d@%d %s %s"):format(line, offset, account or attrs.account or "-", what)
      :gsub(" $", "")
  end
  return rows
end

describe("the csv corpus", function()
  local names = {}
  for name in pairs(expected) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    it("is read as it should be: " .. name, function()
      local text, wanted = read(FOLDER .. name .. ".csv"), expected[name]
      for _, size in ipairs { math.max(#text, 1), 1, 2, 3, 7 } do
        local rows, fault = rows_of(text, size, wanted.options)
        assert.are.same(wanted.rows, rows)
        assert.are.equal(wanted.fault, fault)
      end
    end)
  end

  it("has a file for each expectation, and an expectation for each file", function()
    local pipe = assert(io.popen("ls " .. FOLDER .. "*.csv"))
    local count = 0
    for path in pipe:lines() do
      count = count + 1
      assert.truthy(expected[path:match("([^/]+)%.csv$")], path)
    end
    pipe:close()
    assert.are.equal(#names, count)
  end)

  it("reads rows again from where they stand", function()
    for _, name in ipairs(names) do
      local text, wanted = read(FOLDER .. name .. ".csv"), expected[name]
      for _, row in ipairs(wanted.rows or {}) do
        local line, offset, rest = row:match("^(%d+)@(%d+) (.*)$")
        local header = text:match("^[%s\239\187\191]*[^\r\n]*\r?\n")
        local again = rows_of(header .. text:sub(offset + 1), 64, wanted.options)[1]
        assert.are.equal(rest, again:match("^%d+@%d+ (.*)$"), name .. " line " .. line)
      end
    end
  end)
end)

describe("the benchmark of csv #slow", function()
  it("reads all of a pipe, in memory that does not grow", function()
    local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
    local pipe = assert(io.popen(lua .. " spec/bench/csv 5 2>&1"))
    local output = pipe:read("*a")
    pipe:close()
    for _, what in ipairs { "records", "rows" } do
      local line = what .. " +5 MB, %d+ lines in [%d.]+ s of processor time: %d+ MB/s"
      assert.truthy(output:find(line), output)
    end
    assert.is_nil(output:find("memory grows\n", 1, true), output)
  end)
end)

describe("a row of the csv reader", function()
  local TEXT = "uid;town;tier\na;Osaka, Japan;1\nb;;2\nc;\"x\"\"y\";\nd;z\n"
  local OPTIONS = { delimiter = ";", columns = { To_Account = "uid", city = "town" } }

  it("is written with commas and the names it has here", function()
    local reader = csv.open(pieces(TEXT, 5), OPTIONS)
    local raws = {}
    for row in function() return (reader:next()) end do raws[#raws + 1] = row.raw end
    assert.are.equal("To_Account,city,tier", reader.header)
    assert.are.same({ 'a,"Osaka, Japan",1', "b,,2", 'c,"x""y",', "d,z" }, raws)
  end)

  it("has its account first when it is written", function()
    local reader = csv.open(pieces("town,uid\nOsaka,a\nNara\n", 3),
      { columns = { To_Account = "uid" } })
    assert.are.equal("To_Account,town", reader.header)
    assert.are.same({ "a,Osaka", "Nara" }, { reader:next().raw, reader:next().raw })
  end)

  it("shares its table of attributes with the next, and leaves nothing in it", function()
    local reader = csv.open(pieces("To_Account,x,y\na,1,2\nb,,3\nc,,\nd,4,\n", 100))
    local _, first = reader:take()
    assert.are.same({ x = "1", y = "2" }, first)
    for _, wanted in ipairs { { y = "3" }, {}, { x = "4" } } do
      local _, attrs = reader:take()
      assert.are.equal(first, attrs)
      assert.are.same(wanted, attrs)
    end
  end)

  it("is passed over before a line, whether it is good or bad", function()
    local reader = csv.open(pieces("To_Account,x\na,1\nb\nc,\"2\n3\"\nd,4\ne,5\n", 4))
    reader:begin_at(5)
    assert.are.equal("d", (reader:take()))
    assert.are.equal(6, (reader:place()))
    assert.are.equal("e", (reader:take()))
  end)
end)

describe("imattr.csv", function()
  local core = require "imattr.csv"
  local GOOD = { delimiter = ",", record_bytes_max = 100, field_bytes_max = 10, fields_max = 3 }

  local function with(changes)
    local options = {}
    for name, value in pairs(GOOD) do options[name] = value end
    for name, value in pairs(changes) do options[name] = value end
    return options
  end

  it("refuses what cannot be", function()
    for _, changes in ipairs { { delimiter = '"' }, { delimiter = "" }, { delimiter = ",," },
      { delimiter = "\n" }, { delimiter = false }, { record_bytes_max = 0 },
      { field_bytes_max = -1 }, { fields_max = 1025 }, { fields_max = "x" } } do
      assert.is_false(pcall(core.reader, with(changes)))
    end
    local reader = core.reader(GOOD)
    for _, columns in ipairs { {}, { width = 4, names = {} }, { width = 2 },
      { width = 1, account = 2, names = {} } } do
      assert.is_false(pcall(reader.columns, reader, columns))
    end
  end)

  it("refuses a field that is too long, and goes on", function()
    local reader = core.reader(GOOD)
    reader:feed("a,12345678901\nb,1234567890\n\"c\",\"\"\"\"\n")
    reader:finish()
    assert.are.equal("bad", reader:next())
    assert.are.same({ "FIELD_TOO_LONG", core.faults.FIELD_TOO_LONG }, { reader:fault() })
    assert.are.equal("record", reader:next())
    assert.are.same({ "b", "1234567890" }, reader:fields())
    assert.are.equal("record", reader:next())
    assert.are.same({ "c", '"' }, reader:fields())
    assert.are.equal("end", reader:next())
  end)

  it("counts fields beyond those it keeps", function()
    local reader = core.reader(GOOD)
    reader:feed("a,b,c,d,e\n")
    assert.are.equal("record", reader:next())
    assert.are.same({ "a", "b", "c" }, reader:fields())
    assert.are.equal(5, reader:count())
    assert.are.equal("hungry", reader:next())
  end)

  it("forgets a record's text when more is fed", function()
    local reader = core.reader(GOOD)
    reader:feed("a,b\nc")
    reader:next()
    assert.are.equal("a,b", reader:raw())
    reader:feed(",d\n")
    assert.are.equal("", reader:raw())
    assert.are.same({}, reader:fields())
  end)

  it("is closed once, and then says so", function()
    local reader, gunzip = core.reader(GOOD), core.gunzip()
    for _, object in ipairs { reader, gunzip } do
      object:close()
      object:close()
      assert.is_false(pcall(object.feed, object, "x"))
      assert.truthy(tostring(object):find("closed", 1, true))
    end
  end)
end)
