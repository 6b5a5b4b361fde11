/*
** engine: what moves an update from one place to the next.
**
** Who waits behind whom is the roster's, what travels together is a trip's;
** this file decides. A verdict on a request in flight does this:
**
**   verdict     the trip's entries            the trip
**   DELIVERED   done, or refused if marked    ends
**   RETRY       -                             waits (backoff), or ends:
**                 unknown / not_sent            attempts or credit used up
**   SLOW_DOWN   -                             waits; its pace slows
**   RESIGN      -                             waits for nothing; 2nd: STOP
**   SPLIT       refused if alone              becomes two trips that wait
**   STOP        unknown / not_sent            ends; the run stops
**   GIVE_UP     unknown / not_sent            ends
**   SKIP        not_sent                      ends
**
** "unknown / not_sent": not_sent only if no attempt can have arrived.
*/
#include "engine.h"

#include <stdlib.h>

#include "backoff.h"
#include "trip.h"

#define MS_US INT64_C(1000)

/* Full jitter from 50 ms for faults, from 1 s when the vendor says "too
** fast"; both at most 20 s (the AWS standard of 2026). */
#define RETRY_BASE_US (50 * MS_US)
#define SLOW_BASE_US (1000 * MS_US)
#define BACKOFF_CAP_US (20000 * MS_US)

/* Retry budget: a retry costs one, a delivered request earns a tenth, so in
** the long run retries stay below 10 % of what succeeds. In tenths. */
#define CREDIT_START 5000
#define CREDIT_MAX 5000
#define RETRY_COST 10
#define SUCCESS_EARNS 1

/* "Too fast" is no attempt, but nobody waits for ever: after this many, each
** a second or more, the request is given up. */
#define SLOW_DOWNS_MAX 60

/* Requests given up in a row, with none delivered between, that end a run:
** the service is not there. */
#define GIVEN_UP_MAX 3

struct imattr_engine {
  imattr_engine_config config;
  imattr_list queues[IMATTR_LANES_MAX];
  imattr_list settled;
  imattr_entry *told; /* its last result was taken; freed by the next call */
  imattr_roster roster;
  imattr_trips trips;
  uint64_t random;
  int credit;   /* for retries, in tenths of one */
  int given_up; /* requests, in a row */
  int is_flushing;
  int is_probing; /* nothing has shown yet that the set-up is right */
  int stop_code;
  imattr_counts counts;
};

/* {===== birth and death ===== */

imattr_engine *imattr_engine_create(const imattr_engine_config *config) {
  imattr_engine *engine = calloc(1, sizeof *engine);
  size_t lane;
  if (engine == NULL) {
    return NULL;
  }
  if (imattr_roster_init(&engine->roster) != IMATTR_OK) {
    free(engine);
    return NULL;
  }
  imattr_trips_init(&engine->trips);
  engine->config = *config;
  for (lane = 0; lane < config->lane_count; lane++) {
    if (config->lanes[lane].pace != NULL) {
      imattr_pace_share(config->lanes[lane].pace);
    }
  }
  engine->random = config->seed;
  engine->is_probing = config->is_probing;
  engine->credit = CREDIT_START;
  return engine;
}

static void forget_told(imattr_engine *engine) {
  imattr_entry_destroy(engine->told);
  engine->told = NULL;
}

void imattr_engine_destroy(imattr_engine *engine) {
  size_t lane;
  if (engine == NULL) {
    return;
  }
  for (lane = 0; lane < engine->config.lane_count; lane++) {
    imattr_pace_destroy(engine->config.lanes[lane].pace);
  }
  forget_told(engine);
  while (engine->settled.count > 0) {
    imattr_entry_destroy(imattr_list_take(&engine->settled));
  }
  imattr_roster_clear(&engine->roster);
  imattr_trips_clear(&engine->trips);
  free(engine);
}

/* }===== */

/* {===== push ===== */

uint64_t imattr_engine_pass(imattr_engine *engine, imattr_fate fate) {
  engine->counts.fates[fate]++;
  return ++engine->counts.users;
}

/* Joins the update into the user's last entry, if that is of the same lane
** and has not left. FULL: it cannot. */
static imattr_status join(imattr_engine *engine, imattr_entry *last,
                          size_t lane, imattr_update *update) {
  imattr_status status = IMATTR_FULL;
  if (last != NULL && !last->has_left && last->lane == lane) {
    status = imattr_entry_merge(last, update, engine->counts.users + 1);
  }
  engine->counts.merged += status == IMATTR_OK;
  return status;
}

