/*
 * cmd/dockerflags.h - flags of docker build that change nothing here, or only in one of their
 * values: accepted where what they ask for is what lighter does, refused where it is not. Private
 * to `lighter build`.
 */
#ifndef CMD_DOCKERFLAGS_H
#define CMD_DOCKERFLAGS_H

#include "base/opt.h"

typedef struct DockerFlags {
    const char *provenance, *sbom;
    StrList attests;
    bool keep_failed; /* --rm=false */
    bool force_rm, compress, debug;
    bool check_trust; /* --disable-content-trust=false */
} DockerFlags;

/* clang-format off */
/* Their rows in the table of a command whose options are a T with a DockerFlags `docker`. */
#define DOCKER_ROWS(T)                                                                             \
    {"provenance", 0, OPT_STRING, offsetof(T, docker.provenance), "false",                         \
     "accepted when it turns attestations off: none are made"},                                    \
    {"sbom", 0, OPT_STRING, offsetof(T, docker.sbom), "false", "the same"},                        \
    {"attest", 0, OPT_LIST, offsetof(T, docker.attests), "type=TYPE,disabled=true", "the same"},   \
    {"rm", 0, OPT_OFF, offsetof(T, docker.keep_failed), NULL,                                      \
     "nothing is left of a step but its result; =false is refused"},                               \
    {"force-rm", 0, OPT_BOOL, offsetof(T, docker.force_rm), NULL, "the same"},                     \
    {"compress", 0, OPT_BOOL, offsetof(T, docker.compress), NULL,                                  \
     "no context is sent anywhere, so there is nothing to compress"},                              \
    {"disable-content-trust", 0, OPT_OFF, offsetof(T, docker.check_trust), NULL,                   \
     "lighter knows no Notary; =false is refused"},                                                \
    {"debug", 'D', OPT_BOOL, offsetof(T, docker.debug), NULL,                                      \
     "messages already say all there is"},                                                         \
    {"builder", 0, OPT_REFUSED, 0, NULL, "lighter has no builders to choose from"},                \
    {"cache-from", 0, OPT_REFUSED, 0, NULL,                                                        \
     "caches of other machines are not read yet; the store keeps this machine's (LIGHTER_STORE "   \
     "on a volume lets jobs share one)"},                                                          \
    {"cache-to", 0, OPT_REFUSED, 0, NULL,                                                          \
     "caches are not written for other machines yet; the store keeps this machine's "              \
     "(LIGHTER_STORE on a volume lets jobs share one)"},                                           \
    {"call", 0, OPT_REFUSED, 0, NULL,                                                              \
     "'lighter dockerfile plan' tells what a build would do, and warns as a build does"},          \
    {"check", 0, OPT_REFUSED, 0, NULL,                                                             \
     "'lighter dockerfile plan' warns as a build does, and builds nothing"},                       \
    {"detach", 0, OPT_REFUSED, 0, NULL, "there is no server to leave a build to"},                 \
    {"invoke", 0, OPT_REFUSED, 0, NULL, "--on-error=shell opens a shell where a command failed"},  \
    {"policy", 0, OPT_REFUSED, 0, NULL, "policies of Rego are not read"},                          \
    {"print", 0, OPT_REFUSED, 0, NULL, "'lighter dockerfile plan' tells what a build would do"},   \
    {"resource", 0, OPT_REFUSED, 0, NULL, "-m, --cpus and the flags beside them limit commands"},  \
    {"root", 0, OPT_REFUSED, 0, NULL, "there is no server; LIGHTER_STORE says where the store is"},\
    {"security-opt", 0, OPT_REFUSED, 0, NULL,                                                      \
     "steps have docker's own limits; --allow security.insecure with RUN --security=insecure "     \
     "lifts them"},                                                                                \
    {"server-config", 0, OPT_REFUSED, 0, NULL, "there is no server to configure"}
/* clang-format on */

/* docker_flags_check - refuse the values that ask for what is not done. Fails with ERR_USAGE. */
NODISCARD bool docker_flags_check(Arena *a, const DockerFlags *f, Err *e);

#endif
