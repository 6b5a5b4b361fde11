/* status: names and sentences of the list in status.h */
#include "status.h"

#include <stddef.h>

static const struct {
  const char *name;
  const char *sentence;
} rows[] = {
#define IMATTR_STATUS_ROW(name, sentence) {#name, sentence},
    IMATTR_STATUS_LIST(IMATTR_STATUS_ROW)
#undef IMATTR_STATUS_ROW
};

static int exists(int status) {
  return status >= 0 && status < IMATTR_STATUS_COUNT;
}

const char *imattr_status_name(int status) {
  return exists(status) ? rows[status].name : NULL;
}

const char *imattr_status_sentence(int status) {
  return exists(status) ? rows[status].sentence : NULL;
}
