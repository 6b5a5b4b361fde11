-- Counts the users of a run that failed: by fate and code, with an example each, and the first of
-- them one by one. Memory stays bounded, whatever a server answers.

local codes = require "imattr.codes"
local text = require "imattr.cli.text"

local tally = {
  CODES_MAX = 50, -- kinds of failure told apart
  FAILURES_MAX = 100, -- failures kept one by one, for --json
}
tally.__index = tally

---@class imattr.cli.tally
---@field count integer users that failed
---@field more_codes integer those of them whose code came after CODES_MAX others
---@field failures { input: string?, line: integer, account: string?, fate: string, code: string,
---  message: string }[] the first FAILURES_MAX; input is there when there are several

---@return imattr.cli.tally
function tally.new()
  return setmetatable({
    count = 0,
    more_codes = 0,
    failures = {},
    _reasons = {}, -- "fate code" -> reason
    _reason_count = 0,
  }, tally)
end

---The sentence of a code: the vendor's codes have one, others come with their message.
local function sentence_of(code, message)
  local known = codes[tonumber(code)]
  return known and known.message or message
end

---Counts one user that failed.
---@param row imattr.cli.row
---@param fate string
---@param code string
---@param message string
function tally:add(row, fate, code, message)
  self.count = self.count + 1
  if #self.failures < tally.FAILURES_MAX then
    self.failures[#self.failures + 1] = { input = row.path, line = row.line, account = row.account,
      fate = fate, code = code, message = message }
  end
  local kind = fate .. " " .. code
  local reason = self._reasons[kind]
  if reason then
    reason.count = reason.count + 1
    reason.line = math.min(reason.line, row.line)
  elseif self._reason_count < tally.CODES_MAX then
    self._reason_count = self._reason_count + 1
    self._reasons[kind] = { fate = fate, code = code, count = 1, line = row.line,
      message = sentence_of(code, message) }
  else
    self.more_codes = self.more_codes + 1
  end
end

---Why users failed, the most frequent reason first.
---@return imattr.cli.reason[]
function tally:reasons()
  local list = {}
  for _, reason in pairs(self._reasons) do
    list[#list + 1] = reason
  end
  table.sort(list, function(a, b)
    if a.count ~= b.count then
      return a.count > b.count
    end
    return a.fate .. a.code < b.fate .. b.code
  end)
  return list
end

---The failures that were kept, as JSON objects.
---@return {json: string}[]
function tally:json()
  local list = {}
  for index, failure in ipairs(self.failures) do
    list[index] = text.json_object {
      { "input", failure.input }, { "line", failure.line }, { "account", failure.account },
      { "fate", failure.fate }, { "code", failure.code }, { "message", failure.message },
    }
  end
  return list
end

return tally
