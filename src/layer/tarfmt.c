/*
 * layer/tarfmt.c - entries to tar headers.
 */
#include "layer/tarfmt.h"

#include <inttypes.h>

static void octal(char *field, size_t n, uint64_t v)
{
    for (size_t i = n - 1; i-- > 0; v >>= 3)
        field[i] = (char)('0' + (v & 7));
    field[n - 1] = 0;
}

/* "LEN key=value\n", where LEN counts itself. Source: pax, "pax Extended Header". */
static void pax_record(Buf *out, const char *key, const void *value, size_t n)
{
    size_t body = strlen(key) + n + 3, digits = 1;
    for (size_t len = body + digits;; len = body + digits) {
        size_t need = (size_t)snprintf(NULL, 0, "%zu", len);
        if (need == digits)
            break;
        digits = need;
    }
    buf_printf(out, "%zu %s=", body + digits, key);
    buf_add(out, value, n);
    buf_putc(out, '\n');
}

static void pax_text(Buf *out, const char *key, const char *value)
{
    pax_record(out, key, value, strlen(value));
}

static void pax_number(Buf *out, const char *key, int64_t v)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, v);
    pax_text(out, key, text);
}

static void block(Buf *out, const TarHeader *h)
{
    TarHeader c = *h;
    unsigned sum = 0;
    memset(c.chksum, ' ', sizeof c.chksum);
    for (size_t i = 0; i < sizeof c; i++)
        sum += ((const unsigned char *)&c)[i];
    octal(c.chksum, 7, sum);
    c.chksum[7] = ' ';
    buf_add(out, &c, sizeof c);
}

static TarHeader blank(char type)
{
    TarHeader h = {.typeflag = type, .magic = "ustar", .version = {'0', '0'}};
    octal(h.mode, sizeof h.mode, 0);
    octal(h.uid, sizeof h.uid, 0);
    octal(h.gid, sizeof h.gid, 0);
    octal(h.size, sizeof h.size, 0);
    octal(h.mtime, sizeof h.mtime, 0);
    octal(h.devmajor, sizeof h.devmajor, 0);
    octal(h.devminor, sizeof h.devminor, 0);
    return h;
}

static void put_text(char *field, size_t cap, const char *s, const char *pax_key, Buf *pax)
{
    size_t n = strlen(s);
    if (n > cap)
        pax_text(pax, pax_key, s);
    memcpy(field, s, n < cap ? n : cap);
}

static void put_number(char *field, size_t cap, uint64_t v, const char *pax_key, Buf *pax)
{
    if (v >> (3 * (cap - 1))) {
        pax_number(pax, pax_key, (int64_t)v);
        v = 0;
    }
    octal(field, cap, v);
}

void tar_format(const TarEntry *t, Buf *out)
{
    scoped(buf) Buf pax = BUF_INIT;
    TarHeader h = blank(t->type);
    const char *name = t->type == '5' && *t->name ? NULL : *t->name ? t->name : "./";
    char dir[TREE_PATH_MAX + 2];
    if (!name) { /* directories end in a slash, as every tar writes them */
        (void)snprintf(dir, sizeof dir, "%s/", t->name);
        name = dir;
    }
    put_text(h.name, sizeof h.name, name, "path", &pax);
    put_text(h.linkname, sizeof h.linkname, t->link ? t->link : "", "linkpath", &pax);
    octal(h.mode, sizeof h.mode, t->mode & 07777);
    put_number(h.uid, sizeof h.uid, t->uid, "uid", &pax);
    put_number(h.gid, sizeof h.gid, t->gid, "gid", &pax);
    put_number(h.size, sizeof h.size, t->type == '0' ? t->size : 0, "size", &pax);
    if (t->mtime.tv_sec < 0)
        pax_number(&pax, "mtime", t->mtime.tv_sec);
    else
        put_number(h.mtime, sizeof h.mtime, (uint64_t)t->mtime.tv_sec, "mtime", &pax);
    put_number(h.devmajor, sizeof h.devmajor, t->major, "SCHILY.devmajor", &pax);
    put_number(h.devminor, sizeof h.devminor, t->minor, "SCHILY.devminor", &pax);
    for (size_t i = 0; i < t->nxattr; i++) {
        scoped(buf) Buf key = BUF_INIT;
        buf_printf(&key, "SCHILY.xattr.%s", t->xattrs[i].name);
        pax_record(&pax, key.ptr, t->xattrs[i].value.ptr, t->xattrs[i].value.len);
    }
    if (pax.len) {
        static const char ZERO[TAR_BLOCK];
        TarHeader x = blank('x');
        memcpy(x.name, "PaxHeaders.0/x", 15);
        octal(x.size, sizeof x.size, pax.len);
        block(out, &x);
        buf_add(out, pax.ptr, pax.len);
        buf_add(out, ZERO, (TAR_BLOCK - pax.len % TAR_BLOCK) % TAR_BLOCK);
    }
    block(out, &h);
}
