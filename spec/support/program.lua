-- program: Lua programs of a spec as processes of their own, and child processes by fork.
--
--   program.start(code, options) -> job    as process.start; the plain build of the library is
--                                          there, `require "fork"` too, and `folder` is a global
--   program.run(code, options) -> { code, stdout, stderr }
--   program.in_child(act) -> text, code    forks here; what `act` returned, as text, or what it
--                                          raised, and the child's exit code
--   program.folder() -> path               a private folder, removed by program.clean()
--
-- options: as of process, and signals = words for env(1): "--default-signal=PIPE".

local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local program = {}

program.INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4"

local VM = rawget(_G, "jit") and "jit" or "5.4"
local TREE = shell.output("pwd")

local COMPILE = [[
out=build/spec/%s/fork.so
mkdir -p build/spec/%s
[ -e $out ] && [ ! spec/support/fork.c -nt $out ] || {
  gcc -std=c99 -D_POSIX_C_SOURCE=200809L -O1 -g -Wall -Wextra -shared -fPIC -o $out.$$ \
    $(pkg-config --cflags %s) spec/support/fork.c && mv $out.$$ $out; }]]

-- Builds the module that forks, unless it is there.
local function build()
  local text, ok = shell.output(COMPILE:format(VM, VM, VM == "jit" and "luajit" or "lua5.4"))
  assert(ok, text)
end

local HEAD = [[
package.path = "$tree/lua/?.lua;$tree/spec/?.lua;" .. package.path
package.cpath = "$tree/build/$vm/?.so;$tree/build/spec/$vm/?.so;" .. package.cpath
folder = "$folder"
]]

local folders = {}

function program.folder()
  local path, ok = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-program-XXXXXX"')
  assert(ok, path)
  folders[#folders + 1] = path
  return path
end

--- Removes all folders.
function program.clean()
  for _, path in ipairs(folders) do shell.remove_folder(path) end
  folders = {}
end

-- The command line of a program, in a folder of its own; fills in where that is.
local function argv_of(code, options)
  build()
  options.cwd = options.cwd or program.folder()
  local words = { tree = TREE, vm = VM, folder = options.cwd }
  local file = assert(io.open(options.cwd .. "/program.lua", "wb"))
  file:write((HEAD:gsub("%$(%l+)", words)), code)
  file:close()
  local argv = { "env" }
  for word in (options.signals or ""):gmatch("%S+") do argv[#argv + 1] = word end
  argv[#argv + 1] = program.INTERPRETER
  argv[#argv + 1] = options.cwd .. "/program.lua"
  return argv
end

function program.start(code, options)
  options = options or {}
  return process.start(argv_of(code, options), options)
end

function program.run(code, options)
  options = options or {}
  return process.run(argv_of(code, options), options)
end

--- This process's fork module.
function program.fork_module()
  build()
  package.cpath = ("%s/build/spec/%s/?.so;"):format(TREE, VM) .. package.cpath
  local fork = require "fork"
  package.cpath = package.cpath:gsub("^[^;]*;", "")
  return fork
end

--- Runs a function in a child process of this one, which ends without closing anything.
---@param act fun(): string?
---@return string text
---@return integer code 0; 1 when it raised
function program.in_child(act)
  local fork = program.fork_module()
  local path = program.folder() .. "/said"
  local pid = fork.fork()
  if pid == 0 then
    local ok, text = xpcall(act, debug.traceback)
    local file = io.open(path, "wb")
    file:write(tostring(text))
    file:close()
    fork.leave(ok and 0 or 1)
  end
  local code = fork.wait(pid)
  return shell.read(path) or "", code
end

return program
