-- The sandbox's rules: the vendor's behaviour as a pure function. (Served: sandbox_nginx_spec.lua.)

local cjson = require("cjson").new()
local rules = require "imattr.sandbox.rules"

local APP = 1400000000
local NOW_S = 1700000000
local SECOND_US = 1000000

-- In the specs of the rules a UserSig is its fields as JSON, and it holds when its mac is "good".
local function usersig(changes)
  local fields = {
    identifier = "administrator", sdkappid = APP, time = NOW_S, expire = 60, mac = "good",
  }
  for name, value in pairs(changes or {}) do fields[name] = value end
  return cjson.encode(fields)
end

local function new_state(changes)
  local settings = {
    attr_names = { "city", "country", "tier" },
    open_usersig = function(text)
      local ok, fields = pcall(cjson.decode, text)
      return ok and fields or nil
    end,
    verify = function(fields) return fields.mac == "good" end,
  }
  for name, value in pairs(changes or {}) do settings[name] = value end
  return rules.new(settings)
end

local ONE_USER = '{"UserAttrs":[{"To_Account":"a","Attrs":{"city":"Lisbon"}}]}'

-- A good request; `changes.args` replaces single parameters, false takes one away.
local function new_request(command, body, changes)
  local request = {
    method = "POST",
    path = "/v4/all_member_push/" .. command,
    args = {
      sdkappid = tostring(APP),
      identifier = "administrator",
      usersig = usersig(),
      random = "1",
      contenttype = "json",
    },
    body = body,
  }
  for name, value in pairs(changes or {}) do
    if name ~= "args" then request[name] = value end
  end
  for name, value in pairs(changes and changes.args or {}) do
    request.args[name] = value or nil
  end
  return request
end

local function answer(state, request, now_us, now_s)
  local reply = rules.answer(state, request, now_us or 0, now_s or NOW_S)
  assert.equal(200, reply.status)
  return cjson.decode(reply.body), reply
end

local function ask(state, command, body, changes, now_us)
  return answer(state, new_request(command, body, changes), now_us)
end

-- Code and sentence of a refusal, with the shape that every refusal has.
local function assert_refused(code, info, reply)
  assert.same({ ActionStatus = "FAIL", ErrorCode = code, ErrorInfo = info }, reply)
end

local function assert_done(reply)
  assert.equal(0, reply.ErrorCode, reply.ErrorInfo)
  assert.equal("OK", reply.ActionStatus)
  assert.equal("", reply.ErrorInfo)
end

local function users(count)
  local list = {}
  for i = 1, count do list[i] = { To_Account = "user" .. i, Attrs = { city = "x" } } end
  return list
end

-- ---- who may call

