/*
** fuzz: what the fuzz targets share.
**
** A target is one C file with the function LLVMFuzzerTestOneInput: it turns
** bytes into calls of the code below src/, and checks what comes back against
** a model of its own. What must hold is said by MUST, which ends the process,
** so that the fuzzer keeps the input. spec/fuzz/run builds and runs targets.
**
** The judges here (UTF-8, JSON, base64) are written anew and plainly, not
** with the code they judge.
*/
#ifndef fuzz_h
#define fuzz_h

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* The fuzzer's two entries; the second one is optional. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***words);

#define MUST(holds) ((holds) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #holds))
__attribute__((noreturn)) void fuzz_fail(const char *file, int line,
                                         const char *what);

/* {===== bytes: the input, taken from the front ===== */

typedef struct fuzz_bytes {
  const uint8_t *at;
  size_t left;
} fuzz_bytes;

/* The next byte; 0 when there is none. */
unsigned fuzz_byte(fuzz_bytes *bytes);

/* The next byte, modulo a limit. */
unsigned fuzz_below(fuzz_bytes *bytes, unsigned limit);

/* A text in a block of exactly its size, so that a sanitizer sees every byte
** read beyond it. Freed by fuzz_free. */
typedef struct fuzz_text {
  char *bytes;
  size_t len;
} fuzz_text;

fuzz_text fuzz_copy(const void *bytes, size_t len);
void fuzz_free(fuzz_text *text);

/* A byte that says how long, modulo len_max + 1, and that many bytes, or as
** many as there are. */
fuzz_text fuzz_take(fuzz_bytes *bytes, size_t len_max);

/* All the rest. */
fuzz_text fuzz_rest(fuzz_bytes *bytes);

int fuzz_is_same(const char *a, size_t a_len, const char *b, size_t b_len);

/* }===== */

/* {===== judges ===== */

/* OK when the text is UTF-8 without NUL; else NUL_BYTE or NOT_UTF8, whichever
** comes first, and its place. */
imattr_status fuzz_judge_text(const char *text, size_t len, size_t *offset);

/* JSON being read. Each function below leaves `at` behind what it took. */
typedef struct fuzz_reader {
  const char *at;
  const char *end;
} fuzz_reader;

/* Takes exactly this text; 0 when something else stands there. */
int fuzz_read_word(fuzz_reader *reader, const char *word);

/* Takes a JSON string into `out` (NULL: nowhere); its length is *len. 0 when
** it is none or longer than `size`. Escapes: the ones JSON has, below U+0080.
*/
int fuzz_read_string(fuzz_reader *reader, char *out, size_t size, size_t *len);

/* Takes an integer. */
int fuzz_read_integer(fuzz_reader *reader, int64_t *value);

/* Base64 by a plain table of 64 letters, with `pad` for padding. `out` has
** room for len / 3 * 4 + 5 bytes, and for len / 4 * 3 bytes. Encoding returns
** the length; decoding as well, or -1. */
extern const char fuzz_base64[65];
extern const char fuzz_base64_vendor[65];
size_t fuzz_encode(const char *letters, char pad, const uint8_t *bytes,
                   size_t len, char *out);
long fuzz_decode(const char *letters, char pad, const char *text, size_t len,
                 uint8_t *out);

/* }===== */

#endif
