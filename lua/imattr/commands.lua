-- commands: the vendor's commands as calls of a client: users in, a report out.

local attempts = require "imattr.attempts"
local core = require "imattr.core"
local errors = require "imattr.errors"
local options = require "imattr.options"
local pump = require "imattr.pump"
local redact = require "imattr.redact"
local report = require "imattr.report"
local source = require "imattr.source"
local wire = require "imattr.wire"

local commands = {}

-- A body is closed before it would pass this. The largest legal one is far below: 100 users with
-- 10 attributes, every byte escaped, are 630 KB.
local BODY_BYTES_MAX = 1048576

-- Names an app can register (im_set_attr_name: indexes "0" to "9").
local NAMES_MAX = 10

---@class imattr.Call
---@field on_result fun(result: imattr.Result)? sees the fate of every update
---@field on_failure fun(result: imattr.Result)? sees those that are not done; in a dry run those
---  that would not be sent: where on_result is not given as well, it costs less
---@field on_progress fun(progress: imattr.Progress)? about ten times a second
---@field should_stop fun(): boolean? true ends the run: what is on its way is waited for
---@field deadline_ms integer? as the option
---@field failures_max integer? as the option
---@field removes boolean? of set_attr with an iterator: it returns account, attributes, and names
---  to remove or nil; where there are both, the names are an update of their own, behind the other
---@field dry_run boolean? screens and counts, sends nothing
---@field on_attempt fun(attempt: imattr.Attempt)? sees every request when it is back
---@field on_user fun(account: string, attrs: { [string]: string })? of get_attr: takes each user as
---  the answer comes, and none is kept

local CALL_TYPES = { on_result = "function", on_failure = "function", on_progress = "function",
  should_stop = "function", dry_run = "boolean", deadline_ms = "option", failures_max = "option",
  removes = "boolean", on_attempt = "function", on_user = "function" }
local CALL_NAMES = { "on_result", "on_failure", "on_progress", "should_stop", "dry_run",
  "deadline_ms", "failures_max", "on_attempt", "on_user", "removes" }

local function call_problem(name, value)
  local wanted = CALL_TYPES[name]
  if not wanted then
    return ("unknown option of a call: %s%s"):format(redact.text(tostring(name)),
      options.did_you_mean(tostring(name), CALL_NAMES))
  elseif wanted == "option" then
    return options.problem(options.find(name), value)
  elseif type(value) ~= wanted then
    return ("%s: a %s, wants a %s"):format(name, type(value), wanted)
  end
end

-- The options of one call over those of the client. Raises for misuse, at the client's caller.
local function check_call(client, call)
  local checked = {
    deadline_ms = client._options.deadline_ms,
    failures_max = client._options.failures_max,
  }
  if call ~= nil and type(call) ~= "table" then
    error(("call: a %s, wants a table"):format(type(call)), 3)
  end
  for name, value in pairs(call or {}) do
    local problem = call_problem(name, value)
    if problem then
      error(problem, 3)
    end
    checked[name] = value
  end
  return checked
end

