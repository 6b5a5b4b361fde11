-- Physical lines out of a chunk function, in constant memory: the CSV and the NDJSON reader stand
-- on it.
--
-- A line longer than LINE_BYTES_MAX is not gathered: its head is kept for the report, the rest is
-- skipped up to the next newline, and reading goes on. A reader that looked ahead in vain can give
-- lines back.

local find, sub = string.find, string.sub

local lines = {
  LINE_BYTES_MAX = 1048576, -- a user is some 1,100 bytes; 1 MiB is a broken file, not a user
  CHUNK_BYTES = 65536, -- asked of the chunk function at a time
  HEAD_BYTES = 256, -- kept of a line that is too long
}
lines.__index = lines

---@class imattr.cli.lines
---@field number integer number of the line last returned, counted from 1
---@field bytes integer bytes read from the source so far

---A chunk function: the next chunk of at most so many bytes, of any size; nil at the end; nil and
---a message on failure.
---@alias imattr.cli.read fun(bytes: integer): string?, string?

---Starts reading.
---@param read imattr.cli.read
---@return imattr.cli.lines
function lines.new(read)
  return setmetatable({
    _read = read,
    _buffer = "",
    _from = 1,
    _back = {}, -- lines given back, the next one last
    _back_count = 0,
    number = 0,
    bytes = 0,
  }, lines)
end

---One more chunk; nil at the end; nil and a message when reading failed, now or before.
local function next_chunk(self)
  if self._ended then
    return nil, self._failure
  end
  local chunk, message = self._read(lines.CHUNK_BYTES)
  if not chunk then
    self._ended, self._failure = true, message
    return nil, message
  end
  self.bytes = self.bytes + #chunk
  return chunk
end

---Skips to the next newline, beginning in `chunk`; answers like `next` for a line too long.
local function skip_line(self, head, chunk)
  self.number = self.number + 1
  self._buffer, self._from = "", 1
  while chunk do
    local stop = find(chunk, "\n", 1, true)
    if stop then
      self._buffer, self._from = chunk, stop + 1
      break
    end
    chunk = next_chunk(self)
  end
  return nil, "TOO_LONG", sub(head, 1, lines.HEAD_BYTES)
end

---The line at the end of the input, which has no newline; nothing when there is none.
local function last_line(self, parts, bytes)
  self._buffer, self._from = "", 1
  if self._failure then
    return nil, "READ_FAILED", self._failure
  elseif bytes == 0 then
    return nil
  end
  self.number = self.number + 1
  return table.concat(parts)
end

---Gathers a line that goes on beyond the buffer.
local function gather_line(self)
  local parts = { sub(self._buffer, self._from) }
  local bytes = #parts[1]
  while bytes <= lines.LINE_BYTES_MAX do
    local chunk = next_chunk(self)
    if not chunk then
      return last_line(self, parts, bytes)
    end
    local stop = find(chunk, "\n", 1, true)
    local part = stop and sub(chunk, 1, stop - 1) or chunk
    parts[#parts + 1], bytes = part, bytes + #part
    if bytes > lines.LINE_BYTES_MAX then
      return skip_line(self, table.concat(parts), stop and sub(chunk, stop) or chunk)
    elseif stop then
      self._buffer, self._from, self.number = chunk, stop + 1, self.number + 1
      return table.concat(parts)
    end
  end
  return skip_line(self, parts[1], next_chunk(self))
end

---The next of the lines given back.
local function take_back(self)
  local count = self._back_count
  local line = self._back[count]
  self._back[count], self._back_count, self.number = nil, count - 1, self.number + 1
  if type(line) == "table" then
    return nil, "TOO_LONG", line.head
  end
  return line
end

---The next line, without its newline (a carriage return before it stays).
---@return string? line nil and nothing else: the input is at its end
---@return "TOO_LONG"|"READ_FAILED"? code
---@return string? detail head of the line that is too long, or the message of the failure
function lines:next()
  if self._back_count > 0 then
    return take_back(self)
  end
  local buffer, from = self._buffer, self._from
  local stop = find(buffer, "\n", from, true)
  if not stop then
    return gather_line(self)
  end
  self._from, self.number = stop + 1, self.number + 1
  if stop - from > lines.LINE_BYTES_MAX then
    return nil, "TOO_LONG", sub(buffer, from, from + lines.HEAD_BYTES - 1)
  end
  return sub(buffer, from, stop - 1)
end

---Gives back lines just read, `list[first]` to the last one: the next calls return them again.
---@param list (string|{head: string})[] consecutive lines in the order they were read; a table
---  stands for a line that was too long
---@param first integer
function lines:give_back(list, first)
  for index = #list, first, -1 do
    self._back_count = self._back_count + 1
    self._back[self._back_count] = list[index]
  end
  self.number = self.number - (#list - first + 1)
end

return lines
