/*
** lua_engine: imattr.core's engine: the engine, its screen and its draft in
** one object. Lua hands in tables, times and verdicts and gets plain values.
*/
#include "lua_core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "lua_update.h"

#define ENGINE "imattr.engine"

typedef struct holder {
  imattr_engine *engine;
  imattr_draft *draft;
  imattr_screen screen;
  imattr_lua_names names;
  imattr_shape shapes[IMATTR_LANES_MAX];
  size_t lane_count;
  imattr_request request; /* of the last READY */
  int is_untold;          /* was it lost on the way to Lua? */
} holder;

static const char *const shape_names[] = {"set", "remove", "accounts", "whole",
                                          NULL};

static const char *const verdict_names[] = {
    "delivered", "retry", "slow_down", "hold_off", "resign",
    "split",     "stop",  "give_up",   "skip",     NULL};

static const char *const fate_names[] = {"done", "invalid", "refused",
                                         "unknown", "not_sent"};

static holder *check_holder(lua_State *L) {
  return imattr_lua_check(L, 1, ENGINE);
}

static size_t check_lane(lua_State *L, int index, const holder *held) {
  return (size_t)imattr_lua_checkint(L, index, 1, (int64_t)held->lane_count) -
         1;
}

/* {===== push ===== */

/* Screens an update and hands it to the engine. OK, a screening status, FULL
** or NO_MEMORY. */
static imattr_status push_update(lua_State *L, holder *held, size_t lane,
                                 int anchors, int index, uint64_t *ticket) {
  imattr_update *update = NULL;
  imattr_status status;
  if (imattr_engine_room(held->engine) == 0) {
    return IMATTR_FULL;
  }
  status = imattr_lua_draft(L, held->draft, held->shapes[lane], &held->screen,
                            &held->names, anchors, index, &update);
  if (status == IMATTR_OK) {
    status = imattr_engine_push(held->engine, lane, update, ticket);
    if (status != IMATTR_OK) {
      imattr_update_destroy(update);
    }
  }
  return status;
}

/* Pushes code, message and ticket of an update that screening refused. */
static int push_invalid(lua_State *L, holder *held) {
  const imattr_fault *fault = imattr_draft_fault(held->draft);
  imattr_lua_box *box = imattr_lua_newbuffer(L);
  int place = lua_gettop(L);
  if (imattr_fault_message(fault, box->object) != IMATTR_OK) {
    return imattr_lua_failure(L, IMATTR_NO_MEMORY);
  }
  lua_pushstring(L, imattr_status_name((int)fault->status));
  imattr_lua_pushbuffer(L, box, IMATTR_OK);
  imattr_lua_pushint64(
      L, (int64_t)imattr_engine_pass(held->engine, IMATTR_INVALID));
  lua_remove(L, place);
  return 3;
}

/*
** engine:push(lane, account, attrs?) -> ticket
**   | nil, "FULL", message         nothing taken: next and feed first
**   | nil, code, message, ticket   screening refused it
*/
static int l_engine_push(lua_State *L) {
  holder *held = check_holder(L);
  size_t lane = check_lane(L, 2, held);
  uint64_t ticket = 0;
  imattr_status status;
  lua_settop(L, 4);
  luaL_checkstack(L, 8, "attributes");
  imattr_lua_kept(L, 1); /* 5: the anchors */
  status = push_update(L, held, lane, 5, 3, &ticket);
  if (status == IMATTR_FULL || status == IMATTR_NO_MEMORY) {
    return imattr_lua_failure(L, status);
  }
  if (status != IMATTR_OK) {
    lua_pushnil(L);
    return 1 + push_invalid(L, held);
  }
  imattr_lua_pushint64(L, (int64_t)ticket);
  return 1;
}

/* Where l_engine_push_users keeps things on the stack. */
enum { USERS = 3, ANCHORS, ACCOUNT_KEY, ATTRS_KEY, USER, ACCOUNT, ATTRS };

