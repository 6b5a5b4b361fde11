/* secret: a page, closed to core dumps, swap and child processes */
#include "secret.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>

struct imattr_secret {
  size_t len;
  char bytes[IMATTR_SECRET_LEN_MAX];
};

/* What the system can do to keep a page to this process. Each is worth having
** alone, and a system that lacks one is no reason to do without the key. */
static void close_page(void *page, size_t size) {
  (void)mlock(page, size);
#ifdef MADV_DONTDUMP
  (void)madvise(page, size, MADV_DONTDUMP);
#endif
#ifdef MADV_WIPEONFORK
  (void)madvise(page, size, MADV_WIPEONFORK);
#endif
}

imattr_status imattr_secret_create(imattr_secret **secret, const char *bytes,
                                   size_t len) {
  imattr_secret *made;
  /* -1 is what MAP_ANONYMOUS wants; cppcheck 2.10 knows of files alone */
  made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE,
              /* cppcheck-suppress invalidFunctionArg */
              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED) {
    return IMATTR_NO_MEMORY;
  }
  close_page(made, sizeof *made);
  made->len = len;
  memcpy(made->bytes, bytes, len);
  *secret = made;
  return IMATTR_OK;
}

const char *imattr_secret_bytes(const imattr_secret *secret, size_t *len) {
  *len = secret->len;
  return secret->bytes;
}

void imattr_secret_destroy(imattr_secret *secret) {
  if (secret != NULL) {
    OPENSSL_cleanse(secret, sizeof *secret);
    munmap(secret, sizeof *secret);
  }
}
