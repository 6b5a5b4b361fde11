-- Secrets: a canary for a key goes through everything that can go wrong, and nothing of it or of a
-- UserSig may be in anything that comes out: errors, reports, results, what a program reaches in a
-- client, misuses, tracebacks, the command's output and files, process lists, logs, shared memory,
-- and, after close, memory.

local app = require "support.app"
local canary = require "support.canary"
local cjson = require("cjson").new()
local imattr = require "imattr"
local impostor = require "support.impostor"
local process = require "support.process"
local sandbox = require "support.sandbox"

local USERSIG = imattr.usersig.sign { sdkappid = app.SDKAPPID, identifier = "administrator",
  key = canary.KEY }
canary.know(USERSIG)

local KEY_FILE = os.tmpname()

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- The ways a client gets its UserSig.
local SOURCES = {
  key = { key = canary.KEY },
  key_file = { key = false, key_file = KEY_FILE },
  usersig = { key = false, usersig = USERSIG },
  ["usersig function"] = { key = false, usersig = function() return USERSIG end },
}

local HTML = "<html><h1>Bad gateway</h1>$request_uri</html>"

local function refusal(code, info)
  return { body = cjson.encode { ActionStatus = "FAIL", ErrorCode = code, ErrorInfo = info } }
end

-- What a server says: everything that could carry a UserSig back.
local REPLIES = {
  ["yes"] = { app.YES },
  ["a refusal that echoes the UserSig"] = { refusal(70009, "usersig $usersig is not valid") },
  ["a refusal that echoes it alone, cut in its middle"] = {
    refusal(70009, ("word "):rep(36) .. "$usersig") },
  ["a refusal that echoes the whole request"] = { refusal(60012, "POST $request_uri failed") },
  ["a refusal of a user that echoes it"] = { refusal(90001, "in $request_uri") },
  ["an expired UserSig, twice"] = { refusal(70001, "$usersig expired") },
  ["too fast, then no"] = { refusal(60007, "slow down, $usersig"), refusal(60012, "$usersig") },
  ["an ErrorList that echoes it"] = { { body = cjson.encode { ActionStatus = "OK", ErrorCode = 0,
    ErrorInfo = "$usersig", ErrorList = { { To_Account = "u1", ErrorCode = 90001,
    ErrorInfo = "$usersig" } } } } },
  ["a page that echoes the URL"] = { { body = HTML } },
  ["a page that echoes the URL, status 502"] = { { status = 502, body = HTML } },
  ["a page that echoes the URL, status 404"] = { { status = 404, body = HTML } },
  ["a redirect that echoes the URL"] = { { status = 302, body = HTML,
    headers = { Location = "https://127.0.0.1:1$request_uri" } } },
  ["headers that echo the URL"] = { { headers = { Date = "$request_uri", ["Set-Cookie"] =
    "a=$usersig" }, body = "{}" } },
  ["nothing, then a cut"] = { { cut = "before" } },
  ["half an answer"] = { { cut = "within", body = HTML } },
}

-- Has a client do all it can; keeps everything that comes out of it, also in the middle of calls.
local function exercise(name, client)
  local function see(what, ...)
    canary.see(name .. ": " .. what, canary.dump(...))
  end
  local call = { on_result = function(result)
    see("a result", result)
    see("the client in a callback", client)
    see("a traceback", debug.traceback("here"))
  end }
  see("the client", client)
  see("set_attr", client:set_attr(app.users(2), call))
  see("remove_attr", client:remove_attr({ u1 = { "city" } }, call))
  see("get_attr", client:get_attr({ "u1", "u2" }, call))
  see("get_attr_name", client:get_attr_name())
  see("set_attr_name", client:set_attr_name { ["0"] = "sex" })
  see("a raise in a callback", pcall(client.set_attr, client, app.users(1), {
    on_result = function() error(debug.traceback("mine")) end }))
  see("a dry run", client:set_attr(app.users(1), { dry_run = true, on_result = call.on_result }))
  see("the last report", client:last_report())
  see("the client after its calls", client)
  client:close()
  see("the client when it is closed", client)
  see("a call too late", pcall(client.set_attr, client, {}))
end

local function exercise_all(name, options)
  for source, given in pairs(SOURCES) do
    local all = { rate = 0, sdkappid = app.SDKAPPID, attempts_max = 1, pace_scope = "process" }
    for _, more in ipairs { given, options } do
      for option, value in pairs(more) do all[option] = value or nil end
    end
    local client, err = imattr.new(all)
    canary.see(name, canary.dump(err))
    exercise(("%s (%s)"):format(name, source), assert(client))
  end
