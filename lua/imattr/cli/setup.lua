-- Set-up of a client: flag before environment before profile before default, and where each value
-- comes from. The key has no flag, `ps` would show it: it comes from the environment, a file or a
-- command.
--
-- Sentences, ranges and choices are the ones of the options table, which the client checks too.

local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local options = require "imattr.options"
local profile = require "imattr.cli.profile"
local redact = require "imattr.redact"
local text = require "imattr.cli.text"

local setup = {}

local KEY_BYTES_MAX = 4096 -- a key is 64 hex digits

-- what the value of a flag is called in --help
local PLACES = {
  sdkappid = "NUMBER", identifier = "ACCOUNT", region = "NAME", endpoint = "URL[,URL]",
  ca_file = "FILE", service = "NAME", rate = "N",
}

local secret -- the key, when it passed through Lua: never to be shown

---Takes the key and signatures out of a text that somebody will see.
---@param shown string
---@return string
function setup.redact(shown)
  if secret then
    shown = shown:gsub(secret:gsub("%W", "%%%0"), "REDACTED")
  end
  return redact.text(shown)
end

---The default of an option.
---@param name string
---@return any
function setup.default(name)
  return options.find(name).default
end

local function variable_of(name)
  return "IMATTR_" .. name:upper()
end

local function flag_of(name)
  return "--" .. name:gsub("_", "-")
end

