-- Plain text out of gzip, as a chunk function over a chunk function: in constant memory, whatever
-- the input says it holds.

local core = require "imattr.csv"

local gzip = {}

---Does an input with these first bytes hold gzip?
---@param first string
---@return boolean
function gzip.is_gzip(first)
  return first:sub(1, 2) == "\31\139"
end

---The plain chunks of a compressed input.
---@param read imattr.cli.read chunks of the compressed input
---@return imattr.cli.read
function gzip.reader(read)
  local gunzip = core.gunzip()
  local failure, ended

  -- More of the input; false at its end, which must be the end of what it holds.
  local function feed(bytes)
    local chunk, message = read(bytes)
    if chunk then
      gunzip:feed(chunk)
      return true
    end
    ended = true
    failure = message or not gunzip:is_whole() and "gzip: cut short" or nil
    return false
  end

  return function(bytes)
    while not ended do
      local plain, reason = gunzip:read(bytes)
      if plain then
        return plain
      elseif reason then
        failure, ended = "gzip: " .. reason, true
      elseif not feed(bytes) then
        break
      end
    end
    return nil, failure
  end
end

return gzip
