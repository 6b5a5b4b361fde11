/*
** batch: an update is one block: the struct, a piece for each attribute, the
** account as given, and the rendered text, in which the pieces tell where each
** attribute stands. Two names are equal when their rendered forms are: writing
** JSON is one to one.
*/
#include "batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "pool.h"

/* A text with its length. */
typedef struct span {
  const char *text;
  size_t len;
} span;

#define SPAN(literal)                                                          \
  { literal, sizeof(literal) - 1 }

/* What stands around users and attributes in each shape. */
static const struct {
  span body_open;
  span body_close;
  span user_open;
  span attrs_open;
  span user_close;
} shapes[IMATTR_SHAPE_COUNT] = {
    {SPAN("{\"UserAttrs\":["), SPAN("]}"), SPAN("{\"To_Account\":"),
     SPAN(",\"Attrs\":{"), SPAN("}}")},
    {SPAN("{\"UserAttrs\":["), SPAN("]}"), SPAN("{\"To_Account\":"),
     SPAN(",\"Attrs\":["), SPAN("]}")},
    {SPAN("{\"To_Account\":["), SPAN("]}"), SPAN(""), SPAN(""), SPAN("")},
    {SPAN(""), SPAN(""), SPAN(""), SPAN(""), SPAN("")},
};

/* The longest of them, and to spare: room that every reserve asks for. */
#define AROUND_MAX 32

/* One attribute in the text: "name":"value", or "name" alone. */
typedef struct piece {
  uint16_t start;
  uint16_t name_end;
  uint16_t end;
} piece;

struct imattr_update {
  imattr_pool *pool; /* of its block; NULL: allocated for itself */
  imattr_shape shape;
  uint32_t hash;
  size_t account_len;
  size_t head_len; /* up to and with attrs_open */
  size_t text_len;
  size_t piece_count;
  piece pieces[]; /* then the account, then the text */
};

/* Most updates fit into this; a longer one is allocated for itself. */
#define BLOCK_SIZE 512

/* A rendered name, kept: an app has ten names and a run uses them again and
** again. Longer ones are rendered each time. */
#define KEPT_TEXT_MAX 64
typedef struct kept_name {
  size_t len;
  span text; /* of `bytes` */
  char name[KEPT_TEXT_MAX];
  char bytes[KEPT_TEXT_MAX];
} kept_name;

struct imattr_draft {
  imattr_shape shape;
  const imattr_screen *screen;
  const char *account;
  size_t account_len;
  size_t head_len;
  size_t piece_count;
  piece pieces[IMATTR_ATTRS_MAX];
  imattr_buffer text;
  imattr_fault fault;
  imattr_pool pool; /* of the updates */
  kept_name kept[IMATTR_ATTRS_MAX];
  size_t kept_count;
  size_t kept_next; /* where the next name is likely to be found */
};

/* {===== faults ===== */

/* Copies what fits of a name, with control characters shown as `?`. */
static void note_name(imattr_fault *fault, const char *name, size_t len) {
  size_t i;
  if (len > IMATTR_NAME_BYTES_MAX) {
    len = IMATTR_NAME_BYTES_MAX;
    while (len > 0 && ((unsigned char)name[len] & 0xC0) == 0x80) {
      len--; /* not in the middle of a sequence */
    }
  }
  for (i = 0; i < len; i++) {
    unsigned char byte = (unsigned char)name[i];
    fault->name[i] = byte < 0x20 || byte == 0x7F ? '?' : name[i];
  }
  fault->name[len] = '\0';
}

static imattr_status refuse(imattr_draft *draft, imattr_status status,
                            size_t actual, size_t limit) {
  draft->fault.status = status;
  draft->fault.actual = actual;
  draft->fault.limit = limit;
  return status;
}

imattr_status imattr_draft_refuse(imattr_draft *draft, imattr_status status,
                                  const char *found, const char *name,
                                  size_t name_len) {
  note_name(&draft->fault, name == NULL ? "" : name, name_len);
  draft->fault.found = found;
  return refuse(draft, status, 0, 0);
}

const imattr_fault *imattr_draft_fault(const imattr_draft *draft) {
  return &draft->fault;
}

/* The thing a fault is about: `account`, `attribute name "x"`, `value of "x"`.
** An unreadable name is not shown. */
static void name_thing(const imattr_fault *fault, char *thing, size_t size) {
  int is_nameless =
      fault->name[0] == '\0' ||
      (fault->where == IMATTR_IN_NAME && fault->status == IMATTR_NOT_UTF8);
  switch (fault->where) {
    case IMATTR_IN_ACCOUNT: snprintf(thing, size, "account"); break;
    case IMATTR_IN_NAME:
      if (is_nameless) {
        snprintf(thing, size, "attribute name");
      } else {
        snprintf(thing, size, "attribute name \"%s\"", fault->name);
      }
      break;
    default: snprintf(thing, size, "value of \"%s\"", fault->name); break;
  }
}

