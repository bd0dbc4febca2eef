/*
 * go/request.c - the path of a request to what is asked for.
 */
#include "go/request.h"

#include "go/sumdbname.h"
#include "go/unicode.h"
#include "go/url.h"

static bool no_request(Err *e, const char *why)
{
    return err_set(e, ERR_NETWORK, "not found: %s", why);
}

/* Reasons of the functions below are told to who asked, and are nobody's Dockerfile. */
static bool not_found(Err *e)
{
    e->kind = ERR_NETWORK;
    return err_wrap(e, "not found");
}

static const struct {
    const char *ending;
    GoRequestKind kind;
} ENDINGS[] = {{".info", GO_REQUEST_INFO}, {".mod", GO_REQUEST_MOD}, {".zip", GO_REQUEST_ZIP}};

static bool read_version(Arena *a, const char *escaped, GoRequest *r, Err *e)
{
    const char *major;
    if (!go_version_unescape(a, str_c(escaped), &r->mod.version, e))
        return not_found(e);
    r->canonical = go_version_is_canonical(r->mod.version) && go_path_major(r->mod.path, &major) &&
                   go_version_fits(r->mod.version, major);
    if (!r->canonical && r->kind != GO_REQUEST_INFO)
        return no_request(e, "a version that is not canonical");
    return true;
}

/* "list", or a version with its ending. */
static bool read_file(Arena *a, const char *file, GoRequest *r, Err *e)
{
    r->kind = GO_REQUEST_LIST;
    if (!strcmp(file, "list"))
        return true;
    for (size_t i = 0; i < NELEM(ENDINGS); i++) {
        if (!str_ends(file, ENDINGS[i].ending))
            continue;
        r->kind = ENDINGS[i].kind;
        size_t n = strlen(file) - strlen(ENDINGS[i].ending);
        return read_version(a, arena_strndup(a, file, n), r, e);
    }
    return no_request(e, "neither list nor .info, .mod or .zip");
}

static bool read_module(Arena *a, const char *path, GoRequest *r, Err *e)
{
    const char *at = strstr(path, "/@"); /* no module path holds an @ */
    if (!at)
        return no_request(e, "no request of the GOPROXY protocol");
    if (!go_path_unescape(a, (Str){path, (size_t)(at - path)}, &r->mod.path, e))
        return not_found(e);
    if (!strcmp(at, "/@latest")) {
        r->kind = GO_REQUEST_LATEST;
        return true;
    }
    if (!str_starts(at, "/@v/"))
        return no_request(e, "neither @v nor @latest");
    return read_file(a, at + strlen("/@v/"), r, e);
}

static bool read_lookup(Arena *a, const char *what, GoRequest *r, Err *e)
{
    const char *at = strchr(what, '@');
    r->kind = GO_REQUEST_LOOKUP;
    if (!at)
        return no_request(e, "a lookup without a version");
    if (!go_path_unescape(a, (Str){what, (size_t)(at - what)}, &r->mod.path, e))
        return not_found(e);
    return read_version(a, at + 1, r, e);
}

/* "<name>/supported", and what else a database serves. Its name may hold slashes itself. */
static bool read_sumdb(Arena *a, const char *path, GoRequest *r, Err *e)
{
    const char *lookup = strstr(path, "/lookup/"), *tile = strstr(path, "/tile/");
    const char *rest = lookup && (!tile || lookup < tile) ? lookup : tile;
    if (!rest)
        rest = strrchr(path, '/');
    if (!rest)
        return no_request(e, "no request to a checksum database");
    r->sumdb = arena_strndup(a, path, (size_t)(rest - path));
    r->rest = rest + 1;
    if (sumdb_name_fault(a, r->sumdb))
        return no_request(e, "no name of a checksum database");
    if (str_starts(r->rest, "lookup/"))
        return read_lookup(a, r->rest + strlen("lookup/"), r, e);
    if (str_starts(r->rest, "tile/")) {
        r->kind = GO_REQUEST_TILE;
        return go_tile_parse(r->rest, &r->tile) || no_request(e, "no name of a tile");
    }
    r->kind = !strcmp(r->rest, "supported") ? GO_REQUEST_SUPPORTED : GO_REQUEST_TREE;
    return r->kind == GO_REQUEST_SUPPORTED || !strcmp(r->rest, "latest") ||
           no_request(e, "nothing that a checksum database serves");
}

bool go_request_parse(Arena *a, Str path, GoRequest *ret, Err *e)
{
    GoRequest r = {0};
    if (path.len && *path.ptr == '/')
        path = (Str){path.ptr + 1, path.len - 1};
    if (path.len && memchr(path.ptr, '?', path.len))
        return no_request(e, "a query");
    r.path = go_url_unescape(a, path);
    if (!r.path)
        return no_request(e, "a broken escape");
    bool sumdb = str_starts(r.path, "sumdb/");
    if (sumdb ? !read_sumdb(a, r.path + strlen("sumdb/"), &r, e) : !read_module(a, r.path, &r, e))
        return false;
    *ret = r;
    return true;
}
