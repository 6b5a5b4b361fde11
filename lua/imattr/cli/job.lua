-- A job: an import that survives anything. Its file, beside the input, is SQLite and says which
-- rows have their fate: a run that was killed goes on from there, and repeats at most what was in
-- flight.
--
-- Tables, for whoever wants to ask:
--   job        name, value: what it is (command, input, size, time, hash, app, arguments) and how
--              far (settled_to: every row up to this one has its fate; done, invalid, refused;
--              requests)
--   settled    first, last: rows beyond settled_to that have their fate
--   failures   row, line, account, fate, code, message, raw: users that are invalid or refused
-- Rows count from 1 in the order of the input. A row that is `unknown` or `not_sent` stays open.

local cjson = require("cjson").new()
local statuses = require("imattr.core").statuses
local store = require "imattr.job"

local job = { noun = "job" }
job.__index = job

local FORMAT = 1 -- of the tables

-- Rows of `settled` that settled_to has passed are taken out after so many commits.
local TIDY_AFTER = 64

-- The log is brought into the file after so many commits. SQLite would do it by itself, but tell
-- nobody when the disk fails then.
local CHECKPOINT_AFTER = 128

-- Of every connection that writes.
local SETTINGS = {
  -- a commit that power loss takes is a few users sent again, never one lost
  "PRAGMA synchronous = NORMAL",
  "PRAGMA wal_autocheckpoint = 0",
}

local TABLES = {
  ("PRAGMA user_version = %d"):format(FORMAT),
  "CREATE TABLE job (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
  "CREATE TABLE settled (first INTEGER PRIMARY KEY, last INTEGER NOT NULL)",
  "CREATE TABLE failures (row INTEGER PRIMARY KEY, line INTEGER NOT NULL, account TEXT,"
    .. " fate TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, raw TEXT)",
}

local PUT = "INSERT OR REPLACE INTO job VALUES (?1, ?2)"
local GET = "SELECT value FROM job WHERE name = ?1"
local ADD_RANGE = "INSERT OR REPLACE INTO settled VALUES (?1, ?2)"
local ADD_FAILURE = "INSERT OR REPLACE INTO failures VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
local TIDY = "DELETE FROM settled WHERE last <= ?1"
local CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"

-- The fates that end a row; the others leave it open.
local COUNTED = { "done", "invalid", "refused" }
local ENDS = { done = true, invalid = true, refused = true }

---The job file that belongs to an input.
---@param input string
---@return string
function job.path_for(input)
  return input .. ".imattr"
end

local function new(path, db)
  return setmetatable({
    path = path,
    counts = { done = 0, invalid = 0, refused = 0 },
    requests = 0, -- of earlier runs
    settled_to = 0,
    _db = db,
    _ahead = {}, -- rows beyond settled_to that have their fate
    _ranges = {}, -- what the next commit writes: { first, last }
    _failures = {},
    _commits = 0,
  }, job)
end

-- Runs one statement; nil and a message with the path.
local function run(self, sql, ...)
  local first, message, is_disk = self._db:run(sql, ...)
  if first == nil and message then
    message = ("%s: %s"):format(self.path, message)
    self._disk_failure = self._disk_failure or is_disk and message
    return nil, message
  end
  return first
end

---Writes a fact down.
---@return any? ok
---@return string? message
function job:put(name, value)
  return run(self, PUT, name, value)
end

---A fact, or nil. Raises what SQLite says: a fact that cannot be read is not one that is missing.
---@return any
function job:get(name)
  local value, message = run(self, GET, name)
  if message then
    error(message, 0)
  elseif value ~= true then -- there is such a row
    return value
  end
end

-- The facts of an input that tell it from another, or nil and a message.
local function identity_of(path)
  local size, time, hash = store.identity(path)
  if not size then
    return nil, ("%s: %s"):format(path, time)
  end
  return { size = size, time = time, hash = hash }
end

-- Makes the tables and writes the facts down: all or nothing. Raises what SQLite says.
local function fill(self, facts)
  assert(run(self, "PRAGMA journal_mode = WAL"))
  for _, sql in ipairs(SETTINGS) do
    assert(run(self, sql))
  end
  assert(run(self, "BEGIN IMMEDIATE"))
  for _, sql in ipairs(TABLES) do
    assert(run(self, sql))
  end
  for name, value in pairs(facts) do
    assert(self:put(name, value))
  end
  assert(run(self, "COMMIT"))
end

-- A file for a new job: one that is not there, or one that a process left behind which died before
-- it had written anything.
local function create_file(path)
  local db, message = store.open(path, "create")
  if db then
    return db
  end
  local left = store.open(path, "write")
  if left and left:run("SELECT count(*) FROM sqlite_master") == 0 then
    return left
  elseif left then
    left:close()
    message = "there is a job already; go on with: imattr resume, or take the file away"
  end
  return nil, message
