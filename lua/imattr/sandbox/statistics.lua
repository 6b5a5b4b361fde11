-- statistics: what the sandbox has seen of one command.
--
-- A client's promises are checked here and not in the client: how many
-- requests really arrived in the fullest second, how many users they carried,
-- whether a random number came twice. Every arrival counts, refused or not.

local window = require "imattr.sandbox.window"

local statistics = {}

-- Random numbers remembered: this many at least, twice as many at most. A
-- stream of any length runs in bounded memory.
local RANDOMS_MAX = 65536

---@class imattr.sandbox.statistics
---@field arrivals integer requests that arrived
---@field accepted integer requests answered with OK
---@field by_code table<string, integer> refusals, by the vendor's code
---@field users integer users in the accepted requests
---@field body_bytes integer bytes in the bodies of all arrivals
---@field randoms_repeated integer arrivals whose `random` was seen before
---@field max_in_second integer most arrivals in any one second
---@field first_us number? time of the first arrival
---@field last_us number? time of the last arrival

-- Nothing seen yet.
---@return table counter
function statistics.new()
  return {
    seen = {
      arrivals = 0,
      accepted = 0,
      by_code = {},
      users = 0,
      body_bytes = 0,
      randoms_repeated = 0,
      max_in_second = 0,
    },
    window = window.new(),
    randoms = {},
    randoms_before = {},
    randoms_count = 0,
  }
end

-- Remembers `random` and says whether it came before.
local function repeats(counter, random)
  if counter.randoms[random] or counter.randoms_before[random] then
    return true
  end
  if counter.randoms_count >= RANDOMS_MAX then
    counter.randoms_before = counter.randoms
    counter.randoms, counter.randoms_count = {}, 0
  end
  counter.randoms[random] = true
  counter.randoms_count = counter.randoms_count + 1
  return false
end

-- Counts one arrival.
---@param counter table
---@param request { args: table, body: string? }
---@param now_us number
function statistics.arrive(counter, request, now_us)
  local seen, random = counter.seen, request.args.random
  seen.arrivals = seen.arrivals + 1
  seen.body_bytes = seen.body_bytes + #(request.body or "")
  seen.first_us = seen.first_us or now_us
  seen.last_us = now_us
  seen.max_in_second = math.max(seen.max_in_second, window.add(counter.window, now_us))
  if type(random) == "string" and repeats(counter, random) then
    seen.randoms_repeated = seen.randoms_repeated + 1
  end
end

-- Counts the end of an arrival: `code` 0 accepts so many users.
---@param counter table
---@param code integer
---@param users integer?
function statistics.settle(counter, code, users)
  local seen = counter.seen
  if code == 0 then
    seen.accepted = seen.accepted + 1
    seen.users = seen.users + (users or 0)
  else
    local key = tostring(code)
    seen.by_code[key] = (seen.by_code[key] or 0) + 1
  end
end

-- A copy to hand out.
---@param counter table
---@return imattr.sandbox.statistics
function statistics.export(counter)
  local copy = {}
  for name, value in pairs(counter.seen) do
    copy[name] = value
  end
  copy.by_code = {}
  for code, count in pairs(counter.seen.by_code) do
    copy.by_code[code] = count
  end
  return copy
end

return statistics
