-- imattr set --deadline: sending stops then, what is on its way is waited for, and what is left can
-- be gone on with; as real processes against a sandbox.
local cjson = require("cjson").new()
local command = require "support.command"
local process = require "support.process"

local run, write, read = command.run, command.write, command.read

local function users(count)
  local rows = { "To_Account,city" }
  for i = 1, count do rows[i + 1] = ("u%d,city %d"):format(i, i) end
  return table.concat(rows, "\n") .. "\n"
end

local function stats() return command.server:stats().commands.im_set_attr end

describe("a deadline #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  it("ends a run in order: nobody is lost, nobody is sent twice", function()
    write("users.csv", users(20000))
    command.server:settings { latency_ms = 100 }
    local output = run { "set", "--deadline", "2s", "--rate", "20", "--json", "users.csv" }
    local report = cjson.decode(output.stdout)
    assert.equal(75, output.code, output.stderr)
    assert.same({ "DEADLINE", "deadline" }, { report.error.code, report.error.class })
    assert.is_true(report.seconds > 0.9 and report.seconds < 3, report.seconds)
    assert.is_true(report.done > 500 and report.not_sent > 0, output.stdout)
    assert.same({ 0, 0, 0, report.done }, { report.unknown, report.refused, report.retries,
      stats().users })
    assert.truthy(output.stderr:find("\nimattr: stopped at the deadline, %d%d:%d%d[:%d]*\n"
      .. ("to go on where this ended:\n  imattr set %%-%%-from%%-line %d users.csv\n$"):format(
      report.done + 2)), output.stderr)
    assert.is_nil(read("users.csv.rejects.csv"))
    command.server:settings { latency_ms = 0 }
    assert.equal(0, run({ "set", "--from-line", ("%d"):format(report.next_line),
        "users.csv" }).code)
    assert.equal(20000, stats().users) -- each once
  end)

  it("ends a job, which resume goes on with, until a deadline of its own", function()
    write("users.csv", users(10000))
    command.server:settings { latency_ms = 100 }
    local words = { "--deadline", "1s", "--rate", "20" }
    local output = run { "set", "--job", "users.csv", (unpack or table.unpack)(words) }
    assert.equal(75, output.code, output.stderr)
    assert.truthy(output.stderr:find("\nto go on:\n  imattr resume users.csv.imattr\n$"),
      output.stderr)
    local first = stats().users
    output = run { "resume", "users.csv.imattr", (unpack or table.unpack)(words) }
    assert.equal(75, output.code, output.stderr)
    assert.is_true(stats().users > first and stats().users < 10000)
    command.server:settings { latency_ms = 0 }
    output = run { "resume", "--rate", "0", "users.csv.imattr" } -- no deadline is remembered
    assert.equal(0, output.code, output.stderr)
    assert.equal(10000, stats().users)
  end)

  it("ends a run whose input keeps it waiting", function()
    local job = process.start({ "sh", "-c", "mkfifo users; "
      .. "{ echo To_Account,city; echo u1,x; exec sleep 30; } >users & "
      .. table.concat(command.line { "set", "--deadline", "1s", "-" }, " ")
      .. " <users; code=$?; kill $!; exit $code" }, command.place())
    local ended = assert(job:wait(10), "it goes on")
    job:close()
    assert.equal(75, ended.code, ended.stderr)
    assert.truthy(ended.stderr:find("stopped at the deadline", 1, true), ended.stderr)
  end)

  it("is nothing to a run that ends before", function()
    write("users.csv", users(300))
    local output = run { "set", "--deadline", "1h", "users.csv" }
    assert.equal(0, output.code, output.stderr)
    assert.is_nil(output.stderr:find("deadline", 1, true))
  end)

  it("must be a time", function()
    local output = run { "set", "--deadline", "soon", "users.csv" }
    assert.same({ 64, "imattr: --deadline: soon, must be a time as in 06:00, or 45s, 90m, 2h up to "
      .. "a week; see imattr set --help\n" }, { output.code, output.stderr })
  end)
end)
