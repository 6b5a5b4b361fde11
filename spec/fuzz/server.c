/* server: what it holds, and whether it may */
#include "server.h"

#include <stdio.h>
#include <string.h>

void server_init(vendor *server) {
  server->tickets = 0;
  memset(server->held, 0, sizeof server->held);
}

book_text server_word(char letter, uint64_t number) {
  char text[BOOK_TEXT_MAX];
  int len = snprintf(text, sizeof text, "%c%u", letter, (unsigned)number);
  return book_copy(text, (size_t)len);
}

/* The number behind the letter of a word. */
static size_t number_of(const book_text *word) {
  size_t number = 0;
  size_t i;
  for (i = 1; i < word->len; i++) {
    number = number * 10 + (size_t)(word->bytes[i] - '0');
  }
  return number;
}

uint64_t server_note(vendor *server, size_t user, imattr_shape shape,
                     unsigned names) {
  server_update *update = &server->updates[++server->tickets];
  MUST(server->tickets < SERVER_TICKETS_MAX);
  update->user = user;
  update->shape = shape;
  update->names = names;
  update->fate = -1;
  return server->tickets;
}

imattr_verdict_kind server_kind(unsigned bits) {
  static const imattr_verdict_kind kinds[16] = {
      IMATTR_DELIVERED, IMATTR_RETRY,     IMATTR_SLOW_DOWN, IMATTR_RESIGN,
      IMATTR_SPLIT,     IMATTR_STOP,      IMATTR_GIVE_UP,   IMATTR_SKIP,
      IMATTR_HOLD_OFF,  IMATTR_DELIVERED, IMATTR_RETRY,     IMATTR_SPLIT,
      IMATTR_DELIVERED, IMATTR_RETRY,     IMATTR_SPLIT,     IMATTR_RETRY};
  return kinds[bits & 15];
}

int server_code(imattr_verdict_kind kind) {
  switch (kind) {
    case IMATTR_DELIVERED: return 0;
    case IMATTR_SLOW_DOWN: return 60007;
    case IMATTR_HOLD_OFF: return 70050;
    case IMATTR_RESIGN: return 70001;
    case IMATTR_SPLIT: return 90033;
    case IMATTR_STOP: return 70009;
    case IMATTR_GIVE_UP: return IMATTR_BAD_REPLY;
    case IMATTR_SKIP: return IMATTR_DRY_RUN;
    default: return 91000;
  }
}

void server_apply(vendor *server, imattr_shape shape, const book_user *user) {
  size_t number = number_of(&user->account);
  size_t i;
  for (i = 0; i < user->attr_count; i++) {
    const book_attr *attr = &user->attrs[i];
    server->held[number][number_of(&attr->name)] =
        shape == IMATTR_SHAPE_SET ? number_of(&attr->value) : 0;
  }
}

static int may_hold(const vendor *server, size_t user, size_t name) {
  uint64_t held = server->held[user][name];
  uint64_t ticket;
  for (ticket = server->tickets; ticket > 0; ticket--) {
    const server_update *update = &server->updates[ticket];
    int is_about = update->user == user && (update->names >> name & 1);
    if (is_about &&
        (update->fate == IMATTR_DONE || update->fate == IMATTR_UNKNOWN)) {
      if (held == (update->shape == IMATTR_SHAPE_SET ? ticket : 0)) {
        return 1;
      }
      if (update->fate == IMATTR_DONE) {
        return 0;
      }
    }
  }
  return held == 0; /* as in the beginning */
}

void server_judge(const vendor *server) {
  uint64_t ticket;
  size_t user, name;
  for (ticket = 1; ticket <= server->tickets; ticket++) {
    MUST(server->updates[ticket].fate >= 0);
  }
  for (user = 0; user < SERVER_USERS; user++) {
    for (name = 0; name < SERVER_NAMES; name++) {
      MUST(may_hold(server, user, name));
    }
  }
}
