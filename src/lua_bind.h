/*
** lua_bind: what all bindings share: objects that are born closed and closed
** once, numbers that are times, and the way failures come back.
*/
#ifndef imattr_lua_bind_h
#define imattr_lua_bind_h

#include <stddef.h>

#include "lua_compat.h"
#include "status.h"

#pragma GCC visibility push(hidden)

/* The userdata of every object: one pointer, NULL before birth and after
** death, so that __gc may meet it at any time. */
typedef struct imattr_lua_box {
  void *object;
} imattr_lua_box;

/*
** Makes the metatable of a class: `methods` become its __index, `close` its
** __gc, __close and method `close`; __tostring shows the name alone.
*/
void imattr_lua_class(lua_State *L, const char *name, const luaL_Reg *methods,
                      lua_CFunction close);

/* Pushes a closed object of the class and returns its box. */
imattr_lua_box *imattr_lua_new(lua_State *L, const char *name);

/* The open object at `index`. Raises for another type, or when closed. */
void *imattr_lua_check(lua_State *L, int index, const char *name);

/* The number at `index` as an integer, when it is one and Lua holds it
** exactly. Returns whether. */
int imattr_lua_toint64(lua_State *L, int index, int64_t *integer);

/* An integer argument from `low` to `high`. Raises for anything else. */
int64_t imattr_lua_checkint(lua_State *L, int index, int64_t low, int64_t high);

/* Field `name` of the table at `index`: an integer from `low` to `high`.
** Raises for anything else, naming the field. */
int64_t imattr_lua_fieldint(lua_State *L, int index, const char *name,
                            int64_t low, int64_t high);

/* A moment or a time in microseconds: any number, whole, below 2^53. */
int64_t imattr_lua_checktime(lua_State *L, int index);

/* Pushes nil, the status's name and its sentence; returns 3. Raises "not
** enough memory" for NO_MEMORY, as Lua itself does. */
int imattr_lua_failure(lua_State *L, imattr_status status);

/* Pushes the name of a status, the digits of a vendor's code, or nil for 0. */
void imattr_lua_pushcode(lua_State *L, int code);

#pragma GCC visibility pop

#endif
