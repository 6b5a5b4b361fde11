-- The vendor's webhook Alert.RequestOverLimit: what it must be to be heeded, and what comes of it
-- in all workers of a real nginx.

local alarm = require "imattr.alarm"
local cjson = require("cjson").new()
local core = require "imattr.core"
local imattr = require "imattr"
local resty = require "support.resty"

local TOKEN = "the token of the console"
local NOW_S = 1750000000
local KNOWN = { sdkappid = 1400000000, token = TOKEN, time_s = NOW_S }

local function signature(time_s)
  return core.sha256(TOKEN .. time_s)
end

-- The arguments of a good request, with changes; false takes one away.
local function args_of(changes)
  local args = { SdkAppid = "1400000000", CallbackCommand = "Alert.RequestOverLimit",
    contenttype = "json", OptPlatform = "RESTAPI", RequestTime = tostring(NOW_S),
    Sign = signature(NOW_S) }
  for name, value in pairs(changes or {}) do args[name] = value or nil end
  return args
end

local function body_of(changes)
  local body = { CallbackCommand = "Alert.RequestOverLimit", ServiceName = "openim",
    Command = "im_set_attr", Request = 85, Limit = 100 }
  for name, value in pairs(changes or {}) do body[name] = value or nil end
  return cjson.encode(body)
end

describe("a digest", function()
  it("is that of FIPS 180-2's examples", function()
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      core.sha256("abc"))
    assert.equal("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
      core.sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      core.sha256(""))
  end)
end)

describe("an alarm", function()
  it("says command, requests and limit", function()
    assert.same({ command = "im_set_attr", requests = 85, limit = 100 },
      (alarm.read(args_of(), body_of(), KNOWN)))
  end)

  for _, case in ipairs {
    { "a limit above 1000 counts as that", { Limit = 20000 },
      { command = "im_set_attr", requests = 85, limit = 1000 } },
    { "the requests may be missing", { Request = false },
      { command = "im_set_attr", limit = 100 } },
  } do
    it("is heeded: " .. case[1], function()
      assert.same(case[3], (alarm.read(args_of(), body_of(case[2]), KNOWN)))
    end)
  end

  for _, seconds in ipairs { -60, 60 } do
    it(("may be %d s old"):format(-seconds), function()
      local time_s = NOW_S + seconds
      assert.truthy((alarm.read(args_of { RequestTime = tostring(time_s),
        Sign = signature(time_s):upper() }, body_of(), KNOWN)))
    end)
  end

  it("of another kind is none, and no error", function()
    assert.same({ n = 1 }, table.pack and table.pack(alarm.read(args_of {
      CallbackCommand = "State.StateChange" }, "{}", KNOWN)) or { n = 1 })
  end)

  local SIGN = "webhook: Sign is not that of the token: compare it with the console's"
  local TIME = "webhook: RequestTime is more than 60 s away"
  local SHAPE = "webhook: wants a JSON object with Command and Limit"
  for _, case in ipairs {
    { "another app's", 403, "webhook: SdkAppid is not 1400000000", { SdkAppid = "1400000001" } },
    { "nobody's", 403, "webhook: SdkAppid is not 1400000000", { SdkAppid = false } },
    { "signed with another token", 403, SIGN, { Sign = core.sha256("x" .. NOW_S) } },
    { "not signed", 403, SIGN, { Sign = false } },
    { "signed twice", 403, SIGN, { Sign = { signature(NOW_S), signature(NOW_S) } } },
    { "signed by a name without a value", 403, SIGN, { Sign = true } },
    { "signed for another time", 403, SIGN, { RequestTime = tostring(NOW_S + 1) } },
    { "61 s old", 403, TIME, { RequestTime = tostring(NOW_S - 61), Sign = signature(NOW_S - 61) } },
    { "61 s early", 403, TIME, { RequestTime = tostring(NOW_S + 61),
      Sign = signature(NOW_S + 61) } },
    { "of no time", 403, TIME, { RequestTime = "soon", Sign = signature("soon") } },
    { "empty", 400, SHAPE, nil, "" },
    { "no JSON", 400, SHAPE, nil, "{" },
    { "a list", 400, SHAPE, nil, "[]" },
    { "about no command", 400, SHAPE, nil, body_of { Command = false } },
    { "about a command that is a number", 400, SHAPE, nil, body_of { Command = 1 } },
    { "without a limit", 400, SHAPE, nil, body_of { Limit = false } },
    { "of a limit 0", 400, SHAPE, nil, body_of { Limit = 0 } },
    { "of a limit below 0", 400, SHAPE, nil, body_of { Limit = -1 } },
    { "of a limit 0.5", 400, SHAPE, nil, body_of { Limit = 0.5 } },
    { "of a limit that is a text", 400, SHAPE, nil, body_of { Limit = "100" } },
  } do
    it("is refused when it is " .. case[1], function()
      local told, err, status = alarm.read(args_of(case[4]), case[5] or body_of(), KNOWN)
      assert.is_nil(told)
      assert.same({ case[3], "BAD_ALARM", case[2] }, { err.message, err.code, status })
      assert.is_nil(tostring(err):find(TOKEN, 1, true))
    end)
  end

  it("is served in nginx alone", function()
    local client = assert(imattr.new { sdkappid = 1, key = ("k"):rep(64), region = "china" })
    assert.has_error(function() client:serve_alarm(TOKEN) end,
      "serve_alarm: wants to be called in content_by_lua of nginx")
    client:close()
  end)
end)

