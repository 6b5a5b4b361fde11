-- plants: mistakes put into the simulated world on purpose. Each breaks one promise, and the checks
-- must say so within some seeds: a test of the tester.

local codes = require "imattr.codes"

local PLAIN_OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'

local INNER_ERROR = '{"ActionStatus":"FAIL","ErrorCode":91000,"ErrorInfo":""}'

local function is_mistake(reply)
  local code = reply.status == "OK" and tonumber(reply.body:match('"ErrorCode":(%d%d%d%d%d)'))
  local class = code and codes[code].class
  return class == "caller" or class == "permission" or class == "setup"
end

local function copy(reply, changes)
  local made = {}
  for name, value in pairs(reply) do
    made[name] = value
  end
  for name, value in pairs(changes) do
    made[name] = value
  end
  return made
end

-- name, the promise that must be found broken, what is planted
return {
  { "a report that loses every 50th result", "1 conservation", function()
    local count = 0
    return { loses = function()
      count = count + 1
      return count % 50 == 0
    end }
  end },
  { "a transport that takes a cut connection for an answer", "2 truth", function()
    return { reads = function(reply)
      return reply.status == "CUT" and copy(reply, { status = "OK", http_status = 200,
        body = PLAIN_OK }) or reply
    end }
  end },
  { "a transport that says of every lost request that it never left", "2 truth", function()
    return { reads = function(reply)
      return reply.status ~= "OK" and copy(reply, { may_have_arrived = false }) or reply
    end }
  end },
  { "a client that has the same users in two calls at once", "3 newest wins", function()
    return { plan = function(drawn)
      local lanes = drawn.processes[1].lanes
      lanes[2] = lanes[1]
    end }
  end },
  { "a pace that is ignored", "4 rate", function()
    return { rate = 1000 }
  end },
  { "a transport that sends every fifth request twice", "4 rate", function()
    return { launches = function(flight) return flight.serial % 5 == 0 end }
  end },
  { "a client with more in flight than it was told", "5 bounds", function()
    return { options = function(options) options.in_flight_max = 1000 end }
  end },
  { "a client that does not see a mistake for what it is", "6 restraint", function()
    return { reads = function(reply)
      return is_mistake(reply) and copy(reply, { body = INNER_ERROR }) or reply
    end }
  end },
  { "faults that never stop", "7 liveness", function()
    return { storm = true }
  end },
  { "a client that goes on after close", "8 silence", function()
    return { keeps_open = true }
  end },
}
