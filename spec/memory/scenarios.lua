-- scenarios: what memory runs out in the middle of. See memory.trial for what a scenario is.
--
-- Here are those that need neither an engine by itself nor a server: loading, signing, options, dry
-- runs, readers. MEMORY_FOLDER is a folder for their files (spec/memory/run sees to it).

local app = require "support.app"
local imattr = require "imattr"
local input = require "imattr.cli.input"
local job = require "imattr.cli.job"
local rejects = require "imattr.cli.rejects"
local wire = require "imattr.wire"
require "imattr.transport.dry"

local scenarios = {}

local function add(scenario)
  scenarios[#scenarios + 1] = scenario
end

local function path_of(name)
  return assert(os.getenv("MEMORY_FOLDER"), "MEMORY_FOLDER is not set") .. "/" .. name
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- The first value; raises the second when there is none.
local function must(value, err)
  if value == nil then
    error(err, 0)
  end
  return value
end

-- {===== loading and signing =====

-- As in a state that has never heard of imattr.
local function forget_modules()
  local registry = debug.getregistry()
  for name in pairs(package.loaded) do
    if name:find("^imattr") then
      package.loaded[name] = nil
    end
  end
  for name in pairs(registry) do
    if type(name) == "string" and name:find("^imattr%.") then
      registry[name] = nil
    end
  end
end

local function names_of(module)
  local names = {}
  for name, value in pairs(module) do
    names[name] = type(value)
  end
  return names
end

add { name = "load", kinds = "lua cjson", act = function()
  forget_modules()
  return { names_of(require "imattr"), names_of(require "imattr.core"),
    names_of(require "imattr.curl"), names_of(require "imattr.transport.curl"),
    names_of(require "imattr.cli.input") }
end }

local FIELDS = { sdkappid = app.SDKAPPID, identifier = "xiaojun012", key = app.KEY,
  time = 1700000000, expire = 3600, userbuf = "YWJjZGVm" }

add { name = "sign", kinds = "lua core libs", act = function()
  return must(imattr.usersig.sign(FIELDS))
end }

-- What opening may find; any other code says that it could not be done.
local USERSIG_CODES = { BAD_SIGNATURE = "other key", EXPIRED = "expired", BAD_USERSIG = "none" }

-- A UserSig is opened with the right key, with a wrong one, without one, and late; garbage is not.
add { name = "open", kinds = "lua core libs cjson", setup = function(state)
  state.usersig = assert(imattr.usersig.sign(FIELDS))
end, act = function(state)
  local function open(text, check)
    local fields, err = imattr.usersig.open(text, check)
    return fields or must(USERSIG_CODES[err.code], err)
  end
  return { open(state.usersig, { key = app.KEY, now = 1700000001 }),
    open(state.usersig, { key = "another key", now = 1700000001 }), open(state.usersig),
    open(state.usersig, { key = app.KEY, now = 1800000000 }), open("eJw_not_one") }
end }

-- }=====

-- {===== clients that send nothing =====

local function new_client(state, changes)
  local options = app.options({ endpoint = "https://127.0.0.1:9" }, changes)
  state.client = must(imattr.new(options))
  return state.client
end

local function close_client(state)
  if state.client then
    state.client:close()
    assert(not state.client._signature._signer, "closed, and it still holds the key")
  end
end

add { name = "new", kinds = "lua core", finish = close_client, setup = function()
  write(path_of("key"), app.KEY .. "\n")
end, act = function(state)
  local shown = tostring(new_client(state, { attr_names = { "city", "level" } }))
  state.client:close()
  local other = tostring(new_client(state, { key = false, key_file = path_of("key") }))
  state.client:close()
  local _, err = imattr.new { sdkappid = 1, key = "k" }
  return { shown, other, err.code, tostring(state.client) }
end }

-- Misuse is told, and what was probably meant.
add { name = "did_you_mean", kinds = "lua", act = function()
  local told = {}
  for i, wrong in ipairs { { sdkapid = 1 }, { region = "singapur" }, { rate = "fast" },
      { timeout_ms = 1 }, { [1] = "x" } } do
    local _, message = pcall(imattr.new, wrong)
    must(not message:find("not enough memory", 1, true) or nil, message)
    told[i] = message
  end
  return told
end }

-- What is the same in every run of a report.
local function lasting(report)
  report.seconds = nil
  return report
end

add { name = "dry_run", kinds = "lua core libs", finish = close_client, setup = function(state)
  new_client(state)
  state.users = app.users(250)
end, act = function(state)
  return lasting(must(state.client:set_attr(state.users, { dry_run = true })))
end }

-- More failures than are listed, and callbacks.
add { name = "failures", kinds = "lua core libs", finish = close_client, setup = function(state)
  new_client(state, { attr_names = { "city" } })
end, act = function(state)
  local users, seen = app.users(9), {}
  for i = 2, 8, 2 do
    users[i].Attrs = { ["name" .. i] = "x" }
  end
  users[9] = { To_Account = "u1", Attrs = { city = "joins the first" } }
  local report = must(state.client:set_attr(users, { dry_run = true, failures_max = 2,
    on_result = function(result) seen[#seen + 1] = { result.index, result.fate, result.code } end,
    on_progress = function(progress) seen.users = progress.users end,
    should_stop = function() return false end }))
  return { lasting(report), seen }
end }

-- A map of users, and an iterator that fails: what it raised comes through.
add { name = "sources", kinds = "lua core libs", finish = close_client, setup = function(state)
  new_client(state)
end, act = function(state)
  local removed = must(state.client:remove_attr({ a = { "city" }, b = { "city", "level" } },
    { dry_run = true }))
  local count = 0
  local ok, raised = pcall(state.client.set_attr, state.client, function()
    count = count + 1
    if count > 3 then
      error("dry well", 0)
    end
    return "u" .. count, { city = "x" }
  end, { dry_run = true })
  if raised ~= "dry well" then
    error(raised, 0)
  end
  return { lasting(removed), ok, lasting(state.client:last_report()) }
end }

-- }=====

-- {===== replies =====

local REPLIES = {
  '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}',
  '{"ErrorCode":0,"ErrorInfo":"","ActionStatus":"OK","UserAttrs":[{"To_Account":"a","Attrs":'
    .. '{"city":"Osaka","level":"7"}},{"To_Account":"b","Attrs":{}}]}',
  '{"ErrorCode":0,"ErrorInfo":"","ActionStatus":"OK","ErrorList":[{"To_Account":"a","ErrorCode":'
    .. '70107},{"To_Account":"b","ErrorCode":90001}]}',
  '{"ErrorCode":90033,"ErrorInfo":"usersig=abc is \\u00e9t\\u00e9","ActionStatus":"FAIL"}',
  '{"ErrorCode":0,"ActionStatus":"FAIL"}',
  "<html>502</html>",
}

add { name = "verdict", kinds = "lua cjson", act = function()
  local verdicts = {}
  for i, body in ipairs(REPLIES) do
    verdicts[i] = wire.verdict { id = i, status = "OK", http_status = 200, body = body,
      may_have_arrived = true }
  end
  return verdicts
end }

-- }=====

-- {===== files =====

local CSV = [[
To_Account,city,level
u1,Osaka,7
u2,"Kyoto, ""old""
city",
u3,short
u4,"open,1
u5,bare"quote,2
u6,last,3
]]

local NDJSON = [[
{"To_Account":"u1","Attrs":{"city":"Osaka","level":7}}

{"To_Account":"u2","Attrs":{"city":"caf\u00e9 \n"}}
{"To_Account":3}
not json
{"To_Account":"u4","Attrs":{"city":1.5}}
{"To_Account":"u5","Attrs":{"city":"x"}}
]]

-- Reads a file to its end and writes its bad rows, and one good one, into the rejects file.
local function read_all(state)
  state.input = must(input.open(state.path, nil, io))
  local reader, rows = state.input.reader, {}
  state.rejects = rejects.new(path_of("rejects"), reader)
  local row, message = reader:next()
  while row do
    rows[#rows + 1] = row
    if row.code or #rows == 1 then
      must(state.rejects:add(row, row.code or "REFUSED", row.message or "a reason"))
    end
    row, message = reader:next()
  end
  must(not message or nil, message)
  must(state.rejects:close())
  state.input.file:close()
  local file = must(io.open(path_of("rejects"), "rb"))
  local text = must(file:read("*a"))
  file:close()
  return { rows, text, reader:line(), reader:bytes() }
end

local function close_files(state)
  if state.rejects then
    state.rejects:close()
  end
end

local function add_file(name, kinds, text)
  add { name = name, kinds = kinds, finish = close_files, act = read_all, setup = function(state)
    state.path = path_of("users." .. name)
    write(state.path, text)
  end }
end

add_file("csv", "lua core", CSV)
add_file("ndjson", "lua cjson", NDJSON)

local FACTS = { command = "set", sdkappid = app.SDKAPPID }

local function new_job(state)
  os.remove(job.path_for(state.path))
  state.job = must(job.create(state.path, FACTS))
  state.job:settle(1, "done")
  state.job:settle(3, "refused", { line = 4, account = "u3", code = "90033", message = "no" })
  state.job:settle(4, "done")
  return state.job
end

local function list_of(next_row)
  local list = {}
  for row, line, account, fate, code, message in next_row do
    list[#list + 1] = { row, line, account, fate, code, message }
  end
  return list
end

-- Reads a job's file as another process would.
local function read_job(state)
  local opened = must(job.open(job.path_for(state.path), "read"))
  local value = { opened.settled_to, opened.counts, opened:is_settled(2), opened:is_settled(4),
    list_of(opened:failures()), opened:codes(5), opened:get("command") }
  opened:close()
  return value
end

local function close_job(state)
  if state.job then
    state.job:close()
  end
  os.remove(job.path_for(state.path))
end

local function setup_job(state)
  state.path = path_of("job.csv")
  write(state.path, CSV)
end

-- A job is begun, written, closed, read by another, and gone on with.
add { name = "job", kinds = "lua core libs", setup = setup_job, finish = close_job,
  act = function(state)
    must(new_job(state):commit())
    local value = read_job(state)
    state.job:close()
    state.job = must(job.open(job.path_for(state.path), "write"))
    local problem = state.job:problem_of_input()
    must(not problem or nil, problem)
    state.job:settle(2, "done")
    must(state.job:commit())
    value.settled_to = state.job.settled_to
    state.job:close()
    return value
  end }

-- A commit that fails is tried again by the next one, and then all is in the file.
add { name = "commit", kinds = "lua libs", finish = close_job, setup = function(state)
  setup_job(state)
  new_job(state)
end, act = function(state)
  return must(state.job:commit())
end, verify = function(state, ok)
  if ok then
    local seen = read_job(state)
    assert(seen[1] == 1 and seen[4] and #seen[5] == 1, "committed, and not all is there")
  end
end }

-- }=====

for _, module in ipairs { "memory.engine_scenarios", "memory.client_scenarios" } do
  for _, scenario in ipairs(require(module)) do
    add(scenario)
  end
end

return scenarios
