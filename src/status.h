/*
** status: every code of the C side, in one list.
**
** A status says how a C call ended, why screening refused an update, or why
** a request or a run ended without the vendor's word. The vendor's own codes
** (60000 and up) are not here: what they mean is decided in Lua. Numbers
** below IMATTR_VENDOR_CODE_MIN are ours, so one integer can carry either.
*/
#ifndef imattr_status_h
#define imattr_status_h

#pragma GCC visibility push(hidden)

/* The vendor's codes are five digits; ours stay below. */
#define IMATTR_VENDOR_CODE_MIN 10000

/*
** X(name, sentence). The sentence is what a caller reads when nothing more
** exact is known; screening writes its own with sizes and limits.
*/
#define IMATTR_STATUS_LIST(X)                                                  \
  X(OK, "done")                                                                \
  X(NO_MEMORY, "not enough memory")                                            \
  X(FULL, "too many updates wait; take results or wait for replies first")     \
  X(UNKNOWN_ID, "no request with this id is in flight")                        \
  /* screening: the update is never sent */                                    \
  X(ACCOUNT_TYPE, "the account is not a string")                               \
  X(ACCOUNT_EMPTY, "the account is empty")                                     \
  X(ACCOUNT_TOO_LONG, "the account is too long")                               \
  X(ATTRS_TYPE, "the attributes are not a table")                              \
  X(ATTRS_EMPTY, "no attribute is given")                                      \
  X(TOO_MANY_ATTRS, "too many attributes")                                     \
  X(NAME_TYPE, "an attribute name is not a string")                            \
  X(NAME_EMPTY, "an attribute name is empty")                                  \
  X(NAME_TOO_LONG, "an attribute name is too long")                            \
  X(NAME_UNKNOWN, "an attribute name is not registered with the app")          \
  X(VALUE_TYPE, "a value is neither a string nor an integer")                  \
  X(VALUE_TOO_LONG, "a value is too long")                                     \
  X(NOT_UTF8, "not valid UTF-8")                                               \
  X(NUL_BYTE, "a NUL byte")                                                    \
  X(USER_TYPE, "the user is not a table with To_Account and Attrs")            \
  /* a request without the vendor's word */                                    \
  X(RESOLVE, "the host name cannot be resolved")                               \
  X(CONNECT, "the host does not accept connections")                           \
  X(PROXY, "the proxy refuses")                                                \
  X(TLS, "the certificate or the TLS handshake is not to be trusted")          \
  X(TIMEOUT, "no answer in time")                                              \
  X(CUT, "the connection was cut before the answer was complete")              \
  X(HTTP_STATUS, "the answer's HTTP status is not 200")                        \
  X(BAD_REPLY, "the answer is not one of the vendor's")                        \
  X(REPLY_TOO_LARGE, "the answer is larger than its limit")                    \
  /* the end of a run */                                                       \
  X(STOPPED, "the run was stopped before this user's turn")                    \
  X(DEADLINE, "the run's deadline passed before this user's turn")             \
  X(INTERRUPTED, "the run was interrupted before this user's turn")            \
  X(SOURCE_FAILED, "the source of users failed before this user's turn")       \
  X(FORKED, "the client was made before a fork, by another process")           \
  X(DRY_RUN, "a dry run sends nothing")                                        \
  /* the shared slot ring */                                                   \
  X(PACE_FILE, "the shared slot ring cannot be opened")                        \
  X(PACE_FOREIGN, "the shared slot ring is not a private file of this user")   \
  /* UserSig and key */                                                        \
  X(BAD_USERSIG, "the UserSig cannot be read")                                 \
  X(BAD_KEY, "the key is empty or too long")                                   \
  X(KEY_FILE, "the key file cannot be read")                                   \
  X(CRYPTO, "the cryptographic library failed")

typedef enum imattr_status {
#define IMATTR_STATUS_ENUM(name, sentence) IMATTR_##name,
  IMATTR_STATUS_LIST(IMATTR_STATUS_ENUM)
#undef IMATTR_STATUS_ENUM
      IMATTR_STATUS_COUNT
} imattr_status;

/* The status's name ("FULL"), or NULL when there is no such status. */
const char *imattr_status_name(int status);

/* The status's sentence, or NULL when there is no such status. */
const char *imattr_status_sentence(int status);

#pragma GCC visibility pop

#endif
