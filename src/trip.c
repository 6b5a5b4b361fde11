/* trip: a table of places; a place is found by scanning, an id directly */
#include "trip.h"

#include <stdlib.h>
#include <string.h>

#define PLACE_BITS 20 /* of an id; 33 bits of a double are left to count */
#define PLACES_MAX (1u << PLACE_BITS)
#define PLACES_MIN 16

void imattr_trips_init(imattr_trips *trips) {
  memset(trips, 0, sizeof *trips);
}

void imattr_trips_clear(imattr_trips *trips) {
  size_t i;
  for (i = 0; i < trips->place_count; i++) {
    imattr_buffer_clear(&trips->places[i].body);
  }
  free(trips->places);
  imattr_trips_init(trips);
}

imattr_status imattr_trips_reserve(imattr_trips *trips) {
  size_t count = trips->place_count;
  imattr_trip *grown;
  if (trips->alive_count < count) {
    return IMATTR_OK;
  }
  count = count < PLACES_MIN ? PLACES_MIN : count * 2;
  if (count > PLACES_MAX) {
    return IMATTR_NO_MEMORY;
  }
  grown = realloc(trips->places, count * sizeof *grown);
  if (grown == NULL) {
    return IMATTR_NO_MEMORY;
  }
  memset(grown + trips->place_count, 0,
         (count - trips->place_count) * sizeof *grown);
  trips->places = grown;
  trips->place_count = count;
  return IMATTR_OK;
}

imattr_trip *imattr_trips_new(imattr_trips *trips, size_t lane) {
  imattr_trip *trip = trips->places;
  imattr_buffer body;
  while (trip->state != IMATTR_NO_TRIP) {
    trip++;
  }
  body = trip->body;
  body.len = 0;
  memset(trip, 0, sizeof *trip);
  trip->body = body;
  trip->lane = lane;
  trip->slot = -1;
  return trip;
}

imattr_trip *imattr_trips_find(const imattr_trips *trips, uint64_t id) {
  size_t place = (size_t)(id & (PLACES_MAX - 1));
  if (place < trips->place_count && trips->places[place].id == id &&
      trips->places[place].state == IMATTR_IN_FLIGHT) {
    return &trips->places[place];
  }
  return NULL;
}

void imattr_trip_send(imattr_trips *trips, imattr_trip *trip) {
  size_t place = (size_t)(trip - trips->places);
  trips->alive_count += trip->state == IMATTR_NO_TRIP;
  trips->flying_count++;
  trip->state = IMATTR_IN_FLIGHT;
  trip->id = (++trips->attempt_number << PLACE_BITS) | place;
  trip->sent++;
}

void imattr_trip_land(imattr_trips *trips, imattr_trip *trip) {
  trips->flying_count--;
  trip->id = 0;
}

void imattr_trip_wait(imattr_trips *trips, imattr_trip *trip, int64_t due_us) {
  trips->alive_count += trip->state == IMATTR_NO_TRIP;
  trip->state = IMATTR_WAITING;
  trip->due_us = due_us;
}

void imattr_trip_end(imattr_trips *trips, imattr_trip *trip) {
  trips->alive_count--;
  trip->state = IMATTR_NO_TRIP;
}

imattr_status imattr_trip_write(imattr_trip *trip, const imattr_list *entries,
                                imattr_body_limits limits, size_t *count) {
  const imattr_entry *entry = entries->first;
  imattr_buffer *body = &trip->body;
  imattr_status status = imattr_body_begin(body, limits.shape);
  *count = 0;
  while (status == IMATTR_OK && entry != NULL && *count < limits.users_max &&
         (*count == 0 || body->len + imattr_update_size(entry->update) +
                                 IMATTR_BODY_CLOSE_SIZE <=
                             limits.bytes_max)) {
    status = imattr_body_add(body, entry->update);
    entry = entry->next;
    ++*count;
  }
  if (status == IMATTR_OK) {
    status = imattr_body_end(body, limits.shape);
  }
  if (status != IMATTR_OK) {
    body->len = 0;
  }
  return status;
}

void imattr_trip_board(imattr_trip *trip, imattr_entry *entry) {
  entry->has_left = 1;
  trip->tickets += imattr_entry_tickets(entry);
  imattr_list_append(&trip->entries, entry);
}

void imattr_trip_halve(imattr_trip *trip, imattr_trip *other) {
  imattr_list all = trip->entries;
  size_t keep = all.count / 2;
  memset(&trip->entries, 0, sizeof trip->entries);
  trip->tickets = 0;
  while (trip->entries.count < keep) {
    imattr_trip_board(trip, imattr_list_take(&all));
  }
  while (all.count > 0) {
    imattr_trip_board(other, imattr_list_take(&all));
  }
  trip->body.len = 0;
  other->body.len = 0;
}

imattr_trip *imattr_trips_due(const imattr_trips *trips, int64_t now_us,
                              int64_t *due_us) {
  size_t left = trips->alive_count - trips->flying_count;
  imattr_trip *first = NULL;
  imattr_trip *trip;
  for (trip = trips->places; left > 0; trip++) {
    if (trip->state == IMATTR_WAITING) {
      left--;
      if (trip->due_us > now_us) {
        *due_us = trip->due_us < *due_us ? trip->due_us : *due_us;
      } else if (first == NULL || trip->due_us < first->due_us) {
        first = trip;
      }
    }
  }
  return first;
}
