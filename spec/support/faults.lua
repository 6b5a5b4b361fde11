-- faults: the fault proxy of spec/faults for specs: a server between a client and a sandbox that
-- does one thing wrong, as told, and writes down what it saw.
--
--   local proxy = faults.start { upstream = port, certificate = "chain and key.pem" }
--   proxy:plan { { read = "body", ends = "reset" }, ... }     one step each, then all goes well
--   proxy:plan { ..., forever = true }                        the last step stays
--   proxy:release()  lets the answer of a step with `hold = 1` go
--   proxy:seen()     since `plan`, when all connections are closed: see below
--   proxy:answer("name", text)    a file for a step's `answer`: the bytes sent in place of the
--                                 sandbox's answer
--   proxy.endpoint   proxy.port   proxy.names_port   proxy.has_ipv6   proxy:stop()
--
-- Keys of a step are in spec/faults/plan.h; of a plan also: listen4 (default "open") and listen6
-- ("refuse"), certificate, protocol, base (a step), seed (FAULT_SEED in the environment, or 1).
-- What names are is in names.h. It ends with proxy:stop(), with the process, or after some minutes.
-- Its program is built when it is missing or older than its source.

local core = require "imattr.core"
local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local faults = {}

local SECONDS_MAX = 900
local WAIT_US_MAX = 20000000
local LOOK_US = 500

--- How it waits, for so many microseconds.
faults.pause = core.sleep_us

faults.SEED = tonumber(os.getenv("FAULT_SEED")) or 1

local COMPILE = "gcc -std=c99 -O1 -g -Wall -Wextra -pthread -o $out.$$ $sources "
  .. "$(pkg-config --cflags --libs openssl) && mv $out.$$ $out"
local SHIM = "gcc -std=c99 -O1 -g -Wall -Wextra -shared -fPIC -o $out.$$ $sources -ldl "
  .. "&& mv $out.$$ $out"

-- Builds a program from sources of spec/faults, unless it is newer than all of them.
local function build(name, sources, command)
  local text, ok = shell.output(([[
    out=build/spec/%s sources='%s'
    mkdir -p build/spec
    [ -e $out ] && [ -z "$(find spec/faults -name '*.[ch]' -newer $out)" ] || { %s; }]]):format(
    name, sources, command))
  assert(ok, text)
  return shell.output("pwd") .. "/build/spec/" .. name
end

--- A library that stands between a program and its resolver (LD_PRELOAD); see resolver.c.
function faults.resolver()
  return build("fault-resolver.so", "spec/faults/resolver.c", SHIM)
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Asks until there is an answer; raises when there is none for long.
local function wait_for(what, find)
  local end_us = core.now_us() + WAIT_US_MAX
  repeat
    local found = find()
    if found then return found end
    faults.pause(LOOK_US)
  until core.now_us() > end_us
  error("the fault proxy: " .. (type(what) == "function" and what() or what))
end

local Proxy = {}
Proxy.__index = Proxy

