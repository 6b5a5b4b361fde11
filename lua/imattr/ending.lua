-- ending: how a batcher ends: every update that has no fate yet is left in the spool, or its fate
-- is told: not_sent, or unknown when it was on its way. Nothing here waits.

local core = require "imattr.core"
local errors = require "imattr.errors"
local metrics = require "imattr.metrics"

local ending = {}

-- Ends all runs. What has no fate: { entry, result }, oldest first.
local function collect(batcher)
  local left, stopped = {}, core.statuses.STOPPED.code
  for _, run in ipairs(batcher._runs) do
    run.on_results()
  end
  batcher._left = left
  for _, run in ipairs(batcher._runs) do
    for id in pairs(run.flying) do
      run.engine:feed(id, run.now_us(), "give_up", stopped, true)
    end
    run.engine:stop(stopped)
    run.on_results()
  end
  batcher._left, batcher._runs = nil, {}
  table.sort(left, function(one, other) return one.result.ticket < other.result.ticket end)
  return left
end

-- Writes down what is not on the disk yet. True; or nil and why.
local function write_down(spool, left)
  local updates = {}
  for _, item in ipairs(left) do
    if not item.entry.place then
      updates[#updates + 1] = item.entry
    end
  end
  if not updates[1] then
    return true
  elseif not spool then
    return nil, "there is no spool"
  end
  return spool:leave(updates)
end

-- An update stays in the spool: whoever waits for it is told so.
local function tell_spooled(batcher, item)
  local result = item.result
  result.fate, result.code = "not_sent", "SPOOLED"
  result.message = "left in the spool for the next worker"
  batcher._totals.spooled = batcher._totals.spooled + 1
  metrics.add("imattr_spooled_users_total")
  batcher._ledger:close(item.entry, result)
end

-- One line about what was left. True when there was nothing.
local function sum_up(name, spooled, lost, why)
  local words = {}
  if spooled > 0 then
    words[1] = ("%d updates are left in the spool"):format(spooled)
  end
  if lost > 0 then
    words[#words + 1] = ("%d updates are without an answer (%s)"):format(lost, why)
  end
  if not words[1] then
    return true
  end
  local message = table.concat(words, ", ")
  ngx.log(lost > 0 and ngx.ERR or ngx.NOTICE, "imattr: batcher ", name, ": ", message)
  return nil, errors.new { code = lost > 0 and "STOPPED" or "SPOOLED", message = message,
    class = "interrupted" }
end

--- Ends a batcher's runs and lets its files go.
---@param batcher imattr.Batcher
---@return boolean? ok every update had its fate
---@return imattr.Error? err
function ending.finish(batcher)
  local left, spooled = collect(batcher), 0
  local ok, why = write_down(batcher._spool, left)
  for _, item in ipairs(left) do
    if ok or item.entry.place then
      spooled = spooled + 1
      tell_spooled(batcher, item)
    else
      batcher:tell(item.entry, item.result)
    end
  end
  if batcher._claimed then
    batcher._claimed:release()
  end
  if batcher._spool then
    batcher._spool:close()
  end
  batcher._backlog = nil
  return sum_up(batcher._given.name, spooled, #left - spooled, why)
end

return ending
