/*
** curl_pool: easy handles are made once, kept on a list when idle, and used
** again: their connections, DNS answers and TLS sessions live in the multi.
**
** After a fork both processes hold the same sockets. What libcurl would say on
** one of them in the child (the end of a TLS session, at the least) would break
** the parent's connection, and a thread that looks up a name for it is not in
** the child. So the child never calls libcurl with what the parent made: it
** closes its copies of the sockets, which the pool keeps account of, and lets
** libcurl's memory lie.
*/
#include "curl_pool.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "buffer.h"
#include "curl_status.h"

/* A request that was started leaves within this, whatever replies there are to
** take first: its slot is held for a time that begins now. */
#define LEAVE_MAX_US 5000

/* Connections idle for longer are not used again: servers close theirs after
** about a minute (nginx: 75 s), and a request on a dead one is lost time. */
#define IDLE_MAX_S 50L

typedef struct curl_call {
  struct curl_call *next; /* among the idle */
  struct curl_call *all;  /* among all, to free them */
  CURL *easy;
  int64_t started_us;
  char *base; /* the host its handle was set to; NULL: none yet */
  uint64_t id;
  const char *body; /* the caller's */
  size_t body_len;
  size_t body_sent;
  imattr_buffer reply;
  imattr_status reading; /* NO_MEMORY, REPLY_TOO_LARGE: why reading ended */
  int is_in_flight;
  int sendings;     /* more than one is one too many */
  int is_kept_back; /* started after a fork: never sent */
  char reason[CURL_ERROR_SIZE];
} curl_call;

struct imattr_curl_pool {
  pid_t pid; /* of the process that may send */
  CURLM *multi;
  struct curl_slist *headers;
  curl_call *idle;
  curl_call *all;
  curl_call *taken; /* its reply is with the caller; idle at the next call */
  size_t in_flight;
  int64_t answered_us; /* when the last answer came */
  int has_doubts;      /* a request failed: is its connection still good? */
  int lacks_a_socket;  /* there was no memory to keep account of one */
  int64_t started_us; /* when the first was that waits to leave; 0: none does */
  imattr_curl_config config;
  char *ca_file;
  char *proxy;
  int *sockets; /* that libcurl has open */
  size_t socket_count;
  size_t socket_room;
};

/* Is this a child of the process that made the pool? */
static int is_forked(const imattr_curl_pool *pool) {
  return pool->pid != getpid();
}

