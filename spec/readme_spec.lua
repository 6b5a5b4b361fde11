-- README.md: every example on it runs and prints what it says, against a sandbox of its own, and
-- what it lists is what there is. A complaint names the line.
--
-- Marks before a code block (support/readme.lua): `file NAME`, `data NAME from PATH` (a file that
-- comes with imattr), `run`, `run with client` (Lua, after the lines of first.lua that open one),
-- `run on` (Lua, in the script of the block before), `prints` (what the block before printed),
-- `prints: COMMAND`, `exits N` beside a run, `nginx` (in a server), `nginx http`, `not run: WHY`.

local core = require "imattr.core"
local errors = require "imattr.errors"
local exit = require "imattr.cli.exit"
local imattr = require "imattr"
local process = require "support.process"
local readme = require "support.readme"
local rings = require "support.rings"
local sandbox = require "support.sandbox"
local shell = require "imattr.sandbox.shell"

local TREE = shell.output("pwd -P")
local INTERPRETER = shell.output("command -v " .. (rawget(_G, "jit") and "luajit" or "lua5.4"))
local VM = rawget(_G, "jit") and "jit" or "5.4"
local NGINX_PATH = "/usr/sbin:/usr/local/sbin:" .. os.getenv("PATH")

local TEXT = assert(shell.read("README.md"))
local PROSE = readme.prose(TEXT)
local BLOCKS = readme.blocks(TEXT)

local function sorted(list)
  table.sort(list)
  return list
end

