-- transport/cosocket: requests over nginx's cosockets. Each is a light thread; waiting yields, so
-- the worker serves others meanwhile. As transport/curl, which says what the methods promise.
--
-- A kept connection that the other side has closed is dropped by nginx, and a new one is opened for
-- the next request. One that ends while the request is on its way may have brought it: no request
-- is ever sent twice here, for a second sending needs leave of the pace.

local http = require "imattr.transport.http"

local cosocket = {}

-- As over libcurl: servers close an idle connection after about a minute.
local IDLE_MAX_MS = 50000
local POOL_SIZE = 64

---@class imattr.transport.Cosocket
local Transport = {}
Transport.__index = Transport

--- Opens a transport.
---@param settings { connect_timeout_ms: integer, timeout_ms: integer, proxy: string?,
---  ca_file: string? }
---@return imattr.transport.Cosocket
function cosocket.new(settings)
  return setmetatable({
    _settings = settings,
    _arrived = require("ngx.semaphore").new(0),
    _replies = {}, -- those that were not taken, oldest first
    _flights = {}, -- id -> { thread, until_s }
    _count = 0, -- of flights
    _ended = {}, -- threads: nginx keeps what they were until somebody asks how they ended
  }, Transport)
end

-- {===== words of nginx, as statuses =====

local RESOLVER_HINT = "; nginx needs a `resolver` line to look names up"
local CA_HINT = "; nginx trusts what `lua_ssl_trusted_certificate` names, as deep as "
  .. "`lua_ssl_verify_depth` says"

local function connect_failure(err)
  if err:find("no resolver defined", 1, true) then
    return "RESOLVE", err .. RESOLVER_HINT
  elseif err:find("resolve", 1, true) then
    return "RESOLVE", err
  end
  return err:find("timeout", 1, true) and "TIMEOUT" or "CONNECT", err
end

-- A handshake that was broken off, with no certificate in doubt, is the network's fault. nginx says
-- no more of it, also where the other side speaks no TLS, or a TLS that is too old.
local BROKEN = { timeout = "TIMEOUT", closed = "CUT", ["connection reset by peer"] = "CUT",
  ["broken pipe"] = "CUT", ["handshake failed"] = "CUT" }

local function handshake_failure(err)
  if BROKEN[err] then
    return BROKEN[err], "TLS: " .. err .. "; nginx's error log has more"
  end
  local is_issuer = err:find("issuer", 1, true) or err:find("self.signed")
  return "TLS", err .. (is_issuer and CA_HINT or "")
end

-- }=====

-- {===== one request =====

-- The name that a host's certificate must bear. nginx compares names alone, so an address of
-- loopback goes by the name that every machine gives it.
local function name_of(host)
  local bare = host:gsub("[%[%]]", "")
  return (bare:find("^127%.%d+%.%d+%.%d+$") or bare == "::1") and "localhost" or bare
end

-- Speaks TLS on a socket. True; or nil, status, message. The session must be nil and not false:
-- lua-resty-core 0.1.25 takes a certificate for good, whatever it is, when it is told false and the
-- handshake is through at once; told nil it raises.
local function handshake(socket, host)
  local ran, ok, err = pcall(socket.sslhandshake, socket, nil, name_of(host), true)
  if not ran then
    return nil, "TLS", "the certificate is refused" .. CA_HINT
  elseif not ok then
    return nil, handshake_failure(err)
  end
  return true
end

-- Scheme, host as connect wants it, port, and host as the Host header has it.
local function parts_of(base)
  local scheme, named = base:match("^(%a+)://(.*)$")
  local host, port = named:match("^(%[.+%]):?(%d*)$")
  if not host then
    host, port = named:match("^([^:]+):?(%d*)$")
  end
  return scheme, host, tonumber(port) or (scheme == "https" and 443 or 80), named
end

-- Asks a proxy for a way to the host. True, or nil, status, message.
local function tunnel(socket, host, port)
  local to = ("%s:%d"):format(host, port)
  local sent, err = socket:send("CONNECT " .. to .. " HTTP/1.1\r\nHost: " .. to .. "\r\n\r\n")
  if not sent then
    return nil, "PROXY", err
  end
  local status, problem = http.read_head(socket)
  if status ~= 200 then
    return nil, "PROXY", status and "the proxy answers " .. status or problem
  end
  return true
end

-- A connection to the host; everything that trust hangs on is in its pool's name. The socket; or
-- nil, status, message.
local function connect(settings, base)
  local scheme, host, port = parts_of(base)
  local socket = ngx.socket.tcp()
  socket:settimeouts(settings.connect_timeout_ms, settings.timeout_ms, settings.timeout_ms)
  local pool = table.concat({ "imattr", scheme, host, port, settings.proxy or "",
    settings.ca_file or "" }, "|")
  local to_host, to_port = host, port
  if settings.proxy then
    local _
    _, to_host, to_port = parts_of(settings.proxy)
  end
  to_host = to_host == "localhost" and "127.0.0.1" or to_host -- nginx reads no /etc/hosts
  local ok, err = socket:connect(to_host, to_port, { pool = pool, pool_size = POOL_SIZE })
  if not ok then
    return nil, connect_failure(err)
  end
  if socket:getreusedtimes() > 0 then
    return socket
  end
  local status, message
  if settings.proxy then
    ok, status, message = tunnel(socket, host, port)
  end
  if ok and scheme == "https" then
    ok, status, message = handshake(socket, host)
  end
  if not ok then
    socket:close()
    return nil, status, message
  end
  return socket
end

-- Sends and reads over one connection. The answer; or nil, status, message.
local function exchange(socket, base, target, body)
  local _, _, _, host = parts_of(base)
  local sent, err = socket:send(http.post(host, target, body))
  if not sent then
    return nil, err == "timeout" and "TIMEOUT" or "CUT", err
  end
  return http.read(socket)
end

-- A reply without an answer.
local function no_answer(id, status, message, may_have_arrived)
  return { id = id, status = status, message = message, may_have_arrived = may_have_arrived,
    http_status = 0, body = "" }
end

-- A whole request: the imattr.Reply. `flight.is_sent` is set before the first byte leaves.
local function request(settings, flight, id, base, target, body)
  local socket, status, message = connect(settings, base)
  if not socket then
    return no_answer(id, status, message, false)
  end
  flight.is_sent = true
  local answer
  answer, status, message = exchange(socket, base, target, body)
  if answer and answer.keeps and not ngx.worker.exiting() then -- a kept one would hold the worker
    socket:setkeepalive(IDLE_MAX_MS, POOL_SIZE)
  else
    socket:close()
  end
  if not answer then
    return no_answer(id, status, message, true)
  end
  return { id = id, status = "OK", may_have_arrived = true, http_status = answer.status,
    body = answer.body, date = answer.date }
end

-- }=====

