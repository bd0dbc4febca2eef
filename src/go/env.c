/*
 * go/env.c - the caller's Go environment.
 */
#include <stdlib.h>

#include "base/fs.h"
#include "go/go.h"

enum { ENV_FILE_MAX = 1 << 20 };

/* $GOENV, else go/env below the user's configuration directory; NULL when it is off. */
static const char *env_file(Arena *a)
{
    const char *goenv = getenv("GOENV"), *config = getenv("XDG_CONFIG_HOME"),
               *home = getenv("HOME");
    if (goenv && *goenv)
        return strcmp(goenv, "off") != 0 ? goenv : NULL;
    if (config && *config)
        return arena_printf(a, "%s/go/env", config);
    return home && *home ? arena_printf(a, "%s/.config/go/env", home) : NULL;
}

static StrList read_env_file(Arena *a)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    StrList l = {0};
    const char *path = env_file(a);
    char *save = NULL;
    if (!path || !fs_read_file(AT_FDCWD, path, ENV_FILE_MAX, &text, &ignored) || !text.ptr)
        return l;
    for (char *line = strtok_r(text.ptr, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save))
        if (line[0] >= 'A' && line[0] <= 'Z' && strchr(line, '='))
            strlist_add(a, &l, line);
    return l;
}

StrList go_caller_env(Arena *a)
{
    static const char *const NAMES[] = {"GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY",
                                        "GONOSUMDB"};
    StrList file = read_env_file(a), out = {0};
    for (size_t i = 0; i < NELEM(NAMES); i++) {
        const char *v = getenv(NAMES[i]);
        if (!v || !*v)
            v = env_get(&file, NAMES[i]);
        if (v && *v)
            env_set(a, &out, NAMES[i], v);
    }
    return out;
}
