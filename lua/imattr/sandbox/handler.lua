-- handler: the rules, served by nginx.
--
-- nginx calls four functions: `open` when it starts, `watch` once it listens,
-- `serve` for every request, `close` when it ends. One process, one state:
-- what is kept here is the whole app.
--
-- Besides the vendor's paths there are three of the sandbox itself, for tests:
--   GET  /sandbox/stats      what arrived
--   POST /sandbox/reset      forget what arrived (users, names and frequency stay)
--   POST /sandbox/settings   change limit, latency_ms, latency_jitter_ms, region_ok,
--                            admins, attr_names, store

local ffi = require "ffi"
local cjson = require("cjson.safe").new()
local core = require "imattr.core"
local rules = require "imattr.sandbox.rules"
local shell = require "imattr.sandbox.shell"
local signature = require "imattr.sandbox.signature"

ffi.cdef [[
int kill(int pid, int sig);
int getpid(void);
int getppid(void);
long write(int fd, const char *text, size_t length);
]]

local handler = {}

local SIGTERM = 15
local WATCH_S = 0.2
local STDOUT, WORDS = 1, 3

local CHANGEABLE = {
  limit = true,
  latency_ms = true,
  latency_jitter_ms = true,
  region_ok = true,
  admins = true,
  attr_names = true,
  store = true,
}

local state -- of the rules
local plan -- what the shell wrote for us, see nginx.lua

-- Reads the plan and builds the app. nginx does not start when this raises.
function handler.open()
  local folder = ngx.config.prefix()
  plan = assert(cjson.decode(assert(shell.read(folder .. "plan.json"))))
  local settings = plan.settings
  settings.open_usersig, settings.verify = signature.functions(core, plan.key)
  state = rules.new(settings)
end

local function stop()
  ffi.C.kill(ffi.C.getpid(), SIGTERM)
end

-- A child of the process it is for sees its death at once, as a change of
-- parents; anybody else can only ask whether the process is there.
local function is_wanted()
  if plan.is_child then
    return ffi.C.getppid() == plan.parent_pid
  end
  return ffi.C.kill(plan.parent_pid, 0) == 0
end

local function write(fd, text)
  ffi.C.write(fd, text, #text)
end

-- Says that it is there: a file for who polls, text for who reads along.
local function announce()
  if plan.env_file then
    assert(os.rename(plan.env_file .. ".part", plan.env_file))
  end
  if plan.is_talkative then
    write(STDOUT, plan.exports)
    write(WORDS, plan.words)
  end
  assert(shell.write_private(ngx.config.prefix() .. "ready", ""))
end

-- Announces the server, and sees to it that it ends with its parent or its time.
function handler.watch()
  assert(ngx.timer.at(0, announce))
  assert(ngx.timer.every(WATCH_S, function()
    if not is_wanted() then
      stop()
    end
  end))
  if plan.max_seconds then
    assert(ngx.timer.at(plan.max_seconds, stop))
  end
end

-- Takes the folder away (whoever started nginx does it again), and the slot rings that clients
-- shared for this server's port, which nobody needs any more.
function handler.close()
  if plan.env_file then
    os.remove(plan.env_file)
  end
  shell.run(("rm -f /dev/shm/imattr-*-127.0.0.1_%d"):format(plan.port))
  shell.remove_folder(ngx.config.prefix())
end

local function send(status, text)
  ngx.status = status
  ngx.header.content_type = "application/json"
  ngx.header.content_length = #text
  ngx.print(text)
end

-- The body, also when nginx found it too long for its memory.
local function read_body()
  ngx.req.read_body()
  local path = ngx.req.get_body_file()
  return path and shell.read(path) or ngx.req.get_body_data()
end

local function send_stats()
  send(200, cjson.encode(rules.stats(state)))
end

local function reset()
  rules.reset(state)
  send(200, "{}")
end

local function change_settings()
  local changes, message = cjson.decode(read_body() or "")
  local ok = type(changes) == "table"
  for name in pairs(ok and changes or {}) do
    if not CHANGEABLE[name] then
      ok, message = false, "cannot be changed: " .. tostring(name)
    end
  end
  if ok then
    ok, message = rules.change(state, changes)
  end
  send(ok and 200 or 400, cjson.encode({ error = not ok and (message or "no object") or nil }))
end

local function answer()
  local now_us = core.now_us() -- the clock of the client's slots, as soon as it is here
  local request = {
    method = ngx.req.get_method(),
    path = ngx.var.uri,
    args = ngx.req.get_uri_args(),
    body = read_body(),
  }
  local reply = rules.answer(state, request, now_us, os.time())
  local delay_ms = reply.delay_ms + math.random() * state.settings.latency_jitter_ms
  if delay_ms > 0 then
    ngx.sleep(delay_ms / 1000)
  end
  send(reply.status, reply.body)
end

local ROUTES = {
  ["GET /sandbox/stats"] = send_stats,
  ["POST /sandbox/reset"] = reset,
  ["POST /sandbox/settings"] = change_settings,
}

-- Serves one request.
function handler.serve()
  local route = ROUTES[ngx.req.get_method() .. " " .. ngx.var.uri]
  return (route or answer)()
end

return handler