/* Pushes the user object at USER. */
static imattr_status push_user(lua_State *L, holder *held, size_t lane,
                               uint64_t *ticket) {
  if (!lua_istable(L, USER)) {
    return imattr_draft_refuse(held->draft, IMATTR_USER_TYPE, "", NULL, 0);
  }
  lua_pushvalue(L, ACCOUNT_KEY);
  lua_gettable(L, USER);
  lua_pushvalue(L, ATTRS_KEY);
  lua_gettable(L, USER);
  if (lua_isnil(L, ACCOUNT)) {
    return imattr_draft_refuse(held->draft, IMATTR_USER_TYPE, "", NULL, 0);
  }
  return push_update(L, held, lane, ANCHORS, ACCOUNT, ticket);
}

/*
** engine:push_users(lane, users, first, last) -> next
**   | next, code, message, ticket   screening refused users[next]
** Pushes users[first] to users[last], tables with To_Account and Attrs, until
** the engine is full (next is the first that was not pushed) or one is not
** good: that one has its ticket, and the caller goes on behind it.
*/
static int l_engine_push_users(lua_State *L) {
  holder *held = check_holder(L);
  size_t lane = check_lane(L, 2, held);
  int first = (int)imattr_lua_checkint(L, 4, 1, INT32_MAX - 1);
  int last = (int)imattr_lua_checkint(L, 5, 0, INT32_MAX - 1);
  imattr_status status = IMATTR_OK;
  uint64_t ticket;
  luaL_checktype(L, USERS, LUA_TTABLE);
  luaL_checkstack(L, 16, "attributes");
  lua_settop(L, USERS);
  imattr_lua_kept(L, 1);
  lua_pushliteral(L, "To_Account");
  lua_pushliteral(L, "Attrs");
  while (first <= last && status == IMATTR_OK) {
    lua_rawgeti(L, USERS, first);
    status = push_user(L, held, lane, &ticket);
    if (status == IMATTR_OK) {
      lua_settop(L, ATTRS_KEY);
      first++;
    }
  }
  if (status == IMATTR_NO_MEMORY) {
    return imattr_lua_failure(L, status);
  }
  lua_pushinteger(L, first);
  return status == IMATTR_OK || status == IMATTR_FULL
             ? 1
             : 1 + push_invalid(L, held);
}

/* engine:skip() -> ticket of an update that is not pushed and not sent */
static int l_engine_skip(lua_State *L) {
  holder *held = check_holder(L);
  uint64_t ticket = imattr_engine_pass(held->engine, IMATTR_NOT_SENT);
  imattr_lua_pushint64(L, (int64_t)ticket);
  return 1;
}

/* }===== */

/* {===== next and feed ===== */

/* Pushes "ready" and the request. Where Lua has no memory for it, the next call
** of engine:next tells it again: it is in flight, and nobody else knows it. */
static int push_request(lua_State *L, holder *held, int lends) {
  const imattr_request *request = &held->request;
  held->is_untold = 1;
  lua_pushliteral(L, "ready");
  imattr_lua_pushint64(L, (int64_t)request->id);
  lua_pushinteger(L, (lua_Integer)request->lane + 1);
  if (lends) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)request->body);
  } else {
    lua_pushlstring(L, request->body, request->body_len);
  }
  lua_pushinteger(L, (lua_Integer)request->users);
  lua_pushinteger(L, (lua_Integer)request->attempt);
  lua_pushinteger(L, (lua_Integer)request->body_len);
  held->is_untold = 0;
  return 7;
}

/* engine:next(now_us, lends?) -> "ready", id, lane, body, users,
**   attempt, body_len | "wait", until_us (nil: until a reply) | "idle"
** The body is a string, or, when `lends`, a pointer for another module in C,
** good until the request is fed or the engine closed. */
static int l_engine_next(lua_State *L) {
  holder *held = check_holder(L);
  int64_t now_us = imattr_lua_checktime(L, 2);
  int lends = lua_toboolean(L, 3);
  int64_t until_us = 0;
  if (held->is_untold) {
    return push_request(L, held, lends);
  }
  switch (imattr_engine_next(held->engine, now_us, &held->request, &until_us)) {
    case IMATTR_READY: return push_request(L, held, lends);
    case IMATTR_WAIT:
      lua_pushliteral(L, "wait");
      if (until_us == INT64_MAX) {
        lua_pushnil(L);
      } else {
        imattr_lua_pushint64(L, until_us);
      }
      return 2;
    case IMATTR_IDLE: lua_pushliteral(L, "idle"); return 1;
    default: return luaL_error(L, "not enough memory");
  }
}