---An option's sentence, what it may be, its default and its variable.
local function described(option)
  local notes = { variable_of(option.name) }
  if option.choices then
    table.insert(notes, 1, table.concat(option.choices, ", "))
  end
  if option.default then
    notes[#notes + 1] = "default " .. tostring(option.default)
  end
  return ("%s (%s)"):format(option.sentence, table.concat(notes, "; "))
end

---Adds the flags of the options `names`, and those of the key, to a command.
---@param command table of argparse
---@param names string[]
function setup.define(command, names)
  for _, name in ipairs(names) do
    local option = options.find(name)
    command:option(flag_of(name))
      :argname(PLACES[name])
      :description(described(option))
  end
  command:mutex(
    command:option("--key-file"):argname("FILE")
      :description "file that holds the key of the app (IMATTR_KEY_FILE)",
    command:option("--key-command"):argname("COMMAND")
      :description "shell command that prints the key; or put the key in IMATTR_KEY"
  )
  command:option("--profile"):argname("NAME")
    :description(("set-up in ~/.config/imattr/NAME.conf (IMATTR_PROFILE; default %s)"):format(
      profile.DEFAULT))
end

---The text as the option's type, or nil and what is wrong with it.
local function converted(option, given)
  local value = given
  if option.type == "integer" and given:match("^%d+$") then
    value = tonumber(given)
  elseif option.type == "string_or_list" and given:find(",", 1, true) then
    value = {}
    for item in given:gmatch("[^,%s]+") do
      value[#value + 1] = item
    end
  end
  local problem = options.problem(option, value)
  if problem then
    return nil, problem
  end
  return value
end

-- How strong a way to give a value is: the smallest number wins.
local FLAG, ENVIRONMENT, PROFILE, DEFAULT = 1, 2, 3, 4

---A value and where it comes from.
---@class imattr.cli.setup.found
---@field name string
---@field value any nil: not given, and there is no default
---@field origin string "--rate", "IMATTR_RATE", "/path/default.conf:3" or "default"
---@field level integer
---@field loses_to string? another value goes first, and this one is not used

---The text that is given for an option, where, and how strong that is; nil: nowhere.
local function given_text(name, args, profiled, getenv)
  local variable = getenv(variable_of(name))
  local kept = profiled.values[name]
  if args[name] then
    return args[name], flag_of(name), FLAG
  elseif variable and variable ~= "" then
    return variable, variable_of(name), ENVIRONMENT
  elseif kept then
    return kept.value, ("%s:%d"):format(text.visible(profiled.path), kept.line), PROFILE
  end
end

---Finds one option; nil, message, exit code when what is given is wrong.
local function find_option(name, args, profiled, getenv)
  local given, origin, level = given_text(name, args, profiled, getenv)
  if not given then
    return { name = name, value = setup.default(name), origin = "default", level = DEFAULT }
  end
  local value, message = converted(options.find(name), given)
  if value == nil then
    return nil, ("%s (from %s)"):format(message, origin),
      level == FLAG and exit.USAGE or exit.SETUP
  end
  return { name = name, value = value, origin = origin, level = level }
end

---Region and endpoint say the same thing: the stronger one counts. Both given in the same way are
---left to the client, which wants one of them.
local function settle_place(by_name)
  local region, endpoint = by_name.region, by_name.endpoint
  if region and endpoint and region.value and endpoint.value and region.level ~= endpoint.level then
    local weaker = region.level > endpoint.level and region or endpoint
    weaker.loses_to = weaker == region and "endpoint" or "region"
  end
end

---Finds the options `names`, each with its origin.
---@param args table parsed command line
---@param names string[]
---@param io table the io library, or one like it
---@param getenv fun(name: string): string?
---@return imattr.cli.setup.found[]? list in the order of `names`
---@return string|imattr.cli.profile message or the profile that was read
---@return integer? code exit code
function setup.find(args, names, io, getenv)
  local profiled, fault = profile.read(args.profile, io, getenv)
  if not profiled then
    return nil, fault, exit.SETUP
  end
  local list, by_name = {}, {}
  for index, name in ipairs(names) do
    local found, message, code = find_option(name, args, profiled, getenv)
    if not found then
      return nil, message, code
    end
    list[index], by_name[name] = found, found
  end
  settle_place(by_name)
  return list, profiled
end

---Warns when others than the owner can reach the key file.
local function warn_about_mode(path, io)
  local mode = core.file_mode(path)
  if mode and mode % 64 ~= 0 then
    io.stderr:write(("imattr: warning: key file %s is open to others (mode %04o); run\n"
      .. "  chmod 600 %s\n"):format(text.visible(path), mode, text.shell(path)))
  end
end

---What a shell command prints, and its exit status. (LuaJIT's close does not tell the status, so
---the shell prints it, in the last line.)
local function output_of(command, io)
  local pipe, message = io.popen(("(%s\n)\nprintf '\\n%%d' $?"):format(command), "r")
  if not pipe then
    return nil, message
  end
  local printed = pipe:read(KEY_BYTES_MAX + 16) or ""
  pipe:close()
  local output, status = printed:match("^(.*)\n(%d+)$")
  return output, tonumber(status)
end

---The key that a command prints; nil and a message.
local function key_of_command(command, io)
  local output, status = output_of(command, io)
  if not output then
    return nil, ("key command: its output is over %d bytes, or it cannot be run"):format(
      KEY_BYTES_MAX)
  elseif status ~= 0 then
    return nil, ("key command: exit status %d"):format(status)
  end
  local key = output:gsub("[\r\n]+$", "")
  if key == "" then
    return nil, "key command: printed nothing"
  end
  return key
end

---Where the key comes from: `key`, `key_file` or `key_command`, what it says, and the origin; nil:
---nowhere. The key itself is not read.
---@param args table parsed command line
---@param profiled imattr.cli.profile
---@param getenv fun(name: string): string?
---@return imattr.cli.setup.found?
function setup.key_source(args, profiled, getenv)
  for _, name in ipairs { "key_command", "key_file" } do
    if args[name] then
      return { name = name, value = args[name], origin = flag_of(name), level = FLAG }
    end
  end
  for _, name in ipairs { "key", "key_file" } do
    local variable = getenv(variable_of(name))
    if variable and variable ~= "" then
      return { name = name, value = variable, origin = variable_of(name), level = ENVIRONMENT }
    end
  end
  for _, name in ipairs { "key_command", "key_file" } do
    local kept = profiled.values[name]
    if kept then
      return { name = name, value = kept.value, level = PROFILE,
        origin = ("%s:%d"):format(text.visible(profiled.path), kept.line) }
    end
  end
end

---Reads the key: puts `key` or `key_file` into `found`. Gives nil and a message when a source of
---the key is named and does not give one.
local function read_key(source, found, io)
  if not source then
    return true
  elseif source.name == "key_file" then
    local opened, message = io.open(source.value, "rb")
    if not opened then
      return nil, "key file: " .. text.visible(message)
    end
    opened:close()
    warn_about_mode(source.value, io)
    found.key_file = source.value
    return true
  end
  local key, message = source.value, nil
  if source.name == "key_command" then
    key, message = key_of_command(source.value, io)
  end
  secret, found.key = key, key
  return key ~= nil or nil, message
end

-- the ways to give what a client cannot be without and has no default for
local REQUIRED = {
  { "sdkappid", "--sdkappid NUMBER or IMATTR_SDKAPPID: the app's SDKAppID" },
  { "key", "IMATTR_KEY, or --key-file FILE, or --key-command COMMAND: the app's secret key" },
  { "region", "--region NAME or IMATTR_REGION: where the app lives, as in singapore" },
}

---What is missing among `REQUIRED`; nil: nothing.
local function missing_message(found, wanted)
  local names, ways = {}, {}
  for _, required in ipairs(REQUIRED) do
    local name, way = required[1], required[2]
    local there = found[name] ~= nil or name == "key" and found.key_file
      or name == "region" and found.endpoint or not wanted[name]
    if not there then
      names[#names + 1] = name
      ways[#ways + 1] = ("\n  %-12s%s"):format(name, way)
    end
  end
  if #names > 0 then
    return ("set-up is missing: %s%s"):format(table.concat(names, ", "), table.concat(ways))
  end
end

-- stand for what is missing when nothing will be sent
local STANDINS = { sdkappid = 1, region = "china" }

---What is found as the options of a client. A default is the client's own business.
local function options_of(list)
  local found, wanted = {}, { key = true }
  for _, item in ipairs(list) do
    wanted[item.name] = true
    if item.level ~= DEFAULT and not item.loses_to then
      found[item.name] = item.value
    end
  end
  return found, wanted
end

---Reads the options `names` and the key.
---@param args table parsed command line
---@param names string[]
---@param io table the io library, or one like it
---@param getenv fun(name: string): string?
---@param dry_run? boolean nothing will be sent: what is missing gets a stand-in
---@return table? options for `imattr.new`
---@return string? message
---@return integer? code exit code
function setup.read(args, names, io, getenv, dry_run)
  local list, profiled, code = setup.find(args, names, io, getenv)
  if not list then
    return nil, setup.redact(profiled), code
  end
  local found, wanted = options_of(list)
  if dry_run then
    for name, standin in pairs(STANDINS) do
      local given = found[name] or name == "region" and found.endpoint
      found[name] = found[name] or not given and standin or nil
    end
    found.key = "dry run"
    return found
  end
  local given, message = read_key(setup.key_source(args, profiled, getenv), found, io)
  message = message or missing_message(found, wanted)
  if not given or message then
    return nil, setup.redact(message), exit.SETUP
  end
  return found
end

---Reads the key alone.
---@param args table parsed command line
---@param io table the io library, or one like it
---@param getenv fun(name: string): string?
---@return string? key
---@return string? message
---@return integer? code exit code
function setup.read_key(args, io, getenv)
  local found, message, code = setup.read(args, {}, io, getenv)
  if not found then
    return nil, message, code
  elseif found.key_file then
    local file = io.open(found.key_file, "rb")
    found.key = file and (file:read(KEY_BYTES_MAX) or ""):gsub("%s+$", "")
    secret = found.key
    if file then
      file:close()
    end
  end
  return found.key
end

return setup
