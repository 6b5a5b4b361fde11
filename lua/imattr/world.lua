-- world: what enters a client from outside: time, random numbers, slots and the network. A client
-- is given the real world; a simulation gives it one of its own.

local core = require "imattr.core"

local world = {}

---@class imattr.World
---@field now_us fun(): integer microseconds that never go back
---@field time_s fun(): integer seconds since 1970, as this machine's clock says
---@field random_u32 fun(): integer
---@field pace fun(rate: integer, mode: string, name: string?): table?, string?, string?
---@field transport fun(settings: table): table?, string?

-- Raises inside nginx, where libcurl would hold the worker.
local function transport(settings)
  if rawget(_G, "ngx") then
    error("imattr: nothing is sent from inside nginx yet: waiting would stop the worker; "
      .. "run this call in a script", 0)
  end
  return require("imattr.transport.curl").new(settings)
end

---@type imattr.World
world.real = {
  now_us = core.now_us,
  time_s = function() return os.time() end, -- os.time alone takes an argument
  random_u32 = core.random_u32,
  pace = core.pace,
  transport = transport,
}

return world
