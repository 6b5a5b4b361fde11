-- imattr: sets user attributes in Tencent Cloud Chat.

local batcher = require "imattr.batcher"
local client = require "imattr.client"
local codes = require "imattr.codes"
local metrics = require "imattr.metrics"
local usersig = require "imattr.usersig"

local imattr = {}

--- The version, in one place.
imattr.VERSION = "0.1.0"

--- Opens a client. Raises for an unknown option, a wrong type and a value out of range.
---@param options table see the README's table of options
---@return imattr.Client? client
---@return imattr.Error? err class "setup": something is missing or cannot be used
function imattr.new(options)
  return client.new(options)
end

--- What the vendor's error codes mean: imattr.codes[60007].message
---@type { [integer]: imattr.Code }
imattr.codes = codes

--- Signs and opens UserSigs.
imattr.usersig = { sign = usersig.sign, open = usersig.open }

--- What batchers count, as Prometheus reads it; inside nginx.
---@return string
function imattr.metrics()
  return metrics.text(imattr.VERSION)
end

--- For exit_worker_by_lua: batchers that are open leave what they have in their spools. Waits for
--- nothing.
function imattr.exit()
  batcher.exit()
end

return imattr
