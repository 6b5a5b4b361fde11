/* door: listening, and not listening */
#define _GNU_SOURCE
#include "door.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"

static void shut(int *fd) {
  if (*fd >= 0) {
    close(*fd);
  }
  *fd = -1;
}

/* A socket bound to the door's address, or -1. */
static int bind_to(const door *to) {
  int family = to->address.ss_family, yes = 1;
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return -1;
  }
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (family == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  }
  if (bind(fd, (const struct sockaddr *)&to->address, to->address_len) != 0) {
    shut(&fd);
  }
  return fd;
}

/* A connection of ours that is not answered: with it the queue is full. */
static void fill_queue(door *to) {
  to->filler = socket(to->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(to->filler, (struct sockaddr *)&to->address, to->address_len)) {
    plan_fail("filling the queue");
  }
}

void door_set(door *to, int mode) {
  if (to->keeper < 0 || to->mode == mode) {
    return;
  }
  shut(&to->filler);
  shut(&to->fd);
  if (mode != REFUSE) {
    to->fd = bind_to(to);
    if (listen(to->fd, mode == FULL ? 0 : SOMAXCONN) != 0) {
      plan_fail("listen");
    }
  }
  if (mode == FULL) {
    fill_queue(to);
  }
  to->mode = mode;
}

/* Takes a port (0: any that is free) of an address. Returns the port, or 0. */
static in_port_t keep(door *to, int family, in_port_t port) {
  struct sockaddr_in *four = (struct sockaddr_in *)&to->address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&to->address;
  memset(to, 0, sizeof *to);
  to->fd = to->filler = -1;
  to->mode = REFUSE;
  to->address.ss_family = (sa_family_t)family;
  if (family == AF_INET6) {
    to->address_len = sizeof *six;
    six->sin6_addr = in6addr_loopback;
    six->sin6_port = htons(port);
  } else {
    to->address_len = sizeof *four;
    four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    four->sin_port = htons(port);
  }
  to->keeper = bind_to(to);
  if (to->keeper < 0 || getsockname(to->keeper, (struct sockaddr *)&to->address,
                                    &to->address_len) != 0) {
    return 0;
  }
  return ntohs(family == AF_INET6 ? six->sin6_port : four->sin_port);
}

in_port_t door_find(door doors[2]) {
  int has_six = keep(&doors[1], AF_INET6, 0) != 0;
  int tries;
  shut(&doors[1].keeper);
  for (tries = 0; tries < 100; tries++) {
    in_port_t port = keep(&doors[0], AF_INET, 0);
    if (port != 0 && (keep(&doors[1], AF_INET6, port) != 0 || !has_six)) {
      return port;
    }
    shut(&doors[0].keeper);
    shut(&doors[1].keeper);
  }
  plan_fail("no free port");
}
