/*
** draft: one buffer, written from front to back and used again for the next
** update. Room for all of it is reserved at its beginning, so that writing is
** plain.
*/
#include "draft.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

/* A name as it stands in a list of attributes, kept: an app has ten names and
** a run uses them again and again. Longer ones are rendered each time. */
typedef struct kept_name {
  size_t len;
  char name[IMATTR_MARK_MAX];
  imattr_mark text; /* "name": */
} kept_name;

struct imattr_draft {
  imattr_shape shape;
  const imattr_screen *screen;
  imattr_span account;
  size_t head_len;
  size_t attr_count;
  imattr_buffer text;
  imattr_fault fault;
  imattr_stock stock; /* of the updates */
  kept_name kept[IMATTR_ATTRS_MAX];
  size_t kept_count;
};

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
  imattr_fault_name(&draft->fault, name == NULL ? "" : name, name_len);
  draft->fault.found = found;
  return refuse(draft, status, 0, 0);
}

const imattr_fault *imattr_draft_fault(const imattr_draft *draft) {
  return &draft->fault;
}

imattr_draft *imattr_draft_create(void) {
  imattr_draft *draft = calloc(1, sizeof *draft);
  if (draft != NULL) {
    imattr_buffer_init(&draft->text);
    imattr_stock_init(&draft->stock);
  }
  return draft;
}

void imattr_draft_destroy(imattr_draft *draft) {
  if (draft != NULL) {
    imattr_buffer_clear(&draft->text);
    imattr_stock_clear(&draft->stock);
    free(draft);
  }
}

/* Appends a mark; room for IMATTR_MARK_MAX bytes has been reserved. */
static void write_mark(imattr_draft *draft, const imattr_mark *mark) {
  memcpy(draft->text.data + draft->text.len, mark->text, IMATTR_MARK_MAX);
  draft->text.len += mark->len;
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
  return IMATTR_OK;
}

/* Reserves room for the longest update of an account: each name and value
** within its limit, and one attribute more than there may be. */
static imattr_status reserve(imattr_draft *draft, size_t account_len) {
  size_t attr_size = IMATTR_JSON_SIZE(IMATTR_NAME_BYTES_MAX) +
                     IMATTR_JSON_SIZE(draft->screen->value_bytes_max) +
                     IMATTR_MARK_MAX;
  return imattr_buffer_reserve(
      &draft->text, IMATTR_JSON_SIZE(account_len) + 3 * IMATTR_MARK_MAX +
                        (IMATTR_ATTRS_MAX + 1) * attr_size);
}

