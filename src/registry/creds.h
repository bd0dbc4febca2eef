/*
 * registry/creds.h - who we are to a registry: users, passwords and tokens that docker's and
 * podman's files and helpers have. Private to the registry room.
 */
#ifndef REGISTRY_CREDS_H
#define REGISTRY_CREDS_H

#include <pthread.h>

#include "base/json.h"

/* What is sent as who. Strings are NULL where there is none; they live in the Creds' arena. */
typedef struct Cred {
    const char *user, *password;
    const char *identity_token; /* instead of both: given for tokens by grant_type=refresh_token */
    const char *from;           /* "'/root/.docker/config.json'", for messages */
} Cred;

/* One file of credentials. */
typedef struct AuthFile {
    const char *path;
    bool containers; /* podman's: names may be those of repositories, and the longest one counts */
    bool must_exist;
    bool loaded;
    json_t *json; /* NULL: there is none */
} AuthFile;

/* What was found for a host and a repository. */
typedef struct Found {
    const char *host, *repo;
    Cred cred;
} Found;

enum { AUTH_FILES = 6 };

/* All places, in their order, and what was found so far. Any thread may ask. */
typedef struct Creds {
    Arena arena;
    pthread_mutex_t lock;
    AuthFile files[AUTH_FILES];
    size_t nfile;
    Found *found;
    size_t nfound, found_cap;
    const Cred *only; /* whatever is asked for: a login that is being tried */
} Creds;

/*
 * creds_init - where credentials are looked for; nothing is read yet.
 *
 *   authfile  of --authfile, or NULL: the only place then beside what the environment holds
 */
void creds_init(Creds *c, const char *authfile);
void creds_done(Creds *c);

/*
 * creds_find - the credentials for a repository; `user` is NULL when there are none.
 *
 *   host  as a user writes it: "docker.io", "localhost:5000"
 *   repo  "library/alpine"; "" for the registry itself
 *
 * A helper program may be run, with ten seconds to answer. Fails with ERR_USAGE (a file that cannot
 * be read) or ERR_ENV (a helper); never shows a secret. Source: docker/cli, config/credentials;
 * containers-auth.json(5).
 */
NODISCARD bool creds_find(Creds *c, const char *host, const char *repo, Cred *ret, Err *e);

/* creds_only - from here on these are everybody's. */
void creds_only(Creds *c, const char *user, const char *password);

/* creds_key - what a host is called in docker's files: Docker Hub has its old URL. */
const char *creds_key(const char *host);
/* creds_same_host - whether a key of such a file, maybe an URL, means the host. */
bool creds_same_host(Arena *a, const char *key, const char *host);

/*
 * creds_in_file - what the "auths" of one file say; for the fuzzer, and for login to look.
 * Fails with ERR_USAGE when an entry cannot be read.
 */
NODISCARD bool creds_in_file(Arena *a, const json_t *file, bool containers, const char *host,
                             const char *repo, Cred *ret, bool *ret_found, Err *e);

/* base64_decode - the bytes, NUL-terminated in the arena; false for what is no base64. */
bool base64_decode(Arena *a, const char *text, char **ret, size_t *ret_n);
char *base64_encode(Arena *a, const void *bytes, size_t n);

/* ---- login and logout ---- */

/*
 * creds_file - the file that login writes: --authfile, REGISTRY_AUTH_FILE, or docker's own.
 */
const char *creds_file(Arena *a, const char *authfile);
/*
 * creds_store - keep credentials in the file, or with the helper it names for this host.
 *
 *   ret_helper  set to the helper's name, NULL: the password lies in the file in clear text
 *
 * Everything else in the file stays; it is 0600. Fails with ERR_USAGE or ERR_ENV.
 */
NODISCARD bool creds_store(Arena *a, const char *path, const char *host, const char *user,
                           const char *password, const char **ret_helper, Err *e);
/* creds_erase - the reverse. *ret_had is false when there was nothing. */
NODISCARD bool creds_erase(Arena *a, const char *path, const char *host, bool *ret_had, Err *e);
/* creds_all_files - the files that exist of those that are read, for logout. */
StrList creds_all_files(Arena *a, const char *authfile);

/* ---- helpers ---- */

/*
 * helper_run - run docker-credential-NAME with a verb.
 *
 *   ret_missing  set when it says that it has no credentials, which is no failure
 *
 * Fails with ERR_ENV: it is not there, fails or does not answer. Its words are shown for "get"
 * alone in so far as they are no JSON. Source: docker/docker-credential-helpers, the protocol.
 */
NODISCARD bool helper_run(Arena *a, const char *name, const char *verb, const char *input,
                          char **ret_output, bool *ret_missing, Err *e);
/* helper_get - the credentials it has for a server. */
NODISCARD bool helper_get(Arena *a, const char *name, const char *server, Cred *ret,
                          bool *ret_found, Err *e);

#endif
