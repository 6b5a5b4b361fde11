/* csv: one pass over the bytes that finds fields and the record's end; it can
** stop at any byte and go on when there are more */
#include "csv.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"

/* Where the scan stands. */
typedef enum state {
  FIELD_START,
  PLAIN,        /* in a field without quotes */
  QUOTED,       /* between quotes */
  AFTER_QUOTE,  /* behind a quote that may be the closing one */
  AFTER_RETURN, /* and behind a CR, which only an LF may follow */
  LOST,         /* a fault in the first line, whose end is looked for */
  LOST_BEHIND,  /* a fault in another one */
  SKIPPING      /* in a line that is too long to keep */
} state;

/* How a piece of the scan ended. */
typedef enum step { GO_ON, OUT_OF_BYTES, RECORD_END, BAD_RECORD } step;

/* A field of the record under way; places count from the record's start. */
typedef struct span {
  size_t from, len;
  int has_doubled; /* quotes inside, written twice */
} span;

struct imattr_csv {
  imattr_csv_config config;
  imattr_buffer text;  /* what was fed and is not yet used up */
  imattr_buffer plain; /* fields whose doubled quotes were halved */
  span *spans;
  imattr_csv_field *fields;
  uint64_t base;  /* place of text.data[0] in all that was fed */
  uint64_t lines; /* that were used up */
  uint64_t again;
  uint64_t lost_offset; /* where the line begins that is skipped */
  int is_ended;
  int is_marked; /* was the byte order mark looked for? */
  /* the record under way, by places in `text` */
  size_t start; /* of its first line */
  size_t mark;  /* bytes of a byte order mark at its start */
  size_t at;    /* scanned up to here */
  size_t field_start;
  size_t first_end; /* of its first line, once there is a second */
  size_t count;     /* fields that have ended */
  uint64_t breaks;  /* newlines inside quotes */
  state state;
  imattr_csv_fault fault; /* while LOST or BAD_RECORD */
  int has_nul;
  int has_doubled; /* in the field under way */
  int is_open;     /* a quote, while LOST_BEHIND */
  size_t head_len;
  char head[IMATTR_CSV_HEAD]; /* of a line that is too long */
};

/* {===== birth and death ===== */

imattr_csv *imattr_csv_create(const imattr_csv_config *config) {
  imattr_csv *csv = calloc(1, sizeof *csv);
  if (csv == NULL) {
    return NULL;
  }
  csv->config = *config;
  imattr_buffer_init(&csv->text);
  imattr_buffer_init(&csv->plain);
  csv->spans = calloc(config->fields_max, sizeof *csv->spans);
  csv->fields = calloc(config->fields_max, sizeof *csv->fields);
  if (csv->spans == NULL || csv->fields == NULL) {
    imattr_csv_destroy(csv);
    return NULL;
  }
  return csv;
}

void imattr_csv_destroy(imattr_csv *csv) {
  if (csv != NULL) {
    imattr_buffer_clear(&csv->text);
    imattr_buffer_clear(&csv->plain);
    free(csv->spans);
    free(csv->fields);
    free(csv);
  }
}

/* }===== */

/* {===== feeding ===== */

/* Moves what is not yet used up to the front of the buffer. */
static void move_to_front(imattr_csv *csv) {
  size_t used = csv->start;
  if (used > 0) {
    memmove(csv->text.data, csv->text.data + used, csv->text.len - used);
    csv->text.len -= used;
    csv->base += used;
    csv->at -= used;
    csv->field_start -= used;
    csv->first_end -= used;
    csv->start = 0;
  }
}

imattr_status imattr_csv_feed(imattr_csv *csv, const char *bytes, size_t len) {
  move_to_front(csv);
  /* room to halve doubled quotes: so `next` never needs memory */
  if (imattr_buffer_reserve(&csv->plain, csv->text.len + len) != IMATTR_OK) {
    return IMATTR_NO_MEMORY;
  }
  return imattr_buffer_append(&csv->text, bytes, len);
}

void imattr_csv_end(imattr_csv *csv) {
  csv->is_ended = 1;
}

uint64_t imattr_csv_lines(const imattr_csv *csv) {
  return csv->lines;
}

