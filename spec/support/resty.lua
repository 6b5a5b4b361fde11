-- resty: an nginx of the specs' own, in which Lua code of theirs runs.
--
--   local server = resty.start { http = text, ca_file = path, workers = 2, env = { NAME = value } }
--   server:get("/path", body?) -> status, body       server:errors() -> error.log
--   server:kill(signal)   server:stop()
--
-- `http` goes into the http block and must hold a server that listens on `unix:$folder/socket`;
-- $folder is the server's private folder. It ends with stop(), with the process or after its time.

local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local resty = {}

local SECONDS_MAX = 120

local CONF = [[
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off;
worker_processes $workers;
pid nginx.pid;
error_log error.log info;
$user
$env
events { worker_connections $connections; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  lua_package_path "$tree/lua/?.lua;$tree/lua/?/init.lua;;";
  lua_package_cpath "$tree/build/jit/?.so;;";
  lua_socket_log_errors off;
  $ca
  $http
}
]]

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local Server = {}
Server.__index = Server

--- The status and the body of an answer; a body given makes it a POST.
function Server:get(path, body)
  local words = { "curl", "-q", "-s", "--max-time", "60", "--unix-socket", self.folder .. "/socket",
    "-w", "\n%{http_code}", "http://localhost" .. path }
  if body then
    words[#words + 1] = "--data-binary"
    words[#words + 1] = "@-"
  end
  local output = process.run(words, { stdin = body, timeout_s = 65 }).stdout
  local text, status = output:match("^(.*)\n(%d+)$")
  return tonumber(status), text
end

function Server:errors()
  return shell.read(self.folder .. "/error.log") or ""
end

function Server:kill(signal)
  self.job:kill(signal)
end

function Server:stop()
  if self.job then
    self.job:kill("TERM")
    self.job:wait(5)
    self.job:close()
    shell.remove_folder(self.folder)
    self.job = nil
  end
end

---@param settings { http: string, ca_file: string?, workers: integer?, connections: integer?,
---  env: table?, is_me: boolean?, max_seconds: integer? } is_me: workers run as who started them,
---  root too
function resty.start(settings)
  local folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-resty-XXXXXX"')
  local names, env = {}, { PATH = os.getenv("PATH") .. ":/usr/sbin" }
  for name, value in pairs(settings.env or {}) do
    names[#names + 1] = "env " .. name .. ";"
    env[name] = value
  end
  shell.run("chmod 755 " .. folder)
  if settings.ca_file then -- where there is an init_worker block, workers read it themselves
    write(folder .. "/ca.pem", assert(shell.read(settings.ca_file)))
    shell.run("chmod 644 " .. folder .. "/ca.pem")
  end
  write(folder .. "/nginx.conf", (CONF:gsub("%$(%w+)", {
    tree = shell.output("pwd"), workers = settings.workers or 1,
    connections = settings.connections or 1024, env = table.concat(names, "\n"),
    user = settings.is_me and ("user %s;"):format(shell.output("id -un")) or "",
    ca = settings.ca_file and "lua_ssl_trusted_certificate ca.pem;" or "",
    http = settings.http:gsub("%$folder", folder),
  })))
  local job = process.start({ "nginx", "-p", folder .. "/", "-c", folder .. "/nginx.conf" },
    { timeout_s = settings.max_seconds or SECONDS_MAX, env = env })
  local server = setmetatable({ folder = folder, job = job, pid = job.pid }, Server)
  local listens = process.wait_until(function()
    return shell.run("test -S " .. folder .. "/socket -a -s " .. folder .. "/nginx.pid")
      or not process.exists(job.pid)
  end, 10)
  if not listens or not process.exists(job.pid) then
    local words = job:read("stderr") .. server:errors()
    server:stop()
    error("nginx does not start: " .. words)
  end
  return server
end

return resty
