-- imattr set: brings the users of a file to the service.

local bulk = require "imattr.cli.bulk"
local flags = require "imattr.cli.flags"

local set = {
  name = "set",
  summary = "Sets attributes of the users in CSV or NDJSON files.",
  usage = "set [options] FILE...",
  command = "set_attr",
  plan = "would set",
  done = "set",
  examples = {
    "imattr set users.csv",
    "imattr set --dry-run users.csv       checks it, sends nothing, needs no key",
    "imattr set --job users.csv           survives anything: imattr resume goes on",
    "imattr set users.csv.rejects.csv     sends what failed, once it is mended",
    "imattr set users.csv.gz              reads gzip, as standard input (-) too",
    "imattr set --columns account=uid,city=town export.csv",
    "imattr set --deadline 06:00 big.csv  stops then, and says how to go on",
    "",
    "A CSV file has To_Account as its first column, then a column per attribute;",
    "an empty cell leaves that attribute alone:",
    "  To_Account,sex,city",
    "  xiaojun012,m,Osaka",
    "NDJSON has one user a line:",
    '  {"To_Account":"xiaojun012","Attrs":{"sex":"m","city":"Osaka"}}',
  },
}

---Adds the verb's arguments and flags.
---@param command table of argparse
function set.define(command)
  bulk.define(command)
  flags.define_null(command)
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@return integer exit code
function set.run(args, io)
  return bulk.run(set, args, io)
end

return set
