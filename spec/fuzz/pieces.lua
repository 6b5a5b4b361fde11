-- pieces: what targets in Lua make of their bytes: numbers, texts, values of any type, and a text
-- cut into chunks. Everything is determined by the bytes; when they are at their end all is 0.

local pieces = {}
pieces.__index = pieces

--- Starts taking bytes from the front of an input.
---@param bytes string
---@return table
function pieces.of(bytes)
  return setmetatable({ _bytes = bytes, _at = 1 }, pieces)
end

function pieces:is_over()
  return self._at > #self._bytes
end

--- The next byte, modulo `limit` (256).
---@param limit integer?
---@return integer
function pieces:byte(limit)
  local byte = self._bytes:byte(self._at) or 0
  self._at = self._at + 1
  return byte % (limit or 256)
end

--- A choice by the next byte. Letters are as good as any byte: "0" chooses the first of ten.
---@generic T
---@param list T[]
---@return T
function pieces:choice(list)
  return list[(self:byte() - 48) % #list + 1]
end

--- So many bytes, or those that are left.
---@param count integer
---@return string
function pieces:text(count)
  local text = self._bytes:sub(self._at, self._at + count - 1)
  self._at = self._at + #text
  return text
end

--- All bytes to the next `mark`, which is taken as well, or to the end.
---@param mark string
---@return string
function pieces:to(mark)
  local stop = self._bytes:find(mark, self._at, true) or #self._bytes + 1
  local text = self._bytes:sub(self._at, stop - 1)
  self._at = stop + #mark
  return text
end

function pieces:rest()
  return self:text(#self._bytes)
end

-- Numbers at the edges of something.
local NUMBERS = { 0, 1, -1, 100, 1000, 1001, 3100, 2 ^ 31, 2 ^ 32, 2 ^ 53, -2 ^ 53, 1.5, -0.0,
  1e300, math.huge, -math.huge, 0 / 0, 1400000000, 86400, 65535 }

local function noop() end

local MAKERS = {
  function(self) return self:text(self:byte(64)) end,
  function(self) return NUMBERS[self:byte(#NUMBERS) + 1] end,
  function(self) return self:byte() end,
  function(self) return self:byte(2) == 1 end,
  function(self, depth) return depth > 0 and self:table(depth - 1) or {} end,
  function() return noop end,
  function() return coroutine.create(noop) end,
  function() return io.stdout end,
}

--- A value of any type but nil.
---@param depth integer tables in tables, at most
---@return any
function pieces:value(depth)
  return MAKERS[self:byte(#MAKERS) + 1](self, depth)
end

--- A table of up to seven values, partly a list.
---@param depth integer
---@return table
function pieces:table(depth)
  local made = {}
  for index = 1, self:byte(8) do
    local key = self:byte(3) > 0 and index or self:value(0)
    if key == key then -- NaN is no key
      made[key] = self:value(depth)
    end
  end
  return made
end

--- A chunk function over a text: pieces of 0 to 15 bytes (`seed` even) or 0 to 63 bytes (odd), in
--- an order drawn from it.
---@param text string
---@param seed integer 0: the whole text in one piece
---@return fun(bytes: integer): string?
function pieces.chunks(text, seed)
  local at, state, sizes = 1, seed, seed % 2 == 0 and 16 or 64
  return function(most)
    if at > #text then
      return nil
    end
    state = (state * 69069 + 12345) % 65536
    local size = seed == 0 and #text or math.floor(state / 256) % sizes
    local piece = text:sub(at, at + math.min(size, most) - 1)
    at = at + #piece
    return piece
  end
end

return pieces
