-- What makes attributes out of others: which are set, which removed, in words, and as requests. Two
-- of the vendor's commands may be needed for one user: first all that is set, then what is removed.

local plan_file = require "imattr.cli.plan_file"
local text = require "imattr.cli.text"

local plan_change = {}

local NULL = plan_file.NULL

---What changes attributes `from` into `to`, as far as `to` names them.
---@param from table<string, any> value, or NULL
---@param to table<string, any>
---@return table<string, string>? set
---@return string[]? remove names
function plan_change.of(from, to)
  local set, remove
  for name, value in pairs(to) do
    local is = from[name]
    if value == NULL and is ~= nil and is ~= NULL then
      remove = remove or {}
      remove[#remove + 1] = name
    elseif value ~= NULL and is ~= value then
      set = set or {}
      set[name] = value
    end
  end
  return set, remove
end

---What a user of a plan had before: the names of `wanted`, with NULL for those that were not there;
---nothing, where that is not known.
---@param user imattr.cli.plan_file.user
---@return table<string, any>
function plan_change.before(user)
  local before = {}
  for name in pairs(user.present and user.wanted or {}) do
    before[name] = user.present[name] or NULL
  end
  return before
end

---Names that differ, in order.
---@param from table<string, any>
---@param to table<string, any>
---@return string[]
function plan_change.names(from, to)
  local set, remove = plan_change.of(from, to)
  local names = remove or {}
  for name in pairs(set or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function shown(value)
  return (value == nil or value == NULL) and "(none)" or value
end

---A difference for people: city: Osaka -> Kyoto, level: (none) -> 7.
---@param from table<string, any>
---@param to table<string, any>
---@return string
function plan_change.words(from, to)
  local parts = {}
  for index, name in ipairs(plan_change.names(from, to)) do
    parts[index] = ("%s: %s -> %s"):format(name, shown(from[name]), shown(to[name]))
  end
  return text.visible(table.concat(parts, ", "))
end

---How users of a plan come from one state to another.
---@class imattr.cli.plan_change.way
---@field step "apply"|"undo"
---@field half string state of a user of whom one request is done
---@field done string state of a user who is through
---@field failed string? state of a user who was refused; nil: stays as it was
---@field announces boolean? is it written down who is about to be sent?
---@field change fun(user: imattr.cli.plan_file.user): table<string, string>?, string[]?

---Carries the users of a step through one of the two commands. True when all have their fate.
local function carry_part(run, way, command, part_of)
  local file = run.file
  local sent_before = file:get "sent_to" or 0 -- by a run that may not have seen all answers
  local users = file:users(way.step, way.announces and function(last) file:announce(last) end)
  return run:carry {
    command = command,
    users = file:count(way.step),
    next = function()
      for user in users do
        local part, is_rest = part_of(user)
        if part then
          user.has_more = is_rest
          return user, part
        end
      end
    end,
    settle = function(user, fate, code, message)
      if fate == "done" then
        file:move(user.number, user.has_more and way.half or way.done)
      elseif fate == "invalid" or fate == "refused" then
        file:fail(way.step, user, fate, code, message)
        if way.failed and user.state ~= way.half and user.number > sent_before then
          file:move(user.number, way.failed) -- nothing of this user was replaced
        end
      end
      return not (fate == "done" and user.has_more)
    end,
  }
end

---Carries all users of a step through what changes them. True when all have their fate.
---@param run imattr.cli.plan_run
---@param way imattr.cli.plan_change.way
---@return boolean
function plan_change.carry(run, way)
  local removes = false -- does anybody lose an attribute?
  local is_whole = carry_part(run, way, "set_attr", function(user)
    local set, remove = way.change(user)
    removes = removes or remove ~= nil
    return user.state ~= way.half and set, remove ~= nil
  end)
  if not is_whole or not removes then
    return is_whole
  elseif run.is_stopping then -- Ctrl-C, with the last answers of this part
    run.is_through = false
    return false
  end
  return carry_part(run, way, "remove_attr", function(user)
    local set, remove = way.change(user)
    return (not set or user.state == way.half) and remove, false -- else the first part failed
  end)
end

return plan_change
