-- Shows a run while it lasts: one line that is redrawn on a terminal, a plain line every half
-- minute elsewhere.

local terminal = require "imattr.cli.terminal"

local progress = {
  REDRAW_S = 0.1, -- ten times a second at most
  SENTENCE_S = 30,
  AVERAGE_S = 5, -- rates are those of about the last so many seconds
}
progress.__index = progress

local CLEAR_LINE = "\r\27[K"

---May text be redrawn on standard error? And how does it look there?
---@param core table imattr.core, or one like it
---@param getenv fun(name: string): string?
---@return imattr.cli.look look columns is nil when it is no terminal that can redraw
function progress.look(core, getenv)
  local term = getenv "TERM" or ""
  local on_terminal = core.isatty(2) and term ~= "dumb" and term ~= ""
  local no_colour = getenv "NO_COLOR"
  local locale = (getenv "LC_ALL" or "") ~= "" and getenv "LC_ALL"
    or (getenv "LC_CTYPE" or "") ~= "" and getenv "LC_CTYPE" or getenv "LANG" or ""
  return {
    columns = on_terminal and (core.columns(2) or 80) or nil,
    colour = on_terminal and (not no_colour or no_colour == ""),
    unicode = locale:lower():find("utf%-?8") ~= nil,
  }
end

---@class imattr.cli.progress
---@field update fun(self, numbers: table)
---@field clear fun(self)

---@param options { write: fun(text: string), look: imattr.cli.look, columns: (fun(): integer?),
---  now_s: fun(): number }
---@return imattr.cli.progress
function progress.new(options)
  local now_s = options.now_s()
  return setmetatable({
    _write = options.write,
    _look = options.look,
    _columns = options.columns,
    _now_s = options.now_s,
    _start_s = now_s,
    _shown_s = now_s,
    _marks = {}, -- what was done by when, for the rates
    _drawn = false,
  }, progress)
end

---Users and requests per second, over the last AVERAGE_S.
local function rates(self, now_s, counts)
  local marks = self._marks
  marks[#marks + 1] = { at_s = now_s, users = counts.users, requests = counts.requests }
  while #marks > 2 and now_s - marks[2].at_s >= progress.AVERAGE_S do
    table.remove(marks, 1)
  end
  local first = #marks > 1 and marks[1] or { at_s = self._start_s, users = 0, requests = 0 }
  local seconds = math.max(now_s - first.at_s, 0.001)
  return (counts.users - first.users) / seconds, (counts.requests - first.requests) / seconds
end

---The numbers of a progress line out of the counts of a run.
local function numbers_of(self, now_s, counts)
  local users_per_s, requests_per_s = rates(self, now_s, counts)
  local fraction, seconds_left = counts.fraction, nil
  if fraction and fraction > 0.001 and now_s - self._start_s > 2 then
    seconds_left = (now_s - self._start_s) * (1 - fraction) / fraction
  end
  return {
    users = counts.users,
    failed = counts.failed,
    requests = counts.requests,
    users_per_s = users_per_s,
    requests_per_s = requests_per_s,
    quota = counts.quota,
    fraction = fraction,
    seconds_left = seconds_left,
    note = counts.note,
  }
end

---Shows the counts, if it is time to.
---@param counts { users: integer, failed: integer, requests: integer, quota: number?,
---  fraction: number?, note: string? }
function progress:update(counts)
  local now_s, look = self._now_s(), self._look
  local pause_s = look.columns and progress.REDRAW_S or progress.SENTENCE_S
  if now_s - self._shown_s < pause_s then
    return
  end
  self._shown_s = now_s
  local numbers = numbers_of(self, now_s, counts)
  if look.columns then
    look.columns = self._columns() or look.columns -- the window may have changed
    self._write(CLEAR_LINE .. terminal.progress(numbers, look))
    self._drawn = true
  else
    self._write("imattr: " .. terminal.progress_sentence(numbers) .. "\n")
  end
end

---Takes the line away, before other text is written.
function progress:clear()
  if self._drawn then
    self._write(CLEAR_LINE)
    self._drawn = false
  end
end

return progress
