/*
 * fuzz_gomodindex - bytes as an index of sources, and the rest of them, behind a NUL, as the source
 * of each file in it: whatever they are, there is an answer.
 */
#include "go/go.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const NAMES[] = {"a.go", "a.s", "a.syso"};
    scoped(arena) Arena a = {0};
    GoIndex x;
    size_t cut = n > 2 ? ((size_t)bytes[0] << 8 | bytes[1]) % n : 0;
    Str source = {(const char *)bytes + n - cut, cut};
    if (n < 2)
        return 0;
    if (go_index_parse(&a, (Str){(const char *)bytes + 2, n - 2}, &x))
        for (size_t i = 0; i < x.npackage; i++)
            for (size_t k = 0; k < x.packages[i].nfile; k++)
                (void)go_index_right(&x.packages[i].files[k], source);
    for (size_t i = 0; i < NELEM(NAMES); i++) {
        GoIndexFile f = {.name = str_c(NAMES[i]), .package = {"p", 1}};
        (void)go_index_right(&f, (Str){(const char *)bytes, n});
    }
    return 0;
}
