/*
** proxy: a server between a client and the sandbox that misbehaves as told.
**
**   proxy FOLDER PARENT UPSTREAM SECONDS
**
** It speaks TLS and HTTP/1.1 on a free port of loopback, which it writes to
** FOLDER/port, with a port for names behind it, and forwards requests to port
** UPSTREAM of 127.0.0.1. FOLDER/plan says what goes wrong, FOLDER/log.ID what
*was seen (see plan.h). Lines of a
** log: a connection opened; a request, as far as it was read, and what the
** sandbox made of it; an answer sent as far as it was to be; a connection
** closed, and the bytes of HTTP it brought.
**
** Every connection has a thread of its own, so that a step is done from top to
** bottom. The proxy ends when PARENT is gone or after SECONDS, and takes FOLDER
** away.
*/
#define _GNU_SOURCE /* POLLRDHUP */
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "door.h"
#include "names.h"
#include "plan.h"

#define BUFFER_LEN (12 * 1024 * 1024)
#define LOOK_MS 2     /* how often the plan is looked at */
#define PATIENCE_S 60 /* longest wait for a peer */

typedef struct connection {
  int fd;
  int number;
  int plan_id;
  SSL *ssl;
  step start;
  char *in, *out; /* BUFFER_LEN each */
  size_t in_len, in_head_len, out_len;
  size_t http_bytes; /* read since it was opened */
} connection;

static int connections; /* so far */
static uint16_t upstream;
static SSL_CTX *server_context, *client_context;

/* {===== bytes ===== */

/* Waits until the other side has hung up, at most so long (ALL: for ever). */
static void wait_for_end(int fd, int time_ms) {
  struct pollfd gone = {.fd = fd, .events = POLLRDHUP};
  poll(&gone, 1, time_ms < 0 ? PATIENCE_S * 1000 : time_ms);
}

static void limit_waits(int fd) {
  struct timeval patience = {.tv_sec = PATIENCE_S};
  int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

/* Waits, unless the other side hangs up. Returns whether it did. */
static int has_gone(int fd, int time_us) {
  struct pollfd gone = {.fd = fd, .events = POLLRDHUP};
  struct timespec time = {time_us / 1000000, time_us % 1000000 * 1000L};
  return time_us > 0 && ppoll(&gone, 1, &time, NULL) > 0;
}

/* Reads bytes of a message up to a length. Returns whether it has them. */
static int read_to(SSL *ssl, char *bytes, size_t *len, size_t wanted,
                   int pause_us) {
  while (*len < wanted) {
    size_t most = pause_us != 0 ? 1 : wanted - *len;
    int got = SSL_read(ssl, bytes + *len, (int)most);
    if (got <= 0) {
      return 0;
    }
    *len += (size_t)got;
    if (has_gone(SSL_get_fd(ssl), pause_us)) {
      return 0;
    }
  }
  return 1;
}

/* The length of a message's head; 0 while it has no end. */
static size_t head_of(const char *bytes, size_t len) {
  const char *end = memmem(bytes, len, "\r\n\r\n", 4);
  return end == NULL ? 0 : (size_t)(end - bytes) + 4;
}

static size_t length_of(char *bytes, size_t head_len) {
  static const char name[] = "\ncontent-length:";
  char kept = bytes[head_len - 1];
  const char *found;
  bytes[head_len - 1] = '\0';
  found = strcasestr(bytes, name);
  bytes[head_len - 1] = kept;
  return found == NULL ? 0 : strtoul(found + sizeof name - 1, NULL, 10);
}

/* Reads a head byte by byte, so that nothing after it is touched. */
static size_t read_head(SSL *ssl, char *bytes, size_t *len, size_t most,
                        int pause_us) {
  size_t head_len = 0;
  while (head_len == 0 && *len < most &&
         read_to(ssl, bytes, len, *len + 1, pause_us)) {
    head_len = *len >= 4 ? head_of(bytes + *len - 4, 4) : 0;
  }
  return head_len == 0 ? 0 : *len;
}

/* }===== */

/* {===== a request ===== */

/* Reads a request as far as the step wants it. Returns whether it is whole. */
static int read_request(connection *on, const step *how) {
  size_t most = how->read >= 0 ? (size_t)how->read : BUFFER_LEN;
  size_t length, wanted;
  on->in_len = 0;
  on->in_head_len = read_head(on->ssl, on->in, &on->in_len, most, how->read_us);
  if (on->in_head_len == 0) {
    return 0;
  }
  length = length_of(on->in, on->in_head_len);
  wanted = on->in_head_len + length;
  if (how->read == BODY && length > 1) {
    most = on->in_head_len + 1 + how->draw % (length - 1);
  } else if (how->read == HEAD) {
    most = on->in_head_len;
  }
  read_to(on->ssl, on->in, &on->in_len, most < wanted ? most : wanted,
          how->read_us);
  return on->in_len == wanted;
}

/* Asks the sandbox what the client asked. Returns whether it answered. */
static int forward(connection *on) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SSL *ssl = SSL_new(client_context);
  size_t head_len = 0, wanted = 0;
  to.sin_port = htons(upstream);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  limit_waits(fd);
  SSL_set_fd(ssl, fd);
  on->out_len = 0;
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
      SSL_connect(ssl) == 1 &&
      SSL_write(ssl, on->in, (int)on->in_len) == (int)on->in_len) {
    head_len = read_head(ssl, on->out, &on->out_len, BUFFER_LEN, 0);
  }
  if (head_len > 0) {
    wanted = head_len + length_of(on->out, head_len);
    head_len = (size_t)read_to(ssl, on->out, &on->out_len, wanted, 0);
  }
  SSL_free(ssl);
  close(fd);
  return head_len > 0;
}

