/*
** mistakes: no target but the proof that targets are watched: the first letter
** of the input says which mistake is made. spec/fuzz_spec.lua looks whether
** each is seen.
*/
#include <stdlib.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_text text = fuzz_copy(data, size);
  volatile size_t place = text.len;
  volatile int number = INT32_MAX;
  switch (size > 0 ? data[0] : 0) {
    case 'r': place = (size_t)text.bytes[place]; break; /* one too far */
    case 'n': place = (size_t)(number + 1); break;
    case 'l': text = fuzz_copy(data, size); break; /* and the first copy? */
    case 'm': MUST(place == 0); break;
    default: break;
  }
  fuzz_free(&text);
  return 0;
}
