/*
** blocks: every allocation of the process goes through here; chosen ones fail.
**
** The program that links this has malloc and its like of its own (mmap too),
** which stand before the C library's for every module it loads. Who calls
** decides: a call from one of our modules, or from a library that ours use, is
** counted, may be told to fail, and its block is watched: it is moved by every
** realloc, has guard bytes behind it, is filled with a pattern when it is
** freed, and lies idle for a while to see whether somebody still writes into
** it. All other calls go straight to the C library. Lua allocates through
** blocks_lua.
**
** One thread only: the modules start none as long as hosts are IP addresses.
*/
#ifndef blocks_h
#define blocks_h

#include <stddef.h>

typedef enum blocks_kind {
  BLOCKS_NONE,  /* anybody else */
  BLOCKS_LUA,   /* Lua, through its allocator */
  BLOCKS_CORE,  /* our modules: imattr/core.so, imattr/curl.so ... */
  BLOCKS_LIBS,  /* libcurl, OpenSSL, zlib, nghttp2, SQLite */
  BLOCKS_CJSON, /* lua-cjson */
  BLOCKS_KIND_COUNT
} blocks_kind;

typedef struct blocks_fault {
  blocks_kind kind;
  unsigned long at; /* the number of the allocation that fails; 0: none does */
  int is_sticky;    /* so do all later ones, until the fault is switched off */
} blocks_fault;

/* Exit status of a process that found a block damaged: one of a library while
** the libraries' own allocations fail (that is between them), or any other. */
#define BLOCKS_LIBRARY_BROKEN 71
#define BLOCKS_DAMAGED 70

/* The name of a kind, and the kind of a name (BLOCKS_NONE for no such). */
const char *blocks_kind_name(blocks_kind kind);
blocks_kind blocks_kind_of(const char *name);

/* Finds the modules that are loaded: from now on their calls are known. */
void blocks_learn_modules(void);

/* From now on allocations are counted from 1, and fail as told. `on_fault`,
** or NULL, is called before the first one fails; it must not allocate. */
void blocks_arm(const blocks_fault *fault, void (*on_fault)(const void *));

/* Nothing fails any more. */
void blocks_disarm(void);

/* Allocations since the fault was armed, and how many of them failed. */
unsigned long blocks_counted(blocks_kind kind);
unsigned long blocks_failed(void);

/* Blocks of a kind that are not freed; prints up to ten of them. */
size_t blocks_live(blocks_kind kind);
void blocks_print(blocks_kind kind);

/* Prints who `caller` is, as module and offset. */
void blocks_print_caller(const void *caller);

/* A crash at `place` ends the process with BLOCKS_LIBRARY_BROKEN if that is
** what it was, and returns if not. */
void blocks_judge_crash(const void *place);

/* Ends the process, with words, if a freed block was written into. */
void blocks_check_freed(void);

/* A lua_Alloc. */
void *blocks_lua(void *unused, void *block, size_t old_size, size_t size);

#endif