-- what, change of a good request, code, sentence
local ACCESS = {
  { "a method other than POST", { method = "GET" }, 60002, "method: GET, must be POST" },
  { "a command that is not there", { path = "/v4/all_member_push/im_nothing" }, 60009,
    "path: /v4/all_member_push/im_nothing is not a command of this service" },
  { "a path with more behind", { path = "/v4/all_member_push/im_set_attr/" }, 60009,
    "path: /v4/all_member_push/im_set_attr/ is not a command of this service" },
  { "the other family", { path = "/v4/timpush/set_attr" }, 60009,
    "path: /v4/timpush/set_attr is not a command of this service" },
  { "no sdkappid", { args = { sdkappid = false } }, 60012, "sdkappid: missing" },
  { "an empty sdkappid", { args = { sdkappid = "" } }, 60012, "sdkappid: missing" },
  { "a sdkappid that is no number", { args = { sdkappid = "14e8" } }, 60025,
    "sdkappid: 14e8 is not a number" },
  { "a sdkappid given twice", { args = { sdkappid = { "1", "2" } } }, 60025,
    "sdkappid: given more than once" },
  { "an unknown sdkappid", { args = { sdkappid = "1400000001" } }, 70020,
    "sdkappid: 1400000001 not found, check the app and the host of its region" },
  { "no contenttype", { args = { contenttype = false } }, 60025, 'contenttype: "", must be json' },
  { "another contenttype", { args = { contenttype = "JSON" } }, 60025,
    'contenttype: "JSON", must be json' },
  { "no random", { args = { random = false } }, 60025,
    'random: "" is not an integer from 0 to 4294967295' },
  { "a random above 32 bits", { args = { random = "4294967296" } }, 60025,
    'random: "4294967296" is not an integer from 0 to 4294967295' },
  { "a random of 21 digits", { args = { random = "000000000000000000001" } }, 60025,
    'random: "000000000000000000001" is not an integer from 0 to 4294967295' },
  { "a random with a sign", { args = { random = "-1" } }, 60025,
    'random: "-1" is not an integer from 0 to 4294967295' },
  { "a random with a fraction", { args = { random = "1.0" } }, 60025,
    'random: "1.0" is not an integer from 0 to 4294967295' },
  { "a random in hexadecimal", { args = { random = "0x10" } }, 60025,
    'random: "0x10" is not an integer from 0 to 4294967295' },
  { "no identifier", { args = { identifier = false } }, 60025, "identifier: missing" },
  { "no usersig", { args = { usersig = false } }, 70002, "usersig: empty" },
  { "an unreadable usersig", { args = { usersig = "eJx" } }, 70003,
    "usersig: cannot be read, truncated or badly encoded" },
  { "somebody else's usersig", { args = { usersig = usersig { identifier = "bob" } } }, 70013,
    "identifier: administrator, but the usersig is for bob" },
  { "another app's usersig", { args = { usersig = usersig { sdkappid = 7 } } }, 70014,
    "sdkappid: 1400000000, but the usersig is for 7" },
  { "an expired usersig", { args = { usersig = usersig { time = NOW_S - 61 } } }, 70001,
    "usersig: expired, 61 s old, valid for 60 s" },
  { "a usersig of another key", { args = { usersig = usersig { mac = "bad" } } }, 70009,
    "usersig: does not verify with the key of sdkappid 1400000000" },
  { "a caller who is no administrator",
    { args = { identifier = "bob", usersig = usersig { identifier = "bob" } } }, 90009,
    "identifier: bob is not an administrator of the app" },
  { "unprintable bytes, without repeating them", { args = { contenttype = "\255\n" } }, 60025,
    'contenttype: "??", must be json' },
}

local COMMANDS = {
  im_set_attr = ONE_USER,
  im_get_attr = '{"To_Account":["a"]}',
  im_remove_attr = '{"UserAttrs":[{"To_Account":"a","Attrs":["city"]}]}',
  im_set_attr_name = '{"AttrNames":{"3":"sex"}}',
  im_get_attr_name = "{}",
}

-- ---- what a body may be

local SET, GET, REMOVE = "im_set_attr", "im_get_attr", "im_remove_attr"
local SET_NAME = "im_set_attr_name"

local function user(account, attrs)
  return ('{"UserAttrs":[{"To_Account":%s,"Attrs":%s}]}'):format(account, attrs)
end

local FIFTY, FIFTY_ONE = ("v"):rep(50), ("v"):rep(51)

