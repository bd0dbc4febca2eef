/*
 * image/platform.c - which image of an index a machine takes.
 */
#include <ctype.h>
#include <stdlib.h>

#include "image/image.h"

Platform image_platform_host(void)
{
    /* Go's names, as containerd fills in the host: an arm's variant is what 64-bit names leave out.
     */
    const char *arch = image_arch();
    return (Platform){"linux", arch, !strcmp(arch, "arm") ? "v7" : ""};
}

/* Other names for what Go calls so. Source: containerd/platforms, normalizeArch. */
static void normalise(Platform *p)
{
    static const struct {
        const char *arch, *variant;
        Platform is;
    } NAMES[] = {
        {"i386", "", {"", "386", ""}},      {"x86_64", "", {"", "amd64", ""}},
        {"x86-64", "", {"", "amd64", ""}},  {"amd64", "v1", {"", "amd64", ""}},
        {"aarch64", "", {"", "arm64", ""}}, {"arm64", "8", {"", "arm64", ""}},
        {"arm64", "v8", {"", "arm64", ""}}, {"armhf", "", {"", "arm", "v7"}},
        {"armel", "", {"", "arm", "v6"}},   {"arm", "", {"", "arm", "v7"}},
        {"arm", "5", {"", "arm", "v5"}},    {"arm", "6", {"", "arm", "v6"}},
        {"arm", "7", {"", "arm", "v7"}},    {"arm", "8", {"", "arm", "v8"}},
    };
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (!strcmp(p->architecture, NAMES[i].arch) && !strcmp(p->variant, NAMES[i].variant)) {
            p->architecture = NAMES[i].is.architecture;
            p->variant = NAMES[i].is.variant;
            return;
        }
}

static bool is_word(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n && !s[n];
}

bool image_platform_parse(Arena *a, const char *text, Platform *ret, Err *e)
{
    char *parts[3] = {NULL, NULL, NULL}, *save = NULL, *copy = arena_strdup(a, text);
    size_t n = 0;
    bool good = *text && !strstr(text, "//") && text[strlen(text) - 1] != '/';
    for (char *p = strtok_r(copy, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
        good = good && n < NELEM(parts) && is_word(p);
        for (char *c = p; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        if (n < NELEM(parts))
            parts[n++] = p;
    }
    if (!good || n < 2)
        return err_set(e, ERR_USAGE,
                       "platform '%s': expected OS/ARCHITECTURE[/VARIANT], as linux/arm64", text);
    *ret = (Platform){parts[0], parts[1], parts[2] ? parts[2] : ""};
    normalise(ret);
    return true;
}

bool image_platform_runs(const Platform *p)
{
    const char *here = image_arch();
    if (!strcmp(p->architecture, here))
        return true;
    return (!strcmp(here, "amd64") && !strcmp(p->architecture, "386")) ||
           (!strcmp(here, "arm64") && !strcmp(p->architecture, "arm"));
}

char *image_platform_text(Arena *a, const Platform *p)
{
    return arena_printf(a, "%s/%s%s%s", p->os, p->architecture, *p->variant ? "/" : "", p->variant);
}

/* The number in a variant "v7"; 0 when it is none. */
static int version_of(const char *variant)
{
    return variant[0] == 'v' && isdigit((unsigned char)variant[1]) ? atoi(variant + 1) : 0;
}

/* How far an arm's variant is from the wanted one; -1: it cannot run there. */
static int arm_rank(int want, const Platform *have)
{
    int v = version_of(have->variant);
    return v && v <= want && v >= 5 ? want - v : -1;
}

/* 0: exactly it; the higher, the worse; -1: it cannot run there. */
static int rank(const Platform *want, const Platform *have)
{
    const char *arch = want->architecture;
    if (strcmp(want->os, have->os) != 0)
        return -1;
    bool same = !strcmp(arch, have->architecture);
    if (same && !strcmp(want->variant, have->variant))
        return 0;
    if (same && !strcmp(arch, "arm"))
        return arm_rank(version_of(want->variant), have);
    if (!strcmp(arch, "arm64") && !strcmp(have->architecture, "arm")) {
        int below = arm_rank(8, have);
        return below < 0 ? -1 : 1 + below;
    }
    if (!strcmp(arch, "amd64")) {
        int most = *want->variant ? version_of(want->variant) : 1,
            v = *have->variant ? version_of(have->variant) : 1;
        if (same)
            return v && v <= most ? most - v : -1;
        if (!strcmp(have->architecture, "386") && !*have->variant)
            return 50;
    }
    return -1;
}

bool image_platform_pick(const ImageIndex *x, const Platform *want, size_t *ret)
{
    enum { SAYS_NOTHING = 100 };
    int best = -1;
    for (size_t i = 0; i < x->nmanifest; i++) {
        const Descriptor *d = &x->manifests[i];
        Platform have = {d->os ? d->os : "", d->architecture ? d->architecture : "",
                         d->variant ? d->variant : ""};
        if (d->attestation)
            continue;
        normalise(&have);
        int r = d->os && d->architecture ? rank(want, &have) : SAYS_NOTHING;
        if (r < 0 || (best >= 0 && r >= best))
            continue;
        best = r;
        *ret = i;
    }
    return best >= 0;
}
