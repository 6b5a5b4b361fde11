-- program: what the simulated callers do: they hand users to a real client, in the forms there are,
-- with callbacks that sleep, raise, stop and close.

local program = {}

-- What a callback raises on purpose.
program.RAISED = "raised by the caller"

-- {===== users =====

-- The vendor's list.
local function list_of(updates)
  local list = {}
  for i, update in ipairs(updates) do
    list[i] = { To_Account = update.account, Attrs = update.attrs }
  end
  return list
end

-- What the source does at its i-th call, besides giving a user.
local function disturb_source(sim, call, client, i, tend)
  local callbacks = call.callbacks
  if callbacks.what == "raise_source" and i == callbacks.at then
    error(program.RAISED, 0)
  elseif callbacks.what == "close" and i == callbacks.at then
    program.close(sim, client)
  elseif callbacks.what == "sleep_source" and i % callbacks.every == 0 then
    sim:sleep(callbacks.sleep_us)
  elseif callbacks.what == "tend" and i % callbacks.every == 0 then
    tend(math.floor(callbacks.sleep_us / 1000))
  end
end

-- An iterator; run.given counts what it gave.
local function iterator_of(sim, call, client, run)
  local i = 0
  run.given = 0
  return function(tend)
    i = i + 1
    disturb_source(sim, call, client, i, tend)
    local update = run.updates[i]
    if update then
      run.given = i
      return update.account, update.attrs
    end
  end
end

local OF_THE_SOURCE = { raise_source = true, sleep_source = true, tend = true }

local function users_of(sim, call, client, run)
  if call.form == "list" and not OF_THE_SOURCE[call.callbacks.what] then
    return list_of(run.updates)
  end
  return iterator_of(sim, call, client, run)
end

-- }=====

-- {===== callbacks =====

-- Does what the plan says at the i-th call of a function.
local function disturb(sim, call, client, name, i)
  local callbacks = call.callbacks
  if callbacks.what == "raise_" .. name and i == callbacks.at then
    error(program.RAISED, 0)
  elseif callbacks.what == "sleep_" .. name and i % callbacks.every == 0 then
    sim:sleep(callbacks.sleep_us)
  elseif callbacks.what == "close" and name == "result" and i == callbacks.at then
    program.close(sim, client)
  end
end

local function add_on_result(sim, call, client, run, options)
  local i = 0
  options.on_result = function(result)
    i = i + 1
    sim.trace:event(sim.now_us, "result", result.index, result.fate, result.code, result.attempts)
    if not (sim.plant.loses and sim.plant.loses(result)) then
      sim.check:result(run, result)
    end
    disturb(sim, call, client, "result", i)
  end
end

local function add_on_progress(sim, call, client, run, options)
  local i = 0
  options.on_progress = function(counts)
    i = i + 1
    sim.check:progress(run, counts)
    disturb(sim, call, client, "progress", i)
  end
end

local function options_of(sim, call, client, run)
  local options = { deadline_ms = call.deadline_ms, dry_run = call.dry_run or nil }
  if call.has_on_result then
    add_on_result(sim, call, client, run, options)
  end
  if call.has_on_progress then
    add_on_progress(sim, call, client, run, options)
  end
  if call.has_should_stop or call.callbacks.what == "stop" then
    local i = 0
    options.should_stop = function()
      i = i + 1
      return call.callbacks.what == "stop" and i >= call.callbacks.at or false
    end
  end
  return options
end

-- }=====

-- {===== calls =====

--- Closes a client, for good.
function program.close(sim, client)
  sim.trace:event(sim.now_us, "closes", client.process.name)
  client.is_closed = true
  sim:reach("close")
  if not sim.plant.keeps_open then
    client.handle:close()
  end
end

-- The call raised: that is right when the caller's function did, or the client was closed.
local function judge_raise(sim, client, run, problem)
  local text = tostring(problem)
  if sim.check.violation then
    error(sim.check.violation, 0)
  elseif problem == program.RAISED then
    sim.check:end_run(run, client.handle:last_report(), true)
  elseif not (client.is_closed and text:find("already closed", 1, true)) then
    sim.check:fail("the library raises", "%s", text)
  else
    run.is_over = true
  end
end

--- Makes one call of a client and has its end checked. Returns its report, or nil when it raised.
function program.call(sim, client, call)
  local run = sim.check:begin_run(client.process, client, call)
  local method = call.kind == "set" and "set_attr" or "remove_attr"
  local users, options = users_of(sim, call, client, run), options_of(sim, call, client, run)
  sim.trace:event(sim.now_us, "calls", client.process.name, method, #run.updates)
  sim.current.run = run
  local ok, report, err = pcall(client.handle[method], client.handle, users, options)
  sim.current.run = nil
  if not ok then
    sim.trace:event(sim.now_us, "raised", client.process.name)
    sim:reach("raise")
    judge_raise(sim, client, run, report)
    return nil
  elseif sim.check.violation then
    error(sim.check.violation, 0)
  elseif not report then
    sim.check:fail("the library refuses", "%s", tostring(err))
  end
  sim.trace:event(sim.now_us, "ends", client.process.name, report.done, report.requests,
    report.error and report.error.code)
  sim.check:end_run(run, report, false, run.given or #run.updates)
  return report, run
end

-- }=====

return program
