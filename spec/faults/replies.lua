-- replies: cells of the fault matrix: HTTP and body. The proxy answers in the sandbox's place;
-- sometimes the sandbox has done what it was asked, sometimes it never heard of it.
--
-- A row of a table is { name, answer, fate, code }; see cells.lua for the rest of its words. Where
-- the run tries again, the row makes cells for once (then all goes well) and for every time.

local answers = require "faults.answers"
local cells = require "faults.cells"

local http, no = answers.http, answers.no

local matrix = cells.table()

local ALL, BOTH = "call coroutine command", "call coroutine"

-- An answer after which the same request is sent again. `heard`: the sandbox did it.
local function again(row)
  local step = { answer = row[2], forward = row.heard and 1 or 0, ends = row.ends,
    endless = row.endless }
  local count = row.heard and 1 or 0
  matrix:add { row[1] .. ", once", plan = { step }, surfaces = row.command and ALL or BOTH,
    done = 3, requests = 2, forwarded = 1 + count }
  matrix:add { row[1] .. ", every time", plan = { step, forever = true }, unknown = 3,
    code = row[3], requests = 2, forwarded = 2 * count, stored = 3 * count }
end

-- An answer that ends the run, or settles all users: one request, whatever it says.
local function final(row)
  row.plan = { { answer = row[2], forward = row.forwarded or 0, ends = row.ends,
    endless = row.endless } }
  row.forwarded = row.forwarded or row[2] and 0 or nil
  row.surfaces = row.surfaces or BOTH
  matrix:add(row)
end

-- ---- HTTP

local HTML = "<html><body>Bad Gateway</body></html>"

for _, row in ipairs {
  { "500", http("", "500 Internal Server Error") },
  { "500 after the deed", http("", "500 Internal Server Error"), heard = true },
  { "502 with HTML", http(HTML, "502 Bad Gateway"), command = true },
  { "502 with the vendor's yes", http(answers.OK, "502 Bad Gateway") },
  { "502 with HTML after the deed", http(HTML, "502 Bad Gateway"), heard = true },
  { "503 with Retry-After", http("busy", "503 Service Unavailable", "Retry-After: 1\r\n") },
  { "504 after the deed", http("", "504 Gateway Timeout"), heard = true, command = true },
  { "408", http("", "408 Request Timeout") },
  { "599", http("", "599 What") },
} do
  row[3] = "HTTP_STATUS"
  again(row)
end

for _, row in ipairs {
  { "301", "301 Moved Permanently" }, { "302", "302 Found" }, { "307", "307 Temporary Redirect" },
  { "308", "308 Permanent Redirect" },
} do
  local elsewhere = "Location: https://127.0.0.1:9/elsewhere\r\n"
  final { row[1] .. " to elsewhere", http("", row[2], elsewhere), unknown = 3,
    code = "HTTP_STATUS", surfaces = row[1] == "301" and ALL or BOTH }
end

for _, status in ipairs { "204 No Content", "206 Partial Content", "304 Not Modified",
  "400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "405 Not Allowed",
  "413 Too Large" } do
  local body = status:find("^[24]0[46]") and "" or answers.OK -- also with the vendor's yes
  final { status, http(body, status), unknown = 3, code = "HTTP_STATUS", surfaces = "call" }
end

-- Too fast, says a gateway: at least a second goes by, and no attempt is used up.
local TOO_MANY = http("", "429 Too Many Requests")
matrix:add_slow { "429, once", plan = { { answer = TOO_MANY, forward = 0 } },
  surfaces = "process", done = 3, requests = 2, forwarded = 1, options = { attempts_max = 1 } }
final { "429, past the deadline", TOO_MANY, unknown = 3, code = "DEADLINE",
  user_code = "HTTP_STATUS", options = { deadline_ms = 100 } }