/* Puts the update behind its user's others. */
static void enqueue(imattr_engine *engine, imattr_entry **place, size_t lane,
                    imattr_update *update) {
  int is_first = *place == NULL;
  imattr_entry *entry = imattr_roster_add(&engine->roster, place, update, lane);
  entry->ticket = engine->counts.users + 1;
  if (is_first) {
    imattr_list_append(&engine->queues[lane], entry);
  }
}

imattr_status imattr_engine_push(imattr_engine *engine, size_t lane,
                                 imattr_update *update, uint64_t *ticket) {
  imattr_entry **place;
  imattr_status status;
  forget_told(engine);
  if (engine->stop_code != 0 || imattr_engine_room(engine) == 0) {
    return IMATTR_FULL;
  }
  place = imattr_roster_find(&engine->roster, update);
  status = join(engine, imattr_roster_last(*place), lane, update);
  if (status == IMATTR_FULL) {
    enqueue(engine, place, lane, update);
    status = IMATTR_OK;
  }
  if (status == IMATTR_OK) {
    engine->counts.waiting++;
    *ticket = ++engine->counts.users;
  }
  return status;
}

size_t imattr_engine_room(const imattr_engine *engine) {
  size_t waiting = (size_t)engine->counts.waiting;
  size_t most = engine->config.queue_max;
  return engine->stop_code == 0 && waiting < most ? most - waiting : 0;
}

size_t imattr_engine_wants(const imattr_engine *engine) {
  size_t most = engine->config.users_max;
  size_t wanted = imattr_engine_room(engine);
  size_t lane;
  for (lane = 0; lane < engine->config.lane_count; lane++) {
    size_t ready = engine->queues[lane].count;
    size_t missing = ready < most ? most - ready : 0;
    wanted = missing < wanted ? missing : wanted;
  }
  return wanted;
}

void imattr_engine_flush(imattr_engine *engine, int is_on) {
  engine->is_flushing = is_on;
}

/* }===== */

/* {===== settling ===== */

/* Ends an entry that is the first of its chain and in no list; the next of
** its chain is queued. */
static void settle(imattr_engine *engine, imattr_entry *entry, imattr_fate fate,
                   int code) {
  imattr_entry *next = imattr_roster_remove(&engine->roster, entry);
  if (next != NULL) {
    imattr_list_append(&engine->queues[next->lane], next);
  }
  engine->counts.fates[fate] += imattr_entry_tickets(entry);
  if (fate == IMATTR_DONE && engine->config.is_quiet) {
    imattr_entry_destroy(entry);
    return;
  }
  entry->fate = (uint8_t)fate;
  entry->code = fate == IMATTR_DONE ? 0 : code;
  imattr_list_append(&engine->settled, entry);
}

/* Ends a trip and all its entries. With DONE, an entry that the vendor
** refused (refuse_user) keeps its code and is refused. */
static void settle_trip(imattr_engine *engine, imattr_trip *trip,
                        imattr_fate fate, int code) {
  engine->counts.in_flight -= trip->tickets;
  while (trip->entries.count > 0) {
    imattr_entry *entry = imattr_list_take(&trip->entries);
    int is_marked = fate == IMATTR_DONE && entry->code != 0;
    entry->attempts = trip->sent;
    settle(engine, entry, is_marked ? IMATTR_REFUSED : fate,
           is_marked ? entry->code : code);
  }
  imattr_trip_end(&engine->trips, trip);
}

/* Ends a trip that will not be tried again. */
static void abandon(imattr_engine *engine, imattr_trip *trip, int code) {
  settle_trip(engine, trip,
              trip->may_have_arrived ? IMATTR_UNKNOWN : IMATTR_NOT_SENT, code);
}

/* Ends everything queued. Settling an entry may queue the next of its chain
** in any lane, so begin again until all queues are empty. */
static void empty_queues(imattr_engine *engine) {
  size_t lane = 0;
  while (lane < engine->config.lane_count) {
    imattr_entry *entry = imattr_list_take(&engine->queues[lane]);
    if (entry == NULL) {
      lane++;
    } else {
      engine->counts.waiting -= imattr_entry_tickets(entry);
      settle(engine, entry, IMATTR_NOT_SENT, engine->stop_code);
      lane = 0;
    }
  }
}

