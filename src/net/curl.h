/*
 * net/curl.h - libcurl as a table of functions. Private to the net room.
 */
#ifndef NET_CURL_H
#define NET_CURL_H

#define CURL_DISABLE_TYPECHECK   /* its macros would call functions that are not linked */
#define CURL_DISABLE_DEPRECATION /* options that newer versions replace serve older ones */
#include <curl/curl.h>

#include "base/err.h"

typedef struct CurlApi {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *h);
    void (*easy_reset)(CURL *h);
    CURLcode (*easy_setopt)(CURL *h, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *h, CURLINFO info, ...);
    CURLcode (*easy_pause)(CURL *h, int bitmask);
    const char *(*easy_strerror)(CURLcode code);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *m);
    CURLMcode (*multi_setopt)(CURLM *m, CURLMoption option, ...);
    CURLMcode (*multi_add_handle)(CURLM *m, CURL *h);
    CURLMcode (*multi_remove_handle)(CURLM *m, CURL *h);
    CURLMcode (*multi_perform)(CURLM *m, int *running);
    CURLMcode (*multi_poll)(CURLM *m, struct curl_waitfd *extra, unsigned nextra, int timeout_ms,
                            int *nfd);
    CURLMsg *(*multi_info_read)(CURLM *m, int *left);
    struct curl_slist *(*slist_append)(struct curl_slist *l, const char *s);
    void (*slist_free_all)(struct curl_slist *l);
    curl_version_info_data *(*version_info)(CURLversion age);
} CurlApi;

/* curl_load - the first library of `names` (ended by NULL) that can be loaded, initialised. */
NODISCARD bool curl_load(const char *const *names, CurlApi *ret, Err *e);
/* curl_api - this process' libcurl, loaded by the first call. Fails with ERR_ENV, each time. */
NODISCARD bool curl_api(const CurlApi **ret, Err *e);

#endif
