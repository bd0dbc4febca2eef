/*
 * context/known.c - scans and digests of one build, on top of the index of the last.
 */
#include "context/known.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/glob.h"
#include "context/inside.h"

/* What an index keeps besides what was looked at in this build: other Dockerfiles copy other
 * directories. */
enum { MAX_ROOTS = 32, MAX_FILES = 4096 };
/* The root that holds single files, by their paths. No directory is called so: see root_name. */
static const char FILES[] = "files";

/* Everything here changes behind the lock; that a context is const says what its files are. */
static Known *known_of(const Context *c)
{
    return (Known *)(uintptr_t)&c->known;
}

void known_init(Context *c)
{
    struct stat st;
    c->known.dirfd = -1;
    (void)pthread_mutex_init(&c->known.lock, NULL);
    c->known.local = scan_is_local(c->dirfd);
    c->known.dev = fstat(c->dirfd, &st) == 0 ? st.st_dev : 0;
}

void known_done(Known *k)
{
    for (size_t i = 0; i < k->nscan; i++)
        scan_free(k->scans[i].scan);
    map_done(&k->by_path);
    arena_done(&k->arena);
    index_done(&k->index);
    (void)pthread_mutex_destroy(&k->lock);
    k->nscan = k->nfile = 0;
}

/* ---- directories ---- */

static const char *root_name(Arena *a, const char *dir, const TreeFilter *filter)
{
    return arena_printf(a, "%zu:%s:%s", strlen(dir), dir, filter ? filter->name : "");
}

static KnownScan *find_scan(const Known *k, const char *name)
{
    for (size_t i = 0; i < k->nscan; i++)
        if (!strcmp(k->scans[i].name, name))
            return &k->scans[i];
    return NULL;
}

/* The scan of a directory, made now if need be. Under the lock. */
static bool scan_of(const Context *c, const char *dir, const TreeFilter *filter, KnownScan **ret,
                    Err *e)
{
    Known *k = known_of(c);
    const char *name = root_name(&k->arena, dir, filter);
    KnownScan *s = find_scan(k, name);
    if (!s) {
        ScanSpec spec = {.dirfd = c->dirfd,
                         .dir = arena_strdup(&k->arena, dir),
                         .ignore = c->ignore,
                         .state = c->dirs ? dirs_state(c->dirs, dir, strlen(dir)) : NULL,
                         .filter = filter,
                         .index = &k->index,
                         .root = index_root(&k->index, name)};
        Scan *scan;
        uint64_t now = clock_ns();
        if (!scan_new(&spec, &scan, e))
            return false;
        s = ARENA_PUSH(&k->arena, k->scans, k->nscan, k->scan_cap);
        *s = (KnownScan){.name = name, .scan = scan, .at_ns = now};
        if (scan_unchanged(scan) && spec.root->has_digest) {
            s->tree = spec.root->digest;
            s->n = spec.root->n;
            s->has_tree = true;
        }
    }
    *ret = s;
    return true;
}

static bool below(const void *arg, Arena *a, const char *dir, const TreeFilter *filter, Tree *out,
                  Err *e)
{
    const Context *c = arg;
    Known *k = known_of(c);
    KnownScan *s;
    pthread_mutex_lock(&k->lock);
    bool ok = scan_of(c, dir, filter, &s, e) && scan_tree(s->scan, a, out, e);
    pthread_mutex_unlock(&k->lock);
    return ok;
}

/* ---- files ---- */

static const IndexEntry *old_file(const Known *k, const char *path)
{
    const IndexRoot *root = index_root(&k->index, FILES);
    if (!root)
        return NULL;
    const IndexBlock *b = &k->index.blocks[root->block];
    size_t lo = 0, hi = b->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const IndexEntry *t = &k->index.entries[b->first + mid];
        int order = strcmp(index_text(&k->index, t->name), path);
        if (!order)
            return t;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static bool read_file(const Context *c, const ViewNode *file, KnownFile *f, Err *e)
{
    struct timespec now;
    struct stat st;
    bool odd = false;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    scoped(fd) int fd = view_open(&c->view, file);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_DOCKERFILE, "open '%s'", file->path);
    if (!scan_file(fd, &st, &f->content, &odd, e))
        return err_wrap(e, "'%s'", file->path);
    index_stat(&st, &f->st);
    f->flags = odd ? INDEX_ODD : 0;
    if (index_racy(&f->st, now) || !c->known.local || st.st_dev != c->known.dev)
        f->flags |= INDEX_RACY;
    return true;
}

