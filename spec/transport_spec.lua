-- transports: requests over libcurl against a server that does what it is told, and dry ones.

local core = require "imattr.core"
local curl = require "imattr.transport.curl"
local dry = require "imattr.transport.dry"
local impostor = require "support.impostor"
local process = require "support.process"
local rings = require "support.rings"
local sandbox = require "support.sandbox"

local INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4"
local NOWHERE = "127.0.0.1:9" -- the discard service, which nobody runs
local LONG_LABEL = ("x"):rep(64) -- one more than a name may have: no resolver is asked

local plain, secure, ca_file, transport

local function open(changes)
  local settings = { connect_timeout_ms = 20000, timeout_ms = 20000, allows_http = true,
    ca_file = ca_file }
  for name, value in pairs(changes or {}) do settings[name] = value end
  if transport then transport:close() end
  transport = assert(curl.new(settings))
  return transport
end

-- The next reply, or nil after some seconds.
local function take(seconds)
  local end_us = core.now_us() + (seconds or 30) * 1e6
  repeat
    local reply = transport:wait(100000)
    if reply then return reply end
  until core.now_us() > end_us
end

local function ask(url, id, body)
  local base, target = url:match("^(%a+://[^/]+)(.*)$")
  transport:start(id or 1, base, target == "" and "/" or target, body or "{}")
  return assert(take(), "no reply")
end