imattr_status imattr_fault_message(const imattr_fault *fault,
                                   imattr_buffer *message) {
  char thing[IMATTR_NAME_BYTES_MAX + 32];
  char line[160];
  name_thing(fault, thing, sizeof thing);
  switch (fault->status) {
    case IMATTR_ACCOUNT_EMPTY:
    case IMATTR_NAME_EMPTY:
      snprintf(line, sizeof line, "%s: empty", thing);
      break;
    case IMATTR_ATTRS_EMPTY:
      snprintf(line, sizeof line, "attributes: none given");
      break;
    case IMATTR_ACCOUNT_TOO_LONG:
    case IMATTR_NAME_TOO_LONG:
    case IMATTR_VALUE_TOO_LONG:
      snprintf(line, sizeof line, "%s: %zu bytes, limit %zu", thing,
               fault->actual, fault->limit);
      break;
    case IMATTR_TOO_MANY_ATTRS:
      snprintf(line, sizeof line, "attributes: more than the limit of %zu",
               fault->limit);
      break;
    case IMATTR_NAME_UNKNOWN:
      snprintf(line, sizeof line, "%s: not registered with the app", thing);
      break;
    case IMATTR_NOT_UTF8:
      snprintf(line, sizeof line, "%s: not valid UTF-8 at byte %zu", thing,
               fault->actual + 1);
      break;
    case IMATTR_NUL_BYTE:
      snprintf(line, sizeof line, "%s: a NUL at byte %zu", thing,
               fault->actual + 1);
      break;
    case IMATTR_ACCOUNT_TYPE:
      snprintf(line, sizeof line, "account: %s, wants a string", fault->found);
      break;
    case IMATTR_ATTRS_TYPE:
      snprintf(line, sizeof line, "attributes: %s, wants a table",
               fault->found);
      break;
    case IMATTR_NAME_TYPE:
      snprintf(line, sizeof line, "attribute name: %s, wants a string",
               fault->found);
      break;
    case IMATTR_VALUE_TYPE:
      snprintf(line, sizeof line,
               "value of \"%s\": %s, wants a string or an integer", fault->name,
               fault->found);
      break;
    default:
      return imattr_buffer_text(message,
                                imattr_status_sentence((int)fault->status));
  }
  return imattr_buffer_text(message, line);
}

/* }===== */

/* {===== draft ===== */

imattr_draft *imattr_draft_create(void) {
  imattr_draft *draft = calloc(1, sizeof *draft);
  if (draft != NULL) {
    imattr_buffer_init(&draft->text);
    imattr_pool_init(&draft->pool, BLOCK_SIZE);
  }
  return draft;
}

void imattr_draft_destroy(imattr_draft *draft) {
  if (draft != NULL) {
    imattr_buffer_clear(&draft->text);
    imattr_pool_clear(&draft->pool);
    free(draft);
  }
}

/* Appends a span; room for it has been reserved. */
static void write_span(imattr_draft *draft, span added) {
  memcpy(draft->text.data + draft->text.len, added.text, added.len);
  draft->text.len += added.len;
}

/* Appends a JSON string; room for it has been reserved. A fault in it is noted
** with its place. */
static imattr_status write_string(imattr_draft *draft, const char *text,
                                  size_t len) {
  size_t offset = 0;
  char *end =
      imattr_json_write(draft->text.data + draft->text.len, text, len, &offset);
  if (end == NULL) {
    return refuse(draft,
                  text[offset] == '\0' ? IMATTR_NUL_BYTE : IMATTR_NOT_UTF8,
                  offset, 0);
  }
  draft->text.len = (size_t)(end - draft->text.data);
  return IMATTR_OK;
}

static imattr_status screen_account(imattr_draft *draft, size_t len) {
  size_t most = draft->screen->account_bytes_max;
  if (len == 0) {
    return refuse(draft, IMATTR_ACCOUNT_EMPTY, 0, 0);
  }
  if (len > most && draft->shape != IMATTR_SHAPE_WHOLE) {
    return refuse(draft, IMATTR_ACCOUNT_TOO_LONG, len, most);
  }
  return imattr_buffer_reserve(&draft->text,
                               IMATTR_JSON_SIZE(len) + 2 * AROUND_MAX);
}

