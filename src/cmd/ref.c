/*
 * cmd/ref.c - `lighter image ref`: names of images, taken apart.
 */
#include "image/ref.h"
#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/lines.h"

typedef struct RefOpts {
    char nothing;
} RefOpts;

static const OptTable REF_TABLE = {
    "lighter image ref",
    "read image names, one on a line of stdin, and write their parts as lines of JSON", NULL, 0,
    false};

/* Every answer has every member; what a name does not have is null. */
static void set(json_t *j, const char *key, const char *value)
{
    json_object_set_new(j, key, value ? json_string_lossy(value) : json_null());
}

static json_t *parts(Arena *a, const ImageRef *ref)
{
    ImageRef name = {.domain = ref->domain, .path = ref->path};
    json_t *j = json_object();
    set(j, "name", image_ref_full(a, &name));
    set(j, "familiar", image_ref_familiar(a, &name));
    set(j, "domain", ref->domain);
    set(j, "path", ref->path);
    set(j, "tag", ref->tag);
    set(j, "digest", ref->digest);
    return j;
}

static bool run_ref(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    scoped(lines) Lines l = {0};
    bool any = false, refused = false;
    Str line;
    (void)opts, (void)a;
    if (operands->n)
        return err_set(e, ERR_USAGE, "takes names on standard input, and got '%s'", operands->v[0]);
    while (lines_next(&l, &line, &any, e)) {
        scoped(arena) Arena scratch = {0};
        ImageRef ref;
        Err why = ERR_INIT;
        if (!any) {
            *ret_code = refused ? ERR_DOCKERFILE : 0;
            return true;
        }
        if (image_ref_parse(&scratch, line.ptr, &ref, &why)) {
            lines_answer(&l, parts(&scratch, &ref));
        } else {
            lines_refuse(&l, &why);
            refused = true;
        }
    }
    return false;
}

static const Cmd SUBS[] = {{"ref", &REF_TABLE, sizeof(RefOpts), run_ref, NULL}, {.name = NULL}};
static const OptTable GROUP_TABLE = {"lighter image COMMAND", "questions about images", NULL, 0,
                                     false};

const Cmd CMD_IMAGE = {.name = "image", .table = &GROUP_TABLE, .subs = SUBS};
