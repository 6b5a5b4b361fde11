/* lua_bind: boxes, checks and failures */
#include "lua_bind.h"

#include <inttypes.h>
#include <stdio.h>

/* Up to here a double counts every integer: 2^53. */
#define EXACT_MAX 9007199254740992.0

/* Every Lua counts microseconds to here: 2^53, 285 years. */
#define TIME_MAX_US INT64_C(9007199254740992)

static int l_tostring(lua_State *L) {
  imattr_lua_box *box = lua_touserdata(L, 1);
  const char *name = lua_tostring(L, lua_upvalueindex(1));
  lua_pushfstring(L, "%s%s", name,
                  box == NULL || box->object == NULL ? " (closed)" : "");
  return 1;
}

void imattr_lua_class(lua_State *L, const char *name, const luaL_Reg *methods,
                      lua_CFunction close) {
  luaL_newmetatable(L, name);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "close");
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_pushstring(L, name);
  lua_pushcclosure(L, l_tostring, 1);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, name); /* getmetatable(object) shows no more than this */
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

imattr_lua_box *imattr_lua_new(lua_State *L, const char *name) {
  imattr_lua_box *box = imattr_lua_newobject(L, sizeof *box);
  box->object = NULL;
  luaL_getmetatable(L, name);
  lua_setmetatable(L, -2);
  return box;
}

void *imattr_lua_check(lua_State *L, int index, const char *name) {
  imattr_lua_box *box = luaL_checkudata(L, index, name);
  if (box->object == NULL) {
    luaL_error(L, "%s: already closed", name);
  }
  return box->object;
}

int imattr_lua_toint64(lua_State *L, int index, int64_t *integer) {
  lua_Number number = lua_tonumber(L, index);
  if (imattr_lua_isinteger(L, index)) { /* 5.4: all 64 bits are exact */
    *integer = (int64_t)lua_tointeger(L, index);
    return 1;
  }
  /* every comparison is false for NaN; the cast is safe within the range */
  if (number >= -EXACT_MAX && number <= EXACT_MAX) {
    lua_Number whole = (lua_Number)(int64_t)number;
    *integer = (int64_t)number;
    return !(whole < number || whole > number);
  }
  return 0;
}

/* Raises what a number should be: "queue_max: 0, wants an integer from ..." */
static void wrong_number(lua_State *L, const char *name, lua_Number value,
                         int64_t low, int64_t high) {
  char line[128];
  snprintf(line, sizeof line,
           "%.17g, wants an integer from %" PRId64 " to %" PRId64,
           (double)value, low, high);
  luaL_error(L, "%s: %s", name, line);
}

int64_t imattr_lua_checkint(lua_State *L, int index, int64_t low,
                            int64_t high) {
  lua_Number value = luaL_checknumber(L, index);
  int64_t integer = 0;
  if (!imattr_lua_toint64(L, index, &integer) || integer < low ||
      integer > high) {
    char name[32];
    snprintf(name, sizeof name, "argument %d", index);
    wrong_number(L, name, value, low, high);
  }
  return integer;
}

int64_t imattr_lua_fieldint(lua_State *L, int index, const char *name,
                            int64_t low, int64_t high) {
  int64_t integer = 0;
  lua_getfield(L, index, name);
  if (lua_type(L, -1) != LUA_TNUMBER) {
    luaL_error(L, "%s: a %s, wants an integer", name, luaL_typename(L, -1));
  }
  if (!imattr_lua_toint64(L, -1, &integer) || integer < low || integer > high) {
    wrong_number(L, name, lua_tonumber(L, -1), low, high);
  }
  lua_pop(L, 1);
  return integer;
}

int64_t imattr_lua_checktime(lua_State *L, int index) {
  return imattr_lua_checkint(L, index, -TIME_MAX_US, TIME_MAX_US);
}

int imattr_lua_failure(lua_State *L, imattr_status status) {
  if (status == IMATTR_NO_MEMORY) {
    return luaL_error(L, "not enough memory");
  }
  lua_pushnil(L);
  lua_pushstring(L, imattr_status_name((int)status));
  lua_pushstring(L, imattr_status_sentence((int)status));
  return 3;
}

void imattr_lua_pushcode(lua_State *L, int code) {
  if (code == 0) {
    lua_pushnil(L);
  } else if (imattr_status_name(code) != NULL) {
    lua_pushstring(L, imattr_status_name(code));
  } else {
    char digits[16];
    snprintf(digits, sizeof digits, "%d", code);
    lua_pushstring(L, digits);
  }
}
