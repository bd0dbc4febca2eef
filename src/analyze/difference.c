/*
 * analyze/difference.c - what makes two images different: configs, layers, files.
 */
#include <time.h>

#include "analyze/parts.h"
#include "base/fs.h"
#include "base/json.h"

enum { SHOWN = 40, VALUE_MAX = 120 };

/* Two images being compared. */
typedef struct Compare {
    Store *s;
    Arena *a;
    StoreImage img[2];
    bool times;
    AnalyzeDifference *out;
    bool told_byte; /* the first file that differs has been looked into */
    Err *e;
} Compare;

static void tell(Compare *c, const char *line)
{
    if (c->out->n++ < SHOWN)
        strlist_add(c->a, &c->out->lines, line);
}

/* ---- configs ---- */

static const char *value_text(Arena *a, const json_t *j)
{
    scoped(buf) Buf b = BUF_INIT;
    if (!j)
        return "nothing";
    json_text(j, &b);
    return b.len > VALUE_MAX ? arena_printf(a, "%.*s...", VALUE_MAX, b.ptr)
                             : arena_strdup(a, buf_str(&b));
}

static void compare_json(Compare *c, const char *path, const json_t *x, const json_t *y)
{
    const char *key;
    const json_t *v;
    if (json_is_object(x) && json_is_object(y)) {
        json_object_foreach((json_t *)x, key, v)
            compare_json(c, arena_printf(c->a, "%s.%s", path, key), v, json_object_get(y, key));
        json_object_foreach((json_t *)y, key, v) if (!json_object_get(x, key))
            compare_json(c, arena_printf(c->a, "%s.%s", path, key), NULL, v);
        return;
    }
    if (json_is_array(x) && json_is_array(y) && json_array_size(x) == json_array_size(y)) {
        for (size_t i = 0; i < json_array_size(x); i++)
            compare_json(c, arena_printf(c->a, "%s[%zu]", path, i), json_array_get(x, i),
                         json_array_get(y, i));
        return;
    }
    if (x && y && json_equal(x, y))
        return;
    if (json_is_array(x) && json_is_array(y)) {
        tell(c, arena_printf(c->a, "config: %s: %zu | %zu entries", path + 1, json_array_size(x),
                             json_array_size(y)));
        return;
    }
    if (!c->times && str_ends(path, ".created"))
        return;
    tell(c, arena_printf(c->a, "config: %s: %s | %s", *path ? path + 1 : "all", value_text(c->a, x),
                         value_text(c->a, y)));
}

static bool read_config(Compare *c, size_t i, json_t **ret)
{
    scoped(buf) Buf text = BUF_INIT;
    return store_read_blob(c->s, &c->img[i].id, &text, c->e) &&
           json_parse(buf_str(&text), text.len, ret, c->e);
}

static bool compare_configs(Compare *c)
{
    scoped(json) json_t *x = NULL, *y = NULL;
    if (!read_config(c, 0, &x) || !read_config(c, 1, &y))
        return false;
    /* Layers are told of by what is in them. */
    (void)json_object_del(x, "rootfs");
    (void)json_object_del(y, "rootfs");
    compare_json(c, "", x, y);
    return true;
}

/* ---- files ---- */

static const char *type_text(const Item *it)
{
    static const char *const WORDS[] = {
        [TREE_FILE] = "a file",     [TREE_DIR] = "a directory", [TREE_SYMLINK] = "a link",
        [TREE_FIFO] = "a pipe",     [TREE_CHAR] = "a device",   [TREE_BLOCK] = "a block device",
        [TREE_SOCKET] = "a socket",
    };
    return it->gone ? "deleted" : it->opaque ? "an opaque directory" : WORDS[it->t.type];
}

static const char *time_text(Arena *a, struct timespec t)
{
    return arena_printf(a, "%s%s", image_time(a, t.tv_sec), t.tv_nsec ? " and a part" : "");
}

/* Where two files begin to differ. */
static bool first_byte(Compare *c, const Item *x, const Item *y, const char **ret)
{
    char one[64 << 10], two[sizeof one];
    uint64_t at = 0;
    int raw;
    if (!contents_file(c->s, &c->img[0], x, &raw, c->e))
        return false;
    scoped(fd) int fd1 = raw;
    if (!contents_file(c->s, &c->img[1], y, &raw, c->e))
        return false;
    scoped(fd) int fd2 = raw;
    for (;;) {
        ssize_t n = pread(fd1, one, sizeof one, (off_t)at),
                m = pread(fd2, two, sizeof two, (off_t)at);
        if (n < 0 || m < 0)
            return err_errno(c->e, ERR_STORE, "compare '/%s'", x->path);
        size_t both = (size_t)(n < m ? n : m), i = 0;
        while (i < both && one[i] == two[i])
            i++;
        at += i;
        if (i < both) {
            *ret = arena_printf(c->a, "content differs from byte %llu on (0x%02x | 0x%02x)",
                                (unsigned long long)at, (uint8_t)one[i], (uint8_t)two[i]);
            return true;
        }
        if (n != m || !n) {
            *ret = arena_printf(c->a, "content ends at byte %llu in one of them",
                                (unsigned long long)at);
            return true;
        }
    }
}

static void field(Compare *c, Buf *line, const char *name, const char *x, const char *y)
{
    (void)c;
    buf_printf(line, "%s%s %s | %s", line->len ? "; " : "", name, x, y);
}

static bool same_xattrs(const TreeEntry *x, const TreeEntry *y)
{
    if (x->nxattr != y->nxattr)
        return false;
    for (size_t i = 0; i < x->nxattr; i++) {
        const TreeXattr *p = &x->xattrs[i], *q = &y->xattrs[i];
        if (strcmp(p->name, q->name) != 0 || p->value.len != q->value.len ||
            memcmp(p->value.ptr, q->value.ptr, p->value.len) != 0)
            return false;
    }
    return true;
}

