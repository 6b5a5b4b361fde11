-- surfaces: the ways to set attributes that the cells of the fault matrix are tried on. Each is
-- given a place (see world.lua) and returns what came of its users:
-- { counts, code, class, user_code, fates = { [account] = fate }, exit? }
--
--   call        set_attr in this process
--   coroutine   set_attr in a coroutine, with a source that yields before every user
--   command     imattr set, with the users on standard input
--   process     set_attr in a process of its own (call.lua)
--
-- The last two can also be begun and waited for: surfaces.begin(name, place) gives a job.

local luassert = require "luassert"
local app = require "support.app"
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

-- A UserSig that is asked for before every attempt, because it is always nearly over: so another
-- plan can begin just then. It is asked for once more at the beginning.
local function sign_and_follow(place)
  local asked = -1
  return function()
    asked = asked + 1
    local plan = place.cell.later[asked]
    if plan then
      if plan.after then place.proxy:await(plan.after) end
      world.begin(place, plan)
    end
    return imattr.usersig.sign { sdkappid = world.server.sdkappid, key = app.KEY, expire = 100,
      identifier = world.server.identifier, time = os.time() - 90 }
  end
end

local function options_of(place)
  local cell = place.cell
  local options = app.options({ endpoint = world.endpoint(place), ca_file = world.keys.ca_file },
    { attempts_max = 2 })
  for name, value in pairs(cell.options or {}) do options[name] = value or nil end
  if cell.later then
    options.key, options.usersig = nil, sign_and_follow(place)
  end
  return options
end

-- ---- in this process

local function warm_up(place, client)
  if place.cell.warm then
    assert(client:set_attr { { To_Account = "warm", Attrs = { city = "x" } } })
    if place.cell.warm.ends then place.proxy:await("close") end
  end
end

-- Runs a call of a client; `source` makes what set_attr is given, `run` calls a function.
local function call_client(place, source, run)
  local client = assert(imattr.new(options_of(place)))
  warm_up(place, client)
  local fates = {}
  local report, err = run(function()
    return client:set_attr(source(place.users), { on_result = function(result)
      fates[result.account] = result.fate
    end })
  end)
  client:close()
  luassert.is_nil(app.dump({ report, err, client }):find(app.KEY, 1, true))
  local first = report.failures[1]
  return { counts = app.counts(report), code = err and err.code, class = err and err.class,
    user_code = first and first.code, fates = fates }
end

function surfaces.call(place)
  return call_client(place, function(list) return list end, function(act) return act() end)
end

function surfaces.coroutine(place)
  local function source(list)
    local next_user = app.iterator(list)
    return function()
      coroutine.yield()
      return next_user()
    end
  end
  return call_client(place, source, function(act)
    local thread, yields = coroutine.create(act), -1
    local ok, report, err
    repeat
      ok, report, err = coroutine.resume(thread)
      yields = yields + 1
    until not ok or coroutine.status(thread) == "dead"
    assert(ok, report)
    luassert.is_true(yields > 0)
    return report, err
  end)
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
    unpack(place.cell.words or { "--no-rejects", "-" }) }, csv_of(place.users)
end

function lines.process(place)
  local cell = place.cell
  return { rings.interpreter, TREE .. "/spec/faults/call.lua" }, cjson.encode {
    options = options_of(place), users = place.users, prepare = cell.prepare,
    in_coroutine = cell.in_coroutine }
end

--- What process.run and process.start are given: argv and options.
function surfaces.told(name, place)
  local argv, stdin = lines[name](place)
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

--- Begins `command` or `process`; job:outcome() waits for its end.
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
