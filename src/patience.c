/* patience: delays, credit, and outages */
#include "patience.h"

#include <string.h>

#include "backoff.h"

#define MS_US INT64_C(1000)

/* Full jitter from 50 ms for faults, from 1 s when the vendor says "too
** fast"; both at most 20 s (the AWS standard of 2026). */
#define FAULT_BASE_US (50 * MS_US)
#define SLOW_BASE_US (1000 * MS_US)
#define DELAY_CAP_US (20000 * MS_US)

/* Probes begin after 100 ms or so, and come every 10 to 20 s in the end. */
#define PROBE_BASE_US (100 * MS_US)

/* A retry costs one, a delivered request earns a tenth, so in the long run
** retries stay below 10 % of what succeeds. In tenths. */
#define CREDIT_MAX 5000
#define RETRY_COST 10
#define SUCCESS_EARNS 1

/* Faults in a row that make an outage. */
#define OUTAGE_FAULTS 3

void imattr_patience_init(imattr_patience *patience, int64_t outage_max_us,
                          uint64_t seed) {
  memset(patience, 0, sizeof *patience);
  patience->outage_max_us = outage_max_us;
  patience->random = seed;
  patience->credit = CREDIT_MAX;
}

static int64_t delay_us(imattr_patience *patience, unsigned n,
                        int64_t base_us) {
  return imattr_backoff_us(n, base_us, DELAY_CAP_US,
                           imattr_backoff_random(&patience->random));
}

int64_t imattr_patience_fault_delay_us(imattr_patience *patience, unsigned n) {
  return delay_us(patience, n, FAULT_BASE_US);
}

int64_t imattr_patience_slow_delay_us(imattr_patience *patience, unsigned n) {
  return SLOW_BASE_US + delay_us(patience, n, SLOW_BASE_US);
}

int imattr_patience_spend(imattr_patience *patience) {
  if (patience->credit < RETRY_COST) {
    return 0;
  }
  patience->credit -= RETRY_COST;
  return 1;
}

void imattr_patience_earn(imattr_patience *patience) {
  if (patience->credit < CREDIT_MAX) {
    patience->credit += SUCCESS_EARNS;
  }
}

int imattr_patience_is_out(const imattr_patience *patience) {
  return patience->outage_max_us > 0 && patience->faults >= OUTAGE_FAULTS;
}

/* The pause before the next probe: from half to all of what doubles. */
static int64_t pause_us(imattr_patience *patience) {
  int64_t most_us = imattr_backoff_us(patience->probes + 1, PROBE_BASE_US,
                                      DELAY_CAP_US, UINT32_MAX);
  int64_t drawn_us = delay_us(patience, patience->probes + 1, PROBE_BASE_US);
  return (most_us + drawn_us) / 2;
}

void imattr_patience_fault(imattr_patience *patience, int64_t now_us) {
  int was_out = imattr_patience_is_out(patience);
  int64_t gate_us, end_us;
  if (patience->faults == 0) {
    patience->since_us = now_us;
  }
  patience->faults++;
  if (!imattr_patience_is_out(patience) ||
      (was_out && now_us < patience->gate_us)) {
    return; /* what flew before the outage was seen is no probe */
  }
  patience->probes += was_out != 0;
  gate_us = now_us + pause_us(patience);
  end_us = patience->since_us + patience->outage_max_us;
  if (now_us < end_us && gate_us > end_us) {
    gate_us = end_us; /* one last look before the run gives up */
  }
  imattr_patience_hold(patience, gate_us); /* a longer hold stands */
}

void imattr_patience_answered(imattr_patience *patience) {
  patience->faults = 0;
  patience->probes = 0;
}

int imattr_patience_is_over(const imattr_patience *patience, int64_t now_us) {
  return imattr_patience_is_out(patience) &&
         now_us - patience->since_us >= patience->outage_max_us;
}

void imattr_patience_hold(imattr_patience *patience, int64_t until_us) {
  if (until_us > patience->gate_us) {
    patience->gate_us = until_us;
  }
}

int64_t imattr_patience_gate_us(imattr_patience *patience, int64_t now_us) {
  if (patience->gate_us <= now_us) {
    patience->gate_us = 0;
  }
  return patience->gate_us;
}
