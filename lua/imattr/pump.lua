-- pump: carries updates from a source through the engine to a transport and the replies back.
-- The same loop serves every transport; only `wait` of a transport may block or yield.

local core = require "imattr.core"
local wire = require "imattr.wire"

local pump = {}

-- How often on_progress is called at most, and how long one wait may last while should_stop or
-- on_progress want to be heard.
local PROGRESS_US = 100000

-- While users are being pushed, the transport is looked after this often.
local LOOK_US = 1000

---@class imattr.Run
---@field engine table
---@field transport table
---@field push fun(most: integer): boolean, any pushes up to so many updates: true; false at the end
---  of the source; false and an error value when the source failed
---@field source_may_wait boolean a list does not; an iterator may wait for a queue
---@field now_us fun(): integer
---@field address fun(id: integer, lane: integer, users: integer, attempt: integer): string?,
---  string|imattr.Error host and target of a request; nil and why when it cannot be signed
---@field on_reply fun(reply: imattr.Reply, verdict: imattr.Verdict) sees every reply first
---@field on_results fun() takes the engine's results; called whenever there may be some
---@field on_progress fun()?
---@field should_stop fun(): boolean?
---@field infos table code -> the words that came with it last; filled by the pump
---@field failure { raised: any }? what the source raised; filled by the pump
---@field error imattr.Error? why a request could not be signed; filled by the pump
---@field has_more boolean does the source have more? Filled by the pump
---@field pid integer of the process that runs it; filled by the pump

-- Pushes as many updates as the engine wants, so that a batch is ready for the next slot.
local function fill(run)
  local wanted = run.has_more and run.engine:wants() or 0
  if wanted == 0 then
    return
  end
  run.has_more, run.failure = run.push(wanted)
  if run.failure then
    run.engine:stop(core.statuses.SOURCE_FAILED.code)
  end
  if not run.has_more then
    run.engine:flush(true)
  end
end

-- Sends all that may leave now. Returns the engine's answer and its moment.
local function send(run)
  local engine, transport, now_us = run.engine, run.transport, run.now_us()
  while true do
    local answer, id, lane, body, users, attempt, body_len = engine:next(now_us, transport.borrows)
    if answer ~= "ready" then
      return answer, id
    end
    local base, target = run.address(id, lane, users, attempt)
    if base then
      transport:start(id, base, target, body, body_len)
      if run.source_may_wait then
        run.look_us = 0 -- it leaves with the next wait: that must come before the source is asked
      end
    else
      run.error = target
      engine:feed(id, run.now_us(), "skip", core.statuses.STOPPED.code)
      engine:stop(core.statuses.STOPPED.code)
    end
  end
end

--- Hands a reply's meaning to the engine.
---@param run imattr.Run
---@param reply imattr.Reply
function pump.receive(run, reply)
  if reply.status == "DRY_RUN" then
    run.engine:feed(reply.id, run.now_us(), "skip", core.statuses.DRY_RUN.code)
    return
  end
  local verdict = wire.verdict(reply)
  run.on_reply(reply, verdict)
  if verdict.code then
    run.infos[verdict.code] = verdict.info
  end
  if verdict.refused then
    for account, code in pairs(verdict.refused) do
      run.engine:refuse_user(reply.id, account, code)
    end
  end
  -- the clock is read after the answer: the slot's second begins now
  run.engine:feed(reply.id, run.now_us(), verdict.kind, verdict.code, verdict.may_have_arrived)
  run.on_results() -- before the next reply: run.infos still holds this one's words
end

-- How long the transport may wait now, in microseconds, or nil: until a reply. While the source
-- has more and the engine wants it, replies are only looked for, and that not for every user.
local function patience_us(run, now_us, until_us)
  if run.has_more and run.engine:wants() > 0 then
    return 0
  end
  local timeout_us = until_us and math.max(0, until_us - now_us)
  if run.should_stop or run.on_progress then
    return math.min(timeout_us or PROGRESS_US, PROGRESS_US)
  end
  return timeout_us
end

-- Waits for a reply, at most so long.
local function wait(run, now_us, timeout_us)
  if timeout_us == 0 and now_us < run.look_us then
    return
  end
  run.look_us = now_us + LOOK_US
  local reply = run.transport:wait(timeout_us)
  if reply then
    pump.receive(run, reply)
    run.look_us = 0 -- there may be more
  end
end

local function report_progress(run)
  local now_us = run.on_progress and run.now_us()
  if run.on_progress and now_us >= (run.progress_us or 0) then
    run.progress_us = now_us + PROGRESS_US
    run.on_progress()
  end
end

-- Stops a run that the caller no longer wants, and one that went on in a child process: a callback
-- or the source may have forked.
local function heed_stop(run)
  local pid = core.getpid()
  run.pid = run.pid or pid
  if run.pid ~= pid then
    run.engine:stop(core.statuses.FORKED.code)
  end
  if run.should_stop and not run.engine:stop_code() and run.should_stop() then
    run.engine:stop(core.statuses.INTERRUPTED.code)
  end
end

--- Sends and receives once; waits at most until `until_us`, or until what the engine says.
---@param run imattr.Run
---@param until_us integer?
---@return string answer the engine's: "wait", or "idle", and then nothing was waited for
function pump.turn(run, until_us)
  heed_stop(run)
  local answer, engine_us = send(run)
  run.on_results() -- of a deadline
  if answer == "wait" then
    local now_us = run.now_us()
    local moment_us = math.min(engine_us or math.huge, until_us or math.huge)
    moment_us = moment_us < math.huge and moment_us or nil
    local timeout_us = until_us and math.max(0, moment_us - now_us)
      or patience_us(run, now_us, moment_us)
    wait(run, now_us, timeout_us)
  end
  report_progress(run)
  return answer
end

--- Lets a run go on while its source waits for something: an iterator may call this (it is its
--- argument) so that replies are read and due requests leave meanwhile.
---@param run imattr.Run
---@param time_us integer returns after about this long, or at once when nothing is on its way
---@return boolean is_wanted false when the run was stopped: no more updates will be sent
function pump.tend(run, time_us)
  local until_us = run.now_us() + time_us
  repeat
    local answer = pump.turn(run, until_us)
  until answer == "idle" or run.now_us() >= until_us
  return not run.engine:stop_code()
end

--- Runs until every update has its fate, or the source is left behind by a stop.
---@param run imattr.Run
function pump.run(run)
  run.has_more = true
  run.look_us = 0
  repeat
    if not run.engine:stop_code() then
      fill(run)
    end
    local answer = pump.turn(run)
  until answer == "idle" and (not run.has_more or run.engine:stop_code())
end

return pump
