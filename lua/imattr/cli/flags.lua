-- What the values of flags say, for the parser of the command line: each function gives a value, or
-- nil and what is wrong.

local flags = {}

---A whole number from `least` on.
---@param name string the flag's
---@param least integer
---@return fun(given: string): integer?, string?
function flags.integer(name, least)
  return function(given)
    local value = given:match("^%d+$") and tonumber(given)
    if not value or value < least then
      return nil, ("%s: %s, must be a whole number from %d"):format(name, given, least)
    end
    return value
  end
end

local NAMED = { tab = "\t", ["\\t"] = "\t", comma = ",", semicolon = ";", pipe = "|" }

---The byte that separates columns.
---@param given string one byte, or tab
---@return string?
---@return string?
function flags.delimiter(given)
  local byte = NAMED[given] or given
  if #byte ~= 1 or byte:find('[%z\r\n"%w]') then
    return nil, ("--delimiter: %s, must be one character, or tab"):format(given)
  end
  return byte
end

---The text of a cell that removes an attribute.
---@param given string
---@return string?
---@return string?
function flags.null(given)
  if given == "" then
    return nil, "--null: empty, and an empty cell leaves its attribute alone"
  end
  return given
end

---Names for columns: account=uid,city=town. `account` is To_Account.
---@param given string
---@return table<string, string>? columns name -> column
---@return string?
function flags.columns(given)
  local columns, used = {}, {}
  for pair in (given .. ","):gmatch("([^,]*),") do
    local name, column = pair:match("^([^=]+)=(.+)$")
    name = name == "account" and "To_Account" or name
    if not name then
      return nil, ("--columns: %s, must be NAME=COLUMN,..."):format(pair)
    elseif columns[name] or used[column] then
      return nil, ("--columns: %s is there twice"):format(columns[name] and pair:match("^[^=]+")
        or column)
    end
    columns[name], used[column] = column, true
  end
  return columns
end

local UNIT_S = { s = 1, m = 60, h = 3600 }
local DEADLINE_S_MAX = 604800 -- a week: a call's longest

---The next moment when the local clock says so.
local function next_moment(hour, minute, now_s)
  for day = 0, 1 do
    local date = os.date("*t", now_s)
    local at_s = os.time { year = date.year, month = date.month, day = date.day + day, hour = hour,
      min = minute, sec = 0 }
    if at_s > now_s then
      return at_s
    end
  end
end

---When a run has to end: at a time of the local clock, as 06:00, or after a while, as 90m.
---@param given string
---@param now_s integer? seconds since 1970; default: now
---@return { at_s: integer, shown: string }?
---@return string?
function flags.deadline(given, now_s)
  now_s = now_s or os.time()
  local hour, minute = given:match("^(%d%d?):(%d%d)$")
  local count, unit = given:match("^(%d+)([smh])$")
  local at_s
  if hour and tonumber(hour) < 24 and tonumber(minute) < 60 then
    at_s = next_moment(tonumber(hour), tonumber(minute), now_s)
  elseif count and count:find("[1-9]") and tonumber(count) * UNIT_S[unit] <= DEADLINE_S_MAX then
    at_s = now_s + tonumber(count) * UNIT_S[unit]
  end
  if not at_s then
    return nil, ("--deadline: %s, must be a time as in 06:00, or 45s, 90m, 2h up to a week")
      :format(given)
  end
  return { at_s = at_s, shown = (os.date("%H:%M:%S", at_s):gsub(":00$", "")) }
end

---How many errors a run may have: a number, or a share of the users.
---@param given string
---@return { count: integer?, percent: number? }?
---@return string?
function flags.errors_max(given)
  local share = given:match("^(%d+%.?%d*)%%$")
  if share and tonumber(share) <= 100 then
    return { percent = tonumber(share) }
  elseif given:match("^%d+$") then
    return { count = tonumber(given) }
  end
  return nil, ("--max-errors: %s, must be a number, or a share as in 5%%"):format(given)
end

---Adds the flags that say how to read an input.
---@param command table of argparse
function flags.define_input(command)
  command:option("--format"):argname("FORMAT"):choices({ "csv", "ndjson" })
    :description "what the input is: csv or ndjson (default: by its name, then its first byte)"
  command:option("--delimiter"):argname("BYTE"):convert(flags.delimiter)
    :description "what separates the columns of CSV: ';', tab, ... (default: a comma)"
  command:option("--columns"):argname("NAME=COLUMN,..."):convert(flags.columns)
    :description "other names for columns: account=uid,city=town; the account may be any column"
end

---Adds the flag of inputs that also remove.
---@param command table of argparse
function flags.define_null(command)
  command:option("--null"):argname("TEXT"):convert(flags.null)
    :description "a cell of CSV that holds exactly this removes its attribute, as in --null '\\N'"
end

return flags
