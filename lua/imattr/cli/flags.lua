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

return flags
