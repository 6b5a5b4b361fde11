-- spool: updates on disk, for those that a worker of nginx could not send before it ended, and for
-- those that were promised to be there before they are sent. One folder, any number of workers.
--
-- A file holds one update a line, in the vendor's words, as `imattr set FILE` reads them:
--   {"To_Account":"xiaojun012","Attrs":{"city":"Osaka"}}      and to remove: "Attrs":["city"]
-- A line that has its fate is struck out in place: blanks. The file goes when all its lines have.
--
-- Whoever works on a file holds its lock (flock), which the kernel takes back when a process dies,
-- however it dies: so a file without a lock is one that was left, and the first to lock it owns it.
-- Files come into being under another name, so nobody finds one that is half written or not yet
-- locked.

local cjson = require("cjson.safe").new()
local core = require "imattr.core"
local ffi = require "ffi"

local spool = {}

cjson.decode_max_depth(4)

-- Names of their own: another module's declarations of the same functions may differ.
ffi.cdef [[
typedef struct imattr_glob_t {
  size_t count; char **paths; size_t offset; char rest[256];
} imattr_glob_t;
int imattr_open(const char *path, int flags, ...) __asm__("open");
long imattr_pwrite(int fd, const void *bytes, size_t count, int64_t at) __asm__("pwrite");
long imattr_pread(int fd, void *bytes, size_t count, int64_t at) __asm__("pread");
int imattr_fsync(int fd) __asm__("fsync");
int imattr_flock(int fd, int operation) __asm__("flock");
int imattr_ftruncate(int fd, int64_t size) __asm__("ftruncate");
int imattr_close(int fd) __asm__("close");
int imattr_mkdir(const char *path, unsigned mode) __asm__("mkdir");
int imattr_glob(const char *pattern, int flags, void *fail, imattr_glob_t *found) __asm__("glob");
void imattr_globfree(imattr_glob_t *found) __asm__("globfree");
char *imattr_strerror(int number) __asm__("strerror");
]]

local C = ffi.C

-- As Linux has them, whatever the processor.
local O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_CLOEXEC = 0, 2, 64, 128, 524288
local LOCK_EX, LOCK_NB = 2, 4
local EINTR = 4
local PRIVATE_FILE, PRIVATE_FOLDER = 384, 448 -- 0600, 0700
local OTHERS_WRITE = 18 -- 0022

-- A file of promised updates that is longer than this gets no more: a new one is begun.
local FILE_BYTES_MAX = 4 * 1024 * 1024

local READ_BYTES = 65536

local function reason()
  return ffi.string(C.imattr_strerror(ffi.errno()))
end

local function open(path, flags)
  return C.imattr_open(path, flags + O_CLOEXEC, ffi.cast("int", PRIVATE_FILE))
end

-- Brings names of a folder to the disk.
local function sync_folder(path)
  local fd = open(path, O_RDONLY)
  if fd >= 0 then
    C.imattr_fsync(fd)
    C.imattr_close(fd)
  end
end

