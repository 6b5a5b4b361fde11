-- plan: what a seed draws before anything happens: the app and its quota, the network and its
-- faults, the processes, their calls, users, callbacks, deaths. In the way of a swarm: most rates
-- are zero in most seeds, so that what is there can be strong.

local random = require "simulation.random"

local plan = {}

local SECOND_US = 1000000

-- Attributes that are registered with the app.
plan.NAMES = { "city", "sex", "level", "tier", "score", "lang", "vip", "os", "age", "last" }

-- A seed's users, all calls and processes together.
local UPDATES_MAX = 5000

-- {===== the network =====

-- Faults of an attempt, and their strongest rates: network.lua says what they are.
plan.FAULTS = {
  { "refused", 0.4 }, { "resolve", 0.3 }, { "handshake", 0.3 }, { "connect_hole", 0.15 },
  { "cut_before", 0.4 }, { "cut_middle", 0.3 }, { "cut_after", 0.3 }, { "cut_late", 0.2 },
  { "hole", 0.15 }, { "lost", 0.2 }, { "slow", 0.2 }, { "crawl", 0.15 },
  { "http_before", 0.3 }, { "http_after", 0.3 }, { "http_429", 0.2 },
  { "truncated", 0.2 }, { "foreign", 0.2 }, { "huge", 0.03 },
  { "code_retry", 0.3 }, { "code_retry_after", 0.3 }, { "code_rate", 0.2 },
  { "code_resign", 0.15 }, { "code_user", 0.1 }, { "code_hold", 0.1 },
  { "http_stop", 0.02 }, { "tls", 0.03 }, { "code_stop", 0.02 },
}

-- Two or three kinds alone, and strong: what they do to one another.
local function draw_theme(dice)
  local faults = {}
  for i = 1, dice:range(2, 3) do
    local fault = dice:pick(plan.FAULTS)
    faults[i] = { name = fault[1], rate = math.max(0.1, fault[2]) * dice:share() }
  end
  return faults
end

local function draw_faults(dice)
  if dice:chance(0.25) then
    return draw_theme(dice)
  end
  local faults = {}
  local share = dice:pick { 0, 0.08, 0.2, 0.5 } -- how many kinds there are
  local strength = dice:pick { 0.05, 0.3, 1 }
  for _, fault in ipairs(plan.FAULTS) do
    local is_there, rate = dice:chance(share), fault[2] * strength * dice:share()
    if is_there then
      faults[#faults + 1] = { name = fault[1], rate = rate }
    end
  end
  return faults
end

-- Times in which a host is not there at all.
local function draw_outages(dice)
  local outages = {}
  if dice:chance(0.25) then
    for _ = 1, dice:int(3) do
      local from_us = dice:magnitude(25)
      outages[#outages + 1] = { host = dice:pick { 1, 1, 2 }, from_us = from_us,
        to_us = from_us + dice:magnitude(27), is_hole = dice:chance(0.4) }
    end
  end
  return outages
end

local function draw_network(dice)
  local rtt_us = dice:pick { 500, 5000, 20000, 80000, 300000 }
  return {
    rtt_us = rtt_us,
    jitter_us = dice:chance(0.5) and dice:int(rtt_us) or 0,
    spike_rate = dice:chance(0.2) and 0.05 or 0,
    spike_us = dice:magnitude(22),
    early_rate = dice:chance(0.2) and 0.2 or 0, -- waits that end before their time
    has_date = dice:chance(0.8),
    is_terse = dice:chance(0.5), -- the one reply that needs no parsing
    faults = draw_faults(dice),
    outages = draw_outages(dice),
  }
end

-- }=====

-- {===== options of a client =====

local function draw_options(dice, limit)
  local has_backup = dice:chance(0.4)
  local rate = dice:chance(0.15) and limit > 0 and dice:int(limit) or limit
  return {
    rate = rate,
    in_flight_max = dice:pick { 1, 2, 5, 64, 64, 64, 1000 },
    queue_max = dice:pick { 100, 150, 1000, 1000, 20000 },
    attempts_max = dice:pick { 1, 2, 5, 5, 5, 20, 100 },
    timeout_ms = dice:pick { 3100, 5000, 10000, 10000, 30000 },
    connect_timeout_ms = dice:pick { 100, 1000, 5000 },
    usersig_expire_s = dice:pick { 60, 300, 86400, 86400 },
    failures_max = dice:pick { 0, 3, 1000, 1000 },
    patience_ms = dice:pick { 0, 2000, 30000, 30000, 300000 },
    endpoint = has_backup and { "https://main.example", "https://backup.example" }
      or "https://main.example",
  }
end

-- Jumps of a process's clock away from the right time.
local function draw_jumps(dice)
  local jumps = {}
  if dice:chance(0.2) then
    for i = 1, dice:int(4) do
      local far_s = dice:pick { 59, 3600, 90000, 315000000 }
      jumps[i] = { at_us = dice:magnitude(26), skew_s = dice:range(-far_s, far_s) }
    end
  end
  return jumps
end

-- }=====

-- {===== users =====

-- Accounts that screening refuses, values and attributes likewise.
local INVALID = {
  { account = "" }, { account = ("x"):rep(33) }, { account = "a\255b" }, { account = "a\0b" },
  { account = 17.5 }, { attrs = {} }, { attrs = 5 }, { attrs = { city = true } },
  { attrs = { city = ("v"):rep(51) } }, { attrs = { city = "\200" } },
  { attrs = { [("n"):rep(51)] = "v" } },
  { attrs = { [1] = "v" } }, -- as the last: a remove takes it for a name
}

-- What a value ends in: marks that JSON escapes, and letters of several bytes.
local TAILS = { "", "", "", " \"\\/", "\n\t\1", " \195\169\226\130\172\240\159\152\128" }

-- The attributes of one update: names, each with the number that stands for the update.
local function draw_names(dice, most)
  local first, count, names = dice:int(#plan.NAMES), dice:int(most), {}
  for i = 1, count do
    names[i] = plan.NAMES[(first + i - 2) % #plan.NAMES + 1]
  end
  return names
end

-- A remove says nothing but names: so that what arrived can be told, a user has each once.
local function names_once(taken, account, names)
  local mine = taken[account] or {}
  local left = {}
  for _, name in ipairs(names) do
    if not mine[name] then
      mine[name] = true
      left[#left + 1] = name
    end
  end
  taken[account] = mine
  return left
end

local function draw_invalid(dice, n, kind)
  local how = INVALID[dice:int(kind == "set" and #INVALID or #INVALID - 1)]
  local account, attrs = how.account, how.attrs
  return { n = n, is_invalid = true, account = account or "bad-" .. n,
    attrs = attrs or { city = ("%d"):format(n) } }
end

-- The next account: another, one of before, or the same again.
local function draw_account(dice, shape, i, last)
  if last and dice:chance(shape.burst_rate) then
    return last
  end
  local number = dice:chance(shape.repeat_rate) and dice:int(shape.pool) or i
  return ("%s-%d"):format(shape.prefix, number)
end

local function attrs_of(kind, names, n, tail)
  local attrs = {}
  for i, name in ipairs(names) do
    if kind == "set" then
      attrs[name] = ("%d%s"):format(n, tail)
    else
      attrs[i] = name
    end
  end
  return attrs
end

--- The updates of a call, numbered on from `numbers.last`: a later one has a larger number.
function plan.updates(dice, numbers, call)
  local updates, taken, last = {}, {}, nil
  local shape = call.shape
  for i = 1, call.count do
    numbers.last = numbers.last + 1
    local n = numbers.last
    if dice:chance(shape.invalid_rate) then
      updates[i] = draw_invalid(dice, n, call.kind)
    else
      local account, names = draw_account(dice, shape, i, last), draw_names(dice, shape.names_max)
      if dice:chance(shape.ghost_rate) then
        names[1] = "ghost" -- not registered: the vendor refuses it, 90033
      end
      if call.kind == "remove" then
        names = names_once(taken, account, names)
      end
      updates[i] = { n = n, account = account, names = names,
        attrs = attrs_of(call.kind, names, n, dice:pick(TAILS)), is_invalid = #names == 0 }
      last = account
    end
  end
  return updates
end

local function draw_shape(dice, prefix, count)
  local has_repeats, has_bursts = dice:chance(0.4), dice:chance(0.25)
  return {
    prefix = prefix,
    pool = math.max(1, dice:magnitude(10) % count),
    repeat_rate = has_repeats and dice:share() or 0,
    burst_rate = has_bursts and dice:share() * 0.9 or 0,
    names_max = dice:pick { 1, 1, 3, 10 },
    invalid_rate = dice:chance(0.2) and 0.1 * dice:share() or 0,
    ghost_rate = dice:chance(0.15) and 0.03 * dice:share() or 0,
  }
end

-- }=====

-- {===== calls =====

-- What may happen in the caller's own functions, at which of their calls.
local function draw_callbacks(dice, count)
  local has = dice:chance(0.35)
  local where = has and dice:pick { "raise_source", "raise_result", "raise_progress", "stop",
    "close", "sleep_source", "sleep_source", "sleep_result", "sleep_progress", "tend" }
  return {
    what = where or nil,
    at = dice:int(math.max(1, count)),
    every = 1 + dice:magnitude(8),
    sleep_us = dice:magnitude(dice:pick { 17, 20, 22, 24 }),
  }
end

local function draw_call(dice, numbers, prefix, count)
  local call = {
    kind = dice:chance(0.7) and "set" or "remove",
    count = count,
    form = dice:pick { "list", "iterator", "iterator" },
    shape = draw_shape(dice, prefix, count),
    callbacks = draw_callbacks(dice, count),
    has_on_result = dice:chance(0.7),
    has_on_progress = dice:chance(0.4),
    has_should_stop = dice:chance(0.2),
    deadline_ms = dice:chance(0.12) and dice:magnitude(17) or 0,
    dry_run = dice:chance(0.02),
  }
  call.updates = plan.updates(dice, numbers, call)
  return call
end

-- How many updates a call has: all orders of magnitude, and nearly none are long.
local function draw_count(dice, numbers)
  local count = dice:magnitude(dice:pick { 4, 8, 10, 11 })
  return math.max(1, math.min(count, UPDATES_MAX - numbers.last))
end

local function draw_calls(dice, numbers, prefix, most)
  local calls = {}
  for i = 1, dice:int(most) do
    calls[i] = draw_call(dice, numbers, prefix, draw_count(dice, numbers))
  end
  return calls
end

-- }=====

-- {===== processes =====

local function draw_process(dice, numbers, name, limit)
  local process = {
    name = name,
    start_us = dice:chance(0.5) and dice:magnitude(22) or 0,
    options = draw_options(dice, limit),
    jumps = draw_jumps(dice),
    lanes = { draw_calls(dice, numbers, name .. "a", 3) },
  }
  if dice:chance(0.25) then -- two calls of one client at once, about other users
    process.lanes[2] = draw_calls(dice, numbers, name .. "b", 1)
  end
  if dice:chance(0.2) then -- stopped for a while, as by SIGSTOP or a machine without memory
    process.freeze = { wait = dice:magnitude(7), for_us = dice:pick { 1, 5, 12, 35 } * SECOND_US }
  end
  if dice:chance(0.2) then
    process.kill_us = process.start_us + dice:magnitude(25)
    process.restart_us = dice:magnitude(24)
  elseif dice:chance(0.1) then
    process.close_us = process.start_us + dice:magnitude(24)
  end
  return process
end

-- Accounts that the vendor refuses: the whole batch, or the one user by ErrorList.
local function draw_poison(dice)
  return {
    rate = dice:chance(0.3) and dice:pick { 0.001, 0.01, 0.05 } or 0,
    by_list = dice:chance(0.4),
    codes = { 70107, 90003, 90012, 90001, 60015, 90034 },
  }
end

--- Everything a seed draws.
---@param seed integer
---@return table
function plan.draw(seed)
  local dice, numbers = random.new(seed, 1), { last = 0 }
  local limit = dice:pick { 0, 1, 2, 5, 5, 10, 10, 30, 30, 100, 100, 100, 100, 300, 300 }
  local made = {
    seed = seed,
    limit = limit,
    mode = dice:chance(0.9) and "strict" or "even",
    network = draw_network(dice),
    poison = draw_poison(dice),
    stranger = dice:chance(0.1) and limit > 0 and { share = dice:share() } or nil,
    calm_us = dice:chance(0.4) and dice:magnitude(27) or nil, -- faults stop in the middle
    processes = { draw_process(dice, numbers, "p", limit) },
    numbers = numbers,
  }
  if dice:chance(0.35) then
    made.processes[2] = draw_process(dice, numbers, "q", limit)
  end
  return made
end

-- }=====

return plan
