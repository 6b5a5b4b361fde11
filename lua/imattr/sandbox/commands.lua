-- commands: the five commands of the attribute family.
--
-- Each has a `check`, which looks at the whole body and returns nothing when
-- content or the vendor's code and a sentence, and an `apply`, which only runs
-- after its check and cannot fail. So a refused request changes nothing: all
-- of it is done, or none. `apply` returns the reply's own fields (or nil) and
-- the number of users served.
--
-- Where the vendor's documents are silent (an account named twice, nothing to
-- set) the sandbox refuses: a client that passes here does not lean on luck.

local commands = {}

local USERS_MAX = 100
local ACCOUNT_BYTES_MAX = 32
local NAME_BYTES_MAX = 50
local VALUE_BYTES_MAX = 50
local NAME_INDEX_MAX = 9

-- cjson tells objects from arrays only by their keys: a list has numbers. An
-- empty table may be either, and is refused wherever the difference matters.
local function is_list(value)
  return type(value) == "table" and value[1] ~= nil
end

local function is_object(value)
  return type(value) == "table" and value[1] == nil
end

-- A non-empty list of at most 100 users.
local function check_users(list, where)
  if list == nil then
    return 90001, where .. ": missing"
  elseif type(list) ~= "table" or not (is_list(list) or next(list) == nil) then
    return 90001, where .. ": not an array"
  elseif #list == 0 then
    return 90001, where .. ": empty"
  elseif #list > USERS_MAX then
    return 90018, ("%s: %d users, limit %d"):format(where, #list, USERS_MAX)
  end
end

-- The checks inside a user say what is wrong from the field on (": empty"); who
-- calls them knows the way to the field, and only puts it together for a refusal.

-- An account, and not one of those `seen` in this request.
local function check_account(account, seen)
  if account == nil then
    return 90003, ": missing"
  elseif type(account) ~= "string" then
    return 60015, ": not a string"
  elseif account == "" then
    return 90003, ": empty"
  elseif #account > ACCOUNT_BYTES_MAX then
    return 90003, (": %d bytes, limit %d"):format(#account, ACCOUNT_BYTES_MAX)
  elseif seen[account] then
    return 90001, (": %s is in the request twice"):format(account)
  end
  seen[account] = true
end

local function check_name(state, name)
  if not state.index_of[name] then
    local shown = #name <= NAME_BYTES_MAX and name or ("(%d bytes)"):format(#name)
    return 90033, (": attrName:%s is not registered"):format(shown)
  end
end

-- { name = value, ... }
local function check_set_attrs(state, attrs)
  if not is_object(attrs) then
    return 90001, ": not an object"
  elseif next(attrs) == nil then
    return 90001, ": empty"
  end
  for name, value in pairs(attrs) do
    local code, info = check_name(state, name)
    if code then
      return code, info
    elseif type(value) ~= "string" then
      return 90001, (".%s: not a string"):format(name)
    elseif #value > VALUE_BYTES_MAX then
      return 90034, (".%s: %d bytes, limit %d"):format(name, #value, VALUE_BYTES_MAX)
    end
  end
end

-- { name, ... }
local function check_remove_attrs(state, attrs)
  if type(attrs) == "table" and next(attrs) == nil then
    return 90001, ": empty"
  elseif not is_list(attrs) then
    return 90001, ": not an array"
  end
  for i, name in ipairs(attrs) do
    if type(name) ~= "string" then
      return 90001, ("[%d]: not a string"):format(i - 1)
    end
    local code, info = check_name(state, name)
    if code then
      return code, info
    end
  end
end

-- One user of UserAttrs, with `check_attrs` for what is in Attrs.
local function check_user(state, user, seen, check_attrs)
  if not is_object(user) then
    return 90001, ": not an object"
  end
  local code, info = check_account(user.To_Account, seen)
  if code then
    return code, ".To_Account" .. info
  end
  code, info = check_attrs(state, user.Attrs)
  if code then
    return code, ".Attrs" .. info
  end
end

local function check_user_attrs(state, object, check_attrs)
  local list = object.UserAttrs
  if list == nil and object.Attrs ~= nil then
    return 90001, "UserAttrs: missing (the list of users is not called Attrs)"
  end
  local code, info = check_users(list, "UserAttrs")
  if code then
    return code, info
  end
  local seen = {}
  for i = 1, #list do
    code, info = check_user(state, list[i], seen, check_attrs)
    if code then
      return code, ("UserAttrs[%d]%s"):format(i - 1, info)
    end
  end
end

local im_set_attr = {}

function im_set_attr.check(state, object)
  return check_user_attrs(state, object, check_set_attrs)
end

function im_set_attr.apply(state, object)
  local list = object.UserAttrs
  for i = 1, state.settings.store and #list or 0 do
    local user = list[i]
    local kept = state.users[user.To_Account] or {}
    for name, value in pairs(user.Attrs) do
      kept[name] = value
    end
    state.users[user.To_Account] = kept
  end
  return nil, #list
end

local im_remove_attr = {}

function im_remove_attr.check(state, object)
  return check_user_attrs(state, object, check_remove_attrs)
end

-- Removing what is not there is no error.
function im_remove_attr.apply(state, object)
  local list = object.UserAttrs
  for _, user in ipairs(list) do
    local kept = state.users[user.To_Account] or {}
    for _, name in ipairs(user.Attrs) do
      kept[name] = nil
    end
  end
  return nil, #list
end

local im_get_attr = {}

function im_get_attr.check(_, object)
  local list = object.To_Account
  local code, info = check_users(list, "To_Account")
  if code then
    return code, info
  end
  local seen = {}
  for i = 1, #list do
    code, info = check_account(list[i], seen)
    if code then
      return code, ("To_Account[%d]%s"):format(i - 1, info)
    end
  end
end

-- What a user has under the names that are registered now.
local function attrs_of(state, account)
  local attrs = {}
  for name, value in pairs(state.users[account] or {}) do
    attrs[name] = state.index_of[name] and value
  end
  return attrs
end

-- The answer runs backwards: the vendor's does not follow the question either.
function im_get_attr.apply(state, object)
  local list, answer = object.To_Account, {}
  for i = #list, 1, -1 do
    answer[#answer + 1] = { To_Account = list[i], Attrs = attrs_of(state, list[i]) }
  end
  return { UserAttrs = answer }, #list
end

local im_set_attr_name = {}

-- The index of `names` that holds `name`, other than `index`.
local function other_index(names, name, index)
  for i = 0, NAME_INDEX_MAX do
    if i ~= index and names[tostring(i)] == name then
      return i
    end
  end
end

local function check_attr_name(state, names, index)
  local name = names[tostring(index)]
  if type(name) ~= "string" then
    return 90001, ("AttrNames.%d: not a string"):format(index)
  elseif name == "" then
    return 90001, ("AttrNames.%d: empty"):format(index)
  elseif #name > NAME_BYTES_MAX then
    return 90001, ("AttrNames.%d: %d bytes, limit %d"):format(index, #name, NAME_BYTES_MAX)
  end
  local other = other_index(state.names, name, index) or other_index(names, name, index)
  if other then
    return 90033, ("attrName:%s already exists at index:%d"):format(name, other)
  end
end

local function has_bad_index(names)
  for key in pairs(names) do
    if not key:find("^%d$") then
      return true
    end
  end
  return false
end

function im_set_attr_name.check(state, object)
  local names = object.AttrNames
  if not is_object(names) then
    return 90001, "AttrNames: not an object"
  elseif next(names) == nil then
    return 90001, "AttrNames: empty"
  end
  if has_bad_index(names) then
    return 90001, ('AttrNames: a key is not one of "0" to "%d"'):format(NAME_INDEX_MAX)
  end
  for index = 0, NAME_INDEX_MAX do
    if names[tostring(index)] ~= nil then
      local code, info = check_attr_name(state, names, index)
      if code then
        return code, info
      end
    end
  end
end

-- Merges by index: an index that is not named keeps its name.
function im_set_attr_name.apply(state, object)
  for index, name in pairs(object.AttrNames) do
    local old = state.names[index]
    if old then
      state.index_of[old] = nil
    end
    state.names[index] = name
  end
  for index, name in pairs(state.names) do
    state.index_of[name] = index
  end
  return nil, 0
end

local im_get_attr_name = {}

function im_get_attr_name.check() end

function im_get_attr_name.apply(state)
  return { AttrNames = state.names }, 0
end

---@type table<string, { check: function, apply: function }>
commands.by_name = {
  im_set_attr = im_set_attr,
  im_get_attr = im_get_attr,
  im_remove_attr = im_remove_attr,
  im_set_attr_name = im_set_attr_name,
  im_get_attr_name = im_get_attr_name,
}

return commands
