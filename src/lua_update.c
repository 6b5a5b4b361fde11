/* lua_update: walks the tables a caller gives for one user */
#include "lua_update.h"

#include <inttypes.h>
#include <stdio.h>

#include "lua_bind.h"

/* What stands at `index`, as words: "a boolean", "null". */
static const char *found(lua_State *L, int index) {
  switch (lua_type(L, index)) {
    case LUA_TNIL: return "nothing";
    case LUA_TBOOLEAN: return "a boolean";
    case LUA_TNUMBER: return "a number";
    case LUA_TSTRING: return "a string";
    case LUA_TTABLE: return "a table";
    case LUA_TFUNCTION: return "a function";
    case LUA_TLIGHTUSERDATA:
      return lua_touserdata(L, index) == NULL ? "null" : "a userdata";
    default: return "an object";
  }
}

#define DIGITS_SIZE 24

/* The digits of the number at `index`; or 0, and in *what the words for what
** it is instead of an integer that every Lua counts exactly. */
static size_t integer_digits(lua_State *L, int index, char digits[DIGITS_SIZE],
                             const char **what) {
  lua_Number number = lua_tonumber(L, index);
  int64_t integer;
  if (imattr_lua_toint64(L, index, &integer)) {
    return (size_t)snprintf(digits, DIGITS_SIZE, "%" PRId64, integer);
  }
  if (number > -1e15 && number < 1e15) {
    *what = "a fraction";
  } else {
    *what = number > 0 || number < 0 ? "a number beyond 2^53" : "not a number";
  }
  return 0;
}

/* The row of the name at -2, or NULL. Names come in much the same order from
** user to user, so the search begins behind the last one found. */
static size_t *find_name(lua_State *L, imattr_lua_names *names) {
  const void *string = lua_topointer(L, -2);
  size_t left;
  for (left = names->count; left > 0; left--) {
    size_t at = names->next;
    names->next = at + 1 < names->count ? at + 1 : 0;
    if (names->rows[at].string == string) { /* which is not NULL */
      return &names->rows[at].kept;
    }
  }
  return NULL;
}

/* Anchors the name at -2 if the draft keeps it, so that it is found next time
** without being looked at. */
static void learn_name(lua_State *L, imattr_draft *draft,
                       imattr_lua_names *names, int anchors, const char *name,
                       size_t len) {
  size_t kept = imattr_draft_find(draft, name, len);
  const void *string = lua_topointer(L, -2); /* NULL where Lua tells none */
  if (kept != IMATTR_NOT_KEPT && string != NULL &&
      names->count < IMATTR_ATTRS_MAX) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, anchors, IMATTR_FIRST_ANCHOR + (int)names->count);
    names->rows[names->count].string = string;
    names->rows[names->count].kept = kept;
    names->count++;
  }
}

/* The text of the value at -1: a string, or the digits of an integer; NULL and
** in *what the words for anything else. */
static const char *value_text(lua_State *L, char digits[DIGITS_SIZE],
                              size_t *len, const char **what) {
  switch (lua_type(L, -1)) {
    case LUA_TSTRING: return lua_tolstring(L, -1, len);
    case LUA_TNUMBER:
      *len = integer_digits(L, -1, digits, what);
      return *len > 0 ? digits : NULL;
    default: *what = found(L, -1); return NULL;
  }
}

/* One pair of an Attrs object: key at -2, value at -1. The key must not be
** turned into a string. */
static imattr_status draft_pair(lua_State *L, imattr_draft *draft,
                                imattr_lua_names *names, int anchors) {
  char digits[DIGITS_SIZE];
  size_t name_len, value_len;
  const char *name, *what = NULL;
  const char *value = value_text(L, digits, &value_len, &what);
  const size_t *kept = value == NULL ? NULL : find_name(L, names);
  imattr_status status;
  if (kept != NULL) {
    return imattr_draft_set_kept(draft, *kept, value, value_len);
  }
  if (lua_type(L, -2) != LUA_TSTRING) {
    return imattr_draft_refuse(draft, IMATTR_NAME_TYPE, found(L, -2), NULL, 0);
  }
  name = lua_tolstring(L, -2, &name_len);
  if (value == NULL) {
    return imattr_draft_refuse(draft, IMATTR_VALUE_TYPE, what, name, name_len);
  }
  status = imattr_draft_set(draft, name, name_len, value, value_len);
  if (status == IMATTR_OK) {
    learn_name(L, draft, names, anchors, name, name_len);
  }
  return status;
}

/* The Attrs object at `index`. */
static imattr_status draft_pairs(lua_State *L, int index, imattr_draft *draft,
                                 imattr_lua_names *names, int anchors) {
  imattr_status status = IMATTR_OK;
  lua_pushnil(L);
  while (status == IMATTR_OK && lua_next(L, index) != 0) {
    status = draft_pair(L, draft, names, anchors);
    lua_pop(L, 1);
  }
  return status;
}

/* The Attrs array at `index`. */
static imattr_status draft_names(lua_State *L, int index, imattr_draft *draft) {
  imattr_status status = IMATTR_OK;
  int count = (int)lua_rawlen(L, index);
  int i;
  for (i = 1; status == IMATTR_OK && i <= count; i++) {
    lua_rawgeti(L, index, i);
    if (lua_type(L, -1) == LUA_TSTRING) {
      size_t len;
      const char *name = lua_tolstring(L, -1, &len);
      status = imattr_draft_name(draft, name, len);
    } else {
      status =
          imattr_draft_refuse(draft, IMATTR_NAME_TYPE, found(L, -1), NULL, 0);
    }
    lua_pop(L, 1);
  }
  return status;
}

imattr_status imattr_lua_draft(lua_State *L, imattr_draft *draft,
                               imattr_shape shape, const imattr_screen *screen,
                               imattr_lua_names *names, int anchors, int index,
                               imattr_update **update) {
  imattr_status status;
  const char *account;
  size_t len;
  if (lua_type(L, index) != LUA_TSTRING) {
    return imattr_draft_refuse(draft, IMATTR_ACCOUNT_TYPE, found(L, index),
                               NULL, 0);
  }
  account = lua_tolstring(L, index, &len);
  status = imattr_draft_begin(draft, shape, screen, account, len);
  if (status == IMATTR_OK && shape <= IMATTR_SHAPE_REMOVE) {
    index++;
    if (!lua_istable(L, index)) {
      status = imattr_draft_refuse(draft, IMATTR_ATTRS_TYPE, found(L, index),
                                   NULL, 0);
    } else if (shape == IMATTR_SHAPE_SET) {
      status = draft_pairs(L, index, draft, names, anchors);
    } else {
      status = draft_names(L, index, draft);
    }
  }
  return status == IMATTR_OK ? imattr_draft_finish(draft, update) : status;
}
