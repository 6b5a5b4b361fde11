/* usersig: the lines that are signed, the JSON around them, and the way back */
#include "usersig.h"

#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "json.h"

/* room for one number in decimal with a word before it and signs around */
#define LINE_SIZE 64

#define SHA256_LEN 32

/* Base64 of a SHA-256 MAC, with its closing NUL. */
#define MAC_SIZE 45

/* {===== keys ===== */

imattr_status imattr_key_create(imattr_key **key, const char *text,
                                size_t len) {
  return len == 0 || len > IMATTR_KEY_LEN_MAX
             ? IMATTR_BAD_KEY
             : imattr_secret_create(key, text, len);
}

void imattr_key_destroy(imattr_key *key) {
  imattr_secret_destroy(key);
}

static int is_space(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Reads up to `size` bytes; returns how many, or -1. No stdio: its buffer
** would keep a copy of the key. */
static ssize_t read_file(const char *path, char *bytes, size_t size) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  size_t have = 0;
  ssize_t got = -1;
  if (file < 0) {
    return -1;
  }
  while (have < size && (got = read(file, bytes + have, size - have)) > 0) {
    have += (size_t)got;
  }
  close(file);
  return got < 0 ? -1 : (ssize_t)have;
}

imattr_status imattr_key_read(imattr_key **key, const char *path) {
  char bytes[2 * IMATTR_KEY_LEN_MAX];
  const char *text = bytes;
  imattr_status status = IMATTR_KEY_FILE;
  ssize_t got = read_file(path, bytes, sizeof bytes);
  if (got == (ssize_t)sizeof bytes) { /* maybe cut: no key is that long */
    status = IMATTR_BAD_KEY;
  } else if (got >= 0) {
    size_t len = (size_t)got;
    while (len > 0 && is_space(text[len - 1])) {
      len--;
    }
    while (len > 0 && is_space(*text)) {
      text++;
      len--;
    }
    status = imattr_key_create(key, text, len);
  }
  OPENSSL_cleanse(bytes, sizeof bytes);
  return status;
}

/* }===== */

/* {===== signing ===== */

/* Appends a formatted number; `format` holds one PRIu64 or PRId64. */
static imattr_status number(imattr_buffer *out, const char *before,
                            int64_t value) {
  char line[LINE_SIZE];
  int len = snprintf(line, sizeof line, "%s%" PRId64, before, value);
  return imattr_buffer_append(out, line, (size_t)len);
}

/* The lines of vendor-api 6.1, each closed by LF, the last one too. */
static imattr_status signed_lines(const imattr_usersig_fields *fields,
                                  imattr_buffer *out) {
  imattr_status status = imattr_buffer_text(out, "TLS.identifier:");
  if (status == IMATTR_OK) {
    status =
        imattr_buffer_append(out, fields->identifier, fields->identifier_len);
  }
  if (status == IMATTR_OK) {
    status = number(out, "\nTLS.sdkappid:", (int64_t)fields->sdkappid);
  }
  if (status == IMATTR_OK) {
    status = number(out, "\nTLS.time:", fields->time_s);
  }
  if (status == IMATTR_OK) {
    status = number(out, "\nTLS.expire:", fields->expire_s);
  }
  if (status == IMATTR_OK && fields->userbuf != NULL) {
    status = imattr_buffer_text(out, "\nTLS.userbuf:");
    if (status == IMATTR_OK) {
      status = imattr_buffer_append(out, fields->userbuf, fields->userbuf_len);
    }
  }
  return status == IMATTR_OK ? imattr_buffer_text(out, "\n") : status;
}

/* Writes the base64 MAC of the fields and a NUL. OK; NO_MEMORY; CRYPTO;
** FORKED. */
static imattr_status write_mac(const imattr_key *key,
                               const imattr_usersig_fields *fields,
                               char mac[MAC_SIZE]) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t key_len;
  const char *text = imattr_secret_bytes(key, &key_len);
  imattr_buffer lines;
  imattr_status status;
  if (key_len == 0) { /* wiped: this is a child of the key's process */
    return IMATTR_FORKED;
  }
  imattr_buffer_init(&lines);
  status = signed_lines(fields, &lines);
  if (status == IMATTR_OK &&
      HMAC(EVP_sha256(), text, (int)key_len, (const unsigned char *)lines.data,
           lines.len, digest, NULL) == NULL) {
    status = IMATTR_CRYPTO;
  }
  if (status == IMATTR_OK) {
    EVP_EncodeBlock((unsigned char *)mac, digest, SHA256_LEN);
  }
  imattr_buffer_clear(&lines);
  return status;
}

imattr_status imattr_usersig_verify(const imattr_key *key,
                                    const imattr_usersig_fields *fields,
                                    const char *mac, size_t mac_len,
                                    int *holds) {
  char right[MAC_SIZE];
  imattr_status status = write_mac(key, fields, right);
  *holds = status == IMATTR_OK && mac_len == sizeof right - 1 &&
           CRYPTO_memcmp(mac, right, mac_len) == 0;
  return status;
}

