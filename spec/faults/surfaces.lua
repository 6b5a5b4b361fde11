-- surfaces: the ways to set attributes that the cells of the fault matrix are tried on. Each is
-- given a place (see world.lua) and returns what came of its users:
-- { counts, code, class, user_code, fates = { [account] = fate }, exit? }; `each` of a list of such
-- when the cell's call was made several times.
--
--   call        set_attr in this process
--   coroutine   set_attr in a coroutine, with a source that yields before every user
--   command     imattr set, with the users on standard input
--   process     set_attr in a process of its own (call.lua)
--   location    set_attr in a request to the world's nginx (inside.lua)
--   timer       set_attr in a timer of that nginx, with a source that yields before every user
--
-- The last four can also be begun and waited for: surfaces.begin(name, place) gives a job.

local luassert = require "luassert"
local app = require "support.app"
local caller = require "faults.caller"
local cjson = require("cjson").new()
local imattr = require "imattr"
local process = require "support.process"
local rings = require "support.rings"
local shell = require "imattr.sandbox.shell"
local world = require "faults.world"

local surfaces = {}

local unpack = table.unpack or unpack
local TREE = shell.output("pwd")
local LUA_PATH = ("%s/lua/?.lua;%s/lua/?/init.lua;;"):format(TREE, TREE)
local LUA_CPATH = rings.environment.LUA_CPATH:gsub("^%./", TREE .. "/") .. ";;"
local JOB_S = 60

local function options_of(place)
  local options = app.options({ endpoint = world.endpoint(place), ca_file = world.keys.ca_file },
    { attempts_max = 2 })
  for name, value in pairs(place.cell.options or {}) do options[name] = value or nil end
  return options
end

-- ---- in this process

local WARM = { { To_Account = "warm", Attrs = { city = "x" } } }

local function client_of(place)
  local options = options_of(place)
  if place.cell.later then
    options.key, options.usersig = nil, caller.sign_and_follow(place)
  end
  local client = assert(imattr.new(options))
  if place.cell.warm then
    assert(client:set_attr(WARM))
    if place.cell.warm.ends then place.proxy:await("close") end
  end
  return client
end

function surfaces.call(place)
  local client, outcomes = client_of(place), {}
  for i = 1, place.cell.times or 1 do outcomes[i] = caller.outcome(client, place.users) end
  client:close()
  outcomes[1].each = outcomes
  return outcomes[1]
end

function surfaces.coroutine(place)
  local client = client_of(place)
  local thread, yields = coroutine.create(caller.outcome), -1
  local ok, outcome = coroutine.resume(thread, client, place.users,
    caller.waiting(place.users, coroutine.yield))
  while ok and coroutine.status(thread) ~= "dead" do
    ok, outcome = coroutine.resume(thread)
    yields = yields + 1
  end
  assert(ok, outcome)
  luassert.is_true(yields > 0)
  client:close()
  return outcome
end

-- ---- as processes

-- The environment of a child: nothing of the person who runs the specs gets through.
local function environment(place)
  local env = { LUA_PATH = LUA_PATH, LUA_CPATH = LUA_CPATH, NO_COLOR = "1", TERM = "dumb",
    IMATTR_SDKAPPID = world.server.sdkappid, IMATTR_KEY = app.KEY, IMATTR_RATE = "0",
    IMATTR_ENDPOINT = world.endpoint(place), IMATTR_CA_FILE = world.keys.ca_file }
  for _, name in ipairs { "IDENTIFIER", "KEY_FILE", "REGION", "SERVICE", "DEBUG" } do
    env["IMATTR_" .. name] = false
  end
  local more = place.cell.env
  for name, value in pairs(type(more) == "function" and more() or more or {}) do
    env[name] = value
  end
  return env
end

