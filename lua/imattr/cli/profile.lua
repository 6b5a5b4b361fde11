-- Profiles: set-up that stays. A profile is a text of `name = value` lines in
-- ~/.config/imattr/NAME.conf (or $XDG_CONFIG_HOME/imattr/NAME.conf); the one called "default" is
-- read when no other is asked for. It is read, never run, and it never holds the key itself:
-- files like this one end up in backups and in version control.

local core = require "imattr.core"
local options = require "imattr.options"
local text = require "imattr.cli.text"

local profile = {
  DEFAULT = "default",
  -- what a profile may say
  NAMES = { "sdkappid", "identifier", "region", "endpoint", "service", "ca_file", "rate",
    "key_file", "key_command" },
}

local BYTES_MAX = 65536
local NAME_BYTES_MAX = 64
local OTHERS_MAY_WRITE = { [2] = true, [3] = true, [6] = true, [7] = true } -- one octal digit

-- paths, which begin at the profile's folder
local IS_PATH = { ca_file = true, key_file = true }

---@class imattr.cli.profile
---@field name string
---@field path string? where it is read from; nil: there is no place for profiles
---@field is_there boolean
---@field values table<string, { value: string, line: integer }>

---The folder where profiles lie; nil when the environment names no home.
---@param getenv fun(name: string): string?
---@return string?
function profile.folder(getenv)
  local base, home = getenv "XDG_CONFIG_HOME", getenv "HOME"
  if base and base:sub(1, 1) == "/" then -- a relative one is to be ignored, says its standard
    return base .. "/imattr"
  end
  return home and home ~= "" and home .. "/.config/imattr" or nil
end

---A path as it is meant: from the home when it begins with ~/, else from the profile's folder.
local function path_of(value, folder, getenv)
  local from_home = value:match("^~/(.*)$")
  local home = getenv "HOME"
  if from_home and home then
    return home .. "/" .. from_home
  end
  return value:sub(1, 1) == "/" and value or folder .. "/" .. value
end

---What is wrong with a name and its value; nil: nothing.
local function fault_of(name, value, values)
  if name == "key" then
    return "key: does not belong in a profile; put it into a file of its own and say "
      .. "key_file = FILE, or key_command = COMMAND"
  elseif value == "" then
    return name .. ": no value; give one, or remove the line"
  elseif values[name] then
    return ("%s: is in line %d already; remove one of them"):format(name, values[name].line)
  end
  for _, known in ipairs(profile.NAMES) do
    if known == name then
      return nil
    end
  end
  local near = options.nearest(name, profile.NAMES)
  return ("%s: unknown name%s; names are %s"):format(name,
    near and (" (did you mean %s?)"):format(near) or "", table.concat(profile.NAMES, ", "))
end

---The values of a profile's text; nil, message, line.
local function parse(content, folder, getenv)
  local values, number = {}, 0
  for line in (content:gsub("^\239\187\191", "") .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    if line:find("%S") and not line:find("^%s*#") then
      local name, value = line:match("^%s*([%w_]+)%s*=%s*(.-)%s*$")
      local fault = name and fault_of(name, value, values)
        or not name and "wants a line like: region = singapore"
      if fault then
        return nil, fault, number
      end
      value = IS_PATH[name] and path_of(value, folder, getenv) or value
      values[name] = { value = value, line = number }
    end
  end
  if values.key_file and values.key_command then
    return nil, "key_file and key_command: give one of them, not both",
      math.max(values.key_file.line, values.key_command.line)
  end
  return values
end

---Reads a file that is there; nil, message when it is not to be read.
local function content_of(file)
  local content, message = file:read(BYTES_MAX + 1)
  file:close()
  if message then
    return nil, message
  elseif #(content or "") > BYTES_MAX then
    return nil, ("over %d bytes, which is no profile"):format(BYTES_MAX)
  end
  return content or ""
end

---Warns when others may change a profile: it can name a command that is run.
local function warn_about_mode(path, io)
  local mode = core.file_mode(path)
  local group, others = math.floor((mode or 0) / 8) % 8, (mode or 0) % 8
  if OTHERS_MAY_WRITE[group] or OTHERS_MAY_WRITE[others] then
    io.stderr:write(("imattr: warning: profile %s can be changed by others (mode %04o); run\n"
      .. "  chmod go-w %s\n"):format(text.visible(path), mode, text.shell(path)))
  end
end

---The profile that is asked for: by flag, by IMATTR_PROFILE, or the one called "default", which
---need not be there.
---@param flag string? the value of --profile
---@param io table the io library, or one like it
---@param getenv fun(name: string): string?
---@return imattr.cli.profile?
---@return string? message
function profile.read(flag, io, getenv)
  local variable = getenv "IMATTR_PROFILE"
  local asked = flag or variable ~= "" and variable or nil
  local origin = flag and "--profile" or "IMATTR_PROFILE"
  local name = asked or profile.DEFAULT
  if not name:find("^%w[%w._-]*$") or #name > NAME_BYTES_MAX then
    return nil, ("profile: %q, wants a name of letters, digits and . _ - (from %s)"):format(
      text.short(name, NAME_BYTES_MAX), origin)
  end
  local folder = profile.folder(getenv)
  local self = { name = name, is_there = false, values = {},
    path = folder and ("%s/%s.conf"):format(folder, name) }
  local file, message = nil, "neither HOME nor XDG_CONFIG_HOME says where"
  if folder then
    file, message = io.open(self.path, "rb")
  end
  if not file and asked then
    return nil, ("profile %s: %s (from %s)"):format(name, text.visible(message), origin)
  elseif not file then
    return self
  end
  local content, values, line
  content, message = content_of(file)
  if content then
    values, message, line = parse(content, folder, getenv)
  end
  if not values then
    return nil, ("profile %s%s: %s"):format(text.visible(self.path), line and ":" .. line or "",
      text.visible(message))
  end
  warn_about_mode(self.path, io)
  self.is_there, self.values = true, values
  return self
end

return profile
