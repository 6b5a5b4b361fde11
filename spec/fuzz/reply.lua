-- reply: what wire makes of an answer. The first byte says of what:
--   0  the rest is the body of an answer with status 200
--   1  a body made of four lines: the values of ActionStatus, ErrorCode, ErrorInfo, ErrorList
--   2  the vendor's words: the rest is an ErrorInfo, and a UserSig stands in it somewhere
--   3  an HTTP status and a body
--   4  no answer: a status of the core, and the transport's words with a UserSig in them
--   5  a Date header, and the UserSig that is made anew by it

local core = require "imattr.core"
local codes = require "imattr.codes"
local errors = require "imattr.errors"
local pieces = require "fuzz.pieces"
local signature = require "imattr.signature"
local strict = require "fuzz.strict"
local watch = require "fuzz.watch"
local wire = require "imattr.wire"

local KINDS = { delivered = true, retry = true, slow_down = true, hold_off = true, resign = true,
  split = true, stop = true, give_up = true, skip = true }

-- Of the core's statuses: those that a transport gives.
local STATUSES = { "RESOLVE", "CONNECT", "PROXY", "TLS", "TIMEOUT", "CUT", "REPLY_TOO_LARGE" }

local INFO_BYTES_MAX = 200

-- Like a UserSig; nothing else has these letters in a row.
local USERSIG = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZk-SlaG"
  .. "JgaGxqYWRhYQ2cyU1LySzLRMhGhJZi6Q7WhqZGZpaWRqYQ__"

local NAMES = {}
for name, status in pairs(core.statuses) do
  NAMES[status.code] = name
end

local function answered(body, http_status)
  return { id = 1, status = "OK", may_have_arrived = true, http_status = http_status or 200,
    body = body }
end

-- A part of the UserSig in a text, by its place in the UserSig.
local function part_in(text)
  for at = 1, #USERSIG - 15 do
    if text:find(USERSIG:sub(at, at + 15), 1, true) then
      return at
    end
  end
end

local function check_info(info)
  if info == nil then
    return
  end
  assert(type(info) == "string" and #info > 0 and #info <= INFO_BYTES_MAX)
  assert(not info:find("%c"), "a control character")
  for word in info:gmatch("[%w*_%%-]+") do
    assert(#word < 80 or not word:find("%d"), "a word that may be a UserSig")
  end
end

-- A verdict has a shape, whatever it is about; and there is a sentence for it.
local function check_verdict(verdict)
  assert(KINDS[verdict.kind], "no kind")
  check_info(verdict.info)
  if verdict.kind == "delivered" then
    assert(type(verdict.object) == "table" and verdict.code == nil)
  else
    local code = verdict.code
    assert(code == math.floor(code) and code >= 1)
    assert(NAMES[code] or code >= 10000 and code <= 999999, "no code")
    local name = NAMES[code] or ("%.0f"):format(code)
    local err = wire.error(name, "https://h", verdict.info)
    assert(errors.is(err) and #tostring(err) < 600 and err.class)
    assert(code < 10000 or codes[code].message)
  end
  for account, code in pairs(verdict.refused or {}) do
    assert(type(account) == "string" and type(code) == "number" and code >= 1 and code < 1000000)
  end
end

-- Does the body say, beyond doubt, that all was done? nil: the RFC leaves it open.
local function is_delivered(body)
  local ok, object, free, kind = strict.read(body)
  if free then
    return nil
  end
  return ok and kind == "object" and object.ActionStatus == "OK" and object.ErrorCode == 0
end

-- What wire says, watched.
local function verdict_on(reply)
  watch(true)
  local verdict = wire.verdict(reply)
  watch(false)
  return verdict
end

local function check_body(body, http_status)
  local verdict = verdict_on(answered(body, http_status))
  check_verdict(verdict)
  local wanted = is_delivered(body)
  if http_status and http_status ~= 200 then
    assert(verdict.kind ~= "delivered" and verdict.code == core.statuses.HTTP_STATUS.code)
  elseif wanted ~= nil then
    assert(wanted == (verdict.kind == "delivered"), wanted and "not delivered" or "delivered")
    if not strict.read(body) then
      assert(verdict.kind == "retry" and verdict.code == core.statuses.BAD_REPLY.code)
    end
  end
end

local function quoted(text)
  return '"' .. text:gsub('[%z\1-\31"\\]', function(byte)
    return ("\\u%04x"):format(byte:byte())
  end) .. '"'
end

-- The words with a UserSig in them, which no letter of its own kind touches.
local function with_secret(input)
  local place, text = input:byte(), input:rest()
  if part_in(text) then -- the fuzzer learns from what it sees compared
    text = ""
  end
  place = math.min(place, #text)
  return text:sub(1, place) .. "=" .. USERSIG .. " " .. text:sub(place + 1)
end

local function check_lines(input)
  local values = {}
  for index = 1, 4 do
    values[index] = input:to("\n")
  end
  check_body(('{"ActionStatus":%s,"ErrorCode":%s,"ErrorInfo":%s,"ErrorList":%s}'):format(
    table.unpack(values)))
end

local function check_words(input)
  local code = 10000 + input:byte() * 256 + input:byte()
  local words = with_secret(input)
  local verdict = verdict_on(answered(('{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":%s}')
    :format(code, quoted(words))))
  check_verdict(verdict)
  assert(not part_in(verdict.info), "a part of a UserSig")
  assert(verdict.code == code)
end

local function check_silence(input)
  local verdict = verdict_on { id = 1, status = input:choice(STATUSES), http_status = 0,
    body = "", may_have_arrived = input:byte(2) == 1, message = with_secret(input) }
  check_verdict(verdict)
  assert(not part_in(verdict.info), "a part of a UserSig")
  assert(verdict.kind ~= "delivered")
end

-- A year's last second that there can be: 9999.
local DATE_MAX_S = 253402300799

local function check_date(text)
  watch(true)
  local date_s = wire.date_s(text)
  watch(false)
  if date_s then
    assert(date_s == math.floor(date_s), "no integer")
    assert(date_s >= 0 and date_s <= DATE_MAX_S, "no second that there is")
  end
  local signer = assert(signature.new({ sdkappid = 1400000000, identifier = "administrator",
    key = "a key", usersig_expire_s = 86400 }, os.time))
  local first = assert(signer:get())
  signer:renew(first, date_s)
  local second, err = signer:get()
  assert(type(second) == "string" or errors.is(err))
  signer:close()
end

local MODES = {
  function(input) check_body(input:rest()) end,
  check_lines,
  check_words,
  function(input) check_body(input:rest(), input:byte() * 4 + input:byte(4)) end,
  check_silence,
  function(input) check_date(input:rest()) end,
}

return function(bytes)
  local input = pieces.of(bytes)
  input:choice(MODES)(input)
end
