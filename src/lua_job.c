/*
** lua_job: imattr.job, a job's file: SQLite with bound parameters, a lock that
** says "somebody works on it", and what tells one input from another. Loaded
** by the command only.
**
** A failure of SQLite or of the system is nil and its words. Misuse raises.
*/
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <sqlite3.h>

#include "lua_bind.h"

#define JOB "imattr.job"

/* How long a statement waits for another process, which only reads. */
#define BUSY_MS 2000

/* An input is known by this much of its beginning and of its end. */
#define HASHED_BYTES 65536

typedef struct job {
  sqlite3 *db;
  int lock; /* a descriptor of the same file, held while it is written; -1 */
} job;

static job *check_job(lua_State *L) {
  return imattr_lua_check(L, 1, JOB);
}

/* Closes the lock last: closing any descriptor of a file drops the locks that
** SQLite has on it. */
static void destroy(job *opened) {
  sqlite3_stmt *statement;
  if (opened == NULL) {
    return;
  }
  while (opened->db != NULL &&
         (statement = sqlite3_next_stmt(opened->db, NULL)) != NULL) {
    sqlite3_finalize(statement);
  }
  sqlite3_close(opened->db);
  if (opened->lock >= 0) {
    close(opened->lock);
  }
  free(opened);
}

static int l_job_close(lua_State *L) {
  imattr_lua_box *box = luaL_checkudata(L, 1, JOB);
  destroy(box->object);
  box->object = NULL;
  return 0;
}

static int push_failure(lua_State *L, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

/* {===== opening ===== */

/* Takes the lock of a file that is there, or with `creates` is made, for its
** owner alone. A descriptor; or -1 and errno: EWOULDBLOCK when another has it.
*/
static int take_lock(const char *path, int creates) {
  int lock =
      open(path, O_RDWR | O_CLOEXEC | (creates ? O_CREAT | O_EXCL : 0), 0600);
  if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0) {
    int why = errno;
    close(lock);
    errno = why;
    return -1;
  }
  return lock;
}

static const char *const modes[] = {"create", "write", "read", NULL};
enum { MODE_CREATE, MODE_WRITE, MODE_READ };

/*
** job.open(path, mode) -> job | nil, message
** "create": the file must not exist; "write": it must, and nobody else writes
** it; "read": whoever writes it. The message says which.
*/
static int l_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int mode = luaL_checkoption(L, 2, NULL, modes);
  imattr_lua_box *box = imattr_lua_new(L, JOB);
  job *made = calloc(1, sizeof *made);
  box->object = made;
  if (made == NULL) {
    return luaL_error(L, "not enough memory");
  }
  made->lock = -1;
  if (mode != MODE_READ) {
    made->lock = take_lock(path, mode == MODE_CREATE);
    if (made->lock < 0) {
      return push_failure(L, errno == EWOULDBLOCK
                                 ? "another process works on it"
                                 : strerror(errno));
    }
  }
  if (sqlite3_open_v2(path, &made->db,
                      mode == MODE_READ ? SQLITE_OPEN_READONLY
                                        : SQLITE_OPEN_READWRITE,
                      NULL) != SQLITE_OK) {
    return push_failure(L, sqlite3_errmsg(made->db));
  }
  sqlite3_extended_result_codes(made->db, 1);
  sqlite3_busy_timeout(made->db, BUSY_MS);
  lua_newtable(L); /* SQL -> statement */
  imattr_lua_keep(L, -2);
  return 1;
}

/* job.is_locked(path) -> boolean: does somebody write it? | nil, message */
static int l_is_locked(lua_State *L) {
  int lock = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC);
  if (lock < 0) {
    return push_failure(L, strerror(errno));
  }
  lua_pushboolean(L, flock(lock, LOCK_SH | LOCK_NB) != 0);
  close(lock);
  return 1;
}

/* }===== */

/* {===== statements ===== */

