/*
 * cmd/images.c - `lighter images` and `lighter inspect`.
 */
#include "base/json.h"
#include "cmd/cmd.h"
#include "source/source.h"

typedef struct ImagesOpts {
    bool quiet;
} ImagesOpts;

static const OptRow IMAGES_ROWS[] = {
    {"quiet", 'q', OPT_BOOL, offsetof(ImagesOpts, quiet), NULL, "print image IDs only"},
};
static const OptTable IMAGES_TABLE = {"lighter images [OPTIONS] [NAME]", "list images in the store",
                                      IMAGES_ROWS, NELEM(IMAGES_ROWS), false};

static void print_row(Arena *a, const StoreTag *t)
{
    char hex[DIGEST_HEX_SIZE], when[40], size[32];
    ImageRef ref;
    Err ignored = ERR_INIT;
    const char *repo = "<none>", *tag = "<none>";
    const char *mark = t->name ? strchr(t->name, STORE_PLATFORM_MARK) : NULL;
    const char *name = mark ? arena_strndup(a, t->name, (size_t)(mark - t->name)) : t->name;
    if (name && image_ref_parse(a, name, &ref, &ignored)) {
        tag = ref.tag ? ref.tag : "latest";
        ref.tag = NULL;
        repo = image_ref_familiar(a, &ref);
    }
    digest_hex(&t->id, hex);
    cmd_age(t->created, "unknown", when, sizeof when);
    str_size(t->size, size, sizeof size);
    printf("%-32s %-12s %.12s   %-16s %-9s %zu%s%s\n", repo, tag, hex, when, size, t->nlayer,
           mark ? "  " : "", mark ? mark + 1 : "");
}

static bool run_images(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const ImagesOpts *o = opts;
    scoped(store) Store *s = NULL;
    StoreTag *v;
    size_t n;
    ImageRef only = {0};
    const char *wanted = NULL;
    if (operands->n > 1)
        return err_set(e, ERR_USAGE, "takes one name, and got '%s' too", operands->v[1]);
    if (operands->n) {
        if (!image_ref_parse(a, operands->v[0], &only, e))
            return false;
        wanted = image_ref_full(a, &only);
    }
    if (!cmd_store(a, NULL, NULL, &s, e) || !store_list(s, a, &v, &n, e))
        return false;
    if (!o->quiet)
        printf("%-32s %-12s %-14s %-16s %-9s %s\n", "REPOSITORY", "TAG", "IMAGE ID", "CREATED",
               "SIZE", "LAYERS");
    for (size_t i = 0; i < n; i++) {
        char hex[DIGEST_HEX_SIZE];
        if (wanted && (!v[i].name || strncmp(v[i].name, wanted, strlen(wanted)) != 0 ||
                       !strchr(only.tag ? "" : ":", v[i].name[strlen(wanted)])))
            continue;
        digest_hex(&v[i].id, hex);
        if (o->quiet)
            printf("%.12s\n", hex);
        else
            print_row(a, &v[i]);
    }
    *ret_code = 0;
    return true;
}

const Cmd CMD_IMAGES = {"images", &IMAGES_TABLE, sizeof(ImagesOpts), run_images};

/* ---- inspect ---- */

typedef struct InspectOpts {
    char nothing;
} InspectOpts;

static const OptRow INSPECT_ROWS[] = {
    {"format", 'f', OPT_REFUSED, 0, NULL, "not yet; the output is JSON"},
    {"type", 0, OPT_REFUSED, 0, NULL, "everything in the store is an image"},
};
static const OptTable INSPECT_TABLE = {"lighter inspect IMAGE...",
                                       "show an image as JSON, shaped as docker's", INSPECT_ROWS,
                                       NELEM(INSPECT_ROWS), false};

