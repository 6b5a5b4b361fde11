-- network: cells of the fault matrix: connecting, sending, receiving. Between the client and the
-- sandbox stands a proxy that does one thing wrong; each cell says what must come of it.
--
-- A row of a table makes two kinds of cells: the fault happens once, and the second try does all
-- users; it happens every time, and the run ends with the fate and the code of the row. Its numbers
-- say what one such try is to the proxy: requests that came whole, requests that the sandbox did.

local cells = require "faults.cells"
local luassert = require "luassert"
local world = require "faults.world"

local matrix = cells.table()

local ONCE, ALWAYS = "call coroutine command", "call coroutine"
local ATTEMPTS, COMMAND_ATTEMPTS = 2, 5 -- the cells' option; the command's default

-- Runs of which every try fails to connect: requests of the two, by the attempts they may make.
local OUTAGE = { [ATTEMPTS] = 2, [COMMAND_ATTEMPTS] = 5 }

-- name, step, fate, code, whole, forwarded
local function lost(row, attempts, where)
  local requests = row.is_outage and OUTAGE[attempts] or attempts
  matrix:add { row[1] .. " every time", plan = { row[2], forever = true }, surfaces = where,
    [row[3]] = 3, code = row[4], requests = requests, whole = requests * (row[5] or 0),
    forwarded = requests * (row[6] or 0), stored = row[6] == 1 and 3 or 0, options = row.options }
end

local function fault(row)
  local whole, forwarded = row[5] or 0, row[6] or 0
  matrix:add { row[1] .. " once", plan = { row[2] }, surfaces = row.once or ONCE, done = 3,
    requests = 2, whole = whole + 1, forwarded = forwarded + 1,
    options = row.once_options or row.options }
  lost(row, ATTEMPTS, row.always or ALWAYS)
  if row.command then lost(row, COMMAND_ATTEMPTS, "command") end
end

-- ---- connect

local QUICK = { connect_timeout_ms = 150 }
local PATIENT = { connect_timeout_ms = 600 }
local NOT_COMMAND = "call coroutine" -- it has no flag for that time

for _, row in ipairs {
  -- the reset comes while libcurl still waits for the connection, or just after
  { "a reset on connect", { connect = "reset" }, "not_sent", { "CUT", "CONNECT" }, command = true },
  { "an end on connect", { connect = "cut" }, "not_sent", "CUT" },
  { "a reset in the handshake", { connect = "hello" }, "not_sent", "CUT" },
  { "a handshake that is not answered", { connect = "mute" }, "not_sent", "TIMEOUT",
    options = QUICK, once_options = PATIENT, once = NOT_COMMAND },
} do
  row.is_outage = true
  fault(row)
end

-- Nobody listens, or a listener whose queue is full: nothing is answered at all.
for _, row in ipairs {
  { "a refused connection", { listen4 = "refuse" }, "CONNECT", command = true },
  { "a black hole", { listen4 = "full" }, "TIMEOUT", options = QUICK },
} do
  matrix:add { row[1] .. " once", plan = row[2], later = { [2] = {} }, surfaces = ALWAYS, done = 3,
    requests = 2, whole = 1, options = row.options and PATIENT }
  matrix:add { row[1] .. " every time", plan = row[2], surfaces = ALWAYS, not_sent = 3,
    code = row[3], requests = OUTAGE[ATTEMPTS], whole = 0, options = row.options }
  if row.command then
    matrix:add { row[1] .. " every time", plan = row[2], surfaces = "command", not_sent = 3,
      code = row[3], requests = OUTAGE[COMMAND_ATTEMPTS], whole = 0 }
  end
end

matrix:add { "a server without TLS", plan = { { connect = "plain" }, forever = true },
  surfaces = ONCE, not_sent = 3, code = "TLS", whole = 0, bytes = 0 }

