-- usersig: the vendor's signature of an account, signed and opened.

local app = require "support.app"
local imattr = require "imattr"

local usersig = imattr.usersig

-- Made with the vendor's own npm package (tls-sig-api-v2 1.0.2), time fixed; the last two with a
-- userbuf of its privilege map. { sdkappid, key, identifier, time, expire, sig, userbuf }
local K = app.KEY
local VECTORS = {
  { 1400000000, K, "administrator", 1700000000, 15552000,
    "JCzxanF8NTTXau4m+2h9wv7gYJnyNksm0xm1NEXU274=" },
  { 1400000000, K, "administrator", 1767225600, 86400,
    "FiOAv4qPlFvKi6Scg/++v1AKHZfdFD4+KQwOREPWQiI=" },
  { 20009999, ("a"):rep(64), "admin", 1700000001, 604800,
    "EfGDLe/J/woFvOKKL+I0aNxMf/sExJAcn7uHmPN2bs4=" },
  { 1600123456, ("0123456789abcdef"):rep(4), "user_01-AZ", 1735689599, 3600,
    "PUoxeQ/v+YpNy9bsiWDhRBDAZ0ASwvJoYo+bZ03yn2E=" },
  { 1400000000, K, "Ab0123456789_-Ab0123456789_-0123", 1750000000, 1,
    "bl2E3F7VWLiGmxNEZbRgqXk99+hF1jlujvDggaIv9Rc=" },
  { 1400000000, K, "张小红", 1700000000, 86400,
    "AZ89NzUMLX3Ngu1NUsmxkvkdRMIW/NaQ4+K0x2P7HYU=" },
  { 1400000000, K, "xiaojun", 1700000000, 86400,
    "m5WPLBP4ZpMhjE/+GSzmHQEKbLMxsvWih1uhJTQ0sPw=",
    "AAAHeGlhb2p1blNyTgAAACcQZVVCgAAAAP8AAAAA" },
  { 1400000000, K, "xiaojun", 1700000000, 86400,
    "WC9WQHdrADDMRhgQxhGTBb97QmZ0mCG1Poz6eIf9f7w=",
    "AQAHeGlhb2p1blNyTgAAAAAAZVVCgAAAAP8AAAAAAAoxMDAwMDAwMDQw" },
}

-- The first of them as that package wrote it.
local VENDORS_OWN = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZkp"
  .. "SlaGJgZQAJEpycxNVbIyNEcVTa0oyCwCiZuamhrBRYsz05WslLycqyoS89ws-EJCIhJLTXK1jTIsy8vM0yO98ir9s"
  .. "otzDSpyDf1cI0KNzE1slWoBQr40pw__"

local function sign_vector(vector)
  return assert(usersig.sign { sdkappid = vector[1], key = vector[2], identifier = vector[3],
    time = vector[4], expire = vector[5], userbuf = vector[7] })
end

local function sign(changes)
  local fields = { sdkappid = 1400000000, identifier = "admin", key = K, time = 1000, expire = 100 }
  for name, value in pairs(changes or {}) do fields[name] = value or nil end
  return usersig.sign(fields)
end

