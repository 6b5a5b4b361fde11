/*
** curl_status: what libcurl says about the end of a request, as a status.
*/
#ifndef imattr_curl_status_h
#define imattr_curl_status_h

#include <curl/curl.h>

#include "status.h"

#pragma GCC visibility push(hidden)

/* How a transfer ended: OK; RESOLVE, CONNECT, PROXY, TIMEOUT, TLS, BAD_REPLY,
** REPLY_TOO_LARGE, NO_MEMORY, and CUT for everything else. `reason` is the
*error buffer. */
imattr_status imattr_curl_status(CURL *easy, CURLcode result,
                                 const char *reason);

#pragma GCC visibility pop

#endif
