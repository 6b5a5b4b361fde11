-- The fault matrix over nginx's cosockets: HTTP and body.

local answers = require "faults.answers"
local cells = require "faults.cells"
local cosocket = require "faults.cosocket"
local shell = require "imattr.sandbox.shell"
local world = require "faults.world"

local http = answers.http

-- a timer reads as a request does
local matrix = cells.new { surfaces = { call = "location", process = "location" },
  differs = cosocket.replies }
matrix:take(require "faults.replies")

-- ---- answers that two readers read differently: libcurl takes most of them for the vendor's yes

for _, row in ipairs {
  { "two Content-Lengths, the right one last",
    http(answers.OK, nil, "Content-Length: 10\r\nContent-Length: 50\r\n") },
  { "a Content-Length of 2^64 and 50",
    http(answers.OK, nil, "Content-Length: 18446744073709551666\r\n") },
  { "chunks and a Content-Length", http(("32\r\n%s\r\n0\r\n\r\n"):format(answers.OK), nil,
    "Transfer-Encoding: chunked\r\nContent-Length: 50\r\n") },
  { "two Transfer-Encodings", http(("32\r\n%s\r\n0\r\n\r\n"):format(answers.OK), nil,
    "Transfer-Encoding: what\r\nTransfer-Encoding: chunked\r\n") },
  { "lines that end without a carriage return", (http(answers.OK):gsub("\r", "")) },
  { "100 Continue a thousand times", ("HTTP/1.1 100 Continue\r\n\r\n"):rep(1000)
    .. http(answers.OK) },
  { "50 crumbs", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    .. answers.OK:gsub(".", "1\r\n%0\r\n"), "CUT", ends = "close" }, -- and no last one
} do
  matrix:add { row[1] .. ", once", plan = { { answer = row[2], forward = 0, ends = row.ends } },
    surfaces = "call coroutine", done = 3, requests = 2, forwarded = 1 }
  matrix:add { row[1] .. ", every time", plan = { { answer = row[2], forward = 0, ends = row.ends },
    forever = true }, unknown = 3, code = row[3] or "BAD_REPLY", requests = 2, forwarded = 0 }
end

matrix:add { "crumbs without end", plan = { { forward = 0,
  answer = http(("1\r\nx\r\n"):rep(500000), nil, "Transfer-Encoding: chunked\r\n") } }, unknown = 3,
  code = "REPLY_TOO_LARGE", forwarded = 0 }

-- ---- memory

local PEAK_KB_MAX = 40000 -- one reply may have 2 MB

-- The most that the worker ever held, in kB.
local function peak_kb()
  return tonumber(shell.read(("/proc/%d/status"):format(world.worker())):match("VmHWM:%s*(%d+)"))
end

describe("the fault matrix over cosockets: answers:", function()
  setup(world.open_nginx)
  teardown(matrix.close)

  it("begins what takes seconds #slow", matrix.begin)
  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("differs in cells that there are #house", function()
    assert.same({}, matrix:strangers())
  end)

  it("needs no more memory for a worker than for its replies #slow", function()
    assert.truthy(peak_kb() < PEAK_KB_MAX, peak_kb())
  end)

  it("has as many cells as there were #house", function()
    assert.truthy(#matrix >= cells.least("cosocket_cells_answers"), #matrix)
  end)
end)
