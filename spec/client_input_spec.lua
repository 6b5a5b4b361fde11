-- The client's input: how many users, in which form, and which of them are refused before sending.

local app = require "support.app"
local cjson = require "cjson"
local core = require "imattr.core"
local sandbox = require "support.sandbox"

local server, client

-- What the sandbox saw of a command: { arrivals, accepted, users, ... }.
local function seen(command) return server:stats().commands[command or "im_set_attr"] end

-- A map of users by account.
local function map_of(list)
  local map = {}
  for _, user in ipairs(list) do map[user.To_Account] = user.Attrs end
  return map
end

describe("a client's input", function()
  setup(function()
    server = sandbox.start { key = app.KEY, limit = 0, attr_names = { "sex", "city", "a", "b",
      "c", "d", "e", "f", "g", "h" } }
  end)
  teardown(function() server:stop() end)
  before_each(function()
    server:reset()
    client = app.client(server)
  end)
  after_each(function() client:close() end)

  -- ---- how many

  it("goes in the fewest requests, whatever its length", function()
    local requests = { [1] = 1, [2] = 1, [99] = 1, [100] = 1, [101] = 2, [199] = 2, [200] = 2,
      [201] = 3, [250] = 3, [1000] = 10 }
    for count, expected in pairs(requests) do
      server:reset()
      local report, err = client:set_attr(app.users(count))
      assert.is_nil(err)
      assert.same({ users = count, done = count, requests = expected }, app.counts(report))
      assert.same({ true, 0, 0 }, { report.ok, #report.failures, report.failures_more })
      assert.truthy(report.seconds > 0 and report.seconds < 20)
      local stats = seen()
      assert.same({ expected, expected, count },
        { stats.arrivals, stats.accepted, stats.users })
    end
  end)

  it("of no users is a good report and no request", function()
    for _, users in ipairs { {}, function() return nil end } do
      for _, method in ipairs { "set_attr", "remove_attr" } do
        local report, err = client[method](client, users)
        assert.is_nil(err)
        assert.same({}, app.counts(report))
        assert.is_true(report.ok)
        assert.same({}, report.failures)
      end
    end
    local attributes, report = client:get_attr {}
    assert.same({}, attributes)
    assert.is_true(report.ok)
    for _, stats in pairs(server:stats().commands) do assert.equal(0, stats.arrivals) end
  end)

  it("of 100,000 users is done #slow", function()
    local count = 0
    local report = client:set_attr(function()
      count = count + 1
      if count <= 100000 then return "user" .. count, { city = "x" } end
    end)
    assert.same({ users = 100000, done = 100000, requests = 1000 }, app.counts(report))
    assert.same({ 1000, 100000, 0 }, { seen().accepted, seen().users, seen().randoms_repeated })
  end)

  it("runs in memory that does not grow with it #slow", function()
    local function run(users)
      local i = 0
      client:set_attr(function()
        i = i + 1
        if i <= users then return "user" .. i, { city = "x" } end
      end)
    end
    local function kilobytes()
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    run(2000)
    local before = kilobytes()
    run(30000)
    assert.truthy(kilobytes() - before < 200, kilobytes() - before)
  end)

  -- ---- forms

  it("is a list, a map or an iterator, all the same", function()
    local list = {}
    for i = 1, 120 do
      list[i] = { To_Account = "form" .. i, Attrs = { city = "Łódź " .. i, sex = i } }
    end
    for _, users in ipairs { list, map_of(list), app.iterator(list) } do
      client:remove_attr(map_of { { To_Account = "form1", Attrs = { "city", "sex" } } })
      local report = client:set_attr(users)
      assert.same({ users = 120, done = 120, requests = 2 }, app.counts(report))
      assert.same({ city = "Łódź 1", sex = "1" }, app.stored(client, "form1"))
      assert.same({ city = "Łódź 120", sex = "120" }, app.stored(client, "form120"))
    end
  end)

  it("is a coroutine as well", function()
    local report = client:set_attr(coroutine.wrap(function()
      for i = 1, 150 do coroutine.yield("co" .. i, { city = "x" }) end
    end))
    assert.same({ users = 150, done = 150, requests = 2 }, app.counts(report))
  end)

  it("may come from a coroutine around the call, which yields in its middle", function()
    local i = 0
    local call = coroutine.wrap(function()
      return client:set_attr(function()
        i = i + 1
        if i <= 120 then
          coroutine.yield("more, please")
          return "outer" .. i, { city = "x" }
        end
      end)
    end)
    for _ = 1, 120 do assert.equal("more, please", call()) end
    assert.same({ users = 120, done = 120, requests = 2 }, app.counts(call()))
  end)

  it("is left as it was", function()
    local list = app.users(3)
    local copy = app.users(3)
    client:set_attr(list)
    assert.same(copy, list)
  end)

  it("keeps every letter", function()
    local texts = { 'a "quoted" word', "back\\slash/slash", "tab\tnew\nline", "\1\31\127",
      "</script>", "张小红", "🦊", "e\204\129", "\u{2028}", "%s%n&=?#", "'; --", "", " " }
    local users = {}
    for i, text in ipairs(texts) do
      users[i] = { To_Account = "letters " .. i, Attrs = { city = text } }
    end
    local report = client:set_attr(users)
    assert.same({}, app.failures(report))
    for i, text in ipairs(texts) do
      assert.same({ city = text }, app.stored(client, "letters " .. i))
    end
    report = client:set_attr { ['"\\/张🦊\t'] = { city = "account" } }
    assert.same({}, app.failures(report))
    assert.same({ city = "account" }, app.stored(client, '"\\/张🦊\t'))
  end)

  it("may hold integers, which are written in decimal", function()
    local values = { [0] = "0", [7] = "7", [-12] = "-12", [2 ^ 31] = "2147483648", [3.0] = "3",
      [2 ^ 53 - 1] = "9007199254740991", [-2 ^ 53 + 1] = "-9007199254740991" }
    for value, text in pairs(values) do
      client:set_attr { integer = { city = value } }
      assert.same({ city = text }, app.stored(client, "integer"))
    end
  end)

  it("never changes an integer on its way", function()
    local value = math.tointeger and math.tointeger("9007199254740993") or 2 ^ 53
    local report = client:set_attr { exact = { city = value } }
    if report.done == 1 then
      assert.same({ city = ("%d"):format(value) }, app.stored(client, "exact"))
    end
  end)

  -- ---- the same account again

  it("may name an account twice: the later value wins, and both are done", function()
    local results = {}
    local report = client:set_attr({
      { To_Account = "twice", Attrs = { city = "first", sex = "kept" } },
      { To_Account = "other", Attrs = { city = "x" } },
      { To_Account = "twice", Attrs = { city = "second", a = "added" } },
    }, { on_result = function(result) results[result.index] = result end })
    assert.same({ users = 3, done = 3, merged = 1, requests = 1 }, app.counts(report))
    assert.same({ city = "second", sex = "kept", a = "added" }, app.stored(client, "twice"))
    for i = 1, 3 do assert.same({ i, "done" }, { results[i].index, results[i].fate }) end
    assert.equal("twice", results[3].account)
  end)

  it("may name an account ten thousand times #slow", function()
    server:settings { latency_ms = 5 }
    local i = 0
    local report = client:set_attr(function()
      i = i + 1
      if i <= 10000 then return "often", { city = tostring(i) } end
    end)
    server:settings { latency_ms = 0 }
    assert.equal(10000, report.done)
    assert.equal(10000, app.counts(report).users)
    assert.same({ city = "10000" }, app.stored(client, "often"))
    assert.same({}, seen().by_code) -- never twice in one request
  end)

  it("may name accounts twice to get_attr and remove_attr", function()
    client:set_attr { double = { city = "x", sex = "y" } }
    local attributes, report = client:get_attr { "double", "double" }
    assert.same({ double = { city = "x", sex = "y" } }, attributes)
    assert.same({ users = 2, done = 2, merged = 1, requests = 1 }, app.counts(report))
    report = client:remove_attr { { To_Account = "double", Attrs = { "city", "city" } },
      { To_Account = "double", Attrs = { "sex" } } }
    assert.same({ users = 2, done = 2, merged = 1, requests = 1 }, app.counts(report))
    assert.same({}, app.stored(client, "double"))
  end)

  -- ---- what is refused before sending

  local eleven = {}
  for i = 1, 11 do eleven["n" .. i] = "v" end

  -- a user, code, message
  local BAD_USERS = {
    { { To_Account = "x", Attrs = { city = ("v"):rep(51) } }, "VALUE_TOO_LONG",
      'value of "city": 51 bytes, limit 50' },
    { { To_Account = "x", Attrs = { city = ("张"):rep(17) } }, "VALUE_TOO_LONG",
      'value of "city": 51 bytes, limit 50' },
    { { To_Account = ("a"):rep(33), Attrs = { city = "v" } }, "ACCOUNT_TOO_LONG",
      "account: 33 bytes, limit 32" },
    { { To_Account = "", Attrs = { city = "v" } }, "ACCOUNT_EMPTY", "account: empty" },
    { { To_Account = 5, Attrs = { city = "v" } }, "ACCOUNT_TYPE",
      "account: a number, wants a string" },
    { { To_Account = true, Attrs = { city = "v" } }, "ACCOUNT_TYPE",
      "account: a boolean, wants a string" },
    { { To_Account = false, Attrs = { city = "v" } }, "ACCOUNT_TYPE",
      "account: a boolean, wants a string" },
    { { To_Account = {}, Attrs = { city = "v" } }, "ACCOUNT_TYPE",
      "account: a table, wants a string" },
    { { To_Account = cjson.null, Attrs = { city = "v" } }, "ACCOUNT_TYPE",
      "account: null, wants a string" },
    { { To_Account = "a\255b", Attrs = { city = "v" } }, "NOT_UTF8",
      "account: not valid UTF-8 at byte 2" },
    { { To_Account = "a\0b", Attrs = { city = "v" } }, "NUL_BYTE", "account: a NUL at byte 2" },
    { { Attrs = { city = "v" } }, "USER_TYPE",
      "the user is not a table with To_Account and Attrs" },
    { { to_account = "x", Attrs = { city = "v" } }, "USER_TYPE",
      "the user is not a table with To_Account and Attrs" },
    { {}, "USER_TYPE", "the user is not a table with To_Account and Attrs" },
    { "x", "USER_TYPE", "the user is not a table with To_Account and Attrs" },
    { 5, "USER_TYPE", "the user is not a table with To_Account and Attrs" },
    { false, "USER_TYPE", "the user is not a table with To_Account and Attrs" },
    { { To_Account = "x" }, "ATTRS_TYPE", "attributes: nothing, wants a table" },
    { { To_Account = "x", Attrs = "city" }, "ATTRS_TYPE", "attributes: a string, wants a table" },
    { { To_Account = "x", Attrs = cjson.null }, "ATTRS_TYPE", "attributes: null, wants a table" },
    { { To_Account = "x", Attrs = {} }, "ATTRS_EMPTY", "attributes: none given" },
    { { To_Account = "x", Attrs = eleven }, "TOO_MANY_ATTRS",
      "attributes: more than the limit of 10" },
    { { To_Account = "x", Attrs = { "city" } }, "NAME_TYPE",
      "attribute name: a number, wants a string" },
    { { To_Account = "x", Attrs = { [true] = "v" } }, "NAME_TYPE",
      "attribute name: a boolean, wants a string" },
    { { To_Account = "x", Attrs = { [""] = "v" } }, "NAME_EMPTY", "attribute name: empty" },
    { { To_Account = "x", Attrs = { [("n"):rep(51)] = "v" } }, "NAME_TOO_LONG",
      ('attribute name "%s": 51 bytes, limit 50'):format(("n"):rep(50)) },
    { { To_Account = "x", Attrs = { ["ci\0ty"] = "v" } }, "NUL_BYTE",
      'attribute name "ci?ty": a NUL at byte 3' },
    { { To_Account = "x", Attrs = { ["\200"] = "v" } }, "NOT_UTF8",
      "attribute name: not valid UTF-8 at byte 1" },
    { { To_Account = "x", Attrs = { city = true } }, "VALUE_TYPE",
      'value of "city": a boolean, wants a string or an integer' },
    { { To_Account = "x", Attrs = { city = { "v" } } }, "VALUE_TYPE",
      'value of "city": a table, wants a string or an integer' },
    { { To_Account = "x", Attrs = { city = 1.5 } }, "VALUE_TYPE",
      'value of "city": a fraction, wants a string or an integer' },
    { { To_Account = "x", Attrs = { city = cjson.null } }, "VALUE_TYPE",
      'value of "city": null, wants a string or an integer' },
    { { To_Account = "x", Attrs = { city = print } }, "VALUE_TYPE",
      'value of "city": a function, wants a string or an integer' },
    { { To_Account = "x", Attrs = { city = "\237\160\128" } }, "NOT_UTF8",
      'value of "city": not valid UTF-8 at byte 1' },
    { { To_Account = "x", Attrs = { city = ("张"):rep(16) .. "\229\188" } }, "NOT_UTF8",
      'value of "city": not valid UTF-8 at byte 49' },
    { { To_Account = "x", Attrs = { city = "a\0" } }, "NUL_BYTE",
      'value of "city": a NUL at byte 2' },
  }

  it("that is no good is invalid, with its place and the reason, and the rest is done", function()
    local users, results = {}, {}
    for i, case in ipairs(BAD_USERS) do
      users[2 * i - 1] = case[1]
      users[2 * i] = { To_Account = "good" .. i, Attrs = { city = "v" } }
    end
    local report, err = client:set_attr(users, { on_result = function(result)
      results[#results + 1] = result
    end })
    assert.is_nil(err)
    assert.same({ users = 2 * #BAD_USERS, done = #BAD_USERS, invalid = #BAD_USERS, requests = 1 },
      app.counts(report))
    assert.is_false(report.ok)
    for i, case in ipairs(BAD_USERS) do
      local given
      if type(case[1]) == "table" then given = case[1].To_Account end
      assert.same({ index = 2 * i - 1, account = given, fate = "invalid", code = case[2],
        message = case[3], attempts = 0 }, report.failures[i])
    end
    assert.equal(2 * #BAD_USERS, #results)
    assert.equal(#BAD_USERS, seen().users)
  end)

  it("of nothing but invalid users makes no request", function()
    local report, err = client:set_attr { { To_Account = "", Attrs = {} }, "x" }
    assert.is_nil(err)
    assert.same({ users = 2, invalid = 2 }, app.counts(report))
    assert.equal(0, seen().arrivals)
  end)

  it("may use every limit to the full", function()
    local ten = {}
    for _, name in ipairs { "sex", "city", "a", "b", "c", "d", "e", "f", "g", "h" } do
      ten[name] = ("v"):rep(50)
    end
    local users = {}
    for i = 1, 100 do users[("%032d"):format(i)] = ten end
    assert.same({ users = 100, done = 100, requests = 1 }, app.counts(client:set_attr(users)))
    assert.same(ten, app.stored(client, ("%032d"):format(100)))
  end)

  it("of a map takes keys that are no accounts for invalid users", function()
    local report = client:set_attr { good = { city = "x" }, [""] = { city = "x" },
      [true] = { city = "x" }, [7.5] = { city = "x" } }
    assert.same({ users = 4, done = 1, invalid = 3, requests = 1 }, app.counts(report))
  end)

  it("to remove_attr is screened alike", function()
    local cases = {
      { { "" }, "NAME_EMPTY", "attribute name: empty" },
      { { 5 }, "NAME_TYPE", "attribute name: a number, wants a string" },
      { {}, "ATTRS_EMPTY", "attributes: none given" },
      { { city = "x" }, "ATTRS_EMPTY", "attributes: none given" },
      { "city", "ATTRS_TYPE", "attributes: a string, wants a table" },
      { { "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11" }, "TOO_MANY_ATTRS",
        "attributes: more than the limit of 10" },
    }
    for _, case in ipairs(cases) do
      local report = client:remove_attr { x = case[1] }
      assert.same({ ("1 x invalid %s: %s"):format(case[2], case[3]) }, app.failures(report))
    end
    assert.equal(0, seen("im_remove_attr").arrivals)
  end)

  it("to get_attr is screened alike", function()
    local attributes, report = client:get_attr { "fine", "", 5, ("a"):rep(33), "a\255", false }
    assert.same({ fine = {} }, attributes)
    assert.same({
      "2  invalid ACCOUNT_EMPTY: account: empty",
      "3 5 invalid ACCOUNT_TYPE: account: a number, wants a string",
      "4 " .. ("a"):rep(33) .. " invalid ACCOUNT_TOO_LONG: account: 33 bytes, limit 32",
      "5 a\255 invalid NOT_UTF8: account: not valid UTF-8 at byte 2",
      "6 false invalid ACCOUNT_TYPE: account: a boolean, wants a string",
    }, app.failures(report))
  end)

  it("lists as many failures as asked, and counts those beyond", function()
    local users = {}
    for i = 1, 50 do users[i] = { To_Account = "", Attrs = {} } end
    for _, most in ipairs { 0, 1, 50, 51 } do
      local report = client:set_attr(users, { failures_max = most })
      local listed = math.min(most, 50)
      assert.same({ listed, 50 - listed }, { #report.failures, report.failures_more })
    end
    local thousand = client:set_attr(app.iterator(app.users(1001, {})))
    assert.same({ 1000, 1 }, { #thousand.failures, thousand.failures_more })
  end)

  it("costs little when all of it is invalid #timing", function()
    local i, started_us = 0, core.now_us()
    local report = client:set_attr(function()
      i = i + 1
      if i <= 100000 then return "", { city = "x" } end
    end)
    assert.equal(100000, report.invalid)
    assert.truthy(core.now_us() - started_us < 5e6)
  end)
end)
