-- Signals, coroutines and raises: whatever interrupts a client, its program goes on, or ends as any
-- program would. Every program here is a process of its own whose signals have their usual effect.

local app = require "support.app"
local canary = require "support.canary"
local command = require "support.command"
local impostor = require "support.impostor"
local process = require "support.process"
local program = require "support.program"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

-- A program with a client of a server.
local HEAD = [[
local imattr = require "imattr"
local client = assert(imattr.new { sdkappid = 1400000000, key = "%s", endpoint = "%s", %s
  rate = 0, pace_scope = "process", attempts_max = 1, timeout_ms = 120000 })
local users = {}
for i = 1, 3000 do
  users[i] = { To_Account = "u" .. i, Attrs = { a = ("x"):rep(50), b = ("y"):rep(50) } }
end
]]

local function head(server)
  local ca = server.ca_file and ("ca_file = %q,"):format(server.ca_file) or ""
  return HEAD:format(app.KEY, server.endpoint, ca)
end

local function arrived(server, count)
  return function() return #server:requests() >= count end
end

describe("a program", function()
  local vendor, plain, secure

  setup(function() vendor = sandbox.start { key = app.KEY, limit = 0, attr_names = { "city" } } end)
  teardown(function() vendor:stop() end)
  before_each(function()
    plain = impostor.start()
    secure = impostor.start { certificate = vendor.server.folder }
    secure.ca_file = vendor.ca_file
  end)
  after_each(function()
    plain:stop()
    secure:stop()
    program.clean()
  end)

  -- ---- SIGPIPE

  it("whose SIGPIPE has its usual effect would die of one", function()
    local output = program.run("os.execute('kill -s PIPE $PPID') print 'alive'",
      { signals = "--default-signal=PIPE" })
    assert.same({ 141, "" }, { output.code, output.stdout })
  end)

  for _, name in ipairs { "plain", "secure" } do
    it("is not killed when its server dies, nor by closing then: " .. name, function()
      local server = name == "plain" and plain or secure
      server:says { app.YES, { delay_s = 60 } }
      local job = program.start(head(server) .. [[
        assert(client:set_attr({ u = { a = "x" } }).ok)
        local report = client:set_attr(users, { deadline_ms = 5000 })
        print(report.done, report.unknown + report.not_sent)
        print(client:set_attr(users, { deadline_ms = 1000 }).done)
        for line in io.lines("/proc/self/status") do
          local bits = line:match("^SigIgn:%s*(%x+)")
          if bits then print(math.floor(tonumber(bits, 16) / 2 ^ 12) % 2) end
        end
        client:close()
        print "alive"]], { signals = "--default-signal=PIPE" })
      assert.truthy(process.wait_until(arrived(server, 2)))
      server:kill("KILL")
      local output = assert(job:wait(60))
      job:close()
      assert.equal("", output.stderr)
      assert.same({ 0, "0\t3000\n0\n0\nalive\n" }, { output.code, output.stdout })
    end)
  end

  it("is not killed by a server that hangs up before, in or after its answer", function()
    for _, server in ipairs { plain, secure } do
      server:says { { cut = "before" }, { cut = "within", body = "{" }, { cut = "before" } }
      local output = program.run(head(server) .. [[
        for _ = 1, 5 do client:set_attr(users) end
        client:close()
        print "alive"]], { signals = "--default-signal=PIPE" })
      assert.same({ 0, "alive\n", "" }, { output.code, output.stdout, output.stderr })
    end
  end)

  -- ---- SIGINT and SIGTERM

  for signal, expected in pairs { INT = { 1, "interrupted!" }, TERM = { 143, "" } } do
    it(("ends by SIG%s as any script does, while a call waits"):format(signal), function()
      plain:says { { delay_s = 60 } }
      local job = program.start(head(plain) .. "client:set_attr { u = { a = 'x' } } print 'on'")
      assert.truthy(process.wait_until(arrived(plain, 1)))
      job:kill(signal)
      local output = job:wait(20)
      job:close()
      assert.truthy(output, "it does not end")
      assert.same({ expected[1], "" }, { output.code, output.stdout })
      assert.truthy(output.stderr:find(expected[2], 1, true), output.stderr)
      assert.same({}, canary.in_text(output.stderr, { app.KEY }))
    end)
  end

  it("may catch the raise of Ctrl-C, and its client works on", function()
    plain:says { { delay_s = 60 }, app.YES }
    local job = program.start(head(plain) .. [[
      local ok, message = pcall(client.set_attr, client, { u = { a = "x" } })
      print(ok, message:find("interrupted!", 1, true) ~= nil)
      print(client:last_report().ok, client:set_attr({ u = { a = "x" } }).ok)]])
    assert.truthy(process.wait_until(arrived(plain, 1)))
    job:kill("INT")
    local output = job:wait(20)
    job:close()
    assert.same({ 0, "false\ttrue\nfalse\ttrue\n", "" },
      { output.code, output.stdout, output.stderr })
  end)
end)

