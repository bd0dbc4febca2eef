/*
 * go/version.c - versions of modules and of Go: read, compared, made canonical.
 */
#include "go/module.h"

#include "go/unicode.h"

static const char INCOMPATIBLE[] = "+incompatible";

/* A semantic version taken apart. Parts that were left out are empty. */
typedef struct Semver {
    Str major, minor, patch; /* digits without leading zeros */
    Str pre;                 /* with its "-" */
    Str build;               /* with its "+" */
    bool whole;              /* no part was left out */
} Semver;

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool ident_char(char c)
{
    return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

static size_t digits(const char *s)
{
    size_t n = 0;
    while (digit(s[n]))
        n++;
    return n;
}

/* A number at *s, which is moved behind it. */
static bool number(const char **s, Str *ret)
{
    size_t n = digits(*s);
    if (!n || (**s == '0' && n > 1))
        return false;
    *ret = (Str){*s, n};
    *s += n;
    return true;
}

/* "-" or "+" and identifiers between dots; those of a pre-release are no numbers with zeros. */
static bool identifiers(const char **s, bool pre, Str *ret)
{
    const char *at = *s;
    do {
        const char *id = ++at; /* behind the sign or dot */
        while (ident_char(*at))
            at++;
        size_t n = (size_t)(at - id);
        if (!n || (pre && n > 1 && *id == '0' && digits(id) >= n))
            return false;
    } while (*at == '.');
    *ret = (Str){*s, (size_t)(at - *s)};
    *s = at;
    return true;
}

static bool parse(const char *s, Semver *ret)
{
    static const Str ZERO = {"0", 1};
    Semver v = {.minor = ZERO, .patch = ZERO};
    if (*s++ != 'v' || !number(&s, &v.major))
        return false;
    if (*s == '.') {
        s++;
        if (!number(&s, &v.minor))
            return false;
        if (*s == '.') {
            s++;
            v.whole = true;
            if (!number(&s, &v.patch) || (*s == '-' && !identifiers(&s, true, &v.pre)) ||
                (*s == '+' && !identifiers(&s, false, &v.build)))
                return false;
        }
    }
    if (*s)
        return false;
    *ret = v;
    return true;
}

bool go_version_valid(const char *v)
{
    Semver ignored;
    return parse(v, &ignored);
}

/* Without leading zeros, the longer number is the greater. */
static int compare_number(Str a, Str b)
{
    return a.len != b.len ? (a.len > b.len) - (a.len < b.len) : str_order(a, b);
}

static Str next_ident(Str *s)
{
    const char *dot = memchr(s->ptr, '.', s->len);
    Str id = {s->ptr, dot ? (size_t)(dot - s->ptr) : s->len};
    size_t used = id.len + (dot != NULL);
    *s = (Str){s->ptr + used, s->len - used};
    return id;
}

static int compare_ident(Str a, Str b)
{
    bool na = digits(a.ptr) >= a.len, nb = digits(b.ptr) >= b.len;
    if (na != nb) /* numbers come before words */
        return na ? -1 : 1;
    return na ? compare_number(a, b) : str_order(a, b);
}

static int compare_pre(Str a, Str b)
{
    if (!a.len || !b.len) /* a release comes after its pre-releases */
        return !a.len - !b.len;
    a = (Str){a.ptr + 1, a.len - 1};
    b = (Str){b.ptr + 1, b.len - 1};
    while (a.len && b.len) {
        int c = compare_ident(next_ident(&a), next_ident(&b));
        if (c)
            return c;
    }
    return (a.len > 0) - (b.len > 0);
}

int go_version_compare(const char *v, const char *w)
{
    Semver a, b;
    bool va = parse(v, &a), vb = parse(w, &b);
    if (!va || !vb)
        return va - vb;
    int c = compare_number(a.major, b.major);
    if (!c)
        c = compare_number(a.minor, b.minor);
    if (!c)
        c = compare_number(a.patch, b.patch);
    return c ? c : compare_pre(a.pre, b.pre);
}

const char *go_version_canonical(Arena *a, const char *v)
{
    Semver s;
    if (!parse(v, &s))
        return NULL;
    bool keep = str_eq(s.build, INCOMPATIBLE);
    return arena_printf(a, "v%.*s.%.*s.%.*s%.*s%s", (int)s.major.len, s.major.ptr, (int)s.minor.len,
                        s.minor.ptr, (int)s.patch.len, s.patch.ptr, (int)s.pre.len,
                        s.pre.len ? s.pre.ptr : "", keep ? INCOMPATIBLE : "");
}

bool go_version_is_canonical(const char *v)
{
    Semver s;
    return parse(v, &s) && s.whole && (!s.build.len || str_eq(s.build, INCOMPATIBLE));
}

bool go_version_is_incompatible(const char *v)
{
    Semver s;
    return parse(v, &s) && str_eq(s.build, INCOMPATIBLE);
}

/* "20060102150405-abcdef123456", all of `s` */
static bool is_commit(Str s)
{
    enum { STAMP = 14 };
    if (s.len < STAMP + 2 || digits(s.ptr) != STAMP || s.ptr[STAMP] != '-')
        return false;
    for (size_t i = STAMP + 1; i < s.len; i++)
        if (s.ptr[i] == '-' || !ident_char(s.ptr[i]))
            return false;
    return true;
}

bool go_version_is_pseudo(const char *v)
{
    Semver s;
    if (!parse(v, &s) || s.pre.len < 2)
        return false;
    /* No tag before the commit: vX.0.0-STAMP-HASH. */
    Str whole = {s.pre.ptr + 1, s.pre.len - 1};
    if (str_eq(s.minor, "0") && str_eq(s.patch, "0") && is_commit(whole))
        return true;
    /* A release before it: vX.Y.Z-0.STAMP-HASH; a pre-release: vX.Y.Z-pre.0.STAMP-HASH. */
    for (size_t i = 0; i + 2 < whole.len; i++) {
        bool zero =
            whole.ptr[i] == '0' && whole.ptr[i + 1] == '.' && (!i || whole.ptr[i - 1] == '.');
        if (zero && is_commit((Str){whole.ptr + i + 2, whole.len - i - 2}))
            return true;
    }
    return false;
}

bool go_version_fits(const char *v, const char *major)
{
    Semver s;
    bool valid = parse(v, &s);
    size_t n = strlen(major);
    if (n > 9 && major[0] == '.' && str_ends(major, "-unstable"))
        n -= 9;
    /* gopkg.in/check.v1 was required as v0.0.0-... by the first go commands that knew modules. */
    if (str_starts(v, "v0.0.0-") && n == 3 && !strncmp(major, ".v1", 3))
        return true;
    if (!n)
        return valid &&
               (str_eq(s.major, "0") || str_eq(s.major, "1") || str_eq(s.build, INCOMPATIBLE));
    return valid && n >= 2 && s.major.len == n - 2 && !memcmp(s.major.ptr, major + 2, n - 2);
}

bool go_module_check(const GoModule *m, Err *e)
{
    const char *major;
    char shown[GO_SHOWN_SIZE];
    if (!go_path_check(m->path, e))
        return false;
    go_shown_into(shown, str_c(m->version));
    if (!go_version_valid(m->version))
        return err_set(e, ERR_DOCKERFILE, "%s: '%s' is no semantic version", m->path, shown);
    if (!go_path_major(m->path, &major) || !go_version_fits(m->version, major))
        return err_set(e, ERR_DOCKERFILE,
                       "%s: version '%s' is not of the major version that the path names", m->path,
                       shown);
    return true;
}

/* ---- versions of Go ---- */

typedef struct Release {
    Str major, minor, patch;
    Str kind; /* "rc" of 1.21rc2 */
    Str pre;  /* "2" of 1.21rc2 */
} Release;

static bool parse_release(const char *s, Release *ret)
{
    static const Str ZERO = {"0", 1}, FIRST_WITH_ZERO = {"21", 2};
    Release r = {{0}, {0}, {0}, {"", 0}, {0}};
    if (!number(&s, &r.major))
        return false;
    if (!*s)
        r.minor = r.patch = ZERO;
    else if (*s++ != '.' || !number(&s, &r.minor))
        return false;
    else if (!*s && compare_number(r.minor, FIRST_WITH_ZERO) < 0)
        r.patch = ZERO; /* before 1.21 the first release had no ".0" */
    else if (*s == '.') {
        s++;
        if (!number(&s, &r.patch))
            return false;
    } else if (*s) {
        size_t n = 0;
        while (s[n] >= 'a' && s[n] <= 'z')
            n++;
        r.kind = (Str){s, n};
        s += n;
        if (!n || (*s && !number(&s, &r.pre)))
            return false;
    }
    if (*s)
        return false;
    *ret = r;
    return true;
}

bool go_release_valid(const char *v)
{
    Release ignored;
    return parse_release(v, &ignored);
}

int go_release_compare(const char *v, const char *w)
{
    Release a, b;
    bool va = parse_release(v, &a), vb = parse_release(w, &b);
    if (!va || !vb)
        return va - vb;
    int c = compare_number(a.major, b.major);
    if (!c)
        c = compare_number(a.minor, b.minor);
    if (!c)
        c = compare_number(a.patch, b.patch);
    if (!c)
        c = str_order(a.kind, b.kind);
    return c ? c : compare_number(a.pre, b.pre);
}
