-- A plan's file and what a plan means by a change: users once, in order, a few at a time; whom a
-- request may have reached is on disk before it leaves.
local plan_change = require "imattr.cli.plan_change"
local plan_file = require "imattr.cli.plan_file"
local shell = require "imattr.sandbox.shell"
local store = require "imattr.job"

local NULL = plan_file.NULL

describe("a change of attributes", function()
  local cases = {
    { "of nothing", {}, {}, nil, nil, "" },
    { "that is none", { a = "1" }, { a = "1" }, nil, nil, "" },
    { "to a value", { a = "1" }, { a = "2" }, { a = "2" }, nil, "a: 1 -> 2" },
    { "where nothing was", {}, { a = "2" }, { a = "2" }, nil, "a: (none) -> 2" },
    { "of some of many", { a = "1", b = "2", c = "3" }, { a = "1", b = "x" }, { b = "x" }, nil,
      "b: 2 -> x" },
    { "to nothing", { a = "1" }, { a = NULL }, nil, { "a" }, "a: 1 -> (none)" },
    { "from nothing to nothing", {}, { a = NULL }, nil, nil, "" },
    { "from null to a value", { a = NULL }, { a = "1" }, { a = "1" }, nil, "a: (none) -> 1" },
    { "of both kinds", { a = "1", b = "2" }, { a = "2", b = NULL }, { a = "2" }, { "b" },
      "a: 1 -> 2, b: 2 -> (none)" },
    { "to the empty text", { a = "1" }, { a = "" }, { a = "" }, nil, "a: 1 -> " },
    { "that a terminal would act on", {}, { a = "\27[2J" }, { a = "\27[2J" }, nil,
      "a: (none) -> \\x1B[2J" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local set, remove = plan_change.of(case[2], case[3])
      assert.same({ case[4] or false, case[5] or false }, { set or false, remove or false })
      assert.equal(case[6], plan_change.words(case[2], case[3]))
    end)
  end

  it("is taken back by what was there before, whatever it was", function()
    local wanted = { a = "1", b = "2", c = NULL, d = NULL, e = "5" }
    local present = { a = "1", b = "x", c = "3" }
    local before = plan_change.before { wanted = wanted, present = present }
    assert.same({ a = "1", b = "x", c = "3", d = NULL, e = NULL }, before)
    local set, remove = plan_change.of(wanted, before)
    assert.same({ b = "x", c = "3" }, set)
    assert.same({ "e" }, remove)
  end)
end)

describe("a plan's file", function()
  local folder, input, path, file

  local function write(name, text)
    local opened = assert(io.open(name, "wb"))
    opened:write(text)
    opened:close()
  end

  before_each(function()
    folder = shell.output('mktemp -d "${TMPDIR:-/tmp}/imattr-plan-XXXXXX"')
    input, path = folder .. "/users.csv", folder .. "/plan"
    write(input, "To_Account,city\na,x\n")
    file = assert(plan_file.create(path, input, { sdkappid = 7 }))
  end)
  after_each(function()
    if file then file:close() end
    shell.remove_folder(folder)
  end)

  -- Leaves the file as a process does that is killed, and opens it again.
  local function reopen()
    file:close()
    file = assert(plan_file.open(path))
  end

  local function users(step)
    local list = {}
    for user in file:users(step) do list[#list + 1] = user end
    return list
  end

  it("is its owner's alone, and known by its first bytes", function()
    assert.equal("600", shell.output("stat -c %a " .. path))
    assert.is_true(plan_file.is_there(path, io))
    assert.is_false(plan_file.is_there(input, io))
    assert.is_false(plan_file.is_there(folder .. "/nothing", io))
    reopen()
    assert.equal(7, file:get "sdkappid")
  end)

  it("has a user once, with the last value of each attribute, where it was named first", function()
    file:add(2, "a", { city = "x", sex = "m" })
    file:add(3, "b", { city = "y" })
    file:add(4, "a", { city = "z", level = NULL })
    file:commit()
    reopen()
    assert.same({
      { number = 1, line = 4, account = "a", wanted = { city = "z", sex = "m", level = NULL },
        state = "read" },
      { number = 2, line = 3, account = "b", wanted = { city = "y" }, state = "read" },
    }, users "plan")
  end)

  it("keeps every byte of accounts and values", function()
    local odd = 'q"\\/\n\t\1\127é大😀'
    file:add(2, odd, { [odd] = odd })
    file:answer(1, "change", { [odd] = odd .. "2" })
    file:commit()
    reopen()
    local user = users "change"[1]
    assert.same({ odd, { [odd] = odd }, { [odd] = odd .. "2" } },
      { user.account, user.wanted, user.present })
  end)

  it("gives users in order, many more than it reads at once, while they change state #heavy",
    function()
      for i = 1, 2500 do file:add(i + 1, "u" .. i, { city = "x" }) end
      file:commit()
      local seen, last = 0, {}
      for user in file:users("plan", function(number) last[#last + 1] = number end) do
        seen = seen + 1
        assert.equal(seen, user.number)
        file:answer(user.number, user.number % 2 == 0 and "change" or "unchanged", {})
        if seen % 700 == 0 then assert.is_true(file:commit()) end
      end
      assert.equal(2500, seen)
      assert.same({ 1000, 2000, 2500 }, last)
      file:commit()
      local states = file:states()
      assert.same({ 1250, 1250, 0 }, { states.change, states.unchanged, states.applied })
      assert.same({ { name = "city", users = 1250 } }, file:changes())
    end)

  it("forgets what was not committed, and nothing else", function()
    file:add(2, "a", {})
    file:commit()
    file:move(1, "applied")
    reopen()
    assert.equal("read", users("all")[1].state)
  end)

  it("knows who may have been sent: users it announced, and no others", function()
    for i = 1, 4 do
      file:add(i, "u" .. i, { city = "x" })
      file:answer(i, "change", {})
    end
    assert.equal(0, file:count "undo")
    file:announce(2)
    reopen()
    assert.equal(2, file:count "undo")
    file:move(1, "applied")
    file:move(2, "failed")
    file:announce(1) -- never less
    file:commit()
    reopen()
    assert.same({ 1, 2 }, { file:count "undo", file:get "sent_to" })
    assert.equal("u1", users("undo")[1].account)
  end)

  it("counts the changes of each attribute", function()
    file:add(2, "a", { city = "x", sex = "m" })
    file:add(3, "b", { city = "x", sex = NULL })
    file:add(4, "c", { city = "x", level = NULL })
    file:answer(1, "change", { city = "y", sex = "m" })
    file:answer(2, "change", { sex = "f" })
    file:answer(3, "unchanged", { city = "x" })
    assert.same({ { name = "city", users = 2 }, { name = "sex", users = 1 } }, file:changes())
    assert.equal(2, file:requests()) -- one that sets, one that removes
  end)

  it("says why users failed, step by step", function()
    file:fail("plan", { line = 9, account = "a" }, "invalid", "NUL_BYTE", "a NUL byte")
    file:fail("plan", { line = 4 }, "invalid", "NUL_BYTE", "first")
    file:fail("undo", { line = 4, account = "b" }, "refused", "90033", "no such name")
    assert.same({ { fate = "invalid", code = "NUL_BYTE", count = 2, line = 4, message = "first" } },
      (file:reasons "plan"))
    file:forget_failures "undo"
    assert.same({}, (file:reasons "undo"))
    assert.equal(1, #file:reasons "plan")
  end)

  it("is not made over another file", function()
    local other, message = plan_file.create(path, input, {})
    assert.same({ "nil", path .. ": File exists" }, { tostring(other), message })
    file:close()
    for _, left in ipairs { "", "empty" } do -- of a process that died at the very beginning
      os.remove(path)
      if left == "" then write(path, "") else assert(store.open(path, "create")):close() end
      file = assert(plan_file.create(path, input, { sdkappid = 8 }))
      assert.equal(8, file:get "sdkappid")
      file:close()
    end
    file = nil
  end)

  it("is opened by one process, and only if it is one", function()
    local other, message = plan_file.open(path)
    assert.same({ "nil", path .. ": another process works on it" }, { tostring(other), message })
    local is_no_plan
    local cases = { { input, "file is not a database", true },
      { folder .. "/none", "No such file or directory" } }
    write(input, ("no database "):rep(100))
    for _, case in ipairs(cases) do
      other, message, is_no_plan = plan_file.open(case[1])
      assert.same({ "nil", case[1] .. ": " .. case[2], case[3] },
        { tostring(other), message, is_no_plan })
    end
    local empty = folder .. "/empty"
    assert(store.open(empty, "create")):close()
    other, message = plan_file.open(empty)
    assert.same({ "nil", empty .. ": not a plan, or one of another version of imattr" },
      { tostring(other), message })
  end)

  it("that nobody keeps has no name #heavy", function()
    local place = folder .. "/scratch"
    local scratch = assert(plan_file.scratch(place))
    for i = 1, 1500 do scratch:add(i, "u" .. i, { city = ("x"):rep(50) }) end
    assert.is_true(scratch:commit())
    assert.equal(1500, scratch:count "all")
    scratch:pick(7)
    assert.equal(7, scratch:count "sample")
    assert.equal("plan\nusers.csv", (shell.output("ls " .. folder):gsub("plan%-%l+\n", "")))
    scratch:close()
  end)

  it("is not taken when it is damaged", function()
    for i = 1, 500 do file:add(i, "u" .. i, { city = ("x"):rep(40) }) end
    file:commit()
    file:close()
    local damaged = assert(io.open(path, "r+b"))
    damaged:seek("set", 4096 * 5)
    damaged:write(("\255"):rep(4096))
    damaged:close()
    local other, message, is_no_plan = plan_file.open(path)
    assert.same({ "nil", path .. ": damaged", true }, { tostring(other), message, is_no_plan })
    file = nil
  end)

  it("tells its input from others, and from itself as it was", function()
    assert.is_nil(file:fault_of_input(input))
    write(folder .. "/other.csv", "To_Account,city\na,x\n")
    local own = shell.output("realpath " .. input)
    assert.equal(("%s: a plan of %s, not of %s/other.csv"):format(path, own, folder),
      file:fault_of_input(folder .. "/other.csv"))
    write(input, "To_Account,city\na,xy\n")
    assert.equal(own .. ": changed since the plan began (size); begin a new plan, or put the old "
      .. "file back", file:fault_of_input(input))
  end)
end)
