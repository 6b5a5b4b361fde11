-- The UserSig that a client signs its requests with: made once, used again, renewed in time, and
-- made anew when the vendor refuses it.

local app = require "support.app"
local imattr = require "imattr"
local impostor = require "support.impostor"

local usersig = imattr.usersig
local real_time = os.time

describe("a client's UserSig", function()
  local server

  setup(function() server = impostor.start() end)
  teardown(function() server:stop() end)
  before_each(function() server:says { app.YES } end)

  -- Runs a function with a clock that is ahead by so many seconds.
  local function with_clock(ahead_s, run)
    os.time = function(...) -- luacheck: ignore
      return select("#", ...) > 0 and real_time(...) or real_time() + ahead_s
    end
    local ok, problem = pcall(run)
    os.time = real_time -- luacheck: ignore
    assert(ok, problem)
  end

  local function last_usersig()
    local requests = server:requests()
    return requests[#requests].args.usersig
  end

  it("is made once, and again before it expires", function()
    local day = app.client(server, { usersig_expire_s = 1000 })
    day:set_attr(app.users(1))
    local first = last_usersig()
    local made_s = usersig.open(first).time
    with_clock(made_s + 795 - real_time(), function() day:set_attr(app.users(1)) end)
    assert.equal(first, last_usersig())
    with_clock(made_s + 805 - real_time(), function() day:set_attr(app.users(1)) end)
    local second = usersig.open(last_usersig(), { key = app.KEY, now = made_s + 900 })
    assert.truthy(second.time >= made_s + 800)
    day:close()
  end)

  it("is the one given, as it is", function()
    local given = assert(usersig.sign { sdkappid = 1400000000, identifier = "administrator",
      key = app.KEY })
    local other = app.client(server, { key = false, usersig = given })
    other:set_attr(app.users(250))
    other:close()
    for _, request in ipairs(server:requests()) do assert.equal(given, request.args.usersig) end
  end)

  it("comes from a function once, and again when that one is nearly over", function()
    local calls = 0
    local other = app.client(server, { key = false, usersig = function()
      calls = calls + 1
      return usersig.sign { sdkappid = 1400000000, identifier = "administrator", key = app.KEY,
        expire = 100 }
    end })
    assert.equal(0, calls)
    for _ = 1, 3 do other:set_attr(app.users(250)) end
    assert.equal(1, calls)
    with_clock(85, function() other:set_attr(app.users(250)) end)
    assert.truthy(calls > 1)
    other:close()
  end)

  it("that cannot be had keeps the request here", function()
    local cases = {
      { function() return nil, "vault is down" end,
        "usersig: the function returned no string: vault is down" },
      { function() end, "usersig: the function returned no string: nil" },
      { function() return 5 end, "usersig: the function returned no string: number" },
    }
    for _, case in ipairs(cases) do
      local other = app.client(server, { key = false, usersig = case[1] })
      local report, err = other:set_attr(app.users(1))
      assert.is_nil(report)
      assert.same({ "NO_USERSIG", "setup", case[2] }, { err.code, err.class, tostring(err) })
      assert.same({ nil, "NO_USERSIG" }, { nil, select(2, other:get_attr_name()).code })
      other:close()
    end
    local raising = app.client(server, { key = false, usersig = function() error("boo", 0) end })
    local ok, message = pcall(raising.set_attr, raising, app.users(1))
    assert.same({ false, "boo" }, { ok, message })
    assert.same({}, server:requests())
  end)

  it("that cannot be had again ends the run", function()
    server:says { app.no(70001) }
    local calls = 0
    local other = app.client(server, { key = false, usersig = function()
      calls = calls + 1
      if calls > 1 then return nil, "vault is down" end
      return "first"
    end })
    local report, err = other:set_attr(app.users(250))
    assert.equal("NO_USERSIG", err.code)
    assert.equal(250, app.counts(report).not_sent)
  end)

  it("is made anew once when it is refused", function()
    for _, code in ipairs { 70001, 70002, 70003, 70005, 70052, 60004, 60005 } do
      server:says { app.no(code), app.YES }
      local calls = 0
      local other = app.client(server, { key = false, usersig = function()
        calls = calls + 1
        return "sig" .. calls
      end })
      local report, err = other:set_attr(app.users(1))
      assert.is_nil(err)
      assert.same({ users = 1, done = 1, requests = 2, retries = 1 }, app.counts(report))
      assert.same({ "sig1", "sig2", 2 },
        { server:requests()[1].args.usersig, server:requests()[2].args.usersig, calls })
      server:says { app.no(code, "never") }
      report, err = other:set_attr(app.users(1))
      assert.same({ users = 1, not_sent = 1, requests = 2, retries = 1 }, app.counts(report))
      assert.same({ tostring(code), "permission", code }, { err.code, err.class, err.vendor_code })
      other:close()
    end
  end)

  it("is made anew by the server's clock when ours is off", function()
    for _, ahead_s in ipairs { -200000, 200000 } do
      with_clock(ahead_s, function()
        server:says { app.no(70001, "expired"), app.YES }
        local off = app.client(server)
        assert.is_true(off:set_attr(app.users(1)).ok)
        local requests = server:requests()
        local first, second = usersig.open(requests[1].args.usersig),
          usersig.open(requests[2].args.usersig)
        assert.truthy(math.abs(first.time - real_time() - ahead_s) < 60)
        assert.truthy(math.abs(second.time - real_time()) < 60)
        assert.is_true(off:set_attr(app.users(1)).ok)
        assert.equal(requests[2].args.usersig, last_usersig())
        off:close()
      end)
    end
  end)

  it("is made anew once when many requests were refused for it #timing", function()
    local replies = { app.YES }
    for i = 1, 19 do replies[i + 1] = { body = app.no(70001).body, delay_s = i * 0.02 } end
    replies[21] = app.YES
    server:says(replies)
    local calls = 0
    local other = app.client(server, { key = false, usersig = function()
      calls = calls + 1
      return "sig" .. calls
    end })
    assert.equal(2000, other:set_attr(app.users(2000)).done)
    other:close()
    assert.equal(2, calls)
  end)
end)
