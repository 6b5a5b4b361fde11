# imattr: sets user attributes in Tencent Cloud Chat, fast and exactly at the quota.
#
#   make            builds the C modules for Lua 5.4 and for LuaJIT
#   make help       says what else there is

# ---- settings: each may be given on the command line, `make CC=clang MODE=debug`

# release: what is installed. debug: no optimising. asan: AddressSanitizer and
# UBSan. cover: gcov. strict: release with every warning an error.
MODE = release

CC = gcc

# where `make install` puts things, and for which Luas: of 5.4, jit and 5.1
PREFIX = /usr/local
DESTDIR =
LUA = 5.4 jit

# where the headers are: names for pkg-config
PC_5.4 = lua5.4
PC_5.1 = lua5.1
PC_jit = luajit
PC_core = libcrypto zlib
PC_curl = libcurl libcrypto
PC_job = sqlite3 libcrypto
PC_csv = zlib

# ---- what is built: the rockspec repeats these lists, spec/house_spec.lua compares

CORE = status buffer secret usersig backoff patience pace json pool fault batch draft roster \
  trip life departure judgement lua_bind lua_usersig lua_update lua_engine lua_pace lua_system lua_core
CURL = status buffer curl_status curl_pool lua_bind lua_curl
JOB = status lua_bind lua_job
CSV = status buffer csv gunzip lua_bind lua_csv

# ---- how

# a release lies in build/, every other mode in a folder of its own
OUT = $(if $(filter release,$(MODE)),build,build/$(MODE))

FEATURES = -std=c99 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE
HARDEN = -fPIC -fno-plt -fvisibility=hidden -fstack-protector-strong

# -flto: the hot path goes through many small functions of many files; gcc
# inlines them across files (clang would need its own linker for that)
FLAGS_release = -O3 -g -D_FORTIFY_SOURCE=2 $(if $(findstring gcc,$(CC)),-flto=auto)
FLAGS_debug = -O0 -g
FLAGS_asan = -O1 -g -fno-omit-frame-pointer \
  -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_cover = -O0 -g --coverage
FLAGS_strict = $(FLAGS_release) -Werror
$(if $(FLAGS_$(MODE)),,$(error MODE=$(MODE) is none of: release debug asan cover strict))

# what both compilers know, by what it is about
WARN_ALL = -Wall -Wextra -Wpedantic
WARN_NUMBERS = -Wconversion -Wsign-conversion
WARN_NAMES = -Werror=implicit-function-declaration -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
WARN_POINTERS = -Wpointer-arith -Wcast-qual -Wcast-align -Wwrite-strings -Wvla
WARN_TEXT = -Wformat=2 -Wundef
# what only one of them knows
WARN_gcc = -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wnull-dereference
WARN_clang = -Wcomma -Wconditional-uninitialized -Wunreachable-code

WARNINGS = $(WARN_ALL) $(WARN_NUMBERS) $(WARN_NAMES) $(WARN_POINTERS) $(WARN_TEXT) \
  $(if $(findstring clang,$(CC)),$(WARN_clang),$(WARN_gcc))

# one line for each file; `make V=1` shows the whole commands
show = $(if $(V),,@)
say = @$(if $(V),,printf '  %-5s %s\n' $(1) $(2);)

# CFLAGS and LDFLAGS are the packager's, and come last
compile = $(CC) $(FEATURES) $(FLAGS_$(MODE)) $(HARDEN) $(WARNINGS) \
  $$(pkg-config --cflags $(PC_$(1))) $(CFLAGS) $(CPPFLAGS)
link = $(CC) -shared $(filter-out -D%,$(FLAGS_$(MODE))) -Wl,-z,relro,-z,now \
  -o $(1) $(filter %.o,$(2)) $(LDFLAGS) $$(pkg-config --libs $(3))

.PHONY: all setup setup-demo demo test lint asan valgrind format bench bench-quick \
  soak rate simulate fuzz crash install install-modules install-pages \
  uninstall uninstall-modules clean help

.SUFFIXES:
.SECONDEXPANSION:
.DELETE_ON_ERROR:

MODULES = core curl job csv

all: $(MODULES:%=$(OUT)/5.4/imattr/%.so) $(MODULES:%=$(OUT)/jit/imattr/%.so)

# build/5.4/engine.o from src/engine.c: the folder says for which Lua
$(OUT)/%.o: src/$$(*F).c Makefile | build/checked
	$(call say,cc,$@) mkdir -p $(@D)
	$(show)$(call compile,$(*D)) -c -o $@ $<

$(OUT)/%/imattr/core.so: $(CORE:%=$(OUT)/$$*/%.o)
	$(call say,link,$@) mkdir -p $(@D)
	$(show)$(call link,$@,$^,$(PC_core))

$(OUT)/%/imattr/curl.so: $(CURL:%=$(OUT)/$$*/%.o)
	$(call say,link,$@) mkdir -p $(@D)
	$(show)$(call link,$@,$^,$(PC_curl))