/* The ErrorCode of the sandbox's answer, -1 when there is none. */
static int code_of(const connection *on) {
  static const char name[] = "\"ErrorCode\":";
  const char *found = memmem(on->out, on->out_len, name, sizeof name - 1);
  return found == NULL ? -1 : atoi(found + sizeof name - 1);
}

/* Puts a file in place of the sandbox's answer. */
static void load_answer(connection *on, const char *path) {
  FILE *file = fopen(path, "rb");
  if (file != NULL) {
    on->out_len = fread(on->out, 1, BUFFER_LEN, file);
    fclose(file);
  } else {
    plan_fail(path);
  }
}

/* How much of the answer is sent. */
static size_t sent_of(const connection *on, const step *how) {
  size_t head_len = head_of(on->out, on->out_len);
  if (how->send == HEAD && head_len > 1) {
    return 1 + how->draw % (head_len - 1);
  } else if (how->send == BODY && on->out_len > head_len) {
    return head_len + how->draw % (on->out_len - head_len);
  }
  return how->send >= 0 && (size_t)how->send < on->out_len ? (size_t)how->send
                                                           : on->out_len;
}

/* Chunks or lines without end, until the client has enough. Returns 0. */
static int send_for_ever(connection *on, int what) {
  const char *first = what == CHUNKS ? "2000\r\n" : "X-A: ";
  size_t first_len = strlen(first), len = first_len + 0x2000;
  memset(on->out, ' ', len);
  memcpy(on->out, first, first_len);
  memcpy(on->out + len, "\r\n", 2);
  while (SSL_write(on->ssl, on->out, (int)len + 2) > 0) {
  }
  return 0;
}

/* Returns whether all that was wanted could be sent. */
static int send_answer(connection *on, const step *how) {
  size_t len = sent_of(on, how), done = 0;
  while (done < len) {
    size_t most = how->slice > 0 && done + (size_t)how->slice < len
                      ? (size_t)how->slice
                      : len - done;
    int sent = SSL_write(on->ssl, on->out + done, (int)most);
    if (sent <= 0) {
      return 0;
    }
    done += (size_t)sent;
    if (has_gone(on->fd, how->slice > 0 ? how->slice_us : 0)) {
      return 0;
    }
  }
  return !how->endless || send_for_ever(on, how->endless);
}

