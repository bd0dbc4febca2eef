/*
 * layer/tarread.c - a tar stream, entry by entry: ustar, PAX, and GNU's long names.
 */
#include <ctype.h>

#include "base/fs.h"
#include "layer/in.h"
#include "layer/tarfmt.h"

enum { PAX_MAX = 1 << 20, MAX_EXTENSIONS = 8, MAX_ENTRIES = 4 << 20, MAX_XATTRS = 256 };

/* What extension headers said about the next entry. */
typedef struct Extra {
    const char *path, *link;
    bool has_size, has_uid, has_gid, has_mtime;
    uint64_t size, uid, gid;
    int64_t mtime;
    TreeXattr *xattrs;
    size_t nxattr, xattr_cap;
} Extra;

void tar_reader_init(TarReader *t, LayerIn *in)
{
    *t = (TarReader){.in = in};
}

void tar_reader_done(TarReader *t)
{
    arena_done(&t->arena);
}

/* Fill `buf` entirely; *ret_n is smaller only at the end of the stream. */
static bool read_full(TarReader *t, void *buf, size_t n, size_t *ret_n, Err *e)
{
    size_t got = 0;
    while (got < n) {
        size_t step;
        if (!layer_in_read(t->in, (char *)buf + got, n - got, &step, e))
            return false;
        if (!step)
            break;
        got += step;
    }
    *ret_n = got;
    return true;
}

static bool cut(Err *e)
{
    return err_set(e, ERR_STORE, "tar archive ends in the middle of an entry");
}

static bool skip(TarReader *t, uint64_t n, Err *e)
{
    char waste[16 << 10];
    while (n) {
        size_t got, want = n < sizeof waste ? (size_t)n : sizeof waste;
        if (!read_full(t, waste, want, &got, e))
            return false;
        if (got < want)
            return cut(e);
        n -= got;
    }
    return true;
}

/* Octal digits, or GNU's base-256 when the first bit is set. */
static bool number(const char *field, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    if ((unsigned char)field[0] & 0x80) {
        if ((unsigned char)field[0] != 0x80) /* negative or too large */
            return false;
        for (size_t i = 1; i < n; i++) {
            if (v >> 55)
                return false;
            v = v << 8 | (unsigned char)field[i];
        }
        *ret = v;
        return true;
    }
    size_t i = 0;
    while (i < n && field[i] == ' ')
        i++;
    for (; i < n && field[i] && field[i] != ' '; i++) {
        if (field[i] < '0' || field[i] > '7' || v >> 60)
            return false;
        v = v << 3 | (uint64_t)(field[i] - '0');
    }
    *ret = v;
    return true;
}

/* A time: like a number, and may be negative in base-256 (two's complement). */
static bool time_number(const char *field, size_t n, int64_t *ret)
{
    uint64_t v = UINT64_MAX;
    if ((unsigned char)field[0] != 0xff) {
        if (!number(field, n, &v) || v > INT64_MAX)
            return false;
        *ret = (int64_t)v;
        return true;
    }
    for (size_t i = 1; i < n; i++) {
        if (v >> 55 != UINT64_MAX >> 55)
            return false;
        v = v << 8 | (unsigned char)field[i];
    }
    *ret = (int64_t)v;
    return true;
}

static bool checksum_ok(const TarHeader *h)
{
    uint64_t want;
    int64_t sum = 0, signed_sum = 0; /* old writers added up signed bytes */
    const char *p = (const char *)h;
    size_t from = offsetof(TarHeader, chksum);
    for (size_t i = 0; i < sizeof *h; i++) {
        bool own = i >= from && i < from + sizeof h->chksum;
        sum += own ? ' ' : (unsigned char)p[i];
        signed_sum += own ? ' ' : (signed char)p[i];
    }
    if (!number(h->chksum, sizeof h->chksum, &want) || want > INT64_MAX)
        return false;
    return (int64_t)want == sum || (int64_t)want == signed_sum;
}

static bool all_zero(const TarHeader *h)
{
    const char *p = (const char *)h;
    for (size_t i = 0; i < sizeof *h; i++)
        if (p[i])
            return false;
    return true;
}

static bool read_body(TarReader *t, uint64_t size, char **ret, Err *e)
{
    size_t got;
    if (size > PAX_MAX)
        return err_set(e, ERR_STORE, "tar extension header of %llu bytes is over the limit",
                       (unsigned long long)size);
    char *p = arena_alloc(&t->arena, (size_t)size + 1);
    if (!read_full(t, p, (size_t)size, &got, e))
        return false;
    if (got < size)
        return cut(e);
    *ret = p;
    return skip(t, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, e);
}

static bool bad_pax(Err *e)
{
    return err_set(e, ERR_STORE, "damaged PAX record in tar archive");
}

static bool sparse(Err *e)
{
    return err_set(e, ERR_STORE,
                   "sparse entries in tar archives are not supported: pack it without them");
}

