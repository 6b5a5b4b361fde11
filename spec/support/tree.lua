-- tree: reads this source tree, for the specs that look at how it is built.

local tree = {}

function tree.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function tree.lines_of(text)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  return lines
end

-- Paths under `folders` (words for find) whose name ends in one of the endings.
function tree.files(folders, ...)
  local wanted, found = { ... }, {}
  local pipe = assert(io.popen("find " .. folders .. " -type f | LC_ALL=C sort"))
  for path in pipe:lines() do
    for _, ending in ipairs(wanted) do
      if ending == "" or path:sub(-#ending) == ending then
        found[#found + 1] = path
        break
      end
    end
  end
  pipe:close()
  return found
end

function tree.noun_of(path) return (path:match("([^/]+)%.%a+$")) end

function tree.set_of(list)
  local set = {}
  for _, word in ipairs(list) do set[word] = true end
  return set
end

function tree.sorted_keys(set)
  local keys = {}
  for key in pairs(set) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- Fails with all complaints, one a line.
function tree.assert_none(complaints)
  assert(#complaints == 0, "\n" .. table.concat(complaints, "\n"))
end

-- Nouns whose headers a C file includes itself, and library headers.
function tree.includes(path)
  local own, library = {}, {}
  for kind, name in tree.read(path):gmatch('#%s*include%s*([<"])([^>"]+)') do
    local list = kind == '"' and own or library
    list[#list + 1] = kind == '"' and tree.noun_of(name) or name
  end
  return own, library
end

-- Every noun whose header `noun`'s object sees: its own includes, and theirs.
function tree.seen_by(noun)
  local seen = {}
  local function visit(path)
    for _, name in ipairs((tree.includes(path))) do
      if not seen[name] then
        seen[name] = true
        visit("src/" .. name .. ".h")
      end
    end
  end
  visit("src/" .. noun .. ".c")
  return seen
end

return tree