imattr_status imattr_draft_begin(imattr_draft *draft, imattr_shape shape,
                                 const imattr_screen *screen,
                                 const char *account, size_t len) {
  imattr_status status;
  draft->shape = shape;
  draft->screen = screen;
  draft->account = account;
  draft->account_len = len;
  draft->piece_count = 0;
  draft->text.len = 0;
  draft->fault.where = IMATTR_IN_ACCOUNT;
  draft->fault.name[0] = '\0';
  status = screen_account(draft, len);
  if (status != IMATTR_OK) {
    return status;
  }
  if (shape == IMATTR_SHAPE_WHOLE) {
    span whole;
    whole.text = account;
    whole.len = len;
    write_span(draft, whole);
  } else {
    write_span(draft, shapes[shape].user_open);
    status = write_string(draft, account, len);
    write_span(draft, shapes[shape].attrs_open);
  }
  draft->head_len = draft->text.len;
  return status;
}

static int is_registered(const imattr_screen *screen, const char *name,
                         size_t len) {
  size_t i;
  for (i = 0; i < screen->name_count; i++) {
    if (screen->names[i].len == len &&
        memcmp(screen->names[i].text, name, len) == 0) {
      return 1;
    }
  }
  return !screen->knows_names;
}

static imattr_status screen_name(imattr_draft *draft, const char *name,
                                 size_t len) {
  if (len == 0) {
    draft->fault.name[0] = '\0';
    return refuse(draft, IMATTR_NAME_EMPTY, 0, 0);
  }
  note_name(&draft->fault, name, len);
  if (len > IMATTR_NAME_BYTES_MAX) {
    return refuse(draft, IMATTR_NAME_TOO_LONG, len, IMATTR_NAME_BYTES_MAX);
  }
  if (!is_registered(draft->screen, name, len)) {
    return refuse(draft, IMATTR_NAME_UNKNOWN, 0, 0);
  }
  return IMATTR_OK;
}

/* The kept form of a name, or NULL. Names come in much the same order from
** user to user, so the search begins behind the last one found. */
static const kept_name *find_kept(imattr_draft *draft, const char *name,
                                  size_t len) {
  size_t left;
  for (left = draft->kept_count; left > 0; left--) {
    const kept_name *kept = &draft->kept[draft->kept_next];
    draft->kept_next++;
    if (draft->kept_next >= draft->kept_count) {
      draft->kept_next = 0;
    }
    if (kept->len == len && memcmp(kept->name, name, len) == 0) {
      return kept;
    }
  }
  return NULL;
}

/* Keeps a name that was just rendered as the text from `start` on. */
static void keep(imattr_draft *draft, const char *name, size_t len,
                 size_t start) {
  kept_name *kept = &draft->kept[draft->kept_count];
  size_t text_len = draft->text.len - start;
  if (draft->kept_count < IMATTR_ATTRS_MAX && text_len <= KEPT_TEXT_MAX) {
    draft->kept_count++;
    kept->len = len;
    kept->text.text = kept->bytes;
    kept->text.len = text_len;
    memcpy(kept->name, name, len);
    memcpy(kept->bytes, draft->text.data + start, text_len);
  }
}

/* Screens and renders a name; one that is kept has been screened before. */
static imattr_status write_name(imattr_draft *draft, const char *name,
                                size_t len) {
  const kept_name *kept = find_kept(draft, name, len);
  size_t start = draft->text.len;
  imattr_status status;
  if (kept != NULL) {
    write_span(draft, kept->text);
    return IMATTR_OK;
  }
  status = screen_name(draft, name, len);
  if (status == IMATTR_OK) {
    status = write_string(draft, name, len);
  }
  if (status == IMATTR_OK) {
    keep(draft, name, len, start);
  }
  return status;
}

/* Writes the comma and the name of the next piece, and reserves room for its
** value. */
static imattr_status begin_piece(imattr_draft *draft, const char *name,
                                 size_t len, size_t value_max, piece *next) {
  imattr_status status = imattr_buffer_reserve(
      &draft->text, IMATTR_JSON_SIZE(IMATTR_NAME_BYTES_MAX) +
                        IMATTR_JSON_SIZE(value_max) + 2 * AROUND_MAX);
  if (status != IMATTR_OK) {
    return status;
  }
  draft->fault.where = IMATTR_IN_NAME;
  if (draft->piece_count > 0) {
    draft->text.data[draft->text.len++] = ',';
  }
  next->start = (uint16_t)draft->text.len;
  status = write_name(draft, name, len);
  next->name_end = (uint16_t)draft->text.len;
  next->end = next->name_end;
  return status;
}

