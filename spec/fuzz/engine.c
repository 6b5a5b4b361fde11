/*
** engine: a life of one engine, step by step. The first bytes are its settings,
** every further one an operation: push, pass, next, refuse_user, feed with any
** verdict, a late feed, stop, flush, time passing, taking results. After every
** step the book (book.h) and the counts are compared; at the end the server,
** which applied what the verdicts say, must hold for every user and attribute
** the newest value that was done.
**
** The caller that the bytes play keeps the contract of engine.h, and the
** server is a sane one: it does not refuse a body that it did before.
*/
#include "engine.h"

#include <stddef.h>
#include <string.h>

#include "book.h"
#include "draft.h"
#include "server.h"

#define OLD_IDS_MAX 16
#define SENT_MAX 1024 /* that the pace is checked for */
#define SECOND_US INT64_C(1000000)
#define HOLD_OFF_US (60 * SECOND_US)
#define OUTAGE_FAULTS 3
#define BODY_LARGE 10000 /* bytes that no request here reaches */

typedef struct life {
  imattr_engine_config config;
  imattr_engine *engine;
  imattr_draft *draft;
  imattr_screen screen;
  int64_t now_us;
  int64_t until_us; /* of the last WAIT */
  int stop_code;
  int is_flushing;
  int is_proven;                    /* a request was delivered or split */
  unsigned faults;                  /* in a row, no answer between */
  int64_t held_until_us;            /* nothing may leave before */
  uint64_t told[IMATTR_FATE_COUNT]; /* results, and done quietly */
  uint64_t requests, retries, merged;
  uint64_t old_ids[OLD_IDS_MAX];
  size_t old_count;
  int rates[2];
  size_t sent_count[2];
  /* from here on nothing is cleared */
  int64_t sent_us[2][SENT_MAX];
  vendor server;
  book model;
} life;

/* {===== checks after a step ===== */

static void check_counts(life *world, int has_all_results) {
  imattr_counts counts;
  uint64_t ended = 0;
  size_t fate;
  imattr_engine_counts(world->engine, &counts);
  for (fate = 0; fate < IMATTR_FATE_COUNT; fate++) {
    ended += counts.fates[fate];
    MUST(world->told[fate] <= counts.fates[fate]);
    MUST(!has_all_results || world->told[fate] == counts.fates[fate]);
  }
  MUST(counts.users == world->server.tickets);
  MUST(counts.users == ended + counts.waiting + counts.in_flight);
  MUST(counts.waiting <= world->config.queue_max);
  MUST(counts.requests == world->requests);
  MUST(counts.retries == world->retries);
  MUST(counts.merged == world->merged);
  if (has_all_results) {
    book_check_counts(&world->model, &counts, world->stop_code);
  }
}

/* A stop comes from the engine too; it never goes away and never changes. */
static void see_stop(life *world) {
  int code = imattr_engine_stop_code(world->engine);
  MUST(world->stop_code == 0 || code == world->stop_code);
  world->stop_code = code;
  if (code != 0) {
    MUST(imattr_engine_room(world->engine) == 0);
    MUST(imattr_engine_wants(world->engine) == 0);
  }
}

static int take_result(life *world) {
  imattr_result result;
  if (!imattr_engine_result(world->engine, &result)) {
    return 0;
  }
  book_tell(&world->model, &result, world->stop_code);
  world->server.updates[result.ticket].fate = (int)result.fate;
  world->told[result.fate]++;
  MUST(!world->config.is_quiet ||
       (result.fate != IMATTR_DONE && result.code != IMATTR_DRY_RUN));
  MUST(result.fate != IMATTR_INVALID);
  return 1;
}

static void take_results(life *world) {
  while (take_result(world)) {
  }
}

/* }===== */

/* {===== push ===== */

/* Adds a name to the draft and the user. */
static void draft_attr(life *world, size_t lane, size_t name, book_user *user) {
  book_attr *attr = &user->attrs[user->attr_count++];
  imattr_status status;
  attr->name = server_word('n', name);
  attr->value = book_copy("", 0);
  if (world->config.lanes[lane].shape == IMATTR_SHAPE_SET) {
    attr->value = server_word('v', world->server.tickets + 1);
    status = imattr_draft_set(world->draft, attr->name.bytes, attr->name.len,
                              attr->value.bytes, attr->value.len);
  } else {
    status = imattr_draft_name(world->draft, attr->name.bytes, attr->name.len);
  }
  MUST(status == IMATTR_OK);
}

