-- The house: who may know whom, how long things may be, and what stands in two places and must be
-- the same in both. Everything is read from the source tree; a complaint names the file.

-- ---- the rules, as tables

-- C: which headers a file may include itself. A noun's own header goes without saying.
local C_ARROWS = {
  status = {},
  buffer = { "status" },
  backoff = {},
  patience = { "backoff" },
  json = { "buffer", "status" },
  secret = { "status" },
  usersig = { "json", "secret", "buffer", "status" },
  pace = { "status" },
  pool = {},
  fault = { "json", "buffer", "status" },
  batch = { "pool", "buffer", "status" },
  draft = { "batch", "fault", "json", "pool", "buffer", "status" },
  roster = { "batch", "pool", "buffer", "status" },
  trip = { "roster", "batch", "buffer", "status" },
  engine = { "batch", "pace" },
  engine_state = { "engine", "patience", "trip" },
  life = { "engine_state" },
  departure = { "engine_state" },
  judgement = { "engine_state" },
  curl_status = { "status" },
  curl_pool = { "curl_status", "buffer", "status" },
  lua_compat = {},
  lua_bind = { "lua_compat", "status" },
  lua_core = { "lua_bind", "pace", "buffer", "status" },
  lua_system = { "lua_core", "lua_bind", "status" },
  lua_usersig = { "lua_core", "lua_bind", "usersig", "buffer", "status" },
  lua_pace = { "lua_core", "lua_bind", "pace", "status" },
  lua_update = { "lua_bind", "lua_compat", "draft", "batch", "fault" },
  lua_engine = { "lua_core", "lua_bind", "lua_update", "engine", "draft", "pace", "buffer",
    "status" },
  lua_job = { "lua_bind", "status" },
  csv = { "buffer", "status" },
  gunzip = { "status" },
  lua_csv = { "lua_bind", "csv", "gunzip", "status" },
  lua_curl = { "lua_bind", "curl_pool", "buffer", "status" },
}

-- Libraries: whose headers a file may include, by its name.
local LIBRARY_OWNERS = {
  { header = "^lua[%w_]*%.h$", files = "^lua_" },
  { header = "^lauxlib%.h$", files = "^lua_" },
  { header = "^lualib%.h$", files = "^lua_" },
  { header = "^luajit%.h$", files = "^lua_" },
  { header = "^curl/", files = "curl" },
  { header = "^zlib%.h$", files = "^[gu]" }, -- gunzip, usersig
  { header = "^sqlite3%.h$", files = "^lua_job" },
}

-- What may lie at the top of the tree.
local TOP = {
  ["src"] = true, ["lua"] = true, ["rockspec"] = true, ["spec"] = true,
  ["Makefile"] = true, ["README.md"] = true, ["LICENSE"] = true, ["CHANGELOG.md"] = true,
  ["build"] = true, -- what make builds; never committed
}

local LINES_MAX = { c = 600, lua = 500, h = 200 }
local FUNCTION_LINES_MAX = 60

-- ---- reading

local tree = require "support.tree"

local read = tree.read
local lines_of = tree.lines_of
local files = tree.files
local noun_of = tree.noun_of
local set_of = tree.set_of
local sorted_keys = tree.sorted_keys
local assert_none = tree.assert_none
local includes = tree.includes

local C_FILES = files("src", ".c", ".h")
local LUA_FILES = files("lua", ".lua", "/bin/imattr")