describe("a UserSig", function()
  it("is the vendor's own", function()
    for _, vector in ipairs(VECTORS) do
      local text = sign_vector(vector)
      assert.truthy(text:find("^eJ[%w*_-]+$"), text)
      assert.same({ ver = "2.0", sdkappid = vector[1], identifier = vector[3], time = vector[4],
        expire = vector[5], sig = vector[6], userbuf = vector[7] },
        usersig.open(text, { key = vector[2], now = vector[4] }))
    end
  end)

  it("of the vendor's own libraries can be opened", function()
    local fields = assert(usersig.open(VENDORS_OWN, { key = K, now = 1700000000 }))
    assert.equal("administrator", fields.identifier)
    assert.is_nil(usersig.open(VENDORS_OWN, { key = K .. "0", now = 1700000000 }))
  end)

  it("has numbers that print as integers", function()
    local fields = usersig.open(sign())
    assert.equal("1400000000 1000 100",
      table.concat({ fields.sdkappid, fields.time, fields.expire }, " "))
  end)

  it("holds for a day from now on when nothing is said", function()
    local before = os.time()
    local fields = usersig.open(sign { time = false, expire = false }, { key = K })
    assert.equal(86400, fields.expire)
    assert.is_true(fields.time >= before and fields.time <= os.time())
  end)

  it("holds up to its last second", function()
    local text = sign()
    assert.truthy(usersig.open(text, { key = K, now = 1100 }))
    local fields, err = usersig.open(text, { key = K, now = 1101 })
    assert.is_nil(fields)
    assert.same({ "EXPIRED", "signature", "the UserSig expired 1 seconds ago" },
      { err.code, err.class, tostring(err) })
    assert.truthy(usersig.open(text, { key = K, now = 0 })) -- as the vendor's: no "not before"
    assert.equal("EXPIRED", select(2, usersig.open(text, { key = K })).code)
  end)

  it("expires also by a clock with fractions", function()
    assert.equal("EXPIRED", select(2, usersig.open(sign(), { key = K, now = 1100.5 })).code)
  end)

  it("is opened unchecked without a key", function()
    assert.equal("admin", usersig.open(sign()).identifier)
    assert.equal("admin", usersig.open(sign(), {}).identifier)
  end)

  it("holds with its own key only", function()
    for _, key in ipairs { K:upper(), K:sub(1, -2), K .. "\n", "x" } do
      local fields, err = usersig.open(sign(), { key = key, now = 1000 })
      assert.is_nil(fields)
      assert.same({ "BAD_SIGNATURE", "signature", "the UserSig was not signed with this key" },
        { err.code, err.class, tostring(err) })
    end
  end)

  it("that was changed in any letter does not hold", function()
    local text = sign()
    for i = 1, #text do
      local other = text:sub(i, i) == "A" and "B" or "A"
      local changed = text:sub(1, i - 1) .. other .. text:sub(i + 1)
      local fields, err = usersig.open(changed, { key = K, now = 1000 })
      if fields then -- the last letter before the padding has bits that say nothing
        assert.same(usersig.open(text), fields)
        assert.truthy(i >= #text - 4, changed)
      else
        assert.truthy(err.code == "BAD_USERSIG" or err.code == "BAD_SIGNATURE", err.code)
      end
    end
  end)

  it("that cannot be read is said to be so", function()
    local text = sign()
    local cases = { "", "x", "eJw", text:sub(1, -2), text:sub(1, 40), " " .. text,
      text .. "\n", text .. "_", text .. "=", text:sub(2), ("A"):rep(4), ("A"):rep(5000),
      "\0\0\0\0",
      "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5" }
    for _, case in ipairs(cases) do
      local fields, err = usersig.open(case, { key = K })
      assert.is_nil(fields, case)
      assert.same({ "BAD_USERSIG", "signature",
        "the UserSig cannot be read; it may be cut or not be one" },
        { err.code, err.class, tostring(err) })
    end
  end)
end)

describe("a UserSig with more behind it", function()
  it("is none", function()
    local text, identifier = sign(), "a"
    while text:find("_", 1, true) do -- until one needs no padding
      identifier = identifier .. "b"
      text = sign { identifier = identifier }
    end
    for _, more in ipairs { "AAAA", text } do
      assert.equal("BAD_USERSIG", select(2, usersig.open(text .. more)).code)
    end
  end)
end)

describe("signing", function()
  it("says when there is no usable key", function()
    local cases = {
      { { key = false }, "BAD_KEY", "usersig.sign: the key is empty or too long; "
        .. "give the key of the app, as the console shows it" },
      { { key = "" }, "BAD_KEY", "key: the key is empty or too long; "
        .. "give the key of the app, as the console shows it" },
      { { key = false, key_file = "/nowhere" }, "KEY_FILE", "key_file /nowhere: "
        .. "the key file cannot be read; check the path and the rights of key_file" },
    }
    for _, case in ipairs(cases) do
      local text, err = sign(case[1])
      assert.is_nil(text)
      assert.same({ case[2], "setup", case[3] }, { err.code, err.class, tostring(err) })
    end
  end)

  it("says when the identifier is no text", function()
    for identifier, code in pairs { ["\255"] = "NOT_UTF8", ["a\0b"] = "NUL_BYTE",
      ["\237\160\128"] = "NOT_UTF8" } do
      local text, err = sign { identifier = identifier }
      assert.is_nil(text)
      assert.same({ code, "signature" }, { err.code, err.class })
      assert.truthy(tostring(err):find("^identifier: "))
    end
  end)

  it("raises at the caller's line for a wrong field", function()
    local cases = {
      { { sdkappid = "14" }, "usersig.sign: sdkappid: a string, wants a number" },
      { { identifier = 5 }, "usersig.sign: identifier: a number, wants a string" },
      { { key = 5 }, "usersig.sign: key: a number, wants a string" },
      { { expire = "1" }, "usersig.sign: expire: a string, wants a number" },
      { { expires = 1 }, "usersig.sign: expires: unknown field" },
      { { [1] = "x" }, "usersig.sign: 1: unknown field" },
      { { sdkappid = false }, "usersig.sign: wants sdkappid and identifier" },
      { { identifier = false }, "usersig.sign: wants sdkappid and identifier" },
    }
    for _, case in ipairs(cases) do
      local fields = { sdkappid = 1, identifier = "a", key = "k" }
      for name, value in pairs(case[1]) do fields[name] = value or nil end
      assert.equal(case[2], app.misuse(function() usersig.sign(fields) end))
    end
    assert.equal("usersig.sign: a nil, wants a table", app.misuse(function() usersig.sign() end))
  end)

  it("raises at the caller's line for a number out of range", function()
    local cases = { { "sdkappid", 0 }, { "sdkappid", 1.5 }, { "sdkappid", 2 ^ 32 },
      { "sdkappid", 0 / 0 }, { "expire", 0 }, { "expire", -1 }, { "time", -1 }, { "time", 0.5 } }
    for _, case in ipairs(cases) do
      local fields = { sdkappid = 1, identifier = "a", key = "k", [case[1]] = case[2] }
      local message = app.misuse(function() usersig.sign(fields) end)
      assert.equal("usersig.sign: " .. case[1], message:match("^usersig.sign: %a+"))
    end
  end)
end)

describe("opening", function()
  it("raises for what is no string", function()
    assert.equal("usersig.open: a nil, wants a string",
      app.misuse(function() usersig.open() end))
    assert.equal("usersig.open: a table, wants a string",
      app.misuse(function() usersig.open({}) end))
  end)

  it("raises for a check that would check nothing", function()
    local text = sign()
    app.misuse(function() usersig.open(text, K) end)
    app.misuse(function() usersig.open(text, { Key = K }) end)
    app.misuse(function() usersig.open(text, { key = true }) end)
  end)
end)
