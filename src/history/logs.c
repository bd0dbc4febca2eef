/*
 * history/logs.c - all that a step prints, in a file.
 */
#include <errno.h>
#include <sys/file.h>

#include "base/fs.h"
#include "history/names.h"

/* Runs of one step within a second. */
enum { TRIES = 100 };

void history_log_begin(HistoryLog *l, int storefd, const Digest *key, int64_t created)
{
    *l = (HistoryLog){.storefd = storefd, .fd = -1};
    run_of(key, created, l->name);
}

static bool create(HistoryLog *l)
{
    char run[RUN_MAX];
    (void)snprintf(run, sizeof run, "%s", l->name);
    for (unsigned i = 1; l->fd < 0 && i < TRIES; i++) {
        (void)snprintf(l->name, sizeof l->name, i > 1 ? "%s-%u.log" : "%s.log", run, i);
        l->fd = history_open(l->storefd, "logs", l->name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
        if (l->fd < 0 && errno != EEXIST)
            break;
    }
    if (l->fd >= 0)
        (void)flock(l->fd, LOCK_EX | LOCK_NB); /* nobody drops it while it grows */
    return l->fd >= 0;
}

void history_log_add(HistoryLog *l, const char *bytes, size_t n)
{
    Err ignored = ERR_INIT;
    if (l->lost || !n)
        return;
    /* A full disk must not stop the command's output. */
    l->lost = (l->fd < 0 && !create(l)) || !fs_write_all(l->fd, bytes, n, &ignored);
}

const char *history_log_end(HistoryLog *l, Arena *a, bool failed)
{
    if (l->fd < 0)
        return NULL;
    const char *name = arena_strdup(a, l->name);
    if (failed) {
        const char *stem = arena_strndup(a, name, strlen(name) - strlen(".log"));
        const char *from = arena_printf(a, "logs/%s", name),
                   *to = arena_printf(a, "logs/%s.failed.log", stem);
        if (renameat(l->storefd, from, l->storefd, to) == 0)
            name = to + strlen("logs/");
    }
    close(l->fd);
    l->fd = -1;
    return name;
}

/* ---- reading ---- */

/* The last log of a run that did not fail; NULL: there is none. */
static const char *log_of_run(int storefd, Arena *a, const char *run)
{
    StrList names;
    Err ignored = ERR_INIT;
    const char *found = NULL;
    if (!list_dir(storefd, a, "logs", &names, &ignored))
        return NULL;
    for (size_t i = 0; i < names.n; i++)
        if (run_len(names.v[i]) == strlen(run) && str_starts(names.v[i], run) &&
            !str_ends(names.v[i], ".failed.log"))
            found = names.v[i];
    return found;
}

/* The newest log of a step that is running, by its key. */
static const char *log_of_key(int storefd, Arena *a, const char *key)
{
    StrList names;
    Err ignored = ERR_INIT;
    const char *found = NULL;
    if (!list_dir(storefd, a, "logs", &names, &ignored))
        return NULL;
    for (size_t i = 0; i < names.n; i++) {
        const char *dash = strchr(names.v[i], '-');
        if (dash && !strncmp(dash + 1, key, KEY_HEX))
            found = names.v[i];
    }
    return found;
}

bool history_open_log(int storefd, Arena *a, const HistoryStep *s, int *ret_fd, Err *e)
{
    bool hit = s->over && s->how == HOW_HIT;
    const char *name = s->log;
    *ret_fd = -1;
    if (!name && hit && s->run)
        name = log_of_run(storefd, a, s->run);
    if (!name && !s->over && s->key)
        name = log_of_key(storefd, a, s->key);
    if (!name)
        return true;
    *ret_fd = history_open(storefd, "logs", name, O_RDONLY);
    if (*ret_fd < 0 && errno == ENOENT)
        return err_set(e, ERR_USAGE, "the log of step %u is not kept any more", s->step);
    return *ret_fd >= 0 || err_errno(e, ERR_STORE, "open 'logs/%s'", name);
}
