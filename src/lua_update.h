/*
** lua_update: one user's update, from Lua values to a rendered update.
*/
#ifndef imattr_lua_update_h
#define imattr_lua_update_h

#include "draft.h"
#include "lua_compat.h"

#pragma GCC visibility push(hidden)

/* In the table of anchors, names begin here; below is the caller's. */
#define IMATTR_FIRST_ANCHOR 32

/*
** Names that the draft keeps, by the address of their Lua string. The strings
** are anchored in a table, so an address stands for one string for good.
** Zeroed by the caller before the first use.
*/
typedef struct imattr_lua_names {
  size_t count;
  size_t next; /* where the next one is likely to be found */
  struct {
    const void *string;
    size_t kept;
  } rows[IMATTR_ATTRS_MAX];
} imattr_lua_names;

/*
** Screens and renders the account at `index` (absolute) with the attributes
** behind it: a table of names and values (SHAPE_SET) or of names
** (SHAPE_REMOVE). Raises only when there is no memory to anchor a name in the
** table at `anchors`; needs six free places on the stack.
** OK and the update, NO_MEMORY, or a screening status with the draft's fault.
*/
imattr_status imattr_lua_draft(lua_State *L, imattr_draft *draft,
                               imattr_shape shape, const imattr_screen *screen,
                               imattr_lua_names *names, int anchors, int index,
                               imattr_update **update);

#pragma GCC visibility pop

#endif
