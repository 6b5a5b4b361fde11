/*
** usersig: opening what anybody may have made, and signing and opening again.
** The first byte says which:
**   0  the rest is a UserSig as it came
**   1  the rest is the compressed stream inside one
**   2  the rest is the JSON inside one; a byte says how often it is repeated
**      (powers of two: small UserSigs that inflate to a megabyte)
**   3  the rest are the fields of one that is signed, opened and compared
** What opens and to what is known from a decoder and an inflater of our own.
*/
#include "usersig.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* next_in points to const */
#include <zlib.h>

#include "fuzz.h"

#define REPEATED_MAX (1u << 20)
#define PACKED_MAX (IMATTR_USERSIG_LEN_MAX / 4 * 3)

/* {===== the model of opening ===== */

/* Inflates a whole stream in small steps; the length, or -1 when it is not
** one, has something behind it, or is longer than the limit. */
static long inflate_whole(const uint8_t *packed, size_t len, char *out) {
  z_stream stream;
  int answer;
  memset(&stream, 0, sizeof stream);
  MUST(inflateInit(&stream) == Z_OK);
  stream.next_in = packed;
  stream.avail_in = (uInt)len;
  stream.next_out = (Bytef *)out;
  do {
    size_t left = IMATTR_USERSIG_JSON_MAX + 1 - stream.total_out;
    stream.avail_out = left < 100 ? (uInt)left : 100;
    answer = inflate(&stream, Z_NO_FLUSH);
  } while (answer == Z_OK && stream.total_out <= IMATTR_USERSIG_JSON_MAX);
  MUST(inflateEnd(&stream) == Z_OK);
  return answer == Z_STREAM_END && stream.avail_in == 0 &&
                 stream.total_out <= IMATTR_USERSIG_JSON_MAX
             ? (long)stream.total_out
             : -1;
}

/* What is inside a UserSig; the length, or -1. */
static long open_plainly(const char *usersig, size_t len, char *out) {
  uint8_t packed[PACKED_MAX];
  long packed_len;
  if (len == 0 || len > IMATTR_USERSIG_LEN_MAX) {
    return -1;
  }
  packed_len = fuzz_decode(fuzz_base64_vendor, '_', usersig, len, packed);
  return packed_len < 0 ? -1 : inflate_whole(packed, (size_t)packed_len, out);
}

/* Opens, and compares with the model. Returns the model's length. */
static long check_open(const char *usersig, size_t len, char *inside) {
  static const char before[] = "before";
  fuzz_text given = fuzz_copy(usersig, len);
  long wanted = open_plainly(given.bytes, given.len, inside);
  imattr_buffer json;
  imattr_status status;
  imattr_buffer_init(&json);
  MUST(imattr_buffer_text(&json, before) == IMATTR_OK);
  status = imattr_usersig_unpack(given.bytes, given.len, &json);
  MUST(json.capacity <= 4 * IMATTR_USERSIG_JSON_MAX);
  MUST(memcmp(json.data, before, sizeof before - 1) == 0);
  if (wanted < 0) {
    MUST(status == IMATTR_BAD_USERSIG);
    MUST(json.len == sizeof before - 1);
  } else {
    MUST(status == IMATTR_OK);
    MUST(fuzz_is_same(json.data + sizeof before - 1,
                      json.len - (sizeof before - 1), inside, (size_t)wanted));
  }
  imattr_buffer_clear(&json);
  fuzz_free(&given);
  return wanted;
}

/* }===== */

/* {===== hostile UserSigs ===== */

static void open_text(fuzz_bytes *bytes, char *inside) {
  fuzz_text text = fuzz_rest(bytes);
  check_open(text.bytes, text.len, inside);
  fuzz_free(&text);
}

static void open_packed(const uint8_t *packed, size_t len, char *inside) {
  char *usersig = malloc(len / 3 * 4 + 5);
  MUST(usersig != NULL);
  check_open(usersig,
             fuzz_encode(fuzz_base64_vendor, '_', packed, len, usersig),
             inside);
  free(usersig);
}

static void open_repeated(fuzz_bytes *bytes, char *inside) {
  size_t times = (size_t)1 << fuzz_below(bytes, 21);
  fuzz_text part = fuzz_rest(bytes);
  size_t len = part.len * times < REPEATED_MAX ? part.len * times : 0;
  uLongf packed_len = compressBound((uLong)len);
  char *json = malloc(len + 1);
  uint8_t *packed = malloc(packed_len);
  size_t i;
  MUST(json != NULL && packed != NULL);
  for (i = 0; i < len; i += part.len) {
    memcpy(json + i, part.bytes, part.len);
  }
  MUST(compress2(packed, &packed_len, (Bytef *)json, (uLong)len,
                 1 + (int)(times % 9)) == Z_OK);
  open_packed(packed, packed_len, inside);
  free(json);
  free(packed);
  fuzz_free(&part);
}

