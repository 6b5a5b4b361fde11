-- caller: what the surfaces of the fault matrix have in common, in whatever process they run.

local app = require "support.app"
local faults = require "support.faults"
local imattr = require "imattr"
local world = require "faults.world"

local caller = {}

local PAUSE_US = 2000

--- A call of set_attr as plain values: { counts, code, class, user_code, fates = { [account] =
--- fate }, words, seconds }. Fails when a secret is in what came of it.
---@param client imattr.Client
---@param users table the vendor's list
---@param source (fun(): string?, table?)? what the call is given in place of the list
---@return table
function caller.outcome(client, users, source)
  local fates = {}
  local report, err = client:set_attr(source or users, { on_result = function(result)
    fates[result.account] = result.fate
  end })
  local first = report and report.failures[1]
  assert(not app.dump({ report, err, client }):find(app.KEY, 1, true), "the key is in a report")
  return { counts = report and app.counts(report) or {}, code = err and err.code,
    class = err and err.class, user_code = first and first.code, fates = fates,
    words = err and tostring(err), seconds = report and report.seconds }
end

--- A source that waits before every user.
---@param users table
---@param wait fun()
---@return fun(): string?, table?
function caller.waiting(users, wait)
  local next_user = app.iterator(users)
  return function()
    wait()
    return next_user()
  end
end

--- A UserSig that is asked for before every attempt, because it is always nearly over: so another
--- plan can begin just then. It is asked for once more at the beginning.
---@param place table of world.lua
---@return fun(): string
function caller.sign_and_follow(place)
  local asked = -1
  return function()
    asked = asked + 1
    local plan = place.cell.later[asked]
    if plan then
      if plan.after then place.proxy:await(plan.after) end
      faults.pause(PAUSE_US) -- nginx hears of connections that have ended
      world.begin(place, plan, place.cell.base)
    end
    return imattr.usersig.sign { sdkappid = app.SDKAPPID, key = app.KEY, expire = 100,
      identifier = "administrator", time = os.time() - 90 }
  end
end

return caller
