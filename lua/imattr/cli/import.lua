-- One run from its inputs to the service: hands the rows to the client, learns and counts what
-- became of each, and keeps only the rows in between. Rows that failed go to the rejects file of
-- their input, and where reading stopped is known: rejects and rest together are exactly what is
-- not done.
--
-- A dry run keeps no row at all: screening is all that can go wrong, and its answer comes before
-- the next row is asked for.

local halves = require "imattr.cli.halves"
local preflight = require "imattr.cli.preflight"
local tally = require "imattr.cli.tally"

local import = {}
import.__index = import

local SAMPLE = 100 -- a share of errors is judged as if at least so many users had been read

---@class imattr.cli.import
---@field counts { done: integer, invalid: integer, refused: integer, unknown: integer,
---  not_sent: integer }
---@field tally imattr.cli.tally
---@field malformed integer rows that could not be read; they count as invalid
---@field read_failure string? reading an input failed
---@field read_code integer? the exit code for that
---@field write_failure string? writing a rejects file, or the job, failed
---@field halted string? there were more errors than the run may have, in words
---@field ended boolean were the inputs read to their end?
---@field registered string[]? the app's attribute names, for hints

---One of the inputs.
---@class imattr.cli.import.source
---@field input imattr.cli.input
---@field rejects imattr.cli.rejects?
---@field number integer its place among the inputs
---@field first integer the client's index of its first row

