-- batcher: joins single updates of many requests to nginx into full batches. Each worker has its
-- own; the quota is shared by all. Posting is pure memory and works in every phase; a timer sends
-- (see driver). Nothing is dropped in silence: what was accepted is delivered, left in the spool,
-- or told.

local backlog = require "imattr.backlog"
local core = require "imattr.core"
local driver = require "imattr.driver"
local ending = require "imattr.ending"
local errors = require "imattr.errors"
local ledger = require "imattr.ledger"
local metrics = require "imattr.metrics"
local redact = require "imattr.redact"
local run = require "imattr.run"
local settings = require "imattr.settings"
local wire = require "imattr.wire"
local world = require "imattr.world"

local batcher = {}

local SET, REMOVE = 1, 2
-- How long set_attr, flush and close wait when nobody says.
local WAIT_MS = 60000

local CLOSED = "the batcher is closed, or its worker ends"

local open_batchers = {} -- name -> batcher, of this worker

---@class imattr.Batcher
local Batcher = {}
Batcher.__index = Batcher
Batcher.__name = "imattr.batcher"

function Batcher:__tostring()
  return ("imattr.batcher %s (%s)"):format(self._given.name, self._is_closed and "closed" or "open")
end

-- {===== birth =====

local function check_place(name)
  if not rawget(_G, "ngx") then
    error("client:batcher: works inside nginx alone; in a script give client:set_attr a list or an "
      .. "iterator", 3)
  elseif ngx.get_phase() == "init" then
    error("client:batcher: each worker needs its own; open it in init_worker_by_lua, or later", 3)
  elseif open_batchers[name] then
    error(("client:batcher: one named %s is open in this worker; open it once, in "
      .. "init_worker_by_lua, or give another name"):format(name), 3)
  end
end

local function open_spool(client, given)
  if not given.spool then
    return nil
  end
  local name = ("%.0f-%s"):format(client._options.sdkappid, given.name)
  local opened, message = require("imattr.spool").open(given.spool, name)
  if not opened then
    return nil, errors.new { code = "SPOOL", message = message, class = "setup" }
  end
  return opened
end

--- See Client:batcher.
---@param client imattr.Client
---@param given imattr.batcher.Options?
---@return imattr.Batcher?
---@return imattr.Error?
function batcher.new(client, given)
  local checked = settings.check(given)
  check_place(checked.name)
  local spool, err = open_spool(client, checked)
  if err then
    return nil, err
  end
  local self = setmetatable({
    _client = client,
    _given = checked,
    _spool = spool,
    _runs = {}, -- the last one takes updates; those before it were stopped, and end
    _ledger = ledger.new(),
    _ticket = 0, -- the last one given
    _waiting = 0,
    _urgent = 0, -- how many want that nothing lingers
    _totals = { accepted = 0, full = 0, done = 0, invalid = 0, refused = 0, unknown = 0,
      not_sent = 0, spooled = 0, claimed = 0 },
  }, Batcher)
  self._driver = driver.new(self)
  self._gauges = function(set) self:_measure(set) end
  open_batchers[checked.name] = self
  metrics.watch(self._gauges)
  driver.watch(self)
  self:_look()
  if self:_has_work() then
    self._driver:arm()
  end
  return self
end

-- }=====

