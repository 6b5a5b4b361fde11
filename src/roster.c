/* roster: a hash table whose entries are the first of each user's chain */
#include "roster.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 1024
#define TICKETS_MIN 4

/* An entry that does not fit would write over its update. */
typedef char entry_fits[sizeof(imattr_entry) <= IMATTR_MARGIN_SIZE ? 1 : -1];

/* {===== entries ===== */

size_t imattr_entry_tickets(const imattr_entry *entry) {
  return entry->merged == NULL ? 1 : 1 + entry->merged->count;
}

uint64_t imattr_entry_ticket(const imattr_entry *entry, size_t i) {
  return i == 0 ? entry->ticket : entry->merged->tickets[i - 1];
}

/* Makes room for one more ticket. */
static imattr_status reserve_ticket(imattr_entry *entry) {
  const imattr_merged *merged = entry->merged;
  size_t count = merged == NULL ? 0 : merged->count;
  size_t capacity = merged == NULL ? 0 : merged->capacity;
  imattr_merged *grown;
  if (count < capacity) {
    return IMATTR_OK;
  }
  capacity = capacity == 0 ? TICKETS_MIN : capacity * 2;
  grown = realloc(entry->merged,
                  sizeof *grown + capacity * sizeof grown->tickets[0]);
  if (grown == NULL) {
    return IMATTR_NO_MEMORY;
  }
  grown->count = count;
  grown->capacity = capacity;
  entry->merged = grown;
  return IMATTR_OK;
}

/* The update in whose margin the entry lives. */
static imattr_update *home_of(imattr_entry *entry) {
  return imattr_update_of_margin(entry);
}

imattr_status imattr_entry_merge(imattr_entry *entry, imattr_update *update,
                                 uint64_t ticket) {
  imattr_update *joined = update;
  imattr_status status = reserve_ticket(entry);
  if (status == IMATTR_OK && !imattr_update_covers(update, entry->update)) {
    status = imattr_update_merge(entry->update, update, &joined);
  }
  if (status != IMATTR_OK) {
    return status;
  }
  if (joined != update) {
    imattr_update_destroy(update);
  }
  if (entry->update != home_of(entry)) {
    imattr_update_destroy(entry->update);
  }
  entry->update = joined;
  entry->merged->tickets[entry->merged->count++] = ticket;
  return IMATTR_OK;
}

void imattr_entry_destroy(imattr_entry *entry) {
  if (entry != NULL) {
    imattr_update *home = home_of(entry);
    if (entry->update != home) {
      imattr_update_destroy(entry->update);
    }
    free(entry->merged);
    imattr_update_destroy(home);
  }
}

/* }===== */

/* {===== lists ===== */

void imattr_list_append(imattr_list *list, imattr_entry *entry) {
  entry->next = NULL;
  if (list->last != NULL) {
    list->last->next = entry;
  } else {
    list->first = entry;
  }
  list->last = entry;
  list->count++;
}

imattr_entry *imattr_list_take(imattr_list *list) {
  imattr_entry *first = list->first;
  if (first != NULL) {
    list->first = first->next;
    list->last = first->next == NULL ? NULL : list->last;
    list->count--;
  }
  return first;
}

/* }===== */

/* {===== roster ===== */

imattr_status imattr_roster_init(imattr_roster *roster) {
  roster->user_count = 0;
  roster->bucket_count = BUCKETS_MIN;
  roster->buckets = calloc(BUCKETS_MIN, sizeof *roster->buckets);
  return roster->buckets == NULL ? IMATTR_NO_MEMORY : IMATTR_OK;
}

static void destroy_chain(imattr_entry *first) {
  while (first != NULL) {
    imattr_entry *next = first->chain_next;
    imattr_entry_destroy(first);
    first = next;
  }
}

void imattr_roster_clear(imattr_roster *roster) {
  size_t i;
  for (i = 0; i < roster->bucket_count; i++) {
    while (roster->buckets[i] != NULL) {
      imattr_entry *first = roster->buckets[i];
      roster->buckets[i] = first->bucket_next;
      destroy_chain(first);
    }
  }
  free(roster->buckets);
  roster->buckets = NULL;
  roster->bucket_count = 0;
}

static imattr_entry **bucket_of(const imattr_roster *roster,
                                const imattr_update *update) {
  return &roster->buckets[imattr_update_hash(update) &
                          (roster->bucket_count - 1)];
}

imattr_entry **imattr_roster_find(const imattr_roster *roster,
                                  const imattr_update *update) {
  imattr_entry **place = bucket_of(roster, update);
  while (*place != NULL &&
         !imattr_update_is_same_user((*place)->update, update)) {
    place = &(*place)->bucket_next;
  }
  return place;
}

imattr_entry *imattr_roster_last(imattr_entry *first) {
  while (first != NULL && first->chain_next != NULL) {
    first = first->chain_next;
  }
  return first;
}

/* Doubles the table when it has more users than buckets. Without memory it
** stays as it is: slower, not wrong. */
static void grow(imattr_roster *roster) {
  size_t count = roster->bucket_count * 2;
  imattr_entry **old = roster->buckets;
  imattr_entry **grown;
  size_t i;
  if (roster->user_count <= roster->bucket_count) {
    return;
  }
  grown = calloc(count, sizeof *grown);
  if (grown == NULL) {
    return;
  }
  for (i = 0; i < roster->bucket_count; i++) {
    while (old[i] != NULL) {
      imattr_entry *moved = old[i];
      size_t bucket = imattr_update_hash(moved->update) & (count - 1);
      old[i] = moved->bucket_next;
      moved->bucket_next = grown[bucket];
      grown[bucket] = moved;
    }
  }
  free(old);
  roster->buckets = grown;
  roster->bucket_count = count;
}

imattr_entry *imattr_roster_add(imattr_roster *roster, imattr_entry **place,
                                imattr_update *update, size_t lane) {
  imattr_entry *entry = imattr_update_margin(update);
  memset(entry, 0, sizeof *entry);
  entry->update = update;
  entry->lane = (uint8_t)lane;
  if (*place != NULL) {
    imattr_roster_last(*place)->chain_next = entry;
  } else {
    *place = entry;
    roster->user_count++;
    grow(roster);
  }
  return entry;
}

imattr_entry *imattr_roster_remove(imattr_roster *roster, imattr_entry *entry) {
  imattr_entry **place = bucket_of(roster, entry->update);
  imattr_entry *next = entry->chain_next;
  while (*place != entry) {
    place = &(*place)->bucket_next;
  }
  if (next != NULL) {
    next->bucket_next = entry->bucket_next;
    *place = next;
  } else {
    *place = entry->bucket_next;
    roster->user_count--;
  }
  entry->chain_next = NULL;
  entry->bucket_next = NULL;
  return next;
}

/* }===== */
