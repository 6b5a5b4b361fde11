/*
** batch: updates, screened and rendered (draft does that), and the request
** bodies they make: such pieces with commas. Updates of one user merge.
**
** Nothing here knows when or whether an update is sent: that is the engine's.
*/
#ifndef imattr_batch_h
#define imattr_batch_h

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "pool.h"

#pragma GCC visibility push(hidden)

/* Attributes one update can hold; an app has no more names than this (the
** vendor's im_set_attr_name: indexes "0" to "9"). */
#define IMATTR_ATTRS_MAX 10

/* How a command writes its users. */
typedef enum imattr_shape {
  IMATTR_SHAPE_SET,      /* {"UserAttrs":[{"To_Account":"a","Attrs":{..}}]} */
  IMATTR_SHAPE_REMOVE,   /* {"UserAttrs":[{"To_Account":"a","Attrs":[..]}]} */
  IMATTR_SHAPE_ACCOUNTS, /* {"To_Account":["a"]} */
  IMATTR_SHAPE_WHOLE,    /* the "account" is the whole body, as it is: for
                            commands about the app, which name no user */
  IMATTR_SHAPE_COUNT
} imattr_shape;

/* One screened, rendered update. Opaque, and never changed once made. */
typedef struct imattr_update imattr_update;

/* A text with its length. */
typedef struct imattr_span {
  const char *text;
  size_t len;
} imattr_span;

/* A short text in room of a fixed size, so that copying all of it is two
** moves and no call. */
#define IMATTR_MARK_MAX 32
typedef struct imattr_mark {
  char text[IMATTR_MARK_MAX];
  size_t len;
} imattr_mark;

/* What stands around a user and the attributes in a shape. */
typedef struct imattr_marks {
  imattr_mark user_open;
  imattr_mark attrs_open;
  imattr_mark user_close;
} imattr_marks;

const imattr_marks *imattr_shape_marks(imattr_shape shape);

/* A rendered update that has no memory of its own yet. Filled by the caller. */
typedef struct imattr_rendering {
  imattr_shape shape;
  imattr_span account; /* as it was given */
  imattr_span text;    /* from user_open to user_close */
  size_t head_len;     /* of the text: up to and with attrs_open */
} imattr_rendering;

/* Memory for updates, in blocks of two sizes; a longer update is allocated for
** itself. Storage is the caller's. Private fields. */
typedef struct imattr_stock {
  imattr_pool small;
  imattr_pool large;
} imattr_stock;

/* An empty stock; allocates nothing. */
void imattr_stock_init(imattr_stock *stock);

/* Frees every block, those of living updates too. */
void imattr_stock_clear(imattr_stock *stock);

/* A copy of the rendering, in a block of the stock, which must outlive it.
** NULL when there is no memory. */
imattr_update *imattr_update_create(imattr_stock *stock,
                                    const imattr_rendering *rendering);

/* Each update has room for its holder, aligned for a pointer, its bytes not
** set: the engine keeps the user's place there, so that an update and its
** place are one block. */
#define IMATTR_MARGIN_SIZE 64
void *imattr_update_margin(imattr_update *update);

/* The update whose margin this is. */
imattr_update *imattr_update_of_margin(void *margin);

/* Where a list of attributes has one of this name (rendered, with its quotes);
** `len`: nowhere. Two names are equal when their rendered forms are: writing
** JSON is one to one. */
size_t imattr_attrs_find(const char *list, size_t len, const char *name,
                         size_t name_len);

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

/* Has the later of two updates of one user every attribute of the older? Then
** it stands for both. */
int imattr_update_covers(const imattr_update *later,
                         const imattr_update *older);

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

#pragma GCC visibility pop

#endif
