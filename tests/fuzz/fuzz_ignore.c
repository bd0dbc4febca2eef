/*
 * fuzz_ignore - an ignore file, asked about its own first line in both ways.
 */
#include <assert.h>

#include "base/fs.h"
#include "context/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    Ignore *ig;
    bool out, out_in;
    uint32_t line, line_in;

    char *text = arena_alloc(&a, n + 1);
    memcpy(text, bytes, n);
    if (!ignore_parse(&a, (Str){text, n}, "f", &ig, &e))
        return 0;
    text[strcspn(text, "\n")] = 0;
    const char *path = path_clean(&a, text);
    if (path[0] == '/' || path[0] == '.')
        return 0;
    IgnoreState up = ignore_enter(&a, ig, NULL, path_clean(&a, arena_printf(&a, "%s/..", path)));
    (void)ignore_match(ig, path, &out, &line);
    (void)ignore_match_in(ig, &up, path, &out_in, &line_in);
    assert(out_in == out && line_in == line && (!up.prune || out));
    return 0;
}
