-- imattr man: prints the manual page, out of the same tables as --help: each verb tells its flags
-- to a recorder here, as it tells them to argparse there.

local exit = require "imattr.cli.exit"
local imattr = require "imattr"

local man = {
  name = "man",
  summary = "Prints the manual page.",
  usage = "man",
  examples = {
    "imattr man | man -l -                reads it",
    "imattr man >imattr.1                 `make install` does this by itself",
  },
}

---Adds nothing: there is nothing to choose.
function man.define() end

-- what each exit code means, in the order of the page
local EXITS = {
  { exit.OK, "all done" },
  { exit.SOME_FAILED, "finished, some users failed" },
  { exit.USAGE, "the command line is wrong" },
  { exit.BAD_INPUT, "the input as a whole cannot be used: empty, a malformed header" },
  { exit.NO_INPUT, "the input cannot be read" },
  { exit.UNREACHABLE, "network, TLS or time: try again later" },
  { exit.BUG, "a mistake in imattr" },
  { exit.CANNOT_WRITE, "a file or standard output cannot be written" },
  { exit.INTERRUPTED, "stopped in order, can go on" },
  { exit.DENIED, "the signature or a permission is missing" },
  { exit.SETUP, "set-up is missing or wrong" },
  { exit.OTHER, "anything else" },
}

local VARIABLES = {
  { "IMATTR_KEY", "the app's secret key" },
  { "IMATTR_KEY_FILE", "or a file that holds it" },
  { "IMATTR_PROFILE", "the profile to read, in place of default" },
  { "IMATTR_SDKAPPID, IMATTR_IDENTIFIER, IMATTR_REGION, IMATTR_ENDPOINT, IMATTR_SERVICE, "
    .. "IMATTR_CA_FILE, IMATTR_RATE", "as the flags of these names" },
  { "IMATTR_DEBUG", "1: a bug in imattr shows where" },
  { "NO_COLOR", "anything: no colours" },
}

local FILES = {
  { "~/.config/imattr/NAME.conf", "profiles: lines of name = value, with the names of the flags: "
    .. "sdkappid, identifier, region, endpoint, service, ca_file, rate, key_file, key_command. "
    .. "default.conf is read when no other is asked for. $XDG_CONFIG_HOME goes before ~/.config." },
  { "/dev/shm/imattr-*", "the quota that processes of this machine share, one file per app and "
    .. "command" },
}

