-- The signer: UserSigs agree with the vendor's own package, and nothing that is not one opens.

local cjson = require("cjson").new()
local core = require "imattr.core"
local shell = require "imattr.sandbox.shell"
local vectors = require "vectors.usersig"
local virtual = require "support.virtual"

local KEY = vectors[1].key
local FIELDS = { "sdkappid", "identifier", "time", "expire" }
local BAD_USERSIG = "the UserSig cannot be read"
local BAD_KEY = "the key is empty or too long"

local function new_signer(key)
  return assert(core.signer(key or KEY))
end

local function sign(vector)
  return new_signer(vector.key):sign(vector.sdkappid, vector.identifier, vector.time, vector.expire,
    vector.userbuf)
end

local function open(usersig)
  local json, _, message = core.usersig_unpack(usersig)
  assert(json, message)
  return cjson.decode(json)
end

-- Does the vector's signature hold with these fields in place of its own?
local function holds(vector, changes)
  local fields = { userbuf = vector.userbuf }
  for _, name in ipairs(FIELDS) do fields[name] = vector[name] end
  for name, value in pairs(changes) do fields[name] = value or nil end
  return new_signer(changes.key or vector.key):verify(fields.sdkappid, fields.identifier,
    fields.time, fields.expire, fields.userbuf, changes.sig or vector.sig)
end

-- What the vendor's package puts inside.
local function inside(vector)
  return {
    ["TLS.ver"] = "2.0", ["TLS.identifier"] = vector.identifier,
    ["TLS.sdkappid"] = vector.sdkappid, ["TLS.time"] = vector.time,
    ["TLS.expire"] = vector.expire, ["TLS.userbuf"] = vector.userbuf, ["TLS.sig"] = vector.sig,
  }
end

describe("a signer", function()
  for i, vector in ipairs(vectors) do
    it(("agrees with the vendor's package: vector %d"):format(i), function()
      local usersig = sign(vector)
      assert.same(inside(vector), open(usersig))
      assert.is_nil(usersig:find("[^%w*_-]"))
      assert.is_true(holds(vector, {}))
    end)

    if vector.usersig then
      it(("opens the vendor's string: vector %d"):format(i), function()
        assert.same(inside(vector), open(vector.usersig))
      end)
    end

    it(("does not hold for anything else: vector %d"):format(i), function()
      for _, changes in ipairs {
        { sdkappid = vector.sdkappid + 1 }, { identifier = vector.identifier .. "x" },
        { identifier = "" }, { time = vector.time + 1 }, { expire = vector.expire + 1 },
        { userbuf = "AAAA" }, { userbuf = "" }, { key = vector.key .. "0" },
        { key = vector.key:upper() .. "!" }, { sig = "" }, { sig = vector.sig:sub(1, -2) },
        { sig = vector.sig .. "=" }, { sig = vector.sig .. "\0" }, { sig = ("A"):rep(43) .. "=" },
      } do
        assert.is_false(holds(vector, changes), cjson.encode(changes))
      end
      if vector.userbuf then assert.is_false(holds(vector, { userbuf = false })) end
    end)
  end

  it("tells a signature from one that differs in a single letter", function()
    local vector = vectors[1]
    for i = 1, #vector.sig do
      local letter = vector.sig:sub(i, i) == "A" and "B" or "A"
      local sig = vector.sig:sub(1, i - 1) .. letter .. vector.sig:sub(i + 1)
      assert.is_false(holds(vector, { sig = sig }), i)
    end
  end)

  it("signs an empty userbuf, which is another thing than none", function()
    local empty = open(new_signer():sign(1, "a", 1, 1, ""))
    local none = open(new_signer():sign(1, "a", 1, 1))
    assert.equal("", empty["TLS.userbuf"])
    assert.is_nil(none["TLS.userbuf"])
    assert.not_equal(empty["TLS.sig"], none["TLS.sig"])
  end)

  for _, identifier in ipairs { "a", 'quote"back\\slash', "😀", "a b", ("n"):rep(1000), "" } do
    it(("signs %q"):format(identifier:sub(1, 20)), function()
      local fields = open(new_signer():sign(1, identifier, 0, 1))
      assert.equal(identifier, fields["TLS.identifier"])
      assert.is_true(new_signer():verify(1, identifier, 0, 1, nil, fields["TLS.sig"]))
    end)
  end

  it("signs the largest numbers as they are", function()
    local json = core.usersig_unpack(new_signer():sign(4294967295, "a", 2 ^ 40, 2 ^ 40))
    local numbers = '"TLS.sdkappid":4294967295,"TLS.time":1099511627776,"TLS.expire":1099511627776'
    assert(json:find(numbers, 1, true), json)
  end)

  for _, case in ipairs {
    { "a\255", "NOT_UTF8", "not valid UTF-8" }, { "\237\160\128", "NOT_UTF8", "not valid UTF-8" },
    { "a\0b", "NUL_BYTE", "a NUL byte" },
  } do
    it("does not sign an identifier with " .. case[3], function()
      assert.same({ nil, case[2], case[3] }, { new_signer():sign(1, case[1], 0, 1) })
    end)
  end

  it("does not show its key", function()
    local signer = new_signer()
    assert.equal("imattr.signer", tostring(signer))
    assert.equal("imattr.signer", getmetatable(signer))
    signer:close()
    signer:close()
    assert.equal("imattr.signer (closed)", tostring(signer))
  end)
end)

