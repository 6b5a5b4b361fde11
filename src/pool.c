/* pool: a list of free blocks, cut from chunks */
#include "pool.h"

#include <stdlib.h>

/* Under a memory checker each block is an allocation of its own, so that use
** after free and leaks are seen. */
#if defined(__SANITIZE_ADDRESS__)
#define BLOCKS_PER_CHUNK 0
#else
#define BLOCKS_PER_CHUNK 64
#endif

/* What a free block or a chunk begins with; also aligns what follows. */
typedef union link {
  union link *next;
  long double align_number;
  void *align_pointer;
} link;

void imattr_pool_init(imattr_pool *pool, size_t block_size) {
  size_t unit = sizeof(link);
  pool->block_size = (block_size + unit - 1) / unit * unit;
  pool->free = NULL;
  pool->chunks = NULL;
}

void imattr_pool_clear(imattr_pool *pool) {
  link *chunk = pool->chunks;
  while (chunk != NULL) {
    link *next = chunk->next;
    free(chunk);
    chunk = next;
  }
  imattr_pool_init(pool, pool->block_size);
}

/* Cuts a new chunk into free blocks. */
static void grow(imattr_pool *pool) {
  link *chunk = malloc(sizeof *chunk + BLOCKS_PER_CHUNK * pool->block_size);
  char *block;
  int i;
  if (chunk == NULL) {
    return;
  }
  block = (char *)(chunk + 1);
  chunk->next = pool->chunks;
  pool->chunks = chunk;
  for (i = 0; i < BLOCKS_PER_CHUNK; i++) {
    imattr_pool_give(pool, block);
    block += pool->block_size;
  }
}

void *imattr_pool_take(imattr_pool *pool) {
  link *block;
  if (BLOCKS_PER_CHUNK == 0) {
    return malloc(pool->block_size);
  }
  if (pool->free == NULL) {
    grow(pool);
  }
  block = pool->free;
  if (block != NULL) {
    pool->free = block->next;
  }
  return block;
}

void imattr_pool_give(imattr_pool *pool, void *block) {
  link *freed = block;
  if (BLOCKS_PER_CHUNK == 0) {
    free(block);
  } else if (freed != NULL) {
    freed->next = pool->free;
    pool->free = freed;
  }
}
