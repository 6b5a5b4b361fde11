-- The client's requests as they stand on the wire, and its five commands.

local app = require "support.app"
local cjson = require("cjson").new()
local imattr = require "imattr"
local impostor = require "support.impostor"
local sandbox = require "support.sandbox"

local usersig = imattr.usersig

-- The sample request of the vendor's im_set_attr page.
local SAMPLE = [[
{
  "UserAttrs":
  [
    { "To_Account": "xiaojun012", "Attrs": { "sex": "attr1", "city": "attr2" } },
    { "To_Account": "xiaojun013", "Attrs": { "city": "attr3", "sex": "attr4" } }
  ]
}]]

local SAMPLE_USERS = {
  { To_Account = "xiaojun012", Attrs = { sex = "attr1", city = "attr2" } },
  { To_Account = "xiaojun013", Attrs = { city = "attr3", sex = "attr4" } },
}

-- ---- on the wire

describe("a client's request", function()
  local server, client

  setup(function() server = impostor.start() end)
  teardown(function() server:stop() end)
  before_each(function()
    server:says { app.YES }
    client = app.client(server)
  end)
  after_each(function() client:close() end)

  it("is the vendor's sample when it says the same", function()
    assert.is_true(client:set_attr(SAMPLE_USERS).ok)
    local requests = server:requests()
    assert.equal(1, #requests)
    assert.same(cjson.decode(SAMPLE), cjson.decode(requests[1].body))
    assert.equal("POST", requests[1].method)
    assert.equal("application/json", requests[1].headers["content-type"])
    assert.equal("/v4/all_member_push/im_set_attr", requests[1].uri:match("^[^?]+"))
  end)

  it("keeps the users of a list in order, and has no byte too many", function()
    client:set_attr { { To_Account = "b", Attrs = { x = "1" } }, { To_Account = "a",
      Attrs = { x = "2" } } }
    assert.equal('{"UserAttrs":[{"To_Account":"b","Attrs":{"x":"1"}},'
      .. '{"To_Account":"a","Attrs":{"x":"2"}}]}', server:requests()[1].body)
  end)

  it("bears exactly five parameters", function()
    client:set_attr(SAMPLE_USERS)
    local request = server:requests()[1]
    local names = {}
    for name in pairs(request.args) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "contenttype", "identifier", "random", "sdkappid", "usersig" }, names)
    local _, ampersands = request.uri:gsub("&", "")
    assert.equal(4, ampersands)
    assert.same({ "json", "administrator", "1400000000" },
      { request.args.contenttype, request.args.identifier, request.args.sdkappid })
    local fields = assert(usersig.open(request.args.usersig, { key = app.KEY }))
    assert.same({ "administrator", 1400000000, 86400 },
      { fields.identifier, fields.sdkappid, fields.expire })
  end)

  it("escapes its identifier", function()
    for identifier, escaped in pairs { ["a&b=c#d"] = "a%26b%3Dc%23d", ["a+b c"] = "a%2Bb%20c",
      ["张"] = "%E5%BC%A0", ["100%"] = "100%25", ["a/b?c"] = "a%2Fb%3Fc" } do
      local other = app.client(server, { identifier = identifier })
      server:says { app.YES }
      assert.is_true(other:set_attr(SAMPLE_USERS).ok)
      other:close()
      local request = server:requests()[1]
      assert.equal(escaped, request.uri:match("identifier=([^&]*)"))
      assert.equal(identifier, request.args.identifier)
      assert.equal(identifier, usersig.open(request.args.usersig, { key = app.KEY }).identifier)
    end
  end)

  it("has a random number of 32 bits, another each time", function()
    client:set_attr(app.iterator(app.users(20000)))
    local seen, high, count = {}, 0, 0
    for _, request in ipairs(server:requests()) do
      local random = request.args.random
      assert.truthy(random:find("^%d+$"), random)
      assert.truthy(tonumber(random) < 2 ^ 32)
      assert.is_nil(seen[random])
      seen[random] = true
      count = count + 1
      high = high + (tonumber(random) >= 2 ^ 31 and 1 or 0)
    end
    assert.equal(200, count)
    assert.truthy(high > 50 and high < 150, high) -- the upper half as often as the lower
  end)

  it("has the shape of its command", function()
    local cases = {
      { "set_attr", { a = { x = "1" } }, '{"UserAttrs":[{"To_Account":"a","Attrs":{"x":"1"}}]}' },
      { "remove_attr", { a = { "x" } }, '{"UserAttrs":[{"To_Account":"a","Attrs":["x"]}]}' },
      { "remove_attr", { { To_Account = "a", Attrs = { "x", "y" } } },
        '{"UserAttrs":[{"To_Account":"a","Attrs":["x","y"]}]}' },
      { "get_attr", { "a" }, '{"To_Account":["a"]}' },
      { "get_attr", { "a", "b" }, '{"To_Account":["a","b"]}' },
      { "set_attr_name", { ["0"] = "x" }, '{"AttrNames":{"0":"x"}}' },
      { "set_attr_name", { ["9"] = "x" }, '{"AttrNames":{"9":"x"}}' },
      { "get_attr_name", nil, "{}" },
    }
    for _, case in ipairs(cases) do
      server:says { app.YES }
      client[case[1]](client, case[2])
      local requests = server:requests()
      assert.equal(1, #requests)
      assert.equal(case[3], requests[1].body)
      assert.equal("/v4/all_member_push/im_" .. case[1], requests[1].uri:match("^[^?]+"))
    end
  end)

  it("goes over a connection that stays, from call to call", function()
    for _ = 1, 5 do client:set_attr(app.users(1)) end
    local first = server:requests()[1].connection
    for _, request in ipairs(server:requests()) do assert.equal(first, request.connection) end
  end)

  it("is repeated byte for byte, with another random number", function()
    local closing = { Connection = "close" }
    server:says { { status = 502, headers = closing }, { cut = "before" }, app.YES }
    local report = client:set_attr(SAMPLE_USERS)
    assert.same({ users = 2, done = 2, requests = 3, retries = 2 }, app.counts(report))
    local requests = server:requests()
    assert.equal(requests[1].body, requests[2].body)
    assert.equal(requests[1].body, requests[3].body)
    assert.not_equal(requests[1].args.random, requests[2].args.random)
    assert.equal(requests[1].args.usersig, requests[3].args.usersig)
  end)
end)

