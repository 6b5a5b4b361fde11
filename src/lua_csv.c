/*
** lua_csv: imattr.csv, records out of CSV and plain bytes out of gzip for Lua.
** Loaded by the command only.
**
** A row becomes Lua values once, when it is good: its account, and a table of
** attributes that serves every row in turn. Everything else about the record
** (its text, its place, its fields) is asked for when it is wanted.
*/
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "gunzip.h"
#include "lua_bind.h"

#define READER "imattr.csv_reader"
#define GUNZIP "imattr.gunzip"

/* Columns a reader tells apart; the header's limit is the caller's. */
#define COLUMNS_MAX 1024

/* Cells up to this length are remembered: a column often says the same again,
** and then its attribute needs no touch. */
#define SEEN_MAX 40

typedef struct place {
  unsigned char is_named; /* is it an attribute? */
  unsigned char is_set;   /* has the table of attributes a value for it? */
  unsigned char seen_len; /* of the cell that was set; 0: it was not kept */
  char seen[SEEN_MAX];
} place;

typedef struct holder {
  imattr_csv *csv;
  imattr_csv_record record; /* the last one */
  uint64_t first_line;      /* rows that begin before are passed over */
  size_t fields_max;        /* that a record keeps */
  size_t width;             /* columns of the header; 0: not known yet */
  size_t account;           /* column of the account, from 0 */
  size_t line_column;       /* must hold digits or nothing; width: none */
  const char *null;         /* text of a cell that removes; the box keeps it */
  size_t null_len;
  place places[COLUMNS_MAX];
} holder;

/* What a reader keeps: the table of attributes, the null text, and the name of
** column i at NAMES + i. */
enum { ATTRS = 1, NULL_TEXT = 2, NAMES = 3 };

static holder *check_holder(lua_State *L) {
  return imattr_lua_check(L, 1, READER);
}

/* {===== bytes in ===== */

/* reader:feed(bytes) */
static int l_feed(lua_State *L) {
  holder *held = check_holder(L);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  imattr_status status = imattr_csv_feed(held->csv, bytes, len);
  held->record.count = 0; /* what it pointed to has moved */
  held->record.raw_len = 0;
  return status == IMATTR_OK ? 0 : imattr_lua_failure(L, status);
}

/* reader:finish(): there is no more to feed */
static int l_finish(lua_State *L) {
  imattr_csv_end(check_holder(L)->csv);
  return 0;
}

/* }===== */

/* {===== records out ===== */

static const char *const answers[] = {"record", "bad", "hungry", "end"};

/* reader:next() -> "record" | "bad" | "hungry" (feed or finish) | "end" */
static int l_next(lua_State *L) {
  holder *held = check_holder(L);
  lua_pushstring(L, answers[imattr_csv_next(held->csv, &held->record)]);
  return 1;
}

/* reader:begin_at(line): row passes over records, good or bad, that begin in
** lines before */
static int l_begin_at(lua_State *L) {
  holder *held = check_holder(L);
  held->first_line = (uint64_t)imattr_lua_checkint(L, 2, 0, INT64_C(1) << 53);
  return 0;
}

/* The column named by field `name` of the table at 2, from 0; `otherwise` when
** there is none. */
static size_t column_field(lua_State *L, const char *name, size_t otherwise) {
  size_t column = otherwise;
  lua_getfield(L, 2, name);
  if (!lua_isnil(L, -1)) {
    column = (size_t)imattr_lua_fieldint(L, 2, name, 1, COLUMNS_MAX) - 1;
  }
  lua_pop(L, 1);
  return column;
}

/* Reads names = { [column] = name } of the table at 2 into the table at 3. */
static void read_names(lua_State *L, holder *held) {
  size_t i;
  lua_getfield(L, 2, "names");
  luaL_checktype(L, -1, LUA_TTABLE);
  for (i = 0; i < held->width; i++) {
    lua_rawgeti(L, -1, (int)i + 1);
    held->places[i].is_named = lua_type(L, -1) == LUA_TSTRING;
    lua_rawseti(L, 3, NAMES + (int)i);
  }
  lua_pop(L, 1);
}