static bool pax_field(TarReader *t, Extra *x, const char *key, const char *value, size_t n, Err *e)
{
    bool clean = !memchr(value, 0, n);
    if (!n && !str_starts(key, "SCHILY.xattr.")) /* an empty value takes the record back */
        return true;
    if (!strcmp(key, "path") || !strcmp(key, "linkpath")) {
        if (!clean)
            return bad_pax(e);
        *(key[0] == 'p' ? &x->path : &x->link) = value;
    } else if (!strcmp(key, "size")) {
        x->has_size = true;
        return str_u64(value, INT64_MAX, &x->size) || bad_pax(e);
    } else if (!strcmp(key, "uid")) {
        x->has_uid = true;
        return str_u64(value, UINT32_MAX - 1, &x->uid) || bad_pax(e);
    } else if (!strcmp(key, "gid")) {
        x->has_gid = true;
        return str_u64(value, UINT32_MAX - 1, &x->gid) || bad_pax(e);
    } else if (!strcmp(key, "mtime")) {
        uint64_t s;
        bool minus = value[0] == '-';
        char *whole = arena_strndup(&t->arena, value + minus, strcspn(value + minus, "."));
        if (!str_u64(whole, INT64_MAX, &s))
            return bad_pax(e);
        x->has_mtime = true;
        x->mtime = minus ? -(int64_t)s : (int64_t)s;
    } else if (str_starts(key, "SCHILY.xattr.")) {
        if (x->nxattr >= MAX_XATTRS)
            return err_set(e, ERR_STORE, "more than %d extended attributes on one file",
                           MAX_XATTRS);
        *ARENA_PUSH(&t->arena, x->xattrs, x->nxattr, x->xattr_cap) =
            (TreeXattr){key + 13, {value, n}};
    } else if (str_starts(key, "GNU.sparse.")) {
        return sparse(e);
    }
    return true;
}

/* "LEN key=value\n" records. Source: POSIX pax, "pax Extended Header". */
static bool pax(TarReader *t, uint64_t size, Extra *x, Err *e)
{
    char *p;
    if (!read_body(t, size, &p, e))
        return false;
    for (char *end = p + size; p < end;) {
        size_t len = 0, digits = 0;
        while (p + digits < end && isdigit((unsigned char)p[digits]) && digits < 8)
            len = len * 10 + (size_t)(p[digits++] - '0');
        if (!digits || len < digits + 4 || len > (size_t)(end - p) || p[digits] != ' ' ||
            p[len - 1] != '\n')
            return bad_pax(e);
        char *key = p + digits + 1;
        char *eq = memchr(key, '=', (size_t)(p + len - key));
        if (!eq || eq == key)
            return bad_pax(e);
        *eq = 0;
        p[len - 1] = 0;
        if (!pax_field(t, x, key, eq + 1, (size_t)(p + len - 1 - (eq + 1)), e))
            return false;
        p += len;
    }
    return true;
}

/* Archive names to clean relative ones; no honest layer has `..`. */
static bool clean_name(TarReader *t, const char *raw, const char **ret, Err *e)
{
    if (strlen(raw) >= TREE_PATH_MAX)
        return err_set(e, ERR_STORE, "name of %zu bytes in tar archive is too long", strlen(raw));
    for (const char *p = raw; *p;) {
        size_t n = strcspn(p, "/");
        if (!t->clip && n == 2 && p[0] == '.' && p[1] == '.')
            return err_set(e, ERR_STORE, "tar archive names '%s', which would leave its directory",
                           raw);
        if (n > 255)
            return err_set(e, ERR_STORE, "'%.80s...': a name in the tar archive is too long", p);
        p += n;
        while (*p == '/')
            p++;
    }
    *ret = path_clean(&t->arena, arena_printf(&t->arena, "/%s", raw)) + 1;
    return true;
}

static const char *field_text(TarReader *t, const char *field, size_t cap)
{
    return arena_strndup(&t->arena, field, strnlen(field, cap));
}