-- what, command, body, code, sentence
local BODIES = {
  { "no body", SET, nil, 60003, "body: empty" },
  { "an empty body", SET, "", 60003, "body: empty" },
  { "half a body", SET, '{"UserAttrs":[', 60003,
    "body: not JSON: Expected value but found T_END at character 15" },
  { "a body that is not UTF-8", SET, user('"a"', '{"city":"\255"}'), 60003,
    "body: not UTF-8 at byte 50" },
  { "an overlong UTF-8 sequence", SET, user('"a"', '{"city":"\192\128"}'), 60003,
    "body: not UTF-8 at byte 50" },
  { "a surrogate in UTF-8", SET, user('"a"', '{"city":"\237\160\128"}'), 60003,
    "body: not UTF-8 at byte 50" },
  { "a character cut at the end", SET, user('"a"', '{"city":"x\228\189"}'), 60003,
    "body: not UTF-8 at byte 51" },
  { "a list for a body", "im_get_attr_name", "[]", 90001, "body: not a JSON object" },
  { "a number for a body", SET, "1", 90001, "body: not a JSON object" },
  { "no UserAttrs", SET, "{}", 90001, "UserAttrs: missing" },
  { "Attrs in place of UserAttrs", SET, '{"Attrs":[{"To_Account":"a","Attrs":{"city":"x"}}]}',
    90001, "UserAttrs: missing (the list of users is not called Attrs)" },
  { "an object for UserAttrs", SET, '{"UserAttrs":{"To_Account":"a"}}', 90001,
    "UserAttrs: not an array" },
  { "null for UserAttrs", SET, '{"UserAttrs":null}', 90001, "UserAttrs: not an array" },
  { "no users", SET, '{"UserAttrs":[]}', 90001, "UserAttrs: empty" },
  { "101 users", SET, cjson.encode { UserAttrs = users(101) }, 90018,
    "UserAttrs: 101 users, limit 100" },
  { "a user who is no object", SET, '{"UserAttrs":["a"]}', 90001, "UserAttrs[0]: not an object" },
  { "no account", SET, '{"UserAttrs":[{"Attrs":{"city":"x"}}]}', 90003,
    "UserAttrs[0].To_Account: missing" },
  { "a number for an account", SET, user("17", '{"city":"x"}'), 60015,
    "UserAttrs[0].To_Account: not a string" },
  { "an empty account", SET, user('""', '{"city":"x"}'), 90003, "UserAttrs[0].To_Account: empty" },
  { "an account of 33 bytes", SET, user('"' .. ("a"):rep(33) .. '"', '{"city":"x"}'), 90003,
    "UserAttrs[0].To_Account: 33 bytes, limit 32" },
  { "an account of 11 letters and 33 bytes", SET,
    user('"' .. ("张"):rep(11) .. '"', '{"city":"x"}'), 90003,
    "UserAttrs[0].To_Account: 33 bytes, limit 32" },
  { "an account twice", SET,
    '{"UserAttrs":[{"To_Account":"a","Attrs":{"city":"x"}},'
      .. '{"To_Account":"a","Attrs":{"tier":"y"}}]}',
    90001, "UserAttrs[1].To_Account: a is in the request twice" },
  { "no Attrs", SET, '{"UserAttrs":[{"To_Account":"a"}]}', 90001,
    "UserAttrs[0].Attrs: not an object" },
  { "empty Attrs", SET, user('"a"', "{}"), 90001, "UserAttrs[0].Attrs: empty" },
  { "a list for Attrs when setting", SET, user('"a"', '["city"]'), 90001,
    "UserAttrs[0].Attrs: not an object" },
  { "an unregistered name", SET, user('"a"', '{"colour":"x"}'), 90033,
    "UserAttrs[0].Attrs: attrName:colour is not registered" },
  { "a very long name", SET, user('"a"', '{"' .. ("n"):rep(1000) .. '":"x"}'), 90033,
    "UserAttrs[0].Attrs: attrName:(1000 bytes) is not registered" },
  { "a number for a value", SET, user('"a"', '{"city":1}'), 90001,
    "UserAttrs[0].Attrs.city: not a string" },
  { "null for a value", SET, user('"a"', '{"city":null}'), 90001,
    "UserAttrs[0].Attrs.city: not a string" },
  { "a value of 51 bytes", SET, user('"a"', '{"city":"' .. FIFTY_ONE .. '"}'), 90034,
    "UserAttrs[0].Attrs.city: 51 bytes, limit 50" },
  { "a value of 17 letters and 51 bytes", SET, user('"a"', '{"city":"' .. ("市"):rep(17) .. '"}'),
    90034, "UserAttrs[0].Attrs.city: 51 bytes, limit 50" },
  { "an object for Attrs when removing", REMOVE, user('"a"', '{"city":"x"}'), 90001,
    "UserAttrs[0].Attrs: not an array" },
  { "nothing to remove", REMOVE, user('"a"', "[]"), 90001, "UserAttrs[0].Attrs: empty" },
  { "an unregistered name to remove", REMOVE, user('"a"', '["city","colour"]'), 90033,
    "UserAttrs[0].Attrs: attrName:colour is not registered" },
  { "a number for a name to remove", REMOVE, user('"a"', "[1]"), 90001,
    "UserAttrs[0].Attrs[0]: not a string" },
  { "no accounts to get", GET, "{}", 90001, "To_Account: missing" },
  { "one account where a list must be", GET, '{"To_Account":"a"}', 90001,
    "To_Account: not an array" },
  { "an empty list of accounts", GET, '{"To_Account":[]}', 90001, "To_Account: empty" },
  { "a number among accounts", GET, '{"To_Account":["a",1]}', 60015,
    "To_Account[1]: not a string" },
  { "an account asked for twice", GET, '{"To_Account":["a","a"]}', 90001,
    "To_Account[1]: a is in the request twice" },
  { "101 accounts", GET, '{"To_Account":["' .. ("a\",\""):rep(100) .. 'a"]}', 90018,
    "To_Account: 101 users, limit 100" },
  { "a list of names", SET_NAME, '{"AttrNames":["sex"]}', 90001, "AttrNames: not an object" },
  { "no names", SET_NAME, '{"AttrNames":{}}', 90001, "AttrNames: empty" },
  { "an index beyond 9", SET_NAME, '{"AttrNames":{"10":"sex"}}', 90001,
    'AttrNames: a key is not one of "0" to "9"' },
  { "a number for a name", SET_NAME, '{"AttrNames":{"9":1}}', 90001, "AttrNames.9: not a string" },
  { "an empty name", SET_NAME, '{"AttrNames":{"9":""}}', 90001, "AttrNames.9: empty" },
  { "a name of 51 bytes", SET_NAME, '{"AttrNames":{"9":"' .. FIFTY_ONE .. '"}}', 90001,
    "AttrNames.9: 51 bytes, limit 50" },
  { "a name that another index has", SET_NAME, '{"AttrNames":{"9":"country"}}', 90033,
    "attrName:country already exists at index:1" },
  { "a name for two indexes", SET_NAME, '{"AttrNames":{"8":"sex","9":"sex"}}', 90033,
    "attrName:sex already exists at index:9" },
}

