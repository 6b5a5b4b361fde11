-- pty: a command on a terminal of a given width, for specs of what people see.
--
--   pty.run({ "imattr", "names" }, 40, { env = ..., cwd = ... }) -> { code, shown }
--   pty.is_here()     is there what it takes (script, of util-linux)?
--
-- `shown` is all that came to the terminal, from both streams, with plain line ends. Nobody types.

local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local pty = {}

---@return boolean
function pty.is_here()
  return process.run({ "script", "--version" }).code == 0
end

---@param argv string[]
---@param columns integer
---@param options table? as of process.run
---@return { code: integer, shown: string }
function pty.run(argv, columns, options)
  local words = {}
  for index, word in ipairs(argv) do words[index] = shell.quote(tostring(word)) end
  local line = ("stty cols %d -echo; exec %s"):format(columns, table.concat(words, " "))
  local output = process.run({ "script", "-qec", line, "/dev/null" }, options)
  return { code = output.code, shown = (output.stdout:gsub("\r\n", "\n")) }
end

--- The screen that a terminal shows at the end: lines that were drawn again and again count as they
--- were left.
---@param shown string
---@return string
function pty.left(shown)
  return (("\n" .. shown):gsub("[^\n]*\r\27%[K", ""):sub(2))
end

return pty
