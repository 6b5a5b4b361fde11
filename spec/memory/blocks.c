/* blocks: malloc and its like, with a table of who has what */
#define _GNU_SOURCE /* dl_iterate_phdr, dladdr */
#include "blocks.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The C library's own, under the names that it keeps for programs like this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

/* These stand before the C library's. */
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void free(void *block);
char *strdup(const char *text);
char *strndup(const char *text, size_t most);
int posix_memalign(void **block, size_t alignment, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
int dlclose(void *handle);

/* Built with -DVALGRIND, to be run under it, it leaves the watching to
 *valgrind,
 ** which does it better and tells who. */
#ifdef VALGRIND
#define GUARD_SIZE 0
#define FREED_MAX 0
#else
#define GUARD_SIZE 16
#define FREED_MAX 1048576 /* bytes of a freed block that is watched */
#endif

#define GUARD_BYTE 0xFB
#define NEW_BYTE 0xA5
#define FREED_BYTE 0xDD

#define TABLE_BITS 15 /* no scenario holds half as many */
#define TABLE_SIZE ((size_t)1 << TABLE_BITS)
#define FREED_COUNT 1024 /* freed blocks that are watched */
#define RANGES_MAX 64
#define PRINTED_MAX 10

typedef struct block {
  unsigned char *bytes; /* NULL: a free row */
  size_t size;
  const void *caller;
  blocks_kind kind;
} block;

static block table[TABLE_SIZE];
static size_t table_count;
static size_t live[BLOCKS_KIND_COUNT];

static block freed[FREED_COUNT]; /* a ring */
static size_t freed_next;

static struct {
  uintptr_t start;
  uintptr_t end;
  blocks_kind kind;
} ranges[RANGES_MAX];
static size_t range_count;

static struct {
  int is_on;
  blocks_fault fault;
  void (*on_fault)(const void *);
  unsigned long counted[BLOCKS_KIND_COUNT];
  unsigned long failed;
} plan;

/* {===== kinds and callers ===== */

static const char *const kind_names[] = {"none", "lua", "core", "libs",
                                         "cjson"};

const char *blocks_kind_name(blocks_kind kind) {
  return kind_names[kind];
}

blocks_kind blocks_kind_of(const char *name) {
  int kind = BLOCKS_KIND_COUNT - 1;
  while (kind > BLOCKS_NONE && strcmp(kind_names[kind], name) != 0) {
    kind--;
  }
  return (blocks_kind)kind;
}

/* The libraries that our modules call. */
static const char *const libraries[] = {"libcurl.so",    "libssl.so",
                                        "libcrypto.so",  "libz.so",
                                        "libnghttp2.so", "libsqlite3.so"};

/* What a loaded file is, by its name: our modules are those in a folder named
** imattr. */
static blocks_kind kind_of_file(const char *path) {
  static const char folder[] = "/imattr";
  const size_t folder_len = sizeof folder - 1;
  const char *slash = strrchr(path, '/');
  size_t i;
  if (slash == NULL) {
    return BLOCKS_NONE;
  }
  if ((size_t)(slash - path) > folder_len &&
      strncmp(slash - folder_len, folder, folder_len) == 0) {
    return BLOCKS_CORE;
  }
  for (i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
    if (strncmp(slash + 1, libraries[i], strlen(libraries[i])) == 0) {
      return BLOCKS_LIBS;
    }
  }
  return strcmp(slash + 1, "cjson.so") == 0 ? BLOCKS_CJSON : BLOCKS_NONE;
}

static int learn_module(struct dl_phdr_info *info, size_t size, void *unused) {
  blocks_kind kind = kind_of_file(info->dlpi_name);
  int i;
  (void)size;
  (void)unused;
  for (i = 0; kind != BLOCKS_NONE && i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0 &&
        range_count < RANGES_MAX) {
      ranges[range_count].start = info->dlpi_addr + part->p_vaddr;
      ranges[range_count].end = ranges[range_count].start + part->p_memsz;
      ranges[range_count].kind = kind;
      range_count++;
    }
  }
  return 0;
}

void blocks_learn_modules(void) {
  range_count = 0;
  dl_iterate_phdr(learn_module, NULL);
}

static blocks_kind kind_of_caller(const void *caller) {
  uintptr_t address = (uintptr_t)caller;
  size_t i;
  for (i = 0; i < range_count; i++) {
    if (address >= ranges[i].start && address < ranges[i].end) {
      return ranges[i].kind;
    }
  }
  return BLOCKS_NONE;
}

