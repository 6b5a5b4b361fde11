-- What stands in two places of the build, and must be the same in both: Makefile and rockspec.

local tree = require "support.tree"

local read = tree.read
local files = tree.files
local noun_of = tree.noun_of
local sorted_keys = tree.sorted_keys
local assert_none = tree.assert_none
local seen_by = tree.seen_by

-- The C modules, and the lists of their sources in the Makefile.
local MODULES = { ["imattr.core"] = "CORE", ["imattr.curl"] = "CURL", ["imattr.job"] = "JOB",
  ["imattr.csv"] = "CSV" }

describe("the build #house", function()
  local makefile = read("Makefile"):gsub("\\\n%s*", " ")

  local function make_list(name)
    local list = {}
    for word in ("\n" .. makefile):match("\n" .. name .. " = ([^\n]*)"):gmatch("%S+") do
      list[#list + 1] = word
    end
    return list
  end

  local function rockspec()
    local spec = {}
    local text = read("rockspec/imattr-scm-1.rockspec")
    local chunk
    if _G.setfenv then
      chunk = assert(_G.loadstring(text))
      _G.setfenv(chunk, spec)
    else
      chunk = assert(load(text, "rockspec", "t", spec))
    end
    chunk()
    return spec
  end

  it("has the same C sources in Makefile and rockspec", function()
    for module, name in pairs(MODULES) do
      local wanted = {}
      for _, noun in ipairs(make_list(name)) do wanted[#wanted + 1] = "src/" .. noun .. ".c" end
      assert.are.same(wanted, rockspec().build.modules[module].sources)
    end
  end)

  it("defines the same feature macros in both", function()
    local wanted = {}
    for define in table.concat(make_list("FEATURES"), " "):gmatch("%-D(%S+)") do
      wanted[#wanted + 1] = define
    end
    for module in pairs(MODULES) do
      assert.are.same(wanted, rockspec().build.modules[module].defines)
    end
  end)

  it("builds every C file", function()
    local built = {}
    for _, list in pairs(MODULES) do
      for _, noun in ipairs(make_list(list)) do built[noun] = true end
    end
    local there = {}
    for _, path in ipairs(files("src", ".c")) do there[noun_of(path)] = true end
    assert.are.same(sorted_keys(there), sorted_keys(built))
  end)

  it("ships every Lua file", function()
    local wanted, listed = {}, {}
    for _, path in ipairs(files("lua", ".lua")) do wanted[path] = true end
    for module, source in pairs(rockspec().build.modules) do
      if type(source) == "string" then
        listed[source] = true
        assert.are.equal(source, source:match("^lua/" .. module:gsub("%.", "/") .. "%.lua$")
          or source:match("^lua/" .. module:gsub("%.", "/") .. "/init%.lua$"))
      end
    end
    assert.are.same(sorted_keys(wanted), sorted_keys(listed))
  end)

  it("knows every header that an object sees", function()
    local complaints = {}
    for _, path in ipairs(files("src", ".c")) do
      local noun = noun_of(path)
      local headers = {}
      for _, name in ipairs(sorted_keys(seen_by(noun))) do
        headers[#headers + 1] = "src/" .. name .. ".h"
      end
      local wanted = ("$(call of,%s): %s"):format(noun, table.concat(headers, " "))
      if not ("\n" .. makefile:gsub(" +", " ") .. "\n"):find("\n" .. wanted .. "\n", 1, true) then
        complaints[#complaints + 1] = "Makefile should say: " .. wanted
      end
    end
    assert_none(complaints)
  end)
end)
