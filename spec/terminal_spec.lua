-- What people see: progress line, sentences, summary and plan as functions of numbers; data made
-- safe for a terminal.
local progress = require "imattr.cli.progress"
local terminal = require "imattr.cli.terminal"
local text = require "imattr.cli.text"

local ESC = "\27"

-- Columns a line takes: characters, without colours. (All of ours are one column wide.)
local function width(line)
  local _, count = line:gsub(ESC .. "%[[%d;]*m", ""):gsub("[^\128-\191]", "")
  return count
end

local function numbers(changes)
  local all = {
    users = 52300, failed = 3, requests = 523, users_per_s = 9876, requests_per_s = 98.76,
    quota = 100, fraction = 0.415, seconds_left = 72,
  }
  for name, value in pairs(changes or {}) do all[name] = value or nil end
  return all
end

describe("the progress line #heavy", function()
  local widths = {
    [20] = " 41%  52,300 users",
    [40] = " 41%  52,300 users  3 failed",
    [80] = " 41%  ##########-------------  52,300 users  9,876/s  1 min 12 s left  3 failed",
    [200] = " 41%  #################-----------------------  52,300 users  9,876/s  99% of quota  "
      .. "523 requests  1 min 12 s left  3 failed",
  }
  for columns, line in pairs(widths) do
    it("fits a terminal of " .. columns .. " columns", function()
      assert.are.equal(line, terminal.progress(numbers(), { columns = columns }))
    end)
  end

  it("is narrower than any terminal, whatever the numbers", function()
    local all = {
      numbers(),
      numbers { fraction = false, seconds_left = false, failed = 0 },
      numbers { users = 12345678901, requests = 123456789, failed = 123456789, fraction = 1 },
      numbers { users = 0, failed = 0, requests = 0, fraction = 0, quota = 0, note = "stopping" },
    }
    for columns = 1, 220 do
      for _, these in ipairs(all) do
        for _, look in ipairs { {}, { colour = true, unicode = true } } do
          look.columns = columns
          local line = terminal.progress(these, look)
          assert.is_true(width(line) <= math.max(columns - 1, 1), ("%d: %q"):format(columns, line))
        end
      end
    end
  end)

  it("draws the bar with lines where they can be shown", function()
    local line = terminal.progress(numbers { failed = 0 }, { columns = 60, unicode = true })
    assert.are.equal(" 41%  ━━━━━────────  52,300 users  9,876/s  1 min 12 s left", line)
  end)

  it("has neither share nor bar when the end is not known", function()
    local line = terminal.progress(numbers { fraction = false, seconds_left = false },
      { columns = 80 })
    assert.are.equal("52,300 users  9,876/s  99% of quota  523 requests  3 failed", line)
  end)

  it("says what goes on before anything else", function()
    local line = terminal.progress(numbers { note = "stopping, 12 requests in flight" },
      { columns = 34 })
    assert.are.equal("stopping, 12 requests in flight", line)
  end)

  it("has no share of a quota where there is none", function()
    local line = terminal.progress(numbers { quota = 0 }, { columns = 200 })
    assert.is_nil(line:find("quota"))
  end)

  it("never claims more than the quota, which a window that begins in a burst seems to hold",
    function()
      local line = terminal.progress(numbers { requests_per_s = 140 }, { columns = 200 })
      assert.truthy(line:find("100% of quota", 1, true))
    end)

  it("has colours only when asked for them", function()
    assert.is_nil(terminal.progress(numbers(), { columns = 80 }):find(ESC))
    local line = terminal.progress(numbers(), { columns = 80, colour = true })
    assert.truthy(line:find(ESC .. "[31m3 failed" .. ESC .. "[0m", 1, true))
  end)

  it("is a sentence in a log", function()
    assert.are.equal("41%, 52,300 users, 9,876/s, 99% of quota, 523 requests, 1 min 12 s left, "
      .. "3 failed", terminal.progress_sentence(numbers()))
  end)
end)

