-- random: numbers that a seed draws, the same on every Lua: two multiplicative generators, combined
-- (L'Ecuyer 1988). All products stay below 2^53, so doubles and 64-bit integers agree.

local random = {}

---@class simulation.Random
local Random = {}
Random.__index = Random

local M1, M2 = 2147483563, 2147483399

--- A generator; each `stream` of a seed is one of its own, so that drawing more from one leaves the
--- others as they were.
---@param seed integer
---@param stream integer
---@return simulation.Random
function random.new(seed, stream)
  local self = setmetatable({
    _a = (seed * 40692 + stream * 7919 + 1) % (M1 - 1) + 1,
    _b = (seed * 12211 + stream * 104729 + 77) % (M2 - 1) + 1,
  }, Random)
  for _ = 1, 8 do
    self:int(2)
  end
  return self
end

-- 0 to M1 - 2
local function draw(self)
  self._a = self._a * 40014 % M1
  self._b = self._b * 40692 % M2
  return (self._a - self._b) % (M1 - 1)
end

--- 1 to n
function Random:int(n)
  return draw(self) % n + 1
end

--- a to b
function Random:range(a, b)
  return a + draw(self) % (b - a + 1)
end

--- 0 <= x < 1
function Random:share()
  return draw(self) / (M1 - 1)
end

--- true with this probability; one number is drawn whatever it is
function Random:chance(probability)
  return draw(self) < probability * (M1 - 1)
end

function Random:pick(list)
  return list[self:int(#list)]
end

--- 1 to about 2^bits, every order of magnitude as likely as another
function Random:magnitude(bits)
  local most = 1
  for _ = 1, self:range(0, bits) do
    most = most * 2
  end
  return self:int(most)
end

--- 32-bit numbers of which none comes twice.
---@return fun(): integer
function random.distinct(seed)
  local state = seed % 4294967296
  return function()
    state = (state * 1664525 + 1013904223) % 4294967296 -- full period
    return state
  end
end

return random
