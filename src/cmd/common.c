/*
 * cmd/common.c - what several commands do.
 */
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
