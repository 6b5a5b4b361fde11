-- settings: the options of a batcher, as options are those of a client.

local options = require "imattr.options"
local redact = require "imattr.redact"

local settings = {}

---@class imattr.batcher.Options
---@field linger_ms integer? how long an update waits at most for others: 0 to 60000, default 10
---@field queue_max integer? updates that wait: 100 to 1000000, default 10000
---@field in_flight_max integer? requests at once; default: the client's
---@field drain_ms integer? how long a worker that ends goes on sending: default 5000
---@field spool string? folder for what is not sent then, and for durable updates
---@field name string? of this batcher, one of each in a worker: default "default"
---@field on_result fun(result: imattr.Result)? sees the fate of every update
---@field on_attempt fun(info: table)? sees every request when it is back

local OPTIONS = {
  { name = "linger_ms", type = "integer", default = 10, min = 0, max = 60000 },
  { name = "queue_max", type = "integer", default = 10000, min = 100, max = 1000000 },
  { name = "in_flight_max", type = "integer", min = 1, max = 1000 },
  { name = "drain_ms", type = "integer", default = 5000, min = 0, max = 3600000 },
  { name = "spool", type = "string", min = 1, max = 4000 },
  { name = "name", type = "string", default = "default", min = 1, max = 64 },
  { name = "on_result", type = "function" },
  { name = "on_attempt", type = "function" },
}

local function problem_of(option, value)
  if option.type ~= "function" then
    return options.problem(option, value)
  elseif type(value) ~= "function" then
    return ("%s: a %s, wants a function"):format(option.name, type(value))
  end
end

--- The options with their defaults. Raises for misuse, at the caller of client:batcher.
---@param given any
---@return imattr.batcher.Options
function settings.check(given)
  if given ~= nil and type(given) ~= "table" then
    error(("client:batcher: a %s, wants a table of options"):format(type(given)), 3)
  end
  local checked, known, names = {}, {}, {}
  for i, option in ipairs(OPTIONS) do
    checked[option.name], known[option.name], names[i] = option.default, option, option.name
  end
  for name, value in pairs(given or {}) do
    local option = known[name]
    local near = not option and options.nearest(tostring(name), names)
    local problem = option and problem_of(option, value)
      or not option and ("unknown option of a batcher: %s%s"):format(redact.text(tostring(name)),
        near and (" (did you mean %s?)"):format(near) or "")
    if problem then
      error(problem, 3)
    end
    checked[name] = value
  end
  if checked.name:find("[^%w_.]") then
    error(("name: %q, wants letters, digits, _ and ."):format(redact.text(checked.name)), 3)
  end
  return checked
end

return settings
