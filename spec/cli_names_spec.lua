-- imattr names, as real processes against a sandbox.
local command = require "support.command"

local run = command.run

describe("imattr names #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(function()
    command.enter()
    command.server:settings { attr_names = { "sex", "city" } }
  end)
  after_each(command.leave)

  -- How many requests of a command arrived.
  local function arrivals(name)
    return command.server:stats().commands[name].arrivals
  end

  it("lists them by index", function()
    local output = run { "names" }
    assert.are.equal("0  sex\n1  city\n", output.stdout)
    assert.are.equal("", output.stderr)
    assert.are.equal(0, output.code)
    assert.are.equal('{"0":"sex","1":"city"}\n', run({ "names", "--json" }).stdout)
  end)

  it("says how to begin when there are none", function()
    command.server:settings { attr_names = {} }
    local output = run { "names" }
    assert.are.equal("", output.stdout)
    assert.are.equal("imattr: no names are registered yet; to register some:\n"
      .. "  imattr names set 0=sex 1=city\n", output.stderr)
    assert.are.equal(0, output.code)
    assert.are.equal("{}\n", run({ "names", "--json" }).stdout)
  end)

  it("registers some, and shows what was there before", function()
    local output = run { "names", "set", "1=town", "0=sex", "7=vip" }
    assert.are.equal("0  sex   (as it was)\n1  town  (was city)\n7  vip   (new)\n", output.stdout)
    assert.are.equal("", output.stderr)
    assert.are.equal(0, output.code)
    assert.are.equal("0  sex\n1  town\n7  vip\n", run({ "names" }).stdout)
  end)

  it("takes names of 50 bytes, of any letters", function()
    local name = ("市"):rep(16) .. "ab"
    assert.are.equal(50, #name)
    assert.are.equal(0, run({ "names", "set", "9=" .. name }).code)
    assert.are.equal("0  sex\n1  city\n9  " .. name .. "\n", run({ "names" }).stdout)
  end)

  it("changes nothing in a dry run", function()
    local output = run { "names", "set", "--dry-run", "1=town" }
    assert.are.equal("0  sex\n1  town  (was city)\n", output.stdout)
    assert.are.equal(0, arrivals "im_set_attr_name")
    assert.are.equal("0  sex\n1  city\n", run({ "names" }).stdout)
  end)

  it("sends nothing when all is as it should be", function()
    assert.are.equal("0  sex\n1  city  (as it was)\n", run({ "names", "set", "1=city" }).stdout)
    assert.are.equal(0, arrivals "im_set_attr_name")
  end)

  it("prints one object when asked to", function()
    assert.are.equal('{"before":{"0":"sex","1":"city"},"set":{"2":"tier"},"done":true}\n',
      run({ "names", "set", "--json", "2=tier" }).stdout)
  end)

  it("makes a name safe to look at", function()
    command.server:settings { attr_names = { "a\27[2J" } }
    assert.are.equal("0  a\\x1B[2J\n", run({ "names" }).stdout)
  end)

  local mistakes = {
    { { "10=a" }, "10=a: index 10, must be 0 to 9; see imattr names --help" },
    { { "x=a" }, "x=a: index x, must be 0 to 9; see imattr names --help" },
    { { "sex" }, "sex: wants INDEX=NAME, as in 0=sex; see imattr names --help" },
    { { "3=" }, "3=: no name; a name cannot be taken away, only changed; see imattr names --help" },
    { { "3=" .. ("n"):rep(51) },
      "3=" .. ("n"):rep(25) .. "...: name of 51 bytes, limit 50; see imattr names --help" },
    { { "3=a", "3=b" }, "names: index 3 is given twice; give it once" },
    { { "3=a", "4=a" }, "names: a is given at indexes 3 and 4; a name has one index" },
    { { "4=city" }, "names: city is at index 1 already, and a name has one index; "
      .. "take it from there or choose another" },
  }
  for _, case in ipairs(mistakes) do
    it("refuses: " .. case[2]:sub(1, 60), function()
      local words = { "names", "set" }
      for _, word in ipairs(case[1]) do words[#words + 1] = word end
      local output = run(words)
      assert.are.equal("imattr: " .. case[2] .. "\n", output.stderr)
      assert.are.equal("", output.stdout)
      assert.are.equal(64, output.code)
      assert.are.equal(0, arrivals "im_set_attr_name")
    end)
  end

  it("ends with the code of what went wrong", function()
    assert.are.equal(77, run({ "names" }, { env = { IMATTR_KEY = command.KEY:reverse() } }).code)
    assert.are.equal(69, run({ "names" }, { env = { IMATTR_CA_FILE = false } }).code)
    assert.are.equal(78, run({ "names" }, { env = { IMATTR_KEY = false } }).code)
    assert.are.equal(78, run({ "names", "set", "0=a", "--key-file", "none" }).code)
  end)
end)
