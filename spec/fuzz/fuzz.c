/* fuzz: bytes, and the judges */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
  abort();
}

/* {===== bytes ===== */

unsigned fuzz_byte(fuzz_bytes *bytes) {
  if (bytes->left == 0) {
    return 0;
  }
  bytes->left--;
  return *bytes->at++;
}

unsigned fuzz_below(fuzz_bytes *bytes, unsigned limit) {
  return fuzz_byte(bytes) % limit;
}

fuzz_text fuzz_copy(const void *bytes, size_t len) {
  fuzz_text text;
  text.len = len;
  text.bytes = malloc(len);
  MUST(len == 0 || text.bytes != NULL);
  if (len > 0) {
    memcpy(text.bytes, bytes, len);
  }
  return text;
}

void fuzz_free(fuzz_text *text) {
  free(text->bytes);
  text->bytes = NULL;
  text->len = 0;
}

static fuzz_text take(fuzz_bytes *bytes, size_t len) {
  fuzz_text text = fuzz_copy(bytes->at, len);
  bytes->at += len;
  bytes->left -= len;
  return text;
}

fuzz_text fuzz_take(fuzz_bytes *bytes, size_t len_max) {
  size_t len = fuzz_byte(bytes) % (len_max + 1);
  return take(bytes, len < bytes->left ? len : bytes->left);
}

fuzz_text fuzz_rest(fuzz_bytes *bytes) {
  return take(bytes, bytes->left);
}

int fuzz_is_same(const char *a, size_t a_len, const char *b, size_t b_len) {
  return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

/* }===== */

/* {===== UTF-8 ===== */

/* How many bytes the lead announces; 0: it is no lead. */
static size_t announced(unsigned char lead) {
  if (lead < 0x80) {
    return 1;
  }
  if ((lead & 0xE0) == 0xC0) {
    return 2;
  }
  if ((lead & 0xF0) == 0xE0) {
    return 3;
  }
  return (lead & 0xF8) == 0xF0 ? 4 : 0;
}

/* The code point of the sequence at `at`, *len its bytes; -1 when there is
** none: by decoding first and looking at the number then. */
static long decode_point(const unsigned char *at, size_t left, size_t *len) {
  static const long least[5] = {0, 0, 0x80, 0x800, 0x10000};
  long point;
  size_t i;
  *len = announced(at[0]);
  if (*len == 0 || *len > left) {
    return -1;
  }
  point = *len == 1 ? at[0] : at[0] & (0x7F >> *len);
  for (i = 1; i < *len; i++) {
    if ((at[i] & 0xC0) != 0x80) {
      return -1;
    }
    point = point * 64 + (at[i] & 0x3F);
  }
  if (point < least[*len] || point > 0x10FFFF ||
      (point >= 0xD800 && point <= 0xDFFF)) {
    return -1;
  }
  return point;
}

imattr_status fuzz_judge_text(const char *text, size_t len, size_t *offset) {
  size_t i = 0;
  while (i < len) {
    size_t bytes;
    long point = decode_point((const unsigned char *)text + i, len - i, &bytes);
    if (point <= 0) {
      *offset = i;
      return point == 0 ? IMATTR_NUL_BYTE : IMATTR_NOT_UTF8;
    }
    i += bytes;
  }
  return IMATTR_OK;
}

/* }===== */

/* {===== JSON ===== */

int fuzz_read_word(fuzz_reader *reader, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(reader->end - reader->at) < len ||
      memcmp(reader->at, word, len) != 0) {
    return 0;
  }
  reader->at += len;
  return 1;
}

/* Takes four hex digits; -1 when there are not. */
static int read_hex(fuzz_reader *reader) {
  static const char digits[] = "0123456789abcdef";
  int value = 0;
  int i;
  for (i = 0; i < 4; i++) {
    const char *digit;
    char byte = '\0';
    if (reader->at < reader->end) {
      byte = *reader->at++;
    }
    byte = (char)(byte >= 'A' && byte <= 'F' ? byte - 'A' + 'a' : byte);
    digit = byte == '\0' ? NULL : strchr(digits, byte);
    if (digit == NULL) {
      return -1;
    }
    value = value * 16 + (int)(digit - digits);
  }
  return value;
}

