-- hosts: where an app is reached, and which of its hosts the next request goes to: the first that
-- works. After faults in a row a host is left alone; when its pause is over, one request tries it.
--
-- No clock: times are arguments. All calls of a client share what they learn here.

local errors = require "imattr.errors"
local wire = require "imattr.wire"

local hosts = {}

-- Connection faults in a row after which a host is left alone, and for how long: the pause doubles
-- with each try that fails.
local FAULTS_MAX = 2
local PAUSE_MIN_US = 1000000

-- A try of which nothing is heard (its run was broken off) is over after this.
local TRIAL_MAX_US = 130000000
local PAUSE_MAX_US = 60000000

-- Statuses that are a host's fault, or its network's.
local FAULTS = { RESOLVE = true, CONNECT = true, PROXY = true, TLS = true, TIMEOUT = true,
  CUT = true }

---@class imattr.Hosts
---@field url string all of them, for messages
---@field host string the same without "https://"
---@field is_loopback boolean
---@field is_plain boolean is any of them without TLS?
local Hosts = {}
Hosts.__index = Hosts

local function setup_error(code, message)
  return nil, errors.new { code = code, message = message, class = "setup" }
end

-- The addresses an app is given with, or nil and what is wrong.
local function addresses_of(given)
  if given.endpoint and given.region then
    return setup_error("BAD_ENDPOINT", "endpoint and region: give one of them, not both")
  end
  if not given.endpoint and not given.region then
    return setup_error("MISSING_ENDPOINT",
      "region: missing; give the region the app lives in, or an endpoint")
  end
  if given.region then
    local addresses = {}
    for i, host in ipairs(wire.regions[given.region]) do
      addresses[i] = "https://" .. host
    end
    return addresses
  end
  return type(given.endpoint) == "string" and { given.endpoint } or given.endpoint
end

-- The parts of each address; or nil and what is wrong.
local function parts_of(addresses)
  local list = {}
  for i, address in ipairs(addresses) do
    local parts, problem = wire.endpoint(address)
    if not parts then
      return setup_error("BAD_ENDPOINT", problem)
    end
    if i > 1 and parts.is_loopback ~= list[1].is_loopback then
      return setup_error("BAD_ENDPOINT", ("endpoint: %s and %s, wants hosts that are all loopback, "
        .. "or none"):format(list[1].url, parts.url))
    end
    list[i] = parts
  end
  return list
end

local function joined(list, field)
  local words = {}
  for i, item in ipairs(list) do
    words[i] = item[field]
  end
  return table.concat(words, " or ")
end

--- The hosts that a client's options name: those of a region, or the endpoints.
---@param given table checked options
---@return imattr.Hosts?
---@return imattr.Error?
function hosts.of(given)
  local addresses, err = addresses_of(given)
  local list
  if addresses then
    list, err = parts_of(addresses)
  end
  if not list then
    return nil, err
  end
  local self = { url = joined(list, "url"), host = joined(list, "host"),
    is_loopback = list[1].is_loopback, is_plain = false, _list = {}, _by_url = {} }
  for i, parts in ipairs(list) do
    self.is_plain = self.is_plain or parts.is_plain
    self._list[i] = { url = parts.url, faults = 0, until_us = 0, pause_us = PAUSE_MIN_US }
    self._by_url[parts.url] = self._list[i]
  end
  return setmetatable(self, Hosts)
end

--- The host for a request that leaves now.
---@param now_us integer
---@return string base "https://host"
function Hosts:pick(now_us)
  local soonest
  for _, host in ipairs(self._list) do
    if not host.is_down then
      return host.url
    elseif now_us >= host.until_us and now_us >= (host.trial_until_us or 0) then
      host.trial_until_us = now_us + TRIAL_MAX_US
      return host.url
    end
    if not soonest or host.until_us < soonest.until_us then
      soonest = host
    end
  end
  return soonest.url -- all are down: it is the engine that sends one at a time then
end

local function rest(host, now_us)
  if not host.is_down then
    host.is_down, host.pause_us = true, PAUSE_MIN_US
  elseif now_us >= host.until_us then
    host.pause_us = math.min(PAUSE_MAX_US, host.pause_us * 2)
  end
  host.until_us = now_us + host.pause_us
end

--- What came of a request to a host.
---@param base string as pick gave it
---@param status string of the reply: "OK" for any HTTP answer
---@param now_us integer
function Hosts:back(base, status, now_us)
  local host = self._by_url[base]
  host.trial_until_us = nil
  if not FAULTS[status] then
    host.faults, host.is_down, host.is_untrusted = 0, false, false
    return
  end
  host.faults = host.faults + 1
  host.is_untrusted = status == "TLS"
  if host.is_untrusted or host.faults >= FAULTS_MAX then
    rest(host, now_us)
  end
end

--- Is there a host left whose certificate has not been found wrong?
---@return boolean
function Hosts:has_trusted()
  for _, host in ipairs(self._list) do
    if not host.is_untrusted then
      return true
    end
  end
  return false
end

return hosts
