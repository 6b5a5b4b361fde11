-- The corpus of every fuzz target (spec/fuzz), replayed under AddressSanitizer and UBSan. To look
-- for more: spec/fuzz/run 60.

local shell = require "imattr.sandbox.shell"

local function read_counts()
  local counts = {}
  for name, number in (shell.read("spec/counts") or ""):gmatch("(%S+) +(%d+)") do
    counts[name] = tonumber(number)
  end
  return counts
end

-- The targets that have a corpus, with how many inputs each has.
local function corpora()
  local inputs, names, sum = {}, {}, 0
  for path in shell.output("find spec/fuzz/corpus -type f | LC_ALL=C sort"):gmatch("[^\n]+") do
    local name = path:match("corpus/([^/]+)/")
    if not inputs[name] then
      names[#names + 1] = name
    end
    inputs[name] = (inputs[name] or 0) + 1
    sum = sum + 1
  end
  return names, inputs, sum
end

local targets, inputs, sum = corpora()

describe("the fuzz target #slow", function()
  for _, name in ipairs(targets) do
    it(name .. " finds nothing in its corpus", function()
      local text, ok = shell.output("spec/fuzz/run replay " .. name)
      assert.is_true(ok, text)
      assert.equal(inputs[name], tonumber(text:match(name .. " +(%d+) inputs replayed")), text)
    end)
  end

  it("has a corpus that does not shrink", function()
    local least = read_counts()
    assert.is_true(#targets >= least.fuzz_targets, #targets .. " targets")
    assert.is_true(sum >= least.fuzz_corpus, sum .. " inputs")
    for _, name in ipairs(targets) do
      assert.is_true(inputs[name] <= 150, name)
    end
  end)
end)

-- target, input, what is said; nil: nothing is wrong
local MISTAKES = {
  { "mistakes", "0" }, { "mistakes", "" },
  { "mistakes", "read", "heap%-buffer%-overflow" },
  { "mistakes", "number", "signed integer overflow" },
  { "mistakes", "leak", "detected memory leaks" },
  { "mistakes", "must", "mistakes%.c:%d+: does not hold: place == 0" },
  { "raises", "return" },
  { "raises", "error({})", "table: " },
  { "raises", "local wire = require 'imattr.wire' wire.date_s({})", "lua/imattr/wire%.lua:%d+" },
  { "raises", "require('imattr.core').signer()", "string expected" },
}

describe("a fuzz target #slow", function()
  it("sees what goes wrong", function()
    local path = os.tmpname()
    for _, case in ipairs(MISTAKES) do
      local name, input, wanted = case[1], case[2], case[3]
      local file = assert(io.open(path, "wb"))
      file:write(input)
      file:close()
      local text, ok = shell.output(("spec/fuzz/run input %s %s"):format(name, path))
      assert.equal(wanted == nil, ok, input .. "\n" .. text)
      assert.truthy(text:find(wanted or "Executed"), input .. "\n" .. text)
    end
    os.remove(path)
  end)
end)
