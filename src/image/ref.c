/*
 * image/ref.c - parse image names by docker's grammar and write them in three forms.
 */
#include "image/ref.h"

#include <string.h>

#include "base/str.h"

#define DEFAULT_DOMAIN "docker.io"
#define LEGACY_DOMAIN "index.docker.io"
#define OFFICIAL_PREFIX "library/"

enum { PATH_MAX_BYTES = 255, TAG_MAX_BYTES = 128, DIGEST_HEX_MIN = 32 };

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define ALNUM DIGITS LOWER UPPER

/* The digests that can be checked; others are refused as docker refuses them. */
static const struct DigestKind {
    const char *prefix;
    size_t nhex;
} DIGEST_KINDS[] = {
    {"sha256:", 64},
    {"sha384:", 96},
    {"sha512:", 128},
};

static bool has_upper(const char *s)
{
    return strpbrk(s, UPPER) != NULL;
}

/* domain-name = label *("." label); a label has letters, digits and inner dashes. */
static const char *skip_host_name(const char *p)
{
    for (;;) {
        size_t n = strspn(p, ALNUM "-");
        if (n == 0 || p[0] == '-' || p[n - 1] == '-')
            return NULL;
        p += n;
        if (*p != '.')
            return p;
        p++;
    }
}

/* "[" hex and colons "]"; docker looks no closer either. */
static const char *skip_ipv6(const char *p)
{
    size_t n = strspn(p + 1, DIGITS "abcdefABCDEF:");
    return n && p[1 + n] == ']' ? p + n + 2 : NULL;
}

static bool domain_valid(const char *domain)
{
    const char *p = domain[0] == '[' ? skip_ipv6(domain) : skip_host_name(domain);

    if (p && *p == ':') {
        size_t n = strspn(p + 1, DIGITS);
        p = n ? p + 1 + n : NULL;
    }
    return p && !*p;
}

/* A path is components between '/', a component is alphanumerics between separators. */
static bool path_valid(const char *p)
{
    for (;;) {
        size_t n = strspn(p, DIGITS LOWER);
        if (n == 0)
            return false;
        p += n;
        if (!*p)
            return true;
        if (*p == '/' || *p == '.')
            p++;
        else if (*p == '_')
            p += p[1] == '_' ? 2 : 1;
        else if (*p == '-')
            p += strspn(p, "-");
        else
            return false;
    }
}

static bool tag_valid(const char *tag)
{
    size_t n = strspn(tag, ALNUM "_.-");
    return n > 0 && n <= TAG_MAX_BYTES && !tag[n] && tag[0] != '.' && tag[0] != '-';
}

/* algorithm ":" hex, where an algorithm is words (a letter first) between single separators. */
static bool digest_shaped(const char *p)
{
    for (;;) {
        size_t n = strspn(p, ALNUM);
        if (n == 0 || strspn(p, DIGITS) > 0)
            return false;
        p += n;
        if (*p == ':')
            break;
        if (!*p || !strchr("-_+.", *p))
            return false;
        p++;
    }
    size_t n = strspn(p + 1, DIGITS "abcdefABCDEF");
    return n >= DIGEST_HEX_MIN && !p[1 + n];
}

static bool digest_valid(const char *digest, const char **ret_why)
{
    for (size_t i = 0; i < NELEM(DIGEST_KINDS); i++) {
        const struct DigestKind *k = &DIGEST_KINDS[i];
        if (!str_starts(digest, k->prefix))
            continue;
        const char *hex = digest + strlen(k->prefix);
        if (strlen(hex) != k->nhex)
            *ret_why = "invalid checksum digest length";
        else if (strspn(hex, DIGITS "abcdef") != k->nhex)
            *ret_why = "invalid checksum digest format";
        else
            return true;
        return false;
    }
    bool upper = strcspn(digest, UPPER) < strcspn(digest, ":");
    *ret_why = upper ? "invalid checksum digest format" : "unsupported digest algorithm";
    return false;
}

static bool is_domain(const char *first)
{
    return !strcmp(first, "localhost") || strpbrk(first, ".:") || has_upper(first);
}

