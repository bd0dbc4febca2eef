/*
 * snapshot/stack.c - stacks of snapshots: names, views, and layers unpacked into them.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/owner.h"
#include "snapshot/snapshot.h"

Stack stack_push(Arena *a, const Stack *s, SnapshotId id)
{
    if (!id)
        return *s;
    for (size_t i = 0; i < s->n; i++) {
        if (s->ids[i] != id)
            continue;
        if (i + 1 == s->n)
            return *s;
        break;
    }
    Stack n = {.ids = arena_grow(a, s->ids, s->n, s->n + 1, sizeof *s->ids), .n = s->n + 1};
    n.ids[s->n] = id;
    return n;
}

bool stack_push_parts(Store *s, Arena *a, const Stack *st, SnapshotId id, Stack *ret, Err *e)
{
    SnapshotId *parts;
    size_t n;
    Stack out = *st;
    if (!store_snapshot_parts(s, a, id, &parts, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        out = stack_push(a, &out, parts[i]);
    *ret = out;
    return true;
}

/* Whether an equal directory stands higher up; overlayfs refuses to meet one twice, and the upper
 * one hides all. */
static bool again_above(const Stack *s, size_t i)
{
    for (size_t k = i + 1; k < s->n; k++)
        if (s->ids[k] == s->ids[i])
            return true;
    return false;
}

bool stack_lowers(Arena *a, const Stack *s, StrList *ret, Err *e)
{
    StrList l = {0};
    for (size_t i = s->n; i-- > 0;) {
        char path[STORE_TMP_MAX];
        if (again_above(s, i))
            continue;
        store_snapshot_path(s->ids[i], path);
        strlist_add(a, &l, path);
    }
    if (l.n > STACK_MAX)
        return err_set(
            e, ERR_ENV,
            "%zu layers lie below this step and one mount holds %d: join RUN and COPY lines", l.n,
            STACK_MAX);
    *ret = l;
    return true;
}

