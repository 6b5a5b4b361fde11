/*
** json: writes one JSON string and checks its UTF-8 in the same pass.
** That is all the JSON this library writes in C; replies are read in Lua.
*/
#ifndef imattr_json_h
#define imattr_json_h

#include "buffer.h"

#pragma GCC visibility push(hidden)

/* One byte may become six: \u00XX. */
#define IMATTR_JSON_GROWTH 6

/* Room for the string of a text, quotes included. */
#define IMATTR_JSON_SIZE(len) ((len)*IMATTR_JSON_GROWTH + 2)

/*
** Writes `text` to `out`, which has IMATTR_JSON_SIZE(len) bytes, as
** imattr_json_string does. Returns the end of what was written, or NULL: the
** byte at *offset is a NUL, or begins what is not UTF-8.
*/
char *imattr_json_write(char *out, const char *text, size_t len,
                        size_t *offset);

/*
** Appends `text` as a quoted JSON string (RFC 8259): the bytes as they are,
** with `"`, `\` and the control characters escaped. U+007F and everything
** above pass through unescaped.
** OK;
** NOT_UTF8: overlong forms, surrogates, above U+10FFFF, cut sequences;
**   *offset is the first byte of the bad sequence, from 0;
** NUL_BYTE: U+0000, which servers written in C take for the end of the text
**   and so for another account; *offset is its place;
** NO_MEMORY.
** On anything but OK the buffer's `len` is as it was before the call.
*/
imattr_status imattr_json_string(imattr_buffer *buffer, const char *text,
                                 size_t len, size_t *offset);

#pragma GCC visibility pop

#endif
