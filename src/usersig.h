/*
** usersig: signs and opens a UserSig, the vendor's signature of an account
** (TLSSigAPIv2). A UserSig is a small JSON object, deflated (RFC 1950) and
** written in a base64 of the vendor's own: `*` for `+`, `-` for `/`, `_` for
** `=`. It is made of lines signed with HMAC-SHA256; the key is the text of
** the secret as the console shows it, not decoded from hex.
** HMAC and wiping are libcrypto's, compression is zlib's.
*/
#ifndef imattr_usersig_h
#define imattr_usersig_h

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "secret.h"

#pragma GCC visibility push(hidden)

/* Longest key taken. The console's are 64 characters; this leaves room. */
#define IMATTR_KEY_LEN_MAX 256

/* Longest UserSig opened. Those seen are below 300 characters; a userbuf adds
** a third of its length. Also bounds what a hostile one may inflate to. */
#define IMATTR_USERSIG_LEN_MAX 4096
#define IMATTR_USERSIG_JSON_MAX 16384

/* What is signed. The texts are the caller's and need not end in NUL. */
typedef struct imattr_usersig_fields {
  uint64_t sdkappid;
  const char *identifier; /* UTF-8, without control characters */
  size_t identifier_len;
  int64_t time_s;      /* when it was made, seconds since 1970 */
  int64_t expire_s;    /* how long it holds, seconds */
  const char *userbuf; /* base64 text, or NULL when there is none */
  size_t userbuf_len;
} imattr_usersig_fields;

/* A key: a secret. */
typedef imattr_secret imattr_key;

/*
** Copies a key of 1 to IMATTR_KEY_LEN_MAX bytes.
** OK; BAD_KEY for another length; NO_MEMORY.
*/
imattr_status imattr_key_create(imattr_key **key, const char *text, size_t len);

/*
** Reads a key from a file, without the white space around it; nothing of it
** stays in any other memory. OK; KEY_FILE when it cannot be read; BAD_KEY;
** NO_MEMORY.
*/
imattr_status imattr_key_read(imattr_key **key, const char *path);

/* Wipes and frees; NULL is fine. */
void imattr_key_destroy(imattr_key *key);

/*
** Appends the UserSig. OK; NOT_UTF8 or NUL_BYTE for such an identifier;
** NO_MEMORY; CRYPTO; FORKED where the key was wiped for a child process.
*/
imattr_status imattr_usersig_sign(const imattr_key *key,
                                  const imattr_usersig_fields *fields,
                                  imattr_buffer *usersig);

/* Is `mac` the signature of the fields under the key? Constant time. OK and the
** answer; NO_MEMORY or CRYPTO: nobody knows. */
imattr_status imattr_usersig_verify(const imattr_key *key,
                                    const imattr_usersig_fields *fields,
                                    const char *mac, size_t mac_len,
                                    int *holds);

/*
** Appends the JSON text inside a UserSig; nothing of it is trusted or checked
** yet. OK; BAD_USERSIG for anything that is not such a text; NO_MEMORY.
*/
imattr_status imattr_usersig_unpack(const char *usersig, size_t len,
                                    imattr_buffer *json);

#pragma GCC visibility pop

#endif
