-- imattr plan, apply, verify and undo: what would change is shown before, what changed is taken
-- back, whatever was killed in between; as real processes against a sandbox.
local cjson = require("cjson").new()
local command = require "support.command"
local impostor = require "support.impostor"
local process = require "support.process"
local pty = require "support.pty"
local store = require "imattr.job"

local run, write, read = command.run, command.write, command.read

local function stats(name)
  local seen = command.server:stats().commands["im_" .. name]
  return seen and { seen.arrivals, seen.users } or { 0, 0 }
end

-- What the sandbox has of the users in a file, as text.
local function stored(name)
  return run({ "get", "--file", name }).stdout
end

local function csv(first, last, row)
  local rows = { "To_Account,sex,city" }
  for i = first, last do rows[#rows + 1] = row(i) end
  return table.concat(rows, "\n") .. "\n"
end

-- Starts the command and waits until the server has seen so many more requests of this name.
local function start(words, name, more)
  local before = stats(name)[1]
  local job = process.start(command.line(words), command.place())
  assert(process.wait_until(function() return stats(name)[1] >= before + more end, 20),
    job:read("stderr"))
  return job
end

local function kill(job)
  job:kill("KILL")
  assert(job:wait(5))
  job:close()
end

-- What SQLite says about the plan, through a connection of its own.
local function ask(sql)
  local db = assert(store.open(command.path("plan"), "read"))
  local value = db:run(sql)
  db:close()
  return value
end

local function timeless(shown)
  return (shown:gsub("%d[%d.]* s\n", "TIME\n"):gsub("%d+/s\n", "N/s\n"))
end

describe("a plan #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  local function assert_run(code, words)
    local output = run(words)
    assert.are.equal(code, output.code, output.stderr)
    return output
  end

  -- Users of the next tests: all have something, which is not the same.
  local function set_users(prefix, count)
    write("before.csv", csv(1, count, function(i)
      return ("%s%d,%s,city %d"):format(prefix, i, i % 3 == 0 and "" or "m", i % 7)
    end))
    assert_run(0, { "set", "-q", "before.csv" })
    write("users.csv", csv(1, count, function(i)
      return ("%s%d,f,%s"):format(prefix, i, i % 2 == 0 and "" or "town " .. i)
    end))
    command.server:reset()
  end

  it("shows what would change, and sends nothing that changes anything", function()
    write("before.csv", "To_Account,sex,city\na1,m,Osaka\na2,f,Kobe\na3,m,\na5,,Nara\n")
    assert_run(0, { "set", "-q", "before.csv" })
    command.server:reset()
    write("users.csv", ("To_Account,sex,city\na1,m,Kyoto\na2,f,Kobe\na3,,Ise\na4,f,Oita\na6,%s,x\n"
      .. 'a1,f,\na"7,m,x\na5,,Nara\n'):format(("v"):rep(51)))
    local output = assert_run(2, { "plan", "users.csv", "-o", "plan", "--rate", "100" })
    assert.are.equal([[
plan for 7 users of users.csv
  unchanged         2   28.6%
  change            3   42.9%
       3  city
       2  sex
  failed            2   28.6%
       1  BARE_QUOTE      a quote inside a field that is not quoted  (line 8)
       1  VALUE_TOO_LONG  value of "sex": 51 bytes, limit 50  (line 6)
  requests          1  about 0.01 s at 100/s
for example
  a1: city: Osaka -> Kyoto, sex: m -> f
  a3: city: (none) -> Ise
  a4: city: (none) -> Oita, sex: (none) -> f
to do it:
  imattr apply plan
]], output.stderr)
    assert.are.same({ { 0, 0 }, { 1, 5 } }, { stats "set_attr", stats "get_attr" })
    assert.are.equal("{}", ask "SELECT present FROM users WHERE account = 'a3'")
    assert.are.equal("BARE_QUOTE,VALUE_TOO_LONG",
      ask "SELECT group_concat(code) FROM (SELECT code FROM failures ORDER BY code)")
  end)

  it("fits a terminal, and is coloured there", function()
    if not pty.is_here() then return pending("script (util-linux) is not here") end
    write("before.csv", "To_Account,city\nw1,Osaka\nw2,Kobe\n")
    assert_run(0, { "set", "-q", "before.csv" })
    write("users.csv", 'To_Account,city\nw1,"Kyoto, the old capital of Japan"\nw2,Kobe\nw3\n')
    local function shown(columns, words)
      local output = pty.run(command.line(words), columns, command.place { TERM = "xterm",
        NO_COLOR = false, LC_ALL = "C.UTF-8" })
      command.assert_no_secret { stdout = output.shown, stderr = "" }
      local colours = { ["0"] = "}", ["1"] = "{", ["31"] = "{", ["32"] = "{", ["2"] = "{" }
      return timeless((pty.left(output.shown):gsub("\27%[(%d+)m", colours)))
    end
    assert.are.equal([[
{plan for 3 users of users.csv}
  {unchanged}         1   33.3%
  {change   }         1   33.3%
       1  city
  {failed   }         1   33.3%
       1  SHORT_ROW
          1 column, header has 2
          {(line 4)}
  requests          1  without a limit
                       on the rate
for example
  w1: city: Osaka -> Kyoto, the old
    capital of Japan
to do it:
  imattr apply plan
]], shown(40, { "plan", "users.csv", "-o", "plan" }))
    assert.are.equal([[
{2 users read back}
  {as wanted}         1   50.0%
  {different}         1   50.0%
       1  city
  requests          1  TIME
for example
  w1: city: Osaka -> Kyoto, the old capital of Japan
]], shown(80, { "verify", "plan" }))
    assert.are.equal([[
{1 user in TIME}
  {done    }          1    100%
  requests          1  N/s
to take it back:
  imattr undo plan
]], (shown(80, { "apply", "plan" }):gsub("in [%d.]+ s}", "in TIME}")))
  end)

  it("tells the same as JSON", function()
    write("users.csv", "To_Account,city\nj1,Kobe\nj2\n")
    local output = assert_run(2, { "plan", "users.csv", "-o", "plan", "--json", "-q" })
    assert.are.equal("", output.stderr)
    assert.are.equal('{"plan":"plan","users":2,"change":1,"unchanged":0,"failed":1,"attributes":['
      .. '{"name":"city","users":1}],"samples":[{"account":"j1","change":"city: (none) -> Kobe"}],'
      .. '"reasons":[{"code":"SHORT_ROW","fate":"invalid","users":1,"line":3,"message":'
      .. '"1 column, header has 2"}],"requests":1,"error":null}\n', output.stdout)
  end)

  it("of what is there already ends with 0, and no request sets anything", function()
    set_users("b", 250)
    assert_run(0, { "plan", "before.csv", "-o", "plan", "-q" })
    local output = assert_run(0, { "apply", "plan" })
    assert.are.equal("imattr: plan: nothing to do\n", output.stderr)
    assert.are.same({ { 0, 0 }, { 3, 250 } }, { stats "set_attr", stats "get_attr" })
    assert.are.equal("imattr: plan: nothing of it was applied\n",
      assert_run(0, { "undo", "plan" }).stderr)
  end)

  it("of nobody ends with 0", function()
    write("users.csv", "To_Account,sex,city\n")
    local output = assert_run(0, { "plan", "users.csv" })
    assert.are.equal("plan for 0 users of users.csv\n  unchanged         0\n  change            0\n"
      .. "  requests          0  without a limit on the rate\n", output.stderr)
    assert.are.same({ 0, 0 }, stats "get_attr")
    assert_run(0, { "apply", "users.csv.plan" })
    assert_run(0, { "verify", "users.csv.plan" })
  end)

  it("knows the app's names before it asks about anybody", function()
    write("users.csv", "To_Account,sxe\nn1,m\n")
    local output = assert_run(65, { "plan", "users.csv", "-o", "plan" })
    assert.are.equal("imattr: users.csv: header: not registered with the app: sxe (did you mean "
      .. "sex?); there are: sex, city (imattr names set adds one)\n", output.stderr)
    write("users.ndjson", '{"To_Account":"n1","Attrs":{"sxe":"m"}}\n'
      .. '{"To_Account":"n2","Attrs":{"sex":"f"}}\n')
    output = assert_run(2, { "plan", "users.ndjson" })
    assert.truthy(output.stderr:find("1  NAME_UNKNOWN", 1, true), output.stderr)
    assert.are.same({ 1, 1 }, stats "get_attr")
  end)

  it("is applied and taken back: then all users are exactly as they were", function()
    set_users("c", 1250)
    local before = stored "users.csv"
    assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
    local output = assert_run(0, { "apply", "plan" })
    assert.are.equal("1,250 users in TIME\n  done          1,250    100%\n"
      .. "  requests         13  N/s\nto take it back:\n  imattr undo plan\n",
      timeless(output.stderr))
    assert.are.same({ 13, 1250 }, stats "set_attr")
    assert.are_not.equal(before, stored "users.csv")
    assert_run(0, { "verify", "plan" })
    assert_run(0, { "verify", "users.csv" })
    assert_run(2, { "verify", "before.csv", "-q" })
    output = assert_run(0, { "undo", "plan" })
    assert.truthy(output.stderr:find("\n  done          1,250    100%\n", 1, true), output.stderr)
    assert.are.equal(before, stored "users.csv")
    assert.truthy(assert_run(0, { "verify", "plan" }).stderr:find("as before     1,250", 1, true))
    assert.are.equal("imattr: plan: all is undone\n", assert_run(0, { "undo", "plan" }).stderr)
    assert.are.equal("imattr: plan: was undone; make a new plan\n",
      assert_run(65, { "apply", "plan" }).stderr)
    assert.are.equal("undone", ask "SELECT group_concat(DISTINCT state) FROM users")
  end)

  it("sends what differs and nothing else, and gives back what it read", function()
    write("users.csv", "To_Account,sex,city\nm1,m,Osaka\nm2,f,Kobe\n")
    assert_run(0, { "set", "-q", "users.csv" })
    write("wanted.csv", "To_Account,sex,city\nm1,m,Nara\nm2,f,Kobe\n")
    assert_run(2, { "plan", "-q", "wanted.csv", "-o", "plan" })
    write("moved.csv", "To_Account,sex,city\nm1,x,Ise\nm2,x,Oita\n") -- by somebody else
    assert_run(0, { "set", "-q", "moved.csv" })
    command.server:reset()
    assert_run(0, { "apply", "-q", "plan" })
    assert.are.same({ 1, 1 }, stats "set_attr")
    assert.are.equal('{"To_Account":"m1","Attrs":{"city":"Nara","sex":"x"}}\n'
      .. '{"To_Account":"m2","Attrs":{"city":"Oita","sex":"x"}}\n', stored "users.csv")
    local output = assert_run(2, { "verify", "plan" })
    assert.are.equal([[
2 users read back
  as wanted         0    0.0%
  different         2    100%
       2  sex
       1  city
  requests          1  TIME
for example
  m1: sex: x -> m
  m2: city: Oita -> Kobe, sex: x -> f
]], timeless(output.stderr))
    assert_run(0, { "undo", "-q", "plan" })
    assert.are.equal('{"To_Account":"m1","Attrs":{"city":"Osaka","sex":"x"}}\n'
      .. '{"To_Account":"m2","Attrs":{"city":"Oita","sex":"x"}}\n', stored "users.csv")
  end)

  it("is verified by a sample too", function()
    set_users("d", 300)
    assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
    command.server:reset()
    for _, name in ipairs { "plan", "users.csv" } do
      local output = assert_run(2, { "verify", name, "--sample", "150", "--json", "-q" })
      local report = cjson.decode(output.stdout)
      assert.are.same({ 150, 150, 0 }, { report.users, report.different, report.as_wanted })
    end
    assert.are.same({ 4, 300 }, stats "get_attr")
    assert.are.equal(64, run({ "verify", "plan", "--sample", "0" }).code)
  end)

  it("removes attributes where the input says so, and undo sets them again", function()
    set_users("x", 300)
    local before = stored "users.csv"
    write("wanted.csv", csv(1, 300, function(i)
      return ("x%d,%s,%s"):format(i, i % 2 == 0 and "NULL" or "f", i % 5 == 0 and "" or "NULL")
    end))
    local output = assert_run(2, { "plan", "wanted.csv", "-o", "plan", "--null", "NULL" })
    assert.truthy(output.stderr:find("\n  requests          5  ", 1, true), output.stderr)
    assert_run(0, { "apply", "-q", "plan" })
    assert.are.same({ { 2, 150 }, { 3, 260 } }, { stats "set_attr", stats "remove_attr" })
    assert.are.equal('{"To_Account":"x1","Attrs":{"sex":"f"}}\n'
      .. '{"To_Account":"x2","Attrs":{}}\n', command.stored("x1", "x2"))
    assert_run(0, { "verify", "-q", "plan" })
    assert_run(0, { "verify", "-q", "--null", "NULL", "wanted.csv" })
    assert_run(0, { "undo", "-q", "plan" })
    assert.are.equal(before, stored "users.csv")
  end)

  it("reads what imattr set reads", function()
    write("e.csv", "stadt;uid\nNara;e1\n")
    process.run { "gzip", command.path "e.csv" }
    local columns = "account=uid,city=stadt"
    assert_run(2, { "plan", "-q", "--delimiter", ";", "--columns", columns, "e.csv.gz" })
    assert_run(0, { "apply", "-q", "e.csv.gz.plan" })
    assert_run(0, { "verify", "--delimiter", ";", "--columns", columns, "e.csv.gz" })
    assert.are.equal('{"To_Account":"e1","Attrs":{"city":"Nara"}}\n', command.stored "e1")
  end)

  describe("that is killed", function()
    local PLAN, APPLY, UNDO = { "plan", "-q", "--rate", "40", "users.csv", "-o", "plan" },
      { "apply", "-q", "--rate", "40", "plan" }, { "undo", "-q", "--rate", "40", "plan" }
    local REPEATED = 1000 -- users in flight at this pace, and some more

    before_each(function() command.server:settings { latency_ms = 20 } end)

    it("while it is made goes on, and asks nobody twice but those in flight", function()
      set_users("f", 6000)
      for _ = 1, 2 do kill(start(PLAN, "get_attr", 6)) end
      local output = assert_run(65, { "apply", "plan" })
      assert.are.equal("imattr: plan: a plan that is not finished; to go on:\n  imattr plan "
        .. command.path("users.csv") .. " -o plan\n", output.stderr)
      assert_run(2, PLAN)
      assert.is_true(stats("get_attr")[2] <= 6000 + 2 * REPEATED, stats("get_attr")[2])
      assert.are.equal(6000, ask "SELECT count(*) FROM users WHERE state = 'change'")
      assert.are.same({ 0, 0 }, stats "set_attr")
    end)

    it("while it is applied, and while it is taken back, loses nobody", function()
      set_users("g", 6000)
      local before = stored "users.csv"
      assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
      for _ = 1, 2 do kill(start(APPLY, "set_attr", 6)) end
      assert_run(0, APPLY)
      assert.is_true(stats("set_attr")[2] <= 6000 + 2 * REPEATED, stats("set_attr")[2])
      assert_run(0, { "verify", "-q", "plan" })
      assert_run(0, { "verify", "-q", "users.csv" })
      kill(start(UNDO, "set_attr", 6))
      kill(start(UNDO, "remove_attr", 5))
      assert_run(0, UNDO)
      assert.is_true(before == stored "users.csv")
      assert.is_true(stats("set_attr")[2] <= 12000 + 4 * REPEATED, stats("set_attr")[2])
    end)

    it("in the middle of an apply is taken back: whoever may have been sent, and nobody else",
      function()
        set_users("h", 6000)
        local before = stored "users.csv"
        assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
        kill(start(APPLY, "set_attr", 6))
        assert.is_true(before ~= stored "users.csv")
        local sent_to = ask "SELECT value FROM job WHERE name = 'sent_to'"
        assert.is_true(sent_to >= 1000 and sent_to <= 4000, sent_to)
        command.server:reset()
        assert_run(0, { "undo", "-q", "plan" })
        assert.is_true(before == stored "users.csv")
        assert.is_true(stats("set_attr")[2] <= sent_to)
        assert.are.equal(65, run({ "apply", "plan" }).code)
        assert_run(0, { "verify", "-q", "plan" })
      end)
  end)

  it("is stopped in order by Ctrl-C, tells SIGUSR1 how far it is, and goes on", function()
    set_users("i", 3000)
    assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
    command.server:settings { latency_ms = 50 }
    local job = start({ "apply", "--rate", "10", "plan" }, "set_attr", 3)
    job:kill("USR1")
    assert(process.wait_until(function()
      return job:read("stderr"):find("imattr: [%d,]+ of 3,000 users\n")
    end, 10), job:read("stderr"))
    assert.are.same({ 66, "imattr: plan: another process works on it\n" }, { run({ "verify",
      "plan" }).code, run({ "undo", "plan" }).stderr })
    job:kill("INT")
    local code = job:wait(20).code
    local words = job:read("stderr")
    job:close()
    assert.are.equal(75, code, words)
    assert.truthy(words:find("\nto go on:\n  imattr apply plan\n", 1, true), words)
    command.server:settings { latency_ms = 0 }
    assert_run(0, { "apply", "-q", "plan" })
    assert.are.equal(3000, stats("set_attr")[2]) -- each once
  end)

  it("says who was refused, and undo has nothing to give back to them", function()
    command.server:settings { attr_names = { "sex", "city" } }
    write("users.csv", "To_Account,sex,city\nk1,m,x\nk2,m,\n")
    assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
    command.server:settings { attr_names = { "sex", "town" } } -- city is no more
    local output = assert_run(2, { "apply", "plan", "--json", "-q" })
    local report = cjson.decode(output.stdout)
    assert.are.same({ 2, 1, 1, "90033", "k1" }, { report.users, report.done, report.refused,
      report.failures[1].code, report.failures[1].account })
    assert.are.equal("k1", ask "SELECT account FROM failures WHERE step = 'apply'")
    assert.are.equal("imattr: plan: all is over, some users failed\n",
      assert_run(2, { "apply", "plan" }).stderr)
    output = assert_run(0, { "undo", "plan", "--json", "-q" })
    assert.are.equal(1, cjson.decode(output.stdout).done)
    command.server:settings { attr_names = { "sex", "city" } }
  end)

  it("takes who is left out of an answer for somebody without attributes, but not who is refused",
    function()
      local server = impostor.start {}
      finally(function() server:stop() end)
      local head = '{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"",'
      server:says { { body = head .. '"AttrNames":{"0":"sex","1":"city"}}' },
        { body = head .. '"UserAttrs":[{"To_Account":"p1","Attrs":{"city":"x","sex":5}},{'
          .. '"To_Account":"stranger","Attrs":{"city":"y"}},{"To_Account":"p4"}],"ErrorList":[{'
          .. '"To_Account":"p3","ErrorCode":70107}]}' } }
      write("users.csv", "To_Account,city,sex\np1,x,5\np2,x,\np3,x,\np4,x,\n")
      local output = run({ "plan", "users.csv", "-o", "plan" }, { env = { IMATTR_ENDPOINT =
        server.endpoint } })
      assert.are.equal(2, output.code)
      assert.are.equal([[
plan for 4 users of users.csv
  unchanged         1   25.0%
  change            2   50.0%
       2  city
  failed            1   25.0%
       1  70107  the account is not known: not imported, or never logged in  (line 4)
  requests          1  without a limit on the rate
for example
  p2: city: (none) -> x
  p4: city: (none) -> x
to do it:
  imattr apply plan
]], (output.stderr:gsub("70107  .-  %(", "70107  the account is not known: not imported, or never "
        .. "logged in  (")))
    end)

  it("refuses what does not go with it", function()
    write("users.csv", "To_Account,sex\nr1,m\n")
    write("other.csv", "To_Account,sex\nr1,f\n")
    assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
    local own, app = command.path("users.csv"), { "--sdkappid", "7" }
    local cases = {
      { 64, { "plan", "-" }, "plan: wants a file, which is still there when the plan is applied" },
      { 66, { "plan", "none.csv" }, "none.csv: No such file or directory" },
      { 65, { "plan", "/dev/null" }, "/dev/null: input is empty" },
      { 74, { "plan", "users.csv", "-o", "plan" },
        "plan: there is a plan already; take the file away, or name another" },
      { 74, { "plan", "users.csv", "-o", "users.csv" }, "users.csv: File exists" },
      { 74, { "plan", "users.csv", "-o", "no/plan" }, "no/plan: No such file or directory" },
      { 65, { "apply", "plan", app[1], app[2] }, "plan: a plan of the app 7, not of 1400000321" },
      { 65, { "undo", "plan", app[1], app[2] }, "plan: a plan of the app 7, not of 1400000321" },
      { 65, { "verify", "plan", app[1], app[2] }, "plan: a plan of the app 7, not of 1400000321" },
      { 66, { "apply", "none" }, "none: No such file or directory" },
      { 65, { "apply", "other.csv" }, "other.csv: file is not a database" },
      { 65, { "undo", "users.csv.imattr" },
        "users.csv.imattr: not a plan, or one of another version of imattr" },
      { 66, { "verify", "none" }, "none: No such file or directory" },
    }
    assert_run(0, { "set", "-q", "--job", "users.csv" })
    for _, case in ipairs(cases) do
      local output = run(case[2])
      local wanted = case[3]:gsub("the app 7, not of 1400000321", "the app 1400000321, not of 7")
      assert.are.same({ case[1], "imattr: " .. wanted .. "\n" }, { output.code, output.stderr })
    end
    assert.are.same({ 1, 1 }, stats "set_attr") -- of the job
    write("users.csv", "To_Account,sex\nr1,mm\n")
    local output = run { "apply", "plan" }
    assert.are.same({ 65, ("imattr: %s: changed since the plan began (size); begin a new plan, or "
      .. "put the old file back\n"):format(own) }, { output.code, output.stderr })
    os.remove(own)
    assert.are.equal(("imattr: %s: No such file or directory\n"):format(own),
      assert_run(65, { "apply", "plan" }).stderr)
  end)

  it("that was begun for another input is not gone on with", function()
    set_users("o", 500)
    command.server:settings { latency_ms = 500 }
    kill(start({ "plan", "-q", "users.csv", "-o", "plan" }, "get_attr", 1))
    command.server:settings { latency_ms = 0 }
    local output = assert_run(65, { "plan", "before.csv", "-o", "plan" })
    assert.are.equal(("imattr: plan: a plan of %s, not of before.csv\n"):format(
      command.path("users.csv")), output.stderr)
    write("users.csv", (read "users.csv"):gsub("town", "Town"))
    output = assert_run(65, { "plan", "users.csv", "-o", "plan" })
    assert.truthy(output.stderr:find("changed since the plan began (time)", 1, true))
  end)

  it("leaves with the key wrong, or nobody there, as other verbs do", function()
    write("users.csv", "To_Account,sex\ns1,f\n")
    assert_run(2, { "plan", "-q", "users.csv", "-o", "plan" })
    for code, env in pairs { [77] = { IMATTR_KEY = command.KEY:reverse() },
      [69] = { IMATTR_ENDPOINT = "https://127.0.0.1:1" } } do
      for _, words in ipairs { { "plan", "users.csv", "-o", "new" }, { "apply", "plan" },
        { "verify", "users.csv" }, { "verify", "plan" } } do
        local output = run(words, { env = env })
        assert.are.equal(code, output.code, words[1] .. ": " .. output.stderr)
        os.remove(command.path "new")
      end
    end
    assert_run(0, { "apply", "-q", "plan" })
  end)

  it("stops when the disk is full, and goes on when there is room", function()
    set_users("t", 6000)
    local place = command.path "small"
    local mounted = process.run { "sh", "-c",
      ("mkdir %s && mount -t tmpfs -o size=8m none %s"):format(place, place) }
    if mounted.code ~= 0 then return pending("no right to mount: " .. mounted.stderr) end
    finally(function() process.run { "umount", place } end)
    local words = { "plan", "--rate", "20", "users.csv", "-o", "small/plan" }
    local job = start(words, "get_attr", 2)
    process.run { "sh", "-c", ("head -c 9m /dev/zero >%s/ballast"):format(place) }
    local output = assert(job:wait(10))
    job:close()
    assert.are.equal(74, output.code, output.stderr)
    assert.truthy(output.stderr:find("imattr: small/plan: database or disk is full\nthe plan is "
      .. "not finished; to go on:\n  imattr plan users.csv -o small/plan\n", 1, true),
      output.stderr)
    os.remove(place .. "/ballast")
    assert_run(2, { "plan", "-q", "users.csv", "-o", "small/plan" })
    assert_run(0, { "apply", "-q", "small/plan" })
    assert_run(0, { "verify", "-q", "users.csv" })
  end)
end)