end

describe("the searcher", function()
  local SECRET = canary.KEY

  it("finds a planted leak in every form, whole and in part", function()
    local planted = {
      raw = SECRET, part = "x" .. SECRET:sub(21, 40) .. "y", start = SECRET:sub(1, 20) .. "...",
      percent = SECRET:gsub(".", function(c) return ("%%%02X"):format(c:byte()) end),
      hex = SECRET:gsub(".", function(c) return ("%02x"):format(c:byte()) end),
      HEX = SECRET:gsub(".", function(c) return ("%02X"):format(c:byte()) end),
      base64 = canary.base64(SECRET), base64_1 = canary.base64("x" .. SECRET .. "yz"),
      base64_2 = canary.base64("xy" .. SECRET .. "z"),
    }
    for form, text in pairs(planted) do
      assert.truthy(#canary.in_text("before " .. text .. " after", { SECRET }) > 0, form)
    end
    assert.same({}, canary.in_text("before " .. SECRET:reverse() .. " after", { SECRET }))
    assert.same({}, canary.in_text(SECRET:sub(1, 15), { SECRET }))
  end)

  it("finds a UserSig, a percent-encoded one, and one that it did not know", function()
    local odd = "eJw*-_" .. USERSIG:sub(7)
    local escaped = odd:gsub("[*]", "%%2A"):gsub("_", "%%5f")
    for _, text in ipairs { odd, escaped, "usersig=" .. odd } do
      assert.truthy(#canary.in_text(text, { odd }) > 0)
      assert.truthy(#canary.in_text(text, {}) > 0)
    end
  end)

  it("knows the keys that other specs use", function()
    assert.same({ app.KEY, require("support.command").KEY }, canary.KEYS_IN_USE)
  end)

  it("finds a planted leak in what the specs print, and in every error that they meet", function()
    local path = os.tmpname()
    for _, planted in ipairs { app.KEY, canary.KEY:sub(9, 40), USERSIG } do
      write(path, "ok 1\nnot ok 2 - " .. planted .. "\nok 3\n")
      local output = process.run { "spec/canary", path }
      assert.equal(1, output.code)
      assert.truthy(output.stdout:find(path .. ":2: ", 1, true), output.stdout)
    end
    write(path, "ok 1\nok 2\n")
    assert.same({ 0, "" }, { process.run({ "spec/canary", path }).code, "" })
    os.remove(path)
    local errors, redact = require "imattr.errors", require "imattr.redact"
    local text = redact.text
    redact.text = function(shown) return shown end
    local ok, message = pcall(errors.new, { code = "X", class = "setup", message = app.KEY })
    redact.text = text
    assert.is_false(ok)
    assert.truthy(message:find("a secret got out: secret 1, ", 1, true), message)
  end)

  it("finds what is deep in a value, in keys and in metatables", function()
    local hidden = { { [{ a = setmetatable({}, { __tostring = function() return SECRET end }) }] =
      1 } }
    assert.truthy(canary.dump(hidden):find(SECRET, 1, true))
    assert.truthy(canary.dump(setmetatable({}, { [SECRET] = 1 })):find(SECRET, 1, true))
    hidden[2] = hidden -- a circle ends
    assert.truthy(canary.dump(nil, hidden):find(SECRET, 1, true))
  end)
end)

describe("a secret #heavy", function()
  local plain, strict, vendor

  setup(function()
    write(KEY_FILE, canary.KEY .. "\n")
    plain = impostor.start()
    vendor = sandbox.start { key = canary.KEY, limit = 0, attr_names = { "sex", "city" } }
    strict = impostor.start { certificate = vendor.server.folder }
  end)
  teardown(function()
    for _, server in ipairs { plain, strict, vendor } do server:stop() end
    os.remove(KEY_FILE)
  end)
  after_each(function() assert.same({}, canary.leaks()) end)

  -- The UserSigs that arrived are secrets too.
  local function learn(server)
    for _, request in ipairs(server:requests()) do canary.know(request.args.usersig) end
  end

  for name, replies in pairs(REPLIES) do
    it("is in nothing that comes of " .. name, function()
      plain:says(replies)
      exercise_all(name, { endpoint = plain.endpoint })
      assert.truthy(#plain:requests() >= 4)
      learn(plain)
    end)
  end

  it("is in nothing that comes of the vendor's yes and no", function()
    exercise_all("the sandbox", { endpoint = vendor.endpoint, ca_file = vendor.ca_file })
    vendor:settings { region_ok = false }
    exercise_all("the wrong region", { endpoint = vendor.endpoint, ca_file = vendor.ca_file })
    vendor:settings { region_ok = true }
  end)

  it("is in nothing that comes of a server that cannot be spoken to", function()
    strict:says { app.YES }
    exercise_all("refused", { endpoint = "https://127.0.0.1:1" })
    exercise_all("a stranger", { endpoint = strict.endpoint })
    exercise_all("no TLS", { endpoint = plain.endpoint:gsub("^http", "https") })
    exercise_all("no proxy", { endpoint = strict.endpoint, proxy = "http://127.0.0.1:1" })
    assert.same({}, strict:requests())
  end)

  it("is in nothing that comes of an answer that takes too long #slow", function()
    plain:says { { delay_s = 20 } }
    local given = SOURCES.usersig
    local client = imattr.new { sdkappid = app.SDKAPPID, usersig = given.usersig, rate = 0,
      endpoint = plain.endpoint, timeout_ms = 3100, attempts_max = 1 }
    canary.see("a timeout", canary.dump(client:set_attr(app.users(1))))
    canary.see("a deadline", canary.dump(client:set_attr(app.users(1), { deadline_ms = 50 })))
    canary.see("a client after a timeout", canary.dump(client))
    client:close()
  end)

  it("is in nothing that comes of clients that cannot be made", function()
    local KEY = canary.KEY
    local given = {
      { key = KEY }, { key = KEY:rep(5), sdkappid = 1, region = "china" },
      { key = KEY, key_file = KEY_FILE, sdkappid = 1, region = "china" },
      { key = KEY, usersig = USERSIG, sdkappid = 1, region = "china" },
      { key_file = KEY, sdkappid = 1, region = "china" },
      { key_file = "/no/such/" .. KEY, sdkappid = 1, region = "china" },
      { key_file = USERSIG, sdkappid = 1, region = "china" },
      { key = KEY, sdkappid = 1, endpoint = KEY }, { key = KEY, sdkappid = 1, endpoint = USERSIG },
      { key = KEY, sdkappid = 1, endpoint = "ftp://x/?usersig=" .. USERSIG },
      { key = KEY, sdkappid = 1, endpoint = "https://" .. KEY },
      { key = KEY, sdkappid = 1, endpoint = "https://127.0.0.1:1", ca_file = KEY },
      { key = KEY, sdkappid = 1, endpoint = "https://127.0.0.1:1", proxy = KEY },
    }
    for i, options in ipairs(given) do
      local client, err = imattr.new(options)
      canary.see("new " .. i, canary.dump(tostring(client), err))
      if client and not tostring(options.endpoint):find(KEY, 1, true) then
        canary.see("set_attr of new " .. i, canary.dump(client:set_attr(app.users(1))))
      end
    end
  end)

  it("is in no misuse, though it stands where it should not", function()
    local KEY = canary.KEY
    local client = imattr.new { sdkappid = 1, key = KEY, endpoint = plain.endpoint }
    local wrong = {
      function() imattr.new(KEY) end, function() imattr.new { KEY } end,
      function() imattr.new { [KEY] = true } end, function() imattr.new { [USERSIG] = true } end,
      function() imattr.new { ["key=" .. KEY] = true } end,
      function() imattr.new { kye = KEY } end, function() imattr.new { key = { KEY } } end,
      function() imattr.new { usersig = { USERSIG } } end,
      function() imattr.new { sdkappid = KEY } end, function() imattr.new { rate = KEY } end,
      function() imattr.new { region = KEY } end, function() imattr.new { region = USERSIG } end,
      function() imattr.new { identifier = KEY } end, function() imattr.new { pace = KEY } end,
      function() imattr.new { attr_names = KEY } end,
      function() imattr.new { attr_names = { KEY } } end,
      function() imattr.new { attr_names = { [KEY] = 1 } } end,
      function() client:set_attr(KEY) end, function() client:set_attr({}, KEY) end,
      function() client:set_attr({}, { [KEY] = 1 }) end,
      function() client:set_attr({}, { on_result = KEY }) end,
      function() client:set_attr({}, { deadline_ms = KEY }) end,
      function() client:get_attr(KEY) end, function() client:set_attr_name(KEY) end,
      function() client:set_attr_name { [KEY] = "sex" } end,
      function() client:set_attr_name { ["0"] = KEY } end,
      function() client.set_attr(KEY) end, function() client.close(KEY) end,
      function() imattr.usersig.sign(KEY) end, function() imattr.usersig.sign { key = { KEY } } end,
      function() imattr.usersig.sign { key = KEY } end,
      function() imattr.usersig.sign { [KEY] = 1 } end,
      function() imattr.usersig.sign { key = KEY, key_file = KEY } end,
      function() imattr.usersig.sign { key = KEY, sdkappid = 0, identifier = "a" } end,
      function() imattr.usersig.sign { key = KEY, sdkappid = KEY, identifier = "a" } end,
      function() imattr.usersig.open() end, function() imattr.usersig.open(USERSIG, KEY) end,
      function() imattr.usersig.open(USERSIG, { [KEY] = 1 }) end,
      function() imattr.usersig.open(USERSIG, { now = KEY }) end,
      function() require("imattr.core").signer({ KEY }) end,
      function() require("imattr.core").signer_file({ KEY }) end,
    }
    for i, misuse in ipairs(wrong) do
      local ok, message = xpcall(misuse, debug.traceback)
      assert.is_false(ok, i)
      canary.see("misuse " .. i, message)
    end
    client:close()
  end)

  it("is in nothing that comes of signing and opening, but the UserSig itself", function()
    local usersig = imattr.usersig
    local cases = {
      { usersig.open(USERSIG:sub(1, -5)) }, { usersig.open(USERSIG .. "AAAA") },
      { usersig.open(canary.KEY) }, { usersig.open(canary.KEY:rep(3)) }, { usersig.open("") },
      { usersig.open(USERSIG, { key = canary.KEY:reverse() }) },
      { usersig.open(USERSIG, { key = canary.KEY, now = 2 ^ 39 }) },
      { usersig.open(USERSIG, { key = canary.KEY:rep(5) }) },
      { usersig.sign { sdkappid = 1, identifier = "\255", key = canary.KEY } },
      { usersig.sign { sdkappid = 1, identifier = "a", key = canary.KEY:rep(5) } },
      { usersig.sign { sdkappid = 1, identifier = "a", key_file = canary.KEY } },
    }
    for i, case in ipairs(cases) do
      assert.is_nil(case[1])
      canary.see("usersig " .. i, canary.dump(case[2]))
    end
    local signer = require("imattr.core").signer(canary.KEY)
    canary.see("a signer", canary.dump(signer))
    signer:close()
    canary.see("a closed signer", canary.dump(signer))
  end)

  it("is in no field of a module", function()
    for name, module in pairs(package.loaded) do
      if name:find("^imattr") then canary.see(name, canary.dump(module)) end
    end
  end)

  it("is in no log of the sandbox and in nothing shared", function()
    local shell = require "imattr.sandbox.shell"
    local client = app.client(vendor, { pace_scope = "machine", rate = 100 })
    client:set_attr(app.users(150))
    local odd = { To_Account = "a", Attrs = { city = ("\1"):rep(50) } }
    client:set_attr { odd }
    client:close()
    local target = vendor.endpoint .. "/v4/all_member_push/im_set_attr?sdkappid=1&identifier=a"
      .. "&contenttype=json&random=1&usersig=" .. USERSIG
    shell.run(("head -c 3000000 /dev/zero | curl -q -sS --noproxy '*' --cacert %s --data-binary @- "
      .. "'%s' >/dev/null 2>&1"):format(vendor.ca_file, target))
    for _, name in ipairs { "error.log", "start.log" } do
      canary.see(name, assert(shell.read(vendor.server.folder .. "/" .. name)))
    end
    local rings = shell.output("ls -d /dev/shm/imattr-* 2>/dev/null")
    assert.truthy(rings:find(vendor.endpoint:match("%d+$"), 1, true), rings)
    canary.see("names of rings", rings)
    for path in rings:gmatch("[^\n]+") do
      canary.see(path, shell.read(path) or "gone")
    end
  end)
end)

describe("the count of texts #slow", function()
  it("does not shrink", function()
    assert.truthy(canary.count >= canary.count_min(),
      ("%d texts, spec/counts wants %d"):format(canary.count, canary.count_min()))
    assert.same({}, canary.leaks())
  end)
end)
