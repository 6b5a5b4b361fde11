-- imattr sign: prints a UserSig.

local exit = require "imattr.cli.exit"
local imattr = require "imattr"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local SETUP = { "sdkappid", "identifier" }

local sign = {
  name = "sign",
  summary = "Prints a UserSig: what an account signs in with.",
  usage = "sign [options]",
  examples = {
    "imattr sign                                for the administrator",
    "imattr sign --identifier xiaojun012        for a user",
    "imattr sign --expire 3600                  for an hour instead of a day",
  },
}

---Adds the verb's flags.
---@param command table of argparse
function sign.define(command)
  command:option("--expire"):argname("SECONDS"):convert(function(given)
    return given:match("^%d+$") and tonumber(given) or nil,
      ("--expire: %s, must be a number of seconds"):format(given)
  end):description "how long it is valid (default: 86400, a day)"
  setup.define(command, SETUP)
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function sign.run(args, io)
  local options, message, code = setup.read(args, SETUP, io, os.getenv)
  if not options then
    io.stderr:write("imattr: ", message, "\n")
    return code
  end
  options.identifier = options.identifier or setup.default "identifier"
  options.expire = args.expire
  local usersig, err = imattr.usersig.sign(options)
  if not usersig then
    io.stderr:write("imattr: ", setup.redact(text.visible(tostring(err))), "\n")
    return exit.of(err)
  elseif not (io.stdout:write(usersig, "\n") and io.stdout:flush()) then
    io.stderr:write("imattr: standard output: cannot write\n")
    return exit.CANNOT_WRITE
  end
  return exit.OK
end

return sign
