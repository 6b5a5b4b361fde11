-- imattr names: lists the app's registered attribute names, and registers them.

local columns = require "imattr.cli.columns"
local exit = require "imattr.cli.exit"
local imattr = require "imattr"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" }
local NAME_BYTES_MAX = 50
local INDEX_MAX = 9 -- an app has ten names

local names = {
  name = "names",
  summary = "Lists the app's attribute names, or registers them.",
  usage = "names [options] [set INDEX=NAME ...]",
  examples = {
    "imattr names                         lists them",
    "imattr names set 0=sex 1=city        gives indexes 0 and 1 these names",
    "imattr names set --dry-run 0=sex     shows what would change",
    "",
    "An app has at most ten names, at the indexes 0 to 9, of at most 50 bytes",
    "each. Indexes that are not given stay as they are.",
  },
}

---An index and a name out of "0=sex"; nil and what is wrong.
local function parse_pair(given)
  local shown = text.short(given, 30)
  local index, name = given:match("^([^=]*)=(.*)$")
  if not index then
    return nil, ("%s: wants INDEX=NAME, as in 0=sex"):format(shown)
  elseif not index:find("^%d$") then
    return nil, ("%s: index %s, must be 0 to %d"):format(shown, text.short(index, 20), INDEX_MAX)
  elseif name == "" then
    return nil, ("%s: no name; a name cannot be taken away, only changed"):format(shown)
  elseif #name > NAME_BYTES_MAX then
    return nil, ("%s: name of %d bytes, limit %d"):format(shown, #name, NAME_BYTES_MAX)
  end
  return { index = index, name = name }
end

---Adds the verb's arguments and flags.
---@param command table of argparse
---@return table[] commands below it
function names.define(command)
  command:flag("--json"):description "print one JSON object"
  setup.define(command, SETUP)
  command:command_target("action"):require_command(false)
  local set = command:command("set"):add_help(false):summary "Registers names."
    :description "Registers names at indexes."
  set:argument("pairs"):argname("INDEX=NAME"):args("+"):convert(parse_pair)
    :description "an index from 0 to 9 and the name it gets"
  set:flag("--dry-run"):description "show what would change, and change nothing"
  return { set }
end

---What the pairs ask for, by index; nil and a message when they contradict each other.
local function wanted_of(list)
  local by_index, index_of = {}, {}
  for _, pair in ipairs(list) do
    if by_index[pair.index] then
      return nil, ("names: index %s is given twice; give it once"):format(pair.index)
    elseif index_of[pair.name] then
      return nil, ("names: %s is given at indexes %s and %s; a name has one index"):format(
        text.visible(pair.name), index_of[pair.name], pair.index)
    end
    by_index[pair.index], index_of[pair.name] = pair.name, pair.index
  end
  return by_index
end

---What is wrong with new names beside the ones there are; nil: nothing.
local function clash_of(wanted, present)
  for index, name in pairs(wanted) do
    for other, there in pairs(present) do
      if there == name and other ~= index then
        return ("names: %s is at index %s already, and a name has one index; "
          .. "take it from there or choose another"):format(text.visible(name), other)
      end
    end
  end
end

---The names as rows, by index.
local function rows_of(present, wanted)
  local rows = {}
  for number = 0, INDEX_MAX do
    local index = tostring(number)
    local before, after = present[index], wanted and wanted[index] or present[index]
    if after then
      local note = ""
      if wanted and wanted[index] then
        note = not before and "(new)" or before == after and "(as it was)"
          or ("(was %s)"):format(text.visible(before))
      end
      rows[#rows + 1] = { index, text.visible(after), note }
    end
  end
  return rows
end

---What is printed: the names there are, or what becomes of them.
local function output_of(args, present, wanted, is_done)
  if args.json and wanted then
    return text.json_object { { "before", text.json_map(present) },
      { "set", text.json_map(wanted) }, { "done", is_done } }.json .. "\n"
  elseif args.json then
    return text.json_map(present).json .. "\n"
  end
  local lines = columns.lines(rows_of(present, wanted))
  return #lines > 0 and table.concat(lines, "\n") .. "\n" or ""
end

---Does anything change?
local function is_change(wanted, present)
  for index, name in pairs(wanted) do
    if present[index] ~= name then
      return true
    end
  end
  return false
end

---Registers names, when there is something to change. Gives whether they are registered now, the
---names of before and, when it failed, message and exit code.
local function change(args, client, present, wanted)
  local clash = clash_of(wanted, present)
  if clash then
    return nil, clash, exit.USAGE
  elseif args.dry_run or not is_change(wanted, present) then
    return not args.dry_run
  end
  local ok, err = client:set_attr_name(wanted)
  if not ok then
    return nil, setup.redact(text.visible(tostring(err))), exit.of(err)
  end
  return true
end

---Does the work with a client; gives message and exit code when it failed.
local function carry_out(args, client, wanted, io)
  local present, err = client:get_attr_name()
  if not present then
    return setup.redact(text.visible(tostring(err))), exit.of(err)
  end
  local is_done
  if wanted then
    local message, code
    is_done, message, code = change(args, client, present, wanted)
    if message then
      return message, code
    end
  elseif next(present) == nil and not args.json then
    io.stderr:write("imattr: no names are registered yet; to register some:\n"
      .. "  imattr names set 0=sex 1=city\n")
  end
  if not (io.stdout:write(output_of(args, present, wanted, is_done)) and io.stdout:flush()) then
    return "standard output: cannot write", exit.CANNOT_WRITE
  end
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function names.run(args, io)
  local wanted, message, code, options, client, err
  if args.action == "set" then
    wanted, message = wanted_of(args.pairs)
    code = exit.USAGE
  end
  if not message then
    options, message, code = setup.read(args, SETUP, io, os.getenv)
  end
  if options then
    client, err = imattr.new(options)
    message = err and setup.redact(text.visible(tostring(err)))
    code = err and exit.of(err)
  end
  if client then
    message, code = carry_out(args, client, wanted, io)
    client:close()
  end
  if message then
    io.stderr:write("imattr: ", message, "\n")
    return code
  end
  return exit.OK
end

return names
