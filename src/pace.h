/*
** pace: when may the next request leave? A slot ring.
**
** The vendor counts a command's requests at the server. The ring has as many
** slots as the limit allows requests a second. A slot is taken before a
** request is sent and is free again one second after its answer came. The
** request reaches the server between the two, so two requests of one slot
** reach it at least a second apart, and no window of one second, wherever it
** starts, can hold more arrivals than there are slots.
**
** A slot is one 64-bit word: the moment it becomes free, in microseconds of
** the system's monotonic clock. Words change by compare-and-swap alone, so
** processes share a ring in shared memory without a lock. A taken slot holds
** the moment at which its attempt is given up for certain, plus a second: a
** process that dies with slots in its hand gives them back by that.
**
** The clock enters as an argument. With a shared ring it must be the system's
** monotonic clock, which all processes of a machine read alike.
*/
#ifndef imattr_pace_h
#define imattr_pace_h

#include <stdint.h>

#include "status.h"

#pragma GCC visibility push(hidden)

/* Largest limit: what the shared ring has room for. The vendor's default is
** 100 (every attribute page: "100 times/second"); more can be bought. */
#define IMATTR_RATE_MAX 1000

typedef enum imattr_pace_mode {
  IMATTR_PACE_STRICT, /* the slot ring: never more than the limit */
  IMATTR_PACE_EVEN    /* evenly spaced at 98 % of the limit, whatever the
                         answers take; slots are held for a second from the
                         send, so late packets may touch 101, and 103 beside a
                         strict pace on the same ring */
} imattr_pace_mode;

/* How a sender goes about it. */
typedef struct imattr_pace_manner {
  imattr_pace_mode mode;
  int is_backfill;  /* a bulk job: live senders of the ring go before it. While
                       both kinds want to send, it keeps a fifth of the rate and
                       they four fifths; alone, each has the whole */
  int heeds_raises; /* the rate was nobody's choice: a higher limit of the
                       vendor's counts, too */
} imattr_pace_manner;

/* Opaque. */
typedef struct imattr_pace imattr_pace;

/*
** A ring of this process alone. `rate` is 1 to IMATTR_RATE_MAX requests a
** second. OK; NO_MEMORY.
*/
imattr_status imattr_pace_create(imattr_pace **pace, int rate,
                                 imattr_pace_manner manner);

/*
** A ring shared with every process of this user that opens the same `name`
** (without `/`, at most 200 bytes; the file is /dev/shm/imattr-UID-NAME).
** Processes may open it with different rates: a process uses the first `rate`
** slots of the ring, so all together stay below the highest.
** OK; NO_MEMORY; PACE_FILE when the system refuses (errno tells);
** PACE_FOREIGN when the file is a link, not a plain file, of another owner,
** open to others or of another size.
*/
imattr_status imattr_pace_open(imattr_pace **pace, const char *name, int rate,
                               imattr_pace_manner manner);

/* One more holder: destroy must be called once more. */
void imattr_pace_share(imattr_pace *pace);

/* One holder less; the last one frees. Slots in hand become free by
** themselves. NULL is fine. */
void imattr_pace_destroy(imattr_pace *pace);

/* Longest hold that take accepts: ten minutes, far above any timeout. */
#define IMATTR_HOLD_US_MAX INT64_C(600000000)

/*
** Takes a slot for an attempt that is given up for certain within `hold_us`.
** Returns 0, the slot in *slot, and in *held_us the moment by which it is free
** by itself; or the moment to ask again (always later than `now_us`).
*/
int64_t imattr_pace_take(imattr_pace *pace, int64_t now_us, int64_t hold_us,
                         int *slot, int64_t *held_us);

/*
** Gives the slot back: the answer came, or the attempt was given up and its
** socket closed. `now_us` must be read after that. The slot is free one second
** later. `held_us` is as take gave it: a process that was stopped for so long
** that somebody else has the slot by now changes nothing; 0: whoever has it.
** In a child process of the one that opened the pace nothing happens: the
** attempt is its parent's, and may still be under way.
*/
void imattr_pace_give(imattr_pace *pace, int slot, int64_t held_us,
                      int64_t now_us);

/*
** The server says "too fast": from now on 0.7 of the present pace, creeping
** back to the full one. Refusals that come within a quarter of a second are
** taken as one.
*/
void imattr_pace_slow_down(imattr_pace *pace, int64_t now_us);

/* How long a limit counts that the vendor told: its alarm comes again while
** the app sends more than 80 % of it (vendor's page 1047/60256). */
#define IMATTR_LIMIT_US INT64_C(600000000)

/*
** The vendor says what the limit is, 1 to IMATTR_RATE_MAX: for IMATTR_LIMIT_US
** it counts in place of the rate for everybody on the ring, where it is lower;
** where it is higher, for those that heed raises.
*/
void imattr_pace_limit(imattr_pace *pace, int limit, int64_t now_us);

/* The requests a second that this sender keeps to now. */
int imattr_pace_rate(const imattr_pace *pace, int64_t now_us);

#pragma GCC visibility pop

#endif
