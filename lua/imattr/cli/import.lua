-- One run from an input to the service: hands the rows to the client, learns and counts what
-- became of each, and keeps only the rows in between. Rows that failed go to the rejects file, and
-- where reading stopped is known: rejects and rest together are exactly what is not done.

local tally = require "imattr.cli.tally"

local import = {}
import.__index = import

---@class imattr.cli.import
---@field counts { done: integer, invalid: integer, refused: integer, unknown: integer,
---  not_sent: integer }
---@field tally imattr.cli.tally
---@field malformed integer rows that could not be read; they count as invalid
---@field read_failure string? reading the input failed
---@field write_failure string? writing the rejects file failed
---@field ended boolean was the input read to its end?

---@param options { input: imattr.cli.input, rejects: imattr.cli.rejects?, from_line: integer?,
---  dry_run: boolean? } in a dry run every row that could be sent counts as not sent, and is fine
---@return imattr.cli.import
function import.new(options)
  return setmetatable({
    counts = { done = 0, invalid = 0, refused = 0, unknown = 0, not_sent = 0 },
    tally = tally.new(),
    malformed = 0,
    ended = false,
    _input = options.input,
    _reader = options.input.reader,
    _rejects = options.rejects,
    _from_line = options.from_line or 0,
    _dry_run = options.dry_run,
    _kept = {}, -- index at the client -> row, until its fate is known
    _index = 0,
    _unsent = {}, -- rows whose turn did not come
    _settled_line = 0, -- the last line with another fate
  }, import)
end

---Writes a row that failed to the rejects file.
local function reject(self, row, code, message)
  if not self._rejects or self.write_failure then
    return
  end
  local _, failure = self._rejects:add(row, code, message)
  self.write_failure = failure
end

---Remembers how far into the input fates reach.
local function mark_settled(self, row)
  self._settled_line = math.max(self._settled_line, row.line)
end

---Counts a row that failed.
local function count_failure(self, row, fate, code, message)
  self.counts[fate] = self.counts[fate] + 1
  self.tally:add(row, fate, code, message)
end

---A row that could not be read: invalid, and the client never hears of it.
local function count_malformed(self, row)
  self.malformed = self.malformed + 1
  mark_settled(self, row)
  count_failure(self, row, "invalid", row.code, row.message)
  reject(self, row, row.code, row.message)
end

---Gives a row to the client, and keeps what a rejects file would need of it.
local function hand_over(self, row)
  self._index = self._index + 1
  self._kept[self._index] = { line = row.line, raw = row.raw, account = row.account }
  return row.account, row.attrs
end

---The next row for the client: account and attributes; nil at the end.
---@param tend fun(time_ms: integer): boolean lets the run go on while the input is waited for
---@return string? account
---@return table<string, string>? attrs
function import:next(tend)
  self._input.tend = tend
  while not (self.ended or self.read_failure or self.write_failure) do
    local row, message = self._reader:next()
    if self._input.is_stopped then
      return nil -- the end of a run is not the end of the input
    elseif not row then
      self.read_failure, self.ended = message, not message
    elseif row.line >= self._from_line then -- the others were an earlier run's
      if row.code then
        count_malformed(self, row)
      else
        return hand_over(self, row)
      end
    end
  end
end

---Takes what became of a row.
---@param result imattr.result
function import:settle(result)
  local row, fate = self._kept[result.index], result.fate
  self._kept[result.index] = nil
  if fate == "done" or self._dry_run and fate == "not_sent" then
    self.counts[fate] = self.counts[fate] + 1
    mark_settled(self, row)
    return
  end
  local code, message = result.code or "UNKNOWN", result.message or fate
  count_failure(self, row, fate, code, message)
  if fate == "not_sent" then
    row.why = { code, message }
    self._unsent[#self._unsent + 1] = row
  else
    mark_settled(self, row)
    reject(self, row, code, message)
  end
end

local function by_line(a, b)
  return a.line < b.line
end

---Rows that have no fate, because the run was aborted: they may have been sent.
local function count_lost(self)
  local lost = {}
  for _, row in pairs(self._kept) do
    lost[#lost + 1] = row
  end
  self._kept = {}
  table.sort(lost, by_line)
  for _, row in ipairs(lost) do
    mark_settled(self, row)
    count_failure(self, row, "unknown", "ABORTED", "aborted before an answer came")
    reject(self, row, "ABORTED", "aborted before an answer came")
  end
end

---Rows whose turn did not come: those between others go to the rejects file; those after all
---others are simply where the next run begins.
local function leave_unsent(self)
  table.sort(self._unsent, by_line)
  for _, row in ipairs(self._unsent) do
    if row.line > self._settled_line then
      self._unsent_line = row.line
      return
    end
    reject(self, row, row.why[1], row.why[2])
  end
end

---Ends the run: no row is without a fate after this, and the rejects file is closed. When no user
---is done, rows that were not sent are not written down: the whole input is to be sent again.
function import:finish()
  count_lost(self)
  if self.counts.done > 0 then
    leave_unsent(self)
  end
  if self._rejects then
    local _, failure = self._rejects:close()
    self.write_failure = self.write_failure or failure
  end
end

---Where the next run has to begin, after `finish`; nil when this one went through to the end.
---@return integer? line
function import:next_line()
  return self._unsent_line or not self.ended and self._reader:line() + 1 or nil
end

---How much is done, 0..1, as far as bytes can tell; nil when the size of the input is not known.
---@return number?
function import:fraction()
  local size = self._input.size
  if not size then
    return nil
  end
  local read = math.min(self._reader:bytes() / size, 1)
  local settled = -self.malformed
  for _, count in pairs(self.counts) do
    settled = settled + count
  end
  return self._index > 0 and read * settled / self._index or read
end

return import
