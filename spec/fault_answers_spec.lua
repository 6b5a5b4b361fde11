-- The fault matrix over libcurl: HTTP and body.

local cells = require "faults.cells"
local world = require "faults.world"

local matrix = cells.new()
matrix:take(require "faults.replies")

describe("the fault matrix: answers:", function()
  setup(world.open)
  teardown(matrix.close)

  it("begins what takes seconds #slow", matrix.begin)
  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("has as many cells as there were #house", function()
    assert.truthy(#matrix >= cells.least("fault_cells_answers"), #matrix)
  end)
end)