/* reader:columns { width, account = column, names = { [column] = name },
** line = column?, null = text? }: what the columns are, for row. */
static int l_columns(lua_State *L) {
  holder *held = check_holder(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  held->width =
      (size_t)imattr_lua_fieldint(L, 2, "width", 1, (int64_t)held->fields_max);
  held->account = column_field(L, "account", 0);
  held->line_column = column_field(L, "line", held->width);
  luaL_argcheck(L, held->account < held->width, 2, "account: no such column");
  imattr_lua_kept(L, 1); /* 3 */
  lua_newtable(L);
  lua_rawseti(L, 3, ATTRS);
  memset(held->places, 0, sizeof held->places);
  read_names(L, held);
  lua_getfield(L, 2, "null");
  held->null = lua_tolstring(L, -1, &held->null_len);
  lua_rawseti(L, 3, NULL_TEXT);
  return 0;
}

static int is_digits(const imattr_csv_field *field) {
  size_t i;
  for (i = 0; i < field->len; i++) {
    if (field->text[i] < '0' || field->text[i] > '9') {
      return 0;
    }
  }
  return 1;
}

/* Where l_row keeps things on the stack. */
enum { KEPT = 2, ACCOUNT, ROW_ATTRS, REMOVES };

/* Sets the attribute of column i in the table at ROW_ATTRS, or takes it out
** when there is no cell. */
static void set_attr(lua_State *L, place *at, size_t i,
                     const imattr_csv_field *cell) {
  if (cell == NULL && !at->is_set) {
    return;
  }
  if (cell != NULL && at->is_set && at->seen_len == cell->len &&
      memcmp(at->seen, cell->text, cell->len) == 0) {
    return;
  }
  lua_rawgeti(L, KEPT, NAMES + (int)i);
  if (cell != NULL) {
    lua_pushlstring(L, cell->text, cell->len);
  } else {
    lua_pushnil(L);
  }
  lua_rawset(L, ROW_ATTRS);
  at->is_set = cell != NULL;
  at->seen_len = 0;
  if (cell != NULL && cell->len <= SEEN_MAX) {
    at->seen_len = (unsigned char)cell->len;
    memcpy(at->seen, cell->text, cell->len);
  }
}

/* Does the cell hold the text that means "remove"? */
static int is_null(const holder *held, const imattr_csv_field *cell) {
  return held->null != NULL && cell->len == held->null_len &&
         memcmp(cell->text, held->null, cell->len) == 0;
}

/* Adds the name of column i to the list at REMOVES. */
static void add_removed(lua_State *L, size_t i) {
  if (lua_isnil(L, REMOVES)) {
    lua_newtable(L);
    lua_replace(L, REMOVES);
  }
  lua_rawgeti(L, KEPT, NAMES + (int)i);
  lua_rawseti(L, REMOVES, (int)lua_rawlen(L, REMOVES) + 1);
}

/* The cell of column i: an attribute, one to remove, or one to leave alone. */
static void set_cell(lua_State *L, holder *held, size_t i) {
  const imattr_csv_field *cell = &held->record.fields[i];
  int removes = is_null(held, cell);
  set_attr(L, &held->places[i], i, removes || cell->len == 0 ? NULL : cell);
  if (removes) {
    add_removed(L, i);
  }
}

static int no_row(lua_State *L, const char *answer) {
  lua_pushnil(L);
  lua_pushstring(L, answer);
  return 2;
}

/*
** reader:row() -> account, attributes, names to remove?
**   | nil, "bad" | nil, "hungry" | nil, "end"   as next
**   | nil, "misfit"    not as wide as the header
**   | nil, "shifted"   the column `line` holds no number
** The table of attributes is good until the next call, and to be left as it is.
*/
static int l_row(lua_State *L) {
  holder *held = check_holder(L);
  imattr_csv_record *record = &held->record;
  imattr_csv_answer answer;
  size_t i;
  do {
    answer = imattr_csv_next(held->csv, record);
  } while (answer <= IMATTR_CSV_BAD && record->line < held->first_line);
  if (answer != IMATTR_CSV_RECORD) {
    return no_row(L, answers[answer]);
  }
  if (record->count != held->width) {
    return no_row(L, "misfit");
  }
  if (held->line_column < held->width &&
      !is_digits(&record->fields[held->line_column])) {
    return no_row(L, "shifted");
  }
  lua_settop(L, 1);
  imattr_lua_kept(L, 1);
  lua_pushlstring(L, record->fields[held->account].text,
                  record->fields[held->account].len);
  lua_rawgeti(L, KEPT, ATTRS);
  lua_pushnil(L);
  for (i = 0; i < held->width; i++) {
    if (held->places[i].is_named) {
      set_cell(L, held, i);
    }
  }
  return 3;
}

/* }===== */

/* {===== about the last record: until more is fed ===== */

/* reader:fields() -> list, at most as many as the reader was made for */
static int l_fields(lua_State *L) {
  const holder *held = check_holder(L);
  const imattr_csv_record *record = &held->record;
  size_t i;
  lua_newtable(L);
  for (i = 0; i < record->count && i < held->fields_max; i++) {
    lua_pushlstring(L, record->fields[i].text, record->fields[i].len);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* reader:count() -> fields, all of them */
static int l_count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_holder(L)->record.count);
  return 1;
}

/* reader:raw() -> text, without the line's end */
static int l_raw(lua_State *L) {
  const imattr_csv_record *record = &check_holder(L)->record;
  lua_pushlstring(L, record->raw_len > 0 ? record->raw : "", record->raw_len);
  return 1;
}

/* reader:fault() -> code, sentence | nil */
static int l_fault(lua_State *L) {
  imattr_csv_fault fault = check_holder(L)->record.fault;
  lua_pushstring(L, imattr_csv_fault_name(fault));
  lua_pushstring(L, imattr_csv_fault_sentence(fault));
  return 2;
}

/* reader:place() -> number of its first line, its lines, its first byte */
static int l_place(lua_State *L) {
  const imattr_csv_record *record = &check_holder(L)->record;
  imattr_lua_pushint64(L, (int64_t)record->line);
  imattr_lua_pushint64(L, (int64_t)record->lines);
  imattr_lua_pushint64(L, (int64_t)record->offset);
  return 3;
}

/* reader:position() -> lines used up, bytes fed, bytes looked at twice */
static int l_position(lua_State *L) {
  const imattr_csv *csv = check_holder(L)->csv;
  imattr_lua_pushint64(L, (int64_t)imattr_csv_lines(csv));
  imattr_lua_pushint64(L, (int64_t)imattr_csv_bytes(csv));
  imattr_lua_pushint64(L, (int64_t)imattr_csv_again(csv));
  return 3;
}

/* }===== */

/* {===== birth and death ===== */

static int l_close(lua_State *L) {
  imattr_lua_box *box = luaL_checkudata(L, 1, READER);
  holder *held = box->object;
  if (held != NULL) {
    imattr_csv_destroy(held->csv);
    free(held);
    box->object = NULL;
  }
  return 0;
}

/* The delimiter of the table at 1. Raises when it cannot be one. */
static char check_delimiter(lua_State *L) {
  size_t len = 0;
  const char *text;
  lua_getfield(L, 1, "delimiter");
  text = lua_tolstring(L, -1, &len);
  if (len != 1 || strchr("\"\r\n", text[0]) != NULL) {
    luaL_error(L, "delimiter: wants one byte that is no quote or line's end");
  }
  lua_pop(L, 1);
  return len == 1 ? text[0] : ',';
}

/* csv.reader { delimiter, record_bytes_max, field_bytes_max, fields_max }
** -> reader */
static int l_reader(lua_State *L) {
  imattr_csv_config config;
  imattr_lua_box *box;
  holder *held;
  luaL_checktype(L, 1, LUA_TTABLE);
  config.delimiter = check_delimiter(L);
  config.record_bytes_max =
      (size_t)imattr_lua_fieldint(L, 1, "record_bytes_max", 1, INT_MAX);
  config.field_bytes_max =
      (size_t)imattr_lua_fieldint(L, 1, "field_bytes_max", 1, INT_MAX);
  config.fields_max =
      (size_t)imattr_lua_fieldint(L, 1, "fields_max", 1, COLUMNS_MAX);
  box = imattr_lua_new(L, READER);
  lua_newtable(L);
  imattr_lua_keep(L, -2);
  held = calloc(1, sizeof *held);
  box->object = held;
  if (held != NULL) {
    held->fields_max = config.fields_max;
    held->csv = imattr_csv_create(&config);
  }
  if (held == NULL || held->csv == NULL) {
    free(held);
    box->object = NULL;
    return imattr_lua_failure(L, IMATTR_NO_MEMORY);
  }
  return 1;
}

static const luaL_Reg reader_methods[] = {{"feed", l_feed},
                                          {"finish", l_finish},
                                          {"next", l_next},
                                          {"begin_at", l_begin_at},
                                          {"columns", l_columns},
                                          {"row", l_row},
                                          {"count", l_count},
                                          {"fields", l_fields},
                                          {"raw", l_raw},
                                          {"fault", l_fault},
                                          {"place", l_place},
                                          {"position", l_position},
                                          {NULL, NULL}};

/* }===== */

/* {===== gzip ===== */

static imattr_gunzip *check_gunzip(lua_State *L) {
  return imattr_lua_check(L, 1, GUNZIP);
}

/* gunzip:feed(bytes): when read is hungry; the string is kept meanwhile */
static int l_gunzip_feed(lua_State *L) {
  imattr_gunzip *gunzip = check_gunzip(L);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, len <= INT_MAX, 2, "too long");
  lua_settop(L, 2);
  imattr_lua_kept(L, 1);
  lua_pushvalue(L, 2);
  lua_rawseti(L, 3, 1);
  imattr_gunzip_feed(gunzip, bytes, len);
  return 0;
}