/* }===== */

/* {===== signing and opening ===== */

/* The MAC of the fields in base64, by the lines the vendor documents. */
static size_t sign_plainly(const fuzz_text *key,
                           const imattr_usersig_fields *fields, char *mac) {
  char numbers[200];
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned int sum_len = 0;
  imattr_buffer lines;
  imattr_buffer_init(&lines);
  snprintf(numbers, sizeof numbers,
           "\nTLS.sdkappid:%" PRIu64 "\nTLS.time:%" PRId64
           "\nTLS.expire:%" PRId64 "\n",
           fields->sdkappid, fields->time_s, fields->expire_s);
  imattr_buffer_text(&lines, "TLS.identifier:");
  imattr_buffer_append(&lines, fields->identifier, fields->identifier_len);
  imattr_buffer_text(&lines, numbers);
  if (fields->userbuf != NULL) {
    imattr_buffer_text(&lines, "TLS.userbuf:");
    imattr_buffer_append(&lines, fields->userbuf, fields->userbuf_len);
    imattr_buffer_text(&lines, "\n");
  }
  MUST(HMAC(EVP_sha256(), key->bytes, (int)key->len,
            (unsigned char *)lines.data, lines.len, sum, &sum_len) != NULL);
  imattr_buffer_clear(&lines);
  return fuzz_encode(fuzz_base64, '=', sum, sum_len, mac);
}

static void read_text(fuzz_reader *reader, const char *before,
                      const char *wanted, size_t wanted_len) {
  char *text = malloc(wanted_len + 1);
  size_t len;
  MUST(text != NULL);
  MUST(fuzz_read_word(reader, before));
  MUST(fuzz_read_string(reader, text, wanted_len + 1, &len));
  MUST(fuzz_is_same(text, len, wanted, wanted_len));
  free(text);
}

static void read_number(fuzz_reader *reader, const char *before,
                        int64_t wanted) {
  int64_t value;
  MUST(fuzz_read_word(reader, before));
  MUST(fuzz_read_integer(reader, &value));
  MUST(value == wanted);
}

static void check_inside(const char *json, size_t len,
                         const imattr_usersig_fields *fields, const char *mac,
                         size_t mac_len) {
  fuzz_reader reader;
  reader.at = json;
  reader.end = json + len;
  MUST(fuzz_read_word(&reader, "{\"TLS.ver\":\"2.0\""));
  read_text(&reader, ",\"TLS.identifier\":", fields->identifier,
            fields->identifier_len);
  read_number(&reader, ",\"TLS.sdkappid\":", (int64_t)fields->sdkappid);
  read_number(&reader, ",\"TLS.time\":", fields->time_s);
  read_number(&reader, ",\"TLS.expire\":", fields->expire_s);
  if (fields->userbuf != NULL) {
    read_text(&reader, ",\"TLS.userbuf\":", fields->userbuf,
              fields->userbuf_len);
  }
  read_text(&reader, ",\"TLS.sig\":", mac, mac_len);
  MUST(fuzz_read_word(&reader, "}"));
  MUST(reader.at == reader.end);
}

static int holds(const imattr_key *key, const imattr_usersig_fields *fields,
                 const char *mac, size_t mac_len) {
  int is_good = -1;
  MUST(imattr_usersig_verify(key, fields, mac, mac_len, &is_good) == IMATTR_OK);
  MUST(is_good == 0 || is_good == 1);
  return is_good;
}

/* A MAC holds for its own key and fields alone. */
static void check_verify(const imattr_key *key, const imattr_key *other,
                         imattr_usersig_fields fields, char *mac,
                         size_t mac_len) {
  MUST(holds(key, &fields, mac, mac_len));
  MUST(!holds(other, &fields, mac, mac_len));
  MUST(!holds(key, &fields, mac, mac_len - 1));
  mac[0] ^= 1;
  MUST(!holds(key, &fields, mac, mac_len));
  mac[0] ^= 1;
  fields.expire_s++;
  MUST(!holds(key, &fields, mac, mac_len));
  fields.expire_s--;
  fields.identifier_len--;
  MUST(!holds(key, &fields, mac, mac_len));
}

