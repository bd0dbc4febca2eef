/*
 * fuzz_giturl - a git reference; what parses names a remote that parses to itself again.
 */
#include <assert.h>

#include "source/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    GitRef ref, again;
    bool is_git = false;

    if (!git_ref_parse(&a, n ? arena_strndup(&a, (const char *)bytes, n) : "", &is_git, &ref, &e) ||
        !is_git)
        return 0;
    assert(*ref.subdir != '/' && strcmp(ref.subdir, "..") != 0 &&
           strncmp(ref.subdir, "../", 3) != 0);
    assert(git_ref_parse(&a, ref.remote, &is_git, &again, &e));
    /* "https://github.com/a/b" is one only when written without its scheme. */
    assert(is_git || ref.like_path);
    assert(!is_git || (!strcmp(again.remote, ref.remote) && !*again.ref && !*again.subdir));
    assert(*git_masked(&a, ref.remote));
    return 0;
}
