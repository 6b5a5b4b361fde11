-- transport/dry: sends nothing and answers each request at once that it was not sent: a dry run
-- goes the same way as a real one, so what it counts is what a real one would send.

local dry = {}

local Transport = {}
Transport.__index = Transport
Transport.borrows = true

---@return table transport
function dry.new()
  return setmetatable({ _ids = {}, _first = 1 }, Transport)
end

function Transport:start(id)
  self._ids[#self._ids + 1] = id
end

function Transport:wait()
  local id = table.remove(self._ids)
  return id and { id = id, status = "DRY_RUN" } or nil
end

function Transport:close()
  self._ids = {}
end

return dry
