/*
** engine: the life of every update.
**
**   push           next               feed
**  ─────▶ queued ───────▶ in flight ───────▶ settled ───▶ result
**            ▲                │ ▲               ▲
**            │ held           ▼ │               │
**          (same user       waiting ────────────┘
**           in flight)   (retry, split)
**
** It has no clock, socket, thread or Lua: time and random numbers enter as
** arguments, requests leave as bytes, and what a reply means comes in as a
** verdict. The pump calls push, next and feed; see each for what to do next.
**
** Promises. Every update ends in exactly one fate, once. One user is never in
** two requests at once, and updates of one user take effect in the order they
** were pushed. A request is sent again byte for byte. Every quantity that
** could grow has a limit, and `full` is an answer.
*/
#ifndef imattr_engine_h
#define imattr_engine_h

#include <stdint.h>

#include "batch.h"
#include "pace.h"

#pragma GCC visibility push(hidden)

/* Commands one engine serves side by side (set and remove, say). */
#define IMATTR_LANES_MAX 4

/* Requests in flight at once, at most: as many as slots. */
#define IMATTR_IN_FLIGHT_MAX IMATTR_RATE_MAX

/* One command: how its users are written, and its pace, or NULL for no limit.
** The engine becomes one more holder of the pace. */
typedef struct imattr_lane {
  imattr_shape shape;
  imattr_pace *pace;
} imattr_lane;

/* Limits and settings; the caller fills in every field. */
typedef struct imattr_engine_config {
  size_t lane_count;
  imattr_lane lanes[IMATTR_LANES_MAX];
  size_t users_max;      /* users in a request: 100 (every attribute page) */
  size_t body_bytes_max; /* a body is closed before it would pass this */
  size_t queue_max;      /* updates that wait, merged ones counted */
  size_t in_flight_max;  /* requests at once, 1 to IMATTR_IN_FLIGHT_MAX */
  unsigned attempts_max; /* of one request, outages, slow-downs and re-signs
                            aside */
  int64_t hold_us;       /* an attempt is given up for certain within this */
  int64_t deadline_us;   /* the run stops at this moment; 0: never */
  int64_t outage_max_us; /* see patience.h; 0: only attempts count */
  uint64_t seed;         /* of the jitter */
  int is_probing;        /* one request at a time until one was delivered or
                            split: a mistake of set-up costs one request */
  int is_quiet;          /* done, or not sent by a dry run: only counted */
} imattr_engine_config;

typedef enum imattr_fate {
  IMATTR_DONE,     /* the vendor acknowledged it */
  IMATTR_INVALID,  /* screening refused it; it was never sent */
  IMATTR_REFUSED,  /* the vendor refused this user */
  IMATTR_UNKNOWN,  /* sent, and no answer tells */
  IMATTR_NOT_SENT, /* the run ended before its turn */
  IMATTR_FATE_COUNT
} imattr_fate;

typedef enum imattr_verdict_kind {
  IMATTR_DELIVERED, /* all done, but for those refused by engine_refuse_user */
  IMATTR_RETRY,     /* nothing wrong with the request: again, after a while */
  IMATTR_SLOW_DOWN, /* too fast: slower, and again; not an attempt */
  IMATTR_HOLD_OFF,  /* nothing for a minute, then again; once for a request */
  IMATTR_RESIGN,    /* again with a fresh signature; once for a request */
  IMATTR_SPLIT,     /* one user may be the cause: halve until he is alone */
  IMATTR_STOP,      /* a mistake of set-up: the run ends */
  IMATTR_GIVE_UP,   /* sent, no answer tells, and asking again cannot help */
  IMATTR_SKIP,      /* not sent on purpose (dry run) */
  IMATTR_VERDICT_COUNT
} imattr_verdict_kind;

/* What a reply, or its absence, means. Filled by the caller. */
typedef struct imattr_verdict {
  imattr_verdict_kind kind;
  int code;             /* the vendor's or a status; 0 with DELIVERED */
  int may_have_arrived; /* could the vendor have acted on this attempt? */
} imattr_verdict;

typedef enum imattr_answer {
  IMATTR_READY,    /* send `request` now, then call next again */
  IMATTR_WAIT,     /* nothing to send before `until_us` or the next feed */
  IMATTR_IDLE,     /* nothing in flight and nothing to send: push, flush or
                      take results; after flush: the run is over */
  IMATTR_NO_ANSWER /* no memory to write the body; nothing has changed */
} imattr_answer;

