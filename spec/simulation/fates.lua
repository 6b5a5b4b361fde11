-- fates: what must hold of results, progress, reports, and of what the vendor holds in the end: the
-- second half of check.lua, as methods that its books get.

local fates = {}

local USERS_MAX = 100

local FATES = { "done", "invalid", "refused", "unknown", "not_sent" }
local IS_FATE = {}
for _, fate in ipairs(FATES) do
  IS_FATE[fate] = true
end

-- {===== fates =====

-- Has the vendor acknowledged the update, or newer ones in its place?
local function is_covered(run, update)
  local acked = run.acked[update.account]
  for _, name in ipairs(update.names) do
    if not acked or (acked[name] or 0) < update.n then
      return false
    end
  end
  return true
end

-- Has the vendor acknowledged the update itself?
local function is_acked(run, update)
  local acked = run.acked[update.account]
  return acked and acked[update.n] or false
end

local function was_applied(run, update)
  local applied = run.applied[update.account]
  return applied and applied[update.n] or false
end

-- Does the vendor hold the update, or something newer?
local function check_held(self, run, update)
  local applied = run.applied[update.account] or {}
  local held = self.last[update.account] or {}
  for _, name in ipairs(update.names) do
    if (applied[name] or 0) < update.n then
      self:fail("2 truth", "done, but never at the vendor: %s of %s", name, update.account)
    end
    local now = held[name]
    if now.run == run and now.n < update.n and not now.is_late then
      self:fail("2 truth", "done, but the vendor holds an older %s of %s", name, update.account)
    end
  end
end

local function check_fate(self, run, update, fate)
  if update.is_invalid ~= (fate == "invalid") and fate ~= "not_sent" then
    self:fail("2 truth", "%s: %s", tostring(update.account), fate)
  elseif update.is_invalid then
    return
  elseif fate == "done" and not is_covered(run, update) then
    self:fail("2 truth", "%s (%d) is done, but not acknowledged", update.account, update.n)
  elseif fate ~= "done" and is_acked(run, update) then
    self:fail("2 truth", "%s (%d) is %s, but acknowledged", update.account, update.n, fate)
  elseif fate == "done" then
    check_held(self, run, update)
  elseif fate == "not_sent" and was_applied(run, update) then
    self:fail("2 truth", "%s (%d) is not_sent, but the vendor has it", update.account, update.n)
  elseif fate == "unknown" and not run.maybe[update.account] then
    self:fail("2 truth", "%s (%d) is unknown, but cannot have arrived", update.account, update.n)
  end
end

--- A caller sees a result.
function fates.result(self, run, result)
  local index, fate = result.index, result.fate
  local update = run.updates[index]
  if not update or not IS_FATE[fate] then
    self:fail("1 conservation", "index %s, fate %s", tostring(index), tostring(fate))
  elseif run.fates[index] then
    self:fail("1 conservation", "update %d has two fates: %s, %s", index, run.fates[index], fate)
  elseif result.account ~= update.account then
    self:fail("1 conservation", "update %d is about another user", index)
  elseif (result.code == nil) ~= (fate == "done") then
    self:fail("2 truth", "fate %s with code %s", fate, tostring(result.code))
  end
  run.fates[index] = fate
  run.fates_count = run.fates_count + 1
  check_fate(self, run, update, fate)
end

local function check_sum(self, counts, open)
  local sum = open
  for _, fate in ipairs(FATES) do
    if counts[fate] < 0 then
      self:fail("1 conservation", "%s: %d", fate, counts[fate])
    end
    sum = sum + counts[fate]
  end
  if sum ~= counts.users then
    self:fail("1 conservation", "the fates add up to %d of %d", sum, counts.users)
  end
end

--- A caller sees progress.
function fates.progress(self, run, counts)
  check_sum(self, counts, counts.waiting + counts.in_flight)
  if counts.users > #run.updates or counts.users < (run.progress_users or 0) then
    self:fail("1 conservation", "%d users of %d", counts.users, #run.updates)
  elseif counts.waiting > run.options.queue_max then
    self:fail("5 bounds", "%d updates wait", counts.waiting)
  elseif counts.in_flight > run.options.in_flight_max * USERS_MAX + #run.updates then
    self:fail("5 bounds", "%d updates in flight", counts.in_flight)
  end
  run.progress_users = counts.users
end

-- Failures stand for all updates that are not done, when all are listed.
local function check_failures(self, run, report)
  local listed = #report.failures + report.failures_more
  if not report.dry_run and listed ~= report.users - report.done then
    self:fail("1 conservation", "%d failures of %d users, %d done", listed, report.users,
      report.done)
  elseif #report.failures > run.options.failures_max then
    self:fail("5 bounds", "%d failures listed", #report.failures)
  end
  if run.call.has_on_result or report.failures_more > 0 or report.dry_run then
    return
  end
  for _, failure in ipairs(report.failures) do
    self:result(run, failure)
  end
  for index = 1, report.users do
    if not run.fates[index] then
      self:result(run, { index = index, account = run.updates[index].account, fate = "done" })
    end
  end
end

-- The report says what on_result saw.
local function check_told(self, run, report)
  local told = { done = 0, invalid = 0, refused = 0, unknown = 0, not_sent = 0 }
  for index = 1, report.users do
    local fate = run.fates[index]
    if not fate then
      self:fail("1 conservation", "update %d has no fate", index)
    end
    told[fate] = told[fate] + 1
  end
  for _, fate in ipairs(FATES) do
    if told[fate] ~= report[fate] then
      self:fail("1 conservation", "%s: %d told, %d in the report", fate, told[fate], report[fate])
    end
  end
end

--- A run is over. `raised`: a callback or the source did that, and results may be missing.
---@param users integer? how many the caller gave; nil: the run may have ended before
function fates.end_run(self, run, report, raised, users)
  run.is_over = true
  self:reach(run, report)
  check_sum(self, report, 0)
  if users and report.users ~= users then
    self:fail("1 conservation", "%d users, %d given", report.users, users)
  elseif not report.dry_run and report.requests ~= run.requests then
    self:fail("1 conservation", "%d requests reported, %d started", report.requests, run.requests)
  elseif not raised and run.in_flight > 0 then
    self:fail("8 silence", "a run ends with %d requests in flight", run.in_flight)
  end
  local good = report.dry_run and report.users - report.invalid or report.done
  if report.ok ~= (not report.error and good == report.users) then
    self:fail("1 conservation", "ok is %s", tostring(report.ok))
  end
  if not raised then
    check_failures(self, run, report)
    if run.fates_count > 0 or run.call.has_on_result then
      check_told(self, run, report)
    end
  end
end

-- }=====

-- {===== at the end =====

-- What the vendor must hold, by the books: of an account's attribute, the number or nothing.
local function check_account(self, store, account, held)
  for name, now in pairs(held) do
    local value = (store[account] or {})[name]
    if now.run.kind == "remove" and value ~= nil then
      self:fail("2 truth", "%s of %s was removed, and is there", name, account)
    elseif now.run.kind == "set" and tonumber((value or ""):match("^%d+")) ~= now.n then
      self:fail("2 truth", "%s of %s is %s, wants %d", name, account, tostring(value), now.n)
    end
  end
end

-- How near a window came to the limit, and what fates there were.
function fates.reach(self, run, report)
  local sim = self.sim
  for _, fate in ipairs(FATES) do
    if report[fate] > 0 then
      sim:reach("fate " .. fate)
    end
  end
  if report.merged > 0 then
    sim:reach("merged")
  end
  if report.retries > 100 then
    sim:reach("over 100 retries")
  end
  if report.error then
    sim:reach("end " .. (run.mistake and "by a mistake" or report.error.code))
  end
end

--- Nothing is on its way any more: what was never to arrive has not, what is held was sent.
---@param store table what the vendor holds
function fates.end_all(self, store)
  for _, run in ipairs(self.runs) do
    for index, update in ipairs(run.updates) do
      local fate = run.fates[index]
      local arrived = fate and not update.is_invalid and was_applied(run, update)
      if fate == "not_sent" and arrived then
        self:fail("2 truth", "%s (%d) was not_sent, and arrived later", update.account, update.n)
      elseif fate == "refused" and arrived and not run.maybe[update.account] then
        -- an attempt before may have had its answer lost; else the vendor never took it
        self:fail("2 truth", "%s (%d) is refused, but the vendor took it", update.account, update.n)
      end
    end
  end
  for account, held in pairs(self.last) do
    check_account(self, store, account, held)
  end
  for account, attrs in pairs(store) do
    for name in pairs(attrs) do
      if not (self.last[account] and self.last[account][name]) then
        self:fail("2 truth", "the vendor holds %s of %s, which nobody sent", name, account)
      end
    end
  end
end

--- After the last, clean call: the vendor holds each user's newest value of it.
function fates.end_clean(self, run)
  local newest = {}
  for _, update in ipairs(run.updates) do
    for _, name in ipairs(update.names) do
      newest[update.account .. "\0" .. name] = update.n
    end
  end
  for _, update in ipairs(run.updates) do
    for _, name in ipairs(update.names) do
      local now = self.last[update.account][name]
      if now.run ~= run or now.n ~= newest[update.account .. "\0" .. name] then
        self:fail("3 newest wins", "%s of %s is not the newest in the end", name, update.account)
      end
    end
  end
end

-- }=====

return fates
