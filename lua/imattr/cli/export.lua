-- One run from accounts to what they have: hands accounts to the client and gives users out in the
-- order of the input, each once it is known, in constant memory.
--
-- Answers come in another order than questions leave. What waits for its turn lies in a window: an
-- entry per account asked, given out from its head. A full window holds the source back until the
-- head is known, which it will be: whoever is oldest is on its way.

local export = {
  WINDOW = 20000, -- accounts; the client has 6,400 on their way at most
}
export.__index = export

---@class imattr.cli.export
---@field counts { users: integer, failed: integer, absent: integer }
---@field write_failure string? writing failed
---@field read_failure string? reading failed

---@class imattr.cli.export.entry
---@field account string
---@field line integer
---@field state "asked"|"found"|"failed"
---@field attrs table<string, string>?
---@field same imattr.cli.export.entry? the same account, asked again

---@param options { source: imattr.cli.accounts, write: (fun(account: string, attrs: table):
---  boolean?, string?), on_failure: fun(failure: { account: string?, line: integer, fate: string,
---  code: string, message: string }), window: integer? }
---@return imattr.cli.export
function export.new(options)
  return setmetatable({
    counts = { users = 0, failed = 0, absent = 0 },
    _source = options.source,
    _write = options.write,
    _on_failure = options.on_failure,
    _window = options.window or export.WINDOW,
    _entries = {}, -- place in the input -> entry
    _first = 1,
    _last = 0,
    _open = {}, -- account -> entries that wait for its answer
    _open_count = 0, -- accounts in it
    _ended = false,
  }, export)
end

local function fail(self, line, account, fate, code, message)
  self.counts.failed = self.counts.failed + 1
  self._on_failure { account = account, line = line, fate = fate, code = code, message = message }
end

---Gives out what is known at the head of the window.
local function give_out(self)
  local entries = self._entries
  local entry = entries[self._first]
  while entry and entry.state ~= "asked" do
    if entry.state == "found" and not self.write_failure then
      local ok, message = self._write(entry.account, entry.attrs)
      self.write_failure = not ok and (message or "cannot write") or nil
      self.counts.users = self.counts.users + 1
    end
    entries[self._first] = nil
    self._first = self._first + 1
    entry = entries[self._first]
  end
end

---Puts an account into the window. Gives whether the client has to ask for it.
local function enter(self, account)
  local entry = { account = account, line = self._source.line, state = "asked",
    same = self._open[account] }
  self._last = self._last + 1
  self._entries[self._last] = entry
  self._open_count = self._open_count + (entry.same and 0 or 1)
  self._open[account] = entry
  return entry.same == nil
end

---Waits until there is room in the window. False when the run was stopped, or when so few accounts
---are open that they may all be in a batch that is not full: the run has to end to send it.
local function wait_for_room(self, tend)
  while self._last - self._first + 1 >= self._window do
    if self._open_count < self._batch or not tend(20) then
      return false
    end
  end
  return true
end

export._batch = 100 -- users of a full request

---The next account for the client; nil at the end, and when this run has to end (see `is_through`).
---@param tend fun(time_ms: integer): boolean lets the run go on meanwhile
---@return string?
function export:next(tend)
  while not (self._ended or self.write_failure) do
    if not wait_for_room(self, tend) then
      return nil
    end
    local account, message = self._source:next(tend)
    if account and enter(self, account) then
      return account
    elseif account == false then
      fail(self, self._source.line, nil, "invalid", "BAD_ROW", message)
    elseif account == nil then
      self._ended = not self._source.is_stopped
      self.read_failure = message
      return nil
    end
  end
end

---Is there nothing left to ask for?
---@return boolean
function export:is_through()
  return self._ended or self.write_failure ~= nil
end

---Settles every entry of an account.
local function settle(self, account, change)
  local entry = self._open[account]
  if not entry then
    return -- answered before, to another place
  end
  self._open[account], self._open_count = nil, self._open_count - 1
  while entry do
    change(entry)
    entry = entry.same
  end
  give_out(self)
end

---Takes an answer; on_user of the call.
---@param account string
---@param attrs table<string, string>
function export:take(account, attrs)
  settle(self, account, function(entry)
    entry.state, entry.attrs = "found", attrs
  end)
end

---Takes the fate of a question; on_result of the call. An answer that does not name an account it
---was asked about leaves that account without one.
---@param result imattr.Result
function export:settle(result)
  settle(self, result.account, function(entry)
    entry.state = "failed"
    if result.fate == "done" then
      self.counts.absent = self.counts.absent + 1
      fail(self, entry.line, entry.account, "absent", "ABSENT", "the answer does not name it")
    else
      fail(self, entry.line, entry.account, result.fate, result.code or "UNKNOWN",
        result.message or result.fate)
    end
  end)
end

return export
