-- Profiles and imattr config show: which value wins, where it comes from, and what a profile may
-- not say. No server is needed.
local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local KEY = ("5ecret0123456789"):rep(4)
local TREE = shell.output("pwd")
local INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4"

describe("set-up #slow", function()
  local folder

  before_each(function()
    folder = shell.output("mktemp -d")
    shell.run("mkdir -p " .. folder .. "/config/imattr " .. folder .. "/me/.config/imattr")
  end)
  after_each(function() shell.remove_folder(folder) end)

  local function write(path, content)
    local file = assert(io.open(folder .. "/" .. path, "w"))
    file:write(content)
    file:close()
  end

  local function profile(name, content) write("config/imattr/" .. name .. ".conf", content) end

  local function run(words, env)
    local argv = { INTERPRETER, TREE .. "/lua/bin/imattr" }
    for _, word in ipairs(words) do argv[#argv + 1] = word end
    local place = { cwd = folder, env = { XDG_CONFIG_HOME = folder .. "/config",
      HOME = folder .. "/me" } }
    for _, name in ipairs { "SDKAPPID", "IDENTIFIER", "KEY", "KEY_FILE", "REGION", "ENDPOINT",
      "CA_FILE", "SERVICE", "RATE", "PROFILE" } do
      place.env["IMATTR_" .. name] = false
    end
    for name, value in pairs(env or {}) do place.env[name] = value end
    local output = process.run(argv, place)
    assert.is_nil((output.stdout .. output.stderr):find(KEY, 1, true))
    output.stdout = output.stdout:gsub(folder:gsub("%p", "%%%0"), "DIR")
    output.stderr = output.stderr:gsub(folder:gsub("%p", "%%%0"), "DIR")
    return output
  end

  -- The line of a value: "value  origin".
  local function shown(output, name)
    local value, origin = ("\n" .. output.stdout):match("\n" .. name .. " +(%S+)  +([^\n]+)")
    return value and value .. "  " .. origin
  end

  it("shows all values, and says that they are not set", function()
    local output = run { "config", "show" }
    assert.are.equal("", output.stderr)
    assert.are.equal([[
profile     default          DIR/config/imattr/default.conf, which is not there
sdkappid    -                not set
identifier  administrator    default
region      -                not set
endpoint    -                not set
service     all_member_push  default
ca_file     -                not set
rate        100              default
key         -                not set
]], output.stdout)
    assert.are.equal(0, output.code)
  end)

  it("shows where each value comes from", function()
    profile("default", "# ours\n\nsdkappid = 1400000321\r\n region=singapore \nrate = 50\n"
      .. "key_file = keys/chat\nca_file = ~/ca.pem")
    local output = run({ "config", "show", "--identifier", "bot" }, { IMATTR_RATE = "80" })
    assert.are.equal("", output.stderr)
    -- the width of the columns depends on where the folder is
    assert.are.equal([[
profile  default  DIR/config/imattr/default.conf
sdkappid  1400000321  DIR/config/imattr/default.conf:3
identifier  bot  --identifier
region  singapore  DIR/config/imattr/default.conf:4
endpoint  -  not set
service  all_member_push  default
ca_file  DIR/me/ca.pem  DIR/config/imattr/default.conf:7
rate  80  IMATTR_RATE
key_file  DIR/config/imattr/keys/chat  DIR/config/imattr/default.conf:6
]], (output.stdout:gsub("  +", "  ")))
  end)

  describe("goes by", function()
    -- The same value given in every way but the ones left out.
    local function given(without)
      profile("default", without.profile and "" or "rate = 30\n")
      local words = { "config", "show" }
      if not without.flag then words[#words + 1] = "--rate=10" end
      return shown(run(words, { IMATTR_RATE = not without.environment and "20" or false }), "rate")
    end

    it("flag, environment, profile, default, in this order", function()
      assert.are.equal("10  --rate", given {})
      assert.are.equal("20  IMATTR_RATE", given { flag = true })
      assert.are.equal("30  DIR/config/imattr/default.conf:1", given { flag = true,
        environment = true })
      assert.are.equal("100  default", given { flag = true, environment = true, profile = true })
    end)

    it("the same order for the key", function()
      profile("default", "key_command = pass show chat\n")
      write("k", KEY)
      local env = { IMATTR_KEY = KEY, IMATTR_KEY_FILE = "k" }
      local function key(words, changes)
        local output = run(words, changes)
        return shown(output, "key") or shown(output, "key_%a+")
      end
      assert.are.equal("k  --key-file", key({ "config", "show", "--key-file", "k" }, env))
      assert.are.equal("set  IMATTR_KEY", key({ "config", "show" }, env))
      assert.are.equal("k  IMATTR_KEY_FILE", key({ "config", "show" }, { IMATTR_KEY_FILE = "k" }))
      assert.truthy(run({ "config", "show" }).stdout:find(
        "\nkey_command +pass show chat +DIR/config/imattr/default.conf:1\n"))
    end)

    it("the stronger of region and endpoint", function()
      profile("default", "region = tokyo\n")
      local output = run({ "config", "show" }, { IMATTR_ENDPOINT = "https://a.b,https://c.d" })
      assert.are.equal("https://a.b,https://c.d  IMATTR_ENDPOINT", shown(output, "endpoint"))
      assert.are.equal("tokyo  DIR/config/imattr/default.conf:1; not used, endpoint goes first",
        shown(output, "region"))
      output = run({ "config", "show", "--region", "seoul" }, { IMATTR_ENDPOINT = "https://a.b" })
      assert.are.equal("https://a.b  IMATTR_ENDPOINT; not used, region goes first",
        shown(output, "endpoint"))
    end)
  end)

  describe("in another profile", function()
    before_each(function()
      profile("default", "rate = 30\n")
      profile("t-1.x", "rate = 31\n")
      profile("u", "rate = 32\n")
    end)

    it("is found by flag, then by environment", function()
      local env = { IMATTR_PROFILE = "u" }
      assert.are.equal("31  DIR/config/imattr/t-1.x.conf:1", shown(run({ "config", "show",
        "--profile", "t-1.x" }, env), "rate"))
      assert.are.equal("32  DIR/config/imattr/u.conf:1", shown(run({ "config", "show" }, env),
        "rate"))
      assert.are.equal("30  DIR/config/imattr/default.conf:1", shown(run({ "config", "show" },
        { IMATTR_PROFILE = "" }), "rate"))
    end)

    it("must be there when it is asked for", function()
      local output = run { "config", "show", "--profile", "none" }
      assert.are.equal("imattr: profile none: DIR/config/imattr/none.conf: No such file or "
        .. "directory (from --profile)\n", output.stderr)
      assert.are.equal(78, output.code)
      assert.truthy(run({ "sign" }, { IMATTR_PROFILE = "none" }).stderr:find(
        "(from IMATTR_PROFILE)", 1, true))
    end)

    it("has a name that leads nowhere else", function()
      for _, name in ipairs { "../x", "/etc/passwd", ".hidden", "", ("n"):rep(65), "a b" } do
        local output = run { "config", "show", "--profile=" .. name }
        assert.truthy(output.stderr:find("^imattr: profile: .*, wants a name of letters, digits "
          .. "and %. _ %- %(from %-%-profile%)\n$"), output.stderr)
        assert.are.equal(78, output.code)
      end
    end)
  end)

  it("lies in ~/.config where XDG_CONFIG_HOME says nothing", function()
    write("me/.config/imattr/default.conf", "rate = 7\n")
    for _, base in ipairs { false, "", "relative/folder" } do
      local output = run({ "config", "show" }, { XDG_CONFIG_HOME = base })
      assert.are.equal("7  DIR/me/.config/imattr/default.conf:1", shown(output, "rate"))
    end
    local homeless = run({ "config", "show" }, { XDG_CONFIG_HOME = false, HOME = false })
    assert.are.equal("100  default", shown(homeless, "rate"))
  end)

  describe("in a profile is refused:", function()
    local NAMES = "names are sdkappid, identifier, region, endpoint, service, ca_file, rate, "
      .. "key_file, key_command"
    local cases = {
      { "key = " .. KEY, ":1: key: does not belong in a profile; put it into a file of its own and "
        .. "say key_file = FILE, or key_command = COMMAND" },
      { "\nregoin = tokyo", ":2: regoin: unknown name (did you mean region?); " .. NAMES },
      { "usersig = x", ":1: usersig: unknown name; " .. NAMES },
      { "rate", ":1: wants a line like: region = singapore" },
      { "os.exit(3)", ":1: wants a line like: region = singapore" },
      { "rate =", ":1: rate: no value; give one, or remove the line" },
      { "rate = 1\nrate = 2", ":2: rate: is in line 1 already; remove one of them" },
      { "key_file = a\nkey_command = b",
        ":2: key_file and key_command: give one of them, not both" },
      { ("#"):rep(70000), ": over 65536 bytes, which is no profile" },
      { "a\27[2J = 1", ":1: wants a line like: region = singapore" },
    }
    for _, case in ipairs(cases) do
      it(case[2]:sub(1, 50), function()
        profile("default", case[1])
        for _, words in ipairs { { "config", "show" }, { "sign" } } do
          local output = run(words)
          assert.are.equal("imattr: profile DIR/config/imattr/default.conf" .. case[2] .. "\n",
            output.stderr)
          assert.are.equal("", output.stdout)
          assert.are.equal(78, output.code)
        end
      end)
    end

    it("a value that the option does not take, with its place", function()
      profile("default", "sdkappid = 1\nregion = singapur\n")
      local output = run { "config", "show" }
      assert.are.equal("imattr: region: \"singapur\" is none of china, singapore, seoul, tokyo, "
        .. "frankfurt, silicon_valley, jakarta (did you mean singapore?) "
        .. "(from DIR/config/imattr/default.conf:2)\n", output.stderr)
      assert.are.equal(78, output.code)
    end)

    it("nothing that code could do", function()
      profile("default", "identifier = $(touch " .. folder .. "/ran)`touch " .. folder .. "/ran`\n")
      local output = run { "config", "show" }
      assert.truthy(output.stdout:find("identifier  $(touch", 1, true) or output.stderr:find(
        "identifier: ", 1, true))
      assert.is_nil(shell.read(folder .. "/ran"))
    end)
  end)

  it("that others can change is warned of, and so is a key file that others can read", function()
    profile("default", "sdkappid = 1400000321\nkey_file = key\n")
    write("config/imattr/key", KEY)
    shell.run(("chmod 666 %s/config/imattr/default.conf; chmod 640 %s/config/imattr/key"):format(
      folder, folder))
    local output = run { "sign" }
    assert.are.equal("imattr: warning: profile DIR/config/imattr/default.conf can be changed by "
      .. "others (mode 0666); run\n  chmod go-w DIR/config/imattr/default.conf\n"
      .. "imattr: warning: key file DIR/config/imattr/key is open to others (mode 0640); run\n"
      .. "  chmod 600 DIR/config/imattr/key\n", output.stderr)
    assert.are.equal(0, output.code)
    shell.run(("chmod 644 %s/config/imattr/default.conf; chmod 600 %s/config/imattr/key"):format(
      folder, folder))
    assert.are.equal("", run({ "sign" }).stderr)
  end)

  it("is all there with a profile alone: signing needs no variable", function()
    profile("default", "sdkappid = 1400000321\nkey_command = printf %s " .. KEY .. "\n")
    local output = run { "sign", "--identifier", "a" }
    local fields = assert(require("imattr").usersig.open(output.stdout:match("%S+"), { key = KEY }))
    assert.are.equal("a", fields.identifier)
  end)

  it("is one object with --json", function()
    profile("default", "region = tokyo\n")
    local output = run({ "config", "show", "--json" }, { IMATTR_KEY = KEY,
      IMATTR_ENDPOINT = "https://a,https://b" })
    local object = require("cjson").decode(output.stdout)
    assert.are.equal("default", object.profile)
    local by_name = {}
    for _, value in ipairs(object.values) do by_name[value.name] = value end
    assert.are.same({ name = "key", value = "set", origin = "IMATTR_KEY", used = true },
      by_name.key)
    assert.are.same({ name = "endpoint", value = { "https://a", "https://b" }, used = true,
      origin = "IMATTR_ENDPOINT" }, by_name.endpoint)
    assert.is_false(by_name.region.used)
    assert.is_false(by_name.sdkappid.used)
    assert.are.equal(require("cjson").null, by_name.sdkappid.value)
  end)
end)
