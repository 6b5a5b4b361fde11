-- wire: what is written to the vendor, and what each of his replies means.

local cjson = require("cjson").new()
local codes = require "imattr.codes"
local core = require "imattr.core"
local wire = require "imattr.wire"

local function status(name) return core.statuses[name].code end

local function answered(body, http_status)
  return { id = 1, status = "OK", may_have_arrived = true, http_status = http_status or 200,
    body = body }
end

local function refusal(code, info)
  return answered(cjson.encode { ActionStatus = "FAIL", ErrorCode = code, ErrorInfo = info })
end

-- ---- replies

-- body, kind, our own status or the vendor's code, words
local BODIES = {
  { '{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}', "delivered" },
  { '{"ActionStatus":"OK","ErrorCode":0}', "delivered" },
  { ' {"ErrorCode":0,"ActionStatus":"OK","ErrorDisplay":"","RequestId":"x"}\n', "delivered" },
  { '{"ActionStatus":"OK","ErrorCode":0,"ErrorList":null}', "delivered" },
  { '{"ActionStatus":"OK","ErrorCode":0,"ErrorList":[]}', "delivered" },
  { '{"ActionStatus":"OK","ErrorCode":0,"ErrorList":"x"}', "delivered" },
  { '{"ActionStatus":"OK","ErrorCode":0,"ErrorList":[1,null,{},{"To_Account":1}]}', "delivered" },
  { '{"ActionStatus":"FAIL","ErrorCode":70009,"ErrorInfo":"no"}', "stop", 70009, "no" },
  { '{"ActionStatus":"FAIL","ErrorCode":70009,"ErrorInfo":""}', "stop", 70009 },
  { '{"ActionStatus":"FAIL","ErrorCode":70009,"ErrorInfo":null}', "stop", 70009 },
  { '{"ActionStatus":"FAIL","ErrorCode":70009,"ErrorInfo":{"a":1}}', "stop", 70009 },
  { '{"ActionStatus":"FAIL","ErrorCode":70009}', "stop", 70009 },
  { '{"ActionStatus":"OK","ErrorCode":60007}', "slow_down", 60007 }, -- both must say yes
  { '{"ErrorCode":60007}', "slow_down", 60007 },
  { '{"ActionStatus":"FAIL","ErrorCode":0}', "retry", "BAD_REPLY" },
  { '{"ErrorCode":0}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"ok","ErrorCode":0}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"OK"}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"OK","ErrorCode":"0"}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"FAIL","ErrorCode":"70009"}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"FAIL","ErrorCode":-1}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"FAIL","ErrorCode":9999}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"FAIL","ErrorCode":1e300}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"FAIL","ErrorCode":70009.5}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"FAIL","ErrorCode":NaN}', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"FAIL","ErrorCode":Infinity}', "retry", "BAD_REPLY" },
  { "", "retry", "BAD_REPLY" },
  { "null", "retry", "BAD_REPLY" },
  { "true", "retry", "BAD_REPLY" },
  { "7", "retry", "BAD_REPLY" },
  { '"OK"', "retry", "BAD_REPLY" },
  { "[]", "retry", "BAD_REPLY" },
  { "{}", "retry", "BAD_REPLY" },
  { "<html>502</html>", "retry", "BAD_REPLY" },
  { '{"ActionStatus":"OK","ErrorCode":0', "retry", "BAD_REPLY" },
  { '{"ActionStatus":"OK","ErrorCode":0}{}', "retry", "BAD_REPLY" },
  { "\0", "retry", "BAD_REPLY" },
  { ("["):rep(5000) .. ("]"):rep(5000), "retry", "BAD_REPLY" },
  { '{"ActionStatus":"OK","ErrorCode":0,"x":' .. ("["):rep(17) .. ("]"):rep(17) .. "}", "retry",
    "BAD_REPLY" },
}

-- class, the verdict it becomes
local CLASSES = {
  retry = "retry", rate = "slow_down", hold = "hold_off", resign = "resign", user = "split",
  caller = "stop", permission = "stop", setup = "stop",
}

-- Codes for which nothing is documented, by range: code, class.
local UNKNOWN_CODES = {
  { 10000, "user" }, { 20004, "user" }, { 59999, "user" },
  { 60000, "caller" }, { 60001, "caller" }, { 60022, "caller" }, { 60999, "caller" },
  { 61000, "user" }, { 69999, "user" },
  { 70000, "permission" }, { 70999, "permission" }, { 79999, "permission" },
  { 80000, "user" }, { 89999, "user" },
  { 90000, "user" }, { 90999, "user" },
  { 91001, "retry" }, { 91999, "retry" },
  { 92000, "user" }, { 99999, "user" }, { 100000, "user" }, { 999999, "user" },
}

