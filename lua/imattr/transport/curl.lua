-- transport/curl: requests over libcurl, for scripts and the command. It blocks while it waits, so
-- it is never loaded in nginx.
--
-- Every transport has the same three methods:
--   start(id, base, target, body, body_len)
--                          a POST to "https://host:port" and "/v4/...", which leaves with the next
--                          wait; raises only without memory. The body is a string, or, for a
--                          transport that `borrows`, a pointer that is good until the reply was
--                          taken
--   wait(timeout_us)       the next imattr.Reply, good until the next wait, or nil when none came
--                          in time (nil: no limit); it may be early: the pump asks again
--   close()                breaks off what is in flight

local libcurl = require "imattr.curl"

local curl = {}

---@class imattr.transport.Curl
local Transport = {}
Transport.__index = Transport

--- Opens a transport.
---@param settings { connect_timeout_ms: integer, timeout_ms: integer, ca_file: string?,
---  proxy: string?, allows_http: boolean }
---@return imattr.transport.Curl? transport
---@return string? code
function curl.new(settings)
  local pool, code = libcurl.pool(settings)
  if not pool then
    return nil, code
  end
  local reply = {} -- held by a function: it may echo a UserSig, and programs print tables
  return setmetatable({ _pool = pool, _bodies = {}, _reply = function() return reply end },
    Transport)
end

Transport.borrows = true

function Transport:start(id, base, target, body, body_len)
  if type(body) == "string" then
    self._bodies[id] = body -- libcurl reads it where it is
  end
  self._pool:start(id, base, target, body, body_len or #body)
end

function Transport:wait(timeout_us)
  local timeout_ms = timeout_us and math.ceil(timeout_us / 1000) or -1
  local reply = self._reply()
  reply.id, reply.status, reply.may_have_arrived, reply.http_status, reply.body, reply.date,
    reply.message = self._pool:wait(timeout_ms)
  if not reply.id then
    return nil
  end
  self._bodies[reply.id] = nil
  return reply
end

function Transport:close()
  self._pool:close()
end

return curl
