-- arrivals: a network in virtual time between eager senders and a server that counts. Each sender
-- has a pace, takes every slot it can get, and gives it back when the answer comes; the request
-- reaches the server somewhere between the two.

local virtual = require "support.virtual"

local arrivals = {}

local SECOND_US = 1000000
local HOLD_US = 10 * SECOND_US
local WARM_UP_S = 5 -- before this, sends are not counted: the ring is still filling

--- The most moments in any half-open second; the first and the last one. Sorts the list.
---@param moments number[]
---@return integer most
---@return number from_us
---@return number to_us
function arrivals.most_in_a_second(moments)
  table.sort(moments)
  local most, first = 0, 1
  for i = 1, #moments do
    while moments[i] - moments[first] >= SECOND_US do first = first + 1 end
    most = math.max(most, i - first + 1)
  end
  return most, moments[1], moments[#moments]
end

-- All senders that may ask now do.
local function ask(state)
  for i, pace in ipairs(state.paces) do
    while state.ask_us[i] <= state.now_us do
      local slot, until_us = pace:take(state.now_us, HOLD_US)
      if slot then
        state.send(i, pace, slot)
        state.wants_us[i] = state.now_us + state.rest_us[i](state.random)
        state.ask_us[i] = math.max(state.now_us, state.wants_us[i]) + state.lateness()
      else
        assert(until_us > state.now_us)
        state.ask_us[i] = until_us + state.lateness()
      end
    end
  end
end

-- The moment of the next thing to happen.
local function next_moment(state)
  local moment_us = math.huge
  for i = 1, #state.paces do moment_us = math.min(moment_us, state.ask_us[i]) end
  for _, flight in ipairs(state.flights) do moment_us = math.min(moment_us, flight.answer_us) end
  return moment_us
end

-- Answers that are there give their slots back, and everybody asks again.
local function answer(state)
  for k = #state.flights, 1, -1 do
    local flight = state.flights[k]
    if flight.answer_us <= state.now_us then
      flight.pace:give(flight.slot, state.now_us)
      state.flights[k] = state.flights[#state.flights]
      state.flights[#state.flights] = nil
      for i = 1, #state.paces do
        state.ask_us[i] = math.max(state.wants_us[i],
          math.min(state.ask_us[i], state.now_us + state.lateness()))
      end
    end
  end
end

local function new_state(settings)
  local random = virtual.random(settings.seed)
  local state = {
    paces = settings.paces, now_us = 0, ask_us = {}, flights = {},
    all = {}, each = {}, sends = 0, sent_by = {}, rtt_sum_us = 0,
    random = random, wants_us = {}, rest_us = settings.rest_us or {}, longest_wait_us = {},
  }
  local place = settings.place or function() return random(1000001) / 1000000 end
  state.lateness = #settings.paces == 1 and function() return 0 end or function()
    return random(200) - 1
  end
  state.send = function(i, pace, slot)
    local rtt_us = settings.rtt_us(random)
    local arrival_us = state.now_us + math.floor(rtt_us * place(random))
    state.flights[#state.flights + 1] =
      { pace = pace, slot = slot, answer_us = state.now_us + rtt_us }
    state.all[#state.all + 1] = arrival_us
    table.insert(state.each[i], arrival_us)
    state.longest_wait_us[i] = math.max(state.longest_wait_us[i],
      state.now_us >= WARM_UP_S * SECOND_US and state.now_us - state.wants_us[i] or 0)
    state.rtt_sum_us = state.rtt_sum_us + rtt_us
    if state.now_us >= WARM_UP_S * SECOND_US then state.sends = state.sends + 1 end
  end
  for i = 1, #settings.paces do
    state.ask_us[i], state.each[i] = state.lateness(), {}
    state.wants_us[i], state.longest_wait_us[i] = 0, 0
    state.rest_us[i] = state.rest_us[i] or function() return 0 end
  end
  return state
end

local function seen_by_server(state, seconds)
  local seen = {
    most = arrivals.most_in_a_second(state.all), most_each = {}, shares = {}, sent = {},
    longest_wait_us = state.longest_wait_us,
    per_second = state.sends / (seconds - WARM_UP_S),
    rtt_us = state.rtt_sum_us / #state.all,
  }
  for i, list in ipairs(state.each) do
    seen.most_each[i] = arrivals.most_in_a_second(list)
    seen.shares[i] = #list / #state.all
    seen.sent[i] = #list
  end
  return seen
end

--- settings: paces; rtt_us = f(random); seconds; seed; place = f(random) -> 0 (arrives when sent)
--- to 1 (when answered), default anywhere between; each_second = f(now_us); rest_us[i] = f(random):
--- how long a sender wants nothing after a send, default 0.
---@param settings table
---@return table seen { most, most_each, shares, sent, per_second, rtt_us, longest_wait_us[i] }
function arrivals.simulate(settings)
  local state = new_state(settings)
  local second = 1
  while state.now_us < settings.seconds * SECOND_US do
    answer(state)
    ask(state)
    state.now_us = math.max(next_moment(state), state.now_us)
    if settings.each_second and state.now_us >= second * SECOND_US then
      settings.each_second(state.now_us)
      second = second + 1
    end
  end
  return seen_by_server(state, settings.seconds)
end

return arrivals
