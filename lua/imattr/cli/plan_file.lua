-- A plan: which users an input names, what they are to have, what they had when they were asked,
-- and how far each has come since. A file of SQLite, as a job's, from which no kill takes anything.
--
-- Tables, for whoever wants to ask:
--   job        name, value: what it is (input, size, time, hash, app) and how far (read_s,
--              planned_s, applied_s, undone_s: when that was done; sent_to: every user behind this
--              number was never sent)
--   users      number (in the order of the input), line, account, wanted and present (JSON: name
--              and value; null: not to be there), state
--   failures   step (plan, apply, undo), line, account, fate, code, message
-- `present` holds the names of `wanted` alone. States: read (from the input, not asked yet),
-- failed, unchanged, change, applying (one of two requests is done), applied, undoing, undone.

local cjson = require("cjson").new()
local job = require "imattr.cli.job"
local store = require "imattr.job"

---@class imattr.cli.plan_file
---@field path string
---@field failure string? what could not be written; nothing is from then on
local plan_file = { noun = "plan", put = job.put, get = job.get, close = job.close,
  is_running = job.is_running, problem_of_input = job.problem_of_input, NULL = cjson.null }
plan_file.__index = plan_file

local FORMAT = 1001 -- of the tables; not a job's
local USERS_PER_REQUEST = 100
local CHUNK = 1000 -- users read at a time
local ADDED_MAX = 10000 -- users in one transaction

-- The log is brought into the file after so many commits. SQLite would do it by itself, but tell
-- nobody when the disk fails then.
local CHECKPOINT_AFTER = 32
local CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)" -- which reaches the disk

-- Of every connection; and of a file that nobody keeps.
local SETTINGS = { "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL",
  "PRAGMA wal_autocheckpoint = 0", "PRAGMA cache_size = -8192" }
local SCRATCH = { "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF",
  "PRAGMA cache_size = -8192" }

local TABLES = {
  "BEGIN IMMEDIATE",
  ("PRAGMA user_version = %d"):format(FORMAT),
  "CREATE TABLE job (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
  "CREATE TABLE users (number INTEGER PRIMARY KEY, line INTEGER NOT NULL,"
    .. " account TEXT NOT NULL UNIQUE, wanted TEXT NOT NULL, present TEXT, state TEXT NOT NULL)",
  "CREATE TABLE failures (step TEXT NOT NULL, line INTEGER NOT NULL, account TEXT,"
    .. " fate TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL)",
}

local ADD = "INSERT INTO users (line, account, wanted, state) VALUES (?1, ?2, ?3, 'read')"
  .. " ON CONFLICT (account) DO NOTHING RETURNING number"
local FIND = "SELECT wanted FROM users WHERE account = ?1"
local REPLACE = "UPDATE users SET line = ?1, wanted = ?3 WHERE account = ?2"
local MOVE = "UPDATE users SET state = ?2 WHERE number = ?1"
local ANSWER = "UPDATE users SET state = ?2, present = ?3 WHERE number = ?1"
local FAIL = "INSERT INTO failures VALUES (?1, ?2, ?3, ?4, ?5, ?6)"

-- Which users a step is about.
plan_file.WHICH = {
  plan = "state = 'read'",
  apply = "state IN ('change', 'applying')",
  undo = "(state IN ('applied', 'applying', 'undoing') OR state = 'change'"
    .. " AND number <= (SELECT value FROM job WHERE name = 'sent_to'))",
  change = "state = 'change'",
  all = "1",
  sample = "number IN (SELECT number FROM sample)",
}

local CHUNK_OF = "SELECT number, line, account, wanted, present, state FROM users"
  .. " WHERE number > ?1 AND %s ORDER BY number LIMIT " .. CHUNK

local function new(path, db)
  return setmetatable({ path = path, _db = db, _is_open = false, _added = 0,
    _commits = 0 }, plan_file)
end

-- Runs statements one after the other: true; nil and a message.
local function run_all(self, list)
  for _, sql in ipairs(list) do
    local first, message = self._db:run(sql)
    if first == nil and message then
      return nil, ("%s: %s"):format(self.path, message)
    end
  end
  return true
end

-- Makes the tables and writes the facts down, all or nothing; closes the file when it cannot.
local function fill(self, settings, facts)
  local ok, message = run_all(self, settings)
  if ok then
    ok, message = run_all(self, TABLES)
  end
  for name, value in pairs(ok and facts or {}) do
    if ok then
      ok, message = self:put(name, value)
    end
  end
  if ok then
    ok, message = run_all(self, { "COMMIT" })
  end
  if not ok then
    self:close()
    return nil, message
  end
  return self
end

