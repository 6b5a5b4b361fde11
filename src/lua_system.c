/*
** lua_system: what imattr.core takes from the machine: the monotonic clock,
** random numbers, a digest, the terminal, a file's mode, and Ctrl-C.
*/
#include "lua_core.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The only things here that change outside an object: a signal handler can
** reach nothing else. Only the command catches signals. */
static volatile sig_atomic_t interrupt_count = 0;
static volatile sig_atomic_t question_count = 0;

/* core.now_us() -> microseconds of the system's monotonic clock, which all
** processes of the machine share */
static int l_now_us(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  imattr_lua_pushint64(L, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  return 1;
}

/* Random numbers taken in advance: asking for many costs as much as for one.
** After a fork both sides would go on with the same ones, so each process
** takes its own. */
typedef struct random_stock {
  pid_t pid;
  size_t left;
  uint32_t numbers[64];
} random_stock;

/* core.random_u32() -> 0 to 4294967295, from the system's random source.
** Raises when that fails, which libcrypto calls "should not happen". */
static int l_random_u32(lua_State *L) {
  random_stock *stock = lua_touserdata(L, lua_upvalueindex(1));
  if (stock->left == 0 || stock->pid != getpid()) {
    if (RAND_bytes((unsigned char *)stock->numbers,
                   (int)sizeof stock->numbers) != 1) {
      return luaL_error(L, "the random source failed");
    }
    stock->left = sizeof stock->numbers / sizeof stock->numbers[0];
    stock->pid = getpid();
  }
  imattr_lua_pushint64(L, (int64_t)stock->numbers[--stock->left]);
  return 1;
}

/* core.sha256(text) -> 64 lowercase hex digits. Raises when libcrypto fails,
** which it does without memory alone. */
static int l_sha256(lua_State *L) {
  static const char digits[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  char hex[2 * EVP_MAX_MD_SIZE];
  unsigned len = 0, i;
  size_t text_len;
  const char *text = luaL_checklstring(L, 1, &text_len);
  if (EVP_Digest(text, text_len, digest, &len, EVP_sha256(), NULL) != 1) {
    return luaL_error(L, "not enough memory");
  }
  for (i = 0; i < len; i++) {
    hex[2 * i] = digits[digest[i] >> 4];
    hex[2 * i + 1] = digits[digest[i] & 15];
  }
  lua_pushlstring(L, hex, 2 * (size_t)len);
  return 1;
}

/* core.sleep_us(time_us): a signal ends it early */
static int l_sleep_us(lua_State *L) {
  int64_t time_us = imattr_lua_checkint(L, 1, 0, INT64_C(3600000000));
  struct timespec wait;
  wait.tv_sec = (time_t)(time_us / 1000000);
  wait.tv_nsec = (long)(time_us % 1000000) * 1000;
  nanosleep(&wait, NULL);
  return 0;
}

/* core.getpid() -> this process's id */
static int l_getpid(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)getpid());
  return 1;
}

/* core.isatty(descriptor) -> boolean */
static int l_isatty(lua_State *L) {
  int descriptor = (int)imattr_lua_checkint(L, 1, 0, 1 << 20);
  lua_pushboolean(L, isatty(descriptor));
  return 1;
}

/* core.columns(descriptor) -> width of the terminal there, or nil */
static int l_columns(lua_State *L) {
  int descriptor = (int)imattr_lua_checkint(L, 1, 0, 1 << 20);
  struct winsize size;
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    lua_pushnil(L);
  } else {
    lua_pushinteger(L, size.ws_col);
  }
  return 1;
}

/* core.readable(descriptor, timeout_ms) -> boolean: would read return at once?
** A signal ends the wait early. */
static int l_readable(lua_State *L) {
  struct pollfd waited;
  waited.fd = (int)imattr_lua_checkint(L, 1, 0, 1 << 20);
  waited.events = POLLIN;
  waited.revents = 0;
  lua_pushboolean(
      L, poll(&waited, 1, (int)imattr_lua_checkint(L, 2, 0, 60000)) > 0);
  return 1;
}

/* core.read(descriptor, most) -> up to `most` bytes, as soon as there are any
** | nil at the end | nil, message. Not through stdio: nothing is kept back. */
static int l_read(lua_State *L) {
  int descriptor = (int)imattr_lua_checkint(L, 1, 0, 1 << 20);
  size_t most = (size_t)imattr_lua_checkint(L, 2, 1, 1 << 24);
  char *bytes = lua_newuserdata(L, most); /* owned, should the push raise */
  ssize_t got;
  do {
    got = read(descriptor, bytes, most);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    lua_pushlstring(L, bytes, (size_t)got);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, got < 0 ? strerror(errno) : NULL);
  return 2;
}

/* core.file_mode(path) -> permission bits (384 is 0600) | nil, message */
static int l_file_mode(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct stat about;
  if (stat(path, &about) != 0) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(errno));
    return 2;
  }
  lua_pushinteger(L, (lua_Integer)(about.st_mode & 07777));
  return 1;
}

static void count_interrupt(int number) {
  (void)number;
  if (interrupt_count < 1000) {
    interrupt_count++;
  }
}

static void count_question(int number) {
  (void)number;
  if (question_count < 1000000) {
    question_count++;
  }
}

static void handle(int number, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask); /* no SA_RESTART: waits end at once */
  sigaction(number, &action, NULL);
}

/* core.catch_interrupts(): SIGINT and SIGTERM are counted from now on, and so
** is SIGUSR1, which asks how far things are */
static int l_catch_interrupts(lua_State *L) {
  (void)L;
  interrupt_count = 0;
  question_count = 0;
  handle(SIGINT, count_interrupt);
  handle(SIGTERM, count_interrupt);
  handle(SIGUSR1, count_question);
  return 0;
}

/* core.release_interrupts(): they end the process again */
static int l_release_interrupts(lua_State *L) {
  (void)L;
  handle(SIGINT, SIG_DFL);
  handle(SIGTERM, SIG_DFL);
  handle(SIGUSR1, SIG_DFL);
  return 0;
}

/* core.questions() -> how many SIGUSR1 came since catch_interrupts */
static int l_questions(lua_State *L) {
  lua_pushinteger(L, question_count);
  return 1;
}

/* core.interrupts() -> how many came since catch_interrupts */
static int l_interrupts(lua_State *L) {
  lua_pushinteger(L, interrupt_count);
  return 1;
}

static const luaL_Reg functions[] = {
    {"now_us", l_now_us},
    {"sha256", l_sha256},
    {"sleep_us", l_sleep_us},
    {"getpid", l_getpid},
    {"isatty", l_isatty},
    {"columns", l_columns},
    {"readable", l_readable},
    {"read", l_read},
    {"file_mode", l_file_mode},
    {"catch_interrupts", l_catch_interrupts},
    {"release_interrupts", l_release_interrupts},
    {"interrupts", l_interrupts},
    {"questions", l_questions},
    {NULL, NULL}};

void imattr_lua_open_system(lua_State *L) {
  random_stock *stock;
  luaL_setfuncs(L, functions, 0);
  stock = lua_newuserdata(L, sizeof *stock);
  stock->left = 0;
  lua_pushcclosure(L, l_random_u32, 1);
  lua_setfield(L, -2, "random_u32");
}
