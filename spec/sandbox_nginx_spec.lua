-- The sandbox as a server: nginx on loopback, asked by the curl command.

local cjson = require("cjson").new()
local core = require "imattr.core"
local nginx = require "imattr.sandbox.nginx"
local process = require "support.process"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local KEY = ("0123456789abcdef"):rep(4)
local INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4"

local function url_of(server, command, random)
  local usersig = assert(core.signer(server.key):sign(server.sdkappid, server.identifier,
    os.time(), 60))
  return ("%s/v4/all_member_push/%s?sdkappid=%d&identifier=%s&usersig=%s&random=%d"):format(
    server.endpoint, command, server.sdkappid, server.identifier, usersig, random or 1)
    .. "&contenttype=json"
end

-- curl's result: { code, stdout, stderr }.
local function curl(server, words)
  local argv = { "curl", "-q", "-sS", "--noproxy", "*", "--max-time", "10", "--cacert",
    server.ca_file }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  return process.run(argv, { timeout_s = 15, stdin = words.stdin })
end

-- One command's reply, and curl's -w text after it.
local function ask(server, command, body, words)
  local all = { "--data-binary", "@-", "-w", "\n%{http_version} %{content_type}", stdin = body }
  for _, word in ipairs(words or {}) do all[#all + 1] = word end
  all[#all + 1] = url_of(server, command)
  local result = curl(server, all)
  assert.equal(0, result.code, result.stderr)
  local text, how = result.stdout:match("^(.*)\n(.-)$")
  return cjson.decode(text), how
end

local function body_of(account, city)
  return cjson.encode { UserAttrs = { { To_Account = account, Attrs = { city = city } } } }
end

describe("the sandbox's server #slow", function()
  local server

  setup(function() server = sandbox.start { limit = 5 } end)
  teardown(function() server:stop() end)
  before_each(function()
    server:settings { limit = 5, latency_ms = 0, region_ok = true }
    server:reset()
  end)

  it("speaks TLS with a certificate for loopback's names that only its CA file vouches for",
    function()
      assert.equal(60, process.run({ "curl", "-q", "-sS", "--noproxy", "*",
        server.endpoint .. "/sandbox/stats" }).code)
      local named = server.endpoint:gsub("127.0.0.1", "localhost") .. "/sandbox/stats"
      assert.equal(0, curl(server, { named }).code)
    end)

  it("serves HTTP/2 and HTTP/1.1", function()
    for words, how in pairs { ["--http2"] = "2", ["--http1.1"] = "1.1" } do
      local reply, version = ask(server, "im_set_attr", body_of("a", "x"), { words })
      assert.same({ ActionStatus = "OK", ErrorCode = 0, ErrorInfo = "" }, reply)
      assert.equal(how .. " application/json", version)
    end
  end)

  it("keeps what was set, letters of all scripts included", function()
    ask(server, "im_set_attr", body_of("张小红", "Zamtō Kêlay"))
    assert.same({ { To_Account = "张小红", Attrs = { city = "Zamtō Kêlay" } } },
      ask(server, "im_get_attr", '{"To_Account":["张小红"]}').UserAttrs)
  end)

  it("verifies real signatures", function()
    local other = setmetatable({ key = ("f"):rep(64) }, { __index = server })
    assert.equal(70009, ask(other, "im_set_attr", body_of("a", "x")).ErrorCode)
    local cut = url_of(server, "im_get_attr_name"):gsub("usersig=(.-)......&", "usersig=%1&")
    assert.equal(70003, cjson.decode(curl(server, { "-d", "{}", cut }).stdout).ErrorCode)
  end)

  it("reads a body of several megabytes", function()
    local body = '{"UserAttrs":[],"x":"' .. ("x"):rep(3000000) .. '"}'
    assert.equal("UserAttrs: empty", ask(server, "im_set_attr", body).ErrorInfo)
    assert.equal(#body, server:stats().commands.im_set_attr.body_bytes)
  end)

  it("refuses what is above the limit, and tells what arrived", function()
    local words = { "--parallel", "-d", body_of("a", "x") }
    for random = 1, 12 do
      words[#words + 1] = "-o/dev/null"
      words[#words + 1] = url_of(server, "im_remove_attr", random)
    end
    assert.equal(0, curl(server, words).code)
    local seen = server:stats().commands.im_remove_attr
    assert.equal(12, seen.arrivals)
    assert.equal(12, seen.max_in_second)
    assert.equal(0, seen.randoms_repeated)
    assert.same({ ["60007"] = 7, ["90001"] = 5 }, seen.by_code)
  end)

  it("is as late as it is told, and can be told other things while it runs", function()
    server:settings { latency_ms = 300, limit = 0 }
    local before_us = core.now_us()
    ask(server, "im_get_attr_name", "{}")
    assert.is_true(core.now_us() - before_us >= 300000)
    server:settings { latency_ms = 0, region_ok = false }
    assert.equal(70016, ask(server, "im_get_attr_name", "{}").ErrorCode)
    assert.has_error(function() server:settings { sdkappid = 1 } end, "cannot be changed: sdkappid")
    assert.has_error(function() server:settings { limit = "x" } end,
      "limit: must be an integer, 0 for no limit")
  end)

  it("shows the key in no process list and in no file that others may read", function()
    local list = shell.output("ps -Awwo args")
    assert.is_nil(list:find(server.key, 1, true))
    assert.truthy(list:find(server.folder, 1, true))
    assert.equal("", shell.output("find " .. server.folder .. " -perm /077"))
  end)
end)

describe("a sandbox's end #slow", function()
  local function assert_nothing_left(pid, folder)
    assert.truthy(process.wait_until(function() return not process.exists(pid) end))
    assert.is_nil(shell.read(folder .. "/plan.json"))
    assert.is_false(shell.run("[ -e " .. shell.quote(folder) .. " ]"))
  end

  it("leaves nothing behind when it is stopped, even twice", function()
    local server = sandbox.start()
    local pid, folder = server.pid, server.folder
    assert.is_true(process.exists(pid))
    server:stop()
    server:stop()
    assert_nothing_left(pid, folder)
  end)

  it("leaves nothing behind when nginx is killed before", function()
    local server = sandbox.start()
    local pid, folder = server.pid, server.folder
    shell.run("kill -KILL " .. pid)
    server:stop()
    assert_nothing_left(pid, folder)
  end)

  it("comes when its time is up", function()
    local server = sandbox.start { max_seconds = 0.3 }
    assert_nothing_left(server.pid, server.folder)
    server:stop()
  end)

  it("does not begin when a setting is wrong", function()
    assert.has_error(function() nginx.start { sdkapid = 1 } end, "unknown setting: sdkapid")
  end)

  it("does not begin when the exports cannot be written", function()
    local server, message = nginx.start { env_file = "/nowhere/env" }
    assert.is_nil(server)
    assert.equal("/nowhere/env.part: cannot be written", message)
  end)

  it("tells why it cannot start", function()
    local server = sandbox.start { http2 = false }
    local other, message = nginx.start { port = server.port }
    assert.is_nil(other)
    assert.truthy(message:find("Address already in use", 1, true), message)
    local _, version = ask(server, "im_get_attr_name", "{}", { "--http2" })
    assert.equal("1.1 application/json", version)
    server:stop()
  end)

  -- The command's verb in a process of its own.
  local MAIN = [[
    local verb = require "imattr.cli.sandbox"
    local parser = require("argparse")("imattr")
    verb.define(parser:command(verb.name))
    os.exit(verb.run(parser:parse { "sandbox", "--max-seconds", "60", "--attr-names", "a,b",
      "--write-env", os.getenv("ENV_FILE") }, io), true)
  ]]

  local function start_command()
    local env_file = shell.output("mktemp -u")
    local job = process.start({ INTERPRETER, "-e", MAIN }, {
      timeout_s = 30, env = { LUA_PATH = "./lua/?.lua;;", ENV_FILE = env_file, IMATTR_KEY = KEY },
    })
    finally(function() job:close() end)
    process.wait_until(function() return job:read("stderr") ~= "" end)
    local exports = job:read("stdout")
    return job, exports, env_file, {
      endpoint = exports:match("export IMATTR_ENDPOINT=(%S+)"),
      ca_file = exports:match("export IMATTR_CA_FILE='(.-)'"),
      key = exports:match("export IMATTR_KEY='(.-)'"),
      identifier = exports:match("export IMATTR_IDENTIFIER='(.-)'"),
      sdkappid = tonumber(exports:match("export IMATTR_SDKAPPID=(%d+)")),
    }
  end

  local ENDS = { "INT", "TERM", "KILL", "HUP" }

  for _, signal in ipairs(ENDS) do
    it(("comes when the command gets %s, and leaves nothing behind"):format(signal), function()
      local job, exports, env_file, server = start_command()
      assert.equal("sandbox is listening on " .. server.endpoint .. ", stop it with Ctrl-C\n",
        job:read("stderr"))
      assert.equal(exports, shell.read(env_file))
      assert.equal(KEY, server.key)
      assert.same({ ["0"] = "a", ["1"] = "b" },
        ask(server, "im_get_attr_name", "{}").AttrNames)
      local folder = server.ca_file:match("^(.*)/")
      local pid = tonumber(shell.read(folder .. "/nginx.pid"))
      job:kill(signal)
      -- Ctrl-C reaches the whole group of a terminal
      if signal == "INT" then shell.run(("kill -INT %d"):format(pid)) end
      assert_nothing_left(pid, folder)
      assert.is_nil(shell.read(env_file))
      local result = job:wait()
      if signal == "INT" then assert.equal(0, result.code) end
    end)
  end
end)
