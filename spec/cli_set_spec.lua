-- imattr set: whatever the input is, good rows go on and the others are written down, as real
-- processes against a sandbox.
local cjson = require("cjson").new()
local command = require "support.command"

local run, run_set, stored = command.run, command.run_set, command.stored
local write, read = command.write, command.read

describe("imattr #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  describe("set", function()
    it("sets users of a CSV file and says so", function()
      local output = run_set("To_Account,sex,city\na,m,Osaka\nb,,\"Kyoto, Japan\"\n")
      assert.are.equal("", output.stdout)
      assert.truthy(output.stderr:find("^2 users in [%d.]+ s\n  done              2    100%%\n"
        .. "  requests          1  %d+/s\n$"), output.stderr)
      assert.are.equal(0, output.code)
      assert.are.equal('{"To_Account":"b","Attrs":{"city":"Kyoto, Japan"}}\n'
        .. '{"To_Account":"a","Attrs":{"city":"Osaka","sex":"m"}}\n', stored("b", "a"))
      assert.is_nil(read("users.csv.rejects.csv"))
    end)

    it("sets users of an NDJSON file, and of what get prints", function()
      write("users.ndjson", '{"To_Account":"n1","Attrs":{"sex":"m","city":12}}\n')
      assert.are.equal(0, run({ "set", "users.ndjson" }).code)
      local printed = stored("n1")
      assert.are.equal('{"To_Account":"n1","Attrs":{"city":"12","sex":"m"}}\n', printed)
      assert.are.equal(0, run({ "set", "-q", "-" }, { stdin = printed }).code)
    end)

    it("reads standard input, and tells formats apart by the first byte", function()
      local csv = run({ "set", "-" }, { stdin = "To_Account,sex\ns1,f\n" })
      local ndjson = run({ "set", "-" }, { stdin = '{"To_Account":"s2","Attrs":{"sex":"m"}}\n' })
      local told = run({ "set", "--format", "csv", "-" }, { stdin = "To_Account,sex\ns3,f\n" })
      assert.are.same({ 0, 0, 0 }, { csv.code, ndjson.code, told.code })
      assert.are.equal('{"To_Account":"s1","Attrs":{"sex":"f"}}\n'
        .. '{"To_Account":"s2","Attrs":{"sex":"m"}}\n'
        .. '{"To_Account":"s3","Attrs":{"sex":"f"}}\n', stored("s1", "s2", "s3"))
    end)

    it("is quiet when asked to be", function()
      write("users.csv", "To_Account,sex\na,m\nb\n")
      local output = run { "set", "-q", "users.csv" }
      assert.are.equal("", output.stderr)
      assert.are.equal("", output.stdout)
      assert.are.equal(2, output.code)
    end)

    it("goes on past bad rows, and writes them down with line and reason", function()
      local long = ("x"):rep(51)
      local output = run_set(table.concat({ "\239\187\191To_Account,sex,city\r", "ok1,m,x\r",
        "short,m\r", "long,m,x,y\r", 'bare,5",x\r', "latin,m,M\252nchen\r", "nul,m,a\0b\r",
        "value,m," .. long .. "\r", "empty,,\r", "huge,m," .. ("z"):rep(10000000) .. "\r",
        "ok2,f,y\r", 'open,m,"x\r', "ok3,f,z\r", "" }, "\n"))
      assert.are.equal(2, output.code)
      assert.are.equal('{"To_Account":"ok1","Attrs":{"city":"x","sex":"m"}}\n'
        .. '{"To_Account":"ok2","Attrs":{"city":"y","sex":"f"}}\n'
        .. '{"To_Account":"ok3","Attrs":{"city":"z","sex":"f"}}\n', stored("ok1", "ok2", "ok3"))
      local seen = {}
      local rejects = read("users.csv.rejects.csv")
      assert.are.equal("To_Account,sex,city,line,code,reason", rejects:match("^[^\n]*"))
      for row, line, code in rejects:gmatch("\n([^\n]-),(%d+),([%u_%d]+),") do
        seen[tonumber(line)] = row .. " " .. code
      end
      assert.are.same({
        [3] = "short,m SHORT_ROW", [4] = "long,m,x,y LONG_ROW", [5] = '"bare,5"",x" BARE_QUOTE',
        [6] = "latin,m,M\252nchen NOT_UTF8", [7] = "nul,m,a\0b NUL_BYTE",
        [8] = "value,m," .. long .. " VALUE_TOO_LONG", [9] = "empty,, ATTRS_EMPTY",
        [10] = "huge ROW_TOO_LONG", [12] = '"open,m,""x" OPEN_QUOTE',
      }, seen)
      assert.truthy(output.stderr:find("9 rows are in users.csv.rejects.csv; mend them, then:\n"
        .. "  imattr set users.csv.rejects.csv\n", 1, true), output.stderr)
    end)

    it("writes rejects that are a valid next input once they are mended", function()
      run_set("To_Account,sex,city\na,m\nb,m," .. ("x"):rep(51) .. "\n\"c,1\",f,x,y\n")
      local first = read("users.csv.rejects.csv")
      local again = run { "set", "users.csv.rejects.csv" }
      assert.are.equal(2, again.code)
      assert.truthy(again.stderr:find("3 rows are in users.csv.rejects2.csv", 1, true))
      local function without_lines(text) return (text:gsub(",%d+,(%u)", ",N,%1")) end
      assert.are.equal(without_lines(first), without_lines(read("users.csv.rejects2.csv")))

      local mended = first:gsub("a,m,2", "a,m,Osaka,2"):gsub("xxx+", "x"):gsub("f,x,y", "f,y")
      write("mended.csv", mended)
      assert.are.equal(0, run({ "set", "mended.csv" }).code)
      assert.are.equal('{"To_Account":"a","Attrs":{"city":"Osaka","sex":"m"}}\n'
        .. '{"To_Account":"b","Attrs":{"city":"x","sex":"m"}}\n'
        .. '{"To_Account":"c,1","Attrs":{"city":"y","sex":"f"}}\n', stored("a", "b", "c,1"))
    end)

    it("writes NDJSON rejects that are a valid next input", function()
      write("users.ndjson", '{"To_Account":"r1","Attrs":{"sex":null}}\n{bad\n'
        .. '{"To_Account":"r2","Attrs":{"city":"' .. ("x"):rep(51) .. '"}} \n')
      local output = run { "set", "users.ndjson" }
      assert.are.equal(2, output.code)
      local rejects = read("users.ndjson.rejects.ndjson")
      local seen = {}
      for line in rejects:gmatch("[^\n]+") do
        local object = cjson.decode(line)
        seen[object.line] = { object.code, object.To_Account, object.raw }
      end
      assert.are.same({ { "BAD_VALUE", "r1" }, { "BAD_JSON", nil, "{bad" },
        { "VALUE_TOO_LONG", "r2" } }, seen)
      assert.are.equal(2, run({ "set", "users.ndjson.rejects.ndjson" }).code)
      local again = {}
      for code in read("users.ndjson.rejects2.ndjson"):gmatch('"code":"([%u_]+)"') do
        again[code] = true
      end
      assert.are.same({ BAD_VALUE = true, BAD_SHAPE = true, VALUE_TOO_LONG = true }, again)
      local mended = rejects:gsub('"sex":null', '"sex":"f"'):gsub("xxx+", "y")
        :gsub("[^\n]*bad[^\n]*\n", "")
      assert.are.equal(0, run({ "set", "-" }, { stdin = mended }).code)
      assert.are.equal('{"To_Account":"r1","Attrs":{"sex":"f"}}\n'
        .. '{"To_Account":"r2","Attrs":{"city":"y"}}\n', stored("r1", "r2"))
    end)

    it("replaces rejects of an earlier run at the first failure only", function()
      write("users.csv.rejects.csv", "old\n")
      run_set("To_Account,sex\na,m\n")
      assert.are.equal("old\n", read("users.csv.rejects.csv"))
      run_set("To_Account,sex\na\n")
      assert.are.equal('To_Account,sex,line,code,reason\na,2,SHORT_ROW,"1 column, header has 2"\n',
        read("users.csv.rejects.csv"))
    end)

    it("writes rejects where it is told to, or nowhere", function()
      run_set("To_Account,sex\na\n", "--rejects", "bad.csv")
      assert.truthy(read("bad.csv"))
      run_set("To_Account,sex\na\n", "--no-rejects")
      assert.is_nil(read("users.csv.rejects.csv"))
      run({ "set", "-" }, { stdin = "To_Account,sex\na\n" })
      assert.truthy(read("imattr.rejects.csv"))
      local output = run_set("To_Account,sex\na,m\n", "--rejects", "./users.csv")
      assert.are.equal("imattr: rejects: ./users.csv is the input itself\n", output.stderr)
      assert.are.equal(64, output.code)
    end)

    it("names rejects after the input, and never like it", function()
      local path_for = require("imattr.cli.rejects").path_for
      local cases = {
        { "users.csv", "csv", "users.csv.rejects.csv" },
        { "users.csv.rejects.csv", "csv", "users.csv.rejects2.csv" },
        { "a/b.rejects9.csv", "csv", "a/b.rejects10.csv" },
        { "users", "csv", "users.rejects.csv" },
        { "users.jsonl", "ndjson", "users.jsonl.rejects.ndjson" },
        { "users.jsonl.rejects.ndjson", "ndjson", "users.jsonl.rejects2.ndjson" },
        { "-", "ndjson", "imattr.rejects.ndjson" },
      }
      for _, case in ipairs(cases) do assert.are.equal(case[3], path_for(case[1], case[2])) end
    end)

    it("goes on at a line, and adds to the rejects", function()
      local content = "To_Account,sex\nf1,m\nf2\nf3,m\nf4\n"
      run_set(content)
      local before = read("users.csv.rejects.csv")
      local output = run_set(content, "--from-line", "4")
      assert.are.equal("2 users", output.stderr:match("^%d+ users"))
      assert.are.equal(before .. "f4,5,SHORT_ROW,\"1 column, header has 2\"\n",
        read("users.csv.rejects.csv"))
    end)

    it("prints the report as one JSON object", function()
      write("users.csv", "To_Account,sex\na,m\n\27b\n")
      local output = run { "set", "--json", "-q", "users.csv" }
      local report = cjson.decode(output.stdout)
      assert.is_true(report.seconds > 0)
      report.seconds = nil
      assert.are.same({ dry_run = false, users = 2, done = 1, invalid = 1, refused = 0,
        unknown = 0, not_sent = 0, merged = 0, requests = 1, retries = 0, next_line = cjson.null,
        rejects = "users.csv.rejects.csv", error = cjson.null, failures_more = 0,
        failures = { { line = 3, account = "\27b", fate = "invalid", code = "SHORT_ROW",
          message = "1 column, header has 2" } } }, report)
      assert.is_nil(output.stdout:find("\27"))
    end)

    it("tells what a dry run would do, without key, server or network", function()
      write("users.csv", "To_Account,sex\n" .. ("u,m\n"):rep(249) .. "x\n")
      local output = run({ "set", "--dry-run", "users.csv" }, { env = { IMATTR_KEY = false,
        IMATTR_SDKAPPID = false, IMATTR_ENDPOINT = false, IMATTR_RATE = "100" } })
      assert.are.equal(2, output.code)
      assert.truthy(output.stderr:find("dry run: 250 users, nothing was sent\n", 1, true))
      assert.truthy(output.stderr:find("  would set       249   99.6%\n", 1, true), output.stderr)
      assert.truthy(read("users.csv.rejects.csv"))
      local fine = run({ "set", "--dry-run", "-" }, { stdin = "To_Account,sex\na,m\n" })
      assert.are.equal(0, fine.code)
      assert.are.equal(0, command.server:stats().commands.im_set_attr.arrivals)
    end)

    local unusable = {
      { "", "users.csv: input is empty" },
      { "a,m\n", "users.csv: header: first column: a, must be To_Account" },
      { "To_Account\na\n", "users.csv: header: no attribute column after To_Account" },
      { "To_Account,\27[2J,\27[2J\n",
        "users.csv: header: columns 2 and 3 are both named \\x1B[2J" },
      { ("x"):rep(2000000), "users.csv: header: over 1048576 bytes, limit 1048576" },
    }
    for index, case in ipairs(unusable) do
      it("refuses an input that cannot be used, case " .. index, function()
        local output = run_set(case[1])
        assert.are.equal("imattr: " .. case[2] .. "\n", output.stderr)
        assert.are.equal(65, output.code)
        assert.are.equal(0, command.server:stats().commands.im_set_attr.arrivals)
      end)
    end

    it("says when there is no input", function()
      local missing = run { "set", "none.csv" }
      assert.are.equal("imattr: none.csv: No such file or directory\n", missing.stderr)
      assert.are.equal(66, missing.code)
      local directory = run { "set", "." }
      assert.are.equal("imattr: .: input: Is a directory\n", directory.stderr)
      assert.are.equal(66, directory.code)
    end)
  end)

end)