/* Serves one request. Returns how the connection goes on: KEEP, or its end. */
static int serve_request(connection *on) {
  step how = plan_take(0);
  int is_whole = read_request(on, &how);
  int code = -1;
  on->http_bytes += on->in_len;
  if (on->in_len == 0) {
    return CLOSE; /* the client's */
  }
  if (is_whole && how.forward) {
    if (!forward(on)) {
      plan_note(how.plan_id, "trouble=forward\n");
      return RESET;
    }
    code = code_of(on);
  }
  plan_note(
      how.plan_id,
      "event=request connection=%d bytes=%zu whole=%d forwarded=%d code=%d\n",
      on->number, on->in_len, is_whole, is_whole && how.forward, code);
  if (!is_whole) {
    return how.end == KEEP ? CLOSE : how.end;
  }
  if (how.answer[0] != '\0') {
    load_answer(on, how.answer);
  }
  if (how.stall_ms != 0) {
    wait_for_end(on->fd, how.stall_ms);
  }
  while (how.hold && !plan_goes() && !has_gone(on->fd, LOOK_MS * 1000)) {
  }
  if (!send_answer(on, &how)) {
    return CLOSE;
  }
  plan_note(how.plan_id, "event=answer connection=%d\n", on->number);
  return how.end;
}

/* }===== */

/* {===== a connection ===== */

/* Nothing of HTTP is ever read. */
static int serve_no_request(connection *on) {
  static const char text[] = "HTTP/1.0 400 Bad Request\r\n\r\n";
  struct pollfd bytes = {.fd = on->fd, .events = POLLIN};
  char hello[64];
  switch (on->start.connect) {
    case MUTE: return STALL;
    case HELLO: return recv(on->fd, hello, sizeof hello, 0) > 0 ? RESET : CUT;
    case PLAIN:
      recv(on->fd, hello, sizeof hello, 0);
      return send(on->fd, text, sizeof text - 1, 0) > 0 ? STALL : CUT;
    case UNREAD:
      if (SSL_accept(on->ssl) == 1) {
        poll(&bytes, 1, PATIENCE_S * 1000);
      }
      return RESET;
    default: return on->start.connect;
  }
}

/* Waits for another request, as long as one may come. */
static int has_request(connection *on) {
  struct pollfd bytes = {.fd = on->fd, .events = POLLIN};
  char first;
  while (SSL_pending(on->ssl) == 0 && poll(&bytes, 1, LOOK_MS) == 0) {
    if (plan_ends()) {
      return 0;
    }
  }
  return SSL_peek(on->ssl, &first, 1) == 1;
}

static int serve_requests(connection *on) {
  int end = KEEP;
  if (SSL_accept(on->ssl) != 1) {
    return CUT;
  }
  while (end == KEEP) {
    end = has_request(on) ? serve_request(on) : CLOSE;
  }
  return end;
}

static void hang_up(connection *on, int end) {
  struct linger at_once = {1, 0};
  if (end == STALL) {
    wait_for_end(on->fd, ALL);
  } else if (end == RESET) {
    setsockopt(on->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  } else if (end == CLOSE) {
    SSL_shutdown(on->ssl);
  }
  plan_note(on->plan_id, "event=close connection=%d bytes=%zu\n", on->number,
            on->http_bytes);
  close(on->fd);
}

static void *serve(void *argument) {
  connection *on = argument;
  int end;
  limit_waits(on->fd);
  SSL_set_fd(on->ssl, on->fd);
  end = on->start.connect != KEEP ? serve_no_request(on) : serve_requests(on);
  hang_up(on, end);
  SSL_free(on->ssl);
  free(on->in);
  free(on->out);
  free(on);
  return NULL;
}

static void accept_one(const door *from, int family) {
  connection *on;
  pthread_t thread;
  int fd = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) {
    return;
  }
  on = calloc(1, sizeof *on);
  on->fd = fd;
  on->number = ++connections;
  on->plan_id = plan_id();
  on->ssl = SSL_new(server_context);
  on->in = malloc(BUFFER_LEN);
  on->out = malloc(BUFFER_LEN);
  on->start = plan_take(1);
  plan_note(on->plan_id, "event=open connection=%d family=%d\n", on->number,
            family);
  if (pthread_create(&thread, NULL, serve, on) != 0) {
    plan_fail("thread");
  }
  pthread_detach(thread);
}
/* }===== */