void imattr_engine_stop(imattr_engine *engine, int code) {
  size_t i;
  forget_told(engine);
  if (engine->stop_code == 0) {
    engine->stop_code = code;
  }
  for (i = 0; i < engine->trips.place_count; i++) {
    imattr_trip *trip = &engine->trips.places[i];
    if (trip->state == IMATTR_WAITING) {
      abandon(engine, trip, trip->last_code);
    }
  }
  empty_queues(engine);
}

int imattr_engine_stop_code(const imattr_engine *engine) {
  return engine->stop_code;
}

/* }===== */

/* {===== next ===== */

/* Moves the first `count` entries of the queue into the trip. */
static void board(imattr_engine *engine, imattr_trip *trip, size_t count) {
  imattr_list *queue = &engine->queues[trip->lane];
  while (count-- > 0) {
    imattr_trip_board(trip, imattr_list_take(queue));
  }
  engine->counts.waiting -= trip->tickets;
  engine->counts.in_flight += trip->tickets;
}

static int may_leave(const imattr_engine *engine, size_t lane) {
  size_t count = engine->queues[lane].count;
  return count >= engine->config.users_max ||
         (count > 0 &&
          (engine->is_flushing || imattr_engine_room(engine) == 0));
}

/* Takes a slot. 0, or the moment to ask again. */
static int64_t take_slot(imattr_engine *engine, imattr_trip *trip,
                         int64_t now_us) {
  imattr_pace *pace = engine->config.lanes[trip->lane].pace;
  trip->slot = -1;
  return pace == NULL ? 0
                      : imattr_pace_take(pace, now_us, engine->config.hold_us,
                                         &trip->slot);
}

static void give_slot(imattr_engine *engine, imattr_trip *trip,
                      int64_t now_us) {
  imattr_pace *pace = engine->config.lanes[trip->lane].pace;
  if (pace != NULL) {
    imattr_pace_give(pace, trip->slot, now_us);
  }
}

/* The trip has a slot and a body: it leaves. */
static imattr_answer leave(imattr_engine *engine, imattr_trip *trip,
                           imattr_request *request) {
  imattr_trip_send(&engine->trips, trip);
  engine->counts.requests++;
  engine->counts.retries += trip->sent > 1;
  request->id = trip->id;
  request->lane = trip->lane;
  request->users = trip->entries.count;
  request->attempt = trip->sent;
  request->body = trip->body.data;
  request->body_len = trip->body.len;
  return IMATTR_READY;
}

static imattr_body_limits limits_of(const imattr_engine *engine, size_t lane) {
  imattr_body_limits limits;
  limits.shape = engine->config.lanes[lane].shape;
  limits.users_max = engine->config.users_max;
  limits.bytes_max = engine->config.body_bytes_max;
  return limits;
}

static void sooner(int64_t *until_us, int64_t moment_us) {
  *until_us = moment_us < *until_us ? moment_us : *until_us;
}

/* Sends a trip that waited, if there is a slot for it. */
static imattr_answer send_again(imattr_engine *engine, imattr_trip *trip,
                                int64_t now_us, imattr_request *request,
                                int64_t *until_us) {
  int64_t later_us;
  size_t count;
  if (trip->body.len == 0 && /* half of a split */
      imattr_trip_write(trip, &trip->entries, limits_of(engine, trip->lane),
                        &count) != IMATTR_OK) {
    return IMATTR_NO_ANSWER;
  }
  later_us = take_slot(engine, trip, now_us);
  if (later_us != 0) {
    sooner(until_us, later_us);
    return IMATTR_WAIT;
  }
  return leave(engine, trip, request);
}

/* Makes a batch of a lane's queue and sends it, if there is a slot for it. */
static imattr_answer send_batch(imattr_engine *engine, size_t lane,
                                int64_t now_us, imattr_request *request,
                                int64_t *until_us) {
  imattr_trip *trip;
  int64_t later_us;
  size_t count;
  if (imattr_trips_reserve(&engine->trips) != IMATTR_OK) {
    return IMATTR_NO_ANSWER;
  }
  trip = imattr_trips_new(&engine->trips, lane);
  later_us = take_slot(engine, trip, now_us);
  if (later_us != 0) {
    sooner(until_us, later_us);
    return IMATTR_WAIT;
  }
  if (imattr_trip_write(trip, &engine->queues[lane], limits_of(engine, lane),
                        &count) != IMATTR_OK) {
    give_slot(engine, trip, now_us);
    return IMATTR_NO_ANSWER;
  }
  board(engine, trip, count);
  return leave(engine, trip, request);
}

