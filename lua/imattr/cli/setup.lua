-- Set-up of a client from the command line and the environment: flag before environment. The key
-- has no flag, `ps` would show it: it comes from the environment, a file or a command.
--
-- Sentences, ranges and choices are the ones of the options table, which the client checks too.

local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local options = require "imattr.options"
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
  return (shown:gsub("(usersig=)[^&%s]+", "%1REDACTED"))
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

---Reads one option: its value; nil when it is not given; nil, message, exit code when it is wrong.
local function read_option(name, args, getenv)
  local given, origin, code = args[name], flag_of(name), exit.USAGE
  if not given then
    given, origin, code = getenv(variable_of(name)), variable_of(name), exit.SETUP
  end
  if not given or given == "" and code == exit.SETUP then
    return nil
  end
  local value, message = converted(options.find(name), given)
  if value == nil then
    return nil, ("%s (from %s)"):format(message, origin), code
  end
  return value
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

---Finds the key: puts `key` or `key_file` into `found`. Gives nil and a message when a source of
---the key is named and does not give one.
local function find_key(args, found, getenv, io)
  local key, file = getenv "IMATTR_KEY", args.key_file
  if args.key_command then
    local message
    key, message = key_of_command(args.key_command, io)
    if not key then
      return nil, message
    end
  elseif file or not key or key == "" then
    key, file = nil, file or getenv "IMATTR_KEY_FILE"
  end
  if key then
    secret, found.key = key, key
  elseif file and file ~= "" then
    local opened, message = io.open(file, "rb")
    if not opened then
      return nil, "key file: " .. text.visible(message)
    end
    opened:close()
    warn_about_mode(file, io)
    found.key_file = file
  end
  return true
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
  local found, wanted = {}, { key = true }
  for _, name in ipairs(names) do
    local value, message, code = read_option(name, args, getenv)
    if message then
      return nil, message, code
    end
    found[name], wanted[name] = value, true
  end
  if args.endpoint and not args.region then
    found.region = nil -- a flag is stronger than the environment
  elseif args.region and not args.endpoint then
    found.endpoint = nil
  end
  if dry_run then
    for name, standin in pairs(STANDINS) do
      local given = found[name] or name == "region" and found.endpoint
      found[name] = found[name] or not given and standin or nil
    end
    found.key = "dry run"
    return found
  end
  local given, message = find_key(args, found, getenv, io)
  message = message or missing_message(found, wanted)
  if not given or message then
    return nil, message, exit.SETUP
  end
  return found
end

return setup
