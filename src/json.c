/* json: one pass over the text, plain bytes copied, the rest looked at */
#include "json.h"

#include <stdint.h>
#include <string.h>

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

/* ASCII that stands for itself in a JSON string. */
static int is_plain(unsigned char byte) {
#define ROW 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
  static const unsigned char plain[256] = {
      0,   0,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 00 */
      0,   0,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
      1,   1,   0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 20: quote */
      ROW, ROW,                                           /* 30, 40 */
      1,   1,   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, /* 50: backslash */
      ROW, ROW,                                           /* 60, 70 */
  };
#undef ROW
  return plain[byte];
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define EACH_OF_4(byte) (UINT32_C(0x01010101) * (byte))

/* Are eight bytes all plain? A byte's high bit is set when it is above 0x7F
** itself, or when taking away 0x20 (or 1 from what is zero where a quote or a
** backslash stands) borrows. */
static int are_plain(uint64_t eight) {
  uint64_t quote = eight ^ EACH('"');
  uint64_t backslash = eight ^ EACH('\\');
  return ((eight | (eight - EACH(0x20)) | (quote - EACH(1)) |
           (backslash - EACH(1))) &
          EACH(0x80)) == 0;
}

/* Copies eight bytes if all are plain; tells whether it did. */
static int copy_plain(char *out, const unsigned char *in) {
  uint64_t eight;
  memcpy(&eight, in, sizeof eight);
  if (!are_plain(eight)) {
    return 0;
  }
  memcpy(out, &eight, sizeof eight);
  return 1;
}

/* The same for 2 to 7 bytes: the last ones may overlap the first. */
static int copy_plain_short(char *out, const unsigned char *in, size_t len) {
  uint32_t first = EACH_OF_4(' ');
  uint32_t last = EACH_OF_4(' ');
  size_t part = len >= sizeof first ? sizeof first : sizeof first / 2;
  if (part == sizeof first) {
    memcpy(&first, in, sizeof first);
    memcpy(&last, in + len - sizeof last, sizeof last);
  } else {
    memcpy(&first, in, sizeof first / 2);
    memcpy(&last, in + len - sizeof last / 2, sizeof last / 2);
  }
  if (!are_plain(first | (uint64_t)last << 32)) {
    return 0;
  }
  if (part == sizeof first) {
    memcpy(out, &first, sizeof first);
    memcpy(out + len - sizeof last, &last, sizeof last);
  } else {
    memcpy(out, &first, sizeof first / 2);
    memcpy(out + len - sizeof last / 2, &last, sizeof last / 2);
  }
  return 1;
}

/* Copies what is plain at the beginning, eight bytes at a time; the last eight
** may overlap those before. Returns how many bytes. */
static size_t copy_plain_start(char *out, const unsigned char *in, size_t len) {
  const size_t step = sizeof(uint64_t);
  size_t done = 0;
  if (len < step) {
    return len > 1 && copy_plain_short(out, in, len) ? len : 0;
  }
  while (len - done >= step && copy_plain(out + done, in + done)) {
    done += step;
  }
  if (done > 0 && len - done < step &&
      copy_plain(out + len - step, in + len - step)) {
    done = len;
  }
  return done;
}

char *imattr_json_write(char *out, const char *text, size_t len,
                        size_t *offset) {
  const unsigned char *in = (const unsigned char *)text;
  size_t i;
  *out++ = '"';
  i = copy_plain_start(out, in, len);
  out += i;
  while (i < len) {
    if (is_plain(in[i])) {
      *out++ = text[i++];
    } else if (in[i] >= 0x80) {
      size_t sequence = sequence_len(in + i, len - i);
      if (sequence == 0) {
        *offset = i;
        return NULL;
      }
      while (sequence-- > 0) {
        *out++ = text[i++];
      }
    } else if (in[i] == 0) {
      *offset = i;
      return NULL;
    } else {
      out = escape(out, in[i++]);
    }
  }
  *out++ = '"';
  return out;
}

imattr_status imattr_json_string(imattr_buffer *buffer, const char *text,
                                 size_t len, size_t *offset) {
  char *end;
  if (len > SIZE_MAX / IMATTR_JSON_GROWTH - 1 ||
      imattr_buffer_reserve(buffer, IMATTR_JSON_SIZE(len)) != IMATTR_OK) {
    return IMATTR_NO_MEMORY;
  }
  end = imattr_json_write(buffer->data + buffer->len, text, len, offset);
  if (end == NULL) {
    return text[*offset] == '\0' ? IMATTR_NUL_BYTE : IMATTR_NOT_UTF8;
  }
  buffer->len = (size_t)(end - buffer->data);
  return IMATTR_OK;
}