$(OUT)/%/imattr/job.so: $(JOB:%=$(OUT)/$$*/%.o)
	$(call say,link,$@) mkdir -p $(@D)
	$(show)$(call link,$@,$^,$(PC_job))

$(OUT)/%/imattr/csv.so: $(CSV:%=$(OUT)/$$*/%.o)
	$(call say,link,$@) mkdir -p $(@D)
	$(show)$(call link,$@,$^,$(PC_csv))

# once in a fresh tree: is all here that a build needs? (setup would install it)
build/checked: .ci/setup
	@.ci/setup --check demo
	@mkdir -p build && touch $@

# ---- to use it

setup: ; @.ci/setup test
setup-demo: ; @.ci/setup demo

demo: setup-demo
	@$(MAKE) --no-print-directory -s all
	@spec/demo.sh

# LUA -> its X.Y in share/lua/X.Y, and the interpreter that runs the command
XY_5.4 = 5.4
XY_5.1 = 5.1
XY_jit = 5.1
RUNS_5.4 = lua5.4
RUNS_5.1 = lua5.1
RUNS_jit = luajit

XY = $(or $(XY_$(LUA)),$(error LUA=$(LUA) is none of: 5.4 jit 5.1))
SHARE = $(PREFIX)/share/lua/$(XY)
LIB = $(PREFIX)/lib/lua/$(XY)
BIN = $(PREFIX)/bin

# the command runs on the first of LUA; the sandbox needs the modules for LuaJIT too
install:
	@for lua in $(LUA); do $(MAKE) --no-print-directory install-modules LUA=$$lua || exit 1; done
	install -d $(DESTDIR)$(BIN)
	sed -e '1s|.*|#!/usr/bin/env $(RUNS_$(firstword $(LUA)))|' lua/bin/imattr >$(DESTDIR)$(BIN)/imattr
	chmod 755 $(DESTDIR)$(BIN)/imattr
	@$(MAKE) --no-print-directory install-pages LUA=$(firstword $(LUA))

# what the command itself prints: its manual page, and what makes shells complete its words
MAN_imattr.1 = man
MAN_imattr = completion bash
MAN__imattr = completion zsh
MAN_imattr.fish = completion fish
PAGES = man/man1/imattr.1 bash-completion/completions/imattr zsh/site-functions/_imattr \
  fish/vendor_completions.d/imattr.fish

install-pages: $(PAGES:%=install-page/%)

install-page/%: $(MODULES:%=$(OUT)/$(LUA)/imattr/%.so)
	install -d $(DESTDIR)$(PREFIX)/share/$(*D)
	LUA_CPATH='$(OUT)/$(LUA)/?.so;;' $(RUNS_$(LUA)) lua/bin/imattr $(MAN_$(*F)) \
	  >$(DESTDIR)$(PREFIX)/share/$*
	chmod 644 $(DESTDIR)$(PREFIX)/share/$*

install-modules: $(MODULES:%=$(OUT)/$(LUA)/imattr/%.so)
	install -d $(DESTDIR)$(SHARE) $(DESTDIR)$(LIB)/imattr
	cd lua && find imattr.lua imattr -type f -exec install -D -m 644 {} $(DESTDIR)$(SHARE)/{} \;
	install -m 755 $^ $(DESTDIR)$(LIB)/imattr

uninstall:
	@for lua in $(LUA); do $(MAKE) --no-print-directory uninstall-modules LUA=$$lua || exit 1; done
	rm -f $(DESTDIR)$(BIN)/imattr $(PAGES:%=$(DESTDIR)$(PREFIX)/share/%)

uninstall-modules:
	rm -rf $(DESTDIR)$(SHARE)/imattr $(DESTDIR)$(LIB)/imattr
	rm -f $(DESTDIR)$(SHARE)/imattr.lua

clean:
	rm -rf build

# ---- to test it: spec/run knows the parts, and its last line is `N passed, N failed`

test: setup
	@$(MAKE) --no-print-directory -s all
	@spec/run

lint: setup
	@$(MAKE) --no-print-directory -s all
	@spec/run $@

asan valgrind: setup
	@$(MAKE) --no-print-directory -s all
	@spec/run hosts $@

format:
	clang-format -i src/*.c src/*.h spec/*.c spec/*/*.[ch]

bench: setup-demo
	@$(MAKE) --no-print-directory -s all
	@spec/bench/run

bench-quick: setup-demo
	@$(MAKE) --no-print-directory -s all
	@spec/bench/run --quick

# SECONDS=900 for each target before a release
fuzz: setup
	@spec/fuzz/run $(or $(SECONDS),60)

# SEEDS=100000 before a release
simulate:
	@$(MAKE) --no-print-directory -s all
	@spec/simulation/run --seeds $(or $(SEEDS),10000)

crash: setup
	@$(MAKE) --no-print-directory -s all
	@spec/crash/run

soak rate: setup-demo
	@$(MAKE) --no-print-directory -s all
	@spec/bench/$@

