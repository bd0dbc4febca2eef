/*
 * fuzz_authfile - a text as docker's config.json, as podman's auth.json and as daemon.json.
 */
#include <assert.h>

#include "registry/conf.h"
#include "registry/creds.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const HOSTS[] = {"docker.io", "localhost:5000", "quay.io"};
    scoped(arena) Arena a = {0};
    scoped(json) json_t *j = NULL;
    Conf conf = {.n = 0};
    Err e = ERR_INIT, daemon = ERR_INIT;
    const char *text = n ? (const char *)bytes : "";

    (void)!conf_read_daemon(&conf, "f", text, n, &daemon);
    conf_done(&conf);
    if (!json_parse(text, n, &j, &e))
        return 0;
    for (size_t i = 0; i < NELEM(HOSTS) * 2; i++) {
        Cred c;
        bool found;
        Err once = ERR_INIT;
        if (creds_in_file(&a, j, i % 2, HOSTS[i / 2], "team/app", &c, &found, &once) && found)
            assert(c.identity_token || (c.user && c.password));
    }
    return 0;
}
