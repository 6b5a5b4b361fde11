-- imattr config show: every value of the set-up, and where it comes from.

local columns = require "imattr.cli.columns"
local exit = require "imattr.cli.exit"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" }
local NULL = { json = "null" }

local config = {
  name = "config",
  summary = "Shows the set-up, and where each value comes from.",
  usage = "config show [options]",
  examples = {
    "imattr config show                   every value, and where it comes from",
    "imattr config show --profile tokyo   the one of another profile",
    "",
    "Flags go before the environment, the environment before the profile:",
    "~/.config/imattr/default.conf, or NAME.conf with --profile NAME. A profile",
    "holds lines like these; the key is in a file of its own:",
    "  sdkappid = 1400000000",
    "  region = singapore",
    "  key_file = ~/.config/imattr/key",
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
---@return table[] commands below it
function config.define(command)
  command:command_target("action"):require_command(true)
  local show = command:command("show"):add_help(false):summary "Shows the set-up."
    :description "Shows the set-up, and where each value comes from."
  show:flag("--json"):description "print one JSON object"
  setup.define(show, SETUP)
  return { show }
end

---A value as it is shown.
local function shown(value)
  if type(value) == "table" then
    return text.visible(table.concat(value, ","))
  elseif type(value) == "number" then
    return ("%.0f"):format(value)
  end
  return text.visible(value)
end

---The row of the key: which way it comes, never the key itself.
local function key_found(args, profiled)
  local source = setup.key_source(args, profiled, os.getenv)
  if not source then
    return { name = "key", origin = "default" }
  elseif source.name == "key" then
    return { name = "key", value = "set", origin = source.origin }
  end
  return { name = source.name, value = source.value, origin = source.origin }
end

---Where a value comes from, for people.
local function origin_of(found)
  if found.loses_to then
    return ("%s; not used, %s goes first"):format(found.origin, found.loses_to)
  elseif found.value == nil then
    return "not set"
  end
  return found.origin
end

local function screen_of(list, profiled)
  local rows = { { "profile", profiled.name, profiled.is_there and text.visible(profiled.path)
    or ("%s, which is not there"):format(text.visible(profiled.path or "~/.config/imattr")) } }
  for _, found in ipairs(list) do
    rows[#rows + 1] = { found.name, found.value ~= nil and shown(found.value) or "-",
      origin_of(found) }
  end
  return table.concat(columns.lines(rows), "\n") .. "\n"
end

local function json_of(list, profiled)
  local values = {}
  for index, found in ipairs(list) do
    values[index] = text.json_object {
      { "name", found.name }, { "value", found.value == nil and NULL or found.value },
      { "origin", found.value == nil and NULL or found.origin },
      { "used", found.value ~= nil and not found.loses_to },
    }
  end
  return text.json_object {
    { "profile", profiled.name },
    { "profile_path", profiled.is_there and profiled.path or NULL },
    { "values", values },
  }.json .. "\n"
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function config.run(args, io)
  local list, profiled, code = setup.find(args, SETUP, io, os.getenv)
  if not list then
    io.stderr:write("imattr: ", profiled, "\n")
    return code
  end
  list[#list + 1] = key_found(args, profiled)
  local output = (args.json and json_of or screen_of)(list, profiled)
  if not (io.stdout:write(output) and io.stdout:flush()) then
    io.stderr:write("imattr: standard output: cannot write\n")
    return exit.CANNOT_WRITE
  end
  return exit.OK
end

return config
