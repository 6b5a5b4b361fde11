-- The cosocket transport and the client inside nginx: real nginx, real sandbox, real TLS.

local app = require "support.app"
local cjson = require("cjson").new()
local impostor = require "support.impostor"
local resty = require "support.resty"
local sandbox = require "support.sandbox"

local vendor, odd, server

-- The code of a location gets what it needs as globals; what it returns is the answer, as JSON.
local LOCATION = [[
    location = /%s {
      content_by_lua_block {
        local function work()
          local imattr = require "imattr"
          local given = require("cjson").decode(os.getenv "GIVEN")
          local function client(changes)
            local options = { sdkappid = 1400000000, key = given.key, endpoint = given.endpoint,
              rate = 0, pace_scope = "process" }
            for name, value in pairs(changes or {}) do options[name] = value end
            return assert(imattr.new(options))
          end
          local function users(count)
            local list = {}
            for i = 1, count do
              list[i] = { To_Account = "u" .. i, Attrs = { city = "c" .. i } }
            end
            return list
          end
          local function counts(report)
            local found = {}
            for _, name in ipairs { "users", "done", "refused", "unknown", "not_sent", "requests",
              "retries" } do
              found[name] = report[name] ~= 0 and report[name] or nil
            end
            return found
          end
          %s
        end
        local ok, result = pcall(work)
        if not ok then result = tostring(result) end
        ngx.print(require("cjson").encode { ok = ok, result = result })
      }
    }
]]

local CODE = {
  set = [[
    local one = client()
    local report = assert(one:set_attr(users(1050)))
    local attrs = assert(one:get_attr { "u7", "u1050", "nobody" })
    one:close()
    return { counts(report), attrs.u7, attrs.u1050 }
  ]],
  names = [[
    local one = client()
    assert(one:set_attr_name { ["0"] = "city" })
    return one:get_attr_name()
  ]],
  kept = [[
    local one = client { in_flight_max = 1 }
    for _ = 1, 5 do assert(one:set_attr(users(300))) end
    return {}
  ]],
  many = [[
    local threads, done = {}, 0
    for i = 1, 20 do
      threads[i] = ngx.thread.spawn(function()
        local one = client { in_flight_max = 8 }
        local report = assert(one:set_attr(users(500)))
        done = done + report.done
        one:close()
      end)
    end
    for i = 1, 20 do assert(ngx.thread.wait(threads[i])) end
    return done
  ]],
  blocked = [[
    local longest, last, stop = 0, nil, false
    local ticker = ngx.thread.spawn(function()
      while not stop do
        ngx.update_time()
        local now = ngx.now()
        longest = math.max(longest, now - (last or now))
        last = now
        ngx.sleep(0.005)
      end
    end)
    local one = client { rate = 100, in_flight_max = 16 }
    local report = assert(one:set_attr(users(10000)))
    stop = true
    ngx.thread.wait(ticker)
    return { report.done, longest }
  ]],
  odd = [[
    local one = client { endpoint = given.odd, attempts_max = 1, timeout_ms = 3100 }
    local report, err = one:set_attr(users(3))
    return { counts(report), err and err.code, err and err.message }
  ]],
  nowhere = [[
    local found = {}
    for i, endpoint in ipairs { "https://127.0.0.1:9", "https://no-such-host.example",
      given.stranger } do
      local one = client { endpoint = endpoint, attempts_max = 1 }
      local report, err = one:set_attr(users(3))
      found[i] = { counts(report), err.code, err.message }
    end
    return found
  ]],
  strange = [[
    local statuses = {}
    for i = 1, 60 do
      local transport = require("imattr.transport.cosocket").new { connect_timeout_ms = 5000,
        timeout_ms = 5000, ca_file = "of " .. i }
      transport:start(1, given.stranger, "/v4/x", "{}")
      local reply = transport:wait()
      statuses[reply.status .. " " .. tostring(reply.may_have_arrived)] = true
      transport:close()
    end
    return statuses
  ]],
  forgotten = [[
    jit.off() -- its machine code would be counted too
    local transport = require("imattr.transport.cosocket").new { connect_timeout_ms = 5000,
      timeout_ms = 5000 }
    local function size_after(count)
      for i = 1, count do
        transport:start(i, given.endpoint, "/v4/x", "{}")
        assert(transport:wait().status == "OK")
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = size_after(300)
    local after = size_after(600)
    jit.on()
    return after - before
  ]],
  cancelled = [[
    local one = client { endpoint = given.odd, attempts_max = 1, timeout_ms = 60000 }
    local thread = ngx.thread.spawn(function() return one:set_attr(users(3)) end)
    ngx.sleep(0.2)
    assert(ngx.thread.kill(thread))
    local two = client()
    return two:set_attr(users(3)).done
  ]],
}

