/*
 * sandbox/user.c - "name", "7", "name:group" to numbers, by the image's own passwd and group.
 */
#include "sandbox/sandbox.h"

enum { MAX_FIELDS = 7 };

/* Split one line of passwd or group at colons. */
static size_t fields(char *line, char **f)
{
    size_t n = 0;
    for (char *p = line; n < MAX_FIELDS; n++) {
        f[n] = p;
        p = strchr(p, ':');
        if (!p)
            return n + 1;
        *p++ = 0;
    }
    return n;
}

static bool id_number(const char *s, uint32_t *ret)
{
    uint64_t v;
    if (!str_u64(s, UINT32_MAX - 1, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

/* The first entry of passwd that has this name, or (without name) this uid. */
static bool find_user(Arena *a, const char *passwd, const char *name, uint32_t uid, SandboxIds *ids,
                      char **ret_name)
{
    char *text = arena_strdup(a, passwd), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *f[MAX_FIELDS];
        uint32_t u, g;
        if (fields(line, f) < 4 || !id_number(f[2], &u) || !id_number(f[3], &g))
            continue;
        if (name ? strcmp(f[0], name) != 0 : u != uid)
            continue;
        ids->uid = u;
        ids->gid = g;
        *ret_name = f[0];
        char *again = arena_strdup(a, passwd);
        again += line - text; /* fields() cut the line; take home from an uncut copy */
        again[strcspn(again, "\n")] = 0;
        if (fields(again, f) >= 6 && *f[5])
            (void)snprintf(ids->home, sizeof ids->home, "%s", f[5]);
        return true;
    }
    return false;
}

static bool find_group(Arena *a, const char *group, const char *name, uint32_t *ret_gid)
{
    char *text = arena_strdup(a, group), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *f[MAX_FIELDS];
        if (fields(line, f) >= 3 && !strcmp(f[0], name) && id_number(f[2], ret_gid))
            return true;
    }
    return false;
}

static void add_group(SandboxIds *ids, uint32_t gid)
{
    if (gid == ids->gid || ids->ngroup >= NELEM(ids->groups))
        return;
    for (size_t i = 0; i < ids->ngroup; i++)
        if (ids->groups[i] == gid)
            return;
    ids->groups[ids->ngroup++] = gid;
}

/* Groups that list `name` as a member. */
static void member_groups(Arena *a, const char *group, const char *name, SandboxIds *ids)
{
    char *text = arena_strdup(a, group), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *f[MAX_FIELDS], *more = NULL;
        uint32_t gid;
        if (fields(line, f) < 4 || !id_number(f[2], &gid))
            continue;
        for (char *m = strtok_r(f[3], ",", &more); m; m = strtok_r(NULL, ",", &more))
            if (!strcmp(m, name))
                add_group(ids, gid);
    }
}

bool sandbox_user_ids(const char *user, const char *passwd, const char *group, SandboxIds *ret,
                      Err *e)
{
    scoped(arena) Arena a = {0};
    SandboxIds ids = {.home = "/"};
    char *name = NULL;
    const char *colon = strchr(user, ':');
    char *who = arena_strndup(&a, user, colon ? (size_t)(colon - user) : strlen(user));
    const char *grp = colon ? colon + 1 : "";

    if (!*who)
        who = "0";
    bool found = find_user(&a, passwd, who, 0, &ids, &name);
    if (!found) {
        uint32_t uid;
        if (!id_number(who, &uid))
            return err_set(e, ERR_STEP, "user '%s' is not in the image's /etc/passwd", who);
        found = find_user(&a, passwd, NULL, uid, &ids, &name);
        ids.uid = uid;
    }
    if (*grp) {
        if (!find_group(&a, group, grp, &ids.gid) && !id_number(grp, &ids.gid))
            return err_set(e, ERR_STEP, "group '%s' is not in the image's /etc/group", grp);
    } else if (found) {
        /* docker adds a user's other groups only where no group was asked for */
        member_groups(&a, group, name, &ids);
    }
    if (!found && ids.uid == 0)
        (void)snprintf(ids.home, sizeof ids.home, "/root");
    *ret = ids;
    return true;
}

bool sandbox_new_owner(const char *user, const char *passwd, const char *group, uint32_t *ret_uid,
                       uint32_t *ret_gid)
{
    scoped(arena) Arena a = {0};
    SandboxIds ids = {0};
    char *name;
    size_t n = strcspn(user, ":");
    char *who = arena_strndup(&a, user, n);
    const char *grp = user[n] ? user + n + 1 : "";
    bool known = id_number(who, &ids.uid);
    if (known)
        ids.gid = ids.uid;
    else
        known = find_user(&a, passwd, who, 0, &ids, &name);
    if (*grp && !id_number(grp, &ids.gid) && !find_group(&a, group, grp, &ids.gid)) {
        ids.gid = 0;
        known = false;
    }
    *ret_uid = ids.uid;
    *ret_gid = ids.gid;
    return known;
}
