-- The spool, where a worker of nginx dies at a system call of its own: an update that was promised
-- to be on disk is delivered all the same, by the worker that follows.

local collector = require "support.collector"
local process = require "support.process"
local rig = require "crash.rig"
local shell = require "imattr.sandbox.shell"

-- call, which one: of a worker that takes up 40 updates of a dead one and promises 400 of its own
local KILLS = {
  { "openat", 2 }, { "rename", 1 }, { "fsync", 1 }, { "fsync", 150 }, { "pwrite64", 1 },
  { "pwrite64", 2 }, { "pwrite64", 333 }, { "unlink", 1 }, { "ftruncate", 1 },
}

local place

-- The worker that is not about to end, other than one that is gone.
local function worker(other)
  return assert(process.wait_until(function()
    local pid = tonumber((shell.output("ps --no-headers -o pid= --ppid " .. place.server.pid)))
    return pid ~= other and pid
  end, 10), "no worker")
end

-- Lets a process die at a call of its own: the job of strace, once it watches.
local function watch(pid, call, nth)
  local job = process.start({ "strace", "-f", "-o", "/dev/null", "-p", tostring(pid), "-e",
    "trace=" .. call, "-e", ("inject=%s:signal=SIGKILL:when=%d"):format(call, nth) })
  assert(process.wait_until(function() return job:read("stderr"):find("attached", 1, true) end),
    job:read("stderr"))
  return job
end

describe("a worker that is killed #slow", function()
  local can_trace, why

  setup(function() can_trace, why = rig.can_trace() end)
  after_each(function()
    if place then place:close() end
    place = nil
  end)

  for _, case in ipairs(KILLS) do
    local call, nth = case[1], case[2]
    it(("at %s %d keeps what it promised"):format(call, nth), function()
      if not can_trace then return pending(why) end
      place = collector.open { workers = 1, spool = true, vendor = { latency_ms = 1500 } }
      local accepted = place:accepted(place:load { count = 40, parallel = 4, durable = true,
        prefix = "first" })
      assert.equal(40, #accepted)
      local first = worker()
      shell.run("kill -9 " .. first)
      local second = worker(first)
      local strace = watch(second, call, nth)
      place.vendor:settings { latency_ms = 20 }
      local load = place:load { count = 400, parallel = 4, durable = true, pause = 0.002 }
      assert.is_truthy(strace:wait(20), "it is not killed")
      strace:close()
      assert.is_false(process.exists(second))
      for _, account in ipairs(place:accepted(load)) do accepted[#accepted + 1] = account end
      assert.is_true(#accepted > 300, #accepted)
      process.wait_until(function() return #place:undelivered(accepted) == 0 end, 10)
      assert.same({}, place:undelivered(accepted), place.server:errors():sub(-2000))
      process.wait_until(function() return next((place:spooled())) == nil end, 5)
      assert.same({}, (place:spooled()))
    end)
  end
end)
