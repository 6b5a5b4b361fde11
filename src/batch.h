/*
** batch: screens one update and renders it, in one pass, into the piece of a
** request body that it will be. A body is then such pieces with commas.
**
** Nothing here knows when or whether an update is sent: that is the engine's.
*/
#ifndef imattr_batch_h
#define imattr_batch_h

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

/* Attributes one update can hold; an app has no more names than this (the
** vendor's im_set_attr_name: indexes "0" to "9"). */
#define IMATTR_ATTRS_MAX 10

/* Registered names a screen can know. */
#define IMATTR_NAMES_MAX 16

/* Longest attribute name (im_set_attr_name: 50 bytes). */
#define IMATTR_NAME_BYTES_MAX 50

/* How a command writes its users. */
typedef enum imattr_shape {
  IMATTR_SHAPE_SET,      /* {"UserAttrs":[{"To_Account":"a","Attrs":{..}}]} */
  IMATTR_SHAPE_REMOVE,   /* {"UserAttrs":[{"To_Account":"a","Attrs":[..]}]} */
  IMATTR_SHAPE_ACCOUNTS, /* {"To_Account":["a"]} */
  IMATTR_SHAPE_WHOLE,    /* the "account" is the whole body, as it is: for
                            commands about the app, which name no user */
  IMATTR_SHAPE_COUNT
} imattr_shape;

/*
** What an update is screened against. Filled by the caller; the texts of the
** names are the caller's and must outlive the screen's use.
*/
typedef struct imattr_screen {
  size_t account_bytes_max; /* 32 (Use Limits page), 36 for timpush */
  size_t value_bytes_max;   /* 50 (im_set_attr: "cannot exceed 50 bytes") */
  int knows_names;          /* are the registered names known? */
  size_t name_count;
  struct {
    const char *text;
    size_t len;
  } names[IMATTR_NAMES_MAX];
} imattr_screen;

/* Why screening refused an update. Read by whoever writes the message. */
typedef struct imattr_fault {
  imattr_status status; /* ACCOUNT_EMPTY ... NUL_BYTE */
  enum { IMATTR_IN_ACCOUNT, IMATTR_IN_NAME, IMATTR_IN_VALUE } where;
  char name[IMATTR_NAME_BYTES_MAX + 1]; /* of the attribute, cut and cleaned */
  const char *found; /* what stood there instead, when the type is wrong */
  size_t actual;     /* bytes or attributes found; offset of a bad byte */
  size_t limit;      /* bytes or attributes allowed */
} imattr_fault;

/* One screened, rendered update. Opaque, and never changed once made. */
typedef struct imattr_update imattr_update;

/* An update under the pen: one object serves any number of updates in turn.
** Opaque. */
typedef struct imattr_draft imattr_draft;

/* A draft of nothing. NULL when there is no memory. */
imattr_draft *imattr_draft_create(void);

/* Frees the draft. The memory of its updates is the draft's: destroy the
** updates before, or never touch them again. */
void imattr_draft_destroy(imattr_draft *draft);

/*
** Starts an update, dropping whatever the draft held. The screen must live as
** long as the draft, unchanged. OK, NO_MEMORY, or a screening status with the
*fault filled in.
*/
imattr_status imattr_draft_begin(imattr_draft *draft, imattr_shape shape,
                                 const imattr_screen *screen,
                                 const char *account, size_t len);

/* Adds an attribute with its value (SHAPE_SET). As begin. */
imattr_status imattr_draft_set(imattr_draft *draft, const char *name,
                               size_t name_len, const char *value,
                               size_t value_len);

/* Adds the name of an attribute (SHAPE_REMOVE); a repeated one counts once.
** As begin. */
imattr_status imattr_draft_name(imattr_draft *draft, const char *name,
                                size_t name_len);

/* Notes a fault that only the caller can see: `found`, a text that lives as
** long as the program ("a boolean"), stands where something else should.
** `name` is the attribute's, or NULL. Returns `status`. */
imattr_status imattr_draft_refuse(imattr_draft *draft, imattr_status status,
                                  const char *found, const char *name,
                                  size_t name_len);

/* Ends the update and hands it over (destroy it with imattr_update_destroy).
** OK; ATTRS_EMPTY when the shape wants attributes and none came; NO_MEMORY. */
imattr_status imattr_draft_finish(imattr_draft *draft, imattr_update **update);

/* Why the last call was refused; valid until the next begin. */
const imattr_fault *imattr_draft_fault(const imattr_draft *draft);

/* Appends the sentence for a fault, with value and limit. OK or NO_MEMORY. */
imattr_status imattr_fault_message(const imattr_fault *fault,
                                   imattr_buffer *message);

void imattr_update_destroy(imattr_update *update);

/* The account as it was given; not closed by NUL. Lives as the update. */
const char *imattr_update_account(const imattr_update *update, size_t *len);

/* A number that is equal for equal accounts. */
uint32_t imattr_update_hash(const imattr_update *update);

/* Are the two for the same account? */
int imattr_update_is_same_user(const imattr_update *a, const imattr_update *b);

/* The hash of any account, and: is the update for it? */
uint32_t imattr_account_hash(const char *account, size_t len);
int imattr_update_is_for(const imattr_update *update, const char *account,
                         size_t len);

/*
** Joins two updates of one user and one shape; where both have an attribute
** the later one's value stands. Neither is changed or freed.
** OK and the new update; FULL when the two together have more than
** IMATTR_ATTRS_MAX attributes; NO_MEMORY.
*/
imattr_status imattr_update_merge(const imattr_update *older,
                                  const imattr_update *later,
                                  imattr_update **merged);

/* Bytes that the update takes in a body, with its comma, and what closing the
** body takes. */
size_t imattr_update_size(const imattr_update *update);
#define IMATTR_BODY_CLOSE_SIZE 2

/* Writes a body: begin, then add for each update, then end; into an empty
** buffer. Each OK or NO_MEMORY. */
imattr_status imattr_body_begin(imattr_buffer *body, imattr_shape shape);
imattr_status imattr_body_add(imattr_buffer *body, const imattr_update *update);
imattr_status imattr_body_end(imattr_buffer *body, imattr_shape shape);

#endif