uint64_t imattr_csv_bytes(const imattr_csv *csv) {
  return csv->base + csv->text.len;
}

uint64_t imattr_csv_again(const imattr_csv *csv) {
  return csv->again;
}

/* }===== */

/* {===== the scan ===== */

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS (ONES << 7)

/* The high bit of each byte that is zero is set; above the lowest of these,
** other bits may be set as well. */
static inline uint64_t zeros(uint64_t word) {
  return (word - ONES) & ~word & HIGHS;
}

static inline int is_special(char byte, char delimiter) {
  return byte == delimiter || byte == '\n' || byte == '"' || byte == '\0';
}

/* The first delimiter, LF, quote or NUL from `at` on, or `stop`: eight bytes
** at a time, then what is left one by one. */
static inline const char *skip(const char *at, const char *stop,
                               char delimiter) {
  const uint64_t delimiters = ONES * (unsigned char)delimiter;
  const int lowest_is_first = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
  while (lowest_is_first && stop - at >= 8) {
    uint64_t word, hits;
    memcpy(&word, at, sizeof word);
    hits = zeros(word ^ delimiters) | zeros(word ^ (ONES * '\n')) |
           zeros(word ^ (ONES * '"')) | zeros(word);
    if (hits != 0) {
      return at + (__builtin_ctzll(hits) >> 3);
    }
    at += 8;
  }
  while (at < stop && !is_special(*at, delimiter)) {
    at++;
  }
  return at;
}

/* A field ends at `end`. */
static inline void end_field(imattr_csv *csv, size_t end) {
  if (csv->count < csv->config.fields_max) {
    span *field = &csv->spans[csv->count];
    field->from = csv->field_start - csv->start;
    field->len = end - csv->field_start;
    field->has_doubled = csv->has_doubled;
  }
  csv->has_doubled = 0;
  csv->count++;
}

/* A field without quotes ends at `end`, which is the record's end too: a CR
** before it belongs to the line's end. */
static void end_last(imattr_csv *csv, size_t end) {
  if (end > csv->field_start && csv->text.data[end - 1] == '\r') {
    end--;
  }
  end_field(csv, end);
}

/* The byte at `at` does not fit. The record goes on to the end of a line, for
** a person to see what it would have been. */
static step lose(imattr_csv *csv, imattr_csv_fault fault) {
  csv->fault = fault;
  csv->state = csv->breaks == 0 ? LOST : LOST_BEHIND;
  csv->is_open = 0;
  return GO_ON;
}

/* In a field without quotes, or before any field. */
static inline step scan_plain(imattr_csv *csv) {
  const char *text = csv->text.data;
  const char *at =
      skip(text + csv->at, text + csv->text.len, csv->config.delimiter);
  csv->at = (size_t)(at - text);
  if (csv->at == csv->text.len) {
    return OUT_OF_BYTES;
  }
  switch (*at) {
    case '\n': end_last(csv, csv->at); return RECORD_END;
    case '"': return lose(csv, IMATTR_CSV_BARE_QUOTE);
    case '\0':
      csv->has_nul = 1;
      csv->at++;
      return GO_ON;
    default:
      end_field(csv, csv->at);
      csv->at++;
      csv->state = FIELD_START;
      return GO_ON;
  }
}

static inline step scan_start(imattr_csv *csv) {
  if (csv->text.data[csv->at] == '"') {
    csv->state = QUOTED;
    csv->field_start = ++csv->at;
    return GO_ON;
  }
  csv->state = PLAIN;
  csv->field_start = csv->at;
  return scan_plain(csv);
}

/* The first line of a record with several has ended, inside quotes. What is
** wrong with it alone is its fault, whatever follows. */
static step end_first_line(imattr_csv *csv) {
  csv->first_end = csv->at;
  csv->breaks = 1;
  if (csv->at - csv->start > csv->config.record_bytes_max) {
    csv->fault = IMATTR_CSV_ROW_TOO_LONG;
    return BAD_RECORD;
  }
  if (csv->has_nul) {
    csv->fault = IMATTR_CSV_NUL_BYTE;
    return BAD_RECORD;
  }
  csv->at++;
  return GO_ON;
}