imattr_status imattr_draft_begin(imattr_draft *draft, imattr_shape shape,
                                 const imattr_screen *screen,
                                 const char *account, size_t len) {
  const imattr_marks *marks = imattr_shape_marks(shape);
  imattr_status status;
  draft->shape = shape;
  draft->screen = screen;
  draft->account.text = account;
  draft->account.len = len;
  draft->attr_count = 0;
  draft->text.len = 0;
  draft->fault.where = IMATTR_IN_ACCOUNT;
  draft->fault.name[0] = '\0';
  status = screen_account(draft, len);
  if (status == IMATTR_OK) {
    status = reserve(draft, len);
  }
  if (status != IMATTR_OK) {
    return status;
  }
  if (shape == IMATTR_SHAPE_WHOLE) {
    memcpy(draft->text.data, account, len);
    draft->text.len = len;
  } else {
    write_mark(draft, &marks->user_open);
    status = write_string(draft, account, len);
    write_mark(draft, &marks->attrs_open);
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
  imattr_fault_name(&draft->fault, name, len);
  if (len > IMATTR_NAME_BYTES_MAX) {
    return refuse(draft, IMATTR_NAME_TOO_LONG, len, IMATTR_NAME_BYTES_MAX);
  }
  if (!is_registered(draft->screen, name, len)) {
    return refuse(draft, IMATTR_NAME_UNKNOWN, 0, 0);
  }
  return IMATTR_OK;
}

size_t imattr_draft_find(const imattr_draft *draft, const char *name,
                         size_t len) {
  size_t i;
  for (i = 0; i < draft->kept_count; i++) {
    const kept_name *kept = &draft->kept[i];
    if (kept->len == len && memcmp(kept->name, name, len) == 0) {
      return i;
    }
  }
  return IMATTR_NOT_KEPT;
}

/* Keeps a name that was just rendered as the text from `start` on. */
static void keep(imattr_draft *draft, const char *name, size_t len,
                 size_t start) {
  kept_name *kept = &draft->kept[draft->kept_count];
  size_t text_len = draft->text.len - start;
  if (draft->kept_count < IMATTR_ATTRS_MAX && text_len + 1 <= IMATTR_MARK_MAX) {
    draft->kept_count++;
    kept->len = len;
    memcpy(kept->name, name, len);
    kept->text.len = text_len + 1;
    memcpy(kept->text.text, draft->text.data + start, text_len);
    kept->text.text[text_len] = ':';
  }
}

/* Writes what stands between two attributes. */
static void write_comma(imattr_draft *draft) {
  if (draft->attr_count > 0) {
    draft->text.data[draft->text.len++] = ',';
  }
}

/* Writes the comma and the name of the next attribute. */
static imattr_status write_name(imattr_draft *draft, const char *name,
                                size_t len) {
  imattr_status status;
  draft->fault.where = IMATTR_IN_NAME;
  status = screen_name(draft, name, len);
  if (status != IMATTR_OK) {
    return status;
  }
  write_comma(draft);
  return write_string(draft, name, len);
}

/* Counts an attribute that is written, if there may be one more. */
static imattr_status add_attr(imattr_draft *draft) {
  if (draft->attr_count == IMATTR_ATTRS_MAX) {
    return refuse(draft, IMATTR_TOO_MANY_ATTRS, IMATTR_ATTRS_MAX + 1,
                  IMATTR_ATTRS_MAX);
  }
  draft->attr_count++;
  return IMATTR_OK;
}

/* Writes the value of an attribute whose name and colon are written. */
static imattr_status write_value(imattr_draft *draft, imattr_span name,
                                 imattr_span value) {
  size_t most = draft->screen->value_bytes_max;
  imattr_status status =
      value.len > most ? refuse(draft, IMATTR_VALUE_TOO_LONG, value.len, most)
                       : write_string(draft, value.text, value.len);
  if (status != IMATTR_OK) {
    draft->fault.where = IMATTR_IN_VALUE;
    imattr_fault_name(&draft->fault, name.text, name.len);
    return status;
  }
  return add_attr(draft);
}

imattr_status imattr_draft_set(imattr_draft *draft, const char *name,
                               size_t name_len, const char *value,
                               size_t value_len) {
  size_t start = draft->text.len + (draft->attr_count > 0);
  imattr_status status = write_name(draft, name, name_len);
  imattr_span key = {name, name_len};
  imattr_span given = {value, value_len};
  if (status != IMATTR_OK) {
    return status;
  }
  if (imattr_draft_find(draft, name, name_len) == IMATTR_NOT_KEPT) {
    keep(draft, name, name_len, start);
  }
  draft->text.data[draft->text.len++] = ':';
  return write_value(draft, key, given);
}

imattr_status imattr_draft_set_kept(imattr_draft *draft, size_t index,
                                    const char *value, size_t value_len) {
  const kept_name *kept = &draft->kept[index];
  imattr_span key = {kept->name, kept->len};
  imattr_span given = {value, value_len};
  write_comma(draft);
  write_mark(draft, &kept->text);
  return write_value(draft, key, given);
}

imattr_status imattr_draft_name(imattr_draft *draft, const char *name,
                                size_t name_len) {
  size_t before = draft->text.len;
  size_t start = before + (draft->attr_count > 0);
  imattr_status status = write_name(draft, name, name_len);
  const char *list = draft->text.data + draft->head_len;
  size_t list_len = before - draft->head_len;
  if (status != IMATTR_OK) {
    return status;
  }
  if (imattr_attrs_find(list, list_len, draft->text.data + start,
                        draft->text.len - start) < list_len) {
    draft->text.len = before; /* a repeated one counts once */
    return IMATTR_OK;
  }
  return add_attr(draft);
}

imattr_status imattr_draft_finish(imattr_draft *draft, imattr_update **update) {
  imattr_rendering rendering;
  if (draft->shape <= IMATTR_SHAPE_REMOVE && draft->attr_count == 0) {
    return refuse(draft, IMATTR_ATTRS_EMPTY, 0, 0);
  }
  write_mark(draft, &imattr_shape_marks(draft->shape)->user_close);
  rendering.shape = draft->shape;
  rendering.account = draft->account;
  rendering.text.text = draft->text.data;
  rendering.text.len = draft->text.len;
  rendering.head_len = draft->head_len;
  *update = imattr_update_create(&draft->stock, &rendering);
  return *update == NULL ? IMATTR_NO_MEMORY : IMATTR_OK;
}
