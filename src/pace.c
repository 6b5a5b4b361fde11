/* pace: the slot ring, private or in shared memory */
#include "pace.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_LEN_MAX 200

#define SECOND_US INT64_C(1000000)

/* A slot rests this long after its answer: the vendor's second, and a
** millisecond for clocks that tick in such steps or run a little apart. */
#define REST_US (SECOND_US + 1000)

/* A word further ahead than any attempt can reach was written by another
** clock: the slot counts as free. */
#define AHEAD_MAX_US (IMATTR_HOLD_US_MAX + REST_US)

#define SLOW_FACTOR 0.7
#define SLOW_FLOOR 0.05 /* of the full pace: always go on asking */
#define SLOW_ONCE_US (SECOND_US / 4)
#define CREEP_US (30 * SECOND_US) /* from nothing back to the full pace */

#define EVEN_FACTOR 0.98
#define SPREAD_FACTOR 0.9

/* A process with a low rate spaces its own sends; it must not hold up those of
** others for longer than this: the even distance at the vendor's 100/s. */
#define SHARED_GAP_MAX_US 10205

/* What each kind of sender keeps of the rate while the other one wants it, too:
** live ones, backfills. */
static const double KIND_SHARE[] = {0.8, 0.2};

/* A sender that was told a moment is taken to want to send until a little after
** it: it may ask late, or never again. */
#define WANTED_US (SECOND_US / 50)

/* When every slot is in the hand of somebody, another process may give one
** back long before the moment written in it: look again after this. */
#define LOOK_AGAIN_US (SECOND_US / 100)

/* What the processes share. Words change by compare-and-swap alone. */
typedef struct ring {
  int64_t next_send_us; /* no request leaves before: spreads the sends */
  int64_t free_us[IMATTR_RATE_MAX];
  int64_t wanted_us[2];    /* until when senders of a kind want to send */
  int64_t next_kind_us[2]; /* a kind's next send, if the other kind wants to */
  int64_t limit; /* the vendor's: until when in ms, times LIMIT_BASE, and it */
} ring;

/* A ring of the first layout ends here; it is made longer. */
#define FIRST_RING_SIZE offsetof(ring, wanted_us)

#define LIMIT_BASE 1024

struct imattr_pace {
  pid_t pid; /* whose slots it takes: a child process gives none of them back */
  int holders;
  ring *ring;
  int is_shared; /* is the ring mapped (else it is ours) */
  int given_rate;
  imattr_pace_manner manner;
  int64_t next_send_us; /* of this process */
  int cursor;           /* where the last free slot was found */
  double slow_share;    /* of the full pace, at slow_since_us */
  int64_t slow_since_us;
};

/* {===== birth and death ===== */

static imattr_status create(imattr_pace **pace, ring *shared, int rate,
                            imattr_pace_manner manner) {
  imattr_pace *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  made->ring = shared != NULL ? shared : calloc(1, sizeof *made->ring);
  if (made->ring == NULL) {
    free(made);
    return IMATTR_NO_MEMORY;
  }
  made->is_shared = shared != NULL;
  made->pid = getpid();
  made->holders = 1;
  made->given_rate = rate;
  made->manner = manner;
  made->slow_share = 1.0;
  *pace = made;
  return IMATTR_OK;
}

imattr_status imattr_pace_create(imattr_pace **pace, int rate,
                                 imattr_pace_manner manner) {
  return create(pace, NULL, rate, manner);
}

/* Is the file shorter than a ring: just made, or of the first layout? */
static int is_short(const struct stat *file) {
  return file->st_size == 0 || file->st_size == (off_t)FIRST_RING_SIZE;
}

/* Is the file plain, ours, closed to others, and of a size that a ring has? */
static int is_trusted(const struct stat *file) {
  return S_ISREG(file->st_mode) && file->st_uid == geteuid() &&
         file->st_nlink == 1 && (file->st_mode & (S_IRWXG | S_IRWXO)) == 0 &&
         (is_short(file) || file->st_size == (off_t)sizeof(ring));
}

/* Two processes that find the file short both set the same size: harmless, as
** new bytes are zero, and a zero word is a free slot, or nothing known. */
static imattr_status map(int file, ring **mapped) {
  struct stat about;
  void *memory;
  if (fstat(file, &about) != 0) {
    return IMATTR_PACE_FILE;
  }
  if (!is_trusted(&about)) {
    return IMATTR_PACE_FOREIGN;
  }
  if (is_short(&about) && ftruncate(file, (off_t)sizeof(ring)) != 0) {
    return IMATTR_PACE_FILE;
  }
  memory =
      mmap(NULL, sizeof(ring), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) {
    return IMATTR_PACE_FILE;
  }
  *mapped = memory;
  return IMATTR_OK;
}

