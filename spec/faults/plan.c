/* plan: parsing, and the state that all threads share */
#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/tls1.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS_MAX 1024

static const struct {
  const char *name;
  int value;
} words[] = {
    {"all", ALL},     {"head", HEAD},   {"body", BODY},     {"refuse", REFUSE},
    {"open", OPEN},   {"full", FULL},   {"keep", KEEP},     {"close", CLOSE},
    {"cut", CUT},     {"reset", RESET}, {"stall", STALL},   {"mute", MUTE},
    {"hello", HELLO}, {"plain", PLAIN}, {"unread", UNREAD},
};

static const struct {
  const char *name;
  size_t offset;
} fields[] = {
    {"connect", offsetof(step, connect)},
    {"read", offsetof(step, read)},
    {"read_us", offsetof(step, read_us)},
    {"forward", offsetof(step, forward)},
    {"stall_ms", offsetof(step, stall_ms)},
    {"hold", offsetof(step, hold)},
    {"send", offsetof(step, send)},
    {"slice", offsetof(step, slice)},
    {"slice_us", offsetof(step, slice_us)},
    {"endless", offsetof(step, endless)},
    {"ends", offsetof(step, end)},
};

static const step perfect = {.read = ALL, .forward = 1, .send = ALL};

static const char *folder;

/* Behind `lock`, but for the settings. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  plan_settings settings;
  int log;
  unsigned seed;
  int is_forever;
  step base;
  step steps[STEPS_MAX];
  size_t step_count, taken;
} plan = {.log = -1};

void plan_fail(const char *what) {
  fprintf(stderr, "proxy: %s: %s\n", what, strerror(errno));
  exit(1);
}

void plan_open(const char *name) {
  folder = name;
}

/* {===== reading ===== */

static int value_of(const char *text) {
  size_t i;
  for (i = 0; i < sizeof words / sizeof *words; i++) {
    if (strcmp(words[i].name, text) == 0) {
      return words[i].value;
    }
  }
  return atoi(text);
}

/* Reads `key=value key=value`: what differs from a step. */
static void read_step(step *to, const step *from, char *text) {
  char *rest, *pair = strtok_r(text, " \n", &rest);
  *to = *from;
  while (pair != NULL) {
    char *value = strchr(pair, '=');
    size_t i;
    *value++ = '\0';
    if (strcmp(pair, "answer") == 0) {
      snprintf(to->answer, sizeof to->answer, "%s/%s", folder, value);
    }
    for (i = 0; i < sizeof fields / sizeof *fields; i++) {
      if (strcmp(fields[i].name, pair) == 0) {
        *(int *)((char *)to + fields[i].offset) = value_of(value);
      }
    }
    pair = strtok_r(NULL, " \n", &rest);
  }
}

static void read_line(char *line) {
  char *value = strchr(line, ' ');
  plan_settings *settings = &plan.settings;
  if (value == NULL) {
    return;
  }
  *value++ = '\0';
  value[strcspn(value, "\n")] = '\0';
  if (strcmp(line, "step") == 0 && plan.step_count < STEPS_MAX) {
    read_step(&plan.steps[plan.step_count++], &plan.base, value);
  } else if (strcmp(line, "base") == 0) {
    read_step(&plan.base, &perfect, value);
  } else if (strcmp(line, "certificate") == 0) {
    snprintf(settings->certificate, sizeof settings->certificate, "%s", value);
  } else if (strcmp(line, "protocol") == 0) {
    settings->protocol = strcmp(value, "1.1") == 0 ? TLS1_1_VERSION : 0;
  } else if (strcmp(line, "id") == 0) {
    settings->id = atoi(value);
  } else if (strcmp(line, "seed") == 0) {
    plan.seed = (unsigned)atoi(value);
  } else if (strcmp(line, "forever") == 0) {
    plan.is_forever = atoi(value);
  } else if (strncmp(line, "listen", 6) == 0) {
    settings->modes[line[6] == '6'] = value_of(value);
  }
}

/* Is the file another one than last time? */
static int is_new(const char *path) {
  static struct stat last;
  struct stat now;
  if (stat(path, &now) != 0 ||
      (now.st_ino == last.st_ino &&
       memcmp(&now.st_mtim, &last.st_mtim, sizeof now.st_mtim) == 0)) {
    return 0;
  }
  last = now;
  return 1;
}

const plan_settings *plan_look(void) {
  char line[1024], path[PLAN_PATH_LEN];
  FILE *file;
  snprintf(path, sizeof path, "%s/plan", folder);
  if (!is_new(path) || (file = fopen(path, "r")) == NULL) {
    return NULL;
  }
  pthread_mutex_lock(&lock);
  close(plan.log);
  memset(&plan, 0, sizeof plan);
  plan.log = -1;
  plan.base = perfect;
  while (fgets(line, sizeof line, file) != NULL) {
    read_line(line);
  }
  pthread_mutex_unlock(&lock);
  fclose(file);
  return &plan.settings;
}

/* }===== */

/* {===== using ===== */

void plan_begin(void) {
  char path[PLAN_PATH_LEN];
  int log;
  snprintf(path, sizeof path, "%s/log.%d", folder, plan.settings.id);
  log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) {
    plan_fail(path);
  }
  pthread_mutex_lock(&lock);
  plan.log = log;
  pthread_mutex_unlock(&lock);
}

int plan_id(void) {
  return plan.settings.id;
}

/* A random number for the step at a place: splitmix32. */
static unsigned draw(size_t place) {
  uint32_t x = plan.seed * 0x9E3779B9u + (uint32_t)place * 0x85EBCA6Bu;
  x = (x ^ (x >> 16)) * 0x21F0AAADu;
  x = (x ^ (x >> 15)) * 0x735A2D97u;
  return x ^ (x >> 15);
}

step plan_take(int is_connection) {
  step next;
  pthread_mutex_lock(&lock);
  next = plan.base;
  next.plan_id = plan.settings.id;
  if (plan.taken < plan.step_count &&
      (plan.steps[plan.taken].connect != KEEP) == is_connection) {
    next = plan.steps[plan.taken];
    next.draw = draw(plan.taken);
    next.plan_id = plan.settings.id;
    if (!plan.is_forever || plan.taken + 1 < plan.step_count) {
      plan.taken++;
    }
  }
  pthread_mutex_unlock(&lock);
  return next;
}

static int has_file(const char *name) {
  char path[PLAN_PATH_LEN];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return access(path, F_OK) == 0;
}

int plan_goes(void) {
  return has_file("go");
}

int plan_ends(void) {
  return has_file("end");
}

void plan_note(int id, const char *format, ...) {
  va_list args;
  va_start(args, format);
  pthread_mutex_lock(&lock);
  if (id == plan.settings.id) {
    vdprintf(plan.log, format, args);
  }
  pthread_mutex_unlock(&lock);
  va_end(args);
}

/* }===== */
