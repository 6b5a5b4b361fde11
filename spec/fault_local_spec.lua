-- The fault matrix against real sockets: faults of the machine. No descriptors, a clock that is
-- wrong or jumps, processes that are stopped, an input that changes under the command, a full disk.

local cells = require "faults.cells"
local core = require "imattr.core"
local process = require "support.process"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"
local surfaces = require "faults.surfaces"
local world = require "faults.world"
local app = require "support.app"

local matrix = cells.new()

-- ---- descriptors

-- Takes all descriptors but so many, and gives them back after the call.
local TAKE_ALL_BUT = [[
  local held, file = {}, nil
  repeat
    file = io.open("/dev/null")
    held[#held + 1] = file
  until not file
  for _ = 1, %d do
    held[#held]:close()
    held[#held] = nil
  end
  return function()
    for _, file in ipairs(held) do file:close() end
  end]]

-- The same call again, with descriptors.
local function and_again(outcome)
  assert.same({ users = 3, done = 3, requests = 1 }, outcome.again.counts)
end

matrix:add { "no descriptor left", surfaces = "process", under = "ulimit -n 40;",
  prepare = TAKE_ALL_BUT:format(0), not_sent = 3, code = "CONNECT", requests = 2, whole = 1,
  stored = 3, is_forged = true, also = and_again } -- the one request is that of the second call
matrix:add { "eight descriptors left", surfaces = "process", under = "ulimit -n 40;",
  prepare = TAKE_ALL_BUT:format(8), done = 3, whole = 2, also = and_again }
matrix:add { "a limit of 12 descriptors", surfaces = "command", under = "ulimit -n 12;", done = 3 }

-- ---- clocks

local DAY_S = 86400

local function faketime()
  local path = shell.output("ls /usr/lib/*/faketime/libfaketimeMT.so.1 | head -n 1")
  assert(path:find("^/"), "libfaketime is missing: apt-get install faketime")
  return path
end

-- A wall clock that is wrong by so many seconds. The monotonic one of the system is left alone.
local function clock(ahead_s)
  return function()
    return { LD_PRELOAD = faketime(), FAKETIME = ("%+d"):format(ahead_s),
      FAKETIME_DONT_FAKE_MONOTONIC = 1, FAKETIME_DONT_RESET = 1 }
  end
end

for _, row in ipairs {
  { "an hour behind", -3600, 1 },
  { "an hour ahead", 3600, 1 },
  -- its UserSig has expired: another is made, by the clock of the answer
  { "two days behind", -2 * DAY_S, 2 },
  { "two days ahead", 2 * DAY_S, 1 },
  { "ten years behind", -3650 * DAY_S, 2 },
  { "ten years ahead", 3650 * DAY_S, 1 },
} do
  matrix:add { "a clock " .. row[1], surfaces = "process command", env = clock(row[2]), done = 3,
    requests = row[3] }
end

-- A clock that is set while a request is on its way.
for _, row in ipairs { { "two days back", -2 * DAY_S }, { "two days on", 2 * DAY_S } } do
  matrix:add_own({ "process: a clock that is set " .. row[1] .. " within a call",
    plan = { { hold = 1 } }, done = 3 }, function(place, check)
    local path = os.tmpname()
    local function set(ahead_s)
      local file = assert(io.open(path .. ".part", "w"))
      file:write(("%+d\n"):format(ahead_s))
      file:close()
      assert(os.rename(path .. ".part", path))
    end
    set(0)
    place.cell.env = { LD_PRELOAD = faketime(), FAKETIME_TIMESTAMP_FILE = path,
      FAKETIME_NO_CACHE = 1, FAKETIME_DONT_FAKE_MONOTONIC = 1, FAKETIME_DONT_RESET = 1 }
    place.cell.prepare = "return function() end" -- and the same call after it
    local job = surfaces.begin("process", place)
    place.proxy:await("request")
    set(row[2])
    place.proxy:release()
    local outcome = job:outcome()
    os.remove(path)
    assert.truthy(outcome.seconds < 60, outcome.seconds) -- a run's time is not the wall's
    assert.same({ users = 3, done = 3, requests = 1 }, outcome.again.counts)
    place.cell.whole = 2
    check("process", outcome)
  end)
end

-- ---- signals

-- A sandbox of its own, which can be stopped, and a client that has spoken with it.
local function with_stoppable(options, act)
  local server = sandbox.start { key = app.KEY, limit = 0 }
  local client = app.client(server, options)
  local function signal(name) shell.run(("kill -%s %d"):format(name, server.pid)) end
  local ok, problem = pcall(act, client, signal, server)
  signal("CONT")
  client:close()
  server:stop()
  assert(ok, problem)
end

matrix:add_own({ "call: a server stopped before the connection" }, function(place)
  with_stoppable({ connect_timeout_ms = 150, attempts_max = 2 }, function(client, signal, server)
    signal("STOP")
    local report, err = client:set_attr(place.users)
    assert.same({ users = 3, not_sent = 3, requests = 2, retries = 1 }, app.counts(report))
    assert.equal("TIMEOUT", err.code)
    signal("CONT")
    assert.equal(3, client:set_attr(place.users).done)
    assert.equal(3, server:stats().users_stored)
  end)
end)

matrix:add_own({ "call: a server stopped with the request in its hands" }, function(place)
  with_stoppable({ timeout_ms = 3100, attempts_max = 1 }, function(client, signal, server)
    assert(client:set_attr { warm = { city = "x" } })
    signal("STOP")
    local report, err = client:set_attr(place.users)
    assert.same({ users = 3, unknown = 3, requests = 1 }, app.counts(report))
    assert.equal("TIMEOUT", err.code)
    signal("CONT") -- and then it does what it was asked, or not: nobody can know
    assert.equal(3, client:set_attr(place.users).done)
    assert.equal(4, server:stats().users_stored)
  end)
end)

for _, surface in ipairs { "process", "command" } do
  matrix:add_own({ surface .. ": a client stopped while it waits", plan = { { hold = 1 } },
    done = 3 }, function(place, check)
    local job = surfaces.begin(surface, place)
    place.proxy:await("request")
    job:kill("STOP")
    place.proxy:release()
    place.proxy:await("answer")
    job:kill("CONT")
    check(surface, job:outcome())
  end)
end

-- It wakes up when its time is over, and looks at the clock before it looks at the answer.
matrix:add_slow { "a client stopped for longer than its time", surfaces = "process", done = 3,
  requests = 2, plan = { { hold = 1 } }, options = { timeout_ms = 3100 },
  begun = function(place, job)
    place.proxy:await("request")
    job:kill("STOP")
    place.stopped_us = core.now_us()
    place.proxy:release()
    place.proxy:await("answer")
  end,
  ending = function(place, job)
    while core.now_us() - place.stopped_us < 3300000 do core.sleep_us(50000) end
    job:kill("CONT")
  end }

-- ---- an input that changes under the command

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Users from one number to another.
local function many(number, first, last)
  local list = {}
  for i = first, last do
    list[#list + 1] = { To_Account = ("file%d-%d"):format(number, i),
      Attrs = { city = ("c"):rep(50) } }
  end
  return list
end

-- 4,000 rows of 60 bytes; the command has read 64 kB of them when it waits for its first answer.
-- Each change is done to the file and to the list of users.
local ROWS, MORE, KEPT = 4000, 4500, 3000
local CHANGES = {
  { "grows", MORE, function(path, users, number)
    local added = many(number, ROWS + 1, MORE)
    local file = assert(io.open(path, "ab"))
    file:write((surfaces.csv(added):gsub("^[^\n]*\n", "")))
    file:close()
    for _, user in ipairs(added) do users[#users + 1] = user end
  end },
  { "is cut short", KEPT, function(path, users, number)
    local kept = #surfaces.csv(many(number, 1, KEPT))
    shell.run(("truncate -s %d %s"):format(kept, shell.quote(path)))
    for i = ROWS, KEPT + 1, -1 do users[i] = nil end
  end, 65 },
  { "is replaced", ROWS, function(path)
    write(path .. ".new", "To_Account,city\nsomebody,else\n")
    assert(os.rename(path .. ".new", path))
  end },
  { "is removed", ROWS, function(path) assert(os.remove(path)) end },
}

for _, row in ipairs(CHANGES) do
  local requests = row[2] / 100
  matrix:add_own({ "command: an input that " .. row[1] .. " while it is read",
    plan = { { hold = 1 } }, users = function(number) return many(number, 1, ROWS) end,
    words = { "--no-rejects", "users.csv" }, done = row[2], requests = requests, retries = 0,
    whole = requests, exit = row[4] }, function(place, check)
    place.folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-input-XXXXXX"')
    local path = place.folder .. "/users.csv"
    write(path, surfaces.csv(place.users))
    local job = surfaces.begin("command", place)
    place.proxy:await("request")
    row[3](path, place.users, place.number)
    place.proxy:release()
    check("command", job:outcome())
    shell.remove_folder(place.folder)
  end)
end

-- ---- a full disk

-- 100 good rows, then 400 that are too short, each of which goes to the rejects file.
local function good_and_short()
  local lines = { "To_Account,city" }
  for i = 1, 100 do lines[#lines + 1] = ("full-%d,x"):format(i) end
  for i = 1, 400 do lines[#lines + 1] = "short-" .. i end
  return table.concat(lines, "\n") .. "\n"
end

local FULL = {
  { "/dev/full", "", "/dev/full" },
  { "a file system of 8 kB", "mount -t tmpfs -o size=8k none disk;", "disk/rejects.csv",
    in_namespace = true },
}

for _, row in ipairs(FULL) do
  matrix:add_own({ "command: rejects on " .. row[1] }, function(place)
    local folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-full-XXXXXX"')
    write(folder .. "/users.csv", good_and_short())
    shell.run("mkdir " .. folder .. "/disk")
    place.folder, place.cell.under = folder, row[2]
    place.cell.words = { "--rejects", row[3], "users.csv" }
    local argv, options = surfaces.told("command", place)
    if row.in_namespace then -- it is gone with the command
      table.insert(argv, 1, "-rm")
      table.insert(argv, 1, "unshare")
    end
    local output = process.run(argv, options)
    shell.remove_folder(folder)
    if output.stderr:find("^unshare: ") or output.stderr:find("^mount: ") then
      return pending "nothing may be mounted here"
    end
    local outcome = surfaces.read("command", output, place)
    assert.same({ 74, 100, 1 }, { output.code, outcome.counts.done, outcome.counts.requests })
    assert.truthy(output.stderr:find("\nimattr: rejects: [^\n]*No space left on device\n")
      or output.stderr:find("^imattr: rejects: [^\n]*No space left on device\n"), output.stderr)
    local seen = place.proxy:seen()
    assert.same({ 1, 1 }, { seen.whole, seen.forwarded })
  end)
end

describe("the fault matrix: the machine:", function()
  setup(world.open)
  teardown(matrix.close)

  it("begins what takes seconds #slow", matrix.begin)
  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("has as many cells as there were #house", function()
    assert.truthy(#matrix >= cells.least("fault_cells_local"), #matrix)
  end)
end)
