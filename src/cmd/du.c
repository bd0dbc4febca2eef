/*
 * cmd/du.c - `lighter du`: what the store holds, as the disk counts it.
 */
#include <time.h>

#include "base/json.h"
#include "cmd/space.h"
#include "image/image.h"

typedef struct DuOpts {
    bool verbose;
    const char *format, *isolation;
    StrList filters;
} DuOpts;

static const OptRow ROWS[] = {
    {"verbose", 0, OPT_BOOL, offsetof(DuOpts, verbose), NULL, "all that is known of each record"},
    {"format", 0, OPT_STRING, offsetof(DuOpts, format), "json", "one JSON object a line"},
    {"filter", 0, OPT_LIST, offsetof(DuOpts, filters), "FILTER",
     "until=24h, id=, type=, description~=, inuse, shared, private, mutable; repeatable"},
    {"isolation", 0, OPT_STRING, offsetof(DuOpts, isolation), "MODE",
     "the mode the store was filled in (default auto)"},
};
static const OptTable TABLE = {"lighter du [OPTIONS]", "show what takes room in the store", ROWS,
                               NELEM(ROWS), false};

static void print_verbose(const StoreItem *it, Buf *out)
{
    scoped(arena) Arena a = {0};
    char size[32], age[40];
    str_size(it->size, size, sizeof size);
    cmd_age(it->used, "never", age, sizeof age);
    buf_printf(out, "ID:\t\t%s\nCreated at:\t%s\nMutable:\t%s\nReclaimable:\t%s\nShared:\t\t%s\n",
               it->id, it->created ? image_time(&a, it->created) : "",
               it->mutable ? "true" : "false", store_item_idle(it, false) ? "true" : "false",
               it->shared ? "true" : "false");
    buf_printf(out,
               "Size:\t\t%s\nDescription:\t%s\nUsage count:\t%llu\nLast used:\t%s\nType:\t\t%s\n\n",
               size, it->what, (unsigned long long)it->uses, age, it->type);
}

/* The keys of `docker buildx du --format json`; "Bytes" is the size as a number. */
static void print_json(const StoreItem *it, Buf *out)
{
    scoped(arena) Arena a = {0};
    scoped(json) json_t *j = json_object();
    char size[32];
    str_size(it->size, size, sizeof size);
    json_set_str(j, "ID", it->id);
    json_set_str(j, "Type", it->type);
    json_set_str(j, "Size", size);
    json_object_set_new(j, "Bytes", json_integer((json_int_t)it->size));
    json_set_str(j, "Description", it->what);
    json_object_set_new(j, "Mutable", json_boolean(it->mutable));
    json_object_set_new(j, "Shared", json_boolean(it->shared));
    json_object_set_new(j, "InUse", json_boolean(it->in_use || it->needed));
    json_object_set_new(j, "Reclaimable", json_boolean(store_item_idle(it, false)));
    json_object_set_new(j, "UsageCount", json_integer((json_int_t)it->uses));
    if (it->created)
        json_set_str(j, "CreatedAt", image_time(&a, it->created));
    if (it->used)
        json_set_str(j, "LastUsedAt", image_time(&a, it->used));
    json_text(j, out);
    buf_putc(out, '\n');
}

static void print_sum(const char *name, uint64_t bytes, Buf *out)
{
    char size[32];
    str_size(bytes, size, sizeof size);
    buf_printf(out, "%-13s %s\n", name, size);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const DuOpts *o = opts;
    scoped(store) Store *s = NULL;
    scoped(space_filter) SpaceFilter filter = {0};
    scoped(buf) Buf out = BUF_INIT;
    StoreItem *v = NULL;
    size_t n = 0;
    uint64_t total = 0, shared = 0, reclaimable = 0;
    int64_t now = (int64_t)time(NULL);
    SpaceFold fold = {.n = 0};
    if (operands->n)
        return err_set(e, ERR_USAGE, "takes no argument, and got '%s'", operands->v[0]);
    if (o->format && strcmp(o->format, "json") != 0)
        return err_set(e, ERR_USAGE, "--format %s: expected json", o->format);
    if (o->format && o->verbose)
        return err_set(e, ERR_USAGE, "--format and --verbose cannot be used together");
    if (!filter_parse(a, &o->filters, &filter, e) || !space_items(a, o->isolation, &s, &v, &n, e))
        return false;
    if (!o->format && !o->verbose)
        space_head(&out);
    for (size_t i = 0; i < n; i++) {
        if (!filter_match(&filter, &v[i], now))
            continue;
        total += v[i].size;
        shared += v[i].shared ? v[i].size : 0;
        reclaimable += store_item_idle(&v[i], false) ? v[i].size : 0;
        if (o->format)
            print_json(&v[i], &out);
        else if (o->verbose)
            print_verbose(&v[i], &out);
        else
            space_row(&fold, &v[i], &out);
    }
    if (!o->format && !o->verbose)
        space_rows_end(&fold, &out);
    if (!o->format) {
        print_sum("\nShared:", shared, &out);
        print_sum("Private:", total - shared, &out);
        print_sum("Reclaimable:", reclaimable, &out);
        print_sum("Total:", total, &out);
    }
    cmd_print(stdout, buf_str(&out));
    *ret_code = 0;
    return true;
}

const Cmd CMD_DU = {"du", &TABLE, sizeof(DuOpts), run, NULL};
