/*
** fork: what Lua has no words for, for specs: a process divides in two, waits
** for its child, and ends at once, without running anything to its end.
** support/program.lua builds it into build/spec.
*/
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* fork() -> the child's id; 0 in the child */
static int l_fork(lua_State *L) {
  pid_t pid = fork();
  if (pid < 0) {
    return luaL_error(L, "no process");
  }
  lua_pushinteger(L, (lua_Integer)pid);
  return 1;
}

/* wait(pid) -> exit code, or 128 and the signal's number */
static int l_wait(lua_State *L) {
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  int status = 0;
  pid_t got;
  do {
    got = waitpid(pid, &status, 0);
  } while (got < 0 && errno == EINTR);
  if (got != pid) {
    return luaL_error(L, "no such child");
  }
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status)
                                       : 128 + WTERMSIG(status));
  return 1;
}

/* leave(code): nothing is closed, nothing collected */
static int l_leave(lua_State *L) {
  _exit((int)luaL_checkinteger(L, 1));
}

__attribute__((visibility("default"))) int luaopen_fork(lua_State *L);

__attribute__((visibility("default"))) int luaopen_fork(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, l_fork);
  lua_setfield(L, -2, "fork");
  lua_pushcfunction(L, l_wait);
  lua_setfield(L, -2, "wait");
  lua_pushcfunction(L, l_leave);
  lua_setfield(L, -2, "leave");
  return 1;
}
