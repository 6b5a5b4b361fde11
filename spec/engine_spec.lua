-- The engine: who travels with whom, in which order, and what becomes of every user. Time is
-- virtual; spec/support/virtual.lua checks the books after every step.

local cjson = require("cjson").new()
local core = require "imattr.core"
local virtual = require "support.virtual"

local SET, REMOVE = 1, 2

-- The vendor's own example (im_set_attr, "Sample request").
local VENDOR_EXAMPLE = [[
{
"UserAttrs":
[
{
"To_Account": "xiaojun012",
"Attrs": {
"sex": "attr1",
"city": "attr2"
}
},
{
"To_Account": "xiaojun013",
"Attrs": {
"city": "attr3",
"sex": "attr4"
}
}
]
}]]

-- { fate = count }, without the zeros.
local function fates(counts)
  local found = {}
  for _, fate in ipairs(virtual.FATES) do
    if counts[fate] > 0 then found[fate] = counts[fate] end
  end
  return found
end

-- The attributes of the first user of a request.
local function attrs_of(request)
  return request.object.UserAttrs[1].Attrs
end

describe("an engine", function()
  for _, case in ipairs { { 0, 0 }, { 1, 1 }, { 99, 1 }, { 100, 1 }, { 101, 2 }, { 250, 3 } } do
    it(("sends %d users in %d requests"):format(case[1], case[2]), function()
      local world = virtual.world()
      world:push_users(case[1])
      local counts = world:run(virtual.delivered)
      assert.equal(case[2], counts.requests)
      assert.equal(case[1], counts.done)
      assert.equal(0, counts.retries)
    end)
  end

  it("writes the vendor's own example", function()
    local world = virtual.world()
    world:push(SET, "xiaojun012", { sex = "attr1", city = "attr2" })
    world:push(SET, "xiaojun013", { city = "attr3", sex = "attr4" })
    world:flush(true)
    assert.same(cjson.decode(VENDOR_EXAMPLE), world:sent().object)
  end)

  it("writes the names to remove as an array", function()
    local world = virtual.world()
    world:push(REMOVE, "a", { "sex", "city", "sex" })
    world:flush(true)
    assert.equal('{"UserAttrs":[{"To_Account":"a","Attrs":["sex","city"]}]}', world:sent().body)
  end)

  it("writes accounts alone", function()
    local world = virtual.world { lanes = { { shape = "accounts" } } }
    world:push(1, "a")
    world:push(1, "b")
    world:push(1, "a")
    world:flush(true)
    assert.equal('{"To_Account":["a","b"]}', world:sent().body)
  end)

  it("sends a whole body as it is", function()
    local engine = core.engine(virtual.config { lanes = { { shape = "whole" } }, users_max = 1 })
    engine:push(1, '{"x":1}')
    engine:flush(true)
    local _, _, _, body = engine:next(0)
    assert.equal('{"x":1}', body)
  end)

  it("sends a whole body once that was pushed twice", function()
    local engine = core.engine(virtual.config {
      lanes = { { shape = "set" }, { shape = "whole" } }, users_max = 1,
    })
    engine:push(1, "a", { x = "1" })
    engine:push(2, "{}")
    engine:push(2, "{}")
    engine:flush(true)
    engine:next(0)
    local _, _, _, body = engine:next(0)
    assert.equal("{}", body)
    assert.equal("wait", (engine:next(0)))
  end)

  it("keeps a batch that is not full until flush, and again after flush is off", function()
    local world = virtual.world()
    world:push_users(99)
    assert.equal("idle", (world:next()))
    world:flush(true)
    world:flush(false)
    assert.equal("idle", (world:next()))
    world:push(SET, "one more", { x = "1" })
    assert.equal(100, world:sent().users)
    world:push(SET, "the next", { x = "1" })
    assert.equal("wait", (world:next()))
    world:flush(true)
    assert.equal(1, world:sent().users)
  end)

  it("tells each ticket's fate with its account and attempts", function()
    local world = virtual.world()
    world:push(SET, "a", { x = "1" })
    world:push(SET, "", { x = "1" })
    world:run(virtual.delivered)
    assert.same({ fate = "done", attempts = 1, account = "a" }, world.results[1])
    assert.same({ fate = "invalid", code = "ACCOUNT_EMPTY", attempts = 0 }, world.results[2])
  end)

  it("counts an update that is skipped as not sent, also after a stop", function()
    local world = virtual.world()
    for ticket = 1, 2 do
      world.pushed = ticket
      assert.equal(ticket, world.engine:skip())
      world:settle(ticket, "not_sent")
      world:check()
      world:stop("INTERRUPTED")
    end
  end)

  it("sends one request at a time while it probes, until one is delivered or split", function()
    for _, verdict in ipairs { "delivered", "split" } do
      local world = virtual.world { probing = true }
      world:push_users(500)
      local first = world:sent()
      assert.same({ "wait", nil }, { world:next() })
      world:feed(first, "slow_down", 60007)
      assert.equal("wait", (world:next()))
      world:feed(world:after_wait(), "resign", 70001)
      first = world:sent()
      assert.equal("wait", (world:next()))
      world:feed(first, verdict, verdict == "split" and 90033 or nil)
      assert(#world:send() >= 4)
    end
  end)

  it("stops at once when its first request is given up while it probes", function()
    local world = virtual.world { probing = true, attempts_max = 2 }
    world:push_users(500)
    local counts = world:run(function() return { "retry", virtual.code("CONNECT") } end)
    assert.equal(2, counts.requests)
    assert.same({ not_sent = 500 }, fates(counts))
    assert.equal("CONNECT", world.engine:stop_code())
  end)

  it("tells nothing of done updates when it is quiet, but counts them", function()
    local world = virtual.world { quiet = true }
    world:push_users(150)
    local counts = world:run(virtual.refuses { u7 = true })
    assert.same({ done = 149, refused = 1 }, fates(counts))
    assert.equal("refused", world.results[7].fate)
  end)
end)

describe("the order of one user", function()
  it("merges into a waiting update: the later value wins, attribute by attribute", function()
    local world = virtual.world()
    world:push(SET, "a", { sex = "1", city = "1" })
    world:push(SET, "a", { city = "2", tier = "2" })
    world:push(SET, "a", { tier = "3" })
    assert.equal(2, world:counts().merged)
    world:flush(true)
    local request = world:sent()
    assert.equal(1, request.users)
    assert.same({ sex = "1", city = "2", tier = "3" }, attrs_of(request))
    world:feed(request, "delivered")
    assert.equal("done done done", world:fates())
    assert.equal("a", world.results[3].account)
  end)

  it("gives merged tickets the fate of their request", function()
    local world = virtual.world { attempts_max = 1 }
    for i = 1, 9 do world:push(SET, "a", { x = tostring(i) }) end
    world:run(function() return { "retry", virtual.code("TIMEOUT"), true } end)
    for i = 1, 9 do
      assert.same({ fate = "unknown", code = "TIMEOUT", attempts = 1, account = "a" },
        world.results[i])
    end
  end)

  it("holds an update back while its user is in flight, also through a retry", function()
    local world = virtual.world()
    world:push(SET, "a", { x = "old" })
    world:flush(true)
    local request = world:sent()
    world:push(SET, "a", { x = "new" })
    world:push(SET, "a", { y = "new" })
    world:push(SET, "b", { x = "b" })
    assert.same({ "b" }, world:sent().accounts)
    world:feed(request, "retry", virtual.code("CUT"), true)
    local again = world:after_wait()
    assert.equal(request.body, again.body)
    assert.equal("wait", (world:next()))
    world:feed(again, "delivered")
    assert.same({ x = "new", y = "new" }, attrs_of(world:sent()))
  end)

  it("keeps set, remove and set of one user in order across two lanes", function()
    local world = virtual.world()
    world:push(SET, "a", { x = "1" })
    world:push(REMOVE, "a", { "x" })
    world:push(SET, "a", { x = "2" })
    world:push(SET, "a", { y = "2" })
    local told = {}
    world:run(function(request)
      told[#told + 1] = { request.lane, attrs_of(request) }
      return { "delivered" }
    end)
    assert.same({ { SET, { x = "1" } }, { REMOVE, { "x" } }, { SET, { x = "2", y = "2" } } }, told)
    assert.equal(1, world:counts().merged)
  end)

  it("queues behind what would be more than 10 attributes together", function()
    local world = virtual.world()
    local six, five = {}, {}
    for i = 1, 6 do six["a" .. i] = "1" end
    for i = 1, 5 do five["b" .. i] = "2" end
    world:push(SET, "a", six)
    world:push(SET, "a", five)
    world:push(SET, "a", { b1 = "3", a1 = "3" })
    assert.equal(1, world:counts().merged)
    world:flush(true)
    local first = world:sent()
    assert.same(six, attrs_of(first))
    assert.equal("wait", (world:next()))
    world:feed(first, "delivered")
    assert.same({ b1 = "3", b2 = "2", b3 = "2", b4 = "2", b5 = "2", a1 = "3" },
      attrs_of(world:sent()))
  end)

  it("merges ten attributes with others of the same names", function()
    local world = virtual.world()
    local ten = {}
    for i = 1, 10 do ten["a" .. i] = "1" end
    world:push(SET, "a", ten)
    world:push(SET, "a", { a10 = "2" })
    ten.a10 = "2"
    world:flush(true)
    assert.same(ten, attrs_of(world:sent()))
    assert.equal(1, world:counts().merged)
  end)

  it("keeps thousands of users apart, one update in flight and one held for each", function()
    local engine = core.engine(virtual.config { queue_max = 4000, in_flight_max = 100 })
    local function push(value)
      for i = 1, 4000 do assert(engine:push(SET, "u" .. i, { x = value })) end
    end
    local function send()
      local ids = {}
      while true do
        local answer, id = engine:next(0)
        if answer ~= "ready" then return ids end
        ids[#ids + 1] = id
      end
    end
    push("1")
    local first = send()
    assert.equal(40, #first)
    push("2")
    assert.equal(0, #send())
    for _, id in ipairs(first) do assert(engine:feed(id, 0, "delivered")) end
    for _, id in ipairs(send()) do assert(engine:feed(id, 0, "delivered")) end
    assert.equal(8000, engine:counts().done)
    assert.equal(80, engine:counts().requests)
  end)

  it("sends a user again after each end of his request", function()
    for _, verdict in ipairs { "delivered", "split", "give_up", "skip" } do
      local world = virtual.world()
      world:push(SET, "a", { x = "1" })
      world:flush(true)
      local request = world:sent()
      world:push(SET, "a", { x = "2" })
      world:feed(request, verdict, verdict ~= "delivered" and 90033 or nil)
      assert.same({ x = "2" }, attrs_of(world:sent()), verdict)
    end
  end)
end)
