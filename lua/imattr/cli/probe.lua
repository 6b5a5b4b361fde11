-- Probes: one harmless request through a client as every verb uses it, and what came back seen from
-- beside it; and what the system's own tools tell about a host. For `imattr doctor`.

local client = require "imattr.client"
local core = require "imattr.core"
local text = require "imattr.cli.text"
local wire = require "imattr.wire"
local world = require "imattr.world"

local probe = {}

local TOOL_SECONDS_MAX = 5
local DEADLINE_MS = 30000 -- a slot that others hold is waited for, but not for ever
local OUTPUT_BYTES_MAX = 262144

---What came of a request.
---@class imattr.cli.probe.outcome
---@field status string? of the transport: "OK" is an HTTP answer; nil: nothing was sent
---@field codes integer[] what the vendor refused with, in order
---@field code integer? the last word: nil when the request was served
---@field skew_s integer? how far this machine's clock is ahead of the server's
---@field object any what the call gave
---@field err imattr.Error?
---@field ring string? name of the shared ring its slot was taken from
---@field stop fun() ends the request before it is tried again

---The real world, with somebody who watches.
local function watched(outcome)
  local around = {}
  for name, value in pairs(world.real) do
    around[name] = value
  end
  function around.pace(rate, mode, name, ...)
    outcome.ring = name
    return world.real.pace(rate, mode, name, ...)
  end
  function around.transport(settings)
    local inner, code = world.real.transport(settings)
    if not inner then
      return nil, code
    end
    return {
      borrows = inner.borrows,
      start = function(_, ...) return inner:start(...) end,
      close = function() return inner:close() end,
      wait = function(_, timeout_us)
        local reply = inner:wait(timeout_us)
        if reply and probe.note(outcome, reply, os.time()) then
          outcome.stop()
        end
        return reply
      end,
    }
  end
  return around
end