---Begins a plan for an input.
---@param path string
---@param input string path
---@param facts table<string, string|number> what else to write down
---@return imattr.cli.plan_file?
---@return string? message
function plan_file.create(path, input, facts)
  local size, time, hash = store.identity(input)
  if not size then
    return nil, ("%s: %s"):format(input, time)
  end
  local db, message = store.open(path, "create")
  local left = not db and store.open(path, "write")
  if left and left:run("SELECT count(*) FROM sqlite_master") == 0 then
    db = left -- of a process that died before it had written anything
  elseif left then
    left:close()
  end
  if not db then
    return nil, ("%s: %s"):format(path, message)
  end
  local all = { input = store.realpath(input), size = size, time = time, hash = hash,
    started_s = os.time() }
  for name, value in pairs(facts) do
    all[name] = value
  end
  return fill(new(path, db), SETTINGS, all)
end

---A plan that nobody keeps: its file has no name, and goes with the process.
---@param path string where no file is
---@return imattr.cli.plan_file?
---@return string? message
function plan_file.scratch(path)
  local db, message = store.open(path, "create")
  if not db then
    return nil, ("%s: %s"):format(path, message)
  end
  os.remove(path)
  return fill(new(path, db), SCRATCH, {})
end

---What is wrong with an input, if it is not the one of the plan as it was then.
---@param input string path
---@return string? message
function plan_file:fault_of_input(input)
  local own = self:get "input"
  if store.realpath(input) ~= own then
    return ("%s: a plan of %s, not of %s"):format(self.path, own, input)
  end
  return self:problem_of_input()
end

---Is there a file of SQLite?
---@param path string
---@param io table the io library, or one like it
---@return boolean
function plan_file.is_there(path, io)
  local file = io.open(path, "rb")
  local first = file and file:read(16)
  if file then
    file:close()
  end
  return first == "SQLite format 3\0"
end

---Opens a plan.
---@param path string
---@return imattr.cli.plan_file?
---@return string? message
---@return boolean? is_no_plan the file is there, and is none, or a damaged one
function plan_file.open(path)
  local db, message = store.open(path, "write")
  if not db then
    return nil, ("%s: %s"):format(path, message)
  end
  local self = new(path, db)
  local format, found
  format, message = db:run("PRAGMA user_version")
  if format and format ~= FORMAT then
    message = "not a plan, or one of another version of imattr"
  elseif format then
    found, message = db:run("PRAGMA quick_check(1)")
    message = message or found ~= "ok" and "damaged" or nil
  end
  if message then
    self:close()
    return nil, ("%s: %s"):format(path, message), true
  end
  found, message = run_all(self, SETTINGS)
  if not found then
    self:close()
  end
  return found and self, message
end

-- Runs a statement that writes, within a transaction. Gives its first column.
local function write(self, sql, ...)
  local first, message
  if not self.failure and not self._is_open then
    first, message = self._db:run("BEGIN IMMEDIATE")
    self._is_open = first ~= nil
  end
  if not self.failure and self._is_open then
    first, message = self._db:run(sql, ...)
  end
  if message then
    self.failure = ("%s: %s"):format(self.path, message)
  end
  return first
end

-- Brings the log into the file, and both to the disk.
local function checkpoint(self)
  local first, message = self._db:run(CHECKPOINT)
  if first == nil and message then
    self.failure = self.failure or ("%s: %s"):format(self.path, message)
  end
end

---Writes down for good what was changed. After a failure nothing is: the next fsync would say that
---all is well.
---@return boolean ok else see `failure`
function plan_file:commit()
  if self._is_open and not self.failure then
    self._is_open = write(self, "COMMIT") == nil
    self._added, self._commits = 0, self._commits + 1
    if self._commits % CHECKPOINT_AFTER == 0 then
      checkpoint(self)
    end
  end
  return self.failure == nil
end

---Forgets all users: the input is read anew.
function plan_file:clear()
  write(self, "DELETE FROM users")
  write(self, "DELETE FROM failures")
end

---Adds a row of the input. The user may be there already: then it is one user, and of each
---attribute the last value counts.
---@param line integer
---@param account string
---@param wanted table<string, any> value, or NULL
function plan_file:add(line, account, wanted)
  local number = write(self, ADD, line, account, cjson.encode(wanted))
  if number == true then
    local before = cjson.decode(write(self, FIND, account))
    for name, value in pairs(wanted) do
      before[name] = value
    end
    write(self, REPLACE, line, account, cjson.encode(before))
  end
  self._added = self._added + 1
  if self._added >= ADDED_MAX then
    self:commit()
  end
end

---A user was asked.
---@param number integer
---@param state string
---@param present table<string, string>
function plan_file:answer(number, state, present)
  write(self, ANSWER, number, state, cjson.encode(present))
end

---A user has come further.
---@param number integer
---@param state string
function plan_file:move(number, state)
  write(self, MOVE, number, state)
end

