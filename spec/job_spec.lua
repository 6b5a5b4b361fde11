-- The job file: which rows have their fate, whatever became of the process that wrote it.

local job = require "imattr.cli.job"
local process = require "support.process"
local shell = require "imattr.sandbox.shell"
local store = require "imattr.job"

local folder, input, opened

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function settle(from, to, fate)
  for row = from, to do opened:settle(row, fate or "done") end
end

-- Leaves the file without a commit, as a process does that is killed.
local function reopen(mode)
  opened:close()
  opened = assert(job.open(input .. ".imattr", mode or "write"))
end

local function settled_rows(most)
  local rows = {}
  for row = 1, most do
    if opened:is_settled(row) then rows[#rows + 1] = row end
  end
  return rows
end

-- What sqlite says, through a connection of its own.
local function ask(sql)
  local db = assert(store.open(opened.path, "read"))
  local value = db:run(sql)
  db:close()
  return value
end

describe("a job", function()
  before_each(function()
    folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-job-XXXXXX"')
    input = folder .. "/users.csv"
    write(input, "To_Account,city\na,x\n")
    opened = assert(job.create(input, { command = "set_attr", arguments = job.encoded { n = 1 } }))
  end)
  after_each(function()
    if opened then opened:close() end
    shell.remove_folder(folder)
  end)

  it("lies beside its input, for its owner alone, and knows what it was begun with", function()
    assert.equal(input .. ".imattr", opened.path)
    assert.equal("600", shell.output("stat -c %a " .. opened.path))
    reopen()
    assert.equal("set_attr", opened:get("command"))
    assert.same({ n = 1 }, opened:arguments())
    assert.is_nil(opened:get("nothing"))
    assert.equal(shell.output("realpath " .. input), opened:get("input"))
  end)

  it("knows after a commit which rows have their fate, in whatever order they came", function()
    settle(1, 100)
    settle(201, 300)
    settle(401, 500)
    assert(opened:commit())
    reopen()
    assert.equal(100, opened.settled_to)
    assert.equal(300, #settled_rows(600))
    assert.is_true(opened:is_settled(201))
    assert.is_false(opened:is_settled(101))
    settle(101, 200)
    assert(opened:commit())
    reopen()
    assert.equal(300, opened.settled_to)
    settle(301, 400)
    assert(opened:commit())
    reopen()
    assert.equal(500, opened.settled_to)
    assert.equal(500, opened.counts.done)
  end)

  it("forgets what was not committed, and nothing else", function()
    settle(1, 10)
    assert(opened:commit())
    settle(11, 20)
    reopen()
    assert.equal(10, opened.settled_to)
  end)

  it("leaves rows open that are unknown or not sent", function()
    opened:settle(1, "unknown")
    opened:settle(2, "not_sent")
    settle(3, 3)
    assert(opened:commit())
    reopen()
    assert.same({ 3 }, settled_rows(5))
  end)

  it("agrees with a plain set, whatever comes in whatever order, and however often it is reopened",
    function()
      local random = require("support.virtual").random(7)
      local wanted, open_rows = {}, {}
      for row = 1, 2000 do open_rows[row] = row end
      while #open_rows > 0 do
        for _ = 1, math.min(#open_rows, random(60)) do
          local row = table.remove(open_rows, random(math.min(#open_rows, 150)))
          wanted[row] = true
          opened:settle(row, "done")
        end
        assert(opened:commit())
        if random(4) == 1 then reopen() end
        for row = 1, 2000 do
          if opened:is_settled(row) ~= (wanted[row] or false) then error("row " .. row) end
        end
      end
      assert.equal(2000, opened.settled_to)
      reopen()
      assert(ask("SELECT count(*) FROM settled") < 200)
    end)

  it("keeps the users that failed, for whoever asks", function()
    opened:settle(1, "refused", { line = 2, account = "a", code = "90033", message = "no such name",
      raw = "a,x" })
    opened:settle(2, "invalid", { line = 3, code = "ROW_TOO_SHORT", message = "too short" })
    assert(opened:commit())
    reopen("read")
    local rows = {}
    for row, line, account, fate, code, message, raw in opened:failures() do
      rows[#rows + 1] = { row, line, account or "-", fate, code, message, raw or "-" }
    end
    assert.same({ { 1, 2, "a", "refused", "90033", "no such name", "a,x" },
      { 2, 3, "-", "invalid", "ROW_TOO_SHORT", "too short", "-" } }, rows)
    assert.equal(1, ask("SELECT count(*) FROM failures WHERE code = '90033'"))
  end)

  it("is written by one process, and read by any", function()
    local other, message = job.open(opened.path, "write")
    assert.is_nil(other)
    assert.equal(opened.path .. ": another process works on it", message)
    local reader = assert(job.open(opened.path, "read"))
    assert.is_true(reader:is_running())
    settle(1, 7)
    assert(opened:commit())
    assert.equal(7, assert(job.open(opened.path, "read")).settled_to)
    opened:close()
    assert.is_false(reader:is_running())
    reader:close()
    opened = assert(job.open(input .. ".imattr", "write"))
  end)

  it("is begun once", function()
    opened:close()
    local other, message = job.create(input, {})
    assert.is_nil(other)
    assert.equal(input .. ".imattr: there is a job already; go on with: imattr resume, or take the "
      .. "file away", message)
    reopen()
  end)

  it("is begun anew where a process died before it had begun it", function()
    for _, left in ipairs { "", "create" } do
      opened:close()
      os.remove(opened.path)
      if left == "" then write(opened.path, "") else
        assert(store.open(opened.path, "create")):close()
      end
      opened = assert(job.create(input, { command = "set_attr" }))
      assert.equal("set_attr", opened:get("command"))
    end
  end)

  it("knows its input again, and one that was changed", function()
    assert.is_nil(opened:problem_of_input())
    local what = "changed since the job began (%s); begin a new job, or put the old file back"
    local path = opened:get("input")
    write(input, "To_Account,city\na,xy\n")
    assert.equal(path .. ": " .. what:format("size"), opened:problem_of_input())
    write(input, "To_Account,city\na,y\n")
    assert.equal(path .. ": " .. what:format("time"), opened:problem_of_input())
    os.execute(("touch -d @%s %s"):format(opened:get("time"), input))
    assert.equal(path .. ": " .. what:format("hash"), opened:problem_of_input())
    write(input, "To_Account,city\na,x\n")
    os.execute(("touch -d @%s %s"):format(opened:get("time"), input))
    assert.is_nil(opened:problem_of_input())
    os.remove(input)
    assert.equal(path .. ": No such file or directory", opened:problem_of_input())
  end)

  it("says what is no job", function()
    local path = folder .. "/other"
    write(path, ("no database "):rep(100))
    local other, message = job.open(path, "read")
    assert.is_nil(other)
    assert.equal(path .. ": file is not a database", message)
    os.remove(path)
    other, message = job.open(path, "write")
    assert.is_nil(other)
    assert.equal(path .. ": No such file or directory", message)
    assert(store.open(path, "create")):close()
    other, message = job.open(path, "read")
    assert.is_nil(other)
    assert.equal(path .. ": the job was not begun, nothing was sent; begin it with: imattr set "
      .. "--job", message)
  end)

  it("is refused when it counts other rows than it knows", function()
    settle(1, 10)
    settle(21, 30)
    assert(opened:commit())
    for _, damage in ipairs {
      "UPDATE job SET value = 11 WHERE name = 'settled_to'",
      "UPDATE job SET value = 'ten' WHERE name = 'settled_to'",
      "UPDATE job SET value = -3 WHERE name = 'refused'",
      "UPDATE job SET name = 'Done' WHERE name = 'done'",
      "UPDATE settled SET last = 9007199254740991",
      "UPDATE settled SET first = 20",
      "DELETE FROM settled",
    } do
      opened:close()
      local bytes = shell.read(opened.path)
      local db = assert(store.open(opened.path, "write"))
      assert(db:run(damage))
      db:close()
      local other, message, is_no_job = job.open(opened.path, "read")
      assert.same({ nil, opened.path .. ": damaged", true }, { other, message, is_no_job }, damage)
      write(opened.path, bytes)
      opened = assert(job.open(opened.path, "write"))
    end
    assert.equal(20, #settled_rows(40))
  end)

  it("says when the disk is full, and writes what it could not when there is room #slow", function()
    local place = folder .. "/small"
    local mounted = process.run { "sh", "-c",
      ("mkdir %s && mount -t tmpfs -o size=96k none %s"):format(place, place) }
    if mounted.code ~= 0 then return pending("no right to mount: " .. mounted.stderr) end
    finally(function() process.run { "umount", place } end)
    write(place .. "/users.csv", "To_Account\n")
    local full = assert(job.create(place .. "/users.csv", {}))
    local ok, message = true, nil
    local row = 0
    while ok do
      row = row + 1
      full:settle(row, "refused", { line = row, code = "90033", message = ("x"):rep(300) })
      ok, message = full:commit()
      assert(row < 1000)
    end
    assert.equal(full.path .. ": database or disk is full", message)
    process.run { "mount", "-o", "remount,size=1m", place }
    assert(full:commit())
    full:close()
    full = assert(job.open(place .. "/users.csv.imattr", "read"))
    assert.equal(row, full.settled_to)
    full:close()
  end)
end)
