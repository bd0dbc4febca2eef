/*
 * store/usage.c - how much room a tree takes on the disk.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "store/keep.h"

/* One descriptor a level; what lies deeper is not counted. Paths of programs end at 2048 levels. */
enum { USAGE_DEPTH = 400, BLOCK = 512 };

struct Seen {
    Arena arena;
    Map map;
};

Seen *seen_new(void)
{
    Seen *s = calloc(1, sizeof *s);
    if (!s)
        die_nomem();
    return s;
}

void seen_free(Seen *s)
{
    if (!s)
        return;
    map_done(&s->map);
    arena_done(&s->arena);
    free(s);
}

static bool first_time(Seen *s, const struct stat *st)
{
    char key[48];
    uint64_t v;
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return true;
    (void)snprintf(key, sizeof key, "%llx:%llx", (unsigned long long)st->st_dev,
                   (unsigned long long)st->st_ino);
    return !map_get(&s->map, key, &v) && map_put(&s->map, arena_strdup(&s->arena, key), 1);
}

static uint64_t usage_at(int dirfd, const char *path, unsigned depth, Seen *seen)
{
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !first_time(seen, &st))
        return 0;
    uint64_t sum = (uint64_t)st.st_blocks * BLOCK;
    if (!S_ISDIR(st.st_mode) || depth == USAGE_DEPTH)
        return sum;
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return sum;
    }
    for (struct dirent *de; (de = readdir(d));)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            sum += usage_at(fd, de->d_name, depth + 1, seen);
    closedir(d);
    return sum;
}

uint64_t tree_usage(int dirfd, const char *path, Seen *seen)
{
    scoped(seen) Seen *own = seen ? NULL : seen_new();
    return usage_at(dirfd, path, 0, seen ? seen : own);
}
