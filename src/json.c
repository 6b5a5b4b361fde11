/* json: one pass over the text, plain bytes copied, the rest looked at */
#include "json.h"

#include <stdint.h>

#define ESCAPE_MAX 6 /* \u00XX */

/*
** The length of the UTF-8 sequence (2 to 4 bytes) at `at`, or 0 when it is
** not well formed. The ranges are those of RFC 3629 §4.
*/
static size_t sequence_len(const unsigned char *at, size_t left) {
  unsigned char lead = at[0];
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  size_t len, i;
  if (lead >= 0xC2 && lead <= 0xDF) {
    len = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    len = 3;
    low = lead == 0xE0 ? 0xA0 : low;   /* no overlong forms */
    high = lead == 0xED ? 0x9F : high; /* no surrogates */
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    len = 4;
    low = lead == 0xF0 ? 0x90 : low;
    high = lead == 0xF4 ? 0x8F : high; /* nothing above U+10FFFF */
  } else {
    return 0;
  }
  if (left < len || at[1] < low || at[1] > high) {
    return 0;
  }
  for (i = 2; i < len; i++) {
    if ((at[i] & 0xC0) != 0x80) {
      return 0;
    }
  }
  return len;
}

/* Writes the escape of one ASCII byte; returns the end of what it wrote. */
static char *escape(char *out, unsigned char byte) {
  static const char hex[] = "0123456789abcdef";
  *out++ = '\\';
  switch (byte) {
    case '"': *out++ = '"'; break;
    case '\\': *out++ = '\\'; break;
    case '\b': *out++ = 'b'; break;
    case '\f': *out++ = 'f'; break;
    case '\n': *out++ = 'n'; break;
    case '\r': *out++ = 'r'; break;
    case '\t': *out++ = 't'; break;
    default:
      *out++ = 'u';
      *out++ = '0';
      *out++ = '0';
      *out++ = hex[byte >> 4];
      *out++ = hex[byte & 15];
  }
  return out;
}

static int is_plain(unsigned char byte) {
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

imattr_status imattr_json_string(imattr_buffer *buffer, const char *text,
                                 size_t len, size_t *offset) {
  const unsigned char *in = (const unsigned char *)text;
  size_t i = 0;
  char *out;
  if (len > (SIZE_MAX - 2) / ESCAPE_MAX ||
      imattr_buffer_reserve(buffer, len * ESCAPE_MAX + 2) != IMATTR_OK) {
    return IMATTR_NO_MEMORY;
  }
  out = buffer->data + buffer->len;
  *out++ = '"';
  while (i < len) {
    if (is_plain(in[i])) {
      *out++ = text[i++];
    } else if (in[i] >= 0x80) {
      size_t sequence = sequence_len(in + i, len - i);
      if (sequence == 0) {
        *offset = i;
        return IMATTR_NOT_UTF8;
      }
      while (sequence-- > 0) {
        *out++ = text[i++];
      }
    } else if (in[i] == 0) {
      *offset = i;
      return IMATTR_NUL_BYTE;
    } else {
      out = escape(out, in[i++]);
    }
  }
  *out++ = '"';
  buffer->len = (size_t)(out - buffer->data);
  return IMATTR_OK;
}
