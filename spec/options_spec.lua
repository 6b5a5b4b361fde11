-- options: what imattr.new takes, and what it says when it does not.

local app = require "support.app"
local imattr = require "imattr"
local options = require "imattr.options"

local GOOD = { sdkappid = 1400000000, key = app.KEY, endpoint = "https://127.0.0.1:9" }

local function with(changes)
  local given = {}
  for name, value in pairs(GOOD) do given[name] = value end
  for name, value in pairs(changes) do given[name] = value end
  return given
end

local NAN, INFINITE = 0 / 0, math.huge

-- options, what is wrong
local WRONG = {
  { { sdkapid = 1 }, "unknown option: sdkapid (did you mean sdkappid?)" },
  { { SDKAppID = 1 }, "unknown option: SDKAppID (did you mean sdkappid?)" },
  { { timeout = 5000 }, "unknown option: timeout (did you mean timeout_ms?)" },
  { { ratte = 1 }, "unknown option: ratte (did you mean rate?)" },
  { { colour = "red" }, "unknown option: colour" },
  { { [true] = "x" }, "unknown option: true" },
  { { key = false }, "key: a boolean, wants a string" },
  { { key = 123456 }, "key: a number, wants a string" },
  { { usersig = 123456 }, "usersig: a number, wants a string or function" },
  { { usersig = {} }, "usersig: a table, wants a string or function" },
  { { identifier = "" }, "identifier: 0 bytes, wants 1 to 32" },
  { { identifier = ("x"):rep(33) }, "identifier: 33 bytes, wants 1 to 32" },
  { { identifier = 7 }, "identifier: 7, wants a string" },
  { { key_file = "" }, "key_file: 0 bytes, wants at least 1" },
  { { endpoint = "" }, "endpoint: 0 bytes, wants at least 1" },
  { { endpoint = {} }, "endpoint: a table, wants a string or list" },
  { { endpoint = { "https://a", 7 } }, "endpoint: a table, wants a string or list" },
  { { endpoint = { nil, "https://a" } }, "endpoint: a table, wants a string or list" },
  { { region = "mars" }, 'region: "mars" is none of china, singapore, seoul, tokyo, frankfurt, '
    .. "silicon_valley, jakarta" },
  { { region = "Singapore" }, 'region: "Singapore" is none of china, singapore, seoul, tokyo, '
    .. "frankfurt, silicon_valley, jakarta (did you mean singapore?)" },
  { { region = "singapur" }, 'region: "singapur" is none of china, singapore, seoul, tokyo, '
    .. "frankfurt, silicon_valley, jakarta (did you mean singapore?)" },
  { { service = "timpush" }, 'service: "timpush" is none of all_member_push' },
  { { pace = "fast" }, 'pace: "fast" is none of strict, even' },
  { { pace_scope = "planet" }, 'pace_scope: "planet" is none of machine, process' },
  { { sdkappid = 0 }, "sdkappid: 0, wants 1 to 4294967295" },
  { { sdkappid = 4294967296 }, "sdkappid: 4294967296, wants 1 to 4294967295" },
  { { rate = -1 }, "rate: -1, wants 0 to 1000" },
  { { rate = 1001 }, "rate: 1001, wants 0 to 1000" },
  { { in_flight_max = 0 }, "in_flight_max: 0, wants 1 to 1000" },
  { { in_flight_max = 1001 }, "in_flight_max: 1001, wants 1 to 1000" },
  { { queue_max = 99 }, "queue_max: 99, wants 100 to 1000000" },
  { { timeout_ms = 3099 }, "timeout_ms: 3099, wants 3100 to 120000" },
  { { timeout_ms = 120001 }, "timeout_ms: 120001, wants 3100 to 120000" },
  { { connect_timeout_ms = 99 }, "connect_timeout_ms: 99, wants 100 to 60000" },
  { { attempts_max = 0 }, "attempts_max: 0, wants 1 to 100" },
  { { deadline_ms = -1 }, "deadline_ms: -1, wants 0 to 604800000" },
  { { failures_max = 1000001 }, "failures_max: 1000001, wants 0 to 1000000" },
  { { usersig_expire_s = 59 }, "usersig_expire_s: 59, wants 60 to 315360000" },
  { { preflight = 1 }, "preflight: 1, wants a boolean" },
  { { attr_names = "sex" }, 'attr_names: "sex", wants a table' },
  { { attr_names = { "sex", 5 } }, "attr_names[2]: wants a string of 1 to 50 bytes" },
  { { attr_names = { "" } }, "attr_names[1]: wants a string of 1 to 50 bytes" },
  { { attr_names = { ("x"):rep(51) } }, "attr_names[1]: wants a string of 1 to 50 bytes" },
  { { attr_names = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10" } },
    "attr_names: 11, limit 10" },
}

-- Numbers that are no integers: how Lua shows them is Lua's business.
local NO_INTEGERS = { "14", 1.5, NAN, true }

describe("imattr.new", function()
  it("takes what it must have and fills in the rest", function()
    local client = assert(imattr.new(GOOD))
    assert.equal("imattr.client (1400000000 at 127.0.0.1:9)", tostring(client))
    client:close()
    assert.equal("imattr.client (closed)", tostring(client))
  end)

  it("leaves the caller's table alone", function()
    local given = with { attr_names = { "sex" } }
    assert(imattr.new(given)):close()
    assert.same(with { attr_names = { "sex" } }, given)
  end)

  it("takes every limit itself", function()
    for _, option in ipairs(options.list) do
      for _, limit in ipairs { option.min or false, option.max or false } do
        if limit and option.type == "integer" then
          assert(imattr.new(with { [option.name] = limit })):close()
        end
      end
    end
    assert(imattr.new(with { identifier = ("x"):rep(32) })):close()
    assert(imattr.new(with { attr_names = { ("x"):rep(50) } })):close()
  end)

  it("takes integers that come as floats", function()
    assert(imattr.new(with { rate = 1e2, sdkappid = 14e8 })):close()
  end)

  it("raises at the caller's line for anything wrong", function()
    for _, case in ipairs(WRONG) do
      assert.equal(case[2], app.misuse(function() imattr.new(with(case[1])) end))
    end
  end)

  it("raises for values without a name", function()
    assert.equal("unknown option: 1", app.misuse(function() imattr.new(with { "x" }) end))
  end)

  it("raises for numbers that are no integers", function()
    for _, value in ipairs(NO_INTEGERS) do
      local message = app.misuse(function() imattr.new(with { rate = value }) end)
      assert.truthy(message:find("^rate: .*, wants an? integer$"), message)
    end
    local message = app.misuse(function() imattr.new(with { rate = INFINITE }) end)
    assert.truthy(message:find("^rate: inf, wants "), message)
  end)

  it("says `an integer`", function()
    assert.equal('rate: "14", wants an integer',
      app.misuse(function() imattr.new(with { rate = "14" }) end))
  end)

  it("raises for no table at all", function()
    assert.equal("imattr.new: a nil, wants a table of options",
      app.misuse(function() imattr.new() end))
    assert.equal("imattr.new: a string, wants a table of options",
      app.misuse(function() imattr.new("https://example.com") end))
  end)

  it("takes the names as get_attr_name gives them, or refuses them", function()
    local client = assert(imattr.new(with { attr_names = { ["0"] = "sex" } }))
    local report = client:set_attr({ a = { colour = "red" } }, { dry_run = true })
    assert.equal("NAME_UNKNOWN", report.failures[1].code)
  end)

  it("never shows a secret", function()
    for _, given in ipairs { { key = { app.KEY } }, { usersig = { app.KEY } },
      { [app.KEY .. "x"] = app.KEY }, { key = app.KEY, rate = "x" } } do
      local _, message = pcall(imattr.new, with(given))
      assert.is_nil(message:gsub("unknown option: " .. app.KEY .. "x", ""):find(app.KEY, 1, true))
    end
  end)
end)

describe("the table of options", function()
  it("has for every option a name, a type, a sentence, and a default that fits", function()
    local seen = {}
    for _, option in ipairs(options.list) do
      assert.is_nil(seen[option.name])
      seen[option.name] = true
      assert.equal(option, options.find(option.name))
      assert.truthy(option.name:find("^%l[%l%d_]*$"))
      assert.truthy(#option.sentence > 10 and not option.sentence:find("%.$"), option.name)
      if option.default ~= nil then
        assert.is_nil(options.problem(option, option.default), option.name)
      end
    end
    assert.is_nil(options.find("colour"))
  end)

  it("marks what is secret", function()
    local secret = {}
    for _, option in ipairs(options.list) do secret[option.name] = option.secret end
    assert.same({ key = true, usersig = true }, secret)
  end)

  it("knows the regions that the wire knows", function()
    local choices, regions = {}, {}
    for _, choice in ipairs(options.find("region").choices) do choices[choice] = true end
    for region in pairs(require("imattr.wire").regions) do regions[region] = true end
    assert.same(regions, choices)
  end)
end)

describe("the nearest word", function()
  it("is one that needs few changes, or none", function()
    local words = { "sdkappid", "key", "key_file", "timeout_ms", "rate", "pace", "pace_scope" }
    local cases = { sdkappi = "sdkappid", SDKAPPID = "sdkappid", kye = "key", keyfile = "key_file",
      timeout = "timeout_ms", race = "rate", pacescope = "pace_scope", [""] = false,
      colour = false, connect_timeout_milliseconds = false }
    for word, near in pairs(cases) do
      assert.equal(near or nil, options.nearest(word, words), word)
    end
    assert.is_nil(options.nearest("rate", {}))
  end)
end)
