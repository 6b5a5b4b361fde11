-- run: a run of a batcher: an engine that is fed from outside, where its requests go, and what is
-- noted of them. It lasts until a mistake of set-up stops it.

local commands = require "imattr.commands"
local core = require "imattr.core"
local metrics = require "imattr.metrics"
local redact = require "imattr.redact"
local wire = require "imattr.wire"

local run = {}

-- The engine's lanes, in this order.
local LANES = { "set_attr", "remove_attr" }

local function new_lanes(client)
  local lanes = {}
  for i, name in ipairs(LANES) do
    local command = wire.services[client._options.service][name]
    local pace, err = client:_pace(command.path)
    if err then
      return nil, err
    end
    lanes[i] = { shape = command.shape, path = command.path, pace = pace }
  end
  return lanes
end

local function new_engine(client, given, lanes, is_probing)
  return commands.new_engine(client, lanes, {
    deadline_ms = 0,
    queue_max = given.queue_max,
    in_flight_max = given.in_flight_max or client._options.in_flight_max,
    probing = is_probing,
    quiet = false,
  })
end

-- Counts an attempt that is back, and tells who traces: URLs without the signature.
local function note(batcher, flight, reply, verdict)
  local seconds = (core.now_us() - flight.at_us) / 1e6
  local status = reply.status ~= "OK" and reply.status
  local code = status or verdict.kind == "delivered" and "0" or tostring(verdict.code)
  metrics.add("imattr_requests_total", "code", code)
  metrics.observe("imattr_request_duration_seconds", seconds)
  local on_attempt = batcher._given.on_attempt
  if on_attempt then
    batcher:_call(on_attempt, {
      method = "POST",
      url = redact.text(flight.base .. flight.target),
      address = flight.base:match("//(.*)$"),
      status = reply.http_status,
      error_type = code ~= "0" and code or nil,
      resend_count = flight.attempt - 1,
      users = flight.users,
      seconds = seconds,
    })
  end
end

-- What became of an update, in words.
local function result_of(self, url, ticket, fate, code, attempts, account)
  local result = { ticket = self.base + ticket, account = account, fate = fate,
    attempts = attempts }
  if code then
    local info = self.infos[tonumber(code) or core.statuses[code].code]
    local err = code == "STOPPED" and self.error or wire.error(code, url, info)
    result.code, result.message = err.code, err.message
  end
  return result
end

-- The functions by which the pump and a batcher speak of a run.
local function connect(self, batcher, addresses)
  local last_kind = "retry" -- of the answer before: why there is another attempt
  function self.address(id, lane, users, attempt)
    local base, target = addresses.of(id, lane)
    if base then
      self.flying[id] = { at_us = self.now_us(), base = base, target = target, users = users,
        attempt = attempt }
      if attempt > 1 then
        metrics.add("imattr_retries_total", "class", last_kind)
      end
    end
    return base, target
  end
  function self.on_reply(reply, verdict)
    addresses.back(reply, verdict)
    local flight = self.flying[reply.id]
    self.flying[reply.id] = nil
    if verdict.kind == "delivered" then
      batcher._client._is_proven, self.is_good = true, true
    else
      last_kind = verdict.kind
    end
    note(batcher, flight, reply, verdict)
  end
  function self.on_results()
    local ticket, fate, code, attempts, account = self.engine:result()
    while ticket do
      batcher:settle(result_of(self, batcher._client._hosts.url, ticket, fate, code, attempts,
        account))
      ticket, fate, code, attempts, account = self.engine:result()
    end
  end
end

--- Opens a run for a batcher.
---@param batcher imattr.Batcher
---@param has_stopped boolean was there one before that was stopped? Then it begins with one request
---@return imattr.Run? run
---@return imattr.Error? err
function run.new(batcher, has_stopped)
  local client = batcher._client
  local lanes, err = new_lanes(client)
  if not lanes then
    return nil, err
  end
  local self = {
    engine = new_engine(client, batcher._given, lanes, has_stopped or not client._is_proven),
    now_us = client._world.now_us,
    base = batcher._ticket, -- the engine counts from 1
    flying = {}, -- id -> a request on its way
    infos = {}, look_us = 0, has_more = false, source_may_wait = true,
  }
  connect(self, batcher, commands.new_addresses(client, lanes))
  return self
end

return run
