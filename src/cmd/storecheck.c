/*
 * cmd/storecheck.c - `lighter store check`: is everything what it says it is?
 */
#include <time.h>

#include "base/fs.h"
#include "base/map.h"
#include "cmd/cmd.h"
#include "layer/layer.h"
#include "snapshot/snapshot.h"

typedef struct CheckOpts {
    bool repair, quiet;
    const char *isolation;
} CheckOpts;

static const OptRow ROWS[] = {
    {"repair", 0, OPT_BOOL, offsetof(CheckOpts, repair), NULL,
     "drop what is broken; what stood on it is built or loaded again"},
    {"quiet", 'q', OPT_BOOL, offsetof(CheckOpts, quiet), NULL, "say it by the exit code alone"},
    {"isolation", 0, OPT_STRING, offsetof(CheckOpts, isolation), "MODE",
     "the mode the store was filled in (default auto)"},
};
static const OptTable CHECK_TABLE = {
    "lighter store check [OPTIONS]",
    "verify every blob, snapshot and row of the store; exit code 7 when something is wrong", ROWS,
    NELEM(ROWS), false};

typedef struct Tally {
    size_t found, repaired;
} Tally;

static void tell(const CheckOpts *o, Tally *t, const StoreFinding *f)
{
    t->found++;
    t->repaired += f->repaired;
    if (!o->quiet)
        printf("%s%s%s%s\n", f->text, f->repaired ? "; dropped (" : "", f->repaired ? f->lost : "",
               f->repaired ? ")" : "");
}

/* Whether a snapshot packs to the layer it stands for. */
static bool is_layer(Store *s, const StoreLayer *l, bool *ret, Err *e)
{
    LayerTimes times;
    LayerFacts facts;
    bool there;
    *ret = true;
    if (!layer_times_parse(l->times, &times) || !l->snapshot)
        return true;
    if (!store_snapshot_exists(s, l->snapshot, &there, e))
        return false;
    if (!there) /* store_check() tells of it */
        return true;
    if (!snapshot_pack(s, l->snapshot, times, (LayerForm){PACK_NOTHING, LAYER_LEVEL_OWN}, -1, 1,
                       &facts, e))
        return false;
    *ret = digest_eq(&facts.diff_id, &l->diff_id);
    return true;
}

/* Snapshots that images were made of must still give the same bytes. */
static bool check_contents(Store *s, Arena *a, const CheckOpts *o, Tally *t, Err *e)
{
    StoreTag *v = NULL;
    size_t n = 0;
    scoped(map) Map seen = {0};
    if (!store_list(s, a, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        StoreImage img;
        bool found, good;
        if (!store_image_get(s, a, &v[i].id, &img, &found, e))
            return false;
        for (size_t k = 0; found && k < img.nlayer; k++) {
            StoreLayer *l = &img.layers[k];
            char hex[DIGEST_HEX_SIZE];
            digest_hex(&l->diff_id, hex);
            if (!map_put(&seen, arena_printf(a, "%llu %s", (unsigned long long)l->snapshot, hex),
                         1))
                continue;
            Err why = ERR_INIT;
            if (!is_layer(s, l, &good, &why))
                good = false;
            if (good)
                continue;
            StoreFinding f = {
                .text = arena_printf(a, "snapshot %llu: its files are not those of layer sha256:%s",
                                     (unsigned long long)l->snapshot, hex),
                .lost = "what made it runs again",
                .repaired = o->repair};
            if (o->repair && !store_bad_snapshot(s, l->snapshot, e))
                return false;
            tell(o, t, &f);
        }
    }
    return true;
}

static bool check_all(Store *s, Arena *a, const CheckOpts *o, Tally *t, Err *e)
{
    StoreFinding *v = NULL;
    size_t n = 0;
    /* A damaged snapshot first: images that lose it are found by what follows. */
    if (!check_contents(s, a, o, t, e) || !store_check(s, a, o->repair, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        tell(o, t, &v[i]);
    return true;
}

/* SQLite's words for a file that is none of its own, or whose pages make no sense. A database that
 * is merely locked, or of a newer lighter, is nothing to throw away. */
static bool is_damaged(const Err *why)
{
    return why->kind == ERR_STORE &&
           (strstr(why->msg, "not a database") || strstr(why->msg, "malformed"));
}

/* A database that cannot be opened or read is replaced by an empty one: everything is made anew. */
static bool begin_anew(Arena *a, const CheckOpts *o, SandboxHost *host, Store **ret, Tally *t,
                       const Err *why, Err *e)
{
    const char *path = store_default_path(a);
    StoreFinding f = {.text = arena_printf(a, "%s", why->msg),
                      .lost = "images must be loaded and built again",
                      .repaired = o->repair};
    if (!is_damaged(why))
        return err_set(e, why->kind, "%s", why->msg);
    if (!o->repair)
        return err_set(e, ERR_STORE,
                       "%s; 'lighter store check --repair' begins a new one: images must be loaded "
                       "and built again",
                       why->msg);
    store_done(*ret);
    *ret = NULL;
    tell(o, t, &f);
    return store_set_aside(path, e) &&
           cmd_store(a, o->isolation ? o->isolation : "auto", host, ret, e);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const CheckOpts *o = opts;
    scoped(store) Store *s = NULL;
    SandboxHost host;
    Tally t = {0};
    Err why = ERR_INIT;
    if (operands->n)
        return err_set(e, ERR_USAGE, "takes no argument, and got '%s'", operands->v[0]);
    if (!cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, &why) &&
        !begin_anew(a, o, &host, &s, &t, &why, e))
        return false;
    if (!sandbox_enter(&host, e))
        return false;
    store_just_looks(s);
    why = (Err)ERR_INIT;
    if (!check_all(s, a, o, &t, &why) &&
        (!begin_anew(a, o, &host, &s, &t, &why, e) || !check_all(s, a, o, &t, e)))
        return false;
    if (!o->quiet && !t.found)
        printf("the store '%s' is in order\n", store_path(s));
    if (!o->quiet && t.found)
        printf("%zu found, %zu repaired\n", t.found, t.repaired);
    *ret_code = t.found == t.repaired ? 0 : ERR_STORE;
    return true;
}

static const Cmd SUBS[] = {{"check", &CHECK_TABLE, sizeof(CheckOpts), run, NULL},
                           {NULL, NULL, 0, NULL, NULL}};
static const OptTable TABLE = {"lighter store COMMAND", "look after the store", NULL, 0, false};
const Cmd CMD_STORE = {"store", &TABLE, 0, NULL, SUBS};