end

-- What an error of `fill` and `write` says, without the place in this file.
local function words_of(raised)
  return (tostring(raised):gsub("^%S+:%d+: ", ""))
end

---Begins a job for an input.
---@param input string path
---@param facts table<string, string|number> what else to write down
---@return imattr.cli.job?
---@return string? message
function job.create(input, facts)
  local path = job.path_for(input)
  local identity, message = identity_of(input)
  if not identity then
    return nil, message
  end
  local db
  db, message = create_file(path)
  if not db then
    return nil, ("%s: %s"):format(path, message)
  end
  local self = new(path, db)
  local all = { input = store.realpath(input), size = identity.size, time = identity.time,
    hash = identity.hash, started_s = os.time() }
  for name, value in pairs(facts) do
    all[name] = value
  end
  local ok, raised = pcall(fill, self, all)
  if not ok then
    db:close()
    return nil, words_of(raised)
  end
  return self
end

-- A number of the file that is no number, or more than it can be, is damage.
local function whole(self, value)
  if type(value) ~= "number" or value < 0 or value % 1 ~= 0 then
    error(self.path .. ": damaged", 0)
  end
  return value
end

-- Reads how far the job is. SQLite does not see every damage, but each row that has its fate is
-- counted twice in the file, and a row is passed over only when the two agree.
local function read_progress(self)
  self.settled_to = whole(self, self:get("settled_to") or 0)
  self.requests = whole(self, self:get("requests") or 0)
  local left = -self.settled_to
  for _, fate in ipairs(COUNTED) do
    self.counts[fate] = whole(self, self:get(fate) or 0)
    left = left + self.counts[fate]
  end
  for first, last in self._db:rows("SELECT first, last FROM settled") do
    first = math.max(whole(self, first), self.settled_to + 1)
    left = left - math.max(0, whole(self, last) - first + 1)
    whole(self, left)
    for row = first, last do
      self._ahead[row] = true
    end
  end
  if left ~= 0 then
    error(self.path .. ": damaged", 0)
  end
end

-- What a file is that is not a job of this version.
local function strangeness(self, format)
  local is_job = run(self, "SELECT count(*) FROM sqlite_master WHERE name = 'settled'") == 1
  if run(self, "SELECT count(*) FROM sqlite_master") == 0 then
    return "the job was not begun, nothing was sent; begin it with: imattr set --job"
  elseif is_job and format > FORMAT then
    return ("a job of a newer imattr: its tables are of version %d, known is %d"):format(format,
      FORMAT)
  end
  return "not a job"
end

-- Reads a job that is open. Raises what is wrong.
local function read_job(self, mode)
  local format, message = run(self, "PRAGMA user_version")
  if format ~= FORMAT then
    error(message or ("%s: %s"):format(self.path, strangeness(self, format)), 0)
  end
  if mode == "write" then
    for _, sql in ipairs(SETTINGS) do
      assert(run(self, sql))
    end
    local found = assert(run(self, "PRAGMA quick_check(1)"))
    if found ~= "ok" then
      error(("%s: damaged"):format(self.path), 0)
    end
  end
  read_progress(self)
end

---Opens a job.
---@param path string
---@param mode "write"|"read"
---@return imattr.cli.job?
---@return string? message
---@return boolean? is_no_job the file is there, and is none, or a damaged one
function job.open(path, mode)
  local db, message = store.open(path, mode)
  if not db then
    return nil, ("%s: %s"):format(path, message)
  end
  local self = new(path, db)
  local ok, raised = pcall(read_job, self, mode)
  if not ok then
    db:close()
    return nil, words_of(raised), true
  end
  if mode == "write" then
    run(self, TIDY, self.settled_to)
  end
  return self
end

---Is some process at work on the job?
---@return boolean
function job:is_running()
  return store.is_locked(self.path) == true
end

---What is wrong with the input now, if it is not the one that the job began with.
---@return string? message
function job:problem_of_input()
  local ok, problem = pcall(function()
    local input = self:get("input")
    local now, message = identity_of(input)
    if not now then
      return message
    end
    for _, name in ipairs { "size", "time", "hash" } do
      if now[name] ~= self:get(name) then
        return ("%s: changed since the %s began (%s); begin a new %s, or put the old file back")
          :format(input, self.noun, name, self.noun)
      end
    end
  end)
  return not ok and words_of(problem) or problem
end

---Has this row its fate from an earlier run?
---@param row integer
---@return boolean
function job:is_settled(row)
  return row <= self.settled_to or self._ahead[row] == true
