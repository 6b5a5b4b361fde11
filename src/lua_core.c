/* lua_core: luaopen_imattr_core, and buffers that a raise cannot leak */
#include "lua_core.h"

#include <stdlib.h>

#define BUFFER "imattr.buffer"

static void free_buffer(imattr_lua_box *box) {
  imattr_buffer *buffer = box->object;
  if (buffer != NULL) {
    imattr_buffer_clear(buffer);
    free(buffer);
    box->object = NULL;
  }
}

static int l_buffer_close(lua_State *L) {
  free_buffer(luaL_checkudata(L, 1, BUFFER));
  return 0;
}

imattr_lua_box *imattr_lua_newbuffer(lua_State *L) {
  imattr_lua_box *box = imattr_lua_new(L, BUFFER);
  imattr_buffer *buffer = malloc(sizeof *buffer);
  if (buffer == NULL) {
    luaL_error(L, "not enough memory");
    return NULL; /* not reached */
  }
  imattr_buffer_init(buffer);
  box->object = buffer;
  return box;
}

int imattr_lua_pushbuffer(lua_State *L, imattr_lua_box *box,
                          imattr_status status) {
  imattr_buffer *buffer = box->object;
  if (status != IMATTR_OK) {
    free_buffer(box);
    return imattr_lua_failure(L, status);
  }
  lua_pushlstring(L, buffer->len > 0 ? buffer->data : "", buffer->len);
  free_buffer(box);
  return 1;
}

/* core.statuses: { [name] = { code = number, message = sentence } } */
static void push_statuses(lua_State *L) {
  int status;
  lua_createtable(L, 0, IMATTR_STATUS_COUNT);
  for (status = 1; status < IMATTR_STATUS_COUNT; status++) {
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, imattr_status_sentence(status));
    lua_setfield(L, -2, "message");
    lua_setfield(L, -2, imattr_status_name(status));
  }
}

static const luaL_Reg no_methods[] = {{NULL, NULL}};

IMATTR_EXPORT int luaopen_imattr_core(lua_State *L);

IMATTR_EXPORT int luaopen_imattr_core(lua_State *L) {
  imattr_lua_class(L, BUFFER, no_methods, l_buffer_close);
  lua_newtable(L);
  imattr_lua_open_usersig(L);
  imattr_lua_open_pace(L);
  imattr_lua_open_engine(L);
  imattr_lua_open_system(L);
  push_statuses(L);
  lua_setfield(L, -2, "statuses");
  return 1;
}