-- Outages in a run that was answered: from the third fault on one request at a time leaves, and
-- costs no attempt. The second batch of three meets it; the third is sent when it is over.
for _, row in ipairs {
  { "nobody listens", { listen4 = "refuse" }, "CONNECT", 0 },
  { "every handshake is reset", { { connect = "hello" }, forever = true }, "CUT", 0 },
  { "every request is lost", { { forward = 0, send = 0, ends = "reset" }, forever = true }, "CUT",
    100 },
} do
  local outage = row[2]
  outage.after = "close" -- of the first batch's connection: the next needs another
  matrix:add { "an outage that ends, " .. row[1], plan = { { ends = "cut" } }, users = 300,
    later = { [2] = outage, [6] = {} }, surfaces = ALWAYS, done = 300, requests = 7, retries = 4,
    whole = 2, options = { in_flight_max = 1, attempts_max = 5 } }
  matrix:add { "an outage that lasts, " .. row[1], plan = { { ends = "cut" } }, users = 300,
    later = { [2] = outage }, done = 100, not_sent = 200 - row[4], unknown = row[4],
    code = row[3], requests = "some", retries = "some", whole = "some", forwarded = 0,
    options = { in_flight_max = 1, attempts_max = 5, patience_ms = 300 } }
end

-- libcurl itself knows that localhost is both ::1 and 127.0.0.1.
local function families(...)
  local wanted = { ... }
  return function(_, _, seen) luassert.same(wanted, seen.families) end
end

for _, row in ipairs {
  { "IPv6 refused, IPv4 alive", "refuse", "open", done = 3, also = families(4) },
  { "IPv6 a black hole, IPv4 alive", "full", "open", done = 3, also = families(4) },
  { "IPv6 alive, IPv4 refused", "open", "refuse", done = 3, also = families(6),
    before = function() if not world.proxy.has_ipv6 then pending "no IPv6 here" end end },
  { "IPv6 and IPv4 refused", "refuse", "refuse", not_sent = 3, code = "CONNECT",
    requests = OUTAGE[ATTEMPTS], whole = 0, surfaces = ALWAYS },
  { "IPv6 and IPv4 a black hole", "full", "full", not_sent = 3, code = "TIMEOUT",
    requests = OUTAGE[ATTEMPTS], whole = 0, surfaces = ALWAYS, options = QUICK },
} do
  row.plan, row.host = { listen6 = row[2], listen4 = row[3] }, "localhost"
  row.surfaces = row.surfaces or ONCE
  matrix:add(row)
end

matrix:add { "a name that is no name", host = ("x"):rep(64) .. ".invalid", surfaces = ALWAYS,
  not_sent = 3, code = "RESOLVE", requests = OUTAGE[ATTEMPTS], whole = 0 }

-- ---- send

local function many_users(number)
  local list, attrs = {}, {}
  for name in ("city country tier sex level"):gmatch("%a+") do attrs[name] = ("v"):rep(50) end
  for i = 1, 100 do list[i] = { To_Account = ("big%d-%d"):format(number, i), Attrs = attrs } end
  return list
end

for _, row in ipairs {
  { "a reset with nothing read", { connect = "unread" }, "unknown", "CUT", 0, 0, command = true },
  { "a reset at the first byte", { read = 1, ends = "reset" }, "unknown", "CUT", 0, 0 },
  { "a reset after the head", { read = "head", ends = "reset" }, "unknown", "CUT", 0, 0 },
  { "an end after the head", { read = "head", ends = "close" }, "unknown", "CUT", 0, 0 },
  { "a reset within the body", { read = "body", ends = "reset" }, "unknown", "CUT", 0, 0 },
  { "an end within the body", { read = "body", ends = "close" }, "unknown", "CUT", 0, 0 },
  { "a reset after the last byte, the request lost",
    { forward = 0, send = 0, ends = "reset" }, "unknown", "CUT", 1, 0, command = true },
  { "a reset after the last byte, the request done",
    { send = 0, ends = "reset" }, "unknown", "CUT", 1, 1, command = true },
} do
  fault(row)
end

matrix:add { "a receiver of one byte after another", plan = { { read_us = 200 } }, surfaces = ONCE,
  done = 3 }
matrix:add_slow { "a receiver of one byte in 10 ms", plan = { { read_us = 10000 } },
  surfaces = "process", users = many_users, unknown = 100, code = "TIMEOUT", whole = 0,
  options = { timeout_ms = 3100, attempts_max = 1 } }
matrix:add { "a reset within a body of 30 kB", plan = { { read = "body", ends = "reset" } },
  users = many_users, surfaces = ALWAYS, done = 100, requests = 2, whole = 1 }
