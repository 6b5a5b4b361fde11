-- The engine in wrong hands: misuse raises with a sentence that names the argument, and never
-- crashes; a closed engine stays closed.

local core = require "imattr.core"
local virtual = require "support.virtual"

local unpack = table.unpack or unpack
local NAN, INFINITE = 0 / 0, 1 / 0

-- Raises, with these words somewhere in the message.
local function assert_raises(words, call, ...)
  local ok, message = pcall(call, ...)
  assert.is_false(ok)
  assert(message:find(words, 1, true), message)
end

local function one_in_flight()
  local engine = core.engine(virtual.config())
  engine:push(1, "a", { x = "1" })
  engine:flush(true)
  local _, id = engine:next(0)
  return engine, id
end

local METHODS = {
  push = { 1, "a", {} }, push_users = { 1, {}, 1, 0 }, skip = {}, room = {}, flush = { true },
  next = { 0 },
  refuse_user = { 1, "a", 1 }, feed = { 1, 0, "delivered" }, stop = { 1 }, stop_code = {},
  result = {}, counts = {},
}

describe("an engine's configuration", function()
  local numbers = {
    { "account_bytes_max", 1, 255 }, { "value_bytes_max", 1, 500 }, { "users_max", 1, 1000 },
    { "body_bytes_max", 1, 2147483647 }, { "queue_max", 1, 2147483647 },
    { "in_flight_max", 1, 1000 }, { "attempts_max", 1, 1000 }, { "seed", 0, 4294967295 },
  }
  for _, row in ipairs(numbers) do
    local name, low, high = row[1], row[2], row[3]
    it(("takes %s from %d to %.0f, and nothing else"):format(name, low, high), function()
      core.engine(virtual.config { [name] = low }):close()
      core.engine(virtual.config { [name] = high }):close()
      for _, wrong in ipairs { low - 1, high + 1, low + 0.5, NAN, INFINITE, -INFINITE, 2 ^ 63 } do
        assert_raises(name .. ": ", core.engine, virtual.config { [name] = wrong })
      end
      for _, wrong in ipairs { "1", "many", true, {}, print } do
        assert_raises(("%s: a %s, wants an integer"):format(name, type(wrong)), core.engine,
          virtual.config { [name] = wrong })
      end
      local without = virtual.config()
      without[name] = nil
      assert_raises(name .. ": a nil, wants an integer", core.engine, without)
    end)
  end

  it("says value and limits", function()
    assert_raises("queue_max: 0, wants an integer from 1 to 2147483647", core.engine,
      virtual.config { queue_max = 0 })
    assert_raises("queue_max: 1.5, wants an integer from 1 to 2147483647", core.engine,
      virtual.config { queue_max = 1.5 })
  end)

  it("wants hold_us and deadline_us that are not negative", function()
    for _, name in ipairs { "hold_us", "deadline_us" } do
      assert_raises(name .. ": -1, wants an integer", core.engine, virtual.config { [name] = -1 })
    end
  end)

  it("wants 1 to 4 lanes with a shape", function()
    local five = {}
    for i = 1, 5 do five[i] = { shape = "set" } end
    assert_raises("lanes: wants 1 to 4", core.engine, virtual.config { lanes = {} })
    assert_raises("lanes: wants 1 to 4", core.engine, virtual.config { lanes = five })
    for _, wrong in ipairs { { {} }, { { shape = "sot" } }, { { shape = 1 } }, { 1 }, { false } } do
      assert.is_false((pcall(core.engine, virtual.config { lanes = wrong })))
    end
    for _, wrong in ipairs { 1, "set", true, print } do
      assert.is_false((pcall(core.engine, virtual.config { lanes = wrong })))
    end
    assert_raises("imattr.pace expected", core.engine,
      virtual.config { lanes = { { shape = "set", pace = {} } } })
  end)

  it("names the wrong field", function()
    local shape = "lanes[%d].shape: wants set, remove, accounts or whole"
    assert_raises(shape:format(1), core.engine, virtual.config { lanes = { {} } })
    assert_raises(shape:format(2), core.engine,
      virtual.config { lanes = { { shape = "set" }, { shape = "sot" } } })
    assert_raises("a lane of lanes: a number, wants a table", core.engine,
      virtual.config { lanes = { 1 } })
    assert_raises("lanes: a number, wants a table", core.engine, virtual.config { lanes = 1 })
    assert_raises("names: a string, wants a table", core.engine, virtual.config { names = "x" })
    assert_raises("names[2]: a number, wants a string", core.engine,
      virtual.config { names = { "sex", 1 } })
  end)

  it("wants at most 16 names, all strings", function()
    local names = {}
    for i = 1, 16 do names[i] = "n" .. i end
    core.engine(virtual.config { names = names }):close()
    names[17] = "n17"
    assert_raises("names: 17, limit 16", core.engine, virtual.config { names = names })
    for _, wrong in ipairs { { true }, { {} }, { print } } do
      assert.is_false((pcall(core.engine, virtual.config { names = wrong })))
    end
    assert.is_false((pcall(core.engine, virtual.config { names = "sex" })))
  end)

  it("wants a table", function()
    for _, wrong in ipairs { 1, "x", true, print } do
      assert_raises("table expected", core.engine, wrong)
    end
    assert_raises("table expected", core.engine)
  end)

  it("does not take a pace that is closed", function()
    local pace = core.pace(1, "strict")
    pace:close()
    assert_raises("imattr.pace: already closed", core.engine,
      virtual.config { lanes = { { shape = "set", pace = pace } } })
  end)

  it("keeps its names and its pace alive", function()
    local engine = core.engine(virtual.config {
      lanes = { { shape = "set", pace = core.pace(10, "strict") } },
      names = { ("s"):rep(3) .. "ex", ("c"):rep(3) .. "ity" },
    })
    for _ = 1, 5 do
      collectgarbage()
      for i = 1, 1000 do local _ = ("x"):rep(i % 50) .. i end
    end
    assert.equal(1, engine:push(1, "a", { sssex = "1", cccity = "2" }))
    assert.equal("NAME_UNKNOWN", select(2, engine:push(1, "a", { sex = "1" })))
    engine:flush(true)
    assert.equal("ready", (engine:next(0)))
  end)
end)

