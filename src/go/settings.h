/*
 * go/settings.h - what a go command would take for its settings, and where it would ask.
 *
 * Part of the door. The texts come from the caller: the environment of a step, the file that
 * `go env -w` wrote in its root, and go.env beside its toolchain.
 */
#ifndef GO_SETTINGS_H
#define GO_SETTINGS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/*
 * go_caller_env - GOPROXY, GOSUMDB, GOPRIVATE, GONOPROXY and GONOSUMDB as the caller set them,
 * NAME=VALUE.
 *
 * The environment first, then the user's go/env file, as `go env` reads them; what is set in
 * neither is left out, so that the step's own default holds. Source: `go help environment`.
 */
StrList go_caller_env(Arena *a);

typedef enum GoEnvFile {
    GO_ENV_USER,   /* what `go env -w` wrote; of two settings the last holds */
    GO_ENV_GOROOT, /* go.env of a toolchain; of two settings the first holds */
} GoEnvFile;

/*
 * go_env_text - the settings in the text of a file, NAME=VALUE. Lines that set nothing are passed
 * over, as the go command does. Source: Go, cmd/go/internal/cfg, readEnvFile.
 */
StrList go_env_text(Arena *a, GoEnvFile file, Str text);

/*
 * go_env_path - where the go command looks for what `go env -w` wrote: a path, in the arena; NULL
 * when it looks nowhere (GOENV=off, or no home).
 *
 *   env  the environment of the process that would run it
 */
const char *go_env_path(Arena *a, const StrList *env);

/* The settings of one go command. Texts are never NULL unless it is said. */
typedef struct GoSettings {
    const char *goproxy, *gosumdb; /* with the defaults that are built in */
    const char *goprivate, *gonoproxy, *gonosumdb, *goinsecure; /* patterns for go_path_private() */
    const char *goflags, *gotoolchain;
    const char *gomodcache; /* an absolute path; NULL: there is none, and go fails */
    const char *gocache;    /* an absolute path or "off"; NULL: there is none, and go fails */
} GoSettings;

/*
 * go_settings - what holds: the environment, else the user's file, else GOROOT's, else defaults.
 *
 *   env     the environment of the step
 *   user    what go_env_text() made of the file that go_env_path() names; empty for none
 *   goroot  the same of GOROOT/go.env
 */
void go_settings(Arena *a, const StrList *env, const StrList *user, const StrList *goroot,
                 GoSettings *ret);

/*
 * go_uses_sumdb - would the go command look up a module that go.sum does not list in the checksum
 * database? Toolchains always, but for a GOPROXY of one directory.
 * Source: Go, cmd/go/internal/modfetch, useSumDB.
 */
bool go_uses_sumdb(const GoSettings *s, const char *path);

/*
 * go_is_private - is anything said of this module that makes it none for everybody? Then it must
 * not reach a store that others read.
 */
bool go_is_private(const GoSettings *s, const char *path);

/* ---- GOPROXY ---- */

typedef enum GoProxyKind {
    GO_PROXY_HTTP,   /* http or https */
    GO_PROXY_FILE,   /* file:///...: a directory like cache/download of a module cache */
    GO_PROXY_DIRECT, /* version control; ends the list */
    GO_PROXY_OFF,    /* nothing is asked; ends the list */
} GoProxyKind;

typedef struct GoProxy {
    GoProxyKind kind;
    const char *url; /* with its scheme; may hold a password: see go_proxy_shown */
    const char *dir; /* GO_PROXY_FILE: the directory; names below it are escaped, not encoded */
    bool any_error;  /* "|" follows: every failure leads to the next; else only 404 and 410 do */
    bool has_user;   /* user or password in the URL */
} GoProxy;

typedef struct GoProxyList {
    GoProxy *v; /* at least one */
    size_t n;
} GoProxyList;

/*
 * go_proxy_list - read a GOPROXY setting.
 *
 * Fails with ERR_USAGE where the go command fails: an empty list, a scheme other than http, https
 * and file, what is no URL, a file URL with more than a path.
 * Source: Go modules reference, "GOPROXY protocol"; Go, cmd/go/internal/modfetch, proxyList.
 */
NODISCARD bool go_proxy_list(Arena *a, const char *text, GoProxyList *ret, Err *e);

/* go_proxy_text - the same list as a setting again, in the arena. */
const char *go_proxy_text(Arena *a, const GoProxyList *l);

/* go_proxy_url - the URL of something below an http proxy: "<esc module>/@v/list", "sumdb/...". */
const char *go_proxy_url(Arena *a, const GoProxy *p, const char *path);

/*
 * go_proxy_goes_on - whether the next proxy is asked after this one answered with `status`; 0 when
 * it did not answer at all, or not what it should have.
 */
bool go_proxy_goes_on(const GoProxy *p, int status);

/* go_proxy_shown - the URL as messages may show it: no password. In the arena. */
const char *go_proxy_shown(Arena *a, const GoProxy *p);

#endif
