/*
 * fuzz_words - one word, read with every combination of flags: it ends, its result is bounded, and
 * what is kept as written reads the same again.
 */
#include <assert.h>

#include "dockerfile/dockerfile.h"

enum { ALL_FLAGS = 16, MAX_OUT = (1 << 20) + (1 << 16) };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Without a dollar there is nothing to replace: what keeps quotes and escapes keeps the word. */
static void check_kept(const DfScope *s, const char *word, const char *out)
{
    unsigned keep = DF_KEEP_QUOTES | DF_KEEP_ESCAPES;
    bool odd = strchr(word, '$') || (strchr(word, '"') && strchr(word, s->escape));
    if ((s->flags & keep) == keep && !odd)
        assert(!strcmp(word, out));
}

static void read_word(Arena *a, const char *word, char escape, unsigned flags, const StrList *env)
{
    Err e = ERR_INIT, again = ERR_INIT;
    StrList words = {0}, matched = {0}, unset = {0};
    char *out = NULL;
    DfScope s = {.arena = a,
                 .env = env,
                 .escape = escape,
                 .flags = flags,
                 .matched = &matched,
                 .unset = &unset};
    bool ok = df_expand(&s, word, &out, &e);
    bool split = df_expand_words(&s, word, &words, &again);
    assert(ok == split && (ok || e.kind == ERR_DOCKERFILE));
    if (!ok)
        return;
    assert(strlen(out) <= MAX_OUT);
    for (size_t i = 0; i < words.n; i++)
        assert(words.v[i][0]);
    check_kept(&s, word, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    StrList env = {0};
    if (n > 4096 || memchr(bytes ? bytes : (const uint8_t *)"", 0, n))
        return 0;
    strlist_add(&a, &env, "A=x y*");
    strlist_add(&a, &env, "B=");
    char *word = arena_strndup(&a, (const char *)bytes, n);
    for (unsigned flags = 0; flags < ALL_FLAGS; flags++) {
        read_word(&a, word, '\\', flags, &env);
        read_word(&a, word, '`', flags, &env);
    }
    return 0;
}
