/*
** lua_curl: imattr.curl, the transport's C half. Loaded by scripts and the
** command only: in nginx it would block the worker.
*/
#include <dlfcn.h>
#include <limits.h>
#include <string.h>

#include <curl/curl.h>

#include "curl_pool.h"
#include "lua_bind.h"

#define POOL "imattr.curl_pool"

static imattr_curl_pool *check_pool(lua_State *L) {
  return imattr_lua_check(L, 1, POOL);
}

/* pool:start(id, base, target, body, body_len). The body is a string or a
** pointer that another module lends; the caller keeps either alive until the
** reply was taken. Raises when there is no memory. */
static int l_pool_start(lua_State *L) {
  imattr_curl_pool *pool = check_pool(L);
  imattr_curl_request request;
  request.id = (uint64_t)imattr_lua_checktime(L, 2);
  request.base = luaL_checkstring(L, 3);
  request.target = luaL_checkstring(L, 4);
  request.body =
      lua_islightuserdata(L, 5) ? lua_touserdata(L, 5) : luaL_checkstring(L, 5);
  request.body_len = (size_t)imattr_lua_checkint(L, 6, 0, INT_MAX);
  if (imattr_curl_pool_start(pool, &request) != IMATTR_OK) {
    return luaL_error(L, "not enough memory");
  }
  return 0;
}

/* pool:wait(timeout_ms) -> id, status, may_have_arrived, http_status, body,
** date?, message? | nil. A status of "OK" is an answer read to its end. */
static int l_pool_wait(lua_State *L) {
  imattr_curl_pool *pool = check_pool(L);
  int timeout_ms = (int)imattr_lua_checkint(L, 2, -1, INT_MAX);
  imattr_curl_reply reply;
  if (!imattr_curl_pool_wait(pool, timeout_ms, &reply)) {
    lua_pushnil(L);
    return 1;
  }
  imattr_lua_pushint64(L, (int64_t)reply.id);
  lua_pushstring(L, imattr_status_name((int)reply.status));
  lua_pushboolean(L, reply.may_have_arrived);
  lua_pushinteger(L, (lua_Integer)reply.http_status);
  lua_pushlstring(L, reply.body, reply.body_len);
  lua_pushstring(L, reply.date);
  lua_pushstring(L, reply.message);
  return 7;
}

/* pool:in_flight() -> requests started whose reply was not taken */
static int l_pool_in_flight(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)imattr_curl_pool_in_flight(check_pool(L)));
  return 1;
}

static int l_pool_close(lua_State *L) {
  imattr_lua_box *box = luaL_checkudata(L, 1, POOL);
  imattr_curl_pool_destroy(box->object);
  box->object = NULL;
  return 0;
}

/* A text field of the table at 1, or NULL; the table keeps it alive. */
static const char *text_field(lua_State *L, const char *name) {
  const char *text;
  lua_getfield(L, 1, name);
  if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING) {
    luaL_error(L, "%s: a %s, wants a string", name, luaL_typename(L, -1));
  }
  text = lua_tostring(L, -1);
  lua_pop(L, 1);
  return text;
}

/* curl.pool { connect_timeout_ms, timeout_ms, ca_file?, proxy?, allows_http,
** is_direct }
** -> pool | nil, code, message */
static int l_pool(lua_State *L) {
  imattr_curl_config config;
  imattr_lua_box *box;
  imattr_curl_pool *pool = NULL;
  imattr_status status;
  luaL_checktype(L, 1, LUA_TTABLE);
  config.connect_timeout_ms =
      (long)imattr_lua_fieldint(L, 1, "connect_timeout_ms", 1, INT_MAX);
  config.timeout_ms = (long)imattr_lua_fieldint(L, 1, "timeout_ms", 1, INT_MAX);
  config.ca_file = text_field(L, "ca_file");
  config.proxy = text_field(L, "proxy");
  lua_getfield(L, 1, "allows_http");
  config.allows_http = lua_toboolean(L, -1);
  lua_getfield(L, 1, "is_direct");
  config.is_direct = lua_toboolean(L, -1);
  box = imattr_lua_new(L, POOL);
  status = imattr_curl_pool_create(&pool, &config);
  box->object = pool;
  return status == IMATTR_OK ? 1 : imattr_lua_failure(L, status);
}

static const luaL_Reg pool_methods[] = {{"start", l_pool_start},
                                        {"wait", l_pool_wait},
                                        {"in_flight", l_pool_in_flight},
                                        {NULL, NULL}};

static const luaL_Reg functions[] = {{"pool", l_pool}, {NULL, NULL}};

/* A resolver's thread that was left behind may return to libcurl when the Lua
** state is gone: libcurl stays where it is. Where it has another name it is
** linked into the program, and stays anyway. */
static void keep_libcurl(void) {
  void *kept = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  if (kept != NULL) {
    dlclose(kept);
  }
}

IMATTR_EXPORT int luaopen_imattr_curl(lua_State *L);

IMATTR_EXPORT int luaopen_imattr_curl(lua_State *L) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  keep_libcurl();
  imattr_lua_class(L, POOL, pool_methods, l_pool_close);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_pushstring(L, curl_version());
  lua_setfield(L, -2, "version");
  return 1;
}
