/* lua_usersig: imattr.core's signer, a key that signs and verifies */
#include "lua_core.h"

#include <limits.h>
#include <string.h>

#include "usersig.h"

#define SIGNER "imattr.signer"

/* Arguments 2 to 5 (and a userbuf in base64 at `userbuf`) of sign and verify:
** sdkappid, identifier, time_s, expire_s. */
static imattr_usersig_fields check_fields(lua_State *L, int userbuf) {
  imattr_usersig_fields fields;
  fields.sdkappid = (uint64_t)imattr_lua_checkint(L, 2, 1, UINT32_MAX);
  fields.identifier = luaL_checklstring(L, 3, &fields.identifier_len);
  fields.time_s = imattr_lua_checkint(L, 4, 0, INT64_C(1) << 40);
  fields.expire_s = imattr_lua_checkint(L, 5, 1, INT64_C(1) << 40);
  fields.userbuf = luaL_optlstring(L, userbuf, NULL, &fields.userbuf_len);
  return fields;
}

/* signer:sign(sdkappid, identifier, time_s, expire_s, userbuf_base64?) ->
** usersig | nil, code, message */
static int l_signer_sign(lua_State *L) {
  imattr_key *key = imattr_lua_check(L, 1, SIGNER);
  imattr_usersig_fields fields = check_fields(L, 6);
  imattr_lua_box *box = imattr_lua_newbuffer(L);
  imattr_status status = imattr_usersig_sign(key, &fields, box->object);
  return imattr_lua_pushbuffer(L, box, status);
}

/* signer:verify(sdkappid, identifier, time_s, expire_s, userbuf_base64?, mac)
** -> boolean | nil, code, message */
static int l_signer_verify(lua_State *L) {
  imattr_key *key = imattr_lua_check(L, 1, SIGNER);
  imattr_usersig_fields fields = check_fields(L, 6);
  size_t mac_len;
  const char *mac = luaL_checklstring(L, 7, &mac_len);
  int holds = 0;
  imattr_status status =
      imattr_usersig_verify(key, &fields, mac, mac_len, &holds);
  if (status != IMATTR_OK) {
    return imattr_lua_failure(L, status);
  }
  lua_pushboolean(L, holds);
  return 1;
}

static int l_signer_close(lua_State *L) {
  imattr_lua_box *box = luaL_checkudata(L, 1, SIGNER);
  imattr_key_destroy(box->object);
  box->object = NULL;
  return 0;
}

/* core.signer(key) -> signer | nil, code, message */
static int l_signer(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  imattr_lua_box *box = imattr_lua_new(L, SIGNER);
  imattr_key *key = NULL;
  imattr_status status = imattr_key_create(&key, text, len);
  box->object = key;
  return status == IMATTR_OK ? 1 : imattr_lua_failure(L, status);
}

/* core.signer_file(path) -> signer | nil, code, message */
static int l_signer_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  imattr_lua_box *box = imattr_lua_new(L, SIGNER);
  imattr_key *key = NULL;
  imattr_status status = imattr_key_read(&key, path);
  box->object = key;
  return status == IMATTR_OK ? 1 : imattr_lua_failure(L, status);
}

/* core.usersig_unpack(usersig) -> json | nil, code, message */
static int l_usersig_unpack(lua_State *L) {
  size_t len;
  const char *usersig = luaL_checklstring(L, 1, &len);
  imattr_lua_box *box = imattr_lua_newbuffer(L);
  imattr_status status = imattr_usersig_unpack(usersig, len, box->object);
  return imattr_lua_pushbuffer(L, box, status);
}

static const luaL_Reg signer_methods[] = {
    {"sign", l_signer_sign}, {"verify", l_signer_verify}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"signer", l_signer},
                                     {"signer_file", l_signer_file},
                                     {"usersig_unpack", l_usersig_unpack},
                                     {NULL, NULL}};

void imattr_lua_open_usersig(lua_State *L) {
  imattr_lua_class(L, SIGNER, signer_methods, l_signer_close);
  luaL_setfuncs(L, functions, 0);
}
