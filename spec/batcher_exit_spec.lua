-- How a batcher ends: whatever happens to its worker, what was accepted is delivered, or in the
-- spool, or told. Accounts are counted in three places of their own: the load generator knows what
-- was accepted, the sandbox what it holds, the spool's folder what is left.

local cjson = require("cjson").new()
local collector = require "support.collector"
local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local place

local function open(settings)
  place = collector.open(settings)
  return place
end

-- Waits until all are at the vendor's, and the spool is empty.
local function assert_delivered(accounts)
  process.wait_until(function() return #place:undelivered(accounts) == 0 end, 4)
  assert.same({}, place:undelivered(accounts), place.server:errors():sub(-4000))
  if place.settings.spool then
    process.wait_until(function() return next((place:spooled())) == nil end, 4)
    assert.same({}, (place:spooled()))
  end
end

local function alarms()
  local lines = {}
  for _, line in ipairs(place:alarms()) do
    -- how nginx tells of a worker that was killed, and of sockets that the dead one left open
    if not line:find("exited on signal 9", 1, true) then lines[#lines + 1] = line end
  end
  return lines
end

-- The ids of workers that are not about to end.
local function workers()
  local pids = {}
  local text = shell.output("ps --no-headers -o pid=,args= --ppid " .. place.server.pid
    .. " || true")
  for pid, words in text:gmatch("%s*(%d+)%s+([^\n]+)") do
    if not words:find("shutting down", 1, true) then pids[#pids + 1] = tonumber(pid) end
  end
  return pids
end

-- Posts in one request: u1 to uN, and returns their accounts.
local function post(count, how)
  place:lua(([[
    for i = 1, %d do assert(batch:post("u" .. i, { city = "cu" .. i }, %s)) end
  ]]):format(count, how or "nil"))
  local accounts = {}
  for i = 1, count do accounts[i] = "u" .. i end
  return accounts
end

-- Sends the signal to nginx and waits for its end.
local function stop(signal)
  place.server:kill(signal)
  assert.is_truthy(place.server.job:wait(20), "nginx does not end: " .. signal)
end

describe("what a batcher accepted is not lost #heavy", function()
  after_each(function()
    if place then
      assert.same({}, alarms())
      place:close()
      place = nil
    end
  end)

  it("by ten reloads under load #slow", function()
    open { workers = 2, spool = true, vendor = { latency_ms = 30 }, batcher = { drain_ms = 3000 } }
    local job = place:load { count = 4000, parallel = 16, pause = 0.01 }
    for _ = 1, 10 do
      place.server:kill("HUP")
      shell.run("sleep 0.2")
    end
    local accepted = place:accepted(job)
    assert.is_true(#accepted > 2000, #accepted)
    assert_delivered(accepted)
    assert.same({}, place:told())
    assert.is_truthy(process.wait_until(function() return #workers() == 2 end))
    assert.is_nil(place.server:errors():match("%[error%][^\n]*"))
  end)

  it("by a reload that leaves no time to drain #slow", function()
    open { workers = 2, spool = true, vendor = { latency_ms = 400 },
      batcher = { drain_ms = 50, linger_ms = 1 }, client = { in_flight_max = 1 } }
    local job = place:load { count = 600, parallel = 8, pause = 0.02 }
    for _ = 1, 4 do
      shell.run("sleep 0.3")
      place.server:kill("HUP")
    end
    local accepted = place:accepted(job)
    assert_delivered(accepted)
    assert.is_truthy(place.server:errors():find("updates are left in the spool", 1, true))
    assert.is_truthy(place.server:errors():find("updates taken up from", 1, true))
  end)

  it("by QUIT: it is sent before the worker ends", function()
    open { workers = 2, vendor = { latency_ms = 50 }, batcher = { linger_ms = 60000 } }
    local accounts = post(250)
    stop "QUIT"
    assert.same({}, place:undelivered(accounts))
    assert.same({}, place:told())
  end)

  it("by QUIT without the time: the rest is in the spool for the next one", function()
    open { spool = true, vendor = { latency_ms = 1500 }, batcher = { drain_ms = 200 } }
    local accounts = post(450)
    stop "QUIT"
    local _, count = place:spooled()
    assert.is_true(count >= 350, count)
    assert.same({}, place:missing(accounts))
    place.vendor:settings { latency_ms = 0 }
    place:again()
    assert_delivered(accounts)
  end)

  it("by TERM: all is in the spool for the next one", function()
    open { workers = 2, spool = true, vendor = { latency_ms = 1500 } }
    local accepted = place:accepted(place:load { count = 300, parallel = 4 })
    assert.equal(300, #accepted)
    stop "TERM"
    local _, count = place:spooled()
    assert.is_true(count >= 290, count)
    assert.same({}, place:missing(accepted))
    place.vendor:settings { latency_ms = 0 }
    place:again()
    assert_delivered(accepted)
  end)

  it("by kill -9, when it was promised to be on disk #slow", function()
    open { workers = 2, spool = true, vendor = { latency_ms = 50 } }
    local job = place:load { count = 1500, parallel = 8, durable = true, pause = 0.01 }
    for _ = 1, 4 do
      shell.run("sleep 0.4")
      local pids = workers()
      shell.run("kill -9 " .. pids[1])
    end
    local accepted = place:accepted(job)
    assert.is_true(#accepted > 500, #accepted)
    assert_delivered(accepted)
  end)

  it("by kill -9 of all there is, at once", function()
    open { workers = 2, spool = true, vendor = { latency_ms = 1500 } }
    local accepted = place:accepted(place:load { count = 200, parallel = 4, durable = true })
    local pids = workers()
    shell.run("kill -9 " .. place.server.pid .. " " .. table.concat(pids, " "))
    assert.same({}, place:missing(accepted))
    local _, count = place:spooled()
    assert.equal(200, count)
    place.vendor:settings { latency_ms = 0 }
    place:again()
    assert_delivered(accepted)
  end)

  it("without a spool: what cannot be sent is told, in one line of the log too", function()
    open { vendor = { latency_ms = 1500 } }
    local accounts = post(320)
    stop "TERM"
    local told, count = place:told(), 0
    for _ in pairs(told) do count = count + 1 end
    assert.equal(320, count)
    assert.same({}, place:missing(accounts))
    local lines = 0
    for line in place.server:errors():gmatch("%[error%][^\n]*") do
      lines = lines + 1
      assert.is_truthy(line:find("320 updates are without an answer (there is no spool)", 1, true))
      assert.is_nil(line:find("cu1", 1, true))
    end
    assert.equal(1, lines)
  end)

  it("by closing: it is sent, and then nothing more is taken", function()
    open { vendor = { latency_ms = 30 } }
    local accounts = post(250)
    assert.is_true(place:lua "return assert(batch:close(20000))")
    assert.same({}, place:undelivered(accounts))
    assert.equal("CLOSED", place:lua [[ return select(2, batch:post("x", { city = "x" })).code ]])
    assert.is_true(place:lua "return assert(batch:close())")
    assert.equal("done", place:lua [[
      batch = assert(client:batcher())
      return batch:set_attr("again", { city = "x" }).fate
    ]])
  end)

  it("by closing in a hurry, or closing the client: it is told", function()
    open { vendor = { latency_ms = 1000 } }
    post(250)
    local answer = place:lua [[
      local ok, err = batch:close(100)
      return { ok == nil, err.code, batch:counts() }
    ]]
    assert.same({ true, "STOPPED" }, { answer[1], answer[2] })
    assert.equal(250, answer[3].not_sent + answer[3].unknown + answer[3].done)
    assert.same({ 0, 0 }, { answer[3].open, answer[3].spooled })
    local left = place:lua [[
      batch = assert(client:batcher { on_result = function() end })
      for i = 1, 250 do assert(batch:post("x" .. i, { city = "x" })) end
      client:close()
      while batch:counts().open > 0 do ngx.sleep(0.05) end
      return batch:counts()
    ]]
    assert.equal(250, left.not_sent + left.unknown + left.done)
  end)
end)

describe("a spool", function()
  after_each(function()
    place:close()
    place = nil
  end)

  -- A file as a worker leaves it: there at once, and its user's own.
  local function write(name, text)
    local path = place.folder .. "/spool/" .. name
    local pipe = assert(io.popen("cat >" .. path .. ".part", "w"))
    pipe:write(text)
    pipe:close()
    assert(shell.run(("cd %s/spool && chown --reference=. %s.part && chmod 600 %s.part && "
      .. "mv %s.part %s"):format(place.folder, name, name, name, name)))
  end

  it("holds one user a line, in files for their owner alone", function()
    open { spool = true, vendor = { latency_ms = 2000 } }
    place:lua [[
      assert(batch:post("one", { city = "c", level = 123456789012345 }, { durable = true }))
      assert(batch:post_remove("two", { "city" }))
    ]]
    stop "TERM"
    local users = {}
    for line in shell.output("cat " .. place.folder .. "/spool/*"):gmatch("[^\n]+") do
      local user = cjson.decode(line)
      users[user.To_Account] = user.Attrs
    end
    assert.same({ one = { city = "c", level = "123456789012345" }, two = { "city" } }, users)
    for mode in shell.output("stat -c %a " .. place.folder .. "/spool/*"):gmatch("%d+") do
      assert.equal("600", mode)
    end
    assert.equal("700", shell.output("stat -c %a " .. place.folder .. "/spool"))
  end)

  it("strikes out what was sent, and is empty in the end", function()
    open { spool = true }
    post(150, "{ durable = true }")
    assert.is_true(place:lua "return assert(batch:flush(20000))")
    assert.same({}, (place:spooled()))
    local size = shell.output("cat " .. place.folder .. "/spool/* | wc -c")
    assert.equal("0", (size:gsub("%s", "")))
    assert.equal(1, #place:spool_files())
    stop "QUIT"
    assert.same({}, place:spool_files())
  end)

  it("gives a file to one worker alone", function()
    open { workers = 4, spool = true }
    place:lua "return true" -- a worker is there, and the folder
    local lines = {}
    for i = 1, 1000 do
      lines[i] = ('{"To_Account":"u%d","Attrs":{"city":"cu%d"}}\n'):format(i, i)
    end
    for i = 0, 9 do
      write(("imattr-1400000000-default-left%d.ndjson"):format(i),
        table.concat(lines, "", i * 100 + 1, i * 100 + 100))
    end
    local accounts = {}
    for i = 1, 1000 do accounts[i] = "u" .. i end
    assert_delivered(accounts)
    assert.equal(1000, place.vendor:stats().commands.im_set_attr.users)
  end)

  it("takes what can be read, and keeps what cannot", function()
    open { spool = true }
    place:lua "return true"
    write("imattr-1400000000-default-torn.ndjson", table.concat {
      '{"To_Account":"u1","Attrs":{"city":"cu1"}}\n', '\n', '{"To_Account":"u2","At\n',
      '{"To_Account":"u3","Attrs":{"city":"cu3"}}\n', '7\n', '{"To_Account":"u4","Attrs":{"ci' })
    write("imattr-1400000000-default-bad.ndjson",
      '{"To_Account":"u5","Attrs":{"city":"' .. ("x"):rep(51) .. '"}}\n')
    write("imattr-1400000001-default-other.ndjson", '{"To_Account":"u6","Attrs":{"city":"cu6"}}\n')
    process.wait_until(function() return #place:undelivered { "u1", "u3" } == 0 end)
    assert.same({}, place:undelivered { "u1", "u3" })
    local names
    process.wait_until(function()
      names = place:spool_files()
      return #names == 2
    end)
    table.sort(names)
    assert.same({ "imattr-1400000000-default-torn.ndjson.bad",
      "imattr-1400000001-default-other.ndjson" }, names)
    assert.is_truthy(place.server:errors():find("3 lines cannot be read", 1, true))
    assert.is_truthy(place:told().u5)
  end)

  it("is refused where others may write, or where there is no place", function()
    open {}
    shell.run("mkdir -m 777 " .. place.folder .. "/wide")
    local message = place:lua(([[
      return tostring(select(2, client:batcher { name = "wide", spool = %q }))
    ]]):format(place.folder .. "/wide"))
    assert.is_truthy(message:find("others may write there; chmod 700 it", 1, true), message)
    message = place:lua [[
      return tostring(select(2, client:batcher { name = "gone", spool = "/proc/no/such" }))
    ]]
    assert.is_truthy(message:find("spool: /proc/no/such: ", 1, true), message)
  end)

  it("promises nothing when the disk is full", function()
    open { spool = true }
    local answer = place:lua [[
      assert(batch:set_attr("first", { city = "x" })) -- what else is a file is there now
      local ffi = require "ffi"
      ffi.cdef "struct spec_limit { unsigned long now, most; }; int setrlimit(int, void *);"
      ffi.cdef "void *signal(int, void *);"
      ffi.C.signal(25, ffi.cast("void *", 1)) -- SIGXFSZ: write fails instead
      ffi.C.setrlimit(1, ffi.new("struct spec_limit", { 100, ffi.cast("unsigned long", -1) }))
      local found = {}
      for i = 1, 4 do
        local ticket, err = batch:post("u" .. i, { city = "cu" .. i }, { durable = true })
        found[i] = ticket and "accepted" or err.code
      end
      ffi.C.setrlimit(1, ffi.new("struct spec_limit", { ffi.cast("unsigned long", -1),
        ffi.cast("unsigned long", -1) }))
      return found
    ]]
    assert.equal("accepted", answer[1])
    assert.equal("SPOOL", answer[4])
    assert.is_true(place:lua "return assert(batch:flush(20000))")
    assert.same({ "u4" }, place:undelivered { "u1", "u4" })
  end)
end)
