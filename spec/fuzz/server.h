/*
** server: a model of the vendor for the target `engine`: it keeps what the
** bodies say, for users u0, u1, ... and attributes n0, n1, ..., whose value is
** the ticket of the update that set it: v7. Beside that it notes every update
** and its fate, so that it can be judged whether it holds what it should.
*/
#ifndef fuzz_server_h
#define fuzz_server_h

#include "book.h"

#define SERVER_USERS 8
#define SERVER_NAMES 14 /* more than an update can hold: some cannot merge */
#define SERVER_TICKETS_MAX 2048

/* The part of an update that judging needs. */
typedef struct server_update {
  size_t user;
  imattr_shape shape; /* SET or REMOVE */
  unsigned names;     /* a bit for each */
  int fate;           /* -1: none yet */
} server_update;

typedef struct vendor {
  uint64_t tickets; /* given out so far, from 1 */
  /* by user and name: the ticket whose value it has; 0: none */
  uint64_t held[SERVER_USERS][SERVER_NAMES];
  server_update updates[SERVER_TICKETS_MAX]; /* by ticket */
} vendor;

void server_init(vendor *server);

/* A letter and a number. */
book_text server_word(char letter, uint64_t number);

/* Notes an update under the next ticket, which it returns. */
uint64_t server_note(vendor *server, size_t user, imattr_shape shape,
                     unsigned names);

/* A kind of verdict by four bits, the everyday ones more often; its code. */
imattr_verdict_kind server_kind(unsigned bits);
int server_code(imattr_verdict_kind kind);

/* The server does what one user of a body says. */
void server_apply(vendor *server, imattr_shape shape, const book_user *user);

/* Every update has a fate, and the server holds, for every user and attribute,
** the newest value that was done, or a newer one of which no answer tells. */
void server_judge(const vendor *server);

#endif
