-- raises: no target but the proof that targets in Lua are watched: the input is run as Lua.

return function(bytes)
  assert(load(bytes))()
end
