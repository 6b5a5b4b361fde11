/*
** csv: records out of CSV (RFC 4180, and what spreadsheets really write). It
** reads nothing itself: bytes are fed, records are pulled.
**
**    feed bytes ──▶ next ──▶ RECORD   its fields, where they lie
**       ▲            │  ├───▶ BAD      why it is none; the next one is fine
**       └── HUNGRY ──┘  └───▶ END      after imattr_csv_end
**
** A bad record costs itself and nothing else: reading goes on at the line
** after its *first* line, so a quote that somebody forgot does not swallow
** the file. It costs no time either: a look ahead ends at the next line with
** an odd number of quotes, so no line is looked at more than twice. How the
** bytes are cut into pieces makes no difference.
**
** Lines end in LF or CRLF, the last one may do without; a byte order mark
** before the first is left out; blank lines are passed over. Quotes are taken
** strictly: guessing would write wrong values into users.
*/
#ifndef imattr_csv_h
#define imattr_csv_h

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#pragma GCC visibility push(hidden)

/* Kept of a line that is too long. */
#define IMATTR_CSV_HEAD 256

/* X(name, sentence): why a record is none. */
#define IMATTR_CSV_FAULT_LIST(X)                                               \
  X(OPEN_QUOTE, "a quoted field has no closing quote")                         \
  X(BARE_QUOTE, "a quote inside a field that is not quoted")                   \
  X(TEXT_AFTER_QUOTE, "text after the closing quote of a field")               \
  X(NUL_BYTE, "a NUL byte in the row")                                         \
  X(FIELD_TOO_LONG, "a field is too long")                                     \
  X(ROW_TOO_LONG, "the row is too long")

typedef enum imattr_csv_fault {
  IMATTR_CSV_NO_FAULT,
#define IMATTR_CSV_FAULT_ENUM(name, sentence) IMATTR_CSV_##name,
  IMATTR_CSV_FAULT_LIST(IMATTR_CSV_FAULT_ENUM)
#undef IMATTR_CSV_FAULT_ENUM
      IMATTR_CSV_FAULT_COUNT
} imattr_csv_fault;

typedef struct imattr_csv_config {
  char delimiter;          /* any byte but quote, CR, LF and NUL */
  size_t record_bytes_max; /* from its first byte up to its last LF */
  size_t field_bytes_max;  /* as it is written, without its quotes */
  size_t fields_max;       /* more are only counted */
} imattr_csv_config;

typedef struct imattr_csv_field {
  const char *text; /* not ended by a NUL */
  size_t len;
} imattr_csv_field;

/* A record. What it points to lives until the next call of next or feed. */
typedef struct imattr_csv_record {
  imattr_csv_fault fault; /* NO_FAULT, or why it is none */
  uint64_t line;          /* number of its first line, from 1 */
  uint64_t lines;         /* how many it took up; with bad quotes: 1 */
  uint64_t offset;        /* of its first byte in all that was fed, from 0 */
  const char *raw;        /* the text of these lines without the last one's end;
                             of ROW_TOO_LONG its head */
  size_t raw_len;
  const imattr_csv_field *fields; /* none, when it is bad */
  size_t count;                   /* all of them, also beyond fields_max */
} imattr_csv_record;

typedef enum imattr_csv_answer {
  IMATTR_CSV_RECORD, /* *record is filled */
  IMATTR_CSV_BAD,    /* so it is, and has a fault */
  IMATTR_CSV_HUNGRY, /* feed or end, then call again */
  IMATTR_CSV_END     /* there are no more */
} imattr_csv_answer;

/* Opaque. */
typedef struct imattr_csv imattr_csv;

/* NULL when there is no memory. */
imattr_csv *imattr_csv_create(const imattr_csv_config *config);

/* NULL is fine. */
void imattr_csv_destroy(imattr_csv *csv);

/* Takes a copy of more bytes. Feed when `next` is hungry: what is fed before
** is held in memory. OK or NO_MEMORY (nothing taken). */
imattr_status imattr_csv_feed(imattr_csv *csv, const char *bytes, size_t len);

/* There is no more to feed. */
void imattr_csv_end(imattr_csv *csv);

/* The next record. */
imattr_csv_answer imattr_csv_next(imattr_csv *csv, imattr_csv_record *record);

/* Lines that records so far took up, blank ones between them counted. */
uint64_t imattr_csv_lines(const imattr_csv *csv);

/* Bytes that were fed. */
uint64_t imattr_csv_bytes(const imattr_csv *csv);

/* Bytes that were looked at a second time, after a bad record. */
uint64_t imattr_csv_again(const imattr_csv *csv);

/* "BARE_QUOTE", and a sentence; NULL for NO_FAULT. */
const char *imattr_csv_fault_name(imattr_csv_fault fault);
const char *imattr_csv_fault_sentence(imattr_csv_fault fault);

#pragma GCC visibility pop

#endif
