-- The fault matrix over nginx's cosockets: the vendor's codes.

local cells = require "faults.cells"
local cosocket = require "faults.cosocket"
local world = require "faults.world"

local matrix = cells.new { surfaces = cosocket.SURFACES, differs = cosocket.refusals }
matrix:take(require "faults.refusals")

describe("the fault matrix over cosockets: codes:", function()
  setup(world.open_nginx)
  teardown(matrix.close)

  it("begins what takes seconds #slow", matrix.begin)
  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("differs in cells that there are #house", function()
    assert.same({}, matrix:strangers())
  end)

  it("has as many cells as there were #house", function()
    assert.truthy(#matrix >= cells.least("cosocket_cells_codes"), #matrix)
  end)
end)
