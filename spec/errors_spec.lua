-- errors: what comes back when the world says no, and what the vendor's codes mean.

local app = require "support.app"
local codes = require "imattr.codes"
local core = require "imattr.core"
local errors = require "imattr.errors"
local imattr = require "imattr"

local CODE_CLASSES = { retry = true, rate = true, hold = true, resign = true, user = true,
  caller = true, permission = true, setup = true }

-- how a run ends without the vendor's word: code, class
local WORLD = {
  RESOLVE = "network", CONNECT = "network", PROXY = "network", CUT = "network",
  TIMEOUT = "timeout", TLS = "tls", HTTP_STATUS = "network", BAD_REPLY = "network",
  REPLY_TOO_LARGE = "network", DEADLINE = "deadline", INTERRUPTED = "interrupted",
  SOURCE_FAILED = "input", STOPPED = "interrupted", PACE_FILE = "setup", PACE_FOREIGN = "setup",
  BAD_KEY = "setup", KEY_FILE = "setup",
}

-- ---- imattr.new: what the world lacks

local GOOD = { sdkappid = 1400000000, key = app.KEY, endpoint = "https://127.0.0.1:9" }

local NO_FORM = "wants https://host or https://host:port"
local NO_TLS = "wants https; http is for loopback only"

-- changes (false takes away), code, message
local SETUP = {
  { { key = false }, "MISSING_KEY", "key: missing; give key, key_file or a usersig" },
  { { key_file = "/x" }, "TWO_KEYS",
    "key, key_file and usersig: give one of them, not several" },
  { { usersig = "x" }, "TWO_KEYS", "key, key_file and usersig: give one of them, not several" },
  { { key = false, key_file = "/x", usersig = "x" }, "TWO_KEYS",
    "key, key_file and usersig: give one of them, not several" },
  { { key = "" }, "BAD_KEY",
    "key: the key is empty or too long; give the key of the app, as the console shows it" },
  { { key = ("k"):rep(257) }, "BAD_KEY",
    "key: the key is empty or too long; give the key of the app, as the console shows it" },
  { { key = false, key_file = "/nowhere/key" }, "KEY_FILE", "key_file /nowhere/key: the key file "
    .. "cannot be read; check the path and the rights of key_file" },
  { { key = false, key_file = "/" }, "KEY_FILE", "key_file /: the key file cannot be read; "
    .. "check the path and the rights of key_file" },
  { { key = false, key_file = "/dev/null" }, "BAD_KEY", "key_file /dev/null: the key is empty or "
    .. "too long; give the key of the app, as the console shows it" },
  { { key = false, key_file = "/dev/zero" }, "BAD_KEY", "key_file /dev/zero: the key is empty or "
    .. "too long; give the key of the app, as the console shows it" },
  { { sdkappid = false }, "MISSING_SDKAPPID", "sdkappid: missing; the console shows it" },
  { { endpoint = false }, "MISSING_ENDPOINT",
    "region: missing; give the region the app lives in, or an endpoint" },
  { { region = "tokyo" }, "BAD_ENDPOINT",
    "endpoint and region: give one of them, not both" },
  { { endpoint = "http://example.com" }, "BAD_ENDPOINT",
    'endpoint: "http://example.com", ' .. NO_TLS },
  { { endpoint = "http://192.168.0.1:8080" }, "BAD_ENDPOINT",
    'endpoint: "http://192.168.0.1:8080", ' .. NO_TLS },
  { { endpoint = "singapore" }, "BAD_ENDPOINT", 'endpoint: "singapore", ' .. NO_FORM },
  { { endpoint = "https://example.com/v4/" }, "BAD_ENDPOINT",
    'endpoint: "https://example.com/v4/", ' .. NO_FORM },
  { { endpoint = "https://example.com?x=" }, "BAD_ENDPOINT",
    'endpoint: "https://example.com?x=", ' .. NO_FORM },
}

local function new(changes)
  local given = {}
  for name, value in pairs(GOOD) do given[name] = value end
  for name, value in pairs(changes) do given[name] = value or nil end
  return imattr.new(given)
end

