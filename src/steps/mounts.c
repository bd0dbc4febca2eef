/*
 * steps/mounts.c - bind, cache, tmpfs and secret mounts of a RUN.
 */
#include "steps/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/owner.h"
#include "steps/kinds.h"
#include "steps/sources.h"

/* A cache that a command has: by its name without a copy's number, and where it is. */
typedef struct TakenCache {
    const char *name, *dir;
} TakenCache;

/* Copies of a private cache that may be in use at once. */
enum { MAX_PRIVATE = 1000 };

static bool shows_files(const PlanMount *m)
{
    return m->spec.type == DF_MOUNT_BIND || m->spec.type == DF_MOUNT_CACHE;
}

static bool place_fail(StepWork *w, const PlanMount *m, Err *e)
{
    return err_wrap(e, "%s:%u: RUN --mount", w->env->file->name, m->src.line);
}

/* ---- keys ---- */

static void key_spec(KeyBuilder *k, const PlanMount *m)
{
    const DfMount *s = &m->spec;
    char rights[96];
    (void)snprintf(rights, sizeof rights, "%d %d %d %llu %d:%o %d:%u %d:%u", (int)s->type,
                   s->readonly, (int)s->sharing, (unsigned long long)s->size, s->has_mode, s->mode,
                   s->has_uid, s->uid, s->has_gid, s->gid);
    key_text(k, "mount", m->target ? m->target : "");
    key_text(k, "as", rights);
    key_text(k, "id", s->id ? s->id : "");
    key_text(k, "variable", s->env ? s->env : "");
}

bool mounts_key(StepWork *w, bool *ret_known, Err *e)
{
    const PlanRun *r = &w->step->u.run;
    *ret_known = true;
    if (r->nmount && !w->sources) {
        w->sources = NEW_N(&w->arena, StepSource, r->nmount);
        w->seen_ns = clock_ns();
    }
    for (size_t i = 0; i < r->nmount; i++) {
        const PlanMount *m = &r->mounts[i];
        key_spec(&w->key_parts, m);
        if (!shows_files(m))
            continue;
        if (!source_name(w, &m->source, &w->sources[i], ret_known, e))
            return place_fail(w, m, e);
        if (!*ret_known)
            return true;
        key_source(&w->key_parts, &m->source, &w->sources[i].content);
    }
    return true;
}

/* ---- files ---- */

/*
 * Write what a source stands for into a directory of its own: a directory's contents, or the file
 * under its own name. The live directory is never mounted.
 */
static bool copy_out(StepWork *w, const PlanMount *m, StepSource *s, Upper *ret, Err *e)
{
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    scoped(upper) Upper up = {.dirfd = -1};
    Stack none = {0};
    if (!source_open(w, &m->source, s, &o, e) ||
        (!s->selected && !source_select(w, &m->source, o.view, s, e)) ||
        !upper_begin(w->env->store, &none, &up, e))
        return false;
    up.in_userns = sandbox_in_userns(&w->env->host);
    const Tree *t = &s->selection.tree;
    bool dir = !s->selection.nroot || s->selection.roots[0].is_dir;
    for (size_t i = 0; i < t->n; i++) {
        const char *to = dir ? t->v[i].path : path_base(s->selection.roots[0].name);
        uint32_t group = t->v[i].link_group;
        const char *twin = group && group - 1 < i ? t->v[group - 1].path : NULL;
        if (!upper_put(&up, o.view, &t->v[i], to, twin, e))
            return false;
    }
    *ret = up;
    up = (Upper){.dirfd = -1};
    return true;
}

