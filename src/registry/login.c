/*
 * registry/login.c - users and passwords, tried and kept.
 */
#include "registry/client.h"

enum { WORDS_MAX = 64 << 10 };

/* Ask the registry's root, as the user and nobody else. */
static bool try_user(Registry *r, Arena *a, const Endpoint *ep, const char *host, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    NetAnswer head;
    Call c = {.what = arena_printf(a, "login to '%s'", host), .ep = ep, .path = "/v2/"};
    if (!client_ask(r, a, &c, &body, WORDS_MAX, &head, NULL, e))
        return err_wrap(e, "login to '%s'", host);
    if (head.status == 200)
        return true;
    if (head.status == 401 || head.status == 403)
        return err_set(e, ERR_NETWORK, "login to '%s': refused (status %d): wrong user or password",
                       host, head.status);
    return client_refused(r, a, &c, &head, &body, e);
}

static bool good_host(Arena *a, const char *host, ImageRef *ret, Err *e)
{
    Err why = ERR_INIT;
    if (!strchr(host, '/') && image_ref_parse(a, arena_printf(a, "%s/x", host), ret, &why) &&
        (!strcmp(ret->domain, host) || !strcmp(host, "index.docker.io")))
        return true;
    return err_set(e, ERR_USAGE, "'%s' is no registry: expected HOST[:PORT]", host);
}

/* "https://host/v1/" and "host/" mean the host, as docker has it. */
static const char *bare(Arena *a, const char *host)
{
    const char *at = str_starts(host, "https://")  ? host + 8
                     : str_starts(host, "http://") ? host + 7
                                                   : host;
    size_t n = strcspn(at, "/");
    bool whole =
        !at[n] || !strcmp(at + n, "/") || str_starts(at + n, "/v1") || str_starts(at + n, "/v2");
    return whole ? arena_strndup(a, at, n) : at;
}

bool registry_login(Registry *r, Arena *a, const char *host, const char *user, const char *password,
                    RegistryLogin *ret, Err *e)
{
    ImageRef ref;
    Endpoint *eps;
    size_t n;
    host = bare(a, host);
    if (!good_host(a, host, &ref, e) || !client_load(r, e))
        return false;
    ref.path = "";
    if (!conf_endpoints(&r->conf, a, &ref, true, &eps, &n, e))
        return false;
    Endpoint ep = eps[n - 1];
    ep.path = "";
    creds_only(&r->creds, user, password);
    if (!try_user(r, a, &ep, host, e))
        return false;
    ret->file = creds_file(a, r->opts.authfile);
    return creds_store(a, ret->file, ref.domain, user, password, &ret->helper, e);
}

bool registry_logout(Registry *r, Arena *a, const char *host, StrList *ret_files, Err *e)
{
    ImageRef ref;
    StrList files = creds_all_files(a, r->opts.authfile);
    *ret_files = (StrList){0};
    host = bare(a, host);
    if (!good_host(a, host, &ref, e))
        return false;
    for (size_t i = 0; i < files.n; i++) {
        bool had;
        if (!creds_erase(a, files.v[i], ref.domain, &had, e))
            return false;
        if (had)
            strlist_add(a, ret_files, files.v[i]);
    }
    return true;
}
