-- Certificates and strangers, against a real server over nginx's cosockets: twelve rows.

local cells = require "faults.cells"
local certificates = require "faults.certificates"
local cosocket = require "faults.cosocket"
local world = require "faults.world"

local matrix = cells.new { surfaces = cosocket.SURFACES, differs = cosocket.certificates }
matrix:take(certificates)

describe("a server's TLS over cosockets:", function()
  setup(world.open_nginx)
  teardown(function()
    certificates.remove()
    matrix.close()
  end)

  for _, cell in ipairs(matrix) do it(cell.name, cell.run) end

  it("differs in cells that there are #house", function()
    assert.same({}, matrix:strangers())
  end)

  it("has as many rows as there were #house", function()
    assert.equal(12, certificates.count(matrix))
    assert.truthy(#matrix >= cells.least("cosocket_tls_rows"), #matrix)
  end)
end)