describe("the command", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  -- Runs a command line whose reader is gone before it writes. Gives its exit code and stderr.
  local function into_closed_pipe(words, signals)
    command.write("users.csv", "To_Account,sex\na,m\n")
    local script = ([[
      { until [ -e gone ]; do sleep 0.02; done
        env %s %s %s/lua/bin/imattr %s
        echo $? >code; } | { exec <&-; : >gone; }
      until [ -s code ]; do sleep 0.02; done]]):format(signals, command.INTERPRETER, command.TREE,
        words)
    local output = process.run({ "sh", "-c", script }, command.place())
    os.remove(command.path("gone"))
    local code = tonumber(command.read("code"))
    os.remove(command.path("code"))
    return code, output.stderr
  end

  local LINES = { "get a b", "get --json a", "sign", "set --json -q users.csv", "--help" }

  for _, words in ipairs(LINES) do
    it("dies quietly, as others do, when nobody reads: imattr " .. words, function()
      assert.same({ 141, "" }, { into_closed_pipe(words, "--default-signal=PIPE") })
    end)

    it("says so where SIGPIPE is ignored: imattr " .. words, function()
      local code, said = into_closed_pipe(words, "--ignore-signal=PIPE")
      assert.equal(74, code)
      assert.truthy(words == "--help" or said:find("standard output: cannot write", 1, true), said)
    end)
  end
end)

describe("a client", function()
  local vendor, client

  setup(function()
    vendor = sandbox.start { key = app.KEY, limit = 0, attr_names = { "sex", "city" } }
  end)
  teardown(function() vendor:stop() end)
  before_each(function()
    vendor:settings { latency_ms = 0 }
    vendor:reset()
    client = app.client(vendor)
  end)
  after_each(function() client:close() end)

  -- ---- coroutines

  for _, name in ipairs { "on_result", "on_progress", "should_stop" } do
    it("may be driven by a coroutine that yields in " .. name, function()
      local yields = 0
      local run = coroutine.wrap(function()
        return client:set_attr(app.users(250), { [name] = function() coroutine.yield("wait") end })
      end)
      local report = run()
      while report == "wait" do
        yields = yields + 1
        report = run()
      end
      assert.same({ users = 250, done = 250, requests = 3 }, app.counts(report))
      assert.truthy(name == "on_result" and yields == 250 or name ~= "on_result" and yields >= 1)
    end)
  end

  it("may be driven by two coroutines in turn", function()
    local function runner(prefix, count)
      return coroutine.create(function()
        local i = 0
        return client:set_attr(function()
          i = i + 1
          coroutine.yield("more")
          if i <= count then return prefix .. i, { city = prefix } end
        end, { on_result = function() coroutine.yield("result") end })
      end)
    end
    local runs, reports = { a = runner("a", 350), b = runner("b", 250) }, {}
    while next(runs) do
      for prefix, run in pairs(runs) do
        local ok, answer = coroutine.resume(run)
        assert.is_true(ok, answer)
        if coroutine.status(run) == "dead" then
          runs[prefix], reports[prefix] = nil, answer
          break
        end
      end
    end
    assert.same({ users = 350, done = 350, requests = 4 }, app.counts(reports.a))
    assert.same({ users = 250, done = 250, requests = 3 }, app.counts(reports.b))
    assert.same({ city = "a" }, app.stored(client, "a350"))
    assert.same({ city = "b" }, app.stored(client, "b250"))
  end)

  -- ---- raises; that they are passed on and the client works on is client_calls_spec's

  it("counts in its last report what was done before on_result raised", function()
    for _, name in ipairs { "set_attr", "remove_attr" } do
      vendor:reset()
      local users, told = app.users(350, name == "remove_attr" and { "city" } or nil), 0
      assert.has_error(function()
        client[name](client, users, { on_result = function()
          told = told + 1
          if told == 150 then error("enough") end
        end })
      end, "enough")
      local report = client:last_report()
      local counts = app.counts(report)
      assert.same({ nil, nil, false }, { counts.invalid, counts.refused, report.ok })
      assert.truthy(report.done >= 150 and report.users <= 350, report.done)
      local arrived_users = vendor:stats().commands["im_" .. name].users
      assert.truthy(arrived_users >= report.done and arrived_users
        <= report.done + report.unknown)
    end
  end)

  it("takes a raise in every callback at once, as often as it comes", function()
    local raises = { "on_result", "on_progress", "should_stop", "iterator" }
    for round = 1, 40 do
      local name = raises[round % 4 + 1]
      local function fail() error({ name = name }) end
      local users = name == "iterator" and fail or app.users(120)
      local ok, raised = pcall(client.set_attr, client, users, name ~= "iterator"
        and { [name] = fail } or nil)
      assert.same({ false, { name = name } }, { ok, raised })
    end
    assert.same({ users = 120, done = 120, requests = 2 }, app.counts(client:set_attr(
      app.users(120))))
    local open = select(2, shell.output("ls -l /proc/$PPID/fd"):gsub("socket:", ""))
    assert.truthy(open < 20, open .. " sockets")
  end)
end)