static imattr_update *draft_update(life *world, size_t lane, unsigned names,
                                   book_user *user) {
  imattr_update *update = NULL;
  size_t name;
  user->attr_count = 0;
  MUST(imattr_draft_begin(world->draft, world->config.lanes[lane].shape,
                          &world->screen, user->account.bytes,
                          user->account.len) == IMATTR_OK);
  for (name = 0; name < SERVER_NAMES; name++) {
    if (names >> name & 1) {
      draft_attr(world, lane, name, user);
    }
  }
  MUST(imattr_draft_finish(world->draft, &update) == IMATTR_OK);
  return update;
}

/* One to nine names in a row, beginning anywhere. */
static unsigned draw_names(fuzz_bytes *bytes) {
  unsigned drawn = fuzz_byte(bytes);
  unsigned count = drawn & 16 ? 1 + (drawn >> 5) : 1;
  unsigned names = ((1u << count) - 1) << drawn % SERVER_NAMES;
  return (names | names >> SERVER_NAMES) & ((1u << SERVER_NAMES) - 1);
}

static void do_push(life *world, fuzz_bytes *bytes) {
  unsigned drawn = fuzz_byte(bytes);
  size_t number = drawn % SERVER_USERS;
  size_t lane = (drawn >> 3) % world->config.lane_count;
  unsigned names = draw_names(bytes);
  size_t room = imattr_engine_room(world->engine);
  size_t items = world->model.item_count;
  uint64_t ticket = 0;
  book_user user;
  imattr_update *update;
  imattr_status status;
  user.account = server_word('u', number);
  update = draft_update(world, lane, names, &user);
  MUST(imattr_engine_wants(world->engine) <= room);
  status = imattr_engine_push(world->engine, lane, update, &ticket);
  if (room == 0) {
    MUST(status == IMATTR_FULL);
    imattr_update_destroy(update);
    return;
  }
  MUST(status == IMATTR_OK);
  MUST(ticket == server_note(&world->server, number,
                             world->config.lanes[lane].shape, names));
  book_push(&world->model, lane, &user, ticket);
  world->merged += world->model.item_count == items;
}

static void do_pass(life *world, fuzz_bytes *bytes) {
  imattr_fate fate = fuzz_byte(bytes) % 2 ? IMATTR_INVALID : IMATTR_NOT_SENT;
  uint64_t ticket = server_note(&world->server, 0, IMATTR_SHAPE_SET, 0);
  world->server.updates[ticket].fate = (int)fate;
  world->told[fate]++; /* by the caller */
  MUST(imattr_engine_pass(world->engine, fate) == ticket);
}

/* }===== */

/* {===== next ===== */

/* Two sends of one slot are a second apart. */
static void check_pace(life *world, size_t lane) {
  size_t *count = &world->sent_count[lane];
  size_t rate = (size_t)world->rates[lane];
  int64_t *sent_us = world->sent_us[lane];
  if (rate > 0 && *count < SENT_MAX) {
    MUST(*count < rate || world->now_us - sent_us[*count - rate] >= SECOND_US);
    sent_us[(*count)++] = world->now_us;
  }
}

/* A batch that is not full leaves only when no more updates may come: before it
** left there was no room. */
static int may_leave(const life *world, const book_trip *trip) {
  size_t tickets = 0;
  size_t i;
  for (i = 0; i < trip->item_count; i++) {
    tickets += world->model.items[trip->items[i]].ticket_count;
  }
  return world->is_flushing || trip->item_count == world->config.users_max ||
         world->config.body_bytes_max < BODY_LARGE ||
         imattr_engine_room(world->engine) == tickets;
}

/* One request at a time: the first ones, and while the service is out. */
static int goes_alone(const life *world) {
  return (world->config.is_probing && !world->is_proven) ||
         (world->config.outage_max_us > 0 && world->faults >= OUTAGE_FAULTS);
}

static void see_request(life *world, const imattr_request *request) {
  book_trip *trip;
  MUST(world->stop_code == 0);
  MUST(request->lane < world->config.lane_count);
  check_pace(world, request->lane);
  trip = book_send(&world->model, request);
  MUST(world->now_us >= world->held_until_us);
  MUST(!goes_alone(world) || world->model.flying_count == 1);
  MUST(request->attempt > 1 || may_leave(world, trip));
  world->requests++;
  world->retries += request->attempt > 1;
  MUST(world->config.outage_max_us > 0 || trip->failed == 0 ||
       trip->failed < world->config.attempts_max);
  MUST(trip->slow_downs < 60);
  MUST(trip->resigns <= 1 && trip->hold_offs <= 1);
}

