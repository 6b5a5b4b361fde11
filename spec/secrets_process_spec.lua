-- Secrets in processes: what the command prints and writes, what a process list shows, and what is
-- in a program's memory and in its core.

local canary = require "support.canary"
local command = require "support.command"
local impostor = require "support.impostor"
local process = require "support.process"
local program = require "support.program"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local KEY = canary.KEY

local ECHOES = {
  { body = '{"ActionStatus":"FAIL","ErrorCode":70009,"ErrorInfo":"$usersig in $request_uri"}' },
  { body = "<html>$request_uri</html>" },
  { status = 502, body = "<html>$request_uri</html>" },
  { status = 301, headers = { Location = "https://127.0.0.1:1$request_uri" } },
  { body = '{"ActionStatus":"FAIL","ErrorCode":90001,"ErrorInfo":"$request_uri"}' },
}

describe("the command #slow", function()
  local vendor, odd, strange

  setup(function()
    vendor = sandbox.start { key = KEY, sdkappid = command.SDKAPPID, limit = 0,
      attr_names = { "sex", "city" } }
    odd = impostor.start()
    strange = impostor.start { certificate = vendor.server.folder }
    command.server = vendor
  end)
  teardown(function()
    for _, server in ipairs { vendor, odd, strange } do server:stop() end
  end)
  before_each(function()
    command.enter()
    command.write("key", KEY .. "\n")
    command.write("users.csv", "To_Account,sex\na,m\nb,\255\nc,f\nd\n")
  end)
  after_each(function()
    command.leave()
    assert.same({}, canary.leaks())
  end)

  -- The ways the command gets its key.
  local function ways()
    return {
      environment = { {}, { IMATTR_KEY = KEY } },
      ["key file"] = { { "--key-file", command.path("key") }, { IMATTR_KEY = false } },
      ["key file of the environment"] = { {}, { IMATTR_KEY = false,
        IMATTR_KEY_FILE = command.path("key") } },
      ["key command"] = { { "--key-command", "cat " .. command.path("key") },
        { IMATTR_KEY = false } },
    }
  end

  -- Runs the command, keeps all it says and writes.
  local function run(words, way, changes)
    local argv, env = {}, {}
    for _, list in ipairs { words, way[1] } do
      for _, word in ipairs(list) do argv[#argv + 1] = word end
    end
    for _, list in ipairs { way[2], changes or {} } do
      for name, value in pairs(list) do env[name] = value end
    end
    local output = process.run(command.line(argv), command.place(env))
    local name = table.concat(argv, " ")
    canary.see(name .. ": stdout", output.stdout)
    canary.see(name .. ": stderr", output.stderr)
    canary.see(name .. ": rejects", command.read("users.csv.rejects.csv") or "none")
    return output
  end

  local VERBS = { { "set", "users.csv" }, { "set", "--json", "users.csv" },
    { "set", "-q", "users.csv" }, { "get", "a", "b" }, { "get", "--json", "a" }, { "names" },
    { "doctor" } }

  it("says nothing of a secret when all goes well", function()
    for _, way in pairs(ways()) do
      for _, words in ipairs(VERBS) do
        local output = run(words, way)
        assert.truthy(output.code == 0 or output.code == 2, output.stderr)
      end
      run({ "config" }, { {}, way[2] })
    end
  end)

  it("says nothing of a secret when it goes ill", function()
    local troubles = {
      { IMATTR_ENDPOINT = "https://127.0.0.1:1" }, { IMATTR_CA_FILE = false },
      { IMATTR_ENDPOINT = strange.endpoint, IMATTR_CA_FILE = false },
      { IMATTR_SDKAPPID = "1400000999" }, { IMATTR_IDENTIFIER = "nobody" },
      { IMATTR_SDKAPPID = KEY }, { IMATTR_REGION = KEY, IMATTR_ENDPOINT = false },
      { IMATTR_ENDPOINT = KEY }, { IMATTR_RATE = KEY }, { IMATTR_IDENTIFIER = KEY },
      { IMATTR_SERVICE = KEY }, { IMATTR_DEBUG = "1", IMATTR_SDKAPPID = false },
    }
    for _, trouble in ipairs(troubles) do
      for _, words in ipairs { VERBS[1], VERBS[2], VERBS[4] } do
        assert.is_not.equal(0, run(words, ways().environment, trouble).code)
      end
    end
    run({ "set", "users.csv" }, { {}, { IMATTR_KEY = KEY:reverse() } })
    canary.know(KEY:reverse())
    for _, words in ipairs { { "set", KEY }, { KEY }, { "sign", "--key", KEY }, { "--key=" .. KEY },
      { "sign", "--key=" .. KEY }, { "sign", KEY }, { "set", "--format", KEY, "users.csv" },
      { "set", "--from-line", KEY, "users.csv" }, { "sign", "--expire", KEY },
      { "sign", "--key-file", KEY }, { "set", "--key-file", KEY, "users.csv" },
      { "sign", "--key-command", "echo " .. KEY .. "; false" },
      { "sign", "--key-file", "a", "--key-command", KEY }, { "get", "a", "--region", KEY } } do
      local output = run(words, { {}, {} })
      assert.is_not.equal(0, output.code)
    end
  end)

  it("says nothing of a secret that a server echoes", function()
    for i, reply in ipairs(ECHOES) do
      odd:says { reply }
      for _, words in ipairs { VERBS[1], VERBS[2], VERBS[4], VERBS[5] } do
        local output = run(words, ways()["key file"], { IMATTR_ENDPOINT = odd.endpoint })
        assert.is_not.equal(0, output.code)
      end
      assert.truthy(#odd:requests() > 0, i)
      for _, request in ipairs(odd:requests()) do canary.know(request.args.usersig) end
    end
  end)

  it("signs without the key in its words", function()
    for _, way in pairs(ways()) do
      local output = process.run(command.line { "sign", way[1][1], way[1][2] },
        command.place(way[2]))
      assert.equal(0, output.code)
      assert.same({ "something like a UserSig" }, canary.in_text(output.stdout, { KEY }))
      canary.see("sign", output.stderr)
    end
  end)

  it("shows a bug without the key", function()
    local said, get, setup = {}, require "imattr.cli.get", require "imattr.cli.setup"
    local fake = { stdout = io.stdout, open = io.open, popen = io.popen, stderr = {
      write = function(_, ...) said[#said + 1] = table.concat { ... } end } }
    local run_get = get.run
    get.run = function(args, with)
      setup.read(args, { "sdkappid" }, with, function(name)
        return name == "IMATTR_KEY" and "short%key" or nil
      end)
      error("the key is short%key or " .. KEY)
    end
    require("imattr.cli.main").run({ "get", "a" }, fake)
    get.run = run_get
    local text = table.concat(said)
    canary.see("a bug", text)
    assert.truthy(text:find("the key is REDACTED or REDACTED", 1, true), text)
  end)

  it("is in no process list and leaves nothing shared", function()
    vendor:settings { latency_ms = 2000 }
    for _, way in pairs(ways()) do
      local argv = { "set", "users.csv", way[1][1], way[1][2] }
      local job = process.start(command.line(argv), command.place(way[2]))
      process.wait_until(function()
        return vendor:stats().commands.im_set_attr
      end)
      local list = shell.output("ps -ww -o args -g " .. job.group)
      assert.truthy(list:find("users.csv", 1, true), list)
      canary.see("ps", list)
      canary.see("cmdline", shell.read(("/proc/%d/cmdline"):format(job.pid)))
      job:kill("KILL")
      job:close()
      vendor:reset()
    end
    for path in shell.output("ls -d /dev/shm/* 2>/dev/null"):gmatch("/dev/shm/imattr[^\n]*") do
      canary.see(path, path .. (shell.read(path) or ""))
    end
    vendor:settings { latency_ms = 0 }
  end)
end)

describe("a program's memory #slow", function()
  local vendor, folder

  local function write_key()
    local file = assert(io.open(folder .. "/key", "wb"))
    file:write(KEY, "\n")
    file:close()
  end

  setup(function()
    vendor = sandbox.start { key = KEY, limit = 0, attr_names = { "city" } }
  end)
  teardown(function() vendor:stop() end)
  before_each(function()
    folder = program.folder()
    write_key()
  end)
  after_each(program.clean)

  -- A program that makes a client, has it do something, and stops at each word of `stages` until it
  -- is told to go on.
  local PROGRAM = [[
    local imattr, core = require "imattr", require "imattr.core"
    local client = assert(imattr.new { sdkappid = %d, %s, endpoint = %q, ca_file = %q, rate = 0,
      pace_scope = "process" })
    local function stop_at(stage)
      io.open(folder .. "/at_" .. stage, "w"):close()
      repeat
        core.sleep_us(10000)
        local file = io.open(folder .. "/after_" .. stage)
      until file
    end
    assert(client:set_attr({ u = { city = "x" } }).ok)
    assert(client:set_attr({ u = { city = "x" } }).ok)
    stop_at "open"
    client:close()
    collectgarbage()
    collectgarbage()
    stop_at "closed"
    assert(imattr.usersig.sign { sdkappid = 1, identifier = "a", key_file = folder .. "/key" })
    stop_at "signed"]]

  local KEY_FILE = 'key_file = folder .. "/key"'
  local KEPT = 'kept = io.open(folder .. "/key"):read("*l") '

  local function start(source, prefix)
    return program.start((prefix or "") .. PROGRAM:format(vendor.sdkappid, source, vendor.endpoint,
      vendor.ca_file), { cwd = folder })
  end

  local function reach(stage)
    assert(process.wait_until(function() return shell.read(folder .. "/at_" .. stage) end, 30),
      "never " .. stage)
  end

  local function leave(stage)
    assert(io.open(folder .. "/after_" .. stage, "w")):close()
  end

  -- Each byte exclusive-or a number: what HMAC makes of a key (RFC 2104).
  local function padded(text, pad)
    return (text:gsub(".", function(byte)
      local value, other, result = byte:byte(), pad, 0
      for bit = 0, 7 do
        result = result + (value + other) % 2 * 2 ^ bit
        value, other = math.floor(value / 2), math.floor(other / 2)
      end
      return string.char(result)
    end))
  end

  -- How often parts of the key, or of what HMAC makes of it, are in memory at a stage.
  local function hits_at(job, stage)
    reach(stage)
    local sum = 0
    for _, text in ipairs { KEY, padded(KEY, 0x36), padded(KEY, 0x5c) } do
      local hits, bytes = canary.hits_in_memory(job.pid, text)
      assert.truthy(bytes > 1000000, bytes .. " bytes")
      sum = sum + hits
    end
    leave(stage)
    return sum
  end

  it("holds the key while a client is open, and nothing of it when it is closed", function()
    local job = start(KEY_FILE)
    assert.truthy(hits_at(job, "open") > 0) -- the searcher sees it
    assert.equal(0, hits_at(job, "closed"))
    assert.equal(0, hits_at(job, "signed"))
    local output = assert(job:wait(10))
    job:close()
    assert.same({ 0, "" }, { output.code, output.stderr })
  end)

  -- The core that a program left when it was made to abort at "open", or nil and why there is none.
  local function core_of(source, prefix)
    local pattern = shell.read("/proc/sys/kernel/core_pattern") or "none"
    if pattern:find("^[|/]") then
      return nil, "core files go elsewhere: " .. pattern
    end
    local job = start(source, prefix)
    reach("open")
    shell.run(("prlimit --core=unlimited --pid %d 2>/dev/null"):format(job.pid))
    local before = shell.read(("/proc/%d/limits"):format(job.pid)) or ""
    job:kill("ABRT")
    local output = assert(job:wait(30))
    job:close()
    assert.equal(134, output.code)
    if not before:find("Max core file size +unlimited") then
      return nil, "the limit of core files cannot be raised"
    end
    return shell.output("ls -d " .. folder .. "/core*")
  end

  it("leaves no key of its own in the core of an abort", function()
    local path, why = core_of(KEY_FILE)
    if not path then return pending(why) end
    assert.truthy(#shell.read(path) > 100000, path)
    assert.equal(0, canary.hits_in_file(path, KEY))
    os.remove(path)
    program.clean()
    folder = program.folder()
    write_key()
    path = assert(core_of("key = kept", KEPT)) -- the caller's own copy: the searcher sees that
    assert.truthy(canary.hits_in_file(path, KEY) > 0)
  end)
end)
