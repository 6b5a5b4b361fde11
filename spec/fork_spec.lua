-- Fork: a client belongs to the process that made it. In a child it says so and sends nothing; its
-- parent notices nothing of what the child does, or closes, or how it ends.

local app = require "support.app"
local core = require "imattr.core"
local impostor = require "support.impostor"
local process = require "support.process"
local program = require "support.program"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local FORKED = "the client was made before a fork, by another process; "
  .. "make a new client in this one"

-- Runs `act` in a child; what it gives or raises comes back.
local function in_child(act)
  local text, code = program.in_child(act)
  assert.equal(0, code, text)
  return text
end

-- What a call gave, as one line.
local function line_of(result, err, third)
  return ("%s %s %s %s %s"):format(tostring(result), type(err) == "table" and err.code or "-",
    type(err) == "table" and err.class or "-", tostring(err), tostring(third))
end

local CALLS = {
  set_attr = function(client) return client:set_attr(app.users(3)) end,
  remove_attr = function(client) return client:remove_attr { u1 = { "city" } } end,
  get_attr = function(client) return client:get_attr { "u1" } end,
  set_attr_name = function(client) return client:set_attr_name { ["0"] = "sex" } end,
  get_attr_name = function(client) return client:get_attr_name() end,
  ["a dry run"] = function(client) return client:set_attr(app.users(3), { dry_run = true }) end,
  preflight = function(client) return client:set_attr(app.users(3)) end,
}

local SERVERS = { "HTTP", "HTTP/2 over TLS" }

