/*
** resolver: stands between a program and getaddrinfo (LD_PRELOAD).
**
** The name in FAULT_NAME is resolved as FAULT_DNS says; all others as ever:
**
**   unknown      there is no such name
**   down         no server answers
**   PATH         127.0.0.1, but not before the file PATH is there; PATH.asked
**                is made when the name is asked for, PATH.late when ten seconds
**                have passed, which is the longest wait
**
** At the end of the process lookups that still wait are let go: whoever left
** their threads behind must be able to bear their return.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 5000000L
#define LOOKS_MAX 2000
#define RETURN_NS 50000000L

typedef int resolve(const char *, const char *, const struct addrinfo *,
                    struct addrinfo **);

static volatile int waiting, is_over;

/* Makes the file PATH + ending. */
static void mark(const char *path, const char *ending) {
  char name[4096];
  int fd;
  snprintf(name, sizeof name, "%s%s", path, ending);
  fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) {
    close(fd);
  }
}

static void await(const char *path) {
  const struct timespec moment = {0, LOOK_NS};
  int looks = 0;
  mark(path, ".asked");
  __sync_add_and_fetch(&waiting, 1);
  while (access(path, F_OK) != 0 && !is_over && looks++ < LOOKS_MAX) {
    nanosleep(&moment, NULL);
  }
  __sync_sub_and_fetch(&waiting, 1);
  if (looks > LOOKS_MAX) {
    mark(path, ".late");
  }
}

__attribute__((destructor)) static void let_go(void) {
  const struct timespec moment = {0, LOOK_NS}, way_back = {0, RETURN_NS};
  int some_wait = waiting > 0;
  is_over = 1;
  while (waiting > 0) {
    nanosleep(&moment, NULL);
  }
  if (some_wait) {
    nanosleep(&way_back, NULL);
  }
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints,
                struct addrinfo **restrict found) {
  const char *name = getenv("FAULT_NAME"), *how = getenv("FAULT_DNS");
  resolve *real;
  *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  if (node == NULL || name == NULL || how == NULL || strcmp(node, name) != 0) {
    return real(node, service, hints, found);
  } else if (strcmp(how, "unknown") == 0) {
    return EAI_NONAME;
  } else if (strcmp(how, "down") == 0) {
    return EAI_AGAIN;
  }
  await(how);
  return real("127.0.0.1", service, hints, found);
}
