/*
 * fuzz_ignore - an ignore file, asked about its own lines: the walk against the plain loop, and a
 * single path.
 */
#include <assert.h>

#include "../unit/plainwalk.h"
#include "base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void ask(const Ignore *ig, const char *line)
{
    scoped(arena) Arena a = {0};
    const char *path = path_clean(&a, line);
    bool out, hidden, pruned;
    uint32_t nr;

    if (path[0] == '/' || path[0] == '.')
        return;
    bool found = ignore_match(ig, path, &out, &nr);
    assert(found == (nr > 0) && (found || !out));
    assert(!plain_compare(&a, ig, path, &hidden, &pruned));
    assert(hidden || !pruned);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    Ignore *ig;

    char *text = arena_alloc(&a, n + 1);
    memcpy(text, bytes, n);
    if (!ignore_parse(&a, (Str){text, n}, "f", &ig, &e))
        return 0;
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = 0;
        line += *line == '!';
        ask(ig, line);
        ask(ig, arena_printf(&a, "%s/x", line));
    }
    return 0;
}
