/*
** engine: what the engine alone costs, without network and Lua: updates are
** pushed, travel in batches of 100, are delivered, and each result is taken.
** Order is kept as always. Screening and rendering are timed apart.
**
**   engine UPDATES IN_FLIGHT USERS     USERS: different accounts among them
**
** Prints two numbers: updates per second of processor time through the engine,
** and through screening and rendering (3 attributes).
*/
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../src/draft.h"
#include "../../src/engine.h"

#define ROUND 5000 /* updates made at a time, before they are pushed */
#define IN_FLIGHT_MAX 1000

typedef struct bench {
  imattr_engine *engine;
  imattr_draft *draft;
  imattr_screen screen;
  imattr_update *made[ROUND];
  uint64_t flying[IN_FLIGHT_MAX]; /* a ring of ids, oldest first */
  size_t flying_first, flying_count, in_flight;
  unsigned long number, users, told;
  int64_t now_us;
} bench;

static void fail(const char *what) {
  fprintf(stderr, "engine: %s\n", what);
  exit(1);
}

static double processor_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static imattr_update *make_update(bench *all) {
  imattr_update *made = NULL;
  char account[32];
  int len =
      snprintf(account, sizeof account, "user%09lu", all->number % all->users);
  all->number++;
  if (imattr_draft_begin(all->draft, IMATTR_SHAPE_SET, &all->screen, account,
                         (size_t)len) != IMATTR_OK ||
      imattr_draft_set(all->draft, "city", 4, "Ulaanbaatar", 11) != IMATTR_OK ||
      imattr_draft_set(all->draft, "country", 7, "MN", 2) != IMATTR_OK ||
      imattr_draft_set(all->draft, "tier", 4, "level 3", 7) != IMATTR_OK ||
      imattr_draft_finish(all->draft, &made) != IMATTR_OK) {
    fail("an update is not good");
  }
  return made;
}

static void take_results(bench *all) {
  imattr_result result;
  while (imattr_engine_result(all->engine, &result)) {
    if (result.fate != IMATTR_DONE) {
      fail("a user is not done");
    }
    all->told++;
  }
}

/* Answers the request that flies longest. */
static void answer_one(bench *all) {
  static const imattr_verdict delivered = {IMATTR_DELIVERED, 0, 0};
  uint64_t id = all->flying[all->flying_first];
  all->flying_first = (all->flying_first + 1) % IN_FLIGHT_MAX;
  all->flying_count--;
  all->now_us += 100;
  if (imattr_engine_feed(all->engine, id, &delivered, all->now_us) !=
      IMATTR_OK) {
    fail("an answer is not taken");
  }
  take_results(all);
}

static void send_all(bench *all) {
  imattr_request request;
  int64_t until_us;
  while (imattr_engine_next(all->engine, all->now_us, &request, &until_us) ==
         IMATTR_READY) {
    size_t last = (all->flying_first + all->flying_count) % IN_FLIGHT_MAX;
    all->flying[last] = request.id;
    all->flying_count++;
    if (all->flying_count == all->in_flight) {
      answer_one(all);
    }
  }
}

static void push(bench *all, imattr_update *update) {
  uint64_t ticket;
  while (imattr_engine_push(all->engine, 0, update, &ticket) == IMATTR_FULL) {
    answer_one(all);
    send_all(all);
  }
  if (imattr_engine_wants(all->engine) == 0) {
    send_all(all);
  }
}

static void set_up(bench *all) {
  imattr_engine_config config = {0};
  config.lane_count = 1;
  config.lanes[0].shape = IMATTR_SHAPE_SET;
  config.users_max = 100;
  config.body_bytes_max = 1 << 20;
  config.queue_max = 1000;
  config.in_flight_max = all->in_flight;
  config.attempts_max = 5;
  config.hold_us = 1000000;
  all->screen.account_bytes_max = 32;
  all->screen.value_bytes_max = 50;
  all->engine = imattr_engine_create(&config);
  all->draft = imattr_draft_create();
  if (all->engine == NULL || all->draft == NULL) {
    fail("not enough memory");
  }
}

int main(int count, char **words) {
  static bench all;
  unsigned long updates = count == 4 ? strtoul(words[1], NULL, 10) : 0;
  unsigned long pushed, i;
  double engine_s = 0, draft_s = 0, before;
  if (updates == 0) {
    fail("usage: engine UPDATES IN_FLIGHT USERS");
  }
  all.in_flight = strtoul(words[2], NULL, 10);
  all.users = strtoul(words[3], NULL, 10);
  if (all.in_flight < 1 || all.in_flight > IN_FLIGHT_MAX || all.users < 1) {
    fail("in flight: 1 to 1000; users: 1 or more");
  }
  set_up(&all);
  for (pushed = 0; pushed < updates; pushed += ROUND) {
    before = processor_s();
    for (i = 0; i < ROUND; i++) {
      all.made[i] = make_update(&all);
    }
    draft_s += processor_s() - before;
    before = processor_s();
    for (i = 0; i < ROUND; i++) {
      push(&all, all.made[i]);
    }
    engine_s += processor_s() - before;
  }
  before = processor_s();
  imattr_engine_flush(all.engine, 1);
  send_all(&all);
  while (all.flying_count > 0) {
    answer_one(&all);
    send_all(&all);
  }
  engine_s += processor_s() - before;
  if (all.told != pushed) {
    fail("an update is lost");
  }
  printf("%.0f %.0f\n", (double)pushed / engine_s, (double)pushed / draft_s);
  imattr_engine_destroy(all.engine);
  imattr_draft_destroy(all.draft);
  return 0;
}
