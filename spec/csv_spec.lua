-- The CSV reader: inputs and what comes out of them, each fed whole and in pieces of 1, 2, 3 and 7
-- bytes; the answer must be the same.
local csv = require "imattr.cli.csv"

-- A chunk function over a text, in pieces of `size` bytes.
local function pieces(text, size)
  local at = 1
  return function()
    if at > #text then return nil end
    local piece = text:sub(at, at + size - 1)
    at = at + size
    return piece
  end
end

-- A row as one short text: `line:account name=value ...` or `line:account CODE message`.
local function described(row)
  if row.code then
    return ("%d:%s %s %s"):format(row.line, row.account or "-", row.code, row.message)
  end
  local pairs_ = {}
  for name, value in pairs(row.attrs) do pairs_[#pairs_ + 1] = name .. "=" .. value end
  table.sort(pairs_)
  return ("%d:%s %s"):format(row.line, row.account, table.concat(pairs_, " "))
end

local function rows_of(text, size)
  local reader, message = csv.open(pieces(text, size))
  if not reader then return message end
  local rows = {}
  for row in function() return (reader:next()) end do rows[#rows + 1] = described(row) end
  return rows
end

-- The rows of a text, which must not depend on how it is cut.
local function read(text, sizes)
  local whole = rows_of(text, math.max(#text, 1))
  for _, size in ipairs(sizes or { 1, 2, 3, 7 }) do
    assert.are.same(whole, rows_of(text, size))
  end
  return whole
end

local H = "To_Account,sex,city\n"

describe("the csv reader", function()
  local cases = {
    { "reads rows", H .. "a,m,Osaka\nb,f,Kyoto\n", { "2:a city=Osaka sex=m",
      "3:b city=Kyoto sex=f" } },
    { "needs no newline at the end", H .. "a,m,Osaka", { "2:a city=Osaka sex=m" } },
    { "takes a header alone as no users", H, {} },
    { "takes a header without its newline", "To_Account,sex", {} },
    { "leaves an attribute alone where the cell is empty", H .. "a,,Osaka\nb,f,\nc,,\n",
      { "2:a city=Osaka", "3:b sex=f", "4:c " } },
    { "takes a quoted empty cell as empty", H .. 'a,"",Osaka\n', { "2:a city=Osaka" } },
    { "keeps an empty account for the screening", H .. ",m,Osaka\n", { "2: city=Osaka sex=m" } },
    { "reads CRLF", "To_Account,sex,city\r\na,m,Osaka\r\nb,f,Kyoto\r\n",
      { "2:a city=Osaka sex=m", "3:b city=Kyoto sex=f" } },
    { "reads CRLF after a quoted field", 'To_Account,sex,city\r\na,m,"Osaka"\r\nb,f,"K"\r\n',
      { "2:a city=Osaka sex=m", "3:b city=K sex=f" } },
    { "passes over a byte order mark", "\239\187\191" .. H .. "a,m,Osaka\n",
      { "2:a city=Osaka sex=m" } },
    { "passes over a mark before a quoted name", '\239\187\191"To_Account",sex,city\na,m,x\n',
      { "2:a city=x sex=m" } },
    { "passes over blank lines and counts them", "\n" .. H .. "\r\n\na,m,Osaka\n\n\nb,f,x\n\n",
      { "5:a city=Osaka sex=m", "8:b city=x sex=f" } },
    { "keeps blanks around a cell", H .. " a , m,Osaka \n", { "2: a  city=Osaka  sex= m" } },
    { "reads quoted fields", H .. '"a","m","Osaka, Japan"\n', { "2:a city=Osaka, Japan sex=m" } },
    { "reads doubled quotes", H .. 'a,"say ""hi""",""""\nb,"""",""""""\n',
      { '2:a city=" sex=say "hi"', '3:b city="" sex="' } },
    { "reads newlines inside quotes", H .. 'a,m,"Osaka\nJapan"\nb,f,"x\r\ny"\nc,m,z\n',
      { "2:a city=Osaka\nJapan sex=m", "4:b city=x\r\ny sex=f", "6:c city=z sex=m" } },
    { "reads a blank line inside quotes", H .. 'a,m,"\n\n"\nb,f,x\n', { "2:a city=\n\n sex=m",
      "5:b city=x sex=f" } },
    { "reads names in quotes", '"To_Account","sex","a ""b"", c"\nx,m,1\n',
      { '2:x a "b", c=1 sex=m' } },
    { "passes Latin-1 through", H .. "a,m,M\252nchen\n\255,m,x\n",
      { "2:a city=M\252nchen sex=m", "3:\255 city=x sex=m" } },
    { "passes a lone carriage return through", H .. "a,m,x\ry\n", { "2:a city=x\ry sex=m" } },

    { "refuses short rows", H .. "a,m\nb\nc,f,x\n",
      { "2:a SHORT_ROW 2 columns, header has 3", "3:b SHORT_ROW 1 column, header has 3",
        "4:c city=x sex=f" } },
    { "refuses long rows", H .. "a,m,x,y\nb,f,z\nc,,,,\n",
      { "2:a LONG_ROW 4 columns, header has 3", "3:b city=z sex=f",
        "4:c LONG_ROW 5 columns, header has 3" } },
    { "refuses quoted rows of another width", H .. '"a","m"\n"b","f","x",""\n',
      { "2:a SHORT_ROW 2 columns, header has 3", "3:b LONG_ROW 4 columns, header has 3" } },
    { "refuses a quote inside an unquoted field", H .. 'a,5",x\nb,f,y\n',
      { "2:- BARE_QUOTE a quote inside a field that is not quoted", "3:b city=y sex=f" } },
    { "refuses text after a closing quote", H .. 'a,"m"x,y\nb,f,y\n"c" ,m,z\n',
      { "2:- TEXT_AFTER_QUOTE text after the closing quote of a field", "3:b city=y sex=f",
        "4:- TEXT_AFTER_QUOTE text after the closing quote of a field" } },
    { "refuses a quote left open and goes on at the next line", H .. 'a,m,"x\nb,f,y\nc,m,z\n',
      { "2:- OPEN_QUOTE a quoted field has no closing quote", "3:b city=y sex=f",
        "4:c city=z sex=m" } },
    { "refuses a quote left open in the last line", H .. 'a,m,x\nb,f,"y', { "2:a city=x sex=m",
      "3:- OPEN_QUOTE a quoted field has no closing quote" } },
    { "takes an open quote that runs into another's for one bad row",
      H .. 'a,m,"x\nb,f,y\nc,"m",z\nd,f,w\n',
      { "2:- OPEN_QUOTE a quoted field has no closing quote", "3:b city=y sex=f",
        "4:c city=z sex=m",
        "5:d city=w sex=f" } },
    { "takes two open quotes for two bad rows", H .. 'a,m,"x\nb,f,y\nc,"m,z\nd,f,w\n',
      { "2:- TEXT_AFTER_QUOTE text after the closing quote of a field", "3:b city=y sex=f",
        "4:- OPEN_QUOTE a quoted field has no closing quote", "5:d city=w sex=f" } },
    { "refuses NUL bytes", H .. 'a,m,x\0y\nb,f,z\nc,m,"\0"\nd,m,"x\n\0"\n',
      { "2:- NUL_BYTE a NUL byte in the row", "3:b city=z sex=f",
        "4:- NUL_BYTE a NUL byte in the row",
        "5:- NUL_BYTE a NUL byte in the row" } },

    { "leaves out line, code, reason", "To_Account,sex,line,code,reason\na,m,7,X,because\nb,f,,,\n",
      { "2:a sex=m", "3:b sex=f" } },
    { "keeps line, code, reason that are not the last",
      "To_Account,line,code,reason,sex\na,1,2,3,m\n",
      { "2:a code=2 line=1 reason=3 sex=m" } },
    { "may have attributes named like those left out",
      "To_Account,code,line,code,reason\na,m,7,X,because\n",
      { "2:a code=m" } },
    { "refuses cells that slid into those left out",
      "To_Account,sex,line,code,reason\na,7,SHORT_ROW,2 columns,\nb,m,8,X,y\n",
      { "2:a SHIFTED_ROW column line holds no number: cells are shifted", "3:b sex=m" } },
    { "refuses a short row of a rejects file again",
      "To_Account,sex,city,line,code,reason\na,m,7,SHORT_ROW,y\n",
      { "2:a SHORT_ROW 2 columns, header has 3" } },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      assert.are.same(case[3], read(case[2]))
    end)
  end

  local headers = {
    { "an empty file", "", "input is empty" },
    { "blank lines alone", "\n\r\n\n", "input is empty" },
    { "a byte order mark alone", "\239\187\191", "input is empty" },
    { "data without a header", "xiaojun012,m,Osaka\n",
      "header: first column: xiaojun012, must be To_Account" },
    { "the name in other letters", "to_account,sex\n",
      "header: first column: to_account, must be To_Account" },
    { "To_Account elsewhere", "sex,To_Account\n",
      "header: To_Account is column 2, must be the first" },
    { "semicolons", "To_Account;sex\n",
      "header: columns are separated by \";\", must be commas; or give --delimiter ';'" },
    { "tabs", "uid\tsex\n",
      "header: columns are separated by tabs, must be commas; or give --delimiter tab" },
    { "no attribute", "To_Account\n", "header: no attribute column after To_Account" },
    { "no attribute but line, code, reason", "To_Account,line,code,reason\n",
      "header: no attribute column after To_Account" },
    { "a column twice", "To_Account,sex,city,sex\n", "header: columns 2 and 4 are both named sex" },
    { "To_Account twice", "To_Account,sex,To_Account\n",
      "header: columns 1 and 3 are both named To_Account" },
    { "a column without a name", "To_Account,,city\n", "header: column 2 has no name" },
    { "a comma at its end", "To_Account,sex,\n", "header: column 3 has no name" },
    { "an open quote", 'To_Account,"sex\na,m\n', "header: a quoted field has no closing quote" },
    { "carriage returns alone", "To_Account,sex\ra,m\r",
      "header: lines end in a carriage return alone; save the file with LF or CRLF" },
    { "UTF-16", "\255\254T\0o\0_\0\n\0",
      "header: not UTF-8 text (UTF-16?); save the file as UTF-8" },
    { "too many columns", "To_Account" .. (",x"):rep(256) .. "\n",
      "header: 257 columns, limit 256" },
  }
  for _, case in ipairs(headers) do
    it("refuses a header: " .. case[1], function()
      assert.are.equal(case[3], read(case[2]))
    end)
  end

  it("keeps the text of every row, and of a bad row its first line", function()
    local reader = csv.open(pieces(H .. 'a,m,x\r\nb,"f\ng",y\nc,m\nd,m,"z\ne,m,w\n', 5))
    local raws = {}
    for row in function() return (reader:next()) end do raws[#raws + 1] = row.raw end
    assert.are.same({ "a,m,x", 'b,"f\ng",y', "c,m", 'd,m,"z', "e,m,w" }, raws)
  end)

  it("tells what its header is, without line, code, reason", function()
    local reader = csv.open(pieces('To_Account,sex,"a,b",line,code,reason\n', 100))
    assert.are.equal('To_Account,sex,"a,b"', reader.header)
    assert.are.same({ "sex", "a,b" }, reader.names)
    assert.is_true(reader.trailer)
  end)

  it("knows where it is", function()
    local reader = csv.open(pieces(H .. 'a,m,"x\ny"\nb,m,"z\nc,m,w\n', 4))
    local lines = {}
    for _ in function() return (reader:next()) end do lines[#lines + 1] = reader:line() end
    assert.are.same({ 3, 4, 5 }, lines)
    assert.are.equal(#H + 23, reader:bytes())
  end)

  it("hands on that reading failed, once the rows before are out", function()
    local parts = { H .. "a,m,x\nb,m,", false }
    local reader = csv.open(function()
      local part = table.remove(parts, 1)
      if part then return part end
      return nil, "Input/output error"
    end)
    assert.are.equal("2:a city=x sex=m", described(reader:next()))
    local row, message = reader:next()
    assert.is_nil(row)
    assert.are.equal("Input/output error", message)
    assert.are.equal("Input/output error", select(2, reader:next()))
  end)

  it("hands on that reading failed at the header", function()
    local reader, message, code = csv.open(function() return nil, "Is a directory" end)
    assert.is_nil(reader)
    assert.are.equal("input: Is a directory", message)
    assert.are.equal("READ_FAILED", code)
  end)
end)

describe("the csv reader's limit of 1 MiB", function()
  local LIMIT = csv.RECORD_BYTES_MAX
  local SIZES = { 4096, 65536, 1000003 }
  local too_long = ("ROW_TOO_LONG row: over %d bytes, limit %d"):format(LIMIT, LIMIT)

  it("takes a row of exactly 1 MiB", function()
    local value = ("x"):rep(LIMIT - 4)
    assert.are.same({ "2:a city=" .. value .. " sex=m" }, read(H .. "a,m," .. value .. "\n", SIZES))
  end)

  it("refuses a byte more, and goes on at the next line", function()
    local value = ("x"):rep(LIMIT - 3)
    assert.are.same({ "2:a " .. too_long, "3:b city=y sex=f" },
      read(H .. "a,m," .. value .. "\nb,f,y\n", SIZES))
  end)

  it("refuses a line of 10 MB without keeping it", function()
    local line = "a,m," .. ("x"):rep(10000000)
    assert.are.same({ "2:a " .. too_long, "3:b city=y sex=f" }, read(H .. line .. "\nb,f,y\n",
      SIZES))
    assert.are.same({ "2:a " .. too_long }, read(H .. line, SIZES))
  end)

  it("refuses a header that is too long", function()
    local message = ("header: over %d bytes, limit %d"):format(LIMIT, LIMIT)
    assert.are.equal(message, read(("x"):rep(LIMIT + 1) .. "\na,m\n", SIZES))
  end)

  it("counts the lines of a quoted field together #heavy", function()
    local rows = read(H .. 'a,m,"' .. ("xxxxxxx\n"):rep(LIMIT / 8) .. "b,f,y\n", { 65536 })
    assert.are.equal("2:- OPEN_QUOTE a quoted field has no closing quote", rows[1])
    assert.are.equal("3:xxxxxxx SHORT_ROW 1 column, header has 3", rows[2])
    assert.are.equal(1 + LIMIT / 8, #rows)
    assert.are.equal(("%d:b city=y sex=f"):format(LIMIT / 8 + 2), rows[#rows])
  end)

  it("finds a line that is too long while a quote is open", function()
    local text = H .. 'a,m,"x\nb,f,y\nc,m,' .. ("z"):rep(LIMIT) .. "\nd,f,w\n"
    assert.are.same({ "2:- OPEN_QUOTE a quoted field has no closing quote", "3:b city=y sex=f",
      "4:c " .. too_long, "5:d city=w sex=f" }, read(text, SIZES))
  end)

  it("reads no line more than twice, however its quotes lie", function()
    local sources = { 'a,m,"x\n', '"""\n', 'a,"\n', '",c,"d\n', '""\n', '"a""\n',
      'a,"\nb,m,y\nc,m,z\n' }
    for _, line in ipairs(sources) do
      local reader = csv.open(pieces(H .. line:rep(10000), 65536))
      local row
      repeat row = reader:next() until not row
      assert.is_true(reader:again() <= reader:bytes(), line)
    end
  end)
end)

describe("csv fields", function()
  it("are quoted when they have to be", function()
    local cases = { { "a", "a" }, { "a,b", '"a,b"' }, { 'a"b', '"a""b"' }, { "a\nb", '"a\nb"' },
      { "a\r", '"a\r"' }, { " a", '" a"' }, { "a ", '"a "' }, { "", "" }, { "a b", "a b" } }
    for _, case in ipairs(cases) do
      assert.are.equal(case[2], csv.quote(case[1]))
      assert.are.same({ case[1] }, csv.split(csv.quote(case[1])))
    end
  end)

  it("are the same after joining and splitting", function()
    local fields = { "a", "", 'x"y', "l1\nl2\r\n", ",", " ", '""', "" }
    assert.are.same(fields, csv.split(csv.join(fields)))
  end)
end)