/* Sends the first batch that may leave. IDLE: no lane has one. */
static imattr_answer send_new(imattr_engine *engine, int64_t now_us,
                              imattr_request *request, int64_t *until_us) {
  imattr_answer answer = IMATTR_IDLE;
  size_t lane;
  for (lane = 0; lane < engine->config.lane_count; lane++) {
    if (may_leave(engine, lane)) {
      answer = send_batch(engine, lane, now_us, request, until_us);
      if (answer != IMATTR_WAIT) {
        return answer;
      }
    }
  }
  return answer;
}

/* Stops a run that is past its deadline; else *until_us is the deadline. */
static void keep_deadline(imattr_engine *engine, int64_t now_us,
                          int64_t *until_us) {
  int64_t deadline_us = engine->config.deadline_us;
  if (deadline_us != 0 && engine->stop_code == 0) {
    if (now_us >= deadline_us) {
      imattr_engine_stop(engine, IMATTR_DEADLINE);
    } else {
      sooner(until_us, deadline_us);
    }
  }
}

imattr_answer imattr_engine_next(imattr_engine *engine, int64_t now_us,
                                 imattr_request *request, int64_t *until_us) {
  size_t most = engine->is_probing ? 1 : engine->config.in_flight_max;
  imattr_answer answer = IMATTR_IDLE;
  imattr_trip *due;
  forget_told(engine);
  *until_us = INT64_MAX;
  keep_deadline(engine, now_us, until_us);
  if (engine->trips.flying_count >= most) {
    return IMATTR_WAIT;
  }
  due = imattr_trips_due(&engine->trips, now_us, until_us);
  if (due != NULL) {
    answer = send_again(engine, due, now_us, request, until_us);
  }
  if (answer == IMATTR_IDLE && engine->trips.alive_count < most) {
    answer = send_new(engine, now_us, request, until_us);
  }
  return answer == IMATTR_IDLE && engine->trips.alive_count > 0 ? IMATTR_WAIT
                                                                : answer;
}

/* }===== */

/* {===== feed ===== */

imattr_status imattr_engine_refuse_user(imattr_engine *engine, uint64_t id,
                                        const char *account, size_t len,
                                        int code) {
  imattr_trip *trip = imattr_trips_find(&engine->trips, id);
  imattr_entry *entry = trip == NULL ? NULL : trip->entries.first;
  while (entry != NULL && !imattr_update_is_for(entry->update, account, len)) {
    entry = entry->next;
  }
  if (entry == NULL) {
    return IMATTR_UNKNOWN_ID;
  }
  entry->code = code;
  return IMATTR_OK;
}

/* A request got nowhere: its users settle; after some in a row, or when none
** ever got anywhere, the run ends. */
static void give_up(imattr_engine *engine, imattr_trip *trip, int code) {
  abandon(engine, trip, code);
  engine->given_up++;
  if (engine->is_probing || engine->given_up >= GIVEN_UP_MAX) {
    imattr_engine_stop(engine, code);
  }
}

static int64_t delay_us(imattr_engine *engine, unsigned retry,
                        int64_t base_us) {
  return imattr_backoff_us(retry, base_us, BACKOFF_CAP_US,
                           imattr_backoff_random(&engine->random));
}

static void retry(imattr_engine *engine, imattr_trip *trip, int code,
                  int64_t now_us) {
  trip->failed++;
  if (trip->failed >= engine->config.attempts_max ||
      engine->credit < RETRY_COST) {
    give_up(engine, trip, code);
  } else {
    engine->credit -= RETRY_COST;
    imattr_trip_wait(&engine->trips, trip,
                     now_us + delay_us(engine, trip->failed, RETRY_BASE_US));
  }
}

static void slow_down(imattr_engine *engine, imattr_trip *trip, int code,
                      int64_t now_us) {
  imattr_pace *pace = engine->config.lanes[trip->lane].pace;
  trip->slow_downs++;
  if (pace != NULL) {
    imattr_pace_slow_down(pace, now_us);
  }
  if (trip->slow_downs >= SLOW_DOWNS_MAX) {
    give_up(engine, trip, code);
  } else {
    imattr_trip_wait(&engine->trips, trip,
                     now_us + SLOW_BASE_US +
                         delay_us(engine, trip->slow_downs, SLOW_BASE_US));
  }
}

