-- imattr remove: attributes of the users in files go, and all that holds for imattr set holds for
-- it; as real processes against a sandbox.
local cjson = require("cjson").new()
local command = require "support.command"
local process = require "support.process"

local run, stored, write, read = command.run, command.stored, command.write, command.read

local function stats(name) return command.server:stats().commands["im_" .. name] end

describe("imattr remove #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  local function set_users()
    write("users.csv", "To_Account,sex,city\na,m,Osaka\nb,f,Kyoto\nc,f,\n")
    assert.equal(0, run({ "set", "-q", "users.csv" }).code)
  end

  it("takes away what the same file set", function()
    set_users()
    local output = run { "remove", "users.csv" }
    assert.truthy(output.stderr:find("^3 users in [%d.]+ s\n  done              3    100%%\n"
      .. "  requests          1  %d+/s\n$"), output.stderr)
    assert.same({ 0, "" }, { output.code, output.stdout })
    assert.equal('{"To_Account":"a","Attrs":{}}\n{"To_Account":"b","Attrs":{}}\n'
      .. '{"To_Account":"c","Attrs":{}}\n', stored("a", "b", "c"))
  end)

  it("takes away attributes in whose cells something stands, and leaves the others", function()
    set_users()
    local output = run({ "remove", "-" }, { stdin = "To_Account,sex,city\na,x,\nb,,-\n" })
    assert.equal(0, output.code, output.stderr)
    assert.equal('{"To_Account":"a","Attrs":{"city":"Osaka"}}\n'
      .. '{"To_Account":"b","Attrs":{"sex":"f"}}\n', stored("a", "b"))
  end)

  it("reads the vendor's lists in NDJSON, and what get prints", function()
    set_users()
    local output = run({ "remove", "-" }, { stdin = '{"To_Account":"a","Attrs":["city"]}\n' })
    assert.equal(0, output.code, output.stderr)
    assert.equal('{"To_Account":"a","Attrs":{"sex":"m"}}\n', stored("a"))
    assert.equal(0, run({ "remove", "-" }, { stdin = stored("a", "b") }).code)
    assert.equal('{"To_Account":"a","Attrs":{}}\n{"To_Account":"b","Attrs":{}}\n',
      stored("a", "b"))
  end)

  it("writes rejects that are its next input, and says so", function()
    set_users()
    write("gone.csv", "To_Account,sex,city\na,x\nb,x,\n" .. ("y"):rep(33) .. ",x,\nc,,\n")
    local output = run { "remove", "gone.csv" }
    assert.equal(2, output.code)
    assert.equal("To_Account,sex,city,line,code,reason\n"
      .. 'a,x,2,SHORT_ROW,"2 columns, header has 3"\n'
      .. ("y"):rep(33) .. ',x,,4,ACCOUNT_TOO_LONG,"account: 33 bytes, limit 32"\n'
      .. "c,,,5,ATTRS_EMPTY,attributes: none given\n", read("gone.csv.rejects.csv"))
    assert.truthy(output.stderr:find("\n3 rows are in gone.csv.rejects.csv; mend them, then:\n"
      .. "  imattr remove gone.csv.rejects.csv\n$"), output.stderr)
    write("mended.csv", "To_Account,sex,city,line,code,reason\na,x,,2,SHORT_ROW,mended\n")
    assert.equal(0, run({ "remove", "mended.csv" }).code)
    assert.equal('{"To_Account":"a","Attrs":{"city":"Osaka"}}\n', stored("a"))
    write("gone.ndjson", '{"To_Account":"b","Attrs":[1]}\n{"To_Account":"b","Attrs":["ctiy"]}\n')
    assert.equal(2, run({ "remove", "-q", "gone.ndjson" }).code)
    local rejects = read("gone.ndjson.rejects.ndjson")
    assert.truthy(rejects:find('"Attrs":[1],"line":1,"code":"BAD_VALUE"', 1, true), rejects)
    assert.truthy(rejects:find('"Attrs":["ctiy"],"line":2,"code":"NAME_UNKNOWN"', 1, true), rejects)
    assert.truthy(rejects:find("did you mean city?", 1, true), rejects)
  end)

  it("looks at the names first", function()
    write("users.csv", "To_Account,ctiy\na,x\n")
    local output = run { "remove", "users.csv" }
    assert.same({ 65, 0 }, { output.code, stats("remove_attr").arrivals })
    assert.truthy(output.stderr:find("ctiy (did you mean city?)", 1, true), output.stderr)
  end)

  it("tells what a dry run would do, and sends nothing", function()
    write("users.csv", "To_Account,sex\na,x\nb\n")
    local output = run { "remove", "--dry-run", "users.csv" }
    assert.equal("dry run: 2 users, nothing was sent\n"
      .. "  to remove         1   50.0%\n"
      .. "  invalid           1   50.0%\n"
      .. "       1  SHORT_ROW  1 column, header has 2  (line 3)\n"
      .. "  requests          1  without a limit on the rate\n", output.stderr)
    assert.same({ 2, 0 }, { output.code, stats("remove_attr").arrivals })
    output = run({ "remove", "--json", "-q", "-" }, { stdin = "To_Account,sex\na,x\n" })
    assert.equal(1, cjson.decode(output.stdout).done)
  end)

  it("keeps a job, which resume goes on with", function()
    local rows = { "To_Account,city" }
    for i = 1, 5000 do rows[i + 1] = ("u%d,x"):format(i) end
    write("users.csv", table.concat(rows, "\n") .. "\n")
    assert.equal(0, run({ "set", "-q", "users.csv" }).code)
    command.server:settings { latency_ms = 50 }
    local job = process.start(command.line { "remove", "--job", "-q", "--rate", "50", "users.csv" },
      command.place())
    assert(process.wait_until(function() return stats("remove_attr").arrivals > 5 end, 10))
    job:kill("KILL")
    job:wait(5)
    job:close()
    command.server:settings { latency_ms = 0 }
    local output = run { "resume", "users.csv.imattr" }
    assert.equal(0, output.code, output.stderr)
    assert.equal("remove_attr", cjson.decode(run({ "status", "--json", "users.csv.imattr" }).stdout)
      .command)
    assert.equal('{"To_Account":"u1","Attrs":{}}\n{"To_Account":"u5000","Attrs":{}}\n',
      stored("u1", "u5000"))
    assert.equal(50, stats("set_attr").arrivals)
  end)

  it("says how to begin again, and how to go on", function()
    write("users.csv", "To_Account,sex\na,x\n")
    local output = run({ "remove", "users.csv" }, { env = { IMATTR_KEY = command.KEY:reverse() } })
    assert.equal(77, output.code)
    assert.truthy(output.stderr:find("\nnothing was removed; to begin again:\n"
      .. "  imattr remove users.csv\n$"), output.stderr)
    write("users.csv", "To_Account,sex\na,x\nb,x\nc,x\n")
    output = run { "remove", "--limit", "2", "users.csv" }
    assert.truthy(output.stderr:find("\n  imattr remove %-%-from%-line 4 users.csv\n$"),
      output.stderr)
  end)
end)