describe("the meaning of a reply", function()
  it("is taken from ActionStatus and ErrorCode together", function()
    for _, case in ipairs(BODIES) do
      local body, kind, code, info = case[1], case[2], case[3], case[4]
      local verdict = wire.verdict(answered(body))
      assert.equal(kind, verdict.kind, body)
      assert.equal(type(code) == "string" and status(code) or code, verdict.code, body)
      if type(code) ~= "string" then assert.equal(info, verdict.info, body) end
    end
  end)

  it("is the object itself when it was delivered", function()
    local verdict = wire.verdict(answered('{"ActionStatus":"OK","ErrorCode":0,"UserAttrs":[1]}'))
    assert.same({ ActionStatus = "OK", ErrorCode = 0, UserAttrs = { 1 } }, verdict.object)
    assert.is_nil(verdict.refused)
  end)

  it("names the users of an ErrorList", function()
    local verdict = wire.verdict(answered(cjson.encode { ActionStatus = "OK", ErrorCode = 0,
      ErrorList = { { To_Account = "a", ErrorCode = 70107, ErrorInfo = "who?" },
        { To_Account = "b", ErrorCode = 90035 } } }))
    assert.equal("delivered", verdict.kind)
    assert.same({ a = 70107, b = 90035 }, verdict.refused)
  end)

  it("hands on from an ErrorList only what can be a code of the vendor's", function()
    for _, code in ipairs { "0", "-1", "1.5", "5", "1e300" } do
      local verdict = wire.verdict(answered(('{"ActionStatus":"OK","ErrorCode":0,'
        .. '"ErrorList":[{"To_Account":"a","ErrorCode":%s}]}'):format(code)))
      assert.same({ a = status "BAD_REPLY" }, verdict.refused, code)
    end
  end)

  it("follows the class of every code that is documented", function()
    local seen = {}
    for code, known in pairs(codes) do
      local verdict = wire.verdict(refusal(code, "why"))
      assert.same({ CLASSES[known.class], code, "why" },
        { verdict.kind, verdict.code, verdict.info })
      assert.equal(known.class == "retry", verdict.may_have_arrived, tostring(code))
      seen[known.class] = true
    end
    for class in pairs(CLASSES) do assert.is_true(seen[class], class) end
  end)

  it("follows the range of a code that is not", function()
    for _, case in ipairs(UNKNOWN_CODES) do
      local code, class = case[1], case[2]
      assert.is_nil(rawget(codes, code))
      assert.equal(class, codes[code].class, tostring(code))
      assert.equal(code, codes[code].code)
      assert.equal(CLASSES[class], wire.verdict(refusal(code)).kind, tostring(code))
    end
  end)

  it("is none of the vendor's when the HTTP status is not 200", function()
    local kinds = {
      [100] = "stop", [201] = "stop", [204] = "stop", [301] = "stop", [302] = "stop",
      [307] = "stop", [400] = "stop", [401] = "stop", [403] = "stop", [404] = "stop",
      [407] = "stop", [413] = "stop", [408] = "retry", [429] = "slow_down", [500] = "retry",
      [502] = "retry", [503] = "retry", [504] = "retry", [599] = "retry",
    }
    for http_status, kind in pairs(kinds) do
      local verdict = wire.verdict(answered('{"ActionStatus":"OK","ErrorCode":0}', http_status))
      assert.same({ kind = kind, code = status "HTTP_STATUS", may_have_arrived = true,
        info = "HTTP status " .. http_status }, verdict)
    end
  end)

  it("is a reason to try again when no answer came, but for some", function()
    local kinds = { RESOLVE = "retry", CONNECT = "retry", PROXY = "retry", CUT = "retry",
      TIMEOUT = "retry", TLS = "stop", REPLY_TOO_LARGE = "give_up" }
    for name, kind in pairs(kinds) do
      for _, may_have_arrived in ipairs { true, false } do
        local verdict = wire.verdict { id = 1, status = name, http_status = 0, body = "",
          may_have_arrived = may_have_arrived, message = "in curl's words" }
        assert.same({ kind = kind, code = status(name), may_have_arrived = may_have_arrived,
          info = "in curl's words" }, verdict)
      end
    end
  end)
end)

