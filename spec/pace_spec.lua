-- The pace: no second, wherever it starts, holds more arrivals than the limit, and no slot is
-- wasted. Time is virtual; spec/support/arrivals.lua plays the network. (ring_spec.lua: shared.)

local core = require "imattr.core"
local arrivals = require "support.arrivals"

local SECOND_US = 1000000
local MS_US = 1000
local REST_US = 1001000 -- a slot after its answer
local HOLD_US = 10 * SECOND_US

-- Round trips, in microseconds: what the network is like.
local PROFILES = {
  { "no time at all", function() return 0 end },
  { "5 ms", function() return 5 * MS_US end },
  { "50 ms, give or take 30", function(random) return 20 * MS_US + random(60 * MS_US) end },
  { "50 ms with rare spikes", function(random)
    return random(100) == 1 and random(3 * SECOND_US) or 50 * MS_US
  end },
  { "200 ms, give or take 190", function(random) return 10 * MS_US + random(380 * MS_US) end },
  { "a second", function() return SECOND_US end },
  { "a lot of jitter", function(random) return random(random(10) * 200 * MS_US) end },
}

-- Takes a slot at the first moment from `now_us` on: slot, moment.
local function take(pace, now_us, hold_us)
  for _ = 1, 100000 do
    local slot, until_us = pace:take(now_us, hold_us or HOLD_US)
    if slot then return slot, now_us end
    assert(until_us > now_us)
    now_us = until_us
  end
  error("never a slot")
end

-- How many slots an eager sender takes in a span, with answers after 10 ms.
local function sends_in(pace, from_us, to_us)
  local count, slot, now_us = 0, take(pace, from_us)
  while now_us < to_us do
    pace:give(slot, now_us + 10 * MS_US)
    count = count + 1
    slot, now_us = take(pace, now_us)
  end
  pace:give(slot, now_us)
  return count
end

