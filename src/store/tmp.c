/*
 * store/tmp.c - unfinished work: a directory of one process below tmp/, and who removes it.
 *
 * What is no longer wanted is removed by a thread beside the work, because a file system may take
 * longer for that than the work took.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/fs.h"
#include "store/keep.h"

/* Our own directory below tmp/, with a lock that dies with us. */
bool store_own(Store *s, Err *e)
{
    char lock[STORE_TMP_MAX + 8], fresh[STORE_TMP_MAX];
    if (s->lockfd >= 0)
        return true;
    for (unsigned i = 0;; i++) {
        /* Made and locked under a name the sweep does not look at, so that it never sees it
         * unlocked. */
        (void)snprintf(fresh, sizeof fresh, "tmp/.new-%d-%u", (int)getpid(), i);
        if (mkdirat(s->dirfd, fresh, 0700) == 0)
            break;
        if (errno != EEXIST || i > 1000)
            return err_errno(e, ERR_STORE, "create '%s/%s'", s->path, fresh);
    }
    (void)snprintf(lock, sizeof lock, "%s/lock", fresh);
    int fd = openat(s->dirfd, lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        err_errno(e, ERR_STORE, "lock '%s/%s'", s->path, lock);
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (unsigned i = 0;; i++) {
        (void)snprintf(s->owner, sizeof s->owner, "tmp/%d-%u", (int)getpid(), i);
        if (renameat(s->dirfd, fresh, s->dirfd, s->owner) == 0)
            break;
        if ((errno != ENOTEMPTY && errno != EEXIST) || i > 1000) {
            close(fd);
            return err_errno(e, ERR_STORE, "rename to '%s/%s'", s->path, s->owner);
        }
    }
    s->lockfd = fd;
    return true;
}

bool store_tmp(Store *s, const char *what, char out[static STORE_TMP_MAX], Err *e)
{
    pthread_mutex_lock(&s->lock);
    bool ok = store_own(s, e);
    if (ok)
        (void)snprintf(out, STORE_TMP_MAX, "%.60s/%.20s-%u", s->owner, what, s->ntmp++);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool tmp_owner_dead(Store *s, const char *owner)
{
    char path[STORE_TMP_MAX + 300];
    (void)snprintf(path, sizeof path, "%s/lock", owner);
    scoped(fd) int fd = openat(s->dirfd, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* A process that died between mkdir and rename leaves tmp/.new-<pid>-<n>. */
static bool fresh_dead(const char *name)
{
    char proc[40];
    (void)snprintf(proc, sizeof proc, "/proc/%ld", strtol(name + 5, NULL, 10));
    return access(proc, F_OK) < 0;
}

void store_sweep(Store *s)
{
    scoped(arena) Arena a = {0};
    scoped(fd) int fd = openat(s->dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    StrList names = {0};
    Err ignored = ERR_INIT;
    if (fd < 0 || !fs_list(&a, fd, &names, &ignored))
        return;
    bool any = false;
    for (size_t i = 0; i < names.n; i++) {
        Err once = ERR_INIT;
        char owner[STORE_TMP_MAX + 300];
        (void)snprintf(owner, sizeof owner, "tmp/%s", names.v[i]);
        if (!(str_starts(names.v[i], ".new-") ? fresh_dead(names.v[i]) : tmp_owner_dead(s, owner)))
            continue;
        (void)fs_remove_tree(fd, names.v[i], &once); /* best effort: the next sweep tries again */
        any = true;
    }
    /* The dead did not say what they added. */
    if (any)
        (void)!store_cache_unknown(s, &ignored);
}

/* ---- removing ---- */

struct Janitor {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    Arena arena;
    StrList paths; /* to be removed, from `next` on */
    size_t next;
    bool closing;
    int dirfd;
};

/* The next path, or NULL when there will be none. */
static const char *next_path(Janitor *j)
{
    pthread_mutex_lock(&j->lock);
    while (!j->closing && j->next == j->paths.n)
        pthread_cond_wait(&j->more, &j->lock);
    const char *path = j->closing ? NULL : j->paths.v[j->next++];
    pthread_mutex_unlock(&j->lock);
    return path;
}

static void *janitor_main(void *arg)
{
    Janitor *j = arg;
    for (const char *path; (path = next_path(j));) {
        Err ignored = ERR_INIT;
        (void)fs_remove_tree(j->dirfd, path, &ignored); /* best effort: tmp/ is swept */
    }
    return NULL;
}

/* The one of this store, started when it is first needed; s->lock is held. NULL: no thread. */
static Janitor *have_janitor(Store *s)
{
    if (s->janitor)
        return s->janitor;
    Janitor *j = calloc(1, sizeof *j);
    if (!j)
        die_nomem();
    j->dirfd = s->dirfd;
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->more, NULL);
    if (pthread_create(&j->thread, NULL, janitor_main, j) == 0)
        return s->janitor = j;
    free(j);
    return NULL;
}

void store_discard(Store *s, const char *path)
{
    Err ignored = ERR_INIT;
    pthread_mutex_lock(&s->lock);
    Janitor *j = have_janitor(s);
    pthread_mutex_unlock(&s->lock);
    if (!j) {
        (void)fs_remove_tree(s->dirfd, path, &ignored); /* best effort: tmp/ is swept */
        return;
    }
    pthread_mutex_lock(&j->lock);
    strlist_add(&j->arena, &j->paths, arena_strdup(&j->arena, path));
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
}

static void stop_janitor(Janitor *j)
{
    pthread_mutex_lock(&j->lock);
    j->closing = true;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    pthread_cond_destroy(&j->more);
    pthread_mutex_destroy(&j->lock);
    arena_done(&j->arena);
    free(j);
}

void tmp_done(Store *s)
{
    Err ignored = ERR_INIT;
    if (s->janitor)
        stop_janitor(s->janitor);
    if (s->lockfd < 0)
        return;
    (void)fs_remove_tree(s->dirfd, s->owner, &ignored); /* best effort: the next build sweeps */
    close(s->lockfd);
}
