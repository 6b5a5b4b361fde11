-- metrics: what a process counts, as Prometheus reads it.
--
-- Each worker of nginx counts by itself. With `lua_shared_dict imattr 1m;` in nginx.conf they add
-- up, and every scrape sees all of them; without it a scrape sees the worker that it meets. No
-- account, key or attribute is ever part of a name or a label.

local metrics = {}

-- Gauges of a worker that has gone are forgotten after this.
local GAUGE_S = 10

local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 }

-- Name, type, what it is.
local KNOWN = {
  { "imattr_posts_total", "counter", "Updates offered to a batcher, by its answer." },
  { "imattr_users_total", "counter", "Updates that have their fate, by fate." },
  { "imattr_spooled_users_total", "counter", "Updates left in a spool for the next worker." },
  { "imattr_claimed_users_total", "counter", "Updates taken up from a spool." },
  { "imattr_requests_total", "counter", "Requests that are back, by the vendor's code (0: done) "
    .. "or by what went wrong." },
  { "imattr_retries_total", "counter", "Requests sent again, by what came before." },
  { "imattr_request_duration_seconds", "histogram", "Time from sending a request to its answer." },
  { "imattr_inflight", "gauge", "Requests on their way." },
  { "imattr_queue_users", "gauge", "Updates that wait." },
  { "imattr_queue_oldest_seconds", "gauge", "Age of the oldest update without a fate." },
  { "imattr_rate_limit", "gauge", "Requests per second allowed; 0: no limit." },
  { "imattr_build_info", "gauge", "1, with the version as a label." },
}

local unsent = {} -- series -> what was counted since the figures were shared last
local known_series = {} -- name and label's value -> the series; there are few
local sums = {} -- series -> the sum, where there is no shared dict
local gauges = {} -- functions that set gauges: set(name, value)

-- Where the workers of nginx add up; nil: nowhere.
local function shared_dict()
  return ngx and ngx.shared.imattr
end

--- Counts.
---@param name string
---@param label string? "state"
---@param value string? "done"
---@param count number? default 1
function metrics.add(name, label, value, count)
  local series = name
  if label then
    series = known_series[name .. value]
  end
  if not series then
    series = ('%s{%s="%s"}'):format(name, label, value)
    known_series[name .. value] = series
  end
  unsent[series] = (unsent[series] or 0) + (count or 1)
end

--- Puts a duration into a histogram.
---@param name string
---@param seconds number
function metrics.observe(name, seconds)
  for _, bound in ipairs(BUCKETS) do
    if seconds <= bound then
      metrics.add(name .. "_bucket", "le", tostring(bound))
      break
    end
  end
  metrics.add(name .. "_sum", nil, nil, seconds)
  metrics.add(name .. "_count")
end

--- Has a function asked for gauges whenever the figures are shared. Gauges of one name add up, but
--- those of age, of which the largest counts.
---@param ask fun(set: fun(name: string, value: number))
function metrics.watch(ask)
  gauges[#gauges + 1] = ask
end

---@param ask function
function metrics.unwatch(ask)
  for i = #gauges, 1, -1 do
    if gauges[i] == ask then
      table.remove(gauges, i)
    end
  end
end

local function is_age(name)
  return name:find("oldest", 1, true) or name == "imattr_rate_limit"
end

local function join(into, name, value)
  local before = into[name] or 0
  into[name] = is_age(name) and math.max(before, value) or before + value
end

-- What this worker's gauges say.
local function ask_gauges()
  local now = {}
  for _, ask in ipairs(gauges) do
    ask(function(name, value) join(now, name, value) end)
  end
  return now
end

--- Shares what this worker has counted with the others. Cheap; a batcher does it once a second.
function metrics.share()
  local dict = shared_dict()
  for series, count in pairs(unsent) do
    if not dict or not dict:incr("c|" .. series, count, 0) then
      sums[series] = (sums[series] or 0) + count
    end
    unsent[series] = nil
  end
  if dict then
    for name, value in pairs(ask_gauges()) do
      dict:set(("g|%s|%d"):format(name, ngx.worker.pid()), value, GAUGE_S)
    end
  end
end

-- The sums of all workers: counters and gauges.
local function collect()
  local dict, counted, measured = shared_dict(), {}, {}
  for series, count in pairs(sums) do
    counted[series] = count
  end
  for _, key in ipairs(dict and dict:get_keys(0) or {}) do
    local kind, name = key:match("^([cg])|(.-)|?%d*$")
    local value = kind and dict:get(key)
    if value and kind == "c" then
      counted[name] = (counted[name] or 0) + value
    elseif value then
      join(measured, name, value)
    end
  end
  return counted, dict and measured or ask_gauges()
end

local function number(value)
  return value == math.floor(value) and ("%.0f"):format(value) or ("%.6f"):format(value)
end

-- The lines of a histogram; its buckets hold one another.
local function histogram(lines, name, counted)
  local below = 0
  for _, bound in ipairs(BUCKETS) do
    local series = ('%s_bucket{le="%s"}'):format(name, tostring(bound))
    below = below + (counted[series] or 0)
    lines[#lines + 1] = series .. " " .. number(below)
  end
  local count = number(counted[name .. "_count"] or 0)
  lines[#lines + 1] = ('%s_bucket{le="+Inf"} %s'):format(name, count)
  lines[#lines + 1] = name .. "_sum " .. number(counted[name .. "_sum"] or 0)
  lines[#lines + 1] = name .. "_count " .. count
end

-- The lines of a counter, sorted.
local function counter(lines, name, counted)
  local own = {}
  for series, value in pairs(counted) do
    if series == name or series:sub(1, #name + 1) == name .. "{" then
      own[#own + 1] = series .. " " .. number(value)
    end
  end
  table.sort(own)
  for _, line in ipairs(own) do
    lines[#lines + 1] = line
  end
end

--- The figures as Prometheus reads them.
---@param version string
---@return string
function metrics.text(version)
  metrics.share()
  local counted, measured = collect()
  measured[('imattr_build_info{version="%s"}'):format(version)] = 1
  local lines = {}
  for _, known in ipairs(KNOWN) do
    local name, kind, help = known[1], known[2], known[3]
    lines[#lines + 1] = ("# HELP %s %s"):format(name, help)
    lines[#lines + 1] = ("# TYPE %s %s"):format(name, kind)
    if kind == "histogram" then
      histogram(lines, name, counted)
    else
      counter(lines, name, kind == "counter" and counted or measured)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return metrics
