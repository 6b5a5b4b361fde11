-- The engine's bounds, and how a run is stopped. Time is virtual; spec/support/virtual.lua checks
-- the books after every step.

local core = require "imattr.core"
local virtual = require "support.virtual"

local SET, REMOVE = 1, 2
local SECOND_US = virtual.SECOND_US
local MS_US = 1000

-- { fate = count }, without the zeros.
local function fates(counts)
  local found = {}
  for _, fate in ipairs(virtual.FATES) do
    if counts[fate] > 0 then found[fate] = counts[fate] end
  end
  return found
end

-- The attributes of the first user of a request.
local function attrs_of(request)
  return request.object.UserAttrs[1].Attrs
end

describe("bounds", function()
  it("answers FULL when queue_max updates wait, merged ones counted", function()
    local world = virtual.world { queue_max = 3 }
    world:push(SET, "a", { x = "1" })
    world:push(SET, "b", { x = "1" })
    assert.equal(1, world.engine:room())
    world:push(SET, "a", { x = "2" })
    assert.equal(0, world.engine:room())
    local ticket, code, message = world:push(SET, "c", { x = "1" })
    assert.is_nil(ticket)
    assert.equal("FULL", code)
    assert.equal("too many updates wait; take results or wait for replies first", message)
    assert.equal(3, world:counts().users)
  end)

  it("wants as many updates as make a full batch ready, and no more than there is room", function()
    local world = virtual.world { users_max = 100, queue_max = 150 }
    assert.equal(100, world.engine:wants())
    world:push_users(99)
    assert.equal(1, world.engine:wants())
    world:push(SET, "u1", { city = "again" }) -- joins, and fills no place
    assert.equal(1, world.engine:wants())
    world:push(SET, "b", { x = "1" })
    assert.equal(0, world.engine:wants())
    assert.equal(100, world:sent().users)
    assert.equal(100, world.engine:wants())
    for i = 1, 60 do world:push(SET, "b", { ["x"] = tostring(i) }) end -- held as one
    assert.equal(90, world.engine:wants())
    world:stop("STOPPED")
    assert.equal(0, world.engine:wants())
  end)

  it("wants nothing while any lane has a full batch", function()
    local world = virtual.world { users_max = 2 }
    world:push(SET, "a", { x = "1" })
    world:push(REMOVE, "b", { "x" })
    assert.equal(1, world.engine:wants())
    world:push(REMOVE, "c", { "x" })
    assert.equal(0, world.engine:wants())
  end)

  it("lets fewer than a batch leave when the queue is full", function()
    local world = virtual.world { queue_max = 7 }
    world:push_users(7)
    assert.equal(7, world:sent().users)
    assert.equal(7, world.engine:room())
  end)

  it("gets out of a queue that is full of updates held for a user in flight", function()
    local world = virtual.world { queue_max = 2 }
    world:push(SET, "a", { x = "1" })
    world:push(SET, "a", { x = "2" })
    local request = world:sent()
    world:push(SET, "a", { x = "3" })
    world:push(REMOVE, "a", { "x" })
    assert.equal("FULL", select(2, world:push(SET, "b", { x = "1" })))
    assert.same({ "wait", nil }, { world:next() })
    world:feed(request, "delivered")
    assert.same({ x = "3" }, attrs_of(world:sent()))
  end)

  it("keeps to in_flight_max, and goes on when a reply comes", function()
    local world = virtual.world { in_flight_max = 3, users_max = 1 }
    world:push_users(10)
    local requests, answer, until_us = world:send()
    assert.same({ 3, "wait" }, { #requests, answer, until_us })
    world:feed(requests[2], "delivered")
    assert.equal(1, #world:send())
    assert.equal(4, world:counts().requests)
  end)

  it("closes a body before it passes body_bytes_max", function()
    for bytes_max = 200, 260 do
      local world = virtual.world { body_bytes_max = bytes_max }
      world:push_users(30)
      local longest = 0
      local counts = world:run(function(request)
        assert(#request.body <= bytes_max, ("%d bytes, limit %d"):format(#request.body, bytes_max))
        longest = math.max(longest, #request.body)
        return { "delivered" }
      end)
      assert.equal(30, counts.done)
      assert(longest > bytes_max - 45, "could be longer than " .. longest)
    end
  end)

  it("sends a user alone whose body cannot be within body_bytes_max", function()
    local world = virtual.world { body_bytes_max = 1 }
    world:push_users(3)
    assert.equal(3, world:run(virtual.delivered).requests)
  end)

  it("waits for its pace, and no longer", function()
    local pace = core.pace(10, "strict")
    local world = virtual.world { lanes = { { shape = "set", pace = pace } }, users_max = 1 }
    world:push_users(30)
    world:run(virtual.delivered)
    assert(world.now_us >= 2 * SECOND_US and world.now_us < 3 * SECOND_US, world.now_us)
    for i = 11, 30 do
      assert(world.requests[i].sent_us - world.requests[i - 10].sent_us > SECOND_US)
    end
  end)

  it("gets on while time stands still", function()
    local world = virtual.world { lanes = { { shape = "set", pace = core.pace(5, "strict") } } }
    world:push_users(200)
    local first = world:sent()
    for _ = 1, 10 do
      local answer, until_us = world:next()
      assert.equal("wait", answer)
      assert.equal(180 * MS_US, until_us)
    end
    world:feed(first, "delivered")
    assert.equal("wait", (world:next()))
    world.now_us = 180 * MS_US
    world:feed(world:sent(), "delivered")
    assert.equal(200, world:counts().done)
  end)
end)

describe("a stop", function()
  -- Three batches: two in flight, one waiting.
  local function two_in_flight()
    local world = virtual.world { in_flight_max = 2 }
    world:push_users(300)
    local requests = world:send()
    assert.equal(2, #requests)
    return world, requests[1], requests[2]
  end

  it("ends the run at once for a mistake of set-up", function()
    local world, first, second = two_in_flight()
    world:push(SET, "u101", { x = "held" })
    world:feed(first, "stop", 70009)
    assert.same({ not_sent = 200 }, fates(world:counts()))
    assert.same({ fate = "not_sent", code = "70009", attempts = 1, account = "u1" },
      world.results[1])
    assert.same({ fate = "not_sent", code = "70009", attempts = 0, account = "u300" },
      world.results[300])
    assert.same({ "wait", nil }, { world:next() })
    world:feed(second, "delivered")
    assert.equal("idle", (world:next()))
    assert.same({ done = 100, not_sent = 201 }, fates(world:counts()))
    assert.equal(2, world:counts().requests)
    assert.equal("70009", world.engine:stop_code())
  end)

  for _, case in ipairs {
    { "delivered", nil, nil, "done" },
    { "retry", virtual.code("CUT"), true, "unknown" },
    { "retry", virtual.code("CONNECT"), false, "not_sent" },
    { "slow_down", 60007, false, "not_sent" },
    { "resign", 70001, false, "not_sent" },
    { "split", 90033, false, "not_sent" },
    { "stop", 60010, false, "not_sent" },
    { "give_up", virtual.code("BAD_REPLY"), true, "unknown" },
    { "skip", virtual.code("DRY_RUN"), false, "not_sent" },
  } do
    it(("lets what is in flight have its verdict: %s, %s"):format(case[1], case[4]), function()
      local world, first, second = two_in_flight()
      world:stop("INTERRUPTED")
      assert.same({ not_sent = 100 }, fates(world:counts()))
      world:feed(first, "delivered")
      world:feed(second, case[1], case[2], case[3])
      assert.equal("idle", (world:next()))
      assert.equal(case[4], world.results[150].fate)
      assert.equal(2, world:counts().requests)
      assert.equal("INTERRUPTED", world.engine:stop_code())
    end)
  end

  it("ends what waits for a retry: unknown when it may have arrived", function()
    local world, first, second = two_in_flight()
    world:feed(first, "retry", virtual.code("TIMEOUT"), true)
    world:feed(second, "retry", virtual.code("CONNECT"), false)
    world:stop("INTERRUPTED")
    assert.same({ unknown = 100, not_sent = 200 }, fates(world:counts()))
    assert.equal("TIMEOUT", world.results[1].code)
    assert.equal("CONNECT", world.results[101].code)
    assert.equal("INTERRUPTED", world.results[201].code)
    assert.equal("idle", (world:next()))
  end)

  it("takes nothing more, and the first stop stands", function()
    local world = virtual.world()
    assert.is_nil(world.engine:stop_code())
    world:stop("INTERRUPTED")
    world:stop("DEADLINE")
    assert.equal("INTERRUPTED", world.engine:stop_code())
    assert.equal("FULL", select(2, world:push(SET, "a", { x = "1" })))
    assert.equal("idle", (world:next()))
  end)

  it("leaves no room", function()
    local world = virtual.world()
    world:stop("INTERRUPTED")
    assert.equal(0, world.engine:room())
  end)

  it("comes at the deadline; what is in flight is waited for", function()
    local world = virtual.world { deadline_us = SECOND_US, in_flight_max = 1 }
    world:push_users(300)
    local counts = world:run(function() return { "delivered", rtt_us = 3 * SECOND_US } end)
    assert.same({ done = 100, not_sent = 200 }, fates(counts))
    assert.equal("DEADLINE", world.results[300].code)
    assert.equal(3 * SECOND_US, world.now_us)
  end)

  it("ends a retry that would be later than the deadline", function()
    local world = virtual.world { deadline_us = SECOND_US, attempts_max = 100 }
    world:push_users(1)
    local counts = world:run(function() return { "retry", virtual.code("TIMEOUT"), true } end)
    assert.same({ unknown = 1 }, fates(counts))
    assert(world.now_us < SECOND_US + virtual.RTT_US + 1, world.now_us)
  end)
end)