matrix:add { "a reset after the last byte of a body of 30 kB", users = many_users,
  plan = { { send = 0, ends = "reset" }, forever = true }, surfaces = ALWAYS, unknown = 100,
  code = "CUT", requests = 2, stored = 100 }

-- ---- receive

for _, row in ipairs {
  { "an end before the status", { send = 0, ends = "close" }, "unknown", "CUT", 1, 1,
    command = true },
  { "an end within the status line", { send = 10, ends = "close" }, "unknown", "CUT", 1, 1 },
  -- what came is a status and no body: that is an answer, and not the vendor's
  { "an end within the head", { send = 30, ends = "close" }, "unknown", "BAD_REPLY", 1, 1 },
  { "a reset within the head", { send = "head", ends = "reset" }, "unknown", "CUT", 1, 1 },
  { "an end within the body", { send = "body", ends = "close" }, "unknown", "CUT", 1, 1 },
  { "an end within the body without TLS's word", { send = "body", ends = "cut" }, "unknown", "CUT",
    1, 1 },
  { "a reset within the body", { send = "body", ends = "reset" }, "unknown", "CUT", 1, 1 },
} do
  row[1] = row[1] .. " of the answer"
  fault(row)
end

for _, row in ipairs {
  { "no answer ever", { stall_ms = "all" }, "unknown", "TIMEOUT", 1, 1 },
  { "a head that never ends", { send = "head", ends = "stall" }, "unknown", "TIMEOUT", 1, 1 },
  { "a body that never ends", { send = "body", ends = "stall" }, "unknown", "TIMEOUT", 1, 1 },
} do
  matrix:add_slow { row[1] .. " once", plan = { row[2] }, surfaces = "process", done = 3,
    requests = 2, options = { timeout_ms = 3100 } }
  matrix:add_slow { row[1] .. ", in a coroutine", plan = { row[2] }, surfaces = "process",
    in_coroutine = true, unknown = 3, code = "TIMEOUT", stored = 3,
    options = { timeout_ms = 3100, attempts_max = 1 } }
end

for _, row in ipairs {
  { "slices of one byte", { slice = 1, slice_us = 200 } },
  { "a reset after the whole answer", { ends = "reset" } },
  { "an end after the whole answer without TLS's word", { ends = "cut" } },
} do
  matrix:add { row[1], plan = { row[2] }, surfaces = ONCE, done = 3 }
end

matrix:add_slow { "an answer after 3.1 s, the vendor's own limit passed",
  plan = { { stall_ms = 3100 } }, surfaces = "process command", done = 3 }

-- A connection that was good for one call, and is not for the next.
for _, row in ipairs {
  { "closed before the next request", {}, 1, 1, 1, warm = { ends = "cut" } },
  -- libcurl takes TLS's last word, unread, for a sign of life
  { "closed in order before the next request", {}, 2, 1, 1, warm = { ends = "close" } },
  { "closed at the next request", { { read = 1, ends = "close" } }, 2, 1, 1 },
  { "reset at the next request", { { read = 1, ends = "reset" } }, 2, 1, 1 },
  { "closed when the next request is there", { { send = 0, ends = "close" } }, 2, 2, 2 },
  { "reset when the next request is there, which is lost",
    { { forward = 0, send = 0, ends = "reset" } }, 2, 2, 1 },
  { "closed at every next request", { { read = 1, ends = "close" }, forever = true }, 2, 0, 0,
    code = "CUT" },
} do
  matrix:add { "a kept connection " .. row[1], plan = row[2], warm = row.warm or {},
    surfaces = ALWAYS, [row.code and "unknown" or "done"] = 3, code = row.code, requests = row[3],
    whole = row[4], forwarded = row[5] }
end

-- ---- every place

-- A cut at one place after another, each with one request.
local places = {}
for i = 1, 30 do
  places[2 * i - 1] = { read = "body", ends = "reset" }
  places[2 * i] = { read = 16 * i, ends = i % 2 == 0 and "close" or "reset" }
end

matrix:add_each { "a request cut at 60 places is unknown at each", plan = places, codes = "CUT" }

return matrix
