-- The fault matrix over libcurl: the vendor's codes.

local cells = require "faults.cells"
local codes = require "imattr.codes"
local refusals = require "faults.refusals"
local world = require "faults.world"

local matrix = cells.new()
matrix:take(refusals)

describe("the fault matrix: codes:", function()
  setup(world.open)
  teardown(matrix.close)

  it("begins what takes seconds #slow", matrix.begin)
  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("has a cell for every code that has a row #house", function()
    local known = {}
    for _, list in pairs(refusals.codes) do
      for code in list:gmatch("%d+") do known[tonumber(code)] = true end
    end
    for code in pairs(codes) do assert.is_true(known[code], "no cell: " .. code) end
    for code in pairs(known) do assert.truthy(rawget(codes, code), "no row: " .. code) end
  end)

  it("has as many cells as there were #house", function()
    assert.truthy(#matrix >= cells.least("fault_cells_codes"), #matrix)
  end)
end)
