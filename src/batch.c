/*
** batch: an update is one block: the struct, a piece for each attribute, the
** account as given, and the rendered text, in which the pieces tell where each
** attribute stands.
*/
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#define SPAN(literal)                                                          \
  { literal, sizeof(literal) - 1 }

static const struct {
  imattr_span body_open;
  imattr_span body_close;
  imattr_marks marks;
} shapes[IMATTR_SHAPE_COUNT] = {
    {SPAN("{\"UserAttrs\":["),
     SPAN("]}"),
     {SPAN("{\"To_Account\":"), SPAN(",\"Attrs\":{"), SPAN("}}")}},
    {SPAN("{\"UserAttrs\":["),
     SPAN("]}"),
     {SPAN("{\"To_Account\":"), SPAN(",\"Attrs\":["), SPAN("]}")}},
    {SPAN("{\"To_Account\":["), SPAN("]}"), {SPAN(""), SPAN(""), SPAN("")}},
    {SPAN(""), SPAN(""), {SPAN(""), SPAN(""), SPAN("")}},
};

struct imattr_update {
  imattr_pool *pool; /* of its block; NULL: allocated for itself */
  imattr_shape shape;
  uint32_t hash;
  size_t account_len;
  size_t head_len;
  size_t text_len;
  size_t piece_count;
  imattr_piece pieces[]; /* then the account, then the text */
};

const imattr_marks *imattr_shape_marks(imattr_shape shape) {
  return &shapes[shape].marks;
}

/* {===== update ===== */

/* A block for an update with so many pieces and bytes, or NULL. */
static imattr_update *new_update(imattr_pool *pool, size_t pieces,
                                 size_t bytes) {
  imattr_update *made;
  size_t size = sizeof *made + pieces * sizeof(imattr_piece) + bytes;
  if (size > IMATTR_UPDATE_BLOCK_SIZE || pool == NULL) {
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

imattr_update *imattr_update_create(imattr_pool *pool,
                                    const imattr_rendering *rendering) {
  size_t count = rendering->piece_count;
  imattr_update *made =
      new_update(pool, count, rendering->account.len + rendering->text.len);
  if (made != NULL) {
    char *bytes = bytes_of(made);
    size_t i;
    made->shape = rendering->shape;
    made->account_len = rendering->account.len;
    made->head_len = rendering->head_len;
    made->text_len = rendering->text.len;
    made->hash =
        imattr_account_hash(rendering->account.text, rendering->account.len);
    for (i = 0; i < count; i++) {
      made->pieces[i] = rendering->pieces[i];
    }
    memcpy(bytes, rendering->account.text, made->account_len);
    memcpy(bytes + made->account_len, rendering->text.text, made->text_len);
  }
  return made;
}

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
  const imattr_piece *source = &from->pieces[index];
  size_t len = (size_t)source->end - source->start;
  imattr_piece *target = &to->pieces[count];
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

size_t imattr_piece_find(const char *text, const imattr_piece *pieces,
                         size_t count, const char *name, size_t name_len) {
  size_t i;
  for (i = 0; i < count; i++) {
    if ((size_t)pieces[i].name_end - pieces[i].start == name_len &&
        memcmp(text + pieces[i].start, name, name_len) == 0) {
      break;
    }
  }
  return i;
}

static int has_piece_of(const imattr_update *update, const imattr_update *of,
                        size_t index) {
  const imattr_piece *wanted = &of->pieces[index];
  return imattr_piece_find(text_of(update), update->pieces, update->piece_count,
                           text_of(of) + wanted->start,
                           wanted->name_end - wanted->start) <
         update->piece_count;
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
  const imattr_mark *close = &shapes[older->shape].marks.user_close;
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
  memcpy(bytes_of(made) + made->account_len + made->text_len, close->text,
         close->len);
  made->text_len += close->len;
  *merged = made;
  return IMATTR_OK;
}

/* }===== */

/* {===== body ===== */

size_t imattr_update_size(const imattr_update *update) {
  return update->text_len + 1;
}

imattr_status imattr_body_begin(imattr_buffer *body, imattr_shape shape) {
  imattr_span open = shapes[shape].body_open;
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
  imattr_span close = shapes[shape].body_close;
  return imattr_buffer_append(body, close.text, close.len);
}

/* }===== */