/* The statement for the SQL at 2, prepared once; NULL when SQLite does not
** take it. It belongs to the connection. */
static sqlite3_stmt *statement_of(lua_State *L, job *opened) {
  sqlite3_stmt *statement = NULL;
  size_t len;
  const char *sql = luaL_checklstring(L, 2, &len);
  imattr_lua_kept(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  statement = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (statement == NULL) {
    lua_pushvalue(L, 2);
    lua_pushlightuserdata(L, NULL); /* room for it, before it is there */
    lua_rawset(L, -3);
    if (sqlite3_prepare_v3(opened->db, sql, (int)len, SQLITE_PREPARE_PERSISTENT,
                           &statement, NULL) == SQLITE_OK) {
      lua_pushvalue(L, 2);
      lua_pushlightuserdata(L, statement);
      lua_rawset(L, -3);
    }
  }
  lua_pop(L, 1);
  return statement;
}

/* Binds the arguments from 3 on: nil, boolean, number or string. The strings
** stay on the stack while the statement runs. */
static void bind(lua_State *L, sqlite3_stmt *statement) {
  int last = lua_gettop(L);
  int i;
  sqlite3_clear_bindings(statement);
  for (i = 3; i <= last; i++) {
    int64_t integer;
    size_t len;
    const char *text;
    switch (lua_type(L, i)) {
      case LUA_TNIL: break;
      case LUA_TBOOLEAN:
        sqlite3_bind_int(statement, i - 2, lua_toboolean(L, i));
        break;
      case LUA_TNUMBER:
        if (imattr_lua_toint64(L, i, &integer)) {
          sqlite3_bind_int64(statement, i - 2, integer);
        } else {
          sqlite3_bind_double(statement, i - 2, lua_tonumber(L, i));
        }
        break;
      case LUA_TSTRING:
        text = lua_tolstring(L, i, &len);
        sqlite3_bind_text64(statement, i - 2, text, len, SQLITE_STATIC,
                            SQLITE_UTF8);
        break;
      default:
        luaL_error(L, "argument %d: a %s, wants a value", i,
                   luaL_typename(L, i));
    }
  }
}

/* Pushes the columns of the row a statement stands on. */
static int push_row(lua_State *L, sqlite3_stmt *statement) {
  int count = sqlite3_column_count(statement);
  int i;
  luaL_checkstack(L, count, "columns");
  for (i = 0; i < count; i++) {
    switch (sqlite3_column_type(statement, i)) {
      case SQLITE_NULL: lua_pushnil(L); break;
      case SQLITE_INTEGER:
        imattr_lua_pushint64(L, sqlite3_column_int64(statement, i));
        break;
      case SQLITE_FLOAT:
        lua_pushnumber(L, sqlite3_column_double(statement, i));
        break;
      default: {
        const char *text = (const char *)sqlite3_column_text(statement, i);
        if (text == NULL) { /* of a text that is there */
          luaL_error(L, "not enough memory");
        }
        lua_pushlstring(L, text, (size_t)sqlite3_column_bytes(statement, i));
      }
    }
  }
  return count;
}

/* A statement left in the middle by a raise is begun anew by its next use. */
static sqlite3_stmt *begin(lua_State *L, job *opened) {
  sqlite3_stmt *statement = statement_of(L, opened);
  if (statement != NULL) {
    sqlite3_reset(statement);
    bind(L, statement);
  }
  return statement;
}

/* After an I/O error the kernel may have forgotten what it could not write: the
** next fsync would say that all is well. So close leaves the log as it is, for
** the next process, which believes only what its checksums prove. Returns
** whether it was one. */
static int distrust_disk(job *opened) {
  int is_io_error = (sqlite3_errcode(opened->db) & 0xff) == SQLITE_IOERR;
  if (is_io_error) {
    sqlite3_db_config(opened->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  }
  return is_io_error;
}

/*
** job:run(sql, ...) -> the columns of the first row, or true when there is none
**   | nil, message, boolean: was it the disk?
** Runs one statement, with its parameters, to its end.
*/
static int l_job_run(lua_State *L) {
  job *opened = check_job(L);
  sqlite3_stmt *statement = begin(L, opened);
  int pushed = 0;
  int code = statement == NULL ? SQLITE_ERROR : sqlite3_step(statement);
  if (code == SQLITE_ROW) {
    pushed = push_row(L, statement);
    while (code == SQLITE_ROW) {
      code = sqlite3_step(statement);
    }
  }
  if (code != SQLITE_DONE) {
    push_failure(L, sqlite3_errmsg(opened->db));
    lua_pushboolean(L, distrust_disk(opened));
    sqlite3_reset(statement);
    return 3;
  }
  sqlite3_reset(statement);
  if (pushed == 0) {
    lua_pushboolean(L, 1);
    pushed = 1;
  }
  return pushed;
}

/* The next row: its columns; nothing at the end. Raises what SQLite says. */
static int l_next_row(lua_State *L) {
  job *opened = imattr_lua_check(L, lua_upvalueindex(2), JOB);
  sqlite3_stmt *statement = lua_touserdata(L, lua_upvalueindex(1));
  int code = sqlite3_step(statement);
  if (code == SQLITE_ROW) {
    return push_row(L, statement);
  }
  if (code != SQLITE_DONE) {
    lua_pushstring(L, sqlite3_errmsg(opened->db));
    sqlite3_reset(statement);
    return lua_error(L);
  }
  sqlite3_reset(statement);
  return 0;
}

/* job:rows(sql, ...) -> an iterator over the rows; the first column is never
** NULL. Parameters are numbers, for nobody keeps a string while the loop runs;
** the same SQL is not run in two loops at once. Raises for SQL that is not
** good. */
static int l_job_rows(lua_State *L) {
  job *opened = check_job(L);
  sqlite3_stmt *statement;
  int i;
  for (i = lua_gettop(L); i > 2; i--) {
    luaL_checktype(L, i, LUA_TNUMBER);
  }
  statement = begin(L, opened);
  if (statement == NULL) {
    return luaL_error(L, "%s", sqlite3_errmsg(opened->db));
  }
  lua_pushlightuserdata(L, statement);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, l_next_row, 2);
  return 1;
}

/* }===== */

/* {===== what tells one input from another ===== */

/* Hashes so many bytes from where the descriptor stands. Returns whether they
** could be read. */
static int hash_part(EVP_MD_CTX *hash, int file, size_t most) {
  unsigned char bytes[4096];
  while (most > 0) {
    size_t wanted = most < sizeof bytes ? most : sizeof bytes;
    ssize_t got = read(file, bytes, wanted);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return got == 0;
    }
    EVP_DigestUpdate(hash, bytes, (size_t)got);
    most -= (size_t)got;
  }
  return 1;
}

