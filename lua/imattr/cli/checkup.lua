-- The checks of `imattr doctor`, from the set-up to the quota: each finds something in order, or
-- says what to do. A check that cannot be made because of an earlier one is left out.

local codes = require "imattr.codes"
local exit = require "imattr.cli.exit"
local options_table = require "imattr.options"
local probe = require "imattr.cli.probe"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local checkup = {}

-- Clocks this far apart are in step; beyond the second, UserSigs and certificates are at stake.
local STEP_S = 3
local SKEW_MAX_S = 60

local EXPIRES_SOON_S = 14 * 86400

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do
    set[item] = true
  end
  return set
end

-- which check a vendor's code belongs to, in the order in which the vendor looks
local BELONGS = {
  { "region", exit.SETUP, set_of { 70016, 70020, 60026, 60006 } },
  { "signature", exit.DENIED, set_of { 60004, 60005, 70001, 70002, 70003, 70005, 70009, 70013,
    70014, 70050, 70051, 70052, 70114, 70346 } },
  { "administrator", exit.DENIED, set_of { 60010, 70403, 90009 } },
  { "feature", exit.SETUP, set_of { 60016, 60017, 60020, 60021, 60027, 60028, 72000, 72001, 72002,
    72011, 72012, 90045 } },
}

-- codes by which a host says that the app lives elsewhere
local ELSEWHERE = set_of { 70016, 70020, 60026 }

local TOO_FAST = set_of { 60007, 60011, 60018, 60019 }

-- statuses of the transport, and the check each belongs to
local REACHED = { RESOLVE = "DNS", CONNECT = "connection", PROXY = "connection",
  TIMEOUT = "connection", CUT = "connection", TLS = "TLS" }

---One line of the screen.
---@class imattr.cli.checkup.line
---@field name string
---@field is_ok boolean
---@field words string what was found, or what to do
---@field code integer? exit code, when it is not in order

---@class imattr.cli.checkup
---@field lines imattr.cli.checkup.line[]
---@field options table of a client
---@field io table
---@field getenv fun(name: string): string?