---Notes what a reply tells.
---@param outcome imattr.cli.probe.outcome
---@param reply imattr.Reply
---@param now_s integer this machine's clock when it came
---@return boolean is_enough a client would wait and ask again; a probe knows enough
function probe.note(outcome, reply, now_s)
  outcome.status = reply.status
  local server_s = wire.date_s(reply.date)
  outcome.skew_s = server_s and now_s - server_s or outcome.skew_s
  local verdict = wire.verdict(reply)
  outcome.code = verdict.kind ~= "delivered" and verdict.code or nil
  outcome.codes[#outcome.codes + 1] = outcome.code
  return verdict.kind == "slow_down" or verdict.kind == "hold_off"
end

---Sends one request: nothing is tried twice, but for a UserSig that was refused.
---@param options table of a client, without region and endpoint
---@param endpoint string "https://host"
---@param call fun(client: imattr.Client): any, any
---@return imattr.cli.probe.outcome
function probe.send(options, endpoint, call)
  local outcome = { codes = {} }
  local given = { endpoint = endpoint, attempts_max = 1, connect_timeout_ms = 5000,
    deadline_ms = DEADLINE_MS }
  for name, value in pairs(options) do
    if name ~= "region" and name ~= "endpoint" then
      given[name] = value
    end
  end
  local opened, err = client.new(given, watched(outcome))
  if not opened then
    outcome.err = err
    return outcome
  end
  function outcome.stop() opened:close() end
  outcome.object, outcome.err = call(opened)
  opened:close()
  return outcome
end

---The endpoints that options name: one host after the other.
---@param options table
---@return string[]
function probe.endpoints(options)
  if options.endpoint then
    return type(options.endpoint) == "table" and options.endpoint or { options.endpoint }
  end
  return probe.hosts_of(options.region)
end

---The endpoints of a region.
---@param region string
---@return string[]
function probe.hosts_of(region)
  local list = {}
  for index, host in ipairs(wire.regions[region]) do
    list[index] = "https://" .. host
  end
  return list
end

---Host and port of an endpoint.
---@param endpoint string
---@return string host
---@return string port
function probe.place_of(endpoint)
  local host, port = endpoint:match("^%a+://(.-):?(%d*)/?$")
  return host:gsub("[%[%]]", ""), port ~= "" and port
    or endpoint:find("^[Hh][Tt][Tt][Pp]:") and "80" or "443"
end

---What a tool of the system prints; nil when it is not there or takes too long.
local function printed_by(command, io)
  local pipe = io.popen(("timeout %d sh -c %s 2>/dev/null </dev/null"):format(TOOL_SECONDS_MAX,
    "'" .. command:gsub("'", "'\\''") .. "'"), "r")
  if not pipe then
    return nil
  end
  local printed = pipe:read(OUTPUT_BYTES_MAX)
  pipe:close()
  return printed ~= "" and printed or nil
end

local function quoted(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

---The addresses of a name, as this machine's name service gives them.
---@param host string
---@param io table the io library, or one like it
---@return string[]
function probe.addresses(host, io)
  local list, seen = {}, {}
  local printed = printed_by("getent ahosts " .. quoted(host), io) or ""
  for address in printed:gmatch("([%x:.]+)[^\n]*\n") do
    if not seen[address] then
      seen[address], list[#list + 1] = true, address
    end
  end
  return list
end

---A certificate's moment, "Nov 23 16:20:04 2026 GMT", in seconds since 1970.
local function moment_s(words)
  local month, day, time, year = (words or ""):match("^(%a+) +(%d+) ([%d:]+) (%d+) GMT$")
  return month and wire.date_s(("Mon, %s %s %s %s GMT"):format(day, month, year, time))
end

---@class imattr.cli.probe.certificate
---@field subject string
---@field from_s integer?
---@field until_s integer?
---@field chain_length integer

---The certificate a server shows, whether it is to be trusted or not; nil when nobody can tell.
---(libcurl has checked it, or refused it, by itself.)
---@param endpoint string
---@param io table the io library, or one like it
---@return imattr.cli.probe.certificate?
function probe.certificate(endpoint, io)
  local host, port = probe.place_of(endpoint)
  local name = host:find("^[%d.]+$") and "" or host:find(":", 1, true) and ""
    or " -servername " .. quoted(host)
  local target = host:find(":", 1, true) and ("[%s]:%s"):format(host, port) or host .. ":" .. port
  local shown = printed_by(("openssl s_client -connect %s%s -showcerts"):format(quoted(target),
    name), io)
  local pem = shown and shown:match("%-%-%-%-%-BEGIN CERTIFICATE.-END CERTIFICATE%-%-%-%-%-")
  local about = pem and printed_by(("printf '%%s\\n' %s | openssl x509 -noout -subject -dates "
    .. "-nameopt RFC2253,utf8"):format(quoted(pem)), io)
  if not about then
    return nil
  end
  local _, count = shown:gsub("BEGIN CERTIFICATE", "")
  local subject = about:match("subject=([^\n]*)") or ""
  return {
    subject = text.visible(subject:match("CN=([^,]+)") or subject),
    from_s = moment_s(about:match("notBefore=([^\n]*)")),
    until_s = moment_s(about:match("notAfter=([^\n]*)")),
    chain_length = count,
  }
end

-- A ring as it lies in shared memory (src/pace.c): the moment of the next send, then the moment at
-- which each slot is free; words of eight bytes, the low one first.
local WORD_BYTES = 8
local AHEAD_MAX_US = 601001000 -- further ahead than any slot can be held: another clock wrote it

local function word_at(bytes, index)
  local value = 0
  for at = WORD_BYTES, 1, -1 do
    value = value * 256 + bytes:byte(index * WORD_BYTES + at)
  end
  return value
end

---How many slots of a shared ring are free now; nil when nobody has made that ring.
---@param ring string its name
---@param rate integer its slots
---@param io table the io library, or one like it
---@return integer?
function probe.free_slots(ring, rate, io)
  local user = (printed_by("id -u", io) or ""):match("%d+")
  local file = user and io.open(("/dev/shm/imattr-%s-%s"):format(user, ring), "rb")
  local bytes = file and file:read((rate + 1) * WORD_BYTES)
  if file then
    file:close()
  end
  if not bytes or #bytes < (rate + 1) * WORD_BYTES then
    return nil
  end
  local now_us, free = core.now_us(), 0
  for slot = 1, rate do
    local ahead_us = word_at(bytes, slot) - now_us
    free = free + ((ahead_us <= 0 or ahead_us > AHEAD_MAX_US) and 1 or 0)
  end
  return free
end

return probe
