-- imattr open: what it tells about a UserSig. It needs no server: there is none here.
local process = require "support.process"
local shell = require "imattr.sandbox.shell"
local sign = require("imattr").usersig.sign

local KEY = ("5ecret0123456789"):rep(4)
local TREE = shell.output("pwd")
local INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4"
local MADE_S = 1700000000 -- 2023-11-14 22:13:20 UTC

describe("imattr open #slow", function()
  local folder

  setup(function() folder = shell.output("mktemp -d") end)
  teardown(function() shell.remove_folder(folder) end)

  -- Runs it with the network out of reach: whatever it asked for would fail.
  local function run(words, stdin, env)
    local argv = { INTERPRETER, TREE .. "/lua/bin/imattr", "open" }
    for _, word in ipairs(words) do argv[#argv + 1] = word end
    local place = { cwd = folder, stdin = stdin, env = { XDG_CONFIG_HOME = folder, IMATTR_KEY = KEY,
      IMATTR_KEY_FILE = false, IMATTR_PROFILE = false, IMATTR_ENDPOINT = "https://127.0.0.1:1" } }
    for name, value in pairs(env or {}) do place.env[name] = value end
    local output = process.run(argv, place)
    assert.is_nil((output.stdout .. output.stderr):find(KEY, 1, true))
    return output
  end

  local function signed(changes)
    local fields = { sdkappid = 1400000321, identifier = "xiaojun012", key = KEY, time = MADE_S,
      expire = 3600 }
    for name, value in pairs(changes or {}) do fields[name] = value end
    return assert(sign(fields))
  end

  it("shows who, which app and when", function()
    local output = run { signed() }
    assert.are.equal("", output.stderr)
    local shown = output.stdout:gsub("%([%d,]+ days ago%)", "(... ago)")
    assert.are.equal("identifier  xiaojun012\nsdkappid    1400000321\n"
      .. "made        2023-11-14 22:13:20 UTC (... ago)\n"
      .. "ended       2023-11-14 23:13:20 UTC (... ago)\n", shown)
    assert.are.equal(0, output.code)
  end)

  it("shows how long is left", function()
    local output = run { signed { time = os.time() - 60, expire = 10 * 86400, userbuf = "YWJj" } }
    assert.truthy(output.stdout:find("\nends +%d+%-%d%d%-%d%d [%d:]+ UTC %(in 9 days%)\n"),
      output.stdout)
    assert.truthy(output.stdout:find("made +[^\n]* %(%d min %d%d s ago%)\n"), output.stdout)
    assert.truthy(output.stdout:find("\nuserbuf +YWJj\n"), output.stdout)
  end)

  it("reads standard input, where nobody sees it", function()
    assert.truthy(run({ "-" }, signed() .. "\n").stdout:find("^identifier  xiaojun012\n"))
    local empty = run({ "-" }, "\n")
    assert.are.equal("imattr: standard input: empty, wants a UserSig\n", empty.stderr)
    assert.are.equal(65, empty.code)
  end)

  it("prints one object when asked to", function()
    assert.truthy(run({ "--json", signed() }).stdout:find(
      '^{"identifier":"xiaojun012","sdkappid":1400000321,"time":1700000000,"expire":3600,'
      .. '"seconds_left":%-%d+}\n$'))
    local output = run { "--json", "--check", signed { time = os.time() } }
    assert.truthy(output.stdout:find('"holds":true}\n$'), output.stdout)
    local bad = run { "--json", "--check", signed() }
    assert.truthy(bad.stdout:find('"holds":false,"fault":"the UserSig expired %d+ seconds '
      .. 'ago"}\n$'), bad.stdout)
  end)

  it("makes an account safe to look at", function()
    assert.truthy(run({ signed { identifier = "a\27[2J" } }).stdout:find("a\\x1B[2J\n", 1, true))
  end)

  it("shows a time that no calendar has as a number", function()
    local output = run { signed { time = 2 ^ 40, expire = 2 ^ 40 } }
    assert.truthy(output.stdout:find("\nmade +1099511627776\nends +2199023255552\n"),
      output.stdout)
  end)

  describe("with --check", function()
    it("says that it holds", function()
      local output = run { "--check", signed { time = os.time() } }
      assert.truthy(output.stdout:find("\nholds +yes\n$"), output.stdout)
      assert.are.equal(0, output.code)
    end)

    it("takes the key from a file, a command and a profile", function()
      local file = assert(io.open(folder .. "/key", "w"))
      file:write(KEY, "\n")
      file:close()
      shell.run("chmod 600 " .. folder .. "/key; mkdir -p " .. folder .. "/imattr")
      file = assert(io.open(folder .. "/imattr/mine.conf", "w"))
      file:write("key_file = ../key\n")
      file:close()
      local sig, no_key = signed { time = os.time() }, { IMATTR_KEY = false }
      for _, words in ipairs { { "--key-file", "key" }, { "--key-command", "cat key" },
        { "--profile", "mine" } } do
        local output = run({ "--check", sig, words[1], words[2] }, nil, no_key)
        assert.are.equal("", output.stderr)
        assert.truthy(output.stdout:find("\nholds +yes\n$"), output.stdout)
        local wrong = run({ "--check", signed { time = os.time(), key = "other" }, words[1],
          words[2] }, nil, no_key)
        assert.are.equal(77, wrong.code)
      end
    end)

    local faults = {
      { { key = "another" }, "no: the UserSig was not signed with this key" },
      { {}, "no: the UserSig expired %d+ seconds ago" },
    }
    for _, case in ipairs(faults) do
      it("ends with 77: " .. case[2], function()
        local output = run { "--check", signed(case[1]) }
        assert.truthy(output.stdout:find("\nholds +" .. case[2] .. "\n$"), output.stdout)
        assert.are.equal(77, output.code)
      end)
    end

    it("needs a key", function()
      local output = run({ "--check", signed() }, nil, { IMATTR_KEY = false })
      assert.are.equal(78, output.code)
      assert.truthy(output.stderr:find("^imattr: set%-up is missing: key\n"), output.stderr)
    end)
  end)

  it("ends with 77 for what is no UserSig", function()
    for _, sig in ipairs { "x", "eJw", signed():sub(1, -9), ("A"):rep(100000) } do
      local output = run({ "-" }, sig)
      assert.are.equal("imattr: the UserSig cannot be read; it may be cut or not be one\n",
        output.stderr)
      assert.are.equal(77, output.code)
    end
  end)
end)
