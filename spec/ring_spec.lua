-- The shared slot ring: one limit for all objects and processes that give the same name, and whose
-- file it may be. Time is virtual but for the processes that really compete.

local core = require "imattr.core"
local arrivals = require "support.arrivals"
local process = require "support.process"
local rings = require "support.rings"
local virtual = require "support.virtual"

local SECOND_US = 1000000
local MS_US = 1000
local REST_US = 1001000 -- a slot after its answer
local HOLD_US = 10 * SECOND_US

local FOREIGN = "the shared slot ring is not a private file of this user"

-- Round trips, in microseconds.
local function some_50_ms(random) return 20 * MS_US + random(60 * MS_US) end
local PROFILES = {
  function() return 5 * MS_US end,
  some_50_ms,
  function(random) return random(100) == 1 and random(3 * SECOND_US) or 50 * MS_US end,
  function(random) return 10 * MS_US + random(380 * MS_US) end,
}

-- Takes a slot at the first moment from `now_us` on: slot, moment.
local function take(pace, now_us)
  for _ = 1, 100000 do
    local slot, until_us = pace:take(now_us, HOLD_US)
    if slot then return slot, now_us end
    assert(until_us > now_us)
    now_us = until_us
  end
  error("never a slot")
end

describe("a shared ring", function()
  after_each(rings.remove_all)

  it("is one for all objects of its name", function()
    local name = rings.name()
    local one, other = core.pace(2, "strict", name), core.pace(2, "strict", name)
    assert.equal(1, math.abs(take(one, 0) - take(other, 250 * MS_US)))
    assert.is_nil((one:take(SECOND_US, HOLD_US)))
    assert.is_nil((other:take(SECOND_US, HOLD_US)))
    one:give(0, SECOND_US)
    one:give(1, SECOND_US)
    assert.is_number((other:take(SECOND_US + REST_US, HOLD_US)))
  end)

  it("is another for another name", function()
    local one = core.pace(1, "strict", rings.name())
    local other = core.pace(1, "strict", rings.name())
    assert.equal(0, (one:take(0, HOLD_US)))
    assert.equal(0, (other:take(0, HOLD_US)))
  end)

  it("is a private file of 8048 bytes in shared memory, and stays when closed", function()
    local name = rings.name()
    core.pace(1, "strict", name):close()
    assert.equal(384, core.file_mode(rings.path(name)))
    assert.equal(8048, #rings.read(name))
    assert.equal(0, (take(core.pace(1, "strict", name), 0)))
  end)

  it("keeps the limit among four objects, and is fair #slow", function()
    for i, rtt_us in ipairs(PROFILES) do
      local name, paces = rings.name(), {}
      for k = 1, 4 do paces[k] = core.pace(100, "strict", name) end
      local seen = arrivals.simulate {
        paces = paces, rtt_us = rtt_us, seconds = 20, seed = i,
      }
      assert(seen.most <= 100, seen.most)
      local wanted = 100 / (1 + seen.rtt_us / SECOND_US)
      assert(seen.per_second >= 0.97 * wanted, seen.per_second)
      for k = 1, 4 do
        assert(seen.shares[k] > 0.15, ("object %d: %.2f"):format(k, seen.shares[k]))
      end
    end
  end)

  it("keeps the highest limit when the rates differ #slow", function()
    local name = rings.name()
    local seen = arrivals.simulate {
      paces = { core.pace(100, "strict", name), core.pace(10, "strict", name) },
      rtt_us = some_50_ms, seconds = 30, seed = 5,
    }
    assert(seen.most <= 100, seen.most)
    assert(seen.most_each[2] <= 10, seen.most_each[2])
    assert(seen.per_second >= 0.95 * 100 / 1.05, seen.per_second)
  end)

  it("keeps the limit but for late packets when the modes differ", function()
    local name = rings.name()
    local seen = arrivals.simulate {
      paces = { core.pace(100, "strict", name), core.pace(100, "even", name) },
      rtt_us = some_50_ms, seconds = 10, seed = 6,
    }
    assert(seen.most <= 103, seen.most)
  end)

  it("is not held up by one slow object", function()
    local name = rings.name()
    local slow = core.pace(1, "strict", name)
    for i = -12, 0 do slow:slow_down(i * 300 * MS_US) end
    local seen = arrivals.simulate {
      paces = { core.pace(100, "strict", name), slow }, rtt_us = some_50_ms, seconds = 10,
      seed = 7,
    }
    assert(seen.per_second > 80, seen.per_second)
  end)

  it("is looked at again soon when all slots are in somebody's hand", function()
    local pace = core.pace(1, "strict", rings.name())
    take(pace, 0)
    assert.same({ nil, SECOND_US + 10 * MS_US }, { pace:take(SECOND_US, HOLD_US) })
  end)

  it("counts what another clock wrote as free", function()
    local name = rings.name()
    for _, moment_us in ipairs { 1e12, 2 ^ 52, 602 * SECOND_US, -1, -2 ^ 52 } do
      local pace = core.pace(100, "strict", name)
      rings.fill(name, moment_us)
      assert.equal("number", type((pace:take(7, HOLD_US))), moment_us)
    end
    rings.fill(name, 601 * SECOND_US)
    assert.is_nil((core.pace(100, "strict", name):take(7, HOLD_US)))
  end)

  it("gets on with any bytes in the file", function()
    local name = rings.name()
    local pace = core.pace(100, "strict", name)
    local random = virtual.random(9)
    for _ = 1, 50 do
      local bytes = {}
      for i = 1, 8008 do bytes[i] = string.char(random(256) - 1) end
      rings.write(name, table.concat(bytes))
      local slot, now_us = take(pace, 10 * SECOND_US)
      pace:give(slot, now_us)
      assert(now_us <= 611 * SECOND_US + REST_US, now_us)
    end
  end)

  it("gets the slots of a dead process back after their hold and a second", function()
    local name = rings.name()
    local hold_us = 2 * SECOND_US
    local dead = process.run({ rings.interpreter, "-e", ([[
      local core = require "imattr.core"
      local pace = core.pace(3, "strict", %q)
      local now_us = core.now_us()
      for i = 0, 2 do
        local moment_us = now_us + i * 400000
        assert(pace:take(moment_us, %d))
        print(("%%.0f"):format(moment_us))
      end
      io.stdout:flush()
      os.execute("kill -9 " .. core.getpid())
      os.execute("sleep 5")
    ]]):format(name, hold_us) }, { env = rings.environment, timeout_s = 20 })
    assert.equal(137, dead.code, dead.stderr)
    local taken = {}
    for moment in dead.stdout:gmatch("%d+") do taken[#taken + 1] = tonumber(moment) end
    assert.equal(3, #taken)
    local pace = core.pace(3, "strict", name)
    for _, moment_us in ipairs(taken) do
      local free_us = moment_us + hold_us + REST_US
      assert.same({ nil, free_us }, { pace:take(free_us - 1, HOLD_US) })
      assert.is_number((pace:take(free_us, HOLD_US)))
    end
    assert.is_nil((pace:take(taken[3] + hold_us + 2 * SECOND_US, HOLD_US)))
  end)

  it("keeps the limit among processes that really compete #timing", function()
    local name, jobs, all = rings.name(), {}, {}
    for i = 1, 4 do
      jobs[i] = process.start({ rings.interpreter, "-e", rings.COMPETITOR:format(name, 200) },
        { env = rings.environment, timeout_s = 30 })
    end
    finally(function() for i = 1, 4 do jobs[i]:close() end end)
    for i = 1, 4 do
      local ended = assert(jobs[i]:wait(20))
      assert.equal(0, ended.code, ended.stderr)
      for moment in ended.stdout:gmatch("%d+") do all[#all + 1] = tonumber(moment) end
    end
    local most, from_us, to_us = arrivals.most_in_a_second(all)
    assert(most <= 200, most)
    assert(#all / (to_us - from_us) * SECOND_US > 120, #all)
  end)
end)

describe("the file of a shared ring", function()
  after_each(rings.remove_all)

  -- A ring that was used, and its path.
  local function used()
    local name = rings.name()
    core.pace(1, "strict", name):close()
    return name, rings.path(name)
  end

  local function assert_foreign(name)
    assert.same({ nil, "PACE_FOREIGN", FOREIGN }, { core.pace(1, "strict", name) })
  end

  it("is refused when it is a link to another ring", function()
    local name = rings.name()
    rings.shell("ln -s '%s' '%s'", select(2, used()), rings.path(name))
    assert_foreign(name)
  end)

  it("is refused when it is a link to nothing, which stays nothing", function()
    local name, target = rings.name(), rings.path(rings.name())
    rings.shell("ln -s '%s' '%s'", target, rings.path(name))
    assert_foreign(name)
    assert.is_nil((io.open(target)))
  end)

  it("is refused when it has two names", function()
    local name, path = used()
    local other = rings.name()
    rings.shell("ln '%s' '%s'", path, rings.path(other))
    assert_foreign(name)
    assert_foreign(other)
  end)

  for _, size in ipairs { 1, 8007, 8009, 8047, 8049, 100000 } do
    it(("is refused when it has %d bytes, and left as it is"):format(size), function()
      local name = used()
      local text = ("x"):rep(size)
      rings.write(name, text)
      assert_foreign(name)
      assert.equal(text, rings.read(name))
    end)
  end

  for _, mode in ipairs { "644", "660", "606", "620", "602", "610", "601", "777" } do
    it("is refused when its mode is " .. mode, function()
      local name, path = used()
      rings.shell("chmod %s '%s'", mode, path)
      assert_foreign(name)
      rings.shell("chmod 600 '%s'", path)
      assert.truthy(core.pace(1, "strict", name))
    end)
  end

  it("is refused when it is somebody else's", function()
    if rings.uid ~= "0" then return end -- only root can make such a file
    local name, path = used()
    rings.shell("chown 12345 '%s'", path)
    assert_foreign(name)
  end)

  it("is refused when it is a pipe", function()
    local name = rings.name()
    rings.shell("mkfifo -m 600 '%s'", rings.path(name))
    assert_foreign(name)
  end)

  it("is refused when it is a folder", function()
    local name = rings.name()
    rings.shell("mkdir -m 700 '%s'", rings.path(name))
    assert_foreign(name)
  end)

  it("may be empty: another process has just made it", function()
    local name = rings.name()
    rings.shell("umask 077; : >'%s'", rings.path(name))
    assert.equal(0, (take(core.pace(1, "strict", name), 0)))
  end)

  it("may be of the first layout, and is made longer", function()
    local name = used()
    rings.write(name, ("\0"):rep(8008))
    assert.equal(0, (take(core.pace(1, "strict", name), 0)))
    assert.equal(8048, #rings.read(name))
  end)

  it("has a name without slashes, of 200 bytes at most", function()
    for _, name in ipairs { "a/b", "/", "../x", ("n"):rep(201) } do
      assert.same({ nil, "PACE_FILE",
        ("the shared slot ring cannot be opened: %s: Invalid argument"):format(name) },
        { core.pace(1, "strict", name) })
    end
    local longest = rings.name()
    longest = longest .. ("n"):rep(200 - #longest)
    assert.truthy(core.pace(1, "strict", longest))
    rings.forget_later(longest)
  end)
end)

-- ---- live senders and backfills

-- Sends of a list of senders in 60 s: { backfill?, rest_us? } each; how many of each in a second,
-- and what the server saw.
local function sent_by(senders, rtt_us, mode)
  local name, paces, rest_us = rings.name(), {}, {}
  for i, sender in ipairs(senders) do
    paces[i] = core.pace(100, mode or "strict", name, sender.backfill)
    rest_us[i] = sender.rest_us
  end
  local seen = arrivals.simulate { paces = paces, rest_us = rest_us, rtt_us = rtt_us, seconds = 60,
    seed = #senders }
  local per_second = {}
  for i, count in ipairs(seen.sent) do per_second[i] = count / 60 end
  return per_second, seen
end

describe("live senders and backfills on one ring #slow", function()
  after_each(rings.remove_all)

  for i, rtt_us in ipairs(PROFILES) do
    it("share it four to one while both want all of it, round trip " .. i, function()
      local sent, seen = sent_by({ {}, { backfill = true } }, rtt_us)
      local both = sent[1] + sent[2]
      assert(seen.most <= 100, seen.most)
      assert(both >= 0.95 * 100 / (1 + seen.rtt_us / SECOND_US), both)
      assert(sent[1] >= 0.7 * both and sent[1] <= 0.85 * both, sent[1])
      assert(sent[2] >= 0.15 * both, sent[2])
    end)
  end

  it("share it so however many there are of each", function()
    local sent, seen = sent_by({ {}, {}, {}, { backfill = true }, { backfill = true } },
      PROFILES[2])
    local live, backfill = sent[1] + sent[2] + sent[3], sent[4] + sent[5]
    assert(seen.most <= 100, seen.most)
    assert(live >= 0.7 * (live + backfill), live)
    assert(backfill >= 0.15 * (live + backfill), backfill)
  end)

  it("leave to a backfill what is not wanted, and wait for next to nothing", function()
    local sent, seen = sent_by({ { rest_us = function(random) return random(200 * MS_US) end },
      { backfill = true } }, PROFILES[1])
    assert(seen.most <= 100, seen.most)
    assert(sent[1] >= 8, sent[1])
    assert(sent[1] + sent[2] >= 97, sent[2])
    assert(seen.longest_wait_us[1] <= 40 * MS_US, seen.longest_wait_us[1])
  end)

  it("have all of it when they are alone", function()
    for _, backfill in ipairs { false, true } do
      local sent = sent_by({ { backfill = backfill } }, PROFILES[1])
      assert(sent[1] >= 97, sent[1])
    end
  end)

  it("share it when the sends are evenly spaced, too", function()
    local sent = sent_by({ {}, { backfill = true } }, PROFILES[2], "even")
    assert(sent[1] >= 70 and sent[1] <= 85 and sent[2] >= 15, sent[1])
  end)
end)

describe("the vendor's limit", function()
  after_each(rings.remove_all)

  it("counts for everybody on the ring where it is lower than the rate", function()
    local name = rings.name()
    local one, other = core.pace(100, "strict", name), core.pace(40, "strict", name)
    one:limit(50, 0)
    assert.same({ 50, 40 }, { one:rate(1), other:rate(1) })
    local seen = arrivals.simulate { paces = { one }, rtt_us = PROFILES[1], seconds = 10, seed = 1 }
    assert(seen.most <= 50, seen.most)
    assert(seen.per_second >= 48, seen.per_second)
  end)

  it("counts where it is higher for those whose rate nobody chose", function()
    local name = rings.name()
    local chosen, default = core.pace(100, "strict", name),
      core.pace(100, "strict", name, false, true)
    chosen:limit(200, 0)
    assert.same({ 100, 200 }, { chosen:rate(1), default:rate(1) })
    local seen = arrivals.simulate { paces = { default }, rtt_us = PROFILES[1], seconds = 10,
      seed = 1 }
    assert(seen.most <= 200 and seen.per_second >= 190, seen.per_second)
  end)

  it("counts for ten minutes after it was told", function()
    local pace = core.pace(100, "strict")
    pace:limit(7, 5 * SECOND_US)
    assert.same({ 7, 7, 100, 100 }, { pace:rate(5 * SECOND_US), pace:rate(604 * SECOND_US),
      pace:rate(605 * SECOND_US), pace:rate(4 * SECOND_US) }) -- before: another clock told it
    pace:limit(9, 605 * SECOND_US)
    assert.equal(9, pace:rate(606 * SECOND_US))
  end)

  it("may be told at the last moment that a clock can show", function()
    local pace = core.pace(100, "strict")
    pace:limit(1000, 2 ^ 53 - 1)
    assert.equal(100, pace:rate(2 ^ 53 - 1))
  end)

  it("is 1 to 1000", function()
    local pace = core.pace(1, "strict")
    for _, limit in ipairs { 0, 1001, -1 } do
      assert.is_false((pcall(pace.limit, pace, limit, 0)))
    end
    pace:limit(1, 0)
    pace:limit(1000, 0)
  end)
end)