imattr_status imattr_pace_open(imattr_pace **pace, const char *name, int rate,
                               imattr_pace_manner manner) {
  char path[256];
  ring *mapped = NULL;
  imattr_status status;
  int file, reason;
  if (strlen(name) > NAME_LEN_MAX || strchr(name, '/') != NULL) {
    errno = EINVAL;
    return IMATTR_PACE_FILE;
  }
  snprintf(path, sizeof path, "/imattr-%lu-%s", (unsigned long)geteuid(), name);
  file = shm_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (file < 0) {
    return errno == ELOOP || errno == EACCES || errno == EISDIR ||
                   errno == ENXIO || errno == EINVAL
               ? IMATTR_PACE_FOREIGN
               : IMATTR_PACE_FILE;
  }
  status = map(file, &mapped);
  reason = errno;
  close(file);
  if (status == IMATTR_OK) {
    status = create(pace, mapped, rate, manner);
    if (status != IMATTR_OK) {
      munmap(mapped, sizeof(ring));
    }
  }
  errno = reason;
  return status;
}

void imattr_pace_share(imattr_pace *pace) {
  pace->holders++;
}

void imattr_pace_destroy(imattr_pace *pace) {
  if (pace == NULL || --pace->holders > 0) {
    return;
  }
  if (pace->is_shared) {
    munmap(pace->ring, sizeof(ring));
  } else {
    free(pace->ring);
  }
  free(pace);
}

/* }===== */

/* {===== words ===== */