-- {===== runs =====

-- The run that takes updates; a new one after a stop, or for the first. Nil and why there is none.
function Batcher:_live_run()
  local last = self._runs[#self._runs]
  if last and not last.engine:stop_code() then
    return last
  end
  local opened, err = run.new(self, self._has_stopped)
  if opened then
    self._runs[#self._runs + 1] = opened
    self._first_us = nil
  end
  return opened, err
end

-- Says once that a run was stopped.
function Batcher:_mourn(stopped)
  self._has_stopped = true
  local err = stopped.error or wire.error(stopped.engine:stop_code(), self._client._hosts.url)
  ngx.log(ngx.ERR, "imattr: batcher ", self._given.name, ": ", tostring(err))
end

-- The client is closed: nothing more is sent.
function Batcher:_stop()
  self._is_closed = true
  for _, one in ipairs(self._runs) do
    one.engine:stop(core.statuses.STOPPED.code)
  end
end

-- Somebody's function must not stop the driver.
function Batcher:_call(callback, value)
  local ok, problem = pcall(callback, value)
  if not ok and self._problem ~= problem then
    self._problem = problem
    ngx.log(ngx.ERR, "imattr: a callback of the batcher raised: ", redact.text(tostring(problem)))
  end
end

-- }=====

-- {===== fates =====

-- Tells the fate of an update, once and for all.
function Batcher:tell(entry, result)
  metrics.add("imattr_users_total", "state", result.fate)
  self._totals[result.fate] = self._totals[result.fate] + 1
  if entry.place then
    self._spool:strike(entry.place)
  end
  self._ledger:close(entry, result)
  if self._given.on_result then
    self:_call(self._given.on_result, result)
  end
end

-- What the engine says became of an update. At the end of all, what has no answer is set aside.
function Batcher:settle(result)
  local entry = self._ledger:entry(result.ticket)
  if self._left and (result.fate == "unknown" or result.fate == "not_sent") then
    self._left[#self._left + 1] = { entry = entry, result = result }
  else
    self:tell(entry, result)
  end
end

-- }=====

-- {===== taking updates =====

local function check_self(self)
  if getmetatable(self) ~= Batcher then
    error("imattr: call methods with a colon, batcher:post(account, attrs)", 3)
  end
end

local function refuse(self, answer, code, message, class)
  self._totals[answer] = (self._totals[answer] or 0) + 1
  metrics.add("imattr_posts_total", "answer", answer)
  return nil, errors.new { code = code, message = message, class = class }
end

function Batcher:_full()
  return refuse(self, "full", "FULL", ("queue_max: %d updates wait already; try again later, or "
    .. "raise it"):format(self._given.queue_max), "retry")
end

local function copy_of(attrs)
  local copy = {}
  for name, value in pairs(attrs) do
    copy[name] = value
  end
  return copy
end

-- Hands an update to the engine. The ticket; or nil and why not.
function Batcher:_push(live, lane, account, attrs, entry)
  local ticket, code, message, invalid = live.engine:push(lane, account, attrs)
  if not ticket and invalid then
    self._ticket = live.base + invalid
    metrics.add("imattr_users_total", "state", "invalid")
    return refuse(self, "invalid", code, message, "user")
  elseif not ticket then
    return self:_full()
  end
  ticket = live.base + ticket
  self._ticket = ticket
  entry.at_us = core.now_us()
  if self._spool and not entry.place then -- to be written down, should the worker end
    entry.account, entry.attrs = account, copy_of(attrs)
  end
  self._ledger:open_entry(ticket, entry)
  self:_begin_linger(entry.at_us)
  return ticket
end

-- The first update of a batch begins to linger; the last one makes it full.
function Batcher:_begin_linger(now_us)
  self._waiting = self._waiting + 1
  local is_first = not self._first_us
  if is_first then
    self._first_us = now_us
  end
  if is_first or self._waiting % wire.USERS_MAX == 0 or not self._driver._is_driving then
    self._driver:arm()
  end
end

-- Puts an update on the disk before it is taken. Its place; or nil and why not.
function Batcher:_keep(live, account, attrs)
  if not self._spool then
    error("durable: wants the option spool of the batcher", 3)
  elseif live.engine:room() == 0 then
    return self:_full()
  end
  local place, message = self._spool:keep(account, attrs)
  if not place then
    return refuse(self, "failed", "SPOOL", message, "setup")
  end
  return place
end

-- Takes an update. The ticket; or nil and why not.
function Batcher:_take(lane, account, attrs, how, waiter)
  if self._is_closed or self._client._is_closed then
    return refuse(self, "closed", "CLOSED", CLOSED, "interrupted")
  end
  local live, err = self:_live_run()
  if not live then
    return nil, err
  end
  driver.begin_ticking()
  local entry = { waiter = waiter }
  if how and how.durable then
    entry.place, err = self:_keep(live, account, attrs)
    if err then
      return nil, err
    end
  end
  local ticket
  ticket, err = self:_push(live, lane, account, attrs, entry)
  if ticket then
    self._totals.accepted = self._totals.accepted + 1
    metrics.add("imattr_posts_total", "answer", "accepted")
  elseif entry.place then
    self._spool:strike(entry.place)
  end
  return ticket, err
end

--- Takes an update and returns at once. Works in every phase but init and exit_worker.
---@param account string
---@param attrs { [string]: string|integer }
---@param how { durable: boolean? }? durable: returns when the update is on disk, in the spool
---@return integer? ticket on_result will name it
---@return imattr.Error? err code FULL, CLOSED, SPOOL, or why the update is not good
function Batcher:post(account, attrs, how)
  check_self(self)
  return self:_take(SET, account, attrs, how)
end

--- As post, for attributes to remove.
---@param account string
---@param names string[]
---@param how { durable: boolean? }?
---@return integer? ticket
---@return imattr.Error? err
function Batcher:post_remove(account, names, how)
  check_self(self)
  return self:_take(REMOVE, account, names, how)
end

-- Waits at a semaphore. True, or nil when the time is over.
local function wait(waiter, timeout_ms)
  return waiter:wait((timeout_ms or WAIT_MS) / 1000)
end

local function check_wait(method, timeout_ms)
  if timeout_ms ~= nil and (type(timeout_ms) ~= "number" or timeout_ms < 0) then
    error(("batcher:%s: timeout_ms: wants a number of 0 or more"):format(method), 3)
  elseif not world.may_wait() then
    error(("batcher:%s: nothing can wait in the %s phase; batcher:post does not"):format(method,
      ngx.get_phase()), 3)
  end
end

--- Takes an update and waits for its fate; the worker serves others meanwhile.
---@param account string
---@param attrs { [string]: string|integer }
---@param timeout_ms number? default 60000
---@return imattr.Result? result
---@return imattr.Error? err code FULL, CLOSED; DEADLINE: not known yet, on_result will tell
function Batcher:set_attr(account, attrs, timeout_ms)
  check_self(self)
  check_wait("set_attr", timeout_ms)
  local waiter = require("ngx.semaphore").new(0)
  local ticket, err = self:_take(SET, account, attrs, nil, waiter)
  if not ticket then
    if err.class ~= "user" then
      return nil, err
    end
    return { ticket = self._ticket, account = account, fate = "invalid", code = err.code,
      message = err.message, attempts = 0 }
  end
  local entry = self._ledger:entry(ticket)
  if wait(waiter, timeout_ms) then
    return entry.result
  end
  entry.waiter = nil
  return nil, errors.new { code = "DEADLINE", class = "deadline",
    message = "the fate is not known yet; on_result will tell" }
end

-- }=====

-- {===== what others left =====

-- Takes up a file of the spool, when there is one and none is under way.
function Batcher:_look()
  if self._spool and not self._backlog and not self._is_closed and not ngx.worker.exiting() then
    self._backlog = backlog.claim(self._spool)
    self._claimed = self._backlog and self._backlog.file or self._claimed
  end
end

-- Takes one update of it.
function Batcher:_take_up(live, update)
  local lane = update.attrs[1] ~= nil and REMOVE or SET
  self._totals.claimed = self._totals.claimed + 1
  metrics.add("imattr_claimed_users_total")
  local ticket, err = self:_push(live, lane, update.account, update.attrs,
    { place = update.place })
  if not ticket then
    self._spool:strike(update.place)
    if self._given.on_result then
      self:_call(self._given.on_result, { ticket = self._ticket, account = update.account,
        fate = "invalid", code = err.code, message = err.message, attempts = 0 })
    end
  end
end

-- Takes updates of it; live ones always find half of the queue.
function Batcher:_refill()
  local live = self._backlog and not self._is_closed and self:_live_run()
  while live and live.engine:room() > self._given.queue_max / 2 do
    local update = self._backlog:next()
    if not update then
      self._backlog = nil
      return
    end
    self:_take_up(live, update)
  end
end

-- }=====

-- {===== the end =====

-- Ends at once: what has no fate goes into the spool, or is told. Nothing here waits.
function Batcher:_finish()
  if self._is_finished then
    return true
  end
  self._is_closed, self._is_finished = true, true
  local ok, err = ending.finish(self)
  open_batchers[self._given.name] = nil
  metrics.share()
  metrics.unwatch(self._gauges)
  driver.unwatch(self)
  self._driver:wake()
  return ok, err
end

-- Waits until all that was accepted so far has its fate. True; false when time is over.
function Batcher:_await(timeout_ms)
  if self._ledger.count == 0 then
    return true
  end
  self._urgent = self._urgent + 1
  self._driver:arm()
  local ok = wait(self._ledger:barrier(self._ticket), timeout_ms)
  self._urgent = self._urgent - 1
  return ok and true or false
end

--- Sends all at once and waits until what was accepted so far has its fate.
---@param timeout_ms number? default 60000
---@return boolean? ok
---@return imattr.Error? err code DEADLINE: it goes on
function Batcher:flush(timeout_ms)
  check_self(self)
  check_wait("flush", timeout_ms)
  if self:_await(timeout_ms) then
    return true
  end
  return nil, errors.new { code = "DEADLINE", class = "deadline",
    message = ("%d updates have no fate yet"):format(self._ledger.count) }
end

--- Takes no more updates, and waits for the fates of those it has. What has none then, or where
--- nothing can wait (exit_worker), is left in the spool, or told as not_sent or unknown.
---@param timeout_ms number? default 60000
---@return boolean? ok all had their fate
---@return imattr.Error? err code SPOOLED, STOPPED
function Batcher:close(timeout_ms)
  check_self(self)
  self._is_closed = true
  if not self._is_finished and world.may_wait() then
    self:_await(timeout_ms)
  end
  return self:_finish()
end

--- Ends all batchers of this worker at once; for exit_worker_by_lua.
function batcher.exit()
  for _, one in pairs(open_batchers) do
    one:_finish()
  end
  metrics.share()
end

-- }=====

-- {===== figures =====

function Batcher:_has_work()
  return self._ledger.count > 0 or self._backlog ~= nil
end

--- What became of updates so far, in this worker: accepted + claimed == done + refused + unknown +
--- not_sent + spooled + open, and those claimed that are invalid. Full and closed: not accepted.
---@return { [string]: integer }
function Batcher:counts()
  check_self(self)
  local counts = { open = self._ledger.count }
  for name, count in pairs(self._totals) do
    counts[name] = count
  end
  return counts
end

function Batcher:_measure(set)
  local flying = 0
  for _, one in ipairs(self._runs) do
    for _ in pairs(one.flying) do
      flying = flying + 1
    end
  end
  set("imattr_queue_users", self._ledger.count)
  set("imattr_inflight", flying)
  set("imattr_queue_oldest_seconds", self._ledger:age_us(core.now_us()) / 1e6)
  local pace = self._client:_pace("im_set_attr")
  set("imattr_rate_limit", pace and pace:rate(core.now_us()) or 0)
end

-- }=====

return batcher
