-- The screens of the command, to the letter: on terminals of 80 and 40 columns and through a pipe,
-- as real processes against a sandbox. What differs from run to run (times, ports) is masked.
local command = require "support.command"
local process = require "support.process"
local pty = require "support.pty"

local write = command.write

local ESC = "\27"

-- What differs from run to run, and colours by name: {red}...{/}.
local COLOURS = { ["0"] = "{/}", ["1"] = "{bold}", ["2"] = "{dim}", ["31"] = "{red}",
  ["32"] = "{green}" }

local function masked(shown)
  return (shown:gsub(ESC .. "%[(%d+)m", COLOURS)
    :gsub(command.server.endpoint:match("%d+$"), "PORT")
    :gsub("%d%d%d%d%-%d%d%-%d%d", "DATE")
    :gsub("%d+ s (%l+) the server's, which does\n? *no harm", "in step with the server's")
    :gsub("%d[%d.]* s({?/?}?)\n", "TIME%1\n"):gsub("(%d+)/s\n", "N/s\n"))
end

describe("a screen #slow", function()
  if not pty.is_here() then return pending "script (util-linux) is not here" end

  setup(command.open)
  teardown(command.close)
  before_each(function()
    command.enter()
    command.server:settings { attr_names = { "sex", "city" }, admins = { "administrator" } }
  end)
  after_each(command.leave)

  -- On a terminal this wide, with colours unless told otherwise.
  local function on_terminal(columns, words, changes)
    local env = { TERM = "xterm", NO_COLOR = false, LC_ALL = "C.UTF-8" }
    for name, value in pairs(changes or {}) do env[name] = value end
    local output = pty.run(command.line(words), columns, command.place(env))
    command.assert_no_secret { stdout = output.shown, stderr = "" }
    return masked(pty.left(output.shown)), output
  end

  local function through_pipe(words)
    local output = process.run(command.line(words), command.place { TERM = "xterm",
      NO_COLOR = false, LC_ALL = "C.UTF-8" })
    assert.is_nil((output.stdout .. output.stderr):find(ESC, 1, true))
    return masked(output.stdout .. output.stderr)
  end

  -- The lines that were drawn one over the other, without colours. What follows the last clearing
  -- is no such line.
  local function drawn(output)
    local lines = {}
    for line in output.shown:gmatch("\r\27%[K([^\r\n]*)") do
      lines[#lines + 1] = line:gsub("\27%[[%d;]*m", "")
    end
    lines[#lines] = nil
    return lines
  end

  -- Columns the widest line takes.
  local function widest(shown)
    local columns = require "imattr.cli.columns"
    local width = 0
    for line in shown:gsub("{%S-}", ""):gmatch("[^\n]+") do
      width = math.max(width, columns.width(line))
    end
    return width
  end

  describe("of doctor", function()
    local WELL = [[
ok  set-up         sdkappid from IMATTR_SDKAPPID, endpoint from IMATTR_ENDPOINT, key from IMATTR_KEY
ok  DNS            127.0.0.1 is an address
ok  connection     port PORT answers
ok  TLS            imattr sandbox, a chain of 1, trusted until DATE
ok  clock          in step with the server's
ok  region         the endpoint knows the app
ok  signature      accepted
ok  administrator  administrator
ok  feature        on
ok  names          2 of 10: sex, city
ok  users          can be read
ok  quota          no limit (rate 0)
all is well
]]

    it("is plain through a pipe", function()
      assert.are.equal(WELL, through_pipe { "doctor" })
    end)

    it("is broken and green at 80 columns", function()
      local wanted = WELL:gsub("endpoint from IMATTR_ENDPOINT, key",
        "endpoint from\n                   IMATTR_ENDPOINT, key"):gsub("ok  ", "{green}ok  {/}")
      assert.are.equal(wanted, (on_terminal(80, { "doctor" })))
    end)

    it("has names above their words at 40 columns, and no colours when they are not wanted",
      function()
        assert.are.equal([[
ok  set-up
    sdkappid from IMATTR_SDKAPPID,
    endpoint from IMATTR_ENDPOINT, key
    from IMATTR_KEY
ok  DNS
    127.0.0.1 is an address
ok  connection
    port PORT answers
ok  TLS
    imattr sandbox, a chain of 1,
    trusted until DATE
ok  clock
    in step with the server's
ok  region
    the endpoint knows the app
ok  signature
    accepted
do  administrator
    90009: the identifier is not an
    administrator of the app
    (identifier: administrator is not
    an administrator of the app); make
    it one in the console, or give
    another identifier
1 thing to do
]], (function()
          command.server:settings { admins = { "somebody" } }
          return (on_terminal(40, { "doctor" }, { NO_COLOR = "1" }))
        end)())
      end)

    it("says what to do in red", function()
      local shown, output = on_terminal(80, { "doctor" }, { IMATTR_KEY = command.KEY:reverse() })
      assert.truthy(shown:find([[

{green}ok  {/}region         the endpoint knows the app
{red}do  {/}signature      70009: the signature does not verify with the app's key
                   (usersig: does not verify with the key of sdkappid
                   1400000321); check that the key is the one of this sdkappid
1 thing to do
]], 1, true), shown)
      assert.are.equal(77, output.code)
    end)
  end)

  describe("of names", function()
    local NAMES = "0  sex\n1  大阪の市\n7  vip  \n"

    it("is the same everywhere: it is data", function()
      command.server:settings { attr_names = { "sex", "大阪の市" } }
      local words = { "names", "set", "7=vip", "1=市" }
      local wanted = "0  sex\n1  市   (was 大阪の市)\n7  vip  (new)\n"
      assert.are.equal(NAMES:gsub("7[^\n]*\n", ""), (on_terminal(80, { "names" })))
      words[#words + 1] = "--dry-run"
      assert.are.equal(wanted, (on_terminal(80, words)))
      assert.are.equal(wanted, (on_terminal(40, words)))
      assert.are.equal(wanted, through_pipe(words))
    end)
  end)

  it("of config show is the same everywhere: it is data", function()
    local words = { "config", "show", "--ca-file", "ca.pem", "--endpoint", "https://127.0.0.1:1" }
    local wanted = ([[
profile     default              DIR/imattr/default.conf, which is not there
sdkappid    1400000321           IMATTR_SDKAPPID
identifier  administrator        default
region      -                    not set
endpoint    https://127.0.0.1:1  --endpoint
service     all_member_push      default
ca_file     ca.pem               --ca-file
rate        0                    IMATTR_RATE
key         set                  IMATTR_KEY
]]):gsub("DIR", command.path(""):sub(1, -2))
    assert.are.equal(wanted, (on_terminal(80, words)))
    assert.are.equal(wanted, (on_terminal(40, words)))
    assert.are.equal(wanted, through_pipe(words))
  end)

  it("of a mistake is one sentence", function()
    local wanted = "imattr: unknown option '--jsn' (did you mean '--json'?); "
      .. "see imattr names --help\n"
    assert.are.equal(wanted, (on_terminal(80, { "names", "--jsn" })))
    assert.are.equal(wanted, through_pipe { "names", "--jsn" })
  end)

  describe("of get", function()
    it("is users alone where they are asked for", function()
      command.run_set("To_Account,sex,city\ng1,m,大阪\n")
      local wanted = '{"To_Account":"g1","Attrs":{"city":"大阪","sex":"m"}}\n'
      assert.are.equal(wanted, (on_terminal(40, { "get", "g1" })))
      assert.are.equal(wanted, through_pipe { "get", "g1" })
    end)

    it("of an export is its summary, and a line that is gone at the end", function()
      local rows = { "To_Account" }
      for number = 1, 3000 do rows[#rows + 1] = "p" .. number end
      write("users.csv", table.concat(rows, "\n") .. "\n")
      command.server:settings { latency_ms = 150 }
      local words = { "get", "users.csv", "-o", "out.csv" }
      for _, columns in ipairs { 80, 40 } do
        local shown, output = on_terminal(columns, words, { IMATTR_RATE = "50" })
        assert.are.equal(columns == 80 and "3,000 users in out.csv, 30 requests in TIME\n"
          or "3,000 users in out.csv, 30 requests in\nTIME\n", shown)
        assert.is_true(#drawn(output) > 1, output.shown)
        for _, line in ipairs(drawn(output)) do assert.is_true(widest(line) < columns, line) end
      end
      assert.are.equal("3,000 users in out.csv, 30 requests in TIME\n", through_pipe(words))
    end)
  end)

  describe("of set", function()
    -- 5 users of 100 fail in screening, for two reasons.
    local function write_users()
      local rows = { "To_Account,sex,city" }
      for number = 1, 100 do
        local city = number % 25 == 0 and ("x"):rep(51) or "Town"
        rows[#rows + 1] = ("%s%d,m,%s"):format(number == 7 and ("y"):rep(33) or "s", number, city)
      end
      write("users.csv", table.concat(rows, "\n") .. "\n")
    end

    before_each(write_users)

    local STEPS = [[
5 rows are in users.csv.rejects.csv; mend them, then:
  imattr set users.csv.rejects.csv
]]

    it("is a summary through a pipe", function()
      local shown = through_pipe { "set", "users.csv" }
      assert.truthy(shown:find("^100 users in TIME\n  done +95 +95.0%%\n  invalid +5 +5.0%%\n"),
        shown)
      assert.truthy(shown:find("\n +4  VALUE_TOO_LONG +value of \"city\": 51 bytes, limit 50"),
        shown)
      assert.truthy(shown:find(STEPS, 1, true), shown)
    end)

    it("is the same in colours, and fits", function()
      local plain = through_pipe { "set", "users.csv" }
      for _, columns in ipairs { 80, 40 } do
        local shown = on_terminal(columns, { "set", "users.csv" })
        assert.truthy(shown:find("^{bold}100 users in "), shown)
        assert.truthy(shown:find("{green}done    {/}", 1, true), shown)
        assert.truthy(shown:find("{red}invalid {/}", 1, true), shown)
        assert.is_true(widest(shown) < columns, shown)
        if columns == 80 then
          assert.are.equal(plain, (shown:gsub("{%S-}", "")))
        end
      end
    end)

    it("has words beneath one another at 40 columns", function()
      assert.are.equal([[
100 users in TIME
  done             95   95.0%
  invalid           5    5.0%
       4  VALUE_TOO_LONG
          value of "city": 51 bytes,
          limit 50  (line 26, ...)
       1  ACCOUNT_TOO_LONG
          account: 34 bytes, limit 32
          (line 8)
  requests          1  N/s
5 rows are in users.csv.rejects.csv;
mend them, then:
  imattr set users.csv.rejects.csv
]], (on_terminal(40, { "set", "users.csv" }, { NO_COLOR = "1" })))
    end)

    it("shows a bar that fits while it lasts", function()
      local rows = { "To_Account,sex" }
      for number = 1, 3000 do rows[#rows + 1] = ("b%d,m"):format(number) end
      write("users.csv", table.concat(rows, "\n") .. "\n")
      command.server:settings { latency_ms = 150 }
      for _, columns in ipairs { 80, 40 } do
        local _, output = on_terminal(columns, { "set", "users.csv" }, { IMATTR_RATE = "50" })
        local bars = 0
        for _, line in ipairs(drawn(output)) do
          bars = bars + (line:find("━", 1, true) and 1 or 0)
          assert.is_true(widest(line) < columns, line)
          assert.truthy(line:find("^ *%d+%%  "), line)
        end
        assert.is_true(#drawn(output) > 1, output.shown)
        assert.is_true(columns < 80 or bars > 0, output.shown)
      end
    end)
  end)

  it("that cannot be written ends with 74", function()
    for _, words in ipairs { "names", "names set 5=vip", "open --json eJw", "doctor", "config show",
      "completion bash", "man" } do
      local sig = require("imattr").usersig.sign { sdkappid = command.SDKAPPID, identifier = "a",
        key = command.KEY }
      local line = table.concat(command.line { (words:gsub("eJw", (sig:gsub("%*", "'*'")))) }, " ")
      local output = process.run({ "sh", "-c", line .. " >/dev/full" }, command.place())
      assert.are.equal("imattr: standard output: cannot write\n", output.stderr)
      assert.are.equal(74, output.code, words)
    end
  end)

  it("of a dumb terminal has neither colours nor a line that is drawn again", function()
    local _, output = on_terminal(80, { "doctor" }, { TERM = "dumb" })
    assert.is_nil(output.shown:find(ESC, 1, true))
  end)
end)
