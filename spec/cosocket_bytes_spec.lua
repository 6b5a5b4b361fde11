-- The fault matrix over nginx's cosockets once more, with every message going byte by byte, both
-- ways: connecting, sending, receiving, HTTP and body.

local cells = require "faults.cells"
local cosocket = require "faults.cosocket"
local world = require "faults.world"

local matrices = {}
for name in ("network replies"):gmatch("%a+") do
  local matrix = cells.new { surfaces = { call = "location" }, differs = cosocket[name],
    base = { slice = 1, slice_us = 10, read_us = -1 } }
  matrix:take(require("faults." .. name), "add_each")
  matrices[#matrices + 1] = matrix
end

describe("the fault matrix over cosockets, byte by byte:", function()
  setup(world.open_nginx)
  teardown(world.close)

  local count = 0
  for _, matrix in ipairs(matrices) do
    for _, cell in ipairs(matrix) do it(cell.name, cell.run) end
    count = count + #matrix
  end

  it("has as many cells as there were #house", function()
    assert.truthy(count >= cells.least("cosocket_cells_bytes"), count)
  end)
end)
