-- impostor: a server that is not the vendor. It says what a spec tells it to say, whatever it is
-- asked, and writes down what it was asked.
--
--   local server = impostor.start { certificate = folder }   TLS and HTTP/2; plain HTTP without
--   server:says { { status = 502 }, { body = "{}" } }        one reply each; the last one stays
--   server:requests()    since `says`: { method, uri, args, body, headers, version, connection }
--   server.endpoint   server.port   server.pid   server:stop()
--
-- A reply: status (200), body (""), headers, delay_s, cut = "before" or "within" the answer;
-- $request_uri and $usersig in body and headers become what it was asked for.
-- It ends with server:stop(), with the process, or after two minutes.

local cjson = require("cjson").new()
local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local impostor = {}

local SECONDS_MAX = 120

local CONF = [[
$modules
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_body_buffer_size 4m;
  client_max_body_size 4m;
  large_client_header_buffers 8 16k;
  lua_package_cpath ";;";
  init_worker_by_lua_block {
    local function watch()
      local file = io.open("/proc/$parent/stat")
      if file then file:close() else os.execute("kill " .. ngx.worker.pid()) end
    end
    ngx.timer.every(0.5, watch)
  }
  exit_worker_by_lua_block { os.execute("rm -rf " .. ngx.config.prefix()) }
  server {
    listen 127.0.0.1:$port $tls;
    listen 127.0.0.2:$port $tls; # no name of the certificate
    $certificate
    location / { content_by_lua_file answer.lua; }
  }
}
]]

-- Runs in nginx: finds its reply by how many requests have come since `says`.
local ANSWER = [[
local cjson = require "cjson"
local folder = ngx.config.prefix()
local file = assert(io.open(folder .. "replies.json"))
local plan = cjson.decode(file:read("*a"))
file:close()
said = said or {}
said[plan.id] = (said[plan.id] or 0) + 1
local reply = plan.replies[math.min(said[plan.id], #plan.replies)]
ngx.req.read_body()
local log = assert(io.open(folder .. "requests." .. plan.id, "a"))
log:write(cjson.encode {
  method = ngx.req.get_method(), uri = ngx.var.request_uri, args = ngx.req.get_uri_args(),
  body = ngx.req.get_body_data(), headers = ngx.req.get_headers(),
  version = ngx.req.http_version(), connection = ngx.var.connection,
}, "\n")
log:close()
if reply.delay_s then ngx.sleep(reply.delay_s) end
if reply.cut == "before" then ngx.exit(444) end
ngx.status = reply.status or 200
local echoes = { request_uri = ngx.var.request_uri, usersig = ngx.var.arg_usersig }
local function filled(text)
  return (text:gsub("%$([%l_]+)", echoes))
end
for name, value in pairs(reply.headers or {}) do ngx.header[name] = filled(value) end
local body = reply.body and filled(reply.body) or (" "):rep(reply.spaces or 0)
ngx.header.content_length = #body + (reply.cut and 100 or 0)
ngx.print(body)
if reply.cut then
  ngx.flush(true)
  ngx.exit(ngx.ERROR)
end
]]

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- nginx's Lua module, where it is not built in.
local function modules()
  local lines = {}
  for _, name in ipairs { "ndk_http_module.so", "ngx_http_lua_module.so" } do
    for _, folder in ipairs { "/usr/lib/nginx/modules/", "/usr/lib64/nginx/modules/" } do
      if shell.read(folder .. name) then
        lines[#lines + 1] = ("load_module %s%s;"):format(folder, name)
        break
      end
    end
  end
  return table.concat(lines, "\n")
end

local function random_port()
  local high, low = shell.random_bytes(2):byte(1, 2)
  return 10000 + (high * 256 + low) % 9000 -- where the sandbox does not look for its own
end

local function fill(folder, port, certificate)
  local files = certificate and ("ssl_certificate %s/certificate.pem;\n"
    .. "    ssl_certificate_key %s/certificate.key;"):format(certificate, certificate) or ""
  write(folder .. "/nginx.conf", (CONF:gsub("%$(%w+)", {
    modules = modules(), port = port, parent = shell.pid(), certificate = files,
    tls = certificate and "ssl http2" or "",
  })))
  write(folder .. "/answer.lua", ANSWER)
end

local Server = {}
Server.__index = Server

-- What it says from now on; what it was asked before is forgotten.
function Server:says(replies)
  self.plan_id = (self.plan_id or 0) + 1
  local path = self.folder .. "/replies.json"
  write(path .. ".part", cjson.encode { id = self.plan_id, replies = replies })
  assert(os.rename(path .. ".part", path))
end

function Server:requests()
  local list = {}
  -- whole lines: a server that is killed may leave half of one
  for line in (shell.read(self.folder .. "/requests." .. self.plan_id) or ""):gmatch("(.-)\n") do
    list[#list + 1] = cjson.decode(line)
  end
  return list
end

-- Sends it a signal: "STOP" holds it, "CONT" lets it go on.
function Server:kill(signal)
  shell.run(("kill -%s $(cat %s/nginx.pid) 2>/dev/null"):format(signal,
    shell.quote(self.folder)))
end

function Server:stop()
  if self.job then
    self:kill("CONT")
    self.job:kill("TERM")
    self.job:wait(5)
    self.job:close()
    shell.remove_folder(self.folder)
    self.job = nil
  end
end

local function is_up(folder, port)
  return shell.read(folder .. "/nginx.pid") and (shell.read("/proc/net/tcp") or ""):find(
    ("0100007F:%04X 00000000:0000 0A"):format(port), 1, true)
end

---@param settings { certificate: string? }? a folder with certificate.pem and certificate.key
function impostor.start(settings)
  local certificate = settings and settings.certificate
  for _ = 1, 5 do
    local folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-impostor-XXXXXX"')
    local port = random_port()
    fill(folder, port, certificate)
    local job = process.start({ "nginx", "-p", folder .. "/", "-c", folder .. "/nginx.conf" },
      { timeout_s = SECONDS_MAX, env = { PATH = os.getenv("PATH") .. ":/usr/sbin" } })
    local has_ended = function() return not process.exists(job.pid) end
    process.wait_until(function() return is_up(folder, port) or has_ended() end, 10)
    if not has_ended() then
      local scheme = certificate and "https" or "http"
      return setmetatable({ folder = folder, port = port, job = job, pid = job.pid,
        endpoint = ("%s://127.0.0.1:%d"):format(scheme, port) }, Server)
    end
    job:close()
    shell.remove_folder(folder)
  end
  error("the impostor does not start")
end

return impostor