---@param options { sources: { input: imattr.cli.input, rejects: imattr.cli.rejects? }[],
---  from_line: integer?, dry_run: boolean?, limit: integer?,
---  errors_max: { count: integer?, percent: number? }?, job: imattr.cli.job?,
---  takes_names: boolean?, removes: boolean? } removes: the client is told to take names to remove;
---  from_line is about the first input; in a dry run every row that could be sent counts as not
---  sent, and is fine; a job has one input, and its rows that have their fate are passed over
---@return imattr.cli.import
function import.new(options)
  local sources = {}
  for number, given in ipairs(options.sources) do
    sources[number] = { input = given.input, reader = given.input.reader,
      core = given.input.reader.core, rejects = given.rejects,
      path = #options.sources > 1 and given.input.path or nil, number = number, first = 1 }
  end
  if options.from_line then
    sources[1].reader:begin_at(options.from_line)
  end
  return setmetatable({
    counts = { done = 0, invalid = 0, refused = 0, unknown = 0, not_sent = 0 },
    tally = tally.new(),
    malformed = 0,
    ended = false,
    _sources = sources,
    _source = sources[1],
    _dry_run = options.dry_run,
    _job = options.job,
    _names = options.takes_names and {}, -- of the row handed over last
    _halves = options.removes and halves.new(options.dry_run),
    _row = 0, -- of the input, from 1; rows that are no users count too
    _rows = {}, -- index -> row, in a job
    _errors_max = options.errors_max or {},
    _is_over = false, -- will no more rows be handed over?
    _index = 0, -- of the client's updates: a row that sets and removes has two
    _taken = 0, -- rows handed over
    _taken_max = options.limit or math.huge,
    _lines = {}, _accounts = {}, _raws = {}, -- rows, by their index, until their fate is known
    _unsent = {}, -- rows whose turn did not come
    _settled = { number = 0, line = 0 }, -- the last row with another fate
    _rest = nil, -- the first row that the next run has to take
  }, import)
end

---Keeps a job from here on: before the first row.
---@param job imattr.cli.job
function import:keep(job)
  self._job = job
end

---Is row `a` behind row `b`?
local function is_behind(a, b)
  if a.number ~= b.number then
    return a.number > b.number
  end
  return a.line > b.line
end

---Writes a row that failed to the rejects file of its input. A job knows those that failed, and
---writes the file at the end.
local function reject(self, row, code, message)
  local file = self._sources[row.number].rejects
  if not file or self.write_failure or self._job then
    return
  end
  local _, failure = file:add(row, code, message)
  self.write_failure = failure and "rejects: " .. failure
  self._is_over = self._is_over or failure ~= nil
end

---Remembers how far into the inputs fates reach.
local function mark_settled(self, row)
  if is_behind(row, self._settled) then
    self._settled = { number = row.number, line = row.line }
  end
end

---Ends the run when it has too many errors.
local function count_error(self)
  local errors = self.counts.invalid + self.counts.refused + self.counts.unknown
  local read, most = self._taken + self.malformed, self._errors_max
  if most.count and errors > most.count then
    self.halted = ("stopped at more than %d errors"):format(most.count)
  elseif most.percent and errors * 100 > most.percent * math.max(read, SAMPLE) then
    self.halted = ("stopped at more than %g%% errors: %d of %d users"):format(most.percent,
      errors, read)
  end
  self._is_over = self._is_over or self.halted ~= nil
end

---Counts a row that failed.
local function count_failure(self, row, fate, code, message)
  self.counts[fate] = self.counts[fate] + 1
  self.tally:add(row, fate, code, message)
  if fate ~= "not_sent" then
    count_error(self)
  end
end

---The next row of the input was read. Has it its fate from an earlier run of the job?
local function is_settled(self)
  self._row = self._row + 1
  return self._job ~= nil and self._job:is_settled(self._row)
end

---A row that could not be read: invalid, and the client never hears of it.
local function count_malformed(self, row)
  if is_settled(self) then
    return
  elseif self._job then
    self._job:settle(self._row, "invalid", { line = row.line, account = row.account, raw = row.raw,
      code = row.code, message = row.message })
  end
  self.malformed = self.malformed + 1
  self._taken_max = self._taken_max - 1
  row.number, row.path = self._source.number, self._source.path
  mark_settled(self, row)
  reject(self, row, row.code, row.message)
  count_failure(self, row, "invalid", row.code, row.message)
end

---The input is at its end: the next one's turn; the end of the last is the end.
local function next_source(self)
  local source = self._sources[self._source.number + 1]
  if source then
    source.first = self._index + 1
    self._source = source
  else
    self.ended, self._is_over = true, true
  end
end

---There was no row: a bad one instead, the input's end, or its failure.
local function heed(self, row, failure)
  local source = self._source
  if source.input.is_stopped then
    self._is_over = true -- the end of a run is not the end of the input
  elseif row then
    count_malformed(self, row)
  elseif failure then
    self.read_failure, self._is_over = failure, true
    self.read_code = source.input:failure_code()
  else
    next_source(self)
  end
end

---The next row of an input: as the reader's `take`, without its detour where it can be.
local function take(source, tend)
  local reader, core = source.reader, source.core
  if not core then
    source.input.tend = tend
    return reader:take()
  end
  local account, attrs, more = core:row()
  if account then
    return account, attrs, more
  end
  source.input.tend = tend
  return reader:resume(attrs)
end

---The names alone of a row's attributes.
local function names_of(self, attrs)
  local names, count = self._names, 0
  for name in pairs(attrs) do
    count = count + 1
    names[count] = name
  end
  for index = #names, count + 1, -1 do
    names[index] = nil
  end
  return names
end

---Looks where the rest begins, behind the last row that a limit allows: there may be none. A pipe
---is not asked, which may keep one waiting.
local function look_ahead(self)
  while not self._is_over and self._source.input.size do
    local account, row, failure = take(self._source)
    if account or row then
      self._rest = { number = self._source.number,
        line = account and self._source.reader:place() or row.line }
      return
    end
    heed(self, nil, failure)
  end
end

---The next row for the client: account, attributes and names to remove; nil at the end. The table
---of attributes is good until the next call.
---@param tend fun(time_ms: integer): boolean lets the run go on while the input is waited for
---@return string? account
---@return table<string, string>|string[]|nil attrs names alone, if that is what is asked for
---@return string[]? removes
function import:next(tend)
  while not self._is_over and self._taken < self._taken_max do
    local account, attrs, more = take(self._source, tend)
    if not account then
      heed(self, attrs, more)
    elseif not is_settled(self) then
      local index = self._index + 1
      self._index, self._taken = index, self._taken + 1
      if more and self._halves and next(attrs) ~= nil then
        self._index = index + 1
        self._halves:split(index)
      end
      self._rows[index] = self._job and self._row
      if self._dry_run then -- and it is not sent, unless screening says otherwise
        self.counts.not_sent = self.counts.not_sent + 1
      else
        local reader = self._source.reader
        self._lines[index], self._accounts[index] = reader:place(), account
        self._raws[index] = reader:raw()
      end
      return account, self._names and names_of(self, attrs) or attrs, more
    end
  end
  if not self._is_over then
    look_ahead(self)
    self._is_over = true
  end
end

---The input that the row with this index came from.
local function source_of(self, index)
  local number = self._source.number
  while index < self._sources[number].first do
    number = number - 1
  end
  return self._sources[number]
end

---Takes a row out of what is kept.
local function take_row(self, index)
  local source = source_of(self, index)
  local row = { number = source.number, path = source.path, line = self._lines[index],
    account = self._accounts[index], raw = self._raws[index], row = self._rows[index] }
  self._lines[index], self._accounts[index], self._raws[index] = nil, nil, nil
  self._rows[index] = nil
  return row
end

---The row that screening in a dry run refused: it is the one handed over last.
local function last_row(self, result)
  assert(self._index - result.index <= 1, "screening answers before the next row")
  local source = self._source
  return { number = source.number, path = source.path, line = (source.reader:place()),
    account = result.account, raw = source.reader:raw() }
end

---What is said of a row that failed: of a name that is not registered also which was meant.
local function message_of(self, result)
  local message = result.message or result.fate
  local name = result.code == "NAME_UNKNOWN" and message:match('^attribute name "(.*)": ')
  return name and self.registered and message .. preflight.hint(name, self.registered) or message
end

---Takes what became of a row, or of one of its two updates.
---@param result imattr.result
function import:settle(result)
  if self._dry_run and result.fate == "not_sent" then
    return -- as was thought
  end
  if self._halves then
    result = self._halves:whole(result)
    if not result then
      return
    end
  end
  local fate = result.fate
  if self._dry_run then
    self.counts.not_sent = self.counts.not_sent - 1
  end
  local row = self._dry_run and last_row(self, result) or take_row(self, result.index)
  if fate == "done" then
    self.counts.done = self.counts.done + 1
    mark_settled(self, row)
    if row.row then
      self._job:settle(row.row, fate)
    end
    return
  end
  local code, message = result.code or "UNKNOWN", message_of(self, result)
  if row.row then
    self._job:settle(row.row, fate, { line = row.line, account = row.account, raw = row.raw,
      code = code, message = message })
  end
  count_failure(self, row, fate, code, message)
  if fate == "not_sent" then
    row.why = { code, message }
    self._unsent[#self._unsent + 1] = row
  else
    mark_settled(self, row)
    reject(self, row, code, message)
  end
end

local function by_place(a, b)
  return is_behind(b, a)
end

---Rows that have no fate, because the run was aborted: they may have been sent.
local function count_lost(self)
  local lost = {}
  for index in pairs(self._lines) do
    lost[#lost + 1] = index
  end
  table.sort(lost)
  for _, index in ipairs(lost) do
    local row = take_row(self, index)
    mark_settled(self, row)
    count_failure(self, row, "unknown", "ABORTED", "aborted before an answer came")
    reject(self, row, "ABORTED", "aborted before an answer came")
  end
end

---Rows whose turn did not come: those between others go to the rejects file; those after all
---others are simply where the next run begins.
local function leave_unsent(self)
  table.sort(self._unsent, by_place)
  for _, row in ipairs(self._unsent) do
    if is_behind(row, self._settled) then
      self._rest = { number = row.number, line = row.line }
      return
    end
    reject(self, row, row.why[1], row.why[2])
  end
end

---Writes down, in a job, which rows have their fate. A failure ends the run.
---@param requests integer? sent by this run
---@param is_last boolean? also when no row has its fate since
function import:commit(requests, is_last)
  if not self._job or not (is_last or self._job:is_dirty()) then
    return
  end
  self._job.requests_now = requests
  local _, failure = self._job:commit()
  self.write_failure = self.write_failure or failure
  self._is_over = self._is_over or failure ~= nil
end

---Ends a job of which all has its fate, and that is written down.
local function finish_job(self)
  local is_open = self.counts.unknown + self.counts.not_sent > 0
  if self.ended and not is_open and not self.write_failure then
    self.write_failure = select(2, self._job:finish(self._row))
  end
end

---Ends the run: no row is without a fate after this, and the rejects files are closed. When no user
---is done, rows that were not sent are not written down: the whole input is to be sent again.
function import:finish()
  count_lost(self)
  if self._job then
    self.write_failure = self.write_failure or self._job:fill(self._sources[1].rejects)
  elseif self.counts.done > 0 then
    leave_unsent(self)
  end
  for _, source in ipairs(self._sources) do
    local _, failure = nil, nil
    if source.rejects then
      _, failure = source.rejects:close()
    end
    self.write_failure = self.write_failure or failure and "rejects: " .. failure
  end
  if self._job then
    finish_job(self)
  end
end

---Where the next run has to begin, after `finish`: the line, in the first of the inputs that are
---left; nil when this one went through to the end.
---@return integer? line
---@return string[]? paths of the inputs that are left
function import:next_line()
  local rest = self._rest
  if not rest and not self.ended then
    rest = { number = self._source.number, line = self._source.reader:line() + 1 }
  end
  if not rest then
    return nil
  end
  local paths = {}
  for number = rest.number, #self._sources do
    paths[#paths + 1] = self._sources[number].input.path
  end
  return rest.line, paths
end

---The input that is read, or was read last.
---@return imattr.cli.input
function import:input()
  return self._source.input
end

---The rejects files that hold rows.
---@return imattr.cli.rejects[]
function import:rejects()
  local filled = {}
  for _, source in ipairs(self._sources) do
    if source.rejects and source.rejects.count > 0 then
      filled[#filled + 1] = source.rejects
    end
  end
  return filled
end

---How much is done, 0..1, as far as bytes can tell; nil when the size of an input is not known.
---@return number?
function import:fraction()
  local size, bytes = 0, 0
  for _, source in ipairs(self._sources) do
    if not source.input.size then
      return nil
    end
    size, bytes = size + source.input.size, bytes + source.input:bytes()
  end
  local read = math.min(bytes / size, 1)
  local settled = -self.malformed
  for _, count in pairs(self.counts) do
    settled = settled + count
  end
  return self._taken > 0 and read * settled / self._taken or read
end

return import