-- {===== runs =====

--- The engine of a run.
---@param client imattr.Client
---@param lanes { shape: string, path: string, pace: table? }[] one or several commands
---@param given { deadline_ms: integer, queue_max: integer, in_flight_max: integer,
---  probing: boolean, quiet: boolean }
---@return table
function commands.new_engine(client, lanes, given)
  local options_given = client._options
  local limits = wire.limits[options_given.service]
  return core.engine {
    lanes = lanes,
    names = client._names,
    account_bytes_max = limits.account_bytes_max,
    value_bytes_max = limits.value_bytes_max,
    users_max = lanes[1].shape == "whole" and 1 or wire.USERS_MAX,
    body_bytes_max = BODY_BYTES_MAX,
    queue_max = given.queue_max,
    in_flight_max = given.in_flight_max,
    attempts_max = options_given.attempts_max,
    hold_us = options_given.timeout_ms * 1000,
    deadline_us = given.deadline_ms > 0 and client._world.now_us() + given.deadline_ms * 1000 or 0,
    outage_max_us = options_given.attempts_max > 1 and options_given.patience_ms * 1000 or 0,
    seed = client._world.random_u32(),
    probing = given.probing,
    quiet = given.quiet,
  }
end

--- Where a run's requests go. The part before the random number is made once per UserSig and lane.
---@param client imattr.Client
---@param lanes { path: string }[]
---@return { of: function, back: function }
function commands.new_addresses(client, lanes)
  local signature, latest = client._signature, nil
  local hosts, random_u32, now_us = client._hosts, client._world.random_u32, client._world.now_us
  local prefixes = {} -- lane -> target up to the random number
  local signed = {} -- id -> the UserSig that the request on its way carries
  local bases = {} -- id -> the host it goes to
  local addresses = {}

  local function set_usersig(usersig)
    latest = usersig
    for lane, command in ipairs(lanes) do
      prefixes[lane] = wire.target(client._options.service, command.path, {
        sdkappid = client._options.sdkappid,
        identifier = client._options.identifier,
        usersig = usersig,
      })
    end
  end

  -- Host and target of a request; nil and an error when no UserSig can be made.
  function addresses.of(id, lane)
    local usersig, err = signature:get()
    if not usersig then
      return nil, err
    end
    if usersig ~= latest then
      set_usersig(usersig)
    end
    signed[id] = usersig
    bases[id] = hosts:pick(now_us())
    return bases[id], prefixes[lane] .. random_u32()
  end

  -- A request is back. Its UserSig may have been refused; or its host may be a stranger, and then
  -- another host is worth a try.
  function addresses.back(reply, verdict)
    if verdict.kind == "resign" then
      signature:renew(signed[reply.id], wire.date_s(reply.date))
    end
    hosts:back(bases[reply.id], reply.status, now_us())
    if reply.status == "TLS" and hosts:has_trusted() then
      verdict.kind = "retry"
    end
    signed[reply.id], bases[reply.id] = nil, nil
  end

  return addresses
end

-- Why nothing may be sent from here; nil: it may.
local function obstacle(client, call)
  if client._pid ~= core.getpid() then
    return errors.world("FORKED")
  elseif not call.dry_run then
    local _, err = client._signature:get()
    return err
  end
end

-- The lanes of a run: the command's, and one that removes where that is asked for. Nil and an error
-- when one has no slots.
local function new_lanes(client, name, call)
  local lanes = {}
  for i, each in ipairs { name, call.removes and "remove_attr" or nil } do
    local command = wire.services[client._options.service][each]
    lanes[i] = { shape = command.shape, path = command.path }
    if not call.dry_run then
      local err
      lanes[i].pace, err = client:_pace(command.path)
      if err then
        return nil, err
      end
    end
  end
  return lanes
end

-- What a run needs besides its source; or nil and an error.
local function new_run(client, name, call, on_delivered)
  local err = obstacle(client, call)
  if err then
    return nil, err
  end
  local lanes, transport
  lanes, err = new_lanes(client, name, call)
  if not lanes then
    return nil, err
  elseif call.dry_run then
    transport = require("imattr.transport.dry").new()
  else
    transport, err = client:_take_transport()
  end
  if not transport then
    return nil, err
  end
  local addresses = commands.new_addresses(client, lanes)
  return {
    engine = commands.new_engine(client, lanes, {
      deadline_ms = call.deadline_ms,
      queue_max = client._options.queue_max,
      in_flight_max = client._options.in_flight_max,
      probing = not call.dry_run and not client._is_proven,
      quiet = call.on_result == nil,
    }),
    transport = transport,
    now_us = client._world.now_us,
    address = call.dry_run and function() return "", "" end or addresses.of,
    on_reply = function(reply, verdict)
      addresses.back(reply, verdict)
      if verdict.kind == "delivered" and on_delivered then
        on_delivered(verdict.object)
      end
    end,
    should_stop = call.should_stop,
    infos = {},
  }
end

-- Has a run tell of its requests. They are told with the fates of their users, so that a function
-- that raises leaves nobody behind who has a fate.
local function trace(run, on_attempt)
  local seen, back = attempts.new(run.now_us), {}
  local address, on_reply, on_results = run.address, run.on_reply, run.on_results
  function run.address(id, lane, users, attempt)
    local base, target = address(id, lane)
    if base then
      seen:leave(id, base, target, users, attempt)
    end
    return base, target
  end
  function run.on_reply(reply, verdict)
    on_reply(reply, verdict)
    back[#back + 1] = seen:back(reply, verdict)
  end
  function run.on_results()
    on_results()
    while back[1] do
      on_attempt(attempts.info(table.remove(back, 1)))
    end
  end
end

-- Runs, and gives back what the run held. A transport that is left with requests on their way
-- (somebody's callback raised) is closed instead. Returns what the source or a callback raised.
local function carry_out(client, run, is_dry, finally)
  local ok, problem = pcall(function()
    client:_begin_run(run)
    pump.run(run)
    finally()
  end)
  client:_end_run(run)
  if ok and not is_dry then
    client:_give_transport(run.transport)
  else
    run.transport:close()
  end
  return not ok and { raised = problem } or run.failure
end

-- Carries users to a command and writes the report.
-- Returns report, error; raises what the source or a callback raised.
local function run_command(client, name, users, call, on_delivered)
  local run, err = new_run(client, name, call, on_delivered)
  if not run then
    return nil, err
  end
  local writer = report.new(run, call, client._hosts.url, client._options.rate)
  local rest
  run.push, rest = source.pusher(run.engine, users, writer.invalid, function(time_ms)
    return pump.tend(run, time_ms * 1000)
  end, call.removes)
  run.source_may_wait = type(users) == "function"
  run.on_results = writer.take_results
  run.on_progress = call.on_progress and writer.progress
  if call.on_attempt and not call.dry_run then
    trace(run, call.on_attempt)
  end
  local failure = carry_out(client, run, call.dry_run, function()
    if rest and run.engine:stop_code() then
      writer.pass(rest)
    end
  end)
  local written = writer.finish(failure)
  run.engine:close()
  client._last_report = written
  client._is_proven = client._is_proven or written.done > 0
  if failure then
    error(failure.raised, 0)
  end
  return written, written.error
end

-- }=====

-- {===== about the app =====

-- The vendor refused the one request there was.
local function refusal_error(failure)
  return errors.new { code = failure.code, message = ("%s: %s"):format(failure.code,
    failure.message), class = "caller", vendor_code = tonumber(failure.code) }
end

-- A question about the app is answered within this, or not at all: two waits after 70050.
local ASK_MS = 150000

-- Sends one request that names no user. Returns the reply's object, or nil and an error.
local function ask(client, name, body)
  local object
  local is_asked = false
  local function next_update()
    if not is_asked then
      is_asked = true
      return body
    end
  end
  local last = client._last_report
  local given_ms = client._options.deadline_ms
  local call = { deadline_ms = given_ms > 0 and given_ms or ASK_MS, failures_max = 1 }
  local written, err = run_command(client, name, next_update, call, function(reply)
    object = reply
  end)
  client._last_report = last
  if object then
    return object
  end
  return nil, err or refusal_error(written.failures[1])
end

local function check_index(index, name)
  if type(index) ~= "string" or not index:match("^%d$") then
    error(("set_attr_name: index %s, wants a string from \"0\" to \"9\""):format(
      redact.text(tostring(index))), 3)
  end
  if type(name) ~= "string" or #name < 1 or #name > 50 then
    error(("set_attr_name: the name at %q: wants a string of 1 to 50 bytes"):format(index), 3)
  end
end

-- Are the registered names kept, for screening, once they have been read?
local function keeps_names(client)
  return client._options.preflight and not client._options.attr_names
end

--- See Client:set_attr_name.
function commands.set_attr_name(client, names)
  if type(names) ~= "table" or next(names) == nil then
    error('set_attr_name: wants a table like { ["0"] = "sex" }', 2)
  end
  for index, name in pairs(names) do
    check_index(index, name)
  end
  local object, err = ask(client, "set_attr_name", wire.encode { AttrNames = names })
  if not object then
    return nil, err
  end
  if keeps_names(client) then
    client._names = nil -- they are others now
  end
  return true
end

-- { ["0"] = "sex" }, at most NAMES_MAX of them?
local function is_names(names)
  local count = 0
  for index, name in pairs(type(names) == "table" and names or { false }) do
    if type(index) ~= "string" or type(name) ~= "string" then
      return false
    end
    count = count + 1
  end
  return count <= NAMES_MAX
end

--- See Client:get_attr_name.
function commands.get_attr_name(client)
  local object, err = ask(client, "get_attr_name", "{}")
  if not object then
    return nil, err
  end
  if not is_names(object.AttrNames) then
    return nil, errors.world("BAD_REPLY", client._hosts.url, "no good AttrNames")
  end
  if keeps_names(client) then
    client._names = {}
    for _, name in pairs(object.AttrNames) do
      client._names[#client._names + 1] = name
    end
  end
  return object.AttrNames
end

-- Reads the registered names once, when preflight asks for it.
local function preflight(client, call)
  if client._names or not client._options.preflight or call.dry_run then
    return true
  end
  return commands.get_attr_name(client)
end

-- }=====

-- {===== about users =====

local ONLY_SETS = "removes: for set_attr with an iterator alone"

--- See Client:set_attr and Client:remove_attr.
---@param client imattr.Client
---@param name string set_attr or remove_attr
---@param users table|function
---@param call imattr.Call?
---@return imattr.Report?
---@return imattr.Error?
function commands.update(client, name, users, call)
  client._last_report = nil -- whatever happens, the one before is not this call's
  local checked = check_call(client, call)
  if checked.on_user then
    error("on_user: for get_attr alone; the fate of an update goes to on_result", 2)
  end
  local given = source.of_users(users, name)
  if checked.removes and (name ~= "set_attr" or type(given) ~= "function") then
    error(ONLY_SETS, 2)
  end
  local ok, err = preflight(client, checked)
  if not ok then
    return nil, err
  end
  return run_command(client, name, given, checked)
end

--- See Client:get_attr.
function commands.get_attr(client, accounts, call)
  client._last_report = nil
  local checked = check_call(client, call)
  if checked.removes then
    error(ONLY_SETS, 2)
  end
  local given = source.of_accounts(accounts)
  local attributes = {}
  local take = checked.on_user or function(account, attrs)
    attributes[account] = attrs
  end
  local written, err = run_command(client, "get_attr", given, checked, function(object)
    for _, user in ipairs(type(object.UserAttrs) == "table" and object.UserAttrs or {}) do
      if type(user) == "table" and type(user.To_Account) == "string" then
        take(user.To_Account, type(user.Attrs) == "table" and user.Attrs or {})
      end
    end
  end)
  if err then
    return nil, err, written
  end
  return attributes, written
end

-- }=====

return commands
