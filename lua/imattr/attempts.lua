-- attempts: what is noted of the requests of a run from when they leave to when they are back: for
-- metrics, and for who traces.

local metrics = require "imattr.metrics"
local redact = require "imattr.redact"

local attempts = {}
attempts.__index = attempts

--- One attempt of a request, when it is back.
---@class imattr.Attempt
---@field method string
---@field url string without the signature
---@field address string host and port
---@field status integer? of HTTP
---@field error_type string? the vendor's code, or what went wrong; nil: all is well
---@field resend_count integer attempts before it
---@field resend_class string? why it was sent again: what the answer before meant
---@field users integer
---@field seconds number

---@class imattr.Attempts
---@field flying { [integer]: table } requests on their way, by id

---@param now_us fun(): integer
---@return imattr.Attempts
function attempts.new(now_us)
  return setmetatable({
    flying = {},
    _now_us = now_us,
    _last_kind = "retry", -- of the answer before: why there is another attempt
  }, attempts)
end

--- A request leaves.
---@param id integer
---@param base string
---@param target string
---@param users integer
---@param attempt integer 1 for the first
function attempts:leave(id, base, target, users, attempt)
  self.flying[id] = { at_us = self._now_us(), base = base, target = target, users = users,
    attempt = attempt, resend_class = attempt > 1 and self._last_kind or nil }
end

--- It is back.
---@param reply imattr.Reply
---@param verdict imattr.Verdict
---@return table flight for `count` and `info`
function attempts:back(reply, verdict)
  local flight = self.flying[reply.id]
  self.flying[reply.id] = nil
  flight.seconds = (self._now_us() - flight.at_us) / 1e6
  flight.http_status = reply.http_status
  if reply.status ~= "OK" then
    flight.error_type = reply.status
  elseif verdict.kind ~= "delivered" then
    flight.error_type = ("%.0f"):format(verdict.code)
  end
  self._last_kind = verdict.kind ~= "delivered" and verdict.kind or self._last_kind
  return flight
end

--- Counts it.
---@param attempt imattr.Attempt or what `back` gave
function attempts.count(attempt)
  metrics.add("imattr_requests_total", "code", attempt.error_type or "0")
  metrics.observe("imattr_request_duration_seconds", attempt.seconds)
  if attempt.resend_class then
    metrics.add("imattr_retries_total", "class", attempt.resend_class)
  end
end

--- What who traces is told of it.
---@param flight table
---@return imattr.Attempt
function attempts.info(flight)
  return {
    method = "POST",
    url = redact.text(flight.base .. flight.target),
    address = flight.base:match("//(.*)$"),
    status = flight.http_status,
    error_type = flight.error_type,
    resend_count = flight.attempt - 1,
    resend_class = flight.resend_class,
    users = flight.users,
    seconds = flight.seconds,
  }
end

return attempts