/* Of the clock that never goes back. */
static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* {===== callbacks ===== */

/* Collects the reply's body, up to its limit. */
static size_t on_body(char *bytes, size_t size, size_t count, void *to) {
  curl_call *call = to;
  size_t len = size * count;
  if (call->reply.len + len > IMATTR_REPLY_BYTES_MAX) {
    call->reading = IMATTR_REPLY_TOO_LARGE;
    return 0;
  }
  call->reading = imattr_buffer_append(&call->reply, bytes, len);
  return call->reading == IMATTR_OK ? len : 0;
}

/* Gives libcurl the body, once. It cannot be rewound, on purpose: libcurl would
** else send a request again by itself when a kept connection turns out to be
** dead, without a slot, and so faster than the pace. It fails instead, and the
** engine decides. */
static size_t on_read(char *bytes, size_t size, size_t count, void *from) {
  curl_call *call = from;
  size_t len = size * count;
  size_t left = call->body_len - call->body_sent;
  len = len < left ? len : left;
  memcpy(bytes, call->body + call->body_sent, len);
  call->body_sent += len;
  return len;
}

/* libcurl asks before it sends. When a kept connection dies before the body
** began, it would send the request again by itself, without a slot. */
static int on_sending(void *of, char *to, char *from, int to_port, int port) {
  curl_call *call = of;
  (void)to, (void)from, (void)to_port, (void)port;
  return call->sendings++ == 0 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* }===== */

/* {===== sockets ===== */

/* Makes room for one more socket. Returns whether there is some. */
static int reserve_socket(imattr_curl_pool *pool) {
  size_t room = pool->socket_room == 0 ? 16 : pool->socket_room * 2;
  int *grown;
  if (pool->socket_count < pool->socket_room) {
    return 1;
  }
  grown = realloc(pool->sockets, room * sizeof *grown);
  if (grown == NULL) {
    return 0;
  }
  pool->sockets = grown;
  pool->socket_room = room;
  return 1;
}

/* Opens a socket for libcurl: one that no program started by this process
** inherits. */
static curl_socket_t on_socket(void *with, curlsocktype purpose,
                               struct curl_sockaddr *address) {
  imattr_curl_pool *pool = with;
  int made = CURL_SOCKET_BAD;
  (void)purpose;
  pool->lacks_a_socket = !reserve_socket(pool);
  if (!pool->lacks_a_socket) {
    made = socket(address->family, address->socktype | SOCK_CLOEXEC,
                  address->protocol);
  }
  if (made != CURL_SOCKET_BAD) {
    pool->sockets[pool->socket_count++] = made;
  }
  return made;
}

/* Closes one for libcurl. */
static int on_close(void *with, curl_socket_t closed) {
  imattr_curl_pool *pool = with;
  size_t i = 0;
  while (i < pool->socket_count && pool->sockets[i] != closed) {
    i++;
  }
  if (i < pool->socket_count) {
    pool->sockets[i] = pool->sockets[--pool->socket_count];
  }
  return close(closed);
}

/* Closes a child's copies. */
static void close_sockets(imattr_curl_pool *pool) {
  while (pool->socket_count > 0) {
    close(pool->sockets[--pool->socket_count]);
  }
}

/* }===== */

/* {===== calls ===== */

/* Everything that stays the same from request to request. CURLE_OK, or why
** libcurl did not take it all. */
static CURLcode set_up(imattr_curl_pool *pool, curl_call *call) {
#define SET(option, value)                                                     \
  ((result = curl_easy_setopt(call->easy, option, value)) == CURLE_OK)
  const imattr_curl_config *config = &pool->config;
  CURLcode result = CURLE_OK;
  (void)(SET(CURLOPT_PROTOCOLS_STR,
             config->allows_http ? "http,https" : "https") &&
         SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
         SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
         (pool->ca_file == NULL || SET(CURLOPT_CAINFO, pool->ca_file)) &&
         (pool->proxy == NULL || SET(CURLOPT_PROXY, pool->proxy)) &&
         (!config->is_direct || SET(CURLOPT_NOPROXY, "*")) &&
         SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_NOSIGNAL, 1L) &&
         SET(CURLOPT_POST, 1L) && SET(CURLOPT_HTTPHEADER, pool->headers) &&
         SET(CURLOPT_CONNECTTIMEOUT_MS, config->connect_timeout_ms) &&
         SET(CURLOPT_TIMEOUT_MS, config->timeout_ms) &&
         SET(CURLOPT_MAXAGE_CONN, IDLE_MAX_S) &&
         SET(CURLOPT_OPENSOCKETFUNCTION, on_socket) &&
         SET(CURLOPT_OPENSOCKETDATA, pool) &&
         SET(CURLOPT_CLOSESOCKETFUNCTION, on_close) &&
         SET(CURLOPT_CLOSESOCKETDATA, pool) &&
         /* wait for the first connection to say whether it carries many */
         SET(CURLOPT_PIPEWAIT, 1L) && SET(CURLOPT_ERRORBUFFER, call->reason) &&
         SET(CURLOPT_READFUNCTION, on_read) && SET(CURLOPT_READDATA, call) &&
         SET(CURLOPT_PREREQFUNCTION, on_sending) &&
         SET(CURLOPT_PREREQDATA, call) &&
         /* a resolver that hangs is left behind, not waited for */
         SET(CURLOPT_QUICK_EXIT, 1L) && SET(CURLOPT_WRITEFUNCTION, on_body) &&
         SET(CURLOPT_WRITEDATA, call) && SET(CURLOPT_PRIVATE, call));
#undef SET
  return result;
}

