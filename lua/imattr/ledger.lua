-- ledger: the updates of a batcher that have no fate yet, and who waits for fates.

local ledger = {}

---@class imattr.Ledger
---@field count integer updates without a fate
local Ledger = {}
Ledger.__index = Ledger

---@return imattr.Ledger
function ledger.new()
  return setmetatable({ count = 0, _entries = {}, _barriers = {} }, Ledger)
end

---@class imattr.ledger.Entry
---@field at_us integer when it was taken
---@field account any with a spool: to be written down
---@field attrs table?
---@field place imattr.spool.Place? where it is written down already
---@field waiter table? a semaphore of who waits for it
---@field result imattr.Result? for the waiter

---@param ticket integer
---@param entry imattr.ledger.Entry
function Ledger:open_entry(ticket, entry)
  self._entries[ticket] = entry
  self.count = self.count + 1
end

---@param ticket integer
---@return imattr.ledger.Entry
function Ledger:entry(ticket)
  return self._entries[ticket]
end

-- Lets barriers behind a ticket come nearer to their end.
function Ledger:_lower(ticket)
  for i = #self._barriers, 1, -1 do
    local barrier = self._barriers[i]
    if ticket <= barrier.mark then
      barrier.left = barrier.left - 1
      if barrier.left == 0 then
        table.remove(self._barriers, i)
        barrier.waiter:post()
      end
    end
  end
end

--- An update has its fate: whoever waits for it is woken.
---@param entry imattr.ledger.Entry
---@param result imattr.Result
function Ledger:close(entry, result)
  self._entries[result.ticket] = nil
  self.count = self.count - 1
  if entry.waiter then
    entry.result = result
    entry.waiter:post()
  end
  self:_lower(result.ticket)
end

--- A semaphore that is posted when all updates so far have their fate.
---@param mark integer the last ticket
---@return table
function Ledger:barrier(mark)
  local waiter = require("ngx.semaphore").new(0)
  self._barriers[#self._barriers + 1] = { mark = mark, left = self.count, waiter = waiter }
  return waiter
end

--- Age of the oldest update without a fate.
---@param now_us integer
---@return integer
function Ledger:age_us(now_us)
  local oldest_us = now_us
  for _, entry in pairs(self._entries) do
    oldest_us = math.min(oldest_us, entry.at_us)
  end
  return now_us - oldest_us
end

return ledger