describe("a key", function()
  it("has 1 to 256 bytes, whatever they are", function()
    for _, key in ipairs { "k", ("k"):rep(256), "\0\255", " " } do
      assert.truthy(core.signer(key))
    end
    assert.same({ nil, "BAD_KEY", BAD_KEY }, { core.signer("") })
    assert.same({ nil, "BAD_KEY", BAD_KEY }, { core.signer(("k"):rep(257)) })
    assert.same({ nil, "BAD_KEY", BAD_KEY }, { core.signer(("k"):rep(1000000)) })
  end)

  local path

  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function from_file(text)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    local signer, code, message = core.signer_file(path)
    if not signer then return nil, code, message end
    return open(signer:sign(1, "a", 1, 1))["TLS.sig"]
  end

  it("comes from a file without the white space around it", function()
    local wanted = open(new_signer():sign(1, "a", 1, 1))["TLS.sig"]
    for _, text in ipairs {
      KEY, KEY .. "\n", KEY .. "\r\n", " \t\r\n" .. KEY .. " \t\r\n", KEY .. ("\n"):rep(100),
    } do
      assert.equal(wanted, from_file(text))
    end
    assert.not_equal(wanted, from_file(KEY .. "\0"))
    assert.not_equal(wanted, from_file(KEY:sub(1, 32) .. "\n" .. KEY:sub(33)))
  end)

  it("is refused when the file is empty, blank or too long", function()
    for _, text in ipairs {
      "", "\n", " \t\r\n", ("k"):rep(257), ("k"):rep(512), ("k"):rep(100000),
    } do
      assert.same({ nil, "BAD_KEY", BAD_KEY }, { from_file(text) })
    end
  end)

  it("is not cut where a file is read no further", function()
    local sig = from_file((" "):rep(500) .. KEY)
    assert(not sig or sig == open(new_signer():sign(1, "a", 1, 1))["TLS.sig"])
  end)

  it("is refused when the file cannot be read", function()
    for _, wrong in ipairs { path .. "/no/such/file", "/", "" } do
      assert.same({ nil, "KEY_FILE", "the key file cannot be read" }, { core.signer_file(wrong) })
    end
  end)

  it("can be a pipe's end", function()
    local fifo = path .. ".fifo"
    finally(function() os.remove(fifo) end)
    assert(shell.run(("mkfifo -m 600 '%s' && { printf '%%s' %s >'%s' & }"):format(fifo, KEY, fifo)))
    local signer = assert(core.signer_file(fifo))
    assert.same(inside(vectors[1]), open(signer:sign(vectors[1].sdkappid, vectors[1].identifier,
      vectors[1].time, vectors[1].expire)))
  end)
end)

