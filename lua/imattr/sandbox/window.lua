-- window: how many arrivals lie in one sliding second.
--
-- The second is half open, [t, t + 1 s): an arrival exactly one second after
-- another is no longer in its company. The fullest second that ends at or
-- after an arrival ends right at that arrival, so counting when something
-- arrives finds the maximum over all seconds there are.

local window = {}

local SECOND_US = 1000000

---@class imattr.sandbox.window
---@field times number[] arrivals of the last second, oldest at `first`
---@field first integer
---@field last integer

-- An empty window.
---@return imattr.sandbox.window
function window.new()
  return { times = {}, first = 1, last = 0 }
end

-- How many arrivals share a second with `now_us`. Time must not go back.
---@param self imattr.sandbox.window
---@param now_us number
---@return integer count
function window.count(self, now_us)
  local times, first, last = self.times, self.first, self.last
  while first <= last and now_us - times[first] >= SECOND_US do
    times[first] = nil
    first = first + 1
  end
  self.first = first
  return last - first + 1
end

-- Adds an arrival and says how many share its second, itself included.
---@param self imattr.sandbox.window
---@param now_us number
---@return integer count
function window.add(self, now_us)
  local count = window.count(self, now_us) + 1
  self.last = self.last + 1
  self.times[self.last] = now_us
  return count
end

return window
