-- trial: what host.c asks Lua: to run a scenario of memory.scenarios and to judge what came of it.
--
-- A scenario is { name, kinds, act, tell?, setup?, finish?, verify?, must_be_right? }:
--   kinds          which allocations it makes: "lua core libs cjson"
--   setup(state)   fills the state, with memory
--   act(state)     does the thing and returns a value; memory runs out in here
--   tell(value)    what of the value is the same every time
--   finish(state)  closes what the state holds
--   verify(state, ok)  raises when what happened outside is not what was told
--   must_be_right  no error is taken: the scenario itself goes on after one
--
-- After a fault `act` must return the value that it returns without one, or raise that there is no
-- memory. It is then called again, in the same state and with memory: that must be right.

local errors = require "imattr.errors"
local scenarios = require "memory.scenarios"

local trial = {}

-- Lua's words, and ours; those of cjson.safe, of SQLite, and of the system.
local NO_MEMORY = { "not enough memory", "Memory allocation error in CJSON protected call",
  "out of memory", "Cannot allocate memory" }

-- What else is raised when a library fails: what OpenSSL says "should not happen".
local NO_RANDOM = "the random source failed"

local by_name, expected = {}, {}
for _, scenario in ipairs(scenarios) do
  by_name[scenario.name] = scenario
end

-- A value as text, the same for equal values.
local function show(value)
  if type(value) ~= "table" or errors.is(value) then
    return type(value) == "number" and ("%.14g"):format(value) or tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = ("%s=%s"):format(show(key), show(item))
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

-- Raises when a value is not the right one.
local function check_value(scenario, value)
  local shown = show(scenario.tell and scenario.tell(value) or value)
  local wanted = expected[scenario.name]
  assert(shown == wanted, shown .. "\n    and not\n" .. tostring(wanted))
end

local function ends_in(raised, words)
  return type(raised) == "string" and raised:sub(-#words) == words
end

-- Is it the news that there is no memory?
local function is_no_memory(raised)
  if type(raised) == "table" then
    return raised.code == "NO_MEMORY"
  end
  for _, words in ipairs(NO_MEMORY) do
    if ends_in(raised, words) then
      return true
    end
  end
  return false
end

-- Is it an error of the library's, of this load of it or another?
local function is_error(raised)
  return ends_in(raised, NO_RANDOM) or type(raised) == "table" and type(raised.code) == "string"
    and type(raised.message) == "string"
end

--- Names and kinds, one scenario a line.
function trial.names()
  local lines = {}
  for i, scenario in ipairs(scenarios) do
    lines[i] = scenario.name .. " " .. scenario.kinds
  end
  return table.concat(lines, "\n")
end

--- Raises unless the scenario says rightly whether it makes allocations of a kind.
function trial.check_kind(name, kind, is_made)
  local is_said = (" " .. by_name[name].kinds .. " "):find(" " .. kind .. " ", 1, true) ~= nil
  assert(is_said == is_made, name .. (is_made and ": makes" or ": makes no") .. " allocations of "
    .. kind)
end

local function new_state(scenario)
  local state = { scenario = scenario }
  if scenario.setup then
    scenario.setup(state)
  end
  return state
end

--- Closes what a state holds.
function trial.finish(state)
  if state.scenario.finish then
    state.scenario.finish(state)
  end
end

--- Finds out what the right value is. It must be the same every time.
function trial.warm_up(name)
  local scenario = by_name[name] or error("no such scenario: " .. name, 0)
  for _ = 1, 2 do
    local state = new_state(scenario)
    for _ = 1, 2 do
      local value = scenario.act(state)
      expected[name] = expected[name] or show(scenario.tell and scenario.tell(value) or value)
      check_value(scenario, value)
      if scenario.verify then
        scenario.verify(state, true)
      end
    end
    trial.finish(state)
  end
end

--- A fresh state of a scenario, and what it does.
function trial.prepare(name)
  local scenario = by_name[name]
  return new_state(scenario), scenario.act
end

--- How it went: "right", "memory" or "error"; raises when it went wrong.
function trial.judge(ok, value, kind, state)
  local scenario = state.scenario
  if scenario.verify then
    scenario.verify(state, ok)
  end
  if ok then
    check_value(scenario, value)
    return "right"
  end
  assert(not scenario.must_be_right, "raised, and must not: " .. tostring(value))
  if is_no_memory(value) then
    return "memory"
  end
  assert(kind == "libs" and is_error(value), "raised: " .. tostring(value))
  return "error"
end

--- Acts once more in the same state.
function trial.again(state)
  check_value(state.scenario, state.scenario.act(state))
  if state.scenario.verify then
    state.scenario.verify(state, true)
  end
end

return trial