describe("a client that cannot be set up", function()
  it("is nil and an error that says what to change", function()
    for _, case in ipairs(SETUP) do
      local client, err = new(case[1])
      assert.is_nil(client)
      assert.same({ case[2], "setup", case[3] }, { err.code, err.class, err.message })
      assert.equal(case[3], tostring(err))
      assert.is_nil(err.vendor_code)
    end
  end)

  it("reads a key from a file, without the white space around it", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write("\n ", app.KEY, "\r\n\n")
    file:close()
    local signed = assert(imattr.usersig.sign { sdkappid = 1, identifier = "a", key_file = path })
    os.remove(path)
    assert(imattr.usersig.open(signed, { key = app.KEY }))
  end)

  it("never shows the key", function()
    for _, given in ipairs { { usersig = "eJw" .. app.KEY }, { key = app.KEY:rep(5) },
      { region = "tokyo" } } do
      local _, err = new(given)
      assert.is_nil(app.dump(err):find(app.KEY, 1, true))
    end
  end)
end)

-- ---- errors themselves

describe("an error", function()
  it("prints as its sentence", function()
    local err = errors.new { code = "X", message = "a sentence", class = "setup" }
    assert.equal("a sentence", tostring(err))
    assert.equal("it says: a sentence", ("it says: %s"):format(tostring(err)))
  end)

  it("is known by its kind", function()
    assert.is_true(errors.is(errors.new { code = "X", message = "x", class = "setup" }))
    for _, other in ipairs { "X", 1, {}, setmetatable({}, {}), io.stdout } do
      assert.is_false(errors.is(other))
    end
    assert.is_false(errors.is(nil))
  end)

  it("of the world has a class, says where, why and what to do", function()
    for code, class in pairs(WORLD) do
      local err = errors.world(code, "https://h", "the reason")
      assert.same({ code, class }, { err.code, err.class })
      local where = (code == "DEADLINE" or code == "INTERRUPTED") and "" or "https://h: "
      local sentence = where .. core.statuses[code].message .. " (the reason); "
      assert.equal(sentence, err.message:sub(1, #sentence))
      assert.truthy(#err.message > #sentence + 5, err.message)
      assert.is_nil(err.message:find("[.\n]$"))
    end
  end)

  it("of the world does without where and why", function()
    assert.equal("no answer in time; try again, or raise timeout_ms; "
      .. "what was sent may have arrived", errors.world("TIMEOUT").message)
    assert.equal("setup", errors.world("CRYPTO", "x").class)
    assert.equal("x: the cryptographic library failed", errors.world("CRYPTO", "x").message)
  end)

  it("of a run's end is about no host", function()
    assert.equal("the run's deadline passed before this user's turn; "
      .. "raise deadline_ms, or send the rest in another call",
      tostring(errors.world("DEADLINE", "https://h")))
  end)
end)

-- ---- the vendor's codes

describe("the table of codes", function()
  it("has a class, a sentence and maybe a hint for each", function()
    local count = 0
    for code, known in pairs(imattr.codes) do
      assert.equal(code, known.code)
      assert.is_true(CODE_CLASSES[known.class], tostring(code))
      for _, text in ipairs { known.message, known.hint } do
        assert.truthy(#text > 5 and not text:find("[.\n]$"), tostring(code))
      end
      count = count + 1
    end
    assert.truthy(count > 70)
  end)

  it("says what to do where the set-up is wrong by the caller's hand", function()
    for _, code in ipairs { 60006, 60010, 60016, 60020, 60026, 60027, 70009, 70013, 70014, 70016,
      70020, 70050, 70403, 90009, 90033, 90045 } do
      assert.truthy(codes[code].hint, tostring(code))
    end
  end)

  it("gives the classes of vendor-made trouble that the documents give", function()
    local classes = {
      retry = { 60008, 60013, 60014, 70169, 70202, 70500, 90992, 90994, 90995, 91000 },
      rate = { 60007, 60011, 60018, 60019 },
      resign = { 60004, 60005, 70001, 70002, 70003, 70005, 70052 },
      user = { 60015, 70107, 90001, 90003, 90008, 90012, 90018, 90033, 90034, 90035, 90048 },
      caller = { 60002, 60003, 60009, 60012, 60025 },
      hold = { 70050 },
      permission = { 60010, 70009, 70013, 70014, 70403, 90009 },
      setup = { 60016, 60020, 60021, 60026, 60027, 60028, 70016, 70020, 70398, 90045, 90047 },
    }
    for class, list in pairs(classes) do
      for _, code in ipairs(list) do
        assert.truthy(rawget(codes, code), tostring(code))
        assert.equal(class, codes[code].class, tostring(code))
      end
    end
  end)

  it("answers for numbers only", function()
    for _, key in ipairs { "60007", "x", true } do assert.is_nil(imattr.codes[key]) end
  end)
end)
