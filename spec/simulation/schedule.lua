-- schedule: virtual time, and the tasks (coroutines) that live in it. One thing happens at a time,
-- in the order of the moments, then of the calls: nothing depends on the machine.

local schedule = {}

-- The clock's first moment: an hour after the machine was started, say.
local START_US = 3600 * 1000000

-- A seed that needs more events than this is running in circles.
local EVENTS_MAX = 3000000

---@class simulation.Schedule
---@field now_us integer
---@field current table? the task that runs
---@field slept_us integer how long tasks slept on purpose, in all
---@field reached table what came about -> how often
local Schedule = {}
Schedule.__index = Schedule

---@return simulation.Schedule
function schedule.new()
  return setmetatable({ now_us = START_US, slept_us = 0, reached = {}, tasks_alive = 0,
    _heap = {}, _count = 0, _order = 0, _events = 0 }, Schedule)
end

-- {===== a binary heap of events =====

local function is_before(a, b)
  return a.at_us < b.at_us or a.at_us == b.at_us and a.order < b.order
end

local function push(self, event)
  local heap, place = self._heap, self._count + 1
  self._count = place
  while place > 1 do
    local parent = math.floor(place / 2)
    if not is_before(event, heap[parent]) then
      break
    end
    heap[place] = heap[parent]
    place = parent
  end
  heap[place] = event
end

local function pop(self)
  local heap, count = self._heap, self._count
  local first, last = heap[1], heap[count]
  heap[count] = nil
  count = count - 1
  self._count = count
  local place = 1
  while count > 0 do
    local child = place * 2
    if child > count then
      break
    end
    if child < count and is_before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if not is_before(heap[child], last) then
      break
    end
    heap[place] = heap[child]
    place = child
  end
  if count > 0 then
    heap[place] = last
  end
  return first
end

-- }=====

--- Does something at a moment.
---@param at_us integer
---@param deed fun(a: any)
---@param a any handed to it
function Schedule:at(at_us, deed, a)
  self._order = self._order + 1
  push(self, { at_us = at_us, order = self._order, deed = deed, a = a })
end

-- {===== tasks =====

local function resume(self, task)
  self.current = task
  local ok, problem = coroutine.resume(task.thread)
  self.current = nil
  if not ok then
    error(("task %s: %s"):format(task.name, debug.traceback(task.thread, tostring(problem))), 0)
  end
  if coroutine.status(task.thread) == "dead" then
    task.is_over = true
    self.tasks_alive = self.tasks_alive - 1
  end
end

-- A wake-up call that nobody has been faster than.
local function wake(call)
  local task = call.task
  if task.call == call and not task.is_over then
    task.call = nil
    resume(call.schedule, task)
  end
end

--- Begins a task now. `fields` go into it.
---@return table task
function Schedule:spawn(name, fields, body)
  local task = fields
  task.name, task.thread = name, coroutine.create(body)
  self.tasks_alive = self.tasks_alive + 1
  task.call = { task = task, schedule = self }
  self:at(self.now_us, wake, task.call)
  return task
end

--- The task that runs waits until a moment (nil: until somebody rouses it).
function Schedule:park(until_us)
  local task = self.current
  task.call = { task = task, schedule = self }
  if until_us then
    self:at(until_us, wake, task.call)
  end
  coroutine.yield()
end

--- Wakes a task that is parked.
function Schedule:rouse(task)
  if task.call then
    self:at(self.now_us, wake, task.call)
  end
end

--- The task that runs does nothing for so long.
function Schedule:sleep(time_us)
  self:park(self.now_us + time_us)
  self.slept_us = self.slept_us + time_us
end

--- Counts what came about.
function Schedule:reach(what)
  self.reached[what] = (self.reached[what] or 0) + 1
end

--- Ends a task where it stands.
function Schedule:kill(task)
  if not task.is_over then
    task.is_over, task.call = true, nil
    self.tasks_alive = self.tasks_alive - 1
  end
end

-- }=====

--- Lets time run until there is nothing more to happen, or `is_done` says so.
---@param is_done fun(): any
function Schedule:run(is_done)
  while self._count > 0 and not is_done() do
    local event = pop(self)
    self.now_us = math.max(self.now_us, event.at_us)
    self._events = self._events + 1
    if self._events > EVENTS_MAX then
      error("runs in circles: " .. EVENTS_MAX .. " events", 0)
    end
    event.deed(event.a)
  end
end

return schedule
