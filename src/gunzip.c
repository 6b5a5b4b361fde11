/* gunzip: zlib's inflate over one member after the other */
#include "gunzip.h"

#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#define GZIP_ONLY (16 + MAX_WBITS) /* no other header than gzip's */

struct imattr_gunzip {
  z_stream stream;
  int is_between; /* no member is open */
  int has_padding;
  imattr_gunzip_answer failure; /* BYTES: none */
  const char *reason;
};

imattr_gunzip *imattr_gunzip_create(void) {
  imattr_gunzip *gunzip = calloc(1, sizeof *gunzip);
  if (gunzip != NULL && inflateInit2(&gunzip->stream, GZIP_ONLY) != Z_OK) {
    free(gunzip);
    return NULL;
  }
  if (gunzip != NULL) {
    gunzip->is_between = 1;
    gunzip->failure = IMATTR_GUNZIP_BYTES;
  }
  return gunzip;
}

void imattr_gunzip_destroy(imattr_gunzip *gunzip) {
  if (gunzip != NULL) {
    inflateEnd(&gunzip->stream);
    free(gunzip);
  }
}

void imattr_gunzip_feed(imattr_gunzip *gunzip, const char *bytes, size_t len) {
  gunzip->stream.next_in = (z_const Bytef *)(uintptr_t)bytes;
  gunzip->stream.avail_in = (uInt)len;
}

static void fail(imattr_gunzip *gunzip, const char *reason) {
  gunzip->failure = IMATTR_GUNZIP_CORRUPT;
  gunzip->reason = reason;
}

/* Between members: makes ready for the next one. 0: there is none, so far or
** at all. */
static int begin_member(imattr_gunzip *gunzip) {
  z_stream *stream = &gunzip->stream;
  int is_first = stream->total_in == 0;
  while (!is_first && stream->avail_in > 0 && *stream->next_in == 0) {
    stream->next_in++;
    stream->avail_in--;
    gunzip->has_padding = 1;
  }
  if (stream->avail_in == 0) {
    return 0;
  }
  if (gunzip->has_padding) {
    fail(gunzip, "text after its end");
    return 0;
  }
  if (!is_first) {
    inflateReset(stream);
  }
  gunzip->is_between = 0;
  return 1;
}

/* Inflates once. 0: there is no more to do now. */
static int inflate_some(imattr_gunzip *gunzip) {
  z_stream *stream = &gunzip->stream;
  switch (inflate(stream, Z_NO_FLUSH)) {
    case Z_OK: return 1;
    case Z_STREAM_END: gunzip->is_between = 1; return 1;
    case Z_BUF_ERROR: return 0; /* it wants more input */
    case Z_MEM_ERROR: gunzip->failure = IMATTR_GUNZIP_NO_MEMORY; return 0;
    default:
      fail(gunzip, stream->msg != NULL ? stream->msg : "not gzip data");
      return 0;
  }
}

imattr_gunzip_answer imattr_gunzip_next(imattr_gunzip *gunzip, char *out,
                                        size_t *len) {
  z_stream *stream = &gunzip->stream;
  size_t room = *len;
  int goes_on = gunzip->failure == IMATTR_GUNZIP_BYTES;
  stream->next_out = (Bytef *)out;
  stream->avail_out = (uInt)room;
  while (goes_on && stream->avail_out > 0) {
    goes_on =
        (!gunzip->is_between || begin_member(gunzip)) && inflate_some(gunzip);
  }
  *len = room - stream->avail_out;
  if (*len > 0) {
    return IMATTR_GUNZIP_BYTES; /* a failure comes next time */
  }
  return gunzip->failure == IMATTR_GUNZIP_BYTES ? IMATTR_GUNZIP_HUNGRY
                                                : gunzip->failure;
}

int imattr_gunzip_is_whole(const imattr_gunzip *gunzip) {
  return gunzip->is_between && gunzip->failure == IMATTR_GUNZIP_BYTES &&
         gunzip->stream.total_in > 0;
}

const char *imattr_gunzip_reason(const imattr_gunzip *gunzip) {
  return gunzip->reason;
}
