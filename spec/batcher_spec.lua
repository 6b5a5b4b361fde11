-- The batcher inside nginx: single updates of many requests become full batches. Real nginx, real
-- sandbox in another nginx, real TLS. How it ends is in batcher_exit_spec.lua.

local app = require "support.app"
local collector = require "support.collector"
local imattr = require "imattr"
local process = require "support.process"

local place

local function open(settings)
  place = collector.open(settings)
  return place
end

-- Posts the same again and again in one request: how many were accepted, and the last refusal.
local POST_MANY = [[
  local accepted, code, message = 0, nil, nil
  for i = 1, %d do
    local ticket, err = batch:post("u" .. i, { city = "cu" .. i })
    if ticket then accepted = accepted + 1 else code, message = err.code, err.message end
  end
  return { accepted = accepted, code = code, message = message }
]]

local function post_many(count) return place:lua(POST_MANY:format(count)) end

local function flush() assert.is_true(place:lua("return assert(batch:flush(20000))")) end

-- Counts that are not 0.
local function counts()
  local all, some = place:lua("return batch:counts()"), {}
  for name, count in pairs(all) do some[name] = count ~= 0 and count or nil end
  return some
end

local function accounts(count)
  local list = {}
  for i = 1, count do list[i] = "u" .. i end
  return list
end

