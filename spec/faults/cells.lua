-- cells: lists of cells of the fault matrix. A cell is one fault on one surface with what must come
-- of it, exactly: the fate of every user, the error's code, requests and retries, what the proxy
-- saw of them, and what the sandbox holds in the end.
--
--   local matrix = cells.new()              libcurl's surfaces
--   local matrix = cells.new { surfaces = { call = "location" }, differs = {}, base = {} }
--                                           others in their place (a surface without one is left
--                                           out); what differs there; how all goes well
--   matrix:take(require "faults.network")   the cells of a table, which is made by cells.table()
--   matrix:add { "a name", plan = { step, ... }, surfaces = "call command", done = 3, ... }
--   setup(world.open)  teardown(matrix.close)
--   it("begins what takes seconds #slow", matrix.begin)
--   for _, cell in ipairs(matrix) do it(cell.name, cell.run) end
--
-- A cell says what is to come; a number not said is 0 (requests: 1; retries: requests - 1):
--   done invalid refused unknown not_sent   users
--   code         of the report's error; a list where a race decides which of them it is
--   user_code    of the first failure (default: code)
--   requests     of the report; retries too ("some": as many as time allowed)
--   whole        requests that came to the proxy to their last byte (default: requests)
--   forwarded    those that the sandbox did  (default: whole)
--   stored       users of the cell that it holds in the end (default: done)
--   exit         of the command (default: 0, 2 when users were refused, 69 with a code)
--   bytes        of HTTP that the proxy read, and class of the error, when the cell says so
-- and what happens:
--   plan         of the proxy, or a function that makes it; a step's `answer` is the bytes
--   later        { [attempt] = plan }: another plan before that attempt leaves; what the proxy
--                saw is counted since the last of them
--   users        3, or a function that makes a list for the place's number
--   options      of the client
--   warm         the step of a good call of another user before it
--   host         "127.0.0.1"         path       of nginx's surfaces, in place of their own
--   env        of the command or process, or a function
--   under        words of sh before the command or process
--   prepare      Lua for a process   in_coroutine   (see call.lua)
--   is_forged    the answer claims what the sandbox did not do: what it holds is only counted
--   before       a function that runs first (it may call it off: pending)
--   also         a function for more questions: also(outcome, place, seen)
--
-- Surfaces are those of surfaces.lua (default: call).
--
-- A cell's name in `differs` stands for a sentence, and there is no such cell then; or for a table
-- of a sentence and what the cell says otherwise (false: does not say).

local luassert = require "luassert"
local shell = require "imattr.sandbox.shell"
local surfaces = require "faults.surfaces"
local world = require "faults.world"

local cells = {}
cells.__index = cells

local FATES = { "done", "invalid", "refused", "unknown", "not_sent" }

-- ---- what is asked of a cell

local function exit_of(cell)
  return cell.exit or cell.code and 69 or (cell.refused or cell.invalid) and 2 or 0
end

-- The code that is wanted: of several that are right, the one that came.
local function code_of(cell, outcome)
  for _, code in ipairs(type(cell.code) == "table" and cell.code or {}) do
    if code == outcome.code then return code end
  end
  return cell.code
end

-- What the cell wants, as one table.
local function wanted_of(cell, surface, outcome)
  local requests = cell.requests or 1
  local code = code_of(cell, outcome)
  local whole = cell.whole or requests
  local wanted = { requests = requests, code = code, users = 0, user_code = cell.user_code or code,
    retries = cell.retries or requests - 1,
    whole = whole, forwarded = cell.forwarded or whole, bytes = cell.bytes, class = cell.class,
    stored = cell.stored or cell.done or 0, exit = surface == "command" and exit_of(cell) or nil }
  for _, fate in ipairs(FATES) do
    wanted[fate] = cell[fate] or 0
    wanted.users = wanted.users + wanted[fate]
  end
  return wanted
end

