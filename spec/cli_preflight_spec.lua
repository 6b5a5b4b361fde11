-- imattr set looks first whether the attribute names of its inputs are registered: a wrong one
-- costs one request that changes nothing, and not every user; as real processes.
local cjson = require("cjson").new()
local command = require "support.command"

local run, write, read = command.run, command.write, command.read

local function arrivals(name)
  return command.server:stats().commands["im_" .. name].arrivals
end

describe("imattr set with names #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(function()
    command.enter()
    command.server:settings { attr_names = { "city", "country", "VIP_Level", "sex" } }
  end)
  after_each(command.leave)

  local headers = {
    { "To_Account,ctiy,sex", "ctiy (did you mean city?)" },
    { "To_Account,city,vip_level", "vip_level (did you mean VIP_Level?)" },
    { "To_Account,contry,colour,City", "contry (did you mean country?), colour, "
      .. "City (did you mean city?)" },
    { "To_Account," .. ("x"):rep(60), ("x"):rep(47) .. "..." },
    { "To_Account,a\27b", "a\\x1Bb" },
    { "To_Account,shape1,shape2,shape3,shape4,shape5,shape6,shape7,shape8,shape9,shape10,shape11",
      "shape1, shape2, shape3, shape4, shape5, shape6, shape7, shape8, shape9, shape10, ..." },
  }
  for index, case in ipairs(headers) do
    it("stops before the first request where a header has others, case " .. index, function()
      local output = command.run_set(case[1] .. "\na,b,c\n", "--job")
      assert.equal("imattr: users.csv: header: not registered with the app: " .. case[2]
        .. "; there are: city, country, VIP_Level, sex (imattr names set adds one)\n",
        output.stderr)
      assert.same({ 65, "" }, { output.code, output.stdout })
      assert.same({ 1, 0 }, { arrivals "get_attr_name", arrivals "set_attr" })
      assert.is_nil(read("users.csv.imattr"))
      assert.is_nil(read("users.csv.rejects.csv"))
    end)
  end

  it("looks at names as they are after --columns, in every input", function()
    write("a.csv", "To_Account,city\na,x\n")
    write("b.csv", "To_Account,town\nb,x\n")
    local output = run { "set", "a.csv", "b.csv" }
    assert.equal(65, output.code)
    assert.truthy(output.stderr:find("^imattr: b.csv: header: not registered with the app: town; "),
      output.stderr)
    assert.equal(0, arrivals "set_attr")
    assert.equal(0, run({ "set", "--columns", "city=town", "b.csv" }).code)
  end)

  it("says when the app has none", function()
    command.server:settings { attr_names = {} }
    local output = command.run_set("To_Account,city\na,x\n")
    assert.equal("imattr: users.csv: header: not registered with the app: city; there are: none "
      .. "(imattr names set adds one)\n", output.stderr)
    command.server:settings { attr_names = { "sex" } }
    output = command.run_set("To_Account,city\na,x\n")
    assert.equal("imattr: users.csv: header: not registered with the app: city; there are: sex "
      .. "(imattr names set adds one)\n", output.stderr)
  end)

  it("prints it as JSON where that is asked for", function()
    write("users.csv", "To_Account,ctiy\na,x\n")
    local output = run { "set", "--json", "users.csv" }
    local report = cjson.decode(output.stdout)
    assert.same({ "NAME_UNKNOWN", "input", 0, 0 }, { report.error.code, report.error.class,
      report.users, report.requests })
    assert.truthy(report.error.message:find("did you mean city?", 1, true))
    assert.equal(65, output.code)
  end)

  it("writes a line of NDJSON with such a name down, with what was meant", function()
    write("users.ndjson", '{"To_Account":"n1","Attrs":{"ctiy":"x"}}\n'
      .. '{"To_Account":"n2","Attrs":{"city":"x"}}\n{"To_Account":"n3","Attrs":{"a\\"b":"x"}}\n')
    local output = run { "set", "users.ndjson" }
    assert.equal(2, output.code)
    assert.equal('{"To_Account":"n1","Attrs":{"ctiy":"x"},"line":1,"code":"NAME_UNKNOWN",'
      .. '"reason":"attribute name \\"ctiy\\": not registered with the app '
      .. '(did you mean city?)"}\n{"To_Account":"n3","Attrs":{"a\\"b":"x"},"line":3,'
      .. '"code":"NAME_UNKNOWN","reason":"attribute name \\"a\\"b\\": not registered with the '
      .. 'app"}\n', read("users.ndjson.rejects.ndjson"))
    assert.same({ 1, 1 }, { arrivals "get_attr_name", arrivals "set_attr" })
  end)

  it("does not look with --no-preflight, nor in a dry run", function()
    local output = command.run_set("To_Account,ctiy\na,x\n", "--no-preflight")
    assert.equal(2, output.code)
    assert.truthy(output.stderr:find("\n +1  90033  "), output.stderr)
    output = command.run_set("To_Account,ctiy\na,x\n", "--dry-run")
    assert.equal(0, output.code, output.stderr)
    assert.equal(0, arrivals "get_attr_name")
  end)

  it("is not begun where the names cannot be read, and says how to begin again", function()
    write("users.csv", "To_Account,city\na,x\n")
    local output = run({ "set", "users.csv" }, { env = { IMATTR_KEY = command.KEY:reverse() } })
    assert.equal(77, output.code)
    assert.truthy(output.stderr:find("^imattr: 70009: [^\n]+\nnothing was set; to begin again:\n"
      .. "  imattr set users.csv\n$"), output.stderr)
    output = run({ "set", "--json", "-q", "users.csv" }, { env = {
      IMATTR_ENDPOINT = "https://127.0.0.1:9" } })
    assert.equal(69, output.code)
    assert.equal("CONNECT", cjson.decode(output.stdout).error.code)
    assert.equal(0, arrivals "set_attr")
  end)

  it("looks again when a job goes on", function()
    local rows = { "To_Account,city" }
    for i = 1, 1000 do rows[i + 1] = ("u%d,x"):format(i) end
    write("users.csv", table.concat(rows, "\n") .. "\n")
    command.server:settings { latency_ms = 100 }
    assert.equal(75, run({ "set", "--job", "--rate", "5", "--deadline", "1s", "users.csv" }).code)
    command.server:settings { latency_ms = 0, attr_names = { "town" } }
    local output = run { "resume", "users.csv.imattr" }
    assert.equal(65, output.code)
    assert.truthy(output.stderr:find("not registered with the app: city; there are: town", 1, true))
    command.server:settings { attr_names = { "city" } }
    assert.equal(0, run({ "resume", "users.csv.imattr" }).code)
  end)
end)

describe("a client with preflight", function()
  local app = require "support.app"

  setup(command.open)
  teardown(command.close)
  before_each(function() command.server:reset() end)

  local function client_with(options)
    options.preflight, options.key, options.sdkappid = true, command.KEY, command.SDKAPPID
    return app.client(command.server, options)
  end

  it("keeps the names that get_attr_name reads, and forgets them when others are set", function()
    local client = client_with {}
    assert(client:get_attr_name())
    assert.equal(1, client:set_attr({ { To_Account = "a", Attrs = { vip = "x" } } }).invalid)
    assert.equal(1, arrivals "get_attr_name")
    assert(client:set_attr_name { ["5"] = "vip" })
    assert.equal(1, client:set_attr({ { To_Account = "a", Attrs = { vip = "x" } } }).done)
    assert.equal(2, arrivals "get_attr_name")
    client:close()
  end)

  it("keeps to the names it was given", function()
    local client = client_with { attr_names = { "city" } }
    assert(client:get_attr_name())
    assert.equal(1, client:set_attr({ { To_Account = "a", Attrs = { sex = "x" } } }).invalid)
    client:close()
  end)
end)
