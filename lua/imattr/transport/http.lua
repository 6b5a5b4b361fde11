-- transport/http: HTTP/1.1 as far as a POST and its answer need it, over any socket with
-- `send(bytes)` and `receiveany(most)` as nginx's cosockets have them. The reader is strict and has
-- bounds: a hostile answer cannot fill memory.

local http = {}

-- Status line and headers together, and one trailer of a chunked body.
local HEAD_BYTES_MAX = 65536

-- A reply is read up to here, as over libcurl.
local BODY_BYTES_MAX = 2 * 1024 * 1024

local READ_BYTES = 16384

-- A server that sends crumbs for ever would hold the worker.
local CHUNKS_MAX = 10000

-- How every answer begins.
local VERSION = "HTTP/1."

-- "100 Continue" and its like before the answer.
local INTERIM_MAX = 5

---@class imattr.http.Answer
---@field status integer
---@field body string
---@field date string?
---@field keeps boolean may the connection be used again?

--- A POST as bytes.
---@param host string "host" or "host:port"
---@param target string
---@param body string
---@return string[] pieces
function http.post(host, target, body)
  return { "POST ", target, " HTTP/1.1\r\nHost: ", host,
    "\r\nContent-Type: application/json\r\nContent-Length: ", tostring(#body), "\r\n\r\n", body }
end

-- Raised through the reader.
local function fail(status, message)
  error({ status = status, message = message }, 0)
end

local Reader = {}
Reader.__index = Reader

-- Reads once more. Raises when nothing comes.
function Reader:more()
  local bytes, err = self.socket:receiveany(READ_BYTES)
  if not bytes then
    fail(err == "timeout" and "TIMEOUT" or "CUT", err)
  end
  self.text = self.text:sub(self.at) .. bytes
  self.at = 1
end

-- How many bytes are here that were not taken yet.
function Reader:count()
  return #self.text - self.at + 1
end

-- The next line, without its end, which is CR LF and nothing less.
function Reader:line()
  local last = self.text:find("\n", self.at, true)
  while not last do
    if self:count() > self.head_left then
      fail("BAD_REPLY", "headers are too long")
    end
    self:more()
    last = self.text:find("\n", self.at, true)
  end
  self.head_left = self.head_left - (last - self.at + 1)
  if self.head_left < 0 then
    fail("BAD_REPLY", "headers are too long")
  end
  local line = self.text:sub(self.at, last)
  self.at = last + 1
  return line:match("^(.*)\r\n$") or fail("BAD_REPLY", "a line without a carriage return")
end

-- Takes exactly so many bytes.
function Reader:exactly(count)
  local parts, left = {}, count
  while self:count() < left do
    parts[#parts + 1] = self.text:sub(self.at)
    left = left - self:count()
    self.at = #self.text + 1
    self:more()
  end
  parts[#parts + 1] = self.text:sub(self.at, self.at + left - 1)
  self.at = self.at + left
  return table.concat(parts)
end

-- The status of the next status line. What cannot become one is not waited for.
function Reader:status()
  local begin = self.text:sub(self.at, self.at + #VERSION - 1)
  while #begin < #VERSION and begin == VERSION:sub(1, #begin) do
    self:more()
    begin = self.text:sub(1, #VERSION)
  end
  local status = begin == VERSION and self:line():match("^HTTP/1%.[01] (%d%d%d)")
  if not status then
    fail("BAD_REPLY", "not an HTTP answer")
  end
  return tonumber(status)
end

-- What says where a body ends: the same one twice must say the same.
local IS_FRAME = { ["content-length"] = true, ["transfer-encoding"] = true }

-- The headers, names in small letters.
function Reader:headers()
  local headers = {}
  local line = self:line()
  while line ~= "" do
    local name, value = line:match("^([^%s:]+):[ \t]*(.-)[ \t]*$")
    if not name then
      fail("BAD_REPLY", "a header without a name")
    elseif line:gsub("\t", " "):find("%c") then
      fail("BAD_REPLY", "a header with control characters")
    end
    name = name:lower()
    if IS_FRAME[name] and headers[name] and headers[name] ~= value then
      fail("BAD_REPLY", "two lengths")
    end
    headers[name] = value
    line = self:line()
  end
  return headers
end

function Reader:chunked()
  local parts, size = {}, 0
  while true do
    self.head_left = HEAD_BYTES_MAX
    local digits = self:line():match("^(%x+)[ \t]*;?.*$")
    if not digits or #digits > 7 then
      fail("BAD_REPLY", "a chunk without a size")
    end
    local count = tonumber(digits, 16)
    size = size + count
    if size > BODY_BYTES_MAX or #parts == CHUNKS_MAX then
      fail("REPLY_TOO_LARGE")
    elseif count == 0 then
      self:headers() -- trailers
      return table.concat(parts)
    end
    parts[#parts + 1] = self:exactly(count)
    if self:exactly(2) ~= "\r\n" then
      fail("BAD_REPLY", "a chunk longer than its size")
    end
  end
end

-- All that comes until the other side closes.
function Reader:until_closed()
  local parts, size = { self.text:sub(self.at) }, self:count()
  while true do
    local bytes, err = self.socket:receiveany(READ_BYTES)
    if not bytes then
      if err == "closed" then
        return table.concat(parts)
      end
      fail(err == "timeout" and "TIMEOUT" or "CUT", err)
    end
    size = size + #bytes
    if size > BODY_BYTES_MAX then
      fail("REPLY_TOO_LARGE")
    end
    parts[#parts + 1] = bytes
  end
end

-- The body, and whether its end is known.
function Reader:body(status, headers)
  if status == 204 or status == 304 then
    return "", true
  elseif headers["transfer-encoding"] then
    if headers["transfer-encoding"]:lower() ~= "chunked" or headers["content-length"] then
      fail("BAD_REPLY", "a body of unknown length")
    end
    return self:chunked(), true
  elseif not headers["content-length"] then
    return self:until_closed(), false
  end
  local length = headers["content-length"]:match("^%d+$")
  if not length or #length > 12 then
    fail("BAD_REPLY", "a length that is no number")
  elseif tonumber(length) > BODY_BYTES_MAX then
    fail("REPLY_TOO_LARGE")
  end
  return self:exactly(tonumber(length)), true
end

-- The final status line's status, after interim ones.
local function final_status(reader)
  local status = reader:status()
  for _ = 1, INTERIM_MAX do
    if status >= 200 then
      return status
    end
    reader:headers()
    status = reader:status()
  end
  return fail("BAD_REPLY", "no answer but interim ones")
end

local function read(reader)
  local status = final_status(reader)
  local headers = reader:headers()
  local body, has_end = reader:body(status, headers)
  local closes = (headers.connection or ""):lower():find("close", 1, true)
  return { status = status, body = body, date = headers.date,
    keeps = has_end and not closes and reader:count() == 0 }
end

-- What a function makes of an answer; or nil, status of the core, message.
local function attempt(socket, act)
  local reader = setmetatable({ socket = socket, text = "", at = 1, head_left = HEAD_BYTES_MAX },
    Reader)
  local ok, result = pcall(act, reader)
  if ok then
    return result
  elseif type(result) ~= "table" then
    error(result, 0)
  end
  return nil, result.status, result.message
end

--- Reads the head of an answer that has no body: of CONNECT.
---@param socket table
---@return integer? status
---@return string? failure a status of the core
---@return string? message
function http.read_head(socket)
  return attempt(socket, function(reader)
    local status = final_status(reader)
    reader:headers()
    return status
  end)
end

--- Reads an answer to its end.
---@param socket table
---@return imattr.http.Answer?
---@return string? failure a status of the core
---@return string? message
function http.read(socket)
  return attempt(socket, read)
end

return http