static step scan_quoted(imattr_csv *csv) {
  const char *text = csv->text.data;
  const char *at = skip(text + csv->at, text + csv->text.len, '"');
  csv->at = (size_t)(at - text);
  if (csv->at == csv->text.len) {
    return OUT_OF_BYTES;
  }
  if (*at == '\n' && csv->breaks == 0) {
    return end_first_line(csv);
  }
  switch (*at) {
    case '\n': csv->breaks++; break;
    case '"': csv->state = AFTER_QUOTE; break;
    default: csv->has_nul = 1; break;
  }
  csv->at++;
  return GO_ON;
}

static step scan_after_quote(imattr_csv *csv) {
  char byte = csv->text.data[csv->at];
  if (byte == '"') {
    csv->has_doubled = 1;
    csv->state = QUOTED;
    csv->at++;
    return GO_ON;
  }
  if (byte != csv->config.delimiter && byte != '\n' && byte != '\r') {
    return lose(csv, IMATTR_CSV_TEXT_AFTER_QUOTE);
  }
  end_field(csv, csv->at - 1);
  if (byte == '\n') {
    return RECORD_END;
  }
  csv->at++;
  csv->state = byte == '\r' ? AFTER_RETURN : FIELD_START;
  return GO_ON;
}

/* To the end of the first line, which is not good. */
static step scan_lost(imattr_csv *csv) {
  const char *at = csv->text.data + csv->at;
  size_t len = csv->text.len - csv->at;
  const char *end = memchr(at, '\n', len);
  len = end != NULL ? (size_t)(end - at) : len;
  csv->has_nul |= memchr(at, '\0', len) != NULL;
  csv->at += len;
  return end != NULL ? BAD_RECORD : OUT_OF_BYTES;
}

/* To the end of a line with no quote open, counted without looking where the
** quotes are. When there is none, the quote in the first line was left open. */
static step scan_lost_behind(imattr_csv *csv) {
  const char *text = csv->text.data;
  const char *at = skip(text + csv->at, text + csv->text.len, '"');
  csv->at = (size_t)(at - text);
  if (csv->at == csv->text.len) {
    return OUT_OF_BYTES;
  }
  if (*at == '\n' && !csv->is_open) {
    return BAD_RECORD;
  }
  csv->is_open ^= *at == '"';
  csv->at++;
  return GO_ON;
}

/* To the end of a line that is not kept. */
static step scan_skipped(imattr_csv *csv) {
  const char *at = csv->text.data + csv->at;
  size_t left = csv->text.len - csv->at;
  const char *end = memchr(at, '\n', left);
  csv->at += end != NULL ? (size_t)(end - at) : left;
  csv->start = csv->at;
  csv->mark = 0;
  return end != NULL ? BAD_RECORD : OUT_OF_BYTES;
}

static step scan(imattr_csv *csv) {
  while (csv->at < csv->text.len) {
    step ended = GO_ON;
    switch (csv->state) {
      case FIELD_START: ended = scan_start(csv); break;
      case PLAIN: ended = scan_plain(csv); break;
      case QUOTED: ended = scan_quoted(csv); break;
      case AFTER_QUOTE: ended = scan_after_quote(csv); break;
      case AFTER_RETURN:
        ended = csv->text.data[csv->at] == '\n'
                    ? RECORD_END
                    : lose(csv, IMATTR_CSV_TEXT_AFTER_QUOTE);
        break;
      case LOST: ended = scan_lost(csv); break;
      case LOST_BEHIND: ended = scan_lost_behind(csv); break;
      case SKIPPING: ended = scan_skipped(csv); break;
    }
    if (ended != GO_ON) {
      return ended;
    }
  }
  return OUT_OF_BYTES;
}

/* }===== */

/* {===== what comes out ===== */

/* Keeps the head of the line that begins at `start` and is over the limit. */
static void keep_head(imattr_csv *csv) {
  size_t most = csv->config.record_bytes_max;
  size_t end = most < sizeof csv->head ? most : sizeof csv->head;
  csv->head_len = end > csv->mark ? end - csv->mark : 0;
  memcpy(csv->head, csv->text.data + csv->start + csv->mark, csv->head_len);
  csv->lost_offset = csv->base + csv->start + csv->mark;
}