/* The snapshot of a bind from a context, made once for its content. */
static bool context_snapshot(StepWork *w, const PlanMount *m, StepSource *s, SnapshotId *ret,
                             Err *e)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    scoped(buf) Buf value = BUF_INIT;
    Digest key;
    bool found;
    key_begin(&k, "bind 1");
    key_digest(&k, "content", &s->content);
    key_end(&k, &key);
    if (!store_memo_get(w->env->store, &key, &value, &found, e))
        return false;
    if (found && value.len == sizeof *ret) {
        memcpy(ret, value.ptr, sizeof *ret);
        if (!store_snapshot_exists(w->env->store, *ret, &found, e))
            return false;
        if (found)
            return true;
    }
    scoped(upper) Upper up = {.dirfd = -1};
    if (!copy_out(w, m, s, &up, e) || !upper_commit(&up, ret, e))
        return false;
    store_describe(w->env->store, *ret, "source.local", source_place(w, &m->source));
    return store_memo_put(w->env->store, &key, ret, sizeof *ret, e);
}

static bool bind(StepWork *w, const PlanMount *m, StepSource *s, SandboxMount *out, Err *e)
{
    SnapshotId id = 0;
    Stack st = {0};
    out->kind = SANDBOX_OVERLAY;
    out->readonly = m->spec.readonly;
    if (m->source.origin == PLAN_EMPTY)
        return true;
    if (m->source.origin == PLAN_STEP) {
        out->sub = m->source.path.text;
        return source_result(w, &m->source, &st, e) && snapshot_twins_part(w->env->store, &st, e) &&
               stack_lowers(&w->arena, &st, &out->lowers, e);
    }
    if (!context_snapshot(w, m, s, &id, e))
        return false;
    const Selection *sel = &s->selection;
    if (s->selected && sel->nroot && !sel->roots[0].is_dir)
        out->sub = path_base(sel->roots[0].name);
    st = stack_push(&w->arena, &st, id);
    return stack_lowers(&w->arena, &st, &out->lowers, e);
}

/* ---- caches ---- */

static bool has_rights(const PlanMount *m)
{
    return m->spec.has_mode || m->spec.has_uid || m->spec.has_gid;
}

/* The directory of a cache: its id, whose it is where that was asked for, and what it began with.
 */
static void cache_name(const StepWork *w, const PlanMount *m, const StepSource *from, unsigned copy,
                       char out[static STORE_TMP_MAX])
{
    const DfMount *s = &m->spec;
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    char hex[DIGEST_HEX_SIZE], rights[64] = "";
    Digest d;
    if (has_rights(m))
        (void)snprintf(rights, sizeof rights, "%o %u %u", s->has_mode ? s->mode : 0755u, s->uid,
                       s->gid);
    key_begin(&k, "cache mount 1");
    key_text(&k, "namespace", w->env->cache_ns ? w->env->cache_ns : "");
    key_text(&k, "id", s->id);
    key_text(&k, "rights", rights);
    if (m->source.origin != PLAN_EMPTY)
        key_source(&k, &m->source, &from->content);
    key_end(&k, &d);
    digest_hex(&d, hex);
    if (copy)
        (void)snprintf(out, STORE_TMP_MAX, "mounts/%.32s.%u", hex, copy);
    else
        (void)snprintf(out, STORE_TMP_MAX, "mounts/%.32s", hex);
}

/* The thing a cache begins with: a directory whose mode and owner it takes, or a file. */
static bool cache_root(StepWork *w, const PlanMount *m, StepSource *s, TreeEntry *ret, Err *e)
{
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    ViewNode node;
    *ret = (TreeEntry){.type = TREE_DIR, .mode = 0755};
    if (m->source.origin == PLAN_EMPTY)
        return true;
    if (!source_open(w, &m->source, s, &o, e) ||
        !view_lookup(o.view, m->source.path.text, VIEW_FOLLOW, &node, e))
        return false;
    return !node.exists || view_entry(o.view, &w->arena, &node, ret, e);
}

