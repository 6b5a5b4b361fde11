/*
** draft: what screening lets through, and what is written of it. The bytes
** become updates with any accounts, names and values; a model says which must
** be refused, and why; the others go through an engine, and the bodies must
** say, in order, what the model merged.
*/
#include "draft.h"

#include <stdlib.h>
#include <string.h>

#include "book.h"

#define QUEUE_MAX 48
#define LANES 3 /* SET, REMOVE, ACCOUNTS */

/* Short names and accounts that come again, so that updates merge: those of
** every length near the limits of keeping, and some that need escapes. */
static const char *const words[] = {
    "city",
    "tier",
    "sex",
    "level",
    "a\"b",
    "tab\there",
    "M\xC3\xBCnchen",
    "n1",
    "n2",
    "n3",
    "n4",
    "n5",
    "twenty-six letters in here",
    "twenty-seven letters, a row",
    "twenty-eight letters, a rows",
    "\xF0\x9F\x98\x80",
};
#define WORD_COUNT (sizeof words / sizeof *words)

typedef struct stage {
  imattr_screen screen;
  fuzz_text own_name; /* registered, from the input */
  imattr_engine_config config;
  imattr_engine *engine;
  imattr_draft *draft;
  book model;
  int64_t now_us;
} stage;

/* {===== the model of screening ===== */

/* A set of statuses, a bit for each. */
typedef uint64_t problems;
#define PROBLEM(name) (UINT64_C(1) << IMATTR_##name)

static problems of_text(const fuzz_text *text) {
  size_t offset;
  imattr_status status = fuzz_judge_text(text->bytes, text->len, &offset);
  return status == IMATTR_OK ? 0 : UINT64_C(1) << status;
}

static problems of_account(const stage *scene, imattr_shape shape,
                           const fuzz_text *account) {
  problems found = 0;
  if (account->len == 0) {
    found |= PROBLEM(ACCOUNT_EMPTY);
  }
  if (shape != IMATTR_SHAPE_WHOLE) {
    found |= of_text(account);
    if (account->len > scene->screen.account_bytes_max) {
      found |= PROBLEM(ACCOUNT_TOO_LONG);
    }
  }
  return found;
}

static problems of_name(const stage *scene, const fuzz_text *name) {
  problems found = of_text(name);
  int is_known = !scene->screen.knows_names;
  size_t i;
  for (i = 0; i < scene->screen.name_count; i++) {
    is_known |=
        fuzz_is_same(name->bytes, name->len, scene->screen.names[i].text,
                     scene->screen.names[i].len);
  }
  found |= name->len == 0 ? PROBLEM(NAME_EMPTY) : 0;
  found |= name->len > IMATTR_NAME_BYTES_MAX ? PROBLEM(NAME_TOO_LONG) : 0;
  return found | (is_known ? 0 : PROBLEM(NAME_UNKNOWN));
}

static problems of_value(const stage *scene, const fuzz_text *value) {
  return of_text(value) |
         (value->len > scene->screen.value_bytes_max ? PROBLEM(VALUE_TOO_LONG)
                                                     : 0);
}

/* The sentence for a fault is one short line of text. */
static void check_message(const stage *scene) {
  const imattr_fault *fault = imattr_draft_fault(scene->draft);
  imattr_buffer message;
  size_t i, offset;
  imattr_buffer_init(&message);
  MUST(imattr_fault_message(fault, &message) == IMATTR_OK);
  MUST(message.len > 0 && message.len < 160);
  MUST(fuzz_judge_text(message.data, message.len, &offset) == IMATTR_OK);
  for (i = 0; i < message.len; i++) {
    unsigned char byte = (unsigned char)message.data[i];
    MUST(byte >= 0x20 && byte != 0x7F);
  }
  imattr_buffer_clear(&message);
}

/* Refused when there is a problem, and for one that there is. */
static int check_status(const stage *scene, imattr_status status,
                        problems found) {
  if (found == 0) {
    MUST(status == IMATTR_OK);
    return 1;
  }
  MUST(found & UINT64_C(1) << status);
  MUST(imattr_draft_fault(scene->draft)->status == status);
  check_message(scene);
  return 0;
}

/* }===== */

/* {===== updates ===== */

/* Mostly a word that comes again; else bytes. */
static fuzz_text take_word(fuzz_bytes *bytes, size_t len_max) {
  unsigned which = fuzz_byte(bytes);
  const char *word = words[which % WORD_COUNT];
  return which < 224 ? fuzz_copy(word, strlen(word))
                     : fuzz_take(bytes, len_max);
}