describe("the sandbox's rules #heavy", function()
  for _, case in ipairs(ACCESS) do
    local what, changes, code, info = case[1], case[2], case[3], case[4]
    it(("answer %d to %s"):format(code, what), function()
      assert_refused(code, info, (ask(new_state(), SET, ONE_USER, changes)))
    end)
  end

  for command, body in pairs(COMMANDS) do
    it(("serve %s to an administrator with a signature, and to nobody else"):format(command),
      function()
        local state = new_state()
        local unsigned = { args = { usersig = usersig { mac = "bad" } } }
        local bob = { args = { identifier = "bob", usersig = usersig { identifier = "bob" } } }
        assert_done((ask(state, command, body)))
        assert.equal(70009, ask(state, command, body, unsigned).ErrorCode)
        assert.equal(90009, ask(state, command, body, bob).ErrorCode)
      end)
  end

  it("take every random from 0 to 4294967295", function()
    for _, random in ipairs { "0", "4294967295", "0000000001" } do
      assert_done((ask(new_state(), SET, ONE_USER, { args = { random = random } })))
    end
  end)

  it("let a signature pass in the last second of its life", function()
    local changes = { args = { usersig = usersig { time = NOW_S - 60 } } }
    assert_done((ask(new_state(), SET, ONE_USER, changes)))
  end)

  it("answer 70016 in the wrong data centre", function()
    assert_refused(70016, "sdkappid: no key for 1400000000 here, wrong data centre",
      (ask(new_state { region_ok = false }, SET, ONE_USER)))
  end)

  for _, case in ipairs(BODIES) do
    local what, command, body, code, info = case[1], case[2], case[3], case[4], case[5]
    it(("answer %d to %s"):format(code, what), function()
      assert_refused(code, info, (ask(new_state(), command, body)))
    end)
  end

  it("take everything at its limit", function()
    local state = new_state()
    local name = ("n"):rep(50)
    assert_done((ask(state, SET_NAME, cjson.encode { AttrNames = { ["9"] = name } })))
    assert_done((ask(state, SET, cjson.encode { UserAttrs = users(100) })))
    assert_done((ask(state, SET, user('"' .. ("a"):rep(32) .. '"',
      cjson.encode { [name] = FIFTY, city = ("市"):rep(16), tier = "" }))))
  end)

  it("change nothing when they refuse", function()
    local state = new_state()
    local list = users(100)
    list[100].Attrs.city = FIFTY_ONE
    assert.equal(90034, ask(state, SET, cjson.encode { UserAttrs = list }).ErrorCode)
    assert.equal(0, rules.stats(state).users_stored)
  end)

  it("give back what was set, with an object for who has nothing, in another order", function()
    local state = new_state()
    ask(state, SET, user('"a"', '{"city":"x","tier":"1"}'))
    ask(state, SET, user('"a"', '{"city":"y"}'))
    ask(state, REMOVE, user('"a"', '["tier","country"]'))
    local reply, raw = ask(state, GET, '{"To_Account":["a","b"]}')
    assert_done(reply)
    assert.same({
      { To_Account = "b", Attrs = {} },
      { To_Account = "a", Attrs = { city = "y" } },
    }, reply.UserAttrs)
    assert.truthy(raw.body:find('"Attrs":{}', 1, true))
  end)

  it("merge names by index", function()
    local state = new_state()
    assert_done((ask(state, SET_NAME, '{"AttrNames":{"1":"land","9":"sex"}}')))
    assert.same({ ["0"] = "city", ["1"] = "land", ["2"] = "tier", ["9"] = "sex" },
      ask(state, "im_get_attr_name", "{}").AttrNames)
    assert.equal(90033, ask(state, SET, user('"a"', '{"country":"x"}')).ErrorCode)
    assert_done((ask(state, SET, user('"a"', '{"land":"x"}'))))
  end)

  it("check everything and keep nobody when told not to store", function()
    local state = new_state { store = false }
    assert_done((ask(state, SET, ONE_USER)))
    assert.equal(90033, ask(state, SET, user('"a"', '{"x":"y"}')).ErrorCode)
    assert.same({ { To_Account = "a", Attrs = {} } },
      ask(state, GET, '{"To_Account":["a"]}').UserAttrs)
    assert.equal(0, rules.stats(state).users_stored)
  end)

  it("say how late the reply is", function()
    assert.equal(7, select(2, ask(new_state { latency_ms = 7 }, SET, ONE_USER)).delay_ms)
  end)

  it("raise when a setting is wrong", function()
    for changes, message in pairs {
      [{ sdkapid = 1 }] = "unknown setting: sdkapid",
      [{ limit = -1 }] = "limit: must be an integer, 0 for no limit",
      [{ attr_names = { "a", "a" } }] =
        "attr_names: must be a list of at most 10 different strings",
      [{ admins = "bob" }] = "admins: must be a list of different strings",
      [{ verify = true }] = "verify: must be a function",
    } do
      assert.has_error(function() new_state(changes) end, message)
    end
  end)
end)

