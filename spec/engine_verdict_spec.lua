-- What the engine does with a verdict: retry, slow down, sign again, split, give up. Time is
-- virtual; spec/support/virtual.lua checks the books after every step.

local core = require "imattr.core"
local virtual = require "support.virtual"

local SET = 1
local SECOND_US = virtual.SECOND_US
local MS_US = 1000
local TIMEOUT = virtual.code("TIMEOUT")
local CONNECT = virtual.code("CONNECT")

local function fates(counts)
  local found = {}
  for _, fate in ipairs(virtual.FATES) do
    if counts[fate] > 0 then found[fate] = counts[fate] end
  end
  return found
end

-- Answers with the verdicts of a list, one after the other, then with the last again and again.
local function one_by_one(verdicts)
  local i = 0
  return function()
    i = math.min(i + 1, #verdicts)
    return verdicts[i]
  end
end

local function world_of(count, changes)
  local world = virtual.world(changes)
  world:push_users(count)
  world:flush(true)
  return world
end

describe("retry", function()
  it("sends the same body, byte for byte, whatever was pushed meanwhile", function()
    local world = world_of(100)
    local first = world:sent()
    for attempt = 2, 5 do
      world:push(SET, "u1", { city = "new" })
      world:feed(world.requests[#world.requests], "retry", TIMEOUT, true)
      local again = world:after_wait()
      assert.equal(first.body, again.body)
      assert.equal(attempt, again.attempt)
      assert.not_equal(first.id, again.id)
    end
    assert.equal(4, world:counts().retries)
  end)

  it("waits at most 50 ms * 2^(n-1), capped at 20 s, and takes all of that span #slow", function()
    local least, most = {}, {}
    for seed = 1, 200 do
      local world = world_of(1, { attempts_max = 13, seed = seed })
      local request = world:sent()
      for n = 1, 12 do
        world:feed(request, "retry", TIMEOUT, true)
        local waited_us
        request, waited_us = world:after_wait()
        local span_us = math.min(20 * SECOND_US, 50 * MS_US * 2 ^ (n - 1))
        assert(waited_us <= span_us, ("attempt %d waits %d us"):format(n, waited_us))
        least[n] = math.min(least[n] or 1, waited_us / span_us)
        most[n] = math.max(most[n] or 0, waited_us / span_us)
      end
    end
    for n = 1, 12 do
      assert(least[n] < 0.05 and most[n] > 0.95, ("%d: %g to %g"):format(n, least[n], most[n]))
    end
  end)

  it("draws the same waits from the same seed, others from another", function()
    local function waits(seed)
      local world = world_of(1, { seed = seed })
      local found = {}
      world:run(function(request)
        found[#found + 1] = request.sent_us
        return { "retry", TIMEOUT }
      end)
      return table.concat(found, " ")
    end
    assert.equal(waits(7), waits(7))
    assert.not_equal(waits(7), waits(8))
  end)

  for _, case in ipairs {
    { "may have arrived", true, "unknown" }, { "cannot have arrived", false, "not_sent" },
  } do
    it(("gives up after attempts_max; %s: %s"):format(case[1], case[3]), function()
      for attempts_max = 1, 4 do
        local world = world_of(2, { attempts_max = attempts_max })
        local counts = world:run(function() return { "retry", CONNECT, case[2] } end)
        assert.same({ [case[3]] = 2 }, fates(counts))
        assert.equal(attempts_max, counts.requests)
        assert.same({ fate = case[3], code = "CONNECT", attempts = attempts_max, account = "u2" },
          world.results[2])
      end
    end)
  end

  it("remembers one attempt that may have arrived among others that cannot", function()
    local world = world_of(1, { attempts_max = 3 })
    world:run(one_by_one { { "retry", CONNECT }, { "retry", TIMEOUT, true }, { "retry", CONNECT } })
    assert.same({ fate = "unknown", code = "CONNECT", attempts = 3, account = "u1" },
      world.results[1])
  end)

  it("gives up at once where asking again cannot help", function()
    local world = world_of(1)
    local counts = world:run(function() return { "give_up", virtual.code("BAD_REPLY"), true } end)
    assert.same({ unknown = 1 }, fates(counts))
    assert.equal(1, counts.requests)
  end)

  it("has a budget: 500 to begin with, then a tenth of what succeeds", function()
    local world = world_of(1, { attempts_max = 1000 })
    assert.equal(501, world:run(function() return { "retry", TIMEOUT } end).requests)
    local function retries_after(delivered)
      for i = 1, delivered do
        world:push(SET, "more" .. i, { x = "1" })
        world:run(virtual.delivered)
      end
      world:push(SET, "bad", { x = "1" })
      local before = world:counts().requests
      return world:run(function() return { "retry", TIMEOUT } end).requests - before - 1
    end
    assert.equal(0, retries_after(9))
    assert.equal(1, retries_after(1))
    assert.equal(2, retries_after(29))
  end)

  it("ends the run when three requests in a row are given up", function()
    local world = world_of(500, { attempts_max = 1, in_flight_max = 1 })
    local counts = world:run(function() return { "retry", CONNECT } end)
    assert.equal(3, counts.requests)
    assert.same({ not_sent = 500 }, fates(counts))
    assert.equal("CONNECT", world.engine:stop_code())
    assert.same({ fate = "not_sent", code = "CONNECT", attempts = 0, account = "u500" },
      world.results[500])
  end)

  it("goes on when one is delivered between them", function()
    local world = world_of(1000, { attempts_max = 1, in_flight_max = 1 })
    local bad = { "retry", CONNECT }
    local good = { "delivered" }
    local counts = world:run(one_by_one { bad, bad, good, bad, bad, good, bad, good })
    assert.equal(10, counts.requests)
    assert.same({ done = 500, not_sent = 500 }, fates(counts))
    assert.is_nil(world.engine:stop_code())
  end)

  it("holds new batches back while in_flight_max requests wait to be sent again", function()
    local world = world_of(400, { in_flight_max = 3 })
    for _, request in ipairs(world:send()) do world:feed(request, "slow_down", 60007) end
    local answer, until_us = world:next()
    assert.equal("wait", answer)
    assert(until_us >= SECOND_US and until_us <= 2 * SECOND_US, until_us)
    assert.equal(100, world:counts().waiting)
  end)

  it("sends first what has waited longest", function()
    local world = world_of(500, { in_flight_max = 5 })
    for i, request in ipairs(world:send()) do
      world.now_us = (6 - i) * 30 * SECOND_US - 100 * SECOND_US
      world:feed(request, "slow_down", 60007)
    end
    world.now_us = 3600 * SECOND_US
    for i = 5, 1, -1 do assert.equal("u" .. i * 100, world:sent().accounts[100]) end
  end)

  it("lets others pass while one waits", function()
    local world = world_of(300, { in_flight_max = 2 })
    local requests = world:send()
    world:feed(requests[1], "slow_down", 60007)
    world:feed(requests[2], "delivered")
    assert.equal("u201", world:sent().accounts[1])
  end)

  it("takes a slot of its own", function()
    local pace = core.pace(1, "strict")
    local world = world_of(1, { lanes = { { shape = "set", pace = pace } } })
    world:feed(world:sent(), "retry", TIMEOUT, true)
    local _, waited_us = world:after_wait()
    assert.equal(SECOND_US + MS_US, waited_us)
  end)
end)

describe("slow down", function()
  it("is not an attempt, waits a second and more, and slows the pace", function()
    local pace = core.pace(100, "strict")
    local world = world_of(1, { attempts_max = 1, lanes = { { shape = "set", pace = pace } } })
    for n = 1, 4 do
      world:feed(world.requests[n] or world:sent(), "slow_down", 60007)
      local _, waited_us = world:after_wait()
      assert(waited_us >= SECOND_US and waited_us <= SECOND_US * (1 + 2 ^ (n - 1)), waited_us)
    end
    world:feed(world.requests[5], "delivered")
    assert.same({ fate = "done", attempts = 5, account = "u1" }, world.results[1])
    assert.equal(4, world:counts().retries)
  end)

  it("makes the next sends rarer", function()
    local pace = core.pace(100, "strict")
    local world = world_of(2, { users_max = 1, lanes = { { shape = "set", pace = pace } } })
    local _, answer, until_us = world:send()
    assert.same({ "wait", 9 * MS_US }, { answer, until_us })
    world:feed(world.requests[1], "slow_down", 60007)
    world.now_us = 9 * MS_US
    world:sent()
    world:push(SET, "more", { x = "1" })
    answer, until_us = world:next()
    assert.equal("wait", answer)
    local gap_us = until_us - world.now_us
    assert(gap_us > 14.2 * MS_US and gap_us < 14.3 * MS_US, gap_us)
  end)

  it("does not go on for ever: given up after 60", function()
    local world = world_of(1)
    local counts = world:run(function() return { "slow_down", 60007 } end)
    assert.equal(60, counts.requests)
    assert.same({ fate = "not_sent", code = "60007", attempts = 60, account = "u1" },
      world.results[1])
    assert(world.now_us > 59 * SECOND_US and world.now_us < 60 * 21 * SECOND_US)
  end)
end)

describe("sign again", function()
  it("sends the same body at once, and is not an attempt", function()
    local world = world_of(2, { attempts_max = 1 })
    local first = world:sent()
    world:feed(first, "resign", 70001)
    local again = world:sent()
    assert.equal(first.body, again.body)
    world:feed(again, "delivered")
    assert.same({ fate = "done", attempts = 2, account = "u2" }, world.results[2])
  end)

  it("ends the run when it is asked for twice", function()
    local world = world_of(200, { in_flight_max = 1 })
    local counts = world:run(function() return { "resign", 70003 } end)
    assert.equal(2, counts.requests)
    assert.same({ not_sent = 200 }, fates(counts))
    assert.equal("70003", world.engine:stop_code())
  end)

  it("is once for each request, also with others in flight", function()
    local world = world_of(300)
    local seen = {}
    local counts = world:run(function(request)
      local again = seen[request.body]
      seen[request.body] = true
      return again and { "delivered" } or { "resign", 70001 }
    end)
    assert.equal(6, counts.requests)
    assert.same({ done = 300 }, fates(counts))
  end)
end)

describe("split", function()
  it("finds one bad user among 100 with at most 14 requests more, wherever he is #slow", function()
    local most = 0
    for i = 1, 100 do
      local world = world_of(100)
      local counts = world:run(virtual.refuses { ["u" .. i] = true })
      assert.same({ done = 99, refused = 1 }, fates(counts))
      assert.equal("refused", world.results[i].fate)
      assert.equal("90033", world.results[i].code)
      most = math.max(most, counts.requests)
    end
    assert(most <= 15, most .. " requests")
  end)

  for _, case in ipairs {
    { "two bad users side by side", { 1, 2 }, 15 },
    { "two bad users far apart", { 1, 100 }, 27 },
    { "three bad users", { 1, 50, 100 }, 39 },
  } do
    it("finds " .. case[1], function()
      local bad = {}
      for _, i in ipairs(case[2]) do bad["u" .. i] = true end
      local world = world_of(100)
      local counts = world:run(virtual.refuses(bad))
      assert.same({ done = 100 - #case[2], refused = #case[2] }, fates(counts))
      assert(counts.requests <= case[3], counts.requests .. " requests")
    end)
  end

  it("ends when all are bad", function()
    local world = world_of(100)
    local counts = world:run(function() return { "split", 90001 } end)
    assert.same({ refused = 100 }, fates(counts))
    assert.equal(199, counts.requests)
    assert.is_nil(world.engine:stop_code())
  end)

  it("does not forget that an attempt before it may have arrived", function()
    local world = world_of(2, { attempts_max = 1 })
    world:feed(world:sent(), "slow_down", 60007, true)
    local again = world:after_wait()
    world:feed(again, "split", 90033)
    for _, half in ipairs(world:send()) do world:feed(half, "stop", 70009) end
    assert.equal("unknown unknown", world:fates())
  end)

  it("refuses a user alone", function()
    local world = world_of(1)
    local counts = world:run(function() return { "split", 60015 } end)
    assert.equal(1, counts.requests)
    assert.same({ fate = "refused", code = "60015", attempts = 1, account = "u1" },
      world.results[1])
  end)

  it("refuses every ticket merged into the bad user's update", function()
    local world = world_of(100)
    world:push(SET, "u50", { tier = "1" })
    world:push(SET, "u51", { tier = "1" })
    world:push(SET, "u50", { tier = "2" })
    local counts = world:run(virtual.refuses { u50 = true })
    assert.same({ done = 100, refused = 3 }, fates(counts))
    for _, ticket in ipairs { 50, 101, 103 } do
      assert.equal("refused", world.results[ticket].fate)
    end
    assert.equal("done", world.results[102].fate)
  end)

  it("keeps the order of the users in the halves", function()
    local world = world_of(7)
    local told = {}
    world:run(function(request)
      told[#told + 1] = table.concat(request.accounts, " ")
      return #told == 1 and { "split", 90033 } or { "delivered" }
    end)
    assert.same({ "u1 u2 u3 u4 u5 u6 u7", "u1 u2 u3", "u4 u5 u6 u7" }, told)
  end)

  it("gives each half all attempts, and a signature of its own", function()
    local world = world_of(2, { attempts_max = 2 })
    local seen = {}
    local counts = world:run(function(request)
      local turn = (seen[request.body] or 0) + 1
      seen[request.body] = turn
      if request.users == 2 then
        return turn == 1 and { "retry", TIMEOUT, true } or { "split", 90033 }
      end
      return turn == 1 and { "retry", TIMEOUT, true } or { "delivered" }
    end)
    assert.same({ done = 2 }, fates(counts))
    assert.equal(6, counts.requests)
  end)

  it("calls half of a refused batch not sent when the network then fails", function()
    local world = world_of(2, { attempts_max = 1 })
    local counts = world:run(function(request)
      return request.users == 2 and { "split", 90033 } or { "retry", CONNECT }
    end)
    assert.same({ not_sent = 2 }, fates(counts))
  end)

  it("keeps to in_flight_max, and goes before new batches", function()
    local world = world_of(300, { in_flight_max = 1 })
    local sizes = {}
    world:run(function(request)
      sizes[#sizes + 1] = request.users
      return #sizes == 1 and { "split", 90033 } or { "delivered" }
    end)
    assert.same({ 100, 50, 50, 100, 100 }, sizes)
  end)

  it("splits 64 batches at once, one bad user in each #slow", function()
    local bad = {}
    for i = 1, 6400, 100 do bad["u" .. i + i % 97] = true end
    local world = world_of(6400)
    local counts = world:run(virtual.refuses(bad))
    assert.same({ done = 6336, refused = 64 }, fates(counts))
    assert(counts.requests <= 64 * 15, counts.requests)
  end)
end)

describe("refused users", function()
  it("are refused, and the others of the request are done", function()
    local world = world_of(4)
    local request = world:sent()
    world.engine:refuse_user(request.id, "u2", 70107)
    world.engine:refuse_user(request.id, "u4", 90018)
    world.engine:refuse_user(request.id, "u4", 70107)
    world:feed(request, "delivered")
    assert.equal("done refused done refused", world:fates())
    assert.same({ fate = "refused", code = "70107", attempts = 1, account = "u4" },
      world.results[4])
    assert.equal("idle", (world:next()))
  end)

  it("are so with every ticket that was merged", function()
    local world = world_of(2)
    world:push(SET, "u1", { x = "1" })
    world:run(function() return { "delivered", refused = { u1 = 70107 } } end)
    assert.equal("refused done refused", world:fates())
  end)

  it("can be sent again", function()
    local world = world_of(1)
    world:run(function() return { "delivered", refused = { u1 = 70107 } } end)
    world:push(SET, "u1", { x = "1" })
    world:run(virtual.delivered)
    assert.equal("refused done", world:fates())
  end)
end)

describe("skip", function()
  it("sends nothing and says so", function()
    local world = world_of(150)
    local counts = world:run(function() return { "skip", virtual.code("DRY_RUN") } end)
    assert.same({ not_sent = 150 }, fates(counts))
    assert.equal("DRY_RUN", world.results[150].code)
    assert.is_nil(world.engine:stop_code())
  end)
end)

describe("what an engine does not know", function()
  it("changes nothing: late, twice, or never sent", function()
    local world = virtual.world()
    world:push_users(3)
    world:flush(true)
    local first = world:sent()
    world:feed(first, "retry", virtual.code("CUT"), true)
    local second = world:after_wait()
    local before = world.engine:counts()
    for _, id in ipairs { first.id, second.id + 1, 0, -1, 1, 7, 2 ^ 52, -2 ^ 53 } do
      for _, verdict in ipairs { "delivered", "stop", "split", "retry" } do
        assert.same({ nil, "UNKNOWN_ID", "no request with this id is in flight" },
          { world.engine:feed(id, world.now_us, verdict, 70009) })
      end
      assert.equal("UNKNOWN_ID", select(2, world.engine:refuse_user(id, "u1", 90033)))
    end
    assert.same(before, world.engine:counts())
    world:feed(second, "delivered")
    assert.is_nil((world.engine:feed(second.id, world.now_us, "delivered")))
    assert.equal(3, world:counts().done)
  end)

  it("is who is not in the request", function()
    local world = virtual.world()
    world:push_users(2)
    world:flush(true)
    local request = world:sent()
    for _, account in ipairs { "", "u", "u3", "u1\0", "U1", ("x"):rep(1000) } do
      assert.equal("UNKNOWN_ID", select(2, world.engine:refuse_user(request.id, account, 90033)))
    end
    world:feed(request, "delivered")
    assert.equal(2, world:counts().done)
  end)
end)