-- What came, as the same table.
local function found_of(cell, outcome, seen, stored)
  local warm = cell.warm and 1 or 0 -- it is in the plan too
  local counts = outcome.counts
  local found = { users = counts.users or 0, requests = counts.requests or 0, code = outcome.code,
    retries = counts.retries or 0, user_code = outcome.user_code, whole = seen.whole - warm,
    forwarded = seen.forwarded - warm, bytes = cell.bytes and seen.http_bytes, stored = stored,
    class = cell.class and outcome.class, exit = outcome.exit }
  for _, fate in ipairs(FATES) do found[fate] = counts[fate] or 0 end
  return found
end

-- Who is done is stored; who was not sent or was refused is not.
local function check_truth(users, fates, is_stored)
  for _, user in ipairs(users) do
    local account = user.To_Account
    local fate = fates[account]
    if fate == "done" then
      luassert.is_true(is_stored[account], account .. " is done and not stored")
    elseif fate ~= "unknown" then
      luassert.is_false(is_stored[account], ("%s is stored and %s"):format(account, tostring(fate)))
    end
  end
end

-- Compares what came of a cell with what it wants.
local function check(place, surface, outcome)
  local cell, users = place.cell, place.users
  local seen = place.proxy:seen()
  local is_stored, stored = world.stored(users)
  local wanted, found = wanted_of(cell, surface, outcome), found_of(cell, outcome, seen, stored)
  for key, value in pairs(wanted) do
    if value == "some" then wanted[key] = found[key] end
  end
  luassert.same(wanted, found)
  if not cell.is_forged then check_truth(users, outcome.fates, is_stored) end
  if cell.also then cell.also(outcome, place, seen) end
end

-- ---- how cells run

