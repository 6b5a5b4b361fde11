-- imattr sandbox: a server that behaves like the vendor's, on this machine.
--
-- To try imattr, and one's own programs, without an account. Runs until
-- Ctrl-C. What to export is printed when it accepts connections; an
-- IMATTR_KEY in the environment is kept, else the key is new at each start.

local exit = require "imattr.cli.exit"
local nginx = require "imattr.sandbox.nginx"
local rules = require "imattr.sandbox.rules"

local sandbox = {
  name = "sandbox",
  summary = "Serves a sandbox of the vendor's API here, to try things without an account.",
  usage = "sandbox [options]",
  examples = {
    "imattr sandbox                      runs until Ctrl-C, prints what to export",
    "imattr sandbox --write-env env &    then, in the same shell: . ./env",
    "imattr sandbox --latency-ms 80      answers as if it were far away",
    "imattr sandbox --rate 0 --no-store  to measure: no limit, nothing remembered",
  },
}

local ACCOUNT_BYTES_MAX = 32

-- A converter for argparse: an integer in a range.
local function integer(min, max)
  return function(text)
    local number = text:find("^%d+$") and tonumber(text)
    if not number or number < min or number > max then
      return nil, ("%s: must be an integer from %d to %d"):format(text, min, max)
    end
    return number
  end
end

-- A converter: names with commas between them.
local function names(text)
  local list, seen = {}, {}
  for name in (text .. ","):gmatch("([^,]*),") do
    if name == "" or seen[name] then
      return nil, ("%s: a name is empty or comes twice"):format(text)
    end
    seen[name] = true
    list[#list + 1] = name
  end
  if #list > 10 then
    return nil, ("names: %d, limit 10"):format(#list)
  end
  return list
end

-- A converter: an account.
local function account(text)
  if text == "" or #text > ACCOUNT_BYTES_MAX then
    return nil, ("identifier: %d bytes, must be 1 to %d"):format(#text, ACCOUNT_BYTES_MAX)
  end
  return text
end

-- Adds the verb's options to its argparse command.
---@param command table
function sandbox.define(command)
  local defaults = rules.DEFAULTS
  command:option("--port", "port to listen on (default: a free one)"):argname("N")
    :convert(integer(0, 65535))
  command:option("--rate", "requests per second and command, 0 for no limit",
    tostring(defaults.limit)):argname("N"):convert(integer(0, 1000000))
  command:option("--latency-ms", "how late each reply is", "0"):argname("N")
    :convert(integer(0, 3600000))
  command:option("--attr-names", "registered attribute names",
    table.concat(defaults.attr_names, ",")):argname("A,B,C"):convert(names)
  command:option("--sdkappid", "the app", ("%d"):format(defaults.sdkappid)):argname("N")
    :convert(integer(1, 4294967295))
  command:option("--identifier", "the administrator", defaults.admins[1]):argname("ACCOUNT")
    :convert(account)
  command:option("--max-seconds", "stop after so long (default: never)"):argname("N")
    :convert(integer(1, 31536000))
  command:flag("--no-store", "check everything and remember no user, for streams of millions")
  command:option("--write-env",
    "write the exports to this file too; it is there as long as the server is"):argname("FILE")
end

-- Serves until told to stop. The exit code.
---@param args table what argparse found
---@param io table the io library, or one like it; the server itself writes to descriptors 1 and 2
---@return integer code
function sandbox.run(args, io)
  local key = os.getenv("IMATTR_KEY")
  local ok, message = nginx.run {
    key = key ~= "" and key or nil,
    port = args.port,
    limit = args.rate,
    latency_ms = args.latency_ms,
    attr_names = args.attr_names,
    sdkappid = args.sdkappid,
    admins = { args.identifier },
    max_seconds = args.max_seconds,
    store = not args.no_store,
    env_file = args.write_env,
  }
  if not ok then
    io.stderr:write("imattr: sandbox: ", message, "\n")
    return exit.SETUP
  end
  return exit.OK
end

return sandbox
