/*
** fault: why screening refused an update, and the sentence for it.
*/
#ifndef imattr_fault_h
#define imattr_fault_h

#include "buffer.h"

#pragma GCC visibility push(hidden)

/* Longest attribute name (im_set_attr_name: 50 bytes). */
#define IMATTR_NAME_BYTES_MAX 50

/* Why screening refused an update. Read by whoever writes the message. */
typedef struct imattr_fault {
  imattr_status status; /* ACCOUNT_EMPTY ... NUL_BYTE */
  enum { IMATTR_IN_ACCOUNT, IMATTR_IN_NAME, IMATTR_IN_VALUE } where;
  char name[IMATTR_NAME_BYTES_MAX + 1]; /* of the attribute, cut and cleaned */
  const char *found; /* what stood there instead, when the type is wrong */
  size_t actual;     /* bytes or attributes found; offset of a bad byte */
  size_t limit;      /* bytes or attributes allowed */
} imattr_fault;

/* Notes the attribute's name: what fits of it, with control characters, and
** what is not UTF-8, shown as `?`. */
void imattr_fault_name(imattr_fault *fault, const char *name, size_t len);

/* Appends the sentence for a fault, with value and limit. OK or NO_MEMORY. */
imattr_status imattr_fault_message(const imattr_fault *fault,
                                   imattr_buffer *message);

#pragma GCC visibility pop

#endif
