-- Are the attribute names of the inputs registered with the app? They are read once, before the
-- first request that changes anything: a name that is not known would have every user refused.

local errors = require "imattr.errors"
local options = require "imattr.options"
local text = require "imattr.cli.text"

local preflight = {}

local NAME_BYTES_MAX = 50 -- no longer one is registered, or near one that is
local COLUMNS_MAX = 10 -- as many are told

---A word that was probably meant, as a clause; "": none is near.
---@param name string
---@param registered string[]
---@return string
function preflight.hint(name, registered)
  return #name <= NAME_BYTES_MAX and text.visible(options.did_you_mean(name, registered)) or ""
end

---The columns of an input that no registered name has, each with its hint.
local function unknown_columns(reader, registered)
  local is_registered, unknown = {}, {}
  for _, name in ipairs(registered) do
    is_registered[name] = true
  end
  for _, name in ipairs(reader.names or {}) do -- NDJSON has names in every line: screening looks
    if not is_registered[name] then
      unknown[#unknown + 1] = text.short(name, NAME_BYTES_MAX) .. preflight.hint(name, registered)
    end
  end
  return unknown
end

---What is wrong with the columns of an input; nil: nothing.
local function fault_of(opened, registered)
  local unknown = unknown_columns(opened.reader, registered)
  if #unknown == 0 then
    return nil
  end
  local shown = table.concat(unknown, ", ", 1, math.min(#unknown, COLUMNS_MAX))
  local known = #registered > 0 and text.visible(table.concat(registered, ", ")) or "none"
  return ("%s: header: not registered with the app: %s; there are: %s (imattr names set adds one)")
    :format(text.visible(opened.path), #unknown > COLUMNS_MAX and shown .. ", ..." or shown, known)
end

---Reads the registered names and looks whether the columns of the inputs are among them.
---@param client imattr.Client
---@param sources { input: imattr.cli.input }[]
---@return string[]? registered
---@return imattr.Error? err
function preflight.names(client, sources)
  local by_index, err = client:get_attr_name()
  if not by_index then
    return nil, err
  end
  local registered = {}
  for index = 0, 9 do
    registered[#registered + 1] = by_index[tostring(index)]
  end
  for _, source in ipairs(sources) do
    local fault = fault_of(source.input, registered)
    if fault then
      return nil, errors.new { code = "NAME_UNKNOWN", class = "input", message = fault }
    end
  end
  return registered
end

return preflight
