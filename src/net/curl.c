/*
 * net/curl.c - find libcurl when it is first needed.
 *
 * It is never linked: with TLS it brings some thirty libraries, whose loading takes longer than a
 * build in which nothing changed.
 */
#include "net/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

/* Both kinds have one interface and differ in who speaks TLS. */
static const char *const LIBRARIES[] = {"libcurl.so.4", "libcurl-gnutls.so.4", NULL};

static bool resolve(void *lib, CurlApi *api, const char **ret_missing)
{
    const struct {
        const char *name;
        void *slot;
    } symbols[] = {
        {"curl_global_init", &api->global_init},
        {"curl_easy_init", &api->easy_init},
        {"curl_easy_cleanup", &api->easy_cleanup},
        {"curl_easy_reset", &api->easy_reset},
        {"curl_easy_setopt", &api->easy_setopt},
        {"curl_easy_getinfo", &api->easy_getinfo},
        {"curl_easy_pause", &api->easy_pause},
        {"curl_easy_strerror", &api->easy_strerror},
        {"curl_multi_init", &api->multi_init},
        {"curl_multi_cleanup", &api->multi_cleanup},
        {"curl_multi_setopt", &api->multi_setopt},
        {"curl_multi_add_handle", &api->multi_add_handle},
        {"curl_multi_remove_handle", &api->multi_remove_handle},
        {"curl_multi_perform", &api->multi_perform},
        {"curl_multi_poll", &api->multi_poll},
        {"curl_multi_info_read", &api->multi_info_read},
        {"curl_slist_append", &api->slist_append},
        {"curl_slist_free_all", &api->slist_free_all},
        {"curl_version_info", &api->version_info},
    };
    for (size_t i = 0; i < NELEM(symbols); i++) {
        void *found = dlsym(lib, symbols[i].name);
        *ret_missing = symbols[i].name;
        if (!found)
            return false;
        /* C has no cast from an object's address to a function's; POSIX makes them the same. */
        memcpy(symbols[i].slot, &found, sizeof found);
    }
    return true;
}

bool curl_load(const char *const *names, CurlApi *ret, Err *e)
{
    void *lib = NULL;
    const char *missing = NULL;
    CurlApi api;
    for (size_t i = 0; names[i] && !lib; i++)
        lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return err_set(e, ERR_ENV,
                       "the network needs libcurl, which cannot be loaded (%s): install the "
                       "package libcurl4",
                       dlerror());
    if (!resolve(lib, &api, &missing)) {
        dlclose(lib);
        return err_set(e, ERR_ENV, "libcurl lacks %s: install the package libcurl4", missing);
    }
    CURLcode code = api.global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK)
        return err_set(e, ERR_ENV, "libcurl does not start: %s", api.easy_strerror(code));
    *ret = api;
    return true;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;
static CurlApi the_api;
static Err load_error;

static void load(void)
{
    loaded = curl_load(LIBRARIES, &the_api, &load_error);
}

bool curl_api(const CurlApi **ret, Err *e)
{
    pthread_once(&once, load);
    if (!loaded)
        return err_set(e, load_error.kind, "%s", load_error.msg);
    *ret = &the_api;
    return true;
}
