/*
** lua: runs the targets that are written in Lua. FUZZ_TARGET names one: the
** file spec/fuzz/NAME.lua returns a function, which is called with each input
** as a string; what it raises ends the process. The C core is compiled in, so
** it is watched as well; it runs in the tree's top folder.
**
** The fuzzer must see which lines of Lua an input reaches: a hook counts steps
** from line to line in lua/ in an array of the section that libFuzzer reads.
** The hook costs, so a target switches it on where the code under test runs:
** require "fuzz.watch"(true); and it sees so many lines of an input, no more.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define SECTION __attribute__((section("__libfuzzer_extra_counters")))
#define STEPS 16384 /* a power of two */

#define LINES_MAX 1000

/* Sources are told apart by the address of their name. */
#define SOURCES_MAX 64

int luaopen_imattr_core(lua_State *L);
int luaopen_imattr_csv(lua_State *L);

static SECTION uint8_t steps[STEPS];
static uint32_t last_place;
static unsigned line_count;

static struct {
  const char *name;
  uint32_t mark; /* 0: not in lua/, not counted */
} sources[SOURCES_MAX];

static lua_State *state;

/* {===== coverage ===== */

/* A number for a source that is the same in every run. */
static uint32_t mark_of(const char *name) {
  uint32_t mark = 2166136261u;
  if (strncmp(name, "@./lua/", 7) != 0) {
    return 0;
  }
  while (*name != '\0') {
    mark = (mark ^ (unsigned char)*name++) * 16777619u;
  }
  return mark | 1;
}

static uint32_t find_mark(const char *name) {
  size_t i = 0;
  while (i < SOURCES_MAX - 1 && sources[i].name != NULL) {
    if (sources[i].name == name) {
      return sources[i].mark;
    }
    i++;
  }
  sources[i].name = name;
  sources[i].mark = mark_of(name);
  return sources[i].mark;
}

static void count_line(lua_State *L, lua_Debug *at) {
  uint32_t mark;
  if (line_count++ == LINES_MAX) {
    lua_sethook(L, NULL, 0, 0);
  }
  lua_getinfo(L, "S", at);
  mark = find_mark(at->source);
  if (mark != 0) {
    uint32_t place = (mark ^ (uint32_t)at->currentline) * 2654435761u >> 16;
    steps[(place ^ last_place >> 1) % STEPS]++;
    last_place = place;
  }
}

/* watch(is_on) */
static int l_watch(lua_State *L) {
  if (lua_toboolean(L, 1) && line_count < LINES_MAX) {
    lua_sethook(L, count_line, LUA_MASKLINE, 0);
  } else {
    lua_sethook(L, NULL, 0, 0);
  }
  return 0;
}

static int open_watch(lua_State *L) {
  lua_pushcfunction(L, l_watch);
  return 1;
}

/* }===== */

static int add_traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

/* Calls the function below its arguments; what it raises ends the process. */
static void call(lua_State *L, int arguments, int results) {
  int place = lua_gettop(L) - arguments;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, place);
  if (lua_pcall(L, arguments, results, place) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  lua_remove(L, place);
}

static void run(lua_State *L, const char *code) {
  MUST(luaL_loadstring(L, code) == LUA_OK);
  call(L, 0, 0);
}

int LLVMFuzzerInitialize(int *count, char ***words) {
  const char *name = getenv("FUZZ_TARGET");
  lua_State *L = luaL_newstate();
  (void)count;
  (void)words;
  MUST(L != NULL && name != NULL);
  luaL_openlibs(L);
  lua_gc(L, LUA_GCINC, 400, 0, 0); /* memory is not short */
  luaL_requiref(L, "imattr.core", luaopen_imattr_core, 0);
  luaL_requiref(L, "imattr.csv", luaopen_imattr_csv, 0);
  luaL_requiref(L, "fuzz.watch", open_watch, 0);
  lua_pop(L, 3);
  run(L, "package.path = './lua/?.lua;./lua/?/init.lua;./spec/?.lua;'"
         " .. package.path");
  lua_getglobal(L, "require");
  lua_pushfstring(L, "fuzz.%s", name);
  call(L, 1, 1); /* the target stays on the stack */
  MUST(lua_isfunction(L, -1));
  state = L;
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  MUST(state != NULL);
  last_place = 0;
  line_count = 0;
  lua_pushvalue(state, -1);
  lua_pushlstring(state, (const char *)data, size);
  call(state, 1, 0);
  return 0;
}