/* What was signed opens to its fields; cut or changed it does not, or to
** something that the model opens too. */
static void check_usersig(imattr_buffer *usersig, unsigned place,
                          const imattr_usersig_fields *fields, const char *mac,
                          size_t mac_len, char *inside) {
  size_t at = place % usersig->len;
  long len = check_open(usersig->data, usersig->len, inside);
  if (usersig->len <= IMATTR_USERSIG_LEN_MAX) {
    MUST(len >= 0);
    check_inside(inside, (size_t)len, fields, mac, mac_len);
  }
  MUST(check_open(usersig->data, at, inside) < 0);
  usersig->data[at] = usersig->data[at] == 'A' ? 'B' : 'A';
  check_open(usersig->data, usersig->len, inside);
}

static imattr_usersig_fields
take_fields(fuzz_bytes *bytes, fuzz_text *identifier, fuzz_text *userbuf) {
  static const int64_t times[] = {0, 1, 1700000000, INT64_C(1) << 40};
  imattr_usersig_fields fields;
  fuzz_text plain;
  memset(&fields, 0, sizeof fields);
  fields.sdkappid = fuzz_byte(bytes) % 2 ? UINT32_MAX : 1400000000;
  fields.sdkappid -= fuzz_byte(bytes);
  fields.time_s = times[fuzz_below(bytes, 4)] + fuzz_byte(bytes);
  fields.expire_s = 1 + times[fuzz_below(bytes, 4)];
  plain = fuzz_take(bytes, fuzz_byte(bytes) % 2 ? 255 : 0);
  *identifier = fuzz_rest(bytes);
  fields.identifier = identifier->bytes;
  fields.identifier_len = identifier->len;
  *userbuf = fuzz_copy("", 0);
  if (plain.len > 0) {
    char *text = malloc(plain.len / 3 * 4 + 5);
    size_t len =
        fuzz_encode(fuzz_base64, '=', (uint8_t *)plain.bytes, plain.len, text);
    fuzz_free(userbuf);
    *userbuf = fuzz_copy(text, len);
    fields.userbuf = userbuf->bytes;
    fields.userbuf_len = userbuf->len;
    free(text);
  }
  fuzz_free(&plain);
  return fields;
}

/* A key, and one that differs from it in a bit. */
static void make_keys(fuzz_text *text, imattr_key **key, imattr_key **other) {
  MUST(imattr_key_create(key, text->bytes, text->len) == IMATTR_OK);
  text->bytes[text->len - 1] ^= 1;
  MUST(imattr_key_create(other, text->bytes, text->len) == IMATTR_OK);
  text->bytes[text->len - 1] ^= 1;
}

static void sign_and_open(fuzz_bytes *bytes, char *inside) {
  unsigned place = fuzz_byte(bytes) * 199;
  fuzz_text key_text = fuzz_take(bytes, IMATTR_KEY_LEN_MAX - 1);
  fuzz_text identifier, userbuf;
  imattr_usersig_fields fields = take_fields(bytes, &identifier, &userbuf);
  imattr_key *key = NULL;
  imattr_key *other = NULL;
  imattr_buffer usersig;
  char mac[64];
  size_t mac_len, offset;
  imattr_status status;
  imattr_buffer_init(&usersig);
  if (key_text.len == 0) {
    MUST(imattr_key_create(&key, key_text.bytes, 0) == IMATTR_BAD_KEY);
  } else {
    make_keys(&key_text, &key, &other);
    mac_len = sign_plainly(&key_text, &fields, mac);
    status = fuzz_judge_text(fields.identifier, fields.identifier_len, &offset);
    MUST(imattr_usersig_sign(key, &fields, &usersig) == status);
    MUST(status == IMATTR_OK || usersig.len == 0);
    if (status == IMATTR_OK) {
      check_usersig(&usersig, place, &fields, mac, mac_len, inside);
    }
    if (fields.identifier_len > 0) {
      check_verify(key, other, fields, mac, mac_len);
    }
  }
  imattr_buffer_clear(&usersig);
  imattr_key_destroy(key);
  imattr_key_destroy(other);
  fuzz_free(&key_text);
  fuzz_free(&identifier);
  fuzz_free(&userbuf);
}

/* }===== */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char inside[IMATTR_USERSIG_JSON_MAX + 1];
  fuzz_bytes bytes = {data, size};
  switch (fuzz_byte(&bytes) & 3) { /* letters "0" to "3" do as well */
    case 0: open_text(&bytes, inside); break;
    case 1: open_packed(bytes.at, bytes.left, inside); break;
    case 2: open_repeated(&bytes, inside); break;
    default: sign_and_open(&bytes, inside); break;
  }
  return 0;
}
