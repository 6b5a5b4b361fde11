-- A job survives anything: a sample of what `make crash` tries at length. Its process is killed at
-- system calls of every kind, in its recovery too, and at random moments; its disk is full, or bad;
-- its files are torn, or somebody else's.

local command = require "support.command"
local process = require "support.process"
local random = require "crash.random"
local rig = require "crash.rig"
local store = require "imattr.job"
local torn = require "crash.torn"

local USERS = 12000 -- more than one checkpoint

-- call, which one, and the same for the recovery
local KILLS = {
  { "openat", 1 }, { "openat", 3 }, { "flock", 1 },
  { "pwrite64", 5 }, { "pwrite64", 171 }, { "fdatasync", 8 }, { "ftruncate", 1 }, { "unlink", 2 },
  { "sendto", 9 }, { "sendto", 90 }, { "write", 1 }, { "close", 3 },
  { "sendto", 80, "pwrite64", 2 }, { "sendto", 70, "fdatasync", 1 }, { "sendto", 60, "unlink", 1 },
  { "pwrite64", 99, "sendto", 30 },
}

-- call, which one, error, does it last?; the exit code of the run
local FAULTS = {
  { "pwrite64", 90, "ENOSPC", false, 74 }, { "pwrite64", 61, "ENOSPC", true, 74 },
  { "pwrite64", 120, "EIO", false, 74 }, { "fdatasync", 7, "EIO", false, 74 },
  { "fdatasync", 8, "EIO", true, 74 }, { "ftruncate", 1, "EIO", true, 74 },
  { "openat", 1, "ENOSPC", false, 74 }, { "openat", 5, "ENOSPC", true, 74 },
  { "write", 1, "ENOSPC", false, 74 },
}

-- what a job's file is instead; the exit code; what resume says; how it is made
local STRANGERS = {
  { "a text", 65, "file is not a database", function()
    command.write("users.csv.imattr", ("no database "):rep(400))
  end },
  { "a folder", 66, "Is a directory", function()
    process.run { "mkdir", command.path("users.csv.imattr") }
  end },
  { "nothing", 66, "No such file or directory", function() end },
  { "empty", 65, "the job was not begun, nothing was sent; begin it with: imattr set --job",
    function() command.write("users.csv.imattr", "") end },
  { "somebody's database", 65, "not a job", { "CREATE TABLE job (a)", "PRAGMA user_version = 7" } },
  { "a job of a newer imattr", 65,
    "a job of a newer imattr: its tables are of version 2, known is 1",
    { "CREATE TABLE settled (first, last)", "PRAGMA user_version = 2" } },
  { "a database that calls itself a job", 65, "no such table: job",
    { "CREATE TABLE other (a)", "PRAGMA user_version = 1" } },
}

-- Writes a database with these statements as the job's file.
local function database(statements)
  local db = assert(store.open(command.path("users.csv.imattr"), "create"))
  for _, sql in ipairs(statements) do assert(db:run(sql)) end
  db:close()
end

local function name_of(case)
  return table.concat({ case[1], case[2], case[3], case[4] and tostring(case[4]) }, " ")
end

-- Runs the command in a folder of the test.
local function run_in(folder, ...)
  local place = command.place()
  place.cwd = folder
  return process.run(command.line { ... }, place)
end

describe("a job that is disturbed #slow", function()
  local can_trace, why

  setup(function()
    rig.open(USERS)
    can_trace, why = rig.can_trace()
  end)
  teardown(rig.close)

  for _, case in ipairs(KILLS) do
    it("by kill -9 at " .. name_of(case) .. " loses nobody", function()
      if not can_trace then return pending(why) end
      local was_killed, wrong = rig.kill({ call = case[1], nth = case[2] },
        case[3] and { call = case[3], nth = case[4] })
      assert.is_nil(wrong)
      assert.is_true(was_killed)
    end)
  end

  for _, case in ipairs(FAULTS) do
    it(("by %s at %s %d%s stops, says so, and goes on later"):format(case[3], case[1], case[2],
      case[4] and " and after it" or ""), function()
      if not can_trace then return pending(why) end
      local code, wrong = rig.fail { call = case[1], nth = case[2], error = case[3],
        forever = case[4] }
      assert.is_nil(wrong)
      assert.equal(case[5], code)
    end)
  end

  it("by eight kills in a row, some in recovery, loses nobody", function()
    assert.is_nil(random.run(8, 20261123))
  end)

  it("by a disk that is full stops, and goes on when there is room", function()
    command.enter()
    finally(command.leave)
    local place = command.path("small")
    local mounted = process.run { "sh", "-c",
      ("mkdir %s && mount -t tmpfs -o size=320k none %s"):format(place, place) }
    if mounted.code ~= 0 then return pending("no right to mount: " .. mounted.stderr) end
    finally(function()
      process.run { "umount", place }
      command.leave()
    end)
    local rows = { "To_Account,city" }
    for i = 1, USERS do rows[i + 1] = ("u%d,full %d"):format(i, i) end
    command.write("small/users.csv", table.concat(rows, "\n") .. "\n")
    command.server:settings { latency_ms = 2 }
    local output = run_in(place, "set", "--job", "-q", "users.csv")
    assert.equal(74, output.code, output.stderr)
    assert.truthy(output.stderr:find("users.csv.imattr: database or disk is full", 1, true),
      output.stderr)
    assert.truthy(output.stderr:find("to go on:\n  imattr resume users.csv.imattr", 1, true),
      output.stderr)
    local sent = command.server:stats().commands.im_set_attr.users
    assert.is_true(sent < USERS)
    process.run { "mount", "-o", "remount,size=2m", place }
    assert.equal(0, run_in(place, "resume", "-q", "users.csv.imattr").code)
    local stats = command.server:stats().commands.im_set_attr
    assert.truthy(stats.users <= USERS + rig.REPEATED_MAX, stats.users)
  end)
end)

describe("a job's file #heavy", function()
  it("that is torn anywhere is refused, or knows only what is true", function()
    local _, wrong = torn.run(997)
    assert.same({}, wrong)
  end)
end)

describe("the file of a job #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(function()
    command.enter()
    command.write("users.csv", "To_Account,city\na,x\n")
  end)
  after_each(command.leave)

  for _, case in ipairs(STRANGERS) do
    it(("that is %s is told, and left alone"):format(case[1]), function()
      local make = case[4]
      if type(make) == "table" then database(make) else make() end
      local before = command.read("users.csv.imattr")
      local words = { case[2], "imattr: users.csv.imattr: " .. case[3] .. "\n" }
      local output = command.run { "resume", "users.csv.imattr" }
      assert.same(words, { output.code, output.stderr })
      output = command.run { "status", "users.csv.imattr" }
      assert.equal(case[2], output.code, output.stderr)
      if case[2] == 65 and before ~= "" then
        output = command.run { "set", "--job", "users.csv" }
        assert.equal(74, output.code, output.stderr)
      end
      assert.equal(before, command.read("users.csv.imattr"))
      assert.equal(0, command.server:stats().commands.im_set_attr.arrivals)
    end)
  end
end)
