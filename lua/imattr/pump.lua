-- pump: carries updates from a source through the engine to a transport and the replies back.
-- The same loop serves every transport; only `wait` of a transport may block or yield.

local core = require "imattr.core"
local wire = require "imattr.wire"

local pump = {}

-- Updates pushed before the engine is asked again what to send: enough for a batch.
local PUSH_MAX = wire.USERS_MAX

-- How often on_progress is called at most, and how long one wait may last while should_stop or
-- on_progress want to be heard.
local PROGRESS_US = 100000

---@class imattr.Run
---@field engine table
---@field transport table
---@field push fun(): boolean, any pushes one update: true; false at the end; false and an error
---  value when the source failed. It is only called when the engine has room.
---@field url fun(lane: integer, is_fresh: boolean): string? the URL for the next request; is_fresh
---  asks for a new signature
---@field on_delivered fun(object: table)? gets each reply that was delivered
---@field on_resign fun(reply: table)? a signature was refused: the next URL needs a new one
---@field on_results fun() takes the engine's results; called whenever there may be some
---@field on_progress fun()?
---@field should_stop fun(): boolean?
---@field infos table code -> the words that came with it last; filled by the pump
---@field source_error any what the source failed with; filled by the pump

-- Pushes up to PUSH_MAX updates. Returns whether the source has more.
local function fill(run)
  for _ = 1, math.min(PUSH_MAX, run.engine:room()) do
    local has_more, problem = run.push()
    if problem ~= nil then
      run.source_error = problem
      run.engine:stop(core.statuses.SOURCE_FAILED.code)
    end
    if not has_more then
      run.engine:flush(true)
      return false
    end
  end
  return true
end

-- Sends all that may leave now. Returns the engine's answer and its moment.
local function send(run)
  while true do
    local answer, id, lane, body = run.engine:next(core.now_us())
    if answer ~= "ready" then
      return answer, id
    end
    run.transport:start(id, run.url(lane), body)
  end
end

-- Hands a reply's meaning to the engine.
local function receive(run, reply)
  if reply.status == "DRY_RUN" then
    run.engine:feed(reply.id, core.now_us(), "skip", core.statuses.DRY_RUN.code)
    return
  end
  local verdict = wire.verdict(reply)
  if verdict.code then
    run.infos[verdict.code] = verdict.info
  end
  for account, code in pairs(verdict.refused or {}) do
    run.engine:refuse_user(reply.id, account, code)
  end
  if verdict.kind == "delivered" and run.on_delivered then
    run.on_delivered(verdict.object)
  elseif verdict.kind == "resign" then
    run.on_resign(reply)
  end
  -- the clock is read after the answer: the slot's second begins now
  run.engine:feed(reply.id, core.now_us(), verdict.kind, verdict.code, verdict.may_have_arrived)
  run.on_results() -- before the next reply: run.infos still holds this one's words
end

-- Waits for a reply, at most until a moment, and takes all replies that are there.
local function wait(run, until_us, has_more)
  local timeout_us = until_us and math.max(0, until_us - core.now_us())
  if has_more and run.engine:room() > 0 then
    timeout_us = 0
  elseif run.should_stop or run.on_progress then
    timeout_us = math.min(timeout_us or PROGRESS_US, PROGRESS_US)
  end
  local reply = run.transport:wait(timeout_us)
  while reply do
    receive(run, reply)
    reply = run.transport:wait(0)
  end
end

local function report_progress(run, now_us)
  if run.on_progress and now_us >= (run.progress_us or 0) then
    run.progress_us = now_us + PROGRESS_US
    run.on_progress()
  end
end

-- Stops a run that the caller no longer wants. Returns whether the source still counts.
local function heed_stop(run, has_more)
  if run.should_stop and not run.engine:stop_code() and run.should_stop() then
    run.engine:stop(core.statuses.INTERRUPTED.code)
  end
  return has_more and not run.engine:stop_code()
end

--- Runs until every update has its fate, or the source is left behind by a stop.
---@param run imattr.Run
function pump.run(run)
  local has_more = true
  while true do
    has_more = heed_stop(run, has_more)
    if has_more then
      has_more = fill(run)
    end
    local answer, until_us = send(run)
    run.on_results() -- of a deadline
    if answer == "idle" and not has_more then
      return
    elseif answer == "wait" then
      wait(run, until_us, has_more)
    end
    report_progress(run, core.now_us())
  end
end

return pump
