-- The command line: finds the verb, runs it, and turns whatever happens into words on standard
-- error and an exit code. A verb is a module { name, summary, examples, define, run }.

local argparse = require "argparse"
local exit = require "imattr.cli.exit"
local imattr = require "imattr"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local main = {}

local WIDTH = 79

---@class imattr.cli.verb
---@field name string
---@field summary string one line for the list of verbs
---@field usage string what follows "imattr" in the line "Usage:"
---@field examples string[] command lines, the most useful first
---@field define fun(command: table): table[]? adds flags and arguments (argparse); gives the
---  commands below it
---@field run fun(args: table, io: table, about: imattr.cli.about): integer gives the exit code

---What the whole command is, for verbs that tell about it.
---@class imattr.cli.about
---@field verbs imattr.cli.verb[]
---@field examples string[]
---@field parser fun(): table a parser of everything (argparse)

local VERBS = {
  require "imattr.cli.set",
  require "imattr.cli.remove",
  require "imattr.cli.resume",
  require "imattr.cli.status",
  require "imattr.cli.plan",
  require "imattr.cli.apply",
  require "imattr.cli.verify",
  require "imattr.cli.undo",
  require "imattr.cli.get",
  require "imattr.cli.names",
  require "imattr.cli.sign",
  require "imattr.cli.open",
  require "imattr.cli.doctor",
  require "imattr.cli.config",
  require "imattr.cli.sandbox",
  require "imattr.cli.completion",
  (require "imattr.cli.man"), -- require gives two values, a table would take both
}

local EXAMPLES = {
  "imattr set users.csv                 sets attributes of the users in a file",
  "imattr set --dry-run users.csv       checks it, sends nothing, needs no key",
  "imattr plan users.csv                what would change? imattr apply does it",
  "imattr get xiaojun012 xiaojun013     prints what is set",
  "imattr doctor                        is all well? If not, what to do",
  "imattr sandbox                       a server like the vendor's, to try it out",
}

local EPILOG = [[
Set-up comes from flags, or else from the environment: IMATTR_SDKAPPID,
IMATTR_IDENTIFIER, IMATTR_REGION or IMATTR_ENDPOINT, and IMATTR_KEY or
IMATTR_KEY_FILE; or else from a profile: ~/.config/imattr/default.conf.
"imattr config show" tells what comes from where, "imattr VERB --help" more.

Exit codes: 0 all done, 2 some users failed, 64 usage, 65 bad input, 66 no
input, 69 unreachable, 70 bug, 74 cannot write, 75 interrupted and can go on,
77 signature or permission, 78 set-up, 1 other.]]

---Help with the examples first.
local function help_of(parser, examples)
  local lines = { "Examples:" }
  for _, example in ipairs(examples or {}) do
    lines[#lines + 1] = example == "" and "" or "  " .. example
  end
  local head = examples and table.concat(lines, "\n") .. "\n\n" or ""
  return head .. parser:get_help() .. "\n"
end

---Adds --help, which leaves the parser with its text.
local function add_help(parser, examples)
  parser:flag("-h --help"):description("show this help"):action(function()
    error({ help = help_of(parser, examples) }, 0)
  end)
end

local function new_parser()
  local names = {} -- command -> what it is called in a message
  local parser = argparse("imattr", "Sets user attributes in Tencent Cloud Chat.", EPILOG)
  parser:usage "Usage: imattr [options] VERB ..."
  parser:add_help(false):command_target("verb"):require_command(false)
  parser:help_max_width(WIDTH):usage_max_width(WIDTH):help_description_margin(26)
  add_help(parser, EXAMPLES)
  parser:flag("--version"):description("show the version"):action(function()
    error({ help = "imattr " .. imattr.VERSION .. "\n" }, 0)
  end)
  for _, verb in ipairs(VERBS) do
    local command = parser:command(verb.name):summary(verb.summary):description(verb.summary)
    names[command] = "imattr " .. verb.name
    command:add_help(false)
    if verb.usage then
      command:usage("Usage: imattr " .. verb.usage)
    end
    add_help(command, verb.examples)
    for _, below in ipairs(verb.define(command) or {}) do
      names[below] = names[command]
    end
  end
  -- a mistake leaves the parser too, with the command it was made in
  parser.error = function(where, message)
    error({ usage = message, where = names[where] or "imattr" }, 0)
  end
  return parser
end

---One sentence about a mistake in the command line.
local function usage_message(mistake)
  local message = mistake.usage:gsub("\nDid you mean (.*)%?$", " (did you mean %1?)")
  return ("imattr: %s; see %s --help\n"):format(setup.redact(text.visible(message)), mistake.where)
end

local function verb_list()
  local names = {}
  for index, verb in ipairs(VERBS) do
    names[index] = verb.name
  end
  return table.concat(names, ", ")
end

---Parses and runs. Raises what the parser and the verbs raise.
local function run_verb(args, io)
  local parsed = new_parser():parse(args)
  for _, verb in ipairs(VERBS) do
    if verb.name == parsed.verb then
      return verb.run(parsed, io, { verbs = VERBS, examples = EXAMPLES, parser = new_parser })
    end
  end
  error({ usage = "a verb is missing: " .. verb_list(), where = "imattr" }, 0)
end

---Writes to standard output, and makes sure that it arrived.
local function print_help(help, io)
  local written = io.stdout:write(help) and io.stdout:flush()
  return written and exit.OK or exit.CANNOT_WRITE
end

---Says that imattr itself is wrong.
local function report_bug(bug, io)
  local message = setup.redact(text.visible(bug.message))
  io.stderr:write(("imattr: bug: %s; IMATTR_DEBUG=1 shows where\n"):format(message))
  if os.getenv "IMATTR_DEBUG" == "1" then
    io.stderr:write(setup.redact(bug.traceback), "\n")
  end
  return exit.BUG
end

---Runs the command.
---@param args string[] the command line, without the name of the program
---@param io table the io library, or one like it
---@return integer exit code
function main.run(args, io)
  local ok, outcome = xpcall(function()
    return run_verb(args, io)
  end, function(raised)
    if type(raised) == "table" and (raised.help or raised.usage) then
      return raised
    end
    return { message = tostring(raised), traceback = debug.traceback(tostring(raised), 2) }
  end)
  if ok then
    return outcome
  elseif outcome.help then
    return print_help(outcome.help, io)
  elseif outcome.usage then
    io.stderr:write(usage_message(outcome))
    return exit.USAGE
  end
  return report_bug(outcome, io)
end

return main
