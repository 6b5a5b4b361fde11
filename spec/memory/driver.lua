-- driver: builds the hosts of spec/memory and runs scenarios in them, against a sandbox.
--
--   driver.start()                            once; driver.stop() in the end
--   driver.run("luajit", { "run", "walk", "core", "25" }) -> { code, stdout, stderr }
--   driver.scenarios() -> { { name, kinds = { "lua", ... } }, ... }
--   driver.faults(stdout) -> how many allocations failed

local core = require "imattr.core"
local process = require "support.process"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local driver = {}

local SECONDS_MAX = 7200

local HOST = "build/spec/memory-%s"
local SOURCES = { "spec/memory/host.c", "spec/memory/blocks.c", "spec/memory/blocks.h" }

-- -fno-builtin: the compiler must not see through malloc, nor make one of two others.
local BUILD = "mkdir -p build/spec && gcc -std=c99 -D_DEFAULT_SOURCE -O2 -g -fno-builtin -rdynamic"
  .. " $(pkg-config --cflags %s) %s -o %s spec/memory/host.c spec/memory/blocks.c"
  .. " $(pkg-config --libs %s) && mv -f %s %s"

local function is_fresh(host)
  local conditions = { "[ -x " .. host .. " ]" }
  for _, source in ipairs(SOURCES) do
    conditions[#conditions + 1] = ("[ %s -nt %s ]"):format(host, source)
  end
  return shell.run(table.concat(conditions, " && "))
end

-- Builds the host for a Lua ("lua5.4" or "luajit"), unless it is there. It appears whole or not at
-- all: somebody else may run it.
---@param flags string? for the compiler
local function build(lua, flags)
  local host = HOST:format(lua)
  if flags or not is_fresh(host) then
    local part = ("%s.%.0f"):format(host, core.random_u32())
    local text, ok = shell.output(BUILD:format(lua, flags or "", part, lua, part, host))
    assert(ok, text)
  end
  return host
end

-- The names of all scenarios, in order, and the kinds of allocations they make.
---@return { name: string, kinds: string[] }[]
function driver.scenarios()
  package.preload["memory.faults"] = function()
    return {}
  end
  local list = {}
  for i, scenario in ipairs(require "memory.scenarios") do
    list[i] = { name = scenario.name, kinds = {} }
    for kind in scenario.kinds:gmatch("%a+") do
      table.insert(list[i].kinds, kind)
    end
  end
  return list
end

-- What the scenarios need around them.
function driver.start()
  local server = sandbox.start { limit = 0, max_seconds = SECONDS_MAX }
  local folder = assert(shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-memory-XXXXXX"'))
  local ring = ("memory-%d-%.0f"):format(core.getpid(), core.random_u32())
  driver.server, driver.folder = server, folder
  driver.env = {
    SPEC_BUILD = os.getenv("IMATTR_BUILD") or false, -- never a sanitizer's
    IMATTR_ENDPOINT = server.endpoint, IMATTR_CA_FILE = server.ca_file, IMATTR_KEY = server.key,
    IMATTR_SDKAPPID = server.sdkappid, MEMORY_FOLDER = folder, MEMORY_RING = ring,
    MEMORY_RING_PATH = ("/dev/shm/imattr-%s-%s"):format(shell.output("id -u"), ring),
    LUA_PATH = false, LUA_CPATH = false, LUA_INIT = false,
  }
end

-- Takes it all away; also what a crash left.
function driver.stop()
  if driver.server then
    driver.server:stop()
    os.remove(driver.env.MEMORY_RING_PATH)
    shell.remove_folder(driver.folder)
    driver.server = nil
  end
end

-- Runs a host.
---@param lua string lua5.4 or luajit
---@param words string[] its arguments
---@param around string[]? a command that runs it
---@return { code: integer, stdout: string, stderr: string }
function driver.run(lua, words, around)
  local argv = {}
  for _, word in ipairs(around or {}) do argv[#argv + 1] = word end
  argv[#argv + 1] = build(lua)
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  return process.run(argv, { env = driver.env, timeout_s = SECONDS_MAX })
end

-- The sum of the faults that a host's lines tell of.
---@param stdout string
---@return integer
function driver.faults(stdout)
  local sum = 0
  for count in stdout:gmatch("(%d+) of +%d+:") do
    sum = sum + tonumber(count)
  end
  return sum
end

return driver
