/*
 * cmd/common.c - what several commands do.
 */
#include <time.h>

#include "base/owner.h"
#include "base/rune.h"
#include "cmd/cmd.h"

bool cmd_store(Arena *a, const char *isolation, SandboxHost *ret_host, Store **ret, Err *e)
{
    const char *path = store_default_path(a);
    if (!isolation)
        return store_open(path, NULL, ret, e);
    if (!sandbox_host(isolation, ret_host, e))
        return false;
    owners_remember(ret_host->mode == MODE_SINGLE);
    return store_open(path, sandbox_owners(a, ret_host), ret, e);
}

bool cmd_find(Store *s, Arena *a, const char *name, Digest *ret, Err *e)
{
    bool found;
    if (!store_find(s, a, name, ret, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_USAGE,
                       "no image '%s' in the store '%s'; 'lighter images' lists what is there",
                       name, store_path(s));
    return true;
}

void cmd_print(FILE *to, const char *text)
{
    scoped(buf) Buf shown = BUF_INIT;
    buf_add_clean_lines(&shown, text, strlen(text));
    fputs(buf_str(&shown), to);
}

void cmd_age(int64_t when, const char *none, char *out, size_t cap)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } UNITS[] = {{31536000, "year"}, {2592000, "month"}, {604800, "week"}, {86400, "day"},
                 {3600, "hour"},     {60, "minute"},     {1, "second"}};
    int64_t d = (int64_t)time(NULL) - when;
    if (when <= 0) {
        (void)snprintf(out, cap, "%s", none);
        return;
    }
    for (size_t i = 0; i < NELEM(UNITS); i++)
        if (d >= UNITS[i].seconds) {
            int64_t n = d / UNITS[i].seconds;
            (void)snprintf(out, cap, "%lld %s%s ago", (long long)n, UNITS[i].name,
                           n == 1 ? "" : "s");
            return;
        }
    (void)snprintf(out, cap, "just now");
}
