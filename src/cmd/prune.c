/*
 * cmd/prune.c - `lighter prune`: make room, as `docker buildx prune` means it.
 */
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cmd/space.h"

typedef struct PruneOpts {
    bool all, dry_run, force;
    const char *max_used, *reserved, *min_free, *isolation;
    StrList filters;
} PruneOpts;

#define FIELD(f) offsetof(PruneOpts, f)
static const OptRow ROWS[] = {
    {"all", 'a', OPT_BOOL, FIELD(all), NULL,
     "also what images with a tag can have again: their unpacked layers, all memos, and the "
     "history "
     "of builds"},
    {"filter", 0, OPT_LIST, FIELD(filters), "FILTER",
     "until=24h, id=, type=, description~=, inuse, shared, private, mutable; repeatable"},
    {"max-used-space", 0, OPT_STRING, FIELD(max_used), "SIZE",
     "drop the longest unused until the cache takes at most this"},
    {"reserved-space", 0, OPT_STRING, FIELD(reserved), "SIZE", "but leave the cache this much"},
    {"min-free-space", 0, OPT_STRING, FIELD(min_free), "SIZE",
     "drop the longest unused until the disk has this free"},
    {"dry-run", 0, OPT_BOOL, FIELD(dry_run), NULL, "say what would go, and drop nothing"},
    {"force", 'f', OPT_BOOL, FIELD(force), NULL, "do not ask"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "the mode the store was filled in (default auto)"},
};
static const OptTable TABLE = {"lighter prune [OPTIONS]",
                               "drop what no tag and no running build needs", ROWS, NELEM(ROWS),
                               false};

typedef struct Prune {
    const PruneOpts *o;
    Store *s;
    SpaceFilter filter;
    StoreItem *v;
    size_t n;
    const StoreItem **out; /* what goes, oldest use first */
    size_t nout;
    Err *e;
} Prune;

static bool confirm(const PruneOpts *o, Err *e)
{
    char answer[16] = "";
    if (o->force || o->dry_run)
        return true;
    if (!isatty(STDIN_FILENO))
        return err_set(e, ERR_USAGE, "would ask, and stdin is no terminal: use --force");
    fprintf(stderr, "This drops %s. Go on? [y/N] ",
            o->all ? "all of the cache" : "everything that no tag needs");
    if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
        return err_set(e, ERR_USAGE, "nothing was dropped");
    return true;
}

static bool size_option(const Prune *p, const char *name, const char *text, uint64_t *ret)
{
    *ret = 0;
    return !text || space_parse(text, store_dirfd(p->s), ret, p->e) || err_wrap(p->e, "--%s", name);
}

/*
 * How many bytes of the cache stay; *ret_limited is false when nothing was said of it.
 * Source: BuildKit's calculateKeepBytes, whose numbers these are; a limit of 0 is a limit here.
 */
static bool keep_bytes(const Prune *p, uint64_t total, uint64_t *ret, bool *ret_limited)
{
    uint64_t max, reserved, min_free, keep = total;
    struct statvfs vfs;
    if (!size_option(p, "max-used-space", p->o->max_used, &max) ||
        !size_option(p, "reserved-space", p->o->reserved, &reserved) ||
        !size_option(p, "min-free-space", p->o->min_free, &min_free))
        return false;
    *ret_limited = p->o->max_used || p->o->reserved || p->o->min_free;
    if (p->o->max_used || !p->o->min_free)
        keep = max;
    if (p->o->min_free) {
        if (fstatvfs(store_dirfd(p->s), &vfs) < 0)
            return err_errno(p->e, ERR_STORE, "size of the disk");
        uint64_t free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
        uint64_t excess = min_free > free_bytes ? min_free - free_bytes : 0;
        uint64_t room = total > excess ? total - excess : 0;
        keep = keep < room ? keep : room;
    }
    *ret = keep > reserved ? keep : reserved;
    return true;
}

static bool choose(Prune *p, Arena *a)
{
    uint64_t total = 0, keep = 0;
    bool limited;
    int64_t now = (int64_t)time(NULL);
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].name[0] != '.' && !p->v[i].shared && !p->v[i].history)
            total += p->v[i].size;
    if (!keep_bytes(p, total, &keep, &limited))
        return false;
    p->out = NEW_N(a, const StoreItem *, p->n + 1);
    for (size_t i = 0; i < p->n; i++) {
        const StoreItem *it = &p->v[i];
        bool wanted = p->o->all || (it->history && filter_names(&p->filter, "type", it->type));
        if (!store_item_idle(it, wanted) || !filter_match(&p->filter, it, now))
            continue;
        if (limited && total <= keep)
            break;
        if (limited && (!it->size || it->history))
            continue; /* it makes no room for what is limited */
        p->out[p->nout++] = it;
        if (!it->shared)
            total -= it->size;
    }
    return true;
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    Prune p = {.o = opts, .e = e};
    scoped(store) Store *s = NULL;
    scoped(space_filter) SpaceFilter filter = {0};
    scoped(buf) Buf out = BUF_INIT;
    char size[32];
    uint64_t freed = 0, nmemo = 0;
    SpaceFold fold = {.n = 0};
    if (operands->n)
        return err_set(e, ERR_USAGE, "takes no argument, and got '%s'", operands->v[0]);
    if (!filter_parse(a, &p.o->filters, &filter, e) || !confirm(p.o, e) ||
        !space_items(a, p.o->isolation, &s, &p.v, &p.n, e))
        return false;
    p.s = s;
    p.filter = filter;
    if (!choose(&p, a))
        return false;
    bool *gone = NEW_N(a, bool, p.nout + 1);
    for (size_t i = 0; p.o->dry_run && i < p.nout; i++)
        gone[i] = true;
    if (!p.o->dry_run && (!store_drop(s, p.out, p.nout, gone, e) ||
                          (p.o->all && !p.filter.n && !store_drop_memos(s, INT64_MAX, &nmemo, e))))
        return false;
    space_head(&out);
    for (size_t i = 0; i < p.nout; i++) {
        if (!gone[i])
            continue;
        space_row(&fold, p.out[i], &out);
        freed += p.out[i]->size;
    }
    space_rows_end(&fold, &out);
    str_size(freed, size, sizeof size);
    buf_printf(&out, "%s %s (%llu bytes)\n", p.o->dry_run ? "Would free:" : "Total:", size,
               (unsigned long long)freed);
    cmd_print(stdout, buf_str(&out));
    *ret_code = 0;
    return true;
}

const Cmd CMD_PRUNE = {"prune", &TABLE, sizeof(PruneOpts), run, NULL};
