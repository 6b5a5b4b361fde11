/*
** book: what an engine should be doing, kept by hand: the model that the
** targets `draft` and `engine` hold against it.
**
** Every update pushed is an item here: its user, lane and attributes, and the
** tickets that were merged into it. Items of one user stand in the order of
** their pushes, and only the first that is not settled may travel. Requests
** are read back from their bodies alone. Every function ends the process when
** the engine did what it must not do.
*/
#ifndef fuzz_book_h
#define fuzz_book_h

#include "engine.h"
#include "fuzz.h"

#define BOOK_TEXT_MAX 64
#define BOOK_TICKETS_MAX 64 /* of one item */
#define BOOK_ITEMS_MAX 1024
#define BOOK_TRIPS_MAX 64 /* at once */
#define BOOK_USERS_MAX 32 /* in a request */

typedef struct book_text {
  char bytes[BOOK_TEXT_MAX];
  size_t len;
} book_text;

typedef struct book_attr {
  book_text name;
  book_text value; /* empty in a list of names */
} book_attr;

/* One user with attributes, as pushed or as read from a body. */
typedef struct book_user {
  book_text account;
  size_t attr_count;
  book_attr attrs[IMATTR_ATTRS_MAX];
} book_user;

typedef enum book_state {
  BOOK_WAITING, /* queued, or held behind the same user's earlier item */
  BOOK_FLYING,
  BOOK_RESTING, /* its request will be tried again, whole or halved */
  BOOK_SETTLED
} book_state;

typedef struct book_item {
  book_user user;
  size_t lane;
  uint64_t tickets[BOOK_TICKETS_MAX];
  size_t ticket_count;
  size_t told_count;
  book_state state;
  size_t trip; /* FLYING and RESTING: which */
  unsigned attempts;
  unsigned fates;   /* those it may end in, a bit for each */
  int code;         /* it must end with; 0: any */
  int refused_code; /* the vendor's, for this user alone; 0: not refused */
} book_item;

typedef struct book_trip {
  int is_used;
  int is_flying;
  int is_split;   /* rests in order to leave as two */
  int is_applied; /* the model server did this body once */
  int may_have_arrived;
  uint64_t id; /* of the attempt in flight */
  size_t lane;
  size_t item_count;
  size_t items[BOOK_USERS_MAX];
  size_t unsent_count; /* is_split: items not sent again yet */
  unsigned attempts;
  unsigned failed; /* RETRY verdicts since it was made whole */
  unsigned slow_downs;
  unsigned resigns;
  unsigned hold_offs;
  const char *body; /* the engine's */
  fuzz_text copy;   /* of what it was when it left */
} book_trip;

typedef struct book {
  const imattr_engine_config *config;
  size_t item_count;
  size_t first_open; /* the items before it are settled */
  book_item items[BOOK_ITEMS_MAX];
  book_trip trips[BOOK_TRIPS_MAX];
  size_t flying_count; /* requests */
} book;

void book_init(book *model, const imattr_engine_config *config);
void book_clear(book *model);
int book_is_full(const book *model);

book_text book_copy(const char *bytes, size_t len);
int book_is_same(const book_text *a, const book_text *b);

/* An update was taken under a ticket. */
void book_push(book *model, size_t lane, const book_user *user,
               uint64_t ticket);

/* A request leaves: is it one that may? Its trip. */
book_trip *book_send(book *model, const imattr_request *request);

/* The trip in flight under an id, or the i-th of those in flight; or NULL. */
book_trip *book_trip_of(book *model, uint64_t id);
book_trip *book_flying(book *model, size_t i);

/* Before a feed: the body is still what it was. After it, for a trip that has
** landed: its items may end in these fates (a bit each) with this code. When
** `is_over` they have; else they rest. */
void book_check_body(const book_trip *trip);
void book_land(book *model, book_trip *trip, unsigned fates, int code,
               int is_over);

/* The vendor refuses one user of a trip in flight, if he is in it. */
int book_refuse(book *model, const book_trip *trip, const book_text *account,
                int code);

/* A result was taken: its item. `stop_code`: of the run, 0 while it runs. */
book_item *book_tell(book *model, const imattr_result *result, int stop_code);

/* All results have been taken: the counts are what they must be. */
void book_check_counts(book *model, const imattr_counts *counts, int stop_code);

#endif
