-- Text in columns: how wide it is on a terminal, and how it is broken into lines and set beside
-- other text. Nothing here writes.

local columns = {}

-- Characters two columns wide: Hangul, CJK and its signs, full-width forms, emoji (Unicode 15,
-- East Asian Width W and F, in whole blocks).
local WIDE = {
  { 0x1100, 0x115F }, { 0x231A, 0x231B }, { 0x2E80, 0x303E }, { 0x3041, 0xA4CF },
  { 0xA960, 0xA97C }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF }, { 0xFE30, 0xFE6F },
  { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1F64F }, { 0x1F680, 0x1F6FF },
  { 0x1F900, 0x1F9FF }, { 0x20000, 0x3FFFD },
}

-- Characters that take no column: accents and signs that sit on the one before.
local NARROW = { { 0x0300, 0x036F }, { 0x0483, 0x0489 }, { 0x0591, 0x05BD }, { 0x0610, 0x061A },
  { 0x064B, 0x065F }, { 0x0E34, 0x0E3A }, { 0x0E47, 0x0E4E }, { 0x1AB0, 0x1AFF },
  { 0x20D0, 0x20FF }, { 0x3099, 0x309A }, { 0xFE00, 0xFE0F }, { 0xFE20, 0xFE2F } }

local function is_in(ranges, code)
  for _, range in ipairs(ranges) do
    if code <= range[2] then
      return code >= range[1]
    end
  end
  return false
end

---The code point of a UTF-8 character.
local function code_of(character)
  local lead = character:byte()
  local code = lead < 0x80 and lead or lead % 2 ^ (7 - #character)
  for index = 2, #character do
    code = code * 64 + character:byte(index) % 64
  end
  return code
end

local function character_width(character)
  if #character == 1 then
    return 1
  end
  local code = code_of(character)
  return is_in(NARROW, code) and 0 or is_in(WIDE, code) and 2 or 1
end

local CHARACTER = "[%z\1-\127\192-\255][\128-\191]*"

---Columns that text takes on a terminal. It must be UTF-8 that was made visible.
---@param shown string
---@return integer
function columns.width(shown)
  if not shown:find("[\128-\255]") then
    return #shown
  end
  local width = 0
  for character in shown:gmatch(CHARACTER) do
    width = width + character_width(character)
  end
  return width
end

---Text filled up with blanks to a width.
---@param shown string
---@param width integer
---@return string
function columns.padded(shown, width)
  return shown .. (" "):rep(width - columns.width(shown))
end

---Cuts a word that is wider than a line into pieces that are not.
local function pieces(word, width)
  local list, piece, room = {}, {}, width
  for character in word:gmatch(CHARACTER) do
    local wide = character_width(character)
    if wide > room and #piece > 0 then
      list[#list + 1] = table.concat(piece)
      piece, room = {}, width
    end
    piece[#piece + 1] = character
    room = room - wide
  end
  list[#list + 1] = table.concat(piece)
  return list
end

---Breaks text into lines of at most so many columns, between words where it can.
---@param shown string
---@param width integer? nil: one line
---@return string[] lines at least one
function columns.wrapped(shown, width)
  if not width or columns.width(shown) <= width then
    return { shown }
  end
  local lines, line = {}, nil
  for word in shown:gmatch("%S+") do
    for _, piece in ipairs(pieces(word, math.max(width, 2))) do
      local joined = line and line .. " " .. piece
      if joined and columns.width(joined) <= width then
        line = joined
      else
        lines[#lines + 1] = line
        line = piece
      end
    end
  end
  lines[#lines + 1] = line
  return lines
end

---The widest of some texts.
---@param list string[]
---@return integer
function columns.widest(list)
  local width = 0
  for _, shown in ipairs(list) do
    width = math.max(width, columns.width(shown))
  end
  return width
end

---Rows of cells as lines, each column as wide as its widest cell, two blanks between. The last
---column is not filled up.
---@param rows string[][]
---@return string[] lines
function columns.lines(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for index, cell in ipairs(row) do
      widths[index] = math.max(widths[index] or 0, columns.width(cell))
    end
  end
  local lines = {}
  for number, row in ipairs(rows) do
    local cells = {}
    for index, cell in ipairs(row) do
      cells[index] = index < #row and columns.padded(cell, widths[index]) or cell
    end
    lines[number] = (table.concat(cells, "  "):gsub(" +$", ""))
  end
  return lines
end

return columns