help:
	@echo 'make               builds the C modules for Lua 5.4 and LuaJIT into build/'
	@echo 'make setup         installs what build and tests need and this machine lacks (Debian)'
	@echo 'make demo          a sandbox, 19,331 users set in it, three read back'
	@echo 'make install       PREFIX=$(PREFIX) LUA="$(LUA)" (or one of them), DESTDIR for packagers'
	@echo 'make uninstall     takes away what install put there'
	@echo 'make test          every part of the tests; five minutes or so on two cores'
	@echo 'make lint          clang-format, luacheck, cppcheck, every warning of gcc and clang'
	@echo 'make asan          the specs under AddressSanitizer, leak detection and UBSan'
	@echo 'make valgrind      the specs under valgrind'
	@echo 'make bench         processor time per request, against a bare libcurl loop in C'
	@echo 'make bench-quick   the same with fewer runs'
	@echo 'make soak          does memory stay where it is over five million users?'
	@echo 'make rate          four processes, 20 s: how many requests in any second?'
	@echo 'make fuzz          SECONDS=60 for each of nine targets; make test replays what they found'
	@echo 'make crash         kills, full and broken disks, torn files: does a job survive? 20 minutes or so'
	@echo 'make simulate      SEEDS=10000: the client in virtual time, with every fault there is'
	@echo 'make format        clang-format over all C'
	@echo 'make clean         takes build/ away'
	@echo 'MODE=debug, asan, cover or strict builds into build/MODE; CC=clang is fine too.'

# ---- the graph: every header that an object sees (spec/house_spec.lua compares)

of = $(OUT)/5.4/$(1).o $(OUT)/5.1/$(1).o $(OUT)/jit/$(1).o

$(call of,status): src/status.h
$(call of,buffer): src/buffer.h src/status.h
$(call of,secret): src/secret.h src/status.h
$(call of,usersig): src/buffer.h src/json.h src/secret.h src/status.h src/usersig.h
$(call of,backoff): src/backoff.h
$(call of,patience): src/backoff.h src/patience.h
$(call of,pace): src/pace.h src/status.h
$(call of,json): src/buffer.h src/json.h src/status.h
$(call of,pool): src/pool.h
$(call of,fault): src/buffer.h src/fault.h src/json.h src/status.h
$(call of,batch): src/batch.h src/buffer.h src/pool.h src/status.h
$(call of,draft): src/batch.h src/buffer.h src/draft.h src/fault.h src/json.h src/pool.h \
  src/status.h
$(call of,roster): src/batch.h src/buffer.h src/pool.h src/roster.h src/status.h
$(call of,trip): src/batch.h src/buffer.h src/pool.h src/roster.h src/status.h \
  src/trip.h
$(call of,life): src/batch.h src/buffer.h src/engine.h src/engine_state.h \
  src/pace.h src/patience.h src/pool.h src/roster.h src/status.h src/trip.h
$(call of,departure): src/batch.h src/buffer.h src/engine.h src/engine_state.h \
  src/pace.h src/patience.h src/pool.h src/roster.h src/status.h src/trip.h
$(call of,judgement): src/batch.h src/buffer.h src/engine.h src/engine_state.h \
  src/pace.h src/patience.h src/pool.h src/roster.h src/status.h src/trip.h
$(call of,lua_bind): src/lua_bind.h src/lua_compat.h src/status.h
$(call of,lua_usersig): src/buffer.h src/lua_bind.h src/lua_compat.h src/lua_core.h \
  src/pace.h src/secret.h src/status.h src/usersig.h
$(call of,lua_update): src/batch.h src/buffer.h src/draft.h src/fault.h src/lua_bind.h \
  src/lua_compat.h src/lua_update.h src/pool.h src/status.h
$(call of,lua_engine): src/batch.h src/buffer.h src/draft.h src/engine.h src/fault.h \
  src/lua_bind.h src/lua_compat.h src/lua_core.h src/lua_update.h src/pace.h src/pool.h \
  src/status.h
$(call of,lua_pace): src/buffer.h src/lua_bind.h src/lua_compat.h src/lua_core.h \
  src/pace.h src/status.h
$(call of,lua_system): src/buffer.h src/lua_bind.h src/lua_compat.h src/lua_core.h \
  src/pace.h src/status.h
$(call of,lua_core): src/buffer.h src/lua_bind.h src/lua_compat.h src/lua_core.h \
  src/pace.h src/status.h
$(call of,curl_status): src/curl_status.h src/status.h
$(call of,curl_pool): src/buffer.h src/curl_pool.h src/curl_status.h src/status.h
$(call of,csv): src/buffer.h src/csv.h src/status.h
$(call of,gunzip): src/gunzip.h src/status.h
$(call of,lua_csv): src/csv.h src/gunzip.h src/lua_bind.h src/lua_compat.h src/status.h
$(call of,lua_job): src/lua_bind.h src/lua_compat.h src/status.h
$(call of,lua_curl): src/curl_pool.h src/lua_bind.h src/lua_compat.h src/status.h
