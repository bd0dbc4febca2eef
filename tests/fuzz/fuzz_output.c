/*
 * fuzz_output - the words of -o and --annotation, and comma separated values: what is accepted says
 * one thing, and no word is read past its end.
 */
#include <assert.h>

#include "base/csv.h"
#include "cmd/outputs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e[3] = {ERR_INIT, ERR_INIT, ERR_INIT};
    OutputNotes notes = {0};
    StrList fields;
    Output o;
    const char *text = arena_strndup(&a, (const char *)bytes, strnlen((const char *)bytes, n));

    if (csv_fields(&a, text, &fields, &e[0]))
        assert(fields.n);
    if (outputs_annotation(&a, text, &notes, &e[1]))
        for (size_t i = 0; i < notes.n; i++)
            assert(*notes.v[i].name && notes.v[i].place <= AT_INDEX_DESCRIPTOR);
    if (!outputs_parse(&a, text, &o, &e[2])) {
        assert(e[2].kind != ERR_NONE);
        return 0;
    }
    assert(e[2].kind == ERR_NONE);
    assert(!o.push || o.kind == OUT_IMAGE);
    assert(!o.dir || o.dest);
    assert(o.kind != OUT_LOCAL || o.dest);
    for (size_t i = 0; i < o.style.nnote; i++)
        assert(*o.style.notes[i].name);
    return 0;
}
