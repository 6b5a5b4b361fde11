/*
** host: a program with Lua in it whose memory runs out when it is told to.
**
**   host names                         the scenarios, one a line
**   host run SCENARIO KIND MOST        fails allocations of a kind (lua, core,
**                                      libs, cjson) while the scenario acts:
**                                      MOST of them, evenly spread, or all (0);
**                                      each once, and each for good
**   host one SCENARIO KIND MODE N      the N-th alone, told in full; MODE is
**                                      once or good; N = 0: none
**
** Linked with Lua 5.4 or LuaJIT, and with blocks.c, whose malloc then serves
** the whole process. It is run at the top of the source tree; spec/memory/run
** builds and runs it.
**
** Every fault has a process of its own, forked from one in which the scenario
** has already run without any: so all begin alike, to the last byte, a crash
** is one result among others, and the N-th allocation is always the same one.
** After a fault the scenario acts again with memory, is finished, and then
** nothing of our modules may be left: first with the state still open (what
** was closed must be gone), then with it closed.
*/
#define _GNU_SOURCE /* RTLD_NEXT */
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "blocks.h"

/* A process that takes longer hangs: the slowest needs a second. */
#define SECONDS_MAX 60

#define SHARED (MAP_SHARED | MAP_ANONYMOUS)

/* More than arguments and environment ever take. */
#define STACK_STEP 1048576

/* With no memory a library may break without our doing: libcurl 7.88 frees
** twice what it notes of a TLS session, and goes on with an HTTP/2 connection
** that has said it cannot. Not often, or it is our doing after all: as many of
** a run, and one in so many. */
#define BROKEN_MAX 1
#define BROKEN_SHARE 50

/* A run tells this many bad results in full. */
#define TOLD_MAX 3

/* How a process with a fault ended; its exit status. */
typedef enum outcome {
  RIGHT = 10, /* the value is the one without a fault */
  MEMORY,     /* an error says that there is no memory */
  ERROR,      /* another error of the library's: for faults in libraries */
  MISSED,     /* no allocation had the number */
  ENDED,      /* cjson ended the process, in its own words */
  BROKEN,     /* a library crashed, or spoiled what is its own */
  BAD,
  OUTCOME_COUNT
} outcome;

static const char *const outcome_words[] = {
    "right",          "out of memory",    "other errors", "not met",
    "ended by cjson", "broken libraries", "bad"};

/* What a process tells the one that forked it. */
static struct told {
  unsigned long counted[BLOCKS_KIND_COUNT];
  unsigned long failed;
} * told;

static FILE *words; /* what a process prints; read when it ended badly */
static lua_State *state;

/* {===== the same every time ===== */

/* Lua mixes the clock, addresses and random bytes into its hashes, so that the
** order of a table and the number of an allocation would differ from process to
** process. These stand before the C library's while a state is made. */
static int is_seeding;
static int seed;

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (is_seeding) {
    now.tv_sec = 1700000000 + seed;
  }
  if (into != NULL) {
    *into = now.tv_sec;
  }
  return now.tv_sec;
}

long syscall(long number, ...) {
  static long (*real)(long, ...);
  long words6[6];
  va_list rest;
  int i;
  va_start(rest, number);
  for (i = 0; i < 6; i++) {
    words6[i] = va_arg(rest, long);
  }
  va_end(rest);
  if (is_seeding && number == SYS_getrandom) {
    memset((void *)words6[0], seed, (size_t)words6[1]);
    return words6[1];
  }
  if (real == NULL) {
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
  }
  return real(number, words6[0], words6[1], words6[2], words6[3], words6[4],
              words6[5]);
}

/* Starts this program once more, with addresses that are not random. Where
** that is not allowed (nor under valgrind), all works but that a replay may not
** be exact. */
static void fix_addresses(char **given) {
#ifdef VALGRIND
  int now = -1;
#else
  int now = personality(0xFFFFFFFF);
#endif
  if (now != -1 && (now & ADDR_NO_RANDOMIZE) == 0 &&
      personality((unsigned long)now | ADDR_NO_RANDOMIZE) != -1) {
    execv("/proc/self/exe", given);
  }
}

/* }===== */

/* {===== Lua ===== */

/* Says why, and ends the process. */
static void give_up(const char *where, const char *why) {
  dprintf(STDERR_FILENO, "%s: %s\n", where, why == NULL ? "(no words)" : why);
  _exit(BAD);
}

static int panic(lua_State *L) {
  give_up("outside of any pcall", lua_tostring(L, -1));
  return 0;
}

static int l_faults_off(lua_State *L) {
  (void)L;
  blocks_disarm();
  return 0;
}