-- The users as CSV.
local function csv_of(users)
  local lines = { "To_Account,city" }
  for _, user in ipairs(users) do
    lines[#lines + 1] = user.To_Account .. "," .. user.Attrs.city
  end
  return table.concat(lines, "\n") .. "\n"
end
surfaces.csv = csv_of

-- A command line, behind the cell's own words of sh, and what it is given.
local lines = {}

function lines.command(place)
  return { rings.interpreter, TREE .. "/lua/bin/imattr", "set", "--json", "-q",
    "--no-preflight", unpack(place.cell.words or { "--no-rejects", "-" }) }, csv_of(place.users)
end

function lines.process(place)
  local cell = place.cell
  return { rings.interpreter, TREE .. "/spec/faults/call.lua" }, cjson.encode {
    options = options_of(place), users = place.users, prepare = cell.prepare,
    in_coroutine = cell.in_coroutine }
end

-- A value as Lua text: plans are lists and maps at once, which JSON is not.
local function lua_of(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = ("[%s]=%s"):format(lua_of(key), lua_of(item))
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Lua for inside.lua.
local function nginx_line(name, place, users)
  local cell, proxy = place.cell, place.proxy
  return { "curl", "-q", "-s", "--max-time", JOB_S, "--data-binary", "@-", "--unix-socket",
    world.nginx.folder .. "/socket", "http://localhost/" .. (cell.path or name) },
    "return " .. lua_of {
      options = options_of(place), users = users or place.users, times = cell.times or 1,
      later = cell.later, base = cell.base, is_patient = name == "timer",
      proxy = { folder = proxy.folder, plan_id = proxy.plan_id, certificate = proxy.certificate },
    }
end

function lines.location(...) return nginx_line("location", ...) end
function lines.timer(...) return nginx_line("timer", ...) end

--- What process.run and process.start are given: argv and options.
function surfaces.told(name, place, ...)
  local argv, stdin = lines[name](place, ...)
  if place.cell.under then
    argv = { "sh", "-c", place.cell.under .. ' exec "$@"', "sh", unpack(argv) }
  end
  return argv, { env = environment(place), stdin = stdin, cwd = place.folder, timeout_s = JOB_S }
end

local outcomes = {}

-- Of what `imattr set --json` printed.
function outcomes.command(output, place)
  local report = cjson.decode(output.stdout)
  local fates, failure = {}, report.failures[1]
  for _, user in ipairs(place.users) do fates[user.To_Account] = "done" end
  for _, one in ipairs(report.failures) do fates[one.account] = one.fate end
  report.seconds = nil
  local err = report.error ~= cjson.null and report.error or {}
  return { counts = app.counts(report), fates = fates, exit = output.code, code = err.code,
    class = err.class, user_code = failure and failure.code }
end

-- Of what call.lua printed.
function outcomes.process(output)
  luassert.equal(0, output.code, output.stderr)
  return cjson.decode(output.stdout)
end

-- Of what nginx answered. It may have given the proxy plans of its own.
function outcomes.location(output, place)
  local answer = cjson.decode(output.stdout)
  luassert.is_nil(answer.raised)
  place.proxy:follow(answer.plan_id)
  local first = answer.outcomes[1]
  first.each = { unpack(answer.outcomes) }
  return first
end

outcomes.timer = outcomes.location

--- Reads what a child printed; no secret may be in it.
function surfaces.read(name, output, place)
  local printed = output.stdout .. output.stderr
  luassert.is_nil(printed:find(app.KEY, 1, true))
  luassert.is_nil(printed:find("eJw", 1, true)) -- how every UserSig begins
  luassert.truthy(output.stdout:find("^{"), output.stderr)
  local outcome = outcomes[name](output, place)
  outcome.stderr = output.stderr
  return outcome
end

function surfaces.command(place)
  return surfaces.read("command", process.run(surfaces.told("command", place)), place)
end

function surfaces.process(place)
  return surfaces.read("process", process.run(surfaces.told("process", place)), place)
end

for _, name in ipairs { "location", "timer" } do
  surfaces[name] = function(place)
    if place.cell.warm then -- connections are kept from call to call
      local warm = surfaces.read(name, process.run(surfaces.told(name, place, WARM)), place)
      luassert.equal(1, warm.counts.done)
      if place.cell.warm.ends then place.proxy:await("close") end
    end
    return surfaces.read(name, process.run(surfaces.told(name, place)), place)
  end
end

--- Begins a surface that is a process of its own; job:outcome() waits for its end.
---@param name string
---@param place table
---@return table job of support.process
function surfaces.begin(name, place)
  local job = process.start(surfaces.told(name, place))
  job.outcome = function()
    local output = assert(job:wait(JOB_S), "the child does not end")
    job:close()
    return surfaces.read(name, output, place)
  end
  return job
end

return surfaces
