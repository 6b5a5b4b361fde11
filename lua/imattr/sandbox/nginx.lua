-- nginx: the sandbox as a server with TLS on loopback.
--
--   nginx.run(settings)     serves in the foreground until it is told to end
--   nginx.start(settings)   serves in the background; server:stop() ends it
--
-- Everything of a server lies in one private folder, made for it and removed
-- with it: certificate, configuration, plan (with the key), logs. nginx runs
-- as a single process that does its own watching, so there is no way to end
-- that leaves something behind: it stops when told, when its time is up, and
-- when the process it is for is gone, and takes the folder away itself.

local cjson = require("cjson").new()
local rules = require "imattr.sandbox.rules"
local shell = require "imattr.sandbox.shell"

local nginx = {}

local ATTEMPTS_MAX = 5 -- to find a free port
local PORT_MIN, PORT_MAX = 20000, 32000 -- below the ports that clients are given
local START_SECONDS_MAX = 15
local STOP_SECONDS_MAX = 5
local SECONDS_MAX_IN_BACKGROUND = 600
local CERTIFICATE_DAYS = 30

local ADDRESS = "127.0.0.1"

-- Debian keeps nginx where only root looks.
local PATH = 'PATH="$PATH:/usr/sbin:/usr/local/sbin:/usr/local/openresty/nginx/sbin"; '

local MODULES = { "ndk_http_module.so", "ngx_http_lua_module.so" }

local CERTIFICATE_CONF = [[
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = imattr sandbox
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
]]

-- Relative names are in the server's folder. $words are filled in.
local NGINX_CONF = [[
$modules
daemon off;
master_process off;
pid nginx.pid;
error_log error.log error; # a warning would name the URL, and so the UserSig
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_body_buffer_size 1m;
  client_max_body_size 16m;
  large_client_header_buffers 8 16k;
  keepalive_requests 1000000;
  keepalive_timeout 75s;
  http2_max_concurrent_streams 256;
  lua_package_path "$path";
  lua_package_cpath "$cpath";
  lua_code_cache on;
  init_by_lua_block { require("imattr.sandbox.handler").open() }
  init_worker_by_lua_block { require("imattr.sandbox.handler").watch() }
  exit_worker_by_lua_block { require("imattr.sandbox.handler").close() }
  server {
    listen $address:$port ssl$http2 backlog=1024;
    ssl_certificate certificate.pem;
    ssl_certificate_key certificate.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / { content_by_lua_block { require("imattr.sandbox.handler").serve() } }
  }
}
]]

---@class imattr.sandbox.server_settings: imattr.sandbox.settings
---@field key string? of the app; random when not given
---@field port integer? 0 or nil finds a free one
---@field http2 boolean? false leaves HTTP/1.1 only
---@field max_seconds number? ends by itself after so long (in the background always: 600)
---@field env_file string? file for the exports, there as long as the server is

local OWN = { key = true, port = true, http2 = true, max_seconds = true, env_file = true }

-- ---- what is where

-- The folder that holds imattr.lua, absolute.
local function lua_folder()
  local here = debug.getinfo(1, "S").source:match("^@(.*)imattr/sandbox/nginx%.lua$")
  here = here == "" and "." or here
  return here and shell.output("cd " .. shell.quote(here) .. " && pwd -P")
end

-- Where nginx's LuaJIT looks for modules: here first, then where we look
-- ourselves (if we are its like), then where it always does.
local function search_paths()
  local folder = lua_folder()
  local path, cpath = folder .. "/?.lua;" .. folder .. "/?/init.lua;", ""
  for _, place in ipairs { "/../build/jit", "/../../../lib/lua/5.1" } do -- source tree, prefix
    if shell.read(folder .. place .. "/imattr/core.so") then
      cpath = cpath .. folder .. place .. "/?.so;"
    end
  end
  if rawget(_G, "jit") then
    path, cpath = path .. package.path .. ";", cpath .. package.cpath .. ";"
  end
  return path .. ";", cpath .. ";"
end

-- The lines that load nginx's Lua module: none when it is built in.
---@return string? lines
---@return string? message
local function load_lines()
  local about, ok = shell.output(PATH .. "nginx -V")
  if not ok then
    return nil, "nginx: not found; the sandbox runs on it"
  elseif about:find("ngx_lua", 1, true) then
    return ""
  end
  local own = about:match("%-%-modules%-path=(%S+)") or "modules"
  for _, folder in ipairs { own, "/usr/lib/nginx/modules", "/usr/lib64/nginx/modules" } do
    if shell.read(folder .. "/" .. MODULES[2]) then
      local lines = {}
      for i, module in ipairs(MODULES) do
        lines[i] = ("load_module %s/%s;"):format(folder, module)
      end
      return table.concat(lines, "\n")
    end
  end
  return nil, "nginx: its Lua module is not there (in Debian: libnginx-mod-http-lua)"
