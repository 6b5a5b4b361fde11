-- readme: README.md in parts, and the table in it that is generated.
--
--   lua5.4 spec/support/readme.lua options     prints the table of options, to paste into README.md
--
-- A mark is an HTML comment on the line before a code block: `<!-- run; exits 2 -->`. It says what
-- spec/readme_spec.lua does with the block.

if ... == "options" then
  package.path = "./lua/?.lua;" .. package.path
end

local options = require "imattr.options"

local readme = {}

---@class readme.Block
---@field line integer where its first line of text stands
---@field language string
---@field mark string of the comment before it; "" when there is none
---@field text string

-- The line that ends a mark's comment, or nil.
local function mark_of(line)
  return line:match("^<!%-%- (.-) %-%->$")
end

--- The code blocks of a Markdown text.
---@param text string
---@return readme.Block[]
function readme.blocks(text)
  local blocks, block, mark, number = {}, nil, "", 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local fence = line:match("^```(%w*)$")
    if fence and block then
      block.text = table.concat(block, "\n") .. "\n"
      blocks[#blocks + 1], block = block, nil
    elseif fence then
      block = { line = number + 1, language = fence, mark = mark }
    elseif block then
      block[#block + 1] = line
    end
    mark = mark_of(line) or ""
  end
  assert(not block, "README.md: a code block without an end")
  return blocks
end

--- All blocks of a mark, as one text.
---@param blocks readme.Block[]
---@param mark string
---@return string
function readme.joined(blocks, mark)
  local texts = {}
  for _, block in ipairs(blocks) do
    if block.mark == mark then
      texts[#texts + 1] = block.text
    end
  end
  return table.concat(texts)
end

--- The text without its code blocks: links, names and tables are looked for there.
---@param text string
---@return string
function readme.prose(text)
  return (("\n" .. text):gsub("\n```.-\n```", "\n"))
end

--- The first column of the table under a heading row, as it stands there.
---@param text string
---@param heading string the table's first cell: "code"
---@return string[]
function readme.column(text, heading)
  local rows = ("\n" .. text):match("\n| " .. heading .. " |[^\n]*\n|[^\n]*\n(.-)\n\n")
  local cells = {}
  for cell in ("\n" .. assert(rows, "no table: " .. heading)):gmatch("\n| (.-) |") do
    cells[#cells + 1] = cell
  end
  return cells
end

local function range_of(option)
  local unit = option.type == "string" and " bytes" or ""
  if option.choices then
    return "`" .. table.concat(option.choices, "` `") .. "`"
  elseif option.max then
    return ("%.0f to %.0f%s"):format(option.min, option.max, unit)
  end
  return option.min and "not empty" or ""
end

local function default_of(option)
  return option.default == nil and "" or ("`%s`"):format(tostring(option.default))
end

--- The table of options.
---@return string
function readme.options_table()
  local rows = { "| option | type | default | range | what |", "| --- | --- | --- | --- | --- |" }
  for _, option in ipairs(options.list) do
    rows[#rows + 1] = ("| `%s` | %s | %s | %s | %s |"):format(option.name,
      (option.type:gsub("_", " ")), default_of(option), range_of(option), option.sentence)
      :gsub("  +", " ")
  end
  return table.concat(rows, "\n") .. "\n"
end

if ... == "options" then
  io.write(readme.options_table())
end

return readme
