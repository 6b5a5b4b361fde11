/*
** patience: whether and when what failed is tried again.
**
** Three rules. A single fault is answered by a delay that grows and is drawn
** by chance. All retries together live on a credit: one costs what ten
** delivered requests earn. And when faults come in a row, with no answer
** between them, the service is out: then one request at a time is a probe,
** with growing pauses, until one is answered or the outage has lasted as long
** as it may.
**
** No clock: times are arguments. The engine alone uses this: the struct is
** open to it.
*/
#ifndef imattr_patience_h
#define imattr_patience_h

#include <stdint.h>

#pragma GCC visibility push(hidden)

typedef struct imattr_patience {
  int64_t outage_max_us; /* how long an outage may last; 0: none is seen */
  uint64_t random;
  int credit;      /* in tenths of a retry */
  unsigned faults; /* in a row */
  unsigned probes; /* of them, those sent into the outage */
  int64_t since_us;
  int64_t gate_us; /* nothing leaves before; 0: no gate */
} imattr_patience;

void imattr_patience_init(imattr_patience *patience, int64_t outage_max_us,
                          uint64_t seed);

/* The delay before the n-th retry (n from 1) of a request after a fault, and
** after the vendor said "too fast". */
int64_t imattr_patience_fault_delay_us(imattr_patience *patience, unsigned n);
int64_t imattr_patience_slow_delay_us(imattr_patience *patience, unsigned n);

/* Takes the price of one retry. 0: there is not enough, nothing was taken. */
int imattr_patience_spend(imattr_patience *patience);

/* A request was delivered: it earns credit. */
void imattr_patience_earn(imattr_patience *patience);

/* A request had no answer. May begin an outage, or, from a probe, lengthen its
** pause. */
void imattr_patience_fault(imattr_patience *patience, int64_t now_us);

/* A request was answered, whatever the answer: there is no outage. */
void imattr_patience_answered(imattr_patience *patience);

/* Is the service out? Then requests go one at a time. */
int imattr_patience_is_out(const imattr_patience *patience);

/* Has the outage lasted as long as it may? */
int imattr_patience_is_over(const imattr_patience *patience, int64_t now_us);

/* Nothing leaves before `until_us`. */
void imattr_patience_hold(imattr_patience *patience, int64_t until_us);

/* The moment before which nothing leaves, or 0: at once. A moment that is over
** is forgotten. */
int64_t imattr_patience_gate_us(imattr_patience *patience, int64_t now_us);

#pragma GCC visibility pop

#endif