/* A request to send. The body stays where it is, unchanged, until the request
** is fed or the engine destroyed. */
typedef struct imattr_request {
  uint64_t id;      /* of this attempt; feed wants it back */
  size_t lane;      /* which command */
  size_t users;     /* updates in the body */
  unsigned attempt; /* 1 for the first */
  const char *body;
  size_t body_len;
} imattr_request;

/* The end of one update. The account lives until the next call. */
typedef struct imattr_result {
  uint64_t ticket;
  imattr_fate fate;
  int code; /* 0 when done */
  unsigned attempts;
  const char *account;
  size_t account_len;
} imattr_result;

/* Where the updates are. users == the sum of fates + waiting + in_flight. */
typedef struct imattr_counts {
  uint64_t users; /* updates pushed or refused by screening */
  uint64_t fates[IMATTR_FATE_COUNT];
  uint64_t merged;    /* updates that joined one that waited */
  uint64_t waiting;   /* updates queued or held */
  uint64_t in_flight; /* updates in requests sent, or waiting for a retry */
  uint64_t requests;  /* attempts sent */
  uint64_t retries;   /* of them, beyond the first of each request */
} imattr_counts;

/* Opaque. */
typedef struct imattr_engine imattr_engine;

/* NULL when there is no memory. */
imattr_engine *imattr_engine_create(const imattr_engine_config *config);

/* Frees everything, whatever is queued or in flight. NULL is fine. */
void imattr_engine_destroy(imattr_engine *engine);

/*
** Takes over an update for a lane and numbers it (tickets count from 1 in the
** order of push and invalid).
** OK; FULL: nothing taken, call next and feed first (or the run was stopped);
** NO_MEMORY: nothing taken.
** The update is the engine's only after OK.
*/
imattr_status imattr_engine_push(imattr_engine *engine, size_t lane,
                                 imattr_update *update, uint64_t *ticket);

/* Counts an update that is never pushed, INVALID or NOT_SENT; returns its
** ticket. Its result is the caller's to tell: the engine does not report it. */
uint64_t imattr_engine_pass(imattr_engine *engine, imattr_fate fate);

/* How many updates push will surely take; none after a stop. */
size_t imattr_engine_room(const imattr_engine *engine);

/* How many updates to push now, so that a full batch is ready; 0: one is. */
size_t imattr_engine_wants(const imattr_engine *engine);

/* What is queued may leave in batches that are not full: no more input is to
** be expected, or it has lingered enough. `is_on` 0 takes it back. */
void imattr_engine_flush(imattr_engine *engine, int is_on);

/*
** What to do now. READY fills *request; WAIT fills *until_us (INT64_MAX when
** only a reply can help). `now_us` must not be later than the moment of
** sending and never goes back.
*/
imattr_answer imattr_engine_next(imattr_engine *engine, int64_t now_us,
                                 imattr_request *request, int64_t *until_us);

/* Before feeding DELIVERED: the vendor refused this user of the request (its
** ErrorList). OK; UNKNOWN_ID when request or user is not there. */
imattr_status imattr_engine_refuse_user(imattr_engine *engine, uint64_t id,
                                        const char *account, size_t len,
                                        int code);

/*
** The verdict on a request in flight; `now_us` is read after its answer, or
** after its socket was closed. OK; UNKNOWN_ID: late, twice or never sent, and
** nothing has changed; NO_MEMORY: nothing has changed, feed it again.
*/
imattr_status imattr_engine_feed(imattr_engine *engine, uint64_t id,
                                 const imattr_verdict *verdict, int64_t now_us);

/* Ends the run: what is not in flight settles with `code`; what is in flight
** waits for its verdict, and is not tried again. A first stop stands. */
void imattr_engine_stop(imattr_engine *engine, int code);

/* The code the run was stopped with, or 0. */
int imattr_engine_stop_code(const imattr_engine *engine);

/* Takes the next result; peek only looks at it. 0 when there is none now. */
int imattr_engine_result(imattr_engine *engine, imattr_result *result);
int imattr_engine_peek(const imattr_engine *engine, imattr_result *result);
void imattr_engine_counts(const imattr_engine *engine, imattr_counts *counts);

#pragma GCC visibility pop

#endif
