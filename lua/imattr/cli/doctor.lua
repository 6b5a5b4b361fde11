-- imattr doctor: says on one screen whether all is well, and what to do if not. It sends two or
-- three requests that change nothing; more only when the app is not where it was looked for.

local checkup = require "imattr.cli.checkup"
local columns = require "imattr.cli.columns"
local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local progress = require "imattr.cli.progress"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" }

-- what a line says comes after its mark and its name
local NAME_COLUMNS = 13
local MARKS = { [true] = "ok  ", [false] = "do  " }
local COLOURS = { [true] = "\27[32m", [false] = "\27[31m" }

local doctor = {
  name = "doctor",
  summary = "Says whether all is well, and what to do if not.",
  usage = "doctor [options]",
  examples = {
    "imattr doctor                        one line a check: ok, or what to do",
    "imattr doctor --json                 the same for programs",
    "",
    "It looks at set-up, DNS, connection, TLS, clock, region, signature,",
    "administrator, feature, registered names and quota. It changes nothing.",
  },
}

---Adds the verb's flags.
---@param command table of argparse
function doctor.define(command)
  command:flag("--json"):description "print one JSON object"
  setup.define(command, SETUP)
end

---Where the set-up comes from, in words.
local function found_words(list, profiled, key)
  local parts = {}
  for _, found in ipairs(list) do
    local is_place = found.name == "region" or found.name == "endpoint"
    if (found.name == "sdkappid" or is_place) and found.value and not found.loses_to then
      parts[#parts + 1] = ("%s from %s"):format(found.name, found.origin)
    end
  end
  parts[#parts + 1] = key and ("key from %s"):format(key.origin)
  return table.concat(parts, ", ") .. (profiled.is_there
    and (" (profile %s)"):format(profiled.name) or "")
end

---A line of the screen, broken where the terminal ends.
local function shown_line(line, look, out)
  local mark = MARKS[line.is_ok]
  if look.colour then
    mark = COLOURS[line.is_ok] .. mark .. "\27[0m"
  end
  local head = #MARKS[true] + NAME_COLUMNS + 2
  local is_narrow = look.columns and look.columns < 60
  local room = look.columns and look.columns - 1 - (is_narrow and #MARKS[true] or head)
  local lines = columns.wrapped(line.words, room)
  if is_narrow then
    out[#out + 1] = mark .. line.name
    for _, words in ipairs(lines) do
      out[#out + 1] = (" "):rep(#MARKS[true]) .. words
    end
    return
  end
  for index, words in ipairs(lines) do
    out[#out + 1] = (index == 1 and mark .. columns.padded(line.name, NAME_COLUMNS) .. "  "
      or (" "):rep(head)) .. words
  end
end

---How many lines are not in order, and the exit code of the first.
local function judgement(lines)
  local count, code = 0, exit.OK
  for _, line in ipairs(lines) do
    if not line.is_ok then
      count = count + 1
      code = code == exit.OK and line.code or code
    end
  end
  return count, code
end

---The screen.
---@param lines imattr.cli.checkup.line[]
---@param look imattr.cli.look columns: of standard output; nil: nothing is broken
---@return string
function doctor.screen(lines, look)
  local out = {}
  for _, line in ipairs(lines) do
    shown_line(line, look, out)
  end
  local count = judgement(lines)
  out[#out + 1] = count == 0 and "all is well" or text.counted(count, "thing") .. " to do"
  return table.concat(out, "\n") .. "\n"
end

---The same for programs.
local function json_of(lines)
  local list = {}
  for index, line in ipairs(lines) do
    list[index] = text.json_object { { "name", line.name }, { "ok", line.is_ok },
      { "words", line.words }, { "exit_code", line.code } }
  end
  local count, code = judgement(lines)
  return text.json_object { { "ok", count == 0 }, { "exit_code", code },
    { "checks", list } }.json .. "\n"
end

---What standard output can show.
local function look_of()
  local look = progress.look(core, os.getenv)
  local on_terminal = core.isatty(1)
  return { columns = on_terminal and (core.columns(1) or 80) or nil,
    colour = on_terminal and look.colour }
end

---The lines of all checks: of the set-up alone when that is not complete.
local function examine(args, io)
  local list, profiled, code = setup.find(args, SETUP, io, os.getenv)
  local options, message
  if list then
    options, message, code = setup.read(args, SETUP, io, os.getenv)
  else
    message = profiled
  end
  if not options then
    return { { name = "set-up", is_ok = false, code = code, words = message:gsub("\n +", "; ") } }
  end
  local key = setup.key_source(args, profiled, os.getenv)
  return checkup.run(options, found_words(list, profiled, key), io, os.getenv)
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function doctor.run(args, io)
  local lines = examine(args, io)
  local output = args.json and json_of(lines) or doctor.screen(lines, look_of())
  if not (io.stdout:write(output) and io.stdout:flush()) then
    io.stderr:write("imattr: standard output: cannot write\n")
    return exit.CANNOT_WRITE
  end
  local _, code = judgement(lines)
  return code
end

return doctor
