/*
** engine_state: the engine from within, for the files that are the engine:
** life, departure and judgement.
*/
#ifndef imattr_engine_state_h
#define imattr_engine_state_h

#include "engine.h"
#include "patience.h"
#include "trip.h"

#pragma GCC visibility push(hidden)

struct imattr_engine {
  imattr_engine_config config;
  imattr_list queues[IMATTR_LANES_MAX];
  imattr_list settled;
  imattr_entry *told; /* its last result was taken; freed by the next call */
  imattr_roster roster;
  imattr_trips trips;
  imattr_patience patience;
  int given_up; /* requests, in a row */
  int is_flushing;
  int is_probing; /* nothing has shown yet that the set-up is right */
  int stop_code;
  imattr_counts counts;
};

/* Frees the entry whose last result was taken; the first thing any call does.
 */
void imattr_engine_forget_told(imattr_engine *engine);

/* Ends a trip and all its entries. With DONE, an entry that the vendor refused
** (refuse_user) keeps its code and is refused. */
void imattr_engine_settle(imattr_engine *engine, imattr_trip *trip,
                          imattr_fate fate, int code);

/* Ends a trip that will not be tried again: unknown, or not_sent when no
** attempt can have arrived. */
void imattr_engine_abandon(imattr_engine *engine, imattr_trip *trip, int code);

/* Gives back the slot of a trip. */
void imattr_engine_give_slot(imattr_engine *engine, imattr_trip *trip,
                             int64_t now_us);

#pragma GCC visibility pop

#endif
