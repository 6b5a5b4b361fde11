-- A client called in a wrong way: every misuse raises, at the caller's line, and nothing is sent.

local app = require "support.app"
local sandbox = require "support.sandbox"

local server, client

local function arrivals()
  local count = 0
  for _, stats in pairs(server:stats().commands) do count = count + stats.arrivals end
  return count
end

describe("a client", function()
  setup(function()
    server = sandbox.start { key = app.KEY, limit = 0, attr_names = { "sex", "city" } }
  end)
  teardown(function() server:stop() end)
  before_each(function()
    server:reset()
    client = app.client(server)
  end)
  after_each(function() client:close() end)

  it("raises at the caller's line for wrong users", function()
    local one = { To_Account = "a", Attrs = { city = "x" } }
    for _, name in ipairs { "set_attr", "remove_attr" } do
      local cases = {
        { nil, name .. ": a nil, wants a list, a map or an iterator of users" },
        { "u1", name .. ": a string, wants a list, a map or an iterator of users" },
        { 5, name .. ": a number, wants a list, a map or an iterator of users" },
        { io.stdout, name .. ": a userdata, wants a list, a map or an iterator of users" },
        { one, name .. ": one user, wants a list of users: { user }" },
        { { UserAttrs = { one } }, name .. ": a whole request, wants its UserAttrs alone" },
      }
      for i = 1, #cases do
        assert.equal(cases[i][2], app.misuse(function() client[name](client, cases[i][1]) end))
      end
    end
    assert.equal("get_attr: a nil, wants a list or an iterator of accounts",
      app.misuse(function() client:get_attr() end))
    assert.equal("get_attr: a string, wants a list or an iterator of accounts",
      app.misuse(function() client:get_attr("u1") end))
    assert.equal(0, arrivals())
  end)

  it("raises at the caller's line for a wrong call", function()
    local cases = {
      { "fast", "call: a string, wants a table" },
      { { on_results = print }, "unknown option of a call: on_results (did you mean on_result?)" },
      { { dryrun = true }, "unknown option of a call: dryrun (did you mean dry_run?)" },
      { { colour = 1 }, "unknown option of a call: colour" },
      { { print }, "unknown option of a call: 1" },
      { { on_result = "print" }, "on_result: a string, wants a function" },
      { { on_progress = {} }, "on_progress: a table, wants a function" },
      { { should_stop = true }, "should_stop: a boolean, wants a function" },
      { { dry_run = 1 }, "dry_run: a number, wants a boolean" },
      { { deadline_ms = -1 }, "deadline_ms: -1, wants 0 to 604800000" },
      { { failures_max = 1e7 }, "failures_max: 1" },
      { { rate = 5 }, "unknown option of a call: rate" },
      { { removes = 1 }, "removes: a number, wants a boolean" },
      { { removes = true }, "removes: for set_attr with an iterator alone" },
    }
    for _, case in ipairs(cases) do
      for _, name in ipairs { "set_attr", "remove_attr", "get_attr" } do
        local message = app.misuse(function() client[name](client, {}, case[1]) end)
        assert.equal(case[2], message:sub(1, #case[2]))
      end
    end
    assert.equal(0, arrivals())
  end)

  it("raises at the caller's line for wrong names", function()
    local table_wanted = 'set_attr_name: wants a table like { ["0"] = "sex" }'
    local cases = {
      { nil, table_wanted }, { "sex", table_wanted }, { {}, table_wanted },
      { { "sex" }, 'set_attr_name: index 1, wants a string from "0" to "9"' },
      { { [0] = "sex" }, 'set_attr_name: index 0, wants a string from "0" to "9"' },
      { { ["10"] = "sex" }, 'set_attr_name: index 10, wants a string from "0" to "9"' },
      { { sex = "0" }, 'set_attr_name: index sex, wants a string from "0" to "9"' },
      { { ["0"] = "" }, 'set_attr_name: the name at "0": wants a string of 1 to 50 bytes' },
      { { ["0"] = 5 }, 'set_attr_name: the name at "0": wants a string of 1 to 50 bytes' },
      { { ["3"] = ("x"):rep(51) },
        'set_attr_name: the name at "3": wants a string of 1 to 50 bytes' },
    }
    for i = 1, #cases do
      assert.equal(cases[i][2], app.misuse(function() client:set_attr_name(cases[i][1]) end))
    end
    assert.equal(0, arrivals())
  end)

  it("raises when the colon is forgotten", function()
    local colon = "imattr: call methods with a colon, client:set_attr(users)"
    for _, name in ipairs { "set_attr", "remove_attr", "get_attr", "set_attr_name",
      "get_attr_name" } do
      assert.equal(colon, app.misuse(function() client[name] {} end))
      assert.equal(colon, app.misuse(function() client[name]() end))
      assert.equal(colon, app.misuse(function() client[name]("x", {}) end))
    end
    assert.equal("imattr: call methods with a colon, client:close()",
      app.misuse(function() client.close() end))
  end)

  it("raises after the client was closed, which may be done twice", function()
    client:set_attr(app.users(1))
    client:close()
    client:close()
    for _, name in ipairs { "set_attr", "remove_attr", "get_attr", "set_attr_name" } do
      assert.equal("imattr.client: already closed",
        app.misuse(function() client[name](client, {}) end))
    end
    assert.equal("imattr.client: already closed", app.misuse(function() client:get_attr_name() end))
    assert.equal(1, client:last_report().done)
    assert.equal("imattr.client (closed)", tostring(client))
  end)
end)
