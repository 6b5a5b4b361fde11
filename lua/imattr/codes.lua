-- codes: what each of the vendor's error codes means, as one table.
--
-- The class says what the library does about a code:
--   retry       the same request again, after a while
--   rate        slower, then the same request again
--   hold        nothing for a minute, then the same request again, once; then it is `permission`
--   resign      the same request with a fresh UserSig, once; then it is `permission`
--   user        one user of the request may be the cause: the batch is halved down to him
--   caller      the request itself is wrong, whoever is in it: the run stops
--   permission  the signature or the right to call is wrong: the run stops
--   setup       the app, the host or the package is wrong: the run stops
-- The sentences are ours; meanings follow the vendor's error code pages.

local codes = {}

---@class imattr.Code
---@field code integer
---@field class string see above
---@field message string what it means
---@field hint string? what to do

local ROWS = {
  -- the REST gateway
  { 60002, "caller", "the HTTP request could not be parsed", "check the endpoint" },
  { 60003, "caller", "the request's JSON could not be parsed" },
  { 60004, "resign", "the account check failed", "check identifier and key" },
  { 60005, "resign", "the account check failed", "check identifier and key" },
  { 60006, "setup", "the SDKAppID is not valid", "check sdkappid" },
  { 60007, "rate", "the command's frequency limit is exceeded", "lower rate" },
  { 60008, "retry", "the service request timed out" },
  { 60009, "caller", "the command does not exist at this host", "check the endpoint" },
  { 60010, "permission", "the identifier is not an administrator of the app",
    "make it one in the console, or give another identifier" },
  { 60011, "rate", "the app's request frequency is exceeded", "lower rate" },
  { 60012, "caller", "the SDKAppID is missing from the request" },
  { 60013, "retry", "the vendor could not parse its own service's answer" },
  { 60014, "retry", "the account check timed out" },
  { 60015, "user", "an account is not a string" },
  { 60016, "setup", "the SDKAppID is disabled", "look at the app in the console" },
  { 60017, "setup", "the request is disabled for the app", "look at the app in the console" },
  { 60018, "rate", "requests come too often", "lower rate" },
  { 60019, "rate", "requests come too often", "lower rate" },
  { 60020, "setup", "the package is not bought, has expired or is in arrears",
    "look at the app's package in the console; a purchase takes 5 minutes to count" },
  { 60021, "setup", "this machine's IP address is not allowed", "ask the vendor's support" },
  { 60025, "caller", "a URL parameter is wrong", "check sdkappid and identifier" },
  { 60026, "setup", "the app belongs to another region than the host", "check region" },
  { 60027, "setup", "the app is not one of the Push product", "check service" },
  { 60028, "setup", "the trial edition's volume of 24 hours is used up",
    "wait a day, or buy a package" },
  -- accounts and signatures
  { 70001, "resign", "the UserSig has expired", "check this machine's clock" },
  { 70002, "resign", "the UserSig is empty" },
  { 70003, "resign", "the UserSig is not legal", "check key, or the usersig given" },
  { 70005, "resign", "the UserSig check failed", "check key, or the usersig given" },
  { 70009, "permission", "the signature does not verify with the app's key",
    "check that the key is the one of this sdkappid" },
  { 70013, "permission", "the UserSig was made for another identifier", "check identifier" },
  { 70014, "permission", "the UserSig was made for another SDKAppID", "check sdkappid" },
  { 70016, "setup", "the app's key is not found at this host",
    "check region: an app lives in one region only" },
  { 70020, "setup", "the SDKAppID is not found at this host",
    "check sdkappid and region: an app lives in one region only" },
  { 70050, "hold", "the UserSig check failed too often", "check the key, and wait a minute" },
  { 70051, "permission", "the account is on the block list" },
  { 70052, "resign", "the UserSig was made invalid" },
  { 70107, "user", "the account does not exist", "import the account first" },
  { 70114, "permission", "a security restriction applies", "ask the vendor's support" },
  { 70169, "retry", "the vendor's service timed out" },
  { 70202, "retry", "the vendor's service timed out" },
  { 70206, "user", "the number of accounts in a batch is not legal" },
  { 70346, "permission", "the signature is of a kind no longer used",
    "check that the key is the one of this sdkappid" },
  { 70398, "setup", "the app's quota of accounts is reached (trial edition: 100)" },
  { 70399, "setup", "a deleted account may not be imported again for three months" },
  { 70402, "user", "a parameter is not legal" },
  { 70403, "permission", "administrator rights are needed",
    "make the identifier an administrator in the console" },
  { 70500, "retry", "the vendor's service had an internal error" },
  { 72000, "setup", "the free quota of daily active users is exceeded" },
  { 72001, "setup", "the feature is off", "switch it on in the console" },
  { 72002, "setup", "the free quota of monthly active users is exceeded" },
  { 72011, "setup", "the feature is off", "switch it on in the console" },
  { 72012, "setup", "the feature is off", "switch it on in the console" },
  -- attributes, tags and push
  { 90001, "user", "the JSON or one of its fields is not as expected" },
  { 90003, "user", "the account is missing or does not exist", "import the account first" },
  { 90008, "user", "the account is missing or does not exist", "import the account first" },
  { 90009, "permission", "the identifier is not an administrator of the app",
    "make it one in the console, or give another identifier" },
  { 90012, "user", "the account is missing or does not exist", "import the account first" },
  { 90018, "user", "the request names too many accounts" },
  { 90020, "user", "a tag is longer than 50 bytes" },
  { 90032, "user", "more than 10 tags" },
  { 90033, "user", "an attribute is not valid; the usual cause is a name that is not registered",
    "register it with set_attr_name" },
  { 90034, "user", "an attribute value or a tag is too long" },
  { 90035, "user", "the attribute or tag belongs to the other kind of account" },
  { 90040, "user", "a tag is empty" },
  { 90045, "setup", "the push feature is not enabled",
    "console: Feature Configuration > Login and Message > Push to all users" },
  { 90047, "setup", "the day's push quota is used up" },
  { 90048, "user", "the account is missing" },
  { 90992, "retry", "the vendor's service had an internal error" },
  { 90994, "retry", "the vendor's service had an internal error" },
  { 90995, "retry", "the vendor's service had an internal error" },
  { 91000, "retry", "the vendor's service had an internal error" },
  { 93000, "caller", "the request is too long" },
}

-- A code that is in no row does what its range does.
local RANGES = {
  { 60000, 60999, "caller", "the REST gateway refused the request" },
  { 70000, 79999, "permission", "the account or its signature was refused" },
  { 90000, 90999, "user", "the service refused the request" },
  { 91000, 91999, "retry", "the vendor's service had an internal error" },
}

for _, row in ipairs(ROWS) do
  codes[row[1]] = { code = row[1], class = row[2], message = row[3], hint = row[4] }
end

local function of_range(code)
  for _, range in ipairs(RANGES) do
    if code >= range[1] and code <= range[2] then
      return { code = code, class = range[3], message = range[4] }
    end
  end
  return { code = code, class = "user", message = "the service refused the request" }
end

-- The table itself holds the rows alone, so that pairs() lists what is documented; an unknown
-- number is answered from its range.
return setmetatable(codes, {
  __index = function(_, code)
    return type(code) == "number" and of_range(code) or nil
  end,
})