local function ok(self, name, words)
  self.lines[#self.lines + 1] = { name = name, is_ok = true, words = words }
end

local function bad(self, name, words, code)
  self.lines[#self.lines + 1] = { name = name, is_ok = false, words = words, code = code }
end

local function sentence(err)
  return setup.redact(text.visible(tostring(err)))
end

local function moment(time_s)
  return os.date("!%Y-%m-%d %H:%M:%S UTC", time_s)
end

local function date(time_s)
  return os.date("!%Y-%m-%d", time_s)
end

-- {===== the way there =====

---The proxy that the environment names for a host; nil: none.
local function proxy_of(self, host)
  local proxy = self.getenv "https_proxy" or self.getenv "HTTPS_PROXY"
  local is_loopback = host == "localhost" or host == "::1" or host:find("^127%.")
  return proxy and proxy ~= "" and not is_loopback
    and text.visible(proxy:gsub("^(%a+://)[^@/]*@", "%1")) or nil
end

local function check_names(self, endpoint, outcome)
  local host = probe.place_of(endpoint)
  local proxy = proxy_of(self, host)
  if proxy then
    ok(self, "DNS", ("left to the proxy %s"):format(proxy))
    return
  elseif outcome.status == "RESOLVE" then
    bad(self, "DNS", sentence(outcome.err), exit.UNREACHABLE)
    return
  elseif host:find("^[%d.]+$") or host:find(":", 1, true) then
    ok(self, "DNS", host .. " is an address")
    return
  end
  local addresses = probe.addresses(host, self.io)
  local first = addresses[1] or "found"
  ok(self, "DNS", ("%s is %s%s"):format(host, first,
    #addresses > 1 and (" and %s more"):format(#addresses - 1) or ""))
end

local function check_connection(self, endpoint, outcome)
  local host, port = probe.place_of(endpoint)
  if REACHED[outcome.status] == "connection" then
    bad(self, "connection", sentence(outcome.err), exit.UNREACHABLE)
  else
    ok(self, "connection", ("port %s answers"):format(port)
      .. (proxy_of(self, host) and ", through the proxy" or ""))
  end
end

---What a certificate's dates say against this machine's clock; nil: nothing.
local function date_fault(certificate, now_s)
  if certificate and certificate.from_s and now_s < certificate.from_s then
    return ("the certificate is valid from %s, and this machine's clock says %s; "
      .. "set the clock"):format(moment(certificate.from_s), moment(now_s))
  elseif certificate and certificate.until_s and now_s > certificate.until_s then
    return ("the certificate ended on %s, and this machine's clock says %s; "
      .. "set the clock, or tell who runs the server"):format(moment(certificate.until_s),
      moment(now_s))
  end
end

local function check_tls(self, endpoint, outcome)
  if endpoint:lower():find("^http:") then
    ok(self, "TLS", "none: plain HTTP, which is for loopback alone")
    return
  end
  local certificate = probe.certificate(endpoint, self.io)
  if outcome.status == "TLS" then
    bad(self, "TLS", date_fault(certificate, os.time()) or sentence(outcome.err),
      exit.UNREACHABLE)
    return
  end
  local words = "the certificate is trusted"
  if certificate and certificate.until_s then
    local left_s = certificate.until_s - os.time()
    words = ("%s, a chain of %d, trusted until %s%s"):format(certificate.subject,
      certificate.chain_length, date(certificate.until_s),
      left_s < EXPIRES_SOON_S and (", which is in %s"):format(text.duration(left_s)) or "")
  end
  ok(self, "TLS", words)
end

local function check_clock(self, outcome)
  local skew_s = outcome.skew_s
  if not skew_s then
    ok(self, "clock", "not compared: the answer has no Date")
    return
  end
  local apart = math.abs(skew_s)
  local words = ("%s %s the server's"):format(text.duration(apart),
    skew_s > 0 and "ahead of" or "behind")
  if apart <= STEP_S then
    ok(self, "clock", "in step with the server's")
  elseif apart < SKEW_MAX_S then
    ok(self, "clock", words .. ", which does no harm")
  else
    bad(self, "clock", words .. "; set it (timedatectl set-ntp true), else UserSigs for your "
      .. "users are refused", exit.SETUP)
  end
end

-- }=====

-- {===== what the vendor says =====

---The regions whose hosts know the app, tried one after the other; at most one is named.
local function find_region(self)
  for _, region in ipairs(options_table.find("region").choices) do
    if region ~= self.options.region then
      local endpoint = probe.hosts_of(region)[1]
      local outcome = probe.send(self.options, endpoint, self.ask_names)
      if outcome.status == "OK" and not ELSEWHERE[outcome.code] then
        return region
      end
    end
  end
end

---The endpoint among those given that knows the app.
local function find_endpoint(self, endpoints)
  for index = 2, #endpoints do
    local outcome = probe.send(self.options, endpoints[index], self.ask_names)
    if outcome.status == "OK" and not ELSEWHERE[outcome.code] then
      return endpoints[index]
    end
  end
end

local function say_region(self, endpoints, outcome)
  local words = ("%d: %s"):format(outcome.code, codes[outcome.code].message)
  local found
  if ELSEWHERE[outcome.code] and self.options.region then
    found = find_region(self)
    words = words .. (found and ("; the app lives in %s: --region %s, or IMATTR_REGION=%s"):format(
      found, found, found) or "; nor is it found in any other region: check sdkappid and key")
  elseif ELSEWHERE[outcome.code] and #endpoints > 1 then
    found = find_endpoint(self, endpoints)
    words = words .. (found and ("; the app is found at %s: --endpoint %s"):format(found, found)
      or "; nor is it found at the other endpoints: check sdkappid and key")
  else
    words = words .. "; " .. (codes[outcome.code].hint or "check sdkappid")
  end
  bad(self, "region", words, exit.SETUP)
end

---What each check says when it is passed.
local function passed(self, name, outcome)
  if name == "region" then
    return self.options.region or "the endpoint knows the app"
  elseif name == "signature" then
    local was_refused = not outcome.code and #outcome.codes > 0
    return was_refused and "accepted, when made by the server's clock" or "accepted"
  elseif name == "administrator" then
    return text.visible(self.options.identifier or setup.default "identifier")
  end
  return "on"
end

---What the vendor's refusal means, and what to do.
local function words_of(outcome)
  local known = codes[outcome.code]
  return known.class == "hold" and ("%d: %s; %s"):format(outcome.code, known.message, known.hint)
    or sentence(outcome.err)
end

---The place in BELONGS of a code; nil: it belongs to no check.
local function place_of(code)
  for place, row in ipairs(BELONGS) do
    if row[3][code] then
      return place
    end
  end
end

---Says how far the request came. True when it was served.
local function check_word(self, endpoints, outcome)
  local is_too_fast = TOO_FAST[outcome.code]
  local stop = outcome.err and not is_too_fast and (place_of(outcome.code) or 0) or nil
  for place, row in ipairs(BELONGS) do
    if place == stop and row[1] == "region" then
      say_region(self, endpoints, outcome)
    elseif place == stop then
      bad(self, row[1], words_of(outcome), row[2])
    elseif not stop or place < stop then
      ok(self, row[1], passed(self, row[1], outcome))
    end
  end
  if stop == 0 then
    bad(self, "answer", sentence(outcome.err), exit.of(outcome.err))
  end
  return not outcome.err
end

local function check_registered(self, by_index)
  local list = {}
  for index = 0, 9 do
    list[#list + 1] = by_index[tostring(index)] and text.visible(by_index[tostring(index)])
  end
  if #list == 0 then
    bad(self, "names", "no attribute name is registered; imattr names set 0=city 1=level",
      exit.SETUP)
  else
    ok(self, "names", ("%d of 10: %s"):format(#list, table.concat(list, ", ")))
  end
end

-- An account that nobody has: asking about it tells whether users can be read, and nothing else.
local NOBODY = "imattr-doctor"

local function check_reading(self, endpoint)
  local outcome = probe.send(self.options, endpoint, function(client)
    local attributes, report = client:get_attr { NOBODY }
    return attributes, not attributes and report or report.failures[1]
  end)
  local failure = outcome.err
  if outcome.object and not failure then
    ok(self, "users", "can be read")
  elseif outcome.object then -- the vendor wants accounts that exist: that too is an answer
    ok(self, "users", "can be asked about")
  else
    bad(self, "users", sentence(failure), exit.of(failure))
  end
  return outcome
end

---The ring of the command that sets attributes, beside the one a probe used.
local function ring_of_set(name)
  return (name:gsub("%-im_get_attr_name", "-im_set_attr", 1))
end

local function check_quota(self, first, second)
  local rate = self.options.rate or setup.default "rate"
  if TOO_FAST[first.code] or second and TOO_FAST[second.code] then
    bad(self, "quota", ("%d: others use the quota too; lower --rate to your share of it"):format(
      TOO_FAST[first.code] and first.code or second.code), exit.UNREACHABLE)
    return
  elseif rate == 0 then
    ok(self, "quota", "no limit (rate 0)")
    return
  end
  local free = first.ring and probe.free_slots(ring_of_set(first.ring), rate, self.io)
  ok(self, "quota", not free and ("%d requests/s; nobody on this machine has used any"):format(rate)
    or ("%d requests/s; %d of %d slots for setting are free"):format(rate, free, rate))
end

-- }=====

---The other hosts that stand in for the first.
local function check_standins(self, endpoints)
  for index = 2, #endpoints do
    local outcome = probe.send(self.options, endpoints[index], self.ask_names)
    local host = probe.place_of(endpoints[index])
    if outcome.err then
      bad(self, "stand-in", ("%s: %s"):format(host, sentence(outcome.err)), exit.of(outcome.err))
    else
      ok(self, "stand-in", host .. " works too")
    end
  end
end

---@param options table of a client
---@param found string where the set-up comes from, in words
---@param io table the io library, or one like it
---@param getenv fun(name: string): string?
---@return imattr.cli.checkup.line[]
function checkup.run(options, found, io, getenv)
  local self = { lines = {}, options = options, io = io, getenv = getenv,
    ask_names = function(client) return client:get_attr_name() end }
  local endpoints = probe.endpoints(options)
  local outcome = probe.send(options, endpoints[1], self.ask_names)
  if not outcome.status then -- no request could be made: the set-up itself is wrong
    bad(self, "set-up", sentence(outcome.err), exit.of(outcome.err))
    return self.lines
  end
  ok(self, "set-up", found)
  check_names(self, endpoints[1], outcome)
  if outcome.status ~= "RESOLVE" then
    check_connection(self, endpoints[1], outcome)
  end
  if outcome.status ~= "RESOLVE" and REACHED[outcome.status] ~= "connection" then
    check_tls(self, endpoints[1], outcome)
  end
  if outcome.status ~= "OK" then
    return self.lines
  end
  check_clock(self, outcome)
  if check_word(self, endpoints, outcome) then
    check_registered(self, outcome.object)
    local second = check_reading(self, endpoints[1])
    check_standins(self, endpoints)
    check_quota(self, outcome, second)
  elseif TOO_FAST[outcome.code] then
    check_quota(self, outcome)
  end
  return self.lines
end

return checkup