/* Cut the text into domain and the rest, with docker.io and library/ where nothing else is said. */
static void split_domain(Arena *a, const char *text, const char **ret_domain, char **ret_rest)
{
    const char *slash = strchr(text, '/');
    const char *domain = DEFAULT_DOMAIN, *rest = text;

    if (slash) {
        const char *first = arena_strndup(a, text, (size_t)(slash - text));
        if (is_domain(first)) {
            domain = strcmp(first, LEGACY_DOMAIN) != 0 ? first : DEFAULT_DOMAIN;
            rest = slash + 1;
        }
    }
    bool official = !strcmp(domain, DEFAULT_DOMAIN) && !strchr(rest, '/');
    *ret_domain = domain;
    *ret_rest = arena_printf(a, "%s%s", official ? OFFICIAL_PREFIX : "", rest);
}

/* Cut `s` at the first `c`; NULL when there is none. */
static char *cut(char *s, char c)
{
    char *at = strchr(s, c);
    if (at)
        *at++ = 0;
    return at;
}

/* What is wrong with the parts, in docker's words; NULL when nothing is. */
static const char *complaint(const ImageRef *ref)
{
    const char *why = NULL;

    /* `My_Org/app`: only the capital made a domain of it. */
    if (!domain_valid(ref->domain) && !strpbrk(ref->domain, ".:") && has_upper(ref->domain))
        return "repository name must be lowercase";
    if (!domain_valid(ref->domain) || !path_valid(ref->path) ||
        (ref->tag && !tag_valid(ref->tag)) || (ref->digest && !digest_shaped(ref->digest)))
        return "invalid reference format";
    if (strlen(ref->path) > PATH_MAX_BYTES)
        return "repository name must not be more than 255 characters";
    if (ref->digest && !digest_valid(ref->digest, &why))
        return why;
    return NULL;
}

bool image_ref_parse(Arena *a, const char *text, ImageRef *ret, Err *e)
{
    ImageRef ref = {0};
    char *rest;

    /* 64 hex digits are an image id to docker; as a name they would only confuse. */
    if (strlen(text) == 64 && strspn(text, DIGITS "abcdef") == 64)
        return err_set(e, ERR_USAGE,
                       "invalid repository name (%s), cannot specify 64-byte hexadecimal strings",
                       text);

    split_domain(a, text, &ref.domain, &rest);
    const char *name = arena_strndup(a, rest, strcspn(rest, ":"));
    if (has_upper(name))
        return err_set(e, ERR_USAGE,
                       "image '%s': invalid reference format: "
                       "repository name (%s) must be lowercase",
                       text, name);
    ref.digest = cut(rest, '@');
    ref.tag = cut(rest, ':');
    ref.path = rest;

    const char *why = complaint(&ref);
    if (why)
        return err_set(e, ERR_USAGE, "image '%s': %s", text, why);
    *ret = ref;
    return true;
}

static char *with_suffixes(Arena *a, const char *name, const char *tag, const char *digest)
{
    return arena_printf(a, "%s%s%s%s%s", name, tag ? ":" : "", tag ? tag : "", digest ? "@" : "",
                        digest ? digest : "");
}

char *image_ref_full(Arena *a, const ImageRef *ref)
{
    return with_suffixes(a, arena_printf(a, "%s/%s", ref->domain, ref->path), ref->tag,
                         ref->digest);
}

char *image_ref_tagged(Arena *a, const ImageRef *ref)
{
    ImageRef tagged = *ref;
    if (!tagged.tag && !tagged.digest)
        tagged.tag = "latest";
    return image_ref_full(a, &tagged);
}

char *image_ref_familiar(Arena *a, const ImageRef *ref)
{
    const char *name = ref->path;

    if (strcmp(ref->domain, DEFAULT_DOMAIN) != 0)
        return image_ref_full(a, ref);
    if (str_starts(name, OFFICIAL_PREFIX) && !strchr(name + strlen(OFFICIAL_PREFIX), '/'))
        name += strlen(OFFICIAL_PREFIX);
    return with_suffixes(a, name, ref->tag, ref->digest);
}