static imattr_answer do_next(life *world) {
  imattr_request request;
  imattr_counts counts;
  imattr_answer answer = imattr_engine_next(world->engine, world->now_us,
                                            &request, &world->until_us);
  see_stop(world);
  take_results(world); /* the book must know who is settled */
  imattr_engine_counts(world->engine, &counts);
  switch (answer) {
    case IMATTR_READY: see_request(world, &request); break;
    case IMATTR_WAIT:
      MUST(world->until_us > world->now_us);
      MUST(world->until_us < INT64_MAX || world->model.flying_count > 0);
      break;
    case IMATTR_IDLE:
      MUST(counts.in_flight == 0);
      MUST(!world->is_flushing || counts.waiting == 0);
      break;
    default: fuzz_fail(__FILE__, __LINE__, "there is memory");
  }
  return answer;
}

/* }===== */

/* {===== feed ===== */

/* The server does a request, but for the users it refuses. */
static void apply(life *world, book_trip *trip) {
  size_t i;
  trip->is_applied = 1;
  for (i = 0; i < trip->item_count; i++) {
    const book_item *item = &world->model.items[trip->items[i]];
    if (item->refused_code == 0) {
      server_apply(&world->server, world->config.lanes[trip->lane].shape,
                   &item->user);
    }
  }
}

/* Marks users of the request as refused, as its ErrorList would. */
static void refuse_users(life *world, book_trip *trip, fuzz_bytes *bytes) {
  unsigned drawn = fuzz_byte(bytes);
  size_t number;
  if (trip->is_applied || drawn < 128) {
    return;
  }
  for (number = 0; number < SERVER_USERS; number++) {
    book_text account = server_word('u', number);
    if (drawn >> number & 1) {
      imattr_status status =
          imattr_engine_refuse_user(world->engine, trip->id, account.bytes,
                                    account.len, 70107 + (int)number);
      int is_there =
          book_refuse(&world->model, trip, &account, 70107 + (int)number);
      MUST(status == (is_there ? IMATTR_OK : IMATTR_UNKNOWN_ID));
    }
  }
}

/* Notes updates whose end a quiet engine does not tell: done, or a dry run's.
 */
static void note_quiet(life *world, const book_trip *trip, imattr_fate fate) {
  size_t i, k;
  for (i = 0; i < trip->item_count && world->config.is_quiet; i++) {
    const book_item *item = &world->model.items[trip->items[i]];
    for (k = 0; item->refused_code == 0 && k < item->ticket_count; k++) {
      world->server.updates[item->tickets[k]].fate = (int)fate;
      world->told[fate]++;
    }
  }
}

/* A verdict that a sane server and wire can give on this request now. */
static imattr_verdict draw_verdict(life *world, book_trip *trip,
                                   fuzz_bytes *bytes) {
  unsigned drawn = fuzz_byte(bytes);
  imattr_verdict verdict;
  verdict.kind = server_kind(drawn);
  verdict.may_have_arrived = drawn >> 4 & 1;
  if ((verdict.kind == IMATTR_SPLIT && trip->is_applied) ||
      (verdict.kind == IMATTR_SKIP && trip->may_have_arrived)) {
    verdict.kind = IMATTR_DELIVERED;
  }
  if (verdict.kind == IMATTR_SPLIT || verdict.kind == IMATTR_SKIP) {
    verdict.may_have_arrived = 0;
  }
  verdict.code = server_code(verdict.kind);
  if (verdict.kind == IMATTR_DELIVERED) {
    refuse_users(world, trip, bytes);
    apply(world, trip);
    note_quiet(world, trip, IMATTR_DONE);
  } else if (verdict.kind == IMATTR_SKIP) {
    note_quiet(world, trip, IMATTR_NOT_SENT);
  } else if (verdict.may_have_arrived && drawn >> 5 & 1) {
    apply(world, trip);
  }
  return verdict;
}

/* How a trip goes on that may be tried again. */
static void note_trouble(life *world, book_trip *trip,
                         imattr_verdict_kind kind) {
  trip->failed += kind == IMATTR_RETRY;
  trip->slow_downs += kind == IMATTR_SLOW_DOWN;
  trip->resigns += kind == IMATTR_RESIGN;
  trip->hold_offs += kind == IMATTR_HOLD_OFF;
  if (kind == IMATTR_HOLD_OFF && trip->hold_offs == 1) {
    world->held_until_us = world->now_us + HOLD_OFF_US;
  }
}

