-- options: imattr.new with a table made of bytes. It gives a client, or nil and an error, or raises
-- with a message that names what is wrong; it never shows a secret, and leaves the table as it was.
--
-- Each option is one byte that says which name (or how it is misspelt), and a value. The first
-- byte, when odd, lets it begin with options that make a client.

local errors = require "imattr.errors"
package.preload["imattr.curl"] = function() return {} end -- nothing is sent
local imattr = require "imattr"
local options = require "imattr.options"
local pieces = require "fuzz.pieces"
local watch = require "fuzz.watch"

local SECRET = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"

local PART = SECRET:sub(1, 16)

local GOOD = { sdkappid = 1400000000, key = SECRET, endpoint = "https://127.0.0.1:9" }

-- The value's classes at which an option is likely to be good, or nearly.
local KEY_FILES = { "/dev/null", "Makefile", "spec", "no/such/file", "", "LICENSE\0" }
local ENDPOINTS = { "https://127.0.0.1:9", "http://127.0.0.1:9", "http://example.com", "",
  "https://a b", "https://example.com:65536", "https://[::1]:1" }

local function number_near(input, option)
  local edge = input:byte(2) == 0 and option.min or option.max or 0
  return edge + input:byte(5) - 2 + (input:byte(4) == 3 and 0.5 or 0)
end

local LIKELY = {
  key = function(input) return input:byte(2) == 0 and SECRET or SECRET:rep(input:byte(6)) end,
  usersig = function(input)
    return input:byte(2) == 0 and SECRET:rep(input:byte(4)) or function() return SECRET end
  end,
  key_file = function(input) return input:choice(KEY_FILES) end,
  endpoint = function(input)
    return input:byte(2) == 0 and input:choice(ENDPOINTS) or "https://" .. input:to(" ")
  end,
  attr_names = function(input) return input:table(1) end,
}

local function value_for(input, option)
  if not option or input:byte(3) == 0 then
    return input:value(1)
  elseif LIKELY[option.name] then
    return LIKELY[option.name](input)
  elseif option.choices then
    local choice = input:choice(option.choices)
    return input:byte(2) == 0 and choice or choice:sub(2)
  elseif option.type == "integer" then
    return number_near(input, option)
  elseif option.type == "boolean" then
    return input:byte(2) == 0
  end
  return input:to(" ")
end

-- A name that is none: cut, doubled, in capitals, or any value.
local function strange_name(input, name)
  local how = input:byte(5)
  if how == 0 then
    return name:sub(1, -2)
  elseif how == 1 then
    return name .. name:sub(-1)
  elseif how == 2 then
    return name:upper()
  elseif how == 3 then
    return input:to(" ")
  end
  local value = input:value(0)
  return value == value and value or name
end

local function made_of(input)
  local given = {}
  if input:byte(2) == 1 then
    for name, value in pairs(GOOD) do
      given[name] = value
    end
  end
  while not input:is_over() do
    local which = input:byte()
    local option = options.list[which % #options.list + 1]
    local name = which < 230 and option.name or strange_name(input, option.name)
    -- a file that is waited for would be waited for for ever
    given[name] = value_for(input, name ~= "key_file" and options.find(name) or option)
    if name == "key_file" and type(given[name]) == "string" then
      given[name] = input:choice(KEY_FILES)
    end
  end
  return given
end

-- Does the message name one of the options given, or one that is missing?
local function names_one(message, given)
  for name in pairs(given) do
    if message:find(tostring(name), 1, true) then
      return true
    end
  end
  if message:find("unknown option: .*REDACTED") then
    return true -- a name that may be a secret
  end
  for _, option in ipairs(options.list) do
    if message:find("^" .. option.name .. ": missing") then
      return true
    end
  end
  return false
end

-- Does the secret, or nearly, stand where it may be shown? (The fuzzer copies what it sees
-- compared, and a control character shown as \5 adds what is missing.)
local function is_in_the_open(given)
  local part = PART:sub(5)
  for name, value in pairs(given) do
    local option = options.find(name)
    if tostring(name):find(part, 1, true)
        or not (option and option.secret) and tostring(value):find(part, 1, true) then
      return true
    end
  end
  return false
end

local function check_message(message, given)
  assert(type(message) == "string" and #message > 10, "no message")
  assert(not message:find(PART, 1, true) or is_in_the_open(given), "a secret is shown")
  assert(names_one(message, given), message)
end

local function copy_of(given)
  local copy = {}
  for name, value in pairs(given) do
    copy[name] = value
  end
  return copy
end

local function check_client(client, given)
  local app = ("%.0f at "):format(given.sdkappid)
  assert(tostring(client):find(app, 1, true), tostring(client))
  assert(not tostring(client):find(PART, 1, true))
  client:close()
  assert(tostring(client) == "imattr.client (closed)")
  client:close()
end

return function(bytes)
  local given = made_of(pieces.of(bytes))
  local before = copy_of(given)
  watch(true)
  local ok, client, err = pcall(imattr.new, given)
  watch(false)
  if not ok then
    check_message(client, given) -- misuse
  elseif client then
    check_client(client, given)
  else
    assert(errors.is(err) and err.code and err.class == "setup", "no error")
    check_message(tostring(err), given)
  end
  for name, value in pairs(given) do
    assert(rawequal(before[name], value) or value ~= value, "the table was changed")
  end
end
