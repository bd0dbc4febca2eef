/*
 * steps/gotrees.c - directories with parts of a module cache that several layers stand on.
 *
 * A layer of `go mod download` is what the command wrote, over snapshots that have nothing but
 * modules, unpacked and as they came, and go.mod files. The next layer stands on the same ones and
 * on one more, which has what is new: a dependency more costs its own files. Where there are many,
 * one takes the place of the small ones. What lies there and is not in a layer, a whiteout hides.
 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "base/levels.h"
#include "base/map.h"
#include "steps/golang.h"

/* A path that is looked for is looked for in each of them. */
enum { CHAIN_MAX = 6 };

bool go_tree_is_module(const GoTree *t)
{
    return !strstr(t->path, "/@v/");
}

/* What proxies say, and lists of versions, are not proven by anything: two may differ. */
static bool is_word(const char *path)
{
    return strstr(path, "/@v/") && (str_ends(path, ".info") || !strcmp(path_base(path), "list"));
}

/* ---- what is in a snapshot ---- */

static void parts_key(SnapshotId id, Digest *ret)
{
    scoped(key) KeyBuilder k;
    char path[STORE_TMP_MAX];
    store_snapshot_path(id, path);
    key_begin(&k, "gotrees in 1");
    key_text(&k, "layer", path);
    key_end(&k, ret);
}

static bool note_trees(Store *s, SnapshotId id, const GoTree *v, size_t n, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    Digest key;
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s %s\n", v[i].h1, v[i].path);
    parts_key(id, &key);
    return store_memo_put(s, &key, b.ptr, b.len, e);
}

static bool read_trees(StepWork *w, SnapshotId id, GoTrees *out, size_t *cap, bool *ret_known,
                       Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    Digest key;
    parts_key(id, &key);
    if (!store_memo_get(w->env->store, &key, &b, ret_known, e))
        return false;
    for (const char *p = buf_str(&b); *p; p += strcspn(p, "\n") + 1) {
        const char *path = p + strcspn(p, " ") + 1;
        *ARENA_PUSH(&w->arena, out->v, out->n, *cap) =
            (GoTree){.path = arena_strndup(&w->arena, path, strcspn(path, "\n")),
                     .h1 = arena_strndup(&w->arena, p, (size_t)(path - p - 1))};
    }
    return true;
}

/* About how many files they are. */
static uint64_t size_of(const GoTree *v, size_t n)
{
    enum { FILES_OF_A_MODULE = 200 };
    uint64_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += go_tree_is_module(&v[i]) ? FILES_OF_A_MODULE : 1;
    return size;
}

/* *ret_all is false when something else may be in them. */
static bool find_known(StepWork *w, const Stack *st, GoTrees *ret, bool *ret_all, Err *e)
{
    size_t cap = 0;
    *ret = (GoTrees){.stack = *st,
                     .counts = NEW_N(&w->arena, size_t, st->n + 1),
                     .sizes = NEW_N(&w->arena, uint64_t, st->n + 1)};
    *ret_all = true;
    for (size_t i = 0; i < st->n; i++) {
        bool known;
        size_t before = ret->n;
        if (!read_trees(w, st->ids[i], ret, &cap, &known, e))
            return false;
        ret->counts[i] = ret->n - before;
        ret->sizes[i] = ret->n == before ? 0 : size_of(ret->v + before, ret->n - before);
        *ret_all = *ret_all && known;
    }
    return true;
}

bool go_trees_known(StepWork *w, const Stack *st, GoTrees *ret, Err *e)
{
    bool all;
    return find_known(w, st, ret, &all, e);
}

/* ---- making one ---- */

/* A directory with links to the files of another; its own mode is set when it is full. */
static bool link_tree(int from, int to, const char *name, const char *as, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    scoped(fd) int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 || mkdirat(to, as, 0755) < 0)
        return err_errno(e, ERR_STORE, "link '%s'", as);
    scoped(fd) int out = openat(to, as, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0)
        return err_errno(e, ERR_STORE, "open '%s'", as);
    if (!fs_list(&a, in, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        if (linkat(in, names.v[i], out, names.v[i], 0) == 0)
            continue;
        if (errno != EPERM || !link_tree(in, out, names.v[i], names.v[i], e)) /* a directory */
            return e->kind ? false : err_errno(e, ERR_STORE, "link '%s'", names.v[i]);
    }
    return (fchmod(out, 0555) == 0 && futimens(out, GOMOD_TIME) == 0) ||
           err_errno(e, ERR_STORE, "change '%s'", as);
}