describe("a strict pace", function()
  for i, profile in ipairs(PROFILES) do
    it(("never has more than 100 arrivals in a second: %s #slow"):format(profile[1]), function()
      for seed = 1, 3 do
        local seen = arrivals.simulate {
          paces = { core.pace(100, "strict") }, rtt_us = profile[2], seconds = 45,
          seed = seed + 10 * i,
        }
        assert(seen.most <= 100, seen.most .. " in a second")
        local wanted = 100 / (1 + seen.rtt_us / SECOND_US)
        assert(seen.per_second >= 0.97 * wanted,
          ("%.1f a second of %.1f"):format(seen.per_second, wanted))
      end
    end)
  end

  it("holds when each arrival is as late as can be, or as early, by turns #slow", function()
    for _, rate in ipairs { 1, 2, 10, 100, 1000 } do
      local seen = arrivals.simulate {
        paces = { core.pace(rate, "strict") }, rtt_us = PROFILES[3][2], seconds = 10, seed = rate,
        place = function(random) return random(2) - 1 end,
      }
      assert(seen.most <= rate, ("%d in a second, limit %d"):format(seen.most, rate))
      assert(seen.per_second >= 0.97 * rate / 1.06, seen.per_second)
    end
  end)

  it("rests a slot for a second and a millisecond after its answer, not less", function()
    local pace = core.pace(1, "strict")
    local slot = take(pace, 0)
    assert.equal(0, slot)
    pace:give(slot, 300 * MS_US)
    assert.same({ nil, 300 * MS_US + REST_US }, { pace:take(950 * MS_US, HOLD_US) })
    assert.is_nil((pace:take(300 * MS_US + REST_US - 1, HOLD_US)))
    assert.equal(0, (pace:take(300 * MS_US + REST_US, HOLD_US)))
  end)

  it("has a slot again that was never given back, after its hold and a second", function()
    local pace = core.pace(1, "strict")
    take(pace, 0, 3 * SECOND_US)
    assert.same({ nil, 3 * SECOND_US + REST_US }, { pace:take(SECOND_US, HOLD_US) })
    assert.is_nil((pace:take(3 * SECOND_US + REST_US - 1, HOLD_US)))
    assert.equal(0, (pace:take(3 * SECOND_US + REST_US, HOLD_US)))
  end)

  it("spreads: at most 3 in 10 ms, also at the start and after a rest", function()
    local pace = core.pace(100, "strict")
    local sends = {}
    for _, start_us in ipairs { 0, 60 * SECOND_US, 3600 * SECOND_US } do
      local now_us = start_us
      for _ = 1, 100 do
        local slot
        slot, now_us = take(pace, now_us)
        pace:give(slot, now_us)
        sends[#sends + 1] = now_us
      end
      assert(now_us - start_us < 900 * MS_US, "100 sends take " .. now_us - start_us)
    end
    for i = 4, #sends do assert(sends[i] - sends[i - 3] >= 20 * MS_US) end
    for i = 2, #sends do assert(sends[i] - sends[i - 1] >= 4.5 * MS_US) end
  end)

  it("answers nil and a later moment while time stands still", function()
    local pace = core.pace(1000, "strict")
    pace:take(7, HOLD_US)
    for _ = 1, 1000 do
      local slot, until_us = pace:take(7, HOLD_US)
      assert.is_nil(slot)
      assert.equal(900, until_us)
    end
  end)

  it("holds a slot for as long as it may be asked to", function()
    local pace = core.pace(1, "strict")
    take(pace, 0, 600 * SECOND_US)
    assert.is_nil((pace:take(SECOND_US, HOLD_US)))
    assert.is_nil((pace:take(600 * SECOND_US, HOLD_US)))
  end)

  it("is this object's alone without a name", function()
    local one, other = core.pace(1, "strict"), core.pace(1, "strict")
    assert.equal(0, (one:take(0, HOLD_US)))
    assert.equal(0, (other:take(0, HOLD_US)))
  end)
end)

describe("an even pace", function()
  it("sends 98 in a second, evenly", function()
    local pace = core.pace(100, "even")
    local last_us = -SECOND_US
    for _ = 1, 981 do
      local slot, now_us = take(pace, math.max(last_us, 0))
      assert(slot >= 0 and slot < 100, slot)
      pace:give(slot, now_us)
      assert(now_us - last_us >= 10204, now_us - last_us)
      last_us = now_us
    end
    assert(last_us > 9.99 * SECOND_US and last_us < 10.01 * SECOND_US, last_us)
  end)

  it("does not need answers", function()
    local seen = arrivals.simulate {
      paces = { core.pace(100, "even") }, rtt_us = PROFILES[6][2], seconds = 20, seed = 1,
      place = function() return 0 end,
    }
    assert(seen.most <= 99, seen.most)
    assert(seen.per_second > 97.5, seen.per_second)
  end)
end)

describe("slow down", function()
  for _, mode in ipairs { "strict", "even" } do
    it(("means 0.7 of the pace, creeping back in 9 seconds: %s"):format(mode), function()
      local pace = core.pace(100, mode)
      local full = sends_in(pace, 0, 2 * SECOND_US) / 2
      pace:slow_down(2 * SECOND_US)
      local first = sends_in(pace, 3 * SECOND_US, 4 * SECOND_US)
      assert(first <= 0.78 * full and first >= 0.66 * full, first .. " of " .. full)
      local later = sends_in(pace, 6 * SECOND_US, 7 * SECOND_US)
      assert(later > first and later <= 0.9 * full, later)
      local last = sends_in(pace, 12 * SECOND_US, 14 * SECOND_US) / 2
      assert(last >= 0.97 * full, last)
    end)
  end

  it("counts refusals within a quarter of a second as one", function()
    local once, often = core.pace(100, "even"), core.pace(100, "even")
    local twice = core.pace(100, "even")
    once:slow_down(0)
    for i = 0, 249 do often:slow_down(i * MS_US) end
    twice:slow_down(0)
    twice:slow_down(250 * MS_US)
    local from_us, to_us = 300 * MS_US, 1300 * MS_US
    local wanted = sends_in(once, from_us, to_us)
    assert.equal(wanted, sends_in(often, from_us, to_us))
    local fewer = sends_in(twice, from_us, to_us)
    assert(fewer < 0.76 * wanted and fewer > 0.66 * wanted, fewer .. " of " .. wanted)
  end)

  it("goes down to a twentieth, not further", function()
    local pace = core.pace(100, "even")
    for i = 0, 100 do pace:slow_down(i * SECOND_US / 4) end
    local from_us = 100 * SECOND_US / 4
    local _, first_us = take(pace, from_us)
    _, first_us = take(pace, first_us) -- the one before was long due
    local _, second_us = take(pace, first_us)
    assert(second_us - first_us > 190 * MS_US, second_us - first_us)
    assert(second_us - first_us < 205 * MS_US, second_us - first_us)
  end)

  it("never stops the sender, and ends", function()
    for _, rate in ipairs { 1, 10, 100 } do
      local pace = core.pace(rate, "strict")
      for i = 0, 100 do pace:slow_down(i * SECOND_US / 4) end
      local _, now_us = take(pace, 26 * SECOND_US)
      _, now_us = take(pace, now_us)
      assert(now_us - 26 * SECOND_US <= 21 * SECOND_US / rate + REST_US + HOLD_US, now_us)
      assert(sends_in(pace, 80 * SECOND_US, 90 * SECOND_US) >= 9 * rate)
    end
  end)

  it("slows a pace of 1 a second", function()
    local pace = core.pace(1, "strict")
    pace:slow_down(0)
    local count = sends_in(pace, 0, 4 * SECOND_US)
    assert(count <= 3, count)
  end)

  it("keeps the limit while it creeps back #slow", function()
    for seed = 1, 3 do
      local pace = core.pace(100, "strict")
      local seen = arrivals.simulate {
        paces = { pace }, rtt_us = PROFILES[3][2], seconds = 30, seed = seed,
        each_second = function(now_us) pace:slow_down(now_us) end,
      }
      assert(seen.most <= 100, seen.most)
      assert(seen.per_second < 30, seen.per_second)
    end
  end)
end)

describe("a pace in wrong hands", function()
  local function assert_raises(words, call, ...)
    local ok, message = pcall(call, ...)
    assert.is_false(ok)
    assert(message:find(words, 1, true), message)
  end

  it("raises", function()
    for _, rate in ipairs { 0, -1, 1001, 1.5, 0 / 0, 1 / 0 } do
      assert_raises("wants an integer from 1 to 1000", core.pace, rate, "strict")
    end
    assert_raises("number expected", core.pace, "fast", "strict")
    assert_raises("invalid option 'loose'", core.pace, 1, "loose")
    assert_raises("string expected", core.pace, 1, "strict", {})
    local pace = core.pace(1, "strict")
    for _, wrong in ipairs { 0 / 0, 1 / 0, 0.5, 2 ^ 60 } do
      assert_raises("argument 2: ", pace.take, pace, wrong, HOLD_US)
      assert_raises("argument 3: ", pace.take, pace, 0, wrong)
      assert_raises("argument 2: ", pace.give, pace, wrong, 0)
      assert_raises("argument 3: ", pace.give, pace, 0, wrong)
      assert_raises("argument 2: ", pace.slow_down, pace, wrong)
    end
    assert_raises("argument 3: -1, ", pace.take, pace, 0, -1)
    assert_raises("argument 2: 1000, wants an integer from -1 to 999", pace.give, pace, 1000, 0)
    assert_raises("number expected", pace.take, pace)
    assert_raises("imattr.pace expected", pace.take, {}, 0, HOLD_US)
  end)

  it("stays closed", function()
    local pace = core.pace(1, "strict")
    pace:close()
    pace:close()
    assert.equal("imattr.pace (closed)", tostring(pace))
    assert_raises("imattr.pace: already closed", pace.take, pace, 0, 0)
    assert_raises("imattr.pace: already closed", pace.give, pace, 0, 0)
    assert_raises("imattr.pace: already closed", pace.slow_down, pace, 0)
  end)

  it("gives back no slot that somebody else has by now", function()
    local pace = core.pace(1, "strict")
    local slot, held_us = pace:take(0, 3 * SECOND_US)
    local later_us = 4 * SECOND_US + 100 * MS_US -- the holder stood still: the slot is free ...
    assert(pace:take(later_us, 10 * SECOND_US)) -- ... and somebody takes it
    pace:give(slot, later_us + 100 * MS_US, held_us)
    assert.is_nil((pace:take(later_us + 2 * SECOND_US, SECOND_US)))
    pace:close()
  end)
end)
