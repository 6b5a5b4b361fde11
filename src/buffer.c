/* buffer: bytes that grow by doubling */
#include "buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 256 /* below this, growing costs more than it saves */

void imattr_buffer_init(imattr_buffer *buffer) {
  buffer->data = NULL;
  buffer->len = 0;
  buffer->capacity = 0;
}

void imattr_buffer_clear(imattr_buffer *buffer) {
  free(buffer->data);
  imattr_buffer_init(buffer);
}

imattr_status imattr_buffer_grow(imattr_buffer *buffer, size_t extra) {
  size_t capacity =
      buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
  size_t need = buffer->len + extra;
  char *data;
  if (extra > SIZE_MAX / 2 - buffer->len) {
    return IMATTR_NO_MEMORY;
  }
  while (capacity < need) {
    capacity *= 2;
  }
  data = realloc(buffer->data, capacity);
  if (data == NULL) {
    return IMATTR_NO_MEMORY;
  }
  buffer->data = data;
  buffer->capacity = capacity;
  return IMATTR_OK;
}

imattr_status imattr_buffer_append(imattr_buffer *buffer, const char *bytes,
                                   size_t len) {
  imattr_status status = imattr_buffer_reserve(buffer, len);
  if (status == IMATTR_OK && len > 0) {
    memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
  }
  return status;
}

imattr_status imattr_buffer_text(imattr_buffer *buffer, const char *text) {
  return imattr_buffer_append(buffer, text, strlen(text));
}
