/*
** lua_core: the parts of imattr.core. Each open_ function registers its
** classes and adds its functions to the table on top of the stack.
*/
#ifndef imattr_lua_core_h
#define imattr_lua_core_h

#include "buffer.h"
#include "lua_bind.h"
#include "pace.h"

#pragma GCC visibility push(hidden)

void imattr_lua_open_usersig(lua_State *L);
void imattr_lua_open_pace(lua_State *L);
void imattr_lua_open_engine(lua_State *L);
void imattr_lua_open_system(lua_State *L);

/* The pace at `index`, open; raises for anything else. */
imattr_pace *imattr_lua_checkpace(lua_State *L, int index);

/* Pushes a box that owns an empty buffer (box->object), so that no raise can
** leak its bytes. */
imattr_lua_box *imattr_lua_newbuffer(lua_State *L);

/* Frees the buffer after pushing its bytes (OK, returns 1) or the failure
** (returns 3). */
int imattr_lua_pushbuffer(lua_State *L, imattr_lua_box *box,
                          imattr_status status);

#pragma GCC visibility pop

#endif
