-- world: what the cells of a file share: a sandbox, an authority for certificates, fault proxies,
-- and a client that asks the sandbox what it really holds.
--
--   world.open()   world.open_nginx()   world.close()      for setup and teardown
--   world.place(cell, proxy?)         where a cell happens: number, cell, users, proxy
--   world.begin(place, plan)          a plan, its steps' answers given as the bytes themselves
--   world.stored(users)               which of them the sandbox holds as they were sent; how many
--   world.server   world.keys   world.proxy   world.nginx

local app = require "support.app"
local authority = require "faults.authority"
local faults = require "support.faults"
local resty = require "support.resty"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local world = {}

-- A name that no resolver is ever asked for: the shim of resolver.c knows it.
world.NAME = "vendor.imattr"

local SECONDS_MAX = 900
local SLICES_MAX = 400 -- a long answer is not sent byte by byte

local direct -- a client of the sandbox, without a proxy
local number = 0 -- of the last place: its users have names of their own

--- Starts another proxy before the sandbox; who starts it stops it.
function world.new_proxy()
  return faults.start { upstream = world.server.port, certificate = world.certificate }
end

function world.open()
  world.keys = authority.new()
  world.certificate = world.keys:issue("good",
    { san = ("IP:127.0.0.1,DNS:localhost,DNS:%s,DNS:*.%s"):format(world.NAME, world.NAME) })
  world.server = sandbox.start { key = app.KEY, limit = 0, max_seconds = SECONDS_MAX }
  world.proxy = world.new_proxy()
  direct = app.client(world.server)
end

-- The nginx of the surfaces `location` and `timer`. Names it asks the proxy for.
local HTTP = [[
  init_by_lua_block { package.path = "$tree/spec/?.lua;" .. package.path }
  client_max_body_size 4m;
  client_body_buffer_size 4m;
  resolver 127.0.0.1:$names ipv6=off;
  resolver_timeout 4s;
  server {
    listen unix:$folder/socket;
    location = /location { content_by_lua_block { require("faults.inside").location() } }
    location = /timer { content_by_lua_block { require("faults.inside").timer() } }
    location = /system {
      lua_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;
      content_by_lua_block { require("faults.inside").location() }
    }
  }
]]

--- Starts an nginx in which imattr runs; who starts it stops it.
---@param connections integer? that each worker may have
function world.new_nginx(connections)
  return resty.start { is_me = true, max_seconds = SECONDS_MAX, connections = connections,
    ca_file = world.keys.ca_file, http = HTTP:gsub("%$(%l+)", {
      tree = shell.output("pwd"), names = world.proxy.names_port }) }
end

--- As open, and an nginx.
function world.open_nginx()
  world.open()
  world.nginx = world.new_nginx()
end

--- The id of its worker.
---@return integer
function world.worker()
  local pid = world.nginx.pid
  return assert(tonumber((shell.read(("/proc/%d/task/%d/children"):format(pid, pid))
    :match("^%d+"))))
end

function world.close()
  if world.nginx then world.nginx:stop() end
  direct:close()
  world.proxy:stop()
  world.server:stop()
  world.keys:remove()
end

local function users_of(cell)
  if type(cell.users) == "function" then return cell.users(number) end
  local list = {}
  for i = 1, cell.users or 3 do
    list[i] = { To_Account = ("c%d-%d"):format(number, i), Attrs = { city = "v" .. number } }
  end
  return list
end

---@param cell table
---@param proxy table? the shared one when nil
---@return table place
function world.place(cell, proxy)
  number = number + 1
  return { number = number, cell = cell, users = users_of(cell), proxy = proxy or world.proxy }
end

---@param place table
---@param plan table?
---@param base table? how all goes well, where the plan says nothing
function world.begin(place, plan, base)
  local written = { base = base }
  for key, value in pairs(plan or {}) do written[key] = value end
  for i, step in ipairs(plan or {}) do
    if step.answer then
      local copy = {}
      for key, value in pairs(step) do copy[key] = value end
      copy.answer = place.proxy:answer("answer" .. i, step.answer)
      copy.slice = step.slice or base and math.ceil(#step.answer / SLICES_MAX)
      written[i] = copy
    end
  end
  place.proxy:plan(written)
end

---@return string
function world.endpoint(place)
  return ("https://%s:%d"):format(place.cell.host or "127.0.0.1", place.proxy.port)
end

---@param users table the vendor's list
---@return { [string]: boolean } is_stored by account
---@return integer count
function world.stored(users)
  local accounts, is_stored, count = {}, {}, 0
  for i, user in ipairs(users) do accounts[i] = user.To_Account end
  local held = assert(direct:get_attr(accounts))
  for _, user in ipairs(users) do
    local is_same = true
    for name, value in pairs(user.Attrs) do
      is_same = is_same and (held[user.To_Account] or {})[name] == value
    end
    is_stored[user.To_Account] = is_same
    count = count + (is_same and 1 or 0)
  end
  return is_stored, count
end

return world
