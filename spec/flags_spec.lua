-- What the values of flags say, and what is wrong with those that say nothing.
local flags = require "imattr.cli.flags"
local process = require "support.process"

local INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4"

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

  -- What a moment is, seconds after another, as a place with summer time sees it.
  local function after(given, now)
    local script = ([[
      local year, month, day, hour, min = ("%s"):match("(%%d+)-(%%d+)-(%%d+) (%%d+):(%%d+)")
      local now_s = os.time { year = year, month = month, day = day, hour = hour, min = min }
      local found = require("imattr.cli.flags").deadline("%s", now_s)
      print(os.date("%%Y-%%m-%%d %%H:%%M:%%S", found.at_s), found.at_s - now_s, found.shown)]])
      :format(now, given)
    local output = process.run({ INTERPRETER, "-e", script }, {
      env = { TZ = "CET-1CEST,M3.5.0,M10.5.0/3", LUA_PATH = "lua/?.lua;;" } })
    return (output.stdout:gsub("\n$", "")), output.stderr
  end

  for _, case in ipairs {
    { "06:00", "2026-07-01 22:30", "2026-07-02 06:00:00\t27000\t06:00" },
    { "6:00", "2026-07-01 05:59", "2026-07-01 06:00:00\t60\t06:00" },
    { "06:00", "2026-07-01 06:00", "2026-07-02 06:00:00\t86400\t06:00" },
    { "00:00", "2026-12-31 23:00", "2027-01-01 00:00:00\t3600\t00:00" },
    { "06:00", "2026-03-28 20:00", "2026-03-29 06:00:00\t32400\t06:00" }, -- an hour is left out
    { "06:00", "2026-10-24 20:00", "2026-10-25 06:00:00\t39600\t06:00" }, -- an hour comes twice
    { "90m", "2026-07-01 22:30", "2026-07-02 00:00:00\t5400\t00:00" },
    { "2h", "2026-03-29 01:00", "2026-03-29 04:00:00\t7200\t04:00" },
    { "45s", "2026-07-01 22:30", "2026-07-01 22:30:45\t45\t22:30:45" },
    { "168h", "2026-07-01 22:30", "2026-07-08 22:30:00\t604800\t22:30" },
  } do
    it(("deadline takes %s at %s"):format(case[1], case[2]), function()
      assert.are.equal(case[3], (after(case[1], case[2])))
    end)
  end

  it("deadline refuses what is no time", function()
    for _, given in ipairs { "", "6", "24:00", "06:60", "6:0", "-06:00", "0m", "00s", "169h", "1d",
      "1.5h", "06:00:00", "90 m" } do
      assert.are.same({ nil, ("--deadline: %s, must be a time as in 06:00, or 45s, 90m, 2h up to a "
        .. "week"):format(given) }, { flags.deadline(given) })
    end
  end)
end)