static bool file_fields(Compare *c, const Item *x, const Item *y, Buf *line)
{
    const char *where = "other content";
    Arena *a = c->a;
    if (x->t.size != y->t.size)
        field(c, line, "size", arena_printf(a, "%llu", (unsigned long long)x->t.size),
              arena_printf(a, "%llu", (unsigned long long)y->t.size));
    if (digest_eq(&x->t.content, &y->t.content))
        return true;
    if (!c->told_byte && !first_byte(c, x, y, &where))
        return false;
    c->told_byte = true;
    buf_printf(line, "%s%s", line->len ? "; " : "", where);
    return true;
}

/* All that differs between two entries of one path. */
static bool fields(Compare *c, const Item *x, const Item *y, Buf *line)
{
    const TreeEntry *p = &x->t, *q = &y->t;
    Arena *a = c->a;
    if (x->gone != y->gone || x->opaque != y->opaque || p->type != q->type) {
        field(c, line, "is", type_text(x), type_text(y));
        return true;
    }
    if (x->gone || x->opaque)
        return true;
    if (p->mode != q->mode)
        field(c, line, "mode", arena_printf(a, "%04o", p->mode), arena_printf(a, "%04o", q->mode));
    if (p->uid != q->uid || p->gid != q->gid)
        field(c, line, "owner", arena_printf(a, "%u:%u", p->uid, p->gid),
              arena_printf(a, "%u:%u", q->uid, q->gid));
    if (p->type == TREE_SYMLINK && strcmp(p->link, q->link) != 0)
        field(c, line, "link", p->link, q->link);
    if (p->major != q->major || p->minor != q->minor)
        field(c, line, "device", arena_printf(a, "%u:%u", p->major, p->minor),
              arena_printf(a, "%u:%u", q->major, q->minor));
    if (!same_xattrs(p, q))
        buf_printf(line, "%sattributes differ", line->len ? "; " : "");
    if (p->type == TREE_FILE && !file_fields(c, x, y, line))
        return false;
    if (c->times && (p->mtime.tv_sec != q->mtime.tv_sec || p->mtime.tv_nsec != q->mtime.tv_nsec))
        field(c, line, "time", time_text(a, p->mtime), time_text(a, q->mtime));
    return true;
}

/* Two sorted lists. `where` is put in front of each line. */
static bool compare_lists(Compare *c, const Contents *x, const Contents *y, const char *where)
{
    size_t i = 0, k = 0;
    while (i < x->n || k < y->n) {
        scoped(buf) Buf line = BUF_INIT;
        int order = i == x->n ? 1 : k == y->n ? -1 : contents_order(x->v[i].path, y->v[k].path);
        const Item *one = order <= 0 ? &x->v[i++] : NULL, *two = order >= 0 ? &y->v[k++] : NULL;
        if (one && two && !fields(c, one, two, &line))
            return false;
        if (!one || !two)
            buf_printf(&line, "%s, and only in the %s", type_text(one ? one : two),
                       one ? "first" : "second");
        if (line.len)
            tell(c, arena_printf(c->a, "%s/%s: %s", where, (one ? one : two)->path, line.ptr));
    }
    return true;
}

static bool compare_layer(Compare *c, size_t i)
{
    Contents of[2] = {{0}, {0}};
    size_t before = c->out->n;
    for (size_t k = 0; k < 2; k++) {
        if (!contents_layer(c->s, c->a, &c->img[k], i, &of[k], c->e))
            return err_wrap(c->e, "the %s image", k ? "second" : "first");
        contents_sort(&of[k]);
    }
    if (!compare_lists(c, &of[0], &of[1], arena_printf(c->a, "layer %zu: ", i + 1)))
        return false;
    if (before == c->out->n && c->times)
        tell(c, arena_printf(c->a,
                             "layer %zu: the same files, in another order or written in "
                             "another way",
                             i + 1));
    return true;
}

/* Other layers: only what a container sees can be compared. */
static bool compare_whole(Compare *c)
{
    Contents of[2] = {{0}, {0}};
    tell(c, arena_printf(c->a, "layers: %zu | %zu; files are compared as a container sees them",
                         c->img[0].nlayer, c->img[1].nlayer));
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < c->img[k].nlayer; i++)
            if (!contents_layer(c->s, c->a, &c->img[k], i, &of[k], c->e))
                return err_wrap(c->e, "the %s image", k ? "second" : "first");
        contents_flatten(&of[k]);
    }
    return compare_lists(c, &of[0], &of[1], "");
}

static bool compare_layers(Compare *c)
{
    if (c->img[0].nlayer != c->img[1].nlayer)
        return compare_whole(c);
    for (size_t i = 0; i < c->img[0].nlayer; i++)
        if (!digest_eq(&c->img[0].layers[i].diff_id, &c->img[1].layers[i].diff_id) &&
            !compare_layer(c, i))
            return false;
    return true;
}

bool analyze_difference(Store *s, Arena *a, const Digest *one, const Digest *two, bool times,
                        AnalyzeDifference *ret, Err *e)
{
    AnalyzeDifference out = {0};
    Compare c = {.s = s, .a = a, .times = times, .out = &out, .e = e};
    const Digest *ids[2] = {one, two};
    for (size_t i = 0; i < 2; i++) {
        bool found;
        if (!store_image_get(s, a, ids[i], &c.img[i], &found, e))
            return false;
        if (!found)
            return err_set(e, ERR_STORE, "the %s image is not in the store any more",
                           i ? "second" : "first");
    }
    if (!digest_eq(one, two) && (!compare_configs(&c) || !compare_layers(&c)))
        return false;
    *ret = out;
    return true;
}
