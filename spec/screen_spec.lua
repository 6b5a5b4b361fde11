-- Screening and rendering: which updates are refused before they are sent, in which words, and that
-- what is sent decodes to what was given.

local cjson = require("cjson").new()
local core = require "imattr.core"
local virtual = require "support.virtual"

local SET, REMOVE, ACCOUNTS = 1, 2, 3
local WORD = "中" -- three bytes

local function new_engine(changes)
  local config = virtual.config(changes)
  config.lanes = { { shape = "set" }, { shape = "remove" }, { shape = "accounts" } }
  return core.engine(config)
end

-- Pushes one update: nil, code, message when it is refused, else the decoded body.
local function screen(lane, account, attrs, changes)
  local engine = new_engine(changes)
  local ticket, code, message, refused = engine:push(lane, account, attrs)
  if not ticket then
    assert.equal(1, refused)
    assert.equal(1, engine:counts().invalid)
    assert.is_nil(engine:result())
    return nil, code, message
  end
  engine:flush(true)
  local _, _, _, body = engine:next(0)
  return cjson.decode(body), nil, nil, body
end

local function assert_sent(lane, account, attrs, changes)
  local object, code, message = screen(lane, account, attrs, changes)
  assert(object, message)
  assert.is_nil(code)
  return object.UserAttrs[1]
end

local function assert_refused(wanted_code, wanted_message, ...)
  local object, code, message = screen(...)
  assert.is_nil(object)
  assert.equal(wanted_code, code)
  assert.equal(wanted_message, message)
end

local function attrs_of(count)
  local attrs = {}
  for i = 1, count do attrs["a" .. i] = tostring(i) end
  return attrs
end

local function names_of(count)
  local names = {}
  for i = 1, count do names[i] = "a" .. i end
  return names
end

describe("an account", function()
  for _, case in ipairs {
    { "32 bytes", ("a"):rep(32) }, { "32 bytes of CJK", WORD:rep(10) .. "ab" }, { "one byte", "a" },
    { "spaces", "  " }, { "digits", "0123" }, { "a quote", 'a"b\\' },
    { "U+10FFFF", "\244\143\191\191" },
  } do
    it("may be " .. case[1], function()
      assert.equal(case[2], assert_sent(SET, case[2], { x = "1" }).To_Account)
    end)
  end

  for _, case in ipairs {
    { "", "ACCOUNT_EMPTY", "account: empty" },
    { ("a"):rep(33), "ACCOUNT_TOO_LONG", "account: 33 bytes, limit 32" },
    { WORD:rep(11), "ACCOUNT_TOO_LONG", "account: 33 bytes, limit 32" },
    { ("a"):rep(100000), "ACCOUNT_TOO_LONG", "account: 100000 bytes, limit 32" },
    { "ab\255", "NOT_UTF8", "account: not valid UTF-8 at byte 3" },
    { "a\0b", "NUL_BYTE", "account: a NUL at byte 2" },
    { "\0", "NUL_BYTE", "account: a NUL at byte 1" },
    { false, "ACCOUNT_TYPE", "account: a boolean, wants a string" },
    { 12345, "ACCOUNT_TYPE", "account: a number, wants a string" },
    { {}, "ACCOUNT_TYPE", "account: a table, wants a string" },
    { print, "ACCOUNT_TYPE", "account: a function, wants a string" },
    { cjson.null, "ACCOUNT_TYPE", "account: null, wants a string" },
    { io.stdout, "ACCOUNT_TYPE", "account: an object, wants a string" },
    { coroutine.create(print), "ACCOUNT_TYPE", "account: an object, wants a string" },
  } do
    it(("is refused in every lane: %s (%s)"):format(case[2], case[3]), function()
      assert_refused(case[2], case[3], SET, case[1], { x = "1" })
      assert_refused(case[2], case[3], REMOVE, case[1], { "x" })
      assert_refused(case[2], case[3], ACCOUNTS, case[1])
    end)
  end

  it("is refused when there is none", function()
    assert_refused("ACCOUNT_TYPE", "account: nothing, wants a string", SET, nil, { x = "1" })
    assert.equal("ACCOUNT_TYPE", select(2, new_engine():push(SET)))
  end)

  it("has the limit of the engine", function()
    assert_sent(SET, ("a"):rep(36), { x = "1" }, { account_bytes_max = 36 })
    assert_refused("ACCOUNT_TOO_LONG", "account: 37 bytes, limit 36", SET, ("a"):rep(37),
      { x = "1" }, { account_bytes_max = 36 })
  end)
end)

