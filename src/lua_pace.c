/* lua_pace: imattr.core's pace, a slot ring */
#include "lua_core.h"

#include <errno.h>
#include <string.h>

#define PACE "imattr.pace"

imattr_pace *imattr_lua_checkpace(lua_State *L, int index) {
  return imattr_lua_check(L, index, PACE);
}

/* pace:take(now_us, hold_us) -> slot, held_us | nil, until_us */
static int l_pace_take(lua_State *L) {
  imattr_pace *pace = imattr_lua_checkpace(L, 1);
  int64_t now_us = imattr_lua_checktime(L, 2);
  int64_t hold_us = imattr_lua_checkint(L, 3, 0, IMATTR_HOLD_US_MAX);
  int slot = -1;
  int64_t held_us = 0;
  int64_t until_us = imattr_pace_take(pace, now_us, hold_us, &slot, &held_us);
  if (until_us == 0) {
    lua_pushinteger(L, slot);
    imattr_lua_pushint64(L, held_us);
    return 2;
  }
  lua_pushnil(L);
  imattr_lua_pushint64(L, until_us);
  return 2;
}

/* pace:give(slot, now_us, held_us?) */
static int l_pace_give(lua_State *L) {
  imattr_pace *pace = imattr_lua_checkpace(L, 1);
  int64_t slot = imattr_lua_checkint(L, 2, -1, IMATTR_RATE_MAX - 1);
  int64_t now_us = imattr_lua_checktime(L, 3);
  imattr_pace_give(pace, (int)slot,
                   lua_isnoneornil(L, 4) ? 0 : imattr_lua_checktime(L, 4),
                   now_us);
  return 0;
}

/* pace:slow_down(now_us) */
static int l_pace_slow_down(lua_State *L) {
  imattr_pace *pace = imattr_lua_checkpace(L, 1);
  imattr_pace_slow_down(pace, imattr_lua_checktime(L, 2));
  return 0;
}

/* pace:limit(requests a second, now_us): the vendor's */
static int l_pace_limit(lua_State *L) {
  imattr_pace *pace = imattr_lua_checkpace(L, 1);
  int limit = (int)imattr_lua_checkint(L, 2, 1, IMATTR_RATE_MAX);
  imattr_pace_limit(pace, limit, imattr_lua_checktime(L, 3));
  return 0;
}

/* pace:rate(now_us) -> the requests a second that it keeps to */
static int l_pace_rate(lua_State *L) {
  const imattr_pace *pace = imattr_lua_checkpace(L, 1);
  lua_pushinteger(L, imattr_pace_rate(pace, imattr_lua_checktime(L, 2)));
  return 1;
}

static int l_pace_close(lua_State *L) {
  imattr_lua_box *box = luaL_checkudata(L, 1, PACE);
  imattr_pace_destroy(box->object);
  box->object = NULL;
  return 0;
}

static imattr_pace_mode check_mode(lua_State *L, int index) {
  static const char *const names[] = {"strict", "even", NULL};
  return luaL_checkoption(L, index, "strict", names) == 0 ? IMATTR_PACE_STRICT
                                                          : IMATTR_PACE_EVEN;
}

/* core.pace(rate, mode, name?, is_backfill?, heeds_raises?)
** -> pace | nil, code, message. With a name the ring is shared with every
** process of this user that gives the same one. */
static int l_pace(lua_State *L) {
  int rate = (int)imattr_lua_checkint(L, 1, 1, IMATTR_RATE_MAX);
  imattr_pace_manner manner = {check_mode(L, 2), lua_toboolean(L, 4),
                               lua_toboolean(L, 5)};
  const char *name = luaL_optstring(L, 3, NULL);
  imattr_lua_box *box = imattr_lua_new(L, PACE);
  imattr_pace *pace = NULL;
  imattr_status status = name == NULL
                             ? imattr_pace_create(&pace, rate, manner)
                             : imattr_pace_open(&pace, name, rate, manner);
  int reason = errno;
  box->object = pace;
  if (status == IMATTR_PACE_FILE) {
    lua_pushnil(L);
    lua_pushstring(L, imattr_status_name((int)status));
    lua_pushfstring(L, "%s: %s: %s", imattr_status_sentence((int)status), name,
                    strerror(reason));
    return 3;
  }
  return status == IMATTR_OK ? 1 : imattr_lua_failure(L, status);
}

static const luaL_Reg pace_methods[] = {
    {"take", l_pace_take},           {"give", l_pace_give},
    {"slow_down", l_pace_slow_down}, {"limit", l_pace_limit},
    {"rate", l_pace_rate},           {NULL, NULL}};

static const luaL_Reg functions[] = {{"pace", l_pace}, {NULL, NULL}};

void imattr_lua_open_pace(lua_State *L) {
  imattr_lua_class(L, PACE, pace_methods, l_pace_close);
  luaL_setfuncs(L, functions, 0);
}
