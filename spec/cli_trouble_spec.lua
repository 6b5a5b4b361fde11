-- The command in trouble: every exit code, Ctrl-C, and what it draws on a terminal, as real
-- processes against a sandbox.
local command = require "support.command"
local process = require "support.process"

local KEY = command.KEY
local run, run_set, write, read = command.run, command.run_set, command.write, command.read

describe("imattr #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  describe("trouble", function()
    local ONE = "To_Account,sex\na,m\n"

    it("with the network ends with 69", function()
      write("users.csv", ONE)
      local output = run({ "set", "users.csv" }, { env = { IMATTR_ENDPOINT =
        "https://127.0.0.1:1" } })
      assert.are.equal(69, output.code)
      assert.truthy(output.stderr:find("nothing was set; to begin again:\n  imattr set users.csv\n",
        1, true) or output.stderr:find("to send them:", 1, true), output.stderr)
      assert.are.equal(69, run({ "get", "a" }, { env = { IMATTR_CA_FILE = false } }).code)
    end)

    it("with the key ends with 77, with the region with 78", function()
      write("users.csv", ONE)
      for _, words in ipairs { { "set", "users.csv" }, { "get", "a" } } do
        local output = run(words, { env = { IMATTR_KEY = KEY:reverse() } })
        assert.are.equal(77, output.code, output.stderr)
        assert.is_nil(output.stderr:find(KEY:reverse(), 1, true))
        command.server:settings { region_ok = false }
        assert.are.equal(78, run(words).code)
        command.server:settings { region_ok = true }
      end
    end)

    it("with the rejects file ends with 74", function()
      local output = run_set("To_Account,sex\na\nb,m\n", "--rejects", "no/such/folder.csv")
      assert.truthy(output.stderr:find("imattr: rejects: no/such/folder.csv: No such file", 1,
        true), output.stderr)
      assert.are.equal(74, output.code)
      local full = run_set("To_Account,sex\na\nb,m\n", "--rejects", "/dev/full")
      assert.truthy(full.stderr:find("No space left on device", 1, true), full.stderr)
      assert.are.equal(74, full.code)
    end)

    it("with standard output ends with 74", function()
      for _, words in ipairs { "get a", "sign", "set --json -q users.csv", "--help" } do
        write("users.csv", ONE)
        local output = process.run({ "sh", "-c", ("%s %s/lua/bin/imattr %s >/dev/full"):format(
          command.INTERPRETER, command.TREE, words) }, command.place())
        assert.are.equal(74, output.code, words)
      end
    end)

    it("of its own is a bug: 70, one sentence, and no key", function()
      local errors, fake = {}, { stdout = io.stdout }
      fake.stderr = { write = function(_, ...) errors[#errors + 1] = table.concat { ... } end }
      local get = require "imattr.cli.get"
      local before = get.run
      get.run = function() error("boom\27 usersig=eJwabc&x") end
      local code = require("imattr.cli.main").run({ "get", "a" }, fake)
      get.run = before
      assert.are.equal(70, code)
      assert.truthy(table.concat(errors):find("^imattr: bug: .*boom\\x1B usersig=REDACTED&x; "
        .. "IMATTR_DEBUG=1 shows where\n$"), table.concat(errors))
    end)

    it("of an unknown kind ends with 1", function()
      local exit = require "imattr.cli.exit"
      assert.are.equal(1, exit.of { class = "caller" })
    end)
  end)

  describe("Ctrl-C", function()
    -- Starts a run that takes long; calls `act` with it once requests are under way.
    local function interrupt(signals)
      command.server:settings { latency_ms = 300 }
      local rows = { "To_Account,sex" }
      for number = 1, 60000 do rows[#rows + 1] = ("c%d,m"):format(number) end
      write("users.csv", table.concat(rows, "\n"))
      local job = process.start(command.line { "set", "users.csv" },
        command.place { IMATTR_RATE = "20" })
      process.wait_until(function()
        local set = command.server:stats().commands.im_set_attr
        return set and set.arrivals > 2
      end)
      for _ = 1, signals do
        job:kill("INT")
        process.wait_until(function() return job:read("stderr"):find("stopping", 1, true) end, 2)
      end
      local output = assert(job:wait(20))
      job:close()
      command.assert_no_secret(output)
      return output
    end

    it("waits for what is in flight and says how to go on", function()
      local output = interrupt(1)
      assert.are.equal(75, output.code)
      assert.truthy(output.stderr:find("imattr: stopping; what is in flight is waited for, "
        .. "Ctrl-C again aborts\n", 1, true), output.stderr)
      local line = tonumber(output.stderr:match("imattr set %-%-from%-line (%d+) users.csv"))
      local done = output.stderr:match("  done +([%d,]+)"):gsub(",", "")
      local _, rejected = (read("users.csv.rejects.csv") or "\n"):gsub("\n", "")
      assert.are.equal(line - 2, tonumber(done) + rejected - 1)
      assert.is_nil(output.stderr:find("unknown", 1, true))
    end)

    it("aborts at the second one, and writes down what is not known", function()
      local output = interrupt(2)
      assert.are.equal(75, output.code)
      assert.truthy(output.stderr:find("imattr: aborted\n", 1, true), output.stderr)
      assert.truthy(read("users.csv.rejects.csv"):find(",ABORTED,", 1, true))
    end)
  end)

  it("shows a progress line on a terminal, and none elsewhere", function()
    local script = process.run { "script", "--version" }
    if script.code ~= 0 then return pending "script is not here" end
    command.server:settings { latency_ms = 300 }
    write("users.csv", "To_Account,sex\n" .. ("t,m\n"):rep(50) .. "u,m\n")
    local line = table.concat(command.line { "set", "users.csv" }, " ")
    local output = process.run({ "script", "-qec", "stty cols 60; " .. line, "/dev/null" },
      command.place { TERM = "xterm", NO_COLOR = false })
    assert.are.equal(0, output.code, output.stdout)
    assert.truthy(output.stdout:find("\r\27%[K[^\n]*users"), output.stdout)
  end)
end)
