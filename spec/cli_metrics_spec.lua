-- imattr set --metrics-file: the figures of a run as Prometheus reads them, in a file that is whole
-- whenever somebody looks; as real processes against a sandbox.
local command = require "support.command"
local figures = require "imattr.cli.figures"
local process = require "support.process"

local run, write, read = command.run, command.write, command.read

local function users(count)
  local rows = { "To_Account,city" }
  for i = 1, count do rows[i + 1] = ("u%d,city %d"):format(i, i) end
  return table.concat(rows, "\n") .. "\n"
end

-- The samples of a file: name with labels -> value. Every line is what Prometheus takes.
local function samples(content)
  local found = {}
  assert.truthy(content:find("\n$"), content)
  for line in content:gmatch("[^\n]+") do
    local name, value = line:match("^(imattr_%S+) ([%d.]+)$")
    assert.truthy(name or line:find("^# HELP imattr_%S+ [%u1].*%.$")
      or line:find("^# TYPE imattr_%S+ %l+$"), line)
    if name then found[name] = tonumber(value) end
  end
  return found
end

describe("a file of figures #slow", function()
  setup(command.open)
  teardown(command.close)
  before_each(command.enter)
  after_each(command.leave)

  it("tells of users by fate, and of requests by code", function()
    local rows = users(300):gsub("u7,[^\n]*", "u7," .. ("x"):rep(51)):gsub("u8,[^\n]*", "u8")
    write("users.csv", rows)
    local output = run { "set", "--metrics-file", "imattr.prom", "users.csv" }
    assert.equal(2, output.code, output.stderr)
    local found = samples(read("imattr.prom"))
    assert.same({ 298, 2, 3, 3, 0, 0, 0 }, { found['imattr_users_total{state="done"}'],
      found['imattr_users_total{state="invalid"}'], found['imattr_requests_total{code="0"}'],
      found["imattr_request_duration_seconds_count"], found["imattr_inflight"],
      found["imattr_queue_users"], found["imattr_rate_limit"] })
    assert.is_true(found["imattr_request_duration_seconds_sum"] > 0)
    assert.equal(1, found[('imattr_build_info{version="%s"}'):format(require("imattr").VERSION)])
    assert.is_nil(found['imattr_users_total{state="not_sent"}'])
    assert.is_nil(read("imattr.prom.part"))
  end)

  it("tells what the vendor refused, and what was sent again", function()
    write("users.csv", "To_Account,colour\nu1,red\n")
    run { "set", "--no-preflight", "--metrics-file", "imattr.prom", "users.csv" }
    local found = samples(read("imattr.prom"))
    assert.equal(1, found['imattr_requests_total{code="90033"}'])
    assert.equal(1, found['imattr_users_total{state="refused"}'])
    command.server:settings { limit = 1 }
    write("users.csv", users(300))
    run { "set", "--metrics-file", "imattr.prom", "users.csv" }
    command.server:settings { limit = 0 }
    found = samples(read("imattr.prom"))
    assert.is_true(found['imattr_requests_total{code="60007"}'] >= 1)
    assert.equal(found['imattr_requests_total{code="60007"}'],
      found['imattr_retries_total{class="slow_down"}'])
  end)

  it("is there from the start, and is written again while the run lasts", function()
    write("users.csv", users(3000))
    command.server:settings { latency_ms = 100 }
    local job = process.start(command.line { "set", "--metrics-file", "imattr.prom", "--rate", "10",
      "users.csv" }, command.place())
    assert(process.wait_until(function() return read("imattr.prom") end, 5))
    local first = samples(read("imattr.prom"))
    assert.same({ 10, 0 }, { first["imattr_rate_limit"],
      first["imattr_request_duration_seconds_count"] })
    assert(process.wait_until(function()
      return command.server:stats().commands.im_set_attr.arrivals > 0
    end, 10))
    job:kill("INT")
    assert.equal(75, job:wait(10).code)
    job:close()
    local last = samples(read("imattr.prom"))
    assert.is_true(last['imattr_users_total{state="done"}'] >= 100)
    assert.is_true(last['imattr_users_total{state="not_sent"}'] >= 1)
  end)

  it("is written every 15 s, as a whole", function()
    local written = {}
    local fake = { open = function(path) -- takes what is written, one open at a time
      return { write = function(self, content) written[#written + 1] = content return self end,
        flush = function() return true end, close = function() os.rename(path, path) end }
    end }
    local counts = { done = 0 }
    local file = assert(figures.open("/dev/null", fake, { counts = counts, quota = 100 }, 1000))
    for second = 1, 60 do
      counts.done = second * 100
      file.requests, file.waiting = second, 250
      if second % 2 == 0 then file:attempt { seconds = 0.1 } end
      assert.is_false(file:tick(1000 + second))
    end
    assert.equal(5, #written)
    for index, content in ipairs(written) do
      local found, second = samples(content), (index - 1) * 15
      assert.same({ second > 0 and second * 100 or nil, second > 0 and 250 or 0,
        math.ceil(second / 2) }, { found['imattr_users_total{state="done"}'],
        found["imattr_queue_users"], found["imattr_inflight"] })
    end
  end)

  it("that cannot be written costs 74: before anything is sent, or at the end", function()
    write("users.csv", users(10))
    local output = run { "set", "--metrics-file", "none/imattr.prom", "users.csv" }
    assert.same({ 74, "imattr: metrics: none/imattr.prom.part: No such file or directory\n" },
      { output.code, output.stderr })
    assert.equal(0, command.server:stats().commands.im_set_attr.arrivals)
    output = run { "set", "--metrics-file", "/dev/full", "users.csv" }
    assert.equal(74, output.code)
    assert.truthy(output.stderr:find("^imattr: metrics: .*No space left on device\n$"),
      output.stderr)
    assert.equal(0, command.server:stats().commands.im_set_attr.arrivals)
  end)

  it("does not stop the run that it is about", function()
    write("users.csv", users(2000))
    command.server:settings { latency_ms = 100 }
    process.run { "mkdir", command.path("figures") }
    local job = process.start(command.line { "set", "--metrics-file", "figures/imattr.prom",
      "--rate", "20", "users.csv" }, command.place())
    assert(process.wait_until(function() return read("figures/imattr.prom") end, 5))
    process.run { "rm", "-r", command.path("figures") }
    local ended = job:wait(20)
    job:close()
    assert.equal(74, ended.code)
    assert.truthy(ended.stderr:find("2,000  +100%%\n"), ended.stderr)
    assert.truthy(ended.stderr:find(
      "\nimattr: metrics: figures/imattr.prom.part: No such file or directory\n$"), ended.stderr)
  end)

  it("is kept by resume too", function()
    write("users.csv", users(500))
    command.server:settings { latency_ms = 500 }
    local job = process.start(command.line { "set", "--job", "--metrics-file", "first.prom",
      "users.csv" }, command.place())
    assert(process.wait_until(function()
      return command.server:stats().commands.im_set_attr.arrivals > 0
    end, 10))
    job:kill("KILL")
    job:wait(5)
    job:close()
    command.server:settings { latency_ms = 0 }
    assert.equal(0, run({ "resume", "--metrics-file", "second.prom", "users.csv.imattr" }).code)
    assert.truthy(samples(read("second.prom"))['imattr_users_total{state="done"}'])
  end)
end)