bool go_trees_dress(int fd, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    if (!fs_list(&a, fd, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        if (fstatat(fd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(e, ERR_STORE, "stat '%s'", names.v[i]);
        scoped(fd) int sub =
            S_ISDIR(st.st_mode) && (!strchr(names.v[i], '@') || !strcmp(names.v[i], "@v"))
                ? openat(fd, names.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                : -1;
        if (sub >= 0 && (!go_trees_dress(sub, e) || fchmod(sub, 0755) < 0))
            return e->kind ? false : err_errno(e, ERR_STORE, "chmod '%s'", names.v[i]);
        if (utimensat(fd, names.v[i], GOMOD_TIME, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(e, ERR_STORE, "touch '%s'", names.v[i]);
    }
    return true;
}

bool go_text_put(int fd, const char *path, Str text, Err *e)
{
    return fs_write_file(fd, path, text.ptr, text.len, e) &&
           (fchmodat(fd, path, 0644, 0) == 0 || err_errno(e, ERR_STORE, "chmod '%s'", path));
}

/* Texts are written and not linked: two in one layer would be one file. *ret_done is false where
 * the store has lost it. */
static bool put(StepWork *w, int fd, const GoTree *t, bool *ret_done, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    int store = store_dirfd(w->env->store);
    *ret_done = true;
    switch (t->kind) {
    case GO_TREE_DIR:
        return link_tree(store, fd, t->from, t->path, e);
    case GO_TREE_FILE:
        return linkat(store, t->from, fd, t->path, 0) == 0 ||
               err_errno(e, ERR_STORE, "link '%s'", t->path);
    case GO_TREE_MOD:
        *ret_done = gomod_mod(w->env->gomod, t->h1, &text);
        return !*ret_done || go_text_put(fd, t->path, (Str){buf_str(&text), text.len}, e);
    case GO_TREE_TEXT:
        return go_text_put(fd, t->path, str_c(t->text), e);
    }
    return false;
}

/* `v` is left with what came into it. */
static bool fill(StepWork *w, const char *tmp, GoTree *v, size_t *n, Err *e)
{
    int raw = -1, store = store_dirfd(w->env->store);
    size_t done = 0;
    if (!fs_mkdirs(store, tmp, e) || !fs_open_dir(store, tmp, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    for (size_t i = 0; i < *n; i++) {
        scoped(arena) Arena a = {0};
        bool put_in;
        if (!fs_mkdirs(fd, path_dir(&a, v[i].path), e) || !put(w, fd, &v[i], &put_in, e))
            return false;
        if (put_in)
            v[done++] = v[i];
    }
    *n = done;
    return go_trees_dress(fd, e);
}

/* One snapshot more, over those of the chain. */
static bool add_snapshot(StepWork *w, Stack *chain, GoTree *v, size_t n, Err *e)
{
    Store *s = w->env->store;
    char tmp[STORE_TMP_MAX];
    SnapshotId id;
    if (!store_tmp(s, "trees", tmp, e))
        return false;
    if (!fill(w, tmp, v, &n, e) || !store_snapshot_add_over(s, tmp, chain->ids, chain->n, &id, e)) {
        store_discard(s, tmp);
        return false;
    }
    *chain = stack_push(&w->arena, chain, id);
    return note_trees(s, id, v, n, e);
}

/* ---- the last chain ---- */

static void chain_key(const StepWork *w, const char *cache, Digest *ret)
{
    scoped(key) KeyBuilder k;
    key_begin(&k, "gotrees of 1");
    key_text(&k, "scope", w->env->go_scope ? w->env->go_scope : "");
    key_text(&k, "cache", cache);
    key_end(&k, ret);
}

static bool read_chain(StepWork *w, const Digest *key, GoTrees *ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    Stack st = {0};
    bool found;
    uint64_t id;
    *ret = (GoTrees){.n = 0};
    if (!store_memo_get(w->env->store, key, &b, &found, e))
        return false;
    if (!found || !str_u64(buf_str(&b), INT64_MAX, &id))
        return true;
    if (!store_snapshot_exists(w->env->store, id, &found, e))
        return false;
    if (!found)
        return true;
    if (!stack_push_parts(w->env->store, &w->arena, &st, id, &st, e) ||
        !find_known(w, &st, ret, &found, e))
        return false;
    if (!found)
        *ret = (GoTrees){.n = 0};
    return true;
}

static bool write_chain(StepWork *w, const Digest *key, const Stack *chain, Err *e)
{
    const char *text =
        arena_printf(&w->arena, "%llu", (unsigned long long)chain->ids[chain->n - 1]);
    return store_memo_put(w->env->store, key, text, strlen(text), e);
}

static void index_by_path(Map *m, const GoTree *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)map_put(m, v[i].path, i);
}

/* How many of its snapshots are good for these parts: with other files under a name none is, nor
 * those above it. */
static size_t count_good(const GoTrees *chain, const GoTree *want, const Map *wanted)
{
    const GoTree *t = chain->v;
    for (size_t i = 0; i < chain->stack.n; i++)
        for (uint64_t k = 0, x; k < chain->counts[i]; k++, t++)
            if (map_get(wanted, t->path, &x) && strcmp(want[x].h1, t->h1) != 0 && !is_word(t->path))
                return i;
    return chain->stack.n;
}

static void cut(GoTrees *chain, size_t n)
{
    while (chain->stack.n > n)
        chain->n -= chain->counts[--chain->stack.n];
}

/* Which of these a chain lacks. */
static GoTree *missing(Arena *a, const GoTrees *chain, const GoTree *want, size_t n, size_t *ret_n)
{
    scoped(map) Map there = {0};
    GoTree *ret = NULL;
    size_t cap = 0;
    uint64_t i;
    *ret_n = 0;
    index_by_path(&there, chain->v, chain->n);
    for (size_t k = 0; k < n; k++)
        if (!map_get(&there, want[k].path, &i))
            *ARENA_PUSH(a, ret, *ret_n, cap) = want[k];
    return ret;
}

/* The same when no more of the chain is kept than is worth it. */
static GoTree *compare(StepWork *w, GoTrees *chain, const GoTree *want, size_t n, size_t *ret_n)
{
    scoped(map) Map wanted = {0};
    size_t both = 0;
    uint64_t i;
    index_by_path(&wanted, want, n);
    cut(chain, count_good(chain, want, &wanted));
    for (size_t k = 0; k < chain->n; k++)
        both += map_get(&wanted, chain->v[k].path, &i);
    if (chain->n - both > n) /* much of it nobody wants any more */
        cut(chain, 0);
    GoTree *lacks = missing(&w->arena, chain, want, n, ret_n);
    if (!*ret_n || !chain->stack.n)
        return lacks;
    cut(chain, levels_kept(chain->sizes, chain->stack.n, CHAIN_MAX, size_of(lacks, *ret_n)));
    return missing(&w->arena, chain, want, n, ret_n);
}

bool go_trees_make(StepWork *w, const char *cache, const GoTree *v, size_t n, GoTrees *ret, Err *e)
{
    Digest key;
    size_t nlack;
    chain_key(w, cache, &key);
    if (!read_chain(w, &key, ret, e))
        return false;
    GoTree *lacks = compare(w, ret, v, n, &nlack);
    return !nlack ||
           (add_snapshot(w, &ret->stack, lacks, nlack, e) && write_chain(w, &key, &ret->stack, e) &&
            go_trees_known(w, &ret->stack, ret, e));
}

/* ---- what is not in a layer ---- */

/* Whether one of the sorted paths is `dir`, `n` bytes of it, or is below. */
static bool has_below(const StrList *l, const char *dir, size_t n)
{
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (strncmp(l->v[mid], dir, n) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    /* "a/b-c" is before "a/b/c": all that begin alike are looked at */
    for (; low < l->n && !strncmp(l->v[low], dir, n); low++)
        if (!l->v[low][n] || l->v[low][n] == '/')
            return true;
    return false;
}

static bool is_dir(int fd, const char *path)
{
    struct stat st;
    return fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Whether a directory of what lies above, or of what is wanted, is at the first `n` bytes. */
static bool stays(Arena *a, int upper, const StrList *wanted, const char *path, size_t n)
{
    return has_below(wanted, path, n) || is_dir(upper, arena_strndup(a, path, n));
}

/* A directory that would be empty goes with the last that was in it. */
bool go_trees_hide(Arena *a, const GoTrees *t, int upper, const char *cache, const StrList *wanted,
                   Err *e)
{
    StrList l = strlist_copy(a, wanted);
    size_t top = strlen(cache) + 1;
    strlist_sort(&l);
    for (size_t i = 0; i < t->n; i++) {
        const char *path = t->v[i].path;
        if (has_below(&l, path, strlen(path)))
            continue;
        size_t n = top + strcspn(path + top, "/"), above = 0;
        while (path[n] && stays(a, upper, &l, path, n)) {
            above = n;
            n += 1 + strcspn(path + n + 1, "/");
        }
        const char *gone = arena_strndup(a, path, n);
        if (above && !fs_mkdirs(upper, arena_strndup(a, path, above), e))
            return false;
        if (mknodat(upper, gone, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST)
            return err_errno(e, ERR_STORE, "create whiteout for '/%s'", gone);
    }
    return true;
}
