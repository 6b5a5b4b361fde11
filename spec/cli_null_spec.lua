-- imattr set --null: a cell that holds that text removes its attribute; a row that sets and removes
-- has one fate, the worse of the two; as real processes against a sandbox.
local cjson = require("cjson").new()
local command = require "support.command"
local process = require "support.process"

local run, stored, write, read = command.run, command.stored, command.write, command.read

local function stats(name) return command.server:stats().commands["im_" .. name] end

describe("imattr set --null #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  it("sets, removes and leaves alone, each where it is asked to", function()
    write("users.csv", "To_Account,sex,city\na,m,Osaka\nb,f,Kyoto\nc,f,Nara\nd,m,Kobe\n")
    assert.equal(0, run({ "set", "-q", "users.csv" }).code)
    local output = run({ "set", "--null", "\\N", "--json", "-" }, { stdin =
      "To_Account,sex,city\na,\\N,Kobe\nb,,\\N\nc,\\N,\\N\nd,\"\\N\",\n" })
    local report = cjson.decode(output.stdout)
    assert.same({ 0, 4, 4, 3 }, { output.code, report.users, report.done, report.requests })
    assert.equal('{"To_Account":"a","Attrs":{"city":"Kobe"}}\n{"To_Account":"b","Attrs":{"sex":"f"}'
      .. '}\n{"To_Account":"c","Attrs":{}}\n{"To_Account":"d","Attrs":{"city":"Kobe"}}\n',
      stored("a", "b", "c", "d"))
    -- what is removed of a goes on its way when what is set has its answer
    assert.same({ 2, 4, 1 }, { stats("remove_attr").arrivals, stats("remove_attr").users,
      stats("set_attr").arrivals - 1 })
  end)

  it("keeps the order of a user's rows, whatever comes of requests", function()
    local rows = { "To_Account,sex,city" }
    for i = 1, 3000 do
      local odd = i % 2 == 1
      local value = "v" .. i
      rows[i + 1] = ("u%d,%s,%s"):format(i % 7, odd and "\\N" or value, odd and value or "\\N")
    end
    rows[#rows + 1] = "u0,last,\\N"
    write("users.csv", table.concat(rows, "\n") .. "\n")
    command.server:settings { latency_ms = 5 }
    local output = run { "set", "--null", "\\N", "--json", "users.csv" }
    local report = cjson.decode(output.stdout)
    assert.same({ 0, 3001, 3001 }, { output.code, report.users, report.done })
    assert.equal('{"To_Account":"u0","Attrs":{"sex":"last"}}\n', stored("u0"))
    for i = 2994, 3000 do -- the last row of each of the others
      if i % 7 ~= 0 then
        assert.equal(('{"To_Account":"u%d","Attrs":{"%s":"v%d"}}\n'):format(i % 7,
          i % 2 == 1 and "city" or "sex", i), stored("u" .. i % 7))
      end
    end
  end)

  it("gives a row the worse fate of its two halves, once", function()
    write("users.csv", "To_Account,sex,city\na,m,\\N\nb," .. ("x"):rep(51) .. ",\\N\nc,\\N,x\n"
      .. "d,\\N\n")
    for _, words in ipairs { { "--dry-run" }, {} } do
      local output = run { "set", "--null", "\\N", "--json", "users.csv",
        (unpack or table.unpack)(words) }
      local report = cjson.decode(output.stdout)
      assert.same({ 2, 4, 2, 2 }, { output.code, report.users, report.invalid, #report.failures })
      local rejects = {}
      for line in read("users.csv.rejects.csv"):gmatch("[^\n]+") do
        local kept = line:match(",\\N,.*$")
        rejects[#rejects + 1] = kept and line:sub(1, 1) .. kept
      end
      table.sort(rejects)
      assert.same({ 'b,\\N,3,VALUE_TOO_LONG,"value of ""sex"": 51 bytes, limit 50"',
        'd,\\N,5,SHORT_ROW,"2 columns, header has 3"' }, rejects)
      if words[1] then
        assert.same({ 0, 2 }, { report.done, report.not_sent })
        assert.equal(0, stats("remove_attr").arrivals)
      else
        assert.equal(2, report.done)
        assert.truthy(output.stderr:find("\n  imattr set --null '\\N' users.csv.rejects.csv\n", 1,
          true), output.stderr)
      end
    end
  end)

  it("refuses both halves of a row where the vendor refuses one", function()
    write("users.csv", "To_Account,sex,colour\na,m,\\N\nb,m,\n")
    local output = run { "set", "--null", "\\N", "--no-preflight", "--json", "users.csv" }
    local report = cjson.decode(output.stdout)
    assert.same({ 2, 1, 1 }, { output.code, report.done, report.refused })
    assert.truthy(read("users.csv.rejects.csv"):find("\na,m,\\N,2,90033,", 1, true))
  end)

  it("keeps a job: killed and gone on with, nobody is lost or counted twice", function()
    local rows = { "To_Account,sex,city" }
    for i = 1, 4000 do rows[i + 1] = ("u%d,\\N,city %d"):format(i, i) end
    write("users.csv", (table.concat(rows, "\n"):gsub("\\N", "m")) .. "\n")
    assert.equal(0, run({ "set", "-q", "users.csv" }).code)
    write("users.csv", table.concat(rows, "\n") .. "\n")
    command.server:settings { latency_ms = 30 }
    local job = process.start(command.line { "set", "--job", "-q", "--null", "\\N", "users.csv" },
      command.place())
    assert(process.wait_until(function() return stats("remove_attr").arrivals > 8 end, 10))
    job:kill("KILL")
    job:wait(5)
    job:close()
    command.server:settings { latency_ms = 0 }
    local output = run { "resume", "users.csv.imattr" }
    assert.equal(0, output.code, output.stderr)
    local now = cjson.decode(run({ "status", "--json", "users.csv.imattr" }).stdout)
    assert.same({ 4000, 4000 }, { now.rows, now.done })
    for _, i in ipairs { 1, 100, 1000, 4000 } do
      assert.equal(('{"To_Account":"u%d","Attrs":{"city":"city %d"}}\n'):format(i, i),
        stored("u" .. i))
    end
  end)

  it("tells where to go on after Ctrl-C: no half of a row is left behind", function()
    local rows = { "To_Account,sex,city" }
    for i = 1, 4000 do rows[i + 1] = ("u%d,\\N,city %d"):format(i, i) end
    write("users.csv", table.concat(rows, "\n") .. "\n")
    command.server:settings { latency_ms = 50 }
    local job = process.start(command.line { "set", "--json", "--null", "\\N", "--rate", "20",
      "users.csv" }, command.place())
    assert(process.wait_until(function() return stats("remove_attr").arrivals > 3 end, 10))
    job:kill("INT")
    local ended = job:wait(10)
    job:close()
    local report = cjson.decode(ended.stdout)
    assert.equal(75, ended.code)
    assert.same({ report.users, 0, 0 }, { report.done + report.not_sent, report.unknown,
      report.invalid })
    assert.is_true(report.done >= 100 and report.not_sent > 0, ended.stdout)
    assert.truthy(ended.stderr:find("imattr set --null '\\N' --from-line ", 1, true), ended.stderr)
  end)

  it("wants a text", function()
    local output = run { "set", "--null", "", "users.csv" }
    assert.equal(64, output.code)
    assert.truthy(output.stderr:find("--null: empty", 1, true), output.stderr)
  end)
end)
