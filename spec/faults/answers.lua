-- answers: what a server may say in place of the sandbox, as the bytes that go over the wire.

local answers = {}

--- The answers of the vendor's pages, byte for byte.
answers.OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'
answers.DOCUMENTED = {
  answers.OK,
  '{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}',
  '{"ActionStatus":"FAIL","ErrorCode":90001,"ErrorInfo":"JSON format is wrong"}',
  '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ErrorList":[{"To_Account":"u2",'
    .. '"ErrorCode":70107,"ErrorInfo":"invalid user"}]}',
}

--- An HTTP answer: head and body with its right Content-Length, unless headers say another.
---@param body string
---@param status string? "502 Bad Gateway"
---@param headers string? whole lines
---@return string
function answers.http(body, status, headers)
  headers = headers or ""
  if not headers:find("ontent%-Length") and not headers:find("chunked") then
    headers = ("%sContent-Length: %d\r\n"):format(headers, #body)
  end
  return ("HTTP/1.1 %s\r\nServer: vendor\r\nContent-Type: application/json\r\n%s\r\n%s"):format(
    status or "200 OK", headers, body)
end

--- The vendor's no.
---@param code integer|string
---@param info string? as JSON text, without its quotes
---@return string
function answers.no(code, info)
  return answers.http(('{"ActionStatus":"FAIL","ErrorCode":%s,"ErrorInfo":"%s"}'):format(code,
    info or "no"))
end

return answers
