-- What the command prints about itself: completions for three shells and the manual page. Each is
-- well formed as its reader sees it, holds every verb and flag, and is what `make install` puts in
-- place.
local exit = require "imattr.cli.exit"
local process = require "support.process"
local shell = require "imattr.sandbox.shell"

local INTERPRETER = rawget(_G, "jit") and "luajit" or "lua5.4"

local function run(words)
  local argv = { INTERPRETER, "lua/bin/imattr" }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  local output = process.run(argv)
  assert.are.equal(0, output.code, output.stderr)
  return output.stdout
end

-- Every flag that the help of a verb shows.
local function flags_of(words)
  local flags = {}
  for line in run(words):gsub(".*\nOptions:", ""):gmatch("\n +(%-[^\n]*)") do
    for flag in line:gsub("   .*", ""):gmatch("%-%-?%w[%w-]*") do flags[flag] = true end
  end
  assert.is_true(flags["-h"] and flags["--help"])
  return flags
end

local function verbs()
  local list = {}
  for verb in run({ "--help" }):match("\nCommands:\n(.-)\n\n"):gmatch("\n? +(%l+)  +%u") do
    list[#list + 1] = verb
  end
  return list
end

-- Is a tool here? When it is not, the test says so.
local function has(tool)
  return shell.run("command -v " .. tool .. " >/dev/null 2>&1")
end

describe("the command's own pages #slow", function()
  local list

  setup(function() list = verbs() end)

  it("are about verbs that there are", function()
    assert.is_true(#list >= 10)
    for _, verb in ipairs { "set", "get", "names", "open", "doctor", "config" } do
      local is_there
      for _, name in ipairs(list) do is_there = is_there or name == verb end
      assert.is_true(is_there, verb)
    end
  end)

  for _, name in ipairs { "bash", "zsh", "fish" } do
    it("for " .. name .. " hold every verb and flag", function()
      local script = run { "completion", name }
      for _, verb in ipairs(list) do
        assert.truthy(script:find("%f[%w]" .. verb .. "%f[%W]"), verb)
        for flag in pairs(flags_of { verb, "--help" }) do
          local wanted = name ~= "fish" and flag or #flag > 2 and "-l " .. flag:sub(3)
            or "-s " .. flag:sub(2)
          assert.truthy(script:find(wanted, 1, true), verb .. " " .. flag)
        end
      end
    end)

    it("for " .. name .. " parse", function()
      if not has(name) then return pending(name .. " is not here") end
      local result = process.run({ name, "-n" }, { stdin = run { "completion", name } })
      assert.are.equal("", result.stderr)
      assert.are.equal(0, result.code)
    end)
  end

  -- What bash offers after these words.
  local function offered(...)
    local words = { ... }
    local script = run { "completion", "bash" } .. ([[
COMP_WORDS=(%s); COMP_CWORD=%d
_imattr
printf '%%s\n' "${COMPREPLY[@]}"
]]):format(table.concat(words, " "), #words - 1)
    return process.run({ "bash", "--norc", "-s" }, { stdin = script }).stdout
  end

  it("make bash offer verbs, flags and what flags take", function()
    assert.are.equal("doctor\n", offered("imattr", "doc"))
    assert.are.equal("--dry-run\n", offered("imattr", "set", "--dry"))
    assert.are.equal("ndjson\n", offered("imattr", "get", "a", "--format", "nd"))
    assert.truthy(offered("imattr", "names", "''"):find("set\n", 1, true))
  end)

  it("make fish offer verbs and flags", function()
    if not has "fish" then return pending "fish is not here" end
    local folder = shell.output("mktemp -d")
    local script = run { "completion", "fish" } .. "complete -C 'imattr doc'\n"
      .. "complete -C 'imattr set --dry'\n"
    local result = process.run({ "fish", "--no-config" }, { stdin = script, cwd = folder,
      env = { HOME = folder, XDG_CONFIG_HOME = folder, XDG_DATA_HOME = folder,
        XDG_CACHE_HOME = folder } })
    shell.remove_folder(folder)
    assert.truthy(result.stdout:find("doctor\t", 1, true), result.stdout .. result.stderr)
    assert.truthy(result.stdout:find("--dry-run\t", 1, true), result.stdout)
  end)

  describe("the manual page", function()
    local page

    setup(function() page = run { "man" } end)

    -- The page as text, 78 columns wide, without what makes letters bold.
    local function rendered()
      local result = process.run({ "groff", "-ww", "-man", "-Tutf8", "-P-c", "-rLL=78n" },
        { stdin = page })
      result.stdout = result.stdout:gsub(".\b", "")
      return result
    end

    it("holds every verb, flag and exit code", function()
      local plain = page:gsub("\\fB", ""):gsub("\\f[IR]", ""):gsub("\\%-", "-")
      for _, verb in ipairs(list) do
        assert.truthy(plain:find("\n.SH IMATTR " .. verb:upper() .. "\n", 1, true), verb)
        local chapter = plain:match("\n%.SH IMATTR " .. verb:upper() .. "\n(.-)\n%.SH ")
        for flag in pairs(flags_of { verb, "--help" }) do
          local is_everywhere = flag == "-h" or flag == "--help"
          assert.truthy(is_everywhere or chapter:find(flag, 1, true), verb .. " " .. flag)
        end
      end
      local codes = plain:match("\n%.SH EXIT STATUS\n(.*)$")
      for name, code in pairs(exit) do
        if type(code) == "number" then
          assert.truthy(codes:find("\n.TP\n" .. code .. "\n", 1, true)
            or codes:find("^.TP\n" .. code .. "\n"), name)
        end
      end
    end)

    it("is roff without a warning", function()
      if not has "groff" then return pending "groff is not here" end
      local result = rendered()
      assert.are.equal("", result.stderr)
      assert.are.equal(0, result.code)
      assert.truthy(result.stdout:find("\nEXIT STATUS\n", 1, true), result.stdout)
    end)

    it("shows its words as they are: no dash is lost, no line is swallowed", function()
      if not has "groff" then return pending "groff is not here" end
      local text = rendered().stdout
      for _, words in ipairs { "imattr set --dry-run users.csv", "--key-command COMMAND",
        '{"To_Account":"xiaojun012","Attrs":{"sex":"m","city":"Osaka"}}', "IMATTR_KEY_FILE",
        "~/.config/imattr/NAME.conf" } do
        assert.truthy(text:find(words, 1, true), words)
      end
    end)

    it("is what man shows without a warning", function()
      if not has "man" then return pending "man is not here" end
      local folder = shell.output("mktemp -d")
      local result = process.run({ "sh", "-c", "cat >page.1; man --warnings -l ./page.1 | cat" },
        { stdin = page, cwd = folder, env = { MANWIDTH = "78", LC_ALL = "C.UTF-8" } })
      shell.remove_folder(folder)
      assert.are.equal("", result.stderr)
      assert.are.equal(0, result.code)
      local _, lines = result.stdout:gsub("\n", "")
      if lines == 0 then return pending "man is here, but shows no page (a minimal system)" end
      assert.is_true(lines > 200, result.stdout)
    end)
  end)

  it("are what make install puts in place", function()
    local prefix = shell.output("mktemp -d")
    local lua = rawget(_G, "jit") and "jit" or "5.4"
    local result = process.run({ "make", "-s", "--no-print-directory", "install-pages",
      "PREFIX=" .. prefix, "LUA=" .. lua })
    local installed = {}
    for _, path in ipairs { "man/man1/imattr.1", "bash-completion/completions/imattr",
      "zsh/site-functions/_imattr", "fish/vendor_completions.d/imattr.fish" } do
      installed[#installed + 1] = shell.read(prefix .. "/share/" .. path) or path
    end
    shell.remove_folder(prefix)
    assert.are.equal(0, result.code, result.stderr)
    assert.are.same({ run { "man" }, run { "completion", "bash" }, run { "completion", "zsh" },
      run { "completion", "fish" } }, installed)
  end)
end)
