-- The fault matrix over libcurl: connecting, sending, receiving.

local cells = require "faults.cells"
local faults = require "support.faults"
local process = require "support.process"
local shell = require "imattr.sandbox.shell"
local surfaces = require "faults.surfaces"
local world = require "faults.world"

local matrix = cells.new()
matrix:take(require "faults.network")

-- The resolver is a library before the C library's; here it stands before a process alone.
local function resolves(how)
  return function()
    return { LD_PRELOAD = faults.resolver(), FAULT_NAME = world.NAME, FAULT_DNS = how }
  end
end

for _, how in ipairs { "unknown", "down" } do
  local name = how == "down" and "DNS that does not answer" or "DNS that knows no such name"
  matrix:add { name, host = world.NAME, env = resolves(how), surfaces = "process", not_sent = 3,
    code = "RESOLVE", requests = 2, whole = 0 }
  matrix:add { name, host = world.NAME, env = resolves(how), surfaces = "command", not_sent = 3,
    code = "RESOLVE", requests = 5, whole = 0 }
end
-- A resolver that answers when the cell lets it, or not at all while the call lasts.
local function is_there(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

local function with_slow_resolver(place, surface, is_answered)
  local folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-resolver-XXXXXX"')
  local path = folder .. "/answer"
  place.cell.env = resolves(path)
  local job = surfaces.begin(surface, place)
  assert(process.wait_until(function() return is_there(path .. ".asked") end))
  if is_answered then assert(io.open(path, "w")):close() end
  local outcome = job:outcome()
  local is_late = is_there(path .. ".late") -- the call waited for the resolver to give up
  shell.remove_folder(folder)
  return outcome, is_late
end

for _, surface in ipairs { "process", "command" } do
  matrix:add_own({ surface .. ": DNS that is slow", host = world.NAME, done = 3 },
    function(place, check) check(surface, (with_slow_resolver(place, surface, true))) end)
end
matrix:add_own({ "process: DNS that is slower than the time for a connection", host = world.NAME,
  not_sent = 3, code = "TIMEOUT", requests = 2, whole = 0, options = { connect_timeout_ms = 150 } },
  function(place, check)
    local outcome, is_late = with_slow_resolver(place, "process", false)
    check("process", outcome)
    assert.is_false(is_late)
  end)

describe("the fault matrix: the network:", function()
  setup(world.open)
  teardown(matrix.close)

  it("begins what takes seconds #slow", matrix.begin)
  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("has as many cells as there were #house", function()
    assert.truthy(#matrix >= cells.least("fault_cells_network"), #matrix)
    local all = 0
    for _, part in ipairs { "network", "answers", "codes", "local" } do
      all = all + cells.least("fault_cells_" .. part)
    end
    assert.equal(cells.least("fault_cells"), all)
  end)
end)