describe("a client after a fork #heavy", function()
  local vendor, servers, server, client

  setup(function()
    vendor = sandbox.start { key = app.KEY, limit = 0, attr_names = { "sex", "city" } }
    servers = { ["HTTP"] = impostor.start(),
      ["HTTP/2 over TLS"] = impostor.start { certificate = vendor.server.folder } }
    servers["HTTP/2 over TLS"].ca_file = vendor.ca_file
  end)
  teardown(function()
    for _, each in pairs(servers) do each:stop() end
    vendor:stop()
  end)
  before_each(function()
    vendor:settings { latency_ms = 0 }
    vendor:reset()
  end)
  after_each(function()
    client:close()
    program.clean()
  end)

  -- A client of one of the servers with a connection that is open, and how many requests that took.
  local function connect(name, changes)
    server = servers[name]
    server:says { app.YES }
    client = app.client(server, changes)
    if not (changes and changes.preflight) then
      assert.is_true(client:set_attr(app.users(2)).ok)
    end
    return #server:requests()
  end

  -- Does the parent go on, on the connection it has?
  local function assert_unharmed(count)
    for _ = 1, 3 do assert.is_true(client:set_attr(app.users(2)).ok) end
    local requests = server:requests()
    assert.equal(count + 3, #requests)
    for _, request in ipairs(requests) do
      assert.equal(requests[1].connection, request.connection)
    end
  end

  for name, call in pairs(CALLS) do
    it("says so in the child at " .. name .. ", and nothing is sent", function()
      local count = connect("HTTP", name == "preflight" and { preflight = true } or nil)
      for _ = 1, 2 do
        assert.equal("nil FORKED setup " .. FORKED .. " nil", in_child(function()
          return line_of(call(client))
        end))
      end
      assert.equal(count, #server:requests())
    end)
  end

  for _, name in ipairs(SERVERS) do
    it("works on in the parent over " .. name .. " when the child closed it", function()
      local count = connect(name)
      assert.equal("imattr.client (closed)", in_child(function()
        client:close()
        client:close()
        return tostring(client)
      end))
      assert_unharmed(count)
    end)

    it("works on in the parent over " .. name .. " when the child lost it", function()
      local count = connect(name)
      in_child(function()
        CALLS.set_attr(client)
        client = nil
        collectgarbage()
        collectgarbage()
      end)
      assert_unharmed(count)
    end)

    it("works on in the parent over " .. name .. " when the child just ends", function()
      local count = connect(name)
      in_child(function() end)
      assert_unharmed(count)
    end)
  end

  it("still raises for misuse in the child", function()
    connect("HTTP")
    assert.truthy(in_child(function()
      return select(2, pcall(client.set_attr, client, "u1"))
    end):find("set_attr: a string, wants a list, a map or an iterator of users", 1, true))
  end)

  it("lets the child make one of its own, of the same server, beside the parent's", function()
    local count = connect("HTTP/2 over TLS")
    assert.equal("2 2", in_child(function()
      local own = app.client(server)
      local first = own:set_attr(app.users(2))
      client:close()
      local second = own:set_attr(app.users(2))
      own:close()
      return ("%d %d"):format(first.done, second.done)
    end))
    assert.is_true(client:set_attr(app.users(2)).ok)
    local requests = server:requests()
    assert.equal(count + 3, #requests)
    assert.equal(requests[1].connection, requests[#requests].connection)
    assert.is_not.equal(requests[1].connection, requests[2].connection)
  end)

  it("leaves no socket open in the child that closed it", function()
    local function sockets()
      return select(2, shell.output("ls -l /proc/$PPID/fd"):gsub("socket:", ""))
    end
    connect("HTTP")
    assert.equal("true", in_child(function()
      local before = sockets()
      client:close()
      return tostring(sockets() < before)
    end))
  end)

  it("hands no socket to programs that the parent starts", function()
    local function connections(whose)
      local count, all = 0, shell.read("/proc/net/tcp")
      for inode in shell.output("ls -l /proc/" .. whose .. "/fd"):gmatch("socket:%[(%d+)%]") do
        count = count + (all:find(" " .. inode .. " ", 1, true) and 1 or 0)
      end
      return count
    end
    connect("HTTP")
    assert.equal(1, connections("$PPID"))
    assert.equal(0, connections("self"))
  end)

  -- ---- forks in the middle

  local FORKS = {
    on_result = "a callback", on_progress = "on_progress", should_stop = "should_stop",
    iterator = "the iterator",
  }

  for where, words in pairs(FORKS) do
    it("made in " .. words .. " ends the child's run, and the parent's goes on", function()
      local fork = program.fork_module()
      client = app.client(vendor, { in_flight_max = 4 })
      vendor:settings { latency_ms = where == "on_progress" and 120 or 20 }
      assert.is_true(client:set_attr(app.users(1)).ok)
      vendor:reset()
      local parent, child, seen = core.getpid(), nil, 0
      local function divide() -- once, when some of the run is behind
        seen = seen + 1
        if not child and seen >= (where == "iterator" and 450 or 2) then child = fork.fork() end
      end
      local next_user = app.iterator(app.users(1000))
      local ok, report, err = pcall(client.set_attr, client, function()
        if where == "iterator" then divide() end
        return next_user()
      end, { [where ~= "iterator" and where or "on_progress"] = where ~= "iterator" and divide
        or function() end })
      if core.getpid() ~= parent then
        local good = pcall(function()
          assert(ok, report)
          local counts = app.counts(report)
          assert(err.code == "FORKED" and report.error == err and not report.ok, err.code)
          assert(tostring(err) == FORKED, tostring(err))
          assert((counts.unknown or 0) <= 400, "more unknown than in flight")
          assert(counts.done ~= 1000)
          client:close()
        end)
        fork.leave(good and 0 or 1)
      end
      assert.is_true(ok, report)
      assert.equal(0, fork.wait(assert(child)))
      assert.is_nil(err)
      assert.same({ 1000, 10 }, { report.done, report.requests })
      local stats = vendor:stats().commands.im_set_attr
      assert.same({ 10, 1000 }, { stats.arrivals, stats.users })
    end)
  end

  it("leaves the slots of what is on its way to the parent", function()
    local name = ("spec-fork-%d"):format(core.getpid())
    finally(function()
      os.remove(("/dev/shm/imattr-%s-%s"):format(shell.output("id -u"), name))
    end)
    client = app.client(vendor)
    local pace = assert(core.pace(1, "strict", name))
    local now_us = core.now_us()
    local slot = assert(pace:take(now_us, 5000000))
    in_child(function()
      pace:give(slot, now_us)
      pace:close()
    end)
    local second = core.pace(1, "strict", name)
    assert.is_nil(second:take(now_us + 2000000, 0)) -- free by now, had the child given it back
    pace:give(slot, now_us)
    assert.equal(slot, second:take(now_us + 2000000, 0))
    second:close()
    pace:close()
  end)

  it("has no key in the child", function()
    client = app.client(vendor)
    local signer = assert(core.signer(app.KEY))
    assert.truthy(signer:sign(1, "a", 0, 1))
    assert.equal("nil FORKED nil", in_child(function()
      local usersig, code = signer:sign(1, "a", 0, 1)
      local holds = signer:verify(1, "a", 0, 1, nil, ("A"):rep(44))
      signer:close()
      return ("%s %s %s"):format(tostring(usersig), tostring(code), tostring(holds))
    end))
    assert.truthy(signer:sign(1, "a", 0, 1))
    signer:close()
  end)

  it("has random numbers of its own in every process", function()
    client = app.client(vendor)
    local function numbers()
      local list = {}
      for i = 1, 8 do list[i] = ("%.0f"):format(core.random_u32()) end
      return table.concat(list, " ")
    end
    core.random_u32() -- some are in stock now
    local first, second = in_child(numbers), in_child(numbers)
    local own = numbers()
    assert.is_not.equal(own, first)
    assert.is_not.equal(own, second)
    assert.is_not.equal(first, second)
  end)
end)

describe("a program that forks", function()
  local vendor
  setup(function() vendor = sandbox.start { key = app.KEY, limit = 0, attr_names = { "city" } } end)
  teardown(function() vendor:stop() end)
  after_each(program.clean)

  local PROGRAM = [[
    local imattr, fork = require "imattr", require "fork"
    local client = assert(imattr.new { sdkappid = %d, key = "%s", endpoint = "%s", ca_file = "%s",
      rate = 0, pace_scope = "process" })
    local function set() return client:set_attr { u = { city = "x" } } end
    assert(set().ok)
    local pid = fork.fork()
    if pid == 0 then
      local report, err = set()
      assert(report == nil and err.code == "FORKED")
      %s
    end
    assert(fork.wait(pid) == 0)
    for _ = 1, 3 do assert(set().ok) end
    %s
    print "fine"]]

  -- How the child ends.
  local ENDS = {
    ["at the end of its script"] = "return",
    ["by os.exit with a closed state"] = "os.exit(0, true)",
    ["by os.exit"] = "os.exit(0)",
    ["closed, with another client"] = "client:close() client = assert(imattr.new { sdkappid = 1, "
      .. "key = 'k', endpoint = 'https://127.0.0.1:1' }) return",
  }

  for how, code in pairs(ENDS) do
    it("goes well when the child ends " .. how, function()
      vendor:reset()
      local output = program.run(PROGRAM:format(vendor.sdkappid, app.KEY, vendor.endpoint,
        vendor.ca_file, code:gsub("return$", "do return end"), "client:close()"))
      assert.same({ 0, "fine\n", "" }, { output.code, output.stdout, output.stderr })
      assert.equal(4, vendor:stats().commands.im_set_attr.arrivals)
    end)
  end

  it("can leave its parent behind, and says so there too", function()
    local folder = program.folder()
    local output = program.run(([[
      local imattr, fork = require "imattr", require "fork"
      local client = assert(imattr.new { sdkappid = 1, key = "k", endpoint = "%s" })
      if fork.fork() ~= 0 then fork.leave(0) end
      local file = io.open("said.part", "w")
      file:write(tostring(select(2, client:get_attr_name())))
      file:close()
      os.rename("said.part", "said")
    ]]):format(vendor.endpoint), { cwd = folder })
    assert.same({ 0, "", "" }, { output.code, output.stdout, output.stderr })
    assert.equal(FORKED, process.wait_until(function() return shell.read(folder .. "/said") end))
  end)
end)
