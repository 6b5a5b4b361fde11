-- imattr get as an export: where accounts come from, what is written and when, as real processes
-- against a sandbox. (That it prints a few users is in cli_spec.)
local command = require "support.command"
local process = require "support.process"

local run, run_set, write, read = command.run, command.run_set, command.write, command.read

-- A file of `count` users with two attributes each, and what it exports to.
local function many(count)
  local rows = { "To_Account,sex,city" }
  for number = 1, count do
    rows[#rows + 1] = ("e%d,%s,Town %d"):format(number, number % 2 == 0 and "m" or "f", number)
  end
  return table.concat(rows, "\n") .. "\n"
end

describe("imattr get #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(function()
    command.enter()
    command.server:settings { attr_names = { "sex", "city" }, latency_jitter_ms = 0, limit = 0 }
  end)
  after_each(command.leave)

  describe("writes", function()
    it("CSV that the set verb reads: what came out goes in again", function()
      local users = many(1234)
      run_set(users)
      local output = run { "get", "users.csv", "-o", "out.csv" }
      assert.truthy(output.stderr:find("^1,234 users in out.csv, 13 requests in [%d.]+ s\n$"),
        output.stderr)
      assert.are.equal("", output.stdout)
      assert.are.equal(0, output.code)
      assert.are.equal(users, read "out.csv")
      assert.is_nil(read "out.csv.part")
      assert.are.equal(0, run({ "set", "-q", "out.csv" }).code)
    end)

    it("into a device or a pipe, and leaves it what it is", function()
      write("a.txt", "g1\n")
      local line = table.concat(command.line { "get", "a.txt", "-q", "--columns=tier", "-o" }, " ")
      local output = process.run({ "sh", "-c",
        "mkfifo p.csv; cat p.csv & " .. line .. " p.csv; wait; test -p p.csv" }, command.place())
      assert.are.equal("To_Account,tier\ng1,\n", output.stdout)
      assert.are.equal(0, output.code, output.stderr)
      assert.is_nil(read "p.csv.part")
    end)

    it("NDJSON, by the name, by the flag, and to standard output", function()
      run_set(many(2))
      local wanted = '{"To_Account":"e1","Attrs":{"city":"Town 1","sex":"f"}}\n'
        .. '{"To_Account":"e2","Attrs":{"city":"Town 2","sex":"m"}}\n'
      assert.are.equal(0, run({ "get", "-q", "users.csv", "-o", "out.ndjson" }).code)
      assert.are.equal(wanted, read "out.ndjson")
      assert.are.equal(0, run({ "get", "users.csv", "-q", "--format=ndjson", "-o", "out.x" }).code)
      assert.are.equal(wanted, read "out.x")
      assert.are.equal(wanted, run({ "get", "users.csv" }).stdout)
      assert.are.equal(wanted, run({ "get", "users.csv", "-o", "-" }).stdout)
      assert.are.equal("To_Account,sex,city\ne1,f,Town 1\n",
        run({ "get", "e1", "--format", "csv" }).stdout)
    end)

    it("the columns asked for, and reads the names only when it has to", function()
      run_set(many(2))
      command.server:reset()
      local output = run { "get", "users.csv", "--format=csv", "--columns", "city,tier" }
      assert.are.equal("To_Account,city,tier\ne1,Town 1,\ne2,Town 2,\n", output.stdout)
      assert.are.equal("", output.stderr)
      local commands = command.server:stats().commands
      assert.are.equal(0, commands.im_get_attr_name.arrivals)
      assert.are.equal(1, commands.im_get_attr.arrivals)
      run { "get", "users.csv", "--format=csv" }
      assert.are.equal(1, command.server:stats().commands.im_get_attr_name.arrivals)
    end)

    it("quotes what CSV has to quote", function()
      run_set('To_Account,sex,city\nq1,"a,b","say ""x"""\nq2," m","two\nlines"\n')
      assert.are.equal('To_Account,sex,city\nq1,"a,b","say ""x"""\nq2," m","two\nlines"\n',
        run({ "get", "q1", "q2", "--format", "csv" }).stdout)
    end)

    it("users in the order of the input, whatever order answers come in", function()
      local users = many(3000)
      run_set(users)
      command.server:settings { latency_ms = 5, latency_jitter_ms = 60 }
      assert.are.equal(0, run({ "get", "-q", "users.csv", "-o", "out.csv" }).code)
      assert.are.equal(users, read "out.csv")
    end)

    it("users at their places also when the quota refuses requests", function()
      local users = many(3000)
      run_set(users)
      command.server:settings { limit = 20 }
      local output = run { "get", "users.csv", "-o", "out.csv" }
      assert.are.equal(0, output.code, output.stderr)
      assert.are.equal(users, read "out.csv")
      assert.truthy(command.server:stats().commands.im_get_attr.by_code["60007"])
    end)
  end)

  describe("reads accounts", function()
    local inputs = {
      { "a.csv", "To_Account\ng1\ng2\n", "of a CSV file with one column" },
      { "a.csv", '\239\187\191To_Account,x\r\ng1,"y\r\nz"\r\n\r\n"g2",\r\n',
        "of what spreadsheets write" },
      { "a.ndjson", '{"To_Account":"g1"}\n\n{"Attrs":{"a":"b"},"To_Account":"g2"}', "of NDJSON" },
      { "a.txt", "g1\ng2", "of a plain list" },
    }
    for _, case in ipairs(inputs) do
      it(case[3] .. ", and of standard input", function()
        run_set("To_Account,sex\ng1,m\ng2,f\n")
        write(case[1], case[2])
        local wanted = '{"To_Account":"g1","Attrs":{"sex":"m"}}\n'
          .. '{"To_Account":"g2","Attrs":{"sex":"f"}}\n'
        for _, output in ipairs { run { "get", case[1] }, run({ "get", "-" },
          { stdin = case[2] }) } do
          assert.are.equal("", output.stderr)
          assert.are.equal(wanted, output.stdout)
          assert.are.equal(0, output.code)
        end
      end)
    end

    it("of gzip, in a file and on standard input", function()
      write("a.txt", "g1\ng2\n")
      local place = command.place()
      assert.are.equal(0, process.run({ "gzip", "a.txt" }, place).code)
      local packed = read "a.txt.gz"
      local wanted = '{"To_Account":"g1","Attrs":{}}\n{"To_Account":"g2","Attrs":{}}\n'
      command.server:settings { attr_names = { "tier" } }
      assert.are.equal(wanted, run({ "get", "a.txt.gz" }).stdout)
      assert.are.equal(wanted, run({ "get", "-" }, { stdin = packed }).stdout)
      write("cut.txt.gz", packed:sub(1, -9))
      local cut = run { "get", "cut.txt.gz", "-o", "out.csv" }
      assert.are.equal(66, cut.code)
      assert.truthy(cut.stderr:find("gzip: ", 1, true), cut.stderr)
      assert.is_nil(read "out.csv")
    end)

    it("of several files, one after the other", function()
      write("a.txt", "g1\n")
      write("b.csv", "To_Account\ng2\ng1\n")
      local _, count = run({ "get", "a.txt", "b.csv" }).stdout:gsub("\n", "\n")
      assert.are.equal(3, count)
    end)

    it("that come twice, twice; and one that comes 45,000 times", function()
      write("a.txt", ("dup1\n"):rep(45000) .. "dup2\n")
      local output = run { "get", "-q", "a.txt" }
      assert.are.equal(0, output.code)
      local line = '{"To_Account":"dup1","Attrs":{}}\n'
      assert.is_true(line:rep(45000) .. line:gsub("dup1", "dup2") == output.stdout)
    end)

    it("that have no answer: names them, and goes on", function()
      run_set("To_Account,sex\ng1,m\n")
      write("a.csv", "To_Account,x\n" .. ("x"):rep(33) .. ',\n"g"1,\ng1,\n"open,\n')
      local output = run { "get", "a.csv", "-o", "out.csv" }
      assert.are.equal("To_Account,sex,city\ng1,m,\n", read "out.csv")
      assert.are.equal(2, output.code)
      assert.truthy(output.stderr:find("imattr: a.csv:2: x+: account: 33 bytes, limit 32\n")
        or output.stderr:find("imattr: a.csv:2: x+: [^\n]*33 bytes"), output.stderr)
      assert.truthy(output.stderr:find("imattr: a.csv:3: row: the quotes are not as CSV has them\n",
        1, true), output.stderr)
      assert.truthy(output.stderr:find("imattr: a.csv:5: row: the quotes are not as CSV has them\n",
        1, true), output.stderr)
    end)

    it("and counts those it does not name any more", function()
      write("a.txt", (("x"):rep(33) .. "\n"):rep(30))
      local output = run { "get", "a.txt", "-o", "out.csv" }
      local _, count = output.stderr:gsub("imattr: a.txt:", "")
      assert.is_true(count == 20 or count == 30, output.stderr)
      assert.are.equal(2, output.code)
    end)
  end)

  describe("does not guess:", function()
    before_each(function() write("xiaojun", "someone\n") end)

    local cases = {
      { { "xiaojun" }, 64,
        "xiaojun: an account, or the file of this name? Say --accounts or --file" },
      { { "none.csv" }, 66, "none.csv: no such file (--accounts, if it is an account)" },
      { { "a/b" }, 66, "a/b: no such file (--accounts, if it is an account)" },
      { { "--file", "none" }, 66, "none: No such file or directory" },
      { { "--file", "x.csv" }, 65, "x.csv: header: first column: uid, must be To_Account "
        .. "(or one account a line, and no other column)" },
      { { "--file", "/dev/null" }, 65, "/dev/null: input is empty" },
      { { "--file", "." }, 66, ".: Is a directory" },
      { { "a", "--file", "xiaojun" }, 66, "a: No such file or directory" },
      { { "a", "x.csv" }, 65, "x.csv: header: first column: uid, must be To_Account "
        .. "(or one account a line, and no other column)" },
      { { "a", "ok.txt" }, 64, "accounts and files together; give one or the other" },
      { { "ok.txt", "a" }, 64, "a: accounts and files together; give one or the other" },
      { { "--accounts", "--file", "a" }, 64, "option '--file' can not be used together with "
        .. "option '--accounts'; see imattr get --help" },
      { { "a", "-o", "out.xls" }, 64,
        "output: out.xls: wants a name that ends in .csv or .ndjson, or --format" },
      { { "a", "--json", "--format", "csv" }, 64, "--json and --format csv: give one of them" },
      { { "a", "-o", "no/such/folder.csv" }, 74,
        "output: no/such/folder.csv.part: No such file or directory" },
    }
    for _, case in ipairs(cases) do
      it(table.concat(case[1], " "), function()
        write("x.csv", "uid,city\na,b\n")
        write("ok.txt", "a\n")
        local words = { "get" }
        for _, word in ipairs(case[1]) do words[#words + 1] = word end
        local output = run(words)
        assert.are.equal("imattr: " .. case[3] .. "\n", output.stderr)
        assert.are.equal("", output.stdout)
        assert.are.equal(case[2], output.code)
        assert.are.equal(0, command.server:stats().commands.im_get_attr.arrivals)
      end)
    end

    it("takes it as it is told", function()
      assert.are.equal('{"To_Account":"xiaojun","Attrs":{}}\n',
        run({ "get", "--accounts", "xiaojun" }).stdout)
      assert.are.equal('{"To_Account":"someone","Attrs":{}}\n',
        run({ "get", "--file", "xiaojun" }).stdout)
    end)
  end)

  describe("in trouble", function()
    it("leaves FILE.part, and FILE as it was", function()
      write("out.csv", "before\n")
      write("a.txt", "g1\n")
      local output = run({ "get", "a.txt", "-o", "out.csv", "--columns", "sex" },
        { env = { IMATTR_KEY = command.KEY:reverse() } })
      assert.are.equal(77, output.code)
      assert.truthy(output.stderr:find("imattr: 70009: ", 1, true), output.stderr)
      assert.truthy(output.stderr:find("0 users in out.csv.part, ", 1, true), output.stderr)
      assert.are.equal("before\n", read "out.csv")
      assert.are.equal("To_Account,sex\n", read "out.csv.part")
    end)

    it("with the output ends with 74", function()
      write("a.txt", "g1\ng2\n")
      process.run { "ln", "-s", "/dev/full", command.path("full.csv") }
      local output = run { "get", "a.txt", "-q", "-o", "full.csv" }
      assert.are.equal("imattr: output: No space left on device\n", output.stderr)
      assert.are.equal(74, output.code)
      assert.are.equal(0, process.run({ "test", "-c", command.path("full.csv") }).code)
      local line = table.concat(command.line { "get", "a.txt" }, " ")
      output = process.run({ "sh", "-c", line .. " >/dev/full" }, command.place())
      assert.are.equal(74, output.code)
      assert.truthy(output.stderr:find("imattr: standard output: cannot write\n", 1, true))
    end)

    it("with Ctrl-C keeps what came, and ends with 75", function()
      local users = many(20000)
      write("users.csv", users)
      command.server:settings { latency_ms = 200 }
      local job = process.start(command.line { "get", "users.csv", "-o", "out.csv",
        "--columns=sex" }, command.place { IMATTR_RATE = "20" })
      process.wait_until(function()
        return command.server:stats().commands.im_get_attr.arrivals > 2
      end)
      job:kill("INT")
      local output = assert(job:wait(20))
      job:close()
      assert.are.equal(75, output.code)
      assert.truthy(output.stderr:find("imattr: stopping; what is in flight is waited for, "
        .. "Ctrl-C again aborts\n", 1, true), output.stderr)
      local count = tonumber((output.stderr:match("([%d,]+) users in out.csv.part"):gsub(",", "")))
      local lines = {}
      for line in read("out.csv.part"):gmatch("[^\n]+") do lines[#lines + 1] = line end
      assert.are.equal(count, #lines - 1)
      assert.is_true(count >= 100 and count < 20000, tostring(count))
      for number = 1, count do
        assert.are.equal("e" .. number, lines[number + 1]:match("^[^,]*"))
      end
      assert.is_nil(read "out.csv")
    end)
  end)

  it("exports in constant memory #timing", function()
    local function peak_kb(count)
      local rows = { "To_Account" }
      for number = 1, count do rows[#rows + 1] = "m" .. number end
      write("m.csv", table.concat(rows, "\n") .. "\n")
      local argv = { "sh", "-c", 'exec "$@" 2>/dev/null & pid=$!; peak=0; '
        .. 'while [ -r /proc/$pid/status ]; do '
        .. 'now=$(sed -n "s/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p" /proc/$pid/status 2>/dev/null); '
        .. '[ -z "$now" ] || peak=$now; sleep 0.05; done; wait $pid; echo "$? $peak"', "sh" }
      for _, word in ipairs(command.line { "get", "m.csv", "-q", "-o", "m.out.csv" }) do
        argv[#argv + 1] = word
      end
      local output = process.run(argv, command.place())
      local code, peak = output.stdout:match("(%d+) (%d+)")
      assert.are.equal("0", code, output.stderr)
      local _, lines = read("m.out.csv"):gsub("\n", "")
      assert.are.equal(count + 1, lines)
      return tonumber(peak)
    end
    command.server:settings { store = false }
    local small, large = peak_kb(100000), peak_kb(300000) -- both beyond the window of answers
    assert.is_true(large - small < 6000, ("%d KB, then %d KB"):format(small, large))
  end)
end)
