-- authority: a certificate authority for specs, made on the spot with the openssl command.
--
--   local authority = authority.new()           a root of its own
--   authority.ca_file                           the root's certificate
--   authority:issue("name", { san = "IP:127.0.0.1", ... })   a path: chain and key in one file
--   authority:remove()
--
-- A certificate: san (subjectAltName; none without), cn ("a server"), usage (extendedKeyUsage,
-- "serverAuth"), from and to (YYYYMMDDHHMMSSZ; they hold from 2000 to 2049, so that a clock may be
-- wrong, but for one that signed itself: a month), by: nil for the root,
-- "middle" for an authority under it whose certificate is in the chain, "absent" for one whose
-- certificate is not, "self" for its own signature.

local shell = require "imattr.sandbox.shell"

local authority = {}
authority.__index = authority

local CONF = [[
[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = policy
unique_subject = no
rand_serial = yes
copy_extensions = none
[policy]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = ignored
]]

local NEW_KEY = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Runs a script of sh in the folder; raises with what it printed when it fails.
function authority:run(script)
  local text, ok = shell.output(("umask 077; cd %s && %s"):format(shell.quote(self.folder), script))
  assert(ok, text)
end

-- A request `name`.csr and its key, and a certificate signed with that of `issuer` (nil: its own).
function authority:sign(name, issuer, subject, extensions, period)
  self:run(("openssl req -new -config conf %s -keyout %s.key -out %s.csr -subj '/CN=%s'"):format(
    NEW_KEY, name, name, subject))
  local by = issuer and ("-keyfile %s.key -cert %s.crt"):format(issuer, issuer)
    or ("-selfsign -keyfile %s.key"):format(name)
  self:run(("openssl ca -batch -notext -config conf -extfile %s -in %s.csr %s %s -out %s.crt")
    :format(extensions, name, by, period, name))
end

local function period_of(given)
  return ("-startdate %s -enddate %s"):format(given.from or "20000101000000Z",
    given.to or "20491231235959Z")
end

---@param name string
---@param given table? see above
---@return string path
function authority:issue(name, given)
  given = given or {}
  local lines = { "keyUsage = critical, digitalSignature",
    "extendedKeyUsage = " .. (given.usage or "serverAuth") }
  lines[3] = given.san and "subjectAltName = " .. given.san
  write(("%s/%s.ext"):format(self.folder, name), table.concat(lines, "\n") .. "\n")
  local subject = given.cn or "a server"
  if given.by == "self" then
    self:run(("openssl req -x509 -days 30 -config conf %s -keyout %s.key -out %s.crt "
      .. "-subj '/CN=%s' -addext '%s'"):format(NEW_KEY, name, name, subject, lines[3]))
  else
    self:sign(name, given.by and "middle" or "root", subject, name .. ".ext",
      period_of(given))
  end
  local chain = given.by == "middle" and "middle.crt" or ""
  self:run(("cat %s.crt %s %s.key >%s.pem"):format(name, chain, name, name))
  return ("%s/%s.pem"):format(self.folder, name)
end

function authority:remove()
  shell.remove_folder(self.folder)
end

---@return table
function authority.new()
  local self = setmetatable({
    folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-authority-XXXXXX"'),
  }, authority)
  self.ca_file = self.folder .. "/root.crt"
  write(self.folder .. "/conf", CONF)
  write(self.folder .. "/index.txt", "")
  local signs = "basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n"
  for _, name in ipairs { "root", "middle" } do
    write(("%s/%s.ext"):format(self.folder, name), signs)
    self:sign(name, name == "middle" and "root" or nil, "a " .. name, name .. ".ext", period_of {})
  end
  return self
end

return authority
