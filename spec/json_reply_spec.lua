-- What wire takes for JSON: RFC 8259, section by section, as rows that must be taken, rows that
-- must be refused, and rows that the RFC leaves to its reader. A value stands in an answer that
-- says OK; so taken means delivered, and refused means that nobody knows whether it was.

local core = require "imattr.core"
local strict = require "fuzz.strict"
local wire = require "imattr.wire"

local function answer(value)
  return '{"ActionStatus":"OK","ErrorCode":0,"x":' .. value .. "}"
end

local function verdict_on(body)
  return wire.verdict { id = 1, status = "OK", may_have_arrived = true, http_status = 200,
    body = body }
end

-- A list of texts from words and a pattern: each("\\%s", "n t") -> "\n", "\t".
local function each(pattern, ...)
  local list = {}
  for _, word in ipairs { ... } do
    list[#list + 1] = (pattern:gsub("%%s", function() return word end))
  end
  return list
end

local function joined(...)
  local all = {}
  for _, list in ipairs { ... } do
    for _, text in ipairs(list) do
      all[#all + 1] = text
    end
  end
  return all
end

-- ---- values that must be taken

-- section 6: text, number
local NUMBERS = {
  { "0", 0 }, { "-0", 0 }, { "1", 1 }, { "-1", -1 }, { "9", 9 }, { "10", 10 }, { "-10", -10 },
  { "100", 100 }, { "1234567890", 1234567890 }, { "0.0", 0 }, { "-0.0", 0 }, { "0.5", 0.5 },
  { "-0.5", -0.5 }, { "1.5", 1.5 }, { "10.25", 10.25 }, { "0.00001", 0.00001 },
  { "3.141592653589793", 3.141592653589793 }, { "1e1", 10 }, { "1E1", 10 }, { "1e+1", 10 },
  { "1E+1", 10 }, { "1e-1", 0.1 }, { "1E-1", 0.1 }, { "0e0", 0 }, { "0E0", 0 }, { "-0e-0", 0 },
  { "1e01", 10 }, { "1e00", 1 }, { "1.5e2", 150 }, { "-1.5E-2", -0.015 }, { "0.1e1", 1 },
  { "1e22", 1e22 }, { "123.456e78", 123.456e78 }, { "9007199254740992", 9007199254740992 },
  { "-9007199254740992", -9007199254740992 }, { "1e308", 1e308 }, { "1e-400", 0 },
  { "0." .. ("0"):rep(80) .. "1", 1e-81 }, { ("1"):rep(30), tonumber(("1"):rep(30) .. ".0") },
}

-- section 7: what stands between the quotes, text
local STRINGS = {
  { "", "" }, { "a", "a" }, { " ", " " }, { "abc def", "abc def" }, { '\\"', '"' },
  { "\\\\", "\\" }, { "\\/", "/" }, { "/", "/" }, { "\\b", "\b" }, { "\\f", "\f" }, { "\\n", "\n" },
  { "\\r", "\r" }, { "\\t", "\t" }, { '\\\\\\"', '\\"' }, { "\\\\n", "\\n" }, { "\\u0041", "A" },
  { "\\u000a", "\n" }, { "\\u000A", "\n" }, { "\\u0000", "\0" }, { "a\\u0000b", "a\0b" },
  { "\\u001f", "\31" }, { "\\u0022", '"' }, { "\\u005c", "\\" }, { "\\u007F", "\127" },
  { "\\u0080", "\194\128" }, { "\\u00e9", "\195\169" }, { "\\u00E9", "\195\169" },
  { "\\u07ff", "\223\191" }, { "\\u0800", "\224\160\128" }, { "\\u5927", "\229\164\167" },
  { "\\ud7ff", "\237\159\191" }, { "\\ue000", "\238\128\128" }, { "\\uffff", "\239\191\191" },
  { "\\ufeff", "\239\187\191" }, { "\\u2028", "\226\128\168" },
  { "\\ud800\\udc00", "\240\144\128\128" }, { "\\uD83D\\uDE00", "\240\159\152\128" },
  { "\\udbff\\udfff", "\244\143\191\191" }, { "\127", "\127" }, { "\194\128", "\194\128" },
  { "\195\169", "\195\169" }, { "\229\164\167", "\229\164\167" }, { "\226\128\168",
  "\226\128\168" },
  { "\239\191\191", "\239\191\191" }, { "\240\159\152\128", "\240\159\152\128" },
  { "\244\143\191\191", "\244\143\191\191" }, { "[{,:]}", "[{,:]}" }, { "true", "true" },
  { "// no comment", "// no comment" }, { "'", "'" }, { "\\u00e9\\n\\\\u", "\195\169\n\\u" },
}

-- sections 2 to 5: text alone
local VALUES = {
  "true", "false", "null", "[]", "{}", "[ ]", "{ }", "[[]]", "[{}]", '{"":0}', '{"":{}}', "[1]",
  "[1,2]", "[ 1 , 2 ]", "[null]", "[1,null,2]", '["a","b"]', "[[],[]]", "[1,[2,[3,[4]]]]",
  '{"a":1}', '{ "a" : 1 }', '{"a":1,"b":2}', '{"a":{"b":{"c":[]}}}', '{"\\u0061":1}',
  '{"a\\"b":1}', "\t1", "1\t", "\n1\n", "\r1\r", " \t\n\r1 \t\n\r", "[\n1\n,\n2\n]",
  '{\n"a"\r\n:\t1 }', ("["):rep(10) .. ("]"):rep(10), ('{"a":'):rep(10) .. "1" .. ("}"):rep(10),
  "[" .. ("0,"):rep(500) .. "0]", '"' .. ("x"):rep(5000) .. '"',
}

-- ---- values that must be refused

-- section 6
local NO_NUMBERS = {
  "+1", "-", "+", "--1", "-+1", "00", "01", "-00", "-01", "012", "00.5", "-012.5", ".", ".5", "-.5",
  "+.5", "1.", "-1.", "0.", "1.e1", "1.E5", ".e1", "1..5", "1.5.5", "1e", "1E", "1e+", "1e-",
  "1.5e", "0e", "0e+", "e1", "E1", "1e1.5", "1ee1", "1e+-1", "1e1e1", "1 000", "1,000", "1_000",
  "1'000", "0x1", "0X1F", "-0x1", "0x", "0b1", "0o7", "1a", "1f", "1L", "1e5x", "- 1", "1 .5",
  "1. 5",
  "1 e5", "NaN", "nan", "-NaN", "+NaN", "Infinity", "-Infinity", "+Infinity", "Inf", "inf", "-inf",
  "infinity", "INF", "1#INF", "\239\188\145", "1\194\160", "$1", "1%", "(1)", "1/2", "1+1", "2**3",
}

-- section 3
local NO_WORDS = {
  "True", "TRUE", "tRue", "tru", "truee", "true1", "t", "False", "FALSE", "fals", "falsee", "f",
  "Null", "NULL", "nul", "nulll", "n", "nil", "none", "None", "undefined", "yes", "a", "abc",
  "true false", "truefalse", "null,", "true\0", "*", "\\u0074rue", "`a`", "'a'", "''", "\194\171",
}

-- section 7: whole strings
local NO_STRINGS = joined(
  { '"', '"a', 'a"', '"a""b"', '"a" "b"', '"\\"', '"\\', '"\\\\\\"', '""a', '"a\\', '"\0"',
    '"a\0b"', '"\\u"', '"\\u1"', '"\\u12"', '"\\u123"', '"\\u123g"', '"\\ug123"', '"\\u 123"',
    '"\\u-123"', '"\\u+123"', '"\\u00\\n0"', '"\\U0041"', '"\\u{41}"', '"\\x41"', '"\\101"',
    '"\\ud800\\u"', '"\\ud800\\u1"', '"\\ud800\\ug000"', '"\\uD834\\u12"', '"\\\226\130\172"' },
  each('"\\%s"', "a", "c", "d", "e", "v", "z", "0", "1", "8", "'", "`", " ", "(", "N", "T", "x",
    "B", "F", "R", "\n", "\t", "\1", "\127", "\195\169"))
for byte = 1, 31 do
  NO_STRINGS[#NO_STRINGS + 1] = ('"a%sb"'):format(string.char(byte))
end

-- sections 2, 4 and 5
local NO_VALUES = joined(
  { "", " ", "[", "]", "[[]", "[]]", "[1", "1]", "[1,", "[,", "[,]", "[1,]", "[,1]", "[1,,2]",
    "[,,]",
    "[1 2]", "[1:2]", "[1;2]", "[1}", "[}", "[1,2", "[1,2,", '["a"', '["a",', '["a', "[1 true]",
    "[[1]", "[1]]", "[a]", "[-]", "[1,]2", "[\"a\":1]", "[...]", "[*]", "(1)", "<1>", "[1]x" },
  { "{", "}", "{{}}", "{}}", "{,}", '{"a"}', '{"a":}', '{"a":1', '{"a":1,', '{"a":1,}', '{,"a":1}',
    '{"a":1,,"b":2}', '{"a":1 "b":2}', '{"a":1;"b":2}', '{"a" 1}', '{"a"=1}', '{"a"=>1}',
    '{"a"::1}',
    '{"a",1}', '{"a":1:2}', "{a:1}", "{'a':1}", "{1:1}", "{null:1}", "{true:1}", "{[]:1}", "{{}:1}",
    '{"a":1]', '{"a', '{"a"', '{"a":', '{"a":"b', '{:1}', '{"":', '{"a":1}{', '{"a":b}', '{"a"b:1}',
    '{"a":"b"c}', '{"a":1,"b"}', '{"a":1,2}', '{"a":1,b:2}', "{\"a\"\0:1}" },
  { "// no\n1", "1 // no", "/* no */1", "1/* no */", "[1/**/,2]", "# no\n1", "1 # no", "<!-- -->1",
    "--1", ";", "1;" },
  each("%s1", "\11", "\12", "\0", "\127", "\194\133", "\194\160", "\226\128\168", "\227\128\128",
    "\239\187\191", "\\n", "&nbsp;"),
  each("1%s", "\11", "\12", "\127", "\194\133", "\194\160", "\226\128\169", "\239\187\191", "\\n"))

-- ---- whole bodies

local OK = answer("1")

local BODIES = {
  OK, " " .. OK, OK .. " ", "\n" .. OK .. "\n", "\t\r\n " .. OK .. " \r\n\t",
  '{"ActionStatus":"OK","ErrorCode":0}', '{"ErrorCode":0,"ActionStatus":"OK"}',
  '{ "ActionStatus" : "OK" , "ErrorCode" : 0 }', '{"ActionStatus":"OK","ErrorCode":-0}',
  '{"ActionStatus":"OK","ErrorCode":0.0}', '{"ActionStatus":"OK","ErrorCode":0e9}',
  '{"ActionStatus":"\\u004fK","ErrorCode":0}', '{"Action\\u0053tatus":"OK","ErrorCode":0}',
}

-- JSON or not: none of these says OK.
local NO_BODIES = {
  "", " ", "\n", "\0", OK .. "\0", OK .. "\0\0", OK .. "\0" .. OK, OK .. "\0x", OK .. "x", OK .. OK,
  OK .. "," .. OK, OK .. ",", OK .. "}", OK .. "]", OK .. "\n" .. OK, "[" .. OK, "[" .. OK .. "]",
  "{" .. OK .. "}", "(" .. OK .. ")", "callback(" .. OK .. ")", ")]}'\n" .. OK, "\12" .. OK,
  OK .. "\12", "\0" .. OK, '"' .. OK:gsub('"', '\\"') .. '"', "OK", '"OK"', "0", "null", "true",
  "[]",
  "{}", OK:sub(1, -2), OK:sub(2), OK:gsub('"', "'"), OK:gsub(":", "="), OK:gsub(".", "%0\0"),
  "\255\254" .. OK:gsub(".", "%0\0"), "\254\255" .. OK:gsub(".", "\0%0"), OK:gsub(".", "\0%0"),
  OK:gsub(".", "%0\0\0\0"), "\254\255" .. OK, "\31\139\8\0" .. OK, "HTTP/1.1 200 OK\r\n\r\n" .. OK,
  '{"ActionStatus":"OK","ErrorCode":00}', '{"ActionStatus":"OK","ErrorCode":0x0}',
  '{"ActionStatus":"OK","ErrorCode":0.}', '{"ActionStatus":"OK","ErrorCode":-}',
  '{"ActionStatus":"OK","ErrorCode":+0}', '{"ActionStatus":"OK","ErrorCode":false}',
  '{"ActionStatus":"OK","ErrorCode":null}', '{"ActionStatus":"OK","ErrorCode":""}',
  '{"ActionStatus":"OK\\u0000","ErrorCode":0}', '{"ActionStatus":["OK"],"ErrorCode":0}',
  '{"x":{"ActionStatus":"OK","ErrorCode":0}}',
}

-- ---- what the RFC leaves to its reader

local FREE = joined(
  -- section 7: escapes that are no character
  each('"%s"', "\\ud800", "\\udbff", "\\udc00", "\\udfff", "\\ud800a", "\\ud800\\u0041",
    "\\ud800\\ud800", "\\udc00\\ud800", "\\ud83d\\n", "a\\ud800", "\\uD83D\\uD83D\\uDE00"),
  -- section 8.1: bytes that are not UTF-8
  each('"%s"', "\128", "\191", "\192\128", "\193\191", "\195", "\195(", "\224\159\191", "\229\164",
    "\237\160\128", "\237\191\191", "\240\143\191\191", "\240\159\152", "\244\144\128\128",
    "\245\128\128\128", "\248\136\128\128\128", "\252\132\128\128\128\128", "\254", "\255", "\233"),
  -- section 6: what no double holds
  { "1e309", "-1e309", "1e400", "1e99999", ("9"):rep(400), "[1e400,-1e400]" },
  -- section 4: a name twice; section 9: how deep
  { '{"a":1,"a":2}', '{"a":1,"a":1}', '{"a":1,"\\u0061":2}', ("["):rep(17) .. ("]"):rep(17),
    ("["):rep(500) .. ("]"):rep(500), ('{"a":'):rep(100) .. "1" .. ("}"):rep(100) })

-- ----

local function assert_delivered(body)
  local verdict = verdict_on(body)
  assert.equal("delivered", verdict.kind, body)
  assert.is_true((strict.read(body)), body)
  return verdict.object.x
end

local function assert_refused(body)
  local verdict = verdict_on(body)
  assert.same({ "retry", core.statuses.BAD_REPLY.code }, { verdict.kind, verdict.code }, body)
end

describe("JSON in a reply", function()
  it("has the rows it should have", function()
    local taken = #NUMBERS + #STRINGS + #VALUES + #BODIES
    local refused = #NO_NUMBERS + #NO_WORDS + #NO_STRINGS + #NO_VALUES + #NO_BODIES
    assert.is_true(taken >= 135, taken .. " rows to be taken")
    assert.is_true(refused >= 330, refused .. " rows to be refused")
    assert.is_true(#FREE >= 42, #FREE .. " free rows")
  end)

  it("may have every number there is", function()
    for _, case in ipairs(NUMBERS) do
      assert.equal(case[2], assert_delivered(answer(case[1])), case[1])
    end
  end)

  it("may have every string there is", function()
    for _, case in ipairs(STRINGS) do
      assert.equal(case[2], assert_delivered(answer('"' .. case[1] .. '"')), case[1])
    end
  end)

  it("may have arrays, objects and white space", function()
    for _, value in ipairs(VALUES) do
      assert_delivered(answer(value))
    end
  end)

  it("may be written in any way that says OK", function()
    for _, body in ipairs(BODIES) do
      assert_delivered(body)
    end
  end)

  local refused = { { "a number that is none", NO_NUMBERS }, { "a word that is none", NO_WORDS },
    { "a string that is none", NO_STRINGS }, { "an array or object that is none", NO_VALUES } }
  for _, group in ipairs(refused) do
    it("is none with " .. group[1], function()
      for _, value in ipairs(group[2]) do
        assert_refused(answer(value))
        assert.is_false((strict.read(answer(value))), value)
      end
    end)
  end

  it("is the whole body, and an object that says OK", function()
    for _, body in ipairs(NO_BODIES) do
      assert_refused(body)
    end
  end)

  it("is cut nowhere", function()
    local body = answer('{"a":[1.5e+3,"\\u00e9\\n",true,null]}')
    assert_delivered(body)
    for length = 0, #body - 1 do
      assert_refused(body:sub(1, length))
    end
  end)

  it("may be doubtful, which harms nobody", function()
    for _, value in ipairs(FREE) do
      local verdict = verdict_on(answer(value))
      local _, _, free = strict.read(answer(value))
      assert.is_true(free, value)
      assert.is_true(verdict.kind == "delivered" or verdict.kind == "retry", value)
    end
  end)
end)
