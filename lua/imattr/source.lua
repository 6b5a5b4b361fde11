-- source: the three forms in which users come, as one: a function that returns the next account
-- and its attributes.

local source = {}

local function misuse(message)
  error(message, 4) -- whoever called client:set_attr, which is a tail call
end

-- An entry that is not a user at all, in a list: screening must count it, not stop at it.
local NOT_A_USER = {}

local function of_list(list)
  local index, count = 0, #list
  return function()
    index = index + 1
    if index > count then
      return nil
    end
    local user = list[index]
    if type(user) ~= "table" then
      return NOT_A_USER
    end
    local account = user.To_Account
    return account == nil and NOT_A_USER or account, user.Attrs
  end
end

local function of_map(map)
  local account, attrs
  return function()
    account, attrs = next(map, account)
    return account, attrs
  end
end

--- Takes users in any of the three forms. Raises for anything else.
---@param users table|function
---@param name string the command's, for messages
---@return fun(): any, any next_update account and attributes; nil at the end
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
  return #users > 0 and of_list(users) or of_map(users)
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
  local index, count = 0, #accounts
  return function()
    index = index + 1
    if index <= count then
      local account = accounts[index]
      return account == nil and NOT_A_USER or account
    end
  end
end

--- A function that pushes one update of a source into an engine, for the pump. It must only be
--- called when the engine has room.
---@param engine table
---@param next_update fun(): any, any
---@param on_invalid fun(ticket: integer, account: any, code: string, message: string)
---@return fun(): boolean, any push true; false at the end; false and the value when the source
---  raised
function source.pusher(engine, next_update, on_invalid)
  local push, pcall = engine.push, pcall
  return function()
    local ok, account, attrs = pcall(next_update)
    if not ok then
      return false, account == nil and "the source failed" or account
    end
    if account == nil then
      return false
    end
    if account == NOT_A_USER then
      on_invalid(engine:invalid(), nil, "USER_TYPE")
      return true
    end
    local ticket, code, message, invalid = push(engine, 1, account, attrs)
    if not ticket then
      on_invalid(invalid, account, code, message)
    end
    return true
  end
end

return source
