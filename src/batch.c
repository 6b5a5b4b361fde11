/*
** batch: an update is one allocation: the struct, the account as given, and
** the rendered text, in which `pieces` tells where each attribute stands.
** Two names are equal when their rendered forms are: writing JSON is one to
** one.
*/
#include "batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

/* What stands around users and attributes in each shape. */
static const struct {
  const char *body_open;
  const char *body_close;
  const char *user_open;
  const char *attrs_open;
  const char *user_close;
} shapes[IMATTR_SHAPE_COUNT] = {
    {"{\"UserAttrs\":[", "]}", "{\"To_Account\":", ",\"Attrs\":{", "}}"},
    {"{\"UserAttrs\":[", "]}", "{\"To_Account\":", ",\"Attrs\":[", "]}"},
    {"{\"To_Account\":[", "]}", "", "", ""},
    {"", "", "", "", ""},
};

/* One attribute in the text: "name":"value", or "name" alone. */
typedef struct piece {
  unsigned start;
  unsigned name_end;
  unsigned end;
} piece;

struct imattr_update {
  imattr_shape shape;
  uint32_t hash;
  size_t account_len;
  size_t head_len; /* up to and with attrs_open */
  size_t text_len;
  size_t piece_count;
  piece pieces[IMATTR_ATTRS_MAX];
  char bytes[]; /* account, then text */
};

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
  }
  return draft;
}

void imattr_draft_destroy(imattr_draft *draft) {
  if (draft != NULL) {
    imattr_buffer_clear(&draft->text);
    free(draft);
  }
}

