-- What the measuring programs of this folder share: commands, and a server that goes away.
local bench = {}

-- Runs a shell command; returns what it prints. Raises when it fails.
function bench.sh(command, ...)
  local line = command:format(...)
  local pipe = assert(io.popen(line))
  local output = pipe:read("a")
  assert(pipe:close(), "failed: " .. line)
  return (output:gsub("%s+$", ""))
end

function bench.read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

-- Calls task(dir) while spec/bench/server runs in a temporary folder. `prepare` is a shell command
-- for that folder, before the server starts. Returns what the task returns; raises what it raises,
-- after the server is stopped and the folder gone.
function bench.with_server(prepare, delay_ms, task)
  local dir = bench.sh("mktemp -d")
  local results = table.pack(pcall(function()
    bench.sh("cd %s && %s", dir, prepare)
    bench.sh("spec/bench/server start %s %d", dir, delay_ms)
    return task(dir)
  end))
  os.execute(("spec/bench/server stop %s; rm -rf %s"):format(dir, dir))
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

return bench