describe("attributes", function()
  it("may be ten", function()
    assert.same(attrs_of(10), assert_sent(SET, "a", attrs_of(10)).Attrs)
    assert.same(names_of(10), assert_sent(REMOVE, "a", names_of(10)).Attrs)
  end)

  it("may be looked at in any order, and are left as they are", function()
    local attrs = { a = 1, b = "2", c = "3" }
    assert_sent(SET, "a", attrs)
    assert.same({ a = 1, b = "2", c = "3" }, attrs)
    assert.equal("number", type(attrs.a))
  end)

  for _, case in ipairs {
    { SET, attrs_of(11), "TOO_MANY_ATTRS", "attributes: more than the limit of 10" },
    { REMOVE, names_of(11), "TOO_MANY_ATTRS", "attributes: more than the limit of 10" },
    { SET, attrs_of(1000), "TOO_MANY_ATTRS", "attributes: more than the limit of 10" },
    { SET, {}, "ATTRS_EMPTY", "attributes: none given" },
    { REMOVE, {}, "ATTRS_EMPTY", "attributes: none given" },
    { REMOVE, { sex = "1" }, "ATTRS_EMPTY", "attributes: none given" },
    { SET, "sex", "ATTRS_TYPE", "attributes: a string, wants a table" },
    { SET, nil, "ATTRS_TYPE", "attributes: nothing, wants a table" },
    { REMOVE, "sex", "ATTRS_TYPE", "attributes: a string, wants a table" },
    { SET, 1, "ATTRS_TYPE", "attributes: a number, wants a table" },
    { SET, cjson.null, "ATTRS_TYPE", "attributes: null, wants a table" },
    { SET, true, "ATTRS_TYPE", "attributes: a boolean, wants a table" },
    { SET, { "sex" }, "NAME_TYPE", "attribute name: a number, wants a string" },
    { SET, { [true] = "1" }, "NAME_TYPE", "attribute name: a boolean, wants a string" },
    { SET, { [1.5] = "1" }, "NAME_TYPE", "attribute name: a number, wants a string" },
    { REMOVE, { 1 }, "NAME_TYPE", "attribute name: a number, wants a string" },
    { REMOVE, { {} }, "NAME_TYPE", "attribute name: a table, wants a string" },
    { REMOVE, { cjson.null }, "NAME_TYPE", "attribute name: null, wants a string" },
    { REMOVE, { print }, "NAME_TYPE", "attribute name: a function, wants a string" },
  } do
    it(("are refused (lane %d): %s"):format(case[1], case[4]), function()
      assert_refused(case[3], case[4], case[1], "a", case[2])
    end)
  end

  it("to remove count once when they are repeated", function()
    assert.same({ "a", "b" }, assert_sent(REMOVE, "u", { "a", "b", "a", "a", "b" }).Attrs)
  end)

  it("to remove may hold a repeated name beside ten", function()
    local names = names_of(10)
    names[11] = "a10"
    assert.same(names_of(10), assert_sent(REMOVE, "u", names).Attrs)
  end)

  it("do not matter where accounts travel alone", function()
    local object = screen(ACCOUNTS, "a", { [{}] = print })
    assert.same({ To_Account = { "a" } }, object)
  end)
end)