-- {===== a file =====

---@class imattr.spool.File
---@field open integer lines that are not struck out
local File = {}
File.__index = File

local function new_file(fd, path)
  return setmetatable({ _fd = fd, _path = path, _size = 0, open = 0 }, File)
end

-- Writes bytes at a place. True, or nil and why.
local function write_at(fd, bytes, at)
  local done = 0
  while done < #bytes do
    local count = tonumber(C.imattr_pwrite(fd, ffi.cast("const char *", bytes) + done,
      #bytes - done, at + done))
    if count < 0 and ffi.errno() ~= EINTR then
      return nil, reason()
    end
    done = done + math.max(0, count)
  end
  return true
end

-- All that is in a file, or nil.
local function read_all(fd)
  local bytes, parts, size = ffi.new("char[?]", READ_BYTES), {}, 0
  while true do
    local count = tonumber(C.imattr_pread(fd, bytes, READ_BYTES, size))
    if count == 0 then
      return table.concat(parts)
    elseif count < 0 and ffi.errno() ~= EINTR then
      return nil
    elseif count > 0 then
      parts[#parts + 1] = ffi.string(bytes, count)
      size = size + count
    end
  end
end

-- Adds lines and sees them to the disk. Their place, or nil and why: then none of them is there.
function File:_append(lines)
  local text, at = table.concat(lines, "\n") .. "\n", self._size
  local ok, why = write_at(self._fd, text, at)
  if ok and C.imattr_fsync(self._fd) ~= 0 then
    ok, why = nil, reason()
  end
  if not ok then
    C.imattr_ftruncate(self._fd, at)
    return nil, why
  end
  self._size = at + #text
  self.open = self.open + #lines
  return at
end

--- Strikes a line out. Not brought to the disk by force: a line that comes back after a power cut
--- is sent once more.
---@param place imattr.spool.Place
function File:strike(place)
  write_at(self._fd, (" "):rep(place.len), place.at)
  self.open = self.open - 1
end

function File:_close()
  if self._fd then
    C.imattr_close(self._fd) -- the lock goes with it
    self._fd = nil
  end
end

--- Lets a file go that this worker has finished with: nothing in it is open, or it is left for the
--- next. What could not be read is kept aside, under a name that is not looked for.
function File:release()
  if self.open == 0 and self._fd then
    if self.bad and self.bad > 0 then
      os.rename(self._path, self._path .. ".bad")
    else
      os.remove(self._path)
    end
  end
  self:_close()
end

-- }=====

-- {===== lines =====

---@class imattr.spool.Update
---@field account string
---@field attrs table values by name, or a list of names to remove
---@field place imattr.spool.Place? of a claimed one

---@class imattr.spool.Place
---@field file imattr.spool.File
---@field at integer
---@field len integer

-- Integers as text: a decoder without integers would lose digits. Nothing else becomes valid by it.
local function plain(attrs)
  local copy = {}
  for name, value in pairs(attrs) do
    copy[name] = type(value) == "number" and ("%.0f"):format(value) or value
  end
  return copy
end

-- An update as a line, or nil and why.
local function line_of(account, attrs)
  return cjson.encode { To_Account = account, Attrs = type(attrs) == "table" and plain(attrs)
    or attrs }
end

-- The update of a line, or nil.
local function update_of(line)
  local object = cjson.decode(line)
  if type(object) == "table" and type(object.To_Account) == "string"
    and type(object.Attrs) == "table" then
    return { account = object.To_Account, attrs = object.Attrs }
  end
end

-- The updates of a claimed file; counts lines that cannot be read in file.bad.
local function read_updates(file, text)
  local updates, at = {}, 1
  file.bad = 0
  while at <= #text do
    local stop = text:find("\n", at, true) or #text + 1
    local line = text:sub(at, stop - 1)
    if line:find("%S") then
      local update = update_of(line)
      if update then
        update.place = { file = file, at = at - 1, len = #line }
        updates[#updates + 1] = update
      else
        file.bad = file.bad + 1
      end
    end
    at = stop + 1
  end
  file.open = #updates
  return updates
end

-- }=====

-- {===== the folder =====

---@class imattr.Spool
local Spool = {}
Spool.__index = Spool

-- Is the folder there, and ours alone to write in? True, or nil and what is wrong.
local function check_folder(folder)
  local mode = core.file_mode(folder)
  if not mode then
    if C.imattr_mkdir(folder, PRIVATE_FOLDER) ~= 0 and not core.file_mode(folder) then
      return nil, ("spool: %s: %s"):format(folder, reason())
    end
    mode = core.file_mode(folder)
  end
  if require("bit").band(mode, OTHERS_WRITE) ~= 0 then
    return nil, ("spool: %s: others may write there; chmod 700 it"):format(folder)
  end
  return true
end

--- Opens a spool; makes its folder when there is none.
---@param folder string
---@param name string files of other names are somebody else's
---@return imattr.Spool?
---@return string? message
function spool.open(folder, name)
  local ok, message = check_folder(folder)
  if not ok then
    return nil, message
  end
  local self = setmetatable({ _folder = folder, _prefix = ("%s/imattr-%s-"):format(folder, name) },
    Spool)
  local file, why = self:_create()
  if not file then
    return nil, why
  end
  file:release()
  return self
end

-- An empty file, locked. Or nil and why.
function Spool:_create()
  local path = ("%s%d-%08x%08x.ndjson"):format(self._prefix, core.getpid(), core.random_u32(),
    core.random_u32())
  local part = path .. ".part"
  local fd = open(part, O_RDWR + O_CREAT + O_EXCL)
  if fd < 0 then
    return nil, ("spool: %s: %s"):format(part, reason())
  end
  if C.imattr_flock(fd, LOCK_EX + LOCK_NB) ~= 0 or not os.rename(part, path) then
    local why = reason()
    C.imattr_close(fd)
    os.remove(part)
    return nil, ("spool: %s: %s"):format(path, why)
  end
  return new_file(fd, path)
end

-- The file that promised updates go to now.
function Spool:_current()
  local file = self._live
  if file and file._size > FILE_BYTES_MAX and file.open > 0 then
    file.is_full, self._live = true, nil -- goes when its last line is struck
  end
  if not self._live then
    local why
    self._live, why = self:_create()
    if not self._live then
      return nil, why
    end
    sync_folder(self._folder)
  end
  return self._live
end

--- Puts an update on the disk; returns when it is there.
---@param account any
---@param attrs any
---@return imattr.spool.Place? place
---@return string? message
function Spool:keep(account, attrs)
  local line, problem = line_of(account, attrs)
  if not line then
    return nil, problem
  end
  local file, why = self:_current()
  local at
  if file then
    at, why = file:_append { line }
  end
  if not at then
    return nil, ("spool: %s: %s"):format(self._folder, why)
  end
  return { file = file, at = at, len = #line }
end

--- The update has its fate: it need not be sent any more.
---@param place imattr.spool.Place
function Spool:strike(place)
  local file = place.file
  if not file._fd then
    return
  end
  file:strike(place)
  if file.open == 0 and file ~= self._live then
    file:release()
  elseif file.open == 0 then
    C.imattr_ftruncate(file._fd, 0)
    file._size = 0
  end
end

--- Leaves updates for the next worker: all of them, or none.
---@param updates imattr.spool.Update[]
---@return boolean? ok
---@return string? message
function Spool:leave(updates)
  local lines = {}
  for i, update in ipairs(updates) do
    lines[i] = line_of(update.account, update.attrs)
  end
  local file, why = self:_create()
  local at
  if file then
    at, why = file:_append(lines)
  end
  if not at then
    if file then
      file:release()
    end
    return nil, ("spool: %s: %s"):format(self._folder, why)
  end
  file:_close()
  sync_folder(self._folder)
  return true
end

local function escape(text)
  return (text:gsub("[%[%]%*%?\\]", "\\%0"))
end

-- The files that are there, theirs and ours.
function Spool:_paths()
  local found, paths = ffi.new("imattr_glob_t"), {}
  if C.imattr_glob(escape(self._prefix) .. "*.ndjson", 0, nil, found) == 0 then
    for i = 0, tonumber(found.count) - 1 do
      paths[i + 1] = ffi.string(found.paths[i])
    end
  end
  C.imattr_globfree(found)
  return paths
end

--- Takes over a file that somebody left. Nil when there is none.
---@return imattr.spool.Update[]? updates each with its place; in the order they were left
---@return string? path
---@return integer? bad lines that cannot be read
function Spool:claim()
  for _, path in ipairs(self:_paths()) do
    local fd = open(path, O_RDWR)
    if fd >= 0 and C.imattr_flock(fd, LOCK_EX + LOCK_NB) == 0 then
      local file, text = new_file(fd, path), read_all(fd)
      local updates = text and read_updates(file, text) or {}
      if #updates > 0 then
        return updates, path, file.bad
      elseif text then
        file:release()
      end
      file:_close()
    elseif fd >= 0 then
      C.imattr_close(fd)
    end
  end
end

--- Lets go of what this worker promised; lines that are open are there for the next one.
function Spool:close()
  if self._live then
    self._live:release()
    self._live = nil
  end
end

-- }=====

return spool
