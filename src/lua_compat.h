/*
** lua_compat: the only file that knows which Lua it is compiled for: 5.4, or
** LuaJIT with its 5.1 API. Everything else uses the names below.
*/
#ifndef imattr_lua_compat_h
#define imattr_lua_compat_h

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

/* With hidden visibility, LUA_API alone does not export on every build. */
#define IMATTR_EXPORT __attribute__((visibility("default")))

#if LUA_VERSION_NUM >= 504

/* A full userdata that can keep one Lua value alive (imattr_lua_keep). */
#define imattr_lua_newobject(L, size) lua_newuserdatauv((L), (size), 1)

/* Pops a table and keeps it alive as long as the object at `index`. */
#define imattr_lua_keep(L, index) lua_setiuservalue((L), (index), 1)

/* Pushes the table that imattr_lua_keep keeps for the object at `index`. */
#define imattr_lua_kept(L, index) lua_getiuservalue((L), (index), 1)

/* Is the number one of Lua's own 64-bit integers? */
#define imattr_lua_isinteger(L, index) lua_isinteger((L), (index))

/* Pushes an integer below 2^53. */
#define imattr_lua_pushint64(L, value) lua_pushinteger((L), (value))

#else

#define imattr_lua_newobject(L, size) lua_newuserdata((L), (size))
#define imattr_lua_keep(L, index) lua_setfenv((L), (index))
#define imattr_lua_kept(L, index) lua_getfenv((L), (index))
static inline int imattr_lua_isinteger(lua_State *L, int index) {
  (void)L;
  (void)index;
  return 0; /* a number is a double */
}
#define imattr_lua_pushint64(L, value) lua_pushnumber((L), (lua_Number)(value))
#define lua_rawlen(L, index) lua_objlen((L), (index))

#endif

#endif
