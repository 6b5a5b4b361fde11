/* book: the items, and how they may travel */
#include "book.h"

#include <string.h>

#include "body.h"

/* {===== texts ===== */

book_text book_copy(const char *bytes, size_t len) {
  book_text text;
  MUST(len <= BOOK_TEXT_MAX);
  memset(&text, 0, sizeof text);
  text.len = len;
  if (len > 0) {
    memcpy(text.bytes, bytes, len);
  }
  return text;
}

int book_is_same(const book_text *a, const book_text *b) {
  return fuzz_is_same(a->bytes, a->len, b->bytes, b->len);
}

/* The attribute of this name, or NULL. */
static book_attr *attr_of(book_user *user, const book_text *name) {
  size_t i;
  for (i = 0; i < user->attr_count; i++) {
    if (book_is_same(&user->attrs[i].name, name)) {
      return &user->attrs[i];
    }
  }
  return NULL;
}

/* The same attributes, in whatever order, each once? */
static int has_same_attrs(book_user *a, book_user *b) {
  size_t i;
  for (i = 0; i < a->attr_count; i++) {
    const book_attr *other = attr_of(b, &a->attrs[i].name);
    if (other == NULL || !book_is_same(&other->value, &a->attrs[i].value)) {
      return 0;
    }
  }
  return a->attr_count == b->attr_count;
}

/* }===== */

/* {===== items ===== */

void book_init(book *model, const imattr_engine_config *config) {
  model->config = config;
  model->item_count = 0;
  model->first_open = 0;
  model->flying_count = 0;
  memset(model->trips, 0, sizeof model->trips);
}

void book_clear(book *model) {
  size_t i;
  for (i = 0; i < BOOK_TRIPS_MAX; i++) {
    fuzz_free(&model->trips[i].copy);
  }
}

int book_is_full(const book *model) {
  return model->item_count == BOOK_ITEMS_MAX;
}

/* The last item of an account that may be open; NULL: there is none. */
static book_item *last_item(book *model, const book_text *account) {
  size_t i = model->item_count;
  while (i-- > model->first_open) {
    if (book_is_same(&model->items[i].user.account, account)) {
      return &model->items[i];
    }
  }
  return NULL;
}

/* The first item of an account that is not settled. */
static book_item *first_item(book *model, const book_text *account) {
  size_t i;
  for (i = model->first_open; i < model->item_count; i++) {
    if (model->items[i].state != BOOK_SETTLED &&
        book_is_same(&model->items[i].user.account, account)) {
      return &model->items[i];
    }
  }
  return NULL;
}

/* Joins a later update into an item that waits; 0: they do not fit. */
static int merge(book_item *item, const book_user *user) {
  book_user joined = item->user;
  size_t i;
  if (item->ticket_count == BOOK_TICKETS_MAX) {
    fuzz_fail(__FILE__, __LINE__, "the model has room for the tickets");
  }
  for (i = 0; i < user->attr_count; i++) {
    book_attr *found = attr_of(&joined, &user->attrs[i].name);
    if (found != NULL) {
      *found = user->attrs[i];
    } else if (joined.attr_count == IMATTR_ATTRS_MAX) {
      return 0;
    } else {
      joined.attrs[joined.attr_count++] = user->attrs[i];
    }
  }
  item->user = joined;
  return 1;
}

void book_push(book *model, size_t lane, const book_user *user,
               uint64_t ticket) {
  book_item *item = last_item(model, &user->account);
  int has_joined = item != NULL && item->state == BOOK_WAITING &&
                   item->lane == lane && merge(item, user);
  if (!has_joined) {
    MUST(!book_is_full(model));
    item = &model->items[model->item_count++];
    item->user = *user;
    item->lane = lane;
    item->ticket_count = 0;
    item->told_count = 0;
    item->state = BOOK_WAITING;
    item->attempts = 0;
    item->fates = 1u << IMATTR_NOT_SENT;
    item->code = 0;
    item->refused_code = 0;
  }
  item->tickets[item->ticket_count++] = ticket;
}

/* }===== */

/* {===== trips ===== */

book_trip *book_trip_of(book *model, uint64_t id) {
  size_t i;
  for (i = 0; i < BOOK_TRIPS_MAX; i++) {
    book_trip *trip = &model->trips[i];
    if (trip->is_used && trip->is_flying && trip->id == id) {
      return trip;
    }
  }
  return NULL;
}

