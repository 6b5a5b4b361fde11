-- The simulation: seeds of faults in virtual time. spec/simulation/run runs many more of them, and
-- replays one.

local plants = require "simulation.plants"
local process = require "support.process"
local scale = require "simulation.scale"
local simulation = require "simulation.simulation"

-- Each Lua has seeds of its own.
local SEEDS, FIRST = 2000, jit and 100001 or 1
local PLANTED_SEEDS = 400
local MEMORY_GROWTH_MAX_KIB = 4096

-- What must have come about somewhere in so many seeds, or the simulation has lost its teeth.
local REACHED = { "a full second", "close", "death", "late", "merged", "over 100 retries", "raise",
  "fate done", "fate invalid", "fate refused", "fate unknown", "fate not_sent", "end DEADLINE",
  "end INTERRUPTED", "end SOURCE_FAILED", "end STOPPED", "end by a mistake",
  "fault refused", "fault resolve", "fault handshake", "fault tls", "fault connect_hole",
  "fault cut_before", "fault cut_middle", "fault cut_after", "fault cut_late", "fault hole",
  "fault lost", "fault slow", "fault crawl", "fault http_before", "fault http_after",
  "fault http_429", "fault http_stop", "fault truncated", "fault foreign", "fault huge",
  "fault code_retry", "fault code_retry_after", "fault code_rate", "fault code_resign",
  "fault code_user", "fault code_hold", "fault code_stop" }

local function lines(path)
  local list = {}
  for line in io.lines(path) do
    list[#list + 1] = line
  end
  return list
end

-- The minimum kept for a name in spec/counts.
local function minimum(name)
  for _, line in ipairs(lines("spec/counts")) do
    local count = line:match("^" .. name .. " (%d+)")
    if count then
      return tonumber(count)
    end
  end
  error("spec/counts: no " .. name)
end

-- Seeds that failed once: the first word of each line.
local function past_seeds()
  local seeds = {}
  for _, line in ipairs(lines("spec/simulation/seeds")) do
    seeds[#seeds + 1] = tonumber(line:match("^(%d+)"))
  end
  return seeds
end

local function must_hold(seed)
  local result = simulation.run(seed)
  assert(result.ok, ("seed %d: %s\n  replay: spec/simulation/run --seed %d --trace"):format(seed,
    tostring(result.message), seed))
  return result
end

-- The hashes of seeds, as another process of this or the other Lua finds them.
local function hashes_of(lua, seeds)
  local argv = { "spec/simulation/run", "--hashes" }
  for i, seed in ipairs(seeds) do
    argv[i + 2] = seed
  end
  local result = process.run(argv, { env = { LUA = lua, SPEC_BUILD = "build" }, timeout_s = 300 })
  return result.stdout
end

describe("the simulation #slow", function()
  it("keeps every promise over many seeds", function()
    local reached, run = {}, 0
    for seed = FIRST, FIRST + SEEDS - 1 do
      for what in pairs(must_hold(seed).reached) do
        reached[what] = true
      end
      run = run + 1
      if run % 16 == 0 then
        collectgarbage() -- clients of dead processes hold a mapped ring
      end
    end
    assert(run >= minimum("simulation_seeds"), run .. " seeds run")
    for _, what in ipairs(REACHED) do
      assert(reached[what], "never came about: " .. what)
    end
  end)

  it("keeps them over every seed that failed before", function()
    for _, seed in ipairs(past_seeds()) do
      must_hold(seed)
    end
  end)

  it("lives through a seed twice alike, here and in another process, on the other Lua too",
    function()
      local seeds, here = {}, {}
      for i = 1, 20 do
        seeds[i] = i * 7
        here[i] = ("%d %d ok\n"):format(seeds[i], must_hold(seeds[i]).hash)
        assert.equal(here[i], ("%d %d ok\n"):format(seeds[i], must_hold(seeds[i]).hash))
      end
      here = table.concat(here)
      assert.equal(here, hashes_of("lua5.4", seeds))
      assert.equal(here, hashes_of("luajit", seeds))
    end)

  it("carries a million users in constant memory", function()
    local figures = scale.run(1000000)
    assert.equal(1000000, figures.report.done)
    assert.is_true(figures.report.ok)
    assert.equal(figures.sent, figures.report.requests)
    assert.equal(figures.best, figures.report.requests - figures.report.retries)
    assert(figures.most <= 100, figures.most .. " arrivals in a second")
    local growth = figures.rss - figures.early_rss
    assert(growth < MEMORY_GROWTH_MAX_KIB, growth .. " KiB more")
  end)
end)

describe("the simulation's checks #slow", function()
  for _, plant in ipairs(plants) do
    local name, promise, make = plant[1], plant[2], plant[3]
    it("find " .. name, function()
      for seed = 1, PLANTED_SEEDS do
        local result = simulation.run(seed, { plant = make() })
        if not result.ok and result.message:sub(1, #promise) == promise then
          return
        end
      end
      error(PLANTED_SEEDS .. " seeds do not show it")
    end)
  end
end)
