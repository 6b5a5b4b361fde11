-- The command as a user meets it: help, mistakes, set-up, get and sign, as real processes against
-- a sandbox.
local command = require "support.command"
local process = require "support.process"

local KEY, SDKAPPID = command.KEY, command.SDKAPPID
local run, run_set, write, path = command.run, command.run_set, command.write, command.path

describe("the command #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  describe("without a verb", function()
    it("shows its version", function()
      local output = run { "--version" }
      assert.are.equal("imattr " .. require("imattr").VERSION .. "\n", output.stdout)
      assert.are.equal(0, output.code)
    end)

    it("shows help that begins with examples", function()
      for _, words in ipairs { { "--help" }, { "set", "--help" }, { "get", "-h" },
        { "names", "--help" }, { "names", "set", "--help" }, { "sign", "--help" },
        { "open", "-h" }, { "doctor", "-h" }, { "config", "-h" }, { "config", "show", "-h" },
        { "completion", "-h" }, { "man", "-h" }, { "plan", "-h" }, { "apply", "-h" },
        { "verify", "-h" }, { "undo", "-h" }, { "remove", "-h" }, { "resume", "-h" },
        { "status", "-h" }, { "sandbox", "-h" } } do
        local output = run(words)
        assert.are.equal(0, output.code)
        assert.are.equal("", output.stderr)
        assert.are.equal("Examples:\n  ", output.stdout:sub(1, 12))
        for line in output.stdout:gmatch("[^\n]+") do assert.is_true(#line <= 80, line) end
      end
    end)

    local mistakes = {
      { {}, "imattr: a verb is missing: set, remove, resume, status, plan, apply, verify, "
        .. "undo, get, names, sign, open, doctor, config, sandbox, completion, man; see imattr "
        .. "--help\n" },
      { { "sett" }, "imattr: unknown command 'sett' (did you mean 'set'?); see imattr --help\n" },
      { { "--verson" },
        "imattr: unknown option '--verson' (did you mean '--version'?); see imattr --help\n" },
      { { "set" }, "imattr: missing argument 'file'; see imattr set --help\n" },
      { { "set", "--dry-rnu", "x.csv" },
        "imattr: unknown option '--dry-rnu' (did you mean '--dry-run'?); see imattr set --help\n" },
      { { "set", "--key", "abc", "x.csv" },
        "imattr: unknown option '--key'; see imattr set --help\n" },
      { { "open", "a", "b" }, "imattr: too many arguments; see imattr open --help\n" },
      { { "set", "--format", "xml", "a.csv" },
        "imattr: argument for option '--format' must be one of 'csv', 'ndjson'; "
          .. "see imattr set --help\n" },
      { { "set", "--from-line", "x", "a.csv" },
        "imattr: --from-line: x, must be a line number; see imattr set --help\n" },
      { { "get" }, "imattr: missing argument 'accounts'; see imattr get --help\n" },
      { { "get", "--columns", "a,,b", "x" }, "imattr: --columns: a,,b: a name is empty or comes "
        .. "twice; see imattr get --help\n" },
      { { "names", "sett" }, "imattr: unknown command 'sett' (did you mean 'set'?); "
        .. "see imattr names --help\n" },
      { { "names", "set" }, "imattr: missing argument 'pairs'; see imattr names --help\n" },
      { { "config" }, "imattr: a command is required; see imattr config --help\n" },
      { { "completion", "csh" }, "imattr: argument 'shell' must be one of 'bash', 'zsh', 'fish'; "
        .. "see imattr completion --help\n" },
      { { "\27[2J" }, "imattr: unknown command '\\x1B[2J'; see imattr --help\n" },
    }
    for _, case in ipairs(mistakes) do
      it("answers " .. #case[1] .. " words with a sentence: " .. case[2]:sub(1, 50), function()
        local output = run(case[1])
        assert.are.equal(case[2], output.stderr)
        assert.are.equal("", output.stdout)
        assert.are.equal(64, output.code)
      end)
    end
  end)

  describe("set-up", function()
    it("says what is missing and how to give it", function()
      write("users.csv", "To_Account,sex\na,m\n")
      local output = run({ "set", "users.csv" }, { env = { IMATTR_SDKAPPID = false,
        IMATTR_KEY = false, IMATTR_ENDPOINT = false } })
      assert.are.equal(78, output.code)
      assert.are.equal([[
imattr: set-up is missing: sdkappid, key, region
  sdkappid    --sdkappid NUMBER or IMATTR_SDKAPPID: the app's SDKAppID
  key         IMATTR_KEY, or --key-file FILE, or --key-command COMMAND: the app's secret key
  region      --region NAME or IMATTR_REGION: where the app lives, as in singapore
]], output.stderr)
    end)

    local wrong = {
      { { "--sdkappid", "12x" }, nil, 64, "sdkappid: \"12x\", wants an integer (from --sdkappid)" },
      { { "--rate", "1001" }, nil, 64, "rate: 1001, wants 0 to 1000 (from --rate)" },
      { {}, { IMATTR_RATE = "-1" }, 78, "rate: \"-1\", wants an integer (from IMATTR_RATE)" },
      { {}, { IMATTR_REGION = "singapur" }, 78, "region: \"singapur\" is none of china, singapore, "
        .. "seoul, tokyo, frankfurt, silicon_valley, jakarta (did you mean singapore?) "
        .. "(from IMATTR_REGION)" },
      { { "--key-file", "none" }, nil, 78, "key file: none: No such file or directory" },
      { { "--key-command", "exit 3" }, nil, 78, "key command: exit status 3" },
      { { "--key-command", "true" }, nil, 78, "key command: printed nothing" },
      { { "--key-file", "k", "--key-command", "c" }, nil, 64,
        "option '--key-command' can not be used together with option '--key-file'; "
          .. "see imattr get --help" },
    }
    for index, case in ipairs(wrong) do
      it("refuses what is wrong, case " .. index, function()
        local words = { "get", "a" }
        for _, word in ipairs(case[1]) do words[#words + 1] = word end
        local output = run(words, { env = case[2] })
        assert.are.equal("imattr: " .. case[4] .. "\n", output.stderr)
        assert.are.equal(case[3], output.code)
      end)
    end

    it("takes flags before the environment", function()
      local words = { "get", "a", "--sdkappid", SDKAPPID, "--endpoint", command.server.endpoint }
      local output = run(words, { env = { IMATTR_SDKAPPID = "7", IMATTR_REGION = "china" } })
      assert.are.equal("", output.stderr)
      assert.are.equal(0, output.code)
    end)

    it("takes the key from a file, and warns when others can read it", function()
      write("key", KEY .. "\n")
      for _, case in ipairs { { "600", "" }, { "644", "imattr: warning: key file key is open to "
        .. "others (mode 0644); run\n  chmod 600 key\n" } } do
        process.run { "chmod", case[1], path("key") }
        local by_flag = run({ "get", "a", "--key-file", "key" }, { env = { IMATTR_KEY = false } })
        local by_env = run({ "get", "a" }, { env = { IMATTR_KEY = false,
          IMATTR_KEY_FILE = "key" } })
        for _, output in ipairs { by_flag, by_env } do
          assert.are.equal(case[2], output.stderr)
          assert.are.equal(0, output.code)
        end
      end
    end)

    it("takes the key from a command", function()
      write("key", KEY .. "\n")
      local output = run({ "get", "a", "--key-command", "cat key" }, { env = { IMATTR_KEY =
        "not this one" } })
      assert.are.equal("", output.stderr)
      assert.are.equal(0, output.code)
    end)
  end)

  describe("get", function()
    it("prints users in the order asked for, names in order", function()
      run_set("To_Account,sex,city\ng1,m,x\ng2,f,y\n")
      local output = run { "get", "g2", "g1", "g2", "nobody" }
      assert.are.equal('{"To_Account":"g2","Attrs":{"city":"y","sex":"f"}}\n'
        .. '{"To_Account":"g1","Attrs":{"city":"x","sex":"m"}}\n'
        .. '{"To_Account":"g2","Attrs":{"city":"y","sex":"f"}}\n'
        .. '{"To_Account":"nobody","Attrs":{}}\n', output.stdout)
      assert.are.equal(0, output.code)
    end)

    it("prints one object when asked to", function()
      run_set("To_Account,sex\ng3,m\n")
      assert.are.equal('{"UserAttrs":[{"To_Account":"g3","Attrs":{"sex":"m"}}],"failures":[]}\n',
        run({ "get", "--json", "g3" }).stdout)
    end)

    it("names accounts that have no answer", function()
      local output = run { "get", ("x"):rep(33), "a\27[2J" }
      assert.are.equal(2, output.code)
      assert.truthy(output.stderr:find("^imattr: x+: "), output.stderr)
      assert.is_nil(output.stderr:find("\27"))
    end)
  end)

  describe("sign", function()
    it("prints a UserSig that holds", function()
      local open = require("imattr").usersig.open
      local output = run({ "sign", "--identifier", "xiaojun012", "--expire", "3600" },
        { signs = true })
      assert.are.equal(0, output.code)
      assert.are.equal("", output.stderr)
      local fields = assert(open(output.stdout:match("^(%S+)\n$"), { key = KEY }))
      assert.are.equal("xiaojun012", fields.identifier)
      assert.are.equal(SDKAPPID, fields.sdkappid)
      assert.are.equal(3600, fields.expire)
    end)

    it("needs a key", function()
      local output = run({ "sign" }, { env = { IMATTR_KEY = false } })
      assert.are.equal(78, output.code)
      assert.truthy(output.stderr:find("^imattr: set%-up is missing: key\n"))
    end)
  end)

end)
