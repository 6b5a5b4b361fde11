-- torn: a job's two files as a power cut or a bad disk may leave them. The file and its write-ahead
-- log are cut off at any byte, and any bit in them is turned over. Opened, such a job is refused,
-- or knows only rows that did have their fate: nobody is lost, whatever the disk does.

local job = require "imattr.cli.job"
local shell = require "imattr.sandbox.shell"

local torn = {}

local ROWS = 900
local PAGE = 4096

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

-- A job in which the second of every three hundreds of rows is open: the files while it is written
-- (with the log), and after it was closed.
local function files_of(folder)
  local input = folder .. "/users.csv"
  write(input, "To_Account\n")
  local begun = assert(job.create(input, { command = "set_attr", sdkappid = 1, arguments = "{}" }))
  for row = 1, ROWS do
    if math.ceil(row / 100) % 3 ~= 2 then
      local is_bad = row % 50 == 0
      begun:settle(row, is_bad and "refused" or "done", is_bad and { line = row + 1,
        account = "u" .. row, code = "90033", message = "no such name", raw = "u" .. row } or nil)
    end
    if row % 20 == 0 then assert(begun:commit()) end
  end
  local path = begun.path
  local open = { db = shell.read(path), wal = shell.read(path .. "-wal") }
  begun:close()
  return { open = open, closed = { db = shell.read(path) } }
end

-- Is the row one that had its fate?
local function was_settled(row)
  return row <= ROWS and math.ceil(row / 100) % 3 ~= 2
end

-- Opens what is left of a job: "refused", "whole", "less", or "WRONG" and the row.
local function look(path, files)
  write(path, files.db)
  if files.wal then
    write(path .. "-wal", files.wal)
  else
    os.remove(path .. "-wal")
  end
  os.remove(path .. "-shm")
  local opened = job.open(path, "write")
  if not opened then
    return "refused"
  end
  local known = 0
  for row = 1, ROWS + 2 do
    if opened:is_settled(row) then
      known = known + 1
      if not was_settled(row) then
        opened:close()
        return "WRONG", row
      end
    end
  end
  if opened.settled_to > ROWS then
    opened:close()
    return "WRONG", opened.settled_to
  end
  opened:close()
  return known == 600 and "whole" or "less"
end

local function flipped(bytes, bit)
  local at = math.floor(bit / 8) + 1
  local byte, mask = bytes:byte(at), 2 ^ (bit % 8)
  local turned = math.floor(byte / mask) % 2 == 1 and byte - mask or byte + mask
  return bytes:sub(1, at - 1) .. string.char(turned) .. bytes:sub(at + 1)
end

-- Every damage there is, or each `step`-th: what it is, and the files then.
local function damages(files, step)
  return coroutine.wrap(function()
    local open, closed = files.open, files.closed
    for cut = 0, #open.wal, step do
      coroutine.yield("log cut off", cut, { db = open.db, wal = open.wal:sub(1, cut) })
    end
    for cut = 0, #closed.db, step do
      coroutine.yield("file cut off", cut, { db = closed.db:sub(1, cut) })
    end
    local last = math.max(0, #open.wal - 2 * (PAGE + 24)) -- the last two pages of the log
    for bit = last * 8, #open.wal * 8 - 1, step do
      coroutine.yield("log, bit", bit, { db = open.db, wal = flipped(open.wal, bit) })
    end
    for bit = 0, #closed.db * 8 - 1, step do
      coroutine.yield("file, bit", bit, { db = flipped(closed.db, bit) })
    end
  end)
end

---@param step integer? only each so-many-th damage
---@return table<string, table<string, integer>> counts how often what was found, by damage
---@return string[] wrong
function torn.run(step)
  local folder = shell.output("mktemp -d -p /dev/shm || mktemp -d") -- no fsync that waits
  local files = files_of(folder)
  local counts, wrong = {}, {}
  for what, at, left in damages(files, step or 1) do
    local found, row = look(folder .. "/torn.imattr", left)
    counts[what] = counts[what] or { refused = 0, whole = 0, less = 0, WRONG = 0 }
    counts[what][found] = counts[what][found] + 1
    if row then
      wrong[#wrong + 1] = ("%s %d: row %d is taken for settled"):format(what, at, row)
    end
  end
  shell.remove_folder(folder)
  return counts, wrong
end

return torn