-- Ends a flight with its reply.
function Transport:_land(id, reply)
  self._ended[#self._ended + 1] = self._flights[id].thread
  self._flights[id] = nil
  self._count = self._count - 1
  self._replies[#self._replies + 1] = reply
end

function Transport:start(id, base, target, body)
  local flight = { until_s = ngx.now() + self._settings.timeout_ms / 1000 }
  self._flights[id] = flight
  self._count = self._count + 1
  flight.thread = ngx.thread.spawn(function()
    local ok, reply = pcall(request, self._settings, flight, id, base, target, body)
    if self._flights[id] == flight then
      self:_land(id, ok and reply or no_answer(id, "CUT", tostring(reply), true))
      self:wake()
    end
  end)
  if self._flights[id] ~= flight then -- it has ended already
    self._ended[#self._ended + 1] = flight.thread
  end
end

-- Asks how threads ended, so that nginx forgets them. None of them waits for anything any more.
function Transport:_reap()
  for i = #self._ended, 1, -1 do
    pcall(ngx.thread.wait, self._ended[i])
    self._ended[i] = nil
  end
end

-- Gives up what is over its time. Returns the moment when the next one will be.
function Transport:_give_up()
  ngx.update_time()
  local now_s, next_s = ngx.now(), math.huge
  for id, flight in pairs(self._flights) do
    if flight.until_s <= now_s then
      ngx.thread.kill(flight.thread) -- closes its socket, and it need not be asked any more
      flight.thread = nil
      self:_land(id, no_answer(id, "TIMEOUT", "no answer in time", flight.is_sent or false))
    else
      next_s = math.min(next_s, flight.until_s)
    end
  end
  return next_s - now_s
end

function Transport:wait(timeout_us)
  if self._replies[1] then
    return table.remove(self._replies, 1)
  end
  local left_s = self:_give_up()
  if not self._replies[1] then
    local timeout_s = math.min(timeout_us and timeout_us / 1e6 or math.huge, left_s)
    if self._count == 0 and timeout_s == math.huge then
      return nil
    end
    self._arrived:wait(math.min(math.max(timeout_s, 0.001), 3600)) -- yields, at the least
    self:_give_up()
  end
  self:_reap()
  return table.remove(self._replies, 1)
end

--- Ends a wait early, from any phase and any request of this worker.
function Transport:wake()
  if self._arrived:count() < 0 then
    self._arrived:post()
  end
end

--- How many requests are on their way.
---@return integer
function Transport:count()
  return self._count
end

function Transport:close()
  for id, flight in pairs(self._flights) do
    ngx.thread.kill(flight.thread)
    self._flights[id] = nil
  end
  self._count, self._replies, self._ended = 0, {}, {}
end

return cosocket
