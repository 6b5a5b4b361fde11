/*
** batch: an update is one block: its holder's margin, the struct, the account
** as given, and the rendered text. Where an attribute stands in the text is
** found by reading it, which only merging needs.
*/
#include "batch.h"

#include <stddef.h>
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
  uint64_t margin[IMATTR_MARGIN_SIZE / sizeof(uint64_t)];
  imattr_pool *pool; /* of its block; NULL: allocated for itself */
  imattr_shape shape;
  uint32_t hash;
  uint32_t account_len;
  uint32_t head_len;
  uint32_t text_len;
  char bytes[]; /* the account, then the text */
};

/* The first holds a user with a few short attributes, the second nearly all. */
#define SMALL_SIZE 256
#define LARGE_SIZE 1024

const imattr_marks *imattr_shape_marks(imattr_shape shape) {
  return &shapes[shape].marks;
}

/* {===== update ===== */

void imattr_stock_init(imattr_stock *stock) {
  imattr_pool_init(&stock->small, SMALL_SIZE);
  imattr_pool_init(&stock->large, LARGE_SIZE);
}

void imattr_stock_clear(imattr_stock *stock) {
  imattr_pool_clear(&stock->small);
  imattr_pool_clear(&stock->large);
}

/* A block for an update with so many bytes, or NULL. */
static imattr_update *new_update(imattr_stock *stock, size_t bytes) {
  size_t size = offsetof(imattr_update, bytes) + bytes;
  imattr_pool *pool = size <= SMALL_SIZE ? &stock->small : &stock->large;
  imattr_update *made;
  if (size > LARGE_SIZE) {
    pool = NULL;
  }
  made = pool == NULL ? malloc(size) : imattr_pool_take(pool);
  if (made != NULL) {
    made->pool = pool;
  }
  return made;
}

