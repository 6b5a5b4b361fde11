-- call: a call of set_attr in a process of its own, for cells whose fault is one of the machine (a
-- resolver, a clock, descriptors, a signal). Reads { options, users, prepare?, in_coroutine? } as
-- JSON from standard input; `prepare` is Lua that runs first, and may return a function: it runs
-- after the call, and the same call is made again. Prints { counts, code, user_code, fates, words,
-- seconds, again? } as JSON.

local cjson = require "cjson"
local imattr = require "imattr"

local given = cjson.decode(io.read("*a"))
local COUNTS = { "users", "done", "invalid", "refused", "unknown", "not_sent", "merged", "requests",
  "retries" }

local function outcome_of(client)
  local fates, counts = {}, {}
  local report, err = client:set_attr(given.users, { on_result = function(result)
    fates[result.account] = result.fate
  end })
  for _, name in ipairs(COUNTS) do
    local count = report and report[name] or 0
    counts[name] = count ~= 0 and count or nil
  end
  local first = report and report.failures[1]
  return { counts = counts, code = err and err.code, user_code = first and first.code,
    fates = fates, words = err and tostring(err), seconds = report and report.seconds }
end

local client = assert(imattr.new(given.options))
local prepare = given.prepare and assert((loadstring or load)(given.prepare)) -- luacheck: ignore
local after = prepare and prepare(client)
local call = given.in_coroutine and coroutine.wrap(outcome_of) or outcome_of
local outcome = call(client)
if after then
  after()
  outcome.again = outcome_of(client)
end
client:close()
print(cjson.encode(outcome))