end

-- Notes that a row has its fate.
local function mark(self, row)
  local range = self._ranges[#self._ranges]
  if range and range[2] + 1 == row then
    range[2] = row
  else
    self._ranges[#self._ranges + 1] = { row, row }
  end
  if row ~= self.settled_to + 1 then
    self._ahead[row] = true
    return
  end
  repeat
    self._ahead[row] = nil
    self.settled_to = row
    row = row + 1
  until not self._ahead[row]
end

---A row has its fate; the next commit writes it down.
---@param row integer
---@param fate string
---@param failed { line: integer, account: string?, raw: string?, code: string,
---  message: string }? when it is not done
function job:settle(row, fate, failed)
  if not ENDS[fate] then
    return
  end
  self.counts[fate] = self.counts[fate] + 1
  if failed then
    failed.row, failed.fate = row, fate
    self._failures[#self._failures + 1] = failed
  end
  mark(self, row)
end

-- Writes what was noted, within a transaction.
local function write(self)
  for _, range in ipairs(self._ranges) do
    if range[2] > self.settled_to then
      assert(run(self, ADD_RANGE, range[1], range[2]))
    end
  end
  for _, one in ipairs(self._failures) do
    assert(run(self, ADD_FAILURE, one.row, one.line, one.account, one.fate, one.code, one.message,
      one.raw))
  end
  assert(self:put("settled_to", self.settled_to))
  assert(self:put("requests", self.requests + (self.requests_now or 0)))
  for _, fate in ipairs(COUNTED) do
    assert(self:put(fate, self.counts[fate]))
  end
  self._commits = self._commits + 1
  if self._commits % TIDY_AFTER == 0 then
    assert(run(self, TIDY, self.settled_to))
  end
  assert(run(self, "COMMIT"))
end

---Writes down what has its fate since the last commit. What could not be written is tried again
---by the next commit; but after an I/O error nothing is: the next fsync would say that all is well.
---@return boolean? ok
---@return string? message
function job:commit()
  if self._disk_failure then
    return nil, self._disk_failure
  elseif self._is_open then -- an earlier one failed, and what it wrote could not be undone then
    run(self, "ROLLBACK")
  end
  local began, message = run(self, "BEGIN IMMEDIATE")
  if not began then
    return nil, message
  end
  self._is_open = true
  local ok, raised = pcall(write, self)
  if not ok then
    self._is_open = run(self, "ROLLBACK") == nil
    return nil, words_of(raised)
  end
  self._is_open = false
  self._ranges, self._failures = {}, {}
  if self._commits % CHECKPOINT_AFTER == 0 then
    return run(self, CHECKPOINT)
  end
  return true
end

---The job is over: every row has its fate.
---@param rows integer how many there are
---@return any? ok
---@return string? message
function job:finish(rows)
  local ok, message = self:put("rows", rows)
  if ok then
    ok, message = self:put("ended_s", os.time())
  end
  return ok, message
end

---Is there anything that a commit would write?
---@return boolean
function job:is_dirty()
  return self._ranges[1] ~= nil
end

---@return boolean
function job:has_failed()
  return self.counts.invalid + self.counts.refused > 0
end

---All users that failed, in the order of the input: row, line, account, fate, code, message, raw.
---@return fun(): integer?, integer, string?, string, string, string, string?
function job:failures()
  return self._db:rows("SELECT row, line, account, fate, code, message, raw FROM failures"
    .. " ORDER BY row")
end

---Writes all users that failed, in this run and in earlier ones, into a rejects file.
---@param file imattr.cli.rejects?
---@return string? failure
function job:fill(file)
  if not file then
    return nil
  end
  for _, line, account, _, code, message, raw in self:failures() do
    local is_read = code:match("^%d+$") or statuses[code]
    local _, failure = file:add({ line = line, account = account, raw = raw,
      code = not is_read and code or nil }, code, message)
    if failure then
      return "rejects: " .. failure
    end
  end
end

---How many users failed for which reason, the most frequent first.
---@param most integer
---@return { code: string, users: integer }[]
function job:codes(most)
  local list = {}
  for code, users in self._db:rows(
      "SELECT code, count(*) FROM failures GROUP BY code ORDER BY 2 DESC, 1 LIMIT 1000") do
    if #list < most then
      list[#list + 1] = { code = code, users = users }
    end
  end
  return list
end

---The arguments that the job was begun with.
---@return table
function job:arguments()
  return cjson.decode(self:get("arguments"))
end

---@param arguments table
---@return string
function job.encoded(arguments)
  return cjson.encode(arguments)
end

---Closes the file. What was not committed is lost.
function job:close()
  self._db:close()
end

return job
