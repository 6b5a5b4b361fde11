/*
** host: runs a Lua script as `lua script args` does, for the sanitizers and
** valgrind. Three things differ, and make leaks visible:
** it is built with the sanitizer itself, so nothing has to be preloaded that
** child processes would inherit; it always closes the state, so what is
** still allocated afterwards is lost; and it never unloads a library, so
** reports name functions, and what a library holds in its own variables is
** not mistaken for a leak.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

/* Stands before the C library's: lua_close unloads nothing. */
int dlclose(void *handle);
int dlclose(void *handle) {
  (void)handle;
  return 0;
}

static int add_traceback(lua_State *L) {
  luaL_traceback(L, L, lua_tostring(L, 1), 1);
  return 1;
}

/* `arg` as the standalone interpreter makes it: script at 0, host at -1. */
static void push_arguments(lua_State *L, int count, char **words) {
  int i;
  lua_createtable(L, count, 2);
  for (i = 0; i < count; i++) {
    lua_pushstring(L, words[i]);
    lua_rawseti(L, -2, i - 1);
  }
  lua_setglobal(L, "arg");
}

int main(int count, char **words) {
  lua_State *L = luaL_newstate();
  int failed = 1;
  int i;
  if (L == NULL || count < 2) {
    fputs("usage: host script [argument...]\n", stderr);
    return 64;
  }
  luaL_openlibs(L);
  push_arguments(L, count, words);
  lua_pushcfunction(L, add_traceback);
  if (luaL_loadfile(L, words[1]) == LUA_OK) {
    for (i = 2; i < count; i++) {
      lua_pushstring(L, words[i]);
    }
    failed = lua_pcall(L, count - 2, 0, 1) != LUA_OK;
  }
  if (failed) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
  }
  lua_close(L);
  return failed;
}