void blocks_print_caller(const void *caller) {
  Dl_info about;
  if (dladdr(caller, &about) != 0 && about.dli_fname != NULL) {
    dprintf(STDERR_FILENO, "%s+0x%lx", about.dli_fname,
            (unsigned long)((uintptr_t)caller - (uintptr_t)about.dli_fbase));
  } else {
    dprintf(STDERR_FILENO, "%p", caller);
  }
}

/* }===== */

/* {===== faults ===== */

void blocks_arm(const blocks_fault *fault, void (*on_fault)(const void *)) {
  memset(&plan, 0, sizeof plan);
  plan.fault = *fault;
  plan.on_fault = on_fault;
  plan.is_on = 1;
}

void blocks_disarm(void) {
  plan.is_on = 0;
}

unsigned long blocks_counted(blocks_kind kind) {
  return plan.counted[kind];
}

unsigned long blocks_failed(void) {
  return plan.failed;
}

/* Counts an allocation; tells whether it fails. When memory is gone for good
** for the libraries, it is for our modules, too. */
static int fails(blocks_kind kind, const void *caller) {
  const blocks_fault *fault = &plan.fault;
  unsigned long number;
  int is_hit;
  if (!plan.is_on) {
    return 0;
  }
  number = ++plan.counted[kind];
  if (kind == fault->kind && fault->at != 0) {
    is_hit = fault->is_sticky ? number >= fault->at : number == fault->at;
  } else {
    is_hit = kind == BLOCKS_CORE && fault->kind == BLOCKS_LIBS &&
             fault->is_sticky && plan.failed > 0;
  }
  if (is_hit && plan.failed++ == 0 && plan.on_fault != NULL) {
    plan.on_fault(caller);
  }
  return is_hit;
}

/* }===== */

/* {===== the table ===== */

static size_t home_of(const void *bytes) {
  uint64_t hash = ((uint64_t)(uintptr_t)bytes >> 4) * 0x9E3779B97F4A7C15u;
  return (size_t)(hash >> (64 - TABLE_BITS));
}

/* The row of a block, or the free row where it would stand. */
static size_t row_of(const void *bytes) {
  size_t row = home_of(bytes);
  while (table[row].bytes != NULL && table[row].bytes != bytes) {
    row = (row + 1) % TABLE_SIZE;
  }
  return row;
}

static void add(const block *added) {
  if (++table_count > TABLE_SIZE / 2) {
    dprintf(STDERR_FILENO, "blocks: the table is full\n");
    _exit(BLOCKS_DAMAGED);
  }
  table[row_of(added->bytes)] = *added;
  live[added->kind]++;
}

/* Takes a row out, and moves up what stands behind it only for want of it. */
static void take_out(size_t row) {
  size_t next = row;
  live[table[row].kind]--;
  table_count--;
  table[row].bytes = NULL;
  for (;;) {
    size_t home;
    next = (next + 1) % TABLE_SIZE;
    if (table[next].bytes == NULL) {
      return;
    }
    home = home_of(table[next].bytes);
    if ((next - home) % TABLE_SIZE >= (next - row) % TABLE_SIZE) {
      table[row] = table[next];
      table[next].bytes = NULL;
      row = next;
    }
  }
}

size_t blocks_live(blocks_kind kind) {
  return live[kind];
}

void blocks_print(blocks_kind kind) {
  size_t row, printed = 0;
  for (row = 0; row < TABLE_SIZE && printed < PRINTED_MAX; row++) {
    if (table[row].bytes != NULL && table[row].kind == kind) {
      printed++;
      dprintf(STDERR_FILENO, "  %zu bytes allocated at ", table[row].size);
      blocks_print_caller(table[row].caller);
      dprintf(STDERR_FILENO, "\n");
    }
  }
}

/* }===== */

/* {===== watched blocks ===== */

static void damaged(const block *found, const char *how) {
  int is_theirs = found->kind == BLOCKS_LIBS && plan.fault.kind == BLOCKS_LIBS;
  dprintf(STDERR_FILENO, "a block of %zu bytes was %s; allocated at ",
          found->size, how);
  blocks_print_caller(found->caller);
  dprintf(STDERR_FILENO, "\n");
  _exit(is_theirs ? BLOCKS_LIBRARY_BROKEN : BLOCKS_DAMAGED);
}

