-- What a run looks like: the progress line while it lasts and the summary at its end, as functions
-- of numbers. Nothing here writes, and nothing here asks what time it is.

local columns = require "imattr.cli.columns"
local text = require "imattr.cli.text"

local terminal = {}

local FATES = { "done", "invalid", "refused", "unknown", "not_sent" }
local COLOURS = { good = "32", bad = "31", dim = "2", strong = "1" }
local BAR = ("-"):rep(10) -- stands for the bar, at its least width
local BAR_MAX = 40
local SENTENCE_MAX = 160 -- characters of a message in the summary
local SENTENCE_ROOM = 24 -- columns; with less it goes below its code
local INDENT = (" "):rep(10) -- there

---What a terminal can show.
---@class imattr.cli.look
---@field columns integer? its width; nil: not a terminal, nothing is cut
---@field colour boolean?
---@field unicode boolean?

local function paint(look, colour, shown)
  if not look.colour or shown == "" then
    return shown
  end
  return "\27[" .. COLOURS[colour] .. "m" .. shown .. "\27[0m"
end

---The bar, `width` characters wide.
local function bar(fraction, width, look)
  local full = math.floor(fraction * width + 0.5)
  local done, rest = "#", "-"
  if look.unicode then
    done, rest = "━", "─"
  end
  return paint(look, "good", done:rep(full)) .. paint(look, "dim", rest:rep(width - full))
end

---What a progress line is made of.
---@class imattr.cli.progress_numbers
---@field users integer users whose fate is known
---@field failed integer those among them that are not done
---@field requests integer
---@field users_per_s number
---@field requests_per_s number
---@field quota number? requests per second that are allowed; nil or 0: no limit
---@field fraction number? how much is done, 0..1; nil: the end is not known
---@field seconds_left number?
---@field note string? what is going on, when it is not sending

