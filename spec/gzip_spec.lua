-- Plain text out of what the gzip program writes: whole, in pieces, cut short and damaged.
local gzip = require "imattr.cli.gzip"

local function file_with(content)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  return path
end

-- What the gzip program makes of a text.
local function compressed(text)
  local path = file_with(text)
  local pipe = assert(io.popen("gzip -nc <" .. path))
  local bytes = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return bytes
end

local function pieces(text, size)
  local at = 1
  return function()
    if at > #text then return nil end
    local piece = text:sub(at, at + size - 1)
    at = at + size
    return piece
  end
end

-- The plain text that comes out before the end or a failure, and that.
local function read(bytes, size, most)
  local read_plain, parts = gzip.reader(pieces(bytes, size)), {}
  while true do
    local part, failure = read_plain(most or 64)
    if not part then
      assert.are.equal(failure, select(2, read_plain(64)))
      return table.concat(parts), failure
    end
    assert.is_true(#part > 0 and #part <= (most or 64))
    parts[#parts + 1] = part
  end
end

local WORDS = {}
for number = 1, 300 do WORDS[number] = ("user%d,%d\n"):format(number, number * 7919 % 1000) end
local TEXT = table.concat(WORDS)

describe("gzip", function()
  local whole = compressed(TEXT)

  it("is told by its first bytes", function()
    assert.is_true(gzip.is_gzip(whole))
    for _, other in ipairs { "", "\31", "To_Account", "\139\31" } do
      assert.is_false(gzip.is_gzip(other))
    end
  end)

  it("gives the plain text, in whatever pieces it comes", function()
    for _, size in ipairs { 1, 2, 7, 512, #whole } do
      for _, most in ipairs { 1, 64, 65536 } do
        assert.are.same({ TEXT }, { read(whole, size, most) })
      end
    end
  end)

  local joined = {
    { "one member behind another", whole .. compressed("more\n"), TEXT .. "more\n" },
    { "an empty member", compressed(""), "" },
    { "an empty member between others", whole .. compressed("") .. whole, TEXT .. TEXT },
    { "zeros behind the end", whole .. ("\0"):rep(1000), TEXT },
    { "text behind zeros", whole .. "\0\0" .. whole, TEXT, "gzip: text after its end" },
    { "text behind the end", whole .. "To_Account", TEXT, "gzip: incorrect header check" },
    { "nothing", "", "", "gzip: cut short" },
  }
  for _, case in ipairs(joined) do
    it("reads " .. case[1], function()
      for _, size in ipairs { 1, 3, #case[2] + 1 } do
        assert.are.same({ case[3], case[4] }, { read(case[2], size) })
      end
    end)
  end

  it("says when it is cut short, wherever that is, and gives what came before #heavy", function()
    for length = 0, #whole - 1 do
      local plain, failure = read(whole:sub(1, length), 100)
      assert.are.equal("gzip: cut short", failure)
      assert.are.equal(TEXT:sub(1, #plain), plain)
    end
  end)

  it("says when a byte of it is damaged, or it did not matter #heavy", function()
    local told = 0
    for at = 1, #whole do
      local byte = whole:byte(at)
      local damaged = whole:sub(1, at - 1) .. string.char((byte + 128) % 256) .. whole:sub(at + 1)
      local plain, failure = read(damaged, 100)
      if failure then
        told = told + 1
        assert.truthy(failure:find("^gzip: %l"), failure)
      else
        assert.are.equal(TEXT, plain) -- the time, say
      end
    end
    assert.is_true(told > #whole - 10)
  end)

  it("keeps a small input from becoming a large piece", function()
    local bytes = compressed(("x"):rep(5000000))
    assert.is_true(#bytes < 10000)
    assert.are.equal(5000000, #(read(bytes, #bytes, 4096)))
  end)

  it("hands on that reading failed", function()
    local parts = { whole:sub(1, 50), false }
    local read_plain = gzip.reader(function()
      local part = table.remove(parts, 1)
      if part then return part end
      return nil, "Input/output error"
    end)
    local part, failure
    repeat part, failure = read_plain(100) until not part
    assert.are.equal("Input/output error", failure)
  end)
end)