describe("the vendor's words", function()
  it("are one line, cut, and without a UserSig", function()
    local cases = {
      { "two\nlines\tand\0more", "two lines and more" },
      { ("word "):rep(41), ("word "):rep(40) },
      { ("w "):rep(90) .. "usersig=" .. ("eJyrV*_-"):rep(25),
        ("w "):rep(90) .. "usersig=REDACTED" },
    }
    for _, case in ipairs(cases) do
      assert.equal(case[2], wire.verdict(refusal(70009, case[1])).info)
    end
  end)

  it("hide the UserSig in a URL, however short", function()
    assert.equal("POST /v4/x?sdkappid=1&usersig=REDACTED&random=1 failed", wire.verdict(refusal(
      70009, "POST /v4/x?sdkappid=1&usersig=eJyr*V-r_%2A&random=1 failed")).info)
  end)

  it("hide a UserSig however it is quoted", function()
    local sig = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZk-SlaGJg__"
    for _, words in ipairs { "usersig %s is bad", "UserSig=%s", '{"usersig":"%s"}', "%s" } do
      local info = wire.verdict(refusal(70009, words:format(sig))).info
      assert.is_nil(info:find(sig:sub(1, 20), 1, true), info)
    end
  end)
end)

-- ---- requests

-- endpoint, url, host, is_loopback, is_plain
local ENDPOINTS = {
  { "https://adminapisgp.im.qcloud.com", "https://adminapisgp.im.qcloud.com",
    "adminapisgp.im.qcloud.com", false, false },
  { "https://example.com/", "https://example.com", "example.com", false, false },
  { "HTTPS://example.com:8443", "https://example.com:8443", "example.com:8443", false, false },
  { "https://127.0.0.1:8443", "https://127.0.0.1:8443", "127.0.0.1:8443", true, false },
  { "http://127.0.0.1:80", "http://127.0.0.1:80", "127.0.0.1:80", true, true },
  { "http://127.8.9.1", "http://127.8.9.1", "127.8.9.1", true, true },
  { "http://localhost", "http://localhost", "localhost", true, true },
  { "http://[::1]:8080", "http://[::1]:8080", "[::1]:8080", true, true },
  { "https://[2001:db8::1]", "https://[2001:db8::1]", "[2001:db8::1]", false, false },
}

local NO_FORM = "wants https://host or https://host:port"
local NO_TLS = "wants https; http is for loopback only"
local NOT_ENDPOINTS = {
  { "", NO_FORM }, { "example.com", NO_FORM }, { "https://", NO_FORM }, { "https:///x", NO_FORM },
  { "https://example.com:", NO_FORM }, { "https://example.com/v4", NO_FORM },
  { "https://example.com?x=1", NO_FORM }, { "https://example.com#x", NO_FORM },
  { "https://user@example.com", NO_FORM }, { "https://user:word@example.com", NO_FORM },
  { "https://exa mple.com", NO_FORM }, { "https://example.com\n", NO_FORM },
  { "https://example.com:44x", NO_FORM }, { " https://example.com", NO_FORM },
  { "https://[::1", NO_FORM }, { "https://example.com\0.net", NO_FORM },
  { "http://example.com", NO_TLS }, { "http://10.0.0.1", NO_TLS }, { "ftp://127.0.0.1", NO_TLS },
  { "file://localhost", NO_TLS }, { "http://127.0.0.1.example.com", NO_TLS },
  { "http://localhost.example.com", NO_TLS }, { "http://127.0.0.example", NO_TLS },
  { "http://[2001:db8::1]", NO_TLS }, { "http://0.0.0.0", NO_TLS }, { "http://1127.0.0.1", NO_TLS },
}