/* What the book expects of a verdict. */
static void land(life *world, book_trip *trip, const imattr_verdict *verdict) {
  unsigned lost =
      1u << (trip->may_have_arrived ? IMATTR_UNKNOWN : IMATTR_NOT_SENT);
  book *model = &world->model;
  switch (verdict->kind) {
    case IMATTR_DELIVERED:
      book_land(model, trip, 1u << IMATTR_DONE, 0, 1);
      break;
    case IMATTR_SPLIT:
      if (trip->item_count == 1) {
        book_land(model, trip, 1u << IMATTR_REFUSED, verdict->code, 1);
      } else {
        trip->is_split = 1;
        book_land(model, trip, lost, 0, 0);
      }
      break;
    case IMATTR_STOP:
    case IMATTR_GIVE_UP: book_land(model, trip, lost, verdict->code, 1); break;
    case IMATTR_SKIP:
      book_land(model, trip, 1u << IMATTR_NOT_SENT, verdict->code, 1);
      break;
    default: /* it may rest, or be given up */
      note_trouble(world, trip, verdict->kind);
      book_land(model, trip, lost, verdict->code, 0);
  }
}

/* Faults in a row are an outage, unless nothing was ever answered. */
static void note_answer(life *world, imattr_verdict_kind kind) {
  int is_first = world->config.is_probing && !world->is_proven;
  if (kind != IMATTR_RETRY) {
    world->faults = 0;
  } else if (!is_first) {
    world->faults++;
  }
  world->is_proven |= kind == IMATTR_DELIVERED || kind == IMATTR_SPLIT;
}

static void feed(life *world, book_trip *trip, imattr_verdict verdict) {
  uint64_t id = trip->id;
  trip->may_have_arrived |= verdict.may_have_arrived;
  book_check_body(trip);
  MUST(imattr_engine_feed(world->engine, id, &verdict, world->now_us) ==
       IMATTR_OK);
  land(world, trip, &verdict);
  note_answer(world, verdict.kind);
  world->old_ids[world->old_count++ % OLD_IDS_MAX] = id;
}

/* Feeds one of the requests in flight. */
static void do_feed(life *world, fuzz_bytes *bytes) {
  if (world->model.flying_count > 0) {
    unsigned which = fuzz_below(bytes, (unsigned)world->model.flying_count);
    book_trip *trip = book_flying(&world->model, which);
    MUST(trip != NULL);
    feed(world, trip, draw_verdict(world, trip, bytes));
  }
}

/* Late, second and invented replies change nothing. */
static void do_feed_old(life *world, fuzz_bytes *bytes) {
  imattr_verdict verdict = {IMATTR_DELIVERED, 0, 1};
  unsigned drawn = fuzz_byte(bytes);
  uint64_t id = drawn;
  if (world->old_count > 0 && drawn & 1) {
    id = world->old_ids[(drawn >> 1) % OLD_IDS_MAX];
  }
  if (book_trip_of(&world->model, id) == NULL) {
    verdict.kind = server_kind(drawn);
    MUST(imattr_engine_feed(world->engine, id, &verdict, world->now_us) ==
         IMATTR_UNKNOWN_ID);
    MUST(imattr_engine_refuse_user(world->engine, id, "u1", 2, 70107) ==
         IMATTR_UNKNOWN_ID);
  }
}

/* }===== */

/* {===== steps ===== */

static void pass_time(life *world, fuzz_bytes *bytes) {
  unsigned drawn = fuzz_byte(bytes);
  if (drawn == 0 && world->until_us > world->now_us &&
      world->until_us < INT64_MAX) {
    world->now_us = world->until_us;
  } else {
    world->now_us += INT64_C(1) << drawn % 24; /* to 16 s */
  }
}

static void set_flush(life *world, int is_on) {
  world->is_flushing = is_on;
  imattr_engine_flush(world->engine, is_on);
}

/* What happens rarely. */
static void do_rare(life *world, fuzz_bytes *bytes) {
  static const int codes[] = {IMATTR_STOPPED, IMATTR_INTERRUPTED,
                              IMATTR_SOURCE_FAILED, 70009};
  unsigned drawn = fuzz_byte(bytes);
  if (drawn < 100) {
    do_feed_old(world, bytes);
  } else if (drawn < 200) {
    do_pass(world, bytes);
  } else if (drawn < 240) {
    set_flush(world, 0);
  } else {
    imattr_engine_stop(world->engine, codes[drawn % 4]);
  }
}