/* Adds a finished piece, if there is room for it. */
static imattr_status add_piece(imattr_draft *draft, piece added) {
  if (draft->piece_count == IMATTR_ATTRS_MAX) {
    return refuse(draft, IMATTR_TOO_MANY_ATTRS, IMATTR_ATTRS_MAX + 1,
                  IMATTR_ATTRS_MAX);
  }
  draft->pieces[draft->piece_count++] = added;
  return IMATTR_OK;
}

imattr_status imattr_draft_set(imattr_draft *draft, const char *name,
                               size_t name_len, const char *value,
                               size_t value_len) {
  size_t most = draft->screen->value_bytes_max;
  piece next = {0, 0, 0};
  imattr_status status = begin_piece(draft, name, name_len, most, &next);
  if (status != IMATTR_OK) {
    return status;
  }
  draft->fault.where = IMATTR_IN_VALUE;
  draft->text.data[draft->text.len++] = ':';
  status = value_len > most
               ? refuse(draft, IMATTR_VALUE_TOO_LONG, value_len, most)
               : write_string(draft, value, value_len);
  if (status != IMATTR_OK) {
    note_name(&draft->fault, name, name_len);
    return status;
  }
  next.end = (uint16_t)draft->text.len;
  return add_piece(draft, next);
}

/* Where the same name is among the first `count` pieces; `count`: nowhere. */
static size_t find_piece(const char *text, const piece *pieces, size_t count,
                         const char *name, size_t name_len) {
  size_t i;
  for (i = 0; i < count; i++) {
    if ((size_t)pieces[i].name_end - pieces[i].start == name_len &&
        memcmp(text + pieces[i].start, name, name_len) == 0) {
      break;
    }
  }
  return i;
}

imattr_status imattr_draft_name(imattr_draft *draft, const char *name,
                                size_t name_len) {
  size_t before = draft->text.len;
  piece next = {0, 0, 0};
  imattr_status status = begin_piece(draft, name, name_len, 0, &next);
  if (status != IMATTR_OK) {
    return status;
  }
  if (find_piece(draft->text.data, draft->pieces, draft->piece_count,
                 draft->text.data + next.start,
                 (size_t)next.name_end - next.start) < draft->piece_count) {
    draft->text.len = before; /* a repeated one counts once */
    return IMATTR_OK;
  }
  return add_piece(draft, next);
}

/* A block for an update with so many pieces and bytes, or NULL. */
static imattr_update *new_update(imattr_pool *pool, size_t pieces,
                                 size_t bytes) {
  imattr_update *made;
  size_t size = sizeof *made + pieces * sizeof(piece) + bytes;
  if (size > BLOCK_SIZE || pool == NULL) {
    made = malloc(size);
    pool = NULL;
  } else {
    made = imattr_pool_take(pool);
  }
  if (made != NULL) {
    made->pool = pool;
    made->piece_count = pieces;
  }
  return made;
}

/* Where the account of an update stands; the text follows it. */
static char *bytes_of(imattr_update *update) {
  return (char *)(update->pieces + update->piece_count);
}

imattr_status imattr_draft_finish(imattr_draft *draft, imattr_update **update) {
  imattr_update *made;
  char *bytes;
  if (draft->shape <= IMATTR_SHAPE_REMOVE && draft->piece_count == 0) {
    return refuse(draft, IMATTR_ATTRS_EMPTY, 0, 0);
  }
  write_span(draft, shapes[draft->shape].user_close);
  made = new_update(&draft->pool, draft->piece_count,
                    draft->account_len + draft->text.len);
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  made->shape = draft->shape;
  made->hash = imattr_account_hash(draft->account, draft->account_len);
  made->account_len = draft->account_len;
  made->head_len = draft->head_len;
  made->text_len = draft->text.len;
  memcpy(made->pieces, draft->pieces, draft->piece_count * sizeof(piece));
  bytes = bytes_of(made);
  memcpy(bytes, draft->account, made->account_len);
  memcpy(bytes + made->account_len, draft->text.data, made->text_len);
  *update = made;
  return IMATTR_OK;
}

/* }===== */

/* {===== update ===== */

void imattr_update_destroy(imattr_update *update) {
  if (update != NULL && update->pool != NULL) {
    imattr_pool_give(update->pool, update);
  } else {
    free(update);
  }
}

static const char *account_of(const imattr_update *update) {
  return (const char *)(update->pieces + update->piece_count);
}

static const char *text_of(const imattr_update *update) {
  return account_of(update) + update->account_len;
}

