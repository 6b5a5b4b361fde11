/*
** bare: what libcurl alone costs. A multi loop that posts the same body again
** and again, as a good one is written: easy handles set up once and used
** again, one HTTP/2 connection for all of them, no Expect header, the answer
** compared in a fixed buffer. It signs nothing, renders nothing, paces nothing
** and tracks nobody: the floor under `make bench`.
**
**   bare URL CA_FILE BODY_FILE IN_FLIGHT REQUESTS [apart]
**
** URL holds one %u for the random number that every request must have anew.
** `apart` gives libcurl host and target apart, as imattr does: libcurl takes
** every URL to pieces byte by byte, and these are long.
** Prints the processor time (user and system) per request in microseconds.
*/
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define IN_FLIGHT_MAX 1024
#define REPLY_MAX 4096
#define URL_MAX 4096

typedef struct transfer {
  CURL *easy;
  size_t reply_len;
  char reply[REPLY_MAX];
} transfer;

typedef struct job {
  CURLM *multi;
  const char *url; /* with one %u; from the path on when it is apart */
  int is_apart;
  const char *ca_file;
  struct curl_slist *headers;
  char *body;
  long body_len;
  long left; /* requests not yet started */
  long done;
  unsigned random;
} job;

static transfer transfers[IN_FLIGHT_MAX];

/* Leaves only the target in all->url; the handles are turned to the host. */
static void take_apart(job *all, long in_flight) {
  const char *path = strchr(all->url + strlen("https://"), '/');
  char base[URL_MAX];
  long i;
  snprintf(base, sizeof base, "%.*s", (int)(path - all->url), all->url);
  for (i = 0; i < in_flight; i++) {
    curl_easy_setopt(transfers[i].easy, CURLOPT_URL, base);
  }
  all->url = path;
  all->is_apart = 1;
}

static void fail(const char *what) {
  fprintf(stderr, "bare: %s\n", what);
  exit(1);
}

static size_t keep_reply(char *bytes, size_t size, size_t count, void *user) {
  transfer *one = user;
  size_t len = size * count;
  if (len >= REPLY_MAX - one->reply_len) {
    return 0;
  }
  memcpy(one->reply + one->reply_len, bytes, len);
  one->reply_len += len;
  return len;
}

static void read_body(job *all, const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    fail("cannot read the body file");
  }
  all->body_len = ftell(file);
  rewind(file);
  all->body = malloc((size_t)all->body_len);
  if (all->body == NULL || fread(all->body, 1, (size_t)all->body_len, file) !=
                               (size_t)all->body_len) {
    fail("cannot read the body file");
  }
  fclose(file);
}

/* All that stays the same from request to request. */
static void set_up(job *all, transfer *one) {
  one->easy = curl_easy_init();
  curl_easy_setopt(one->easy, CURLOPT_PRIVATE, one);
  curl_easy_setopt(one->easy, CURLOPT_CAINFO, all->ca_file);
  curl_easy_setopt(one->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
  curl_easy_setopt(one->easy, CURLOPT_PIPEWAIT, 1L);
  curl_easy_setopt(one->easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(one->easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(one->easy, CURLOPT_TIMEOUT_MS, 10000L);
  curl_easy_setopt(one->easy, CURLOPT_HTTPHEADER, all->headers);
  curl_easy_setopt(one->easy, CURLOPT_POSTFIELDS, all->body);
  curl_easy_setopt(one->easy, CURLOPT_POSTFIELDSIZE, all->body_len);
  curl_easy_setopt(one->easy, CURLOPT_WRITEFUNCTION, keep_reply);
  curl_easy_setopt(one->easy, CURLOPT_WRITEDATA, one);
}

static void start(job *all, transfer *one) {
  char url[URL_MAX];
  all->left--;
  one->reply_len = 0;
  all->random = all->random * 1664525u + 1013904223u;
  snprintf(url, sizeof url, all->url, all->random);
  curl_easy_setopt(one->easy,
                   all->is_apart ? CURLOPT_REQUEST_TARGET : CURLOPT_URL, url);
  curl_multi_add_handle(all->multi, one->easy);
}

static void finish(job *all, const CURLMsg *message) {
  transfer *one = NULL;
  long http_status = 0;
  curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &one);
  curl_easy_getinfo(one->easy, CURLINFO_RESPONSE_CODE, &http_status);
  one->reply[one->reply_len] = '\0';
  if (message->data.result != CURLE_OK || http_status != 200 ||
      strstr(one->reply, "\"ErrorCode\":0") == NULL) {
    fail(curl_easy_strerror(message->data.result));
  }
  curl_multi_remove_handle(all->multi, one->easy);
  all->done++;
  if (all->left > 0) {
    start(all, one);
  }
}

static void run(job *all, long requests, long in_flight) {
  long wanted = all->done + requests;
  long i;
  all->left = requests;
  for (i = 0; i < in_flight && all->left > 0; i++) {
    start(all, &transfers[i]);
  }
  while (all->done < wanted) {
    int running, queued;
    const CURLMsg *message;
    curl_multi_perform(all->multi, &running);
    while ((message = curl_multi_info_read(all->multi, &queued)) != NULL) {
      finish(all, message);
    }
    if (all->done < wanted) {
      curl_multi_poll(all->multi, NULL, 0, 1000, NULL);
    }
  }
}

static double processor_us(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int main(int count, char **words) {
  job all = {0};
  long in_flight, requests, i;
  double before;
  if (count < 6 || count > 7) {
    fail("usage: bare URL CA_FILE BODY_FILE IN_FLIGHT REQUESTS [apart]");
  }
  all.url = words[1];
  all.ca_file = words[2];
  in_flight = strtol(words[4], NULL, 10);
  requests = strtol(words[5], NULL, 10);
  if (in_flight < 1 || in_flight > IN_FLIGHT_MAX || requests < 1) {
    fail("in flight: 1 to 1024; requests: 1 or more");
  }
  read_body(&all, words[3]);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  all.multi = curl_multi_init();
  all.headers = curl_slist_append(NULL, "Content-Type: application/json");
  all.headers = curl_slist_append(all.headers, "Expect:");
  curl_multi_setopt(all.multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  for (i = 0; i < in_flight; i++) {
    set_up(&all, &transfers[i]);
  }
  if (count == 7) {
    take_apart(&all, in_flight);
  }
  run(&all, in_flight * 4, in_flight); /* connections and buffers are there */
  before = processor_us();
  run(&all, requests, in_flight);
  printf("%.2f\n", (processor_us() - before) / (double)requests);
  for (i = 0; i < in_flight; i++) {
    curl_easy_cleanup(transfers[i].easy);
  }
  curl_multi_cleanup(all.multi);
  curl_slist_free_all(all.headers);
  free(all.body);
  curl_global_cleanup();
  return 0;
}
