/*
** trip: batches on their way, in one table.
**
** A trip is a batch from its first attempt to its end: its entries, its body
** as it was written, and what has happened to it. It is in flight (its id is
** given out and it holds a slot) or waits for the moment of its next attempt.
** An id is the number of the attempt and the place in the table, so a late or
** second reply finds nothing.
**
** The engine alone uses this: the structs are open to it.
*/
#ifndef imattr_trip_h
#define imattr_trip_h

#include "roster.h"

#pragma GCC visibility push(hidden)

typedef enum imattr_trip_state {
  IMATTR_NO_TRIP, /* a free place, which keeps its body's memory */
  IMATTR_IN_FLIGHT,
  IMATTR_WAITING
} imattr_trip_state;

typedef struct imattr_trip {
  imattr_trip_state state;
  uint64_t id; /* of the attempt in flight */
  size_t lane;
  imattr_list entries;
  size_t tickets;     /* of all entries */
  imattr_buffer body; /* empty: not written yet */
  unsigned sent;      /* attempts */
  unsigned failed;    /* of them, those that count against the limit */
  unsigned slow_downs;
  int is_resigned;
  int is_held;          /* has been held off once */
  int may_have_arrived; /* could the vendor have acted on any attempt? */
  int last_code;
  int slot;
  int64_t held_us; /* by then the slot is free by itself */
  int64_t due_us;  /* WAITING: not before */
} imattr_trip;

typedef struct imattr_trips {
  imattr_trip *places;
  size_t place_count;
  size_t alive_count; /* in flight or waiting */
  size_t flying_count;
  uint64_t attempt_number;
} imattr_trips;

void imattr_trips_init(imattr_trips *trips);

/* Frees the table; entries are the roster's. */
void imattr_trips_clear(imattr_trips *trips);

/* Makes sure of a free place. Trips may move in memory. OK or NO_MEMORY. */
imattr_status imattr_trips_reserve(imattr_trips *trips);

/* An empty trip at a place that was reserved. It is not alive yet. */
imattr_trip *imattr_trips_new(imattr_trips *trips, size_t lane);

/* The trip in flight under this id, or NULL. */
imattr_trip *imattr_trips_find(const imattr_trips *trips, uint64_t id);

/* NO_TRIP or WAITING to IN_FLIGHT, under a new id. */
void imattr_trip_send(imattr_trips *trips, imattr_trip *trip);

/* IN_FLIGHT: the attempt is over, what comes next is not said yet. */
void imattr_trip_land(imattr_trips *trips, imattr_trip *trip);

/* To WAITING; a trip that was not alive is now. */
void imattr_trip_wait(imattr_trips *trips, imattr_trip *trip, int64_t due_us);

/* To NO_TRIP; the entries must have been taken out. */
void imattr_trip_end(imattr_trips *trips, imattr_trip *trip);

/* What one body may hold. */
typedef struct imattr_body_limits {
  imattr_shape shape;
  size_t users_max;
  size_t bytes_max;
} imattr_body_limits;

/* Writes the trip's body of the first entries of a list, as many as the
** limits allow and at least one; *count tells how many. OK, or NO_MEMORY and
** no body. */
imattr_status imattr_trip_write(imattr_trip *trip, const imattr_list *entries,
                                imattr_body_limits limits, size_t *count);

/* Adds an entry. */
void imattr_trip_board(imattr_trip *trip, imattr_entry *entry);

/* Moves the second half of the entries into another, empty trip; neither has
** a body then. */
void imattr_trip_halve(imattr_trip *trip, imattr_trip *other);

/* The trip that has been due longest, or NULL and in *due_us the moment when
** the first one will be (unchanged when none waits). */
imattr_trip *imattr_trips_due(const imattr_trips *trips, int64_t now_us,
                              int64_t *due_us);

#pragma GCC visibility pop

#endif
