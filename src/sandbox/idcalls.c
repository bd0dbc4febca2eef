/*
 * sandbox/idcalls.c - who a process is, by the kernel's own rules. Source: Linux, kernel/sys.c;
 * credentials(7).
 */
#include <errno.h>
#include <limits.h>

#include "base/fs.h"
#include "sandbox/warden.h"

enum { KEEP = UINT32_MAX, MAX_GROUPS = 65536 };

static bool is_root(const Cred *c)
{
    return c->uid[CRED_EFFECTIVE] == 0;
}

/* One kind of id of a Cred; the rules for users and groups are the same. */
static uint32_t *ids(Cred *c, bool group)
{
    return group ? c->gid : c->uid;
}

static int64_t set_one(const Call *c, bool group)
{
    Cred now = *call_cred(c);
    uint32_t *v = ids(&now, group), to = (uint32_t)c->arg[0];
    if (to == KEEP)
        return -EINVAL;
    if (is_root(&now))
        v[CRED_REAL] = v[CRED_SAVED] = to;
    else if (to != v[CRED_REAL] && to != v[CRED_SAVED])
        return -EPERM;
    v[CRED_EFFECTIVE] = v[CRED_FS] = to;
    return call_become(c, &now);
}

int64_t on_setuid(const Call *c)
{
    return set_one(c, false);
}

int64_t on_setgid(const Call *c)
{
    return set_one(c, true);
}

static int64_t set_two(const Call *c, bool group)
{
    Cred now = *call_cred(c);
    bool root = is_root(&now);
    uint32_t *v = ids(&now, group), real = (uint32_t)c->arg[0], eff = (uint32_t)c->arg[1];
    uint32_t old = v[CRED_REAL];
    if (real != KEEP && !root && real != old && real != v[CRED_EFFECTIVE])
        return -EPERM;
    if (eff != KEEP && !root && eff != old && eff != v[CRED_EFFECTIVE] && eff != v[CRED_SAVED])
        return -EPERM;
    if (real != KEEP)
        v[CRED_REAL] = real;
    if (eff != KEEP)
        v[CRED_EFFECTIVE] = eff;
    if (real != KEEP || (eff != KEEP && eff != old))
        v[CRED_SAVED] = v[CRED_EFFECTIVE];
    v[CRED_FS] = v[CRED_EFFECTIVE];
    return call_become(c, &now);
}

int64_t on_setreuid(const Call *c)
{
    return set_two(c, false);
}

int64_t on_setregid(const Call *c)
{
    return set_two(c, true);
}

static int64_t set_three(const Call *c, bool group)
{
    Cred now = *call_cred(c), old = now;
    uint32_t *v = ids(&now, group), *was = ids(&old, group);
    for (size_t i = CRED_REAL; i <= CRED_SAVED; i++) {
        uint32_t to = (uint32_t)c->arg[i];
        if (to == KEEP)
            continue;
        if (!is_root(&old) && to != was[CRED_REAL] && to != was[CRED_EFFECTIVE] &&
            to != was[CRED_SAVED])
            return -EPERM;
        v[i] = to;
    }
    v[CRED_FS] = v[CRED_EFFECTIVE];
    return call_become(c, &now);
}

int64_t on_setresuid(const Call *c)
{
    return set_three(c, false);
}

int64_t on_setresgid(const Call *c)
{
    return set_three(c, true);
}

static int64_t set_fs(const Call *c, bool group)
{
    Cred now = *call_cred(c);
    uint32_t *v = ids(&now, group), to = (uint32_t)c->arg[0], old = v[CRED_FS];
    bool may = is_root(&now) || to == v[CRED_REAL] || to == v[CRED_EFFECTIVE] ||
               to == v[CRED_SAVED] || to == old;
    if (to == KEEP || !may || to == old)
        return old;
    v[CRED_FS] = to;
    int rc = call_become(c, &now);
    return rc < 0 ? rc : (int64_t)old;
}

int64_t on_setfsuid(const Call *c)
{
    return set_fs(c, false);
}

int64_t on_setfsgid(const Call *c)
{
    return set_fs(c, true);
}

