/*
** json: the writer of JSON strings. The input is the text; its first byte says
** how many bytes the buffer holds before it, so that the end of the text falls
** on every place.
*/
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* The string reads back to the same bytes, and nothing is escaped without
** need. */
static void check_string(const char *written, size_t written_len,
                         const fuzz_text *text) {
  fuzz_reader reader;
  char *back = malloc(text->len + 1);
  size_t i, len, escapes = 0, needed = 0;
  MUST(back != NULL);
  reader.at = written;
  reader.end = written + written_len;
  MUST(fuzz_read_string(&reader, back, text->len + 1, &len));
  MUST(reader.at == reader.end);
  MUST(fuzz_is_same(back, len, text->bytes, text->len));
  for (i = 0; i < text->len; i++) {
    unsigned char byte = (unsigned char)text->bytes[i];
    needed += byte < 0x20 || byte == '"' || byte == '\\';
  }
  for (i = 0; i < written_len; i++) {
    escapes += written[i] == '\\';
    i += written[i] == '\\'; /* what is escaped may be a backslash */
  }
  MUST(escapes == needed);
  free(back);
}

static void check_write(const fuzz_text *text, imattr_status wanted,
                        size_t wanted_offset) {
  size_t offset = SIZE_MAX;
  char *out = malloc(IMATTR_JSON_SIZE(text->len));
  char *end;
  MUST(out != NULL);
  end = imattr_json_write(out, text->bytes, text->len, &offset);
  MUST((end != NULL) == (wanted == IMATTR_OK));
  if (end == NULL) {
    MUST(offset == wanted_offset);
  } else {
    check_string(out, (size_t)(end - out), text);
  }
  free(out);
}

static void check_append(const fuzz_text *text, size_t before,
                         imattr_status wanted, size_t wanted_offset) {
  static const char filling[256] = {'f'};
  imattr_buffer buffer;
  size_t offset = SIZE_MAX;
  imattr_buffer_init(&buffer);
  MUST(imattr_buffer_append(&buffer, filling, before) == IMATTR_OK);
  MUST(imattr_json_string(&buffer, text->bytes, text->len, &offset) == wanted);
  MUST(before == 0 || memcmp(buffer.data, filling, before) == 0);
  if (wanted == IMATTR_OK) {
    check_string(buffer.data + before, buffer.len - before, text);
  } else {
    MUST(offset == wanted_offset);
    MUST(buffer.len == before);
  }
  imattr_buffer_clear(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_bytes bytes = {data, size};
  size_t before = fuzz_byte(&bytes);
  fuzz_text text = fuzz_rest(&bytes);
  size_t offset = 0;
  imattr_status wanted = fuzz_judge_text(text.bytes, text.len, &offset);
  check_write(&text, wanted, offset);
  check_append(&text, before, wanted, offset);
  fuzz_free(&text);
  return 0;
}