const char *imattr_update_account(const imattr_update *update, size_t *len) {
  *len = update->account_len;
  return account_of(update);
}

/* FNV-1a, 32 bits: short keys, and no attacker gains by collisions that cost
** his own import a little time */
uint32_t imattr_account_hash(const char *account, size_t len) {
  uint32_t hash = 2166136261u;
  size_t i;
  for (i = 0; i < len; i++) {
    hash = (hash ^ (unsigned char)account[i]) * 16777619u;
  }
  return hash;
}

uint32_t imattr_update_hash(const imattr_update *update) {
  return update->hash;
}

int imattr_update_is_for(const imattr_update *update, const char *account,
                         size_t len) {
  return update->account_len == len &&
         memcmp(account_of(update), account, len) == 0;
}

int imattr_update_is_same_user(const imattr_update *a, const imattr_update *b) {
  return a->hash == b->hash &&
         imattr_update_is_for(a, account_of(b), b->account_len);
}

/* Copies a piece of `from` behind the text of `to`, as its `count`-th. */
static void copy_piece(imattr_update *to, size_t count,
                       const imattr_update *from, size_t index) {
  const piece *source = &from->pieces[index];
  size_t len = (size_t)source->end - source->start;
  piece *target = &to->pieces[count];
  char *text = bytes_of(to) + to->account_len;
  if (count > 0) {
    text[to->text_len++] = ',';
  }
  target->start = (uint16_t)to->text_len;
  target->name_end =
      (uint16_t)(target->start + (source->name_end - source->start));
  target->end = (uint16_t)(target->start + len);
  memcpy(text + to->text_len, text_of(from) + source->start, len);
  to->text_len += len;
}

static int has_piece_of(const imattr_update *update, const imattr_update *of,
                        size_t index) {
  const piece *wanted = &of->pieces[index];
  return find_piece(text_of(update), update->pieces, update->piece_count,
                    text_of(of) + wanted->start,
                    wanted->name_end - wanted->start) < update->piece_count;
}

/* A block for the two together, with the head written. */
static imattr_update *begin_merged(const imattr_update *older,
                                   const imattr_update *later, size_t pieces) {
  imattr_update *made =
      new_update(older->pool, pieces,
                 older->account_len + older->text_len + later->text_len);
  if (made != NULL) {
    made->shape = older->shape;
    made->hash = older->hash;
    made->account_len = older->account_len;
    made->head_len = older->head_len;
    made->text_len = older->head_len;
    memcpy(bytes_of(made), account_of(older),
           older->account_len + older->head_len);
  }
  return made;
}

imattr_status imattr_update_merge(const imattr_update *older,
                                  const imattr_update *later,
                                  imattr_update **merged) {
  span close = shapes[older->shape].user_close;
  size_t kept = 0, count = 0, i;
  imattr_update *made;
  for (i = 0; i < older->piece_count; i++) {
    kept += !has_piece_of(later, older, i);
  }
  if (kept + later->piece_count > IMATTR_ATTRS_MAX) {
    return IMATTR_FULL;
  }
  made = begin_merged(older, later, kept + later->piece_count);
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  for (i = 0; i < older->piece_count; i++) {
    if (!has_piece_of(later, older, i)) {
      copy_piece(made, count++, older, i);
    }
  }
  for (i = 0; i < later->piece_count; i++) {
    copy_piece(made, count++, later, i);
  }
  memcpy(bytes_of(made) + made->account_len + made->text_len, close.text,
         close.len);
  made->text_len += close.len;
  *merged = made;
  return IMATTR_OK;
}

/* }===== */

/* {===== body ===== */

size_t imattr_update_size(const imattr_update *update) {
  return update->text_len + 1;
}

imattr_status imattr_body_begin(imattr_buffer *body, imattr_shape shape) {
  span open = shapes[shape].body_open;
  return imattr_buffer_append(body, open.text, open.len);
}

imattr_status imattr_body_add(imattr_buffer *body,
                              const imattr_update *update) {
  imattr_status status =
      imattr_buffer_reserve(body, imattr_update_size(update));
  if (status == IMATTR_OK) {
    if (body->len > 0 && body->data[body->len - 1] != '[') {
      body->data[body->len++] = ',';
    }
    memcpy(body->data + body->len, text_of(update), update->text_len);
    body->len += update->text_len;
  }
  return status;
}

imattr_status imattr_body_end(imattr_buffer *body, imattr_shape shape) {
  span close = shapes[shape].body_close;
  return imattr_buffer_append(body, close.text, close.len);
}

/* }===== */