describe("an attribute's name", function()
  for _, name in ipairs { ("n"):rep(50), WORD:rep(16) .. "ab", 'a"b', " ", "0", "a\nb" } do
    it("may be " .. ("%q"):format(name):gsub("\\\n", "\\n"), function()
      assert.same({ [name] = "1" }, assert_sent(SET, "a", { [name] = "1" }).Attrs)
      assert.same({ name }, assert_sent(REMOVE, "a", { name }).Attrs)
    end)
  end

  local long = ("n"):rep(50)
  for _, case in ipairs {
    { "", "NAME_EMPTY", "attribute name: empty" },
    { long .. "!", "NAME_TOO_LONG",
      'attribute name "' .. long .. '": 51 bytes, limit 50' },
    { WORD:rep(17), "NAME_TOO_LONG",
      'attribute name "' .. WORD:rep(16) .. '": 51 bytes, limit 50' },
    { WORD:rep(3000), "NAME_TOO_LONG",
      'attribute name "' .. WORD:rep(16) .. '": 9000 bytes, limit 50' },
    { ("\t"):rep(51), "NAME_TOO_LONG",
      'attribute name "' .. ("?"):rep(50) .. '": 51 bytes, limit 50' },
    { "ab\255", "NOT_UTF8", "attribute name: not valid UTF-8 at byte 3" },
    { "a\0b", "NUL_BYTE", 'attribute name "a?b": a NUL at byte 2' },
  } do
    it("is refused: " .. case[3], function()
      assert_refused(case[2], case[3], SET, "a", { [case[1]] = "1" })
      assert_refused(case[2], case[3], REMOVE, "a", { case[1] })
    end)
  end

  it("is refused when the app has others", function()
    local known = { names = { "sex", "city" } }
    assert_sent(SET, "a", { sex = "1", city = "2" }, known)
    assert_refused("NAME_UNKNOWN", 'attribute name "Sex": not registered with the app', SET, "a",
      { Sex = "1" }, known)
    assert_refused("NAME_UNKNOWN", 'attribute name "sexy": not registered with the app', REMOVE,
      "a", { "sexy" }, known)
    assert_refused("NAME_UNKNOWN", 'attribute name "s??x": not registered with the app', SET, "a",
      { ["s\27\127x"] = "1" }, known)
    assert_refused("NAME_UNKNOWN", 'attribute name "se": not registered with the app', SET, "a",
      { se = "1" }, known)
  end)

  it("may be any when the app's names are not known, none when it has none", function()
    assert_sent(SET, "a", { anything = "1" })
    assert_refused("NAME_UNKNOWN", 'attribute name "anything": not registered with the app', SET,
      "a", { anything = "1" }, { names = {} })
  end)

  it("is screened anew for each user, as often as it was good before", function()
    local engine = new_engine { names = { "sex", "city", "a\nb" } }
    for i = 1, 50 do
      assert.equal(3 * i - 2, (engine:push(SET, "u" .. i, { city = "1", sex = "2" })))
      assert.equal("NAME_UNKNOWN", select(2, engine:push(SET, "u", { sax = "1", sex = "2" })))
      assert.equal(3 * i, (engine:push(REMOVE, "r" .. i, { "a\nb", "sex" })))
    end
    engine:flush(true)
    local _, _, _, body = engine:next(0)
    for _, user in ipairs(cjson.decode(body).UserAttrs) do
      assert.same({ city = "1", sex = "2" }, user.Attrs)
    end
    body = select(4, engine:next(0))
    assert.same({ "a\nb", "sex" }, cjson.decode(body).UserAttrs[50].Attrs)
  end)

  it("may be one of more than an app can have", function()
    local engine = new_engine()
    for i = 1, 200 do engine:push(SET, "u" .. i, { ["n" .. i % 23] = tostring(i) }) end
    for _ = 1, 2 do
      for _, user in ipairs(cjson.decode((select(4, engine:next(0)))).UserAttrs) do
        local i = tonumber(user.To_Account:sub(2))
        assert.same({ ["n" .. i % 23] = tostring(i) }, user.Attrs)
      end
    end
  end)

  it("is shown as question marks where it cannot be read", function()
    assert_refused("NAME_UNKNOWN", 'attribute name "?": not registered with the app', SET, "a",
      { ["\255"] = "1" }, { names = { "sex" } })
    assert_refused("NAME_TOO_LONG", 'attribute name "' .. ("?"):rep(50) .. '": 60 bytes, limit 50',
      SET, "a", { [("\255"):rep(60)] = "1" })
    assert_refused("VALUE_TYPE", 'value of "?": a boolean, wants a string or an integer', SET, "a",
      { ["\255"] = true })
  end)
end)

