-- run: a run of a batcher: an engine that is fed from outside, where its requests go, and what is
-- noted of them. It lasts until a mistake of set-up stops it.

local attempts = require "imattr.attempts"
local commands = require "imattr.commands"
local core = require "imattr.core"
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

-- What became of an update, in words.
local function result_of(self, url, ticket, fate, code, tries, account)
  local result = { ticket = self.base + ticket, account = account, fate = fate, attempts = tries }
  if code then
    local info = self.infos[tonumber(code) or core.statuses[code].code]
    local err = code == "STOPPED" and self.error or wire.error(code, url, info)
    result.code, result.message = err.code, err.message
  end
  return result
end

-- The functions by which the pump and a batcher speak of a run.
local function connect(self, batcher, addresses, seen)
  function self.address(id, lane, users, attempt)
    local base, target = addresses.of(id, lane)
    if base then
      seen:leave(id, base, target, users, attempt)
    end
    return base, target
  end
  function self.on_reply(reply, verdict)
    addresses.back(reply, verdict)
    if verdict.kind == "delivered" then
      batcher._client._is_proven, self.is_good = true, true
    end
    local flight = seen:back(reply, verdict)
    attempts.count(flight)
    if batcher._given.on_attempt then
      batcher:_call(batcher._given.on_attempt, attempts.info(flight))
    end
  end
  function self.on_results()
    local ticket, fate, code, tries, account = self.engine:result()
    while ticket do
      batcher:settle(result_of(self, batcher._client._hosts.url, ticket, fate, code, tries,
        account))
      ticket, fate, code, tries, account = self.engine:result()
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
  local seen = attempts.new(client._world.now_us)
  local self = {
    engine = new_engine(client, batcher._given, lanes, has_stopped or not client._is_proven),
    now_us = client._world.now_us,
    base = batcher._ticket, -- the engine counts from 1
    flying = seen.flying, -- id -> a request on its way
    infos = {}, look_us = 0, has_more = false, source_may_wait = true,
  }
  connect(self, batcher, commands.new_addresses(client, lanes), seen)
  return self
end

return run
