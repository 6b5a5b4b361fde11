/*
** driver: stands in for libFuzzer where there is no clang: runs a target on
** the files given, once each. A flag (-x) is passed over.
*/
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#define INPUT_MAX (1 << 20)

/* Only targets in Lua have it. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *count, char ***words);

static void run_file(const char *path) {
  uint8_t *bytes = malloc(INPUT_MAX);
  FILE *file = fopen(path, "rb");
  fuzz_text input;
  MUST(bytes != NULL);
  if (file == NULL) {
    perror(path);
    exit(66);
  }
  printf("Running: %s\n", path);
  fflush(stdout);
  input = fuzz_copy(bytes, fread(bytes, 1, INPUT_MAX, file));
  fclose(file);
  free(bytes);
  LLVMFuzzerTestOneInput((const uint8_t *)input.bytes, input.len);
  fuzz_free(&input);
  printf("Executed %s\n", path);
}

int main(int count, char **words) {
  int i;
  if (LLVMFuzzerInitialize != NULL) {
    LLVMFuzzerInitialize(&count, &words);
  }
  for (i = 1; i < count; i++) {
    if (words[i][0] != '-') {
      run_file(words[i]);
    }
  }
  return 0;
}
