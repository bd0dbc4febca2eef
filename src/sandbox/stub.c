/*
 * sandbox/stub.c - the builder's side of mount points: those that had to be made are removed from
 * the upper directory when the step has ended, as BuildKit does.
 */
#include "base/fs.h"
#include "base/owner.h"
#include "sandbox/spec.h"

bool sandbox_points(int dirfd, const char *path, const char *hostname, const SandboxShape *shape,
                    Err *e)
{
    static const char *const DIRS[] = {"", "/root", "/root/etc"};
    static const char *const FILES[] = {"/root/etc/hosts", "/root/etc/resolv.conf"};
    scoped(arena) Arena a = {0};
    scoped(buf) Buf hosts = BUF_INIT;
    for (size_t i = 0; i < NELEM(DIRS); i++)
        if (mkdirat(dirfd, arena_printf(&a, "%s%s", path, DIRS[i]), 0755) < 0)
            return err_errno(e, ERR_STORE, "create '%s%s'", path, DIRS[i]);
    for (size_t i = 0; i < NELEM(FILES); i++)
        if (!fs_write_file(dirfd, arena_printf(&a, "%s%s", path, FILES[i]), "", 0, e))
            return false;
    spec_hosts(hostname, shape, &hosts);
    return fs_write_file(dirfd, arena_printf(&a, "%s/hosts", path), hosts.ptr, hosts.len, e);
}

/* Whether a directory of the upper says nothing else than the topmost one below it. */
static bool copied_up(const SandboxSpec *spec, int upper, const char *name)
{
    scoped(arena) Arena a = {0};
    struct stat mine, below;
    if (fstatat(upper, name, &mine, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    owner_read(upper, name, &mine);
    for (size_t i = 0; i < spec->lowers.n; i++) {
        const char *path = arena_printf(&a, "%s/%s", spec->lowers.v[i], name);
        if (fstatat(spec->storefd, path, &below, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        owner_read(spec->storefd, path, &below);
        return S_ISDIR(below.st_mode) && mine.st_mode == below.st_mode &&
               mine.st_uid == below.st_uid && mine.st_gid == below.st_gid;
    }
    return false;
}

/*
 * docker's builder leaves /proc, /sys and /dev in the layer: they are its runtime's. A mount of the
 * step at or below one of them makes it a mount point like others.
 */
static bool is_kept(const SandboxSpec *spec, const char *name)
{
    if (strcmp(name, "proc") != 0 && strcmp(name, "sys") != 0 && strcmp(name, "dev") != 0)
        return false;
    size_t n = strlen(name);
    for (size_t i = 0; i < spec->nmount; i++) {
        const char *t = spec->mounts[i].target;
        t += strspn(t, "/");
        if (!strncmp(t, name, n) && (!t[n] || t[n] == '/'))
            return false;
    }
    return true;
}

/* The directory that holds `name`, which is relative to the upper; "." for the upper itself. */
static const char *parent_of(Arena *a, const char *name)
{
    const char *base = path_base(name);
    return base == name ? "." : arena_strndup(a, name, (size_t)(base - name - 1));
}

/* Remove an empty file or an empty directory; the directory it was in keeps its times. */
static bool remove_entry(Arena *a, int upper, const char *name, bool dir)
{
    struct stat up, st;
    const char *base = path_base(name);
    scoped(fd) int parent = fs_open_beneath(upper, parent_of(a, name), O_RDONLY | O_DIRECTORY, 0);
    if (parent < 0 || fstat(parent, &up) < 0 || fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if ((!dir && st.st_size) || unlinkat(parent, base, dir ? AT_REMOVEDIR : 0) < 0)
        return false; /* the command used it */
    (void)futimens(parent, (struct timespec[2]){up.st_atim, up.st_mtim});
    return true;
}

void stub_remove(const SandboxSpec *spec, const char *name, bool dir)
{
    scoped(arena) Arena a = {0};
    scoped(fd) int upper = openat(spec->storefd, spec->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0 || is_kept(spec, name) || !remove_entry(&a, upper, name, dir))
        return;
    if (spec->copied) /* the image's directories are there */
        return;
    /* Directories of the image that were only copied up to make it. */
    for (const char *up = parent_of(&a, name); strcmp(up, ".") != 0; up = parent_of(&a, up))
        if (!copied_up(spec, upper, up) || !remove_entry(&a, upper, up, true))
            return;
}
