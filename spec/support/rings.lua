-- rings: shared slot rings of the specs: names nobody else has, and their files, removed in the
-- end.

local core = require "imattr.core"
local shell = require "imattr.sandbox.shell"

local rings = {}

rings.uid = shell.output("id -u")

-- Child processes run the plain build, also when this one is watched by a sanitizer.
rings.interpreter = jit and "luajit" or "lua5.4"
rings.environment = { LUA_CPATH = ("./build/%s/?.so"):format(jit and "jit" or "5.4") }

local made = {}

--- A name for a ring; its file goes with remove_all.
---@return string
function rings.name()
  local name = ("spec-%d-%.0f-%d"):format(core.getpid(), core.random_u32(), #made)
  made[#made + 1] = name
  return name
end

---@param name string
function rings.forget_later(name)
  made[#made + 1] = name
end

---@param name string
---@return string
function rings.path(name)
  return ("/dev/shm/imattr-%s-%s"):format(rings.uid, name)
end

function rings.remove_all()
  for i = #made, 1, -1 do
    os.remove(rings.path(made[i]))
    made[i] = nil
  end
end

---@param name string
---@return string bytes
function rings.read(name)
  return assert(shell.read(rings.path(name)))
end

--- Writes into the file as it stands: processes that have it open see it.
---@param name string
---@param bytes string
function rings.write(name, bytes)
  local pipe = assert(io.popen("cat >" .. shell.quote(rings.path(name)), "w"))
  pipe:write(bytes)
  pipe:close()
end

-- A 64-bit integer, the low byte first (which the machine must do too).
local function word(number)
  local bytes = {}
  for i = 1, 8 do
    bytes[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

--- Fills the words of all slots with a moment; the spread of sends is left at 0.
---@param name string
---@param moment_us number
function rings.fill(name, moment_us)
  rings.write(name, word(0) .. word(moment_us):rep(1000))
end

--- Runs a command, with words put in for %s.
---@param command string
function rings.shell(command, ...)
  local text, ok = shell.output(command:format(...))
  assert(ok, text)
end

--- A process that takes slots as fast as it can for two seconds, holds each for up to 5 ms, and
--- prints when its requests arrived. Wants the ring's name and the rate.
rings.COMPETITOR = [[
  local core = require "imattr.core"
  local name, rate = %q, %d
  local pace = core.pace(rate, "strict", name)
  math.randomseed(core.random_u32() %% 2147483647)
  local lines, end_us = {}, core.now_us() + 2000000
  while core.now_us() < end_us do
    local slot, until_us = pace:take(core.now_us(), 1000000)
    if slot then
      core.sleep_us(math.random(0, 2500))
      lines[#lines + 1] = ("%%.0f"):format(core.now_us())
      core.sleep_us(math.random(0, 2500))
      pace:give(slot, core.now_us())
    else
      core.sleep_us(math.max(0, math.min(until_us - core.now_us(), 10000)))
    end
  end
  print(table.concat(lines, "\n"))
]]

return rings
