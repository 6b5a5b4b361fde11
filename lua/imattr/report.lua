-- report: what became of the users of a run, counted and, where something went wrong, listed.

local codes = require "imattr.codes"
local core = require "imattr.core"
local wire = require "imattr.wire"

local report = {}

---@class imattr.Result the fate of one update
---@field index integer its place in the input, from 1
---@field account any as it was given
---@field fate string done invalid refused unknown not_sent
---@field code string? a vendor code's digits or UPPER_CASE; nil when done
---@field message string? one sentence
---@field attempts integer requests it travelled in

---@class imattr.Progress counts so far; the table is used again
---@field users integer taken from the source
---@field done integer
---@field invalid integer
---@field refused integer
---@field unknown integer
---@field not_sent integer
---@field merged integer
---@field waiting integer
---@field in_flight integer
---@field requests integer
---@field retries integer
---@field seconds number

---@class imattr.Report
---@field ok boolean every user is done; in a dry run: none is invalid
---@field users integer the five fates add up to this
---@field done integer the vendor acknowledged it
---@field invalid integer refused before sending
---@field refused integer the vendor refused this user
---@field unknown integer sent, and no answer tells
---@field not_sent integer the run ended before its turn
---@field merged integer updates that joined another of the same user, beside the fates
---@field requests integer
---@field retries integer requests that repeated another
---@field seconds number in a dry run: how long a real one would take at this rate
---@field failures imattr.Result[] users that are not done, at most failures_max
---@field failures_more integer those beyond
---@field error imattr.Error? why the run ended early, or why users have no answer
---@field dry_run boolean?

-- The sentence for the code of a result, with the vendor's own words if there are any.
local function message_of(code, info)
  if not code then
    return nil
  end
  local status = core.statuses[code]
  local message = status and status.message or codes[tonumber(code)].message
  return info and ("%s (%s)"):format(message, info) or message
end

-- Fates that no answer decided: the run's error tells why.
local function is_open(result)
  return result.fate == "unknown" or result.fate == "not_sent"
end

--- Watches a run. The functions of the writer are the run's and the source's callbacks.
---@param run imattr.Run
---@param call imattr.Call checked
---@param where string the endpoint, for error sentences
---@param rate integer requests per second, for a dry run's estimate
---@return { invalid: function, take_results: function, pass: function, progress: function,
---  finish: function }
function report.new(run, call, where, rate)
  local engine = run.engine
  local started_us = run.now_us()
  local failures, failures_more, open_code = {}, 0, nil
  local counts = {}
  local writer = {}

  local function tell(result)
    if result.fate ~= "done" and result.code ~= "DRY_RUN" then
      if #failures < call.failures_max then
        failures[#failures + 1] = result
      else
        failures_more = failures_more + 1
      end
      open_code = is_open(result) and result.code or open_code
      if call.on_failure then
        call.on_failure(result)
      end
    end
    if call.on_result then
      call.on_result(result)
    end
  end

  --- An update that screening refused.
  function writer.invalid(index, account, code, message)
    tell { index = index, account = account, fate = "invalid", code = code,
      message = message or message_of(code), attempts = 0 }
  end

  --- Takes all results the engine has.
  function writer.take_results()
    local index, fate, code, attempts, account = engine:result()
    while index do
      local info = fate == "refused" and run.infos[tonumber(code)] or nil
      tell { index = index, account = account, fate = fate, code = code,
        message = message_of(code, info), attempts = attempts }
      index, fate, code, attempts, account = engine:result()
    end
  end

  --- Counts the users of a list that a stopped run did not come to.
  ---@param rest fun(): boolean, any
  function writer.pass(rest)
    local code = engine:stop_code()
    local has_more, account = rest()
    while has_more do
      tell { index = engine:skip(), account = account, fate = "not_sent", code = code,
        message = message_of(code), attempts = 0 }
      has_more, account = rest()
    end
  end

  local function seconds()
    return (run.now_us() - started_us) / 1e6
  end

  function writer.progress()
    engine:counts(counts)
    counts.seconds = seconds()
    call.on_progress(counts)
  end

  -- Why the run ended early, or why some users have no answer; nil when neither is so.
  local function find_error(stop_code, failure)
    local code = stop_code or failure and "SOURCE_FAILED" or open_code
    return run.error or code and wire.error(code, where, run.infos[tonumber(code)
      or core.statuses[code].code])
  end

  --- Writes the report at the end of the run.
  ---@param failure { raised: any }? what ended it, when the source or a callback raised
  ---@return imattr.Report
  function writer.finish(failure)
    local written = engine:counts()
    -- nothing waits or flies any more, but after a callback raised in the middle
    written.not_sent = written.not_sent + written.waiting
    written.unknown = written.unknown + written.in_flight
    written.seconds = call.dry_run and rate > 0 and written.requests / rate or seconds()
    written.failures, written.failures_more = failures, failures_more
    written.error = find_error(engine:stop_code(), failure)
    written.waiting, written.in_flight = nil, nil
    written.dry_run = call.dry_run
    local good = call.dry_run and written.users - written.invalid or written.done
    written.ok = not written.error and good == written.users
    return written
  end

  return writer
end

return report
