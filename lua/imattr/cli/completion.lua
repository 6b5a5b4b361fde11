-- imattr completion: prints what makes a shell complete verbs and flags.

local exit = require "imattr.cli.exit"

local completion = {
  name = "completion",
  summary = "Prints what makes bash, zsh or fish complete verbs and flags.",
  usage = "completion bash|zsh|fish",
  examples = {
    'eval "$(imattr completion bash)"     in ~/.bashrc',
    "imattr completion zsh >DIR/_imattr   for zsh, into a folder of its $fpath",
    "imattr completion fish | source      in ~/.config/fish/config.fish",
  },
}

---Adds the verb's arguments.
---@param command table of argparse
function completion.define(command)
  command:argument("shell"):argname("SHELL"):choices({ "bash", "zsh", "fish" })
    :description "bash, zsh or fish"
end

---Runs the verb.
---@param args table parsed command line
---@param io table the io library, or one like it
---@param about imattr.cli.about
---@return integer exit code
function completion.run(args, io, about)
  local parser = about.parser()
  local script = parser["get_" .. args.shell .. "_complete"](parser)
  if not (io.stdout:write(script) and io.stdout:flush()) then
    io.stderr:write("imattr: standard output: cannot write\n")
    return exit.CANNOT_WRITE
  end
  return exit.OK
end

return completion
