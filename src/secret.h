/*
** secret: bytes that must not get about, in a page of their own. The page is
** in no core dump, is not written to swap where the system lets us lock it,
** and a child process finds it empty. Destroying wipes it.
*/
#ifndef imattr_secret_h
#define imattr_secret_h

#include <stddef.h>

#include "status.h"

#pragma GCC visibility push(hidden)

/* Most bytes of one secret: they fit into any page, with their number. */
#define IMATTR_SECRET_LEN_MAX 2048

/* Opaque. */
typedef struct imattr_secret imattr_secret;

/* Copies up to IMATTR_SECRET_LEN_MAX bytes. OK; NO_MEMORY. */
imattr_status imattr_secret_create(imattr_secret **secret, const char *bytes,
                                   size_t len);

/* The bytes and their number: 0 in a child process of the one that created
** the secret, where the system can wipe it. They live until destroy. */
const char *imattr_secret_bytes(const imattr_secret *secret, size_t *len);

/* Wipes and frees; NULL is fine. */
void imattr_secret_destroy(imattr_secret *secret);

#pragma GCC visibility pop

#endif
