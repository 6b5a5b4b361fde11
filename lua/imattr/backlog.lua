-- backlog: the updates of a spool's file that somebody left, taken up one after the other.

local backlog = {}

---@class imattr.Backlog
---@field file imattr.spool.File
local Backlog = {}
Backlog.__index = Backlog

--- Takes over a file of the spool. Nil when there is none.
---@param spool imattr.Spool
---@return imattr.Backlog?
function backlog.claim(spool)
  local updates, path, bad = spool:claim()
  if not updates then
    return nil
  end
  ngx.log(ngx.NOTICE, "imattr: ", #updates, " updates taken up from ", path)
  if bad > 0 then
    ngx.log(ngx.ERR, "imattr: ", path, ": ", bad, " lines cannot be read; they stay in ", path,
      ".bad")
  end
  return setmetatable({ file = updates[1].place.file, _updates = updates, _at = 0 }, Backlog)
end

--- The next update; nil at the end.
---@return imattr.spool.Update?
function Backlog:next()
  self._at = self._at + 1
  return self._updates[self._at]
end

return backlog
