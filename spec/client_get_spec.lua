-- get_attr with on_user: any number of users read in constant memory, each as its answer comes.
local app = require "support.app"
local sandbox = require "support.sandbox"

local server, client

describe("get_attr with on_user", function()
  setup(function()
    server = sandbox.start { key = app.KEY, limit = 0, attr_names = { "sex", "city" } }
  end)
  teardown(function() server:stop() end)
  before_each(function()
    server:settings { latency_ms = 0, region_ok = true }
    server:reset()
    client = app.client(server)
  end)
  after_each(function() client:close() end)

  -- An iterator over the accounts u1, u2, ...
  local function accounts(count)
    local number = 0
    return function()
      number = number + 1
      return number <= count and "u" .. number or nil
    end
  end

  it("hands out every user once, with what the user has, and keeps none", function()
    assert(client:set_attr(app.users(250)))
    local seen, count = {}, 0
    local attributes, report = client:get_attr(accounts(1000), { on_user = function(account, attrs)
      assert.is_nil(seen[account])
      seen[account], count = attrs, count + 1
    end })
    assert.same({}, attributes)
    assert.same({ users = 1000, done = 1000, requests = 10 }, app.counts(report))
    assert.equal(1000, count)
    assert.same({ city = "city 250" }, seen.u250)
    assert.same({}, seen.u251)
  end)

  it("hands a user out before its fate is told", function()
    local order = {}
    client:get_attr({ "a" }, {
      on_user = function(account) order[#order + 1] = "user " .. account end,
      on_result = function(result) order[#order + 1] = result.fate .. " " .. result.account end,
    })
    assert.same({ "user a", "done a" }, order)
  end)

  it("gives what came before an error to on_user, and the error to the caller", function()
    local count = 0
    local attributes, err, report = client:get_attr(accounts(1000), {
      on_user = function()
        count = count + 1
        if count == 100 then server:settings { region_ok = false } end
      end,
    })
    assert.is_nil(attributes)
    assert.equal("70016", err.code)
    assert.equal(count, report.done)
    assert.is_true(count >= 100 and count < 1000)
  end)

  it("raises what on_user raises, and the client goes on", function()
    local ok, raised = pcall(client.get_attr, client, { "a" }, { on_user = function()
      error("enough", 0)
    end })
    assert.same({ false, "enough" }, { ok, raised })
    assert.same({ a = {} }, (client:get_attr { "a" }))
  end)

  it("is for get_attr alone", function()
    assert.equal("on_user: for get_attr alone; the fate of an update goes to on_result",
      app.misuse(function() client:set_attr({}, { on_user = print }) end))
    assert.equal("on_user: for get_attr alone; the fate of an update goes to on_result",
      app.misuse(function() client:remove_attr({}, { on_user = print }) end))
    assert.equal("on_user: a boolean, wants a function",
      app.misuse(function() client:get_attr({}, { on_user = true }) end))
  end)
end)