static void destroy_call(curl_call *call) {
  if (call->easy != NULL) {
    curl_easy_cleanup(call->easy);
  }
  imattr_buffer_clear(&call->reply);
  free(call->base);
  free(call);
}

/* A new call with its handle. OK; NO_MEMORY; TLS when libcurl cannot do what
** the config asks. */
static imattr_status create_call(imattr_curl_pool *pool, curl_call **call) {
  curl_call *made = calloc(1, sizeof *made);
  CURLcode result = CURLE_OUT_OF_MEMORY;
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  imattr_buffer_init(&made->reply);
  made->easy = curl_easy_init();
  if (made->easy != NULL) {
    result = set_up(pool, made);
  }
  if (result != CURLE_OK) {
    destroy_call(made);
    return result == CURLE_OUT_OF_MEMORY ? IMATTR_NO_MEMORY : IMATTR_TLS;
  }
  made->all = pool->all;
  pool->all = made;
  *call = made;
  return IMATTR_OK;
}

static void put_idle(imattr_curl_pool *pool, curl_call *call) {
  call->next = pool->idle;
  pool->idle = call;
}

static imattr_status take_idle(imattr_curl_pool *pool, curl_call **call) {
  if (pool->idle == NULL) {
    return create_call(pool, call);
  }
  *call = pool->idle;
  pool->idle = pool->idle->next;
  return IMATTR_OK;
}

/* The caller is done with the reply it took. */
static void forget_taken(imattr_curl_pool *pool) {
  if (pool->taken != NULL) {
    put_idle(pool, pool->taken);
    pool->taken = NULL;
  }
}

/* }===== */

/* {===== birth and death ===== */

/* Copies a text that may be NULL. Returns whether there was memory. */
static int copy_text(char **copy, const char *text) {
  *copy = text == NULL ? NULL : strdup(text);
  return text == NULL || *copy != NULL;
}

/* An empty `Expect:` keeps libcurl from waiting for "100 Continue" before it
** sends a body: that would cost a round trip. */
static int make_headers(imattr_curl_pool *pool) {
  struct curl_slist *first =
      curl_slist_append(NULL, "Content-Type: application/json");
  pool->headers = first == NULL ? NULL : curl_slist_append(first, "Expect:");
  if (pool->headers == NULL) {
    curl_slist_free_all(first);
  }
  return pool->headers != NULL;
}

static CURLM *new_multi(void) {
  CURLM *made = curl_multi_init();
  if (made != NULL) {
    curl_multi_setopt(made, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  }
  return made;
}

imattr_status imattr_curl_pool_create(imattr_curl_pool **pool,
                                      const imattr_curl_config *config) {
  imattr_curl_pool *made = calloc(1, sizeof *made);
  curl_call *first = NULL;
  imattr_status status = IMATTR_NO_MEMORY;
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  made->pid = getpid();
  made->config = *config;
  if (copy_text(&made->ca_file, config->ca_file) &&
      copy_text(&made->proxy, config->proxy) && make_headers(made)) {
    made->multi = new_multi();
  }
  if (made->multi != NULL) { /* the first call shows that the settings hold */
    status = create_call(made, &first);
  }
  if (status != IMATTR_OK) {
    imattr_curl_pool_destroy(made);
    return status;
  }
  put_idle(made, first);
  *pool = made;
  return IMATTR_OK;
}

void imattr_curl_pool_destroy(imattr_curl_pool *pool) {
  if (pool == NULL) {
    return;
  }
  if (is_forked(pool)) {
    close_sockets(pool);
    return;
  }
  while (pool->all != NULL) {
    curl_call *call = pool->all;
    pool->all = call->all;
    if (call->is_in_flight) {
      curl_multi_remove_handle(pool->multi, call->easy);
    }
    destroy_call(call);
  }
  if (pool->multi != NULL) {
    curl_multi_cleanup(pool->multi);
  }
  curl_slist_free_all(pool->headers);
  free(pool->ca_file);
  free(pool->proxy);
  free(pool->sockets);
  free(pool);
}

/* }===== */

/* {===== start ===== */

/* Turns a call's handle to a host, unless it is. Returns whether it could. */
static int turn_to(curl_call *call, const char *base) {
  char *copy;
  if (call->base != NULL && strcmp(call->base, base) == 0) {
    return 1;
  }
  copy = strdup(base);
  if (copy == NULL ||
      curl_easy_setopt(call->easy, CURLOPT_URL, base) != CURLE_OK) {
    free(copy);
    return 0;
  }
  free(call->base);
  call->base = copy;
  return 1;
}

static imattr_status fill(curl_call *call, const imattr_curl_request *request) {
  call->id = request->id;
  call->reading = IMATTR_OK;
  call->reply.len = 0;
  call->reason[0] = '\0';
  call->body = request->body;
  call->body_len = request->body_len;
  call->body_sent = 0;
  call->sendings = 0;
  return turn_to(call, request->base) &&
                 curl_easy_setopt(call->easy, CURLOPT_REQUEST_TARGET,
                                  request->target) == CURLE_OK &&
                 curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                  (curl_off_t)request->body_len) == CURLE_OK
             ? IMATTR_OK
             : IMATTR_NO_MEMORY;
}

