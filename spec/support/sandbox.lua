-- sandbox: a server for specs.
--
--   local server = sandbox.start { limit = 0, latency_ms = 5 }
--   server.endpoint  server.ca_file  server.key  server.sdkappid  server.identifier  server.pid
--   server:stats()   server:settings { latency_ms = 100 }   server:reset()   server:stop()
--
-- It stops with server:stop(), with the Lua state, with the process, or after max_seconds (300),
-- whatever comes first.

local cjson = require("cjson").new()
local nginx = require "imattr.sandbox.nginx"
local process = require "support.process"

local sandbox = {}

local SECONDS_MAX = 300

local running = {}

-- An object whose collection at the end of the Lua state stops what nobody stopped.
local function sentinel(finish)
  if not newproxy then -- luacheck: globals newproxy
    return setmetatable({}, { __gc = finish })
  end
  local proxy = newproxy(true)
  getmetatable(proxy).__gc = finish
  return proxy
end

sandbox.sentinel = sentinel(function()
  for server in pairs(running) do server:stop() end
end)

local Server = {}

function Server.__index(self, name)
  return Server[name] or self.server[name]
end

local function curl(self, method, path, body)
  local result = process.run({
    "curl", "-q", "-sS", "--noproxy", "*", "--max-time", "10", "--cacert", self.ca_file,
    "-X", method, "--data-binary", "@-", self.endpoint .. path,
  }, { stdin = body, timeout_s = 15 })
  assert(result.code == 0, result.stderr)
  return cjson.decode(result.stdout)
end

-- What arrived: { commands = { im_set_attr = { arrivals, by_code, ... } }, users_stored }.
function Server:stats()
  return curl(self, "GET", "/sandbox/stats")
end

-- Forgets what arrived; users and names stay.
function Server:reset()
  curl(self, "POST", "/sandbox/reset")
end

-- Changes settings while it runs; raises when the server does not take them.
function Server:settings(changes)
  local answer = curl(self, "POST", "/sandbox/settings", cjson.encode(changes))
  assert(not answer.error, answer.error)
end

-- Stops it; once or often.
function Server:stop()
  running[self] = nil
  self.server:stop()
end

-- Starts a server on a free port and waits until it listens; raises when it does not.
---@param settings table? as of imattr.sandbox.nginx
function sandbox.start(settings)
  local own = { max_seconds = SECONDS_MAX }
  for name, value in pairs(settings or {}) do own[name] = value end
  local server = setmetatable({ server = assert(nginx.start(own)) }, Server)
  running[server] = true
  return server
end

return sandbox
