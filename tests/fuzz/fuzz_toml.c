/*
 * fuzz_toml - a text as registries.conf, as lighter's own and as buildkitd.toml; what is read says
 * something of every reference or refuses it.
 */
#include <assert.h>

#include "registry/conf.h"
#include "registry/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void ask(Conf *c, const char *name)
{
    scoped(arena) Arena a = {0};
    ImageRef ref;
    Endpoint *v;
    size_t count;
    Err e = ERR_INIT, why = ERR_INIT;
    bool ok = image_ref_parse(&a, name, &ref, &e);
    assert(ok);
    if (conf_endpoints(c, &a, &ref, false, &v, &count, &why))
        assert(count > 0 && !v[count - 1].mirror);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Conf c[3] = {{.n = 0}};
    Err e[4] = {ERR_INIT};
    const char *text = n ? (const char *)bytes : "";
    json_t *j = NULL;

    bool any = toml_parse(text, n, &j, &e[3]);
    json_decref(j);
    (void)!conf_read(&c[0], "f", text, n, false, &e[0]);
    (void)!conf_read(&c[1], "f", text, n, true, &e[1]);
    (void)!conf_read_buildkitd(&c[2], "f", text, n, &e[2]);
    assert(any || (e[0].kind == ERR_USAGE && !strncmp(e[0].msg, "line ", 5)));
    for (int i = 0; i < 3; i++) {
        if (e[i].kind == ERR_NONE) {
            ask(&c[i], "alpine");
            ask(&c[i], "quay.io/team/app:1");
            ask(&c[i], "a.b.example:5000/x/y");
        }
        conf_done(&c[i]);
    }
    return 0;
}
