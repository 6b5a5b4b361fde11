/* body: a reader for exactly what a body may be */
#include "body.h"

#include <string.h>

static void take_text(fuzz_reader *reader, book_text *text) {
  MUST(fuzz_read_string(reader, text->bytes, sizeof text->bytes, &text->len));
}

/* One attribute: "name":"value", or "name" alone. */
static void take_attr(fuzz_reader *reader, imattr_shape shape,
                      book_user *user) {
  book_attr *attr = &user->attrs[user->attr_count];
  MUST(user->attr_count < IMATTR_ATTRS_MAX);
  take_text(reader, &attr->name);
  attr->value.len = 0;
  if (shape == IMATTR_SHAPE_SET) {
    MUST(fuzz_read_word(reader, ":"));
    take_text(reader, &attr->value);
  }
  user->attr_count++;
}

static void take_attrs(fuzz_reader *reader, imattr_shape shape,
                       book_user *user) {
  int is_set = shape == IMATTR_SHAPE_SET;
  MUST(fuzz_read_word(reader, is_set ? ",\"Attrs\":{" : ",\"Attrs\":["));
  do {
    take_attr(reader, shape, user);
  } while (fuzz_read_word(reader, ","));
  MUST(fuzz_read_word(reader, is_set ? "}}" : "]}"));
}

static void take_user(fuzz_reader *reader, imattr_shape shape,
                      book_user *user) {
  user->attr_count = 0;
  if (shape == IMATTR_SHAPE_ACCOUNTS) {
    take_text(reader, &user->account);
  } else {
    MUST(fuzz_read_word(reader, "{\"To_Account\":"));
    take_text(reader, &user->account);
    take_attrs(reader, shape, user);
  }
}

size_t fuzz_body_read(imattr_shape shape, const char *body, size_t len,
                      book_user users[BOOK_USERS_MAX]) {
  fuzz_reader reader;
  size_t count = 0;
  reader.at = body;
  reader.end = body + len;
  if (shape == IMATTR_SHAPE_WHOLE) {
    users[0].account = book_copy(body, len);
    users[0].attr_count = 0;
    return 1;
  }
  MUST(fuzz_read_word(&reader, shape == IMATTR_SHAPE_ACCOUNTS
                                   ? "{\"To_Account\":["
                                   : "{\"UserAttrs\":["));
  do {
    MUST(count < BOOK_USERS_MAX);
    take_user(&reader, shape, &users[count++]);
  } while (fuzz_read_word(&reader, ","));
  MUST(fuzz_read_word(&reader, "]}"));
  MUST(reader.at == reader.end);
  return count;
}
