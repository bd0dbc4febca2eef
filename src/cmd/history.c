/*
 * cmd/history.c - `lighter history`: what made an image, line by line, as docker shows it.
 */
#include "base/cancel.h"
#include "base/fs.h"
#include "base/json.h"
#include "cmd/cmd.h"
#include "export/export.h"
#include "source/source.h"
#include "ui/ui.h"

typedef struct HistoryOpts {
    const char *format, *isolation;
    bool quiet, no_trunc, bytes;
} HistoryOpts;

#define FIELD(f) offsetof(HistoryOpts, f)
static const OptRow ROWS[] = {
    {"no-trunc", 0, OPT_BOOL, FIELD(no_trunc), NULL, "show commands and IDs whole"},
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "print image IDs only"},
    {"human", 'H', OPT_OFF, FIELD(bytes), NULL,
     "sizes and ages for people (default); =false: bytes and times"},
    {"format", 0, OPT_STRING, FIELD(format), "json", "a JSON object a line"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "the mode the store was filled in (default auto)"},
    {"platform", 0, OPT_REFUSED, 0, NULL, "the name alone means this machine's image"},
};
static const OptTable TABLE = {"lighter history [OPTIONS] IMAGE",
                               "list what made an image, newest first", ROWS, NELEM(ROWS), false};

enum { SHOWN = 45 };

/* One line. */
typedef struct Line {
    const char *id, *by, *comment;
    int64_t created;
    uint64_t size; /* bytes unpacked */
    bool sized;    /* it is known */
} Line;

/* Of a layer that was made here it is remembered; of others it is counted where the bytes are. */
static bool layer_size(Store *s, const StoreLayer *l, Line *ret, Err *e)
{
    static const Compression FORMS[] = {COMP_GZIP, COMP_ZSTD, COMP_NONE};
    LayerTimes times;
    SnapshotDiff diff;
    Digest digest, packed;
    ret->sized = true;
    if (layer_times_parse(l->times, &times)) {
        if (!snapshot_diff_id(s, l->snapshot, times, &diff, e))
            return false;
        ret->size = diff.size;
        return true;
    }
    for (size_t i = 0; i < NELEM(FORMS); i++) {
        bool found, have = false;
        uint64_t size;
        int raw;
        if (!store_packed_get(s, &l->diff_id, FORMS[i], &digest, &size, &found, e) ||
            (found && !store_has_blob(s, &digest, &have, e)))
            return false;
        if (!have)
            continue;
        if (!store_open_blob(s, &digest, &raw, &size, e))
            return false;
        scoped(fd) int fd = raw;
        scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
        return layer_in_finish(in, &digest, &packed, &ret->size, e);
    }
    ret->sized = false;
    return true;
}

static bool read_lines(Store *s, Arena *a, const SourceImage *img, Line **ret, size_t *ret_n,
                       Err *e)
{
    const ImageConfig *c = &img->config;
    Line *v = NEW_N(a, Line, c->nhistory + 1);
    char id[DIGEST_TEXT_SIZE];
    size_t layer = 0;
    digest_text(&img->id, id);
    for (size_t i = 0; i < c->nhistory; i++) {
        const ImageHistory *h = &c->history[i];
        Line *l = &v[c->nhistory - 1 - i];
        *l = (Line){.id = i + 1 == c->nhistory ? arena_strdup(a, id) : "<missing>",
                    .by = h->created_by ? h->created_by : "",
                    .comment = h->comment ? h->comment : "",
                    .created = h->created ? image_time_parse(h->created) : 0,
                    .sized = true};
        if (!h->empty_layer && layer < img->nlayer && !layer_size(s, &img->layers[layer++], l, e))
            return err_wrap(e, "layer %zu", layer);
    }
    *ret = v;
    *ret_n = c->nhistory;
    return true;
}

/* At most `width` columns of somebody else's words. */
static const char *cut(Arena *a, const char *text, size_t width, bool whole)
{
    scoped(buf) Buf b = BUF_INIT;
    if (whole || strlen(text) <= width)
        return text;
    size_t n = width - 3;
    while (n && ((uint8_t)text[n] & 0xc0) == 0x80) /* not within a character */
        n--;
    buf_printf(&b, "%.*s...", (int)n, text);
    return arena_strdup(a, b.ptr);
}

static const char *short_id(Arena *a, const Line *l, const HistoryOpts *o)
{
    return o->no_trunc || *l->id == '<' ? l->id : arena_strndup(a, l->id + 7, 12);
}

static const char *size_text(Arena *a, const Line *l, const HistoryOpts *o)
{
    char text[32];
    if (!l->sized)
        return "-";
    if (o->bytes)
        return arena_printf(a, "%llu", (unsigned long long)l->size);
    str_size(l->size, text, sizeof text);
    return arena_strdup(a, text);
}

static const char *age_text(Arena *a, const Line *l, const HistoryOpts *o)
{
    char text[40];
    if (o->bytes)
        return l->created ? image_time(a, l->created) : "";
    cmd_age(l->created, "unknown", text, sizeof text);
    return arena_strdup(a, text);
}

static void print_json(Arena *a, const Line *l, const HistoryOpts *o)
{
    scoped(json) json_t *j = json_object();
    scoped(buf) Buf b = BUF_INIT;
    json_set_str(j, "ID", short_id(a, l, o));
    json_set_lossy(j, "CreatedBy", json_string_lossy(cut(a, l->by, SHOWN, o->no_trunc)));
    json_set_lossy(j, "Comment", json_string_lossy(l->comment));
    json_set_str(j, "CreatedAt", l->created ? image_time(a, l->created) : "");
    json_set_str(j, "CreatedSince", age_text(a, l, &(HistoryOpts){0}));
    json_set_str(j, "Size", size_text(a, l, o));
    json_text(j, &b);
    printf("%s\n", b.ptr);
}

static void print_row(Arena *a, const Line *l, const HistoryOpts *o)
{
    cmd_print(stdout, arena_printf(a, "%-14s %-16s %-*s %-10s %s", short_id(a, l, o),
                                   age_text(a, l, o), SHOWN, cut(a, l->by, SHOWN, o->no_trunc),
                                   size_text(a, l, o), l->comment));
    printf("\n");
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const HistoryOpts *o = opts;
    scoped(store) Store *s = NULL;
    SandboxHost host;
    SourceImage img;
    Digest id;
    Line *v = NULL;
    size_t n = 0;
    if (operands->n != 1)
        return err_set(e, ERR_USAGE, "needs one image");
    if (o->format && strcmp(o->format, "json") != 0)
        return err_set(e, ERR_USAGE, "--format %s: expected json", o->format);
    if (!cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e) ||
        !cmd_find(s, a, operands->v[0], &id, e) || !source_image(s, a, &id, &img, e))
        return false;
    cancel_install();
    /* Sizes that are not remembered are counted in snapshots. */
    if (!sandbox_enter(&host, e) || !read_lines(s, a, &img, &v, &n, e))
        return false;
    if (!o->quiet && !o->format)
        printf("%-14s %-16s %-*s %-10s %s\n", "IMAGE", "CREATED", SHOWN, "CREATED BY", "SIZE",
               "COMMENT");
    for (size_t i = 0; i < n; i++) {
        if (o->quiet)
            printf("%s\n", short_id(a, &v[i], o));
        else if (o->format)
            print_json(a, &v[i], o);
        else
            print_row(a, &v[i], o);
    }
    *ret_code = 0;
    return true;
}

const Cmd CMD_HISTORY = {"history", &TABLE, sizeof(HistoryOpts), run, NULL};
