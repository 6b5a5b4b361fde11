-- Memory runs out, once and for good, in the middle of whatever imattr does: the host of
-- spec/memory/host.c makes allocations of Lua, of the C modules and of the libraries under them
-- fail, some of each (spec/memory/run --all: all of them). Then there is no crash, no leak and no
-- wrong result; what was open can be closed, and with memory the same thing works again.

local driver = require "memory.driver"

local MOST = "25" -- of each scenario, kind and mode
local RUNS_MAX = 3 -- at most, where one did not go well
local LUA = jit and "luajit" or "lua5.4"

local OWNERS = { lua = "Lua", core = "the C core", libs = "the libraries", cjson = "lua-cjson" }

-- How many there have to be: a line `name number` of spec/counts.
local function least(name)
  for line in io.lines("spec/counts") do
    local number = line:match("^" .. name .. " (%d+)$")
    if number then
      return tonumber(number)
    end
  end
  error("spec/counts has no " .. name)
end

-- A run of a scenario. What comes over the network differs from run to run (a TLS ticket more or
-- less is a block of the library's more or less), so a loss counts when it is there each time.
local function run(scenario, kind)
  local result
  for _ = 1, RUNS_MAX do
    result = driver.run(LUA, { "run", scenario, kind, MOST })
    if result.code == 0 then break end
  end
  return result
end

describe("when memory runs out #slow", function()
  local failed = 0

  setup(driver.start)
  teardown(driver.stop)

  for _, scenario in ipairs(driver.scenarios()) do
    for _, kind in ipairs(scenario.kinds) do
      it(("for %s, %s ends right or says so"):format(OWNERS[kind], scenario.name), function()
        local result = run(scenario.name, kind)
        local count = driver.faults(result.stdout)
        failed = failed + count
        assert(result.code == 0, "\n" .. result.stdout .. result.stderr)
        assert(count > 0, "nothing failed: " .. result.stdout)
      end)
    end
  end

  it("it did so often enough to mean something", function()
    local wanted = least("memory_faults")
    assert(failed >= wanted, ("%d faults, at least %d"):format(failed, wanted))
  end)
end)