/* {===== the process ===== */

static int choose_protocol(SSL *ssl, const unsigned char **out,
                           unsigned char *out_len, const unsigned char *in,
                           unsigned in_len, void *arg) {
  static const unsigned char http[] = "\x08http/1.1";
  unsigned char *found = NULL;
  (void)ssl, (void)arg;
  if (SSL_select_next_proto(&found, out_len, http, sizeof http - 1, in,
                            in_len) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = found;
  return SSL_TLSEXT_ERR_OK;
}

static void make_server_context(const plan_settings *settings) {
  SSL_CTX_free(server_context); /* connections keep theirs */
  server_context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_alpn_select_cb(server_context, choose_protocol, NULL);
  if (settings->protocol != 0) { /* OpenSSL thinks it too weak to be spoken */
    SSL_CTX_set_security_level(server_context, 0);
    SSL_CTX_set_min_proto_version(server_context, settings->protocol);
    SSL_CTX_set_max_proto_version(server_context, settings->protocol);
  }
  if (SSL_CTX_use_certificate_chain_file(server_context,
                                         settings->certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(server_context, settings->certificate,
                                  SSL_FILETYPE_PEM) != 1) {
    plan_fail(settings->certificate);
  }
}

static void tell_ports(const char *folder, int port, int has_six, int names) {
  char part[PLAN_PATH_LEN], path[PLAN_PATH_LEN];
  FILE *file;
  snprintf(part, sizeof part, "%s/port.part", folder);
  snprintf(path, sizeof path, "%s/port", folder);
  file = fopen(part, "w");
  if (file == NULL || fprintf(file, "%d %d %d\n", port, has_six, names) < 0 ||
      fclose(file) != 0 || rename(part, path) != 0) {
    plan_fail(path);
  }
}

/* Does what a new plan says, if there is one. */
static void follow_plan(door doors[2]) {
  const plan_settings *settings = plan_look();
  if (settings != NULL) {
    make_server_context(settings);
    door_set(&doors[0], settings->modes[0]);
    door_set(&doors[1], settings->modes[1]);
    plan_begin();
  }
}

/* Waits for connections and questions, a moment. */
static void accept_some(door doors[2], int names) {
  struct pollfd ready[3] = {{0}, {0}, {.fd = names, .events = POLLIN}};
  int i;
  for (i = 0; i < 2; i++) {
    ready[i].fd = doors[i].mode == OPEN ? doors[i].fd : -1;
    ready[i].events = POLLIN;
    ready[i].revents = 0;
  }
  poll(ready, 3, LOOK_MS);
  for (i = 0; i < 2; i++) {
    if (ready[i].revents != 0) {
      accept_one(&doors[i], i == 0 ? 4 : 6);
    }
  }
  if (ready[2].revents != 0) {
    names_answer(names);
  }
}

int main(int argc, char **argv) {
  door doors[2];
  time_t end;
  pid_t parent;
  in_port_t port, names_port;
  int names;
  if (argc != 5) {
    fprintf(stderr, "usage: proxy FOLDER PARENT UPSTREAM SECONDS\n");
    return 64;
  }
  parent = (pid_t)atoi(argv[2]);
  upstream = (uint16_t)atoi(argv[3]);
  end = time(NULL) + atoi(argv[4]);
  signal(SIGPIPE, SIG_IGN);
  client_context = SSL_CTX_new(TLS_client_method());
  plan_open(argv[1]);
  port = door_find(doors);
  names = names_open(&names_port);
  tell_ports(argv[1], port, doors[1].keeper >= 0, names_port);
  while (kill(parent, 0) == 0 && time(NULL) < end) {
    follow_plan(doors);
    accept_some(doors, names);
  }
  execlp("rm", "rm", "-rf", "--", argv[1], (char *)NULL);
  return 1;
}

/* }===== */