-- The plan after a first good request.
local function prefixed(cell)
  local longer = { cell.warm, forever = cell.plan.forever }
  for _, step in ipairs(cell.plan) do longer[#longer + 1] = step end
  return longer
end

local function begin(place)
  local cell = place.cell
  local plan = cell.warm and prefixed(cell) or cell.plan
  world.begin(place, type(plan) == "function" and plan() or plan, cell.base)
end

-- The slow cells of a list begin all together, each with a proxy of its own.
local function begin_slow(list)
  for _, entry in ipairs(list.has_begun and {} or list.slow) do
    entry.place = world.place(entry.cell, world.new_proxy())
    begin(entry.place)
    entry.job = surfaces.begin(entry.surface, entry.place)
    if entry.cell.begun then entry.cell.begun(entry.place, entry.job) end
  end
  list.has_begun = true
end

local function end_slow(list)
  for _, entry in ipairs(list.slow) do
    if entry.job then
      entry.job:close()
      entry.place.proxy:stop()
    end
  end
end

-- ---- lists of cells

---@param how { surfaces: table, differs: table?, base: table? }?
---@return table list empty; list.begin() begins the slow cells, list.close() is for teardown
function cells.new(how)
  local list = setmetatable({ slow = {}, how = how or {}, unmet = {} }, cells)
  for name in pairs(list.how.differs or {}) do list.unmet[name] = true end
  list.begin = function() begin_slow(list) end
  list.close = function()
    end_slow(list)
    world.close()
  end
  return list
end

local KINDS = { "add", "add_slow", "add_each" }

--- A table of cells for several lists: add, add_slow and add_each put cells into it.
function cells.table()
  local rows = {}
  for _, kind in ipairs(KINDS) do
    rows[kind] = function(self, cell) self[#self + 1] = { kind, cell } end
  end
  return rows
end

--- Adds the cells of a table.
---@param rows table
---@param without string? a kind that is left out: "add_each"
function cells:take(rows, without)
  for _, row in ipairs(rows) do
    if row[1] ~= without then self[row[1]](self, row[2]) end
  end
end

-- A cell as this list has it, and its surfaces.
local function here(self, cell)
  local how, mine = self.how, {}
  local change = how.differs and how.differs[cell[1]]
  self.unmet[cell[1]] = nil
  if type(change) == "string" then
    return cell, ""
  end
  for key, value in pairs(cell) do mine[key] = value end
  for key, value in pairs(change or {}) do
    if key ~= 1 then mine[key] = value or nil end
  end
  mine.base = how.base
  local surfaces_here = (cell.surfaces or "call"):gsub("%S+", function(surface)
    return how.surfaces and (how.surfaces[surface] or "") or surface
  end)
  return mine, surfaces_here
end

local function append(self, name, run)
  self[#self + 1] = { name = name, run = run }
end

-- Under valgrind and the sanitizers, which leave out what is #slow, some cells are enough: of those
-- in this process, for a child runs the plain build, and of those that no time decides.
local WATCHED_EVERY = 40

local function tag_of(self, cell, surface)
  local options = cell.options or {}
  if (surface ~= "call" and surface ~= "coroutine") or options.connect_timeout_ms
    or options.deadline_ms or options.patience_ms then
    return " #slow"
  end
  self.watchable = (self.watchable or 0) + 1
  return self.watchable % WATCHED_EVERY == 1 and "" or " #slow"
end

--- Adds a cell for each of its surfaces.
---@param given table
function cells:add(given)
  local cell, list = here(self, given)
  for surface in list:gmatch("%S+") do
    local tag = tag_of(self, cell, surface)
    append(self, ("%s: %s%s"):format(surface, cell[1], tag), function()
      if cell.before then cell.before() end
      local place = world.place(cell)
      begin(place)
      check(place, surface, surfaces[surface](place))
    end)
  end
end

--- Adds cells that wait for seconds, for `command` and `process`: those of a list wait together.
--- cell.begun(place, job) may do something then, cell.ending(place, job) before the end is waited
--- for.
---@param given table
function cells:add_slow(given)
  local cell, list = here(self, given)
  for surface in list:gmatch("%S+") do
    local entry = { cell = cell, surface = surface }
    self.slow[#self.slow + 1] = entry
    append(self, ("%s: %s #slow"):format(surface, cell[1]), function()
      self.begin()
      if cell.ending then cell.ending(entry.place, entry.job) end
      check(entry.place, surface, entry.job:outcome())
    end)
  end
end

--- Adds a cell in which a call is made for every step of its plan, by one client that tries once:
--- each is unknown, with one of the `codes`; so many of their requests come `whole`.
---@param given table
function cells:add_each(given)
  local cell, list = here(self, given)
  cell.times, cell.options = #cell.plan, { attempts_max = 1 }
  for surface in list:gmatch("%S+") do
    append(self, ("%s: %s #slow"):format(surface, cell[1]), function()
      local place = world.place(cell)
      begin(place)
      for i, outcome in ipairs(surfaces[surface](place).each) do
        luassert.same({ i, { users = 3, unknown = 3, requests = 1 } }, { i, outcome.counts })
        luassert.truthy((" %s "):format(cell.codes):find(" " .. outcome.code .. " "), outcome.code)
      end
      local seen = place.proxy:seen()
      luassert.same({ #cell.plan, cell.whole or 0, 0 }, { seen.requests, seen.whole,
        (select(2, world.stored(place.users))) })
    end)
  end
end

--- What differs, and no cell is called so: a list of names.
function cells:strangers()
  local names = {}
  for name in pairs(self.unmet) do names[#names + 1] = name end
  return names
end

--- Adds a cell that is run by a function of its own: act(place), check(outcome, surface).
---@param cell table
---@param act fun(place: table, check: function)
function cells:add_own(cell, act)
  append(self, cell[1] .. " #slow", function()
    local place = world.place(cell)
    begin(place)
    act(place, function(surface, outcome) check(place, surface, outcome) end)
  end)
end

--- How many there must be at least: spec/counts has a line for each name.
---@param name string
---@return integer
function cells.least(name)
  local text = assert(shell.read("spec/counts"))
  return assert(tonumber(("\n" .. text):match("\n" .. name .. " (%d+)")), name)
end

return cells
