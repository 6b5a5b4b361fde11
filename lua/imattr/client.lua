-- client: what a program holds: an app's account at the vendor, and the calls it can make.

local alarm = require "imattr.alarm"
local batcher = require "imattr.batcher"
local commands = require "imattr.commands"
local core = require "imattr.core"
local errors = require "imattr.errors"
local hosts = require "imattr.hosts"
local options = require "imattr.options"
local redact = require "imattr.redact"
local signature = require "imattr.signature"
local world = require "imattr.world"

local client = {}

---@class imattr.Client
local Client = {}
Client.__index = Client
Client.__name = "imattr.client"

--- Never shows more than the app and the host.
function Client:__tostring()
  local app = ("%.0f at %s"):format(self._options.sdkappid, redact.text(self._hosts.host))
  return ("imattr.client (%s)"):format(self._is_closed and "closed" or app)
end

local function setup_error(code, message)
  return nil, errors.new { code = code, message = message, class = "setup" }
end

-- The names of a list, or of a table by index as get_attr_name gives it; as a list.
local function check_names(names)
  if not names then
    return nil
  end
  local list = {}
  for index, name in pairs(names) do
    if type(name) ~= "string" or #name < 1 or #name > 50 then
      error(("attr_names[%s]: wants a string of 1 to 50 bytes"):format(
        redact.text(tostring(index))), 3)
    end
    list[#list + 1] = name
  end
  if #list > 10 then
    error(("attr_names: %d, limit 10"):format(#list), 3)
  end
  return list
end

--- Opens a client; see imattr.new.
---@param given table
---@param around imattr.World? where it lives; default: the real world
---@return imattr.Client?
---@return imattr.Error?
function client.new(given, around)
  if type(given) ~= "table" then
    error("imattr.new: a " .. type(given) .. ", wants a table of options", 2)
  end
  local checked = options.check(given, nil, 2)
  local names = check_names(checked.attr_names)
  if not checked.sdkappid then
    return setup_error("MISSING_SDKAPPID", "sdkappid: missing; the console shows it")
  end
  local known, hosts_err = hosts.of(checked)
  if not known then
    return nil, hosts_err
  end
  around = around or world.real
  if around.prepare then
    around.prepare()
  end
  local signer, err = signature.new(checked, around.time_s)
  if not signer then
    return nil, err
  end
  checked.key, checked.usersig = nil, nil -- they live in the signature from here on
  return setmetatable({
    _options = checked,
    _world = around,
    _hosts = known,
    _signature = signer,
    _transports = {},
    _paces = {},
    _runs = setmetatable({}, { __mode = "k" }), -- a coroutine left for good is no run
    _names = names,
    _heeds_raises = given.rate == nil, -- a rate that nobody chose follows the vendor upwards, too
    _pid = core.getpid(), -- a child process has the same sockets and slots, and must use neither
    _is_proven = false, -- has the vendor taken a request, and so the set-up?
  }, Client)
end

local function check_open(self)
  if getmetatable(self) ~= Client then
    error("imattr: call methods with a colon, client:set_attr(users)", 3)
  end
  if self._is_closed then
    error("imattr.client: already closed", 3)
  end
end

-- {===== what calls share: transports and paces =====

-- Takes an idle transport, or opens one. Calls may run inside one another (from on_result, or in
-- coroutines), so each has one to itself while it runs.
function Client:_take_transport()
  local idle = table.remove(self._transports)
  if idle then
    return idle
  end
  local given = self._options
  local transport, code = self._world.transport {
    connect_timeout_ms = given.connect_timeout_ms,
    timeout_ms = given.timeout_ms,
    ca_file = given.ca_file,
    proxy = given.proxy,
    allows_http = self._hosts.is_plain,
    -- what goes to loopback must not leave by a proxy that the environment names
    is_direct = self._hosts.is_plain or self._hosts.is_loopback and not given.proxy,
  }
  if not transport then
    return nil, errors.world(code, self._hosts.url)
  end
  return transport
end

-- Puts a transport back, for its open connections; never one with requests still on their way.
function Client:_give_transport(transport)
  if self._is_closed then
    transport:close()
  else
    self._transports[#self._transports + 1] = transport
  end
end

function Client:_begin_run(run)
  self._runs[run] = true
end

function Client:_end_run(run)
  self._runs[run] = nil
  if self._is_closed and next(self._runs) == nil then
    self:_release()
  end
end

function Client:_release()
  self._signature:close()
  for _, transport in ipairs(self._transports) do
    transport:close()
  end
  for _, pace in pairs(self._paces) do
    pace:close()
  end
  self._transports, self._paces = {}, {}
end

-- The pace of a command: one ring per app and command, shared as pace_scope says. On loopback it
-- is also one per host, for there it is no quota of the vendor's.
function Client:_pace(path)
  local given = self._options
  if given.rate == 0 then
    return nil
  end
  if not self._paces[path] then
    local name
    if given.pace_scope == "machine" then
      name = ("%.0f-%s"):format(given.sdkappid, path)
      name = self._hosts.is_loopback and name .. "-" .. self._hosts.host or name
      name = name:gsub("[^%w._-]", "_")
    end
    local pace, code, message = self._world.pace(given.rate, given.pace, name, given.backfill,
      self._heeds_raises)
    if not pace then
      return nil, errors.world(code, "pace", message)
    end
    self._paces[path] = pace
  end
  return self._paces[path]
end

-- }=====

-- {===== calls =====

--- Sets attributes of users; others that a user has stay as they are.
--- Raises for misuse, and with whatever an iterator or a callback raised.
---@param users table|fun(): string?, table? the vendor's list { { To_Account = "a", Attrs =
---  { name = "value" } }, ... }, a map { [account] = { name = "value" } }, or an iterator that
---  returns account and attributes and nil at the end: then any number of users runs in
---  constant memory
---@param call imattr.Call?
---@return imattr.Report? report nil only when nothing could begin
---@return imattr.Error? err why the run ended early, or why users have no answer: report.error
function Client:set_attr(users, call)
  check_open(self)
  return commands.update(self, "set_attr", users, call)
end

--- Removes attributes of users. As set_attr, but attributes are lists of names:
--- { { To_Account = "a", Attrs = { "name" } } } or { [account] = { "name" } }.
---@param users table|fun(): string?, table?
---@param call imattr.Call?
---@return imattr.Report?
---@return imattr.Error?
function Client:remove_attr(users, call)
  check_open(self)
  return commands.update(self, "remove_attr", users, call)
end

--- Reads attributes of users.
---@param accounts string[]|fun(): string?
---@param call imattr.Call?
---@return { [string]: { [string]: string } }? attributes by account; nil when the run ended early
---@return imattr.Report|imattr.Error report or err
---@return imattr.Report? report beside an err
function Client:get_attr(accounts, call)
  check_open(self)
  return commands.get_attr(self, accounts, call)
end

--- Registers names of attributes with the app: { ["0"] = "sex", ["1"] = "city" }; at most 10, each
--- at most 50 bytes.
---@param names { [string]: string }
---@return boolean? ok
---@return imattr.Error? err
function Client:set_attr_name(names)
  check_open(self)
  return commands.set_attr_name(self, names)
end

--- Reads the registered names.
---@return { [string]: string }? names by index
---@return imattr.Error? err
function Client:get_attr_name()
  check_open(self)
  return commands.get_attr_name(self)
end

--- Opens a batcher, inside nginx: it joins single updates of many requests into full batches. Once
--- per worker: in init_worker_by_lua.
---@param given imattr.batcher.Options?
---@return imattr.Batcher?
---@return imattr.Error? err code SPOOL
function Client:batcher(given)
  check_open(self)
  return batcher.new(self, given)
end

--- Answers the vendor's webhook Alert.RequestOverLimit, in a content handler of nginx, and takes
--- the limit that it tells: for ten minutes it counts in place of `rate` where it is lower, and
--- where it is higher for clients that were given no rate; in all processes that share the quota.
---@param token string the webhook's authentication token, as the console shows it
---@return imattr.Alarm? alarm nil: the request was none, or about a command without a quota here
---@return imattr.Error? err why it was answered with 403 or 400
function Client:serve_alarm(token)
  check_open(self)
  return alarm.serve(self, token)
end

--- The report of the last set_attr, remove_attr or get_attr: also after one that raised.
---@return imattr.Report?
function Client:last_report()
  return self._last_report
end

--- Closes connections and wipes the key. Closing twice is fine. A call that is under way (this may
--- be one of its callbacks) is stopped: what it has sent is waited for, the rest is not sent.
function Client:close()
  if getmetatable(self) ~= Client then
    error("imattr: call methods with a colon, client:close()", 2)
  end
  self._is_closed = true
  for run in pairs(self._runs) do
    run.engine:stop(core.statuses.STOPPED.code)
  end
  if next(self._runs) == nil then
    self:_release()
  end
end

Client.__gc = Client.close
Client.__close = Client.close

-- }=====

return client