-- ---- the five commands, at the sandbox

describe("a client's command", function()
  local server, client

  setup(function() server = sandbox.start { key = app.KEY, limit = 0 } end)
  teardown(function() server:stop() end)
  before_each(function()
    server:settings { attr_names = { "sex", "city" } }
    server:reset()
    client = app.client(server)
  end)
  after_each(function() client:close() end)

  local function seen(command) return server:stats().commands[command] end

  it("set_attr sets the vendor's sample, and leaves other attributes alone", function()
    client:set_attr { xiaojun012 = { sex = "old", city = "old" } }
    client:set_attr(SAMPLE_USERS)
    client:set_attr { xiaojun012 = { sex = "new" } }
    assert.same({ xiaojun012 = { sex = "new", city = "attr2" },
      xiaojun013 = { city = "attr3", sex = "attr4" } },
      (client:get_attr { "xiaojun012", "xiaojun013" }))
  end)

  it("get_attr reads 0, 1, 100, 101 and 250 accounts, whatever the order of the reply", function()
    client:set_attr(app.users(250))
    for count, requests in pairs { [0] = 0, [1] = 1, [100] = 1, [101] = 2, [250] = 3 } do
      server:reset()
      local accounts, expected = {}, {}
      for i = 1, count do
        accounts[i] = "u" .. i
        expected["u" .. i] = { city = "city " .. i }
      end
      for _, form in ipairs { accounts, app.iterator(app.users(count)) } do
        local attributes, report, more = client:get_attr(form)
        assert.same(expected, attributes)
        assert.is_true(report.ok)
        assert.equal(count, report.done)
        assert.equal(report, client:last_report())
        assert.is_nil(more)
      end
      assert.equal(requests * 2, seen("im_get_attr").arrivals)
    end
  end)

  it("get_attr gives an empty table for a user without attributes", function()
    assert.same({ nobody = {} }, (client:get_attr { "nobody" }))
  end)

  it("get_attr gives nil, the error and the report when it could not read all", function()
    local wrong = app.client(server, { key = "wrong" })
    local attributes, err, report = wrong:get_attr { "a", "b" }
    wrong:close()
    assert.is_nil(attributes)
    assert.same({ "70009", 2 }, { err.code, report.not_sent })
    assert.equal(err, report.error)
  end)

  it("remove_attr takes a list, a map or an iterator", function()
    local list = { { To_Account = "r1", Attrs = { "sex", "city" } },
      { To_Account = "r2", Attrs = { "city" } } }
    local map = { r1 = { "sex", "city" }, r2 = { "city" } }
    for _, users in ipairs { list, map, app.iterator(list) } do
      client:set_attr { r1 = { sex = "x", city = "y" }, r2 = { sex = "x", city = "y" } }
      local report = client:remove_attr(users)
      assert.same({ users = 2, done = 2, requests = 1 }, app.counts(report))
      assert.same({ r1 = {}, r2 = { sex = "x" } }, (client:get_attr { "r1", "r2" }))
    end
  end)

  it("remove_attr removes what is not there, and many at once", function()
    local users = {}
    for i = 1, 250 do users["gone" .. i] = { "city" } end
    local report = client:remove_attr(users)
    assert.same({ users = 250, done = 250, requests = 3 }, app.counts(report))
  end)

  it("set_attr_name registers names, and get_attr_name reads them", function()
    server:settings { attr_names = {} }
    assert.same({}, client:get_attr_name())
    assert.is_true(client:set_attr_name { ["0"] = "sex", ["1"] = "city", ["9"] = "müller" })
    assert.same({ ["0"] = "sex", ["1"] = "city", ["9"] = "müller" }, client:get_attr_name())
    assert.is_true(client:set_attr { a = { ["müller"] = "x" } }.ok)
    assert.equal(1, seen("im_set_attr_name").arrivals)
  end)

  it("set_attr_name says why the vendor refused", function()
    local ok, err = client:set_attr_name { ["5"] = "sex" }
    assert.is_nil(ok)
    assert.same({ "90033", 90033 }, { err.code, err.vendor_code })
    assert.truthy(tostring(err):find("^90033: .*attrName:sex already exists at index:0"))
    assert.equal(1, seen("im_set_attr_name").arrivals)
  end)

  it("set_attr_name says so also when no failures are to be listed", function()
    local other = app.client(server, { failures_max = 0 })
    local ok, err = other:set_attr_name { ["5"] = "sex" }
    assert.same({ nil, "90033" }, { ok, err.code })
  end)

  it("set_attr_name and get_attr_name leave the last report alone", function()
    local report = client:set_attr { a = { sex = "x" } }
    client:get_attr_name()
    client:set_attr_name { ["5"] = "sex" }
    assert.equal(report, client:last_report())
  end)

  it("refuses names that are not among attr_names before it sends", function()
    local other = app.client(server, { attr_names = { "sex", "city" } })
    local report = other:set_attr { { To_Account = "a", Attrs = { sex = "x", colour = "red" } },
      { To_Account = "b", Attrs = { sex = "x" } } }
    assert.same({ "1 a invalid NAME_UNKNOWN: "
      .. 'attribute name "colour": not registered with the app' }, app.failures(report))
    assert.equal(1, report.done)
    report = other:remove_attr { a = { "colour" } }
    assert.equal("NAME_UNKNOWN", report.failures[1].code)
    assert.same({ 0, 0 }, { seen("im_get_attr_name").arrivals, seen("im_remove_attr").arrivals })
    other:close()
  end)

  it("reads the names once before the first that needs them, when asked to", function()
    local other = app.client(server, { preflight = true })
    other:get_attr { "a" }
    assert.equal(0, seen("im_get_attr_name").arrivals)
    for _ = 1, 3 do
      local report = other:set_attr { { To_Account = "a", Attrs = { colour = "red" } },
        { To_Account = "b", Attrs = { city = "x" } } }
      assert.same({ users = 2, done = 1, invalid = 1, requests = 1 }, app.counts(report))
      assert.equal("NAME_UNKNOWN", report.failures[1].code)
    end
    assert.equal(1, seen("im_get_attr_name").arrivals)
    assert.same({}, seen("im_set_attr").by_code)
    other:close()
  end)

  it("is not sent when the names cannot be read", function()
    local other = app.client(server, { preflight = true, key = "wrong" })
    local report, err = other:set_attr(app.users(1))
    assert.is_nil(report)
    assert.equal("70009", err.code)
    assert.equal(0, seen("im_set_attr").arrivals)
    other:close()
  end)

  it("refuses every name when the app has none", function()
    server:settings { attr_names = {} }
    local other = app.client(server, { preflight = true })
    local report = other:set_attr(app.users(1))
    other:close()
    assert.same({ users = 1, invalid = 1 }, app.counts(report))
  end)

  it("finds the culprit that the vendor refuses, and does the others", function()
    local users = app.users(250)
    users[42].Attrs = { colour = "red" }
    users[137].Attrs = { city = "x", shape = "round" }
    local report, err = client:set_attr(users)
    assert.is_nil(err)
    assert.same({ 248, 2, 0 }, { report.done, report.refused, report.not_sent })
    table.sort(report.failures, function(a, b) return a.index < b.index end)
    for i, index in ipairs { 42, 137 } do
      assert.same({ index, "u" .. index, "refused", "90033" }, { report.failures[i].index,
        report.failures[i].account, report.failures[i].fate, report.failures[i].code })
    end
    assert.truthy(report.requests <= 40, report.requests)
    assert.same({ city = "city 250" }, app.stored(client, "u250"))
  end)

  it("set_attr_name and set_attr know of each other's frequency nothing", function()
    server:settings { limit = 100 }
    local paced = app.client(server, { rate = 100 })
    for _ = 1, 5 do assert.truthy(paced:get_attr_name()) end
    assert.equal(500, paced:set_attr(app.users(500)).done)
    paced:close()
    server:settings { limit = 0 }
  end)
end)