/* gunzip:read(most) -> bytes | nil: feed, or ask is_whole | nil, reason */
static int l_gunzip_read(lua_State *L) {
  imattr_gunzip *gunzip = check_gunzip(L);
  size_t len = (size_t)imattr_lua_checkint(L, 2, 1, 1 << 24);
  char *bytes = lua_newuserdata(L, len); /* owned, should the push raise */
  switch (imattr_gunzip_next(gunzip, bytes, &len)) {
    case IMATTR_GUNZIP_BYTES: lua_pushlstring(L, bytes, len); return 1;
    case IMATTR_GUNZIP_HUNGRY: lua_pushnil(L); return 1;
    case IMATTR_GUNZIP_CORRUPT:
      lua_pushnil(L);
      lua_pushstring(L, imattr_gunzip_reason(gunzip));
      return 2;
    default: return imattr_lua_failure(L, IMATTR_NO_MEMORY);
  }
}

/* gunzip:is_whole() -> boolean: does a member end where the input does? */
static int l_gunzip_is_whole(lua_State *L) {
  lua_pushboolean(L, imattr_gunzip_is_whole(check_gunzip(L)));
  return 1;
}

static int l_gunzip_close(lua_State *L) {
  imattr_lua_box *box = luaL_checkudata(L, 1, GUNZIP);
  imattr_gunzip_destroy(box->object);
  box->object = NULL;
  return 0;
}