for _, row in ipairs {
  { "100 Continue before the answer", "HTTP/1.1 100 Continue\r\n\r\n" .. http(answers.OK) },
  { "103 before the answer", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" .. http(answers.OK) },
  { "no Content-Length, and an end", "HTTP/1.1 200 OK\r\n\r\n" .. answers.OK, ends = "close" },
  { "HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" .. answers.OK, ends = "close" },
  { "two chunks", http("5\r\n" .. answers.OK:sub(1, 5) .. ("\r\n%x\r\n"):format(#answers.OK - 5)
    .. answers.OK:sub(6) .. "\r\n0\r\n\r\n", nil, "Transfer-Encoding: chunked\r\n") },
  { "extra bytes after the body", http(answers.OK) .. "extra bytes" },
} do
  row.done, row.forwarded, row.surfaces = 3, 1, ALL
  final(row)
end

matrix:add { "a call after extra bytes after a body", plan = {}, surfaces = BOTH, done = 3,
  warm = { answer = http(answers.OK) .. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" } }

for _, row in ipairs {
  { "a Content-Length that is too small", http(answers.OK, nil, "Content-Length: 10\r\n"),
    "BAD_REPLY", heard = true },
  { "a Content-Length that is too large, and an end",
    http(answers.OK, nil, "Content-Length: 100\r\n"), "CUT", ends = "close", heard = true },
  { "a Content-Length that is negative", http("{}", nil, "Content-Length: -5\r\n"), "CUT" },
  { "a Content-Length that is no number", http("{}", nil, "Content-Length: abc\r\n"), "CUT" },
  { "a chunk without a length", http("zz\r\n", nil, "Transfer-Encoding: chunked\r\n"), "CUT" },
  { "a chunk that is cut", http("31\r\n{", nil, "Transfer-Encoding: chunked\r\n"), "CUT",
    ends = "close", heard = true },
  { "a NUL byte in the head", http(answers.OK, nil, "X: a\0b\r\n"), "CUT" },
  { "300 kB of head", http("{}", nil, ("X-A: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n"):rep(11000)), "CUT" },
  { "another protocol than was asked for", ends = "close",
    "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "CUT" },
  { "no HTTP at all", "hello\r\n\r\n", "BAD_REPLY", command = true },
  { "HTTP/0.9", answers.OK, "BAD_REPLY", ends = "close", heard = true },
  { "bytes of another protocol", "\0\1\2\3\255\254", "BAD_REPLY" },
  { "a status that is no number", "HTTP/1.1 abc OK\r\n\r\n", "BAD_REPLY" },
  { "a chunk of 2^64 bytes and 50", http("10000000000000032\r\n" .. answers.OK
    .. "\r\n0\r\n\r\n", nil, "Transfer-Encoding: chunked\r\n"), "CUT" }, -- which is not 50
  { "a chunk of 2^60 bytes", http("fffffffffffffff\r\n{", nil,
    "Transfer-Encoding: chunked\r\n"), "CUT", ends = "close" },
  { "a head without end", "HTTP/1.1 200 OK\r\n", "CUT", endless = 2 },
  { "two Content-Lengths, the right one first", http(answers.OK, nil,
    "Content-Length: 50\r\nContent-Length: 10\r\n"), "BAD_REPLY", ends = "close" },
  { "chunks and an encoding that is none", http(("%x\r\n"):format(#answers.OK) .. answers.OK
    .. "\r\n0\r\n\r\n", nil, "Transfer-Encoding: what, chunked\r\n"), "CUT", ends = "close" },
} do
  again(row)
end

for _, row in ipairs {
  { "chunks without end", http("", nil, "Transfer-Encoding: chunked\r\n"), endless = 1,
    surfaces = ALL },
  { "a body without a length or an end", "HTTP/1.1 200 OK\r\n\r\n", endless = 1 },
  { "one line of 200 kB in the head", http("{}", nil, "X: " .. ("x"):rep(200000) .. "\r\n") },
  { "a body of 2 MB and a byte", http((" "):rep(2 * 1024 * 1024 + 1)) },
} do
  row.unknown, row.code = 3, "REPLY_TOO_LARGE"
  final(row)
end

matrix:add_slow { "a Content-Length that is too large, and silence", surfaces = "process",
  plan = { { answer = http(answers.OK, nil, "Content-Length: 100\r\n") }, forever = true },
  unknown = 3, code = "TIMEOUT", stored = 3, options = { timeout_ms = 3100, attempts_max = 1 } }
matrix:add_slow { "no Content-Length, and silence", surfaces = "process", done = 3, requests = 2,
  plan = { { answer = "HTTP/1.1 200 OK\r\n\r\n" .. answers.OK } },
  options = { timeout_ms = 3100 } }

-- ---- body

local function says(fields) return http("{" .. fields .. "}") end

for _, row in ipairs {
  { "an empty body", http(""), command = true },
  { "spaces", http("   ") },
  { "HTML", http(HTML), heard = true },
  { "no JSON", http("hello") },
  { "half a yes", http(answers.OK:sub(1, 30)), heard = true },
  { "a yes and more", http(answers.OK .. "x"), heard = true },
  { "two yeses", http(answers.OK .. answers.OK), heard = true },
  { "an array", http("[" .. answers.OK .. "]"), heard = true },
  { "a string", http('"OK"') }, { "a number", http("0") }, { "null", http("null") },
  { "an empty object", http("{}") },
  { "no ErrorCode", says '"ActionStatus":"OK","ErrorInfo":""', heard = true, command = true },
  { "no ActionStatus", says '"ErrorCode":0,"ErrorInfo":""', heard = true },
  { "ErrorCode as a string", says '"ActionStatus":"OK","ErrorCode":"0"', heard = true },
  { "ErrorCode as a string, no", says '"ActionStatus":"FAIL","ErrorCode":"90001"' },
  { "ErrorCode null", says '"ActionStatus":"OK","ErrorCode":null' },
  { "ErrorCode a list", says '"ActionStatus":"FAIL","ErrorCode":[90001]' },
  { "ErrorCode with a fraction", no("90001.5") },
  { "ErrorCode of 2^63", no("9223372036854775808") },
  { "ErrorCode beyond any number", no("1e400") },
  { "ErrorCode below zero", no("-1") },
  { "ErrorCode of one digit", no("5") },
  { "FAIL with 0", no("0"), heard = true, command = true },
  { "ActionStatus in small letters", says '"ActionStatus":"ok","ErrorCode":0' },
  { "nesting of 10,000", http(("["):rep(10000) .. ("]"):rep(10000)) },
  { "an object of 10,000 levels", http(('{"a":'):rep(10000) .. "1" .. ("}"):rep(10000)) },
  { "a NUL in the JSON", http('{"ActionStatus":"OK",\0"ErrorCode":0}') },
  { "duplicate keys, the last is 0", says '"ActionStatus":"FAIL","ErrorCode":90001,"ErrorCode":0' },
} do
  row[3] = "BAD_REPLY"
  again(row)
end

for _, row in ipairs {
  { "OK without ErrorInfo", says '"ActionStatus":"OK","ErrorCode":0' },
  { "OK with more fields", says '"ActionStatus":"OK","ErrorCode":0,"New":{"a":[1,null]}' },
  { "OK with an ErrorCode of 0.0", says '"ActionStatus":"OK","ErrorCode":0.0' },
  { "OK with spaces and lines", http(" {\r\n\t\"ActionStatus\" : \"OK\",\n\"ErrorCode\" : 0 }\n") },
  { "OK with an ErrorList that is null",
    says '"ActionStatus":"OK","ErrorCode":0,"ErrorList":null' },
  { "OK with an ErrorList that is empty",
    says '"ActionStatus":"OK","ErrorCode":0,"ErrorList":[]' },
  { "OK with an ErrorList of nonsense",
    says '"ActionStatus":"OK","ErrorCode":0,"ErrorList":[1,"x",{"To_Account":5}]' },
} do
  row.done, row.forwarded = 3, 1
  final(row)
end

-- The vendor's no, in odd clothes: the batch is halved down to each of the three users.
for _, row in ipairs {
  { "OK with a code that is not 0", says '"ActionStatus":"OK","ErrorCode":90001' },
  { "FAIL without ErrorInfo", says '"ActionStatus":"FAIL","ErrorCode":90001' },
  { "ErrorInfo that is no string", says '"ActionStatus":"FAIL","ErrorCode":90001,"ErrorInfo":{}' },
  { "a NUL and bad UTF-8 in ErrorInfo", no(90001, "a\\u0000b\255\254\192\128") },
  { "ErrorInfo of 1 MB", no(90001, ("x"):rep(1000000)), surfaces = "call" },
  { "duplicate keys, the last is a no",
    says '"ActionStatus":"FAIL","ErrorCode":0,"ErrorCode":90001' },
} do
  matrix:add { row[1], plan = { { answer = row[2], forward = 0 }, forever = true },
    surfaces = row.surfaces or BOTH, refused = 3, user_code = "90001", requests = 5,
    forwarded = 0 }
end

final { "ErrorInfo of 10 MB", no(90001, ("x"):rep(10 * 1024 * 1024)), unknown = 3,
  code = "REPLY_TOO_LARGE", surfaces = ALL }

-- An ErrorList names accounts, so each of these cells has users of its own.
local function listed(name, code, surface, user_code)
  local account = ("listed %s %s "):format(surface, user_code)
  final { name, says(('"ActionStatus":"OK","ErrorCode":0,"ErrorList":[{"To_Account":"%s2",'
    .. '"ErrorCode":%s,"ErrorInfo":"x"},{"To_Account":"somebody else","ErrorCode":70107}]'):format(
    account, code)), surfaces = surface, done = 2, refused = 1, user_code = user_code,
    forwarded = 1, stored = 3, is_forged = true, users = function()
      local list = {}
      for i = 1, 3 do list[i] = { To_Account = account .. i, Attrs = { city = "x" } } end
      return list
    end }
end

for surface in ALL:gmatch("%S+") do
  listed("an ErrorList with one of three users", "70107", surface, "70107")
  listed("an ErrorList with a code that is none", '"x"', surface, "BAD_REPLY")
end

-- ---- every byte

for i, body in ipairs(answers.DOCUMENTED) do
  local name = ("documented answer %d, the "):format(i)
  local bodies, connections, whole = {}, {}, http(body)
  for len = 0, #body - 1 do
    bodies[len + 1] = { answer = http(body:sub(1, len)), forward = 0 }
  end
  for len = 0, #whole - 1 do
    connections[len + 1] = { answer = whole, send = len, forward = 0, ends = "close" }
  end
  matrix:add_each { name .. "body ended after every byte", plan = bodies, whole = #bodies,
    codes = "BAD_REPLY" }
  matrix:add_each { name .. "connection ended after every byte", plan = connections,
    whole = #connections, codes = "BAD_REPLY CUT" }
end

return matrix