describe("a value", function()
  for _, case in ipairs {
    { "50 bytes", ("v"):rep(50) }, { "50 bytes of CJK", WORD:rep(16) .. "ab" }, { "empty", "" },
    { "quotes and backslashes", [["\"\\"]] }, { "DEL and U+0080", "\127\194\128" },
    { "every control character but NUL", "\1\2\3\4\5\6\7\8\9\10\11\12\13\14\15\16\17\18\19\20\21"
      .. "\22\23\24\25\26\27\28\29\30\31" },
    { "line separators", "\226\128\168\226\128\169" }, { "a slash", "</script>" },
    { "the edges of UTF-8", "\194\128\223\191\224\160\128\237\159\191\238\128\128\239\191\191"
      .. "\240\144\128\128\244\143\191\191" },
    { "a byte order mark", "\239\187\191x" }, { "like JSON", '{"a":[1]}' },
  } do
    it("may be " .. case[1], function()
      assert.equal(case[2], assert_sent(SET, "a", { x = case[2] }).Attrs.x)
    end)
  end

  it("may hold each byte of ASCII but NUL, in every field", function()
    for byte = 1, 127 do
      local text = "a" .. string.char(byte) .. "b"
      assert.same({ To_Account = text, Attrs = { [text] = text } },
        assert_sent(SET, text, { [text] = text }))
    end
  end)

  it("writes no control character as it is", function()
    local body = select(4, screen(SET, "a", { x = "\1\n\r\t\8\12\31" }))
    assert.is_nil(body:find("%c"))
    assert(body:find([["x":"\u0001\n\r\t\b\f\u001f"]], 1, true), body)
  end)

  local function tail(message) return 'value of "x": ' .. message end
  for _, case in ipairs {
    { ("v"):rep(51), "VALUE_TOO_LONG", tail "51 bytes, limit 50" },
    { WORD:rep(17), "VALUE_TOO_LONG", tail "51 bytes, limit 50" },
    { ("\n"):rep(100000), "VALUE_TOO_LONG", tail "100000 bytes, limit 50" },
    { "\0", "NUL_BYTE", tail "a NUL at byte 1" },
    { ("a"):rep(49) .. "\0", "NUL_BYTE", tail "a NUL at byte 50" },
    { true, "VALUE_TYPE", tail "a boolean, wants a string or an integer" },
    { false, "VALUE_TYPE", tail "a boolean, wants a string or an integer" },
    { {}, "VALUE_TYPE", tail "a table, wants a string or an integer" },
    { print, "VALUE_TYPE", tail "a function, wants a string or an integer" },
    { cjson.null, "VALUE_TYPE", tail "null, wants a string or an integer" },
    { io.stdout, "VALUE_TYPE", tail "an object, wants a string or an integer" },
    { 1.5, "VALUE_TYPE", tail "a fraction, wants a string or an integer" },
    { -0.1, "VALUE_TYPE", tail "a fraction, wants a string or an integer" },
  } do
    it("is refused: " .. case[3], function()
      assert_refused(case[2], case[3], SET, "a", { x = case[1] })
    end)
  end

  for _, case in ipairs {
    { 0, "0" }, { -0.0, "0" }, { 1, "1" }, { -17, "-17" }, { 1e3, "1000" },
    { 2 ^ 31, "2147483648" }, { 1e15, "1000000000000000" },
    { 2 ^ 53, "9007199254740992" }, { -2 ^ 53, "-9007199254740992" },
    { 2 ^ 53 - 1, "9007199254740991" },
  } do
    it("may be the integer " .. case[2], function()
      assert.equal(case[2], assert_sent(SET, "a", { x = case[1] }).Attrs.x)
    end)
  end

  it("is refused when it is no number, infinite, or a float beyond 2^53", function()
    for _, value in ipairs { 1 / 0, -1 / 0, 2 ^ 53 + 2, -2 ^ 53 - 2, 1e300 } do
      assert_refused("VALUE_TYPE", tail "a number beyond 2^53, wants a string or an integer", SET,
        "a", { x = value })
    end
    assert_refused("VALUE_TYPE", tail "not a number, wants a string or an integer", SET, "a",
      { x = 0 / 0 })
  end)

  it("may be any 64-bit integer where Lua has them", function()
    if not math.type then return end
    for _, digits in ipairs {
      "9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775808",
    } do
      local value = math.tointeger(tonumber(digits)) or math.mininteger
      assert.equal(digits, assert_sent(SET, "a", { x = value }).Attrs.x)
    end
  end)

  it("has the limit of the engine", function()
    assert_sent(SET, "a", { x = ("v"):rep(500) }, { value_bytes_max = 500 })
    assert_refused("VALUE_TOO_LONG", tail "3 bytes, limit 2", SET, "a", { x = WORD },
      { value_bytes_max = 2 })
  end)

  it("counts the digits of an integer", function()
    assert_refused("VALUE_TOO_LONG", tail "3 bytes, limit 2", SET, "a", { x = 100 },
      { value_bytes_max = 2 })
  end)
end)

