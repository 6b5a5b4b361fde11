-- world: what the cells of a file share: a sandbox, an authority for certificates, fault proxies,
-- and a client that asks the sandbox what it really holds.
--
--   world.open()   world.close()      for setup and teardown
--   world.place(cell, proxy?)         where a cell happens: number, cell, users, proxy
--   world.begin(place, plan)          a plan, its steps' answers given as the bytes themselves
--   world.stored(users)               which of them the sandbox holds as they were sent; how many
--   world.server   world.keys   world.proxy

local app = require "support.app"
local authority = require "faults.authority"
local faults = require "support.faults"
local sandbox = require "support.sandbox"

local world = {}

-- A name that no resolver is ever asked for: the shim of resolver.c knows it.
world.NAME = "vendor.imattr"

local SECONDS_MAX = 900

local direct -- a client of the sandbox, without a proxy
local number = 0 -- of the last place: its users have names of their own

--- Starts another proxy before the sandbox; who starts it stops it.
function world.new_proxy()
  return faults.start { upstream = world.server.port, certificate = world.certificate }
end

function world.open()
  world.keys = authority.new()
  world.certificate = world.keys:issue("good",
    { san = "IP:127.0.0.1,DNS:localhost,DNS:" .. world.NAME })
  world.server = sandbox.start { key = app.KEY, limit = 0, max_seconds = SECONDS_MAX }
  world.proxy = world.new_proxy()
  direct = app.client(world.server)
end

function world.close()
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

function world.begin(place, plan)
  local written = {}
  for key, value in pairs(plan or {}) do written[key] = value end
  for i, step in ipairs(plan or {}) do
    if step.answer then
      local copy = {}
      for key, value in pairs(step) do copy[key] = value end
      copy.answer = place.proxy:answer("answer" .. i, step.answer)
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