describe("the libcurl transport", function()
  setup(function()
    local keeper = sandbox.start() -- for its certificate
    secure = impostor.start { certificate = keeper.folder }
    ca_file = os.tmpname()
    local from, to = assert(io.open(keeper.ca_file)), assert(io.open(ca_file, "w"))
    to:write(from:read("*a"))
    from:close()
    to:close()
    keeper:stop()
    plain = impostor.start()
  end)
  teardown(function()
    plain:stop()
    secure:stop()
    os.remove(ca_file)
  end)
  before_each(function()
    plain:says { { body = "hello" } }
    secure:says { { body = "hello" } }
    open()
  end)
  after_each(function()
    transport:close()
    transport = nil
  end)

  it("sends a POST with a JSON body and brings the reply", function()
    local reply = ask(plain.endpoint .. "/v4/x/y?a=b%20c", 7, '{"x":1}')
    assert.same({ 7, "OK", true, 200, "hello" },
      { reply.id, reply.status, reply.may_have_arrived, reply.http_status, reply.body })
    assert.truthy(reply.date:find("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"))
    local request = plain:requests()[1]
    assert.same({ "POST", "/v4/x/y?a=b%20c", '{"x":1}', "application/json", "7" },
      { request.method, request.uri, request.body, request.headers["content-type"],
        request.headers["content-length"] })
    assert.is_nil(request.headers.expect)
  end)

  it("sends large bodies at once, and bodies with any byte", function()
    for _, body in ipairs { ("x"):rep(1000000), "a\0b", "" } do
      ask(plain.endpoint, 1, body)
    end
    local requests = plain:requests()
    assert.equal(1000000, #requests[1].body)
    assert.equal("a\0b", requests[2].body)
    assert.is_nil(requests[3].body)
    assert.is_nil(requests[1].headers.expect)
  end)

  it("has many requests on their way, each with its own reply", function()
    for _, server in ipairs { plain, secure } do
      local replies = {}
      for i = 1, 50 do replies[i] = { body = "reply" .. i, delay_s = i % 5 * 0.02 } end
      server:says(replies)
      for id = 1, 50 do transport:start(id, server.endpoint, "/" .. id, "body " .. id) end
      local seen, bodies = {}, {}
      for _ = 1, 50 do
        local reply = assert(take())
        assert.equal("OK", reply.status)
        seen[reply.id], bodies[reply.body] = true, true
      end
      for i = 1, 50 do assert.is_true(seen[i] and bodies["reply" .. i]) end
      for _, request in ipairs(server:requests()) do
        assert.equal(request.uri:sub(2), request.body:match("%d+"))
      end
      assert.is_nil(transport:wait(0))
    end
  end)

  it("keeps its connection", function()
    for _ = 1, 5 do ask(plain.endpoint) end
    local connections = {}
    for _, request in ipairs(plain:requests()) do connections[request.connection] = true end
    assert.truthy(next(connections))
    assert.is_nil(next(connections, (next(connections))))
  end)

  it("speaks HTTP/2 over one connection where the server does", function()
    secure:says { { body = "x", delay_s = 0.02 } }
    for id = 1, 40 do transport:start(id, secure.endpoint, "/", "{}") end
    for _ = 1, 40 do assert.equal("OK", take().status) end
    local requests, connections = secure:requests(), {}
    assert.equal(40, #requests)
    for _, request in ipairs(requests) do
      assert.equal(2, request.version)
      connections[#connections + 1] = connections[request.connection] == nil
        and request.connection or nil
      connections[request.connection] = true
    end
    assert.equal(1, #connections)
  end)

  it("follows no redirect", function()
    for _, status in ipairs { 301, 302, 307, 308 } do
      plain:says { { status = status, headers = { Location = plain.endpoint .. "/elsewhere" } } }
      assert.equal(status, ask(plain.endpoint).http_status)
      assert.equal(1, #plain:requests())
    end
  end)

  it("takes no cookie", function()
    plain:says { { headers = { ["Set-Cookie"] = "a=b" } } }
    ask(plain.endpoint)
    ask(plain.endpoint)
    assert.is_nil(plain:requests()[2].headers.cookie)
  end)

  it("brings whatever HTTP status there is", function()
    for _, status in ipairs { 204, 400, 404, 413, 429, 500, 502, 503 } do
      plain:says { { status = status, body = status ~= 204 and "text" or nil } }
      local reply = ask(plain.endpoint)
      assert.same({ "OK", status, true }, { reply.status, reply.http_status,
        reply.may_have_arrived })
    end
  end)

  it("says how a request ended that has no answer", function()
    local far = LONG_LABEL .. ".invalid"
    -- url, what the server does, status, may_have_arrived
    local cases = {
      { "http://" .. NOWHERE, nil, "CONNECT", false },
      { "https://" .. NOWHERE, nil, "CONNECT", false },
      { "https://" .. far, nil, "RESOLVE", false },
      { "gopher://" .. NOWHERE, nil, "CONNECT", false },
      { plain.endpoint, { cut = "before" }, "CUT", true },
      { plain.endpoint, { cut = "within", body = "{}" }, "CUT", true },
      { secure.endpoint, { cut = "before" }, "CUT", true },
      { secure.endpoint, { cut = "within", body = "{}" }, "CUT", true },
      { plain.endpoint, { spaces = 2 * 1024 * 1024 + 1 }, "REPLY_TOO_LARGE", true },
      { secure.endpoint, { spaces = 2 * 1024 * 1024 + 1 }, "REPLY_TOO_LARGE", true },
      { plain.endpoint:gsub("http:", "https:"), nil, "TLS", false },
      { secure.endpoint:gsub("127.0.0.1", "127.0.0.2"), nil, "TLS", false },
    }
    for i, case in ipairs(cases) do
      local url, says, status, may_have_arrived = case[1], case[2], case[3], case[4]
      for _, server in ipairs(says and { plain, secure } or {}) do server:says { says } end
      local reply = ask(url, i)
      assert.same({ i, status, may_have_arrived },
        { reply.id, reply.status, reply.may_have_arrived }, url .. ": " .. reply.message)
      assert.truthy(#reply.message > 5)
    end
  end)

  it("brings a reply of exactly two megabytes", function()
    plain:says { { spaces = 2 * 1024 * 1024 } }
    local reply = ask(plain.endpoint)
    assert.same({ "OK", 2 * 1024 * 1024 }, { reply.status, #reply.body })
  end)

  it("trusts its CA file, and without it not this server", function()
    assert.equal("OK", ask(secure.endpoint).status)
    open { ca_file = "/etc/ssl/certs/ca-certificates.crt" }
    secure:says { { body = "hello" } }
    local reply = ask(secure.endpoint)
    assert.same({ "TLS", false }, { reply.status, reply.may_have_arrived })
    open { ca_file = "/nowhere/ca.pem" }
    reply = ask(secure.endpoint)
    assert.same({ "TLS", false }, { reply.status, reply.may_have_arrived })
    assert.same({}, secure:requests())
  end)

  it("speaks no plain HTTP unless allowed", function()
    open { allows_http = false }
    local reply = ask(plain.endpoint)
    assert.same({ "CONNECT", false }, { reply.status, reply.may_have_arrived })
    assert.same({}, plain:requests())
  end)

  it("gives a slow answer up in time, and says that it may have arrived #timing", function()
    open { timeout_ms = 300 }
    for _, server in ipairs { plain, secure } do
      server:says { { body = "late", delay_s = 1 }, { body = "in time" } }
      local started_us = core.now_us()
      local reply = ask(server.endpoint)
      assert.same({ "TIMEOUT", true }, { reply.status, reply.may_have_arrived })
      local took_ms = (core.now_us() - started_us) / 1000
      assert.truthy(took_ms >= 290 and took_ms < 900, took_ms)
      assert.equal("in time", ask(server.endpoint, 2).body) -- and not the late one
    end
  end)

  it("gives a handshake up in time, and says that nothing was sent", function()
    open { connect_timeout_ms = 200 }
    secure:kill("STOP") -- the system still accepts connections
    local reply = ask(secure.endpoint)
    secure:kill("CONT")
    assert.same({ "TIMEOUT", false }, { reply.status, reply.may_have_arrived })
  end)

  it("knows of a request that nothing was sent, also on a connection used before", function()
    local server = impostor.start()
    server:says { { body = "hello" } }
    assert.equal("OK", ask(server.endpoint, 1, ("x"):rep(1000)).status)
    server:stop()
    local reply = ask(server.endpoint, 2)
    assert.same({ 2, "CONNECT", false }, { reply.id, reply.status, reply.may_have_arrived })
  end)

  it("opens a new connection when the server has closed the old one", function()
    plain:says { { body = "1", headers = { Connection = "close" } }, { body = "2" } }
    assert.equal("1", ask(plain.endpoint).body)
    assert.equal("2", ask(plain.endpoint).body)
  end)

  it("sends no request twice by itself", function()
    plain:says { { body = "1" }, { cut = "before" }, { body = "3" } }
    assert.equal("1", ask(plain.endpoint).body)
    local reply = ask(plain.endpoint, 2)
    assert.same({ "CUT", true }, { reply.status, reply.may_have_arrived })
    assert.equal(2, #plain:requests())
  end)

  it("waits about as long as it was told when there is nothing #timing", function()
    local started_us = core.now_us()
    while core.now_us() - started_us < 100000 do -- it may be early, but not a busy loop
      assert.is_nil(transport:wait(math.max(0, 100000 - (core.now_us() - started_us))))
    end
    assert.truthy(core.now_us() - started_us < 400000)
    assert.is_nil(transport:wait(0))
    assert.is_nil(transport:wait(nil))
  end)

  it("breaks off what is in flight when it is closed, once or often", function()
    plain:says { { delay_s = 1, body = "late" } }
    for id = 1, 10 do transport:start(id, plain.endpoint, "/", "{}") end
    assert.is_nil(transport:wait(50000))
    transport:close()
    transport:close()
    assert.has_error(function() transport:start(1, plain.endpoint, "/", "{}") end)
    assert.has_error(function() transport:wait(0) end)
  end)

  it("goes through a proxy when told so", function()
    open { proxy = plain.endpoint }
    assert.equal("OK", ask("http://" .. NOWHERE .. "/x").status)
    local hosts = {}
    for _, request in ipairs(plain:requests()) do hosts[request.headers.host] = request.method end
    assert.equal("POST", hosts[NOWHERE])
    open { proxy = "http://" .. NOWHERE }
    assert.equal("CONNECT", ask(secure.endpoint).status)
    open { proxy = "http://" .. LONG_LABEL }
    assert.equal("PROXY", ask(secure.endpoint).status)
  end)

  it("says that nothing was sent when a proxy refuses", function()
    open { proxy = plain.endpoint }
    local reply = ask("https://" .. NOWHERE)
    assert.same({ "PROXY", false }, { reply.status, reply.may_have_arrived })
  end)

  it("asks no proxy of the environment for a server on loopback #slow", function()
    for _, name in ipairs { "http_proxy", "all_proxy", "ALL_PROXY" } do
      local code = ([[
        local imattr = require "imattr"
        local client = assert(imattr.new { sdkappid = 1, key = "k", endpoint = "http://%s",
          rate = 0, attempts_max = 1 })
        local report, err = client:set_attr { a = { sex = "m" } }
        io.write(report.not_sent, " ", err.code)
      ]]):format(NOWHERE)
      local output = process.run({ INTERPRETER, "-e", code }, { env = { [name] = plain.endpoint,
        LUA_PATH = package.path, LUA_CPATH = rings.environment.LUA_CPATH .. ";;" } })
      assert.equal("1 CONNECT", output.stdout .. output.stderr)
      assert.same({}, plain:requests())
    end
  end)
end)

describe("the dry transport", function()
  it("answers every request that it was not sent", function()
    local none = dry.new()
    assert.is_nil(none:wait(0))
    for id = 1, 3 do none:start(id, "", "", "{}") end
    local seen = {}
    for _ = 1, 3 do
      local reply = none:wait(1000000)
      assert.equal("DRY_RUN", reply.status)
      seen[reply.id] = true
    end
    assert.same({ true, true, true }, seen)
    assert.is_nil(none:wait(1000000))
    none:start(4, "", "", "{}")
    none:close()
    assert.is_nil(none:wait(0))
  end)
end)