bool stack_view(Store *s, const Stack *stack, int top, StackView *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList paths;
    if (!stack_lowers(&a, stack, &paths, e))
        return false;
    scoped(stack_view) StackView v = {0};
    v.fds = calloc(paths.n + 1, sizeof *v.fds);
    if (!v.fds)
        die_nomem();
    if (top >= 0 && (v.fds[v.nfd++] = fcntl(top, F_DUPFD_CLOEXEC, 0)) < 0)
        return err_errno(e, ERR_STORE, "open snapshot");
    for (size_t i = 0; i < paths.n; i++) {
        int fd = openat(store_dirfd(s), paths.v[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return err_errno(e, ERR_STORE, "open '%s/%s'", store_path(s), paths.v[i]);
        v.fds[v.nfd++] = fd;
    }
    v.view = (View){.dirfds = v.fds, .n = v.nfd, .overlay = true};
    *ret = v;
    v = (StackView){0};
    return true;
}

void stack_view_done(StackView *v)
{
    for (size_t i = 0; i < v->nfd; i++)
        if (v->fds[i] >= 0)
            close(v->fds[i]);
    free(v->fds);
    *v = (StackView){0};
}

bool snapshot_make_root(Store *s, const Stack *below, const char *path, Err *e)
{
    struct stat st = {.st_mode = 0755};
    char top[STORE_TMP_MAX];
    int dirfd = store_dirfd(s);
    if (below->n) {
        store_snapshot_path(below->ids[below->n - 1], top);
        if (fstatat(dirfd, top, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(e, ERR_STORE, "stat '%s/%s'", store_path(s), top);
    }
    if (below->n)
        owner_read(dirfd, top, &st);
    /* chmod, for mkdir's mode is cut by the caller's umask. */
    if (mkdirat(dirfd, path, 0700) < 0 ||
        owner_chown(dirfd, dirfd, path, st.st_uid, st.st_gid) < 0 ||
        fchmodat(dirfd, path, st.st_mode & 07777, 0) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), path);
    return true;
}

LayerFormat snapshot_format(Compression how)
{
    static const LayerFormat FORMATS[] = {
        [COMP_NONE] = LAYER_PLAIN, [COMP_GZIP] = LAYER_GZIP, [COMP_ZSTD] = LAYER_ZSTD};
    return FORMATS[how];
}

/* `blob` may be NULL: whoever gives the bytes has made sure of them. */
static bool unpack_to(Store *s, const char *tmp, const Digest *diff_id, const Digest *blob,
                      LayerIn *in, const View *below, bool in_userns, bool *ret_implied, Err *e)
{
    Digest plain, packed;
    scoped(fd) int dir = -1;
    if (!snapshot_make_root(s, &(Stack){0}, tmp, e) || !fs_open_dir(store_dirfd(s), tmp, &dir, e) ||
        !layer_unpack(in, dir, in_userns, below, ret_implied, e) ||
        !layer_in_finish(in, &plain, &packed, NULL, e))
        return false;
    if (digest_eq(&plain, diff_id) && (!blob || digest_eq(&packed, blob)))
        return true;
    return err_set(e, ERR_STORE,
                   blob ? "its bytes are not what its name says: remove the blob and load the "
                          "image again"
                        : "it does not unpack to what the image's config says");
}

static void drop_tmp(Store *s, const char *tmp)
{
    Err ignored = ERR_INIT;
    fs_remove_tree(store_dirfd(s), tmp, &ignored); /* best effort: tmp/ is swept */
}

bool snapshot_unpack(Store *s, const Digest *diff_id, const Digest *blob, Compression how,
                     const Stack *below, const Digest *chain, bool in_userns, SnapshotId *ret,
                     Err *e)
{
    char tmp[STORE_TMP_MAX], text[DIGEST_TEXT_SIZE];
    bool implied;
    int raw;
    uint64_t size;
    scoped(stack_view) StackView under = {0};
    if (!stack_view(s, below, -1, &under, e) || !store_tmp(s, "unpack", tmp, e) ||
        !store_open_blob(s, blob, &raw, &size, e))
        return false;
    scoped(fd) int fd = raw;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, snapshot_format(how));
    if (!unpack_to(s, tmp, diff_id, blob, in, below->n ? &under.view : NULL, in_userns, &implied,
                   e)) {
        drop_tmp(s, tmp);
        digest_text(blob, text);
        return err_wrap(e, "unpack layer %s", text);
    }
    return store_snapshot_add(s, tmp, ret, e) &&
           store_layer_put(s, implied ? chain : diff_id, *ret, e);
}

bool snapshot_unpack_stream(Store *s, const Digest *diff_id, LayerIn *in, bool in_userns,
                            char ret_tmp[static STORE_TMP_MAX], bool *ret_set, Err *e)
{
    bool implied;
    if (!store_tmp(s, "unpack", ret_tmp, e))
        return false;
    if (!unpack_to(s, ret_tmp, diff_id, NULL, in, NULL, in_userns, &implied, e)) {
        drop_tmp(s, ret_tmp);
        return false;
    }
    *ret_set = !implied;
    return true;
}

bool snapshot_keep(Store *s, const Digest *diff_id, const char *tmp, SnapshotId *ret, Err *e)
{
    return store_snapshot_add(s, tmp, ret, e) && store_layer_put(s, diff_id, *ret, e);
}

bool snapshot_pack(Store *s, SnapshotId id, LayerTimes times, LayerForm form, int outfd,
                   unsigned nthread, LayerFacts *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(stack_view) StackView parts = {0};
    Stack st = {0};
    return stack_push_parts(s, &a, &st, id, &st, e) && stack_view(s, &st, -1, &parts, e) &&
           layer_pack_parts(parts.fds, parts.nfd, times, form, outfd, nthread, ret, e);
}
