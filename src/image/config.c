/*
 * image/config.c - the image config: parse, copy, write.
 */
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/json.h"
#include "image/image.h"

static const struct {
    const char *machine, *arch;
} ARCHES[] = {{"x86_64", "amd64"},
              {"aarch64", "arm64"},
              {"riscv64", "riscv64"},
              {"s390x", "s390x"},
              {"ppc64le", "ppc64le"}};

const char *image_arch(void)
{
    static const char *arch;
    struct utsname u;
    if (arch)
        return arch;
    if (uname(&u) == 0)
        for (size_t i = 0; i < NELEM(ARCHES); i++)
            if (!strcmp(u.machine, ARCHES[i].machine))
                return arch = ARCHES[i].arch;
    return arch = "unknown";
}

int64_t image_time_parse(const char *text)
{
    struct tm tm = {0};
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return 0;
    return (int64_t)timegm(&tm);
}

char *image_time(Arena *a, int64_t seconds)
{
    struct tm tm;
    time_t t = (time_t)seconds;
    char text[40];
    if (!gmtime_r(&t, &tm) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return arena_strdup(a, "1970-01-01T00:00:00Z");
    return arena_strdup(a, text);
}

ImageConfig image_config_empty(Arena *a)
{
    ImageConfig c = {.architecture = image_arch(), .os = "linux", .workdir = "/"};
    strlist_add(a, &c.env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    return c;
}

ImageConfig image_config_clone(Arena *a, const ImageConfig *c)
{
    ImageConfig n = *c;
    StrList *const lists[] = {&n.env,     &n.entrypoint,    &n.cmd,    &n.shell,
                              &n.onbuild, &n.exposed_ports, &n.volumes};
    for (size_t i = 0; i < NELEM(lists); i++)
        *lists[i] = strlist_copy(a, lists[i]);
    n.labels = arena_grow(a, c->labels, c->nlabel, c->nlabel + 4, sizeof *c->labels);
    n.label_cap = c->nlabel + 4;
    n.history = arena_grow(a, c->history, c->nhistory, c->nhistory + 8, sizeof *c->history);
    n.history_cap = c->nhistory + 8;
    return n;
}

void image_config_add_history(Arena *a, ImageConfig *c, const ImageHistory *h)
{
    *ARENA_PUSH(a, c->history, c->nhistory, c->history_cap) = *h;
}

void image_set_add(Arena *a, StrList *set, const char *s)
{
    size_t i = 0;
    for (size_t end = set->n; i < end;) {
        size_t mid = i + (end - i) / 2;
        if (strcmp(set->v[mid], s) < 0)
            i = mid + 1;
        else
            end = mid;
    }
    if (i < set->n && !strcmp(set->v[i], s))
        return;
    strlist_add(a, set, s);
    char *fresh = set->v[set->n - 1];
    memmove(set->v + i + 1, set->v + i, (set->n - 1 - i) * sizeof *set->v);
    set->v[i] = fresh;
}

void image_chain_id(const Digest *diff_ids, size_t n, Digest *ret)
{
    Digest chain = {{0}};
    if (n)
        chain = diff_ids[0];
    for (size_t i = 1; i < n; i++) {
        char text[2 * DIGEST_TEXT_SIZE];
        digest_text(&chain, text);
        text[DIGEST_TEXT_SIZE - 1] = ' ';
        digest_text(&diff_ids[i], text + DIGEST_TEXT_SIZE);
        digest_of(text, 2 * DIGEST_TEXT_SIZE - 1, &chain);
    }
    *ret = chain;
}

/* ---- reading ---- */

/* The keys of a JSON object used as a set, sorted. */
static StrList key_set(Arena *a, const json_t *obj)
{
    StrList l = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)obj, key, value) image_set_add(a, &l, key);
    return l;
}

void image_label_set(Arena *a, ImageConfig *c, const char *name, const char *value)
{
    ImageLabel l = {arena_strdup(a, name), arena_strdup(a, value)};
    for (size_t i = 0; i < c->nlabel; i++)
        if (!strcmp(c->labels[i].name, name)) {
            c->labels[i] = l;
            return;
        }
    *ARENA_PUSH(a, c->labels, c->nlabel, c->label_cap) = l;
}

static void read_labels(Arena *a, const json_t *obj, ImageConfig *c)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)obj, key, value)
    {
        if (json_is_string(value))
            image_label_set(a, c, key, json_string_value(value));
    }
}

static void read_runtime(Arena *a, const json_t *j, ImageConfig *c)
{
    c->user = json_keep(a, j, "User");
    c->workdir = json_keep(a, j, "WorkingDir");
    c->stop_signal = json_keep(a, j, "StopSignal");
    c->env = json_strlist(a, j, "Env");
    c->entrypoint = json_strlist(a, j, "Entrypoint");
    c->cmd = json_strlist(a, j, "Cmd");
    c->shell = json_strlist(a, j, "Shell");
    c->onbuild = json_strlist(a, j, "OnBuild");
    c->exposed_ports = key_set(a, json_object_get(j, "ExposedPorts"));
    c->volumes = key_set(a, json_object_get(j, "Volumes"));
    read_labels(a, json_object_get(j, "Labels"), c);
    c->args_escaped = json_is_true(json_object_get(j, "ArgsEscaped"));
    const json_t *health = json_object_get(j, "Healthcheck");
    if (json_is_object(health)) {
        scoped(buf) Buf b = BUF_INIT;
        json_text(health, &b);
        c->healthcheck = arena_strdup(a, buf_str(&b));
    }
}