void blocks_judge_crash(const void *place) {
  if (kind_of_caller(place) == BLOCKS_LIBS && plan.fault.kind == BLOCKS_LIBS) {
    dprintf(STDERR_FILENO, "crash at ");
    blocks_print_caller(place);
    dprintf(STDERR_FILENO, "\n");
    _exit(BLOCKS_LIBRARY_BROKEN);
  }
}

static int is_filled(const unsigned char *bytes, size_t size, int with) {
  return size == 0 ||
         (bytes[0] == with && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Fills a new block and its guard. */
static void mark_new(unsigned char *bytes, size_t size) {
#ifndef VALGRIND
  memset(bytes, NEW_BYTE, size);
  memset(bytes + size, GUARD_BYTE, GUARD_SIZE);
#else
  (void)bytes;
  (void)size;
#endif
}

/* A new block with its guard; the C library itself must have memory. */
static void *new_block(size_t size, blocks_kind kind, const void *caller) {
  block made;
  made.bytes = size > SIZE_MAX / 2 ? NULL : __libc_malloc(size + GUARD_SIZE);
  if (made.bytes == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  made.size = size;
  made.caller = caller;
  made.kind = kind;
  mark_new(made.bytes, size);
  add(&made);
  return made.bytes;
}

static void check_freed(const block *idle) {
  if (idle->bytes != NULL && !is_filled(idle->bytes, idle->size, FREED_BYTE)) {
    damaged(idle, "written after it was freed");
  }
}

void blocks_check_freed(void) {
  size_t i;
  for (i = 0; i < FREED_COUNT; i++) {
    check_freed(&freed[i]);
  }
}

/* Is it one that was freed not long ago? */
static const block *find_freed(const void *bytes) {
  size_t i;
  for (i = 0; i < FREED_COUNT; i++) {
    if (freed[i].bytes == bytes) {
      return &freed[i];
    }
  }
  return NULL;
}

static void free_block(size_t row) {
  block gone = table[row];
  if (!is_filled(gone.bytes + gone.size, GUARD_SIZE, GUARD_BYTE)) {
    damaged(&gone, "written behind its end");
  }
  take_out(row);
  memset(gone.bytes, FREED_BYTE, gone.size);
  if (gone.size > FREED_MAX) {
    __libc_free(gone.bytes);
    return;
  }
  check_freed(&freed[freed_next]);
  __libc_free(freed[freed_next].bytes);
  freed[freed_next] = gone;
  freed_next = (freed_next + 1) % FREED_COUNT;
}

/* A watched block, or one of the C library's for a caller who is none of ours.
** NULL when there is no memory, or there shall be none. */
static void *take(size_t size, const void *caller) {
  blocks_kind kind = kind_of_caller(caller);
  if (kind == BLOCKS_NONE) {
    return __libc_malloc(size);
  }
  if (fails(kind, caller)) {
    errno = ENOMEM;
    return NULL;
  }
  return new_block(size, kind, caller);
}

/* }===== */

/* {===== malloc and its like ===== */

void *malloc(size_t size) {
  return take(size, __builtin_return_address(0));
}

void *calloc(size_t count, size_t size) {
  const void *caller = __builtin_return_address(0);
  void *made;
  if (kind_of_caller(caller) == BLOCKS_NONE) {
    return __libc_calloc(count, size);
  }
  made =
      size != 0 && count > SIZE_MAX / size ? NULL : take(count * size, caller);
  if (made != NULL) {
    memset(made, 0, count * size);
  }
  return made;
}

void *realloc(void *old, size_t size) {
  const void *caller = __builtin_return_address(0);
  size_t row = old == NULL ? 0 : row_of(old);
  void *made;
  if (old == NULL) {
    return take(size, caller);
  }
  if (table[row].bytes == NULL) { /* none of ours */
    return __libc_realloc(old, size);
  }
  if (size == 0) {
    free_block(row);
    return NULL;
  }
  if (fails(table[row].kind, caller)) {
    errno = ENOMEM;
    return NULL;
  }
  made = new_block(size, table[row].kind, caller);
  if (made != NULL) {
    memcpy(made, old, size < table[row].size ? size : table[row].size);
    free_block(row_of(old));
  }
  return made;
}

void free(void *old) {
  size_t row = old == NULL ? 0 : row_of(old);
  if (old == NULL) {
    return;
  }
  if (table[row].bytes != NULL) {
    free_block(row);
    return;
  }
  if (find_freed(old) != NULL) {
    damaged(find_freed(old), "freed twice");
  }
  __libc_free(old);
}

static char *copy(const char *text, size_t len, const void *caller) {
  char *made = take(len + 1, caller);
  if (made != NULL) {
    memcpy(made, text, len);
    made[len] = '\0';
  }
  return made;
}

char *strdup(const char *text) {
  return copy(text, strlen(text), __builtin_return_address(0));
}

char *strndup(const char *text, size_t most) {
  return copy(text, strnlen(text, most), __builtin_return_address(0));
}

/* Aligned blocks are counted and may fail, but are not watched. */
static void *take_aligned(size_t alignment, size_t size, const void *caller) {
  blocks_kind kind = kind_of_caller(caller);
  return kind != BLOCKS_NONE && fails(kind, caller)
             ? NULL
             : __libc_memalign(alignment, size);
}

int posix_memalign(void **made, size_t alignment, size_t size) {
  void *bytes = take_aligned(alignment, size, __builtin_return_address(0));
  if (bytes == NULL) {
    return ENOMEM;
  }
  *made = bytes;
  return 0;
}

void *aligned_alloc(size_t alignment, size_t size) {
  return take_aligned(alignment, size, __builtin_return_address(0));
}

static void *map(void *place, size_t size, int rights, int flags, int file,
                 off_t offset) {
  static void *(*real)(void *, size_t, int, int, int, off_t);
  if (real == NULL) {
    *(void **)&real = dlsym(RTLD_NEXT, "mmap");
  }
  return real(place, size, rights, flags, file, offset);
}

/* Memory that our modules map is counted, may fail, and has to be given back:
** slot rings and keys. */
void *mmap(void *place, size_t size, int rights, int flags, int file,
           off_t offset) {
  block made;
  made.caller = __builtin_return_address(0);
  made.kind = kind_of_caller(made.caller);
  if (made.kind != BLOCKS_CORE) {
    return map(place, size, rights, flags, file, offset);
  }
  if (fails(BLOCKS_CORE, made.caller)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  made.size = size;
  made.bytes = map(place, size, rights, flags, file, offset);
  if ((void *)made.bytes != MAP_FAILED) {
    add(&made);
  }
  return made.bytes;
}

int munmap(void *place, size_t size) {
  static int (*real)(void *, size_t);
  size_t row = row_of(place);
  if (table[row].bytes != NULL) {
    take_out(row);
  }
  if (real == NULL) {
    *(void **)&real = dlsym(RTLD_NEXT, "munmap");
  }
  return real(place, size);
}

/* Nothing is unloaded: a report can still name modules after lua_close. */
int dlclose(void *handle) {
  (void)handle;
  return 0;
}

/* }===== */

/* {===== Lua ===== */

/* In front of each of Lua's blocks; keeps its alignment. Lua tells the size of
** what it frees, and LuaJIT not always right (a closure whose upvalues found no
** memory), so it is not relied on. */
typedef union head {
  size_t size;
  long double align;
} head;

static void *new_lua_block(size_t size) {
  head *made = __libc_malloc(sizeof *made + size + GUARD_SIZE);
  unsigned char *bytes;
  if (made == NULL) {
    return NULL;
  }
  made->size = size;
  bytes = (unsigned char *)(made + 1);
  mark_new(bytes, size);
  live[BLOCKS_LUA]++;
  return bytes;
}

static void free_lua_block(unsigned char *bytes) {
  head *gone = (head *)(void *)bytes - 1;
  if (!is_filled(bytes + gone->size, GUARD_SIZE, GUARD_BYTE)) {
    block found = {bytes, gone->size, NULL, BLOCKS_LUA};
    damaged(&found, "written behind its end");
  }
  memset(bytes, FREED_BYTE, gone->size);
  __libc_free(gone);
  live[BLOCKS_LUA]--;
}

/* Growing may fail; shrinking never does, as Lua relies on. Every block moves
** whenever its size changes. */
void *blocks_lua(void *unused, void *old, size_t old_size, size_t size) {
  void *made = NULL;
  (void)unused;
  if (size > 0) {
    if ((old == NULL || size > old_size) && fails(BLOCKS_LUA, NULL)) {
      return NULL;
    }
    made = new_lua_block(size);
    if (made == NULL) {
      return NULL;
    }
  }
  if (old != NULL) {
    if (made != NULL) {
      size_t held = ((head *)old - 1)->size;
      memcpy(made, old, size < held ? size : held);
    }
    free_lua_block(old);
  }
  return made;
}

/* }===== */
