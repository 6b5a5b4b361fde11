-- imattr set --job, resume and status: an import that is killed, interrupted or refused goes on
-- where it was, loses nobody, and repeats at most what was in flight.

local cjson = require("cjson").new()
local command = require "support.command"
local process = require "support.process"

local run, write, read = command.run, command.write, command.read

local function users(count)
  local rows = { "To_Account,city" }
  for i = 1, count do rows[i + 1] = ("u%d,city %d"):format(i, i) end
  return table.concat(rows, "\n") .. "\n"
end

local function stats() return command.server:stats() end

local function status()
  return cjson.decode(run({ "status", "--json", "users.csv.imattr" }).stdout)
end

-- Starts the command and waits until the server has seen so many requests.
local function start(words, arrivals)
  local job = process.start(command.line(words), command.place())
  assert(process.wait_until(function()
    return stats().commands.im_set_attr.arrivals >= arrivals
  end, 20), job:read("stderr"))
  return job
end

-- All users of users(count) are in the sandbox, as they should be.
local function assert_all_stored(count)
  local accounts = {}
  for i = 1, count, math.max(1, math.floor(count / 200)) do accounts[#accounts + 1] = "u" .. i end
  local found = 0
  for line in run({ "get", (unpack or table.unpack)(accounts) }).stdout:gmatch("[^\n]+") do
    local user = cjson.decode(line)
    assert.equal("city " .. user.To_Account:sub(2), user.Attrs.city)
    found = found + 1
  end
  assert.equal(#accounts, found)
end

describe("a job of imattr set #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  it("that comes to its end says so, and is not begun again", function()
    write("users.csv", users(1000))
    assert.equal(0, run({ "set", "--job", "users.csv" }).code)
    local now = status()
    assert.same({ "finished", 1000, 1000, 10 }, { now.state, now.rows, now.done, now.requests })
    local again = run { "resume", "users.csv.imattr" }
    assert.same({ 0, "imattr: users.csv.imattr: all is done\n" }, { again.code, again.stderr })
    again = run { "set", "--job", "users.csv" }
    assert.equal(74, again.code)
    assert.truthy(again.stderr:find("there is a job already; go on with: imattr resume", 1, true))
    assert.equal(10, stats().commands.im_set_attr.arrivals)
  end)

  it("that is killed again and again loses nobody, and repeats what was in flight at most",
    function()
    write("users.csv", users(20000))
    command.server:settings { latency_ms = 20 }
    local kills = 0
    local job = start({ "set", "--job", "-q", "users.csv" }, 10)
    while kills < 8 do
      job:kill("KILL")
      job:wait(5)
      job:close()
      kills = kills + 1
      job = start({ "resume", "-q", "users.csv.imattr" }, 10 + kills * 18)
    end
    command.server:settings { latency_ms = 0 }
    local code = job:wait(60).code
    local words = job:read("stderr")
    job:close()
    assert.equal(0, code, words)
    assert.same({ "finished", 20000, 20000 }, { status().state, status().done, status().rows })
    local seen = stats().commands.im_set_attr
    assert.equal(20000, stats().users_stored)
    assert.truthy(seen.users <= 20000 + kills * 64 * 100, seen.users)
    assert_all_stored(20000)
  end)

  it("that is stopped by Ctrl-C waits for what is in flight, and prints how to go on", function()
    write("users.csv", users(10000))
    command.server:settings { latency_ms = 100 }
    local job = start({ "set", "--job", "--rate", "20", "users.csv" }, 3)
    job:kill("INT")
    local code = job:wait(20).code
    local words = job:read("stderr")
    job:close()
    assert.equal(75, code, words)
    assert.truthy(words:find("to go on:\n  imattr resume users.csv.imattr\n", 1, true), words)
    local before = status()
    assert.equal("waiting", before.state)
    assert.equal(stats().commands.im_set_attr.users, before.done)
    command.server:settings { latency_ms = 0 }
    assert.equal(0, run({ "resume", "--rate", "0", "users.csv.imattr" }).code)
    assert.equal(10000, stats().commands.im_set_attr.users) -- each once
  end)

  it("tells from outside how far it is, and answers SIGUSR1", function()
    write("users.csv", users(20000))
    local job = start({ "set", "--job", "--rate", "5", "users.csv" }, 3) -- forty seconds of work
    local now = status()
    assert.equal("running", now.state)
    assert.is_nil(now.rows)
    job:kill("USR1")
    assert(process.wait_until(function()
      return job:read("stderr"):find("set_attr of .-users.csv\n  state     running")
    end, 10), job:read("stderr"))
    local other = run { "resume", "users.csv.imattr" }
    assert.same({ 66, "imattr: users.csv.imattr: another process works on it\n" },
      { other.code, other.stderr })
    job:kill("INT")
    assert.equal(75, job:wait(60).code)
    job:close()
  end)

  it("keeps all rows that failed, over kills too, and writes one rejects file", function()
    local rows = { "To_Account,city,colour" }
    for i = 1, 3000 do
      rows[i + 1] = i % 500 == 7 and ("u%d,c,red"):format(i) or i % 500 == 9 and 'a"b,c,d'
        or ("u%d,city %d,"):format(i, i)
    end
    write("users.csv", table.concat(rows, "\n") .. "\n")
    command.server:settings { latency_ms = 30 }
    local job = start({ "set", "--job", "--no-preflight", "-q", "users.csv" }, 12)
    job:kill("KILL")
    job:wait(5)
    job:close()
    command.server:settings { latency_ms = 0 }
    local output = run { "resume", "users.csv.imattr" }
    assert.equal(2, output.code, output.stderr)
    local now = status()
    assert.same({ "finished", 2988, 6, 6 }, { now.state, now.done, now.refused, now.invalid })
    assert.same({ { code = "90033", users = 6 }, { code = "BARE_QUOTE", users = 6 } }, now.codes)
    local rejected = read("users.csv.rejects.csv")
    local count = 0
    for _ in rejected:gmatch("\n") do count = count + 1 end
    assert.equal(13, count, rejected)
    assert.truthy(rejected:find("u507,c,red,508,90033,", 1, true), rejected)
    output = run { "resume", "users.csv.imattr" }
    assert.same({ 2, "imattr: users.csv.imattr: all is over, some users failed\n" },
      { output.code, output.stderr })
  end)

  it("refuses another input, another app, and what does not go with it", function()
    write("users.csv", users(300))
    command.server:settings { latency_ms = 2000 }
    local job = start({ "set", "--job", "-q", "users.csv" }, 1)
    job:kill("KILL")
    job:wait(5)
    job:close()
    command.server:settings { latency_ms = 0 }
    local other = run { "resume", "--sdkappid", "7", "users.csv.imattr" }
    assert.equal(78, other.code)
    assert.truthy(other.stderr:find("a job of the app 1400000321, not of 7", 1, true))
    write("users.csv", users(301))
    other = run { "resume", "users.csv.imattr" }
    assert.equal(65, other.code)
    assert.truthy(other.stderr:find("changed since the job began (size)", 1, true), other.stderr)
    for _, words in ipairs { { "--dry-run", "users.csv" }, { "--limit", "3", "users.csv" },
      { "-" } } do
      assert.equal(64, run({ "set", "--job", (unpack or table.unpack)(words) }).code)
    end
    assert.equal(66, run({ "status", "nothing.imattr" }).code)
    assert.equal(65, run({ "resume", "users.csv" }).code)
  end)
end)