/* libcurl keeps an HTTP/2 connection on which a request failed or got no answer
** in time, and would send the next one there, too, and the one after it. So no
** request takes such a connection, and all are closed as soon as none is in
** use. */
static void settle_doubts(imattr_curl_pool *pool, curl_call *call) {
  CURLM *other = pool->has_doubts && pool->in_flight == 0 ? new_multi() : NULL;
  if (other != NULL) {
    curl_multi_cleanup(pool->multi);
    pool->multi = other;
    pool->has_doubts = 0;
  }
  curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, (long)pool->has_doubts);
}

/* A request that waits for its FORKED alone, without a handle of libcurl's. */
static imattr_status keep_back(imattr_curl_pool *pool, uint64_t id) {
  curl_call *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return IMATTR_NO_MEMORY;
  }
  made->id = id;
  made->is_in_flight = 1;
  made->is_kept_back = 1;
  made->all = pool->all;
  pool->all = made;
  pool->in_flight++;
  return IMATTR_OK;
}

imattr_status imattr_curl_pool_start(imattr_curl_pool *pool,
                                     const imattr_curl_request *request) {
  imattr_status status;
  curl_call *call;
  if (is_forked(pool)) {
    return keep_back(pool, request->id);
  }
  forget_taken(pool);
  if (take_idle(pool, &call) != IMATTR_OK) {
    return IMATTR_NO_MEMORY; /* the settings held when the pool was made */
  }
  settle_doubts(pool, call);
  status = fill(call, request);
  if (status != IMATTR_OK ||
      curl_multi_add_handle(pool->multi, call->easy) != CURLM_OK) {
    put_idle(pool, call);
    return IMATTR_NO_MEMORY;
  }
  call->is_in_flight = 1;
  call->started_us = now_us();
  pool->in_flight++;
  if (pool->started_us == 0) {
    pool->started_us = call->started_us;
  }
  return IMATTR_OK;
}

size_t imattr_curl_pool_in_flight(const imattr_curl_pool *pool) {
  return pool->in_flight;
}

/* }===== */

/* {===== wait ===== */

/* How a call ended. */
static imattr_status outcome(const imattr_curl_pool *pool,
                             const curl_call *call, CURLcode result) {
  if (call->reading != IMATTR_OK) {
    return call->reading;
  }
  if (result == CURLE_COULDNT_CONNECT && pool->lacks_a_socket) {
    return IMATTR_NO_MEMORY;
  }
  return imattr_curl_status(call->easy, result, call->reason);
}

