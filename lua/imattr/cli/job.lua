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
local store = require "imattr.job"

local job = {}
job.__index = job

local FORMAT = 1 -- of the tables

-- Rows of `settled` that settled_to has passed are taken out after so many commits.
local TIDY_AFTER = 64

local SETTINGS = {
  "PRAGMA journal_mode = WAL",
  -- a commit that power loss takes is a few users sent again, never one lost
  "PRAGMA synchronous = NORMAL",
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
  local first, message = self._db:run(sql, ...)
  if first == nil and message then
    return nil, ("%s: %s"):format(self.path, message)
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

-- Reads how far the job is.
local function read_progress(self)
  self.settled_to = self:get("settled_to") or 0
  self.requests = self:get("requests") or 0
  for _, fate in ipairs(COUNTED) do
    self.counts[fate] = self:get(fate) or 0
  end
  for first, last in self._db:rows("SELECT first, last FROM settled") do
    for row = math.max(first, self.settled_to + 1), last do
      self._ahead[row] = true
    end
  end
end

---Opens a job.
---@param path string
---@param mode "write"|"read"
---@return imattr.cli.job?
---@return string? message
function job.open(path, mode)
  local db, message = store.open(path, mode)
  if not db then
    return nil, ("%s: %s"):format(path, message)
  end
  local self = new(path, db)
  local format
  run(self, SETTINGS[2])
  format, message = run(self, "PRAGMA user_version")
  if format ~= FORMAT then
    db:close()
    return nil, message or ("%s: not a job, or one of another version of imattr"):format(path)
  end
  local ok, raised = pcall(read_progress, self)
  if not ok then
    db:close()
    return nil, words_of(raised)
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
        return ("%s: changed since the job began (%s); begin a new job, or put the old file back")
          :format(input, name)
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
---by the next commit.
---@return boolean? ok
---@return string? message
function job:commit()
  if self._is_open then -- an earlier one failed, and what it wrote could not be undone then
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
  return true
end

---Is there anything that a commit would write?
---@return boolean
function job:is_dirty()
  return self._ranges[1] ~= nil
end

---All users that failed, in the order of the input: row, line, account, fate, code, message, raw.
---@return fun(): integer?, integer, string?, string, string, string, string?
function job:failures()
  return self._db:rows("SELECT row, line, account, fate, code, message, raw FROM failures"
    .. " ORDER BY row")
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
