/* departure: the engine's `next`: what leaves now, and else when */
#include "engine_state.h"

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
                                         &trip->slot, &trip->held_us);
}

void imattr_engine_give_slot(imattr_engine *engine, imattr_trip *trip,
                             int64_t now_us) {
  imattr_pace *pace = engine->config.lanes[trip->lane].pace;
  if (pace != NULL) {
    imattr_pace_give(pace, trip->slot, trip->held_us, now_us);
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
    imattr_engine_give_slot(engine, trip, now_us);
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

/* Waits for a moment before which nothing leaves. IDLE: nothing would. */
static imattr_answer wait_at_gate(const imattr_engine *engine, int64_t gate_us,
                                  int64_t *until_us) {
  int has_some = engine->trips.alive_count > 0;
  size_t lane;
  for (lane = 0; lane < engine->config.lane_count; lane++) {
    has_some |= may_leave(engine, lane);
  }
  sooner(until_us, gate_us);
  return has_some ? IMATTR_WAIT : IMATTR_IDLE;
}

/* How many requests may fly. */
static size_t flights_max(const imattr_engine *engine) {
  return engine->is_probing || imattr_patience_is_out(&engine->patience)
             ? 1
             : engine->config.in_flight_max;
}

imattr_answer imattr_engine_next(imattr_engine *engine, int64_t now_us,
                                 imattr_request *request, int64_t *until_us) {
  size_t most = flights_max(engine);
  imattr_answer answer = IMATTR_IDLE;
  int64_t gate_us;
  imattr_trip *due;
  imattr_engine_forget_told(engine);
  *until_us = INT64_MAX;
  keep_deadline(engine, now_us, until_us);
  if (engine->trips.flying_count >= most) {
    return IMATTR_WAIT;
  }
  gate_us = imattr_patience_gate_us(&engine->patience, now_us);
  if (gate_us != 0) {
    return wait_at_gate(engine, gate_us, until_us);
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
