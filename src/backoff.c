/* backoff: full jitter, and the numbers that draw it */
#include "backoff.h"

int64_t imattr_backoff_us(unsigned retry, int64_t base_us, int64_t cap_us,
                          uint32_t random) {
  int64_t span = base_us;
  unsigned i;
  for (i = 1; i < retry && span < cap_us; i++) {
    span *= 2;
  }
  if (span > cap_us) {
    span = cap_us;
  }
  /* span is at most minutes, so the product stays far below 2^63 */
  return (span * (int64_t)random) / (int64_t)UINT32_MAX;
}

uint32_t imattr_backoff_random(uint64_t *state) {
  uint64_t mixed = (*state += 0x9E3779B97F4A7C15u);
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
  return (uint32_t)((mixed ^ (mixed >> 31)) >> 32);
}
