-- users: set_attr and remove_attr with users made of bytes, in a dry run whose bodies are kept.
-- Every user has one fate and one result; the bodies, read by cjson and by a strict reader, must
-- leave a server with what the users that were not refused leave it with.

local cjson = require("cjson").new()
local dry = require "imattr.transport.dry"
package.preload["imattr.curl"] = function() return {} end -- nothing is sent
local imattr = require "imattr"
local pieces = require "fuzz.pieces"
local strict = require "fuzz.strict"
local watch = require "fuzz.watch"

local client = assert(imattr.new { sdkappid = 1400000000, key = "a key", rate = 0,
  endpoint = "https://127.0.0.1:9", queue_max = 100 })

-- {===== bodies: the dry transport, which is told to want them as strings =====

local bodies
local new_transport = dry.new

function dry.new()
  local transport = new_transport()
  local start = transport.start
  transport.borrows = false
  function transport:start(id, ...)
    for index = 1, select("#", ...) do
      local word = select(index, ...)
      if type(word) == "string" and word:sub(1, 1) == "{" then
        bodies[#bodies + 1] = word
      end
    end
    return start(self, id, ...)
  end
  return transport
end

-- }=====

-- {===== users =====

local WORDS = { "city", "sex", "tier", "level", "a\"b\\c", "M\195\188nchen", "\0", "\255", "\n",
  "", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "\240\159\152\128" }

local function word_of(input, count)
  local which = input:byte()
  return which < 200 and WORDS[which % #WORDS + 1] or input:text(which % count)
end

local function account_of(input)
  local which = input:byte()
  return which < 180 and "u" .. which % 5 or which < 240 and word_of(input, 40) or input:value(0)
end

local function attrs_of(input, is_set)
  local attrs = {}
  for index = 1, input:byte(12) do
    local name = word_of(input, 60)
    if input:byte() > 245 then
      name = input:value(0)
    end
    if not is_set then
      attrs[index] = name
    elseif name == name then
      attrs[name] = input:byte() < 240 and word_of(input, 60) or input:value(0)
    end
  end
  return input:byte() > 250 and input:value(1) or attrs
end

local function users_of(input, is_set)
  local users = {}
  for index = 1, input:byte(20) do
    users[index] = { To_Account = account_of(input), Attrs = attrs_of(input, is_set) }
    if input:byte() > 250 then
      users[index] = input:value(1)
    end
  end
  return users
end

-- The same users as the caller may give them: a list, a map, an iterator. Returns what to give, and
-- the users by index; nil when only their accounts tell them apart (a map).
local function forms_of(users, form)
  if form == 0 or #users == 0 then
    return users, users
  elseif form == 1 then
    local index, given = 0, {}
    for place, user in ipairs(users) do
      local is_user = type(user) == "table"
      local account, attrs = is_user and user.To_Account, is_user and user.Attrs
      given[place] = { To_Account = account or false, Attrs = attrs }
    end
    return function()
      index = index + 1
      if given[index] then
        return given[index].To_Account, given[index].Attrs
      end
    end, given
  end
  local map = {}
  for _, user in ipairs(users) do
    local account = type(user) == "table" and user.To_Account
    if account and account == account and account ~= "To_Account" and account ~= "UserAttrs" then
      map[account] = user.Attrs
    end
  end
  return map
end

-- }=====

-- {===== the server =====

local function apply(held, user, is_set)
  local attrs = held[user.To_Account] or {}
  held[user.To_Account] = attrs
  for name, value in pairs(is_set and user.Attrs or {}) do
    attrs[name] = type(value) == "number" and ("%.0f"):format(value + 0.0) or value
  end
  for index = 1, is_set and 0 or #user.Attrs do
    attrs[user.Attrs[index]] = "removed"
  end
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

-- What the bodies say, by two readers that must agree.
local function held_of_bodies(is_set)
  local held = {}
  for _, body in ipairs(bodies) do
    local object = cjson.decode(body)
    local ok, strictly, free = strict.read(body)
    assert(ok and not free and same(object, strictly), "no strict JSON")
    assert(#object.UserAttrs >= 1 and #object.UserAttrs <= 100)
    for _, user in ipairs(object.UserAttrs) do
      apply(held, user, is_set)
    end
  end
  return held
end

-- }=====

local function check_failure(result)
  assert(result.fate == "invalid" or result.fate == "not_sent", result.fate)
  assert(type(result.code) == "string" and result.code:find("^[%u%d_]+$"))
  local message = result.message
  assert(#message > 3 and #message < 200 and not message:find("%c"), "no line")
  assert(strict.is_utf8(message), "no UTF-8")
end

local function check_report(report, seen, failures_max)
  assert(report.users == #seen)
  assert(report.users == report.invalid + report.not_sent and report.done == 0)
  assert(report.refused == 0 and report.unknown == 0)
  assert(report.requests == #bodies and report.dry_run)
  assert(report.ok == (report.invalid == 0))
  assert(#report.failures + report.failures_more == report.invalid)
  assert(#report.failures <= failures_max)
end

-- Calls, and takes every result: index -> fate.
local function run(name, given, failures_max)
  local seen, by_index = {}, {}
  bodies = {}
  watch(true)
  local report, err = client[name](client, given, { dry_run = true, failures_max = failures_max,
    on_result = function(result)
      assert(not by_index[result.index], "told twice")
      by_index[result.index] = result
      seen[#seen + 1] = result
    end })
  watch(false)
  assert(report and not err, tostring(err))
  check_report(report, seen, failures_max)
  for index = 1, #seen do
    check_failure(assert(by_index[index], "not told"))
  end
  return by_index
end

return function(bytes)
  local input = pieces.of(bytes)
  local is_set, form = input:byte(2) == 0, input:byte(3)
  local given, users = forms_of(users_of(input, is_set), form)
  if type(given) == "table" and (given.To_Account ~= nil or given.UserAttrs ~= nil) then
    return
  end
  local results = run(is_set and "set_attr" or "remove_attr", given, #bytes % 4)
  local held = {}
  for index, result in ipairs(results) do
    local user = users and users[index]
    if not users then
      user = { To_Account = result.account, Attrs = given[result.account] }
    end
    assert(not users or type(user) ~= "table" or rawequal(user.To_Account, result.account)
      or result.account ~= result.account, "another account")
    if result.fate == "not_sent" then
      apply(held, user, is_set)
    end
  end
  assert(same(held, held_of_bodies(is_set)), "the bodies say something else")
end
