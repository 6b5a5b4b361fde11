-- UserSigs made by the vendor's own package (tls-sig-api-v2 1.0.2 on Node 20.20.2, with a fixed
-- clock). Versions of zlib pack the same JSON differently: compare what is inside, not the string.

-- The vendor's published sample key.
local KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"

return {
  {
    sdkappid = 1400000000, identifier = "administrator", time = 1700000000, expire = 15552000,
    key = KEY,
    sig = "JCzxanF8NTTXau4m+2h9wv7gYJnyNksm0xm1NEXU274=",
    usersig = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZkpSlaGJgZQAJEp"
      .. "ycxNVbIyNEcVTa0oyCwCiZuamhrBRYsz05WslLycqyoS89ws-EJCIhJLTXK1jTIsy8vM0yO98ir9sotzDSpy"
      .. "Df1cI0KNzE1slWoBQr40pw__",
  },
  {
    sdkappid = 1400000000, identifier = "administrator", time = 1767225600, expire = 86400,
    key = KEY,
    sig = "FiOAv4qPlFvKi6Scg/++v1AKHZfdFD4+KQwOREPWQiI=",
    usersig = "eJw1ytEKgjAYBeB3*W8Nc2PNGHQhlBQL1AyC7oab8lOazbGC6N0D03N3vnM*cD6WoTcWBNAwgsXYUZvOYY0j"
      .. "K91ih4Ozyj3sdBj0TfU9ahCERVP*i8PWgCAxjyld8VnNu0drQKw5m2nABgSkmCWePfN76iXysmqWQeBJIvfX"
      .. "WqdbFsjilZ12*aXAwwa*P6wLM1w_",
  },
  {
    sdkappid = 20009999, identifier = "admin", time = 1700000001, expire = 604800,
    key = ("a"):rep(64),
    sig = "EfGDLe/J/woFvOKKL+I0aNxMf/sExJAcn7uHmPN2bs4=",
    usersig = "eJwtzF8LgjAUBfDvcl8Ldx2SbdBDkP1Rs6C*wGozLjEbajaIvnvgPG-nd*B84VpeosG0IIFHCPOxkzZNTzWN"
      .. "rLSlZho6-VTOkQbJEVEIIYL3ZA3IOMWQOKjxjloDcoHJEnF6oAdIyOrdpjQsZ5-XdjgVRTk7oKr8sWZd5vP1"
      .. "vUnfe3uu*K1LVvD7A2RsMAY_",
  },
  {
    sdkappid = 1600123456, identifier = "user_01-AZ", time = 1735689599, expire = 3600,
    key = ("0123456789abcdef"):rep(4),
    sig = "PUoxeQ/v+YpNy9bsiWDhRBDAZ0ASwvJoYo+bZ03yn2E=",
    usersig = "eJwtjMEKgkAUAP-lXS176*bWLnQw7BIRlUXoJRK3ekS6rGZK9O*BepwZmC8cN5FbawsKPBdh1DFlOq-oRp1*"
      .. "l9pekI2DZKhl9rwaQxkoJhCZx6e*6EtFLw2Kzbgv5tKXsre6MWQ1KC4QhwPdQcHuVDR6P6md2GxbmZZ0Dh*H"
      .. "ZRgkGESfel3EhZMmyNvcWy3g9wdgzTH6",
  },
  {
    sdkappid = 1400000000, identifier = "Ab0123456789_-Ab0123456789_-0123",
    time = 1750000000, expire = 1,
    key = KEY,
    sig = "bl2E3F7VWLiGmxNEZbRgqXk99+hF1jlujvDggaIv9Rc=",
    usersig = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwo5JBoZGxiamZuYWlvG6qDwQG6qnOCU7saAgM0XJytDE"
      .. "AAogMiWZualKVobmpiiiqRUFmUUgcaj2zHQlK6WkHCNXYzfzsHCfTPfcCj-XqKSg9MKIbEtL7Qw3w6yc0qwy"
      .. "l-T0RM8yy6BkW6VaAOcJNS4_",
  },
  {
    sdkappid = 1400000000, identifier = "张小红", time = 1700000000, expire = 86400,
    key = KEY,
    sig = "AZ89NzUMLX3Ngu1NUsmxkvkdRMIW/NaQ4+K0x2P7HYU=",
    usersig = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwk-3LHi6of-5rkVQyeKU7MSCgswUJStDEwMogMiUZOam"
      .. "KlkZmqOKplYUZBalKllZmJnAhIoz05WslByjLCz9qkJ9fSKM-dJLDf1Ci3MrssuyU4J8PcP1-RIDTbS9DSqM"
      .. "Asw9IkNtlWoBDq40oA__",
  },
  { -- its room is a number
    sdkappid = 1400000000, identifier = "xiaojun", time = 1700000000, expire = 86400,
    key = KEY,
    userbuf = "AAAHeGlhb2p1blNyTgAAACcQZVVCgAAAAP8AAAAA",
    sig = "m5WPLBP4ZpMhjE/+GSzmHQEKbLMxsvWih1uhJTQ0sPw=",
  },
  { -- its room is a string
    sdkappid = 1400000000, identifier = "xiaojun", time = 1700000000, expire = 86400,
    key = KEY,
    userbuf = "AQAHeGlhb2p1blNyTgAAAAAAZVVCgAAAAP8AAAAAAAoxMDAwMDAwMDQw",
    sig = "WC9WQHdrADDMRhgQxhGTBb97QmZ0mCG1Poz6eIf9f7w=",
  },
}
