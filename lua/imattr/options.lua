-- options: every option of a client in one table. It checks the arguments of imattr.new, feeds the
-- command's help, and the README's table is compared with it.

local redact = require "imattr.redact"

local options = {}

---@class imattr.Option
---@field name string
---@field type string string integer number boolean table string_or_function string_or_list
---@field default any
---@field min number? smallest value, or length of a string
---@field max number? largest value, or length of a string
---@field choices string[]?
---@field sentence string what it is for
---@field secret boolean? never shown

---@type imattr.Option[]
options.list = {
  { name = "sdkappid", type = "integer", min = 1, max = 4294967295,
    sentence = "the app's SDKAppID" },
  { name = "identifier", type = "string", default = "administrator", min = 1, max = 32,
    sentence = "the app administrator who signs" },
  { name = "key", type = "string", secret = true,
    sentence = "the app's secret key, as the console shows it" },
  { name = "key_file", type = "string", min = 1, sentence = "a file that holds the key" },
  { name = "usersig", type = "string_or_function", secret = true,
    sentence = "a ready-made UserSig in place of a key, or a function that returns one" },
  { name = "usersig_expire_s", type = "integer", default = 86400, min = 60, max = 315360000,
    sentence = "how long a UserSig holds; it is renewed at 80 % of that" },
  { name = "region", type = "string", choices = { "china", "singapore", "seoul", "tokyo",
    "frankfurt", "silicon_valley", "jakarta" }, sentence = "where the app lives" },
  { name = "endpoint", type = "string_or_list", min = 1,
    sentence = "https://host[:port] in place of a region, or a list: the first that works" },
  { name = "service", type = "string", default = "all_member_push",
    choices = { "all_member_push" }, sentence = "the family of commands" },
  { name = "rate", type = "integer", default = 100, min = 0, max = 1000,
    sentence = "requests per second and command; 0 switches the pace off" },
  { name = "pace", type = "string", default = "strict", choices = { "strict", "even" },
    sentence = "strict: never above rate in any second; even: evenly spaced at 98 % of it" },
  { name = "pace_scope", type = "string", default = "machine", choices = { "machine", "process" },
    sentence = "who shares the quota: all processes of this user, or this process alone" },
  { name = "backfill", type = "boolean", default = false,
    sentence = "a bulk job: live senders on the same quota go before it; it keeps a fifth" },
  { name = "in_flight_max", type = "integer", default = 64, min = 1, max = 1000,
    sentence = "requests on their way at once" },
  { name = "queue_max", type = "integer", default = 1000, min = 100, max = 1000000,
    sentence = "updates that wait in memory, where those of one user merge" },
  { name = "connect_timeout_ms", type = "integer", default = 5000, min = 100, max = 60000,
    sentence = "longest wait for a connection" },
  { name = "timeout_ms", type = "integer", default = 10000, min = 3100, max = 120000,
    sentence = "longest wait for an answer, connecting included; the vendor's own is 3000" },
  { name = "proxy", type = "string", min = 1,
    sentence = "an HTTP proxy; without it https_proxy decides" },
  { name = "ca_file", type = "string", min = 1,
    sentence = "certificates to trust (PEM), in place of the system's" },
  { name = "attempts_max", type = "integer", default = 5, min = 1, max = 100,
    sentence = "attempts per request when the network or the vendor fails" },
  { name = "patience_ms", type = "integer", default = 30000, min = 0, max = 604800000,
    sentence = "longest outage a call sits out once anything was answered; 0: attempts count" },
  { name = "deadline_ms", type = "integer", default = 0, min = 0, max = 604800000,
    sentence = "longest time of one call; 0: as long as it takes" },
  { name = "failures_max", type = "integer", default = 1000, min = 0, max = 1000000,
    sentence = "users listed in report.failures" },
  { name = "attr_names", type = "table",
    sentence = "the app's registered attribute names: others are refused before sending" },
  { name = "preflight", type = "boolean", default = false,
    sentence = "read the registered names once, before the first call that sets or removes" },
}