/* {"TLS.ver":"2.0","TLS.identifier":...}; the order of keys does not matter */
static imattr_status write_json(const imattr_usersig_fields *fields,
                                const char *mac, imattr_buffer *out) {
  size_t offset = 0;
  imattr_status status =
      imattr_buffer_text(out, "{\"TLS.ver\":\"2.0\",\"TLS.identifier\":");
  if (status == IMATTR_OK) {
    status = imattr_json_string(out, fields->identifier, fields->identifier_len,
                                &offset);
  }
  if (status == IMATTR_OK) {
    status = number(out, ",\"TLS.sdkappid\":", (int64_t)fields->sdkappid);
  }
  if (status == IMATTR_OK) {
    status = number(out, ",\"TLS.time\":", fields->time_s);
  }
  if (status == IMATTR_OK) {
    status = number(out, ",\"TLS.expire\":", fields->expire_s);
  }
  if (status == IMATTR_OK && fields->userbuf != NULL) {
    status = imattr_buffer_text(out, ",\"TLS.userbuf\":");
    if (status == IMATTR_OK) {
      status = imattr_json_string(out, fields->userbuf, fields->userbuf_len,
                                  &offset);
    }
  }
  if (status == IMATTR_OK) {
    status = imattr_buffer_text(out, ",\"TLS.sig\":");
  }
  if (status == IMATTR_OK) {
    status = imattr_json_string(out, mac, strlen(mac), &offset);
  }
  return status == IMATTR_OK ? imattr_buffer_text(out, "}") : status;
}

/* Turns standard base64 into the vendor's alphabet, in place. */
static void to_vendor_alphabet(char *text, size_t len) {
  size_t i;
  for (i = 0; i < len; i++) {
    switch (text[i]) {
      case '+': text[i] = '*'; break;
      case '/': text[i] = '-'; break;
      case '=': text[i] = '_'; break;
      default: break;
    }
  }
}

/* Appends the deflated, encoded form of `json`. */
static imattr_status pack(const imattr_buffer *json, imattr_buffer *usersig) {
  uLongf len = compressBound((uLong)json->len);
  Bytef *bytes = malloc(len);
  imattr_status status = IMATTR_NO_MEMORY;
  if (bytes != NULL &&
      compress2(bytes, &len, (const Bytef *)json->data, (uLong)json->len,
                Z_DEFAULT_COMPRESSION) == Z_OK &&
      imattr_buffer_reserve(usersig, (size_t)len / 3 * 4 + 5) == IMATTR_OK) {
    char *text = usersig->data + usersig->len;
    int text_len = EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    to_vendor_alphabet(text, (size_t)text_len);
    usersig->len += (size_t)text_len;
    status = IMATTR_OK;
  }
  free(bytes);
  return status;
}

imattr_status imattr_usersig_sign(const imattr_key *key,
                                  const imattr_usersig_fields *fields,
                                  imattr_buffer *usersig) {
  char mac[MAC_SIZE];
  imattr_buffer json;
  imattr_status status;
  imattr_buffer_init(&json);
  status = write_mac(key, fields, mac);
  if (status == IMATTR_OK) {
    status = write_json(fields, mac, &json);
  }
  if (status == IMATTR_OK) {
    status = pack(&json, usersig);
  }
  imattr_buffer_clear(&json);
  return status;
}

/* }===== */

/* {===== opening ===== */

/* The standard letter for one of the vendor's, or 0 when it is neither. */
static char to_standard_letter(char letter) {
  if ((letter >= 'A' && letter <= 'Z') || (letter >= 'a' && letter <= 'z') ||
      (letter >= '0' && letter <= '9')) {
    return letter;
  }
  switch (letter) {
    case '*': return '+';
    case '-': return '/';
    case '_': return '=';
    default: return 0;
  }
}

/*
** Decodes the vendor's base64 into `bytes` (3/4 of IMATTR_USERSIG_LEN_MAX).
** Returns how many bytes, or -1.
*/
static int decode(const char *usersig, size_t len, unsigned char *bytes) {
  char text[IMATTR_USERSIG_LEN_MAX];
  size_t i, padding = 0;
  int got;
  if (len == 0 || len % 4 != 0 || len > sizeof text) {
    return -1;
  }
  for (i = 0; i < len; i++) {
    text[i] = to_standard_letter(usersig[i]);
    if (text[i] == 0 || (padding > 0 && text[i] != '=')) {
      return -1;
    }
    padding += text[i] == '=';
  }
  if (padding > 2) {
    return -1;
  }
  /* the decoder counts padding as zero bytes */
  got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
  return got < 0 ? -1 : got - (int)padding;
}

imattr_status imattr_usersig_unpack(const char *usersig, size_t len,
                                    imattr_buffer *json) {
  unsigned char bytes[IMATTR_USERSIG_LEN_MAX / 4 * 3];
  uLongf json_len = IMATTR_USERSIG_JSON_MAX;
  int bytes_len = decode(usersig, len, bytes);
  uLong used;
  if (bytes_len < 0) {
    return IMATTR_BAD_USERSIG;
  }
  if (imattr_buffer_reserve(json, json_len) != IMATTR_OK) {
    return IMATTR_NO_MEMORY;
  }
  used = (uLong)bytes_len;
  switch (
      uncompress2((Bytef *)json->data + json->len, &json_len, bytes, &used)) {
    case Z_OK:
      if (used != (uLong)bytes_len) { /* something follows the stream */
        return IMATTR_BAD_USERSIG;
      }
      json->len += json_len;
      return IMATTR_OK;
    case Z_MEM_ERROR: return IMATTR_NO_MEMORY;
    default: return IMATTR_BAD_USERSIG;
  }
}

/* }===== */
