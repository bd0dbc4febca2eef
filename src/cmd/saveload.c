/*
 * cmd/saveload.c - `lighter save` and `lighter load`.
 */
#include <unistd.h>

#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/names.h"
#include "cmd/remote.h"
#include "export/export.h"
#include "source/source.h"
#include "ui/ui.h"

typedef struct SaveOpts {
    const char *output, *format, *isolation;
    RemoteOpts remote;
} SaveOpts;

static const OptRow SAVE_ROWS[] = {
    {"output", 'o', OPT_STRING, offsetof(SaveOpts, output), "PATH", "write here (default: stdout)"},
    {"format", 0, OPT_STRING, offsetof(SaveOpts, format), "FORMAT",
     "oci-archive, oci-dir, docker-archive or docker-dir (default oci-archive)"},
    {"isolation", 0, OPT_STRING, offsetof(SaveOpts, isolation), "MODE",
     "the mode the store was filled in (default auto)"},
    REMOTE_ROWS(SaveOpts),
    {"platform", 0, OPT_REFUSED, 0, NULL, "what a name means is saved: an image, or an index"},
};
static const OptTable SAVE_TABLE = {"lighter save [OPTIONS] IMAGE...",
                                    "write images as an OCI archive or layout, or as docker's",
                                    SAVE_ROWS, NELEM(SAVE_ROWS), false};

/* What the image is called in the archive: the name it was asked for by, if that is a name. */
static const char *archive_name(Arena *a, const char *asked, const Digest *id)
{
    ImageRef ref;
    Err ignored = ERR_INIT;
    char hex[DIGEST_HEX_SIZE];
    digest_hex(id, hex);
    if (str_starts(asked, "sha256:") || !strncmp(hex, asked, strlen(asked)) ||
        !image_ref_parse(a, asked, &ref, &ignored) || ref.digest)
        return NULL;
    return image_ref_tagged(a, &ref);
}

static bool run_save(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const SaveOpts *o = opts;
    scoped(store) Store *s = NULL;
    scoped(registry) Registry *r = NULL;
    scoped(ui) Ui *ui = ui_lines(false);
    Err ignored = ERR_INIT;
    SandboxHost host;
    const char *format = o->format ? o->format : "oci-archive";
    bool dir = str_ends(format, "-dir");
    ExportForm form = str_starts(format, "docker-") ? EXPORT_DOCKER : EXPORT_OCI;
    ExportStyle docker = {.docker = true};
    const char *dest = o->output ? o->output : "-";
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (strcmp(format, "oci-archive") != 0 && strcmp(format, "oci-dir") != 0 &&
        strcmp(format, "docker-archive") != 0 && strcmp(format, "docker-dir") != 0)
        return err_set(e, ERR_USAGE,
                       "--format %s: expected oci-archive, oci-dir, docker-archive or docker-dir",
                       format);
    if (dir && !strcmp(dest, "-"))
        return err_set(e, ERR_USAGE, "--format %s needs --output DIR", format);
    if (!strcmp(dest, "-") && isatty(STDOUT_FILENO))
        return err_set(e, ERR_USAGE,
                       "will not write an archive to a terminal: use --output PATH or a pipe");
    if (!remote_new(&o->remote, ui_sink(ui), &r, e) ||
        !cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e))
        return false;
    ExportItem *items = NEW_N(a, ExportItem, operands->n);
    for (size_t i = 0; i < operands->n; i++) {
        Digest *ids;
        if (!names_of(s, a, operands->v[i], &ids, &items[i].nid, e))
            return false;
        items[i].ids = ids;
        items[i].name = archive_name(a, operands->v[i], &ids[0]);
        for (size_t k = 0; k < items[i].nid; k++)
            if (!source_prepare_bytes(s, &ids[k], r, e))
                return false;
    }
    *ret_code = 0;
    if (!sandbox_enter(&host, e))
        return false;
    for (size_t i = 0; i < operands->n; i++)
        for (size_t k = 0; k < items[i].nid; k++)
            if (!source_fetch(s, &items[i].ids[k], r, e))
                return err_wrap(e, "'%s'", operands->v[i]);
    const ExportStyle *style = form == EXPORT_DOCKER ? &docker : NULL;
    if (!export_files(s, a, items, operands->n, style, form, dest, dir, e))
        return false;
    (void)!store_note_uses(s, &ignored); /* a use forgotten is no failure */
    return true;
}