local by_name = {}
for _, option in ipairs(options.list) do
  by_name[option.name] = option
end

---@param name string
---@return imattr.Option?
function options.find(name)
  return by_name[name]
end

-- How many letters must change to make `b` of `a` (Levenshtein).
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

--- The word of a list that was probably meant, or nil when none is near.
---@param word string
---@param words string[]
---@return string?
function options.nearest(word, words)
  local best, found
  for _, known in ipairs(words) do
    local changes = distance(word:lower(), known:lower())
    if changes <= math.max(2, math.floor(#known / 3)) and (not best or changes < best) then
      best, found = changes, known
    end
  end
  return found
end

--- What is said behind a word that is none of a list.
---@param word any
---@param words string[]
---@return string
function options.did_you_mean(word, words)
  local near = options.nearest(tostring(word), words)
  return near and (" (did you mean %s?)"):format(near) or ""
end

local TYPES = {
  string = function(value) return type(value) == "string" end,
  integer = function(value) return type(value) == "number" and value == math.floor(value) end,
  boolean = function(value) return type(value) == "boolean" end,
  table = function(value) return type(value) == "table" end,
  string_or_list = function(value)
    local count = type(value) == "table" and #value or 0
    for i = 1, count do
      if type(value[i]) ~= "string" then
        return false -- a hole too
      end
    end
    return type(value) == "string" or count > 0
  end,
  string_or_function = function(value)
    return type(value) == "string" or type(value) == "function"
  end,
}

local function show(option, value)
  if option.secret or type(value) ~= "string" and type(value) ~= "number" then
    return "a " .. type(value)
  end
  return type(value) == "string" and ("%q"):format(redact.text(value)) or tostring(value)
end

local function range_problem(option, value)
  local size = type(value) == "string" and #value or value
  local unit = type(value) == "string" and " bytes" or ""
  if type(size) ~= "number" then
    return nil
  end
  if option.min and size < option.min or option.max and size > option.max then
    local range = option.max and ("%d to %d"):format(option.min, option.max)
      or ("at least %d"):format(option.min)
    return ("%s: %s%s, wants %s"):format(option.name, tostring(size), unit, range)
  end
end

local function choice_problem(option, value)
  for _, choice in ipairs(option.choices or { value }) do
    if choice == value then
      return nil
    end
  end
  return ("%s: %s is none of %s%s"):format(option.name, show(option, value),
    table.concat(option.choices, ", "), options.did_you_mean(value, option.choices))
end

--- What is wrong with a value for an option, or nil.
---@param option imattr.Option
---@param value any
---@return string? problem
function options.problem(option, value)
  if not TYPES[option.type](value) then
    local article = option.type == "integer" and "an" or "a"
    local wanted = option.type:gsub("_", " ")
    return ("%s: %s, wants %s %s"):format(option.name, show(option, value), article, wanted)
  end
  return range_problem(option, value) or choice_problem(option, value)
end

--- Checks a table of options against a list of them and fills in the defaults.
--- Raises for an unknown name, a wrong type and a value out of range.
---@param given table
---@param names string[]? only these are allowed; all when nil
---@param level integer where an error points: 2 is the caller
---@return table checked a new table
function options.check(given, names, level)
  local allowed, is_allowed, checked = {}, {}, {}
  for _, option in ipairs(options.list) do
    checked[option.name] = option.default
  end
  for index, name in ipairs(names or options.list) do
    allowed[index] = type(name) == "table" and name.name or name
    is_allowed[allowed[index]] = true
  end
  for name, value in pairs(given) do
    if not is_allowed[name] then
      error(("unknown option: %s%s"):format(redact.text(tostring(name)),
        options.did_you_mean(name, allowed)), level + 1)
    end
    local problem = options.problem(by_name[name], value)
    if problem then
      error(problem, level + 1)
    end
    checked[name] = value
  end
  return checked
end

return options
