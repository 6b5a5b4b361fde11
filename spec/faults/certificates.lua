-- certificates: cells of the fault matrix: certificates and strangers, twelve rows. Who cannot be
-- trusted is told nothing: not a byte of HTTP reaches him, so no UserSig, and he is not asked
-- twice. Beside the bad certificates are their good likes: what is refused is refused for its fault
-- alone.

local answers = require "faults.answers"
local authority = require "faults.authority"
local cells = require "faults.cells"
local world = require "faults.world"

local matrix = cells.table()

local DEEP, FITTING = "x.a.b.localhost", "a.b.localhost" -- known to be loopback
local LOOPBACK = "IP:127.0.0.1,DNS:localhost,DNS:" .. FITTING

local BAD = { not_sent = 3, code = "TLS", class = "tls", whole = 0, bytes = 0 }
local GOOD = { done = 3 }

local stranger -- an authority that nobody trusts, made when it is first asked for

-- The path of a certificate, made when it is first asked for.
local made = {}
local function certificate_of(name, given)
  if not made[name] then
    local keys = world.keys
    if given.by == "stranger" then
      stranger = stranger or authority.new()
      keys = stranger
    end
    local changed = {}
    for key, value in pairs(given) do changed[key] = value ~= "stranger" and value or nil end
    made[name] = keys:issue("row" .. name:gsub("%W", "_"), changed)
  end
  return made[name]
end

local function add(name, certificate, wanted, more)
  local row = { name, surfaces = "call command" }
  for _, fields in ipairs { wanted, more or {} } do
    for key, value in pairs(fields) do row[key] = value end
  end
  local steps = row.plan or {}
  row.plan = function()
    local plan = { certificate = certificate and certificate_of(name, certificate),
      protocol = row.protocol }
    for i, step in ipairs(steps) do plan[i] = step end
    return plan
  end
  matrix:add(row)
end

local function day(days)
  return os.date("!%Y%m%d%H%M%SZ", os.time() + days * 86400)
end

add("1. a good certificate", { san = LOOPBACK }, GOOD)
add("1. a good certificate, by name", { san = LOOPBACK }, GOOD, { host = "localhost" })

add("2. the certificate of another host", { san = "DNS:other.localhost" }, BAD, { host = FITTING })
add("2. the certificate of another address", { san = "IP:127.0.0.2" }, BAD)
add("2. the right name, but not in the names of the certificate",
  { san = "DNS:other.localhost", cn = FITTING }, BAD, { host = FITTING })

add("3. a wildcard one level too deep", { san = "DNS:*.b.localhost" }, BAD, { host = DEEP })
add("3. a wildcard that fits", { san = "DNS:*.b.localhost" }, GOOD, { host = FITTING })
add("3. a wildcard for an address", { san = "DNS:*.0.0.1" }, BAD)

add("4. an expired certificate", { san = LOOPBACK, from = day(-20), to = day(-1) }, BAD)
add("5. a certificate that does not hold yet", { san = LOOPBACK, from = day(1), to = day(20) }, BAD)
add("6. a certificate that signed itself", { san = LOOPBACK, by = "self" }, BAD)
add("7. the certificate of an unknown authority", { san = LOOPBACK, by = "stranger" }, BAD)
add("7. the sandbox's authority unknown to a client with the system's", { san = LOOPBACK }, BAD,
  { surfaces = "call", options = { ca_file = "/etc/ssl/certs/ca-certificates.crt" } })

add("8. a missing intermediate certificate", { san = LOOPBACK, by = "absent" }, BAD)
add("8. an intermediate certificate in the chain", { san = LOOPBACK, by = "middle" }, GOOD)

add("9. a certificate for clients only", { san = LOOPBACK, usage = "clientAuth" }, BAD)
add("9. a certificate for clients and servers", { san = LOOPBACK,
  usage = "clientAuth,serverAuth" }, GOOD)

add("10. TLS 1.1 only", { san = LOOPBACK }, BAD, { protocol = "1.1" })
add("10. no TLS at all", nil, BAD, { plan = { { connect = "plain" } } })

add("11. an address, and a certificate for names", { san = "DNS:localhost" }, BAD)

-- 12. A connection that ends without TLS's word for it. In the handshake nothing is said yet; after
-- the request it counts as any other end.
add("12. an end in the handshake", nil, { not_sent = 3, code = "CUT", class = "network", whole = 0,
  bytes = 0, requests = 1 }, { plan = { { connect = "cut" } }, surfaces = "call",
  options = { attempts_max = 1 } })
add("12. an end without a word after the whole answer", nil, GOOD, { plan = { { ends = "cut" } } })
add("12. an end without a word after an answer without a length", nil, GOOD, {
  plan = { { answer = "HTTP/1.1 200 OK\r\n\r\n" .. answers.OK, ends = "cut" } } })
add("12. an end without a word within such an answer", nil, { done = 3, requests = 2 }, {
  plan = { { answer = "HTTP/1.1 200 OK\r\n\r\n" .. answers.OK:sub(1, 40), ends = "cut" } } })

--- How many of the twelve rows are in a list.
---@param list table of cells.lua
---@return integer
function matrix.count(list)
  local rows, count = {}, 0
  for _, cell in ipairs(list) do
    local number = cell.name:match(": (%d+)%. ")
    count = count + (number and not rows[number] and 1 or 0)
    rows[number or 0] = true
  end
  return count
end

--- Takes away what was made for them.
function matrix.remove()
  if stranger then stranger:remove() end
end

return matrix
