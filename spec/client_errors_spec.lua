-- A client and a world that says no: one sentence that tells what to do, the fate of every user,
-- and no more requests than needed.

local app = require "support.app"
local core = require "imattr.core"
local impostor = require "support.impostor"
local sandbox = require "support.sandbox"

local NOWHERE = "https://127.0.0.1:9"
local LONG_NAME = "https://" .. ("x"):rep(64) .. ".invalid" -- no resolver is asked for such a name

local server, odd

-- All that came back of a call, as text, holds neither key nor signature.
local function assert_no_secret(...)
  local text = app.dump { ... }
  for _, secret in ipairs { app.KEY, "eJw", "eJy", "wrong key" } do
    assert.is_nil(text:find(secret, 1, true), text)
  end
end

-- Sets users with a client of its own. Returns report, error, seconds.
local function set(where, changes, users, call)
  local client = app.client(where, changes)
  local started_us = core.now_us()
  local report, err = client:set_attr(users or app.users(250), call)
  local seconds = (core.now_us() - started_us) / 1e6
  assert_no_secret(report, err, client:last_report(), tostring(client))
  assert.equal(report.error, err)
  client:close()
  return report, err, seconds
end

local function arrivals() return server:stats().commands.im_set_attr.arrivals end

describe("a client in trouble", function()
  setup(function()
    server = sandbox.start { key = app.KEY, limit = 0 }
    odd = impostor.start()
  end)
  teardown(function()
    odd:stop()
    server:stop()
  end)
  before_each(function()
    server:settings { latency_ms = 0, limit = 0, region_ok = true, admins = { "administrator" } }
    server:reset()
  end)

  -- ---- a mistake of set-up

  local SETUP = {
    { "a wrong key", { key = "wrong key" }, {}, "70009", "permission",
      "70009: the signature does not verify with the app's key (usersig: does not verify with the "
      .. "key of sdkappid 1400000000); check that the key is the one of this sdkappid" },
    { "a wrong region", {}, { region_ok = false }, "70016", "setup",
      "70016: the app's key is not found at this host (sdkappid: no key for 1400000000 here, wrong "
      .. "data centre); check region: an app lives in one region only" },
    { "a wrong SDKAppID", { sdkappid = 1400000001 }, {}, "70020", "setup",
      "70020: the SDKAppID is not found at this host (sdkappid: 1400000001 not found, check the "
      .. "app and the host of its region); check sdkappid and region: an app lives in one region "
      .. "only" },
    { "one who is no administrator", { identifier = "somebody" }, {}, "90009", "permission",
      "90009: the identifier is not an administrator of the app (identifier: somebody is not an "
      .. "administrator of the app); make it one in the console, or give another identifier" },
  }

  for _, case in ipairs(SETUP) do
    it("with " .. case[1] .. " spends one request and says what to do", function()
      server:settings(case[3])
      local report, err, seconds = set(server, case[2], app.users(100))
      assert.same({ case[4], case[5], tonumber(case[4]), case[6] },
        { err.code, err.class, err.vendor_code, err.message })
      assert.same({ users = 100, not_sent = 100, requests = 1 }, app.counts(report))
      assert.equal(("1 u1 not_sent %s: %s"):format(case[4], err.message:match("^%d+: (.-) %(")),
        app.failures(report)[1])
      assert.equal(100, #report.failures)
      assert.equal(1, arrivals())
      assert.truthy(seconds < 60, seconds)
    end)
  end

  it("with a wrong key spends one request also when there is much to do", function()
    for latency_ms, rate in pairs { [0] = 0, [50] = 0, [51] = 100 } do
      server:settings { latency_ms = latency_ms }
      server:reset()
      local report, err = set(server, { key = "wrong key", rate = rate }, app.users(5000))
      assert.equal("70009", err.code)
      assert.equal(5000, app.counts(report).not_sent)
      assert.same({ 1, 1 }, { report.requests, arrivals() })
    end
  end)

  -- ---- no connection

  it("without a server, a name or a proxy says so, and nothing was sent", function()
    local network = "check the endpoint, the network and the firewall"
    local cases = {
      { { endpoint = NOWHERE }, "CONNECT", "the host does not accept connections", network },
      { { endpoint = "http://127.0.0.1:9" }, "CONNECT", "the host does not accept connections",
        network },
      { { endpoint = LONG_NAME }, "RESOLVE", "the host name cannot be resolved",
        "check the host's name and this machine's DNS" },
    }
    for _, case in ipairs(cases) do
      case[1].attempts_max = 2
      local report, err, seconds = set(server, case[1])
      assert.same({ case[2], "network" }, { err.code, err.class })
      local url = case[1].endpoint
      assert.equal(url .. ": " .. case[3] .. " (", err.message:sub(1, #url + #case[3] + 4))
      assert.equal("; " .. case[4], err.message:sub(-#case[4] - 2))
      assert.is_nil(err.vendor_code)
      local counts = app.counts(report)
      assert.same({ users = 250, not_sent = 250, requests = 2, retries = 1 }, counts)
      assert.truthy(seconds < 60, seconds)
    end
  end)

  it("gives up after some requests, not after each of thousands", function()
    local report, err, seconds = set(server, { endpoint = NOWHERE, attempts_max = 2 },
      app.users(20000), { failures_max = 5 })
    assert.equal("CONNECT", err.code)
    assert.equal(report.users, report.not_sent)
    assert.same({ 5, report.users - 5 }, { #report.failures, report.failures_more })
    assert.same({ 20000, 2 }, { report.users, report.requests })
    assert.truthy(seconds < 60, seconds)
  end)

  it("does not talk to a stranger", function()
    for _, changes in ipairs { { ca_file = false }, { ca_file = "/nowhere/ca.pem" } } do
      local report, err, seconds = set(server, changes, app.users(100))
      assert.same({ "TLS", "tls" }, { err.code, err.class })
      assert.equal(server.endpoint .. ": the certificate or the TLS handshake is not to be "
        .. "trusted (", err.message:match("^.-%("))
      assert.equal("; check the endpoint; a certificate of your own goes into ca_file",
        err.message:match("%)(; .*)$"))
      assert.same({ users = 100, not_sent = 100, requests = 1 }, app.counts(report))
      assert.truthy(seconds < 60, seconds)
    end
    assert.equal(0, arrivals())
  end)

  -- ---- answers that are none

  it("with an answer that is not the vendor's says so", function()
    -- what the server says, code, class, requests of 3 attempts, the reason
    local cases = {
      { { body = "<html>hello</html>" }, "BAD_REPLY", "network", 3, "not a JSON object" },
      { { body = "{}" }, "BAD_REPLY", "network", 3, "ActionStatus and ErrorCode do not agree" },
      { { status = 502, body = "bad gateway" }, "HTTP_STATUS", "network", 3, "HTTP status 502" },
      { { status = 503 }, "HTTP_STATUS", "network", 3, "HTTP status 503" },
      { { status = 404 }, "HTTP_STATUS", "network", 1, "HTTP status 404" },
      { { status = 302, headers = { Location = NOWHERE } }, "HTTP_STATUS", "network", 1,
        "HTTP status 302" },
      { { status = 401 }, "HTTP_STATUS", "network", 1, "HTTP status 401" },
      { { spaces = 2200000 }, "REPLY_TOO_LARGE", "network", 1 },
      { app.no(91000, "busy"), "91000", "retry", 3, "busy" },
      { app.no(60008), "60008", "retry", 3, "no" },
      { app.no(60002), "60002", "caller", 1, "no" },
      { app.no(60001), "60001", "caller", 1, "no" },
      { app.no(70999), "70999", "permission", 1, "no" },
    }
    for _, case in ipairs(cases) do
      odd:says { case[1] }
      local report, err, seconds = set(odd, { attempts_max = 3 }, app.users(3))
      assert.same({ case[2], case[3] }, { err.code, err.class })
      if case[5] then assert.truthy(err.message:find(" (" .. case[5] .. ")", 1, true)) end
      assert.same({ case[4], case[4], case[4] - 1 },
        { #odd:requests(), report.requests, report.retries })
      local is_vendors_no = case[1].body and case[1].body:find("FAIL") and case[4] == 1
      assert.equal(3, is_vendors_no and report.not_sent or report.unknown)
      assert.equal(case[4], report.failures[1].attempts)
      assert.truthy(seconds < 60, seconds)
    end
  end)

  it("tries again until it goes well", function()
    local hiccups = { { status = 502 }, { status = 503 }, { body = "" }, app.no(91000),
      app.no(60014), { cut = "within", body = "{" }, { body = '{"ActionStatus":"OK"' } }
    for _, hiccup in ipairs(hiccups) do
      odd:says { hiccup, hiccup, app.YES }
      local report, err, seconds = set(odd, nil, app.users(3))
      assert.is_nil(err)
      assert.same({ users = 3, done = 3, requests = 3, retries = 2 }, app.counts(report))
      assert.truthy(seconds < 60, seconds)
    end
  end)

  it("stops while others are on their way: their answers count", function()
    odd:says { { body = app.YES.body, delay_s = 0.2 }, { body = app.no(60016).body, delay_s = 0.1 },
      { body = app.YES.body, delay_s = 0.3 } }
    local report, err = set(odd, nil, app.users(300))
    assert.equal("60016", err.code)
    assert.equal(200, app.counts(report).done)
    assert.equal(100, report.not_sent)
    assert.same({ 100, 0 }, { #report.failures, report.failures_more })
  end)

  it("is told of each user whom the vendor refuses by name", function()
    odd:says { { body = '{"ActionStatus":"OK","ErrorCode":0,"ErrorList":[{"To_Account":"u2",'
      .. '"ErrorCode":70107,"ErrorInfo":"x"},{"To_Account":"nobody","ErrorCode":70107}]}' } }
    local report, err = set(odd, nil, app.users(3))
    assert.is_nil(err)
    assert.same({ users = 3, done = 2, refused = 1, requests = 1 }, app.counts(report))
    assert.same({ "2 u2 refused 70107: the account does not exist" }, app.failures(report))
  end)

  it("that gets odd names from a preflight says so", function()
    for _, names in ipairs { '{"0":null,"1":"sex"}', '{"0":5}', '{"0":{"x":1}}', "7" } do
      odd:says { { body = '{"ActionStatus":"OK","ErrorCode":0,"AttrNames":' .. names .. "}" } }
      local client = app.client(odd, { preflight = true })
      local report, err = client:set_attr(app.users(1))
      assert.is_true(report == nil and err.code == "BAD_REPLY" or report.users == 1)
      client:close()
    end
  end)

  it("that gets no names says so", function()
    odd:says { app.YES }
    local client = app.client(odd)
    local names, err = client:get_attr_name()
    client:close()
    assert.is_nil(names)
    assert.equal(odd.endpoint .. ": the answer is not one of the vendor's (no good AttrNames); "
      .. "check that the endpoint is the vendor's REST API", tostring(err))
  end)

  it("of set_attr_name and get_attr_name says so too", function()
    local client = app.client(server, { key = "wrong key" })
    for _, name in ipairs { "set_attr_name", "get_attr_name" } do
      local value, err = client[name](client, { ["0"] = "sex" })
      assert.is_nil(value)
      assert.same({ "70009", "permission" }, { err.code, err.class })
      assert_no_secret(err)
    end
    client:close()
    local gone = app.client({ endpoint = NOWHERE }, { attempts_max = 1 })
    local names, err = gone:get_attr_name()
    assert.same({ nil, "CONNECT" }, { names, err.code })
    gone:close()
  end)

  -- ---- too slow, too fast

  it("does not know what became of users whose answer is too late #slow", function()
    server:settings { latency_ms = 3600 }
    local report, err, seconds = set(server, { timeout_ms = 3100, attempts_max = 1 }, app.users(3))
    assert.same({ "TIMEOUT", "timeout" }, { err.code, err.class })
    assert.same({ users = 3, unknown = 3, requests = 1 }, app.counts(report))
    assert.equal("1 u1 unknown TIMEOUT: no answer in time", app.failures(report)[1])
    assert.truthy(seconds > 3 and seconds < 60, seconds)
    assert.equal(1, arrivals())
  end)

  it("that is too fast for the server slows down, and does all users #slow", function()
    server:settings { limit = 5 }
    local report, err = set(server, { rate = 100 }, app.users(900))
    assert.is_nil(err)
    assert.equal(900, app.counts(report).done)
    local stats = server:stats().commands.im_set_attr
    assert.same({ 9, 900 }, { stats.accepted, stats.users })
    assert.truthy(stats.by_code["60007"] >= 1)
    assert.equal(report.requests, stats.arrivals)
    assert.equal(report.requests - 9, report.retries)
  end)

  it("keeps to its rate", function()
    core.sleep_us(1100000) -- the server remembers the requests of the last second
    server:settings { limit = 20 }
    local report, err = set(server, { rate = 20 }, app.users(4000))
    assert.is_nil(err)
    assert.same({ users = 4000, done = 4000, requests = 40 }, app.counts(report))
    local stats = server:stats().commands.im_set_attr
    assert.same({}, stats.by_code)
    assert.truthy(stats.max_in_second <= 20, stats.max_in_second)
  end)

  -- ---- secrets

  it("shows neither key nor UserSig, whatever it prints", function()
    local words = ("POST /v4/x?usersig=eJw%s*-_&random=1 was refused"):format(("a1B2"):rep(40))
    odd:says { app.no(70009, words) }
    local client = app.client(odd)
    local results = {}
    local report, err = client:set_attr(app.users(2), { on_result = function(result)
      results[#results + 1] = result
    end })
    assert.equal(2, #results)
    assert_no_secret(report, err, results, client:last_report(), tostring(client))
    assert.truthy(tostring(err):find("REDACTED&random=1", 1, true))
    client:close()
    assert_no_secret(tostring(client), client:last_report())
  end)
end)
