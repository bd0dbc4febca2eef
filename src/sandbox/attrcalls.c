/*
 * sandbox/attrcalls.c - calls about extended attributes.
 *
 * They are the kernel's, file capabilities too, but for our own name and for access control lists
 * with ids, which the kernel refuses where it has one.
 */
#include <errno.h>
#include <limits.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "sandbox/warden.h"

/* The list without our own name: a program that copies attributes must not copy that. */
static int64_t list(const Call *c, int raw, uint64_t out, uint64_t cap)
{
    char name[16], names[64 << 10];
    scoped(fd) int fd = raw;
    if (fd < 0)
        return PASS;
    (void)snprintf(name, sizeof name, "%d", fd);
    ssize_t n = listxattr(name, names, sizeof names);
    if (n <= 0)
        return PASS;
    char *ours = memmem(names, (size_t)n, OWNER_XATTR, sizeof OWNER_XATTR);
    if (!ours || (ours > names && ours[-1]))
        return PASS;
    size_t rest = (size_t)(names + n - ours) - sizeof OWNER_XATTR;
    memmove(ours, ours + sizeof OWNER_XATTR, rest);
    n -= (ssize_t)sizeof OWNER_XATTR;
    if (!cap)
        return n;
    if (cap < (uint64_t)n)
        return -ERANGE;
    int rc = call_write(c, out, names, (size_t)n);
    return rc < 0 ? rc : n;
}

static int64_t list_path(const Call *c, bool follow)
{
    char text[PATH_MAX];
    if (call_text(c, c->arg[0], text, sizeof text) < 0)
        return PASS;
    return list(c, call_open(c, AT_FDCWD, text, follow), c->arg[1], c->arg[2]);
}

int64_t on_listxattr(const Call *c)
{
    return list_path(c, true);
}

int64_t on_llistxattr(const Call *c)
{
    return list_path(c, false);
}

int64_t on_flistxattr(const Call *c)
{
    return list(c, call_fd(c, (int)c->arg[0]), c->arg[1], c->arg[2]);
}

/* ---- access control lists ---- */

/* As they are in attributes. Source: Linux, include/uapi/linux/posix_acl_xattr.h. */
typedef struct AclEntry {
    uint16_t tag, perm;
    uint32_t id;
} AclEntry;
enum { ACL_OWNER = 1, ACL_USER = 2, ACL_GROUP_OWNER = 4, ACL_GROUP = 8, ACL_MASK = 16 };
enum { ACL_OTHER = 32, ACL_HEAD = 4, MAX_ACL = 512 };

/* The mode that a list gives its file; false: it names nobody, and the kernel can have it. */
static bool acl_mode(const AclEntry *v, size_t n, mode_t *ret)
{
    mode_t owner = 0, group = 0, mask = 0, other = 0;
    bool named = false, masked = false;
    for (size_t i = 0; i < n; i++) {
        mode_t perm = v[i].perm & 7;
        named = named || v[i].tag == ACL_USER || v[i].tag == ACL_GROUP;
        masked = masked || v[i].tag == ACL_MASK;
        if (v[i].tag == ACL_OWNER)
            owner = perm;
        else if (v[i].tag == ACL_GROUP_OWNER)
            group = perm;
        else if (v[i].tag == ACL_MASK)
            mask = perm;
        else if (v[i].tag == ACL_OTHER)
            other = perm;
    }
    *ret = owner << 6 | (masked ? mask : group) << 3 | other;
    return named;
}

/* No layer carries lists. What is left of one in the image is the mode it gives the file. */
static int64_t set_acl(const Call *c, int fd, bool is_default)
{
    uint8_t bytes[ACL_HEAD + MAX_ACL * sizeof(AclEntry)];
    AclEntry v[MAX_ACL];
    char name[16];
    struct stat st;
    mode_t mode;
    uint64_t size = c->arg[3];
    if (size < ACL_HEAD || size > sizeof bytes || (size - ACL_HEAD) % sizeof *v ||
        call_read(c, c->arg[2], bytes, size) < 0)
        return PASS;
    size_t n = (size - ACL_HEAD) / sizeof *v;
    memcpy(v, bytes + ACL_HEAD, n * sizeof *v);
    if (!acl_mode(v, n, &mode))
        return PASS;
    if (is_default)
        return 0;
    (void)snprintf(name, sizeof name, "%d", fd);
    if (fstat(fd, &st) < 0 || chmod(name, (st.st_mode & 07000) | mode) < 0)
        return -errno;
    return 0;
}

static int64_t set_attribute(const Call *c, bool by_fd, bool follow)
{
    char name[XATTR_NAME_MAX + 1], text[PATH_MAX];
    if (call_text(c, c->arg[1], name, sizeof name) < 0)
        return PASS;
    if (!strcmp(name, OWNER_XATTR))
        return -EPERM;
    bool is_default = !strcmp(name, "system.posix_acl_default");
    if (!is_default && strcmp(name, "system.posix_acl_access") != 0)
        return PASS;
    if (!by_fd && call_text(c, c->arg[0], text, sizeof text) < 0)
        return PASS;
    scoped(fd) int fd = by_fd ? call_fd(c, (int)c->arg[0]) : call_open(c, AT_FDCWD, text, follow);
    return fd < 0 ? PASS : set_acl(c, fd, is_default);
}

int64_t on_setxattr(const Call *c)
{
    return set_attribute(c, false, true);
}

int64_t on_lsetxattr(const Call *c)
{
    return set_attribute(c, false, false);
}

int64_t on_fsetxattr(const Call *c)
{
    return set_attribute(c, true, true);
}
