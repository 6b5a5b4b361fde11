-- process: commands run by the specs, the same on Lua 5.4 and LuaJIT.
--
--   process.run(argv, options) -> { code, stdout, stderr }    waits for the end
--   process.start(argv, options) -> job                       does not
--
-- options: stdin = text; env = { NAME = "value" or false to unset }; cwd; timeout_s (60).
-- The command is a list of words, nothing in them is for the shell. After its time it is killed
-- (code 124 or 137). LuaJIT's os.execute and popen do not tell exit codes as Lua 5.4 does, so the
-- shell writes them down.

local shell = require "imattr.sandbox.shell"

local process = {}

local TIMEOUT_S = 60
local KILL_AFTER_S = 5

local function words(argv)
  local quoted = {}
  for i, word in ipairs(argv) do quoted[i] = shell.quote(tostring(word)) end
  return table.concat(quoted, " ")
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- The script that becomes the command. Its environment, keys too, is in no process list.
local function script_of(argv, options, first)
  local lines = { first }
  for name, value in pairs(options.env or {}) do
    lines[#lines + 1] = value == false and "unset " .. name
      or ("export %s=%s"):format(name, shell.quote(tostring(value)))
  end
  lines[#lines + 1] = "cd " .. shell.quote(options.cwd or shell.output("pwd"))
  lines[#lines + 1] = "exec " .. words(argv)
  return table.concat(lines, "\n") .. "\n"
end

-- A private folder for a command and for what goes in and comes out.
local function new_folder(argv, options, first)
  local folder, ok = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-process-XXXXXX"')
  assert(ok, folder)
  write(folder .. "/stdin", options.stdin or "")
  write(folder .. "/command", script_of(argv, options, first))
  return folder
end

local function outcome(folder)
  return {
    code = tonumber((shell.read(folder .. "/code"))),
    stdout = shell.read(folder .. "/stdout"),
    stderr = shell.read(folder .. "/stderr"),
  }
end

---@param argv string[]
---@param options { stdin: string?, env: table?, cwd: string?, timeout_s: number? }?
---@return { code: integer, stdout: string, stderr: string }
function process.run(argv, options)
  options = options or {}
  local folder = new_folder(argv, options, "")
  shell.run(("cd %s && { timeout -k %d %g sh ./command <stdin >stdout 2>stderr; echo $? >code; }")
    :format(shell.quote(folder), KILL_AFTER_S, options.timeout_s or TIMEOUT_S))
  local result = outcome(folder)
  shell.remove_folder(folder)
  return result
end

-- Is there a process with this id, other than a dead one that nobody has taken notice of?
---@param pid integer
---@return boolean
function process.exists(pid)
  local status = shell.read(("/proc/%d/stat"):format(pid))
  return status ~= nil and not status:find("%) [ZX] ")
end

-- Waits for a condition, asking every 20 ms; false when it takes too long.
---@param is_met fun(): any
---@param seconds_max number? default 10
---@return any met
function process.wait_until(is_met, seconds_max)
  for _ = 1, (seconds_max or 10) * 50 do
    local met = is_met()
    if met then return met end
    shell.run("sleep 0.02")
  end
  return false
end

local Job = {}
Job.__index = Job

-- In a job's folder: the command writes down its id and its wrapper the exit code; a watchdog in a
-- session of its own kills the whole group when its time is up. What sh runs in the background
-- ignores SIGINT: the wrapper undoes that.
local TELL_PID = "echo $$ >pid.part; mv pid.part pid"
local WRAPPER = [[
trap : TERM HUP
env --default-signal=INT,QUIT sh ./command <stdin >stdout 2>stderr
echo $? >code.part
mv code.part code
]]
local WATCHDOG = [[
i=0
while [ -d "$1" ] && [ ! -e "$1/code" ] && [ $i -lt %d ]; do i=$((i + 1)); sleep 0.1; done
[ ! -d "$1" ] || [ -e "$1/code" ] || kill -s KILL -- -$2
]]

-- Runs a script of the folder in the background, in a session of its own; its id.
local function background(folder, script, words_after)
  local text, ok = shell.output(
    ("cd %s && { setsid sh ./%s %s </dev/null >/dev/null 2>&1 & echo $!; }"):format(
      shell.quote(folder), script, words_after or ""))
  return assert(ok and tonumber(text), text)
end

-- Starts a command in a process group of its own, where signals have their usual effect.
---@param argv string[]
---@param options table? as for run; after timeout_s the whole group is killed
---@return table job pid; kill(signal), wait(seconds_max), read(name), close()
function process.start(argv, options)
  options = options or {}
  local folder = new_folder(argv, options, TELL_PID)
  write(folder .. "/wrapper", WRAPPER)
  write(folder .. "/watchdog", WATCHDOG:format((options.timeout_s or TIMEOUT_S) * 10))
  local group = background(folder, "wrapper")
  background(folder, "watchdog", shell.quote(folder) .. " " .. group)
  local pid = process.wait_until(function()
    return tonumber((shell.read(folder .. "/pid")))
  end)
  assert(pid, "the command does not start")
  return setmetatable({ pid = pid, group = group, folder = folder }, Job)
end

-- Sends a signal ("INT", "TERM", "KILL") to the command.
function Job:kill(signal)
  shell.run(("kill -%s %d 2>/dev/null"):format(signal, self.pid))
end

-- What it printed so far: read "stdout" or "stderr".
function Job:read(name)
  return shell.read(self.folder .. "/" .. name) or ""
end

-- Waits for the end: { code, stdout, stderr }, or nil when it takes longer.
function Job:wait(seconds_max)
  local ended = process.wait_until(function()
    return shell.read(self.folder .. "/code")
  end, seconds_max)
  return ended and outcome(self.folder) or nil
end

-- Ends what still runs, and forgets what it printed. Once or often.
function Job:close()
  if not self.folder then return end
  if not shell.read(self.folder .. "/code") then
    shell.run(("kill -s KILL -- -%d 2>/dev/null"):format(self.group))
    process.wait_until(function() return not process.exists(self.pid) end)
  end
  shell.remove_folder(self.folder)
  self.folder = nil
end

return process
