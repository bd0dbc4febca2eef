/*
 * source/engine.c - images of a docker or podman that runs here, over its socket.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "net/net.h"
#include "source/source.h"

enum { ANSWER_MAX = 4 << 20 };

/* Whether somebody can listen there. */
static bool is_socket(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

bool source_engine(Arena *a, const char **ret, Err *e)
{
    const char *host = getenv("DOCKER_HOST"), *run = getenv("XDG_RUNTIME_DIR");
    StrList places = {0};
    *ret = NULL;
    if (host && *host) {
        if (!str_starts(host, "unix://"))
            return err_set(e, ERR_ENV, "DOCKER_HOST=%s: only engines on unix:// sockets are asked",
                           host);
        if (!is_socket(host + 7))
            return err_set(e, ERR_ENV, "DOCKER_HOST=%s: no socket is there", host);
        *ret = arena_strdup(a, host + 7);
        return true;
    }
    strlist_add(a, &places, "/var/run/docker.sock");
    if (run && *run) {
        strlist_add(a, &places, arena_printf(a, "%s/docker.sock", run));
        strlist_add(a, &places, arena_printf(a, "%s/podman/podman.sock", run));
    }
    strlist_add(a, &places, "/run/podman/podman.sock");
    for (size_t i = 0; i < places.n && !*ret; i++)
        if (is_socket(places.v[i]) && access(places.v[i], W_OK) == 0)
            *ret = places.v[i];
    return true;
}

/* What an engine says of a failure: {"message": "..."} or {"cause": ...}. */
static bool refused(const char *socket, const char *what, int status, const Buf *body, Err *e)
{
    scoped(json) json_t *j = NULL;
    Err ignored = ERR_INIT;
    const char *said = NULL;
    if (json_parse(buf_str(body), body->len, &j, &ignored))
        said = json_str(j, "message");
    return err_set(e, ERR_NETWORK, "%s: the engine at '%s' says %.300s (status %d)", what, socket,
                   said ? said : "no", status);
}

static bool read_answer(void *stream, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    return net_read(stream, buf, cap, ret_n, e);
}

static bool read_words(NetStream *in, Buf *ret, Err *e)
{
    for (size_t n = 1; n && ret->len < ANSWER_MAX;) {
        if (!net_read(in, buf_reserve(ret, 4096), 4096, &n, e))
            return false;
        ret->len += n;
        ret->ptr[ret->len] = 0;
    }
    return true;
}

bool source_engine_image(Store *s, Arena *a, const char *socket, const char *name,
                         const Platform *platform, Digest *ret, Err *e)
{
    ImageRef ref;
    if (!image_ref_parse(a, name, &ref, e))
        return false;
    const char *shown = image_ref_familiar(a, &ref);
    NetAsk ask = {.url = arena_printf(a, "http://localhost/images/%s/get", shown),
                  .socket = socket,
                  .attempts = 1};
    scoped(net_stream) NetStream *in = NULL;
    scoped(buf) Buf words = BUF_INIT;
    NetAnswer head;
    Loaded *v;
    size_t n;
    if (!net_open(a, &ask, &in, &head, NULL, e))
        return err_wrap(e, "ask the engine at '%s' for '%s'", socket, shown);
    if (head.status != 200)
        return read_words(in, &words, e) &&
               refused(socket, arena_printf(a, "image '%s'", shown), head.status, &words, e);
    scoped(layer_in) LayerIn *tar = layer_in_from(read_answer, in, LAYER_SNIFF);
    if (!source_load_stream(s, a, tar, platform, &v, &n, e))
        return err_wrap(e, "image '%s' of the engine at '%s'", shown, socket);
    *ret = v[0].id;
    return true;
}

/* A load's answer is a JSON document a line; a failure is among them, with status 200. */
static bool check_lines(const char *socket, Buf *body, Err *e)
{
    char *save = NULL;
    if (!body->len)
        return true;
    for (char *line = strtok_r(body->ptr, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save)) {
        scoped(json) json_t *j = NULL;
        Err ignored = ERR_INIT;
        const char *why =
            json_parse(line, strlen(line), &j, &ignored) ? json_str(j, "error") : NULL;
        if (why)
            return err_set(e, ERR_NETWORK, "the engine at '%s' does not load it: %.300s", socket,
                           why);
    }
    return true;
}

bool source_engine_load(const char *socket, int fd, uint64_t size, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf body = BUF_INIT;
    NetAnswer head;
    NetAsk ask = {.method = "POST",
                  .url = "http://localhost/images/load?quiet=1",
                  .socket = socket,
                  .attempts = 1,
                  .has_body = true,
                  .body_fd = fd,
                  .body_size = size};
    strlist_add(&a, &ask.headers, "Content-Type: application/x-tar");
    if (!net_ask(&a, &ask, &body, ANSWER_MAX, &head, NULL, e))
        return err_wrap(e, "load into the engine at '%s'", socket);
    if (head.status != 200)
        return refused(socket, "load", head.status, &body, e);
    return check_lines(socket, &body, e);
}