static int open_faults(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, l_faults_off);
  lua_setfield(L, -2, "off");
  return 1;
}

/* What was raised, as text. */
static const char *words_of(lua_State *L) {
  if (lua_tostring(L, -1) == NULL) {
    lua_getglobal(L, "tostring");
    lua_insert(L, -2);
    lua_pcall(L, 1, 1, 0);
  }
  return lua_tostring(L, -1);
}

/* Calls a function of memory.trial, which is at 1, with what is on top of the
** stack. A mistake in it ends the process. */
static void call(lua_State *L, const char *name, int arguments, int results) {
  lua_getfield(L, 1, name);
  lua_insert(L, -1 - arguments);
  if (lua_pcall(L, arguments, results, 0) != 0) {
    give_up(name, words_of(L));
  }
}

/* A state with every module in it, and memory.trial at 1. LuaJIT of before
** July 2023 (Debian 12 has one) crashes by itself when memory runs out in
** compiled code ("Fix frame for on-trace out-of-memory error"), so where Lua's
** own allocations fail nothing is compiled. */
static lua_State *open_state(blocks_kind kind) {
  static const char paths[] =
      "local jit = rawget(_G, 'jit')\n"
      "if jit and ... == 'lua' then jit.off() end\n"
      "package.path = './lua/?.lua;./spec/?.lua;' .. package.path\n"
      "package.cpath = (os.getenv('SPEC_BUILD') or './build')\n"
      "  .. (jit and '/jit/?.so;' or '/5.4/?.so;') .. package.cpath\n"
      "return require 'memory.trial'";
  lua_State *L;
  is_seeding = 1;
  L = lua_newstate(blocks_lua, NULL);
  is_seeding = 0;
  if (L == NULL) {
    give_up("lua_newstate", "no state");
  }
  lua_atpanic(L, panic);
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, open_faults);
  lua_setfield(L, -2, "memory.faults");
  lua_settop(L, 0);
  if (luaL_loadstring(L, paths) == 0) {
    lua_pushstring(L, blocks_kind_name(kind));
    lua_pcall(L, 1, 1, 0);
  }
  if (!lua_istable(L, 1)) {
    give_up("host", lua_tostring(L, -1));
  }
  blocks_learn_modules();
  return L;
}

/* Where the first allocation fails: C's caller, then Lua's. It is called out
** of the allocator, and only looks. */
static void show_fault(const void *caller) {
  lua_Debug at;
  int level;
  dprintf(STDERR_FILENO, "the allocation fails at ");
  blocks_print_caller(caller);
  for (level = 0; lua_getstack(state, level, &at); level++) {
    lua_getinfo(state, "Sl", &at);
    dprintf(STDERR_FILENO, "\n  %s:%d", at.short_src, at.currentline);
  }
  dprintf(STDERR_FILENO, "\n");
}

/* }===== */

/* {===== one process, one fault ===== */

static void collect(lua_State *L) {
  lua_gc(L, LUA_GCCOLLECT, 0); /* twice: first what holds, then what was held */
  lua_gc(L, LUA_GCCOLLECT, 0);
}

/* Nothing of the kind may be left but what was there before. Libraries whose
** own allocations fail may keep something (OpenSSL its list of errors), so
** theirs are looked at after other faults only: what we do not give back is
** seen. */
static void check_left(blocks_kind kind, size_t before, const char *when) {
  if (blocks_live(kind) != before) {
    dprintf(STDERR_FILENO, "%zu blocks (%s) are left %s, and there were %zu:\n",
            blocks_live(kind), blocks_kind_name(kind), when, before);
    blocks_print(kind);
    _exit(BAD);
  }
}

/* Acts with the fault; leaves the scenario's state at 2. Returns the outcome
** in memory.trial's word. */
static outcome act(lua_State *L, const char *scenario,
                   const blocks_fault *fault, void (*on_fault)(const void *)) {
  static const char *const verdicts[] = {"right", "memory", "error"};
  const char *verdict;
  int i, failed;
  lua_pushstring(L, scenario);
  call(L, "prepare", 1, 2); /* state, act */
  lua_pushvalue(L, 2);
  blocks_arm(fault, on_fault);
  failed = lua_pcall(L, 1, 1, 0);
  blocks_disarm();
  memcpy(told->counted, (unsigned long[BLOCKS_KIND_COUNT]){0},
         sizeof told->counted);
  for (i = 0; i < BLOCKS_KIND_COUNT; i++) {
    told->counted[i] = blocks_counted((blocks_kind)i);
  }
  told->failed = blocks_failed();
  lua_pushboolean(L, !failed);
  lua_insert(L, 3);
  lua_pushstring(L, blocks_kind_name(fault->kind));
  lua_pushvalue(L, 2);
  call(L, "judge", 4, 1); /* was it well, value, kind, state */
  verdict = lua_tostring(L, -1);
  for (i = 0; i < 3 && strcmp(verdict, verdicts[i]) != 0; i++) {
  }
  lua_settop(L, 2);
  return (outcome)(RIGHT + i);
}