/* Make the directory `data` with what a cache begins with. */
static bool fill_cache(StepWork *w, const PlanMount *m, StepSource *s, const char *data, Err *e)
{
    Store *store = w->env->store;
    const DfMount *spec = &m->spec;
    scoped(upper) Upper up = {.dirfd = -1};
    const Stack none = {0};
    TreeEntry root;
    if (!cache_root(w, m, s, &root, e))
        return false;
    if (has_rights(m) || root.type != TREE_DIR)
        root = (TreeEntry){
            .mode = spec->has_mode ? spec->mode & 07777 : 0755, .uid = spec->uid, .gid = spec->gid};
    bool empty = m->source.origin == PLAN_EMPTY;
    if (!(empty ? upper_begin(store, &none, &up, e) : copy_out(w, m, s, &up, e)))
        return false;
    if (fchmod(up.dirfd, root.mode) < 0 || !upper_move(&up, data, e))
        return e->kind ? false
                       : err_errno(e, ERR_STORE, "change mode of '%s/%s'", store_path(store), data);
    return owner_chown(store_dirfd(store), store_dirfd(store), data, root.uid, root.gid) == 0 ||
           err_errno(e, ERR_STORE, "give '%s/%s' to %u:%u", store_path(store), data, root.uid,
                     root.gid);
}

/* Fill a new cache, in tmp, and publish it; somebody else may be first. */
static bool make_cache(StepWork *w, const PlanMount *m, StepSource *s, const char *dir, Err *e)
{
    Store *store = w->env->store;
    int dirfd = store_dirfd(store);
    char tmp[STORE_TMP_MAX];
    Err ignored = ERR_INIT;
    if (!store_tmp(store, "mount", tmp, e))
        return false;
    if (mkdirat(dirfd, tmp, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(store), tmp);
    bool ok = fill_cache(w, m, s, arena_printf(&w->arena, "%s/data", tmp), e);
    if (ok && renameat(dirfd, tmp, dirfd, dir) == 0)
        return true;
    if (ok && errno != EEXIST && errno != ENOTEMPTY)
        ok = err_errno(e, ERR_STORE, "make the cache '%s/%s'", store_path(store), dir);
    fs_remove_tree(dirfd, tmp, &ignored);
    return ok;
}

static void keep_lock(StepWork *w, StepMounts *m, int fd)
{
    *ARENA_PUSH(&w->arena, m->locks, m->nlock, m->lock_cap) = fd;
}

/* Say what the step waits for; NULL: it goes on. */
static void tell_wait(const StepWork *w, const char *text)
{
    Event ev = steps_event(w, EV_STEP_WAIT);
    ev.text = text;
    event_send(&w->env->sink, &ev);
}

/* Wait for a lock, and say so; a cancelled build waits no longer. */
static bool wait_lock(StepWork *w, const PlanMount *m, int fd, Err *e)
{
    bool told = false;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(e, ERR_STORE, "lock cache '%s'", m->spec.id);
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "cancelled");
        if (!told)
            tell_wait(w, arena_printf(&w->arena,
                                      "waiting for cache '%s', which another step has locked",
                                      m->spec.id));
        told = true;
        usleep(50000);
    }
    if (told)
        tell_wait(w, NULL);
    return true;
}