describe("the sandbox's sliding second #heavy", function()
  -- Fills a second that starts at `start_us` with `count` requests at the same moment.
  local function fill(state, count, start_us)
    for _ = 1, count do assert_done((ask(state, SET, ONE_USER, nil, start_us))) end
  end

  it("holds 100 requests and not 101", function()
    local state = new_state()
    fill(state, 100, 0)
    assert_refused(60007, "requests per second of im_set_attr: more than the limit 100",
      (ask(state, SET, ONE_USER, nil, 0)))
  end)

  it("ends exactly one second after its first request", function()
    local state = new_state()
    fill(state, 100, 500)
    assert.equal(60007, ask(state, SET, ONE_USER, nil, 500 + SECOND_US - 1).ErrorCode)
    assert_done((ask(state, SET, ONE_USER, nil, 500 + SECOND_US)))
  end)

  it("starts anywhere, not on the second", function()
    local state = new_state()
    fill(state, 50, 0.9 * SECOND_US)
    fill(state, 50, 1.5 * SECOND_US)
    assert.equal(60007, ask(state, SET, ONE_USER, nil, 1.8 * SECOND_US).ErrorCode)
    fill(state, 50, 1.9 * SECOND_US)
    assert.equal(60007, ask(state, SET, ONE_USER, nil, 1.9 * SECOND_US).ErrorCode)
  end)

  it("is each command's own", function()
    local state = new_state { limit = 1 }
    for command, body in pairs(COMMANDS) do assert_done((ask(state, command, body))) end
  end)

  it("is not filled by what it refused, yet that was an arrival", function()
    local state = new_state { limit = 2 }
    for i = 0, 9 do ask(state, SET, ONE_USER, nil, i * SECOND_US / 4) end
    local seen = rules.stats(state).commands.im_set_attr
    assert.same({ 10, 6, 4, 4 }, { seen.arrivals, seen.accepted, seen.by_code["60007"],
      seen.max_in_second })
  end)

  it("never ends for a limit of 0", function()
    local state = new_state { limit = 0 }
    fill(state, 1000, 0)
    assert.equal(1000, rules.stats(state).commands.im_set_attr.max_in_second)
  end)

  it("counts the fullest second to the microsecond", function()
    local state = new_state()
    fill(state, 60, 0)
    fill(state, 40, SECOND_US - 1)
    fill(state, 60, SECOND_US)
    assert.equal(100, rules.stats(state).commands.im_set_attr.max_in_second)
  end)

  it("takes time that goes back for time that stands still", function()
    local state = new_state { limit = 1 }
    fill(state, 1, 5 * SECOND_US)
    assert.equal(60007, ask(state, SET, ONE_USER, nil, 0).ErrorCode)
    assert_done((ask(state, SET, ONE_USER, nil, 6 * SECOND_US)))
  end)
end)

