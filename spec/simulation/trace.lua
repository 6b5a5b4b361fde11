-- trace: a running hash of everything that happens, and, when wanted, its text.

local trace = {}

local MODULUS = 2147483647

local hashes = {} -- of strings, kept: the same few words come again and again
local hashes_count = 0

local function hash_of(text)
  local hash = hashes[text]
  if not hash then
    hash = #text
    for i = 1, #text do
      hash = (hash * 16807 + text:byte(i)) % MODULUS
    end
    hashes_count = hashes_count + 1
    if hashes_count > 20000 then
      hashes, hashes_count = {}, 0
    end
    hashes[text] = hash
  end
  return hash
end

local Trace = {}
Trace.__index = Trace

--- `write` gets each line of the text; nil: no text is made.
---@param write fun(line: string)?
function trace.new(write)
  return setmetatable({ hash = 1, count = 0, _write = write }, Trace)
end

local function shown(value)
  return type(value) == "number" and ("%.0f"):format(value) or tostring(value)
end

local function digest(hash, value)
  local kind = type(value)
  if kind == "number" then
    return (hash * 16807 + value) % MODULUS
  elseif kind == "string" then
    return (hash * 16807 + (hashes[value] or hash_of(value))) % MODULUS
  end
  return (hash * 16807 + (value and 3 or 7)) % MODULUS -- true, false, nil
end

--- Notes an event: a moment, a word and up to four values: numbers below 2^50, words, truths.
function Trace:event(now_us, word, a, b, c, d)
  local hash = digest(digest(self.hash, now_us), word)
  hash = digest(digest(digest(digest(hash, a), b), c), d)
  self.hash, self.count = hash, self.count + 1
  if self._write then
    local text = ("%14.6f %-8s"):format(now_us / 1e6, word)
    for _, value in ipairs { a == nil and "" or a, b == nil and "" or b, c == nil and "" or c,
      d == nil and "" or d } do
      text = text .. " " .. shown(value)
    end
    self._write((text:gsub(" +$", "")))
  end
end

return trace