/* Writes a JSON string; a fault in it is noted with its place. */
static imattr_status write_string(imattr_draft *draft, const char *text,
                                  size_t len) {
  size_t offset = 0;
  imattr_status status = imattr_json_string(&draft->text, text, len, &offset);
  return status == IMATTR_OK ? status : refuse(draft, status, offset, 0);
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
  if (shape == IMATTR_SHAPE_WHOLE) {
    return imattr_buffer_append(&draft->text, account, len);
  }
  if (len == 0) {
    return refuse(draft, IMATTR_ACCOUNT_EMPTY, 0, 0);
  }
  if (len > screen->account_bytes_max) {
    return refuse(draft, IMATTR_ACCOUNT_TOO_LONG, len,
                  screen->account_bytes_max);
  }
  status = imattr_buffer_text(&draft->text, shapes[shape].user_open);
  if (status == IMATTR_OK) {
    status = write_string(draft, account, len);
  }
  if (status == IMATTR_OK) {
    status = imattr_buffer_text(&draft->text, shapes[shape].attrs_open);
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
  return screen->name_count == 0;
}

static imattr_status screen_name(imattr_draft *draft, const char *name,
                                 size_t len) {
  draft->fault.where = IMATTR_IN_NAME;
  if (len == 0) {
    draft->fault.name[0] = '\0';
    return refuse(draft, IMATTR_NAME_EMPTY, 0, 0);
  }
  if (len > IMATTR_NAME_BYTES_MAX) {
    note_name(&draft->fault, name, len);
    return refuse(draft, IMATTR_NAME_TOO_LONG, len, IMATTR_NAME_BYTES_MAX);
  }
  if (draft->piece_count == IMATTR_ATTRS_MAX) {
    return refuse(draft, IMATTR_TOO_MANY_ATTRS, IMATTR_ATTRS_MAX + 1,
                  IMATTR_ATTRS_MAX);
  }
  if (!is_registered(draft->screen, name, len)) {
    note_name(&draft->fault, name, len);
    return refuse(draft, IMATTR_NAME_UNKNOWN, 0, 0);
  }
  return IMATTR_OK;
}

/* Writes the comma and the name of the next piece. */
static imattr_status begin_piece(imattr_draft *draft, const char *name,
                                 size_t len, piece *next) {
  imattr_status status = screen_name(draft, name, len);
  if (status == IMATTR_OK && draft->piece_count > 0) {
    status = imattr_buffer_append(&draft->text, ",", 1);
  }
  if (status == IMATTR_OK) {
    next->start = (unsigned)draft->text.len;
    status = write_string(draft, name, len);
    next->name_end = (unsigned)draft->text.len;
    next->end = next->name_end;
  }
  if (status == IMATTR_NOT_UTF8 || status == IMATTR_NUL_BYTE) {
    note_name(&draft->fault, name, len);
  }
  return status;
}

imattr_status imattr_draft_set(imattr_draft *draft, const char *name,
                               size_t name_len, const char *value,
                               size_t value_len) {
  piece next = {0, 0, 0};
  imattr_status status = begin_piece(draft, name, name_len, &next);
  if (status != IMATTR_OK) {
    return status;
  }
  draft->fault.where = IMATTR_IN_VALUE;
  if (value_len > draft->screen->value_bytes_max) {
    status = refuse(draft, IMATTR_VALUE_TOO_LONG, value_len,
                    draft->screen->value_bytes_max);
  } else {
    status = imattr_buffer_append(&draft->text, ":", 1);
    if (status == IMATTR_OK) {
      status = write_string(draft, value, value_len);
    }
  }
  if (status != IMATTR_OK) {
    note_name(&draft->fault, name, name_len);
    return status;
  }
  next.end = (unsigned)draft->text.len;
  draft->pieces[draft->piece_count++] = next;
  return IMATTR_OK;
}

/* Is the same name among the first `count` pieces? */
static size_t find_piece(const char *text, const piece *pieces, size_t count,
                         const char *name, size_t name_len) {
  size_t i;
  for (i = 0; i < count; i++) {
    if (pieces[i].name_end - pieces[i].start == name_len &&
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
  imattr_status status = begin_piece(draft, name, name_len, &next);
  if (status != IMATTR_OK) {
    return status;
  }
  if (find_piece(draft->text.data, draft->pieces, draft->piece_count,
                 draft->text.data + next.start,
                 next.name_end - next.start) < draft->piece_count) {
    draft->text.len = before;
    return IMATTR_OK;
  }
  draft->pieces[draft->piece_count++] = next;
  return IMATTR_OK;
}

imattr_status imattr_draft_finish(imattr_draft *draft, imattr_update **update) {
  imattr_update *made;
  imattr_status status;
  if (draft->shape <= IMATTR_SHAPE_REMOVE && draft->piece_count == 0) {
    return refuse(draft, IMATTR_ATTRS_EMPTY, 0, 0);
  }
  status = imattr_buffer_text(&draft->text, shapes[draft->shape].user_close);
  if (status != IMATTR_OK) {
    return status;
  }
  made = malloc(sizeof *made + draft->account_len + draft->text.len);
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  made->shape = draft->shape;
  made->hash = imattr_account_hash(draft->account, draft->account_len);
  made->account_len = draft->account_len;
  made->head_len = draft->head_len;
  made->text_len = draft->text.len;
  made->piece_count = draft->piece_count;
  memcpy(made->pieces, draft->pieces, sizeof made->pieces);
  memcpy(made->bytes, draft->account, made->account_len);
  memcpy(made->bytes + made->account_len, draft->text.data, made->text_len);
  *update = made;
  return IMATTR_OK;
}

/* }===== */

/* {===== update ===== */

void imattr_update_destroy(imattr_update *update) {
  free(update);
}

const char *imattr_update_account(const imattr_update *update, size_t *len) {
  *len = update->account_len;
  return update->bytes;
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
  return update->account_len == len && memcmp(update->bytes, account, len) == 0;
}

int imattr_update_is_same_user(const imattr_update *a, const imattr_update *b) {
  return a->hash == b->hash &&
         imattr_update_is_for(a, b->bytes, b->account_len);
}

static const char *text_of(const imattr_update *update) {
  return update->bytes + update->account_len;
}

/* Copies a piece of `from` behind the text of `to`, with a comma if needed. */
static void copy_piece(imattr_update *to, const imattr_update *from,
                       size_t index) {
  const piece *source = &from->pieces[index];
  unsigned len = source->end - source->start;
  piece *target = &to->pieces[to->piece_count];
  char *text = to->bytes + to->account_len;
  if (to->piece_count > 0) {
    text[to->text_len++] = ',';
  }
  target->start = (unsigned)to->text_len;
  target->name_end = target->start + (source->name_end - source->start);
  target->end = target->start + len;
  memcpy(text + to->text_len, text_of(from) + source->start, len);
  to->text_len += len;
  to->piece_count++;
}

static int has_piece_of(const imattr_update *update, const imattr_update *of,
                        size_t index) {
  const piece *wanted = &of->pieces[index];
  return find_piece(text_of(update), update->pieces, update->piece_count,
                    text_of(of) + wanted->start,
                    wanted->name_end - wanted->start) < update->piece_count;
}

imattr_status imattr_update_merge(const imattr_update *older,
                                  const imattr_update *later,
                                  imattr_update **merged) {
  const char *close = shapes[older->shape].user_close;
  size_t kept = 0, i;
  imattr_update *made;
  for (i = 0; i < older->piece_count; i++) {
    kept += !has_piece_of(later, older, i);
  }
  if (kept + later->piece_count > IMATTR_ATTRS_MAX) {
    return IMATTR_FULL;
  }
  made = malloc(sizeof *made + older->account_len + older->text_len +
                later->text_len);
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  *made = *older; /* the struct; the bytes follow */
  memcpy(made->bytes, older->bytes, older->account_len + older->head_len);
  made->text_len = older->head_len;
  made->piece_count = 0;
  for (i = 0; i < older->piece_count; i++) {
    if (!has_piece_of(later, older, i)) {
      copy_piece(made, older, i);
    }
  }
  for (i = 0; i < later->piece_count; i++) {
    copy_piece(made, later, i);
  }
  memcpy(made->bytes + made->account_len + made->text_len, close,
         strlen(close));
  made->text_len += strlen(close);
  *merged = made;
  return IMATTR_OK;
}

/* }===== */

/* {===== body ===== */

size_t imattr_update_size(const imattr_update *update) {
  return update->text_len + 1;
}

imattr_status imattr_body_begin(imattr_buffer *body, imattr_shape shape) {
  return imattr_buffer_text(body, shapes[shape].body_open);
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
  return imattr_buffer_text(body, shapes[shape].body_close);
}

/* }===== */