describe("what is no UserSig", function()
  local good = vectors[1].usersig

  local function assert_bad(text)
    assert.same({ nil, "BAD_USERSIG", BAD_USERSIG }, { core.usersig_unpack(text) })
  end

  for _, case in ipairs {
    { "nothing", "" }, { "a letter", "e" }, { "three letters", "eJy" }, { "four", "AAAA" },
    { "padding alone", "____" }, { "three padded", "A___" }, { "padding within", "AA_AAAAA" },
    { "padding in the first block", "eJ__" .. good:sub(5) },
    { "standard base64", (good:gsub("[*_-]", { ["*"] = "+", ["-"] = "/", _ = "=" })) },
    { "a space before", " " .. good:sub(2) }, { "a line end behind", good .. "\n" },
    { "four line ends", good .. "\n\n\n\n" }, { "a NUL", good:sub(1, -2) .. "\0" },
    { "bytes above ASCII", good:sub(1, -2) .. "\255" }, { "lower case", good:lower() },
    { "JSON", '{"TLS.ver":"2.0"}   ' }, { "not deflated", "eyJUTFMudmVyIjoiMi4wIn0_" },
    { "too long", ("A"):rep(4100) }, { "as long as can be", ("A"):rep(4096) },
    { "very long", ("eJyr"):rep(300000) }, { "something behind it", good .. "AAAA" },
  } do
    it("does not open: " .. case[1], function() assert_bad(case[2]) end)
  end

  it("is one with something behind it", function()
    local signer = new_signer()
    for i = 1, 20 do
      local usersig = signer:sign(1, ("a"):rep(i), 1, 1)
      if usersig:sub(-1) ~= "_" then -- no padding: the rest decodes too
        assert.is_string((core.usersig_unpack(usersig)))
        assert_bad(usersig .. "AAAA")
        assert_bad(usersig .. usersig)
        return
      end
    end
    error("none without padding")
  end)

  it("is one that is cut anywhere", function()
    for len = 0, #good - 1 do assert_bad(good:sub(1, len)) end
  end)

  it("is one with a letter changed", function()
    for i = 1, #good - 4 do
      local letter = good:sub(i, i) == "A" and "B" or "A"
      local text = good:sub(1, i - 1) .. letter .. good:sub(i + 1)
      local json, code = core.usersig_unpack(text)
      assert(not json and code == "BAD_USERSIG", i)
    end
  end)

  it("is one that inflates to more than 16384 bytes", function()
    local signer = new_signer()
    local at_limit = signer:sign(1, "a", 1, 1, ("A"):rep(16000))
    assert(#at_limit < 4096)
    assert.equal(16000, #open(at_limit)["TLS.userbuf"])
    assert_bad(signer:sign(1, "a", 1, 1, ("A"):rep(16384)))
    assert_bad(signer:sign(1, "a", 1, 1, ("A"):rep(1000000)))
  end)

  it("is byte soup", function()
    local random = virtual.random(11)
    local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-"
    for _ = 1, 3000 do
      local text = { "eJy" }
      for i = 2, random(60) * 4 - 2 do
        local k = random(64)
        text[i] = letters:sub(k, k)
      end
      local json, code = core.usersig_unpack(table.concat(text))
      assert(json or code == "BAD_USERSIG")
    end
  end)
end)

describe("a signer in wrong hands", function()
  local function assert_raises(words, call, ...)
    local ok, message = pcall(call, ...)
    assert.is_false(ok)
    assert(message:find(words, 1, true), message)
  end

  it("raises", function()
    local signer = new_signer()
    for _, wrong in ipairs { 0, -1, 2 ^ 32, 1.5, 0 / 0, 1 / 0 } do
      assert_raises("argument 2: ", signer.sign, signer, wrong, "a", 1, 1)
      assert_raises("argument 2: ", signer.verify, signer, wrong, "a", 1, 1, nil, "x")
    end
    for _, wrong in ipairs { -1, 0.5, 2 ^ 41, 0 / 0 } do
      assert_raises("argument 4: ", signer.sign, signer, 1, "a", wrong, 1)
      assert_raises("argument 5: ", signer.sign, signer, 1, "a", 1, wrong)
    end
    assert_raises("argument 5: 0, ", signer.sign, signer, 1, "a", 1, 0)
    assert_raises("string expected", signer.sign, signer, 1, {}, 1, 1)
    assert_raises("string expected", signer.sign, signer, 1, "a", 1, 1, {})
    assert_raises("string expected", signer.verify, signer, 1, "a", 1, 1)
    assert_raises("number expected", signer.sign, signer)
    assert_raises("imattr.signer expected", signer.sign, {}, 1, "a", 1, 1)
    assert_raises("string expected", core.signer)
    assert_raises("string expected", core.signer, {})
    assert_raises("string expected", core.signer_file)
    assert_raises("string expected", core.usersig_unpack, {})
  end)

  it("stays closed", function()
    local signer = new_signer()
    signer:close()
    assert_raises("imattr.signer: already closed", signer.sign, signer, 1, "a", 1, 1)
    assert_raises("imattr.signer: already closed", signer.verify, signer, 1, "a", 1, 1, nil, "x")
  end)
end)
