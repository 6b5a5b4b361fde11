-- imattr doctor in every state that a set-up can be in, as real processes against sandboxes: what
-- each line says, what it sends, and the exit code.
local command = require "support.command"
local impostor = require "support.impostor"
local process = require "support.process"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local run, write = command.run, command.write

-- The lines of a screen: name -> { mark, words }.
local function lines_of(output)
  local lines = {}
  for mark, name, words in output.stdout:gmatch("(%l%l)  (%S+) +([^\n]+)\n") do
    lines[name] = { mark = mark, words = words }
  end
  return lines
end

describe("imattr doctor #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(function()
    command.enter()
    command.server:settings { attr_names = { "sex", "city" }, admins = { "administrator" },
      limit = 0 }
  end)
  after_each(command.leave)

  -- Fails unless this line, the last before the verdict, says what to do, and all before are ok.
  local function assert_stops(output, name, pattern, code)
    local lines = lines_of(output)
    assert.truthy(lines[name], output.stdout .. output.stderr)
    assert.are.equal("do", lines[name].mark)
    assert.truthy(lines[name].words:find(pattern), output.stdout)
    assert.truthy(output.stdout:find("\n1 thing to do\n$") or output.stdout:find(
      "^do  [^\n]*\n1 thing to do\n$"), output.stdout)
    assert.are.equal("", output.stderr)
    assert.are.equal(code, output.code)
    return lines
  end

  it("says that all is well", function()
    local output = run { "doctor" }
    local port = command.server.endpoint:match("%d+$")
    local shown = output.stdout:gsub("%d%d%d%d%-%d%d%-%d%d", "DATE"):gsub(port, "PORT")
      :gsub("%d+ s ahead of the server's, which does no harm", "in step with the server's")
    assert.are.equal([[
ok  set-up         sdkappid from IMATTR_SDKAPPID, endpoint from IMATTR_ENDPOINT, key from IMATTR_KEY
ok  DNS            127.0.0.1 is an address
ok  connection     port PORT answers
ok  TLS            imattr sandbox, a chain of 1, trusted until DATE
ok  clock          in step with the server's
ok  region         the endpoint knows the app
ok  signature      accepted
ok  administrator  administrator
ok  feature        on
ok  names          2 of 10: sex, city
ok  users          can be read
ok  quota          no limit (rate 0)
all is well
]], shown)
    assert.are.equal("", output.stderr)
    assert.are.equal(0, output.code)
  end)

  it("sends two requests, and changes nothing", function()
    run { "doctor" }
    local stats = command.server:stats()
    local arrivals = {}
    for name, counter in pairs(stats.commands) do
      if counter.arrivals > 0 then arrivals[name] = counter.arrivals end
    end
    assert.are.same({ im_get_attr_name = 1, im_get_attr = 1 }, arrivals)
  end)

  it("prints one object when asked to", function()
    local object = require("cjson").decode(run({ "doctor", "--json" }).stdout)
    assert.is_true(object.ok)
    assert.are.equal(0, object.exit_code)
    assert.are.equal(12, #object.checks)
    local wrong = require("cjson").decode(run({ "doctor", "--json" },
      { env = { IMATTR_KEY = command.KEY:reverse() } }).stdout)
    assert.is_false(wrong.ok)
    assert.are.equal(77, wrong.exit_code)
    local last = wrong.checks[#wrong.checks]
    assert.are.same({ "signature", false, 77 }, { last.name, last.ok, last.exit_code })
  end)

  describe("stops at", function()
    it("a set-up that is not there", function()
      local output = run({ "doctor" }, { env = { IMATTR_SDKAPPID = false } })
      assert_stops(output, "set-up", "^set%-up is missing: sdkappid; sdkappid +%-%-sdkappid NUMBER "
        .. "or IMATTR_SDKAPPID: the app's SDKAppID$", 78)
    end)

    it("a set-up that is wrong", function()
      assert_stops(run({ "doctor" }, { env = { IMATTR_RATE = "x" } }), "set-up",
        "^rate: \"x\", wants an integer %(from IMATTR_RATE%)$", 78)
      assert_stops(run({ "doctor" }, { env = { IMATTR_ENDPOINT = "http://a.example" } }), "set-up",
        "wants https; http is for loopback only$", 78)
      assert_stops(run({ "doctor", "--profile", "none" }), "set-up", "^profile none: ", 78)
    end)

    it("a name that nobody knows", function()
      local output = run({ "doctor" }, { env = { IMATTR_ENDPOINT = "https://no-such-host.invalid",
        https_proxy = false, HTTPS_PROXY = false, ALL_PROXY = false, all_proxy = false } })
      assert_stops(output, "DNS", "no%-such%-host.invalid: .*check the host's name", 69)
    end)

    it("a port where nobody listens", function()
      local lines = assert_stops(run({ "doctor" }, { env = { IMATTR_ENDPOINT =
        "https://127.0.0.1:1" } }), "connection", "check the endpoint", 69)
      assert.are.equal("ok", lines.DNS.mark)
      assert.is_nil(lines.TLS)
    end)

    it("a certificate that is not trusted", function()
      local lines = assert_stops(run({ "doctor" }, { env = { IMATTR_CA_FILE = false } }), "TLS",
        "a certificate of your own goes into ca_file", 69)
      assert.are.equal("ok", lines.connection.mark)
      assert.is_nil(lines.clock)
    end)

    it("a key that is not the app's", function()
      local output = run({ "doctor" }, { env = { IMATTR_KEY = command.KEY:reverse() } })
      local lines = assert_stops(output, "signature",
         "^70009: .*; check that the key is the one of this sdkappid$", 77)
      assert.are.equal("ok", lines.region.mark)
      assert.is_nil(lines.administrator)
    end)

    it("somebody who is no administrator", function()
      command.server:settings { admins = { "somebody" } }
      local lines = assert_stops(run { "doctor" }, "administrator",
        "^90009: .*; make it one in the console, or give another identifier$", 77)
      assert.are.equal("ok", lines.signature.mark)
    end)

    it("an app without names", function()
      command.server:settings { attr_names = {} }
      local lines = assert_stops(run { "doctor" }, "names",
        "^no attribute name is registered; imattr names set 0=city 1=level$", 78)
      assert.are.equal("ok", lines.users.mark)
    end)
  end)

  describe("in the wrong region", function()
    local other

    before_each(function()
      command.server:settings { region_ok = false }
      other = sandbox.start { key = command.KEY, sdkappid = command.SDKAPPID, limit = 0 }
    end)
    after_each(function() other:stop() end)

    -- Runs it in a world whose regions are on loopback; the two sandboxes need one trust.
    local function run_in(regions, words)
      local certificates = shell.read(command.server.ca_file) .. shell.read(other.ca_file)
      write("trust.pem", certificates)
      local lines = { 'local regions = require("imattr.wire").regions' }
      for name, endpoint in pairs(regions) do
        lines[#lines + 1] = ("regions.%s = { %q }"):format(name, (endpoint:gsub("https://", "")))
      end
      write("regions.lua", table.concat(lines, "\n") .. "\n")
      local line = command.line { "doctor", words[1], words[2] }
      table.insert(line, 2, "-l")
      table.insert(line, 3, "regions")
      local place = command.place { IMATTR_ENDPOINT = false, IMATTR_CA_FILE = "trust.pem",
        LUA_PATH = ("./?.lua;%s/lua/?.lua;;"):format(command.TREE),
        LUA_CPATH = ("%s/build/%s/?.so;;"):format(command.TREE,
          rawget(_G, "jit") and "jit" or "5.4") }
      local output = process.run(line, place)
      command.assert_no_secret(output)
      return output
    end

    local NOBODY = "https://127.0.0.1:1"

    it("asks the others, and names the right one", function()
      local wrong = command.server.endpoint
      local output = run_in({ china = wrong, singapore = NOBODY, seoul = wrong, tokyo = wrong,
        frankfurt = other.endpoint, silicon_valley = NOBODY, jakarta = NOBODY },
        { "--region", "china" })
      local lines = assert_stops(output, "region", "^70016: the app's key is not found at this "
        .. "host; the app lives in frankfurt: %-%-region frankfurt, or IMATTR_REGION=frankfurt$",
        78)
      assert.are.equal("ok", lines.clock.mark)
      assert.is_nil(lines.signature)
      assert.are.equal(1, other:stats().commands.im_get_attr_name.arrivals)
      assert.are.equal(3, command.server:stats().commands.im_get_attr_name.arrivals)
    end)

    it("says so when the app is in none", function()
      local wrong, regions = command.server.endpoint, {}
      for _, name in ipairs { "china", "singapore", "seoul", "tokyo", "frankfurt",
        "silicon_valley", "jakarta" } do
        regions[name] = wrong
      end
      assert_stops(run_in(regions, { "--region", "china" }), "region",
        "nor is it found in any other region: check sdkappid and key$", 78)
    end)

    it("names the right one of several endpoints", function()
      local endpoints = command.server.endpoint .. "," .. NOBODY .. "," .. other.endpoint
      assert_stops(run_in({}, { "--endpoint", endpoints }), "region",
        "^70016: .*; the app is found at " .. other.endpoint:gsub("%p", "%%%0")
          .. ": %-%-endpoint ", 78)
    end)

    it("looks at the host that stands in, too", function()
      command.server:settings { region_ok = true }
      local endpoints = command.server.endpoint .. "," .. other.endpoint
      local output = run_in({}, { "--endpoint", endpoints })
      assert.are.equal("127.0.0.1 works too", lines_of(output)["stand-in"].words)
      assert.are.equal(0, output.code)
      endpoints = command.server.endpoint .. "," .. NOBODY
      output = run_in({}, { "--endpoint", endpoints })
      assert.are.equal("do", lines_of(output)["stand-in"].mark)
      assert.are.equal(69, output.code)
    end)
  end)

  describe("at a server that says", function()
    local server

    setup(function() server = impostor.start() end)
    teardown(function() server:stop() end)

    local function run_at(replies)
      server:says(replies)
      return run({ "doctor" }, { env = { IMATTR_ENDPOINT = server.endpoint,
        IMATTR_CA_FILE = false } })
    end

    local function refusal(code)
      return { body = ('{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":"no"}'):format(code) }
    end

    local NAMES = { body = '{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"",'
      .. '"AttrNames":{"0":"sex"}}' }
    local USERS = { body = '{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserAttrs":[]}' }

    it("nothing about TLS: that is plain HTTP", function()
      local output = run_at { NAMES, USERS }
      assert.are.equal("none: plain HTTP, which is for loopback alone", lines_of(output).TLS.words)
      assert.are.equal(0, output.code, output.stdout)
    end)

    local function dated(reply, ahead_s)
      return { body = reply.body, headers = { Date = os.date("!%a, %d %b %Y %H:%M:%S GMT",
        os.time() + ahead_s) } }
    end

    it("another time: the clock is wrong", function()
      local lines = assert_stops(run_at { dated(NAMES, -7200), USERS }, "clock",
        "^[12] h [05][09] min ahead of the server's; set it %(timedatectl set%-ntp true%)", 78)
      assert.are.equal("accepted", lines.signature.words)
      lines = assert_stops(run_at { dated(NAMES, 7200), USERS }, "clock",
        "^[12] h [05][09] min behind the server's; set it", 78)
      assert.are.equal("ok", lines.quota.mark)
    end)

    it("a time that is a little off, which does no harm", function()
      local lines = lines_of(run_at { dated(NAMES, 30), USERS })
      assert.are.equal("ok", lines.clock.mark)
      assert.truthy(lines.clock.words:find("^%d+ s behind the server's, which does no harm$"))
    end)

    it("that the UserSig has expired, until it is made by its clock", function()
      local output = run_at { dated(refusal(70001), 86400 * 3), dated(NAMES, 86400 * 3), USERS }
      local lines = lines_of(output)
      assert.are.equal("accepted, when made by the server's clock", lines.signature.words)
      assert.truthy(lines.clock.words:find("behind the server's; set it", 1, true))
      assert.are.equal(78, output.code)
    end)

    local refusals = {
      { 70001, "signature", "check this machine's clock", 77 },
      { 70003, "signature", "check key", 77 },
      { 70013, "signature", "check identifier", 77 },
      { 70050, "signature", "check the key, and wait a minute", 77 },
      { 70020, "region", "check sdkappid and region", 78 },
      { 60006, "region", "check sdkappid", 78 },
      { 60010, "administrator", "make it one in the console", 77 },
      { 90045, "feature", "console: Feature Configuration > Login and Message > Push to all "
        .. "users", 78 },
      { 60020, "feature", "look at the app's package in the console", 78 },
      { 60021, "feature", "ask the vendor's support", 78 },
    }
    for _, case in ipairs(refusals) do
      it(case[1] .. ": " .. case[2], function()
        assert_stops(run_at { refusal(case[1]) }, case[2],
          ("^%d: .*%s"):format(case[1], (case[3]:gsub("%p", "%%%0"))), case[4])
      end)
    end

    it("that it is too fast: others use the quota", function()
      local output = run_at { refusal(60007) }
      local lines = lines_of(output)
      assert.are.equal("60007: others use the quota too; lower --rate to your share of it",
        lines.quota.words)
      assert.are.equal("ok", lines.signature.mark)
      assert.are.equal(69, output.code)
      assert.are.equal(1, #server:requests())
    end)

    it("that accounts must exist, which is an answer as well", function()
      local lines = lines_of(run_at { NAMES, refusal(90003) })
      assert.are.same({ mark = "ok", words = "can be asked about" }, lines.users)
    end)

    it("what is not the vendor's to say", function()
      assert_stops(run_at { { status = 404, body = "<html>" } }, "answer",
        "check that the endpoint is the vendor's REST API$", 69)
      assert_stops(run_at { { body = "hello" } }, "answer", "REST API$", 69)
    end)

    it("nothing and hangs up", function()
      assert_stops(run_at { { cut = "before" } }, "connection", "", 69)
    end)
  end)

  describe("about the quota", function()
    local function quota()
      return lines_of(run({ "doctor" }, { env = { IMATTR_RATE = "50" } })).quota.words
    end

    it("tells how many slots this machine has in use", function()
      assert.are.equal("50 requests/s; nobody on this machine has used any", quota())
      write("users.csv", "To_Account,sex\na,m\n")
      run({ "set", "-q", "users.csv" }, { env = { IMATTR_RATE = "50" } })
      assert.is_true(process.wait_until(function() -- the slot just used rests for a second
        return quota() == "50 requests/s; 50 of 50 slots for setting are free"
      end))
    end)

    it("sees slots that another process holds", function()
      write("users.csv", "To_Account,sex\na,m\n")
      run({ "set", "-q", "users.csv" }, { env = { IMATTR_RATE = "50" } })
      local ring = ("%d-im_set_attr-%s"):format(command.SDKAPPID,
        (command.server.endpoint:match("//(.*)"):gsub(":", "_")))
      local core = require "imattr.core"
      local pace = assert(core.pace(50, "strict", ring))
      local taken = 0
      while taken < 20 do
        local slot, until_us = pace:take(core.now_us(), 60000000)
        taken = taken + (slot and 1 or 0)
        if not slot then core.sleep_us(math.max(0, until_us - core.now_us())) end
      end
      local is_seen = process.wait_until(function() return quota():find("; 30 of 50 slots") end)
      pace:close()
      assert.is_truthy(is_seen)
    end)
  end)

  it("tells a wrong clock by the certificate's dates", function()
    if not shell.run("command -v faketime >/dev/null") then
      return pending "faketime is not here"
    end
    local line = command.line { "doctor" }
    table.insert(line, 1, "faketime")
    table.insert(line, 2, "-40 days")
    local place = command.place { DONT_FAKE_MONOTONIC = "1" }
    local moment = "%d+%-%d%d%-%d%d [%d:]+ UTC"
    assert_stops(process.run(line, place), "TLS", "^the certificate is valid from " .. moment
      .. ", and this machine's clock says " .. moment .. "; set the clock$", 69)
    line[2] = "+400 days"
    assert_stops(process.run(line, place), "TLS", "^the certificate ended on " .. moment, 69)
  end)
end)
