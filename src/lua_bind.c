/* lua_bind: boxes, checks and failures */
#include "lua_bind.h"

#include <stdio.h>

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

int imattr_lua_iswhole(lua_Number number, int64_t low, int64_t high) {
  /* every comparison is false for NaN; the cast is safe within the range */
  if (number >= (lua_Number)low && number <= (lua_Number)high) {
    lua_Number whole = (lua_Number)(int64_t)number;
    return !(whole < number || whole > number);
  }
  return 0;
}

int64_t imattr_lua_checkint(lua_State *L, int index, int64_t low,
                            int64_t high) {
  lua_Number value = luaL_checknumber(L, index);
  if (!imattr_lua_iswhole(value, low, high)) {
    luaL_error(L, "argument %d: %f, wants an integer from %f to %f", index,
               value, (lua_Number)low, (lua_Number)high);
  }
  return (int64_t)value;
}

int64_t imattr_lua_fieldint(lua_State *L, int index, const char *name,
                            int64_t low, int64_t high) {
  lua_Number value;
  lua_getfield(L, index, name);
  if (lua_type(L, -1) != LUA_TNUMBER) {
    luaL_error(L, "%s: a %s, wants an integer", name, luaL_typename(L, -1));
  }
  value = lua_tonumber(L, -1);
  if (!imattr_lua_iswhole(value, low, high)) {
    luaL_error(L, "%s: %f, wants an integer from %f to %f", name, value,
               (lua_Number)low, (lua_Number)high);
  }
  lua_pop(L, 1);
  return (int64_t)value;
}

int64_t imattr_lua_checktime(lua_State *L, int index) {
  return imattr_lua_checkint(L, index, -IMATTR_LUA_EXACT_MAX,
                             IMATTR_LUA_EXACT_MAX);
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