local function http_block()
  local parts = { "server { listen unix:$folder/socket;" }
  for name, code in pairs(CODE) do parts[#parts + 1] = LOCATION:format(name, code) end
  parts[#parts + 1] = [[
    location = /phases {
      header_filter_by_lua_block {
        local client = require("imattr").new { sdkappid = 1, key = "k", region = "tokyo",
          pace_scope = "process" }
        local ok, message = pcall(client.set_attr, client, { a = { b = "c" } })
        ngx.header["X-Said"] = tostring(message)
        ngx.header.content_length = nil
        ngx.ctx.said = tostring(message)
      }
      content_by_lua_block { ngx.send_headers() ngx.print(ngx.ctx.said) }
    }
    location = /loaded {
      content_by_lua_block { ngx.print(tostring(package.loaded["imattr.curl"] == nil)) }
    }
  }]]
  return table.concat(parts, "\n")
end

local function ask(name)
  local status, body = server:get("/" .. name)
  assert.equal(200, status, server:errors())
  local answer = cjson.decode(body)
  assert(answer.ok, tostring(answer.result))
  return answer.result
end

local function stats() return vendor:stats().commands.im_set_attr end

describe("inside nginx a client #heavy", function()
  local strange

  setup(function()
    vendor = sandbox.start { key = app.KEY, limit = 0 }
    strange = sandbox.start { key = app.KEY }
    odd = impostor.start { certificate = vendor.folder }
    server = resty.start { http = http_block(), ca_file = vendor.ca_file, env = {
      GIVEN = cjson.encode { key = app.KEY, endpoint = vendor.endpoint, odd = odd.endpoint,
        stranger = strange.endpoint },
    } }
  end)
  teardown(function()
    server:stop()
    odd:stop()
    vendor:stop()
    strange:stop()
  end)
  before_each(function()
    vendor:settings { latency_ms = 0 }
    vendor:reset()
    odd:says { app.YES }
  end)

  it("sets and reads attributes as anywhere else", function()
    assert.same({ { users = 1050, done = 1050, requests = 11 }, { city = "c7" },
      { city = "c1050" } }, ask "set")
    assert.equal("city", ask("names")["0"])
  end)

  it("never loads libcurl", function()
    ask "set"
    assert.same({ 200, "true" }, { server:get("/loaded") })
  end)

  it("uses connections again, also from call to call", function()
    ask "kept"
    local before = stats().connections
    ask "kept"
    if before then assert.equal(before, stats().connections) end
    assert.equal(30, stats().arrivals)
  end)

  it("serves twenty callers at once", function()
    assert.equal(10000, ask "many")
    assert.equal(100, stats().arrivals)
  end)

  it("lets the worker serve others meanwhile #timing", function()
    vendor:settings { latency_ms = 20 }
    local result = ask "blocked"
    assert.equal(10000, result[1])
    assert.truthy(result[2] < 0.5, result[2])
  end)

  -- what the server says, the fate of three users, code, words
  local ODD = {
    { "an answer that is cut before it begins", { cut = "before" }, "unknown", "CUT" },
    { "an answer that is cut in the middle", { cut = "within", body = "{}" }, "unknown", "CUT" },
    { "an answer that is too large", { spaces = 3000000 }, "unknown", "REPLY_TOO_LARGE" },
    { "HTTP status 502", { status = 502, body = "<html>" }, "unknown", "HTTP_STATUS" },
    { "an answer that is not the vendor's", { body = "hello" }, "unknown", "BAD_REPLY" },
    { "an answer that does not come", { delay_s = 5 }, "unknown", "TIMEOUT" },
  }
  for _, case in ipairs(ODD) do
    it("tells what became of users: " .. case[1], function()
      odd:says { case[2] }
      local result = ask "odd"
      assert.same({ users = 3, [case[3]] = 3, requests = 1 }, result[1])
      assert.equal(case[4], result[2])
    end)
  end

  it("says what is missing where nobody is reached, and sends nothing", function()
    local result = ask "nowhere"
    for i, case in ipairs {
      { "CONNECT", "connection refused" },
      { "RESOLVE", "nginx needs a `resolver` line to look names up" },
      { "TLS", "nginx trusts what `lua_ssl_trusted_certificate` names" },
    } do
      assert.same({ users = 3, not_sent = 3, requests = 1 }, result[i][1])
      assert.equal(case[1], result[i][2])
      assert.truthy(result[i][3]:find(case[2], 1, true), result[i][3])
    end
  end)

  it("never speaks to a stranger, however often it is tried", function()
    strange:reset()
    assert.same({ ["TLS false"] = true }, ask "strange")
    for name, about in pairs(strange:stats().commands) do assert.equal(0, about.arrivals, name) end
  end)

  it("leaves nothing behind of a request, however long the caller lives", function()
    local grown_kb = ask "forgotten"
    assert.is_true(grown_kb < 30, grown_kb) -- a thread that nobody asks about is 0.6
  end)

  it("can be given up in the middle, and the next one works", function()
    odd:says { { delay_s = 5 } }
    assert.equal(3, ask "cancelled")
  end)

  it("says in which phases it works where it cannot", function()
    local _, body = server:get("/phases")
    assert.truthy(body:find("imattr: nothing can be sent in the header_filter phase; call it in "
      .. "rewrite, access, content or from a timer (ngx.timer.at)", 1, true), body)
  end)

  it("leaves no alert in the error log", function()
    for _, level in ipairs { "alert", "crit", "emerg" } do
      assert.is_nil(server:errors():match("%[" .. level .. "%][^\n]*"))
    end
  end)
end)
