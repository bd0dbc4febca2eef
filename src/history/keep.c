/*
 * history/keep.c - what of the past is kept: so many builds, so much output of steps.
 */
#include <sys/file.h>
#include <time.h>

#include "base/fs.h"
#include "base/map.h"
#include "history/names.h"

enum { RECORD_MAX = 64 << 20 };
/* A run's log is there a moment before its record names it. */
enum { FRESH_SECONDS = 600 };

/* ---- logs that no record names ---- */

/* The runs that records name, into a set; the text is looked through, for that is all it takes. */
static void runs_in(const Buf *text, Arena *a, Map *ret)
{
    static const char MARK[] = "\"run\":\"";
    const char *p = buf_str(text), *end = p + text->len;
    while ((p = memmem(p, (size_t)(end - p), MARK, sizeof MARK - 1))) {
        p += sizeof MARK - 1;
        (void)map_put(ret, arena_strndup(a, p, strcspn(p, "\"")), 1);
    }
}

static bool named_runs(int storefd, Arena *a, Map *ret)
{
    StrList names;
    Err ignored = ERR_INIT;
    if (!list_dir(storefd, a, "builds", &names, &ignored))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        scoped(buf) Buf text = BUF_INIT;
        scoped(fd) int fd = history_open(storefd, "builds", names.v[i], O_RDONLY);
        if (fd < 0 || !fs_read_all(fd, RECORD_MAX, &text, &ignored))
            return false; /* better all logs than one too few */
        runs_in(&text, a, ret);
    }
    return true;
}

/* Nobody is writing it, nor has just now. */
static bool is_settled(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_mtime < time(NULL) - FRESH_SECONDS && !is_locked(fd);
}

static void drop_file(int storefd, const char *dir, const char *name)
{
    scoped(buf) Buf path = BUF_INIT;
    buf_printf(&path, "%s/%s", dir, name);
    (void)unlinkat(storefd, path.ptr, 0); /* best effort: the next build tries again */
}

static void sweep_logs(int storefd)
{
    scoped(arena) Arena a = {0};
    scoped(map) Map runs = {0};
    StrList logs;
    Err ignored = ERR_INIT;
    uint64_t one;
    if (!named_runs(storefd, &a, &runs) || !list_dir(storefd, &a, "logs", &logs, &ignored))
        return;
    for (size_t i = 0; i < logs.n; i++) {
        const char *run = arena_strndup(&a, logs.v[i], run_len(logs.v[i]));
        if (map_get(&runs, run, &one))
            continue;
        scoped(fd) int fd = history_open(storefd, "logs", logs.v[i], O_RDONLY);
        if (fd >= 0 && is_settled(fd))
            drop_file(storefd, "logs", logs.v[i]);
    }
}

/* ---- records ---- */

/* Copy a file of many records without those of the list; how many were left out. */
static size_t without(const Buf *text, const StrList *names, Buf *ret)
{
    const char *p = buf_str(text), *end = p + text->len;
    size_t n = 0;
    bool drop = false;
    for (Str line; next_line(&p, end, &line);) {
        if (is_first_line(line, NULL)) {
            drop = false;
            for (size_t i = 0; i < names->n && !drop; i++)
                drop = is_first_line(line, names->v[i]);
            n += drop;
        }
        if (!drop)
            buf_add(ret, line.ptr, line.len);
    }
    return n;
}

static size_t drop_short(int storefd, const char *name, const StrList *names)
{
    scoped(buf) Buf text = BUF_INIT, rest = BUF_INIT, path = BUF_INIT;
    scoped(fd) int fd = history_open(storefd, "builds", name, O_RDONLY);
    Err ignored = ERR_INIT;
    buf_printf(&path, "builds/%s", name);
    if (fd < 0 || flock(fd, LOCK_EX) < 0 || !fs_read_all(fd, RECORD_MAX, &text, &ignored))
        return 0;
    size_t n = without(&text, names, &rest);
    if (n && !fs_replace_file(storefd, path.ptr, buf_str(&rest), rest.len, &ignored))
        n = 0;
    return n;
}

size_t history_drop(int storefd, const StrList *names)
{
    size_t n = 0;
    for (size_t i = 0; i < names->n; i++) {
        scoped(fd) int fd = history_open(storefd, "builds", names->v[i], O_RDONLY);
        if (fd < 0 || is_locked(fd))
            continue;
        drop_file(storefd, "builds", names->v[i]);
        n++;
    }
    for (size_t i = 0; n < names->n && i < NELEM(SHORT_FILES); i++)
        n += drop_short(storefd, SHORT_FILES[i], names);
    if (n)
        sweep_logs(storefd);
    return n;
}

/* ---- limits ---- */

/* Names begin with the time, so the first are the oldest. */
static void limit_logs(int storefd, uint64_t max)
{
    scoped(arena) Arena a = {0};
    StrList logs;
    Err ignored = ERR_INIT;
    uint64_t total = 0;
    if (!list_dir(storefd, &a, "logs", &logs, &ignored))
        return;
    uint64_t *sizes = NEW_N(&a, uint64_t, logs.n + 1);
    for (size_t i = 0; i < logs.n; i++) {
        struct stat st;
        if (fstatat(storefd, arena_printf(&a, "logs/%s", logs.v[i]), &st, AT_SYMLINK_NOFOLLOW) == 0)
            sizes[i] = (uint64_t)st.st_blocks * 512;
        total += sizes[i];
    }
    for (size_t i = 0; i < logs.n && total > max; i++) {
        scoped(fd) int fd = history_open(storefd, "logs", logs.v[i], O_RDONLY);
        if (fd < 0 || is_locked(fd))
            continue;
        drop_file(storefd, "logs", logs.v[i]);
        total -= sizes[i];
    }
}

void history_tidy(int storefd, const HistoryLimits *l)
{
    scoped(arena) Arena a = {0};
    StrList names, own = {0};
    Err ignored = ERR_INIT;
    if (!list_dir(storefd, &a, "builds", &names, &ignored))
        return;
    for (size_t i = 0; i < names.n; i++)
        if (!is_short(names.v[i]))
            strlist_add(&a, &own, names.v[i]);
    if (own.n > l->builds) {
        StrList oldest = {.v = own.v, .n = own.n - l->builds};
        (void)history_drop(storefd, &oldest);
    }
    limit_logs(storefd, l->log_bytes);
}
