/*
 * gomod/keep.c - where modules, go.mod files and words of proxies lie in the store.
 */
#include <errno.h>

#include "base/fs.h"
#include "gomod/inside.h"

static void hex_of(const char *text, char out[static DIGEST_HEX_SIZE])
{
    Digest d;
    digest_of(text, strlen(text), &d);
    digest_hex(&d, out);
}

void keep_dir(const char *h1, char out[static KEEP_PATH])
{
    char hex[DIGEST_HEX_SIZE];
    hex_of(h1, hex);
    (void)snprintf(out, KEEP_PATH, "gomod/%s", hex);
}

/* ---- zips ---- */

bool keep_has_zip(Gomod *g, const char *h1)
{
    char dir[KEEP_PATH], path[KEEP_PATH + 8];
    Err ignored = ERR_INIT;
    keep_dir(h1, dir);
    (void)snprintf(path, sizeof path, "%s/zip", dir);
    return store_use_made(g->store, dir, "", false, &ignored) &&
           faccessat(store_dirfd(g->store), path, F_OK, 0) == 0;
}

int keep_open_zip(Gomod *g, const char *h1)
{
    char dir[KEEP_PATH], path[KEEP_PATH + 8];
    Err ignored = ERR_INIT;
    keep_dir(h1, dir);
    (void)snprintf(path, sizeof path, "%s/zip", dir);
    if (!store_use_made(g->store, dir, "", false, &ignored))
        return -1;
    return openat(store_dirfd(g->store), path, O_RDONLY | O_CLOEXEC);
}

bool keep_put_zip(Gomod *g, const char *tmp, const GomodMaterial *m, const char *source, Err *e)
{
    scoped(arena) Arena a = {0};
    char dir[KEEP_PATH], sum[DIGEST_TEXT_SIZE];
    int store = store_dirfd(g->store);
    digest_text(&m->zip, sum);
    const char *about =
        arena_printf(&a, "%s\n%s\n%s\n%s\n%s\n", m->mod.path, m->mod.version, m->h1, sum, source);
    keep_dir(m->h1, dir);
    if (!fs_write_file(store, arena_printf(&a, "%s/about", tmp), about, strlen(about), e) ||
        !store_use_made(g->store, dir, arena_printf(&a, "%s@%s", m->mod.path, m->mod.version), true,
                        e))
        return false;
    /* As go leaves it in a module cache, where it may be linked to; and the same each time. */
    const char *zip = arena_printf(&a, "%s/zip", tmp);
    if (fchmodat(store, zip, 0644, 0) < 0 || utimensat(store, zip, GOMOD_TIME, 0) < 0 ||
        (mkdirat(store, "gomod", 0700) < 0 && errno != EEXIST))
        return err_errno(e, ERR_STORE, "create '%s/gomod'", store_path(g->store));
    if (renameat(store, tmp, store, dir) == 0)
        return true;
    if (errno != EEXIST && errno != ENOTEMPTY) /* another build was first */
        return err_errno(e, ERR_STORE, "make '%s/%s'", store_path(g->store), dir);
    return true;
}

/* The line number `n` of a text, in the arena; NULL when it has fewer. */
static const char *line(Arena *a, const char *text, unsigned n)
{
    for (; n && text; n--)
        text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    return text && *text ? arena_strndup(a, text, strcspn(text, "\n")) : NULL;
}

bool gomod_find(Gomod *g, Arena *a, const char *h1, const char **ret_path, GomodMaterial *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    char dir[KEEP_PATH];
    Err ignored = ERR_INIT;
    keep_dir(h1, dir);
    if (!store_use_made(g->store, dir, "", false, &ignored) ||
        !fs_read_file(store_dirfd(g->store), arena_printf(a, "%s/about", dir), 64 << 10, &text,
                      &ignored))
        return false;
    GomodMaterial m = {.mod = {line(a, buf_str(&text), 0), line(a, buf_str(&text), 1)},
                       .h1 = line(a, buf_str(&text), 2)};
    const char *sum = line(a, buf_str(&text), 3);
    if (!m.h1 || strcmp(m.h1, h1) != 0 || !sum || !digest_parse(sum, &m.zip))
        return false;
    *ret_path = arena_strdup(a, dir);
    *ret = m;
    return true;
}

/* ---- notes ---- */

static const char *note_path(Arena *a, const char *h1, const char *name)
{
    char dir[KEEP_PATH];
    keep_dir(h1, dir);
    return arena_printf(a, "%s/notes/%s", dir, name);
}

/* Their digest stands beside the bytes: nobody waits until they are on the disk. */
void gomod_note_put(Gomod *g, const char *h1, const char *name, Str bytes)
{
    scoped(arena) Arena a = {0};
    Digest d;
    const char *path = note_path(&a, h1, name);
    if (!keep_has_zip(g, h1)) /* a directory without would be in a zip's way */
        return;
    digest_of(bytes.ptr, bytes.len, &d);
    (void)(keep_write(g, arena_printf(&a, "%s.bytes", path), bytes) &&
           keep_write(g, path, (Str){(const char *)d.b, sizeof d.b}));
}

