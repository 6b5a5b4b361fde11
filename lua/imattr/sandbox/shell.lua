-- shell: the few things of the system that the sandbox asks `sh` for.

local shell = {}

-- One word of a command line, whatever is in it.
---@param text string
---@return string
function shell.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What a command prints, without the last line's end, and whether it went well.
-- (A pipe's close does not tell how it went on LuaJIT, so the command does.)
---@param command string
---@return string text
---@return boolean ok
function shell.output(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1; echo \"=$?\""))
  local text, code = pipe:read("*a"):match("^(.-)\n?=(%d+)\n$")
  pipe:close()
  return text or "", code == "0"
end

-- Runs a command and waits; true when its exit code is 0.
---@param command string
---@return boolean ok
function shell.run(command)
  local ok = os.execute(command)
  return ok == true or ok == 0
end

---@param path string
---@return string? text
---@return string? message
function shell.read(path)
  local file, message = io.open(path, "rb")
  if not file then
    return nil, message
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- Writes a file that only its owner may read. It appears whole or not at all.
---@param path string
---@param text string
---@return boolean? ok
---@return string? message
function shell.write_private(path, text)
  local part = path .. ".part"
  -- where the file cannot be written the text is read all the same: a pipe that nobody reads would
  -- end this process (SIGPIPE)
  local pipe = assert(io.popen(("umask 077; { cat >%s; } 2>/dev/null || cat >/dev/null"):format(
    shell.quote(part)), "w"))
  pipe:write(text)
  pipe:close()
  if shell.read(part) ~= text then
    os.remove(part)
    return nil, path .. ": cannot be written"
  end
  return os.rename(part, path)
end

-- Removes a folder and what is in it. No matter if it is gone already.
---@param path string
function shell.remove_folder(path)
  shell.run("rm -rf -- " .. shell.quote(path))
end

-- The id of this process.
---@return integer
function shell.pid()
  return assert(tonumber((shell.output("echo $PPID"))))
end

-- Bytes that nobody can guess.
---@param count integer
---@return string
function shell.random_bytes(count)
  local file = assert(io.open("/dev/urandom", "rb"))
  local bytes = file:read(count)
  file:close()
  return bytes
end

return shell
