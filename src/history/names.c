/*
 * history/names.c - what the files are called, and who has them open.
 */
#include "history/names.h"

#include <errno.h>
#include <sys/file.h>

#include "base/fs.h"

const char *const SHORT_FILES[2] = {"short", "short.old"};

bool is_short(const char *name)
{
    return !strcmp(name, SHORT_FILES[0]) || !strcmp(name, SHORT_FILES[1]);
}

bool is_first_line(Str line, const char *name)
{
    static const char START[] = RECORD_START;
    scoped(buf) Buf id = BUF_INIT;
    if (line.len < sizeof START || memcmp(line.ptr, START, sizeof START - 1) != 0)
        return false;
    if (!name || !id_of(name))
        return !name;
    buf_printf(&id, "\"id\":\"%s\"", id_of(name));
    return memmem(line.ptr, line.len, id.ptr, id.len) != NULL;
}

bool next_line(const char **at, const char *end, Str *ret)
{
    const char *nl = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    const char *stop = nl ? nl + 1 : end;
    *ret = (Str){*at, (size_t)(stop - *at)};
    *at = stop;
    return ret->len > 0;
}

void run_of(const Digest *key, int64_t created, char out[static RUN_MAX])
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(key, hex);
    (void)snprintf(out, RUN_MAX, "%lld-%.*s", (long long)created, KEY_HEX, hex);
}

size_t run_len(const char *log)
{
    size_t created = strcspn(log, "-");
    return log[created] ? created + 1 + strcspn(log + created + 1, "-.") : created;
}

const char *id_of(const char *name)
{
    const char *dash = strchr(name, '-');
    return dash && strlen(dash + 1) == ID_HEX ? dash + 1 : NULL;
}

int history_open(int storefd, const char *dir, const char *name, int flags)
{
    scoped(buf) Buf path = BUF_INIT;
    buf_printf(&path, "%s/%s", dir, name);
    int fd = openat(storefd, path.ptr, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == ENOENT && flags & O_CREAT &&
        (mkdirat(storefd, dir, 0700) == 0 || errno == EEXIST))
        fd = openat(storefd, path.ptr, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd;
}

bool is_locked(int fd)
{
    return flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool list_dir(int storefd, Arena *a, const char *dir, StrList *ret, Err *e)
{
    scoped(fd) int fd = openat(storefd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *ret = (StrList){0};
    return fd < 0 ? errno == ENOENT || err_errno(e, ERR_STORE, "open '%s'", dir)
                  : fs_list(a, fd, ret, e);
}
