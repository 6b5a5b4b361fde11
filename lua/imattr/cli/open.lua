-- imattr open: shows what a UserSig says, and with --check whether it holds. Needs no network.

local columns = require "imattr.cli.columns"
local core = require "imattr.core"
local exit = require "imattr.cli.exit"
local imattr = require "imattr"
local setup = require "imattr.cli.setup"
local text = require "imattr.cli.text"

local BYTES_MAX = 65536 -- a UserSig has some 200 bytes
local DAY_S = 86400

local open = {
  name = "open",
  summary = "Shows what a UserSig says, and whether it holds. Needs no network.",
  usage = "open [options] SIG",
  examples = {
    "imattr sign | imattr open -          who, for which app, until when",
    "imattr open --check - <sig           does it hold? Exit code 77 if not",
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function open.define(command)
  command:argument("sig"):argname("SIG")
    :description 'the UserSig; "-" reads it from standard input, where nobody sees it'
  command:flag("--check"):description "check it with the key: is it signed with it, is it in time?"
  command:flag("--json"):description "print one JSON object"
  setup.define(command, {})
end

---The UserSig that is meant; nil, message, exit code.
local function sig_of(args, io)
  if args.sig ~= "-" then
    return args.sig
  end
  local given, message = io.stdin:read(BYTES_MAX)
  if message then
    return nil, "standard input: " .. text.visible(message), exit.NO_INPUT
  end
  given = (given or ""):gsub("%s+$", "")
  if given == "" then
    return nil, "standard input: empty, wants a UserSig", exit.BAD_INPUT
  end
  return given
end

---A moment for people.
local function moment(time_s)
  return os.date("!%Y-%m-%d %H:%M:%S UTC", time_s)
end

---A time between two moments for people.
local function span(seconds)
  if seconds < 2 * DAY_S then
    return text.duration(seconds)
  end
  return text.count(math.floor(seconds / DAY_S)) .. " days"
end

---A moment, and how far it is from now.
local function distance(time_s, now_s)
  if time_s == now_s then
    return moment(time_s) .. " (now)"
  end
  local form = time_s > now_s and "%s (in %s)" or "%s (%s ago)"
  return form:format(moment(time_s), span(math.abs(time_s - now_s)))
end

-- The largest moment that every os.date can write: the end of the year 9999.
local DATE_MAX_S = 253402300799

---What is printed for people.
local function screen_of(fields, check, now_s)
  local ends_s = fields.time + fields.expire
  local writable = fields.time >= 0 and fields.expire >= 0 and ends_s <= DATE_MAX_S
  local rows = {
    { "identifier", text.visible(fields.identifier) },
    { "sdkappid", ("%.0f"):format(fields.sdkappid) },
    { "made", writable and distance(fields.time, now_s) or ("%.0f"):format(fields.time) },
    { ends_s > now_s and "ends" or "ended",
      writable and distance(ends_s, now_s) or ("%.0f"):format(ends_s) },
  }
  if fields.userbuf then
    rows[#rows + 1] = { "userbuf", text.visible(fields.userbuf) }
  end
  if check.is_asked then
    rows[#rows + 1] = { "holds", check.fault and "no: " .. check.fault or "yes" }
  end
  return table.concat(columns.lines(rows), "\n") .. "\n"
end

---The same for programs.
local function json_of(fields, check, now_s)
  local holds
  if check.is_asked then
    holds = not check.fault
  end
  return text.json_object {
    { "identifier", fields.identifier }, { "sdkappid", fields.sdkappid },
    { "time", fields.time }, { "expire", fields.expire },
    { "seconds_left", fields.time + fields.expire - now_s },
    { "userbuf", fields.userbuf }, { "holds", holds }, { "fault", check.fault },
  }.json .. "\n"
end

---Opens the UserSig and checks it when that is asked for: its fields, and what the check said; or
---nil, message, exit code.
local function examine(args, io, now_s)
  local sig, message, code = sig_of(args, io)
  if not sig then
    return nil, message, code
  end
  local check, key = { is_asked = args.check }, nil
  if args.check then
    key, message, code = setup.read_key(args, io, os.getenv)
    if not key then
      return nil, message, code
    end
  end
  local fields, err = imattr.usersig.open(sig)
  if not fields then
    return nil, setup.redact(text.visible(tostring(err))), exit.of(err)
  end
  if key then
    local _, fault = imattr.usersig.open(sig, { key = key, now = now_s })
    check.fault = fault and setup.redact(text.visible(tostring(fault)))
  end
  return fields, check
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function open.run(args, io)
  local now_s = os.time()
  if args.sig == "-" and core.isatty(0) then
    io.stderr:write("imattr: reading a UserSig from the terminal, Ctrl-D ends\n")
  end
  local fields, check, code = examine(args, io, now_s)
  if not fields then
    io.stderr:write("imattr: ", check, "\n")
    return code
  end
  local output = (args.json and json_of or screen_of)(fields, check, now_s)
  if not (io.stdout:write(output) and io.stdout:flush()) then
    io.stderr:write("imattr: standard output: cannot write\n")
    return exit.CANNOT_WRITE
  end
  return check.fault and exit.DENIED or exit.OK
end

return open