/* csv.gunzip() -> gunzip */
static int l_gunzip(lua_State *L) {
  imattr_lua_box *box = imattr_lua_new(L, GUNZIP);
  lua_newtable(L);
  imattr_lua_keep(L, -2);
  box->object = imattr_gunzip_create();
  return box->object != NULL ? 1 : imattr_lua_failure(L, IMATTR_NO_MEMORY);
}

static const luaL_Reg gunzip_methods[] = {{"feed", l_gunzip_feed},
                                          {"read", l_gunzip_read},
                                          {"is_whole", l_gunzip_is_whole},
                                          {NULL, NULL}};

/* }===== */

/* csv.faults: { [code] = sentence } */
static void push_faults(lua_State *L) {
  int fault;
  lua_newtable(L);
  for (fault = 1; fault < IMATTR_CSV_FAULT_COUNT; fault++) {
    lua_pushstring(L, imattr_csv_fault_sentence((imattr_csv_fault)fault));
    lua_setfield(L, -2, imattr_csv_fault_name((imattr_csv_fault)fault));
  }
}

static const luaL_Reg functions[] = {
    {"reader", l_reader}, {"gunzip", l_gunzip}, {NULL, NULL}};

IMATTR_EXPORT int luaopen_imattr_csv(lua_State *L);

IMATTR_EXPORT int luaopen_imattr_csv(lua_State *L) {
  imattr_lua_class(L, READER, reader_methods, l_close);
  imattr_lua_class(L, GUNZIP, gunzip_methods, l_gunzip_close);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  push_faults(L);
  lua_setfield(L, -2, "faults");
  return 1;
}
