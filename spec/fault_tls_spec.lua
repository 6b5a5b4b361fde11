-- Certificates and strangers, against a real server over libcurl: twelve rows, each by set_attr and
-- by the command.

local cells = require "faults.cells"
local certificates = require "faults.certificates"
local world = require "faults.world"

local matrix = cells.new()
matrix:take(certificates)

describe("a server's TLS:", function()
  setup(world.open)
  teardown(function()
    certificates.remove()
    matrix.close()
  end)

  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("has as many rows as there were #house", function()
    assert.equal(12, certificates.count(matrix))
    assert.truthy(#matrix >= cells.least("tls_rows"), #matrix)
  end)
end)
