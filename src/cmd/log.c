/*
 * cmd/log.c - `lighter log`: past builds, their steps, and what the steps printed.
 */
#include <errno.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/rune.h"
#include "cmd/cmd.h"
#include "cmd/past.h"
#include "cmd/watch.h"

enum { POLL_US = 100000, BLOCK = 64 << 10 };

typedef struct LogOpts {
    const char *format, *limit;
    bool follow, all;
} LogOpts;

#define FIELD(f) offsetof(LogOpts, f)
static const OptRow ROWS[] = {
    {"limit", 'n', OPT_STRING, FIELD(limit), "N", "list the newest N builds"},
    {"format", 0, OPT_STRING, FIELD(format), "json", "one JSON object a line"},
    {"follow", 'f', OPT_BOOL, FIELD(follow), NULL, "with BUILD STEP: go on until the step ends"},
    {"all", 0, OPT_BOOL, FIELD(all), NULL, "with rm: drop everything"},
};
static const OptTable TABLE = {
    "lighter log [OPTIONS] [BUILD [STEP]]\n       lighter log rm BUILD...|--all",
    "list past builds, the steps of one, or all that a step printed; BUILD: the first digits of "
    "its id, ^0 the newest, ^1 the one before; STEP: its number",
    ROWS, NELEM(ROWS), false};

/* ---- what a step printed ---- */

static bool find_step(const HistoryRecord *r, const char *word, const HistoryStep **ret, Err *e)
{
    uint64_t n;
    for (size_t i = 0; i < r->nstep; i++) {
        const HistoryStep *s = &r->steps[i];
        bool same = (str_u64(word, UINT32_MAX, &n) && s->step == n) ||
                    (s->stage && !strcmp(s->stage, word));
        if (!s->step || !same)
            continue;
        *ret = s;
        return true;
    }
    return err_set(e, ERR_USAGE, "build %s has no step '%s': it has %zu", r->id, word, r->nstep);
}

/* On a terminal it must not steer it; elsewhere it is byte for byte what was printed. */
static bool print_block(Buf *block, bool terminal, Err *e)
{
    scoped(buf) Buf lines = BUF_INIT;
    const char *p = block->ptr, *end = p + block->len;
    while (terminal && p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        buf_add_clean(&lines, p, (size_t)((nl ? nl : end) - p));
        if (nl)
            buf_putc(&lines, '\n');
        p = nl ? nl + 1 : end;
    }
    const Buf *b = terminal ? &lines : block;
    block->len = 0;
    return fs_write_all(STDOUT_FILENO, buf_str(b),
                        terminal ? lines.len : (size_t)(end - block->ptr), e);
}

/* From where it is to its end. */
static bool print_rest(int fd, Err *e)
{
    scoped(buf) Buf block = BUF_INIT;
    bool terminal = isatty(STDOUT_FILENO);
    for (;;) {
        ssize_t n = read(fd, buf_reserve(&block, BLOCK), BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_STORE, "read the log");
        if (!n)
            return true;
        block.len = (size_t)n;
        if (!print_block(&block, terminal, e))
            return err_wrap(e, "write the log");
    }
}

/* Until the step is over, or whoever runs it is gone. */
static bool follow(int storefd, const char *id, const char *word, Err *e)
{
    scoped(fd) int fd = -1;
    for (bool over = false; !over;) {
        scoped(arena) Arena a = {0};
        HistoryRecord r;
        const HistoryStep *s = NULL;
        Err none = ERR_INIT;
        if (!history_find(storefd, &a, id, &r, e))
            return false;
        over = r.state != HISTORY_RUNNING;
        if (find_step(&r, word, &s, &none)) {
            over = over || s->over;
            if (fd < 0 && !history_open_log(storefd, &a, s, &fd, e))
                return false;
        }
        if (fd >= 0 && !print_rest(fd, e))
            return false;
        if (!over)
            usleep(POLL_US);
    }
    return true;
}

