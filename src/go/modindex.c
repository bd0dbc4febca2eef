/*
 * go/modindex.c - an index of sources is decoded, and its action named as go names it.
 */
#include "go/modindex.h"

#include <inttypes.h>

static const char FORMAT[] = "go index v2\n";

/* ---- decoding ---- */

/* Numbers are 32 bits, little-endian; texts are numbers of bytes in a table. Whoever wrote it may
 * have written anything: a number that leads out ends it. */
typedef struct Decoder {
    Arena *a;
    Str data, table;
    size_t at;
    bool bad;
} Decoder;

static uint32_t number(Decoder *d)
{
    enum { SIZE = 4 };
    const uint8_t *p = (const uint8_t *)d->data.ptr + d->at;
    if (d->bad || d->data.len < SIZE || d->at > d->data.len - SIZE) {
        d->bad = true;
        return 0;
    }
    d->at += SIZE;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static Str text(Decoder *d)
{
    size_t at = number(d), len = 0;
    unsigned shift = 0;
    do {
        if (d->bad || at >= d->table.len || shift > 28) {
            d->bad = true;
            return (Str){"", 0};
        }
        len |= (size_t)((uint8_t)d->table.ptr[at] & 0x7f) << shift;
        shift += 7;
    } while ((uint8_t)d->table.ptr[at++] & 0x80);
    if (len > d->table.len - at) {
        d->bad = true;
        return (Str){"", 0};
    }
    return (Str){d->table.ptr + at, len};
}

/* How many follow: each takes `size` bytes at least. */
static size_t count(Decoder *d, size_t size)
{
    size_t n = number(d);
    if (!d->bad && n > (d->data.len - d->at) / size)
        d->bad = true;
    return d->bad ? 0 : n;
}

/* Texts, with positions: name of the file, offset, line, column. */
static GoIndexTexts texts(Decoder *d, bool positions)
{
    GoIndexTexts t = {.n = count(d, positions ? 20 : 4)};
    t.v = NEW_N(d->a, GoIndexText, t.n);
    for (size_t i = 0; i < t.n; i++) {
        t.v[i].text = text(d);
        if (!positions)
            continue;
        (void)text(d);
        t.v[i].offset = number(d);
        (void)number(d);
        (void)number(d);
    }
    return t;
}

static GoIndexFile file(Decoder *d)
{
    GoIndexFile f = {.odd = false};
    Str error = text(d), parse_error = text(d);
    (void)text(d); /* the first sentence of its comment: it selects nothing */
    f.name = text(d);
    f.package = text(d);
    bool ignored = number(d), binary_only = number(d);
    f.odd = error.len || parse_error.len || ignored || binary_only;
    f.cgo = text(d);
    f.constraint = text(d);
    f.plus = texts(d, false);
    f.imports = texts(d, true);
    f.embeds = texts(d, true);
    f.directives = texts(d, true);
    return f;
}

static void package(Decoder *d, GoIndexPackage *p)
{
    Str error = text(d);
    p->odd = error.len > 0;
    p->dir = text(d);
    p->nfile = count(d, 4);
    p->files = NEW_N(d->a, GoIndexFile, p->nfile);
    size_t offsets = d->at;
    for (size_t i = 0; i < p->nfile && !d->bad; i++) {
        d->at = offsets + 4 * i;
        d->at = number(d);
        p->files[i] = file(d);
    }
}

bool go_index_parse(Arena *a, Str bytes, GoIndex *ret)
{
    size_t head = sizeof FORMAT - 1;
    if (bytes.len < head || memcmp(bytes.ptr, FORMAT, head) != 0)
        return false;
    Decoder d = {.a = a, .data = bytes, .at = head};
    size_t table = number(&d);
    if (d.bad || table < d.at || table >= bytes.len)
        return false;
    d.data.len = table;
    d.table = (Str){bytes.ptr + table, bytes.len - table};
    GoIndex x = {.npackage = count(&d, 8)};
    x.packages = NEW_N(a, GoIndexPackage, x.npackage);
    size_t list = d.at;
    for (size_t i = 0; i < x.npackage && !d.bad; i++) {
        d.at = list + 8 * i + 4;
        d.at = number(&d);
        package(&d, &x.packages[i]);
    }
    *ret = x;
    return !d.bad;
}

/* ---- names of actions ---- */

static void add(Hasher *h, const char *s)
{
    hash_add(h, s, strlen(s));
}

/* What is in front of every action: the version, without the experiments the go command has. */
static void begin(Hasher *h, const char *version)
{
    const char *end = strstr(version, " X:");
    end = end ? end : strstr(version, "-X:");
    hash_init(h);
    hash_add(h, version, end ? (size_t)(end - version) : strlen(version));
}

static void add_version(Hasher *h, const char *version)
{
    add(h, version);
    add(h, " ");
    hash_add(h, FORMAT, sizeof FORMAT - 2);
    add(h, " ");
}

void go_index_module_id(const char *version, const char *root, Digest *ret)
{
    Hasher h;
    begin(&h, version);
    add(&h, "module index ");
    add_version(&h, version);
    add(&h, root);
    add(&h, "\n");
    hash_end(&h, ret);
}

/* As time.Time is printed where the zone is UTC: without the zeros at the end of a fraction. */
static void add_time(Hasher *h, const struct timespec *t)
{
    char line[96], fraction[16] = "";
    struct tm tm;
    if (!gmtime_r(&t->tv_sec, &tm))
        return;
    if (t->tv_nsec) {
        int n = snprintf(fraction, sizeof fraction, ".%09ld", t->tv_nsec);
        while (n > 0 && fraction[n - 1] == '0')
            fraction[--n] = 0;
    }
    (void)snprintf(line, sizeof line, "%04d-%02d-%02d %02d:%02d:%02d%s +0000 UTC",
                   tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   fraction);
    add(h, line);
}

void go_index_package_id(const char *version, const char *root, const char *dir,
                         const GoIndexStat *files, size_t n, Digest *ret)
{
    Hasher h;
    begin(&h, version);
    add(&h, "modroot ");
    add(&h, root);
    add(&h, "\npackage ");
    add_version(&h, version);
    add(&h, dir);
    add(&h, "\n");
    for (size_t i = 0; i < n; i++) {
        char size[32];
        add(&h, "file ");
        add(&h, files[i].name);
        add(&h, " ");
        add_time(&h, &files[i].mtime);
        (void)snprintf(size, sizeof size, " %" PRIu64 "\n", files[i].size);
        add(&h, size);
    }
    hash_end(&h, ret);
}
