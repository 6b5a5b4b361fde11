-- hosts: which host of an app the next request goes to. Times are arguments.

local hosts = require "imattr.hosts"

local A, B, C = "https://a.example", "https://b.example", "https://c.example"
local SECOND_US = 1000000
local FAULTS = { "RESOLVE", "CONNECT", "PROXY", "TIMEOUT", "CUT" }

local function of(...)
  return assert(hosts.of { endpoint = { ... } })
end

-- Reports so many faults of a host.
local function fault(known, base, count, now_us)
  for _ = 1, count do known:back(base, "CONNECT", now_us or 0) end
end

describe("the hosts of an app", function()
  it("are those of a region, the main one first", function()
    local known = assert(hosts.of { region = "singapore" })
    assert.equal("https://adminapisgp.im.qcloud.com", known:pick(0))
    assert.equal("https://adminapisgp.im.qcloud.com or https://adminapisgp.my-imcloud.com",
      known.url)
    assert.is_false(known.is_loopback)
  end)

  it("are one endpoint, or a list of them", function()
    assert.equal("https://a.example", assert(hosts.of { endpoint = A }).url)
    assert.equal("a.example or b.example", of(A, B).host)
    assert.is_true(assert(hosts.of { endpoint = "http://127.0.0.1:8080" }).is_plain)
  end)

  it("are all good, and all on loopback or none", function()
    local function problem(...)
      local known, err = hosts.of { endpoint = { ... } }
      assert.is_nil(known)
      return err.message
    end
    assert.equal('endpoint: "b.example", wants https://host or https://host:port',
      problem(A, "b.example"))
    assert.equal("endpoint: https://a.example and https://127.0.0.1:1, wants hosts that are all "
      .. "loopback, or none", problem(A, "https://127.0.0.1:1"))
  end)

  it("stay the first one as long as it answers, whatever it says", function()
    local known = of(A, B)
    for _, status in ipairs { "OK", "BAD_REPLY", "REPLY_TOO_LARGE" } do
      known:back(A, status, 0)
      assert.equal(A, known:pick(0))
    end
  end)

  for _, status in ipairs(FAULTS) do
    it("change after two faults in a row: " .. status, function()
      local known = of(A, B)
      known:back(A, status, 0)
      assert.equal(A, known:pick(0))
      known:back(A, "OK", 0) -- in a row, that is
      known:back(A, status, 0)
      assert.equal(A, known:pick(0))
      known:back(A, status, 0)
      assert.equal(B, known:pick(0))
    end)
  end

  it("change at once where the certificate is wrong", function()
    local known = of(A, B)
    known:back(A, "TLS", 0)
    assert.equal(B, known:pick(0))
    assert.is_true(known:has_trusted())
    known:back(B, "TLS", 0)
    assert.is_false(known:has_trusted())
    known:back(B, "OK", 0)
    assert.is_true(known:has_trusted())
  end)

  it("let one request try a host whose pause is over, and no other until it is back", function()
    local known = of(A, B)
    fault(known, A, 2)
    assert.equal(B, known:pick(SECOND_US - 1))
    assert.equal(A, known:pick(SECOND_US))
    assert.equal(B, known:pick(SECOND_US))
    assert.equal(B, known:pick(9 * SECOND_US))
    known:back(A, "OK", 9 * SECOND_US)
    assert.equal(A, known:pick(9 * SECOND_US))
  end)

  it("are tried again when nothing was heard of the try", function()
    local known = of(A, B)
    fault(known, A, 2)
    assert.equal(A, known:pick(SECOND_US)) -- its run is broken off
    assert.equal(B, known:pick(100 * SECOND_US))
    assert.equal(A, known:pick(131 * SECOND_US))
    assert.equal(B, known:pick(131 * SECOND_US))
  end)

  it("rest twice as long after each try that fails, at most a minute", function()
    local known, now_us = of(A, B), 0
    fault(known, A, 2)
    for _, pause_s in ipairs { 1, 2, 4, 8, 16, 32, 60, 60 } do
      assert.equal(B, known:pick(now_us + pause_s * SECOND_US - 1))
      now_us = now_us + pause_s * SECOND_US
      assert.equal(A, known:pick(now_us))
      known:back(A, "TIMEOUT", now_us)
    end
    assert.equal(A, known:pick(now_us + 60 * SECOND_US))
    known:back(A, "OK", now_us)
    fault(known, A, 2, now_us) -- from the beginning
    assert.equal(A, known:pick(now_us + SECOND_US))
  end)

  it("do not rest longer for faults of requests that were under way", function()
    local known = of(A, B)
    fault(known, A, 60)
    assert.equal(A, known:pick(SECOND_US))
  end)

  it("are taken in turn when none answers", function()
    local known = of(A, B, C)
    local seen = {}
    for i = 1, 30 do
      local base = known:pick(i)
      seen[#seen + 1] = base
      known:back(base, "CONNECT", i)
    end
    assert.same({ A, A, B, B, C, C, A, B, C, A, B, C }, { (unpack or table.unpack)(seen, 1, 12) })
  end)

  it("are one alone, when there is but one", function()
    local known = of(A)
    fault(known, A, 10)
    assert.equal(A, known:pick(0))
  end)
end)