static bool print_log(int storefd, Arena *a, const LogOpts *o, const StrList *operands, Err *e)
{
    HistoryRecord r;
    const HistoryStep *s = NULL;
    int raw = -1;
    if (!history_find(storefd, a, operands->v[0], &r, e))
        return false;
    if (o->follow && r.state == HISTORY_RUNNING)
        return follow(storefd, r.id, operands->v[1], e);
    if (!find_step(&r, operands->v[1], &s, e) || !history_open_log(storefd, a, s, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    if (fd < 0)
        fprintf(stderr, "nothing is kept that step %u printed%s\n", s->step,
                s->over && s->how == HOW_SKIPPED ? ": it was never begun" : "");
    return fd < 0 || print_rest(fd, e);
}

/* ---- the command ---- */

static bool drop(int storefd, Arena *a, const LogOpts *o, const StrList *operands, Err *e)
{
    StrList names = {0};
    HistoryRecord *v = NULL, one;
    size_t n = 0;
    if (o->all ? operands->n > 1 : operands->n < 2)
        return err_set(e, ERR_USAGE, "rm: expected builds, or --all");
    if (o->all && !history_list(storefd, a, SIZE_MAX, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        strlist_add(a, &names, v[i].name);
    for (size_t i = 1; i < operands->n; i++) {
        if (!history_find(storefd, a, operands->v[i], &one, e))
            return false;
        if (one.state == HISTORY_RUNNING)
            return err_set(e, ERR_USAGE, "build %s is running", one.id);
        strlist_add_once(a, &names, one.name);
    }
    size_t gone = history_drop(storefd, &names);
    printf("%zu builds dropped\n", gone);
    return true;
}

static bool list(int storefd, Arena *a, const LogOpts *o, size_t max, Err *e)
{
    scoped(buf) Buf out = BUF_INIT;
    HistoryRecord *v;
    size_t n;
    if (!history_list(storefd, a, max, &v, &n, e))
        return false;
    if (!o->format)
        past_head(&out);
    for (size_t i = 0; i < n; i++) {
        if (o->format)
            past_json(a, &v[i], &out);
        else
            past_row(a, &v[i], &out);
    }
    return fs_write_all(STDOUT_FILENO, buf_str(&out), out.len, e);
}

static bool show(int storefd, Arena *a, const LogOpts *o, const char *word, Err *e)
{
    scoped(buf) Buf out = BUF_INIT;
    HistoryRecord r;
    if (!history_find(storefd, a, word, &r, e))
        return false;
    if (o->format)
        past_json(a, &r, &out);
    else
        past_page(storefd, a, &r, &out);
    return fs_write_all(STDOUT_FILENO, buf_str(&out), out.len, e);
}

static bool check(const LogOpts *o, const StrList *operands, HistoryLimits *limits,
                  uint64_t *ret_max, Err *e)
{
    bool rm = operands->n && !strcmp(operands->v[0], "rm");
    if (o->format && strcmp(o->format, "json") != 0)
        return err_set(e, ERR_USAGE, "--format %s: expected json", o->format);
    if (!rm && operands->n > 2)
        return err_set(e, ERR_USAGE, "takes a build and a step, and got '%s' too", operands->v[2]);
    if (o->follow && operands->n != 2)
        return err_set(e, ERR_USAGE, "--follow needs a build and a step");
    if (o->all && !rm)
        return err_set(e, ERR_USAGE, "--all is for rm");
    if (!watch_limits(limits, e))
        return false;
    *ret_max = limits->builds;
    return !o->limit || str_u64(o->limit, UINT32_MAX, ret_max) ||
           err_set(e, ERR_USAGE, "--limit %s: expected a number", o->limit);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const LogOpts *o = opts;
    HistoryLimits limits;
    uint64_t max = 0;
    if (!check(o, operands, &limits, &max, e))
        return false;
    /* Neither the database nor a lock: nobody who builds is waited for. */
    const char *path = store_default_path(a);
    scoped(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return err_errno(e, ERR_STORE, "open store '%s'", path);
    *ret_code = 0;
    if (fd < 0)
        return !operands->n ||
               err_set(e, ERR_USAGE, "no build has left anything in store '%s'", path);
    if (!operands->n)
        return list(fd, a, o, max, e);
    if (!strcmp(operands->v[0], "rm"))
        return drop(fd, a, o, operands, e);
    return operands->n == 1 ? show(fd, a, o, operands->v[0], e) : print_log(fd, a, o, operands, e);
}

const Cmd CMD_LOG = {"log", &TABLE, sizeof(LogOpts), run, NULL};
