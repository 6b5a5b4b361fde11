-- watch: busted's helper (.busted names it): whatever spec runs, no error that it meets, no verdict
-- and no misuse of an option may hold one of the specs' keys or a UserSig. Raises where one does.

local canary = require "support.canary"
local errors = require "imattr.errors"
local options = require "imattr.options"
local wire = require "imattr.wire"

-- Looks at a text; the raise is the spec's failure.
local function look(text)
  local found = type(text) == "string" and canary.in_text(text, canary.KEYS_IN_USE) or {}
  assert(not found[1], found[1] and ("a secret got out: %s: %s"):format(found[1], text))
end

local new, problem, verdict = errors.new, options.problem, wire.verdict

function errors.new(fields)
  local err = new(fields)
  look(err.message)
  return err
end

function options.problem(...)
  local message = problem(...)
  look(message)
  return message
end

function wire.verdict(reply)
  local meant = verdict(reply)
  look(meant.info)
  return meant
end