describe("a batcher #heavy", function()
  after_each(function()
    if place then
      assert.same({}, place:alarms())
      place:close()
      place = nil
    end
  end)

  it("makes about 100 full requests of 10,000 single updates #slow", function()
    open { batcher = { linger_ms = 2000 }, workers = 1 }
    local accepted = place:accepted(place:load { count = 10000, parallel = 50 })
    flush()
    assert.equal(10000, #accepted)
    assert.same({ accepted = 10000, done = 10000 }, counts())
    -- the first one travels alone until it is answered, the last one may be smaller
    local arrivals = place:arrivals()
    assert.is_true(arrivals >= 100 and arrivals <= 105, arrivals)
    assert.same({}, place:undelivered(accepted))
  end)

  it("sends what is there after linger_ms", function()
    open { batcher = { linger_ms = 20 } }
    assert.same({ 200, "accepted" }, { place:ask("/post?account=u1&city=cu1") })
    assert.is_truthy(process.wait_until(function() return place:arrivals() == 1 end))
    assert.same({}, place:undelivered { "u1" })
    assert.equal(0, place:lua("return ngx.timer.running_count()"))
  end)

  it("waits for no more than a full batch, whatever linger_ms is", function()
    open { batcher = { linger_ms = 60000 } }
    post_many(250)
    assert.is_truthy(process.wait_until(function() return place:arrivals() == 2 end))
    assert.equal(50, place:lua("return batch:counts().open"))
    flush()
    assert.equal(3, place:arrivals())
    assert.same({ accepted = 250, done = 250 }, counts())
  end)

  it("says FULL when the queue is, and keeps what it took", function()
    open { batcher = { queue_max = 100, in_flight_max = 1 } }
    local answer = post_many(1000)
    assert.same({ accepted = 100, code = "FULL", message =
      "queue_max: 100 updates wait already; try again later, or raise it" }, answer)
    flush()
    assert.same({ accepted = 100, full = 900, done = 100 }, counts())
    assert.same({}, place:undelivered(accounts(100)))
    assert.equal(1, post_many(1).accepted)
  end)

  it("keeps the order of one user's updates, over many requests", function()
    open { vendor = { latency_ms = 15 }, batcher = { linger_ms = 1 } }
    place:lua [[
      for i = 1, 1000 do
        assert(batch:post("one", { city = "v" .. i }))
        assert(batch:post("other" .. i % 7, { level = i }))
        if i % 40 == 0 then ngx.sleep(0.004) end
      end
    ]]
    flush()
    assert.same({ accepted = 2000, done = 2000 }, counts())
    assert.equal("v1000", place:stored({ "one" }).one.city)
    assert.is_true(place:arrivals() >= 5)
  end)

  it("sets and removes in the order they were posted", function()
    open { vendor = { latency_ms = 10 } }
    place:lua [[
      for i = 1, 20 do
        assert(batch:post("one", { city = "v" .. i }))
        assert(batch:post_remove("one", { "city" }))
        assert(batch:post("two", { city = "v" .. i }))
      end
    ]]
    flush()
    local stored = place:stored { "one", "two" }
    assert.is_nil((stored.one or {}).city)
    assert.equal("v20", stored.two.city)
    assert.is_true(place:arrivals "im_remove_attr" > 0)
  end)

  -- attributes, fate, code
  local FATES = {
    { '{ city = "x" }', "done" },
    { '{ city = ("x"):rep(51) }', "invalid", "VALUE_TOO_LONG" },
    { '{ nobody_registered_this = "x" }', "refused", "90033" },
  }
  it("lets a caller wait for his own user's fate", function()
    open()
    for _, case in ipairs(FATES) do
      local result = place:lua(([[
        for i = 1, 9 do assert(batch:post("beside" .. i, { city = "x" })) end
        local result, err = batch:set_attr("one", %s)
        assert(not err and result.account == "one")
        return result
      ]]):format(case[1]))
      assert.same({ case[2], case[3] }, { result.fate, result.code })
      assert.equal(case[3] ~= nil, result.message ~= nil)
    end
    flush()
    assert.equal(1, counts().refused)
    assert.equal(1, counts().invalid)
  end)

  it("says that a fate is not known yet, and tells it later", function()
    open { vendor = { latency_ms = 600 } }
    local code = place:lua [[
      local result, err = batch:set_attr("one", { city = "x" }, 50)
      assert(result == nil)
      return err.code
    ]]
    assert.equal("DEADLINE", code)
    assert.equal("DEADLINE", place:lua [[ return select(2, batch:flush(50)).code ]])
    flush()
    assert.same({ "one", "done" }, place:lua "return { told[1].account, told[1].fate }")
  end)

  it("tells each fate once, with the ticket that post returned", function()
    open()
    local ok = place:lua [[
      local tickets = {}
      for i = 1, 300 do
        tickets[assert(batch:post("u" .. i % 50, { city = "c" .. i }))] = "u" .. i % 50
        assert(not batch:post("", { city = "x" }))
      end
      assert(batch:flush(20000))
      assert(#told == 300)
      for _, result in ipairs(told) do
        assert(tickets[result.ticket] == result.account and result.fate == "done")
        tickets[result.ticket] = nil
      end
      return next(tickets) == nil
    ]]
    assert.is_true(ok)
  end)

  it("goes on when a callback raises", function()
    open { init_worker = [[
      other = assert(client:batcher { name = "other", on_result = function() error "mine" end })
    ]] }
    place:lua [[
      for i = 1, 250 do assert(other:post("u" .. i, { city = "c" })) end
      assert(other:flush(20000))
      assert(other:counts().done == 250)
    ]]
    assert.is_truthy(place.server:errors():find("a callback of the batcher raised: ", 1, true))
  end)

  it("spends one request on a mistake of set-up, and tells all", function()
    open { client = { key = "not the app's key" } }
    for i = 1, 2 do
      post_many(250)
      flush()
      assert.same({ accepted = 250 * i, not_sent = 250 * i }, counts())
      assert.equal(i, place:arrivals())
    end
    assert.same({ "not_sent", "70009" }, place:lua "return { told[1].fate, told[1].code }")
    assert.is_truthy(place.server:errors():find("the signature does not verify", 1, true))
  end)

  it("has one timer at work, and none when there is nothing to do", function()
    open { vendor = { latency_ms = 20 } }
    local most = place:lua [[
      local most = 0
      for i = 1, 3000 do
        assert(batch:post("u" .. i, { city = "c" }))
        if i % 100 == 0 then
          ngx.sleep(0.005)
          most = math.max(most, ngx.timer.running_count())
        end
      end
      assert(batch:flush(20000))
      return most
    ]]
    assert.equal(1, most)
    assert.is_truthy(process.wait_until(function()
      return place:lua "return ngx.timer.running_count()" == 0
    end))
  end)

  it("hands over from timer to timer without losing count", function()
    open { client = { rate = 0 }, batcher = { linger_ms = 0 }, vendor = { latency_ms = 2 } }
    place:lua [[
      local threads = {}
      for i = 1, 3 do
        threads[i] = ngx.thread.spawn(function()
          for turn = 1, 450 do
            local result = assert(batch:set_attr("u" .. i, { city = "v" .. turn }))
            assert(result.fate == "done" and result.attempts == 1)
          end
        end)
      end
      for i = 1, 3 do assert(ngx.thread.wait(threads[i])) end
    ]]
    assert.same({ accepted = 1350, done = 1350 }, counts())
    assert.is_true(place:arrivals() >= 450) -- a timer makes 200
    assert.equal("v450", place:stored({ "u1" }).u1.city)
  end)

  it("sends also when nginx has no timer to give", function()
    open { http = "lua_max_pending_timers 1;" } -- which its ticks take
    post_many(150)
    assert.is_truthy(process.wait_until(function() return place:arrivals() > 0 end))
    flush()
    assert.same({ accepted = 150, done = 150 }, counts())
    assert.is_truthy(place.server:errors():find("too many pending timers", 1, true))
  end)

  it("shares one quota among workers", function()
    open { workers = 2, client = { rate = 50 }, vendor = { limit = 50 } }
    local job = place:load { count = 600, parallel = 8, pause = 0.01 }
    local accepted = place:accepted(job)
    assert.is_truthy(process.wait_until(function() return #place:undelivered(accepted) == 0 end))
    local about = place.vendor:stats().commands.im_set_attr
    assert.is_true(about.max_in_second <= 50)
    assert.same({}, about.by_code)
  end)

  it("does not hold the worker #timing", function()
    open { vendor = { latency_ms = 20 } }
    local longest = place:lua [[
      local longest, last = 0, nil
      local ticker = ngx.thread.spawn(function()
        while not stop_ticking do
          ngx.update_time()
          longest = math.max(longest, ngx.now() - (last or ngx.now()))
          last = ngx.now()
          ngx.sleep(0.005)
        end
      end)
      for i = 1, 9000 do
        assert(batch:post("u" .. i, { city = "c" .. i }))
        if i % 100 == 0 then ngx.sleep(0.001) end
      end
      assert(batch:flush(20000))
      stop_ticking = true
      ngx.thread.wait(ticker)
      return longest
    ]]
    assert.is_true(longest < 0.5, longest)
  end)
end)

describe("a batcher can be posted to #heavy", function()
  local PHASES = [[
    location = /phases {
      set_by_lua_block $said { return tostring((batch:post("set", { city = "cset" }))) }
      rewrite_by_lua_block { assert(batch:post("rewrite", { city = "crewrite" })) }
      access_by_lua_block { assert(batch:post("access", { city = "caccess" })) }
      content_by_lua_block {
        assert(batch:post("content", { city = "ccontent" }))
        assert(ngx.timer.at(0, function() assert(batch:post("timer", { city = "ctimer" })) end))
        local ok, message = true, nil
        ngx.ctx.is_content = true
        ngx.print("answer")
      }
      header_filter_by_lua_block {
        assert(batch:post("header_filter", { city = "cheader_filter" }))
        local ok, message = pcall(batch.set_attr, batch, "x", { city = "x" })
        ngx.header["X-Said"] = tostring(message)
      }
      body_filter_by_lua_block { assert(batch:post("body_filter", { city = "cbody_filter" })) }
      log_by_lua_block {
        assert(batch:post("log", { city = "clog" }))
        waiting = select(2, pcall(batch.flush, batch))
      }
    }
  }
  upstream balanced {
    server 127.0.0.1:1;
    balancer_by_lua_block {
      assert(batch:post("balancer", { city = "cbalancer" }))
      ngx.exit(503)
    }
  }
  server {
    listen unix:$folder/tls ssl;
    ssl_certificate $vendor/certificate.pem;
    ssl_certificate_key $vendor/certificate.key;
    ssl_certificate_by_lua_block {
      assert(batch:post("ssl_certificate", { city = "cssl_certificate" }))
    }
    ssl_client_hello_by_lua_block {
      assert(batch:post("ssl_client_hello", { city = "cssl_client_hello" }))
    }
    location = / { return 204; }
    location = /balanced { proxy_pass http://balanced; }
  ]]

  local EARLY = [[ assert(batch:post("init_worker", { city = "cinit_worker" })) ]]
  local LATE = [[
    local _, err = batch:post("late", { city = "x" })
    ngx.log(ngx.WARN, "late: ", err.code)
  ]]

  it("from every phase", function()
    place = collector.open { locations = PHASES, init_worker = EARLY, exit_worker = LATE }
    assert.same({ 200, "answer" }, { place:ask("/phases") })
    for _, path in ipairs { "/", "/balanced" } do
      process.run { "curl", "-q", "-sk", "--unix-socket", place.server.folder .. "/tls",
        "https://localhost" .. path }
    end
    local names = { "init_worker", "set", "rewrite", "access", "content", "timer", "header_filter",
      "body_filter", "log", "balancer", "ssl_certificate", "ssl_client_hello" }
    flush()
    assert.same({}, place:undelivered(names), place.server:errors())
    assert.is_truthy(place:lua("return waiting"):find(
      "batcher:flush: nothing can wait in the log phase; batcher:post does not", 1, true))
    place.server:kill("QUIT")
    assert.is_truthy(place.server.job:wait(10))
    assert.is_truthy(place.server:errors():find("late: CLOSED", 1, true))
    assert.same({}, place:alarms())
    place:close()
    place = nil
  end)
end)

describe("a batcher is refused #heavy", function()
  local client
  setup(function()
    client = assert(imattr.new { sdkappid = 1, key = "k", region = "tokyo" })
  end)
  teardown(function() client:close() end)

  local MISUSE = {
    { 7, "client:batcher: a number, wants a table of options" },
    { { linger = 5 }, "unknown option of a batcher: linger (did you mean linger_ms?)" },
    { { linger_ms = -1 }, "linger_ms: -1, wants 0 to 60000" },
    { { queue_max = 5 }, "queue_max: 5, wants 100 to 1000000" },
    { { on_result = 5 }, "on_result: a number, wants a function" },
    { { name = "a/b" }, 'name: "a/b", wants letters, digits, _ and .' },
    { {}, "client:batcher: works inside nginx alone; in a script give client:set_attr a list or an "
      .. "iterator" },
  }
  for _, case in ipairs(MISUSE) do
    it("with a sentence: " .. case[2], function()
      assert.equal(case[2], app.misuse(function()
        local batch = client:batcher(case[1])
        return batch
      end))
    end)
  end

  it("in the init phase, and twice under one name", function()
    place = collector.open { http = [[
      init_by_lua_block {
        local imattr = require "imattr"
        local client = assert(imattr.new { sdkappid = 1, key = "k", region = "tokyo" })
        said = select(2, pcall(client.batcher, client))
      }
    ]] }
    assert.is_truthy(place:lua("return said"):find("open it in init_worker_by_lua", 1, true))
    assert.is_truthy(place:lua("return select(2, pcall(client.batcher, client))"):find(
      "one named default is open in this worker", 1, true))
    assert.is_truthy(place:lua([[
      return select(2, pcall(batch.post, batch, "a", { city = "x" }, { durable = true }))
    ]]):find("durable: wants the option spool of the batcher", 1, true))
    place:close()
    place = nil
  end)
end)

describe("figures of batchers #heavy", function()
  it("add up over all workers, as Prometheus reads them", function()
    place = collector.open { workers = 2, http = "lua_shared_dict imattr 1m;", locations = [[
      location = /metrics { content_by_lua_block { ngx.print(imattr.metrics()) } }
    ]] }
    local accepted = place:accepted(place:load { count = 500, parallel = 10 })
    assert.equal(500, #accepted)
    local text
    local is_there = process.wait_until(function()
      text = select(2, place:ask("/metrics"))
      return text:find('imattr_users_total{state="done"} 500\n', 1, true)
    end)
    assert.is_truthy(is_there, text)
    assert.is_truthy(text:find('imattr_posts_total{answer="accepted"} 500\n', 1, true))
    local arrivals = place:arrivals()
    assert.is_truthy(text:find(('imattr_requests_total{code="0"} %d\n'):format(arrivals), 1, true))
    assert.is_truthy(text:find(('imattr_request_duration_seconds_count %d\n'):format(arrivals), 1,
      true))
    for line in text:gmatch("[^\n]+") do
      local is_good = line:find("^# HELP imattr_%S+ [%u1].*%.$")
        or line:find("^# TYPE imattr_%S+ %l+$") or line:find("^imattr_[%w_]+ [%d.]+$")
        or line:find('^imattr_[%w_]+{%l+="[%w.+_]+"} [%d.]+$')
      assert.is_truthy(is_good, line)
    end
    place:close()
    place = nil
  end)

  it("come with a trace of each attempt, without the signature", function()
    place = collector.open { init_worker = [[
      seen = {}
      traced = assert(client:batcher { name = "traced", on_attempt = function(info)
        seen[#seen + 1] = info
      end })
    ]] }
    local seen = place:lua [[
      assert(traced:set_attr("u", { city = "x" }).fate == "done")
      return seen
    ]]
    assert.equal(1, #seen)
    assert.is_truthy(seen[1].url:find("/v4/all_member_push/im_set_attr?", 1, true))
    assert.is_truthy(seen[1].url:find("usersig=REDACTED&", 1, true))
    assert.same({ "POST", 200, 0, 1 }, { seen[1].method, seen[1].status, seen[1].resend_count,
      seen[1].users })
    assert.is_nil(seen[1].error_type)
    place:close()
    place = nil
  end)
end)