describe("a call with wrong arguments", function()
  it("wants a lane that is there", function()
    local engine = core.engine(virtual.config())
    for _, lane in ipairs { 0, 3, -1, 1.5, NAN, INFINITE, 2 ^ 53 } do
      assert_raises("argument 2: ", engine.push, engine, lane, "a", { x = "1" })
    end
    for _, lane in ipairs { "set", {}, true } do
      assert_raises("number expected", engine.push, engine, lane, "a", { x = "1" })
    end
    assert_raises("wants an integer from 1 to 2", engine.push, engine, 3, "a", { x = "1" })
    assert.equal(0, engine:counts().users)
  end)

  it("wants a moment that is a whole number below 2^53", function()
    local engine, id = one_in_flight()
    for _, moment in ipairs { NAN, INFINITE, -INFINITE, 0.5, 2 ^ 53 * 2, -2 ^ 54 } do
      assert_raises("argument 2: ", engine.next, engine, moment)
      assert_raises("argument 3: ", engine.feed, engine, id, moment, "delivered")
      assert_raises("argument 2: ", engine.feed, engine, moment, 0, "delivered")
      assert_raises("argument 2: ", engine.refuse_user, engine, moment, "a", 1)
    end
    assert_raises("number expected", engine.next, engine)
    assert_raises("number expected", engine.next, engine, "soon")
    assert.equal(1, engine:counts().in_flight)
  end)

  it("wants a verdict there is", function()
    local engine, id = one_in_flight()
    for _, verdict in ipairs { "", "done", "DELIVERED", "unknown" } do
      assert_raises("invalid option", engine.feed, engine, id, 0, verdict)
    end
    assert_raises("string expected", engine.feed, engine, id, 0)
    assert_raises("string expected", engine.feed, engine, id, 0, {})
    assert.equal(1, engine:counts().in_flight)
  end)

  it("wants a code that is a positive 32-bit integer", function()
    local engine, id = one_in_flight()
    for _, code in ipairs { -1, 1.5, NAN, 2 ^ 31, INFINITE } do
      assert_raises("argument 5: ", engine.feed, engine, id, 0, "stop", code)
      assert_raises("argument 4: ", engine.refuse_user, engine, id, "a", code)
      assert_raises("argument 2: ", engine.stop, engine, code)
    end
    assert_raises("argument 2: 0, wants an integer from 1 to 2147483647", engine.stop, engine, 0)
    assert_raises("argument 4: 0, ", engine.refuse_user, engine, id, "a", 0)
    assert_raises("number expected", engine.stop, engine)
    assert_raises("string expected", engine.refuse_user, engine, id, {}, 1)
    assert.is_nil(engine:stop_code())
  end)

  it("wants a list of users, from a first to a last one", function()
    local engine = core.engine(virtual.config())
    for _, wrong in ipairs { 0, -1, 1.5, NAN, 2 ^ 31 } do
      assert_raises("argument 4: ", engine.push_users, engine, 1, {}, wrong, 1)
    end
    for _, wrong in ipairs { -1, 1.5, NAN, 2 ^ 31 } do
      assert_raises("argument 5: ", engine.push_users, engine, 1, {}, 1, wrong)
    end
    assert_raises("table expected", engine.push_users, engine, 1, "users", 1, 1)
    assert_raises("number expected", engine.push_users, engine, 1, {})
    assert.equal(0, engine:counts().users)
  end)

  it("wants an engine", function()
    local engine = core.engine(virtual.config())
    for name, arguments in pairs(METHODS) do
      for _, other in ipairs { {}, 1, "x", io.stdout, core.pace(1, "strict") } do
        assert_raises("imattr.engine expected", engine[name], other, unpack(arguments))
      end
    end
    assert_raises("imattr.engine expected", engine.close, io.stdout)
    assert_raises("imattr.engine expected", engine.close)
  end)

  it("survives a clock that goes back", function()
    local engine, id = one_in_flight()
    engine:feed(id, -1000000, "retry", 91000)
    for _, now_us in ipairs { 10 ^ 9, -10 ^ 12, 2 ^ 53, -2 ^ 53, 0 } do engine:next(now_us) end
    assert.equal(1, engine:counts().users)
  end)

  it("does not show its inside", function()
    local engine = core.engine(virtual.config())
    assert.equal("imattr.engine", tostring(engine))
    assert.equal("imattr.engine", getmetatable(engine))
    assert.is_false((pcall(function() engine.x = 1 end)))
    assert.is_nil(engine.x)
  end)
end)