static void stop(imattr_engine *engine, imattr_trip *trip, int code) {
  abandon(engine, trip, code);
  imattr_engine_stop(engine, code);
}

static void resign(imattr_engine *engine, imattr_trip *trip, int code,
                   int64_t now_us) {
  if (trip->is_resigned) {
    stop(engine, trip, code);
  } else {
    trip->is_resigned = 1;
    imattr_trip_wait(&engine->trips, trip, now_us);
  }
}

/* Halves a refused batch; a user alone is refused. The vendor refuses a
** request as a whole, so nothing of it has arrived. A place is reserved. */
static void split(imattr_engine *engine, imattr_trip *trip, int code,
                  int64_t now_us) {
  imattr_trip *other;
  engine->is_probing = 0;
  if (trip->entries.count == 1) {
    settle_trip(engine, trip, IMATTR_REFUSED, code);
    return;
  }
  other = imattr_trips_new(&engine->trips, trip->lane);
  imattr_trip_halve(trip, other);
  trip->failed = 0;
  trip->may_have_arrived = 0;
  other->sent = trip->sent;
  other->last_code = code;
  imattr_trip_wait(&engine->trips, trip, now_us);
  imattr_trip_wait(&engine->trips, other, now_us);
}

static void deliver(imattr_engine *engine, imattr_trip *trip) {
  engine->given_up = 0;
  engine->is_probing = 0;
  engine->credit += SUCCESS_EARNS;
  if (engine->credit > CREDIT_MAX) {
    engine->credit = CREDIT_MAX;
  }
  settle_trip(engine, trip, IMATTR_DONE, 0);
}

static void judge(imattr_engine *engine, imattr_trip *trip,
                  const imattr_verdict *verdict, int64_t now_us) {
  int code = verdict->code;
  switch (verdict->kind) {
    case IMATTR_DELIVERED: deliver(engine, trip); break;
    case IMATTR_SLOW_DOWN: slow_down(engine, trip, code, now_us); break;
    case IMATTR_RESIGN: resign(engine, trip, code, now_us); break;
    case IMATTR_SPLIT: split(engine, trip, code, now_us); break;
    case IMATTR_STOP: stop(engine, trip, code); break;
    case IMATTR_GIVE_UP: give_up(engine, trip, code); break;
    case IMATTR_SKIP: settle_trip(engine, trip, IMATTR_NOT_SENT, code); break;
    default: retry(engine, trip, code, now_us); break;
  }
}

imattr_status imattr_engine_feed(imattr_engine *engine, uint64_t id,
                                 const imattr_verdict *verdict,
                                 int64_t now_us) {
  imattr_trip *trip = imattr_trips_find(&engine->trips, id);
  forget_told(engine);
  if (trip == NULL) {
    return IMATTR_UNKNOWN_ID;
  }
  if (verdict->kind == IMATTR_SPLIT &&
      imattr_trips_reserve(&engine->trips) != IMATTR_OK) {
    return IMATTR_NO_MEMORY;
  }
  trip = imattr_trips_find(&engine->trips, id); /* it may have moved */
  give_slot(engine, trip, now_us);
  imattr_trip_land(&engine->trips, trip);
  trip->last_code = verdict->code;
  trip->may_have_arrived |= verdict->may_have_arrived;
  judge(engine, trip, verdict, now_us);
  if (engine->stop_code != 0) { /* nothing new sets out after a stop */
    imattr_engine_stop(engine, engine->stop_code);
  }
  return IMATTR_OK;
}

/* }===== */

/* {===== results ===== */

int imattr_engine_result(imattr_engine *engine, imattr_result *result) {
  imattr_entry *entry = engine->settled.first;
  forget_told(engine);
  if (entry == NULL) {
    return 0;
  }
  result->ticket = imattr_entry_ticket(entry, entry->told_count++);
  result->fate = (imattr_fate)entry->fate;
  result->code = entry->code;
  result->attempts = entry->attempts;
  result->account = imattr_update_account(entry->update, &result->account_len);
  if (entry->told_count == imattr_entry_tickets(entry)) {
    engine->told = imattr_list_take(&engine->settled);
  }
  return 1;
}

void imattr_engine_counts(const imattr_engine *engine, imattr_counts *counts) {
  *counts = engine->counts;
}

/* }===== */
