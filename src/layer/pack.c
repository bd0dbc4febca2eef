/*
 * layer/pack.c - an Upper to a tar stream.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/owner.h"
#include "layer/in.h"
#include "layer/squeeze.h"
#include "layer/tarfmt.h"

char *layer_times_text(Arena *a, LayerTimes t)
{
    switch (t.kind) {
    case TIMES_KEEP:
        return arena_strdup(a, "keep");
    case TIMES_CLAMP:
        return arena_printf(a, "clamp %" PRId64, t.at);
    case TIMES_FIXED:
        return arena_printf(a, "fixed %" PRId64, t.at);
    }
    return NULL;
}

bool layer_times_parse(const char *text, LayerTimes *ret)
{
    uint64_t at;
    if (!strcmp(text, "keep")) {
        *ret = (LayerTimes){.kind = TIMES_KEEP};
        return true;
    }
    bool clamp = str_starts(text, "clamp "), fixed = str_starts(text, "fixed ");
    if ((!clamp && !fixed) || !str_u64(text + 6, INT64_MAX, &at))
        return false;
    *ret = (LayerTimes){.kind = clamp ? TIMES_CLAMP : TIMES_FIXED, .at = (int64_t)at};
    return true;
}

typedef struct Packer {
    Squeeze *out;
    LayerTimes times;
    Arena arena; /* of the directory being walked */
    Arena kept;  /* names of hard links */
    Map inodes;  /* "dev:ino" of files with several names -> address of the first name */
    View view;
    int dirfd;
    const char *below; /* NULL: a layer; else a file system, below this directory or "" */
    LayerLent lent;
    Err *e;
} Packer;

static bool emit_header(Packer *p, const TarEntry *t)
{
    scoped(buf) Buf head = BUF_INIT;
    tar_format(t, &head);
    return squeeze_add(p->out, head.ptr, head.len, p->e);
}

static bool emit_padding(Packer *p, uint64_t size)
{
    static const char ZERO[TAR_BLOCK];
    return squeeze_add(p->out, ZERO, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, p->e);
}

static bool emit_data(Packer *p, const ViewNode *node, uint64_t size)
{
    char block[64 << 10];
    bool lent = p->lent.path && !strcmp(p->lent.path, node->path);
    scoped(fd) int own = lent ? -1 : view_open(&p->view, node);
    int fd = lent ? p->lent.fd : own;
    if (fd < 0)
        return err_errno(p->e, ERR_STORE, "open '%s'", node->path);
    uint64_t left = size;
    while (left) {
        if (cancel_wanted())
            return err_set(p->e, ERR_STEP, "cancelled");
        ssize_t n = pread(fd, block, left < sizeof block ? (size_t)left : sizeof block,
                          (off_t)(size - left));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(p->e, ERR_STORE, "read '%s'", node->path);
        if (n == 0)
            return err_set(p->e, ERR_STORE, "'%s' became shorter while it was packed", node->path);
        if (!squeeze_add(p->out, block, (size_t)n, p->e))
            return false;
        left -= (uint64_t)n;
    }
    return emit_padding(p, size);
}

static time_t rule_time(const Packer *p, time_t t)
{
    switch (p->times.kind) {
    case TIMES_KEEP:
        return t;
    case TIMES_CLAMP:
        return t > p->times.at ? p->times.at : t;
    case TIMES_FIXED:
        return p->times.at;
    }
    return t;
}

/* A name that says "deleted here". Source: OCI image-spec 1.1, layer.md, "Whiteouts". */
static bool emit_whiteout(Packer *p, const char *dir, const char *name)
{
    TarEntry t = {.type = '0'};
    t.name = arena_printf(&p->arena, "%s%s.wh.%s", dir, *dir ? "/" : "", name);
    /* A deletion has no time of its own; the overlay's node tells when this machine made it. */
    t.mtime.tv_sec = p->times.kind == TIMES_KEEP ? 0 : rule_time(p, 0);
    return emit_header(p, &t);
}

static bool as_hard_link(Packer *p, const ViewNode *node, TarEntry *t)
{
    uint64_t first;
    if (t->type != '0' || node->st.st_nlink < 2)
        return false;
    char *id = arena_printf(&p->kept, "%llu:%llu", (unsigned long long)node->st.st_dev,
                            (unsigned long long)node->st.st_ino);
    if (map_get(&p->inodes, id, &first)) {
        t->type = '1';
        t->link = (const char *)(uintptr_t)first;
        t->nxattr = 0;
        return true;
    }
    map_put(&p->inodes, id, (uint64_t)(uintptr_t)arena_strdup(&p->kept, t->name));
    return false;
}

/*
 * Of extended attributes docker's layers carry file capabilities and no others, so an image's
 * layers say nothing of what a context's or a step's files were marked with.
 */
