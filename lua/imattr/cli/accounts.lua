-- Accounts out of a file or standard input, plain or gzip, in constant memory: the first column of
-- a CSV file with To_Account in its header, To_Account of NDJSON, or a plain list, one a line.
--
-- A bad row is a value, not an end, as it is for the verbs that write.

local cjson_safe = require "cjson.safe"
local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local gzip = require "imattr.cli.gzip"
local lines = require "imattr.cli.lines"
local text = require "imattr.cli.text"

local accounts = {}
accounts.__index = accounts

local STDIN = 0
local QUOTE = 34
local BOM = "\239\187\191"
local WAIT_MS = 20 -- standard input is waited for so long before requests are looked after
local FIRST_BYTES = 4096
local RECORD_LINES_MAX = 1000 -- of one record with newlines inside quotes

-- an instance of its own: settings of this decoder reach nobody else's
local json = cjson_safe.new()
json.decode_max_depth(16)

---@class imattr.cli.accounts
---@field path string "-" is standard input
---@field line integer of the account given last
---@field is_stopped boolean? the run was stopped while the input was waited for

---Bytes of a regular file; nil when there is no such thing.
local function size_of(file)
  local last = file:seek("end")
  if last then
    file:seek("set", 0)
  end
  return last and last > 0 and last or nil
end

