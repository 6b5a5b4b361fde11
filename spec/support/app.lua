-- app: what specs of the client need again and again: a client for a server, users, and a few
-- questions about what came back.

local imattr = require "imattr"

local app = {}

app.SDKAPPID = 1400000000

--- The vendor's published sample key.
app.KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"

--- A reply that says yes.
app.YES = { body = '{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}' }

--- A reply that says no.
function app.no(code, info)
  return { body = ('{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":"%s"}'):format(code,
    info or "no") }
end

--- Options of a client for a server; false takes one away. A busy machine is no fault: it may take
--- its time to connect.
function app.options(server, changes)
  local options = { sdkappid = app.SDKAPPID, key = server.key or app.KEY,
    endpoint = server.endpoint, ca_file = server.ca_file, rate = 0, pace_scope = "process",
    connect_timeout_ms = 30000, timeout_ms = 60000 }
  for name, value in pairs(changes or {}) do
    options[name] = value or nil
  end
  return options
end

--- A client for a server.
function app.client(server, changes)
  return assert(imattr.new(app.options(server, changes)))
end

--- The vendor's list of `count` users: u1, u2, ...
function app.users(count, attrs)
  local list = {}
  for i = 1, count do
    list[i] = { To_Account = "u" .. i, Attrs = attrs or { city = "city " .. i } }
  end
  return list
end

--- An iterator over a list of users.
function app.iterator(list)
  local i = 0
  return function()
    i = i + 1
    if list[i] then
      return list[i].To_Account, list[i].Attrs
    end
  end
end

local COUNTS = { "users", "done", "invalid", "refused", "unknown", "not_sent", "merged",
  "requests", "retries" }

--- The counts of a report that are not zero. Fails when the fates do not add up to the users.
function app.counts(report)
  local counts = {}
  for _, name in ipairs(COUNTS) do
    assert(math.floor(report[name]) == report[name] and report[name] >= 0, name)
    counts[name] = report[name] ~= 0 and report[name] or nil
  end
  local fates = report.done + report.invalid + report.refused + report.unknown + report.not_sent
  assert(fates == report.users, ("%d fates of %d users"):format(fates, report.users))
  return counts
end

--- Each failure as one line: "index account fate code: message".
function app.failures(report)
  local lines = {}
  for i, failure in ipairs(report.failures) do
    lines[i] = ("%d %s %s %s: %s"):format(failure.index, tostring(failure.account), failure.fate,
      failure.code, failure.message)
  end
  return lines
end

--- The message of a misuse, without its place. Fails unless the place is in the function itself.
function app.misuse(wrong)
  local ok, message = pcall(wrong)
  assert(not ok, "nothing was raised")
  assert(type(message) == "string", "no string was raised")
  local place = debug.getinfo(wrong, "S")
  local file, line, text = message:match("^(.-):(%d+): (.*)$")
  assert(file == place.short_src and tonumber(line) >= place.linedefined
    and tonumber(line) <= place.lastlinedefined, "not at the caller's line: " .. message)
  return text
end

--- Every string in a value, keys and metatables' __tostring included, joined: to look for what
--- must not be there.
function app.dump(value, seen)
  seen = seen or {}
  if type(value) ~= "table" then
    return tostring(value)
  elseif seen[value] then
    return ""
  end
  seen[value] = true
  local parts = { tostring(value) }
  for key, item in pairs(value) do
    parts[#parts + 1] = app.dump(key, seen)
    parts[#parts + 1] = app.dump(item, seen)
  end
  return table.concat(parts, "\n")
end

--- What the sandbox holds about an account.
function app.stored(client, account)
  local attributes, err = client:get_attr { account }
  assert(attributes, tostring(err))
  return attributes[account]
end

return app