static void exported_xattrs(TreeEntry *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->nxattr; i++)
        if (!strcmp(x->xattrs[i].name, "security.capability"))
            x->xattrs[n++] = x->xattrs[i];
    x->nxattr = n;
}

static bool emit_node(Packer *p, const ViewNode *node)
{
    static const char TYPES[] = {
        [TREE_FILE] = '0', [TREE_DIR] = '5',   [TREE_SYMLINK] = '2', [TREE_FIFO] = '6',
        [TREE_CHAR] = '3', [TREE_BLOCK] = '4', [TREE_SOCKET] = 0};
    TreeEntry x;
    if (!view_entry(&p->view, &p->arena, node, &x, p->e))
        return false;
    exported_xattrs(&x);
    TarEntry t = {.name = x.from,
                  .link = x.link,
                  .type = TYPES[x.type],
                  .mode = x.mode,
                  .uid = x.uid,
                  .gid = x.gid,
                  .major = x.major,
                  .minor = x.minor,
                  .size = x.size,
                  .xattrs = x.xattrs,
                  .nxattr = x.nxattr};
    if (p->below && *p->below)
        t.name = arena_printf(&p->arena, "%s/%s", p->below, x.from);
    t.mtime.tv_sec = rule_time(p, x.mtime.tv_sec);
    bool linked = as_hard_link(p, node, &t);
    if (!emit_header(p, &t))
        return false;
    return x.type != TREE_FILE || linked || emit_data(p, node, x.size);
}

static bool check_name(const Packer *p, const char *path, const char *name)
{
    return p->below || !str_starts(name, ".wh.") ||
           err_set(p->e, ERR_STEP,
                   "'/%s': a layer cannot hold a name that begins '.wh.', which means a deletion "
                   "there; rename or remove the file",
                   path);
}

static bool pack_entries(Packer *p, const char *dir, unsigned depth);

/* Memory follows the depth of the tree, not its size. */
static bool pack_dir(Packer *p, const char *dir, unsigned depth)
{
    Arena outer = p->arena;
    p->arena = (Arena){0};
    bool ok = pack_entries(p, dir, depth);
    arena_done(&p->arena);
    p->arena = outer;
    return ok;
}