describe("progress #heavy", function()
  -- A progress that believes in this clock and keeps what it writes.
  local function started(look)
    local it = { now_s = 1000, written = {} }
    it.progress = progress.new {
      look = look,
      columns = function() return look.columns end,
      now_s = function() return it.now_s end,
      write = function(shown) it.written[#it.written + 1] = shown end,
    }
    return it
  end

  it("redraws ten times a second at most", function()
    local it = started { columns = 80 }
    for tick = 1, 1000 do
      it.now_s = 1000 + tick * 0.001
      it.progress:update { users = tick, failed = 0, requests = tick, quota = 100 }
    end
    assert.is_true(#it.written >= 9 and #it.written <= 10, #it.written)
    assert.are.equal("\r" .. ESC .. "[K", it.written[1]:sub(1, 4))
    assert.is_nil(it.written[1]:find("\n"))
  end)

  it("takes its line away once", function()
    local it = started { columns = 80 }
    it.progress:clear()
    it.now_s = 1001
    it.progress:update { users = 1, failed = 0, requests = 1 }
    it.progress:clear()
    it.progress:clear()
    assert.are.equal(2, #it.written)
    assert.are.equal("\r" .. ESC .. "[K", it.written[2])
  end)

  it("writes a line every half minute where it is no terminal", function()
    local it = started {}
    for second = 1, 95 do
      it.now_s = 1000 + second
      it.progress:update { users = second * 100, failed = 0, requests = second, quota = 100 }
    end
    assert.are.same({
      "imattr: 3,000 users, 100/s, 1% of quota, 30 requests\n",
      "imattr: 6,000 users, 100/s, 1% of quota, 60 requests\n",
      "imattr: 9,000 users, 100/s, 1% of quota, 90 requests\n",
    }, it.written)
  end)

  it("tells the rate of the last seconds and how long it takes from here", function()
    local it = started { columns = 200 }
    for tick = 1, 200 do
      it.now_s = 1000 + tick * 0.1
      local users = tick <= 100 and tick * 10 or 1000 + (tick - 100) * 100
      it.progress:update { users = users, failed = 0, requests = users / 10, quota = 100,
        fraction = tick / 400 }
    end
    local last = it.written[#it.written]
    assert.truthy(last:find("1,000/s", 1, true), last)
    assert.truthy(last:find("20 s left", 1, true), last)
  end)

  local looks = {
    { "a terminal", { TERM = "xterm", LANG = "en_US.UTF-8" }, true, { 120, true, true } },
    { "a terminal without UTF-8", { TERM = "xterm", LANG = "C" }, true, { 120, true, false } },
    { "LC_ALL before LANG", { TERM = "xterm", LC_ALL = "C", LANG = "C.utf8" }, true,
      { 120, true, false } },
    { "NO_COLOR", { TERM = "xterm", NO_COLOR = "1" }, true, { 120, false, false } },
    { "an empty NO_COLOR", { TERM = "xterm", NO_COLOR = "" }, true, { 120, true, false } },
    { "a dumb terminal", { TERM = "dumb", LANG = "C.UTF-8" }, true, { nil, false, true } },
    { "no TERM", {}, true, { nil, false, false } },
    { "a pipe", { TERM = "xterm" }, false, { nil, false, false } },
  }
  for _, case in ipairs(looks) do
    it("knows " .. case[1], function()
      local core = { isatty = function() return case[3] end, columns = function() return 120 end }
      local look = progress.look(core, function(name) return case[2][name] end)
      assert.are.same({ columns = case[4][1], colour = case[4][2], unicode = case[4][3] }, look)
    end)
  end
end)

-- A run's numbers; what is not said is 0.
local function report(changes)
  local all = { users = 0, done = 0, invalid = 0, refused = 0, unknown = 0, not_sent = 0,
    merged = 0, requests = 0, retries = 0, seconds = 0, quota = 100, reasons = {}, more_codes = 0,
    plan = "would set" }
  for name, value in pairs(changes) do all[name] = value end
  return all
end

local SOME_FAILED = report {
  users = 19331, done = 19317, invalid = 12, refused = 2, requests = 194, retries = 3,
  seconds = 1.98,
  reasons = {
    { fate = "invalid", code = "VALUE_TOO_LONG", count = 11, line = 812,
      message = "city: 54 bytes, limit 50" },
    { fate = "refused", code = "90033", count = 2, line = 112,
      message = "an attribute is not registered" },
    { fate = "invalid", code = "SHORT_ROW", count = 1, line = 9,
      message = "3 columns, header has 4" },
  },
}

describe("the summary #heavy", function()
  it("says what became of everybody, and why", function()
    assert.are.equal([[
19,331 users in 2 s
  done         19,317   99.9%
  invalid          12    0.1%
      11  VALUE_TOO_LONG  city: 54 bytes, limit 50  (line 812, ...)
       1  SHORT_ROW       3 columns, header has 4  (line 9)
  refused           2    0.1%
       2  90033           an attribute is not registered  (line 112, ...)
  requests        194  97% of the quota of 100/s
  retries           3]], terminal.summary(SOME_FAILED, {}))
  end)

  it("is short when all went well", function()
    assert.are.equal([[
1 user in 0.05 s
  done              1    100%
  requests          1  1% of the quota of 100/s]], terminal.summary(report {
      users = 1, done = 1, requests = 1, seconds = 0.05 }, {}))
  end)

  it("can speak of nobody", function()
    assert.are.equal([[
0 users in 0.01 s
  done              0
  requests          0]], terminal.summary(report {}, {}))
  end)

  it("names every fate, rows that merged, and codes beyond count", function()
    assert.are.equal([[
10 users in 1 min 01 s
  done              1   10.0%
  invalid           2   20.0%
  refused           2   20.0%
  unknown           3   30.0%
  not sent          2   20.0%
       4  with other codes
  requests         61  1/s
  merged            5  rows about a user who was waiting already]], terminal.summary(report {
      users = 10, done = 1, invalid = 2, refused = 2, unknown = 3, not_sent = 2, more_codes = 4,
      requests = 61, seconds = 61, merged = 5, quota = 0 }, {}))
  end)

  for _, columns in ipairs { 20, 40, 80, 200 } do
    it("is cut for a terminal of " .. columns .. " columns where sentences are long", function()
      local long = report { users = 2, invalid = 2, reasons = { { fate = "invalid", code = "X",
        count = 2, line = 2, message = ("words and "):rep(30) } } }
      local shown = terminal.summary(long, { columns = columns }):match("\n( +2  X.*)\n  requests")
      assert.truthy(shown:find("words", 1, true))
      for line in shown:gmatch("[^\n]+") do
        assert.is_true(width(line) <= math.max(columns - 1, 24), line)
      end
      assert.equal(columns < 80, shown:find("\n") ~= nil)
    end)
  end

  it("has its words beneath one another in a narrow terminal", function()
    local merged = report { merged = 3 }
    for name, value in pairs(SOME_FAILED) do
      if name ~= "merged" then merged[name] = value end
    end
    assert.are.equal([[
19,331 users in 2 s
  done         19,317   99.9%
  invalid          12    0.1%
      11  VALUE_TOO_LONG
          city: 54 bytes, limit 50
          (line 812, ...)
       1  SHORT_ROW
          3 columns, header has 4
          (line 9)
  refused           2    0.1%
       2  90033
          an attribute is not registered
          (line 112, ...)
  requests        194  97% of the quota
                       of 100/s
  retries           3
  merged            3  rows about a user
                       who was waiting
                       already]], terminal.summary(merged, { columns = 42 }))
    assert.are.equal([[
dry run: 5 users, nothing was sent
  would set         5    100%
  requests          1  about 0.01 s at
                       100/s]], terminal.plan(report { users = 5, requests = 1 }, { columns = 40 }))
  end)

  it("shows no control characters of the data", function()
    local sly = report { users = 1, invalid = 1, reasons = { { fate = "invalid", code = "X\27[2J",
      count = 1, line = 2, message = "account \27]0;title\7 \194\155" } } }
    local shown = terminal.summary(sly, {})
    assert.is_nil(shown:find("[%z\1-\9\11-\31\127]"))
    assert.truthy(shown:find("X\\x1B[2J", 1, true))
    assert.truthy(shown:find("account \\x1B]0;title\\x07 \\u{9B}", 1, true))
  end)

  it("paints fates when asked to", function()
    local shown = terminal.summary(SOME_FAILED, { columns = 80, colour = true })
    assert.truthy(shown:find(ESC .. "[32mdone", 1, true))
    assert.truthy(shown:find(ESC .. "[31minvalid", 1, true))
  end)
end)

describe("the plan of a dry run #heavy", function()
  it("says how many requests and how long", function()
    assert.are.equal([[
dry run: 19,331 users, nothing was sent
  would set    19,319   99.9%
  invalid          12    0.1%
      11  VALUE_TOO_LONG  city: 54 bytes, limit 50  (line 812, ...)
       1  SHORT_ROW       3 columns, header has 4  (line 9)
  requests        194  about 1.9 s at 100/s]], terminal.plan(SOME_FAILED, {}))
  end)

  it("knows runs without a quota", function()
    local plan = terminal.plan(report { users = 5, requests = 1, quota = 0 }, {})
    assert.truthy(plan:find("requests          1  without a limit on the rate", 1, true), plan)
  end)
end)

describe("text #heavy", function()
  it("shows data without what a terminal acts on", function()
    local cases = {
      { "plain, with 北京 and 😀", "plain, with 北京 and 😀" },
      { "\27[31mred\7\0\r\n\t\127", "\\x1B[31mred\\x07\\x00\\x0D\\x0A\\x09\\x7F" },
      { "\194\155 \194\128", "\\u{9B} \\u{80}" },
      { "a\226\128\174b\226\128\139c\239\187\191", "a\\u{202E}b\\u{200B}c\\u{FEFF}" },
      { "\155 \233t\233", "\\x9B \\xE9t\\xE9" },
      { "\237\160\128 \192\128 \240\159\152", "\\xED\\xA0\\x80 \\xC0\\x80 \\xF0\\x9F\\x98" },
      { "\244\144\128\128 \245", "\\xF4\\x90\\x80\\x80 \\xF5" },
    }
    for _, case in ipairs(cases) do assert.are.equal(case[2], text.visible(case[1])) end
  end)

  it("cuts between characters", function()
    assert.are.equal("abcde", text.short("abcde", 5))
    assert.are.equal("ab...", text.short("abcdef", 5))
    assert.are.equal("北京...", text.short("北京北京北京", 5))
    assert.is_true(#text.short(("\27"):rep(1000), 40) <= 40)
  end)

  it("counts", function()
    for number, shown in pairs { [0] = "0", [999] = "999", [1000] = "1,000", [12345] = "12,345",
      [123456] = "123,456", [1234567] = "1,234,567", [1e12] = "1,000,000,000,000" } do
      assert.are.equal(shown, text.count(number))
    end
    assert.are.equal("1 retry", text.counted(1, "retry"))
    assert.are.equal("2 retries", text.counted(2, "retry"))
  end)

  it("tells times", function()
    local cases = { { 0, "0.01 s" }, { 0.42, "0.42 s" }, { 9.94, "9.9 s" }, { 9.96, "10 s" },
      { 59.4, "59 s" }, { 59.6, "1 min 00 s" }, { 125, "2 min 05 s" }, { 3599.6, "1 h 00 min" },
      { 7325, "2 h 02 min" }, { 360000, "100 h 00 min" } }
    for _, case in ipairs(cases) do assert.are.equal(case[2], text.duration(case[1])) end
  end)

  it("quotes names for a shell", function()
    local cases = { { "users.csv", "users.csv" }, { "a b", "'a b'" }, { "it's", "'it'\\''s'" },
      { "-x.csv", "./-x.csv" }, { "-", "-" }, { "$(rm)", "'$(rm)'" }, { "a\27b", "'a\\x1Bb'" } }
    for _, case in ipairs(cases) do assert.are.equal(case[2], text.shell(case[1])) end
  end)

  it("writes JSON in the order it is given", function()
    assert.are.equal([[{"b":1,"a":"x/\"\\\n\u0000\u007f","l":[1.5,true],"m":{"a":"2","z":"1"}}]],
      text.json_object { { "b", 1 }, { "a", 'x/"\\\n\0\127' }, { "none", nil }, { "l",
        { 1.5, true } }, { "m", text.json_map { z = "1", a = "2" } } }.json)
  end)

  it("repairs what is not UTF-8 in a report, and nowhere else", function()
    assert.are.equal('{"a":"é\239\191\189"}', text.json_object { { "a", "é\233" } }.json)
    assert.are.equal('"é\233"', text.json_string("é\233"))
  end)
end)
