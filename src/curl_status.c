/* curl_status: libcurl's codes and words, as statuses */
#include "curl_status.h"

#include <string.h>

static imattr_status status_of(CURLcode result) {
  switch (result) {
    case CURLE_OK: return IMATTR_OK;
    case CURLE_OUT_OF_MEMORY: return IMATTR_NO_MEMORY;
    case CURLE_COULDNT_RESOLVE_HOST: return IMATTR_RESOLVE;
    case CURLE_COULDNT_CONNECT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT: return IMATTR_CONNECT;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY: return IMATTR_PROXY;
    case CURLE_OPERATION_TIMEDOUT: return IMATTR_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH: return IMATTR_TLS;
    default: return IMATTR_CUT;
  }
}

/* A handshake that the other side broke off, without any certificate being
** in doubt, is the network's fault and worth another try. */
static int is_broken_handshake(CURLcode result, const char *reason) {
  static const char *const signs[] = {"SSL_ERROR_SYSCALL", "unexpected eof",
                                      "Connection reset", "Broken pipe",
                                      "is not connected"};
  size_t i = 0;
  while (i < sizeof signs / sizeof *signs && strstr(reason, signs[i]) == NULL) {
    i++;
  }
  return result == CURLE_SSL_CONNECT_ERROR && i < sizeof signs / sizeof *signs;
}

/* Did a proxy refuse to connect? Then nothing went further than it. */
static int is_proxy_refusal(CURL *easy, CURLcode result) {
  long code = 0;
  curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &code);
  return result != CURLE_OK && code != 0 && code != 200;
}

/* Did something else than HTTP answer? libcurl calls that a protocol which it
** does not support, as it does one that a URL asks for. */
static int is_no_http(CURL *easy, CURLcode result) {
  long request_bytes = 0;
  curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &request_bytes);
  return result == CURLE_UNSUPPORTED_PROTOCOL && request_bytes > 0;
}

/* A line of more than 100 kB in the answer's head: libcurl calls that a lack of
** memory. */
static int is_long_head(CURL *easy, CURLcode result) {
  long head_bytes = 0;
  curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &head_bytes);
  return result == CURLE_OUT_OF_MEMORY && head_bytes > 0;
}

imattr_status imattr_curl_status(CURL *easy, CURLcode result,
                                 const char *reason) {
  if (is_no_http(easy, result)) {
    return IMATTR_BAD_REPLY;
  }
  if (is_long_head(easy, result)) {
    return IMATTR_REPLY_TOO_LARGE;
  }
  if (is_proxy_refusal(easy, result)) {
    return IMATTR_PROXY;
  }
  return is_broken_handshake(result, reason) ? IMATTR_CUT : status_of(result);
}
