-- world: what enters a client from outside: time, random numbers, slots and the network. A client
-- is given the real world; a simulation gives it one of its own.

local core = require "imattr.core"

local world = {}

---@class imattr.World
---@field now_us fun(): integer microseconds that never go back
---@field time_s fun(): integer seconds since 1970, as this machine's clock says
---@field random_u32 fun(): integer
---@field pace fun(rate: integer, mode: string, name: string?, is_backfill: boolean,
---  heeds_raises: boolean): table?, string?, string?
---@field transport fun(settings: table): table?, string?
---@field prepare fun()? loads what transport needs; raises as require does

-- Where nginx lets Lua wait for a socket.
local PHASES = { rewrite = true, server_rewrite = true, access = true, content = true, timer = true,
  preread = true, ssl_cert = true, ssl_session_fetch = true, ssl_client_hello = true }

--- May Lua wait here, inside nginx?
---@return boolean
function world.may_wait()
  local ngx = rawget(_G, "ngx")
  return PHASES[ngx.get_phase()] or false
end

-- Inside nginx libcurl would hold the worker: there it is cosockets. Raises where nginx has none.
local function transport(settings)
  local ngx = rawget(_G, "ngx")
  if not ngx then
    return require("imattr.transport.curl").new(settings)
  end
  local phase = ngx.get_phase()
  if not PHASES[phase] then
    error(("imattr: nothing can be sent in the %s phase; call it in rewrite, access, content or "
      .. "from a timer (ngx.timer.at)"):format(phase), 0)
  end
  return require("imattr.transport.cosocket").new(settings)
end

-- What a call needs is read from its files when a client is made: later there may be no
-- descriptors.
local function prepare()
  if not rawget(_G, "ngx") then
    require "imattr.transport.curl"
  end
end

---@type imattr.World
world.real = {
  now_us = core.now_us,
  time_s = function() return os.time() end, -- os.time alone takes an argument
  random_u32 = core.random_u32,
  pace = core.pace,
  transport = transport,
  prepare = prepare,
}

return world