-- The circles that can be reached from `nodes`, each as text; next_of(node) lists where it leads.
local function circles(nodes, next_of)
  local state, found = {}, {}
  local function visit(node, trail)
    if state[node] == "open" then found[#found + 1] = trail end
    if state[node] then return end
    state[node] = "open"
    for _, other in ipairs(next_of(node)) do visit(other, trail .. " -> " .. other) end
    state[node] = "closed"
  end
  for _, node in ipairs(nodes) do visit(node, node) end
  return found
end

-- ---- C

describe("the C side #house", function()
  it("includes only downwards", function()
    local complaints = {}
    for _, path in ipairs(C_FILES) do
      local noun = noun_of(path)
      local allowed = C_ARROWS[noun] and set_of(C_ARROWS[noun])
      if not allowed then
        complaints[#complaints + 1] = path .. ": a file that C_ARROWS does not know"
      else
        for _, name in ipairs((includes(path))) do
          if name ~= noun and not allowed[name] then
            complaints[#complaints + 1] = path .. " must not include " .. name .. ".h"
          end
        end
      end
    end
    assert_none(complaints)
  end)

  it("has arrows without a circle", function()
    assert_none(circles(sorted_keys(C_ARROWS), function(noun) return C_ARROWS[noun] end))
  end)

  it("leaves each library to its owner", function()
    local complaints = {}
    for _, path in ipairs(C_FILES) do
      local _, library = includes(path)
      for _, header in ipairs(library) do
        for _, rule in ipairs(LIBRARY_OWNERS) do
          if header:match(rule.header) and not noun_of(path):match(rule.files) then
            complaints[#complaints + 1] = path .. " must not include <" .. header .. ">"
          end
        end
      end
    end
    assert_none(complaints)
  end)

  it("asks for the Lua version in lua_compat.h alone", function()
    local complaints = {}
    for _, path in ipairs(C_FILES) do
      local text = read(path)
      local asks = text:find("LUA_VERSION_NUM", 1, true) or text:find("LUAJIT", 1, true)
      if asks and path ~= "src/lua_compat.h" then
        complaints[#complaints + 1] = path .. " asks which Lua it is"
      end
    end
    assert_none(complaints)
  end)
end)

-- ---- Lua

-- Which modules of ours a module may require: names, or `prefix.*`. Of several entries that fit a
-- module the longest counts.
local LUA_ARROWS = {
  ["imattr"] = {
    "imattr.client", "imattr.usersig", "imattr.codes", "imattr.batcher", "imattr.metrics",
    "imattr.core",
  },
  ["imattr.client"] = {
    "imattr.commands", "imattr.signature", "imattr.hosts", "imattr.options", "imattr.errors",
    "imattr.alarm", "imattr.batcher", "imattr.world", "imattr.redact", "imattr.core",
  },
  ["imattr.alarm"] = { "imattr.wire", "imattr.json", "imattr.errors", "imattr.core" },
  ["imattr.batcher"] = {
    "imattr.backlog", "imattr.driver", "imattr.ending", "imattr.ledger", "imattr.run",
    "imattr.settings", "imattr.spool", "imattr.metrics", "imattr.wire", "imattr.world",
    "imattr.errors", "imattr.redact", "imattr.core",
  },
  ["imattr.driver"] = { "imattr.pump", "imattr.metrics", "imattr.redact", "imattr.core" },
  ["imattr.run"] = {
    "imattr.attempts", "imattr.commands", "imattr.wire", "imattr.core",
  },
  ["imattr.attempts"] = { "imattr.metrics", "imattr.redact" },
  ["imattr.ending"] = { "imattr.metrics", "imattr.errors", "imattr.core" },
  ["imattr.settings"] = { "imattr.options", "imattr.redact" },
  ["imattr.backlog"] = {},
  ["imattr.ledger"] = {},
  ["imattr.metrics"] = {},
  ["imattr.spool"] = { "imattr.core" },
  ["imattr.commands"] = {
    "imattr.attempts", "imattr.pump", "imattr.report", "imattr.source", "imattr.wire",
    "imattr.options", "imattr.errors", "imattr.transport.dry", "imattr.redact", "imattr.core",
  },
  ["imattr.world"] = { "imattr.transport.*", "imattr.core" },
  ["imattr.report"] = { "imattr.wire", "imattr.codes", "imattr.core" },
  ["imattr.source"] = { "imattr.errors", "imattr.core" },
  ["imattr.signature"] = { "imattr.usersig", "imattr.errors" },
  ["imattr.pump"] = { "imattr.wire", "imattr.errors", "imattr.core" },
  ["imattr.hosts"] = { "imattr.wire", "imattr.errors" },
  ["imattr.json"] = { "imattr.errors" },
  ["imattr.wire"] = { "imattr.json", "imattr.codes", "imattr.errors", "imattr.redact",
    "imattr.core" },
  ["imattr.usersig"] = { "imattr.core", "imattr.errors", "imattr.redact" },
  ["imattr.options"] = { "imattr.errors", "imattr.redact" },
  ["imattr.errors"] = { "imattr.codes", "imattr.redact", "imattr.core" },
  ["imattr.codes"] = {},
  ["imattr.redact"] = {},
  ["imattr.transport.curl"] = { "imattr.curl" },
  ["imattr.transport.dry"] = {},
  ["imattr.transport.cosocket"] = { "imattr.transport.http" },
  ["imattr.transport.http"] = {},
  ["imattr.sandbox.*"] = { "imattr.sandbox.*", "imattr.core" },
  ["imattr.cli.*"] = {
    "imattr", "imattr.cli.*", "imattr.json", "imattr.options", "imattr.codes", "imattr.errors",
    "imattr.redact",
    "imattr.core",
  },
  ["imattr.cli.figures"] = {
    "imattr", "imattr.cli.*", "imattr.attempts", "imattr.metrics", "imattr.core",
  },
  ["imattr.cli.job"] = { "imattr.job", "imattr.core" },
  ["imattr.cli.plan_file"] = { "imattr.cli.job", "imattr.job" },
  ["imattr.cli.csv"] = { "imattr.csv" },
  ["imattr.cli.gzip"] = { "imattr.csv" },
  ["imattr.cli.sandbox"] = { "imattr.cli.*", "imattr.sandbox.*" },
  -- looks at each step of a request by itself
  ["imattr.cli.probe"] = {
    "imattr.cli.*", "imattr.client", "imattr.wire", "imattr.world", "imattr.core",
  },
  ["bin.imattr"] = { "imattr.cli.*" },
}

-- Libraries, and the modules that may require them.
local LUA_LIBRARIES = {
  ["cjson"] = { "imattr.*" },
  ["cjson.safe"] = { "imattr.*" },
  ["argparse"] = { "imattr.cli.*" },
  ["ngx.semaphore"] = { "imattr.transport.cosocket", "imattr.batcher", "imattr.ledger" },
  ["ffi"] = { "imattr.sandbox.handler", "imattr.spool" }, -- run in nginx only
  ["bit"] = { "imattr.spool" },
}

describe("the Lua side #house", function()
  local function module_of(path)
    return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
  end

  local function fits(name, entry)
    if entry:sub(-2) ~= ".*" then return name == entry end
    return name == entry:sub(1, -3) or name:sub(1, #entry - 1) == entry:sub(1, -2)
  end

  local function rule_for(module)
    local best
    for entry in pairs(LUA_ARROWS) do
      if fits(module, entry) and (not best or #entry > #best) then best = entry end
    end
    return best and LUA_ARROWS[best]
  end

  local function may(allowed, name)
    for _, entry in ipairs(allowed) do
      if fits(name, entry) then return true end
    end
    return false
  end

  -- The modules of ours that a file requires, and the others.
  local function requires(path)
    local own, library = {}, {}
    for name in read(path):gmatch("require%s*%(?%s*[\"']([%w_.]+)[\"']") do
      local list = fits(name, "imattr.*") and own or library
      list[#list + 1] = name
    end
    return own, library
  end

  it("requires only downwards", function()
    local complaints = {}
    for _, path in ipairs(LUA_FILES) do
      local allowed = rule_for(module_of(path))
      if not allowed then
        complaints[#complaints + 1] = path .. ": a file that LUA_ARROWS does not know"
      end
      for _, name in ipairs((requires(path))) do
        if allowed and not may(allowed, name) then
          complaints[#complaints + 1] = path .. " must not require " .. name
        end
      end
    end
    assert_none(complaints)
  end)

  it("requires in no circle", function()
    local wanted = {}
    for _, path in ipairs(LUA_FILES) do wanted[module_of(path)] = requires(path) end
    assert_none(circles(sorted_keys(wanted), function(module) return wanted[module] or {} end))
  end)

  it("requires no library that its place does not have", function()
    local complaints = {}
    for _, path in ipairs(LUA_FILES) do
      local _, library = requires(path)
      for _, name in ipairs(library) do
        if not may(LUA_LIBRARIES[name] or {}, module_of(path)) then
          complaints[#complaints + 1] = path .. " must not require " .. name
        end
      end
    end
    assert_none(complaints)
  end)
end)

-- ---- sizes and words

-- First and last line of every function, and how many lines in between are functions themselves:
-- C by its braces in column one, Lua by the indentation of its `end`.
local function c_functions(lines, visit)
  local start
  for number, line in ipairs(lines) do
    if line:match("^%a.*%)%s*{$") or line:match("^  +%S.*%)%s*{$") and number > 1
      and lines[number - 1]:match("^%a.*[,(]$") then
      start = start or number
    elseif line == "}" and start then
      visit(start, number, 0)
      start = nil
    end
  end
end

local function lua_functions(lines, visit)
  local open = {} -- functions around the line, the innermost last
  for number, line in ipairs(lines) do
    local indent = line:match("^%s*")
    local inner = open[#open]
    if inner and inner.indent == indent and line:match("^%s*end") then
      visit(inner.first, number, inner.nested)
      open[#open] = nil
      local outer = open[#open]
      if outer then outer.nested = outer.nested + number - inner.first + 1 end
    end
    local opens = line:match("function[%s%w_.:]*%b()%s*$")
      or line:match("function[%s%w_.:]*%b()%s*%-%-")
    if opens then open[#open + 1] = { indent = indent, first = number, nested = 0 } end
  end
end

describe("every file #house", function()
  it("is short, and so is every function", function()
    local complaints = {}
    for _, path in ipairs(files("src lua spec", ".c", ".h", ".lua", "/bin/imattr")) do
      local lines = lines_of(read(path))
      local limit = LINES_MAX[path:match("%.(%a)$") or path:match("%.(%a+)$") or "lua"]
      if #lines > limit then
        complaints[#complaints + 1] = ("%s: %d lines, limit %d"):format(path, #lines, limit)
      end
      local function visit(first, last, nested)
        local own = last - first + 1 - nested
        if own > FUNCTION_LINES_MAX then
          complaints[#complaints + 1] = ("%s:%d: a function of %d lines, limit %d"):format(
            path, first, own, FUNCTION_LINES_MAX)
        end
      end
      if path:match("%.[ch]$") then
        c_functions(lines, visit)
      elseif not path:match("_spec%.lua$") then -- a describe block is a chapter
        lua_functions(lines, visit)
      end
    end
    assert_none(complaints)
  end)

  it("is finished, and knows no machine but the reader's", function()
    -- in halves, so that this file does not hold what it forbids
    local words = { "TO" .. "DO", "FIX" .. "ME", "XX" .. "X", "HA" .. "CK" }
    local places = { "/wo" .. "rk/", "/ro" .. "ot/", "/ho" .. "me/" }
    local complaints = {}
    local function look(path, number, line)
      for _, word in ipairs(words) do
        if (" " .. line .. " "):match("[^%w_]" .. word .. "[^%w_]") then
          complaints[#complaints + 1] = ("%s:%d: %s"):format(path, number, word)
        end
      end
      for _, place in ipairs(places) do
        local at = (" " .. line):find("[^%w_.]" .. place)
        if at then complaints[#complaints + 1] = ("%s:%d: %s"):format(path, number, place) end
      end
    end
    for _, path in ipairs(files("src lua spec rockspec .ci Makefile $(ls *.md)", "")) do
      if not path:match("%.csv$") then
        for number, line in ipairs(lines_of(read(path))) do look(path, number, line) end
      end
    end
    assert_none(complaints)
  end)

  it("lies where the design has a place for it", function()
    local complaints = {}
    local pipe = assert(io.popen("ls -A"))
    for name in pipe:lines() do
      if not TOP[name] and name:sub(1, 1) ~= "." then complaints[#complaints + 1] = name end
    end
    pipe:close()
    assert_none(complaints)
  end)
end)
