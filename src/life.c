/*
** life: the engine's birth and death, and where updates come in, settle and
** are told of. What leaves is departure's, what a verdict does is judgement's.
*/
#include "engine_state.h"

#include <stdlib.h>

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
  imattr_patience_init(&engine->patience, config->outage_max_us, config->seed);
  engine->is_probing = config->is_probing;
  return engine;
}

void imattr_engine_forget_told(imattr_engine *engine) {
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
  imattr_engine_forget_told(engine);
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
  imattr_engine_forget_told(engine);
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
  if (engine->config.is_quiet &&
      (fate == IMATTR_DONE || code == IMATTR_DRY_RUN)) {
    imattr_entry_destroy(entry);
    return;
  }
  entry->fate = (uint8_t)fate;
  entry->code = fate == IMATTR_DONE ? 0 : code;
  imattr_list_append(&engine->settled, entry);
}

void imattr_engine_settle(imattr_engine *engine, imattr_trip *trip,
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

void imattr_engine_abandon(imattr_engine *engine, imattr_trip *trip, int code) {
  imattr_engine_settle(
      engine, trip, trip->may_have_arrived ? IMATTR_UNKNOWN : IMATTR_NOT_SENT,
      code);
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
  imattr_engine_forget_told(engine);
  if (engine->stop_code == 0) {
    engine->stop_code = code;
  }
  for (i = 0; i < engine->trips.place_count; i++) {
    imattr_trip *trip = &engine->trips.places[i];
    if (trip->state == IMATTR_WAITING) {
      imattr_engine_abandon(engine, trip, trip->last_code);
    }
  }
  empty_queues(engine);
}

int imattr_engine_stop_code(const imattr_engine *engine) {
  return engine->stop_code;
}

/* }===== */

/* {===== results ===== */

int imattr_engine_peek(const imattr_engine *engine, imattr_result *result) {
  const imattr_entry *entry = engine->settled.first;
  if (entry == NULL) {
    return 0;
  }
  result->ticket = imattr_entry_ticket(entry, entry->told_count);
  result->fate = (imattr_fate)entry->fate;
  result->code = entry->code;
  result->attempts = entry->attempts;
  result->account = imattr_update_account(entry->update, &result->account_len);
  return 1;
}

int imattr_engine_result(imattr_engine *engine, imattr_result *result) {
  imattr_entry *entry = engine->settled.first;
  imattr_engine_forget_told(engine);
  if (!imattr_engine_peek(engine, result)) {
    return 0;
  }
  if (++entry->told_count == imattr_entry_tickets(entry)) {
    engine->told = imattr_list_take(&engine->settled);
  }
  return 1;
}

void imattr_engine_counts(const imattr_engine *engine, imattr_counts *counts) {
  *counts = engine->counts;
}

/* }===== */
