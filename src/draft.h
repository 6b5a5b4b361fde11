/*
** draft: screens one update and renders it, in one pass, into the piece of a
** request body that it will be.
*/
#ifndef imattr_draft_h
#define imattr_draft_h

#include "batch.h"
#include "fault.h"

#pragma GCC visibility push(hidden)

/* Registered names a screen can know. */
#define IMATTR_NAMES_MAX 16

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

/* A draft keeps the rendered form of names that it has set, up to ten short
** ones. The index of a kept name, or IMATTR_NOT_KEPT. An index stays good as
** long as the draft. */
#define IMATTR_NOT_KEPT ((size_t)-1)
size_t imattr_draft_find(const imattr_draft *draft, const char *name,
                         size_t len);

/* As set, for a kept name: it has been screened, and is only copied. */
imattr_status imattr_draft_set_kept(imattr_draft *draft, size_t index,
                                    const char *value, size_t value_len);

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

#pragma GCC visibility pop

#endif
