/*
** curl_pool: requests over libcurl's multi interface: many at once, on
** connections that stay open, HTTP/2 where the server offers it.
**
** A pull interface: start requests, wait, take replies. Certificates are
** always verified, redirects never followed, and only https is spoken, but
** for http to a loopback address. No callback leads into Lua.
*/
#ifndef imattr_curl_pool_h
#define imattr_curl_pool_h

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#pragma GCC visibility push(hidden)

/* A reply is read up to here. get_attr of 100 users with 10 attributes is
** about 112 KB; escapes can multiply that by six. */
#define IMATTR_REPLY_BYTES_MAX (2u * 1024u * 1024u)

/* Settings; texts may be NULL and are copied by libcurl. */
typedef struct imattr_curl_config {
  long connect_timeout_ms;
  long timeout_ms;     /* of a whole attempt, DNS and TLS included */
  const char *ca_file; /* more certificates to trust, PEM */
  const char *proxy;   /* NULL: as the environment says (https_proxy) */
  int allows_http;     /* plain http: for loopback only */
  int is_direct;       /* no proxy, whatever the environment says */
} imattr_curl_config;

/* What came of a request. Texts live until the next call with the pool. */
typedef struct imattr_curl_reply {
  uint64_t id;
  imattr_status status; /* OK: an HTTP answer was read to its end */
  const char *message;  /* else: the reason, in libcurl's words */
  int may_have_arrived; /* had any byte of the request been sent? */
  long http_status;     /* 0 when there was none */
  const char *body;
  size_t body_len;
  const char *date; /* the Date header, or NULL */
} imattr_curl_reply;

/* Opaque. */
typedef struct imattr_curl_pool imattr_curl_pool;

/* OK; NO_MEMORY; TLS when libcurl cannot do what the config asks. */
imattr_status imattr_curl_pool_create(imattr_curl_pool **pool,
                                      const imattr_curl_config *config);

/* Breaks off what is in flight and closes every connection. In a child process
** it closes copies of the sockets alone: the connections are its parent's.
** NULL is fine. */
void imattr_curl_pool_destroy(imattr_curl_pool *pool);

/* A POST. Host and target come apart: libcurl takes a URL to pieces, byte by
** byte, and a target with a UserSig is long. */
typedef struct imattr_curl_request {
  uint64_t id;
  const char *base;   /* "https://host:port"; copied */
  const char *target; /* "/v4/...": path and query, escaped; copied */
  const char *body;   /* not copied: it must stay until the reply is taken or
                         the pool destroyed */
  size_t body_len;
} imattr_curl_request;

/* Queues a request; it leaves with the next wait. OK or NO_MEMORY. */
imattr_status imattr_curl_pool_start(imattr_curl_pool *pool,
                                     const imattr_curl_request *request);

/*
** Sends what was started and waits up to `timeout_ms` (negative: until
** something happens; 0: not at all) for a reply. A reply that is there already
** is taken before anything else is done. 1 and the reply; 0 when none came in
** time, when nothing is in flight (it then sleeps out the time), or when a
** signal interrupted.
*/
int imattr_curl_pool_wait(imattr_curl_pool *pool, int timeout_ms,
                          imattr_curl_reply *reply);

/* Requests started whose reply has not been taken. */
size_t imattr_curl_pool_in_flight(const imattr_curl_pool *pool);

#pragma GCC visibility pop

#endif
