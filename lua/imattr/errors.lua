-- errors: the table that comes back as the second value when the world says no.

local core = require "imattr.core"
local redact = require "imattr.redact"

local errors = {}

---@class imattr.Error
---@field code string short and stable: a vendor code's digits ("70009") or UPPER_CASE ("CONNECT")
---@field message string one sentence: what, which value, what to do
---@field class string network tls timeout signature permission setup input caller user rate retry
---  resign deadline interrupted
---@field vendor_code integer? the vendor's ErrorCode, when it was the vendor who said no
local Error = {}
Error.__index = Error
Error.__name = "imattr.error"

--- An error prints as its sentence.
function Error:__tostring()
  return self.message
end

local NO_MEMORY = "not enough memory" -- Lua's words

--- Raises what a pcall caught, if that is the news that there is no memory: it says nothing about
--- what was called.
---@param ok boolean
---@param raised any
function errors.pass_no_memory(ok, raised)
  if not ok and raised == NO_MEMORY then
    error(raised, 0)
  end
end

-- What to do about a failure that has no vendor code, and its class.
local WORLD = {
  RESOLVE = { "network", "check the host's name and this machine's DNS" },
  CONNECT = { "network", "check the endpoint, the network and the firewall" },
  PROXY = { "network", "check the proxy option and https_proxy" },
  CUT = { "network", "try again; what was sent may have arrived" },
  TIMEOUT = { "timeout", "try again, or raise timeout_ms; what was sent may have arrived" },
  TLS = { "tls", "check the endpoint; a certificate of your own goes into ca_file" },
  HTTP_STATUS = { "network", "check that the endpoint is the vendor's REST API" },
  BAD_REPLY = { "network", "check that the endpoint is the vendor's REST API" },
  REPLY_TOO_LARGE = { "network", "check that the endpoint is the vendor's REST API" },
  DEADLINE = { "deadline", "raise deadline_ms, or send the rest in another call" },
  INTERRUPTED = { "interrupted", "send the rest in another call" },
  SOURCE_FAILED = { "input", "mend the source and send the rest in another call" },
  STOPPED = { "interrupted", "send the rest in another call" },
  FORKED = { "setup", "make a new client in this one" },
  PACE_FILE = { "setup", 'give pace_scope = "process", or room in /dev/shm' },
  PACE_FOREIGN = { "setup", 'remove it, or give pace_scope = "process"' },
  BAD_KEY = { "setup", "give the key of the app, as the console shows it" },
  KEY_FILE = { "setup", "check the path and the rights of key_file" },
}

-- What ends a run here, whatever the host.
local WITHOUT_PLACE = { DEADLINE = true, INTERRUPTED = true, FORKED = true }

---@param fields { code: string, message: string, class: string, vendor_code: integer? }
---@return imattr.Error
function errors.new(fields)
  fields.message = redact.text(fields.message)
  return setmetatable(fields, Error)
end

---@param value any
---@return boolean is_error whether it is one of this library's errors
function errors.is(value)
  return getmetatable(value) == Error
end

--- An error without the vendor's word: a status of the C core, where it happened and why.
---@param code string a status name: "CONNECT"
---@param where string? the thing concerned: "https://host"
---@param why string? the reason in somebody else's words
---@return imattr.Error
function errors.world(code, where, why)
  local known = WORLD[code] or { "setup" }
  local status = core.statuses[code]
  local message = status and status.message or code
  where = not WITHOUT_PLACE[code] and where or nil
  message = (where and where .. ": " or "") .. message
  message = message .. (why and " (" .. why .. ")" or "")
  if known[2] then
    message = message .. "; " .. known[2]
  end
  return errors.new { code = code, message = message, class = known[1] }
end

return errors