/* No bytes are left and no more will come: how does the record end here? */
static step scan_end(imattr_csv *csv) {
  switch (csv->state) {
    case QUOTED: csv->fault = IMATTR_CSV_OPEN_QUOTE; return BAD_RECORD;
    case LOST_BEHIND:
      csv->fault = csv->is_open ? IMATTR_CSV_OPEN_QUOTE : csv->fault;
      return BAD_RECORD;
    case LOST:
    case SKIPPING: return BAD_RECORD;
    case AFTER_QUOTE: end_field(csv, csv->at - 1); return RECORD_END;
    case AFTER_RETURN: return RECORD_END;
    default:
      if (csv->at == csv->start + csv->mark) {
        return OUT_OF_BYTES;
      }
      if (csv->state == FIELD_START) {
        csv->field_start = csv->at;
      }
      end_last(csv, csv->at);
      return RECORD_END;
  }
}

/* No bytes are left, but more may come. A record that is over its limit by
** now will be no better then. */
static step scan_hungry(imattr_csv *csv) {
  if (csv->state == SKIPPING ||
      csv->text.len - csv->start <= csv->config.record_bytes_max) {
    return OUT_OF_BYTES;
  }
  if (csv->breaks > 0) {
    csv->fault = IMATTR_CSV_OPEN_QUOTE;
    return BAD_RECORD;
  }
  keep_head(csv);
  csv->state = SKIPPING;
  csv->at = csv->text.len;
  csv->start = csv->at;
  csv->mark = 0;
  return OUT_OF_BYTES;
}

/* The next record begins at `start`. */
static void begin(imattr_csv *csv, size_t start) {
  if (start < csv->at) {
    csv->again += csv->at - start;
  }
  csv->start = start;
  csv->mark = 0;
  csv->at = start;
  csv->field_start = start;
  csv->first_end = start;
  csv->count = 0;
  csv->breaks = 0;
  csv->state = FIELD_START;
  csv->has_nul = 0;
  csv->has_doubled = 0;
}

/* Where the line after `end` begins. */
static size_t behind(const imattr_csv *csv, size_t end) {
  return end + (end < csv->text.len);
}

/* The text from the record's start to `end`, without a CR there. */
static void set_raw(const imattr_csv *csv, imattr_csv_record *record,
                    size_t end) {
  record->raw = csv->text.data + csv->start + csv->mark;
  record->raw_len = end - csv->start - csv->mark;
  if (record->raw_len > 0 && record->raw[record->raw_len - 1] == '\r') {
    record->raw_len--;
  }
}

/* Fills in a bad record and goes on behind its first line. A line that is too
** long has no other fault; a NUL in the first line goes before quotes. */
static imattr_csv_answer give_bad(imattr_csv *csv, imattr_csv_record *record) {
  size_t end = csv->breaks > 0 ? csv->first_end : csv->at;
  size_t most = csv->config.record_bytes_max;
  int is_skipped = csv->state == SKIPPING;
  record->fault = csv->fault;
  if (csv->breaks == 0 && csv->has_nul) {
    record->fault = IMATTR_CSV_NUL_BYTE;
  } else if (csv->at - csv->start > most) {
    record->fault = IMATTR_CSV_OPEN_QUOTE;
  }
  if (!is_skipped && end - csv->start > most) {
    keep_head(csv);
    is_skipped = 1;
  }
  set_raw(csv, record, end);
  record->offset = csv->base + csv->start + csv->mark;
  if (is_skipped) {
    record->fault = IMATTR_CSV_ROW_TOO_LONG;
    record->raw = csv->head;
    record->raw_len = csv->head_len;
    record->offset = csv->lost_offset;
  }
  record->lines = 1;
  record->fields = NULL;
  record->count = 0;
  csv->lines++;
  begin(csv, behind(csv, end));
  return IMATTR_CSV_BAD;
}

/* Writes a field with each doubled quote halved; returns its length. */
static size_t halve(char *out, const char *text, size_t len) {
  const char *stop = text + len;
  char *to = out;
  while (text < stop) {
    const char *quote = memchr(text, '"', (size_t)(stop - text));
    size_t part = (size_t)((quote != NULL ? quote + 1 : stop) - text);
    memcpy(to, text, part);
    to += part;
    text += part + (quote != NULL); /* and past the second of the two */
  }
  return (size_t)(to - out);
}

