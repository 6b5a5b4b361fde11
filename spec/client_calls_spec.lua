-- What a call of a client may be given beside its users: callbacks, limits, a dry run; and what
-- remains when one of them fails.

local app = require "support.app"
local core = require "imattr.core"
local sandbox = require "support.sandbox"

local server, client

local function arrivals()
  local count = 0
  for _, stats in pairs(server:stats().commands) do count = count + stats.arrivals end
  return count
end

local function seconds_of(call)
  local started_us = core.now_us()
  call()
  return (core.now_us() - started_us) / 1e6
end

-- A user function that raises `value` after `count` users.
local function raising_after(count, value)
  local i = 0
  return function()
    i = i + 1
    if i > count then error(value, 0) end
    return "u" .. i, { city = "x" }
  end
end

-- What pcall got as an error value.
local function raised(...)
  local ok, value = pcall(...)
  assert.is_false(ok)
  return value
end

describe("a call of a client", function()
  setup(function()
    server = sandbox.start { key = app.KEY, limit = 0, attr_names = { "sex", "city" } }
  end)
  teardown(function() server:stop() end)
  before_each(function()
    server:settings { latency_ms = 0, latency_jitter_ms = 0, limit = 0 }
    server:reset()
    client = app.client(server)
  end)
  after_each(function() client:close() end)

  it("finds one bad user among 10,000 with fewer than 20 requests more", function()
    for _, bad in ipairs { 1, 5050, 10000 } do
      local users = app.users(10000)
      users[bad].Attrs = { colour = "red" } -- no such name: 90033
      local report = client:set_attr(users)
      assert.same({ 9999, 1 }, { report.done, report.refused })
      assert.equal("u" .. bad, report.failures[1].account)
      assert.truthy(report.requests < 120, report.requests)
    end
  end)

  it("counts a user that an iterator gives when the run has been stopped", function()
    for _, last in ipairs { 1, 99, 100, 101, 150 } do
      local i, one = 0, app.client(server)
      local report = one:set_attr(function()
        i = i + 1
        if i == last then one:close() end
        return "u" .. i, { city = "x" }
      end)
      assert.equal(last, report.users)
      assert.equal(last, report.done + report.not_sent)
    end
  end)

  -- ---- on_result

  it("tells on_result every fate once, in the shape of a result", function()
    local seen, users = {}, app.users(250)
    users[7] = { To_Account = "", Attrs = { city = "x" } }
    users[150] = { To_Account = "u150", Attrs = { colour = "red" } } -- no such name: 90033
    local report = client:set_attr(users, { on_result = function(result)
      assert.is_nil(seen[result.index])
      seen[result.index] = result
    end })
    assert.same({ 250, 248, 1, 1 }, { #seen, report.done, report.invalid, report.refused })
    assert.same({ index = 1, account = "u1", fate = "done", attempts = 1 }, seen[1])
    assert.equal("invalid", seen[7].fate)
    assert.same({ "refused", "90033", "u150" },
      { seen[150].fate, seen[150].code, seen[150].account })
    assert.truthy(seen[150].message:find("^an attribute is not valid; .*colour"))
    assert.truthy(seen[150].attempts > 1)
    assert.same({ seen[7], seen[150] }, report.failures)
    assert.same(report, client:last_report())
  end)

  it("lets on_result call the client again, as deep as it likes", function()
    local reports = {}
    local function set(depth)
      reports[depth] = client:set_attr({ ["deep" .. depth] = { city = "x" } }, {
        on_result = function(result)
          assert.same({ "done", "deep" .. depth }, { result.fate, result.account })
          assert.same({ city = "x" }, app.stored(client, result.account))
          if depth < 5 then set(depth + 1) end
        end,
      })
    end
    set(1)
    for depth = 1, 5 do
      assert.same({ users = 1, done = 1, requests = 1 }, app.counts(reports[depth]))
    end
    assert.equal(reports[1], client:last_report())
  end)

  it("may run inside another's iterator, progress and stop", function()
    local inner = 0
    local function call_again()
      inner = inner + client:set_attr({ inner = { city = "x" } }).done
    end
    local i = 0
    local report = client:set_attr(function()
      i = i + 1
      if i <= 3 then
        call_again()
        return "outer" .. i, { city = "x" }
      end
    end, { on_progress = call_again, should_stop = function() call_again() end })
    assert.same({ users = 3, done = 3, requests = 1 }, app.counts(report))
    assert.truthy(inner >= 5)
    assert.equal(3, client:last_report().users)
  end)

  it("passes on what a callback raised, writes its report, and the client works on", function()
    local value = { "anything" }
    local calls = {
      on_result = { on_result = function() error(value) end },
      on_progress = { on_progress = function() error(value) end },
      should_stop = { should_stop = function() error(value) end },
    }
    for name, call in pairs(calls) do
      server:settings { latency_ms = 50 }
      assert.equal(value, raised(client.set_attr, client, app.users(350), call), name)
      app.counts(client:last_report())
      server:settings { latency_ms = 0 }
      local report = client:set_attr(app.users(10))
      assert.same({ users = 10, done = 10, requests = 1 }, app.counts(report))
      assert.equal(report, client:last_report())
    end
  end)

  it("that ended by a raise has no good report", function()
    for _, name in ipairs { "on_result", "on_progress", "should_stop" } do
      pcall(client.set_attr, client, app.users(350), { [name] = function() error("x") end })
      assert.is_false(client:last_report().ok, name)
      assert.truthy(client:last_report().error, name)
    end
  end)

  it("mixes up no replies after a callback raised", function()
    client:set_attr { left = { city = "here" } }
    server:settings { latency_ms = 100 }
    pcall(client.set_attr, client, app.users(350), { on_result = function() error("x") end })
    assert.same({ left = { city = "here" } }, (client:get_attr { "left" }))
  end)

  -- ---- an iterator that fails

  it("passes on what an iterator raised, as it is, and reports what was sent before", function()
    for _, value in ipairs { "a sentence", { code = 7 }, 5, true } do
      server:reset()
      local results = 0
      assert.equal(value, raised(client.set_attr, client, raising_after(250, value),
        { on_result = function() results = results + 1 end }))
      local report = client:last_report()
      assert.same({ "SOURCE_FAILED", "input", false },
        { report.error.code, report.error.class, report.ok })
      assert.same({ 250, 250 }, { report.users, results })
      app.counts(report)
      assert.equal(report.done, server:stats().commands.im_set_attr.users)
      assert.equal(report.done + report.not_sent, 250)
    end
  end)

  it("passes on nil and false that an iterator raised", function()
    assert.is_nil(raised(client.set_attr, client, raising_after(1, nil)))
    assert.is_false(raised(client.set_attr, client, raising_after(1, false)))
    assert.equal("SOURCE_FAILED", client:last_report().error.code)
  end)

  it("sends nothing when the iterator fails at once", function()
    assert.equal("x", raised(client.remove_attr, client, raising_after(0, "x")))
    assert.same({}, app.counts(client:last_report()))
    assert.equal(0, arrivals())
    assert.equal("x", raised(client.get_attr, client, raising_after(0, "x")))
  end)

  -- ---- on_progress, should_stop, deadline_ms

  it("tells on_progress counts that add up, not too often #timing", function()
    server:settings { latency_ms = 30 }
    local client_slow = app.client(server, { in_flight_max = 2 })
    local calls, last, moments = 0, nil, {}
    local report = client_slow:set_attr(app.users(3000), { on_progress = function(progress)
      calls = calls + 1
      moments[calls] = core.now_us()
      assert.equal(progress.users, progress.done + progress.invalid + progress.refused
        + progress.unknown + progress.not_sent + progress.waiting + progress.in_flight)
      assert.truthy(progress.seconds >= (last or 0))
      assert.truthy(progress.in_flight <= 200 and progress.requests <= 30)
      last = progress.seconds
    end })
    client_slow:close()
    assert.equal(3000, report.done)
    assert.truthy(calls >= 3 and calls <= report.seconds / 0.09 + 2, calls)
    for i = 2, calls do assert.truthy(moments[i] - moments[i - 1] >= 95000) end
  end)

  it("ends when should_stop says so: what is on its way is waited for", function()
    server:settings { latency_ms = 150 }
    local one = app.client(server, { in_flight_max = 1 })
    local asked = 0
    local report, err
    local seconds = seconds_of(function()
      report, err = one:set_attr(app.users(1000), { should_stop = function()
        asked = asked + 1
        return one and core.now_us() > 0 and asked > 12
      end })
    end)
    one:close()
    assert.same({ "INTERRUPTED", "interrupted", err }, { err.code, err.class, report.error })
    assert.equal(0, report.unknown)
    assert.truthy(report.done >= 100 and report.not_sent > 0 and report.done < 1000)
    assert.equal(report.done, server:stats().commands.im_set_attr.users)
    assert.truthy(seconds < 60)
    assert.equal("INTERRUPTED", report.failures[1].code)
    app.counts(report)
  end)

  it("sends nothing when should_stop says so at once", function()
    local report, err = client:set_attr(app.users(10), { should_stop = function() return true end })
    assert.equal("INTERRUPTED", err.code)
    assert.same({ 0, 0 }, { report.done, report.requests })
    assert.equal(0, arrivals())
  end)

  it("ends at its deadline, which the call may set over the client's #timing", function()
    server:settings { latency_ms = 100 }
    for _, set in ipairs { { { deadline_ms = 400 }, nil },
      { { deadline_ms = 60000 }, { deadline_ms = 400 } } } do
      local slow = app.client(server, { in_flight_max = 1, deadline_ms = set[1].deadline_ms })
      local report, err
      local seconds = seconds_of(function()
        report, err = slow:set_attr(app.users(2000), set[2])
      end)
      slow:close()
      assert.same({ "DEADLINE", "deadline" }, { err.code, err.class })
      assert.truthy(seconds >= 0.39 and seconds < 1, seconds)
      assert.truthy(report.done >= 100 and report.done <= 400)
      assert.same({ 0, 0 }, { report.unknown, report.refused })
      assert.equal(report.users, report.done + report.not_sent)
      assert.equal(report.done, server:stats().commands.im_set_attr.users)
      server:reset()
    end
  end)

  it("without a deadline in the call takes the client's away with 0", function()
    server:settings { latency_ms = 60 }
    local short = app.client(server, { in_flight_max = 1, deadline_ms = 100 })
    local report, err = short:set_attr(app.users(500), { deadline_ms = 0 })
    short:close()
    assert.is_nil(err)
    assert.equal(500, report.done)
  end)

  it("counts a whole list, also when the run ends early", function()
    local seen = {}
    local report = client:set_attr(app.users(20000), { failures_max = 2,
      should_stop = function() return true end,
      on_result = function(result) seen[result.index] = result end })
    assert.same({ users = 20000, not_sent = 20000 }, app.counts(report))
    assert.same({ 2, 19998, 20000 }, { #report.failures, report.failures_more, #seen })
    assert.same({ index = 20000, account = "u20000", fate = "not_sent", code = "INTERRUPTED",
      message = seen[1].message, attempts = 0 }, seen[20000])
  end)

  it("passes on what on_result raised about users that were left over, too", function()
    local before = client:set_attr(app.users(1))
    local value = {}
    assert.equal(value, raised(client.set_attr, client, app.users(20000), {
      should_stop = function() return true end, on_result = function() error(value) end }))
    assert.not_equal(before, client:last_report())
  end)

  -- ---- removes

  it("takes names to remove behind attributes, as updates of their own", function()
    assert(client:set_attr { a = { city = "x", sex = "m" }, b = { city = "x" } })
    local rows = { { "a", { city = "y" }, { "sex" } }, { "b", {}, { "city" } },
      { "c", { city = "z" } }, { "d", { city = "z" }, { 1 } } }
    local i, fates = 0, {}
    local report = client:set_attr(function()
      i = i + 1
      if rows[i] then return (unpack or table.unpack)(rows[i]) end
    end, { removes = true, on_result = function(result)
      fates[result.index] = ("%s %s"):format(result.account, result.fate)
    end })
    assert.same({ "a done", "a done", "b done", "c done", "d done", "d invalid" }, fates)
    assert.same({ users = 6, done = 5, invalid = 1, requests = 3 }, app.counts(report))
    assert.same({ a = { city = "y" }, b = {}, c = { city = "z" }, d = { city = "z" } },
      (client:get_attr { "a", "b", "c", "d" }))
  end)

  it("tells of both halves when it is stopped between them", function()
    local fates, given = {}, 0
    client:set_attr(function()
      given = given + 1
      return "u" .. given, { city = "x" }, { "sex" }
    end, { removes = true, should_stop = function() return given >= 150 end,
      on_result = function(result) fates[result.index] = result.fate end })
    assert.equal(given * 2, #fates)
  end)

  it("ignores a third value that it was not told of", function()
    local given = 0
    local report = client:set_attr(function()
      given = given + 1
      if given == 1 then return "a", { city = "x" }, 2 end
    end)
    assert.equal(1, report.done)
  end)

  -- ---- on_attempt

  it("tells of every request that is back, without the signature", function()
    server:settings { limit = 1 } -- the second of the three is too early
    local seen, fates = {}, 0
    local report = client:set_attr(app.users(250), {
      on_result = function() fates = fates + 1 end,
      on_attempt = function(attempt)
        seen[#seen + 1] = attempt
        attempt.fates = fates -- its users have theirs already
      end,
    })
    server:settings { limit = 0 }
    assert.equal(report.requests, #seen)
    local again, users = 0, 0
    for _, attempt in ipairs(seen) do
      assert.truthy(attempt.url:find("/im_set_attr?", 1, true))
      assert.truthy(attempt.url:find("usersig=REDACTED&", 1, true))
      assert.same({ "POST", 200, server.endpoint:match("//(.*)$") },
        { attempt.method, attempt.status, attempt.address })
      again = again + (attempt.resend_class == "slow_down" and 1 or 0)
      assert.equal(attempt.resend_count > 0, attempt.resend_class ~= nil)
      users = users + (attempt.error_type and 0 or attempt.users)
      assert.is_true(attempt.seconds > 0 and attempt.fates >= users)
    end
    assert.same({ 250, report.retries, true }, { users, again, again > 0 })
  end)

  it("passes on what on_attempt raised; users that were answered keep their fate", function()
    assert.equal("x", raised(client.set_attr, client, app.users(250), {
      on_attempt = function() error("x", 0) end }))
    assert.is_true(client:last_report().done >= 50)
  end)

  -- ---- an iterator that waits

  it("hands its iterator a function that lets the run go on meanwhile", function()
    local i, done, was_wanted = 0, 0, true
    local report = client:set_attr(function(tend)
      i = i + 1
      if i == 101 then -- the first hundred are full a batch
        was_wanted = tend(100) and tend(0)
        assert.equal(100, done)
      end
      if i <= 150 then return "tended" .. i, { city = "x" } end
    end, { on_result = function() done = done + 1 end })
    assert.is_true(was_wanted)
    assert.same({ users = 150, done = 150, requests = 2 }, app.counts(report))
  end)

  it("tells the iterator that waits when nobody wants more", function()
    local asked, wanted = 0, nil
    local report, err = client:set_attr(function(tend)
      asked = asked + 1
      wanted = tend(20)
      if wanted then return "u" .. asked, { city = "x" } end
    end, { should_stop = function() return asked >= 5 end })
    assert.equal("INTERRUPTED", err.code)
    assert.is_false(wanted)
    assert.equal(5, asked)
    assert.same({ users = 4, not_sent = 4 }, app.counts(report))
  end)

  -- ---- dry_run

  it("that is a dry run screens and counts, and sends nothing", function()
    local users = app.users(250)
    users[3] = { To_Account = "", Attrs = { city = "x" } }
    local fates = {}
    local report, err = client:set_attr(users, { dry_run = true, on_result = function(result)
      fates[result.fate] = (fates[result.fate] or 0) + 1
    end })
    assert.is_nil(err)
    assert.same({ users = 250, invalid = 1, not_sent = 249, requests = 3 }, app.counts(report))
    assert.same({ invalid = 1, not_sent = 249 }, fates)
    assert.is_true(report.dry_run)
    assert.is_nil(report.error)
    assert.is_true(client:remove_attr({ a = { "city" } }, { dry_run = true }).dry_run)
    local attributes, got = client:get_attr({ "a" }, { dry_run = true })
    assert.same({}, attributes)
    assert.is_true(got.dry_run)
    assert.equal(0, arrivals())
    assert.is_nil(client:set_attr(app.users(1)).dry_run)
  end)

  it("that is a dry run says how long a real one would take", function()
    local paced = app.client(server, { rate = 10 })
    assert.equal(2, paced:set_attr(app.users(2000), { dry_run = true }).seconds)
    paced:close()
  end)

  it("that is a dry run needs no server and no preflight", function()
    local alone = app.client({ endpoint = "https://127.0.0.1:9" }, { preflight = true })
    assert.equal(100, alone:set_attr(app.users(100), { dry_run = true }).not_sent)
    alone:close()
  end)

  it("that is a dry run lists what is invalid, not everybody", function()
    local users = app.users(1500)
    users[1400] = { To_Account = "", Attrs = { city = "x" } }
    local report = client:set_attr(users, { dry_run = true })
    assert.same({ "1400  invalid ACCOUNT_EMPTY: account: empty" }, app.failures(report))
  end)

  -- ---- the end of a client

  it("survives that the client is closed in its middle", function()
    for _, rate in ipairs { 0, 1000 } do
      for _, name in ipairs { "on_result", "on_progress", "should_stop" } do
        local closing = app.client(server, { rate = rate, in_flight_max = 1 })
        pcall(closing.set_attr, closing, app.users(500),
          { [name] = function() closing:close() end })
        app.counts(closing:last_report())
        assert.equal("imattr.client (closed)", tostring(closing))
      end
      local closing = app.client(server, { rate = rate, in_flight_max = 1 })
      local users = app.iterator(app.users(500))
      pcall(closing.set_attr, closing, function()
        closing:close()
        return users()
      end)
      app.counts(closing:last_report())
    end
  end)

  it("of a client that is thrown away in its middle leaves nothing behind", function()
    local function abandon()
      local thrown = app.client(server, { rate = 100 })
      local run = coroutine.wrap(function()
        thrown:set_attr(function()
          coroutine.yield()
          return "x", { city = "x" }
        end)
      end)
      run()
    end
    for _ = 1, 20 do abandon() end
    collectgarbage()
    collectgarbage()
    assert.equal(1, client:set_attr(app.users(1)).done)
  end)
end)
