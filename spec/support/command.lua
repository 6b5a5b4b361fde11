-- command: the imattr command for specs, as real processes in a folder of their own against a
-- sandbox of their own. No output may ever hold the key or a signature: `run` looks.
--
--   local command = require "support.command"
--   setup(command.open)         teardown(command.close)
--   before_each(command.enter)  after_each(command.leave)
--   command.run({ "set", "-" }, { stdin = "...", env = { IMATTR_KEY = false } })
--     -> { code, stdout, stderr }

local luassert = require "luassert"
local process = require "support.process"
local sandbox = require "support.sandbox"

local command = {
  KEY = ("5ecret0123456789"):rep(4),
  SDKAPPID = 1400000321,
  INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4",
  server = nil, -- the sandbox, from `open` to `close`
}

local function output_of(line)
  local pipe = assert(io.popen(line))
  local output = pipe:read("*a")
  pipe:close()
  return (output:gsub("\n$", ""))
end

command.TREE = output_of("pwd")

-- No variable of the person who runs the specs gets through.
local CLEAN = { NO_COLOR = "1", TERM = "dumb" }
for _, name in ipairs { "SDKAPPID", "IDENTIFIER", "KEY", "KEY_FILE", "REGION", "ENDPOINT",
  "CA_FILE", "SERVICE", "RATE", "DEBUG", "PROFILE" } do
  CLEAN["IMATTR_" .. name] = false
end

local folder -- of the test that runs

-- Starts the sandbox.
function command.open()
  command.server = sandbox.start { key = command.KEY, sdkappid = command.SDKAPPID, limit = 0,
    attr_names = { "sex", "city" } }
end

-- Stops it.
function command.close()
  command.server:stop()
end

-- Makes the folder of a test; the sandbox counts from 0 again.
function command.enter()
  folder = output_of("mktemp -d")
  command.server:settings { latency_ms = 0, region_ok = true }
  command.server:reset()
end

-- Removes it.
function command.leave()
  process.run { "rm", "-rf", folder }
end

-- Where a file of the test is.
function command.path(name)
  return folder .. "/" .. name
end

-- Writes a file of the test.
function command.write(name, content)
  local file = assert(io.open(command.path(name), "wb"))
  file:write(content)
  file:close()
end

-- Reads one; nil when it is not there.
function command.read(name)
  local file = io.open(command.path(name), "rb")
  if not file then return nil end
  local content = file:read("*a")
  file:close()
  return content
end

-- The environment of a set-up that is complete, with changes.
function command.environment(changes)
  local env = {}
  for name, value in pairs(CLEAN) do env[name] = value end
  env.IMATTR_SDKAPPID, env.IMATTR_KEY, env.IMATTR_RATE = command.SDKAPPID, command.KEY, "0"
  env.IMATTR_ENDPOINT, env.IMATTR_CA_FILE = command.server.endpoint, command.server.ca_file
  env.XDG_CONFIG_HOME = folder -- no profile of the person who runs the specs
  for name, value in pairs(changes or {}) do env[name] = value end
  return env
end

-- The command line with these words.
function command.line(words)
  local argv = { command.INTERPRETER, command.TREE .. "/lua/bin/imattr" }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  return argv
end

-- Options for process.run and process.start: in the folder of the test.
function command.place(changes)
  return { env = command.environment(changes), cwd = folder }
end

function command.assert_no_secret(output)
  for _, stream in ipairs { output.stdout, output.stderr } do
    luassert.is_nil(stream:find(command.KEY, 1, true))
    luassert.is_nil(stream:find("usersig=[^R]"))
    luassert.is_nil(stream:find("eJ[wy]")) -- how every UserSig begins
  end
end

-- Runs the command in the folder of the test.
---@param words string[] its arguments
---@param options { env: table?, stdin: string?, signs: boolean? }? signs: prints a UserSig
---@return { code: integer, stdout: string, stderr: string }
function command.run(words, options)
  options = options or {}
  local place = command.place(options.env)
  place.stdin = options.stdin
  local output = process.run(command.line(words), place)
  if not options.signs then command.assert_no_secret(output) end
  return output
end

-- Sets the users of a CSV text; more words may follow.
function command.run_set(content, ...)
  command.write("users.csv", content)
  return command.run { "set", "users.csv", ... }
end

-- What the sandbox holds about accounts, as the get verb prints it.
function command.stored(...)
  return command.run({ "get", ... }).stdout
end

return command