describe("an endpoint", function()
  it("is https, or http on loopback, a host and maybe a port", function()
    for _, case in ipairs(ENDPOINTS) do
      local url, host, is_loopback, is_plain = case[2], case[3], case[4], case[5]
      assert.same({ url = url, host = host, is_loopback = is_loopback, is_plain = is_plain },
        wire.endpoint(case[1]))
    end
  end)

  it("is nothing else", function()
    for _, case in ipairs(NOT_ENDPOINTS) do
      local parts, problem = wire.endpoint(case[1])
      assert.is_nil(parts, case[1])
      assert.equal(("endpoint: %q, %s"):format(case[1], case[2]), problem)
    end
  end)

  it("has a port that there is", function()
    for _, port in ipairs { "0", "65536", "99999", "123456789012345678901" } do
      assert.is_nil(wire.endpoint("https://example.com:" .. port), port)
    end
  end)

  it("is known for every region, with a second one", function()
    local seen = {}
    for region, hosts in pairs(wire.regions) do
      assert.equal(2, #hosts, region)
      for _, host in ipairs(hosts) do
        local parts = assert(wire.endpoint("https://" .. host))
        assert.equal(host, parts.host, region)
        assert.is_false(parts.is_loopback)
        assert.is_nil(seen[host])
        seen[host] = true
        seen[#seen + 1] = host
      end
    end
    assert.equal(14, #seen)
  end)
end)

describe("a target", function()
  it("bears the five parameters, the random number last", function()
    assert.equal("/v4/all_member_push/im_set_attr?sdkappid=4294967295&identifier=admin"
      .. "&usersig=eJw%2Ax-y_&contenttype=json&random=",
      wire.target("all_member_push", "im_set_attr",
        { sdkappid = 4294967295, identifier = "admin", usersig = "eJw*x-y_" }))
  end)

  it("escapes every byte that is not unreserved", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      local shown = char:find("[%w%-._~]") and byte < 128 and char or ("%%%02X"):format(byte)
      local url = wire.target("s", "p", { sdkappid = 1, identifier = char,
        usersig = "u" })
      assert.equal(shown, url:match("identifier=(.-)&usersig"))
    end
  end)
end)

describe("a Date header", function()
  it("becomes seconds since 1970", function()
    local cases = {
      ["Thu, 01 Jan 1970 00:00:00 GMT"] = 0,
      ["Sun, 06 Nov 1994 08:49:37 GMT"] = 784111777,
      ["Tue, 29 Feb 2000 23:59:59 GMT"] = 951868799,
      ["Wed, 01 Mar 2000 00:00:00 GMT"] = 951868800,
      ["Tue, 14 Nov 2023 22:13:20 GMT"] = 1700000000,
      ["Thu, 31 Dec 2026 23:59:59 GMT"] = 1798761599,
      ["Mon, 01 Mar 2100 00:00:00 GMT"] = 4107542400,
    }
    for text, seconds in pairs(cases) do assert.equal(seconds, wire.date_s(text), text) end
  end)

  it("is left alone when it cannot be read", function()
    for _, text in ipairs { "", "now", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
      "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "784111777" } do
      assert.is_nil(wire.date_s(text), text)
    end
    assert.is_nil(wire.date_s(nil))
  end)
end)

-- ---- errors

describe("the error of a code", function()
  it("is one sentence with the vendor's words and what to do", function()
    local cases = {
      { "70009", "no", "permission", 70009,
        "70009: the signature does not verify with the app's key (no); "
        .. "check that the key is the one of this sdkappid" },
      { "70051", nil, "permission", 70051, "70051: the account is on the block list" },
      { "70001", nil, "permission", 70001,
        "70001: the UserSig has expired; check this machine's clock" },
      { "60020", nil, "setup", 60020,
        "60020: the package is not bought, has expired or is in arrears; look at the app's "
        .. "package in the console; a purchase takes 5 minutes to count" },
      { "60001", nil, "caller", 60001, "60001: the REST gateway refused the request" },
      { "60007", nil, "rate", 60007,
        "60007: the command's frequency limit is exceeded; lower rate" },
      { "CONNECT", "refused", "network", nil,
        "https://h: the host does not accept connections (refused); "
        .. "check the endpoint, the network and the firewall" },
    }
    for _, case in ipairs(cases) do
      local err = wire.error(case[1], "https://h", case[2])
      assert.same({ case[1], case[3], case[4], case[5] },
        { err.code, err.class, err.vendor_code, err.message })
      assert.equal(case[5], tostring(err))
    end
  end)

  it("tells for every code that stops a run what is wrong", function()
    for code, known in pairs(codes) do
      local err = wire.error(tostring(code), "https://h")
      local signing = known.class == "resign" or known.class == "hold"
      assert.equal(signing and "permission" or known.class, err.class)
      assert.equal(1, (err.message:find(code .. ": " .. known.message, 1, true)))
      assert.is_nil(err.message:find("[.\n]$"))
    end
  end)
end)

describe("a body that is no batch", function()
  it("is an object, also when there is nothing to say", function()
    assert.equal("{}", wire.encode {})
    assert.same({ AttrNames = { ["0"] = "sex" } },
      cjson.decode(wire.encode { AttrNames = { ["0"] = "sex" } }))
    assert.equal('{"AttrNames":{"9":"x"}}', wire.encode { AttrNames = { ["9"] = "x" } })
  end)
end)