static int has_name(const book_user *user, const fuzz_text *name) {
  size_t i;
  for (i = 0; i < user->attr_count; i++) {
    if (fuzz_is_same(user->attrs[i].name.bytes, user->attrs[i].name.len,
                     name->bytes, name->len)) {
      return 1;
    }
  }
  return 0;
}

static imattr_status draft_attr(const stage *scene, imattr_shape shape,
                                const fuzz_text *name, const fuzz_text *value,
                                int wants_kept) {
  size_t kept = imattr_draft_find(scene->draft, name->bytes, name->len);
  if (shape == IMATTR_SHAPE_REMOVE) {
    return imattr_draft_name(scene->draft, name->bytes, name->len);
  }
  if (wants_kept && kept != IMATTR_NOT_KEPT) {
    return imattr_draft_set_kept(scene->draft, kept, value->bytes, value->len);
  }
  return imattr_draft_set(scene->draft, name->bytes, name->len, value->bytes,
                          value->len);
}

/* What a fault shows of a name: what fits, and nothing that is no text. */
static void check_name(const stage *scene, const fuzz_text *name) {
  const char *shown = imattr_draft_fault(scene->draft)->name;
  size_t len = name->len;
  size_t i, offset;
  int is_text;
  if (len > IMATTR_NAME_BYTES_MAX) {
    len = IMATTR_NAME_BYTES_MAX;
    while (len > 0 && ((unsigned char)name->bytes[len] >> 6) == 2) {
      len--;
    }
  }
  is_text = fuzz_judge_text(name->bytes, len, &offset) == IMATTR_OK;
  MUST(strlen(shown) == len);
  for (i = 0; i < len; i++) {
    unsigned char byte = (unsigned char)name->bytes[i];
    int is_hidden = byte < 0x20 || byte == 0x7F || (byte > 0x7F && !is_text);
    MUST(shown[i] == (is_hidden ? '?' : name->bytes[i]));
  }
}

/* One attribute; 0: the update is refused. A name comes once in a set, as in
** the caller's table. */
static int take_attr(const stage *scene, imattr_shape shape, fuzz_bytes *bytes,
                     book_user *user) {
  fuzz_text name = take_word(bytes, IMATTR_NAME_BYTES_MAX + 2);
  fuzz_text value = fuzz_take(bytes, scene->screen.value_bytes_max + 2);
  int is_repeated = has_name(user, &name);
  int goes_on = 1;
  if (!is_repeated || shape == IMATTR_SHAPE_REMOVE) {
    problems found = of_name(scene, &name);
    if (shape == IMATTR_SHAPE_SET) {
      found |= of_value(scene, &value);
    }
    if (user->attr_count == IMATTR_ATTRS_MAX && !is_repeated) {
      found |= PROBLEM(TOO_MANY_ATTRS);
    }
    goes_on = check_status(
        scene, draft_attr(scene, shape, &name, &value, (int)value.len % 2),
        found);
    if (!goes_on && found != PROBLEM(TOO_MANY_ATTRS)) {
      check_name(scene, &name);
    }
    if (goes_on && !is_repeated) {
      book_attr *attr = &user->attrs[user->attr_count++];
      attr->name = book_copy(name.bytes, name.len);
      attr->value = book_copy("", 0);
      if (shape == IMATTR_SHAPE_SET) {
        attr->value = book_copy(value.bytes, value.len);
      }
    }
  }
  fuzz_free(&name);
  fuzz_free(&value);
  return goes_on;
}

/* Something only the caller can see: noted, told, and the update is over. */
static void refuse(const stage *scene, fuzz_bytes *bytes) {
  static const imattr_status statuses[] = {IMATTR_ACCOUNT_TYPE,
                                           IMATTR_ATTRS_TYPE, IMATTR_NAME_TYPE,
                                           IMATTR_VALUE_TYPE};
  imattr_status status = statuses[fuzz_below(bytes, 4)];
  fuzz_text name = take_word(bytes, 255);
  MUST(imattr_draft_refuse(scene->draft, status, "a boolean", name.bytes,
                           name.len) == status);
  check_message(scene);
  check_name(scene, &name);
  fuzz_free(&name);
}

/* Ends the update and pushes it. */
static void finish(stage *scene, imattr_shape shape, size_t lane,
                   const book_user *user) {
  problems found = shape <= IMATTR_SHAPE_REMOVE && user->attr_count == 0
                       ? PROBLEM(ATTRS_EMPTY)
                       : 0;
  imattr_update *update = NULL;
  uint64_t ticket;
  if (check_status(scene, imattr_draft_finish(scene->draft, &update), found)) {
    MUST(imattr_engine_push(scene->engine, lane, update, &ticket) == IMATTR_OK);
    book_push(&scene->model, lane, user, ticket);
  }
}