static bool read_diff_ids(Arena *a, const json_t *list, ImageConfig *c, Err *e)
{
    size_t n = json_array_size(list);
    if (n > IMAGE_MAX_LAYERS)
        return err_set(e, ERR_STORE, "image has %zu layers, over the limit of %d", n,
                       IMAGE_MAX_LAYERS);
    c->diff_ids = NEW_N(a, Digest, n + 1);
    c->ndiff = n;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || !digest_parse(text, &c->diff_ids[i]))
            return err_set(e, ERR_STORE, "image config: diff_ids[%zu] is not a sha256 digest", i);
    }
    return true;
}

static void read_history(Arena *a, const json_t *list, ImageConfig *c)
{
    const json_t *h;
    size_t i;
    json_array_foreach(list, i, h)
    {
        ImageHistory one = {
            .created = json_keep(a, h, "created"),
            .created_by = json_keep(a, h, "created_by"),
            .author = json_keep(a, h, "author"),
            .comment = json_keep(a, h, "comment"),
            .empty_layer = json_is_true(json_object_get(h, "empty_layer")),
        };
        image_config_add_history(a, c, &one);
    }
}

bool image_config_parse(Arena *a, const char *text, size_t len, ImageConfig *ret, Err *e)
{
    scoped(json) json_t *j = NULL;
    ImageConfig c = {0};
    if (!json_parse(text, len, &j, e))
        return err_wrap(e, "image config");
    if (!json_is_object(j))
        return err_set(e, ERR_STORE, "image config: not a JSON object");
    c.created = json_keep(a, j, "created");
    c.author = json_keep(a, j, "author");
    c.architecture = json_keep(a, j, "architecture");
    c.variant = json_keep(a, j, "variant");
    c.os = json_keep(a, j, "os");
    c.os_version = json_keep(a, j, "os.version");
    if (!c.architecture || !c.os)
        return err_set(e, ERR_STORE, "image config: has no os or architecture");
    read_runtime(a, json_object_get(j, "config"), &c);
    if (!read_diff_ids(a, json_object_get(json_object_get(j, "rootfs"), "diff_ids"), &c, e))
        return false;
    read_history(a, json_object_get(j, "history"), &c);
    *ret = c;
    return true;
}

/* ---- writing ---- */

static json_t *list_json(const StrList *l)
{
    json_t *arr = json_array();
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(arr, json_string_lossy(l->v[i]));
    return arr;
}

static void put_list(json_t *obj, const char *key, const StrList *l)
{
    if (l->n)
        json_object_set_new(obj, key, list_json(l));
}

static void put_set(json_t *obj, const char *key, const StrList *l)
{
    if (!l->n)
        return;
    json_t *set = json_object();
    for (size_t i = 0; i < l->n; i++)
        json_set_lossy(set, l->v[i], json_object());
    json_object_set_new(obj, key, set);
}

static void put_labels(json_t *obj, const ImageConfig *c)
{
    if (!c->nlabel)
        return;
    json_t *set = json_object();
    for (size_t i = 0; i < c->nlabel; i++)
        json_set_lossy(set, c->labels[i].name, json_string_lossy(c->labels[i].value));
    json_object_set_new(obj, "Labels", set);
}

static json_t *runtime_json(const ImageConfig *c)
{
    json_t *j = json_object();
    json_set_str(j, "User", c->user);
    json_set_str(j, "WorkingDir", c->workdir);
    json_set_str(j, "StopSignal", c->stop_signal);
    put_list(j, "Env", &c->env);
    put_list(j, "Entrypoint", &c->entrypoint);
    put_list(j, "Cmd", &c->cmd);
    put_list(j, "Shell", &c->shell);
    put_list(j, "OnBuild", &c->onbuild);
    put_set(j, "ExposedPorts", &c->exposed_ports);
    put_set(j, "Volumes", &c->volumes);
    put_labels(j, c);
    if (c->args_escaped)
        json_object_set_new(j, "ArgsEscaped", json_true());
    if (c->healthcheck)
        json_object_set_new(j, "Healthcheck", json_loads(c->healthcheck, 0, NULL));
    return j;
}

static json_t *history_json(const ImageHistory *h)
{
    json_t *j = json_object();
    json_set_str(j, "created", h->created);
    json_set_str(j, "created_by", h->created_by);
    json_set_str(j, "author", h->author);
    json_set_str(j, "comment", h->comment);
    if (h->empty_layer)
        json_object_set_new(j, "empty_layer", json_true());
    return j;
}

void image_config_text(const ImageConfig *c, Buf *out)
{
    scoped(json) json_t *j = json_object();
    json_set_str(j, "created", c->created);
    json_set_str(j, "author", c->author);
    json_set_str(j, "architecture", c->architecture);
    json_set_str(j, "variant", c->variant);
    json_set_str(j, "os", c->os);
    json_set_str(j, "os.version", c->os_version);
    json_object_set_new(j, "config", runtime_json(c));

    json_t *diff = json_array();
    for (size_t i = 0; i < c->ndiff; i++) {
        char text[DIGEST_TEXT_SIZE];
        digest_text(&c->diff_ids[i], text);
        json_array_append_new(diff, json_string(text));
    }
    json_t *rootfs = json_object();
    json_object_set_new(rootfs, "type", json_string("layers"));
    json_object_set_new(rootfs, "diff_ids", diff);
    json_object_set_new(j, "rootfs", rootfs);

    json_t *history = json_array();
    for (size_t i = 0; i < c->nhistory; i++)
        json_array_append_new(history, history_json(&c->history[i]));
    json_object_set_new(j, "history", history);
    json_text(j, out);
}
