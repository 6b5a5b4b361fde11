-- engine_scenarios: memory runs out inside the engine, its screen and its paces. The times are
-- virtual. See memory.trial for what a scenario is.

local app = require "support.app"
local core = require "imattr.core"
local faults = require "memory.faults"
local virtual = require "support.virtual"

local scenarios = {}

local function add(scenario)
  scenarios[#scenarios + 1] = scenario
end

-- The first value; raises the last when there is none.
local function must(value, code, message)
  if value == nil then
    error(message or code, 0)
  end
  return value
end

local function new_engine(state, changes)
  state.engine = core.engine(virtual.config(changes))
  return state.engine
end

local function close_engine(state)
  if state.engine then
    state.engine:close()
  end
end

local function add_engine(scenario)
  scenario.kinds = "lua core"
  scenario.finish = scenario.finish or close_engine
  add(scenario)
end

local function results_of(engine)
  local list = {}
  local ticket, fate, code, attempts, account = engine:result()
  while ticket do
    list[#list + 1] = { ticket, fate, code or "-", attempts, account }
    ticket, fate, code, attempts, account = engine:result()
  end
  return list
end

-- Sends and feeds until nothing is left; `answer(body)` is a verdict and a code. Returns the
-- bodies.
local function drive(engine, answer)
  local bodies, flying, now_us = {}, {}, 0
  engine:flush(true)
  while true do
    local what, id, _, body = engine:next(now_us)
    if what == "ready" then
      bodies[#bodies + 1] = body
      flying[#flying + 1] = { id, body }
    elseif #flying > 0 then
      local flight = table.remove(flying, 1)
      local kind, code = answer(flight[2])
      must(engine:feed(flight[1], now_us, kind, code, kind == "retry"))
    elseif what == "wait" then
      now_us = assert(id, "waits for nothing")
    else
      return bodies
    end
  end
end

local function delivered()
  return "delivered"
end

-- {===== updates =====

add_engine { name = "walk", act = function(state)
  local engine = new_engine(state)
  for i = 1, 3 do
    must(engine:push(1, "u" .. i, { city = "city " .. i, level = i }))
  end
  local value = { drive(engine, delivered), results_of(engine), engine:counts() }
  engine:close()
  return value
end }

-- Six updates become one: more tickets than fit at first, and ever new attributes. (Each has one
-- attribute: Lua gives those of one table in any order.)
add_engine { name = "merge", act = function(state)
  local engine = new_engine(state)
  for i = 1, 6 do
    must(engine:push(1, "u", { ["name" .. i % 4] = ("value %d "):format(i):rep(5) }))
  end
  return { drive(engine, delivered), results_of(engine), engine:counts() }
end }

-- One of twelve is bad: the batch is halved down to him.
add_engine { name = "split", act = function(state)
  local engine = new_engine(state)
  for i = 1, 12 do
    must(engine:push(1, "u" .. i, { city = i == 5 and "bad" or "good" }))
  end
  local bodies = drive(engine, function(body)
    if body:find("bad", 1, true) then
      return "split", 90033
    end
    return "delivered"
  end)
  return { bodies, results_of(engine), engine:counts() }
end }

-- Set after remove of one user who is in flight: two lanes, and a chain of held updates.
add_engine { name = "held", act = function(state)
  local engine = new_engine(state, { users_max = 1 })
  must(engine:push(1, "u", { city = "first" }))
  local _, id, _, body = engine:next(0)
  must(engine:push(2, "u", { "city", "level" }))
  must(engine:push(1, "u", { city = "last" }))
  must(engine:push(2, "u", { "tier" }))
  must(engine:feed(id, 0, "delivered"))
  return { body, drive(engine, delivered), results_of(engine), engine:counts() }
end }

-- A list with users in its middle whom screening refuses.
add_engine { name = "push_users", setup = function(state)
  state.list = app.users(8)
  state.list[3].Attrs.city = ("x"):rep(51)
  state.list[4] = "no user"
  state.list[5].Attrs.city = "\255"
end, act = function(state)
  local engine = new_engine(state)
  local told, at = {}, 1
  repeat
    local code, message, ticket
    at, code, message, ticket = engine:push_users(1, state.list, at, #state.list)
    told[#told + 1] = { at, code or "-", message or "-", ticket or "-" }
    at = code and at + 1 or at
  until at > #state.list
  return { told, drive(engine, delivered), results_of(engine) }
end }

-- More users than the roster has room for at first.
add_engine { name = "roster", setup = function(state)
  state.list = app.users(1200, { city = "x" })
end, act = function(state)
  local engine = new_engine(state, { quiet = true })
  assert(engine:push_users(1, state.list, 1, #state.list) == #state.list + 1)
  return { drive(engine, delivered), engine:counts() }
end }

-- Two faults of the network before an answer; another user gets none at all.
add_engine { name = "retry", act = function(state)
  local engine = new_engine(state, { users_max = 1, attempts_max = 3 })
  must(engine:push(1, "lucky", { city = "x" }))
  must(engine:push(1, "lost", { city = "x" }))
  local tries = 0
  local bodies = drive(engine, function(body)
    tries = tries + (body:find("lucky", 1, true) and 1 or 0)
    if body:find("lost", 1, true) or tries < 3 then
      return "retry", virtual.code("CUT")
    end
    return "delivered"
  end)
  return { #bodies, results_of(engine), engine:counts() }
end }

-- What waits, flies and is held when a run stops, and when an engine is closed under it.
add_engine { name = "stop", act = function(state)
  local engine = new_engine(state, { users_max = 2 })
  for i = 1, 5 do
    must(engine:push(1, "u" .. i, { city = "x" }))
  end
  local _, id = engine:next(0)
  must(engine:push(2, "u1", { "city" }))
  engine:stop(virtual.code("STOPPED"))
  must(engine:feed(id, 0, "retry", virtual.code("TIMEOUT"), true))
  local value = { results_of(engine), engine:counts(), engine:stop_code() }
  local closed = new_engine(state)
  for i = 1, 3 do
    must(closed:push(1, "u", { ["n" .. i] = "x" }))
    closed:flush(true)
    closed:next(0)
  end
  closed:close()
  return value
end }

-- All the words that screening has.
local BAD_UPDATES = { { 1, { city = "x" } }, { "", { city = "x" } }, { ("x"):rep(40), {} },
  { "u", 1 }, { "u", {} }, { "u", { [1] = "x" } }, { "u", { [""] = "x" } },
  { "u", { [("n"):rep(60)] = "x" } }, { "u", { unknown = "x" } }, { "u", { city = false } },
  { "u", { city = ("x"):rep(60) } }, { "u\255", { city = "x" } }, { "u\0", { city = "x" } } }

add_engine { name = "screen", act = function(state)
  local engine = new_engine(state, { names = { "city", "level" } })
  local told = {}
  for i, update in ipairs(BAD_UPDATES) do
    local _, code, message, ticket = engine:push(1, update[1], update[2])
    told[i] = { code, message, ticket }
  end
  return told
end }

-- }=====

-- {===== going on =====

-- Does a step; when memory runs out in it, does it again with memory.
local function insist(step, ...)
  local ok, a, b, c, d, e = pcall(step, ...)
  if ok then
    return a, b, c, d, e
  end
  faults.off()
  assert(tostring(a):find("not enough memory", 1, true), a)
  return step(...)
end

-- More than it takes: as many users, as many requests.
local STEPS = 12

-- The engine itself, step by step, and whoever uses it goes on after every fault: then nothing may
-- be lost and nothing be there twice. All that is not the engine's is made before, and accounts are
-- new in every round: a string that Lua has already costs it nothing.
local function act_steps(state)
  state.round = state.round + 1
  local accounts, told, count = state.accounts[state.round], state.told, 0
  insist(new_engine, state, state.changes)
  local engine = state.engine
  for i = 1, #accounts do
    insist(engine.push, engine, 1, accounts[i], state.attrs)
  end
  engine:flush(true)
  for i = 1, STEPS do
    local what, id, _, body, users = insist(engine.next, engine, 0)
    if what == "ready" then
      state.bodies[i], state.users[i] = body, users
      insist(engine.feed, engine, id, 0, body:find("bad", 1, true) and "split" or "delivered",
        90033)
    end
  end
  for i = 1, STEPS do
    local ticket, fate, code, attempts, account = insist(engine.result, engine)
    if ticket then
      local row = told[i]
      row[1], row[2], row[3], row[4], row[5] = ticket, fate, code or "-", attempts, account
      count = count + 1
    end
  end
  insist(engine.counts, engine, state.counts)
  engine:close()
  state.value[1] = count
  return state.value
end

-- The same without the round's number.
local function without_round(value)
  if type(value) ~= "table" then
    return type(value) == "string" and value:gsub("@%d+%.%d", "") or value
  end
  local copy = {}
  for key, item in pairs(value) do
    copy[key] = without_round(item)
  end
  return copy
end

local rounds = 0

add_engine { name = "steps", must_be_right = true, setup = function(state)
  state.changes = { users_max = 8 }
  state.attrs = { city = ("x"):rep(50) } -- half a batch is more than a buffer holds at first
  state.accounts, state.round = {}, 0
  rounds = rounds + 1
  for round = 1, 3 do
    state.accounts[round] = {}
    for i, number in ipairs { 1, 2, 3, 4, 5, 6, 7, 8, 9, 2 } do
      state.accounts[round][i] = ("%s%d@%d.%d"):format(number == 1 and "bad" or "u", number, rounds,
        round)
    end
  end
  state.told, state.counts, state.bodies, state.users = {}, {}, {}, {}
  for i = 1, STEPS do
    state.told[i] = { "-", "-", "-", "-", "-" }
    state.bodies[i], state.users[i] = "-", 0
  end
  state.value = { 0, state.told, state.bodies, state.users, state.counts }
  act_steps(state) -- so that the stack has the depth it needs
end, act = act_steps, tell = without_round }

-- }=====

-- {===== paces =====

local function paced(state, name)
  local pace = must(core.pace(3, "strict", name))
  state.pace = pace
  local engine = new_engine(state, { users_max = 1, lanes = { { shape = "set", pace = pace } } })
  for i = 1, 5 do
    must(engine:push(1, "u" .. i, { city = "x" }))
  end
  local slot = pace:take(0, 1000)
  pace:give(slot, 0)
  pace:slow_down(0)
  local value = { #drive(engine, delivered), slot, engine:counts() }
  engine:close()
  pace:close()
  return value
end

local function close_paced(state)
  close_engine(state)
  if state.pace then
    state.pace:close()
  end
end

add_engine { name = "pace_private", finish = close_paced, act = function(state)
  return paced(state)
end }

local function remove_ring(state)
  os.remove(state.path)
end

-- The ring is a file, and a new one every time: the times begin anew.
add_engine { name = "pace_shared", setup = function(state)
  state.name = assert(os.getenv("MEMORY_RING"), "MEMORY_RING is not set")
  state.path = assert(os.getenv("MEMORY_RING_PATH"), "MEMORY_RING_PATH is not set")
end, finish = function(state)
  close_paced(state)
  remove_ring(state)
end, act = function(state)
  remove_ring(state)
  return paced(state, state.name)
end }

-- }=====

return scenarios
