/*
** lua_update: one user's update, from Lua values to a rendered update.
*/
#ifndef imattr_lua_update_h
#define imattr_lua_update_h

#include "draft.h"
#include "lua_compat.h"

#pragma GCC visibility push(hidden)

/*
** Screens and renders the account at `index` (absolute) with the attributes
** behind it: a table of names and values (SHAPE_SET) or of names
** (SHAPE_REMOVE). Never raises, and needs four free places on the stack.
** OK and the update, NO_MEMORY, or a screening status with the draft's fault.
*/
imattr_status imattr_lua_draft(lua_State *L, imattr_draft *draft,
                               imattr_shape shape, const imattr_screen *screen,
                               int index, imattr_update **update);

#pragma GCC visibility pop

#endif
