rockspec_format = "3.0"
package = "imattr"
version = "scm-1"

-- for `luarocks make` in this tree; no copy is published yet
source = { url = "git+file://." }

description = {
  summary = "Sets user attributes in Tencent Cloud Chat, fast and exactly at the quota",
  detailed = [[
    Brings users and their attributes to the all-member push service (im_set_attr and its family)
    in the fewest requests, as fast as the quota allows and never faster, and tells what became of
    every single user. For scripts (Lua 5.4, LuaJIT), for nginx (OpenResty), and as the command `imattr`.]],
  license = "MIT",
}

-- lua-cjson reads replies; argparse and SQLite are for the command alone
dependencies = { "lua >= 5.1, < 5.5", "lua-cjson >= 2.1.0", "argparse >= 0.7.0" }

-- by library alone: luarocks looks for headers in fewer places than the compiler does
external_dependencies = {
  CRYPTO = { library = "crypto" },
  CURL = { library = "curl" },
  SQLITE = { library = "sqlite3" },
  ZLIB = { library = "z" },
}

test = { type = "busted" }

local defines = { "_POSIX_C_SOURCE=200809L", "_DEFAULT_SOURCE" }

build = {
  type = "builtin",
  modules = {
    ["imattr.attempts"] = "lua/imattr/attempts.lua",
    ["imattr.cli.figures"] = "lua/imattr/cli/figures.lua",
    ["imattr.core"] = {
      sources = {
        "src/status.c", "src/buffer.c", "src/secret.c", "src/usersig.c", "src/backoff.c",
        "src/patience.c", "src/pace.c", "src/json.c", "src/pool.c", "src/fault.c", "src/batch.c",
        "src/draft.c", "src/roster.c", "src/trip.c", "src/life.c", "src/departure.c",
        "src/judgement.c",
        "src/lua_bind.c", "src/lua_usersig.c", "src/lua_update.c", "src/lua_engine.c", "src/lua_pace.c",
        "src/lua_system.c", "src/lua_core.c",
      },
      defines = defines,
      libraries = { "crypto", "z" },
      libdirs = { "$(CRYPTO_LIBDIR)", "$(ZLIB_LIBDIR)" },
    },
    ["imattr.curl"] = {
      sources = {
        "src/status.c", "src/buffer.c", "src/curl_status.c", "src/curl_pool.c", "src/lua_bind.c", "src/lua_curl.c",
      },
      defines = defines,
      libraries = { "curl", "crypto" },
      libdirs = { "$(CURL_LIBDIR)", "$(CRYPTO_LIBDIR)" },
    },
    ["imattr.job"] = {
      sources = { "src/status.c", "src/lua_bind.c", "src/lua_job.c" },
      defines = defines,
      libraries = { "sqlite3", "crypto" },
      libdirs = { "$(SQLITE_LIBDIR)", "$(CRYPTO_LIBDIR)" },
    },
    ["imattr.csv"] = {
      sources = {
        "src/status.c", "src/buffer.c", "src/csv.c", "src/gunzip.c", "src/lua_bind.c",
        "src/lua_csv.c",
      },
      defines = defines,
      libraries = { "z" },
      libdirs = { "$(ZLIB_LIBDIR)" },
    },
    ["imattr"] = "lua/imattr.lua",
    ["imattr.backlog"] = "lua/imattr/backlog.lua",
    ["imattr.alarm"] = "lua/imattr/alarm.lua",
    ["imattr.batcher"] = "lua/imattr/batcher.lua",
    ["imattr.cli.accounts"] = "lua/imattr/cli/accounts.lua",
    ["imattr.cli.apply"] = "lua/imattr/cli/apply.lua",
    ["imattr.cli.bulk"] = "lua/imattr/cli/bulk.lua",
    ["imattr.cli.checkup"] = "lua/imattr/cli/checkup.lua",
    ["imattr.cli.columns"] = "lua/imattr/cli/columns.lua",
    ["imattr.cli.completion"] = "lua/imattr/cli/completion.lua",
    ["imattr.cli.config"] = "lua/imattr/cli/config.lua",
    ["imattr.cli.csv"] = "lua/imattr/cli/csv.lua",
    ["imattr.cli.doctor"] = "lua/imattr/cli/doctor.lua",
    ["imattr.cli.exit"] = "lua/imattr/cli/exit.lua",
    ["imattr.cli.export"] = "lua/imattr/cli/export.lua",
    ["imattr.cli.flags"] = "lua/imattr/cli/flags.lua",
    ["imattr.cli.get"] = "lua/imattr/cli/get.lua",
    ["imattr.cli.gzip"] = "lua/imattr/cli/gzip.lua",
    ["imattr.cli.halves"] = "lua/imattr/cli/halves.lua",
    ["imattr.cli.import"] = "lua/imattr/cli/import.lua",
    ["imattr.cli.input"] = "lua/imattr/cli/input.lua",
    ["imattr.cli.job"] = "lua/imattr/cli/job.lua",
    ["imattr.cli.lines"] = "lua/imattr/cli/lines.lua",
    ["imattr.cli.main"] = "lua/imattr/cli/main.lua",
    ["imattr.cli.man"] = "lua/imattr/cli/man.lua",
    ["imattr.cli.names"] = "lua/imattr/cli/names.lua",
    ["imattr.cli.ndjson"] = "lua/imattr/cli/ndjson.lua",
    ["imattr.cli.open"] = "lua/imattr/cli/open.lua",
    ["imattr.cli.outcome"] = "lua/imattr/cli/outcome.lua",
    ["imattr.cli.output"] = "lua/imattr/cli/output.lua",
    ["imattr.cli.preflight"] = "lua/imattr/cli/preflight.lua",
    ["imattr.cli.preparation"] = "lua/imattr/cli/preparation.lua",
    ["imattr.cli.plan"] = "lua/imattr/cli/plan.lua",
    ["imattr.cli.plan_change"] = "lua/imattr/cli/plan_change.lua",
    ["imattr.cli.plan_file"] = "lua/imattr/cli/plan_file.lua",
    ["imattr.cli.plan_run"] = "lua/imattr/cli/plan_run.lua",
    ["imattr.cli.probe"] = "lua/imattr/cli/probe.lua",
    ["imattr.cli.profile"] = "lua/imattr/cli/profile.lua",
    ["imattr.cli.progress"] = "lua/imattr/cli/progress.lua",
    ["imattr.cli.rejects"] = "lua/imattr/cli/rejects.lua",
    ["imattr.cli.remove"] = "lua/imattr/cli/remove.lua",
    ["imattr.cli.resume"] = "lua/imattr/cli/resume.lua",
    ["imattr.cli.sandbox"] = "lua/imattr/cli/sandbox.lua",
    ["imattr.cli.set"] = "lua/imattr/cli/set.lua",
    ["imattr.cli.setup"] = "lua/imattr/cli/setup.lua",
    ["imattr.cli.sign"] = "lua/imattr/cli/sign.lua",
    ["imattr.cli.status"] = "lua/imattr/cli/status.lua",
    ["imattr.cli.tally"] = "lua/imattr/cli/tally.lua",
    ["imattr.cli.terminal"] = "lua/imattr/cli/terminal.lua",
    ["imattr.cli.text"] = "lua/imattr/cli/text.lua",
    ["imattr.cli.undo"] = "lua/imattr/cli/undo.lua",
    ["imattr.cli.verify"] = "lua/imattr/cli/verify.lua",
    ["imattr.client"] = "lua/imattr/client.lua",
    ["imattr.codes"] = "lua/imattr/codes.lua",
    ["imattr.commands"] = "lua/imattr/commands.lua",
    ["imattr.driver"] = "lua/imattr/driver.lua",
    ["imattr.ending"] = "lua/imattr/ending.lua",
    ["imattr.errors"] = "lua/imattr/errors.lua",
    ["imattr.hosts"] = "lua/imattr/hosts.lua",
    ["imattr.ledger"] = "lua/imattr/ledger.lua",
    ["imattr.json"] = "lua/imattr/json.lua",
    ["imattr.metrics"] = "lua/imattr/metrics.lua",
    ["imattr.options"] = "lua/imattr/options.lua",
    ["imattr.pump"] = "lua/imattr/pump.lua",
    ["imattr.redact"] = "lua/imattr/redact.lua",
    ["imattr.report"] = "lua/imattr/report.lua",
    ["imattr.run"] = "lua/imattr/run.lua",
    ["imattr.sandbox.access"] = "lua/imattr/sandbox/access.lua",
    ["imattr.sandbox.body"] = "lua/imattr/sandbox/body.lua",
    ["imattr.sandbox.commands"] = "lua/imattr/sandbox/commands.lua",
    ["imattr.sandbox.handler"] = "lua/imattr/sandbox/handler.lua",
    ["imattr.sandbox.nginx"] = "lua/imattr/sandbox/nginx.lua",
    ["imattr.sandbox.rules"] = "lua/imattr/sandbox/rules.lua",
    ["imattr.sandbox.shell"] = "lua/imattr/sandbox/shell.lua",
    ["imattr.sandbox.signature"] = "lua/imattr/sandbox/signature.lua",
    ["imattr.sandbox.statistics"] = "lua/imattr/sandbox/statistics.lua",
    ["imattr.sandbox.window"] = "lua/imattr/sandbox/window.lua",
    ["imattr.settings"] = "lua/imattr/settings.lua",
    ["imattr.signature"] = "lua/imattr/signature.lua",
    ["imattr.source"] = "lua/imattr/source.lua",
    ["imattr.spool"] = "lua/imattr/spool.lua",
    ["imattr.transport.cosocket"] = "lua/imattr/transport/cosocket.lua",
    ["imattr.transport.curl"] = "lua/imattr/transport/curl.lua",
    ["imattr.transport.dry"] = "lua/imattr/transport/dry.lua",
    ["imattr.transport.http"] = "lua/imattr/transport/http.lua",
    ["imattr.usersig"] = "lua/imattr/usersig.lua",
    ["imattr.wire"] = "lua/imattr/wire.lua",
    ["imattr.world"] = "lua/imattr/world.lua",
  },
  install = { bin = { imattr = "lua/bin/imattr" } },
}
