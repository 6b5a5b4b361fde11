-- collector: a sandbox, an nginx with a batcher in each worker, and an nginx that loads it.
--
--   local place = collector.open { workers = 2, batcher = { linger_ms = 10 }, client = {} }
--   place:ask("/post?account=a&city=x") -> status, body          place:lua("return batch:counts()")
--   place:load { count = 1000, parallel = 20 } -> job            place:accepted(job) -> accounts
--   place:missing(accounts)   those neither stored at the vendor, nor spooled, nor told
--   place:again()  a new nginx with the same folder and spool    place:close()
--
-- `imattr`, `client` and `batch` are globals of the workers' Lua.

local app = require "support.app"
local cjson = require("cjson").new()
local imattr = require "imattr"
local process = require "support.process"
local resty = require "support.resty"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local collector = {}

local HTTP = [[
  $http
  init_worker_by_lua_block {
    imattr, given = require "imattr", require("cjson").decode(os.getenv "GIVEN")
    client = assert(imattr.new(given.client))
    told = {}
    given.batcher.on_result = function(result)
      told[#told + 1] = result
      if result.fate ~= "done" then
        local file = assert(io.open(given.folder .. "/told." .. ngx.worker.pid(), "a"))
        file:write(result.account, "\n")
        file:close()
      end
    end
    batch = assert(client:batcher(given.batcher))
    $init_worker
  }
  exit_worker_by_lua_block { imattr.exit() $exit_worker }
  server {
    listen unix:$folder/socket;
    client_body_buffer_size 1m;
    client_max_body_size 1m;
    keepalive_requests 1000000;
    location = /post {
      content_by_lua_block {
        local args = ngx.req.get_uri_args()
        local ticket, err = batch:post(args.account, { city = args.city },
          args.durable and { durable = true } or nil)
        ngx.status = ticket and 200 or 503
        ngx.print(ticket and "accepted" or err.code)
      }
    }
    location = /lua {
      content_by_lua_block {
        ngx.req.read_body()
        local ok, result = pcall(assert(loadstring(ngx.req.get_body_data())))
        ngx.print(require("cjson").encode { ok = ok, result = ok and result or tostring(result) })
      }
    }
    $locations
  }
]]

local LOAD = [[
  server {
    listen unix:$folder/socket;
    location = /load {
      content_by_lua_block {
        local args = ngx.req.get_uri_args()
        local next_index, accepted = 0, {}
        local function visit(socket, account)
          if not socket.is_open and not socket.tcp:connect("unix:" .. args.socket) then
            return ngx.sleep(0.01)
          end
          socket.is_open = true
          local sent = socket.tcp:send("GET /post?account=" .. account .. "&city=c" .. account
            .. (args.durable and "&durable=1" or "") .. " HTTP/1.1\r\nHost: x\r\n\r\n")
          local status, length = sent and socket.tcp:receive() or nil, nil
          local line = status and socket.tcp:receive()
          while line and line ~= "" do
            length = line:lower():match("^transfer%-encoding") and "chunked" or length
            if line:lower():find("^connection: close") then socket.closes = true end
            line = socket.tcp:receive()
          end
          if length then
            local size = tonumber(socket.tcp:receive() or "0", 16)
            while size and size > 0 do
              socket.tcp:receive(size + 2)
              size = tonumber(socket.tcp:receive() or "0", 16)
            end
            socket.tcp:receive()
          end
          if status and status:find(" 200 ") then accepted[#accepted + 1] = account end
          if not status or socket.closes then
            socket.tcp:close()
            socket.is_open, socket.closes, socket.tcp = false, false, ngx.socket.tcp()
            socket.tcp:settimeout(20000)
          end
        end
        local threads = {}
        for i = 1, tonumber(args.parallel) do
          threads[i] = ngx.thread.spawn(function()
            local socket = { tcp = ngx.socket.tcp() }
            socket.tcp:settimeout(20000)
            while next_index < tonumber(args.count) do
              next_index = next_index + 1
              visit(socket, args.prefix .. next_index)
              if args.pause then ngx.sleep(tonumber(args.pause)) end
            end
          end)
        end
        for i = 1, #threads do assert(ngx.thread.wait(threads[i])) end
        ngx.print(require("cjson").encode(accepted))
      }
    }
  }
]]

local Place = {}
Place.__index = Place

-- What a worker is given, as JSON in its environment.
function Place:_given()
  local settings, given = self.settings, { folder = self.folder, batcher = {} }
  given.client = { sdkappid = 1400000000, key = app.KEY, endpoint = self.vendor.endpoint,
    rate = 1000 }
  for name, value in pairs(settings.client or {}) do given.client[name] = value end
  for name, value in pairs(settings.batcher or {}) do given.batcher[name] = value end
  if settings.spool then given.batcher.spool = self.folder .. "/spool" end
  return cjson.encode(given)
end

-- Starts nginx: the first time, and again after it ended.
function Place:again()
  local settings = self.settings
  if self.server then self.server:stop() end
  local texts = { http = settings.http or "", init_worker = settings.init_worker or "",
    exit_worker = settings.exit_worker or "", locations = settings.locations or "",
    vendor = self.vendor.folder, folder = "$folder" }
  self.server = resty.start { http = HTTP:gsub("%$(%l+_?%l*)", texts):gsub("%$(%l+)", texts),
    ca_file = self.vendor.ca_file, workers = settings.workers, env = { GIVEN = self:_given() } }
  return self
end

---@param settings table? workers, client, batcher (options of both), spool (boolean), vendor
---  (settings of the sandbox), http, init_worker, exit_worker, locations (nginx's text)
function collector.open(settings)
  local place = setmetatable({ settings = settings or {} }, Place)
  place.folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-collector-XXXXXX"')
  shell.run("chmod 777 " .. place.folder) -- workers run as another user when started by root
  local about = { key = app.KEY, limit = 0 }
  for name, value in pairs(place.settings.vendor or {}) do about[name] = value end
  place.vendor = sandbox.start(about)
  return place:again()
end

function Place:close()
  if self.loader then self.loader:stop() end
  self.server:stop()
  self.vendor:stop()
  shell.remove_folder(self.folder)
end

function Place:ask(path)
  local status, body = self.server:get(path)
  return status, body
end

-- What a piece of Lua returns in a worker.
function Place:lua(code)
  local status, body = self.server:get("/lua", code)
  assert(status == 200, self.server:errors())
  local answer = cjson.decode(body)
  assert(answer.ok, tostring(answer.result))
  return answer.result
end

-- Begins to post `count` updates of users PREFIX1, PREFIX2, ... over `parallel` connections.
---@param given { count: integer, parallel: integer, prefix: string?, durable: boolean?,
---  pause: number? }
function Place:load(given)
  self.loader = self.loader or resty.start { http = LOAD }
  local path = ("/load?count=%d&parallel=%d&prefix=%s&socket=%s/socket%s%s"):format(given.count,
    given.parallel, given.prefix or "u", self.server.folder, given.durable and "&durable=1" or "",
    given.pause and "&pause=" .. given.pause or "")
  return process.start({ "curl", "-q", "-s", "--max-time", "60", "--unix-socket",
    self.loader.folder .. "/socket", "http://localhost" .. path }, { timeout_s = 70 })
end

-- The accounts whose posts were answered with "accepted", at the end of a load.
function Place:accepted(job)
  local outcome = assert(job:wait(70), "the load does not end")
  job:close()
  return cjson.decode(outcome.stdout)
end

-- The lines in the spool that are not struck out: accounts as a set, and how many.
function Place:spooled()
  local set, count = {}, 0
  local text = shell.output("cat " .. self.folder .. "/spool/*.ndjson 2>/dev/null; true")
  for account in text:gmatch('"To_Account":"(.-)"') do
    set[account], count = true, count + 1
  end
  return set, count
end

-- Files in the spool, whatever they are.
function Place:spool_files()
  local text = shell.output("ls -A " .. self.folder .. "/spool 2>/dev/null; true")
  local names = {}
  for name in text:gmatch("[^\n]+") do names[#names + 1] = name end
  return names
end

-- The accounts that on_result was told about because they are not done, as a set.
function Place:told()
  local set = {}
  local text = shell.output("cat " .. self.folder .. "/told.* 2>/dev/null; true")
  for account in text:gmatch("[^\n]+") do set[account] = true end
  return set
end

-- The attributes that the vendor holds, by account; none for who has none.
function Place:stored(accounts)
  local client = assert(imattr.new { sdkappid = 1400000000, key = app.KEY, rate = 0,
    pace_scope = "process", endpoint = self.vendor.endpoint, ca_file = self.vendor.ca_file })
  local attributes = assert(client:get_attr(accounts))
  client:close()
  return attributes
end

-- The accounts of which nobody knows anything.
function Place:missing(accounts)
  local told, spooled, missing = self:told(), self:spooled(), {}
  local stored = self:stored(accounts)
  for _, account in ipairs(accounts) do
    local city = (stored[account] or {}).city
    if city ~= "c" .. account and not spooled[account] and not told[account] then
      missing[#missing + 1] = account
    end
  end
  return missing
end

-- Those that the vendor does not hold yet.
function Place:undelivered(accounts)
  local stored, left = self:stored(accounts), {}
  for _, account in ipairs(accounts) do
    if (stored[account] or {}).city ~= "c" .. account then left[#left + 1] = account end
  end
  return left
end

function Place:arrivals(command)
  local about = self.vendor:stats().commands[command or "im_set_attr"]
  return about and about.arrivals or 0
end

-- Lines of the error log that should never be there.
function Place:alarms()
  local lines = {}
  for line in self.server:errors():gmatch("[^\n]+") do
    if line:find("%[alert%]") or line:find("%[crit%]") or line:find("%[emerg%]") then
      lines[#lines + 1] = line
    end
  end
  return lines
end

return collector