local function keys(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  return sorted(list)
end

-- The Lua files of the command, and what their --help says, as one text.
local function command_text()
  local text = shell.output("cat lua/imattr/cli/*.lua")
  for _, verb in ipairs { "", "set", "remove", "get", "names", "sign", "open", "doctor", "config",
    "sandbox", "completion", "man" } do
    local words = { INTERPRETER, "lua/bin/imattr" }
    if verb ~= "" then words[#words + 1] = verb end
    words[#words + 1] = "--help"
    text = text .. process.run(words).stdout
  end
  return text
end

-- ---- the place where examples run

-- Stands for somebody's database.
local PSQL = [[
case $2 in
  copy*csv*header*) printf 'To_Account,city\ncustomer1,Nara\ncustomer2,Kobe\n' ;;
  *) echo "psql: what? $*" >&2; exit 1 ;;
esac
]]

local place -- { folder, server, env } while specs run

local function write(name, text)
  local file = assert(io.open(place.folder .. "/" .. name, "wb"))
  file:write(text)
  file:close()
end

local function write_command(name, script)
  write("bin/" .. name, "#!/bin/sh\n" .. script .. "\n")
  shell.run("chmod +x " .. shell.quote(place.folder .. "/bin/" .. name))
end

-- What the lines that the sandbox prints export, and the modules of this tree.
local function environment(server)
  return {
    PATH = place.folder .. "/bin:" .. os.getenv("PATH"),
    LUA_PATH = TREE .. "/lua/?.lua;;", LUA_CPATH = ("%s/build/%s/?.so;;"):format(TREE, VM),
    LUA_INIT = false, LUA_PATH_5_4 = false, LUA_CPATH_5_4 = false,
    TERM = "dumb", LC_ALL = "C.UTF-8", https_proxy = false,
    IMATTR_SDKAPPID = server.sdkappid, IMATTR_IDENTIFIER = server.identifier,
    IMATTR_KEY = server.key, IMATTR_ENDPOINT = server.endpoint, IMATTR_CA_FILE = server.ca_file,
    IMATTR_KEY_FILE = false, IMATTR_REGION = false, IMATTR_SERVICE = false, IMATTR_RATE = false,
    IMATTR_PROFILE = false, XDG_CONFIG_HOME = place.folder,
  }
end

local function open_place()
  place = { folder = shell.output("mktemp -d"), server = sandbox.start {} }
  shell.run("cd " .. shell.quote(place.folder) .. " && mkdir bin imattr")
  place.env = environment(place.server)
  write_command("lua5.4", ("exec %s \"$@\""):format(INTERPRETER))
  write_command("imattr", ("exec %s %s/lua/bin/imattr \"$@\""):format(INTERPRETER, TREE))
  write_command("psql", PSQL)
end

local function close_place()
  local host = place.server.endpoint:match("//(.*)$"):gsub(":", "_")
  place.server:stop()
  shell.remove_folder(place.folder)
  for _, command in ipairs { "set_attr", "remove_attr", "get_attr", "set_attr_name",
    "get_attr_name" } do
    rings.forget_later(("1400000000-im_%s-%s"):format(command, host))
  end
  rings.remove_all()
end

local function run(words)
  return process.run(words, { cwd = place.folder, env = place.env })
end

-- Times differ from run to run.
local function timeless(text)
  return (text:gsub("%d+%.?%d* s\n", "# s\n"):gsub("%d+%% of the quota", "#%% of the quota"))
end

local function one_space(text)
  return (text:gsub("[ \t]+", " "):gsub(" ?\n", "\n"))
end

-- ---- shell examples

local Story = {} -- what happened so far on the page
Story.__index = Story

function Story:comlisted(block, problem)
  self.complaints[#self.complaints + 1] = ("README.md:%d: %s"):format(block.line, problem)
end

function Story:run(block, command, mark)
  local output = run { "sh", "-c", command }
  local wanted = tonumber(mark:match("exits (%d+)") or 0)
  if output.code ~= wanted then
    self:comlisted(block, ("exit code %d, wants %d\n%s"):format(output.code, wanted,
      output.stderr))
  end
  self.printed = output.stdout .. output.stderr
end

function Story:compare(block)
  if timeless(self.printed) ~= timeless(block.text) then
    self:comlisted(block, "prints:\n" .. self.printed)
  end
end

function Story:tell(block)
  local mark = block.mark
  local name, source = mark:match("^data (%S+) from (%S+)$")
  if name then
    write(name, assert(shell.read(source)))
  elseif mark:find("^file ") then
    write(mark:match("^file (%S+)$"), block.text)
  elseif mark:find("^run") and block.language == "sh" then
    self:run(block, block.text, mark)
  elseif mark:find("^prints") then
    local command = mark:match("^prints: ([^;]+)")
    if command then self:run(block, command, mark) end
    self:compare(block)
  end
end

-- ---- Lua examples

-- The lines of the first script that open a client.
local function opening()
  for _, block in ipairs(BLOCKS) do
    if block.mark == "file first.lua" then
      return assert(block.text:match("^(.-\n}%)\n)"))
    end
  end
end

local END_OF_BLOCK = "\1\n"

-- Scripts of one or more blocks: { blocks, text }.
local function scripts()
  local list = {}
  for _, block in ipairs(BLOCKS) do
    local script = list[#list]
    if block.language == "lua" and block.mark == "run with client" then
      script = { text = opening() }
      list[#list + 1] = script
    elseif block.mark ~= "run on" then
      script = nil
    end
    if script then
      script[#script + 1] = block
      script.text = ("%s%s\nio.write %q\n"):format(script.text, block.text, END_OF_BLOCK)
    end
  end
  return list
end

-- What a block says that it prints: what stands behind the arrows.
local function promised(block)
  local lines = {}
  for line in block.text:gmatch("%-%->([^\n]*)\n") do
    lines[#lines + 1] = line:gsub("^%s+", "") .. "\n"
  end
  return table.concat(lines)
end

-- Runs a script; complaints about the blocks in it.
local function try(script)
  write("script.lua", script.text)
  local output = run { INTERPRETER, "script.lua" }
  local complaints, index = {}, 0
  for printed in output.stdout:gmatch("(.-)" .. END_OF_BLOCK) do
    index = index + 1
    if one_space(printed) ~= one_space(promised(script[index])) then
      complaints[#complaints + 1] = ("README.md:%d: prints:\n%s"):format(script[index].line,
        printed)
    end
  end
  if output.code ~= 0 or index ~= #script then
    complaints[#complaints + 1] = ("README.md:%d: exit code %d\n%s"):format(script[1].line,
      output.code, output.stderr)
  end
  return complaints
end

describe("an example in README.md #slow #house", function()
  setup(open_place)
  teardown(function() close_place() end)

  it("has a mark that says how it is run", function()
    local complaints = {}
    for _, block in ipairs(BLOCKS) do
      local is_code = block.language == "lua" or block.language == "sh"
        or block.language == "nginx"
      local is_known = block.mark:find("^run") or block.mark:find("^file ")
        or block.mark:find("^not run: ") or block.mark:find("^nginx")
      if is_code and not is_known then
        complaints[#complaints + 1] = ("README.md:%d: %q"):format(block.line, block.mark)
      end
    end
    assert.are.same({}, complaints)
  end)

  it("prints in the shell what it says", function()
    local story = setmetatable({ complaints = {} }, Story)
    for _, block in ipairs(BLOCKS) do story:tell(block) end
    assert.are.equal("", table.concat(story.complaints, "\n"))
  end)

  it("prints in Lua what it says", function()
    local list = scripts()
    assert.is_true(#list >= 2)
    for _, script in ipairs(list) do
      assert.are.equal("", table.concat(try(script), "\n"))
    end
  end)

  local NGINX = [[
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
env IMATTR_KEY; env IMATTR_SDKAPPID; env IMATTR_ENDPOINT; env WEBHOOK_TOKEN;
events {}
http {
  access_log off;
  lua_ssl_trusted_certificate $ca;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  lua_package_path "$folder/?.lua;$tree/lua/?.lua;;";
  lua_package_cpath "$tree/build/jit/?.so;;";
$http
  server {
    listen unix:$folder/socket;
$example
    location = /screen {
      content_by_lua_block {
        local client = assert(require("imattr").new { sdkappid = 1, key = "k", region = "tokyo" })
        local users = { { To_Account = "a", Attrs = { city = "x" } }, { To_Account = "" } }
        ngx.print(client:set_attr(users, { dry_run = true }).invalid)
      }
    }
  }
}
]]

  -- What curl gets at a path of the example's server, with and without a password.
  local function visit(path, words)
    local line = { "curl", "-q", "-s", "--max-time", "5", "--unix-socket",
      place.folder .. "/socket", "-w", "%{http_code}", "-o", "answer", "http://localhost" .. path }
    for _, word in ipairs(words) do line[#line + 1] = word end
    local output = run(line)
    return output.stdout, shell.read(place.folder .. "/answer")
  end

  -- An nginx with all examples of the page in it.
  local function start_nginx()
    for _, name in ipairs { "chat.lua", "attributes.lua" } do
      write(name, readme.joined(BLOCKS, "file " .. name))
    end
    write("users", "xiaojun012:{PLAIN}secret\n")
    write("nginx.conf", (NGINX:gsub("%$(%a+)", { tree = TREE, folder = place.folder,
      example = readme.joined(BLOCKS, "nginx"), http = readme.joined(BLOCKS, "nginx http"),
      ca = place.server.ca_file })))
    local job = process.start({ "nginx", "-p", place.folder .. "/", "-c",
      place.folder .. "/nginx.conf" }, { timeout_s = 30, env = { PATH = NGINX_PATH,
      IMATTR_KEY = place.server.key, IMATTR_SDKAPPID = place.server.sdkappid,
      IMATTR_ENDPOINT = place.server.endpoint, WEBHOOK_TOKEN = "t" } })
    local listens = process.wait_until(function()
      return shell.run("test -S " .. shell.quote(place.folder .. "/socket"))
    end, 5)
    assert.is_truthy(listens, job:read("stderr"))
    return job
  end

  it("runs in nginx", function()
    local job = start_nginx()
    local denied = visit("/usersig", {})
    local status, usersig = visit("/usersig", { "-u", "xiaojun012:secret" })
    local screened, invalid = visit("/screen", {})
    assert.are.same({ "401", "200", "200", "1" }, { denied, status, screened, invalid })
    local fields = assert(imattr.usersig.open(usersig, { key = place.server.key }))
    assert.are.equal("xiaojun012", fields.identifier)

    assert.are.same({ "200", "done\n" }, { visit("/login?user=nginx1&city=Osaka", {}) })
    local long = "/login?user=nginx1&city=" .. ("x"):rep(51)
    assert.are.same({ "200", "invalid\n" }, { visit(long, {}) })
    assert.are.same({ "200", "a page\n" }, { visit("/page?user=nginx2", {}) })
    assert.are.equal("403", (visit("/limit?SdkAppid=1", { "-d", "{}" })))
    local figures
    assert.is_truthy(process.wait_until(function()
      figures = select(2, visit("/metrics", {}))
      return figures:find('imattr_users_total{state="done"} 2\n', 1, true)
    end), figures)
    for name in PROSE:gmatch("`(imattr_[%w_]+)[`{]") do
      assert.is_truthy(figures:find("# TYPE " .. name .. " ", 1, true), name)
    end
    local client = assert(imattr.new { sdkappid = place.server.sdkappid, key = place.server.key,
      endpoint = place.server.endpoint, ca_file = place.server.ca_file })
    local stored = assert(client:get_attr { "nginx1", "nginx2" })
    client:close()
    assert.are.same({ { city = "Osaka" }, { level = "7" } }, { stored.nginx1, stored.nginx2 })
    job:kill("TERM")
    job:wait(5)
    job:close()
    local log = shell.read(place.folder .. "/error.log")
    assert.is_nil(log:match("%[alert%][^\n]*") or log:match("%[crit%][^\n]*"))
  end)
end)

-- ---- what it lists

-- Does the page name it as code?
local function names(word)
  for span in PROSE:gmatch("`([^`\n]+)`") do
    if (" " .. span .. " "):find("[^%w_]" .. word .. "[^%w_]") then return true end
  end
  return false
end

local function unnamed(words)
  local list = {}
  for _, word in ipairs(words) do
    if not names(word) then list[#list + 1] = word end
  end
  return list
end

-- What cells list: `a` `b`, or plain text.
local function listed(cells)
  local list = {}
  for _, cell in ipairs(cells) do
    for span in (cell:find("`", 1, true) and cell or "`" .. cell .. "`"):gmatch("`(.-)`") do
      list[#list + 1] = span
    end
  end
  return sorted(list)
end

describe("README.md #house", function()
  it("has the options as they are", function()
    assert.is_truthy(TEXT:find(readme.options_table(), 1, true), "should have:\n"
      .. readme.options_table())
  end)

  it("names every field of a call, a report, a result and of progress", function()
    local fields = {}
    for _, path in ipairs { "lua/imattr/commands.lua", "lua/imattr/report.lua" } do
      for field in shell.read(path):gmatch("%-%-%-@field ([%w_]+)") do
        if not field:find("^on_") and field ~= "should_stop" then fields[field] = true end
      end
    end
    assert.are.same({}, unnamed(keys(fields)))
    for _, field in ipairs { "on_result", "on_progress", "should_stop" } do
      assert.is_truthy(TEXT:find("\n  " .. field .. " = function", 1, true), field)
    end
  end)

  it("names every function", function()
    local methods = {}
    for name in shell.read("lua/imattr/client.lua"):gmatch("\nfunction Client:(%a[%w_]*)%(") do
      methods[#methods + 1] = name
    end
    assert.is_true(#methods >= 7)
    assert.are.same({}, unnamed(methods))
    assert.are.same({ "VERSION", "codes", "exit", "metrics", "new", "usersig" }, keys(imattr))
    assert.are.same({ "open", "sign" }, keys(imattr.usersig))
    assert.are.same({}, unnamed { "imattr%.codes", "imattr%.new", "imattr%.usersig%.sign",
      "imattr%.usersig%.open", "open", "imattr%.metrics", "imattr%.exit" })
  end)

  it("describes functions that have a contract in the source", function()
    local complaints = {}
    for path, object in pairs { ["lua/imattr.lua"] = "imattr.", ["lua/imattr/client.lua"] =
      "Client:", ["lua/imattr/usersig.lua"] = "usersig." } do
      local source = shell.read(path):gsub("%-%-%- ?", "--- ")
      for comment, name, parameters in source:gmatch("\n(%-%-[^\n]*\n[^%z]-)function "
        .. object:gsub("%p", "%%%0") .. "(%a[%w_]*)%((.-)%)") do
        comment = comment:match("\n*(%-%-%-[^%z]*)$") or ""
        comment = comment:match(".*\n\n(.*)$") or comment
        for parameter in parameters:gmatch("[%w_]+") do
          if not comment:find("@param " .. parameter .. " ", 1, true) then
            complaints[#complaints + 1] = ("%s: %s: no ---@param %s"):format(path, name, parameter)
          end
        end
        if not comment:find("^%-%-%-") then
          complaints[#complaints + 1] = ("%s: %s: no contract"):format(path, name)
        end
      end
    end
    assert.are.same({}, complaints)
  end)

  it("has every exit code", function()
    local wanted = {}
    for _, code in pairs(exit) do
      if type(code) == "number" then wanted[#wanted + 1] = tostring(code) end
    end
    assert.are.same(sorted(wanted), listed(readme.column(TEXT, "code")))
  end)

  it("has every variable of the environment", function()
    local wanted = {}
    for name in command_text():gmatch("IMATTR_[A-Z][A-Z_]*") do wanted[name] = true end
    assert.are.same(keys(wanted), listed(readme.column(TEXT, "variable")))
  end)

  it("has every class of an error", function()
    local wanted = { signature = true, setup = true, caller = true }
    for name in pairs(core.statuses) do
      if type(name) == "string" then wanted[errors.world(name).class] = true end
    end
    local of_codes = {}
    for _, code in pairs(imattr.codes) do
      local is_signing = code.class == "resign" or code.class == "hold" -- as errors: permission
      if code.class ~= "user" and not is_signing then wanted[code.class] = true end
      of_codes[code.class] = true
    end
    assert.are.same(keys(wanted), listed(readme.column(TEXT, "class")))
    assert.are.same({}, unnamed(keys(of_codes)))
  end)

  it("has every fate", function()
    assert.are.same({ "done", "invalid", "not_sent", "refused", "unknown" },
      listed(readme.column(TEXT, "fate")))
  end)

  it("names targets of make that there are", function()
    local makefile, complaints = "\n" .. shell.read("Makefile"), {}
    for target in TEXT:gmatch("[`\n]make ([%w-]+)") do
      local word = "%f[%w-]" .. target:gsub("%p", "%%%0") .. "%f[^%w-]"
      if not makefile:find("\n[%w -]*" .. word .. "[%w -]*:") then
        complaints[#complaints + 1] = target
      end
    end
    assert.are.same({}, complaints)
  end)

  it("names flags of the command that there are", function()
    local known, complaints = command_text(), {}
    for span in PROSE:gmatch("`([^`\n]+)`") do
      for flag in span:gmatch("%f[%-]%-%-[%w-]+") do
        if not known:find(flag, 1, true) then complaints[#complaints + 1] = flag end
      end
    end
    assert.are.same({}, complaints)
  end)

  it("links to what is there", function()
    local anchors, complaints = {}, {}
    for heading in PROSE:gmatch("\n#+ ([^\n]+)") do
      anchors["#" .. heading:lower():gsub("[^%w -]", ""):gsub(" ", "-")] = true
    end
    for target in PROSE:gmatch("%]%(([^)]+)%)") do
      local is_there = target:find("^https://") or anchors[target] or shell.read(target)
      if not is_there then complaints[#complaints + 1] = target end
    end
    assert.are.same({}, complaints)
  end)
end)