const Cmd CMD_SAVE = {"save", &SAVE_TABLE, sizeof(SaveOpts), run_save};

typedef struct LoadOpts {
    const char *input;
    StrList tags;
    bool quiet;
} LoadOpts;

static const OptRow LOAD_ROWS[] = {
    {"input", 'i', OPT_STRING, offsetof(LoadOpts, input), "PATH",
     "an archive of OCI's or docker's (plain, gzip, zstd) or a layout directory (default: stdin)"},
    {"tag", 't', OPT_LIST, offsetof(LoadOpts, tags), "NAME",
     "name the image so; for archives with one image"},
    {"quiet", 'q', OPT_BOOL, offsetof(LoadOpts, quiet), NULL, "print nothing"},
    {"platform", 0, OPT_REFUSED, 0, NULL, "this machine's platform only, for now"},
};
static const OptTable LOAD_TABLE = {"lighter load [OPTIONS] [PATH]",
                                    "take images of an archive or a layout into the store",
                                    LOAD_ROWS, NELEM(LOAD_ROWS), false};

static bool load_from(Store *s, Arena *a, const char *path, Loaded **ret, size_t *ret_n, Err *e)
{
    struct stat st;
    if (!path || !strcmp(path, "-")) {
        if (isatty(STDIN_FILENO))
            return err_set(e, ERR_USAGE, "needs an archive: --input PATH or a pipe");
        return source_load_archive(s, a, STDIN_FILENO, NULL, ret, ret_n, e);
    }
    scoped(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_USAGE, "open '%s'", path);
    if (S_ISDIR(st.st_mode))
        return source_load_layout(s, a, path, NULL, NULL, ret, ret_n, e);
    return source_load_archive(s, a, fd, NULL, ret, ret_n, e) || err_wrap(e, "'%s'", path);
}

static bool tag_loaded(Store *s, Arena *a, const LoadOpts *o, const Loaded *one, Err *e)
{
    char id[DIGEST_TEXT_SIZE];
    digest_text(&one->id, id);
    if (one->name && !store_tag(s, one->name, &one->id, e))
        return false;
    if (!o->quiet)
        printf("loaded %s%s%.19s\n", one->name ? one->name : "", one->name ? " " : "", id);
    for (size_t i = 0; i < o->tags.n; i++) {
        ImageRef ref;
        if (!image_ref_parse(a, o->tags.v[i], &ref, e) ||
            !store_tag(s, image_ref_tagged(a, &ref), &one->id, e))
            return false;
        if (!o->quiet)
            printf("loaded %s %.19s\n", image_ref_tagged(a, &ref), id);
    }
    return true;
}

static bool run_load(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const LoadOpts *o = opts;
    scoped(store) Store *s = NULL;
    Err ignored = ERR_INIT;
    Loaded *v;
    size_t n;
    if (operands->n > 1 || (operands->n && o->input))
        return err_set(e, ERR_USAGE, "takes one archive or layout");
    if (!cmd_store(a, NULL, NULL, &s, e) ||
        !load_from(s, a, operands->n ? operands->v[0] : o->input, &v, &n, e))
        return false;
    if (o->tags.n && n != 1)
        return err_set(e, ERR_USAGE, "--tag names one image and the archive holds %zu", n);
    for (size_t i = 0; i < n; i++)
        if (!tag_loaded(s, a, o, &v[i], e))
            return false;
    *ret_code = 0;
    (void)!store_note_uses(s, &ignored); /* a use forgotten is no failure */
    return store_publish(s, e);
}

const Cmd CMD_LOAD = {"load", &LOAD_TABLE, sizeof(LoadOpts), run_load};