/* The whole life of a process with a fault; the state is closed in the end. */
static outcome live_through(lua_State *L, const char *scenario,
                            const blocks_fault *fault,
                            void (*on_fault)(const void *)) {
  size_t libs_before = blocks_live(BLOCKS_LIBS);
  outcome ended = act(L, scenario, fault, on_fault);
  lua_pushvalue(L, 2);
  call(L, "again", 1, 0);
  call(L, "finish", 1, 0); /* takes the state off the stack */
  collect(L);
  check_left(BLOCKS_CORE, 0, "after closing and collecting");
  if (fault->kind != BLOCKS_LIBS) {
    check_left(BLOCKS_LIBS, libs_before, "after closing and collecting");
  }
  lua_close(L);
  check_left(BLOCKS_CORE, 0, "after lua_close");
  check_left(BLOCKS_LUA, 0, "after lua_close");
  blocks_check_freed();
  return fault->at > 0 && told->failed == 0 ? MISSED : ended;
}

/* Where a crash is, by the processor's own account. */
static void on_crash(int number, siginfo_t *about, void *context) {
#if defined(__x86_64__)
  const ucontext_t *at = context;
  blocks_judge_crash((const void *)(uintptr_t)at->uc_mcontext.gregs[REG_RIP]);
#else
  (void)context;
#endif
  (void)about;
  signal(number, SIG_DFL);
  raise(number);
}

static void watch_crashes(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

/* Did cjson end the process? It does when it finds no memory ("Out of memory",
** exit(-1)), and there is nothing that its caller can do. */
static int is_cjsons_end(const blocks_fault *fault, int status) {
  char line[128];
  rewind(words);
  return fault->kind == BLOCKS_CJSON && WIFEXITED(status) &&
         WEXITSTATUS(status) == 255 &&
         fgets(line, sizeof line, words) != NULL &&
         strcmp(line, "Out of memory\n") == 0;
}

/* Forks a process for a fault and waits for its end. */
static outcome try_fault(const char *scenario, const blocks_fault *fault) {
  int status = 0;
  pid_t child;
  fflush(stdout);
  rewind(words);
  if (ftruncate(fileno(words), 0) != 0) {
    give_up("host", strerror(errno));
  }
  child = fork();
  if (child == 0) {
    dup2(fileno(words), STDOUT_FILENO);
    dup2(fileno(words), STDERR_FILENO);
    alarm(SECONDS_MAX);
    watch_crashes();
    _exit((int)live_through(state, scenario, fault, NULL));
  }
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) >= RIGHT &&
      WEXITSTATUS(status) < ENDED) {
    return (outcome)WEXITSTATUS(status);
  }
  if (WIFSIGNALED(status)) {
    fseek(words, 0, SEEK_END);
    fprintf(words, "killed by signal %d (%s)\n", WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    fflush(words);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == BLOCKS_LIBRARY_BROKEN) {
    return BROKEN;
  }
  return is_cjsons_end(fault, status) ? ENDED : BAD;
}

/* }===== */

/* {===== runs ===== */

static void tell_bad(const char *scenario, const blocks_fault *fault) {
  char line[4096];
  printf("BAD %s %s, allocation %lu fails %s:\n", scenario,
         blocks_kind_name(fault->kind), fault->at,
         fault->is_sticky ? "and all later ones" : "once");
  rewind(words);
  while (fgets(line, sizeof line, words) != NULL) {
    printf("  | %.1500s", line);
  }
  printf("  again: spec/memory/run %s %s %s %s %lu\n",
         LUA_VERSION_NUM >= 504 ? "lua5.4" : "luajit", scenario,
         blocks_kind_name(fault->kind), fault->is_sticky ? "good" : "once",
         fault->at);
}

/* The i-th of `count` numbers that are spread evenly over 1 to `most`. */
static unsigned long spread(unsigned long i, unsigned long count,
                            unsigned long most) {
  return count < 2 ? most : 1 + (most - 1) * i / (count - 1);
}