---The parts of the progress line from left to right; `rank` says which go first when it is narrow.
local function progress_parts(numbers)
  local parts = {}
  local function add(rank, shown, colour)
    if shown then
      parts[#parts + 1] = { rank = rank, shown = shown, colour = colour }
    end
  end
  local fraction, quota, left = numbers.fraction, numbers.quota, numbers.seconds_left
  add(1, fraction and ("%3d%%"):format(math.floor(fraction * 100)), "strong")
  add(5, fraction and BAR)
  add(2, text.counted(numbers.users, "user"))
  add(6, text.count(numbers.users_per_s) .. "/s")
  add(7, quota and quota > 0
    and ("%.0f%% of quota"):format(math.min(numbers.requests_per_s / quota, 1) * 100))
  add(8, text.counted(numbers.requests, "request"))
  add(4, left and text.duration(left) .. " left")
  add(3, numbers.failed > 0 and text.count(numbers.failed) .. " failed", "bad")
  add(0, numbers.note, "strong")
  return parts
end

---Width of parts in characters (they are ASCII), two blanks between them.
local function width_of(parts)
  local width = -2
  for _, part in ipairs(parts) do
    width = width + #part.shown + 2
  end
  return width
end

---Takes away the least important parts until the rest fits.
local function narrow(parts, room)
  while #parts > 1 and width_of(parts) > room do
    local least = 1
    for index, part in ipairs(parts) do
      least = part.rank > parts[least].rank and index or least
    end
    table.remove(parts, least)
  end
end

---The progress line: one column narrower than the terminal at most, so that it never wraps.
---@param numbers imattr.cli.progress_numbers
---@param look imattr.cli.look columns must be there
---@return string
function terminal.progress(numbers, look)
  local room = math.max(look.columns - 1, 1)
  local parts = progress_parts(numbers)
  narrow(parts, room)
  local bar_width = math.min(#BAR + room - width_of(parts), BAR_MAX)
  local shown = {}
  for index, part in ipairs(parts) do
    if part.shown == BAR then
      shown[index] = bar(numbers.fraction, bar_width, look)
    else
      local cut = part.shown:sub(1, room)
      shown[index] = part.colour and paint(look, part.colour, cut) or cut
    end
  end
  return table.concat(shown, "  ")
end

---The same as a plain sentence, for a log.
---@param numbers imattr.cli.progress_numbers
---@return string
function terminal.progress_sentence(numbers)
  local parts = {}
  for _, part in ipairs(progress_parts(numbers)) do
    if part.shown ~= BAR then
      parts[#parts + 1] = part.shown:gsub("^ +", "")
    end
  end
  return table.concat(parts, ", ")
end

---How a share is written: never 100% when something is missing, never 0% when something is there.
local function percent(part, whole)
  if whole == 0 or part == whole then
    return whole == 0 and "" or "100%"
  end
  local share = math.floor(part / whole * 1000 + 0.5) / 10
  share = part > 0 and math.max(share, 0.1) or share
  return ("%.1f%%"):format(math.min(share, 99.9))
end

---The width that the widest of these needs.
local function widest(reasons, least, shown)
  local width = least
  for _, reason in ipairs(reasons) do
    width = math.max(width, #shown(reason))
  end
  return width
end

---A line of figures and words; in a narrow terminal the words go on beneath one another.
local function words_beside(figures, words, look, out)
  local room = look.columns and math.max(look.columns - 1 - #figures, 8)
  for index, line in ipairs(columns.wrapped(words, room)) do
    out[#out + 1] = (index == 1 and figures or (" "):rep(#figures)) .. line
  end
end

---A reason in a narrow terminal: what does not fit beside its code stands below.
local function narrow_reason(head, message, tail, look, out)
  out[#out + 1] = head
  local room = math.max(look.columns - 1 - #INDENT, 12)
  local lines = columns.wrapped(text.short(message, SENTENCE_MAX), room)
  if columns.width(lines[#lines] .. tail) <= room then
    lines[#lines] = lines[#lines] .. paint(look, "dim", tail)
  else
    lines[#lines + 1] = paint(look, "dim", (tail:gsub("^ +", "")))
  end
  for _, line in ipairs(lines) do
    out[#out + 1] = INDENT .. line
  end
end

---Why users failed, one line a code.
local function reason_lines(reasons, fate, look, out)
  local form = ("  %%%ds  %%-%ds  "):format(
    widest(reasons, 6, function(reason) return text.count(reason.count) end),
    widest(reasons, 0, function(reason) return text.visible(reason.code) end))
  for _, reason in ipairs(reasons) do
    if reason.fate == fate then
      local head = form:format(text.count(reason.count), text.visible(reason.code))
      local tail = reason.line and ("  (line %d%s)"):format(reason.line,
        reason.count > 1 and ", ..." or "") or ""
      local room = look.columns and look.columns - #head - #tail - 1 or SENTENCE_MAX
      if room < SENTENCE_ROOM then
        narrow_reason(head, reason.message, tail, look, out)
      else
        out[#out + 1] = head .. text.short(reason.message, room) .. paint(look, "dim", tail)
      end
    end
  end
end

---The requests and their pace: as a share of what the quota allows in the seconds that were begun,
---for a run may begin and end in the middle of its first and its last hundred.
local function request_lines(numbers, look, out)
  local pace = ""
  local is_limited = numbers.quota and numbers.quota > 0
  if numbers.requests > 0 and numbers.seconds > 0 and is_limited then
    local allowed = numbers.quota * math.ceil(numbers.seconds)
    pace = ("%.0f%% of the quota of %g/s"):format(numbers.requests / allowed * 100, numbers.quota)
  elseif numbers.requests > 0 and numbers.seconds > 0 then
    pace = ("%.0f/s"):format(numbers.requests / numbers.seconds)
  end
  words_beside(("  requests %10s  "):format(text.count(numbers.requests)), pace, look, out)
  if numbers.retries > 0 then
    out[#out + 1] = ("  retries  %10s"):format(text.count(numbers.retries))
  end
  if numbers.merged > 0 then
    words_beside(("  merged   %10s  "):format(text.count(numbers.merged)),
      "rows about a user who was waiting already", look, out)
  end
end

---What a summary is made of: the report of a run, and
---@class imattr.cli.summary_numbers : imattr.report
---@field quota number?
---@field plan string what a dry run would do, in nine letters
---@field reasons imattr.cli.reason[] most frequent first
---@field more_codes integer users that failed with codes beyond the ones in `reasons`

---@class imattr.cli.reason
---@field fate string
---@field code string
---@field count integer
---@field message string sentence of the code, or of the first user that had it
---@field line integer? of the first user that had it

---The summary of a run, without a newline at its end.
---@param numbers imattr.cli.summary_numbers
---@param look imattr.cli.look
---@return string
function terminal.summary(numbers, look)
  local out = { paint(look, "strong", ("%s in %s"):format(text.counted(numbers.users, "user"),
    text.duration(numbers.seconds))) }
  for _, fate in ipairs(FATES) do
    local count = numbers[fate]
    if count > 0 or fate == "done" then
      local label = ("%-8s"):format((fate:gsub("_", " ")))
      local colour = fate == "done" and "good" or "bad"
      out[#out + 1] = ("  %s %10s  %6s"):format(count > 0 and paint(look, colour, label) or label,
        text.count(count), percent(count, numbers.users))
      reason_lines(numbers.reasons, fate, look, out)
    end
  end
  if numbers.more_codes > 0 then
    out[#out + 1] = ("  %6s  with other codes"):format(text.count(numbers.more_codes))
  end
  request_lines(numbers, look, out)
  return (table.concat(out, "\n"):gsub(" +\n", "\n"):gsub(" +$", ""))
end

---How long requests take at a quota.
local function time_of(requests, quota)
  if not quota or quota == 0 then
    return "without a limit on the rate"
  end
  return ("about %s at %g/s"):format(text.duration(requests / quota), quota)
end

---What a dry run found, without a newline at its end.
---@param numbers imattr.cli.summary_numbers `requests`: the ones a run would take
---@param look imattr.cli.look
---@return string
function terminal.plan(numbers, look)
  local valid = numbers.users - numbers.invalid
  local out = { paint(look, "strong", ("dry run: %s, nothing was sent"):format(
    text.counted(numbers.users, "user"))) }
  out[#out + 1] = ("  %s %9s  %6s"):format(numbers.plan, text.count(valid),
    percent(valid, numbers.users))
  if numbers.invalid > 0 then
    out[#out + 1] = ("  %s   %9s  %6s"):format(paint(look, "bad", "invalid"),
      text.count(numbers.invalid), percent(numbers.invalid, numbers.users))
    reason_lines(numbers.reasons, "invalid", look, out)
  end
  words_beside(("  requests  %9s  "):format(text.count(numbers.requests)),
    time_of(numbers.requests, numbers.quota), look, out)
  return (table.concat(out, "\n"):gsub(" +\n", "\n"))
end

---What a comparison of users with what they are to have is made of.
---@class imattr.cli.comparison
---@field title string
---@field users integer
---@field different integer
---@field same integer
---@field words { different: string, same: string } what these two are called
---@field attributes { name: string, users: integer }[] that differ, most frequent first
---@field samples { account: string, words: string }[] users that differ
---@field reasons imattr.cli.reason[] of users that failed
---@field failed integer
---@field requests integer that a change would take, or that were sent
---@field quota number? nil: the requests were sent
---@field seconds number?

-- Samples, one a line.
local function sample_lines(samples, look, out)
  local room = look.columns and math.max(look.columns - 5, 12)
  for index, sample in ipairs(samples) do
    out[#out + 1] = index == 1 and "for example" or nil
    local words = text.short(("%s: %s"):format(text.visible(sample.account), sample.words),
      SENTENCE_MAX)
    for number, line in ipairs(columns.wrapped(words, room)) do
      out[#out + 1] = (number == 1 and "  " or "    ") .. line
    end
  end
end

---What a comparison found, without a newline at its end.
---@param found imattr.cli.comparison
---@param look imattr.cli.look
---@return string
function terminal.comparison(found, look)
  local out = columns.wrapped(found.title, look.columns and look.columns - 1)
  for index, title in ipairs(out) do
    out[index] = paint(look, "strong", title)
  end
  local function line(label, count, colour)
    local cell = ("%-9s"):format(label)
    out[#out + 1] = ("  %s %9s  %6s"):format(count > 0 and colour and paint(look, colour, cell)
      or cell, text.count(count), percent(count, found.users))
  end
  line(found.words.same, found.same, "good")
  line(found.words.different, found.different, "strong")
  for _, attribute in ipairs(found.attributes) do
    out[#out + 1] = ("  %6s  %s"):format(text.count(attribute.users),
      text.short(attribute.name, 60))
  end
  if found.failed > 0 then
    line("failed", found.failed, "bad")
    for _, fate in ipairs(FATES) do
      reason_lines(found.reasons, fate, look, out)
    end
  end
  local pace = found.quota and time_of(found.requests, found.quota)
    or text.duration(found.seconds)
  words_beside(("  requests  %9s  "):format(text.count(found.requests)), pace, look, out)
  sample_lines(found.samples, look, out)
  return (table.concat(out, "\n"):gsub(" +\n", "\n"))
end

return terminal
