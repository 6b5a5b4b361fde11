/* roster: a hash table whose entries are the first of each user's chain */
#include "roster.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 1024

/* {===== entries ===== */

size_t imattr_entry_tickets(const imattr_entry *entry) {
  return 1 + entry->merged_count;
}

uint64_t imattr_entry_ticket(const imattr_entry *entry, size_t i) {
  return i == 0 ? entry->ticket : entry->merged[i - 1];
}

static imattr_status reserve_ticket(imattr_entry *entry) {
  size_t capacity = entry->merged_capacity;
  uint64_t *grown;
  if (entry->merged_count < capacity) {
    return IMATTR_OK;
  }
  capacity = capacity == 0 ? 4 : capacity * 2;
  grown = realloc(entry->merged, capacity * sizeof *grown);
  if (grown == NULL) {
    return IMATTR_NO_MEMORY;
  }
  entry->merged = grown;
  entry->merged_capacity = capacity;
  return IMATTR_OK;
}

imattr_status imattr_entry_merge(imattr_entry *entry, imattr_update *update,
                                 uint64_t ticket) {
  imattr_update *joined = NULL;
  imattr_status status = reserve_ticket(entry);
  if (status == IMATTR_OK) {
    status = imattr_update_merge(entry->update, update, &joined);
  }
  if (status == IMATTR_OK) {
    imattr_update_destroy(entry->update);
    imattr_update_destroy(update);
    entry->update = joined;
    entry->merged[entry->merged_count++] = ticket;
  }
  return status;
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
  imattr_pool_init(&roster->pool, sizeof(imattr_entry));
  roster->user_count = 0;
  roster->bucket_count = BUCKETS_MIN;
  roster->buckets = calloc(BUCKETS_MIN, sizeof *roster->buckets);
  return roster->buckets == NULL ? IMATTR_NO_MEMORY : IMATTR_OK;
}

void imattr_roster_destroy(imattr_roster *roster, imattr_entry *entry) {
  if (entry != NULL) {
    imattr_update_destroy(entry->update);
    free(entry->merged);
    imattr_pool_give(&roster->pool, entry);
  }
}

static void destroy_chain(imattr_roster *roster, imattr_entry *first) {
  while (first != NULL) {
    imattr_entry *next = first->chain_next;
    imattr_roster_destroy(roster, first);
    first = next;
  }
}

void imattr_roster_clear(imattr_roster *roster) {
  size_t i;
  for (i = 0; i < roster->bucket_count; i++) {
    while (roster->buckets[i] != NULL) {
      imattr_entry *first = roster->buckets[i];
      roster->buckets[i] = first->bucket_next;
      destroy_chain(roster, first);
    }
  }
  free(roster->buckets);
  roster->buckets = NULL;
  roster->bucket_count = 0;
  imattr_pool_clear(&roster->pool);
}

imattr_entry **imattr_roster_find(const imattr_roster *roster,
                                  const imattr_update *update) {
  uint32_t hash = imattr_update_hash(update);
  imattr_entry **place = &roster->buckets[hash & (roster->bucket_count - 1)];
  while (*place != NULL &&
         ((*place)->hash != hash ||
          !imattr_update_is_same_user((*place)->update, update))) {
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
      size_t bucket = moved->hash & (count - 1);
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
  imattr_entry *entry = imattr_pool_take(&roster->pool);
  if (entry == NULL) {
    return NULL;
  }
  memset(entry, 0, sizeof *entry);
  entry->update = update;
  entry->lane = lane;
  entry->hash = imattr_update_hash(update);
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
  imattr_entry **place =
      &roster->buckets[entry->hash & (roster->bucket_count - 1)];
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