/* One copy of a cache; *ret_free is false when it is private and in use. */
static bool take_cache(StepWork *w, const PlanMount *m, StepSource *s, unsigned copy,
                       StepMounts *all, const char **ret_dir, bool *ret_free, Err *e)
{
    Store *store = w->env->store;
    char dir[STORE_TMP_MAX];
    cache_name(w, m, s, copy, dir);
    *ret_free = true;
    if (!store_use(store, dir, m->spec.id, e))
        return false;
    if (mkdirat(store_dirfd(store), "mounts", 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_STORE, "create '%s/mounts'", store_path(store));
    if (faccessat(store_dirfd(store), dir, F_OK, 0) < 0 && !make_cache(w, m, s, dir, e))
        return false;
    *ret_dir = arena_printf(&w->arena, "%s/data", dir);
    if (m->spec.sharing == DF_SHARED)
        return true;
    int fd = openat(store_dirfd(store), dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '%s/%s'", store_path(store), dir);
    keep_lock(w, all, fd);
    if (m->spec.sharing == DF_LOCKED)
        return wait_lock(w, m, fd, e);
    *ret_free = flock(fd, LOCK_EX | LOCK_NB) == 0;
    return true;
}

/* Find a cache that no other command holds, or wait; one command gets the same one each time. */
static bool find_cache(StepWork *w, const PlanMount *m, StepSource *s, StepMounts *all,
                       const char **ret_dir, Err *e)
{
    char name[STORE_TMP_MAX];
    const char *dir = NULL;
    bool free_copy = false;
    cache_name(w, m, s, 0, name);
    for (size_t i = 0; i < all->ntaken; i++)
        if (!strcmp(all->taken[i].name, name)) {
            *ret_dir = all->taken[i].dir;
            return true;
        }
    for (unsigned copy = 0; !free_copy; copy++) {
        if (copy == MAX_PRIVATE)
            return err_set(e, ERR_STORE, "cache '%s': %d private copies are in use", m->spec.id,
                           MAX_PRIVATE);
        if (!take_cache(w, m, s, copy, all, &dir, &free_copy, e))
            return false;
    }
    *ARENA_PUSH(&w->arena, all->taken, all->ntaken, all->taken_cap) =
        (TakenCache){arena_strdup(&w->arena, name), dir};
    *ret_dir = dir;
    return true;
}

static bool cache(StepWork *w, const PlanMount *m, StepSource *s, StepMounts *all,
                  SandboxMount *out, Err *e)
{
    TreeEntry root;
    out->kind = SANDBOX_BIND;
    out->readonly = m->spec.readonly;
    if (!find_cache(w, m, s, all, &out->source, e) || !cache_root(w, m, s, &root, e))
        return false;
    /* `source` without `from` is a part of the cache. */
    const char *part = path_clean(&w->arena, arena_printf(&w->arena, "/%s", m->source.path.text));
    if (m->source.origin == PLAN_EMPTY && strcmp(part, "/") != 0)
        out->sub = part;
    if (root.type != TREE_DIR)
        out->sub = path_base(path_clean(&w->arena, m->source.path.text));
    return true;
}

/* ---- secrets ---- */

/* *ret_shown is false for one that is only a variable, or is not there and need not be. */
static bool secret(StepWork *w, const PlanMount *m, StepMounts *all, SandboxMount *out,
                   bool *ret_shown, Err *e)
{
    const StepSecret *found = NULL;
    const DfMount *s = &m->spec;
    for (size_t i = 0; i < w->env->nsecret; i++)
        if (!strcmp(w->env->secrets[i].id, s->id))
            found = &w->env->secrets[i];
    *ret_shown = false;
    if (!found && s->required)
        return err_set(e, ERR_DOCKERFILE,
                       "secret %s: not found: give it with --secret id=%s,src=FILE", s->id, s->id);
    if (!found)
        return true;
    if (s->env) {
        if (memchr(found->value.ptr, 0, found->value.len))
            return err_set(e, ERR_DOCKERFILE, "secret %s: holds a NUL byte, so it is no variable",
                           s->id);
        strlist_add(&w->arena, &all->env,
                    arena_printf(&w->arena, "%s=%.*s", *s->env ? s->env : s->id,
                                 (int)found->value.len, found->value.ptr));
    }
    *ret_shown = m->target != NULL;
    *out = (SandboxMount){.kind = SANDBOX_FILE,
                          .target = m->target,
                          .readonly = true,
                          .bytes = found->value.ptr,
                          .size = found->value.len,
                          .mode = s->has_mode ? s->mode & 07777 : 0400,
                          .uid = s->uid,
                          .gid = s->gid};
    return true;
}

/* ---- agents ---- */

/* The first one is where SSH_AUTH_SOCK points, unless the Dockerfile sets that. */
static bool agent(StepWork *w, const PlanMount *m, StepMounts *all, SandboxMount *out,
                  bool *ret_shown, Err *e)
{
    const StepAgent *found = NULL;
    const DfMount *s = &m->spec;
    for (size_t i = 0; i < w->env->nagent; i++)
        if (!strcmp(w->env->agents[i].id, s->id))
            found = &w->env->agents[i];
    *ret_shown = found != NULL;
    if (!found && s->required)
        return err_set(e, ERR_DOCKERFILE,
                       "no SSH agent '%s' is forwarded: give it with --ssh %s, which takes "
                       "SSH_AUTH_SOCK, or --ssh %s=KEYFILE",
                       s->id, s->id, s->id);
    if (!found)
        return true;
    *out = (SandboxMount){.kind = SANDBOX_SOCKET,
                          .target = m->target,
                          .source = found->socket,
                          .mode = s->has_mode ? s->mode & 0777 : 0600,
                          .uid = s->uid,
                          .gid = s->gid};
    if (!all->has_agent && !env_get(&w->step->u.run.env, "SSH_AUTH_SOCK"))
        strlist_add(&w->arena, &all->env, arena_printf(&w->arena, "SSH_AUTH_SOCK=%s", m->target));
    all->has_agent = true;
    return true;
}

/* ---- all of them ---- */

static bool open_one(StepWork *w, size_t i, StepMounts *all, SandboxMount *out, bool *ret_shown,
                     Err *e)
{
    const PlanMount *m = &w->step->u.run.mounts[i];
    *ret_shown = true;
    *out = (SandboxMount){.target = m->target};
    switch (m->spec.type) {
    case DF_MOUNT_BIND:
        return bind(w, m, &w->sources[i], out, e);
    case DF_MOUNT_CACHE:
        return cache(w, m, &w->sources[i], all, out, e);
    case DF_MOUNT_TMPFS:
        out->kind = SANDBOX_TMPFS;
        out->size = m->spec.size;
        out->readonly = m->spec.readonly;
        return true;
    case DF_MOUNT_SECRET:
        return secret(w, m, all, out, ret_shown, e);
    case DF_MOUNT_SSH:
        return agent(w, m, all, out, ret_shown, e);
    }
    return true;
}

/* The order in which mounts are made ready: the same for the caches of all commands, so that no two
 * wait for each other. */
typedef struct Turn {
    size_t i;
    char cache[STORE_TMP_MAX]; /* "" for other mounts */
} Turn;

static int by_cache(const void *x, const void *y)
{
    const Turn *a = x, *b = y;
    int order = strcmp(a->cache, b->cache);
    return order ? order : a->i < b->i ? -1 : a->i > b->i;
}

bool mounts_open(StepWork *w, StepMounts *ret, Err *e)
{
    const PlanRun *r = &w->step->u.run;
    Turn *turns = NEW_N(&w->arena, Turn, r->nmount + 1);
    for (size_t i = 0; i < r->nmount; i++) {
        turns[i].i = i;
        if (r->mounts[i].spec.type == DF_MOUNT_CACHE)
            cache_name(w, &r->mounts[i], &w->sources[i], 0, turns[i].cache);
    }
    if (r->nmount > 1)
        qsort(turns, r->nmount, sizeof *turns, by_cache);
    ret->v = NEW_N(&w->arena, SandboxMount, r->nmount + 1);
    for (size_t i = 0; i < r->nmount; i++) {
        bool shown;
        if (!open_one(w, turns[i].i, ret, &ret->v[ret->n], &shown, e))
            return place_fail(w, &r->mounts[turns[i].i], e);
        ret->n += shown;
    }
    if (r->script)
        ret->v[ret->n++] = (SandboxMount){.kind = SANDBOX_FILE,
                                          .target = r->script,
                                          .readonly = true,
                                          .bytes = r->script_text,
                                          .size = strlen(r->script_text),
                                          .mode = 0755};
    return true;
}

void mounts_close(StepMounts *m)
{
    for (size_t i = 0; i < m->nlock; i++)
        close(m->locks[i]);
    m->nlock = 0;
}