static void step(life *world, fuzz_bytes *bytes) {
  switch (fuzz_below(bytes, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: do_push(world, bytes); break;
    case 5:
    case 6:
    case 7: do_next(world); break;
    case 8:
    case 9:
    case 10: do_feed(world, bytes); break;
    case 11: pass_time(world, bytes); break;
    case 12: take_result(world); break;
    case 13: set_flush(world, 1); break;
    case 14: do_rare(world, bytes); break;
    default: take_results(world); check_counts(world, 1);
  }
  see_stop(world);
  check_counts(world, 0);
}

/* }===== */

/* {===== the end ===== */

/* From now on all goes well: everything settles, soon. */
static void finish(life *world) {
  static const imattr_verdict delivered = {IMATTR_DELIVERED, 0, 1};
  size_t rounds = 0;
  imattr_answer answer;
  set_flush(world, 1);
  do {
    MUST(rounds++ < 10000);
    answer = do_next(world);
    if (answer == IMATTR_WAIT && world->model.flying_count > 0) {
      book_trip *trip = book_flying(&world->model, 0);
      apply(world, trip);
      note_quiet(world, trip, IMATTR_DONE);
      feed(world, trip, delivered);
    } else if (answer == IMATTR_WAIT) {
      world->now_us = world->until_us;
    }
    see_stop(world);
  } while (answer != IMATTR_IDLE);
  take_results(world);
  check_counts(world, 1);
  server_judge(&world->server);
}

/* }===== */

/* {===== the beginning ===== */

static void set_lanes(life *world, fuzz_bytes *bytes) {
  unsigned drawn = fuzz_byte(bytes);
  size_t lane;
  world->config.lane_count = 1 + (drawn & 1);
  for (lane = 0; lane < world->config.lane_count; lane++) {
    imattr_lane *made = &world->config.lanes[lane];
    int rate = (int)(fuzz_byte(bytes) & 15);
    made->shape = lane == 0 ? IMATTR_SHAPE_SET : IMATTR_SHAPE_REMOVE;
    world->rates[lane] = rate;
    if (rate > 0) {
      imattr_pace_manner manner = {
          drawn & 2 ? IMATTR_PACE_EVEN : IMATTR_PACE_STRICT, 0, 0};
      MUST(imattr_pace_create(&made->pace, rate, manner) == IMATTR_OK);
    }
  }
}

static void set_config(life *world, fuzz_bytes *bytes) {
  imattr_engine_config *config = &world->config;
  unsigned drawn;
  set_lanes(world, bytes);
  config->users_max = 1 + fuzz_below(bytes, SERVER_USERS);
  config->queue_max = 1 + fuzz_below(bytes, 40);
  config->in_flight_max = 1 + fuzz_below(bytes, 5);
  config->attempts_max = 1 + fuzz_below(bytes, 6);
  config->seed = fuzz_byte(bytes);
  drawn = fuzz_byte(bytes);
  config->is_probing = drawn & 1;
  config->is_quiet = drawn >> 1 & 1;
  config->body_bytes_max = drawn & 4 ? 60 + (drawn >> 3) * 8 : BODY_LARGE;
  config->hold_us = drawn & 8 ? SECOND_US : 15 * SECOND_US;
  config->deadline_us = drawn >= 224 ? world->now_us + 40 * SECOND_US : 0;
  config->outage_max_us = fuzz_below(bytes, 4) * 20 * SECOND_US;
}

static void destroy(life *world) {
  size_t lane;
  imattr_engine_destroy(world->engine);
  imattr_draft_destroy(world->draft);
  book_clear(&world->model);
  for (lane = 0; lane < world->config.lane_count; lane++) {
    imattr_pace_destroy(world->config.lanes[lane].pace);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static life world;
  fuzz_bytes bytes = {data, size};
  memset(&world, 0, offsetof(struct life, sent_us));
  world.now_us = SECOND_US;
  set_config(&world, &bytes);
  world.screen.account_bytes_max = 32;
  world.screen.value_bytes_max = 50;
  world.engine = imattr_engine_create(&world.config);
  world.draft = imattr_draft_create();
  MUST(world.engine != NULL && world.draft != NULL);
  book_init(&world.model, &world.config);
  server_init(&world.server);
  while (bytes.left > 0 && world.server.tickets < SERVER_TICKETS_MAX - 1 &&
         !book_is_full(&world.model)) {
    step(&world, &bytes);
  }
  if (size % 4 != 0) { /* else it is destroyed in the middle */
    finish(&world);
  }
  destroy(&world);
  return 0;
}

/* }===== */
