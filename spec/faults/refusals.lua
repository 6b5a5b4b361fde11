-- refusals: cells of the fault matrix: the vendor's codes. Each code of the vendor's pages, as an
-- answer: what the run does is said here by hand, from those pages, and not taken from codes.lua.

local answers = require "faults.answers"
local app = require "support.app"
local cells = require "faults.cells"
local imattr = require "imattr"

local no = answers.no
local matrix = cells.table()

local ALL, CALL = "call coroutine command", "call"

-- What a run does about codes; the first of a list is tried on every surface.
local LISTS = {
  -- the same request again, after a while
  again = "91000 60008 60013 60014 70169 70202 70500 90992 90994 90995",
  -- slower, then the same request again
  slower = "60007 60011 60018 60019",
  -- nothing for a minute, then the same request again, once (the engine's spec waits that long)
  hold = "70050",
  -- a fresh UserSig, once; then the end
  sign = "70001 60004 60005 70002 70003 70005 70052",
  -- the batch is halved, down to the user it is about
  halve = "90033 60015 70107 70206 70402 90001 90003 90008 90012 90018 90020 90032 90034 90035 "
    .. "90040 90048",
  -- the end, with the exit code of the command
  [1] = "60002 60003 60009 60012 60025 93000",
  [77] = "70009 60010 70013 70014 70051 70114 70346 70403 90009",
  [78] = "70016 60006 60016 60017 60020 60021 60026 60027 60028 70020 70398 70399 72000 72001 "
    .. "72002 72011 72012 90045 90047",
}

-- Codes that no page has: each does as its range does.
local UNKNOWN = {
  [1] = "60001 60022 60999",
  [77] = "70000 70999 79999",
  halve = "90002 90999 12345 80001 93001 999999",
  again = "91001 91999",
}

local adds = {}

-- The answer is the vendor's no, and the sandbox does nothing.
local function step(code) return { answer = no(code), forward = 0 } end

function adds.again(name, code, surfaces)
  matrix:add { name .. ", once", plan = { step(code) }, surfaces = surfaces, done = 3,
    requests = 2, forwarded = 1 }
  matrix:add { name .. ", every time", plan = { step(code), forever = true }, unknown = 3,
    code = code, requests = 2, forwarded = 0 }
end

function adds.slower(name, code)
  -- no attempt is used up: the only one is enough
  matrix:add_slow { name .. ", twice", plan = { step(code), step(code) }, surfaces = "process",
    done = 3, requests = 3, forwarded = 1, options = { attempts_max = 1 } }
  matrix:add { name .. ", past the deadline", plan = { step(code), forever = true }, not_sent = 3,
    code = "DEADLINE", user_code = code, forwarded = 0, options = { deadline_ms = 50 } }
end

function adds.hold(name, code)
  matrix:add { name .. ", past the deadline", plan = { step(code), forever = true }, not_sent = 3,
    code = "DEADLINE", user_code = code, forwarded = 0, options = { deadline_ms = 50 },
    surfaces = "call coroutine" }
end

function adds.sign(name, code, surfaces)
  matrix:add { name .. ", once", plan = { step(code) }, surfaces = surfaces, done = 3,
    requests = 2, forwarded = 1 }
  matrix:add { name .. ", every time", plan = { step(code), forever = true }, not_sent = 3,
    code = code, requests = 2, forwarded = 0, surfaces = surfaces, exit = 77 }
end

function adds.halve(name, code, surfaces)
  -- 1 + 2, and the 2 once more: five requests for three users
  matrix:add { name .. ", every time", plan = { step(code), forever = true }, refused = 3,
    user_code = code, requests = 5, forwarded = 0, surfaces = surfaces }
  matrix:add { name .. ", once", plan = { step(code) }, done = 3, requests = 3, forwarded = 2 }
end

-- All that end the run; kind is the exit code.
local function stop(name, code, surfaces, exit)
  matrix:add { name, plan = { step(code), forever = true }, not_sent = 3, code = code,
    forwarded = 0, surfaces = surfaces, exit = exit }
end

local ORDER = { "again", "slower", "hold", "sign", "halve", 1, 77, 78 }

local function add_lists(lists, prefix)
  for _, kind in ipairs(ORDER) do
    local surfaces = ALL
    for code in (lists[kind] or ""):gmatch("%d+") do
      (adds[kind] or stop)(prefix .. code, code, surfaces, kind)
      surfaces = CALL
    end
  end
end

add_lists(LISTS, "")
add_lists(UNKNOWN, "a code of no page, ")

-- ---- what the sandbox itself refuses: nothing is forged

local function signed(changes)
  local fields = { sdkappid = app.SDKAPPID, identifier = "administrator", key = app.KEY }
  for name, value in pairs(changes) do fields[name] = value end
  return { key = false, usersig = assert(imattr.usersig.sign(fields)) }
end

for _, row in ipairs {
  { "a wrong key", { key = "wrong" }, "70009" },
  { "an SDKAppID that is not there", { sdkappid = 1400000001 }, "70020" },
  { "an identifier who is no administrator", { identifier = "somebody" }, "90009" },
  { "a UserSig that has expired", signed { time = os.time() - 1000, expire = 100 }, "70001", 2 },
  { "a UserSig that is none", { key = false, usersig = "nonsense" }, "70003", 2 },
  { "a UserSig of somebody else", signed { identifier = "somebody" }, "70013" },
  { "a UserSig of another app", signed { sdkappid = 1400000001 }, "70014" },
} do
  matrix:add { "the sandbox about " .. row[1], options = row[2], surfaces = "call coroutine",
    not_sent = 3, code = row[3], requests = row[4] or 1 }
end

-- Makes lists with a user with an attribute that is not registered, among so many.
local function with_bad_one(count, where)
  return function(number)
    local list = {}
    for i = 1, count do
      local name = i == where and "shoe" or "city"
      list[i] = { To_Account = ("bad%d-%d"):format(number, i), Attrs = { [name] = "x" } }
    end
    return list
  end
end

for _, row in ipairs { { 1, 1, 1 }, { 2, 1, 3 }, { 3, 2, 5 }, { 100, 1, 13 }, { 100, 50, 15 },
  { 100, 100, 15 } } do
  matrix:add { ("the sandbox about user %d of %d"):format(row[2], row[1]), plan = {},
    users = with_bad_one(row[1], row[2]), surfaces = "call coroutine", done = row[1] - 1,
    refused = 1, user_code = "90033", requests = row[3] }
end

-- ---- all fates in one run

-- 15 requests for the first hundred, one of whom is refused; one is never sent; then every answer
-- is lost. Without patience three batches are given up, and with them the run.
local function mixed(number)
  local list = with_bad_one(700, 50)(number)
  table.insert(list, 1, { To_Account = "too long", Attrs = { city = ("x"):rep(51) } })
  return list
end
local GOOD_THEN_LOST = { forever = true }
for i = 1, 15 do GOOD_THEN_LOST[i] = {} end
GOOD_THEN_LOST[16] = { send = 0, ends = "reset" }

matrix:add { "all five fates in one run", plan = GOOD_THEN_LOST, users = mixed, done = 99,
  refused = 1, unknown = 300, not_sent = 300, invalid = 1, requests = 21, retries = 17,
  code = "CUT", user_code = "VALUE_TOO_LONG", stored = 399,
  options = { in_flight_max = 1, patience_ms = 0 } }

matrix.codes = LISTS
return matrix