local function line_of(kind, step)
  local words = {}
  for key, value in pairs(step) do words[#words + 1] = ("%s=%s"):format(key, tostring(value)) end
  return kind .. " " .. table.concat(words, " ")
end

--- Another process has given it so many plans.
function Proxy:follow(plan_id)
  self.plan_id = plan_id
  self.log = ("%s/log.%d"):format(self.folder, plan_id)
end

--- A proxy that another process has started: folder, plan_id and certificate are its own.
function faults.attach(fields)
  local self = setmetatable(fields, Proxy)
  self:follow(fields.plan_id)
  return self
end

--- What goes wrong from here on; what was seen before is forgotten. Holds when this returns.
function Proxy:plan(plan)
  self:follow(self.plan_id + 1)
  local lines = {
    "id " .. self.plan_id,
    "seed " .. (plan.seed or faults.SEED),
    "certificate " .. (plan.certificate or self.certificate),
    "protocol " .. (plan.protocol or 0),
    "listen4 " .. (plan.listen4 or "open"),
    "listen6 " .. (plan.listen6 or "refuse"),
    "forever " .. (plan.forever and 1 or 0),
    plan.base and line_of("base", plan.base),
  }
  for _, step in ipairs(plan) do lines[#lines + 1] = line_of("step", step) end
  os.remove(self.folder .. "/go")
  os.remove(self.folder .. "/end")
  write(self.folder .. "/plan.part", table.concat(lines, "\n") .. "\n")
  assert(os.rename(self.folder .. "/plan.part", self.folder .. "/plan"))
  wait_for(function() return "takes no plan: " .. self.job:read("stderr") end, function()
    return shell.read(self.log)
  end)
end

--- What it wrote down so far: events in order, each a table of its words.
function Proxy:events()
  local list = {}
  for line in (shell.read(self.log) or ""):gmatch("([^\n]*)\n") do
    local event = {}
    for key, value in line:gmatch("(%w+)=(%S+)") do event[key] = tonumber(value) or value end
    list[#list + 1] = event
  end
  return list
end

--- Waits for an event of a kind ("open", "request", "answer", "close"); for the nth of them.
function Proxy:await(kind, count)
  return wait_for("no " .. kind, function()
    local left = count or 1
    for _, event in ipairs(self:events()) do
      left = event.event == kind and left - 1 or left
      if left == 0 then return event end
    end
  end)
end

local function tally(events)
  local seen = { connections = 0, closed = 0, requests = 0, whole = 0, forwarded = 0,
    http_bytes = 0, codes = {}, families = {} }
  for _, event in ipairs(events) do
    assert(not event.trouble, "the fault proxy: the sandbox does not answer")
    if event.event == "open" then
      seen.connections = seen.connections + 1
      seen.families[#seen.families + 1] = event.family
    elseif event.event == "close" then
      seen.closed = seen.closed + 1
      seen.http_bytes = seen.http_bytes + event.bytes
    elseif event.event == "request" then
      seen.requests = seen.requests + 1
      seen.whole = seen.whole + event.whole
      seen.forwarded = seen.forwarded + event.forwarded
      seen.codes[#seen.codes + 1] = event.code
    end
  end
  return seen
end

--- What was seen, once every connection is closed: connections, families (4 or 6, of each),
--- http_bytes, requests (of which at least a byte came), whole (of which the last byte came),
--- forwarded (which the sandbox did), codes (the sandbox's ErrorCode, -1: not asked).
function Proxy:seen()
  write(self.folder .. "/end", "") -- who keeps a connection need not wait for its end
  return wait_for("a connection stays open", function()
    local seen = tally(self:events())
    return seen.closed == seen.connections and seen
  end)
end

--- Lets go what a step with `hold` holds back.
function Proxy:release()
  write(self.folder .. "/go", "")
end

function Proxy:answer(name, text)
  write(self.folder .. "/" .. name, text)
  return name
end

--- Stops it; once or often.
function Proxy:stop()
  if self.job then
    self.job:kill("TERM")
    self.job:wait(5)
    self.job:close()
    shell.remove_folder(self.folder)
    self.job = nil
  end
end

---@param settings { upstream: integer, certificate: string }
function faults.start(settings)
  local program = build("fault-proxy", "spec/faults/proxy.c spec/faults/plan.c spec/faults/door.c "
    .. "spec/faults/names.c", COMPILE)
  local folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-faults-XXXXXX"')
  local job = process.start({ program, folder, shell.pid(), settings.upstream, SECONDS_MAX },
    { timeout_s = SECONDS_MAX })
  local self = setmetatable({ folder = folder, job = job, plan_id = 0,
    certificate = settings.certificate }, Proxy)
  local port, has_ipv6, names_port = wait_for("does not start", function()
    return shell.read(folder .. "/port")
  end):match("(%d+) (%d) (%d+)")
  self.port, self.has_ipv6, self.names_port = tonumber(port), has_ipv6 == "1", tonumber(names_port)
  self.endpoint = "https://127.0.0.1:" .. port
  self:plan {}
  return self
end

return faults
