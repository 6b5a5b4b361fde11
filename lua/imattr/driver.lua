-- driver: what moves a batcher, in a timer of nginx's: sends what is due, reads replies, and ends
-- when nothing is left. There is at most one at work per batcher and worker, and it begins again
-- with the next update. Once a second a tick looks whether all is well.

local core = require "imattr.core"
local metrics = require "imattr.metrics"
local pump = require "imattr.pump"
local redact = require "imattr.redact"

local driver = {}

-- A wait ends after this at the latest: to see whether the worker is to end.
local LOOK_US = 100000

-- A timer that nginx took and did not run (no worker_connections left) is asked for again.
local ARM_US = 1000000

local TICK_S = 1

-- nginx keeps a little memory for all that a timer ever did, until it ends; and finding one thread
-- among all that ever were takes longer and longer. So another timer takes over after this many.
local REQUESTS_MAX = 200

-- After a mistake of set-up: how long before one request tries again.
local PAUSE_MIN_US = 1000000
local PAUSE_MAX_US = 60000000

---@class imattr.Driver
local Driver = {}
Driver.__index = Driver

---@param batcher imattr.Batcher
---@return imattr.Driver
function driver.new(batcher)
  local self = setmetatable({ _batcher = batcher, _counts = {}, _pause_us = 0,
    _pause_until_us = 0 }, Driver)
  -- what a client that is closed stops
  self._token = { engine = { stop = function() batcher:_stop() end } }
  return self
end

-- {===== when to send =====

-- Lets what has lingered enough leave. Returns the moment to look again.
function Driver:_aim(run, now_us)
  local batcher, counts = self._batcher, run.engine:counts(self._counts)
  batcher._waiting = counts.waiting
  if counts.waiting == 0 then
    batcher._first_us = nil
    run.engine:flush(false)
    return now_us + LOOK_US
  end
  local due_us = (batcher._first_us or now_us) + batcher._given.linger_ms * 1000
  local is_due = batcher._urgent > 0 or now_us >= due_us
  run.engine:flush(is_due)
  return now_us + (is_due and LOOK_US or math.min(LOOK_US, due_us - now_us))
end

-- What is left behind by a request that just set out begins to linger.
function Driver:_aim_again(run, requests)
  local batcher, counts = self._batcher, run.engine:counts(self._counts)
  if counts.requests > requests then
    batcher._first_us = counts.waiting > 0 and run.now_us() or nil
    self._requests = self._requests + counts.requests - requests
  end
  batcher._waiting = counts.waiting
end

-- Is the worker to end? Then nothing lingers, and what is not done in time stays behind.
function Driver:_heed_exit(now_us)
  local batcher = self._batcher
  if not ngx.worker.exiting() then
    return
  end
  if not self._exit_us then
    self._exit_us = now_us
    batcher._backlog = nil -- its file is there for the next worker
    batcher._urgent = batcher._urgent + 1
  end
  if now_us >= self._exit_us + batcher._given.drain_ms * 1000 then
    batcher:_finish()
  end
end

-- }=====

