-- client_scenarios: memory runs out while a client speaks to a sandbox over libcurl. They want
-- IMATTR_ENDPOINT, IMATTR_CA_FILE, IMATTR_KEY and IMATTR_SDKAPPID of one. See memory.trial for what
-- a scenario is.

local app = require "support.app"
local core = require "imattr.core"
local imattr = require "imattr"
require "imattr.curl" -- so that the host knows it and libcurl

local scenarios = {}

local function env(name)
  local value = os.getenv(name)
  return value or error(name .. " is not set")
end

local function options(changes)
  local given = { sdkappid = tonumber(env "IMATTR_SDKAPPID"), key = env "IMATTR_KEY",
    endpoint = env "IMATTR_ENDPOINT", ca_file = env "IMATTR_CA_FILE", rate = 1000,
    pace_scope = "process", attempts_max = 2, timeout_ms = 3100 }
  for name, value in pairs(changes or {}) do
    given[name] = value or nil
  end
  return given
end

-- The first value; raises the second, if there is one.
local function must(value, err)
  if err then
    error(err, 0)
  end
  return value
end

-- A closed client has no key any more, whatever went wrong before.
local function close_client(state)
  local client = state.client
  if client then
    client:close()
    assert(not client._signature._signer, "closed, and it still holds the key")
    assert(#client._transports == 0, "closed, and it still holds connections")
  end
end

local function add_client(scenario)
  scenario.kinds = "lua core libs cjson"
  scenario.finish = close_client
  scenarios[#scenarios + 1] = scenario
end

-- What is the same in every run of a report.
local function lasting(report)
  local failures = {}
  for i, failure in ipairs(report.failures) do
    failures[i] = { failure.index, failure.account, failure.fate, failure.code, failure.message }
  end
  return { report.ok, report.users, report.done, report.invalid, report.refused, report.unknown,
    report.not_sent, report.merged, failures, report.failures_more }
end

local ACCOUNTS = { "memory1", "memory2", "memory3" }

-- How many of the accounts have this city at the vendor.
local function count_stored(client, city)
  local count = 0
  for _, attributes in pairs(assert(client:get_attr(ACCOUNTS))) do
    count = count + (attributes.city == city and 1 or 0)
  end
  return count
end

-- A value that nobody has used.
local function new_city()
  return ("%d-%.0f-%.0f"):format(core.getpid(), core.now_us(), core.random_u32())
end

-- The report of a call, where there is one, is not that of a call before, and says what is so.
local function check_report(report, before, stored)
  assert(report ~= before, "last_report is that of an earlier call")
  if report then
    app.counts(report)
    assert(report.done <= stored and stored <= report.done + report.unknown,
      ("%d done, %d unknown, but %d stored"):format(report.done, report.unknown, stored))
  end
end

add_client { name = "set_attr", setup = function(state)
  state.client = assert(imattr.new(options()))
  assert(state.client:set_attr(app.users(1), { dry_run = true }))
end, act = function(state)
  state.report_before, state.has_begun = state.client:last_report(), false
  state.city = new_city()
  local users = {}
  for i, account in ipairs(ACCOUNTS) do
    users[i] = { To_Account = account, Attrs = { city = state.city, level = i } }
  end
  state.has_begun = true
  return lasting(must(state.client:set_attr(users)))
end, verify = function(state, ok)
  local report = state.client:last_report()
  local stored = count_stored(state.client, state.city)
  assert(not ok or stored == #ACCOUNTS, "done, but not stored: " .. stored)
  if state.has_begun then
    check_report(report, state.report_before, stored)
  end
end }

-- A client that has sent nothing yet, its transport and its pace are new, and is closed.
add_client { name = "first_set_attr", act = function(state)
  state.client = must(imattr.new(options { attr_names = { "city", "level" } }))
  local report = must(state.client:set_attr { first = { city = "x" } })
  state.client:close()
  return lasting(report)
end }

add_client { name = "get_attr", setup = function(state)
  state.client = assert(imattr.new(options()))
  assert(state.client:set_attr { memory4 = { city = "Osaka", level = 7 } })
  assert(state.client:set_attr { memory5 = { city = "x" } })
end, act = function(state)
  local attributes, report = state.client:get_attr { "memory4", "memory5", "memory6" }
  if not attributes then
    error(report, 0)
  end
  return { attributes, lasting(report) }
end }

-- The vendor refuses one of five: halved, and told with the vendor's words.
add_client { name = "refused", setup = function(state)
  state.client = assert(imattr.new(options()))
end, act = function(state)
  local users = app.users(5, { city = "x" })
  users[3].Attrs = { nobody_registered_this = "x" }
  return lasting(must(state.client:set_attr(users, { on_result = function() end })))
end }

-- An iterator, progress, and a UserSig that has expired: the function that makes it makes another.
add_client { name = "resign", act = function(state)
  local times = { 1600000000, os.time(), os.time(), os.time() }
  local count = 0
  state.client = must(imattr.new(options { key = false, usersig = function()
    count = count + 1
    return must(imattr.usersig.sign { sdkappid = tonumber(env "IMATTR_SDKAPPID"), expire = 86400,
      identifier = "administrator", key = env "IMATTR_KEY", time = times[count] })
  end }))
  local report = must(state.client:set_attr(app.iterator(app.users(120, { city = "x" })), {
    on_progress = function(progress) assert(progress.users <= 120) end,
  }))
  state.client:close()
  return lasting(report)
end }

add_client { name = "names", setup = function(state)
  state.client = assert(imattr.new(options { preflight = true }))
end, act = function(state)
  local names = must(state.client:get_attr_name())
  local ok = must(state.client:set_attr_name { ["0"] = names["0"] })
  return { ok, names, lasting(must(state.client:set_attr { names = { city = "x" } })) }
end }

-- The client is closed by a callback while requests are in flight: they are waited for, once, and
-- the rest is not sent. How many that are depends on the server.
add_client { name = "close_in_flight", act = function(state)
  local client = must(imattr.new(options { in_flight_max = 3, queue_max = 1000 }))
  state.client = client
  must(client:set_attr { first = { city = "x" } })
  local report = client:set_attr(app.users(800, { city = "x" }), {
    on_result = function() client:close() end,
  })
  local err = report.error
  if err and err.code ~= "STOPPED" then
    error(err, 0)
  end
  app.counts(report)
  return { report.users, report.done + report.unknown + report.not_sent, report.done >= 100 }
end }

-- A callback raises while requests are in flight: the transport is closed under them.
add_client { name = "break_off", act = function(state)
  local client = must(imattr.new(options { in_flight_max = 3, queue_max = 1000 }))
  state.client = client
  must(client:set_attr { first = { city = "x" } })
  local ok, raised = pcall(client.set_attr, client, app.users(800, { city = "x" }), {
    on_result = function() error("enough", 0) end,
  })
  if raised ~= "enough" then
    error(raised, 0)
  end
  local report = client:last_report()
  app.counts(report)
  client:close()
  return { ok, report.users >= 100, report.users == report.done + report.unknown + report.not_sent }
end }

return scenarios