describe("a list of users", function()
  local function user(account) return { To_Account = account, Attrs = { x = "1" } } end

  it("is pushed from the first to the last", function()
    local engine = new_engine()
    local users = { user "a", user "b", user "c", user "d" }
    assert.same({ 4 }, { engine:push_users(SET, users, 2, 3) })
    assert.same({ 1 }, { engine:push_users(SET, users, 1, 0) })
    engine:flush(true)
    local object = cjson.decode((select(4, engine:next(0))))
    assert.same({ user "b", user "c" }, object.UserAttrs)
  end)

  it("ends where the queue is full", function()
    local engine = new_engine { queue_max = 2 }
    assert.same({ 3 }, { engine:push_users(SET, { user "a", user "b", user "c" }, 1, 3) })
    assert.same({ 1 }, { engine:push_users(SET, { user "c" }, 1, 1) })
    assert.equal(2, engine:counts().users)
  end)

  for _, case in ipairs {
    { { To_Account = "a", Attrs = { x = true } }, "VALUE_TYPE",
      'value of "x": a boolean, wants a string or an integer' },
    { { To_Account = "a" }, "ATTRS_TYPE", "attributes: nothing, wants a table" },
    { { To_Account = "a", Attrs = {} }, "ATTRS_EMPTY", "attributes: none given" },
    { { Attrs = { x = "1" } }, "USER_TYPE",
      "the user is not a table with To_Account and Attrs" },
    { "a", "USER_TYPE", "the user is not a table with To_Account and Attrs" },
    { false, "USER_TYPE", "the user is not a table with To_Account and Attrs" },
    { cjson.null, "USER_TYPE", "the user is not a table with To_Account and Attrs" },
  } do
    it(("stops at one that is refused: %s, %s"):format(case[2], case[3]), function()
      local engine = new_engine()
      local users = { user "a", case[1], user "c" }
      assert.same({ 2, case[2], case[3], 2 }, { engine:push_users(SET, users, 1, 3) })
      assert.same({ 4 }, { engine:push_users(SET, users, 3, 3) })
      assert.equal(3, engine:counts().users)
      assert.equal(1, engine:counts().invalid)
    end)
  end

  it("may be asked for more than it has", function()
    local _, code = new_engine():push_users(SET, { user "a" }, 1, 2)
    assert.equal("USER_TYPE", code)
  end)
end)

