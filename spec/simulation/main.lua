-- main: the simulation's command, behind spec/simulation/run.

local scale -- loaded when wanted
local simulation = require "simulation.simulation"

local USAGE = [[
spec/simulation/run --seeds N [--from S]   seeds S to S + N - 1 (from 1)
spec/simulation/run --seed S [--trace]     one seed; --trace prints what happens
spec/simulation/run --hashes S...          the hash of each of these seeds
spec/simulation/run --scale N              N users against a quick vendor: time, requests, memory
]]

local function number(text)
  local value = tonumber(text)
  if not value or value % 1 ~= 0 or value < 0 then
    io.stderr:write(USAGE)
    os.exit(64)
  end
  return math.floor(value)
end

local function tell_failure(seed, result)
  print(("seed %d: %s"):format(seed, result.message))
  print(("  replay: spec/simulation/run --seed %d --trace"):format(seed))
end

-- What came about, in lines of some width.
local function tell_reached(reached)
  local words, line = {}, " "
  for what in pairs(reached) do
    words[#words + 1] = what
  end
  table.sort(words)
  for _, what in ipairs(words) do
    local word = (" %s %d,"):format(what, reached[what])
    if #line + #word > 100 then
      print(line)
      line = " "
    end
    line = line .. word
  end
  print((line:gsub(",$", "")))
end

local function run_seeds(first, count)
  local started, failed = os.clock(), 0
  local sums, reached = { requests = 0, updates = 0, runs = 0, seconds = 0, events = 0 }, {}
  for seed = first, first + count - 1 do
    local result = simulation.run(seed)
    for name, sum in pairs(sums) do
      sums[name] = sum + result[name]
    end
    for what, times in pairs(result.reached) do
      reached[what] = (reached[what] or 0) + times
    end
    if not result.ok then
      failed = failed + 1
      tell_failure(seed, result)
    end
    if seed % 16 == 0 then
      collectgarbage() -- clients of dead processes hold a mapped ring
    end
  end
  print(("%d seeds, %d failed: %d calls, %d updates, %d requests, %.1f virtual hours; "
    .. "%.1f s of processor time"):format(count, failed, sums.runs, sums.updates, sums.requests,
    sums.seconds / 3600, os.clock() - started))
  tell_reached(reached)
  return failed == 0
end

local function run_seed(seed, has_trace)
  local result = simulation.run(seed, { write = has_trace and print or nil })
  if not result.ok then
    tell_failure(seed, result)
  end
  print(("seed %d: %s, %d events, hash %d"):format(seed, result.ok and "ok" or "FAILED",
    result.events, result.hash))
  return result.ok
end

local function print_hashes(words)
  for i = 2, #words do
    local result = simulation.run(number(words[i]))
    print(("%d %d %s"):format(number(words[i]), result.hash, result.ok and "ok" or "failed"))
  end
  return true
end

local function main(words)
  if words[1] == "--seeds" then
    return run_seeds(words[3] == "--from" and number(words[4]) or 1, number(words[2]))
  elseif words[1] == "--seed" then
    return run_seed(number(words[2]), words[3] == "--trace")
  elseif words[1] == "--hashes" then
    return print_hashes(words)
  elseif words[1] == "--scale" then
    scale = require "simulation.scale"
    return scale.tell(number(words[2]))
  end
  io.stderr:write(USAGE)
  os.exit(64)
end

os.exit(main(arg) and 0 or 1)