/* The digest of a file. Under the lock. */
static bool content_of(const Context *c, const ViewNode *file, Digest *ret, bool *ret_racy, Err *e)
{
    Known *k = known_of(c);
    KnownFile f = {0};
    uint64_t i;
    index_stat(&file->st, &f.st);
    if (map_get(&k->by_path, file->path, &i) && index_same(&k->files[i].st, &f.st) &&
        !(k->files[i].flags & INDEX_RACY)) {
        *ret = k->files[i].content;
        *ret_racy = false;
        return true;
    }
    const IndexEntry *old = old_file(k, file->path);
    if (old && index_same(&old->st, &f.st) && !(old->flags & INDEX_RACY) && k->local &&
        file->st.st_dev == k->dev) {
        f.content = old->content;
        f.flags = old->flags;
    } else if (read_file(c, file, &f, e)) {
        k->stale = true;
    } else {
        return false;
    }
    if (f.st.size != (uint64_t)file->st.st_size)
        return err_set(e, ERR_DOCKERFILE,
                       "'%s' changed while it was read; build again when nobody writes to it",
                       file->path);
    f.path = arena_strdup(&k->arena, file->path);
    (void)map_put(&k->by_path, f.path, k->nfile);
    *ARENA_PUSH(&k->arena, k->files, k->nfile, k->file_cap) = f;
    *ret = f.content;
    *ret_racy = f.flags & INDEX_RACY;
    return true;
}

static bool content(const void *arg, const ViewNode *file, Digest *ret, bool *ret_racy, Err *e)
{
    const Context *c = arg;
    pthread_mutex_lock(&known_of(c)->lock);
    bool ok = content_of(c, file, ret, ret_racy, e);
    pthread_mutex_unlock(&known_of(c)->lock);
    return ok;
}

const ViewReader KNOWN_READER = {below, content};

/* ---- selections ---- */

/* The one directory that a source names; false when it is anything else. */
static bool one_dir(const Context *c, Arena *a, const char *source, ViewNode *node,
                    const char **ret_name, bool *ret, Err *e)
{
    const char *clean = path_clean(a, arena_printf(a, "/%s", source)) + 1;
    *ret = false;
    if (glob_has_meta(clean))
        return true;
    if (!view_lookup(&c->view, clean, VIEW_FOLLOW, node, e))
        return false;
    *ret = node->exists && !node->passage && S_ISDIR(node->st.st_mode);
    *ret_name = clean;
    return true;
}

bool context_unchanged(const Context *c, Arena *a, const char *source, const ContextFilter *f,
                       Digest *ret, bool *ret_unchanged, Err *e)
{
    Known *k = known_of(c);
    ViewNode node;
    const char *name;
    bool is_dir;
    KnownScan *s = NULL;
    TreeFilter filter = f ? context_filter_of(f) : (TreeFilter){0};
    *ret_unchanged = false;
    if (!one_dir(c, a, source, &node, &name, &is_dir, e))
        return false;
    if (!is_dir)
        return true;
    pthread_mutex_lock(&k->lock);
    bool ok = scan_of(c, node.path, f ? &filter : NULL, &s, e);
    *ret_unchanged = ok && s->has_tree;
    Selected root = {.name = name, .is_dir = true, .n = ok ? s->n : 0};
    if (*ret_unchanged)
        selection_digest_of(&root, 1, &s->tree, ret);
    pthread_mutex_unlock(&k->lock);
    return ok;
}

void context_learn(const Context *c, const ContextFilter *f, const char *source,
                   const Selection *sel)
{
    scoped(arena) Arena a = {0};
    Err ignored = ERR_INIT;
    ViewNode node;
    const char *name;
    bool is_dir;
    TreeFilter filter = f ? context_filter_of(f) : (TreeFilter){0};
    if (sel->nroot != 1 || !sel->roots[0].is_dir ||
        !one_dir(c, &a, source, &node, &name, &is_dir, &ignored) || !is_dir)
        return;
    Known *k = known_of(c);
    pthread_mutex_lock(&k->lock);
    KnownScan *s = find_scan(k, root_name(&a, node.path, f ? &filter : NULL));
    if (s && !s->has_tree && !k->forgot) {
        tree_digest(&sel->tree, &s->tree);
        s->n = sel->tree.n;
        s->has_tree = true;
        k->stale = true;
    }
    pthread_mutex_unlock(&k->lock);
}

