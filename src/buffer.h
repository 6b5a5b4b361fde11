/*
** buffer: bytes that grow. It allocates, so every call that may grow can
** answer IMATTR_NO_MEMORY; the bytes held before stay as they were.
*/
#ifndef imattr_buffer_h
#define imattr_buffer_h

#include <stddef.h>

#include "status.h"

#pragma GCC visibility push(hidden)

/*
** Storage is the caller's. Between init and clear the caller may read `data`
** and `len`, and may set `len` to anything not above what was reserved.
*/
typedef struct imattr_buffer {
  char *data;      /* NULL until the first byte is reserved */
  size_t len;      /* bytes in use */
  size_t capacity; /* bytes allocated */
} imattr_buffer;

/* Makes an empty buffer; allocates nothing. */
void imattr_buffer_init(imattr_buffer *buffer);

/* Frees the bytes; the buffer is empty again and may be used again. */
void imattr_buffer_clear(imattr_buffer *buffer);

/* As reserve, when there is not yet room. */
imattr_status imattr_buffer_grow(imattr_buffer *buffer, size_t extra);

/* Makes room for `extra` bytes after `len`. OK or NO_MEMORY. */
static inline imattr_status imattr_buffer_reserve(imattr_buffer *buffer,
                                                  size_t extra) {
  return extra <= buffer->capacity - buffer->len
             ? IMATTR_OK
             : imattr_buffer_grow(buffer, extra);
}

/* Appends `len` bytes. OK or NO_MEMORY. */
imattr_status imattr_buffer_append(imattr_buffer *buffer, const char *bytes,
                                   size_t len);

/* Appends a C string. OK or NO_MEMORY. */
imattr_status imattr_buffer_text(imattr_buffer *buffer, const char *text);

#pragma GCC visibility pop

#endif
