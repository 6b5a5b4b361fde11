-- inside: a call of set_attr inside nginx, as the surfaces `location` and `timer` ask for it. The
-- body of a request is Lua that returns { options, users, times, is_patient, later?, proxy? } (see
-- surfaces.lua); the answer is JSON: { outcomes = { ... }, plan_id } or { raised }.

local caller = require "faults.caller"
local cjson = require "cjson"
local faults = require "support.faults"
local imattr = require "imattr"
local semaphore = require "ngx.semaphore"

local inside = {}

function faults.pause(time_us)
  ngx.sleep(time_us / 1e6)
end

local function yield()
  ngx.sleep(0)
end

local function call(given)
  local options, proxy = given.options, faults.attach(given.proxy)
  if given.later then
    options.key = nil
    options.usersig = caller.sign_and_follow { cell = given, proxy = proxy }
  end
  local client = assert(imattr.new(options))
  local outcomes = {}
  for i = 1, given.times do
    local source = given.is_patient and caller.waiting(given.users, yield)
    outcomes[i] = caller.outcome(client, given.users, source or nil)
  end
  client:close()
  return { outcomes = outcomes, plan_id = proxy.plan_id }
end

-- The answer to the body of a request, as text.
local function answer(body)
  local ok, result = pcall(function() return call(loadstring(body)()) end)
  return cjson.encode(ok and result or { raised = tostring(result) })
end

local function body_of_request()
  ngx.req.read_body()
  return ngx.req.get_body_data()
end

--- Calls in a request.
function inside.location()
  ngx.print(answer(body_of_request()))
end

--- Calls in a timer, which the request waits for.
function inside.timer()
  local body, done, text = body_of_request(), semaphore.new(), nil
  assert(ngx.timer.at(0, function()
    text = answer(body)
    done:post()
  end))
  assert(done:wait(60))
  ngx.print(text)
end

return inside
