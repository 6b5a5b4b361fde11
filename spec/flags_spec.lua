-- What the values of flags say, and what is wrong with those that say nothing.
local flags = require "imattr.cli.flags"

describe("the flag", function()
  local cases = {
    { "delimiter", ";", ";" }, { "delimiter", "tab", "\t" }, { "delimiter", "\\t", "\t" },
    { "delimiter", "|", "|" }, { "delimiter", ",", "," }, { "delimiter", "comma", "," },
    { "delimiter", "semicolon", ";" },
    { "columns", "account=uid", { To_Account = "uid" } },
    { "columns", "account=uid,city=town", { To_Account = "uid", city = "town" } },
    { "columns", "To_Account=uid,a b=c=d", { To_Account = "uid", ["a b"] = "c=d" } },
    { "errors_max", "0", { count = 0 } }, { "errors_max", "12", { count = 12 } },
    { "errors_max", "5%", { percent = 5 } }, { "errors_max", "0.5%", { percent = 0.5 } },
    { "errors_max", "100%", { percent = 100 } },
  }
  for _, case in ipairs(cases) do
    it(("%s takes %q"):format(case[1], case[2]), function()
      assert.are.same(case[3], (flags[case[1]](case[2])))
    end)
  end

  local refused = {
    { "delimiter", "", "--delimiter: , must be one character, or tab" },
    { "delimiter", ";;", "--delimiter: ;;, must be one character, or tab" },
    { "delimiter", '"', '--delimiter: ", must be one character, or tab' },
    { "delimiter", "x", "--delimiter: x, must be one character, or tab" },
    { "delimiter", "\n", "--delimiter: \n, must be one character, or tab" },
    { "columns", "", "--columns: , must be NAME=COLUMN,..." },
    { "columns", "uid", "--columns: uid, must be NAME=COLUMN,..." },
    { "columns", "account=", "--columns: account=, must be NAME=COLUMN,..." },
    { "columns", "account=uid,", "--columns: , must be NAME=COLUMN,..." },
    { "columns", "account=uid,account=id", "--columns: account is there twice" },
    { "columns", "account=uid,To_Account=id", "--columns: To_Account is there twice" },
    { "columns", "city=town,place=town", "--columns: town is there twice" },
    { "errors_max", "", "--max-errors: , must be a number, or a share as in 5%" },
    { "errors_max", "-1", "--max-errors: -1, must be a number, or a share as in 5%" },
    { "errors_max", "101%", "--max-errors: 101%, must be a number, or a share as in 5%" },
    { "errors_max", "5 %", "--max-errors: 5 %, must be a number, or a share as in 5%" },
  }
  for _, case in ipairs(refused) do
    it(("%s refuses %q"):format(case[1], case[2]), function()
      assert.are.same({ nil, case[3] }, { flags[case[1]](case[2]) })
    end)
  end

  it("of a whole number has a least one", function()
    local limit = flags.integer("--limit", 1)
    assert.are.equal(1, limit("1"))
    assert.are.equal(123, limit("123"))
    for _, given in ipairs { "0", "-1", "1.5", "x", "", "0x10" } do
      assert.are.same({ nil, ("--limit: %s, must be a whole number from 1"):format(given) },
        { limit(given) })
    end
  end)
end)