book_trip *book_flying(book *model, size_t i) {
  size_t k;
  for (k = 0; k < BOOK_TRIPS_MAX; k++) {
    book_trip *trip = &model->trips[k];
    if (trip->is_used && trip->is_flying && i-- == 0) {
      return trip;
    }
  }
  return NULL;
}

static book_trip *new_trip(book *model, const imattr_request *request) {
  book_trip *trip = model->trips;
  while (trip->is_used) {
    trip++;
    MUST(trip < model->trips + BOOK_TRIPS_MAX);
  }
  memset(trip, 0, sizeof *trip);
  trip->is_used = 1;
  trip->lane = request->lane;
  trip->copy = fuzz_copy(request->body, request->body_len);
  return trip;
}

static void end_trip(book_trip *trip) {
  fuzz_free(&trip->copy);
  trip->is_used = 0;
  trip->is_flying = 0;
}

/* The trip that a request goes on with: one that rests, a half of one that
** was split, or a new one. */
static book_trip *trip_for(book *model, const imattr_request *request,
                           const book_item *first) {
  book_trip *before, *trip;
  size_t half;
  if (first->state == BOOK_WAITING) {
    MUST(request->attempt == 1);
    return new_trip(model, request);
  }
  before = &model->trips[first->trip];
  MUST(request->attempt == before->attempts + 1);
  MUST(request->lane == before->lane);
  if (!before->is_split) {
    MUST(request->users == before->item_count);
    return before;
  }
  half = before->item_count / 2;
  MUST(request->users == half || request->users == before->item_count - half);
  MUST(before->unsent_count >= request->users);
  before->unsent_count -= request->users;
  trip = new_trip(model, request);
  trip->attempts = before->attempts;
  trip->may_have_arrived = before->may_have_arrived;
  if (before->unsent_count == 0) {
    end_trip(before);
  }
  return trip;
}

/* What the config says about a request that leaves. */
static void check_limits(const book *model, const imattr_request *request) {
  const imattr_engine_config *config = model->config;
  MUST(request->lane < config->lane_count);
  MUST(request->users >= 1 && request->users <= config->users_max);
  MUST(request->body_len <= config->body_bytes_max || request->users == 1);
  MUST(model->flying_count < config->in_flight_max);
}

/* Puts the users of a body aboard: each must be the first of his, must not be
** in another request, and must read as he was pushed. */
static void board(book *model, book_trip *trip, book_user *users, size_t count,
                  book_state state, size_t from) {
  size_t i;
  trip->item_count = count;
  for (i = 0; i < count; i++) {
    book_item *item = first_item(model, &users[i].account);
    MUST(item != NULL);
    MUST(item->state == state);
    MUST(state == BOOK_WAITING || item->trip == from);
    MUST(item->lane == trip->lane);
    MUST(has_same_attrs(&item->user, &users[i]));
    item->state = BOOK_FLYING; /* a second time in this body would show */
    item->trip = (size_t)(trip - model->trips);
    item->attempts = trip->attempts;
    trip->items[i] = (size_t)(item - model->items);
  }
}

book_trip *book_send(book *model, const imattr_request *request) {
  static book_user users[BOOK_USERS_MAX];
  size_t count, from;
  const book_item *first;
  book_state state;
  book_trip *trip;
  check_limits(model, request);
  count = fuzz_body_read(model->config->lanes[request->lane].shape,
                         request->body, request->body_len, users);
  MUST(count == request->users);
  first = first_item(model, &users[0].account);
  MUST(first != NULL);
  state = first->state;
  from = first->trip;
  MUST(state == BOOK_WAITING || state == BOOK_RESTING);
  trip = trip_for(model, request, first);
  MUST(book_trip_of(model, request->id) == NULL);
  trip->id = request->id;
  trip->is_flying = 1;
  trip->attempts = request->attempt;
  trip->body = request->body;
  book_check_body(trip); /* byte for byte what it was before */
  MUST(trip->copy.len == request->body_len);
  board(model, trip, users, count, state, from);
  model->flying_count++;
  return trip;
}

void book_check_body(const book_trip *trip) {
  MUST(memcmp(trip->body, trip->copy.bytes, trip->copy.len) == 0);
}

int book_refuse(book *model, const book_trip *trip, const book_text *account,
                int code) {
  size_t i;
  for (i = 0; i < trip->item_count; i++) {
    book_item *item = &model->items[trip->items[i]];
    if (book_is_same(&item->user.account, account)) {
      item->refused_code = code;
      return 1;
    }
  }
  return 0;
}