describe("the sandbox's statistics #heavy", function()
  it("tell what arrived, for each command", function()
    local state = new_state()
    ask(state, SET, cjson.encode { UserAttrs = users(3) }, nil, 10)
    ask(state, SET, ONE_USER, { args = { random = "2" } }, 20)
    ask(state, SET, "", { args = { random = "2" } }, 30)
    ask(state, "im_nothing", "{}")
    local bytes = #cjson.encode { UserAttrs = users(3) } + #ONE_USER
    local stats = rules.stats(state)
    assert.same({
      arrivals = 3, accepted = 2, by_code = { ["60003"] = 1 }, users = 4, body_bytes = bytes,
      randoms_repeated = 1, max_in_second = 3, first_us = 10, last_us = 30,
    }, stats.commands.im_set_attr)
    assert.same({ ["60009"] = 1 }, stats.commands.other.by_code)
    assert.equal(4, stats.users_stored)
  end)

  it("start anew after a reset, and the app goes on", function()
    local state = new_state { limit = 1 }
    ask(state, SET, ONE_USER)
    rules.reset(state)
    local stats = rules.stats(state)
    assert.equal(0, stats.commands.im_set_attr.arrivals)
    assert.equal(1, stats.users_stored)
    assert.equal(60007, ask(state, SET, ONE_USER).ErrorCode)
  end)
end)