static int push_outcome(lua_State *L, imattr_status status) {
  if (status != IMATTR_OK) {
    return imattr_lua_failure(L, status);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* engine:refuse_user(id, account, code) -> true | nil, "UNKNOWN_ID", message */
static int l_engine_refuse_user(lua_State *L) {
  holder *held = check_holder(L);
  int64_t id = imattr_lua_checktime(L, 2);
  size_t len;
  const char *account = luaL_checklstring(L, 3, &len);
  int code = (int)imattr_lua_checkint(L, 4, 1, INT32_MAX);
  return push_outcome(L, imattr_engine_refuse_user(held->engine, (uint64_t)id,
                                                   account, len, code));
}

/* engine:feed(id, now_us, verdict, code?, may_have_arrived?) -> true
**   | nil, "UNKNOWN_ID", message */
static int l_engine_feed(lua_State *L) {
  holder *held = check_holder(L);
  int64_t id = imattr_lua_checktime(L, 2);
  int64_t now_us = imattr_lua_checktime(L, 3);
  imattr_verdict verdict;
  verdict.kind =
      (imattr_verdict_kind)luaL_checkoption(L, 4, NULL, verdict_names);
  verdict.code =
      lua_isnoneornil(L, 5) ? 0 : (int)imattr_lua_checkint(L, 5, 0, INT32_MAX);
  verdict.may_have_arrived = lua_toboolean(L, 6);
  return push_outcome(
      L, imattr_engine_feed(held->engine, (uint64_t)id, &verdict, now_us));
}

/* engine:flush(is_on): batches that are not full may leave */
static int l_engine_flush(lua_State *L) {
  holder *held = check_holder(L);
  imattr_engine_flush(held->engine, lua_toboolean(L, 2));
  return 0;
}

/* engine:stop(code) */
static int l_engine_stop(lua_State *L) {
  holder *held = check_holder(L);
  imattr_engine_stop(held->engine,
                     (int)imattr_lua_checkint(L, 2, 1, INT32_MAX));
  return 0;
}

/* engine:stop_code() -> code | nil */
static int l_engine_stop_code(lua_State *L) {
  holder *held = check_holder(L);
  imattr_lua_pushcode(L, imattr_engine_stop_code(held->engine));
  return 1;
}

/* }===== */

/* {===== results ===== */

/* engine:wants() -> updates to push now, so that a full batch lies ready */
static int l_engine_wants(lua_State *L) {
  holder *held = check_holder(L);
  lua_pushinteger(L, (lua_Integer)imattr_engine_wants(held->engine));
  return 1;
}

/* engine:room() -> updates that push will surely take */
static int l_engine_room(lua_State *L) {
  holder *held = check_holder(L);
  lua_pushinteger(L, (lua_Integer)imattr_engine_room(held->engine));
  return 1;
}

/* engine:result() -> ticket, fate, code?, attempts, account | nil */
static int l_engine_result(lua_State *L) {
  holder *held = check_holder(L);
  imattr_result result;
  if (!imattr_engine_peek(held->engine, &result)) {
    lua_pushnil(L);
    return 1;
  }
  imattr_lua_pushint64(L, (int64_t)result.ticket);
  lua_pushstring(L, fate_names[result.fate]);
  imattr_lua_pushcode(L, result.code);
  lua_pushinteger(L, (lua_Integer)result.attempts);
  lua_pushlstring(L, result.account, result.account_len);
  imattr_engine_result(held->engine, &result); /* Lua has it: not lost now */
  return 5;
}

static void set_count(lua_State *L, const char *name, uint64_t count) {
  imattr_lua_pushint64(L, (int64_t)count);
  lua_setfield(L, -2, name);
}

/* engine:counts(into?) -> table of counts; `into` is filled and returned */
static int l_engine_counts(lua_State *L) {
  holder *held = check_holder(L);
  imattr_counts counts;
  int fate;
  imattr_engine_counts(held->engine, &counts);
  lua_settop(L, 2);
  if (!lua_istable(L, 2)) {
    lua_newtable(L);
  }
  set_count(L, "users", counts.users);
  for (fate = 0; fate < IMATTR_FATE_COUNT; fate++) {
    set_count(L, fate_names[fate], counts.fates[fate]);
  }
  set_count(L, "merged", counts.merged);
  set_count(L, "waiting", counts.waiting);
  set_count(L, "in_flight", counts.in_flight);
  set_count(L, "requests", counts.requests);
  set_count(L, "retries", counts.retries);
  return 1;
}

/* }===== */

/* {===== birth and death ===== */

static int l_engine_close(lua_State *L) {
  imattr_lua_box *box = luaL_checkudata(L, 1, ENGINE);
  holder *held = box->object;
  if (held != NULL) {
    imattr_engine_destroy(held->engine);
    imattr_draft_destroy(held->draft);
    free(held);
    box->object = NULL;
  }
  return 0;
}

/* The shape named at the top of the stack. Raises for another name. */
static imattr_shape check_shape(lua_State *L, int lane) {
  const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  int shape;
  for (shape = 0; shape < IMATTR_SHAPE_COUNT; shape++) {
    if (strcmp(name, shape_names[shape]) == 0) {
      return (imattr_shape)shape;
    }
  }
  luaL_error(L, "lanes[%d].shape: wants set, remove, accounts or whole", lane);
  return IMATTR_SHAPE_COUNT; /* not reached */
}

static void check_table(lua_State *L, const char *name) {
  if (!lua_istable(L, -1)) {
    luaL_error(L, "%s: a %s, wants a table", name, luaL_typename(L, -1));
  }
}

/* Reads lanes = { { shape = "set", pace = pace? }, ... } of the config table
** at 1, and anchors the paces in the table `keep`. */
static void read_lanes(lua_State *L, int keep, imattr_engine_config *config) {
  int i;
  lua_getfield(L, 1, "lanes");
  check_table(L, "lanes");
  config->lane_count = (size_t)lua_rawlen(L, -1);
  if (config->lane_count < 1 || config->lane_count > IMATTR_LANES_MAX) {
    luaL_error(L, "lanes: wants 1 to %d", IMATTR_LANES_MAX);
  }
  for (i = 0; i < (int)config->lane_count; i++) {
    lua_rawgeti(L, -1, i + 1);
    check_table(L, "a lane of lanes");
    lua_getfield(L, -1, "shape");
    config->lanes[i].shape = check_shape(L, i + 1);
    lua_getfield(L, -2, "pace");
    if (!lua_isnil(L, -1)) {
      config->lanes[i].pace = imattr_lua_checkpace(L, lua_gettop(L));
    }
    lua_rawseti(L, keep, i + 1);
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

/* Reads names = { "sex", ... }?, anchoring the strings in `keep`. */
static void read_names(lua_State *L, int keep, imattr_screen *screen) {
  int i, count;
  lua_getfield(L, 1, "names");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  check_table(L, "names");
  count = (int)lua_rawlen(L, -1);
  if (count > IMATTR_NAMES_MAX) {
    luaL_error(L, "names: %d, limit %d", count, IMATTR_NAMES_MAX);
  }
  for (i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    if (lua_type(L, -1) != LUA_TSTRING) {
      luaL_error(L, "names[%d]: a %s, wants a string", i + 1,
                 luaL_typename(L, -1));
    }
    screen->names[i].text = lua_tolstring(L, -1, &screen->names[i].len);
    lua_rawseti(L, keep, IMATTR_LANES_MAX + i + 1);
  }
  screen->knows_names = 1;
  screen->name_count = (size_t)count;
  lua_pop(L, 1);
}

static void read_limits(lua_State *L, imattr_engine_config *config) {
  const int64_t most = INT64_C(1) << 40;
  config->users_max = (size_t)imattr_lua_fieldint(L, 1, "users_max", 1, 1000);
  config->body_bytes_max =
      (size_t)imattr_lua_fieldint(L, 1, "body_bytes_max", 1, INT32_MAX);
  config->queue_max =
      (size_t)imattr_lua_fieldint(L, 1, "queue_max", 1, INT32_MAX);
  config->in_flight_max = (size_t)imattr_lua_fieldint(L, 1, "in_flight_max", 1,
                                                      IMATTR_IN_FLIGHT_MAX);
  config->attempts_max =
      (unsigned)imattr_lua_fieldint(L, 1, "attempts_max", 1, 1000);
  config->hold_us = imattr_lua_fieldint(L, 1, "hold_us", 0, IMATTR_HOLD_US_MAX);
  config->outage_max_us =
      imattr_lua_fieldint(L, 1, "outage_max_us", 0, most * 1024);
  config->deadline_us =
      imattr_lua_fieldint(L, 1, "deadline_us", 0, most * 1024);
  config->seed = (uint64_t)imattr_lua_fieldint(L, 1, "seed", 0, UINT32_MAX);
  lua_getfield(L, 1, "probing");
  config->is_probing = lua_toboolean(L, -1);
  lua_getfield(L, 1, "quiet");
  config->is_quiet = lua_toboolean(L, -1);
  lua_pop(L, 2);
}

/* Makes what the box owns. OK or NO_MEMORY; the box closes either. */
static imattr_status fill(imattr_lua_box *box,
                          const imattr_engine_config *config,
                          const imattr_screen *screen) {
  holder *held = calloc(1, sizeof *held);
  size_t i;
  if (held == NULL) {
    return IMATTR_NO_MEMORY;
  }
  box->object = held;
  held->screen = *screen;
  held->lane_count = config->lane_count;
  for (i = 0; i < config->lane_count; i++) {
    held->shapes[i] = config->lanes[i].shape;
  }
  held->draft = imattr_draft_create();
  held->engine = imattr_engine_create(config);
  return held->draft == NULL || held->engine == NULL ? IMATTR_NO_MEMORY
                                                     : IMATTR_OK;
}

/*
** core.engine { lanes, names?, account_bytes_max, value_bytes_max, users_max,
** body_bytes_max, queue_max, in_flight_max, attempts_max, hold_us,
** outage_max_us, deadline_us, seed, probing?, quiet? } -> engine. Raises for a
*wrong field.
*/
static int l_engine(lua_State *L) {
  imattr_engine_config config;
  imattr_screen screen;
  imattr_lua_box *box;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  memset(&config, 0, sizeof config);
  memset(&screen, 0, sizeof screen);
  lua_newtable(L); /* 2: what the engine needs alive */
  read_lanes(L, 2, &config);
  read_names(L, 2, &screen);
  read_limits(L, &config);
  screen.account_bytes_max =
      (size_t)imattr_lua_fieldint(L, 1, "account_bytes_max", 1, 255);
  screen.value_bytes_max =
      (size_t)imattr_lua_fieldint(L, 1, "value_bytes_max", 1, 500);
  box = imattr_lua_new(L, ENGINE);
  lua_pushvalue(L, 2);
  imattr_lua_keep(L, -2);
  if (fill(box, &config, &screen) != IMATTR_OK) {
    return imattr_lua_failure(L, IMATTR_NO_MEMORY);
  }
  return 1;
}

/* }===== */

static const luaL_Reg engine_methods[] = {
    {"push", l_engine_push},           {"push_users", l_engine_push_users},
    {"skip", l_engine_skip},           {"room", l_engine_room},
    {"wants", l_engine_wants},         {"flush", l_engine_flush},
    {"next", l_engine_next},           {"refuse_user", l_engine_refuse_user},
    {"feed", l_engine_feed},           {"stop", l_engine_stop},
    {"stop_code", l_engine_stop_code}, {"result", l_engine_result},
    {"counts", l_engine_counts},       {NULL, NULL}};

static const luaL_Reg functions[] = {{"engine", l_engine}, {NULL, NULL}};

void imattr_lua_open_engine(lua_State *L) {
  imattr_lua_class(L, ENGINE, engine_methods, l_engine_close);
  luaL_setfuncs(L, functions, 0);
}