---What is read next: nil at the end; nil and a message on failure.
local function read_chunk(self, bytes)
  if self._file then
    local chunk, message = self._file:read(bytes)
    self._bytes = self._bytes + (chunk and #chunk or 0)
    return chunk, message
  end
  while self._tend and not core.readable(STDIN, WAIT_MS) do
    if not self._tend(WAIT_MS) then
      self.is_stopped = true
      return nil
    end
  end
  return core.read(STDIN, bytes)
end

---A chunk function over the input, which takes the compression away.
local function chunks_of(self)
  local first, failure = read_chunk(self, FIRST_BYTES)
  local function read(bytes)
    local chunk, message = first, failure
    first, failure = nil, nil
    if not chunk and not message then
      chunk, message = read_chunk(self, bytes)
    end
    self._failure = self._failure or message
    return chunk, message
  end
  return first and gzip.is_gzip(first) and gzip.reader(read) or read
end

---The next line that is not blank; nil at the end; nil, message when reading failed; false, message
---for a line that is too long.
local function next_line(self)
  while true do
    local line, code, detail = self._lines:next()
    self.line = self._lines.number
    if code == "TOO_LONG" then
      return false, ("line: over %d bytes"):format(lines.LINE_BYTES_MAX)
    elseif not line then
      return nil, detail
    end
    if self.line == 1 and line:sub(1, #BOM) == BOM then
      line = line:sub(#BOM + 1)
    end
    line = line:gsub("\r$", "")
    if line:find("[^ \t]") then
      return line
    end
  end
end

local function has_open_quote(record)
  local _, count = record:gsub('"', "")
  return count % 2 == 1
end

---The first field of a whole record, and whether another follows; nil when its quotes are wrong.
local function split_first(record)
  if record:byte() ~= QUOTE then
    local field = record:match("^[^,]*")
    return not field:find('"', 1, true) and field or nil, #field < #record
  end
  local at = 2
  while true do
    local stop = record:find('"', at, true)
    if not stop then
      return nil
    elseif record:byte(stop + 1) ~= QUOTE then
      local follows = record:sub(stop + 1, stop + 1)
      local field = record:sub(2, stop - 1):gsub('""', '"')
      return (follows == "" or follows == ",") and field or nil, follows == ","
    end
    at = stop + 2
  end
end

---The first field of a CSV record that begins with this line, whether another follows, and the
---whole record. A quote that is never closed costs one line and not the rest of the input.
local function first_field(self, line)
  local record, ahead = line, {}
  self.line = self._lines.number
  while has_open_quote(record) and #ahead < RECORD_LINES_MAX do
    local more = self._lines:next()
    if not more then
      break
    end
    ahead[#ahead + 1] = more
    record = record .. "\n" .. more:gsub("\r$", "")
  end
  local field, is_followed
  if not has_open_quote(record) then
    field, is_followed = split_first(record)
  end
  if not field then
    self._lines:give_back(ahead, 1)
    return false, "row: the quotes are not as CSV has them"
  end
  return field, is_followed, record
end

---The account of a line of NDJSON.
local function member(line)
  local object, message = json.decode(line)
  if type(object) ~= "table" then
    return false, message and "JSON: " .. message or "line: not a JSON object"
  elseif type(object.To_Account) ~= "string" then
    return false, "To_Account: missing, or not a string"
  end
  return object.To_Account
end

---Looks at the first line: is it JSON, a header, or the first of a list? Gives nil, message when
---the input is none of these.
local function begin(self)
  local line, message = next_line(self)
  if not line then
    return nil, message or "input is empty"
  end
  self._is_json = line:find("^%s*{") ~= nil
  if self._is_json then
    self._first = line
    return true
  end
  local field, is_followed, record = first_field(self, line)
  if field == "To_Account" then
    return true
  elseif field and is_followed then
    return nil, ("header: first column: %s, must be To_Account (or one account a line, and no "
      .. "other column)"):format(text.short(field, 60))
  end
  self._first = field and record or line
  return true
end

---Opens a file or standard input, and looks at its first line.
---@param path string
---@param io table the io library, or one like it
---@return imattr.cli.accounts?
---@return string? message
---@return integer? code exit code
function accounts.open(path, io)
  local self = setmetatable({ path = path, line = 0, _bytes = 0 }, accounts)
  if path ~= "-" then
    local file, message = io.open(path, "rb")
    if not file then
      return nil, text.visible(message), exit.NO_INPUT
    end
    self._file, self._size = file, size_of(file)
  end
  self._lines = lines.new(chunks_of(self))
  local ok, message = begin(self)
  if not ok then
    self:close()
    return nil, ("%s: %s"):format(path == "-" and "standard input" or text.visible(path),
      text.visible(message)), self._failure and exit.NO_INPUT or exit.BAD_INPUT
  end
  return self
end

---The next account; nil at the end; nil and a message when reading failed; false and a message for
---a row that has none.
---@param tend fun(time_ms: integer): boolean lets the run go on while the input is waited for
---@return string|false|nil account
---@return string? message
function accounts:next(tend)
  self._tend = tend
  local line, message = self._first, nil
  self._first = nil
  if not line then
    line, message = next_line(self)
  end
  if not line then
    return line, message
  elseif self._is_json then
    return member(line)
  end
  local account, fault = first_field(self, line)
  if account == false then
    return false, fault
  end
  return account
end

---How much was read, 0..1; nil when the size is not known.
---@return number?
function accounts:fraction()
  return self._size and math.min(self._bytes / self._size, 1)
end

---Closes the file.
function accounts:close()
  if self._file then
    self._file:close()
    self._file = nil
  end
end

---Is there a file to read? A folder is none.
local function is_file(path, io)
  local file = io.open(path, "rb")
  if not file then
    return false
  end
  local _, message = file:read(0)
  file:close()
  return message == nil
end

local FILE_ENDINGS = { csv = true, json = true, jsonl = true, ndjson = true, txt = true }

local function is_called_like_file(word)
  local ending = word:lower():gsub("%.gz$", ""):match("%.(%a+)$")
  return FILE_ENDINGS[ending] or word:find("/", 1, true) ~= nil
end

---Is a word a file of accounts? nil, message, exit code when nobody can tell.
local function names_file(word, kind, io)
  if kind then
    return kind == "file"
  elseif word == "-" then
    return true
  end
  local is_there, looks = is_file(word, io), is_called_like_file(word)
  if is_there and not looks then
    return nil, ("%s: an account, or the file of this name? Say --accounts or --file"):format(
      text.visible(word)), exit.USAGE
  elseif looks and not is_there then
    return nil, ("%s: no such file (--accounts, if it is an account)"):format(text.visible(word)),
      exit.NO_INPUT
  end
  return is_there
end

---Accounts of the command line, in the shape of a file of them.
local function listed(words)
  local index = 0
  return {
    line = 0,
    next = function()
      index = index + 1
      return words[index]
    end,
    close = function() end,
  }
end

---Several files, one after the other.
local function chained(files)
  local index = 1
  local self = { line = 0, is_file = true }
  function self.next(_, tend)
    local file = files[index]
    local account, message = file:next(tend)
    self.line, self.path, self.is_stopped = file.line, file.path, file.is_stopped
    if account == nil and not message and not self.is_stopped and index < #files then
      index = index + 1
      return self:next(tend)
    end
    return account, message
  end
  function self.fraction()
    local sum = 0
    for _, file in ipairs(files) do
      local fraction = file:fraction()
      if not fraction then
        return nil
      end
      sum = sum + fraction / #files
    end
    return sum
  end
  function self.close()
    for _, file in ipairs(files) do
      file:close()
    end
  end
  return self
end

---Where accounts come from: the words of the command line, or the files they name; nil, message,
---exit code.
---@param words string[]
---@param kind "account"|"file"|nil nil: found out
---@param io table the io library, or one like it
---@return table? source as `accounts.open` gives it; `is_file` when it is no list of words
---@return string? message
---@return integer? code exit code
function accounts.of(words, kind, io)
  local files = {}
  for _, word in ipairs(words) do
    local is_named, message, code = names_file(word, kind, io)
    local file
    if is_named then
      file, message, code = accounts.open(word, io)
    elseif #files > 0 and is_named == false then
      message, code = ("%s: accounts and files together; give one or the other"):format(
        text.visible(word)), exit.USAGE
    end
    if message then
      return nil, message, code
    end
    files[#files + 1] = file
  end
  if #files > 0 and #files < #words then
    return nil, "accounts and files together; give one or the other", exit.USAGE
  end
  return #files > 0 and chained(files) or listed(words)
end

return accounts
