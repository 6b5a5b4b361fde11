-- imattr set: inputs as people have them: compressed, with other separators and names, several of
-- them, and only a part; as real processes against a sandbox.
local cjson = require("cjson").new()
local command = require "support.command"
local process = require "support.process"

local run, run_set, stored = command.run, command.run_set, command.stored
local write, read = command.write, command.read

-- What the gzip program makes of a text.
local function gzip(text)
  write("plain", text)
  local output = process.run({ "gzip", "-nf", "plain" }, command.place())
  assert.are.equal(0, output.code, output.stderr)
  return read("plain.gz")
end

describe("imattr set #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  describe("with gzip", function()
    it("reads a file, whatever its name is", function()
      local bytes = gzip("To_Account,sex\na,m\nb\n")
      for _, name in ipairs { "users.csv.gz", "users.csv", "users" } do
        write(name, bytes)
        assert.are.equal(2, run({ "set", name }).code)
        assert.are.equal('{"To_Account":"a","Attrs":{"sex":"m"}}\n', stored("a"))
        assert.are.equal("To_Account,sex,line,code,reason\n"
          .. 'b,3,SHORT_ROW,"1 column, header has 2"\n', read(name .. ".rejects.csv"))
      end
    end)

    it("reads standard input, and NDJSON", function()
      local csv = run({ "set", "-q", "-" }, { stdin = gzip("To_Account,sex\ng1,m\n") })
      local line = '{"To_Account":"g2","Attrs":{"sex":"f"}}\n'
      local ndjson = run({ "set", "-q", "-" }, { stdin = gzip(line) })
      write("users.ndjson.gz", gzip('{"To_Account":"g3","Attrs":{"sex":"f"}}\n'))
      local named = run { "set", "-q", "users.ndjson.gz" }
      assert.are.same({ 0, 0, 0 }, { csv.code, ndjson.code, named.code })
      assert.are.equal('{"To_Account":"g1","Attrs":{"sex":"m"}}\n' .. line
        .. '{"To_Account":"g3","Attrs":{"sex":"f"}}\n', stored("g1", "g2", "g3"))
    end)

    it("says when there is none in a file of such a name, or no header to be had", function()
      write("users.csv.gz", "To_Account,sex\na,m\n")
      write("cut.csv.gz", gzip("To_Account,sex\na,m\n"):sub(1, 20))
      local plain, cut = run { "set", "users.csv.gz" }, run { "set", "cut.csv.gz" }
      assert.are.equal("imattr: users.csv.gz: input: gzip: not gzip data\n", plain.stderr)
      assert.are.equal("imattr: cut.csv.gz: input: gzip: cut short\n", cut.stderr)
      assert.are.same({ 65, 65 }, { plain.code, cut.code })
    end)
  end)

  it("keeps what was read when gzip is cut short, and ends with 65", function()
    local rows = { "To_Account,sex" }
    for number = 1, 20000 do
      rows[number + 1] = ("cut%d,%d"):format(number, number * 7919 % 9973)
    end
    local bytes = gzip(table.concat(rows, "\n"))
    write("cut.csv.gz", bytes:sub(1, math.floor(#bytes / 2)))
    local output = run { "set", "--json", "cut.csv.gz" }
    local report = cjson.decode(output.stdout)
    assert.are.equal(65, output.code)
    assert.truthy(output.stderr:find("imattr: cut.csv.gz: gzip: cut short\n", 1, true))
    assert.is_true(report.done > 1000 and report.done == report.users)
    assert.are.equal(report.done + 2, report.next_line)
  end)

  describe("with other separators and names", function()
    local TEXT = "town;uid;sex\nOsaka;a;m\nKyoto;b\n\"Nara; Japan\";c;f\n"

    it("sets users, and writes rejects that need no flags", function()
      local output = run_set(TEXT, "--delimiter", ";", "--columns", "account=uid,city=town")
      assert.are.equal(2, output.code, output.stderr)
      assert.are.equal('{"To_Account":"a","Attrs":{"city":"Osaka","sex":"m"}}\n'
        .. '{"To_Account":"c","Attrs":{"city":"Nara; Japan","sex":"f"}}\n', stored("a", "c"))
      local rejects = read("users.csv.rejects.csv")
      assert.are.equal('To_Account,city,sex,line,code,reason\n'
        .. 'b,Kyoto,3,SHORT_ROW,"2 columns, header has 3"\n', rejects)
      write("mended.csv", (rejects:gsub("Kyoto,", "Kyoto,f,")))
      assert.are.equal(0, run({ "set", "mended.csv" }).code)
      assert.are.equal('{"To_Account":"b","Attrs":{"city":"Kyoto","sex":"f"}}\n', stored("b"))
    end)

    it("says what is separated otherwise, and which column is not there", function()
      local other = run_set(TEXT)
      assert.are.equal("imattr: users.csv: header: columns are separated by \";\", must be commas; "
        .. "or give --delimiter ';'\n", run_set((TEXT:gsub("town;uid", "To_Account;town"))).stderr)
      assert.are.equal(65, other.code)
      local unknown = run_set(TEXT, "--delimiter", ";", "--columns", "account=id")
      assert.are.equal("imattr: users.csv: --columns: no column is named id; "
        .. "there are: town, uid, sex\n", unknown.stderr)
      assert.are.equal(64, unknown.code)
      assert.are.equal(64, run_set(TEXT, "--columns", "x").code)
    end)
  end)

  describe("of a part", function()
    it("takes only so many rows, and tells where the rest begins", function()
      local output = run_set("To_Account,sex\nl1,m\nl2\nl3,m\nl4,m\n", "--limit", "3")
      assert.are.equal(2, output.code)
      assert.truthy(output.stderr:find("^3 users"), output.stderr)
      assert.truthy(output.stderr:find("imattr set --from-line 5 users.csv\n", 1, true))
      assert.are.equal('{"To_Account":"l1","Attrs":{"sex":"m"}}\n'
        .. '{"To_Account":"l3","Attrs":{"sex":"m"}}\n{"To_Account":"l4","Attrs":{}}\n',
        stored("l1", "l3", "l4"))
      local rest = run { "set", "--from-line", "5", "users.csv" }
      assert.are.equal(0, rest.code)
      assert.truthy(rest.stderr:find("^1 user "), rest.stderr)
    end)

    it("knows where the rest begins, and when there is none", function()
      local users = "To_Account,sex\n"
      local cases = {
        { users .. "l1,m\nl2,m\n", "2", nil },
        { users .. "l1,m\nl2,m\n\n\r\n", "2", nil }, -- blank lines are no rows
        { users .. "l1,m\nl2,m\n\nl3,m\n", "2", 5 },
        { users .. 'l1,m\nl2,"m\n\n"\nl3,m\n', "2", 6 }, -- a row of three lines
        { users .. "l1,m\nl2,m\nl3\n", "2", 4 }, -- a bad row is one too
        { users .. "l1,m\nl2\n", "2", nil },
        { users .. "l1,m\n", "2", nil },
      }
      for index, case in ipairs(cases) do
        for _, more in ipairs { "-q", "--dry-run" } do
          write("users.csv", case[1])
          local output = run { "set", "--limit", case[2], "--json", more, "users.csv" }
          assert.are.equal(case[3] or cjson.null, cjson.decode(output.stdout).next_line, index)
          assert.are.equal(case[3] ~= nil and more == "-q",
            output.stderr:find("from-line", 1, true) ~= nil, output.stderr)
        end
      end
      write("users.ndjson", '{"To_Account":"n1","Attrs":{"sex":"m"}}\n')
      assert.is_nil(run({ "set", "--limit", "1", "users.ndjson" }).stderr:find("from-line", 1,
        true))
    end)

    it("knows that the rest is in another input", function()
      write("a.csv", "To_Account,sex\nl1,m\n")
      write("b.csv", "To_Account,sex\n\nl2,m\n")
      local output = run { "set", "--limit", "1", "a.csv", "b.csv" }
      assert.truthy(output.stderr:find("imattr set --from-line 3 b.csv\n", 1, true),
        output.stderr)
      assert.is_nil(run({ "set", "--limit", "2", "a.csv", "b.csv" }).stderr:find("from-line", 1,
        true))
    end)

    it("stops at more errors than it may have", function()
      local rows = { "To_Account,sex" }
      for number = 1, 5000 do
        rows[number + 1] = number % 10 == 0 and "x" or ("a%d,m"):format(number)
      end
      local text = table.concat(rows, "\n")
      local function users(...)
        local output = run_set(text, "--json", "-q", ...)
        assert.are.equal(2, output.code, output.stderr)
        return cjson.decode(output.stdout)
      end
      assert.are.equal(4, users("--max-errors", "3").invalid)
      assert.are.equal(42, users("--max-errors", "3").next_line)
      assert.are.equal(6, users("--max-errors", "5%").invalid)
      assert.are.equal(500, users("--max-errors", "10%").invalid)
      assert.are.equal(500, users("--max-errors", "500").invalid)
      assert.are.equal(5, users("--dry-run", "--max-errors", "4").invalid)
      assert.truthy(run_set(text, "--max-errors", "3").stderr:find(
        "imattr: stopped at more than 3 errors\n", 1, true))
      assert.truthy(run_set(text, "--max-errors", "5%").stderr:find(
        "imattr: stopped at more than 5% errors: 6 of 60 users\n", 1, true))
    end)
  end)

  describe("of several inputs", function()
    it("sets one after the other, each with rejects of its own", function()
      write("a.csv", "To_Account,sex\na1,m\na2\n")
      write("b.ndjson", '{"To_Account":"b1","Attrs":{"city":"Nara"}}\n{bad\n')
      write("c.csv.gz", gzip("To_Account,city\nc1,Osaka\n"))
      local output = run { "set", "--json", "a.csv", "b.ndjson", "c.csv.gz" }
      assert.are.equal(2, output.code, output.stderr)
      local report = cjson.decode(output.stdout)
      assert.are.same({ 5, 3, 2, 1 }, { report.users, report.done, report.invalid,
        report.requests })
      assert.are.same({ "a.csv", "b.ndjson" }, { report.failures[1].input,
        report.failures[2].input })
      assert.are.equal('To_Account,sex,line,code,reason\na2,3,SHORT_ROW,"1 column, header has 2"\n',
        read("a.csv.rejects.csv"))
      assert.truthy(read("b.ndjson.rejects.ndjson"):find('"raw":"{bad","line":2', 1, true))
      assert.is_nil(read("c.csv.gz.rejects.csv"))
      assert.are.equal('{"To_Account":"a1","Attrs":{"sex":"m"}}\n'
        .. '{"To_Account":"b1","Attrs":{"city":"Nara"}}\n'
        .. '{"To_Account":"c1","Attrs":{"city":"Osaka"}}\n', stored("a1", "b1", "c1"))
    end)

    it("tells what is left of them, and which rejects there are", function()
      write("a.csv", "To_Account,sex\nr1,m\nr2\n")
      write("b.csv", "To_Account,sex\nr3,m\nr4\nr5,m\n")
      write("c.csv", "To_Account,sex\nr6,m\n")
      local output = run { "set", "--limit", "4", "a.csv", "b.csv", "c.csv" }
      assert.truthy(output.stderr:find("to go on where this ended:\n  imattr set --from-line 4 "
        .. "b.csv c.csv\n2 rows are in a.csv.rejects.csv, b.csv.rejects.csv; mend them, then:\n"
        .. "  imattr set a.csv.rejects.csv b.csv.rejects.csv\n", 1, true), output.stderr)
      assert.are.equal(0, run({ "set", "--from-line", "4", "b.csv", "c.csv" }).code)
      local report = cjson.decode(run({ "set", "-q", "--json", "a.csv", "b.csv" }).stdout)
      assert.are.same({ "a.csv.rejects.csv", "b.csv.rejects.csv" }, report.rejects)
    end)

    it("sends nothing when one of them cannot be used", function()
      write("a.csv", "To_Account,sex\na1,m\n")
      write("b.csv", "sex\n")
      local output = run { "set", "a.csv", "b.csv" }
      assert.are.equal("imattr: b.csv: header: first column: sex, must be To_Account\n",
        output.stderr)
      assert.are.equal(65, output.code)
      assert.are.equal(0, command.server:stats().commands.im_set_attr.arrivals)
    end)

    it("refuses one that is there twice, and one rejects file for all", function()
      write("a.csv", "To_Account,sex\na1,m\n")
      local twice = run { "set", "a.csv", "a.csv" }
      assert.are.equal("imattr: a.csv is given twice\n", twice.stderr)
      local rejects = run { "set", "--rejects", "r.csv", "a.csv", "b.csv" }
      assert.truthy(rejects.stderr:find("one file for several inputs", 1, true))
      assert.are.same({ 64, 64 }, { twice.code, rejects.code })
    end)
  end)
end)
