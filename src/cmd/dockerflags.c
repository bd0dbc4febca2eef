/*
 * cmd/dockerflags.c - values of docker's flags that are what lighter does anyway.
 */
#include "cmd/dockerflags.h"

#include "base/csv.h"

static bool no_attestation(Err *e, const char *flag, const char *value)
{
    return err_set(e, ERR_USAGE,
                   "--%s=%s is not supported: no attestations are made; leave it out, or say "
                   "--%s=false",
                   flag, value, flag);
}

/* "false", "disabled=true", "mode=..." as buildx reads them. */
static bool turned_off(Arena *a, const char *value, bool *ret, Err *e)
{
    StrList fields;
    bool yes;
    *ret = false;
    if (str_bool(value, &yes)) {
        *ret = !yes;
        return true;
    }
    if (!csv_fields(a, value, &fields, e))
        return false;
    for (size_t i = 0; i < fields.n; i++)
        if (str_starts(fields.v[i], "disabled=") && str_bool(fields.v[i] + 9, &yes))
            *ret = yes;
    return true;
}

static bool check(Arena *a, const char *flag, const char *value, Err *e)
{
    bool off;
    if (!value)
        return true;
    if (!turned_off(a, value, &off, e))
        return err_wrap(e, "--%s", flag);
    return off || no_attestation(e, flag, value);
}

bool docker_flags_check(Arena *a, const DockerFlags *f, Err *e)
{
    if (f->keep_failed)
        return err_set(e, ERR_USAGE,
                       "--rm=false is not supported: steps leave no containers; --on-error=shell "
                       "opens a shell where a command failed");
    if (f->check_trust)
        return err_set(e, ERR_USAGE,
                       "--disable-content-trust=false is not supported: lighter knows no Notary; "
                       "name bases by digest to be sure of them");
    for (size_t i = 0; i < f->attests.n; i++) {
        bool off;
        if (!turned_off(a, f->attests.v[i], &off, e))
            return err_wrap(e, "--attest");
        if (!off)
            return err_set(e, ERR_USAGE,
                           "--attest %s is not supported: no attestations are made; leave it out, "
                           "or say disabled=true",
                           f->attests.v[i]);
    }
    return check(a, "provenance", f->provenance, e) && check(a, "sbom", f->sbom, e);
}