static bool pack_entries(Packer *p, const char *dir, unsigned depth)
{
    scoped(fd) int fd =
        openat(p->dirfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    StrList names;
    if (fd < 0)
        return err_errno(p->e, ERR_STORE, "open directory '%s'", dir);
    if (depth > TREE_MAX_DEPTH)
        return err_set(p->e, ERR_STEP, "'%s': directories are nested too deep for a layer", dir);
    if (!fs_list(&p->arena, fd, &names, p->e))
        return err_wrap(p->e, "'%s'", dir);
    if (*dir && overlay_opaque(p->dirfd, dir) && !emit_whiteout(p, dir, ".wh..opq"))
        return false;

    ViewNode *node = NEW(&p->arena, ViewNode);
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.v[i];
        int n = snprintf(node->path, sizeof node->path, "%s%s%s", dir, *dir ? "/" : "", name);
        if (n < 0 || (size_t)n >= sizeof node->path)
            return err_set(p->e, ERR_STEP, "'%s/%s': path is too long for a layer", dir, name);
        node->layer = 0;
        if (fstatat(fd, name, &node->st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(p->e, ERR_STORE, "stat '%s'", node->path);
        struct stat *st = &node->st;
        if (S_ISSOCK(st->st_mode))
            continue;
        if (overlay_whiteout(st)) {
            if (!emit_whiteout(p, dir, name))
                return false;
            continue;
        }
        if (!*dir && owners_remembered() && !strcmp(name, OWNER_LINKS))
            continue;
        if (!check_name(p, node->path, name))
            return false;
        owner_read(p->dirfd, node->path, st);
        if (!emit_node(p, node))
            return false;
        if (S_ISDIR(st->st_mode) && !pack_dir(p, arena_strdup(&p->arena, node->path), depth + 1))
            return false;
    }
    return true;
}

/* The same for what several directories show together. */
static bool pack_merged(Packer *p, const ViewNode *dir, unsigned depth)
{
    StrList names;
    if (depth > TREE_MAX_DEPTH)
        return err_set(p->e, ERR_STEP, "'%s': directories are nested too deep for a layer",
                       dir->path);
    if (!view_list(&p->view, &p->arena, dir, &names, p->e))
        return false;
    ViewNode *node = NEW(&p->arena, ViewNode);
    for (size_t i = 0; i < names.n; i++) {
        const char *path =
            arena_printf(&p->arena, "%s%s%s", dir->path, *dir->path ? "/" : "", names.v[i]);
        if (!view_lookup(&p->view, path, VIEW_NOFOLLOW, node, p->e))
            return false;
        if (!node->exists || S_ISSOCK(node->st.st_mode))
            continue;
        if (!check_name(p, path, names.v[i]) || !emit_node(p, node))
            return false;
        if (!S_ISDIR(node->st.st_mode))
            continue;
        Arena outer = p->arena;
        p->arena = (Arena){0};
        bool ok = pack_merged(p, node, depth + 1);
        arena_done(&p->arena);
        p->arena = outer;
        if (!ok)
            return false;
    }
    return true;
}

static bool pack_top(Packer *p)
{
    ViewNode top;
    return view_lookup(&p->view, "", VIEW_NOFOLLOW, &top, p->e) && pack_merged(p, &top, 0);
}

/* All directories of a layer into `p->out`, and its end. */
static bool pack_parts(Packer *p, const int *dirfds, size_t n, LayerFacts *ret)
{
    static const char END[2 * TAR_BLOCK];
    p->dirfd = n ? dirfds[0] : -1;
    p->view = (View){.dirfds = dirfds, .n = n, .overlay = n > 1};
    bool ok = n == 0 || (n == 1 ? pack_dir(p, "", 0) : pack_top(p));
    arena_done(&p->arena);
    arena_done(&p->kept);
    map_done(&p->inodes);
    return ok && squeeze_add(p->out, END, sizeof END, p->e) && squeeze_end(p->out, ret, p->e);
}

bool layer_pack_parts(const int *dirfds, size_t n, LayerTimes times, LayerForm form, int outfd,
                      unsigned nthread, LayerFacts *ret, Err *e)
{
    scoped(squeeze) Squeeze *out = NULL;
    if (!squeeze_new(form, outfd, nthread, &out, e))
        return false;
    Packer p = {.out = out, .times = times, .e = e};
    return pack_parts(&p, dirfds, n, ret);
}

bool layer_name(int upper, LayerTimes times, LayerLent lent, LayerFacts *ret, Err *e)
{
    scoped(squeeze) Squeeze *out = NULL;
    if (!squeeze_new((LayerForm){PACK_NOTHING, LAYER_LEVEL_OWN}, -1, 1, &out, e))
        return false;
    Packer p = {.out = out, .times = times, .lent = lent, .e = e};
    return pack_parts(&p, &upper, 1, ret);
}

bool layer_pack(int upper, LayerTimes times, LayerPacking how, int outfd, unsigned nthread,
                LayerFacts *ret, Err *e)
{
    LayerForm form = {how, LAYER_LEVEL_OWN};
    return layer_pack_parts(&upper, upper >= 0, times, form, outfd, nthread, ret, e);
}

bool layer_pack_root(const View *v, const char *below, LayerTimes times, int outfd, bool end,
                     Err *e)
{
    static const char END[2 * TAR_BLOCK];
    scoped(squeeze) Squeeze *out = NULL;
    LayerFacts ignored;
    if (!squeeze_new((LayerForm){PACK_PLAIN, LAYER_LEVEL_OWN}, outfd, 1, &out, e))
        return false;
    Packer p = {.out = out, .times = times, .dirfd = -1, .below = below ? below : "", .e = e};
    TarEntry top = {.name = below, .type = '5', .mode = 0755};
    top.mtime.tv_sec = rule_time(&p, 0);
    p.view = *v;
    bool ok = (!below || emit_header(&p, &top)) && pack_top(&p);
    arena_done(&p.arena);
    arena_done(&p.kept);
    map_done(&p.inodes);
    return ok && (!end || squeeze_add(out, END, sizeof END, e)) && squeeze_end(out, &ignored, e);
}

bool layer_repack(LayerIn *in, LayerForm form, int outfd, unsigned nthread, LayerFacts *ret, Err *e)
{
    char block[64 << 10];
    scoped(squeeze) Squeeze *out = NULL;
    if (!squeeze_new(form, outfd, nthread, &out, e))
        return false;
    for (size_t n = 1; n;) {
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "cancelled");
        if (!layer_in_read(in, block, sizeof block, &n, e) || !squeeze_add(out, block, n, e))
            return false;
    }
    return squeeze_end(out, ret, e);
}

bool tar_put_header(int outfd, const char *name, uint64_t size, Err *e)
{
    scoped(buf) Buf head = BUF_INIT;
    TarEntry t = {.name = name, .type = '0', .mode = 0644, .size = size};
    tar_format(&t, &head);
    return fs_write_all(outfd, head.ptr, head.len, e);
}

bool tar_put_dir(int outfd, const char *name, Err *e)
{
    scoped(buf) Buf head = BUF_INIT;
    TarEntry t = {.name = name, .type = '5', .mode = 0755};
    tar_format(&t, &head);
    return fs_write_all(outfd, head.ptr, head.len, e);
}

bool tar_put_padding(int outfd, uint64_t size, Err *e)
{
    static const char ZERO[TAR_BLOCK];
    return fs_write_all(outfd, ZERO, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, e);
}

bool tar_put_end(int outfd, Err *e)
{
    static const char END[2 * TAR_BLOCK];
    return fs_write_all(outfd, END, sizeof END, e);
}
