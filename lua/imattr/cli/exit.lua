-- Exit codes of the command, stable and tested: what a script may branch on.

local exit = {
  OK = 0, -- all done
  OTHER = 1, -- nothing below fits
  SOME_FAILED = 2, -- finished, some users failed
  USAGE = 64, -- the command line is wrong
  BAD_INPUT = 65, -- the input as a whole cannot be used: empty, a malformed header
  NO_INPUT = 66, -- the input cannot be read
  UNREACHABLE = 69, -- network, TLS or time: try again later
  BUG = 70, -- a mistake in imattr
  CANNOT_WRITE = 74, -- rejects file or standard output
  INTERRUPTED = 75, -- stopped in order, can go on
  DENIED = 77, -- signature or permission
  SETUP = 78, -- set-up is missing or wrong
}

local OF_CLASS = {
  network = exit.UNREACHABLE,
  tls = exit.UNREACHABLE,
  timeout = exit.UNREACHABLE,
  retry = exit.UNREACHABLE,
  rate = exit.UNREACHABLE,
  deadline = exit.INTERRUPTED,
  interrupted = exit.INTERRUPTED,
  signature = exit.DENIED,
  resign = exit.DENIED,
  permission = exit.DENIED,
  setup = exit.SETUP,
  input = exit.BAD_INPUT,
  bug = exit.BUG,
}

---The exit code for an error of a run.
---@param err imattr.error
---@return integer
function exit.of(err)
  return OF_CLASS[err.class] or exit.OTHER
end

return exit
