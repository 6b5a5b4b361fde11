/* fault: sentences with the value and the limit in them */
#include "fault.h"

#include <stdio.h>

#include "json.h"

void imattr_fault_name(imattr_fault *fault, const char *name, size_t len) {
  char scratch[IMATTR_JSON_SIZE(IMATTR_NAME_BYTES_MAX)];
  size_t i;
  int is_text;
  if (len > IMATTR_NAME_BYTES_MAX) {
    len = IMATTR_NAME_BYTES_MAX;
    while (len > 0 && ((unsigned char)name[len] & 0xC0) == 0x80) {
      len--; /* not in the middle of a sequence */
    }
  }
  is_text = imattr_json_write(scratch, name, len, &i) != NULL;
  for (i = 0; i < len; i++) {
    unsigned char byte = (unsigned char)name[i];
    int is_shown = byte >= 0x20 && byte != 0x7F && (byte < 0x7F || is_text);
    fault->name[i] = is_shown ? name[i] : '?';
  }
  fault->name[len] = '\0';
}

/* The thing a fault is about: `account`, `attribute name "x"`, `value of "x"`.
** An unreadable name is not shown. */
static void name_thing(const imattr_fault *fault, char *thing, size_t size) {
  int is_nameless =
      fault->name[0] == '\0' ||
      (fault->where == IMATTR_IN_NAME && fault->status == IMATTR_NOT_UTF8);
  switch (fault->where) {
    case IMATTR_IN_ACCOUNT: snprintf(thing, size, "account"); break;
    case IMATTR_IN_NAME:
      if (is_nameless) {
        snprintf(thing, size, "attribute name");
      } else {
        snprintf(thing, size, "attribute name \"%s\"", fault->name);
      }
      break;
    default: snprintf(thing, size, "value of \"%s\"", fault->name); break;
  }
}

imattr_status imattr_fault_message(const imattr_fault *fault,
                                   imattr_buffer *message) {
  char thing[IMATTR_NAME_BYTES_MAX + 32];
  char line[160];
  name_thing(fault, thing, sizeof thing);
  switch (fault->status) {
    case IMATTR_ACCOUNT_EMPTY:
    case IMATTR_NAME_EMPTY:
      snprintf(line, sizeof line, "%s: empty", thing);
      break;
    case IMATTR_ATTRS_EMPTY:
      snprintf(line, sizeof line, "attributes: none given");
      break;
    case IMATTR_ACCOUNT_TOO_LONG:
    case IMATTR_NAME_TOO_LONG:
    case IMATTR_VALUE_TOO_LONG:
      snprintf(line, sizeof line, "%s: %zu bytes, limit %zu", thing,
               fault->actual, fault->limit);
      break;
    case IMATTR_TOO_MANY_ATTRS:
      snprintf(line, sizeof line, "attributes: more than the limit of %zu",
               fault->limit);
      break;
    case IMATTR_NAME_UNKNOWN:
      snprintf(line, sizeof line, "%s: not registered with the app", thing);
      break;
    case IMATTR_NOT_UTF8:
      snprintf(line, sizeof line, "%s: not valid UTF-8 at byte %zu", thing,
               fault->actual + 1);
      break;
    case IMATTR_NUL_BYTE:
      snprintf(line, sizeof line, "%s: a NUL at byte %zu", thing,
               fault->actual + 1);
      break;
    case IMATTR_ACCOUNT_TYPE:
      snprintf(line, sizeof line, "account: %s, wants a string", fault->found);
      break;
    case IMATTR_ATTRS_TYPE:
      snprintf(line, sizeof line, "attributes: %s, wants a table",
               fault->found);
      break;
    case IMATTR_NAME_TYPE:
      snprintf(line, sizeof line, "attribute name: %s, wants a string",
               fault->found);
      break;
    case IMATTR_VALUE_TYPE:
      snprintf(line, sizeof line,
               "value of \"%s\": %s, wants a string or an integer", fault->name,
               fault->found);
      break;
    default:
      return imattr_buffer_text(message,
                                imattr_status_sentence((int)fault->status));
  }
  return imattr_buffer_text(message, line);
}
