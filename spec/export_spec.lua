-- The window of an export as a pure thing: accounts in, answers in any order, users out in the
-- order of the input.
local export = require "imattr.cli.export"

-- A source of these accounts; false stands for a row without one.
local function source_of(list)
  local source = { line = 0 }
  function source.next()
    source.line = source.line + 1
    local account = list[source.line]
    return account, account == false and "no account" or nil
  end
  return source
end

local function new(list, window)
  local out = { written = {}, failed = {} }
  out.run = export.new { source = source_of(list), window = window,
    write = function(account, attrs)
      out.written[#out.written + 1] = account .. "=" .. tostring(attrs.v)
      return true
    end,
    on_failure = function(failure)
      out.failed[#out.failed + 1] = ("%d %s %s %s"):format(failure.line,
        tostring(failure.account), failure.fate, failure.code)
    end }
  return out
end

local function never() error("must not wait") end

describe("an export", function()
  it("gives users out in the order of the input", function()
    local out = new { "a", "b", "c" }
    local asked = {}
    for account in function() return out.run:next(never) end do asked[#asked + 1] = account end
    assert.are.same({ "a", "b", "c" }, asked)
    assert.is_true(out.run:is_through())
    out.run:take("c", { v = 3 })
    assert.are.same({}, out.written)
    out.run:take("a", { v = 1 })
    assert.are.same({ "a=1" }, out.written)
    out.run:take("b", { v = 2 })
    assert.are.same({ "a=1", "b=2", "c=3" }, out.written)
    assert.are.equal(3, out.run.counts.users)
  end)

  it("asks once for an account that comes twice while it waits, and again later", function()
    local out = new { "a", "a", "b", "a" }
    assert.are.equal("a", out.run:next(never))
    assert.are.equal("b", out.run:next(never))
    out.run:take("a", { v = 1 })
    assert.are.same({ "a=1", "a=1" }, out.written)
    assert.are.equal("a", out.run:next(never))
    out.run:take("b", { v = 2 })
    out.run:take("a", { v = 3 })
    assert.are.same({ "a=1", "a=1", "b=2", "a=3" }, out.written)
  end)

  it("leaves out who failed, and says why", function()
    local out = new { "a", false, "b", "c" }
    while out.run:next(never) do end
    out.run:settle { account = "a", fate = "unknown", code = "TIMEOUT", message = "no answer" }
    out.run:settle { account = "b", fate = "done" } -- an answer that does not name it
    out.run:take("c", { v = 3 })
    out.run:settle { account = "c", fate = "done" }
    assert.are.same({ "c=3" }, out.written)
    assert.are.same({ "2 nil invalid BAD_ROW", "1 a unknown TIMEOUT", "3 b absent ABSENT" },
      out.failed)
    assert.are.same({ users = 1, failed = 3, absent = 1 }, out.run.counts)
  end)

  it("takes no notice of an answer that nobody asked for", function()
    local out = new { "a" }
    out.run:next(never)
    out.run:take("z", { v = 1 })
    out.run:settle { account = "z", fate = "unknown" }
    assert.are.same({}, out.written)
    assert.are.same({}, out.failed)
  end)

  it("holds the source back while the window is full", function()
    local list = {}
    for index = 1, 400 do list[index] = "u" .. index end
    local out = new(list, 300)
    for _ = 1, 300 do out.run:next(never) end
    local waits = 0
    local account = out.run:next(function()
      waits = waits + 1
      out.run:take(waits == 1 and "u2" or "u1", { v = waits }) -- the head comes second
      return true
    end)
    assert.are.equal("u301", account)
    assert.are.equal(2, waits)
    assert.are.same({ "u1=2", "u2=1" }, out.written)
  end)

  it("ends the call when what is open may be in a batch that is not full", function()
    local list = {}
    for index = 1, 300 do list[index] = "a" end
    list[301] = "b"
    local out = new(list, 200)
    assert.are.equal("a", out.run:next(never))
    assert.is_nil(out.run:next(never))
    assert.is_false(out.run:is_through())
    out.run:take("a", { v = 1 }) -- as the end of a call brings
    assert.are.equal(200, out.run.counts.users)
    assert.are.equal("a", out.run:next(never)) -- and the next call goes on
    assert.are.equal("b", out.run:next(never))
    assert.is_nil(out.run:next(never))
    assert.is_true(out.run:is_through())
  end)

  it("asks for nothing more once it cannot write", function()
    local run = export.new { source = source_of { "a", "b" }, on_failure = never,
      write = function() return nil, "No space left on device" end }
    run:next(never)
    run:take("a", {})
    assert.are.equal("No space left on device", run.write_failure)
    assert.is_nil(run:next(never))
    assert.is_true(run:is_through())
  end)

  it("gives everybody out once and in order, whatever happens (1,000 random runs)", function()
    local seed = 1
    local function random(most)
      seed = (seed * 16807) % 2147483647
      return seed % most + 1
    end
    for _ = 1, 1000 do
      local list, wanted = {}, {}
      for index = 1, random(40) do list[index] = "u" .. random(12) end
      local window = random(30)
      local out, open = new(list, window), {}
      out.run._batch = 2
      local function answer()
        if #open == 0 then return true end
        local account = table.remove(open, random(#open))
        out.run:take(account, { v = account })
        return true
      end
      repeat
        local account = out.run:next(answer)
        if account then open[#open + 1] = account end
        if not account or random(3) == 1 then answer() end
        if not account then while #open > 0 do answer() end end
      until out.run:is_through() and #open == 0
      for index, account in ipairs(list) do wanted[index] = account .. "=" .. account end
      assert.are.same(wanted, out.written)
    end
  end)
end)