/* Fails `count` of `most` allocations; prints the line. Returns how many went
** wrong. */
static unsigned long run_mode(const char *scenario, blocks_fault fault,
                              unsigned long count, unsigned long most) {
  unsigned long seen[OUTCOME_COUNT] = {0};
  unsigned long i;
  for (i = 0; i < count; i++) {
    outcome ended;
    fault.at = spread(i, count, most);
    ended = try_fault(scenario, &fault);
    if (ended == BAD && seen[BAD] < TOLD_MAX) {
      tell_bad(scenario, &fault);
    }
    seen[ended]++;
  }
  if (seen[BROKEN] > BROKEN_MAX + count / BROKEN_SHARE) {
    seen[BAD] += seen[BROKEN];
  }
  printf("%-16s %-5s %-4s  %4lu of %5lu: %4lu right, %4lu out of memory",
         scenario, blocks_kind_name(fault.kind),
         fault.is_sticky ? "good" : "once", count - seen[MISSED], most,
         seen[RIGHT], seen[MEMORY]);
  for (i = ERROR; i < BAD; i++) {
    if (seen[i] > 0) {
      printf(", %lu %s", seen[i], outcome_words[i - RIGHT]);
    }
  }
  printf(", %lu bad\n", seen[BAD]);
  return seen[BAD];
}

/* Runs the scenario here, without a fault: what it needs once is there then,
** and memory.trial knows the right value. */
static void warm_up(const char *scenario) {
  lua_pushstring(state, scenario);
  call(state, "warm_up", 1, 0);
  collect(state);
  blocks_learn_modules(); /* those that were loaded on the way */
  check_left(BLOCKS_CORE, 0, "after a run without a fault");
}

/* How many allocations of the kind there are. The scenario says of what kinds
** it has any: that must be so. */
static unsigned long count(const char *scenario, blocks_kind kind) {
  blocks_fault none = {BLOCKS_NONE, 0, 0};
  int i;
  if (try_fault(scenario, &none) != RIGHT) {
    tell_bad(scenario, &none);
    exit(1);
  }
  for (i = BLOCKS_LUA; i < BLOCKS_KIND_COUNT; i++) {
    lua_pushstring(state, scenario);
    lua_pushstring(state, blocks_kind_name((blocks_kind)i));
    lua_pushboolean(state, told->counted[i] > 0);
    call(state, "check_kind", 3, 0);
  }
  return told->counted[kind];
}

static int run(const char *scenario, blocks_kind kind, unsigned long limit) {
  blocks_fault fault = {BLOCKS_NONE, 0, 0};
  unsigned long most, bad;
  fault.kind = kind;
  warm_up(scenario);
  most = count(scenario, kind);
  limit = limit == 0 || limit > most ? most : limit;
  bad = run_mode(scenario, fault, limit, most);
  fault.is_sticky = 1;
  bad += run_mode(scenario, fault, limit, most);
  return bad > 0;
}

static int run_one(const char *scenario, const blocks_fault *fault) {
  outcome ended;
  warm_up(scenario);
  ended = live_through(state, scenario, fault, show_fault);
  printf("%s\n", outcome_words[ended - RIGHT]);
  return ended == BAD;
}

static int names(void) {
  call(state, "names", 0, 1);
  printf("%s\n", lua_tostring(state, -1));
  return 0;
}

static int serve(int count, char **given) {
  blocks_kind kind = count > 3 ? blocks_kind_of(given[3]) : BLOCKS_NONE;
  words = tmpfile();
  /* cppcheck-suppress invalidFunctionArg ; anonymous memory has no file */
  told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, SHARED, -1, 0);
  if (words == NULL || told == MAP_FAILED) {
    give_up("host", strerror(errno));
  }
  state = open_state(kind);
  if (count == 2 && strcmp(given[1], "names") == 0) {
    return names();
  }
  if (count == 5 && strcmp(given[1], "run") == 0 && kind != BLOCKS_NONE) {
    return run(given[2], kind, strtoul(given[4], NULL, 10));
  }
  if (count == 6 && strcmp(given[1], "one") == 0 && kind != BLOCKS_NONE) {
    blocks_fault fault;
    fault.kind = kind;
    fault.is_sticky = strcmp(given[4], "good") == 0;
    fault.at = strtoul(given[5], NULL, 10);
    return run_one(given[2], &fault);
  }
  fputs("usage: host names | run SCENARIO KIND MOST"
        " | one SCENARIO KIND once|good N\n",
        stderr);
  return 64;
}

/* Arguments and environment lie on the stack, so what follows them is moved to
** where it always fits. */
int main(int count, char **given) {
  int (*volatile go)(int, char **) = serve;
  volatile char *room;
  fix_addresses(given);
  seed = atoi(getenv("MEMORY_SEED") == NULL ? "7" : getenv("MEMORY_SEED"));
  /* cppcheck-suppress allocaCalled ; an array cannot be that long */
  room = alloca((uintptr_t)&room % STACK_STEP);
  *room = 0;
  return go(count, given);
}
