-- The figures of a run in a file, as Prometheus reads it (the textfile collector of node_exporter):
-- written beside its place and renamed, so that who reads it sees the whole.

local attempts = require "imattr.attempts"
local imattr = require "imattr"
local metrics = require "imattr.metrics"
local output = require "imattr.cli.output"
local text = require "imattr.cli.text"

local figures = {
  PAUSE_S = 15, -- between two writes: how often Prometheus usually asks
}
figures.__index = figures

---@class imattr.cli.figures
---@field requests integer sent so far
---@field waiting integer users
---@field failure string? why the file could not be written, the last time that was tried

---Writes text to a file's place at once; nil and a message when it cannot.
local function replace(self, content)
  local file, message = self._io.open(self._place, "wb")
  if not file then
    return nil, message
  end
  local ok
  ok, message = file:write(content)
  if ok then
    ok, message = file:flush()
  end
  file:close()
  if ok and self._place ~= self._path then
    ok, message = os.rename(self._place, self._path)
  end
  return ok, message
end

---Counts the users that have their fate since the last time.
local function count_users(self)
  for state, count in pairs(self._counts) do
    local before = self._counted[state] or 0
    if count > before then
      metrics.add("imattr_users_total", "state", state, count - before)
      self._counted[state] = count
    end
  end
end

---Opens the file and writes it for the first time.
---@param path string
---@param io table the io library, or one like it
---@param run { counts: table<string, integer>, quota: number } users by fate, which are read when
---  the file is written
---@param now_s number
---@return imattr.cli.figures?
---@return string? message
function figures.open(path, io, run, now_s)
  local self = setmetatable({
    requests = 0,
    waiting = 0,
    _back = 0, -- of the requests
    _path = path,
    _place = output.is_plain(path) and path .. ".part" or path,
    _io = io,
    _counts = run.counts,
    _counted = {},
  }, figures)
  metrics.watch(function(set)
    set("imattr_inflight", math.max(0, self.requests - self._back))
    set("imattr_queue_users", self.waiting)
    set("imattr_rate_limit", run.quota)
  end)
  self:write(now_s)
  if self.failure then
    return nil, self.failure
  end
  return self
end

---A request is back.
---@param attempt imattr.Attempt
function figures:attempt(attempt)
  self._back = self._back + 1
  attempts.count(attempt)
end

---Writes the file.
---@param now_s number
---@return boolean is_news could it not be written, where it could the last time?
function figures:write(now_s)
  local before = self.failure
  self._written_s = now_s
  count_users(self)
  local ok, message = replace(self, imattr.metrics())
  self.failure = not ok and "metrics: " .. text.visible(message) or nil
  return self.failure ~= nil and not before
end

---Nothing is on its way any more.
function figures:finish()
  self.requests, self.waiting = self._back, 0
end

---Writes the file when it is time to.
---@param now_s number
---@return boolean is_news
function figures:tick(now_s)
  return now_s - self._written_s >= figures.PAUSE_S and self:write(now_s)
end

return figures