describe("the longest update there can be", function()
  it("is written whole, and merges", function()
    local engine = new_engine { account_bytes_max = 255, value_bytes_max = 500 }
    local account, attrs = ("\1"):rep(255), {}
    for i = 1, 10 do attrs[("\2"):rep(49) .. i % 10] = ("\3"):rep(500) end
    engine:push(SET, account, attrs)
    engine:push(SET, account, attrs)
    engine:flush(true)
    local _, _, _, body, users = engine:next(0)
    assert.equal(1, users)
    assert.same({ { To_Account = account, Attrs = attrs } }, cjson.decode(body).UserAttrs)
    assert(#body > 30000, #body)
  end)
end)

describe("UTF-8", function()
  for _, case in ipairs {
    { "a lone continuation", "\128", 1 }, { "two lone continuations", "a\191\128", 2 },
    { "a lead alone", "\194", 1 }, { "a lead before ASCII", "\194a", 1 },
    { "a lead before a lead", "\194\194\128", 1 },
    { "overlong /, 2 bytes", "\192\175", 1 }, { "overlong NUL", "\192\128", 1 },
    { "overlong U+007F", "\193\191", 1 }, { "overlong, 3 bytes", "\224\128\175", 1 },
    { "overlong U+07FF", "\224\159\191", 1 }, { "overlong, 4 bytes", "\240\128\128\175", 1 },
    { "overlong U+FFFF", "\240\143\191\191", 1 }, { "the first surrogate", "\237\160\128", 1 },
    { "the last surrogate", "\237\191\191", 1 },
    { "a surrogate pair", "x\237\160\189\237\184\128", 2 },
    { "U+110000", "\244\144\128\128", 1 }, { "beyond it", "\245\128\128\128", 1 },
    { "5 bytes", "\248\136\128\128\128", 1 }, { "6 bytes", "\252\132\128\128\128\128", 1 },
    { "FE", "\254", 1 }, { "FF", "ok\255", 3 },
    { "3 bytes cut to 2", "ab\228\184", 3 }, { "3 bytes cut to 1", "ab\228", 3 },
    { "4 bytes cut to 3", "\240\159\152", 1 }, { "cut before ASCII", "\240\159\152a", 1 },
    { "a good one, then a bad one", "中\228\184", 4 }, { "Latin-1", "caf\233", 4 },
  } do
    it("refuses " .. case[1], function()
      local where = ": not valid UTF-8 at byte " .. case[3]
      assert_refused("NOT_UTF8", 'value of "x"' .. where, SET, "a", { x = case[2] })
      assert_refused("NOT_UTF8", "account" .. where, SET, case[2], { x = "1" })
      assert_refused("NOT_UTF8", "attribute name" .. where, SET, "a", { [case[2]] = "1" })
    end)
  end

  it("takes every length at the edge of what is there", function()
    for _, text in ipairs { "é", WORD, "😀" } do
      for cut = 1, #text do
        local object, code = screen(SET, "a", { x = text:sub(1, cut) })
        assert.equal(cut == #text and "nil" or "NOT_UTF8", tostring(code))
        assert.equal(cut == #text, object ~= nil)
      end
    end
  end)

  it("brings random text back as it was, or refuses it", function()
    local random = virtual.random(42)
    local pieces = { "a", '"', "\\", "\n", "é", WORD, "😀", "\31", "/", "\127", "\237\159\191" }
    for _ = 1, 2000 do
      local text = {}
      for i = 1, random(12) do text[i] = pieces[random(#pieces)] end
      text = table.concat(text)
      if #text <= 50 then assert.equal(text, assert_sent(SET, "a", { x = text }).Attrs.x) end
    end
  end)

  it("lets no byte soup through that cannot be read back", function()
    local random = virtual.random(43)
    for _ = 1, 5000 do
      local bytes = {}
      for i = 1, random(8) do bytes[i] = string.char(random(256) - 1) end
      local text = table.concat(bytes)
      local object, code = screen(SET, "a", { x = text })
      if object then
        assert.equal(text, object.UserAttrs[1].Attrs.x)
      else
        assert(code == "NOT_UTF8" or code == "NUL_BYTE", code)
      end
    end
  end)
end)