---Notes why a user failed.
---@param step string
---@param row { line: integer, account: string? }
---@param fate string
---@param code string
---@param message string
function plan_file:fail(step, row, fate, code, message)
  write(self, FAIL, step, row.line, row.account, fate, code, message)
end

---Forgets who failed in a step: it is tried again.
---@param step string
function plan_file:forget_failures(step)
  write(self, "DELETE FROM failures WHERE step = ?1", step)
end

---Writes a fact down, for good with the next commit.
function plan_file:note(name, value)
  write(self, "INSERT OR REPLACE INTO job VALUES (?1, ?2)", name, value)
end

---Users up to this number are about to be sent. On disk before they are: whatever happens then, it
---is known whose values may have been replaced.
---@param number integer
function plan_file:announce(number)
  if number > (self:get("sent_to") or 0) then
    self:note("sent_to", number)
    self:commit()
    checkpoint(self)
  end
end

---A user of the plan.
---@class imattr.cli.plan_file.user
---@field number integer
---@field line integer
---@field account string
---@field wanted table<string, any>
---@field present table<string, string>? nil: not asked
---@field state string

local function read_chunk(self, sql, after)
  local list = {}
  for number, line, account, wanted, present, state in self._db:rows(sql, after) do
    list[#list + 1] = { number = number, line = line, account = account,
      wanted = cjson.decode(wanted), present = present and cjson.decode(present), state = state }
  end
  return list
end

---The users of a step in the order of the input, a few at a time. Raises what SQLite says.
---@param step string of WHICH
---@param before_chunk fun(last: integer)? is called before some are given, with the last's number
---@return fun(): imattr.cli.plan_file.user?
function plan_file:users(step, before_chunk)
  local sql = CHUNK_OF:format(plan_file.WHICH[step])
  local list, at, last = {}, 0, 0
  return function()
    at = at + 1
    if not list[at] then
      list, at = read_chunk(self, sql, last), 1
      last = list[1] and list[#list].number or last
      if before_chunk and list[1] then
        before_chunk(last)
      end
    end
    return list[at]
  end
end

---How many users a step has before it.
---@param step string of WHICH
---@return integer
function plan_file:count(step)
  return (self._db:run("SELECT count(*) FROM users WHERE " .. plan_file.WHICH[step]))
end

---Picks users by chance, for the step "sample".
---@param count integer
function plan_file:pick(count)
  self._db:run("CREATE TEMP TABLE sample AS SELECT number FROM users"
    .. " ORDER BY random() LIMIT " .. ("%d"):format(count))
end

---How many users are in each state.
---@return table<string, integer>
function plan_file:states()
  local states = setmetatable({}, { __index = function() return 0 end })
  for state, count in self._db:rows("SELECT state, count(*) FROM users GROUP BY state") do
    states[state] = count
  end
  return states
end

---Attributes that would change, and of how many users, the most frequent first.
---@return { name: string, users: integer }[]
function plan_file:changes()
  local list = {}
  for name, count in self._db:rows("SELECT wanted.key, count(*) FROM users"
    .. " JOIN json_each(users.wanted) wanted"
    .. " LEFT JOIN json_each(users.present) present ON present.key = wanted.key"
    .. " WHERE state = 'change' AND wanted.value IS NOT present.value"
    .. " GROUP BY 1 ORDER BY 2 DESC, 1") do
    list[#list + 1] = { name = name, users = count }
  end
  return list
end

---How many requests an apply takes: those that set, and those that remove.
---@return integer
function plan_file:requests()
  local sets, removes = self._db:run("SELECT"
    .. " sum(EXISTS (SELECT 1 FROM json_each(wanted) wanted LEFT JOIN json_each(present) present"
    .. " ON present.key = wanted.key WHERE wanted.type <> 'null'"
    .. " AND wanted.value IS NOT present.value)),"
    .. " sum(EXISTS (SELECT 1 FROM json_each(wanted) wanted JOIN json_each(present) present"
    .. " ON present.key = wanted.key WHERE wanted.type = 'null'))"
    .. " FROM users WHERE state = 'change'")
  return math.ceil((sets or 0) / USERS_PER_REQUEST) + math.ceil((removes or 0) / USERS_PER_REQUEST)
end

---Why users failed in a step, the most frequent reason first.
---@param step "plan"|"apply"|"undo"
---@return imattr.cli.reason[]
---@return integer more users that failed for other reasons than these
function plan_file:reasons(step)
  local where = (" FROM failures WHERE step = '%s'"):format(step)
  local list, more = {}, self._db:run("SELECT count(*)" .. where)
  for fate, code, count, line, message in self._db:rows("SELECT fate, code, count(*), min(line),"
    .. " message" .. where .. " GROUP BY 1, 2 ORDER BY 3 DESC, 2 LIMIT 50") do
    list[#list + 1] = { fate = fate, code = code, count = count, line = line, message = message }
    more = more - count
  end
  return list, more
end

return plan_file
