-- source: the three forms in which users come, and what takes them from there into the engine.

local source = {}

-- The lanes of an engine: a command's own, and beside it the one that removes.
local SET, REMOVE = 1, 2

local function misuse(message)
  error(message, 4) -- whoever called client:set_attr, which is a tail call
end

-- A map as a list: what is not sent can be told as well as what is.
local function of_map(map)
  local list = {}
  for account, attrs in pairs(map) do
    list[#list + 1] = { To_Account = account, Attrs = attrs }
  end
  return list
end

local function of_values(list)
  local index, count = 0, #list
  return function()
    index = index + 1
    local value = list[index]
    if index <= count and value == nil then
      return false -- a hole: screening counts it, the source goes on
    end
    return value
  end
end

--- Takes users in any of the three forms: a list and an iterator stay what they are, a map becomes
--- a list. Raises for anything else.
---@param users table|function
---@param name string the command's, for messages
---@return table|fun(): any, any users
function source.of_users(users, name)
  if type(users) == "function" then
    return users
  end
  if type(users) ~= "table" then
    misuse(("%s: a %s, wants a list, a map or an iterator of users"):format(name, type(users)))
  end
  if users.To_Account ~= nil then
    misuse(name .. ": one user, wants a list of users: { user }")
  end
  if users.UserAttrs ~= nil then
    misuse(name .. ": a whole request, wants its UserAttrs alone")
  end
  return #users > 0 and users or of_map(users)
end

--- Takes accounts: a list, or an iterator. Raises for anything else.
---@param accounts string[]|fun(): string?
---@return fun(): string? next_account
function source.of_accounts(accounts)
  if type(accounts) == "function" then
    return accounts
  end
  if type(accounts) ~= "table" then
    misuse(("get_attr: a %s, wants a list or an iterator of accounts"):format(type(accounts)))
  end
  return of_values(accounts)
end

local function account_of(user)
  if type(user) == "table" then
    return user.To_Account
  end
end

-- A list is walked in C.
local function list_pusher(engine, list, on_invalid)
  local index, count = 1, #list
  local function push(most)
    local last = math.min(count, index + most - 1)
    while index <= last do
      local at, code, message, ticket = engine:push_users(1, list, index, last)
      if not code and at <= last then -- full, or stopped
        index = at
        return true
      end
      index = at
      if code then
        on_invalid(ticket, account_of(list[at]), code, message)
        index = at + 1
      end
    end
    return index <= count
  end
  local function rest()
    index = index + 1
    return index - 1 <= count, account_of(list[index - 1])
  end
  return push, rest
end

-- Makes updates of one lane each out of rows that set and remove: what is removed is an update of
-- its own, behind the other. Gives the iterator, and what takes an update that is left.
local function split(next_row)
  local account, names = nil, nil -- of an update whose turn has not come
  local function take()
    local taken = account
    account = nil
    return taken
  end
  return function(tend)
    if account ~= nil then
      return take(), names, REMOVE
    end
    local given, attrs, removes = next_row(tend)
    if given == nil or removes == nil then
      return given, attrs, SET
    elseif type(attrs) == "table" and next(attrs) == nil then
      return given, removes, REMOVE
    end
    account, names = given, removes
    return given, attrs, SET
  end, take
end

local function iterator_pusher(engine, next_update, on_invalid, tend, removes)
  local take_left
  if removes then
    next_update, take_left = split(next_update)
  end
  local push, call = engine.push, pcall
  local is_left, left = false, nil -- an update that came when the run had been stopped
  local function push_some(most)
    for _ = 1, most do
      local ok, account, attrs, lane = call(next_update, tend)
      if not ok then
        return false, { raised = account }
      end
      if account == nil then
        return false
      end
      local ticket, code, message, invalid = push(engine, removes and lane or SET, account, attrs)
      if code == "FULL" then
        is_left, left = true, account
        return true
      elseif not ticket then
        on_invalid(invalid, account, code, message)
      end
    end
    return true
  end
  local function rest()
    if is_left then
      is_left = false
      return true, left
    end
    left = take_left and take_left()
    return left ~= nil, left
  end
  return push_some, rest
end

--- A function that pushes updates of a source into an engine, for the pump.
---@param engine table
---@param users table|fun(): any, any a list of user objects, or an iterator
---@param on_invalid fun(ticket: integer, account: any, code: string, message: string)
---@param tend fun(time_ms: integer): boolean handed to an iterator
---@param removes boolean? does an iterator give names to remove behind attributes? They go to the
---  second lane
---@return fun(most: integer): boolean, { raised: any }? push pushes up to `most` updates, which
---  must not be more than the engine has room for; false at the end of the source; false and what
---  was raised when it failed
---@return fun(): boolean, any rest takes one update out of a list that will not be sent: true
---  and its account; false at the end
function source.pusher(engine, users, on_invalid, tend, removes)
  if type(users) == "table" then
    return list_pusher(engine, users, on_invalid)
  end
  return iterator_pusher(engine, users, on_invalid, tend, removes)
end

return source