bool gomod_note_find(Gomod *g, Arena *a, const char *h1, const char *name, const char **ret_path,
                     Digest *ret, uint64_t *ret_size)
{
    scoped(buf) Buf b = BUF_INIT;
    Err ignored = ERR_INIT;
    int store = store_dirfd(g->store);
    const char *path = note_path(a, h1, name);
    if (!keep_has_zip(g, h1) || !fs_read_file(store, path, sizeof ret->b, &b, &ignored))
        return false;
    *ret_path = arena_printf(a, "%s.bytes", path);
    scoped(fd) int fd = openat(store, *ret_path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && digest_fd(fd, ret, ret_size, &ignored) && b.len == sizeof ret->b &&
           memcmp(ret->b, b.ptr, b.len) == 0;
}

/* ---- texts ---- */

static bool use_texts(Gomod *g)
{
    Err ignored = ERR_INIT;
    return store_use_made(g->store, "gomod/texts", "", false, &ignored);
}

/* Nothing waits until it is there: what does not get there is asked for again. */
static void write_text(Gomod *g, const char *path, Str text)
{
    Err ignored = ERR_INIT;
    if (store_use_grew(g->store, "gomod/texts", "go.mod files and versions", text.len, &ignored))
        (void)keep_write(g, path, text);
}

static bool read_text(Gomod *g, const char *path, Buf *out)
{
    Err ignored = ERR_INIT;
    size_t before = out->len;
    if (use_texts(g) && fs_read_file(store_dirfd(g->store), path, GOMOD_TEXT_MAX, out, &ignored))
        return true;
    out->len = before;
    return false;
}

static bool made_or_there(int store, const char *dir)
{
    if (mkdirat(store, dir, 0755) < 0)
        return errno == EEXIST;
    (void)fchmodat(store, dir, 0755, 0); /* the umask may be narrow */
    return true;
}

bool keep_dirs(Gomod *g, const char *path)
{
    scoped(arena) Arena a = {0};
    int store = store_dirfd(g->store);
    char *whole = arena_strdup(&a, path);
    if (made_or_there(store, whole)) /* mostly the others are there */
        return true;
    for (char *p = whole; *p;) {
        p += strcspn(p, "/");
        char end = *p;
        *p = 0;
        if (!made_or_there(store, whole))
            return false;
        *p = end;
        p += end != 0;
    }
    return true;
}

bool keep_write(Gomod *g, const char *path, Str bytes)
{
    scoped(arena) Arena a = {0};
    char tmp[STORE_TMP_MAX];
    Err ignored = ERR_INIT;
    int store = store_dirfd(g->store);
    const char *dir = path_dir(&a, path);
    if (!store_tmp(g->store, "text", tmp, &ignored) || !keep_dirs(g, dir) ||
        !fs_write_file(store, tmp, bytes.ptr, bytes.len, &ignored))
        return false;
    return fchmodat(store, tmp, 0644, 0) == 0 && renameat(store, tmp, store, path) == 0;
}

const char *keep_mod_path(Arena *a, const char *h1)
{
    char hex[DIGEST_HEX_SIZE];
    hex_of(h1, hex);
    return arena_printf(a, "gomod/texts/mod/%.2s/%s", hex, hex);
}

bool gomod_has_mod(Gomod *g, const char *h1)
{
    scoped(arena) Arena a = {0};
    return use_texts(g) && faccessat(store_dirfd(g->store), keep_mod_path(&a, h1), F_OK, 0) == 0;
}

bool gomod_mod(Gomod *g, const char *h1, Buf *out)
{
    scoped(arena) Arena a = {0};
    size_t before = out->len;
    char seen[GO_H1_SIZE];
    if (!read_text(g, keep_mod_path(&a, h1), out))
        return false;
    go_h1_of_mod((Str){buf_str(out) + before, out->len - before}, seen);
    if (!strcmp(seen, h1))
        return true;
    out->len = before; /* damaged */
    return false;
}

void keep_put_mod(Gomod *g, const char *h1, Str text)
{
    scoped(arena) Arena a = {0};
    write_text(g, keep_mod_path(&a, h1), text);
}

const char *keep_info_path(Arena *a, const char *proxy, const char *path)
{
    char hex[DIGEST_HEX_SIZE];
    hex_of(proxy, hex);
    return arena_printf(a, "gomod/texts/info/%.32s/%s", hex, path);
}

bool keep_get_info(Gomod *g, const char *proxy, const char *path, Buf *out)
{
    scoped(arena) Arena a = {0};
    return read_text(g, keep_info_path(&a, proxy, path), out);
}

void keep_put_info(Gomod *g, const char *proxy, const char *path, Str text)
{
    scoped(arena) Arena a = {0};
    write_text(g, keep_info_path(&a, proxy, path), text);
}

bool keep_link(Gomod *g, const char *from, const char *to)
{
    scoped(arena) Arena a = {0};
    int store = store_dirfd(g->store);
    if (linkat(store, from, store, to, 0) == 0 || errno == EEXIST)
        return true;
    const char *dir = path_dir(&a, to);
    return keep_dirs(g, dir) && (linkat(store, from, store, to, 0) == 0 || errno == EEXIST);
}
