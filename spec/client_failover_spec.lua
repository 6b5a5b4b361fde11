-- A client whose app has two hosts, real ones: which one it asks, and what becomes of the users
-- when one of them goes away.

local app = require "support.app"
local impostor = require "support.impostor"
local sandbox = require "support.sandbox"

local NOWHERE = "https://127.0.0.1:9" -- the discard service, which nobody runs

local first, second, ca_file

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- Trusts both sandboxes.
local function trust()
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(read(first.ca_file), read(second.ca_file))
  file:close()
  return path
end

local function client_of(endpoints, changes)
  local given = { endpoint = endpoints, ca_file = ca_file, key = app.KEY }
  for name, value in pairs(changes or {}) do given[name] = value end
  return app.client(first, given)
end

local function arrivals(server)
  local about = server:stats().commands.im_set_attr
  return about and about.arrivals or 0
end

describe("a client with two hosts", function()
  before_each(function()
    first = sandbox.start { key = app.KEY, limit = 0 }
    second = sandbox.start { key = app.KEY, limit = 0 }
    ca_file = trust()
  end)
  after_each(function()
    first:stop()
    second:stop()
    os.remove(ca_file)
  end)

  it("asks the first alone as long as it answers", function()
    local client = client_of { first.endpoint, second.endpoint }
    local report = assert(client:set_attr(app.users(1000)))
    assert.same({ users = 1000, done = 1000, requests = 10 }, app.counts(report))
    assert.same({ 10, 0 }, { arrivals(first), arrivals(second) })
    client:close()
  end)

  it("asks the second when nobody is at the first", function()
    local client = client_of { NOWHERE, second.endpoint }
    local report = assert(client:set_attr(app.users(1000)))
    assert.equal(1000, report.done)
    assert.same({ 12, 2 }, { report.requests, report.retries })
    assert.equal(10, arrivals(second))
    client:close()
  end)

  it("asks the second at once when the first is a stranger, who sees no request", function()
    local stranger = impostor.start { certificate = second.folder }
    stranger:says { app.YES }
    local client = client_of({ stranger.endpoint, first.endpoint }, { ca_file = first.ca_file })
    local report = assert(client:set_attr(app.users(300)))
    assert.same({ users = 300, done = 300, requests = 4, retries = 1 }, app.counts(report))
    assert.same({}, stranger:requests())
    client:close()
    stranger:stop()
  end)

  it("ends the run at once when both are strangers", function()
    local client = client_of({ first.endpoint, second.endpoint }, { ca_file = "/dev/null" })
    local other = client_of({ first.endpoint, second.endpoint },
      { ca_file = "/etc/ssl/certs/ca-certificates.crt" })
    for _, one in ipairs { client, other } do
      local report, err = one:set_attr(app.users(300))
      if report then
        assert.equal("TLS", err.code)
        assert.same({ users = 300, not_sent = 300, requests = 2, retries = 1 },
          app.counts(report))
        assert.truthy(err.message:find(first.endpoint .. " or " .. second.endpoint, 1, true))
      end
      one:close()
    end
    assert.same({ 0, 0 }, { arrivals(first), arrivals(second) })
  end)

  it("goes on with the second when the first is killed in the middle, and loses nobody", function()
    first:settings { latency_ms = 20 }
    second:settings { latency_ms = 5 }
    local client = client_of({ first.endpoint, second.endpoint }, { in_flight_max = 16 })
    local is_killed
    local report = assert(client:set_attr(app.users(20000), {
      on_progress = function(counts)
        if not is_killed and counts.done >= 3000 then
          is_killed = true
          os.execute("kill -9 " .. first.pid)
        end
      end,
    }))
    assert.is_true(is_killed)
    assert.same({ users = 20000, done = 20000 },
      { users = report.users, done = report.done })
    assert.truthy(report.retries > 0 and report.retries <= 40, report.retries)
    assert.truthy(arrivals(second) >= 100)
    client:close()
  end)
end)