imattr_update *imattr_update_create(imattr_stock *stock,
                                    const imattr_rendering *rendering) {
  imattr_span account = rendering->account;
  imattr_span text = rendering->text;
  imattr_update *made;
  if (account.len > UINT32_MAX || text.len > UINT32_MAX) {
    return NULL;
  }
  made = new_update(stock, account.len + text.len);
  if (made != NULL) {
    made->shape = rendering->shape;
    made->hash = imattr_account_hash(account.text, account.len);
    made->account_len = (uint32_t)account.len;
    made->head_len = (uint32_t)rendering->head_len;
    made->text_len = (uint32_t)text.len;
    memcpy(made->bytes, account.text, account.len);
    memcpy(made->bytes + account.len, text.text, text.len);
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

void *imattr_update_margin(imattr_update *update) {
  return update->margin;
}

imattr_update *imattr_update_of_margin(void *margin) {
  return margin; /* its first field */
}

static const char *text_of(const imattr_update *update) {
  return update->bytes + update->account_len;
}

const char *imattr_update_account(const imattr_update *update, size_t *len) {
  *len = update->account_len;
  return update->bytes;
}

/* Eight bytes at a time, mixed by a multiplication (an odd number of random
** digits) and a shift. No defence against accounts that are made to collide:
** who sends them slows down his own import. */
#define MIX UINT64_C(0x9E3779B97F4A7C15)

uint32_t imattr_account_hash(const char *account, size_t len) {
  uint64_t hash = len;
  uint64_t eight;
  for (; len >= sizeof eight; len -= sizeof eight) {
    memcpy(&eight, account, sizeof eight);
    hash = (hash ^ eight) * MIX;
    hash ^= hash >> 32;
    account += sizeof eight;
  }
  for (eight = 0; len > 0; len--) {
    eight = eight << 8 | (unsigned char)account[len - 1];
  }
  hash = (hash ^ eight) * MIX;
  return (uint32_t)(hash >> 32);
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

/* }===== */

/* {===== attributes ===== */

/* A list of attributes: "name":"value" or "name" alone, and commas. */
typedef struct attr {
  size_t start;
  size_t name_end;
  size_t end;
} attr;

/* Behind the JSON string that begins at `at`. */
static size_t string_end(const char *text, size_t at) {
  for (at++; text[at] != '"'; at++) {
    at += text[at] == '\\';
  }
  return at + 1;
}

/* The attribute at `at`, which is in the list. The next one begins behind the
** comma at its end. */
static attr attr_at(const char *list, size_t len, size_t at) {
  attr found;
  found.start = at;
  found.name_end = string_end(list, at);
  found.end = found.name_end;
  if (found.name_end < len && list[found.name_end] == ':') {
    found.end = string_end(list, found.name_end + 1);
  }
  return found;
}

size_t imattr_attrs_find(const char *list, size_t len, const char *name,
                         size_t name_len) {
  size_t at = 0;
  while (at < len) {
    attr one = attr_at(list, len, at);
    if (one.name_end - one.start == name_len &&
        memcmp(list + one.start, name, name_len) == 0) {
      return one.start;
    }
    at = one.end + 1;
  }
  return len;
}

/* }===== */

/* {===== merging ===== */

/* The list of attributes of an update. */
static imattr_span attrs_of(const imattr_update *update) {
  size_t close_len = shapes[update->shape].marks.user_close.len;
  imattr_span list;
  list.text = text_of(update) + update->head_len;
  list.len = update->text_len - update->head_len - close_len;
  return list;
}

/* Is there no attribute of the same name in `other`? NULL has none. */
static int is_alone(imattr_span list, attr one, const imattr_span *other) {
  return other == NULL ||
         imattr_attrs_find(other->text, other->len, list.text + one.start,
                           one.name_end - one.start) == other->len;
}

/* Appends text to an update that has room for it. */
static void append(imattr_update *to, const char *text, size_t len) {
  memcpy(to->bytes + to->account_len + to->text_len, text, len);
  to->text_len += (uint32_t)len;
}

/* Goes through the attributes of a list that are not in `other` as well: how
** many, and, unless `to` is NULL, copied behind its text. */
static size_t copy_attrs(imattr_update *to, imattr_span list,
                         const imattr_span *other) {
  size_t count = 0;
  size_t at = 0;
  while (at < list.len) {
    attr one = attr_at(list.text, list.len, at);
    if (is_alone(list, one, other)) {
      count++;
      if (to != NULL && to->text_len > to->head_len) {
        append(to, ",", 1);
      }
      if (to != NULL) {
        append(to, list.text + one.start, one.end - one.start);
      }
    }
    at = one.end + 1;
  }
  return count;
}

int imattr_update_covers(const imattr_update *later,
                         const imattr_update *older) {
  imattr_span attrs = attrs_of(later);
  return copy_attrs(NULL, attrs_of(older), &attrs) == 0;
}

/* An update for the two together, with the head written, or NULL. */
static imattr_update *begin_merged(const imattr_update *older,
                                   const imattr_update *later) {
  size_t bytes = (size_t)older->account_len + older->text_len + later->text_len;
  imattr_update *made = malloc(offsetof(imattr_update, bytes) + bytes);
  if (made != NULL) {
    made->pool = NULL;
    made->shape = older->shape;
    made->hash = older->hash;
    made->account_len = older->account_len;
    made->head_len = older->head_len;
    made->text_len = older->head_len;
    memcpy(made->bytes, older->bytes,
           (size_t)older->account_len + older->head_len);
  }
  return made;
}

imattr_status imattr_update_merge(const imattr_update *older,
                                  const imattr_update *later,
                                  imattr_update **merged) {
  const imattr_mark *close = &shapes[older->shape].marks.user_close;
  imattr_span old_attrs = attrs_of(older);
  imattr_span new_attrs = attrs_of(later);
  imattr_update *made;
  if (copy_attrs(NULL, old_attrs, &new_attrs) +
          copy_attrs(NULL, new_attrs, NULL) >
      IMATTR_ATTRS_MAX) {
    return IMATTR_FULL;
  }
  made = begin_merged(older, later);
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  copy_attrs(made, old_attrs, &new_attrs);
  copy_attrs(made, new_attrs, NULL);
  append(made, close->text, close->len);
  *merged = made;
  return IMATTR_OK;
}

/* }===== */

/* {===== body ===== */

size_t imattr_update_size(const imattr_update *update) {
  return (size_t)update->text_len + 1;
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
