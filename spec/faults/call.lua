-- call: a call of set_attr in a process of its own, for cells whose fault is one of the machine (a
-- resolver, a clock, descriptors, a signal). Reads { options, users, prepare?, in_coroutine? } as
-- JSON from standard input; `prepare` is Lua that runs first, and may return a function: it runs
-- after the call, and the same call is made again. Prints what caller.outcome says as JSON, and
-- `again` of that other call.

package.path = arg[0]:match("^(.*)/faults/") .. "/?.lua;" .. package.path

local caller = require "faults.caller"
local cjson = require "cjson"
local imattr = require "imattr"

local given = cjson.decode(io.read("*a"))

local client = assert(imattr.new(given.options))
local prepare = given.prepare and assert((loadstring or load)(given.prepare)) -- luacheck: ignore
local after = prepare and prepare(client)
local call = given.in_coroutine and coroutine.wrap(caller.outcome) or caller.outcome
local outcome = call(client, given.users)
if after then
  after()
  outcome.again = caller.outcome(client, given.users)
end
client:close()
print(cjson.encode(outcome))