static int64_t load(int64_t *word) {
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Changes the word if it still is `old`; tells whether it did. */
static int swap(int64_t *word, int64_t old, int64_t new) {
  return __atomic_compare_exchange_n(word, &old, new, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE);
}

static void store(int64_t *word, int64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* The moment the word holds; one from another clock counts as past. */
static int64_t moment(int64_t word, int64_t now_us) {
  return word > now_us + AHEAD_MAX_US ? 0 : word;
}

/* }===== */

/* {===== pace ===== */

static double present_share(const imattr_pace *pace, int64_t now_us) {
  double crept = (double)(now_us - pace->slow_since_us) / (double)CREEP_US;
  double share = pace->slow_share + crept;
  return pace->slow_share >= 1.0 || share >= 1.0 ? 1.0 : share;
}

int imattr_pace_rate(const imattr_pace *pace, int64_t now_us) {
  int64_t word = load(&pace->ring->limit);
  int64_t left_ms = word / LIMIT_BASE - now_us / 1000;
  int limit = (int)(word % LIMIT_BASE);
  if (left_ms <= 0 || left_ms > IMATTR_LIMIT_US / 1000 || limit < 1 ||
      limit > IMATTR_RATE_MAX) {
    return pace->given_rate; /* nobody told one, or long ago */
  }
  return limit < pace->given_rate || pace->manner.heeds_raises
             ? limit
             : pace->given_rate;
}

/*
** The distance between two sends. In strict mode the slots keep the limit; the
** distance only spreads the sends, and is a little less than the even one, so
** that a sender who was held up catches up; but for a backfill, which would
** leave no slot for others at the end of each second. A pace that was slowed
** down is kept by distance alone.
*/
static int64_t gap_us(const imattr_pace *pace, int rate, double share) {
  double even = (double)SECOND_US / ((double)rate * share);
  if (pace->manner.mode == IMATTR_PACE_EVEN) {
    return (int64_t)(even / EVEN_FACTOR);
  }
  return (int64_t)(share < 1.0 || pace->manner.is_backfill
                       ? even
                       : even * SPREAD_FACTOR);
}

/*
** The moment of the next send after one now. It follows the moment at which
** this one was due, not the one at which it came about: waking up late, by half
** a gap at most, does not add up.
*/
static int64_t due_after(int64_t due_us, int64_t now_us, int64_t gap) {
  int64_t earliest_us = now_us - gap / 2;
  return (due_us > earliest_us ? due_us : earliest_us) + gap;
}

/*
** Claims a free slot among the first `rate`. Returns its index and its old
** word, or -1 and the moment at which the first one becomes free.
*/
static int claim(imattr_pace *pace, int rate, int64_t now_us, int64_t until_us,
                 int64_t *word) {
  int64_t first_us = INT64_MAX;
  int i;
  for (i = 1; i <= rate; i++) {
    int slot = (pace->cursor + i) % rate;
    int64_t old = load(&pace->ring->free_us[slot]);
    int64_t free_us = moment(old, now_us);
    if (free_us <= now_us) {
      if (swap(&pace->ring->free_us[slot], old, until_us)) {
        pace->cursor = slot;
        *word = old;
        return slot;
      }
      first_us = now_us; /* somebody was faster: look again at once */
    } else if (free_us < first_us) {
      first_us = free_us;
    }
  }
  *word = first_us;
  return -1;
}

/* When to ask again, if the first slot becomes free at `first_us`. */
static int64_t ask_again_us(const imattr_pace *pace, int64_t first_us,
                            int64_t now_us) {
  if (first_us <= now_us) {
    return now_us + 1;
  }
  if (pace->is_shared && first_us > now_us + REST_US) {
    return now_us + LOOK_AGAIN_US;
  }
  return first_us;
}

/* How long a slot is held: until the attempt is surely over, or, in even mode,
** which spaces sends and does not wait for answers, for its second alone. */
static int64_t hold_until(const imattr_pace *pace, int64_t now_us,
                          int64_t hold_us) {
  return now_us + REST_US +
         (pace->manner.mode == IMATTR_PACE_STRICT ? hold_us : 0);
}

/* Does the other kind of sender want to send, too? */
static int is_contended(const imattr_pace *pace, int64_t now_us) {
  return moment(load(&pace->ring->wanted_us[!pace->manner.is_backfill]),
                now_us) > now_us;
}

/* The moment before which this sender may not send, whatever the slots say. */
static int64_t next_moment(const imattr_pace *pace, int64_t shared_us,
                           int is_contended, int64_t now_us) {
  int64_t next_us =
      shared_us > pace->next_send_us ? shared_us : pace->next_send_us;
  int64_t kind_us = moment(
      load(&pace->ring->next_kind_us[pace->manner.is_backfill != 0]), now_us);
  return is_contended && kind_us > next_us ? kind_us : next_us;
}

/* The sender must wait: the other kind hears of it. */
static int64_t wait_until(imattr_pace *pace, int64_t until_us) {
  store(&pace->ring->wanted_us[pace->manner.is_backfill != 0],
        until_us + WANTED_US);
  return until_us;
}

/* A send of this kind was granted: when is the next one due, if the other kind
** wants to send? While it does not, nothing adds up. */
static void note_kind(imattr_pace *pace, int rate, int is_contended,
                      int64_t now_us) {
  int kind = pace->manner.is_backfill != 0;
  int64_t *next_us = &pace->ring->next_kind_us[kind];
  int64_t gap = (int64_t)((double)SECOND_US / (rate * KIND_SHARE[kind]));
  int64_t due_us = is_contended ? moment(load(next_us), now_us) : now_us;
  store(next_us, due_after(due_us, now_us, gap));
  store(&pace->ring->wanted_us[kind], 0);
}

int64_t imattr_pace_take(imattr_pace *pace, int64_t now_us, int64_t hold_us,
                         int *slot, int64_t *held_us) {
  int rate = imattr_pace_rate(pace, now_us);
  int64_t gap = gap_us(pace, rate, present_share(pace, now_us));
  int64_t shared_us = load(&pace->ring->next_send_us);
  int64_t next_shared_us = moment(shared_us, now_us);
  int contended = is_contended(pace, now_us);
  int64_t next_us = next_moment(pace, next_shared_us, contended, now_us);
  int64_t word = 0;
  int found;
  if (next_us > now_us) {
    return wait_until(pace, next_us);
  }
  *held_us = hold_until(pace, now_us, hold_us);
  found = claim(pace, rate, now_us, *held_us, &word);
  if (found < 0) {
    return wait_until(pace, ask_again_us(pace, word, now_us));
  }
  if (!swap(&pace->ring->next_send_us, shared_us,
            due_after(next_shared_us, now_us,
                      gap < SHARED_GAP_MAX_US ? gap : SHARED_GAP_MAX_US))) {
    store(&pace->ring->free_us[found], word); /* ours, and unused */
    return wait_until(pace, now_us + 1);
  }
  pace->next_send_us = due_after(pace->next_send_us, now_us, gap);
  note_kind(pace, rate, contended, now_us);
  *slot = found;
  return 0;
}

void imattr_pace_give(imattr_pace *pace, int slot, int64_t held_us,
                      int64_t now_us) {
  if (slot >= 0 && pace->manner.mode == IMATTR_PACE_STRICT &&
      pace->pid == getpid()) {
    int64_t *word = &pace->ring->free_us[slot];
    swap(word, held_us == 0 ? load(word) : held_us, now_us + REST_US);
  }
}

void imattr_pace_slow_down(imattr_pace *pace, int64_t now_us) {
  double share = present_share(pace, now_us);
  if (pace->slow_share < 1.0 && now_us - pace->slow_since_us < SLOW_ONCE_US) {
    return;
  }
  share *= SLOW_FACTOR;
  pace->slow_share = share < SLOW_FLOOR ? SLOW_FLOOR : share;
  pace->slow_since_us = now_us;
}

void imattr_pace_limit(imattr_pace *pace, int limit, int64_t now_us) {
  store(&pace->ring->limit,
        (now_us + IMATTR_LIMIT_US) / 1000 * LIMIT_BASE + limit);
}

/* }===== */
