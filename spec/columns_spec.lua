-- Text in columns: widths of letters of all kinds, lines that fit, cells one under the other.
local columns = require "imattr.cli.columns"

describe("the width of text", function()
  local cases = {
    { "", 0 }, { "abc", 3 }, { "Zürich", 6 }, { "大阪", 4 }, { "서울", 4 }, { "ﾃｽﾄ", 3 },
    { "ＡＢ", 4 }, { "e\204\129", 1 }, { "か\227\130\153", 2 }, { "😀", 2 }, { "𠮷", 2 },
    { "Ωж", 2 }, { "a大b", 4 }, { "한\226\128\139", 3 },
  }
  for _, case in ipairs(cases) do
    it(("of %q is %d"):format(case[1], case[2]), function()
      assert.are.equal(case[2], columns.width(case[1]))
    end)
  end
end)

describe("text broken into lines", function()
  it("stays whole where it fits, or where there is no width", function()
    assert.are.same({ "a  b" }, columns.wrapped("a  b", 4))
    assert.are.same({ ("x"):rep(500) }, columns.wrapped(("x"):rep(500)))
    assert.are.same({ "" }, columns.wrapped("", 5))
  end)

  it("breaks between words, and inside one that is too long", function()
    assert.are.same({ "check the", "endpoint" }, columns.wrapped("check the endpoint", 10))
    assert.are.same({ "see", "abcdef", "ghij k" }, columns.wrapped("see abcdefghij k", 6))
  end)

  it("never is wider than it may, and loses nothing", function()
    local text = "70009: the signature (大阪 서울 " .. ("ｱ大"):rep(30) .. ") does not verify 😀; x"
    for width = 2, 90 do
      local lines = columns.wrapped(text, width)
      for _, line in ipairs(lines) do assert.is_true(columns.width(line) <= width, line) end
      assert.are.equal((text:gsub(" ", "")), (table.concat(lines):gsub(" ", "")))
    end
  end)
end)

describe("cells", function()
  it("stand one under the other, whatever letters they have", function()
    local lines = columns.lines { { "a", "大阪", "x" }, { "bcd", "e", "y" }, { "f", "", "" } }
    assert.are.same({ "a    大阪  x", "bcd  e     y", "f" }, lines)
  end)
end)