/* Makes fields of spans; returns whether each keeps to its limit. */
static int set_fields(imattr_csv *csv, imattr_csv_record *record) {
  const char *text = csv->text.data + csv->start;
  size_t kept =
      csv->count < csv->config.fields_max ? csv->count : csv->config.fields_max;
  size_t longest = 0;
  size_t i;
  csv->plain.len = 0;
  for (i = 0; i < kept; i++) {
    const span *from = &csv->spans[i];
    imattr_csv_field *field = &csv->fields[i];
    field->text = text + from->from;
    field->len = from->len;
    longest = from->len > longest ? from->len : longest;
    if (from->has_doubled) {
      char *out = csv->plain.data + csv->plain.len;
      field->len = halve(out, field->text, field->len);
      field->text = out;
      csv->plain.len += field->len;
    }
  }
  record->fields = csv->fields;
  record->count = csv->count;
  return longest <= csv->config.field_bytes_max;
}

/* Fills in a record that ends at `at`. */
static imattr_csv_answer give_record(imattr_csv *csv,
                                     imattr_csv_record *record) {
  int is_long = csv->at - csv->start > csv->config.record_bytes_max;
  if (is_long || (csv->breaks == 0 && csv->has_nul)) {
    return give_bad(csv, record);
  }
  set_raw(csv, record, csv->at);
  record->offset = csv->base + csv->start + csv->mark;
  record->lines = csv->breaks + 1;
  record->fault = IMATTR_CSV_NO_FAULT;
  if (!set_fields(csv, record)) {
    record->fault = IMATTR_CSV_FIELD_TOO_LONG;
  }
  if (csv->has_nul) {
    record->fault = IMATTR_CSV_NUL_BYTE;
  }
  csv->lines += record->lines;
  begin(csv, behind(csv, csv->at));
  return record->fault == IMATTR_CSV_NO_FAULT ? IMATTR_CSV_RECORD
                                              : IMATTR_CSV_BAD;
}

/* Is the line that ends here blank? */
static int is_blank(const imattr_csv *csv) {
  size_t from = csv->start + csv->mark, len = csv->at - from;
  return len == 0 || (len == 1 && csv->text.data[from] == '\r');
}

/* Looks for a byte order mark at the very start; 0: there are too few bytes
** to tell. */
static int pass_mark(imattr_csv *csv) {
  static const char mark[] = "\xEF\xBB\xBF";
  size_t len = csv->text.len < 3 ? csv->text.len : 3;
  if (!csv->is_marked) {
    int fits = len == 0 || memcmp(csv->text.data, mark, len) == 0;
    if (fits && len < 3 && !csv->is_ended) {
      return 0;
    }
    csv->is_marked = 1;
    csv->mark = fits && len == 3 ? 3 : 0;
    csv->at = csv->mark;
  }
  return 1;
}

imattr_csv_answer imattr_csv_next(imattr_csv *csv, imattr_csv_record *record) {
  if (!pass_mark(csv)) {
    return IMATTR_CSV_HUNGRY;
  }
  for (;;) {
    step ended = scan(csv);
    record->line = csv->lines + 1;
    if (ended == OUT_OF_BYTES) {
      ended = csv->is_ended ? scan_end(csv) : scan_hungry(csv);
    }
    switch (ended) {
      case RECORD_END:
        if (!is_blank(csv)) {
          return give_record(csv, record);
        }
        csv->lines++;
        begin(csv, behind(csv, csv->at));
        break;
      case BAD_RECORD: return give_bad(csv, record);
      default: return csv->is_ended ? IMATTR_CSV_END : IMATTR_CSV_HUNGRY;
    }
  }
}

/* }===== */

static const struct {
  const char *name, *sentence;
} faults[] = {{NULL, NULL},
#define FAULT(name, sentence) {#name, sentence},
              IMATTR_CSV_FAULT_LIST(FAULT)
#undef FAULT
};

const char *imattr_csv_fault_name(imattr_csv_fault fault) {
  return faults[fault].name;
}

const char *imattr_csv_fault_sentence(imattr_csv_fault fault) {
  return faults[fault].sentence;
}
