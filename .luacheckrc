-- luacheck: the library keeps to what Lua 5.4, 5.3, 5.1 and LuaJIT share.
std = "min"
max_line_length = 100
read_globals = { "jit", "unpack", table = { fields = { "unpack" } } } -- where they are there
self = false -- methods of look-alikes take self whether they need it or not
exclude_files = { "build/**" }

files["lua/imattr/transport/cosocket.lua"].std = "ngx_lua+min"
for _, name in ipairs { "backlog", "batcher", "driver", "ending", "metrics", "settings" } do
  files["lua/imattr/" .. name .. ".lua"].std = "ngx_lua+min"
end
files["lua/imattr/sandbox/**"].std = "ngx_lua+min"
files["spec/**"].std = "max+busted"
files["spec/faults/inside.lua"].std = "ngx_lua+max"
files[".busted"].std = "max"
