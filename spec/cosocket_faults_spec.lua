-- The fault matrix over nginx's cosockets: connecting, sending, receiving.

local app = require "support.app"
local cells = require "faults.cells"
local cosocket = require "faults.cosocket"
local shell = require "imattr.sandbox.shell"
local surfaces = require "faults.surfaces"
local world = require "faults.world"

local matrix = cells.new { surfaces = cosocket.SURFACES, differs = cosocket.network }
matrix:take(require "faults.network")

-- ---- names: nginx asks a name server, here the proxy (names.h)

local function gone(name, host, code, more)
  local cell = { name, host = host .. "." .. world.NAME, not_sent = 3, whole = 0, code = code }
  for key, value in pairs(more) do cell[key] = value end
  return cell
end

matrix:add { "a name", host = "any." .. world.NAME, surfaces = "call coroutine", done = 3 }
matrix:add { "DNS that is slow", host = "late." .. world.NAME, done = 3 }
matrix:add(gone("DNS that knows no such name", "unknown", "RESOLVE", { requests = 2,
  surfaces = "call coroutine" }))
-- how long a name server is waited for is nginx's: resolver_timeout, 4 s here
matrix:add_slow(gone("DNS that does not answer", "silent-1", "RESOLVE", {
  surfaces = "call coroutine", options = { attempts_max = 1 } }))
matrix:add_slow(gone("DNS that is slower than the time for a request", "silent-2", "TIMEOUT", {
  surfaces = "call coroutine", options = { attempts_max = 1, timeout_ms = 3100 } }))

-- ---- the machine

matrix:add_own({ "location: a worker stopped while it waits", plan = { { hold = 1 } }, done = 3 },
  function(place, check)
    local worker, job = world.worker(), surfaces.begin("location", place)
    place.proxy:await("request")
    shell.run("kill -STOP " .. worker)
    place.proxy:release()
    place.proxy:await("answer")
    shell.run("kill -CONT " .. worker)
    check("location", job:outcome())
  end)

-- Two connections besides those that nginx has for itself: the spec's and one to the server.
for _, row in ipairs { { "enough", 2, done = 3 },
  { "not enough", 1, not_sent = 3, code = "CONNECT", requests = 2, whole = 0 } } do
  row[1] = "location: connections of a worker: " .. row[1]
  matrix:add_own(row, function(place, check)
    local usual = world.nginx
    world.nginx = world.new_nginx(row[2] + 2)
    local ran, outcome = pcall(surfaces.location, place)
    local errors = world.nginx:errors()
    world.nginx:stop()
    world.nginx = usual
    assert(ran, outcome)
    assert.equal(row.code == nil, not errors:find("worker_connections are not enough", 1, true))
    check("location", outcome)
  end)
end

describe("the fault matrix over cosockets: the network:", function()
  setup(world.open_nginx)
  teardown(matrix.close)

  it("begins what takes seconds #slow", matrix.begin)
  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("differs in cells that there are #house", function()
    assert.same({}, matrix:strangers())
  end)

  it("leaves no alert and no secret in nginx's error log #slow", function()
    local errors = world.nginx:errors()
    for _, bad in ipairs { "[alert]", "[emerg]", app.KEY, "usersig=eJw" } do
      assert.is_nil(errors:find(bad, 1, true), bad)
    end
  end)

  it("has as many cells as there were #house", function()
    assert.truthy(#matrix >= cells.least("cosocket_cells_network"), #matrix)
    local all = 0
    for _, part in ipairs { "network", "answers", "codes" } do
      all = all + cells.least("cosocket_cells_" .. part)
    end
    assert.equal(cells.least("cosocket_cells"), all)
  end)
end)
