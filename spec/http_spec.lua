-- transport/http: answers read from a socket that gives its bytes in any pieces.

local http = require "imattr.transport.http"

-- A socket that gives `text` in pieces of `size` bytes, then says `ending`.
local function socket_of(text, size, ending)
  local at = 1
  return { receiveany = function(_, most)
    if at > #text then return nil, ending or "closed" end
    local piece = text:sub(at, at + math.min(size, most) - 1)
    at = at + #piece
    return piece
  end }
end

local function read(text, size, ending)
  return http.read(socket_of(text, size or 1000, ending))
end

local OK = "HTTP/1.1 200 OK\r\n"
local CHUNKED = OK .. "Transfer-Encoding: chunked\r\n\r\n"

-- text, status, body, may the connection be kept?
local GOOD = {
  { OK .. "Content-Length: 2\r\n\r\n{}", 200, "{}", true },
  { OK .. "content-length:2\r\nDate: now\r\n\r\n{}", 200, "{}", true },
  { OK .. "Content-Length: 0\r\n\r\n", 200, "", true },
  { OK .. "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", true },
  { OK .. "Content-Length: 2\r\nConnection: close\r\n\r\n{}", 200, "{}", false },
  { OK .. "Content-Length: 2\r\nConnection: Keep-Alive\r\n\r\n{}", 200, "{}", true },
  { OK .. "Content-Length: 2\r\n\r\n{}and more", 200, "{}", false },
  { OK .. "\r\nuntil the end", 200, "until the end", false },
  { CHUNKED .. "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 200, "abcde", true },
  { OK .. "Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n", 200,
    "0123456789", true },
  { "HTTP/1.1 100 Continue\r\n\r\n" .. OK .. "Content-Length: 1\r\n\r\nx", 200, "x", true },
  { "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true },
  { "HTTP/1.0 502 Bad Gateway\r\nContent-Length: 3\r\n\r\noh!", 502, "oh!", true },
  { "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, "x", true },
}

-- text, status of the core
local BAD = {
  { "", "CUT" },
  { "HTTP/1.1 200 OK\r\nContent-Le", "CUT" },
  { OK .. "Content-Length: 3\r\n\r\n{}", "CUT" },
  { CHUNKED .. "3\r\nab", "CUT" },
  { CHUNKED .. "3\r\nabc\r\n", "CUT" },
  { "SSH-2.0-OpenSSH_9\r\n", "BAD_REPLY" },
  { "HTTP/1,", "BAD_REPLY" }, -- and not waited for to go on
  { "\0", "BAD_REPLY" },
  { OK .. "a: b\0c\r\nContent-Length: 2\r\n\r\n{}", "BAD_REPLY" },
  { "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", "BAD_REPLY" },
  { OK .. "a: b\nContent-Length: 2\r\n\r\n{}", "BAD_REPLY" },
  { OK .. "a: b\r\rContent-Length: 2\r\n\r\n{}", "BAD_REPLY" },
  { "HTTP/2 200\r\n\r\n", "BAD_REPLY" },
  { "HTTP/1.1 2x0 OK\r\n\r\n", "BAD_REPLY" },
  { OK .. "no colon here\r\n\r\n", "BAD_REPLY" },
  { OK .. "a b: c\r\n\r\n", "BAD_REPLY" },
  { OK .. " folded: x\r\n\r\n", "BAD_REPLY" },
  { OK .. "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "BAD_REPLY" },
  { OK .. "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "BAD_REPLY" },
  { OK .. "Content-Length: -2\r\n\r\n{}", "BAD_REPLY" },
  { OK .. "Content-Length: 0x2\r\n\r\n{}", "BAD_REPLY" },
  { OK .. "Content-Length: 2, 2\r\n\r\n{}", "BAD_REPLY" },
  { OK .. "Content-Length: \r\n\r\n", "BAD_REPLY" },
  { OK .. "Transfer-Encoding: gzip\r\n\r\n", "BAD_REPLY" },
  { CHUNKED .. "xyz\r\n", "BAD_REPLY" },
  { CHUNKED .. "1\r\nabc\r\n", "BAD_REPLY" },
  { CHUNKED .. ("f"):rep(16) .. "\r\n", "BAD_REPLY" },
  { OK .. "Content-Length: 2097153\r\n\r\n", "REPLY_TOO_LARGE" },
  { OK .. "Content-Length: 999999999999\r\n\r\n", "REPLY_TOO_LARGE" },
  { OK .. "Content-Length: 9999999999999\r\n\r\n", "BAD_REPLY" },
  { OK .. "\r\n" .. ("x"):rep(2097153), "REPLY_TOO_LARGE" },
  { CHUNKED .. ("100000\r\n" .. ("x"):rep(1048576) .. "\r\n")
    :rep(3), "REPLY_TOO_LARGE" },
  { CHUNKED .. ("1\r\nx\r\n"):rep(20000), "REPLY_TOO_LARGE" },
  { OK .. "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "BAD_REPLY" },
  { OK .. "X: " .. ("x"):rep(70000) .. "\r\n\r\n", "BAD_REPLY" },
  { OK .. ("X: y\r\n"):rep(20000) .. "\r\n", "BAD_REPLY" },
  { ("x"):rep(100000), "BAD_REPLY" },
  { ("HTTP/1.1 100 Continue\r\n\r\n"):rep(20), "BAD_REPLY" },
}

describe("an HTTP answer #heavy", function()
  it("is read to its end, however its bytes come", function()
    for i, case in ipairs(GOOD) do
      for _, size in ipairs { 1, 2, 3, 7, 100000 } do
        local answer, failure = read(case[1], size)
        assert(answer, i .. ": " .. tostring(failure))
        assert.same({ case[2], case[3] }, { answer.status, answer.body }, tostring(i))
        if size == 100000 or case[4] then assert.equal(case[4], answer.keeps, tostring(i)) end
      end
    end
    assert.equal("now", read(GOOD[2][1]).date)
  end)

  it("is refused where it is not one, or has no bounds", function()
    for i, case in ipairs(BAD) do
      for _, size in ipairs { 5, 16384 } do
        local answer, failure = read(case[1], size)
        assert.is_nil(answer, tostring(i))
        assert.equal(case[2], failure, tostring(i))
      end
    end
  end)

  it("is cut at any byte without being taken for whole", function()
    for i, case in ipairs(GOOD) do
      local text = case[1]:gsub("and more$", "")
      for len = 0, case[4] and #text - 1 or 0 do
        local answer, failure = read(text:sub(1, len), 4)
        assert.is_nil(answer, ("%d cut at %d"):format(i, len))
        assert.equal("CUT", failure)
      end
    end
  end)

  it("that does not come in time is no answer", function()
    local _, failure = read(OK .. "Content-Length: 5\r\n\r\nab", 10, "timeout")
    assert.equal("TIMEOUT", failure)
  end)

  it("raises what is no matter of the network", function()
    assert.has_error(function()
      http.read { receiveany = function() error("out of luck", 0) end }
    end, "out of luck")
  end)
end)

describe("a POST #heavy", function()
  it("has its length and its host", function()
    assert.equal("POST /v4/x?a=b HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\n"
      .. "Content-Length: 2\r\n\r\n{}", table.concat(http.post("h:1", "/v4/x?a=b", "{}")))
  end)
end)
