/*
** judgement: the engine's `feed`: what a verdict does. Who waits behind whom
** is the roster's, what travels together is a trip's, whether to go on is
** patience's; this file decides. A verdict on a request in flight does this:
**
**   verdict     the trip's entries            the trip
**   DELIVERED   done, or refused if marked    ends
**   RETRY       -                             waits (patience), or ends:
**                 unknown / not_sent            attempts or credit used up
**   SLOW_DOWN   -                             waits; its pace slows
**   HOLD_OFF    -                             waits, and all others with it,
**                                               a minute; 2nd: STOP
**   RESIGN      -                             waits for nothing; 2nd: STOP
**   SPLIT       refused if alone              becomes two trips that wait
**   STOP        unknown / not_sent            ends; the run stops
**   GIVE_UP     unknown / not_sent            ends
**   SKIP        not_sent                      ends
**
** "unknown / not_sent": not_sent only if no attempt can have arrived.
*/
#include "engine_state.h"

/* After 70050 ("UserSig checks failed too often") the vendor wants to be left
** alone for a minute. */
#define HOLD_OFF_US INT64_C(60000000)

/* "Too fast" is no attempt, but nobody waits for ever: after this many, each
** a second or more, the request is given up. */
#define SLOW_DOWNS_MAX 60

/* Requests given up in a row, with none delivered between, that end a run:
** the service is not there. */
#define GIVEN_UP_MAX 3

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
  imattr_engine_abandon(engine, trip, code);
  engine->given_up++;
  if (engine->is_probing || engine->given_up >= GIVEN_UP_MAX) {
    imattr_engine_stop(engine, code);
  }
}

static void stop(imattr_engine *engine, imattr_trip *trip, int code) {
  imattr_engine_abandon(engine, trip, code);
  imattr_engine_stop(engine, code);
}

/* A fault while the service is out: the request waits for the next probe, and
** this is no attempt; or the outage has lasted too long. */
static void endure(imattr_engine *engine, imattr_trip *trip, int code,
                   int64_t now_us) {
  imattr_patience *patience = &engine->patience;
  if (imattr_patience_is_over(patience, now_us) ||
      !imattr_patience_spend(patience)) {
    stop(engine, trip, code);
  } else {
    imattr_trip_wait(&engine->trips, trip,
                     imattr_patience_gate_us(patience, now_us));
  }
}

static void retry(imattr_engine *engine, imattr_trip *trip, int code,
                  int64_t now_us) {
  imattr_patience *patience = &engine->patience;
  if (!engine->is_probing) {
    imattr_patience_fault(patience, now_us);
  }
  if (imattr_patience_is_out(patience)) {
    endure(engine, trip, code, now_us);
    return;
  }
  trip->failed++;
  if (trip->failed >= engine->config.attempts_max ||
      !imattr_patience_spend(patience)) {
    give_up(engine, trip, code);
  } else {
    imattr_trip_wait(
        &engine->trips, trip,
        now_us + imattr_patience_fault_delay_us(patience, trip->failed));
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
                     now_us + imattr_patience_slow_delay_us(&engine->patience,
                                                            trip->slow_downs));
  }
}

static void hold_off(imattr_engine *engine, imattr_trip *trip, int code,
                     int64_t now_us) {
  int64_t until_us = now_us + HOLD_OFF_US;
  if (trip->is_held) {
    stop(engine, trip, code);
  } else {
    trip->is_held = 1;
    imattr_patience_hold(&engine->patience, until_us);
    imattr_trip_wait(&engine->trips, trip, until_us);
  }
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
** request as a whole, so nothing of this attempt has arrived; one before it
** may have. A place is reserved. */
static void split(imattr_engine *engine, imattr_trip *trip, int code,
                  int64_t now_us) {
  imattr_trip *other;
  engine->is_probing = 0;
  if (trip->entries.count == 1) {
    imattr_engine_settle(engine, trip, IMATTR_REFUSED, code);
    return;
  }
  other = imattr_trips_new(&engine->trips, trip->lane);
  imattr_trip_halve(trip, other);
  trip->failed = 0;
  other->sent = trip->sent;
  other->may_have_arrived = trip->may_have_arrived;
  other->last_code = code;
  imattr_trip_wait(&engine->trips, trip, now_us);
  imattr_trip_wait(&engine->trips, other, now_us);
}

static void deliver(imattr_engine *engine, imattr_trip *trip) {
  engine->given_up = 0;
  engine->is_probing = 0;
  imattr_patience_earn(&engine->patience);
  imattr_engine_settle(engine, trip, IMATTR_DONE, 0);
}

static void judge(imattr_engine *engine, imattr_trip *trip,
                  const imattr_verdict *verdict, int64_t now_us) {
  int code = verdict->code;
  if (verdict->kind != IMATTR_RETRY) {
    imattr_patience_answered(&engine->patience);
  }
  switch (verdict->kind) {
    case IMATTR_DELIVERED: deliver(engine, trip); break;
    case IMATTR_SLOW_DOWN: slow_down(engine, trip, code, now_us); break;
    case IMATTR_HOLD_OFF: hold_off(engine, trip, code, now_us); break;
    case IMATTR_RESIGN: resign(engine, trip, code, now_us); break;
    case IMATTR_SPLIT: split(engine, trip, code, now_us); break;
    case IMATTR_STOP: stop(engine, trip, code); break;
    case IMATTR_GIVE_UP: give_up(engine, trip, code); break;
    case IMATTR_SKIP:
      imattr_engine_settle(engine, trip, IMATTR_NOT_SENT, code);
      break;
    default: retry(engine, trip, code, now_us); break;
  }
}

imattr_status imattr_engine_feed(imattr_engine *engine, uint64_t id,
                                 const imattr_verdict *verdict,
                                 int64_t now_us) {
  imattr_trip *trip = imattr_trips_find(&engine->trips, id);
  imattr_engine_forget_told(engine);
  if (trip == NULL) {
    return IMATTR_UNKNOWN_ID;
  }
  if (verdict->kind == IMATTR_SPLIT &&
      imattr_trips_reserve(&engine->trips) != IMATTR_OK) {
    return IMATTR_NO_MEMORY;
  }
  trip = imattr_trips_find(&engine->trips, id); /* it may have moved */
  imattr_engine_give_slot(engine, trip, now_us);
  imattr_trip_land(&engine->trips, trip);
  trip->last_code = verdict->code;
  trip->may_have_arrived |= verdict->may_have_arrived;
  judge(engine, trip, verdict, now_us);
  if (engine->stop_code != 0) { /* nothing new sets out after a stop */
    imattr_engine_stop(engine, engine->stop_code);
  }
  return IMATTR_OK;
}
