-- imattr get: prints the attributes of users, in the shape that the set verb reads.

local exit = require "imattr.cli.exit"
local imattr = require "imattr"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate" }

local get = {
  name = "get",
  summary = "Prints the attributes of users.",
  usage = "get [options] ACCOUNT...",
  examples = {
    "imattr get xiaojun012 xiaojun013      one JSON object a line",
    "imattr get --json xiaojun012          one object for all of them",
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function get.define(command)
  command:argument("accounts"):argname("ACCOUNT"):args("+"):description "whose attributes"
  command:flag("--json"):description "print one JSON object instead of one a line"
  setup.define(command, SETUP)
end

---The vendor's object of one user.
local function user_object(account, attrs)
  return text.json_object {
    { "To_Account", account },
    { "Attrs", text.json_map(attrs) },
  }
end

---The objects of the users that were found, in the order they were asked for.
local function found_objects(accounts, found)
  local objects = {}
  for _, account in ipairs(accounts) do
    if found[account] then
      objects[#objects + 1] = user_object(account, found[account])
    end
  end
  return objects
end

---The users without an answer, as JSON objects.
local function failure_objects(report)
  local objects = {}
  for index, failure in ipairs(report.failures) do
    objects[index] = text.json_object {
      { "account", failure.account }, { "fate", failure.fate },
      { "code", failure.code }, { "message", failure.message },
    }
  end
  return objects
end

---What goes to standard output.
local function output_of(args, objects, report)
  if args.json then
    return text.json_object {
      { "UserAttrs", objects },
      { "failures", failure_objects(report) },
    }.json .. "\n"
  end
  local out = {}
  for index, object in ipairs(objects) do
    out[index] = object.json .. "\n"
  end
  return table.concat(out)
end

---Says which users have no answer.
local function say_failures(report, io)
  for _, failure in ipairs(report.failures) do
    io.stderr:write(("imattr: %s: %s\n"):format(text.visible(tostring(failure.account)),
      setup.redact(text.visible(failure.message or failure.code or failure.fate))))
  end
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function get.run(args, io)
  local options, message, code = setup.read(args, SETUP, io, os.getenv)
  if not options then
    io.stderr:write("imattr: ", message, "\n")
    return code
  end
  local client, err = imattr.new(options)
  local found, report
  if client then
    found, report = client:get_attr(args.accounts)
    err = not found and report
    client:close()
  end
  if not found then
    io.stderr:write("imattr: ", setup.redact(text.visible(tostring(err))), "\n")
    return exit.of(err)
  end
  say_failures(report, io)
  local output = output_of(args, found_objects(args.accounts, found), report)
  if not (io.stdout:write(output) and io.stdout:flush()) then
    io.stderr:write("imattr: standard output: cannot write\n")
    return exit.CANNOT_WRITE
  end
  return #report.failures > 0 and exit.SOME_FAILED or exit.OK
end

return get
