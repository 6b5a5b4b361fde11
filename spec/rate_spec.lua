-- The quota as the server sees it: four real processes, one sandbox, and a process that dies with
-- slots in its hand. How fast they are is for `make rate`; here the limit is what counts.

local core = require "imattr.core"
local process = require "support.process"
local rings = require "support.rings"
local sandbox = require "support.sandbox"

local SENDER = [[
  local imattr = require "imattr"
  local core = require "imattr.core"
  local client = assert(imattr.new {
    sdkappid = %d, identifier = %q, key = %q, endpoint = %q, ca_file = %q,
    in_flight_max = 100,
  })
  local until_us = core.now_us() + %d * 1000000
  local number = 0
  local report, err = client:set_attr(function()
    number = number + 1
    if core.now_us() < until_us then
      return "u" .. core.getpid() .. "-" .. number, { city = "x" }
    end
  end)
  assert(report.ok, tostring(err))
  print(report.requests)
]]

local ENVIRONMENT = { LUA_PATH = "./lua/?.lua;;", LUA_CPATH = rings.environment.LUA_CPATH .. ";;" }

local function start_senders(server, count, seconds)
  local jobs = {}
  for index = 1, count do
    local code = SENDER:format(server.sdkappid, server.identifier, server.key, server.endpoint,
      server.ca_file, seconds)
    jobs[index] = process.start({ rings.interpreter, "-e", code }, { env = ENVIRONMENT })
  end
  return jobs
end

for _, latency_ms in ipairs { 5, 80 } do
  describe(("four processes, answers after %d ms #timing #slow"):format(latency_ms), function()
    it("never send more than 100 requests in any second, as the server counts", function()
      local server = sandbox.start { latency_ms = latency_ms, store = false, max_seconds = 60 }
      local requests = 0
      for _, job in ipairs(start_senders(server, 4, 4)) do
        local result = job:wait(30)
        job:close()
        assert.equal(0, result.code, result.stderr)
        requests = requests + tonumber(result.stdout)
      end
      local stats = server:stats().commands.im_set_attr
      server:stop()
      assert.same({}, stats.by_code)
      assert.equal(requests, stats.arrivals)
      assert(stats.max_in_second <= 100, stats.max_in_second)
      assert(requests > 200, requests)
    end)
  end)
end

describe("a process killed with all slots in its hand #timing #slow", function()
  local TIMEOUT_S = 10 -- the default of timeout_ms

  it("blocks the others, but not for longer than timeout and a second", function()
    local server = sandbox.start { latency_ms = 5, store = false, max_seconds = 60 }
    local ring = ("%d-im_set_attr-%s"):format(server.sdkappid,
      server.endpoint:match("//(.*)$"):gsub(":", "_"))
    local pace = assert(core.pace(100, "strict", ring))
    local killed = start_senders(server, 1, 30)[1]
    core.sleep_us(500000) -- its first request was taken: from now on many go at once
    server:settings { latency_ms = 8000 }
    core.sleep_us(2500000) -- every slot is taken again, and none answered
    killed:close()
    local killed_us = core.now_us()
    core.sleep_us(100000) -- longer than the distance between two sends
    assert.is_nil((pace:take(core.now_us(), 0)))

    server:settings { latency_ms = 5 }
    local slot
    repeat
      core.sleep_us(20000)
      slot = pace:take(core.now_us(), 0)
    until slot or core.now_us() > killed_us + 30000000
    local blocked_s = (core.now_us() - killed_us) / 1e6
    pace:close()
    assert(slot and blocked_s > 1 and blocked_s < TIMEOUT_S + 1, blocked_s)

    local next_one = start_senders(server, 1, 1)[1]
    local result = next_one:wait(30)
    next_one:close()
    local stats = server:stats().commands.im_set_attr
    server:stop()
    assert.equal(0, result.code, result.stderr)
    assert(stats.max_in_second <= 100, stats.max_in_second)
  end)
end)
