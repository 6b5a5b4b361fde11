-- The NDJSON reader: inputs and what comes out of them, each fed whole and in pieces of 1, 2, 3 and
-- 7 bytes; the answer must be the same.
local ndjson = require "imattr.cli.ndjson"

local function pieces(text, size)
  local at = 1
  return function()
    if at > #text then return nil end
    local piece = text:sub(at, at + size - 1)
    at = at + size
    return piece
  end
end

local function described(row)
  if row.code then
    return ("%d:%s %s %s"):format(row.line, row.account or "-", row.code, row.message)
  end
  local values = {}
  for name, value in pairs(row.attrs) do
    assert.are.equal("string", type(value))
    values[#values + 1] = name .. "=" .. value
  end
  table.sort(values)
  return ("%d:%s %s"):format(row.line, row.account, table.concat(values, " "))
end

local function rows_of(text, size)
  local reader, rows = ndjson.open(pieces(text, size)), {}
  for row in function() return (reader:next()) end do rows[#rows + 1] = described(row) end
  return rows
end

local function read(text, sizes)
  local whole = rows_of(text, math.max(#text, 1))
  for _, size in ipairs(sizes or { 1, 2, 3, 7 }) do
    assert.are.same(whole, rows_of(text, size))
  end
  return whole
end

local GOOD = '{"To_Account":"a","Attrs":{"sex":"m"}}'

describe("the ndjson reader", function()
  local cases = {
    { "nothing", "", {} },
    { "a line", GOOD .. "\n", { "1:a sex=m" } },
    { "a line without its newline", GOOD, { "1:a sex=m" } },
    { "CRLF", GOOD .. "\r\n" .. GOOD .. "\r\n", { "1:a sex=m", "2:a sex=m" } },
    { "blank lines, which count", "\n" .. GOOD .. "\n\r\n \t\n" .. GOOD .. "\n\n", { "2:a sex=m",
      "5:a sex=m" } },
    { "a byte order mark", "\239\187\191" .. GOOD .. "\n", { "1:a sex=m" } },
    { "blanks around the object", "  " .. GOOD .. "  \n", { "1:a sex=m" } },
    { "escapes", '{"To_Account":"\\u00e9\\n","Attrs":{"s\\"x":"\\ud83d\\ude00"}}',
      { '1:é\n s"x=😀' } },
    { "integers as text",
      '{"To_Account":"a","Attrs":{"n":34,"m":-7,"z":0,"b":9007199254740991,"f":34.0}}',
      { "1:a b=9007199254740991 f=34 m=-7 n=34 z=0" } },
    { "no attributes, for the screening", '{"To_Account":"a","Attrs":{}}', { "1:a " } },
    { "an empty account, for the screening", '{"To_Account":"","Attrs":{"x":"1"}}', { "1: x=1" } },
    { "members of other names",
      '{"line":7,"To_Account":"a","code":"X","Attrs":{"x":"1"},"reason":"y"}',
      { "1:a x=1" } },
    { "Latin-1, for the screening", '{"To_Account":"a","Attrs":{"x":"\252"}}', { "1:a x=\252" } },
  }
  for _, case in ipairs(cases) do
    it("reads " .. case[1], function()
      assert.are.same(case[3], read(case[2]))
    end)
  end

  local refused = {
    { "null", '{"To_Account":"a","Attrs":{"x":null}}',
      "a BAD_VALUE attribute x: null, must be a string" },
    { "booleans", '{"To_Account":"a","Attrs":{"x":true}}',
      "a BAD_VALUE attribute x: boolean, must be a string" },
    { "fractions", '{"To_Account":"a","Attrs":{"x":1.5}}',
      "a BAD_VALUE attribute x: 1.5, must be a string or an integer" },
    { "objects", '{"To_Account":"a","Attrs":{"x":{}}}',
      "a BAD_VALUE attribute x: object or array, must be a string" },
    { "numbers that would lose digits", '{"To_Account":"a","Attrs":{"x":12345678901234567890}}',
      "a BAD_VALUE attribute x: number beyond 2^53, must be a string to keep its digits" },
    { "a list of attributes", '{"To_Account":"a","Attrs":["x"]}',
      "a BAD_VALUE Attrs: array, must be an object" },
    { "Attrs that are null", '{"To_Account":"a","Attrs":null}',
      "a BAD_SHAPE Attrs: null, must be an object" },
    { "Attrs that are text", '{"To_Account":"a","Attrs":"x"}',
      "a BAD_SHAPE Attrs: string, must be an object" },
    { "no Attrs", '{"To_Account":"a"}', "a BAD_SHAPE Attrs: missing" },
    { "no To_Account", '{"Attrs":{"x":"1"}}', "- BAD_SHAPE To_Account: missing" },
    { "a number for To_Account", '{"To_Account":5,"Attrs":{"x":"1"}}',
      "- BAD_SHAPE To_Account: number, must be a string" },
    { "null for To_Account", '{"To_Account":null,"Attrs":{}}',
      "- BAD_SHAPE To_Account: null, must be a string" },
    { "a list", "[1,2]", "- BAD_SHAPE line: not a JSON object" },
    { "null alone", "null", "- BAD_SHAPE line: not a JSON object" },
    { "text alone", '"x"', "- BAD_SHAPE line: not a JSON object" },
    { "what is no JSON", "{To_Account}",
      "- BAD_JSON JSON: Expected object key string but found invalid token at character 2" },
    { "text after the object", GOOD .. GOOD,
      "- BAD_JSON JSON: Expected the end but found T_OBJ_BEGIN at character 39" },
    { "half an object", GOOD:sub(1, 20),
      "- BAD_JSON JSON: Expected object key string but found unexpected end of string "
        .. "at character 21" },
    { "NaN", '{"To_Account":"a","Attrs":{"x":NaN}}',
      "- BAD_JSON JSON: Expected value but found invalid token at character 32" },
    { "deep nests", ("["):rep(5000),
      "- BAD_JSON JSON: Found too many nested data structures (17) at character 17" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1] .. " and goes on", function()
      local rows = read(case[2] .. "\n" .. GOOD .. "\n")
      assert.are.same({ "1:" .. case[3], "2:a sex=m" }, rows)
    end)
  end

  it("refuses bytes that are NUL and goes on", function()
    local rows = read('{"To_Account":"a\0"}\n' .. GOOD .. "\n")
    assert.are.equal(2, #rows)
    assert.truthy(rows[1]:find("^1:%- BAD_JSON "))
    assert.are.equal("2:a sex=m", rows[2])
  end)

  it("takes a line of 1 MiB and refuses a byte more", function()
    local room = ndjson.LINE_BYTES_MAX - #'{"To_Account":"a","Attrs":{"x":""}}'
    local function line(bytes)
      return '{"To_Account":"a","Attrs":{"x":"' .. ("y"):rep(bytes) .. '"}}\n'
    end
    local rows = read(line(room) .. line(room + 1) .. GOOD, { 65536, 1000003 })
    assert.are.equal(#("1:a x=") + room, #rows[1])
    assert.are.equal("2:- ROW_TOO_LONG line: over 1048576 bytes, limit 1048576", rows[2])
    assert.are.equal("3:a sex=m", rows[3])
  end)

  it("keeps the text of every line", function()
    local reader = ndjson.open(pieces(GOOD .. " \r\n{bad\n", 3))
    assert.are.equal(GOOD, reader:next().raw)
    assert.are.equal("{bad", reader:next().raw)
  end)

  it("hands on that reading failed", function()
    local reader = ndjson.open(function() return nil, "Is a directory" end)
    local row, message = reader:next()
    assert.is_nil(row)
    assert.are.equal("Is a directory", message)
  end)

  it("leaves the settings of cjson alone", function()
    assert.truthy(require("cjson").decode("[NaN]"))
  end)

  -- Where names alone are wanted.
  local names = {
    { '["sex","city"]', "1:a city= sex=" },
    { '["sex","sex"]', "1:a sex=" },
    { '{"sex":"m","city":null}', "1:a city= sex=" },
    { '{"sex":{"deep":[]}}', "1:a sex=" },
    { "[]", "1:a " },
    { "{}", "1:a " },
    { "[1]", "1:a BAD_VALUE Attrs: number, must be an attribute's name" },
    { '["sex",null]', "1:a BAD_VALUE Attrs: null, must be an attribute's name" },
    { '[["sex"]]', "1:a BAD_VALUE Attrs: object or array, must be an attribute's name" },
    { '"sex"', "1:a BAD_SHAPE Attrs: string, must be an object" },
    { "null", "1:a BAD_SHAPE Attrs: null, must be an object" },
  }
  for _, case in ipairs(names) do
    it("takes names alone of " .. case[1], function()
      local text = '{"To_Account":"a","Attrs":' .. case[1] .. "}\n"
      local reader = ndjson.open(pieces(text, 7), { takes_names = true })
      assert.are.equal(case[2], described((reader:next())))
    end)
  end
end)
