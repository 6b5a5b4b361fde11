-- Rows that set and remove: each is two updates of the client, one behind the other, and has one
-- fate, the worse of theirs. Rows are known by the index of their first update.

local halves = {}
halves.__index = halves

local BADNESS = { done = 0, not_sent = 1, unknown = 2, refused = 3, invalid = 4 }

---@class imattr.cli.halves

---@param dry_run boolean? then only what fails is told, and before the next row
---@return imattr.cli.halves
function halves.new(dry_run)
  return setmetatable({
    _dry_run = dry_run,
    _firsts = {}, -- index of a row's second update -> that of its first
    _known = {}, -- that of its first -> what became of one of the two; false: nothing is known yet
  }, halves)
end

---The row that begins with this index is two updates.
---@param index integer
function halves:split(index)
  if self._dry_run then -- nobody will ask for those before
    self._firsts, self._known = {}, {}
  end
  self._firsts[index + 1], self._known[index] = index, false
end

---What became of a row, when that of one of its updates is told. Nil: the other is still open; or,
---in a dry run, the row has failed already.
---@param result imattr.result
---@return imattr.result?
function halves:whole(result)
  local first = self._firsts[result.index] or result.index
  local other = self._known[first]
  if other == nil then
    return result
  end
  self._firsts[result.index] = nil
  if other == false then
    other = { index = first, fate = result.fate, code = result.code, message = result.message,
      account = result.account }
    self._known[first] = other
    return self._dry_run and other or nil
  end
  self._known[first] = nil
  if self._dry_run then
    return nil
  elseif BADNESS[result.fate] > BADNESS[other.fate] then
    other.fate, other.code, other.message = result.fate, result.code, result.message
  end
  return other
end

return halves
