-- The engine when the service is out: one request at a time, with growing pauses, until somebody
-- answers or the outage has lasted as long as it may. Time is virtual.

local virtual = require "support.virtual"

local SET = 1
local SECOND_US = virtual.SECOND_US
local MS_US = 1000
local CONNECT, TIMEOUT = virtual.code("CONNECT"), virtual.code("TIMEOUT")

local function world_of(users, changes)
  local config = { in_flight_max = 16, outage_max_us = 60 * SECOND_US }
  for name, value in pairs(changes or {}) do config[name] = value end
  local world = virtual.world(config)
  world:push_users(users)
  return world
end

-- Answers that refuse from the first to the second of two moments, and deliver else.
local function outage(world, first_us, last_us, kind)
  return function()
    if world.now_us >= first_us and world.now_us < last_us then
      return { "retry", kind or CONNECT, kind == TIMEOUT }
    end
    return { "delivered" }
  end
end

-- Requests that were sent within two moments.
local function sent_between(world, first_us, last_us)
  local list = {}
  for _, request in ipairs(world.requests) do
    if request.sent_us >= first_us and request.sent_us < last_us then list[#list + 1] = request end
  end
  return list
end

describe("an outage", function()
  it("is three faults in a row, and lets one request leave at a time", function()
    local world = world_of(1600)
    local requests = world:send()
    assert.equal(16, #requests)
    for i = 1, 3 do world:feed(requests[i], "retry", CONNECT) end
    assert.equal("wait", (world:next()))
    for i = 4, 16 do world:feed(requests[i], "retry", CONNECT) end
    local probe, waited_us = world:after_wait()
    assert(waited_us >= 50 * MS_US and waited_us <= 100 * MS_US, waited_us)
    assert.equal("wait", (world:next()))
    assert.equal(1, world.flight_count)
    world:feed(probe, "delivered")
    assert.equal(15, #world:send())
  end)

  it("is not seen while others are answered", function()
    local world = world_of(600, { in_flight_max = 6 })
    local requests = world:send()
    for i, request in ipairs(requests) do
      world:feed(request, i % 3 == 0 and "split" or "retry", i % 3 == 0 and 90033 or CONNECT)
    end
    assert.equal(4, #world:send()) -- two were split, and their halves go at once
  end)

  it("ends with any answer, also one that refuses", function()
    for _, answer in ipairs { { "slow_down", 60007 }, { "resign", 70001 }, { "split", 90033 } } do
      local world = world_of(400, { in_flight_max = 4 })
      for _, request in ipairs(world:send()) do world:feed(request, "retry", CONNECT) end
      world:feed(world:after_wait(), answer[1], answer[2])
      world.now_us = world.now_us + SECOND_US / 2 -- what waited for its own delay
      assert(#world:send() >= 3, answer[1])
    end
  end)

  it("asks again after 50 to 100 ms, then twice as late each time, at most 20 s", function()
    for seed = 1, 20 do
      local world = world_of(100, { seed = seed, outage_max_us = 3600 * SECOND_US })
      for _ = 1, 3 do world:feed(world:after_wait(), "retry", CONNECT) end
      local most_us = 100 * MS_US
      for _ = 1, 12 do
        local probe, waited_us = world:after_wait()
        assert(waited_us >= most_us / 2 and waited_us <= most_us, waited_us)
        most_us = math.min(20 * SECOND_US, most_us * 2)
        world:feed(probe, "retry", TIMEOUT, true)
      end
    end
  end)

  it("of thirty seconds loses nobody", function()
    local world = world_of(5000)
    local counts = world:run(outage(world, 50 * MS_US, 30 * SECOND_US, TIMEOUT))
    assert.equal(5000, counts.done)
    assert(counts.retries <= 16 + 15, counts.retries)
  end)

  it("of sixty seconds costs few requests, at last one in ten seconds", function()
    local world = world_of(10000, { outage_max_us = 300 * SECOND_US })
    local counts = world:run(outage(world, 10 * MS_US, 60 * SECOND_US))
    assert.equal(10000, counts.done)
    assert(#sent_between(world, SECOND_US, 60 * SECOND_US) <= 12)
    assert(#sent_between(world, 20 * SECOND_US, 40 * SECOND_US) <= 4)
  end)

  it("that lasts ends the run when its time is over, and says why", function()
    local cases = { { CONNECT, "not_sent", "CONNECT" }, { TIMEOUT, "unknown", "TIMEOUT" } }
    for _, case in ipairs(cases) do
      local world = world_of(2000)
      local counts = world:run(outage(world, 0, math.huge, case[1]))
      assert.equal(case[3], world.engine:stop_code())
      assert.equal(2000, counts.unknown + counts.not_sent)
      assert.equal(case[2] == "unknown" and 1600 or 0, counts.unknown)
      assert.equal(case[3], world.results[2000].code)
      assert(world.now_us >= 60 * SECOND_US and world.now_us <= 61 * SECOND_US, world.now_us)
    end
  end)

  it("takes no attempt from a request, so it may last longer than attempts_max allows", function()
    local world = world_of(100, { attempts_max = 3 })
    local counts = world:run(outage(world, 0, 20 * SECOND_US))
    assert.equal(100, counts.done)
    assert(counts.requests > 3)
  end)

  it("is not waited for by a run that has never been answered", function()
    local world = world_of(1000, { probing = true })
    local counts = world:run(outage(world, 0, math.huge))
    assert.equal(5, counts.requests)
    assert.equal("CONNECT", world.engine:stop_code())
    assert(world.now_us < 2 * SECOND_US)
  end)

  it("is not waited for without outage_max_us: attempts count", function()
    local world = world_of(1000, { outage_max_us = 0, attempts_max = 4 })
    local counts = world:run(outage(world, 0, math.huge))
    assert.equal("CONNECT", world.engine:stop_code())
    assert(counts.requests <= 40 and world.now_us < 2 * SECOND_US)
  end)

  it("is never longer than the deadline", function()
    local world = world_of(1000, { deadline_us = 7 * SECOND_US })
    world:run(outage(world, 0, math.huge))
    assert.equal("DEADLINE", world.engine:stop_code())
    assert(world.now_us <= 7 * SECOND_US + virtual.RTT_US)
  end)

  it("ends when the credit is used up", function()
    local world = world_of(100, { outage_max_us = 1e6 * SECOND_US })
    local counts = world:run(outage(world, 0, math.huge))
    assert.equal(501, counts.requests)
    assert.equal("CONNECT", world.engine:stop_code())
  end)
end)

describe("a vendor that wants to be left alone (70050)", function()
  it("is left alone for a minute by all, and asked again", function()
    local world = world_of(300, { in_flight_max = 3 })
    local requests = world:send()
    world:feed(requests[1], "hold_off", 70050)
    world:feed(requests[2], "delivered")
    world:feed(requests[3], "retry", CONNECT)
    world:push(SET, "later", { x = "1" })
    world:flush(true)
    local again, waited_us = world:after_wait()
    assert.equal(60 * SECOND_US, waited_us)
    assert.equal(2, again.attempt)
    assert.equal(2, #world:send())
  end)

  it("is left alone for that minute also when an outage begins", function()
    local world = world_of(500, { in_flight_max = 5 })
    local requests = world:send()
    world:feed(requests[1], "hold_off", 70050)
    for i = 2, 5 do world:feed(requests[i], "retry", CONNECT) end
    local _, waited_us = world:after_wait()
    assert.equal(60 * SECOND_US, waited_us)
  end)

  it("and says so again after that minute ends the run", function()
    local world = world_of(200, { in_flight_max = 1 })
    local counts = world:run(function() return { "hold_off", 70050 } end)
    assert.equal(2, counts.requests)
    assert.equal("70050", world.engine:stop_code())
    assert.equal(200, counts.not_sent)
  end)
end)
