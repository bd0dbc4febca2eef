/*
 * cmd/tag.c - `lighter tag`: another name for an image.
 */
#include "cmd/cmd.h"
#include "cmd/names.h"

typedef struct TagOpts {
    char nothing;
} TagOpts;

static const OptTable TABLE = {"lighter tag IMAGE NAME...", "give an image further names", NULL, 0,
                               false};

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    scoped(store) Store *s = NULL;
    StrList names = {0};
    (void)opts;
    if (operands->n < 2)
        return err_set(e, ERR_USAGE, "needs an image and a name, as in 'lighter tag app me/app:1'");
    for (size_t i = 1; i < operands->n; i++) {
        ImageRef ref;
        if (!image_ref_parse(a, operands->v[i], &ref, e))
            return false;
        if (ref.digest)
            return err_set(e, ERR_USAGE,
                           "'%s': a digest follows from the content and cannot be chosen",
                           operands->v[i]);
        strlist_add(a, &names, image_ref_tagged(a, &ref));
    }
    if (!cmd_store(a, NULL, NULL, &s, e))
        return false;
    for (size_t i = 0; i < names.n; i++)
        if (!names_copy(s, a, operands->v[0], names.v[i], e))
            return false;
    *ret_code = 0;
    return store_publish(s, e);
}

const Cmd CMD_TAG = {"tag", &TABLE, sizeof(TagOpts), run, NULL};