-- ---- in nginx

local HTTP = [[
  init_worker_by_lua_block {
    client = assert(require("imattr").new { sdkappid = 1400000000, key = ("k"):rep(64),
      endpoint = "https://127.0.0.1:1", pace_scope = "machine" })
    chosen = assert(require("imattr").new { sdkappid = 1400000000, key = ("k"):rep(64),
      endpoint = "https://127.0.0.1:1", pace_scope = "machine", rate = 100 })
  }
  server {
    listen unix:$folder/socket;
    location = /webhook {
      content_by_lua_block {
        local told, err = client:serve_alarm(os.getenv "TOKEN")
        ngx.log(ngx.NOTICE, "told: ", told and told.limit or tostring(err))
      }
    }
    location = /rates {
      content_by_lua_block {
        local now_us = require("imattr.core").now_us()
        ngx.print(client:_pace("im_set_attr"):rate(now_us), " ",
          chosen:_pace("im_set_attr"):rate(now_us), " ",
          client:_pace("im_get_attr"):rate(now_us), " ", ngx.worker.id())
      }
    }
  }
]]

describe("an alarm in nginx #heavy", function()
  local server

  setup(function()
    server = resty.start { http = HTTP, workers = 2, env = { TOKEN = TOKEN } }
  end)
  teardown(function()
    server:stop()
    os.execute("rm -f /dev/shm/imattr-*-1400000000-im_*_attr-127.0.0.1_1")
  end)

  local function send(changes)
    local time_s = os.time()
    return server:get(("/webhook?SdkAppid=1400000000&CallbackCommand=Alert.RequestOverLimit"
      .. "&contenttype=json&RequestTime=%d&Sign=%s"):format(time_s,
      core.sha256(TOKEN .. time_s)), body_of(changes))
  end

  -- What every worker's clients keep to.
  local function rates()
    local found, workers = nil, {}
    for _ = 1, 200 do
      local _, text = server:get("/rates")
      local seen, worker = text:match("^(.*) (%d+)$")
      found = found or seen
      assert.equal(found, seen)
      workers[worker] = true
      if workers["0"] and workers["1"] then return found end
    end
    error("one worker answers everything")
  end

  it("changes what all workers keep to, and is answered as the vendor wants", function()
    assert.equal("100 100 100", rates())
    assert.same({ 200, '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}' },
      { send { Limit = 60 } })
    assert.equal("60 60 100", rates())
    send { Limit = 200 }
    assert.equal("200 100 100", rates())
    send { Limit = 70, Command = "im_push" } -- no command of ours
    send { Limit = 80, Command = "im_get_attr" }
    assert.equal("200 100 80", rates())
  end)

  it("is refused without a signature", function()
    local before = rates()
    local url = "/webhook?SdkAppid=1400000000&CallbackCommand=Alert.RequestOverLimit"
    assert.same({ 403, '{"ActionStatus":"FAIL","ErrorInfo":"webhook: Sign is not that of the '
      .. 'token: compare it with the console\'s","ErrorCode":1}' }, { server:get(url, body_of()) })
    assert.equal(before, rates())
  end)
end)
