-- cosocket: the fault matrix over nginx's cosockets: which surfaces stand for libcurl's, and in
-- what the cells differ. See cells.lua for what that says.

local cosocket = {}

cosocket.SURFACES = { call = "location", coroutine = "timer", process = "location" }

local BROKEN = "nginx says of every broken handshake that it failed, and no more: taken for the "
  .. "network's fault, it is tried again"

--- Of network.lua.
cosocket.network = {
  ["a server without TLS"] = { BROKEN, code = "CUT", requests = 2 },
  ["IPv6 alive, IPv4 refused"] = {
    "nginx reads no /etc/hosts: localhost is 127.0.0.1 alone",
    done = false, not_sent = 3, code = "CONNECT", requests = 2, whole = 0, also = false },
  ["a name that is no name"] = "nginx asks a name server: there are cells for that",
  ["an end within the head of the answer every time"] = {
    "imattr's reader wants the head's last line", code = "CUT" },
  ["a kept connection closed in order before the next request"] = {
    "nginx drops a kept connection when anything comes over it", requests = 1 },
}

--- Of replies.lua.
cosocket.replies = {
  ["one line of 200 kB in the head"] = {
    "imattr's reader bounds a head, not its lines; it is no answer, and the request goes again",
    unknown = false, done = 3, code = false, requests = 2, forwarded = 1 },
}
for _, name in ipairs { "a Content-Length that is negative", "a Content-Length that is no number",
  "a chunk without a length", "a NUL byte in the head", "300 kB of head",
  "a chunk of 2^64 bytes and 50", "a chunk of 2^60 bytes", "a head without end",
  "chunks and an encoding that is none" } do
  cosocket.replies[name .. ", every time"] = { "libcurl says of such answers that they were cut; "
    .. "imattr's reader, that they are none", code = "BAD_REPLY" }
end

--- Of certificates.lua.
cosocket.certificates = {
  ["7. the sandbox's authority unknown to a client with the system's"] = {
    "nginx trusts what its own configuration names", options = false, path = "system" },
  ["10. TLS 1.1 only"] = { BROKEN, code = "CUT", class = "network", requests = 2 },
  ["10. no TLS at all"] = { BROKEN, not_sent = false, done = 3, code = false, class = false,
    bytes = false, whole = 1, requests = 2 },
  ["11. an address, and a certificate for names"] = {
    "nginx compares names alone, so an address of loopback goes by the name localhost",
    not_sent = false, done = 3, code = false, class = false, whole = 1, bytes = false },
}

--- Of refusals.lua: nothing.
cosocket.refusals = {}

return cosocket
