/*
** pool: blocks of one size, handed out and taken back again and again. An
** import makes and frees two blocks a user; a list of free ones is several
** times faster than the general allocator. Memory is kept until clear: as much
** as was ever in use at once, which the engine's limits bound.
*/
#ifndef imattr_pool_h
#define imattr_pool_h

#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Storage is the caller's. Private fields. */
typedef struct imattr_pool {
  size_t block_size;
  void *free;   /* blocks to hand out, each pointing to the next */
  void *chunks; /* what was allocated, each pointing to the next */
} imattr_pool;

/* An empty pool; allocates nothing. */
void imattr_pool_init(imattr_pool *pool, size_t block_size);

/* Frees every block, those still handed out too. */
void imattr_pool_clear(imattr_pool *pool);

/* A block for any type, not zeroed; NULL when there is no memory. */
void *imattr_pool_take(imattr_pool *pool);

/* Takes a block of this pool back. NULL is fine. */
void imattr_pool_give(imattr_pool *pool, void *block);

#pragma GCC visibility pop

#endif