bool context_forget(const Context *c, uint64_t before_ns)
{
    Known *k = known_of(c);
    bool early = false;
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->nscan; i++) {
        early |= *k->scans[i].name && k->scans[i].at_ns < before_ns;
        k->scans[i].name = "";
    }
    k->forgot = true;
    pthread_mutex_unlock(&k->lock);
    return early;
}

/* ---- keeping ---- */

void context_keep(Context *c, int dirfd, const char *path)
{
    c->known.dirfd = dirfd;
    c->known.path = path;
    index_open(dirfd, path, &c->known.index);
}

static void write_scans(const Known *k, IndexWriter *w)
{
    for (size_t i = 0; i < k->nscan; i++) {
        const KnownScan *s = &k->scans[i];
        if (!*s->name)
            continue;
        IndexRoot root = {.name = index_add_text(w, s->name, strlen(s->name)),
                          .n = (uint32_t)s->n,
                          .has_digest = s->has_tree,
                          .digest = s->tree};
        root.block = scan_write(s->scan, w);
        index_add_root(w, &root);
    }
    for (uint32_t i = 0, n = (uint32_t)k->nscan; i < k->index.nroot && n < MAX_ROOTS; i++) {
        IndexRoot root = k->index.roots[i];
        const char *name = index_text(&k->index, root.name);
        if (!strcmp(name, FILES) || find_scan(k, name))
            continue;
        root.name = index_add_text(w, name, strlen(name));
        root.block = index_copy_block(w, &k->index, root.block);
        index_add_root(w, &root);
        n++;
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const KnownFile *)a)->path, ((const KnownFile *)b)->path);
}

/* Single files: those of this build, in their newest state, then older ones. */
static void write_files(Known *k, IndexWriter *w)
{
    const IndexRoot *root = index_root(&k->index, FILES);
    const IndexBlock *b = root ? &k->index.blocks[root->block] : NULL;
    KnownFile *v = NEW_N(&k->arena, KnownFile, k->nfile + (b ? b->n : 0) + 1);
    size_t n = 0;
    for (size_t i = 0; i < k->nfile; i++) {
        uint64_t newest;
        if (map_get(&k->by_path, k->files[i].path, &newest) && newest == i)
            v[n++] = k->files[i];
    }
    for (uint32_t i = 0; b && i < b->n && n < MAX_FILES; i++) {
        const IndexEntry *t = &k->index.entries[b->first + i];
        const char *path = index_text(&k->index, t->name);
        uint64_t newest;
        if (!map_get(&k->by_path, path, &newest))
            v[n++] = (KnownFile){path, t->st, t->content, t->flags};
    }
    if (n)
        qsort(v, n, sizeof *v, by_path);
    IndexRoot to = {.name = index_add_text(w, FILES, strlen(FILES)),
                    .block = index_add_block(w, (uint32_t)n)};
    for (size_t i = 0; i < n; i++) {
        IndexEntry t = {.st = v[i].st,
                        .name_len = (uint16_t)strlen(v[i].path),
                        .flags = v[i].flags,
                        .content = v[i].content};
        t.name = index_add_text(w, v[i].path, strlen(v[i].path));
        *index_entry(w, to.block, (uint32_t)i) = t;
    }
    index_add_root(w, &to);
}

bool context_save(Context *c, const char *tmp, bool *ret_new, Err *e)
{
    Known *k = &c->known;
    bool stale = k->stale;
    for (size_t i = 0; i < k->nscan; i++)
        stale = stale || scan_stale(k->scans[i].scan);
    *ret_new = k->path && stale && !k->index.map;
    if (!k->path || !stale)
        return true;
    scoped(index_writer) IndexWriter w = {.roots = BUF_INIT};
    write_scans(k, &w);
    write_files(k, &w);
    return index_write(&w, k->dirfd, tmp, e) &&
           (renameat(k->dirfd, tmp, k->dirfd, k->path) == 0 ||
            err_errno(e, ERR_STORE, "rename '%s' to '%s'", tmp, k->path));
}