/* More groups than a Cred holds are no program's that a build runs; the first ones count then. */
int64_t on_setgroups(const Call *c)
{
    Cred now = *call_cred(c);
    uint64_t n = (uint32_t)c->arg[0];
    if (!is_root(&now))
        return -EPERM;
    if (n > MAX_GROUPS)
        return -EINVAL;
    memset(now.groups, 0, sizeof now.groups);
    now.ngroup = (uint32_t)(n < NELEM(now.groups) ? n : NELEM(now.groups));
    if (n && call_read(c, c->arg[1], now.groups, now.ngroup * sizeof *now.groups) < 0)
        return -EFAULT;
    return call_become(c, &now);
}

/* ---- asking ---- */

int64_t on_getuid(const Call *c)
{
    return call_cred(c)->uid[CRED_REAL];
}

int64_t on_geteuid(const Call *c)
{
    return call_cred(c)->uid[CRED_EFFECTIVE];
}

int64_t on_getgid(const Call *c)
{
    return call_cred(c)->gid[CRED_REAL];
}

int64_t on_getegid(const Call *c)
{
    return call_cred(c)->gid[CRED_EFFECTIVE];
}

static int64_t tell_three(const Call *c, const uint32_t *v)
{
    int64_t rc = 0;
    for (size_t i = CRED_REAL; i <= CRED_SAVED && rc == 0; i++)
        rc = call_write(c, c->arg[i], &v[i], sizeof v[i]);
    return rc;
}

int64_t on_getresuid(const Call *c)
{
    return tell_three(c, call_cred(c)->uid);
}

int64_t on_getresgid(const Call *c)
{
    return tell_three(c, call_cred(c)->gid);
}

int64_t on_getgroups(const Call *c)
{
    const Cred *cred = call_cred(c);
    int size = (int)c->arg[0];
    if (size < 0 || (size && size < (int)cred->ngroup))
        return -EINVAL;
    if (size && cred->ngroup) {
        int rc = call_write(c, c->arg[1], cred->groups, cred->ngroup * sizeof *cred->groups);
        if (rc < 0)
            return rc;
    }
    return cred->ngroup;
}

/* ---- programs ---- */

/* Scripts have no setuid bits: their interpreter is what is executed. */
static bool is_script(int fd)
{
    char proc[16], magic[2];
    (void)snprintf(proc, sizeof proc, "%d", fd);
    scoped(fd) int in = open(proc, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return in < 0 || (read(in, magic, 2) == 2 && magic[0] == '#' && magic[1] == '!');
}

/* What a program's setuid bits and its start make of who runs it. */
static int64_t execute(const Call *c, int raw)
{
    scoped(fd) int fd = raw;
    Cred now = *call_cred(c);
    Owner o = {0};
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
        return PASS;
    if (st.st_mode & (S_ISUID | S_ISGID) && !is_script(fd)) {
        (void)owner_of(c->w, fd, &o);
        if (st.st_mode & S_ISUID)
            now.uid[CRED_EFFECTIVE] = o.uid;
        if (st.st_mode & S_ISGID && st.st_mode & S_IXGRP)
            now.gid[CRED_EFFECTIVE] = o.gid;
    }
    now.uid[CRED_SAVED] = now.uid[CRED_FS] = now.uid[CRED_EFFECTIVE];
    now.gid[CRED_SAVED] = now.gid[CRED_FS] = now.gid[CRED_EFFECTIVE];
    if (memcmp(&now, call_cred(c), sizeof now) != 0)
        (void)call_become(c, &now); /* the program then runs as who started it */
    return PASS;
}

int64_t on_execve(const Call *c)
{
    char text[PATH_MAX];
    if (call_text(c, c->arg[0], text, sizeof text) < 0)
        return PASS;
    return execute(c, call_open(c, AT_FDCWD, text, true));
}

int64_t on_execveat(const Call *c)
{
    char text[PATH_MAX];
    int dirfd = (int)c->arg[0], flags = (int)c->arg[4];
    if (call_text(c, c->arg[1], text, sizeof text) < 0)
        return PASS;
    return execute(c, !*text && flags & AT_EMPTY_PATH
                          ? call_fd(c, dirfd)
                          : call_open(c, dirfd, text, !(flags & AT_SYMLINK_NOFOLLOW)));
}

int64_t on_chroot(const Call *c)
{
    if (!is_root(call_cred(c)))
        return -EPERM;
    c->w->chrooted = true;
    return PASS;
}
