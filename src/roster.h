/*
** roster: the users of an engine, in chains.
**
** An entry is one user with one update; the tickets of every push that was
** merged into it ride along. The entries of one user form a chain in the
** order of their pushes. Only the first of a chain is ever queued or on a
** trip; the others are held until it settles. So a user is never in two
** requests, and nothing overtakes.
**
** The engine alone uses this: the structs are open to it.
*/
#ifndef imattr_roster_h
#define imattr_roster_h

#include "batch.h"
#include "pool.h"

#pragma GCC visibility push(hidden)

typedef struct imattr_entry imattr_entry;

/* Tickets of pushes that joined a waiting entry. */
typedef struct imattr_merged {
  size_t count;
  size_t capacity;
  uint64_t tickets[];
} imattr_merged;

/* It lives in the margin of the update that came first. */
struct imattr_entry {
  imattr_entry *next;        /* in a queue, a trip, or the settled list */
  imattr_entry *chain_next;  /* the same user's later entry, held */
  imattr_entry *bucket_next; /* of the hash table; first entries only */
  imattr_update *update;     /* owned; another one once something joined */
  uint64_t ticket;
  imattr_merged *merged; /* owned; NULL: none */
  uint32_t told_count;   /* tickets whose result was taken */
  int code;
  unsigned attempts;
  uint8_t lane;
  uint8_t fate;
  uint8_t has_left; /* on a trip or settled: nothing may join */
};

typedef struct imattr_list {
  imattr_entry *first;
  imattr_entry *last;
  size_t count;
} imattr_list;

typedef struct imattr_roster {
  imattr_entry **buckets;
  size_t bucket_count; /* a power of two */
  size_t user_count;   /* chains */
} imattr_roster;

/* Updates that ride on the entry. */
size_t imattr_entry_tickets(const imattr_entry *entry);

/* The i-th of its tickets, from 0, in the order of the pushes. */
uint64_t imattr_entry_ticket(const imattr_entry *entry, size_t i);

/* Joins a later update with its ticket into a waiting entry and frees it.
** OK; FULL: the two do not fit into one; NO_MEMORY. Except on OK nothing has
** changed and the update is still the caller's. */
imattr_status imattr_entry_merge(imattr_entry *entry, imattr_update *update,
                                 uint64_t ticket);

void imattr_list_append(imattr_list *list, imattr_entry *entry);

/* Takes the first entry out; NULL when the list is empty. */
imattr_entry *imattr_list_take(imattr_list *list);

/* OK or NO_MEMORY. */
imattr_status imattr_roster_init(imattr_roster *roster);

/* Frees the table and every chain in it; entries that were removed and not
** destroyed are lost with their updates. */
void imattr_roster_clear(imattr_roster *roster);

/* The place of the update's user: it holds the first entry of his chain, or
** NULL. Good until the next add or remove. */
imattr_entry **imattr_roster_find(const imattr_roster *roster,
                                  const imattr_update *update);

/* The last entry of a chain; NULL for NULL. */
imattr_entry *imattr_roster_last(imattr_entry *first);

/* Puts a new entry for the update, which it owns from now on, at the end of
** the chain at `place`. It is the first of its chain, and so to be queued,
** when the place was empty. Cannot fail. */
imattr_entry *imattr_roster_add(imattr_roster *roster, imattr_entry **place,
                                imattr_update *update, size_t lane);

/* Frees an entry that is in no roster, with its updates. NULL is fine. */
void imattr_entry_destroy(imattr_entry *entry);

/* Takes the first entry of a chain out. Returns the one behind it, which is
** now the first and to be queued, or NULL. */
imattr_entry *imattr_roster_remove(imattr_roster *roster, imattr_entry *entry);

#pragma GCC visibility pop

#endif
