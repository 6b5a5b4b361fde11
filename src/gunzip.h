/*
** gunzip: the plain bytes of a gzip file (RFC 1952), piece by piece and in
** constant memory: a small input cannot become a large piece. Members that
** follow one another are one text; zeros behind the last are padding.
*/
#ifndef imattr_gunzip_h
#define imattr_gunzip_h

#include <stddef.h>

#include "status.h"

#pragma GCC visibility push(hidden)

typedef enum imattr_gunzip_answer {
  IMATTR_GUNZIP_BYTES,   /* *len bytes were written */
  IMATTR_GUNZIP_HUNGRY,  /* feed, or at the end of the input ask is_whole */
  IMATTR_GUNZIP_CORRUPT, /* and so it stays */
  IMATTR_GUNZIP_NO_MEMORY
} imattr_gunzip_answer;

/* Opaque. */
typedef struct imattr_gunzip imattr_gunzip;

/* NULL when there is no memory. */
imattr_gunzip *imattr_gunzip_create(void);

/* NULL is fine. */
void imattr_gunzip_destroy(imattr_gunzip *gunzip);

/* More of the input, at most 4 GiB, when `next` is hungry. The bytes are the
** caller's and must stay until it is hungry again. */
void imattr_gunzip_feed(imattr_gunzip *gunzip, const char *bytes, size_t len);

/* Writes the next plain bytes to `out`: at most, and then exactly, *len. */
imattr_gunzip_answer imattr_gunzip_next(imattr_gunzip *gunzip, char *out,
                                        size_t *len);

/* Does the input that was fed end where a member ends? */
int imattr_gunzip_is_whole(const imattr_gunzip *gunzip);

/* What is wrong, when it is CORRUPT: zlib's words, or ours. */
const char *imattr_gunzip_reason(const imattr_gunzip *gunzip);

#pragma GCC visibility pop

#endif