static bool read_entry(TarReader *t, const TarHeader *h, const Extra *x, uint64_t size,
                       TarEntry *ret, Err *e)
{
    uint64_t mode, uid, gid, major = 0, minor = 0;
    int64_t mtime;
    if (!number(h->mode, sizeof h->mode, &mode) || !number(h->uid, sizeof h->uid, &uid) ||
        !number(h->gid, sizeof h->gid, &gid) || !time_number(h->mtime, sizeof h->mtime, &mtime))
        return err_set(e, ERR_STORE, "damaged number in tar header");
    bool device = h->typeflag == '3' || h->typeflag == '4';
    if (device && (!number(h->devmajor, sizeof h->devmajor, &major) ||
                   !number(h->devminor, sizeof h->devminor, &minor)))
        return err_set(e, ERR_STORE, "damaged device number in tar header");
    if (uid >= UINT32_MAX || gid >= UINT32_MAX)
        return err_set(e, ERR_STORE, "owner %llu:%llu in tar header is out of range",
                       (unsigned long long)uid, (unsigned long long)gid);
    t->nheader++;
    const char *name = field_text(t, h->name, sizeof h->name);
    bool ustar = !memcmp(h->magic, "ustar", 6); /* GNU's magic has a blank there and no prefix */
    if (ustar && h->prefix[0])
        name = arena_printf(&t->arena, "%s/%s", field_text(t, h->prefix, sizeof h->prefix), name);
    TarEntry n = {
        .type = h->typeflag == 0 || h->typeflag == '7' ? '0' : h->typeflag,
        .link = x->link ? x->link : field_text(t, h->linkname, sizeof h->linkname),
        .mode = (uint32_t)(mode & 07777),
        .uid = (uint32_t)(x->has_uid ? x->uid : uid),
        .gid = (uint32_t)(x->has_gid ? x->gid : gid),
        .major = (uint32_t)major,
        .minor = (uint32_t)minor,
        .mtime.tv_sec = (time_t)(x->has_mtime ? x->mtime : mtime),
        .xattrs = x->xattrs,
        .nxattr = x->nxattr,
    };
    if (x->path)
        name = x->path;
    if (n.type == '0' && str_ends(name, "/")) /* how tars before POSIX wrote directories */
        n.type = '5';
    if (strchr("0123456", n.type) == NULL)
        return err_set(e, ERR_STORE, "'%s': tar entry of unknown type '%c'", name,
                       isprint((unsigned char)n.type) ? n.type : '?');
    n.size = n.type == '0' ? size : 0;
    n.raw = name;
    if (!clean_name(t, name, &n.name, e))
        return false;
    if (n.type == '1' && !clean_name(t, n.link, &n.link, e))
        return false;
    t->left = size;
    t->pad = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
    if (n.type != '0' && n.type != '1' &&
        size) /* old writers give links and directories a size without data */
        t->left = t->pad = 0;
    if (n.type == '1')
        t->left = t->pad = 0;
    *ret = n;
    return true;
}

/* Two blocks of zeros end an archive, and so does one that nothing follows. */
static bool archive_end(TarReader *t, Err *e)
{
    TarHeader h;
    size_t got;
    if (!read_full(t, &h, sizeof h, &got, e))
        return false;
    if (got && (got < sizeof h || !all_zero(&h)))
        return err_set(e, ERR_STORE, "damaged tar archive: one empty block in the middle");
    t->end = true;
    return true;
}

bool tar_next(TarReader *t, TarEntry *ret, bool *ret_got, Err *e)
{
    Extra x = {0};
    *ret_got = false;
    if (t->end)
        return true;
    if (!skip(t, t->left + t->pad, e))
        return false;
    t->left = t->pad = 0;
    arena_done(&t->arena);

    bool pending = false; /* a header of extensions wants its entry */
    for (unsigned extended = 0;; extended++) {
        TarHeader h;
        size_t got;
        uint64_t size;
        if (!read_full(t, &h, sizeof h, &got, e))
            return false;
        if (!pending && got == sizeof h && all_zero(&h))
            return archive_end(t, e);
        if (!pending && got == 0) {
            t->end = true;
            return true;
        }
        if (got < sizeof h)
            return cut(e);
        if (!checksum_ok(&h))
            return err_set(e, ERR_STORE, "not a tar archive, or a damaged one (header checksum)");
        if (!number(h.size, sizeof h.size, &size))
            return err_set(e, ERR_STORE, "damaged size in tar header");
        if (++t->nentry > MAX_ENTRIES)
            return err_set(e, ERR_STORE, "tar archive has more than %d entries", MAX_ENTRIES);
        if (extended > MAX_EXTENSIONS)
            return err_set(e, ERR_STORE, "more than %d extension headers before one tar entry",
                           MAX_EXTENSIONS);
        switch (h.typeflag) {
        case 'x':
            pending = true;
            if (!pax(t, size, &x, e))
                return false;
            continue;
        case 'g': { /* global records say nothing a layer needs */
            Extra ignored = {0};
            if (!pax(t, size, &ignored, e))
                return false;
            t->nheader++;
            continue;
        }
        case 'L':
        case 'K': {
            char *text;
            pending = true;
            if (!read_body(t, size, &text, e))
                return false;
            *(h.typeflag == 'L' ? &x.path : &x.link) = text;
            continue;
        }
        case 'S':
            t->nheader++;
            return sparse(e);
        default:
            break;
        }
        if (x.has_size)
            size = x.size;
        if (size > INT64_MAX)
            return err_set(e, ERR_STORE, "damaged size in tar header");
        if (!read_entry(t, &h, &x, size, ret, e))
            return false;
        *ret_got = true;
        return true;
    }
}

bool tar_read(TarReader *t, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    size_t want = t->left < cap ? (size_t)t->left : cap, got = 0;
    if (want && !read_full(t, buf, want, &got, e))
        return false;
    if (got < want)
        return cut(e);
    t->left -= got;
    *ret_n = got;
    return true;
}