/* The Date header of the answer, or NULL; libcurl's, until the next request. */
static const char *date_of(CURL *easy) {
  struct curl_header *header;
  return curl_easy_header(easy, "Date", 0, CURLH_HEADER, -1, &header) ==
                 CURLHE_OK
             ? header->value
             : NULL;
}

static void read_reply(const imattr_curl_pool *pool, const curl_call *call,
                       CURLcode result, imattr_curl_reply *reply) {
  long request_bytes = 0;
  long http_status = 0;
  curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
  curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &http_status);
  reply->id = call->id;
  reply->status = outcome(pool, call, result);
  reply->message = NULL;
  if (reply->status != IMATTR_OK) {
    reply->message =
        call->reason[0] != '\0' ? call->reason : curl_easy_strerror(result);
  }
  reply->may_have_arrived = request_bytes > 0 && reply->status != IMATTR_PROXY;
  reply->http_status = http_status;
  reply->body = call->reply.len > 0 ? call->reply.data : "";
  reply->body_len = call->reply.len;
  reply->date = reply->status == IMATTR_OK ? date_of(call->easy) : NULL;
}

/* A failure casts doubt on the connection, unless it has carried an answer
 *since
 ** the call was started. */
static void note_outcome(imattr_curl_pool *pool, const curl_call *call,
                         imattr_status status) {
  if (status == IMATTR_OK) {
    pool->answered_us = now_us();
  } else if (pool->answered_us <= call->started_us) {
    pool->has_doubts = 1;
  }
}

/* Takes one finished call, if there is one. */
static int take_finished(imattr_curl_pool *pool, imattr_curl_reply *reply) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(pool->multi, &left)) != NULL) {
    if (message->msg == CURLMSG_DONE) {
      CURLcode result = message->data.result; /* gone with the removal */
      CURL *easy = message->easy_handle;
      curl_call *call = NULL;
      curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
      read_reply(pool, call, result, reply);
      curl_multi_remove_handle(pool->multi, easy);
      call->is_in_flight = 0;
      pool->in_flight--;
      note_outcome(pool, call, reply->status);
      pool->taken = call;
      return 1;
    }
  }
  return 0;
}

/* Gives one request in flight back to a child process: what was started before
** the fork is its parent's, and may arrive. */
static int take_forked(imattr_curl_pool *pool, imattr_curl_reply *reply) {
  curl_call *call = pool->all;
  while (call != NULL && !call->is_in_flight) {
    call = call->all;
  }
  if (call == NULL) {
    return 0;
  }
  call->is_in_flight = 0;
  pool->in_flight--;
  memset(reply, 0, sizeof *reply);
  reply->id = call->id;
  reply->status = IMATTR_FORKED;
  reply->may_have_arrived = !call->is_kept_back;
  reply->body = "";
  return 1;
}

/* Has a request that was started waited too long for others' replies? */
static int is_late(const imattr_curl_pool *pool) {
  return pool->started_us != 0 && now_us() - pool->started_us > LEAVE_MAX_US;
}

int imattr_curl_pool_wait(imattr_curl_pool *pool, int timeout_ms,
                          imattr_curl_reply *reply) {
  int running = 0;
  if (is_forked(pool)) {
    return take_forked(pool, reply);
  }
  forget_taken(pool);
  if (!is_late(pool) && take_finished(pool, reply)) {
    return 1;
  }
  if (pool->started_us != 0 || timeout_ms == 0) { /* else poll finds no news */
    pool->started_us = 0;
    curl_multi_perform(pool->multi, &running);
    if (take_finished(pool, reply)) {
      return 1;
    }
  }
  if (timeout_ms == 0 || (timeout_ms < 0 && pool->in_flight == 0)) {
    return 0;
  }
  /* libcurl shortens this to its own next timer, so the caller comes back
  ** here until its moment has come */
  curl_multi_poll(pool->multi, NULL, 0, timeout_ms < 0 ? 1000 : timeout_ms,
                  NULL);
  curl_multi_perform(pool->multi, &running);
  return take_finished(pool, reply);
}

/* }===== */