end

-- Ports that somebody listens on, as far as the system tells.
local function taken_ports()
  local taken = {}
  for _, path in ipairs { "/proc/net/tcp", "/proc/net/tcp6" } do
    for port in (shell.read(path) or ""):gmatch("\n%s*%d+: %x+:(%x+) ") do
      taken[tonumber(port, 16)] = true
    end
  end
  return taken
end

local function random_port()
  local taken = taken_ports()
  local port
  repeat
    local high, low = shell.random_bytes(2):byte(1, 2)
    port = PORT_MIN + (high * 256 + low) % (PORT_MAX - PORT_MIN)
  until not taken[port]
  return port
end

local function random_key()
  return (shell.random_bytes(32):gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

-- ---- a server's folder

-- The app's settings, without what concerns the server only.
local function app_settings(settings)
  local app = {}
  for name, value in pairs(settings) do
    if not OWN[name] then
      app[name] = value
    end
  end
  return app
end

local function exports_of(server)
  local lines = {
    ("export IMATTR_SDKAPPID=%d"):format(server.sdkappid),
    "export IMATTR_IDENTIFIER=" .. shell.quote(server.identifier),
    "export IMATTR_KEY=" .. shell.quote(server.key),
    "export IMATTR_ENDPOINT=" .. server.endpoint,
    "export IMATTR_CA_FILE=" .. shell.quote(server.ca_file),
  }
  return table.concat(lines, "\n") .. "\n"
end

local function conf_of(server, modules, http2)
  local path, cpath = search_paths()
  return (NGINX_CONF:gsub("%$(%w+)", {
    modules = modules,
    path = path,
    cpath = cpath,
    address = ADDRESS,
    port = tostring(server.port),
    http2 = http2 and " http2" or "",
  }))
end

-- A certificate that is its own CA, for loopback's names only.
local function make_certificate(folder)
  local text, ok = shell.output(("umask 077; cd %s && openssl req -x509 -days %d -nodes"
    .. " -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -config certificate.conf"
    .. " -keyout certificate.key -out certificate.pem"):format(
      shell.quote(folder), CERTIFICATE_DAYS))
  if not ok then
    return nil, "openssl: no certificate: " .. text
  end
  return true
end

-- What nginx must know beyond its configuration; handler.lua reads it.
local function plan_of(server, settings, manner)
  return {
    settings = app_settings(settings),
    key = server.key,
    port = server.port,
    parent_pid = shell.pid(),
    is_child = manner.is_child,
    is_talkative = manner.is_talkative,
    max_seconds = settings.max_seconds,
    env_file = settings.env_file,
    exports = server.exports,
    words = ("sandbox is listening on %s, stop it with Ctrl-C\n"):format(server.endpoint),
  }
end

local function fill_folder(server, settings, modules, manner)
  local files = {
    ["certificate.conf"] = CERTIFICATE_CONF,
    ["nginx.conf"] = conf_of(server, modules, settings.http2 ~= false),
    ["plan.json"] = cjson.encode(plan_of(server, settings, manner)),
  }
  for name, text in pairs(files) do
    local ok, message = shell.write_private(server.folder .. "/" .. name, text)
    if not ok then
      return nil, message
    end
  end
  if settings.env_file then -- nginx gives it its name when it listens
    local ok, message = shell.write_private(settings.env_file .. ".part", server.exports)
    if not ok then
      return nil, message
    end
    server.env_file = settings.env_file
  end
  return make_certificate(server.folder)
end

-- Takes away what a server has on disk. No matter what nginx took away already.
local function clear(server)
  if server.env_file and not os.remove(server.env_file .. ".part") then
    os.remove(server.env_file)
  end
  shell.remove_folder(server.folder)
end

---@class imattr.sandbox.server
---@field endpoint string
---@field ca_file string
---@field key string
---@field sdkappid integer
---@field identifier string
---@field port integer
---@field folder string
---@field exports string lines for a shell
---@field env_file string? where they are while it runs
---@field pid integer? of nginx, when in the background
local Server = {}
Server.__index = Server

-- A server ready to be started.
local function prepare(settings, manner)
  local modules, message = load_lines()
  if not modules then
    return nil, message
  end
  local folder, ok = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-sandbox-XXXXXX"')
  if not ok then
    return nil, "no temporary folder: " .. folder
  end
  local has_port = settings.port and settings.port ~= 0
  local server = setmetatable({
    folder = folder,
    key = settings.key or random_key(),
    sdkappid = settings.sdkappid or rules.DEFAULTS.sdkappid,
    identifier = (settings.admins or rules.DEFAULTS.admins)[1],
    port = has_port and settings.port or random_port(),
    ca_file = folder .. "/certificate.pem",
  }, Server)
  server.endpoint = ("https://%s:%d"):format(ADDRESS, server.port)
  server.exports = exports_of(server)
  ok, message = fill_folder(server, settings, modules, manner)
  if not ok then
    clear(server)
    return nil, message
  end
  return server
end

-- The command line that becomes nginx. Its descriptor 3 is our stderr, where
-- words go; its own stderr is a log. Nothing of our own Lua's set-up reaches it.
local function command_of(server)
  local folder = shell.quote(server.folder)
  return PATH .. "umask 077; unset LUA_INIT LUA_PATH LUA_CPATH; exec nginx -p " .. folder
    .. "/ -c " .. folder .. "/nginx.conf 3>&2 2>>" .. folder .. "/start.log </dev/null"
end

-- Why nginx did not start, in its own words.
local function complaint_of(server)
  local log = (shell.read(server.folder .. "/start.log") or "")
    .. (shell.read(server.folder .. "/error.log") or "")
  return log:match("%[emerg%] [%d#]*:? ?([^\n]*)")
    or log:match("%[error%] [%d#]*:? ?([^\n]*)")
    or log:match("[^\n]+")
    or "no reason given"
end

-- Tries ports until one is free, when the choice is ours. `serve(server)`
-- returns a result, or nil when nginx did not start. Wrong settings raise.
local function with_free_port(settings, manner, serve)
  local is_right, mistake = rules.check(app_settings(settings))
  if not is_right then
    error(mistake, 3)
  end
  local has_port = settings.port and settings.port ~= 0
  for attempt = 1, ATTEMPTS_MAX do
    local server, message = prepare(settings, manner)
    if not server then
      return nil, message
    end
    local result = serve(server)
    if result then
      return result
    end
    local complaint = complaint_of(server)
    local is_taken = complaint:find("Address already in use", 1, true)
    clear(server)
    if has_port or not is_taken or attempt == ATTEMPTS_MAX then
      return nil, "nginx: " .. complaint
    end
  end
end

-- ---- the two ways to run it

-- Serves in the foreground, until Ctrl-C, a signal, the end of this process or
-- of `max_seconds`. When it listens, what to export is printed on stdout and a
-- sentence on stderr.
---@param settings imattr.sandbox.server_settings
---@return boolean? ok
---@return string? message why it could not start
function nginx.run(settings)
  local manner = { is_child = true, is_talkative = true }
  return with_free_port(settings, manner, function(server)
    local ended_well = shell.run(command_of(server))
    local was_up = shell.read(server.folder .. "/ready") -- killed: it could not tidy up
    if ended_well or was_up then
      clear(server)
      return true
    end
  end)
end

-- Waits until a condition of sh holds; false when it takes too long.
local function wait_until(condition, seconds_max)
  return shell.run(("i=0; until %s; do i=$((i + 1)); [ $i -lt %d ] || exit 1; sleep 0.02; done")
    :format(condition, seconds_max * 50))
end

-- True in sh while the server's process is there. One that has ended stays
-- visible until somebody takes notice; /proc tells, where there is one.
local function is_there(server)
  return ("{ kill -0 %d && ! grep -q ') [ZX] ' /proc/%d/stat; } 2>/dev/null"):format(
    server.pid, server.pid)
end

-- Starts a server in the background and waits until it listens. It ends with
-- `server:stop()`, with this process, or after `max_seconds`.
---@param settings imattr.sandbox.server_settings
---@return imattr.sandbox.server? server
---@return string? message why it could not start
function nginx.start(settings)
  local timed = { max_seconds = SECONDS_MAX_IN_BACKGROUND }
  for name, value in pairs(settings) do
    timed[name] = value
  end
  return with_free_port(timed, { is_child = false, is_talkative = false }, function(server)
    local command = ("( %s ) >/dev/null 2>&1 & echo $!"):format(command_of(server))
    server.pid = assert(tonumber((shell.output(command))))
    local ready = "[ -e " .. shell.quote(server.folder .. "/ready") .. " ]"
    wait_until(("%s || ! %s"):format(ready, is_there(server)), START_SECONDS_MAX)
    if shell.read(server.folder .. "/ready") then
      return server
    end
    shell.run(("kill -KILL %d 2>/dev/null"):format(server.pid))
  end)
end

-- Ends the server and removes its folder. Once or often.
function Server:stop()
  if not self.pid then
    return
  end
  shell.run(("kill -TERM %d 2>/dev/null"):format(self.pid))
  if not wait_until("! " .. is_there(self), STOP_SECONDS_MAX) then
    shell.run(("kill -KILL %d 2>/dev/null"):format(self.pid))
  end
  clear(self)
  self.pid = nil
end

return nginx