/* Items that end done, or in a dry run, are not told by a quiet engine. */
static void settle_quietly(const book *model, book_item *item) {
  if (model->config->is_quiet &&
      (item->fates == 1u << IMATTR_DONE || item->code == IMATTR_DRY_RUN)) {
    item->told_count = item->ticket_count;
    item->state = BOOK_SETTLED;
  }
}

void book_land(book *model, book_trip *trip, unsigned fates, int code,
               int is_over) {
  size_t i;
  trip->is_flying = 0;
  model->flying_count--;
  trip->unsent_count = trip->item_count;
  for (i = 0; i < trip->item_count; i++) {
    book_item *item = &model->items[trip->items[i]];
    item->state = BOOK_RESTING; /* until its result is told */
    item->fates = fates;
    item->code = code;
    if (item->refused_code != 0) {
      MUST(fates == 1u << IMATTR_DONE);
      item->fates = 1u << IMATTR_REFUSED;
      item->code = item->refused_code;
    }
    settle_quietly(model, item);
  }
  if (is_over) {
    end_trip(trip);
  }
}

/* }===== */

/* {===== results ===== */

/* The open item with this ticket, and where the ticket stands. */
static book_item *item_of(book *model, uint64_t ticket, size_t *place) {
  size_t i;
  for (i = model->first_open; i < model->item_count; i++) {
    book_item *item = &model->items[i];
    for (*place = 0; *place < item->ticket_count; ++*place) {
      if (item->tickets[*place] == ticket) {
        return item;
      }
    }
  }
  return NULL;
}

book_item *book_tell(book *model, const imattr_result *result, int stop_code) {
  size_t place;
  book_item *item = item_of(model, result->ticket, &place);
  MUST(item != NULL); /* given out, and not told before */
  MUST(item->state == BOOK_WAITING || item->state == BOOK_RESTING);
  MUST(item->fates & 1u << result->fate);
  MUST(item->code == 0 || item->code == result->code);
  MUST(item->state == BOOK_RESTING ||
       (stop_code != 0 && result->code == stop_code));
  MUST((result->fate == IMATTR_DONE) == (result->code == 0));
  MUST(result->attempts == item->attempts);
  MUST(fuzz_is_same(result->account, result->account_len,
                    item->user.account.bytes, item->user.account.len));
  item->tickets[place] = 0;
  item->fates = 1u << result->fate;
  item->code = result->code;
  item->told_count++;
  if (item->told_count == item->ticket_count) {
    item->state = BOOK_SETTLED;
  }
  return item;
}

/* Forgets what is over: settled items at the front, trips whose items have all
** settled. */
static void sweep(book *model) {
  size_t i, k;
  while (model->first_open < model->item_count &&
         model->items[model->first_open].state == BOOK_SETTLED) {
    model->first_open++;
  }
  for (i = 0; i < BOOK_TRIPS_MAX; i++) {
    book_trip *trip = &model->trips[i];
    int is_open = trip->is_used && trip->is_flying;
    for (k = 0; trip->is_used && k < trip->item_count; k++) {
      const book_item *item = &model->items[trip->items[k]];
      is_open |= item->state == BOOK_RESTING && item->trip == i;
    }
    if (trip->is_used && !is_open) {
      end_trip(trip);
    }
  }
}

/* After a stop what is not in flight is settled, but for updates that are held
** behind one of the same user that is. */
static int may_be_open(book *model, const book_item *item) {
  const book_item *first = first_item(model, &item->user.account);
  return item->state == BOOK_FLYING ||
         (item->state == BOOK_WAITING && first != NULL &&
          first->state == BOOK_FLYING);
}

void book_check_counts(book *model, const imattr_counts *counts,
                       int stop_code) {
  uint64_t waiting = 0;
  uint64_t in_flight = 0;
  size_t i;
  sweep(model);
  for (i = model->first_open; i < model->item_count; i++) {
    const book_item *item = &model->items[i];
    if (item->state == BOOK_SETTLED) {
      continue;
    }
    MUST(item->told_count == 0);
    MUST(stop_code == 0 || may_be_open(model, item));
    if (item->state == BOOK_WAITING) {
      waiting += item->ticket_count;
    } else {
      in_flight += item->ticket_count;
      MUST(model->trips[item->trip].is_used);
    }
  }
  MUST(counts->waiting == waiting);
  MUST(counts->in_flight == in_flight);
}

/* }===== */