/* Hashes the beginning and the end of a file, as hex digits. Returns whether
** that went well. */
static int hash_ends(int file, off_t size, char hex[65]) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned len = 0, i;
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  off_t tail = size > HASHED_BYTES ? size - HASHED_BYTES : 0;
  int ok = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
           hash_part(hash, file, HASHED_BYTES) &&
           lseek(file, tail, SEEK_SET) == tail &&
           hash_part(hash, file, HASHED_BYTES) &&
           EVP_DigestFinal_ex(hash, digest, &len) == 1;
  EVP_MD_CTX_free(hash);
  for (i = 0; ok && i < 32; i++) {
    snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
  }
  return ok;
}

/* job.identity(path) -> size, time (text: seconds and nanoseconds), hash of
** the first and the last 64 KiB (SHA-256, hex) | nil, message */
static int l_identity(lua_State *L) {
  int file = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC);
  struct stat about;
  char hex[65] = "";
  char time[64];
  int ok = file >= 0 && fstat(file, &about) == 0 &&
           hash_ends(file, about.st_size, hex);
  int why = errno;
  if (file >= 0) {
    close(file);
  }
  if (!ok) {
    return push_failure(L, strerror(why));
  }
  snprintf(time, sizeof time, "%" PRId64 ".%09ld",
           (int64_t)about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
  imattr_lua_pushint64(L, (int64_t)about.st_size);
  lua_pushstring(L, time);
  lua_pushstring(L, hex);
  return 3;
}

/* job.realpath(path) -> the path from the root, without links | nil, message */
static int l_realpath(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  char *found = lua_newuserdata(L, PATH_MAX); /* owned, should a push raise */
  if (realpath(path, found) == NULL) {
    return push_failure(L, strerror(errno));
  }
  lua_pushstring(L, found);
  return 1;
}

/* }===== */

static const luaL_Reg methods[] = {
    {"run", l_job_run}, {"rows", l_job_rows}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"open", l_open},
                                     {"is_locked", l_is_locked},
                                     {"identity", l_identity},
                                     {"realpath", l_realpath},
                                     {NULL, NULL}};

IMATTR_EXPORT int luaopen_imattr_job(lua_State *L);

IMATTR_EXPORT int luaopen_imattr_job(lua_State *L) {
  imattr_lua_class(L, JOB, methods, l_job_close);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  return 1;
}
