-- imattr remove: takes attributes away from the users of a file.

local bulk = require "imattr.cli.bulk"

local remove = {
  name = "remove",
  summary = "Removes attributes of the users in CSV or NDJSON files.",
  usage = "remove [options] FILE...",
  command = "remove_attr",
  plan = "to remove",
  done = "removed",
  takes_names = true,
  examples = {
    "imattr remove users.csv              what imattr set users.csv sets",
    "imattr remove --dry-run users.csv    checks it, sends nothing, needs no key",
    "imattr remove --job users.csv        survives anything: imattr resume goes on",
    "",
    "A CSV file is one that imattr set takes. A cell that is not empty stands for",
    "an attribute to remove, whatever it holds: here both of the first user, and",
    "the city of the second:",
    "  To_Account,sex,city",
    "  xiaojun012,m,Osaka",
    "  xiaojun013,,x",
    "NDJSON has one user a line, with names; values may stand beside them:",
    '  {"To_Account":"xiaojun012","Attrs":["sex","city"]}',
    '  {"To_Account":"xiaojun013","Attrs":{"city":"Osaka"}}',
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function remove.define(command)
  bulk.define(command)
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function remove.run(args, io)
  return bulk.run(remove, args, io)
end

return remove