/* One update, whole or refused somewhere. */
static void take_update(stage *scene, fuzz_bytes *bytes, size_t lane) {
  imattr_shape shape = scene->config.lanes[lane].shape;
  size_t most = scene->screen.account_bytes_max;
  fuzz_text account = take_word(bytes, most + 2);
  unsigned left = fuzz_below(bytes, 14);
  book_user user;
  int goes_on =
      check_status(scene,
                   imattr_draft_begin(scene->draft, shape, &scene->screen,
                                      account.bytes, account.len),
                   of_account(scene, shape, &account));
  user.attr_count = 0;
  if (goes_on && left == 13) {
    refuse(scene, bytes);
    goes_on = 0;
  }
  while (goes_on && shape <= IMATTR_SHAPE_REMOVE && left-- > 0) {
    goes_on = take_attr(scene, shape, bytes, &user);
  }
  if (goes_on) {
    user.account = book_copy(account.bytes, account.len);
    finish(scene, shape, lane, &user);
  }
  fuzz_free(&account);
}

/* }===== */

/* {===== bodies ===== */

/* Sends everything and has it delivered: the book compares. */
static void deliver_all(stage *scene) {
  static const imattr_verdict delivered = {IMATTR_DELIVERED, 0, 1};
  imattr_request request;
  imattr_result result;
  imattr_counts counts;
  int64_t until_us;
  imattr_engine_flush(scene->engine, 1);
  while (imattr_engine_next(scene->engine, scene->now_us, &request,
                            &until_us) == IMATTR_READY) {
    book_trip *trip = book_send(&scene->model, &request);
    MUST(imattr_engine_feed(scene->engine, request.id, &delivered,
                            scene->now_us) == IMATTR_OK);
    book_land(&scene->model, trip, 1u << IMATTR_DONE, 0, 1);
    while (imattr_engine_result(scene->engine, &result)) {
      book_tell(&scene->model, &result, 0);
    }
  }
  imattr_engine_counts(scene->engine, &counts);
  book_check_counts(&scene->model, &counts, 0);
  MUST(counts.fates[IMATTR_DONE] == counts.users);
}

/* }===== */

static void set_scene(stage *scene, fuzz_bytes *bytes) {
  static const size_t limits[] = {32, 36, 1, 5};
  unsigned settings = fuzz_byte(bytes);
  size_t i;
  memset(&scene->screen, 0, sizeof scene->screen);
  memset(&scene->config, 0, sizeof scene->config);
  scene->screen.account_bytes_max = limits[settings & 3];
  scene->screen.value_bytes_max = settings & 4 ? 8 : 50;
  scene->screen.knows_names = settings >> 3 & 1;
  scene->own_name = fuzz_take(bytes, 20);
  scene->screen.name_count = 8;
  for (i = 0; i < 8; i++) {
    scene->screen.names[i].text = words[i];
    scene->screen.names[i].len = strlen(words[i]);
  }
  scene->screen.names[7].text = scene->own_name.bytes;
  scene->screen.names[7].len = scene->own_name.len;
  scene->config.users_max = settings & 16 ? 1 : 20;
  scene->config.lane_count = LANES;
  for (i = 0; i < LANES; i++) {
    scene->config.lanes[i].shape = (imattr_shape)i;
  }
  if (settings & 32) {
    scene->config.users_max = 1;
    scene->config.lane_count = 1;
    scene->config.lanes[0].shape = IMATTR_SHAPE_WHOLE;
  }
  scene->config.body_bytes_max = settings & 64 ? 300 : 100000;
  scene->config.queue_max = QUEUE_MAX;
  scene->config.in_flight_max = 1;
  scene->config.attempts_max = 1;
  scene->config.hold_us = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static stage scene;
  fuzz_bytes bytes = {data, size};
  set_scene(&scene, &bytes);
  scene.draft = imattr_draft_create();
  scene.engine = imattr_engine_create(&scene.config);
  MUST(scene.draft != NULL && scene.engine != NULL);
  book_init(&scene.model, &scene.config);
  while (bytes.left > 0 && scene.model.item_count < 200) {
    size_t what = fuzz_byte(&bytes);
    take_update(&scene, &bytes, what % scene.config.lane_count);
    if (what > 250 || imattr_engine_room(scene.engine) == 0) {
      deliver_all(&scene);
      imattr_engine_flush(scene.engine, 0);
    }
  }
  deliver_all(&scene);
  imattr_engine_destroy(scene.engine);
  imattr_draft_destroy(scene.draft);
  book_clear(&scene.model);
  fuzz_free(&scene.own_name);
  return 0;
}
