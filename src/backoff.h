/*
** backoff: attempt and random number in, delay out. No clock, no state.
*/
#ifndef imattr_backoff_h
#define imattr_backoff_h

#include <stdint.h>

#pragma GCC visibility push(hidden)

/*
** Full jitter: a delay drawn evenly from 0 to min(cap_us, base_us * 2^(n-1))
** before the n-th retry (n from 1), both ends included. `random` decides.
*/
int64_t imattr_backoff_us(unsigned retry, int64_t base_us, int64_t cap_us,
                          uint32_t random);

/*
** The next number of a stream that `*state` determines (SplitMix64): the seed
** comes from outside, so a simulation replays to the letter.
*/
uint32_t imattr_backoff_random(uint64_t *state);

#pragma GCC visibility pop

#endif
