-- One sender against the server of spec/bench/server, in a process of its own.
--
--   lua5.4|luajit spec/bench/client.lua cost DIR REQUESTS IN_FLIGHT
--     sets 100 users x 3 attributes a request from Lua tables, as fast as it goes; prints the
--     processor time (user and system) per request in microseconds
--   lua5.4|luajit spec/bench/client.lua once DIR
--     one such request, so that the server can keep its body for the bare loop
--   lua5.4|luajit spec/bench/client.lua pace DIR SECONDS SDKAPPID
--     sends for so long at the default pace; prints how many requests
--   lua5.4|luajit spec/bench/client.lua memory DIR REQUESTS
--     one call of set_attr over an iterator; prints the resident memory fifty times
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./build/" .. (rawget(_G, "jit") and "jit" or "5.4") .. "/?.so;" .. package.cpath

local imattr = require("imattr")

local BATCH = 100 -- users per request
local WARM_UP = 20 -- requests before the measured ones: connections and buffers are there
local LIST = 200 -- requests' worth of users in one list; the list is sent again and again

local tasks = {}

local function new_client(dir, more)
  local port = assert(io.open(dir .. "/port")):read("*l")
  local options = {
    sdkappid = 1400000000,
    identifier = "administrator",
    key = ("5bd2850fff3ecb11"):rep(4),
    endpoint = "https://127.0.0.1:" .. port,
    ca_file = dir .. "/ca.pem",
    rate = 0,
    in_flight_max = 16,
  }
  for name, value in pairs(more or {}) do options[name] = value end
  return assert(imattr.new(options))
end

local function user(number)
  return ("user%09d"):format(number),
    { city = "Ulaanbaatar", country = "MN", tier = ("level %d"):format(number % 7) }
end

local function user_list(requests)
  local list = {}
  for number = 1, requests * BATCH do
    local account, attrs = user(number)
    list[number] = { To_Account = account, Attrs = attrs }
  end
  return list
end

-- Yields users until `more()` says no.
local function user_stream(more)
  local number = 0
  return function()
    if not more(number) then return nil end
    number = number + 1
    return user(number)
  end
end

local function expect_all_done(report, err, users)
  assert(report, err)
  assert(report.done == users, ("done: %d of %d"):format(report.done, users))
end

function tasks.cost(dir, requests, in_flight)
  local client = new_client(dir, { in_flight_max = in_flight })
  local list = user_list(LIST)
  local warm_up = user_list(WARM_UP)
  local report, err = client:set_attr(warm_up)
  expect_all_done(report, err, #warm_up)
  local rounds = math.max(1, math.floor(requests / LIST))
  local sent, before = 0, os.clock()
  for _ = 1, rounds do
    report, err = client:set_attr(list)
    expect_all_done(report, err, #list)
    sent = sent + report.requests
  end
  local after = os.clock()
  assert(sent == rounds * LIST, "requests: " .. sent)
  client:close()
  print(("%.2f"):format((after - before) * 1e6 / sent))
end

function tasks.once(dir)
  local client = new_client(dir)
  local report, err = client:set_attr(user_list(1))
  expect_all_done(report, err, BATCH)
  client:close()
end

function tasks.pace(dir, seconds, sdkappid)
  local client = new_client(dir, { sdkappid = sdkappid, rate = 100, in_flight_max = 32 })
  local started = os.time()
  local report, err = client:set_attr(user_stream(function()
    return os.time() - started < seconds
  end))
  assert(report, err)
  assert(report.ok, report.error)
  client:close()
  print(report.requests)
end

local function resident_kib()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s*(%d+)")
    if kib then return tonumber(kib) end
  end
end

function tasks.memory(dir, requests)
  local client = new_client(dir)
  local users, step, next_step = requests * BATCH, math.ceil(requests / 50) * BATCH, 0
  local source = user_stream(function(number)
    if number == next_step then
      next_step = next_step + step
      collectgarbage()
      print(("%d %d"):format(number / BATCH, resident_kib()))
      io.stdout:flush()
    end
    return number < users
  end)
  local report, err = client:set_attr(source)
  expect_all_done(report, err, users)
  client:close()
end

tasks[arg[1]](arg[2], tonumber(arg[3]), tonumber(arg[4]))