/* Takes what stands behind a backslash; -1 when that is no escape. */
static int read_escape(fuzz_reader *reader) {
  static const char letters[] = "\"\\/bfnrt";
  static const char meanings[] = "\"\\/\b\f\n\r\t";
  const char *found;
  char letter;
  if (reader->at == reader->end) {
    return -1;
  }
  letter = *reader->at++;
  if (letter == 'u') {
    int value = read_hex(reader);
    return value < 0x80 ? value : -1;
  }
  found = letter == '\0' ? NULL : strchr(letters, letter);
  return found == NULL ? -1 : meanings[found - letters];
}

int fuzz_read_string(fuzz_reader *reader, char *out, size_t size, size_t *len) {
  *len = 0;
  if (!fuzz_read_word(reader, "\"")) {
    return 0;
  }
  while (reader->at < reader->end) {
    int byte = (unsigned char)*reader->at++;
    if (byte == '"') {
      return 1;
    }
    if (byte < 0x20) {
      return 0;
    }
    byte = byte == '\\' ? read_escape(reader) : byte;
    if (byte < 0 || *len == size) {
      return 0;
    }
    if (out != NULL) {
      out[*len] = (char)byte;
    }
    ++*len;
  }
  return 0;
}

int fuzz_read_integer(fuzz_reader *reader, int64_t *value) {
  uint64_t sum = 0;
  int is_negative = fuzz_read_word(reader, "-");
  const char *first = reader->at;
  while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
    sum = sum * 10 + (uint64_t)(*reader->at++ - '0');
  }
  *value = is_negative ? (int64_t)(0 - sum) : (int64_t)sum;
  return reader->at > first && reader->at - first < 20;
}

/* }===== */

/* {===== base64 ===== */

const char fuzz_base64[65] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const char fuzz_base64_vendor[65] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-";

size_t fuzz_encode(const char *letters, char pad, const uint8_t *bytes,
                   size_t len, char *out) {
  size_t i, written = 0;
  for (i = 0; i < len; i += 3) {
    size_t have = len - i < 3 ? len - i : 3;
    uint32_t three = (uint32_t)bytes[i] << 16;
    three |= have > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
    three |= have > 2 ? (uint32_t)bytes[i + 2] : 0;
    out[written++] = letters[three >> 18];
    out[written++] = letters[three >> 12 & 63];
    out[written++] = have > 1 ? letters[three >> 6 & 63] : pad;
    out[written++] = have > 2 ? letters[three & 63] : pad;
  }
  return written;
}

/* The six bits of a letter; padding has none set; -1 for anything else. */
static int bits_of(const char *letters, char pad, char letter) {
  const char *found = letter == '\0' ? NULL : strchr(letters, letter);
  return found != NULL ? (int)(found - letters) : letter == pad ? 0 : -1;
}

long fuzz_decode(const char *letters, char pad, const char *text, size_t len,
                 uint8_t *out) {
  size_t i, k, padding = 0, written = 0;
  while (padding < len && text[len - 1 - padding] == pad) {
    padding++;
  }
  if (len % 4 != 0 || padding > 2 || memchr(text, pad, len - padding) != NULL) {
    return -1;
  }
  for (i = 0; i < len; i += 4) {
    uint32_t four = 0;
    for (k = 0; k < 4; k++) {
      int bits = bits_of(letters, pad, text[i + k]);
      if (bits < 0) {
        return -1;
      }
      four = four << 6 | (uint32_t)bits;
    }
    out[written++] = (uint8_t)(four >> 16);
    out[written++] = (uint8_t)(four >> 8);
    out[written++] = (uint8_t)four;
  }
  return (long)(written - padding);
}

/* }===== */