static json_t *tags_of(Store *s, Arena *a, const Digest *id, Err *e)
{
    StoreTag *v;
    size_t n;
    if (!store_list(s, a, &v, &n, e))
        return NULL;
    json_t *arr = json_array();
    for (size_t i = 0; i < n; i++) {
        ImageRef ref;
        Err ignored = ERR_INIT;
        if (digest_eq(&v[i].id, id) && v[i].name && image_ref_parse(a, v[i].name, &ref, &ignored))
            json_array_append_new(arr, json_string_lossy(image_ref_familiar(a, &ref)));
    }
    return arr;
}

/* What registries call it: "alpine@sha256:...". */
static json_t *digests_of(Store *s, Arena *a, const Digest *id, Err *e)
{
    StoreDoc *v;
    size_t n;
    if (!store_docs(s, a, id, &v, &n, e))
        return NULL;
    json_t *arr = json_array();
    for (size_t i = 0; i < n; i++) {
        char text[DIGEST_TEXT_SIZE];
        ImageRef ref;
        Err ignored = ERR_INIT;
        digest_text(&v[i].digest, text);
        if (image_ref_parse(a, arena_printf(a, "%s@%s", v[i].repo, text), &ref, &ignored))
            json_array_append_new(arr, json_string_lossy(image_ref_familiar(a, &ref)));
    }
    return arr;
}

static bool inspect_one(Store *s, Arena *a, const char *name, json_t *out, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    scoped(json) json_t *cfg = NULL;
    Digest id;
    StoreImage img;
    bool found;
    char digest[DIGEST_TEXT_SIZE];
    if (!cmd_find(s, a, name, &id, e) || !store_image_get(s, a, &id, &img, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_STORE, "image '%s' is not whole in the store", name);
    if (!store_read_blob(s, &id, &text, e) || !json_parse(buf_str(&text), text.len, &cfg, e))
        return false;
    json_t *tags = tags_of(s, a, &id, e);
    if (!tags)
        return false;
    json_t *j = json_object();
    digest_text(&id, digest);
    json_set_str(j, "Id", digest);
    json_object_set_new(j, "RepoTags", tags);
    json_t *digests = digests_of(s, a, &id, e);
    if (!digests) {
        json_decref(j);
        return false;
    }
    json_object_set_new(j, "RepoDigests", digests);
    json_set_str(j, "Created", json_str(cfg, "created"));
    json_set_str(j, "Author", json_str(cfg, "author") ? json_str(cfg, "author") : "");
    json_set_str(j, "Architecture", json_str(cfg, "architecture"));
    if (json_str(cfg, "variant"))
        json_set_str(j, "Variant", json_str(cfg, "variant"));
    json_set_str(j, "Os", json_str(cfg, "os"));
    json_object_set_new(j, "Size", json_integer((json_int_t)img.size));
    json_object_set(j, "Config", json_object_get(cfg, "config"));
    json_t *rootfs = json_object();
    json_object_set_new(rootfs, "Type", json_string("layers"));
    json_object_set(rootfs, "Layers", json_object_get(json_object_get(cfg, "rootfs"), "diff_ids"));
    json_object_set_new(j, "RootFS", rootfs);
    json_object_set(j, "History", json_object_get(cfg, "history"));
    if (img.packed) {
        digest_text(&img.manifest, digest);
        json_set_str(j, "ManifestDigest", digest);
    }
    json_array_append_new(out, j);
    return true;
}

static bool run_inspect(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    scoped(store) Store *s = NULL;
    scoped(json) json_t *out = json_array();
    (void)opts;
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (!cmd_store(a, NULL, NULL, &s, e))
        return false;
    store_just_looks(s);
    for (size_t i = 0; i < operands->n; i++)
        if (!inspect_one(s, a, operands->v[i], out, e))
            return false;
    json_dumpf(out, stdout, JSON_INDENT(4));
    putchar('\n');
    *ret_code = 0;
    return true;
}

const Cmd CMD_INSPECT = {"inspect", &INSPECT_TABLE, sizeof(InspectOpts), run_inspect};