-- {===== the loop =====

-- A run that was stopped has told all fates: it goes. The next one begins after a pause, so that
-- a wrong key is not shown to the vendor all the time.
function Driver:_retire(run)
  table.remove(self._batcher._runs, 1)
  if run.is_good then
    self._pause_us = 0
  end
  self._pause_us = math.min(PAUSE_MAX_US, math.max(PAUSE_MIN_US, self._pause_us * 2))
  self._pause_until_us = run.now_us() + self._pause_us
  self._batcher:_mourn(run)
end

-- One round. False when there is nothing to do.
function Driver:_round(run)
  local batcher, now_us = self._batcher, run.now_us()
  local until_us = self:_aim(run, now_us)
  if now_us < self._pause_until_us and batcher._urgent == 0 then
    self._transport:wait(math.min(until_us, self._pause_until_us) - now_us)
    return true
  end
  local requests = self._counts.requests
  run.transport = self._transport
  local answer = pump.turn(run, until_us)
  if batcher._is_finished then
    return false
  end
  self:_aim_again(run, requests)
  if answer == "idle" and run.engine:stop_code() then
    self:_retire(run)
  elseif answer == "idle" then
    if not batcher:_has_work() then
      return false
    end
    self._transport:wait(math.max(0, until_us - run.now_us()))
  end
  return true
end

-- Drives until there is nothing left; or until another timer takes over: true.
function Driver:_drive()
  local batcher = self._batcher
  self._requests = 0
  while true do
    self:_heed_exit(core.now_us())
    batcher:_refill()
    local run = batcher._runs[1]
    if not run or not self:_round(run) then
      return false
    end
    if self._requests >= REQUESTS_MAX then
      self._requests = 0
      if ngx.timer.at(0, driver.enter, self) then
        self._armed_us = core.now_us()
        return true
      end
    end
  end
end

-- Gives a transport back, after its last reply; or breaks it off when the batcher has finished.
function Driver:_leave(run, transport)
  local batcher = self._batcher
  while run and transport:count() > 0 and not batcher._is_finished do
    local reply = transport:wait(LOOK_US)
    if reply and not batcher._is_finished then
      pump.receive(run, reply)
      self:wake() -- the timer that took over: there may be more to send now
    end
  end
  if batcher._is_finished then
    transport:close()
  else
    batcher._client:_give_transport(transport)
  end
end

--- A timer begins.
---@param _ boolean premature: no timer that nginx runs comes too early
---@param self imattr.Driver
function driver.enter(_, self)
  local batcher = self._batcher
  self._armed_us = nil
  if self._is_driving or batcher._is_finished then
    return
  end
  local transport, err = batcher._client:_take_transport()
  if not transport then
    ngx.log(ngx.ERR, "imattr: ", tostring(err))
    return
  end
  self._is_driving, self._transport = true, transport
  batcher._client:_begin_run(self._token)
  if batcher._client._is_closed then
    batcher:_stop()
  end
  local ok, result = pcall(self._drive, self)
  self._is_driving, self._transport = false, nil
  if not ok then
    ngx.log(ngx.ERR, "imattr: ", redact.text(tostring(result)))
  end
  if not ok or not result then
    batcher._client:_end_run(self._token)
  end
  self:_leave(batcher._runs[1], transport)
  if batcher._client._is_closed then
    batcher:_finish()
  end
end

-- }=====

--- Sees to it that a timer drives, now or soon. True when one does or will.
---@return boolean
function Driver:arm()
  if self._is_driving then
    self:wake()
    return true
  end
  local now_us = core.now_us()
  if self._armed_us and now_us < self._armed_us + ARM_US then
    return true
  end
  local ok, err = ngx.timer.at(0, driver.enter, self)
  if ok then
    self._armed_us, self._problem = now_us, nil
  elseif err ~= self._problem then
    self._problem = err
    ngx.log(ngx.WARN, "imattr: no timer now (", err, "); trying again")
  end
  return ok and true or false
end

--- Ends a wait early.
function Driver:wake()
  if self._transport then
    self._transport:wake()
  end
end

-- {===== ticks =====

local watched = {} -- batchers of this worker
local is_ticking = false

local function look_after(batcher)
  local own = batcher._driver
  batcher:_look()
  if batcher:_has_work() and not own:arm() then
    ngx.thread.spawn(driver.enter, false, own) -- in this tick's timer then
  end
end

local function tick()
  metrics.share()
  for batcher in pairs(watched) do
    local ok, problem = pcall(look_after, batcher)
    if not ok then
      ngx.log(ngx.ERR, "imattr: ", redact.text(tostring(problem)))
    end
  end
end

-- One repeated timer serves all batchers of a worker. It never runs long.
local function begin_ticking()
  if not is_ticking then
    is_ticking = ngx.timer.every(TICK_S, tick) and true or false
  end
end

--- Has ticks look after a batcher.
---@param batcher imattr.Batcher
function driver.watch(batcher)
  watched[batcher] = true
  begin_ticking()
end

---@param batcher imattr.Batcher
function driver.unwatch(batcher)
  watched[batcher] = nil
end

--- Asks once more when there was no timer for ticks.
driver.begin_ticking = begin_ticking

-- }=====

return driver