describe("a closed engine", function()
  it("raises for every call, and may be closed again", function()
    local engine = one_in_flight()
    engine:push(1, "a", { x = "held" })
    engine:push(2, "b", { "x" })
    engine:close()
    engine:close()
    for name, arguments in pairs(METHODS) do
      assert_raises("imattr.engine: already closed", engine[name], engine, unpack(arguments))
    end
    assert.equal("imattr.engine (closed)", tostring(engine))
  end)

  it("has forgotten requests in flight, waiting ones, and results", function()
    local engine, id = one_in_flight()
    engine:feed(id, 0, "slow_down", 60007)
    engine:push(1, "b", { x = "1" })
    local _, other = engine:next(0)
    engine:feed(other, 0, "delivered")
    engine:push(1, "c", { x = "1" })
    engine:next(0)
    engine:close()
    collectgarbage()
  end)

  it("may lose its pace first", function()
    local pace = core.pace(10, "strict")
    local engine = core.engine(virtual.config { lanes = { { shape = "set", pace = pace } } })
    engine:push(1, "a", { x = "1" })
    engine:flush(true)
    pace:close()
    pcall(engine.next, engine, 0)
    engine:close()
  end)

  it("is collected while its results are half taken", function()
    for _ = 1, 20 do
      local engine, id = one_in_flight()
      engine:push(1, "b", { x = "1" })
      engine:push(1, "b", { x = "2" })
      local _, other = engine:next(0)
      engine:feed(other, 0, "delivered")
      engine:result()
      engine:feed(id, 0, "delivered")
    end
    collectgarbage()
    collectgarbage()
  end)
end)
