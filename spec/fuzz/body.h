/*
** body: the users in a request body, read strictly: the four shapes of
** batch.h and not a byte more.
*/
#ifndef fuzz_body_h
#define fuzz_body_h

#include "book.h"

/* Reads a body into `users`; returns how many. */
size_t fuzz_body_read(imattr_shape shape, const char *body, size_t len,
                      book_user users[BOOK_USERS_MAX]);

#endif