-- {===== what a verb has =====

---An argument, a flag or a command, as a verb described it.
---@class imattr.cli.man.element
---@field kind "argument"|"option"|"flag"|"command"
---@field name string as given to argparse: "-q --quiet"
---@field description string?
---@field argname string?
---@field choices string[]?
---@field default string?
---@field elements imattr.cli.man.element[]? of a command

local record

---A stand-in for an argparse element: remembers what it is told, and says nothing.
local function recorder(element)
  return setmetatable({}, { __index = function(self, property)
    return function(_, value)
      element[property] = value
      return self
    end
  end })
end

---A stand-in for an argparse command, whose elements go into `elements`.
function record(element)
  element.elements = {}
  local command = recorder(element)
  for _, kind in ipairs { "argument", "option", "flag", "command" } do
    rawset(command, kind, function(_, name, description, default)
      local made = { kind = kind, name = name, description = description, default = default }
      element.elements[#element.elements + 1] = made
      return kind == "command" and record(made) or recorder(made)
    end)
  end
  rawset(command, "mutex", function() return command end)
  return command
end

---Everything that a verb takes.
---@param verb imattr.cli.verb
---@return imattr.cli.man.element[]
function man.elements(verb)
  local root = { kind = "command", name = verb.name }
  verb.define(record(root))
  return root.elements
end

-- }=====

-- {===== roff =====

---Text as roff takes it: no line begins with a dot or a quote, and what is a minus stays one.
local function roff(words)
  local safe = words:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1")
  return (safe:gsub("\n([.'])", "\n\\&%1"))
end

local function bold(words)
  return "\\fB" .. roff(words) .. "\\fR"
end

local function italic(words)
  return "\\fI" .. roff(words) .. "\\fR"
end

---A paragraph with a label.
local function tagged(out, label, words)
  out[#out + 1] = ".TP"
  out[#out + 1] = label
  out[#out + 1] = roff(words)
end

---The label of a flag or an argument: -q, --quiet; --rate N; FILE.
local function label_of(element)
  if element.kind == "argument" then
    return italic(element.argname or element.name:upper())
  end
  local aliases = {}
  for alias in element.name:gmatch("%S+") do
    aliases[#aliases + 1] = bold(alias)
  end
  local label = table.concat(aliases, ", ")
  if element.kind == "option" then
    label = label .. " " .. italic(element.argname or "VALUE")
  end
  return label
end

---What is said about a flag or an argument.
local function words_of(element)
  local words = element.description or ""
  local is_told = words:find("default", 1, true)
  return words .. (element.default and not is_told and (" (default: %s)"):format(element.default)
    or "")
end

---The flags and arguments of a verb; then those of the commands below it.
local function write_elements(out, elements)
  for _, element in ipairs(elements) do
    if element.kind ~= "command" then
      tagged(out, label_of(element), words_of(element))
    end
  end
  for _, element in ipairs(elements) do
    if element.kind == "command" then
      tagged(out, bold(element.name), element.description or element.summary or "")
      out[#out + 1] = ".RS"
      write_elements(out, element.elements)
      out[#out + 1] = ".RE"
    end
  end
end

---Lines that stay as they are.
local function write_examples(out, examples)
  out[#out + 1] = ".PP\n.nf\n.RS"
  for _, line in ipairs(examples) do
    out[#out + 1] = line == "" and ".sp" or roff(line)
  end
  out[#out + 1] = ".RE\n.fi"
end

local function write_list(out, heading, list)
  out[#out + 1] = ".SH " .. heading
  for _, item in ipairs(list) do
    tagged(out, bold(tostring(item[1])), item[2])
  end
end

---The manual page.
---@param verbs imattr.cli.verb[]
---@param examples string[]
---@return string roff
function man.page(verbs, examples)
  local out = {
    ('.TH IMATTR 1 "" "imattr %s"'):format(imattr.VERSION),
    ".SH NAME", "imattr \\- sets user attributes in Tencent Cloud Chat",
    ".SH SYNOPSIS", bold("imattr") .. " " .. italic("VERB") .. " [" .. italic("options") .. "] ...",
    ".SH DESCRIPTION",
    roff("imattr brings users and their attributes to the push service of Tencent Cloud Chat, as "
      .. "fast as the app's quota allows and never faster, and says what became of every user. "
      .. "Data goes to standard output, words to standard error."),
    ".SH EXAMPLES",
  }
  write_examples(out, examples)
  for _, verb in ipairs(verbs) do
    out[#out + 1] = ".SH " .. roff("imattr " .. verb.name):upper()
    out[#out + 1] = roff(verb.summary)
    out[#out + 1] = ".PP\n" .. bold("imattr " .. (verb.usage or verb.name))
    write_examples(out, verb.examples)
    write_elements(out, man.elements(verb))
  end
  out[#out + 1] = ".SH OPTIONS OF EVERY VERB"
  tagged(out, bold("-h") .. ", " .. bold("--help"), "show the help of a verb")
  tagged(out, bold("--version"), "show the version (before a verb)")
  write_list(out, "ENVIRONMENT", VARIABLES)
  write_list(out, "FILES", FILES)
  write_list(out, "EXIT STATUS", EXITS)
  return table.concat(out, "\n") .. "\n"
end

-- }=====

---Runs the verb.
---@param _ table parsed command line
---@param io table the io library, or one like it
---@param about imattr.cli.about
---@return integer exit code
function man.run(_, io, about)
  if not (io.stdout:write(man.page(about.verbs, about.examples)) and io.stdout:flush()) then
    io.stderr:write("imattr: standard output: cannot write\n")
    return exit.CANNOT_WRITE
  end
  return exit.OK
end

return man
