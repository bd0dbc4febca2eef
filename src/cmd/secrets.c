/*
 * cmd/secrets.c - the values of --secret.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>

#include "base/dump.h"
#include "base/fs.h"
#include "cmd/buildrun.h"

/* As docker limits one. */
enum { SECRET_MAX = 500 << 10 };

/* "id=ID[,src=FILE|,env=NAME]" */
typedef struct SecretSpec {
    const char *id, *src, *env;
    bool guessed; /* nothing but the ID was given */
} SecretSpec;

static bool parse(Build *b, const char *text, SecretSpec *ret)
{
    SecretSpec s = {0};
    const char *type = NULL;
    char *save = NULL;
    for (char *p = strtok_r(arena_strdup(b->arena, text), ",", &save); p;
         p = strtok_r(NULL, ",", &save)) {
        size_t n = strcspn(p, "=");
        const char *value = p[n] ? p + n + 1 : "";
        p[n] = 0;
        if (!strcasecmp(p, "id"))
            s.id = value;
        else if (!strcasecmp(p, "src") || !strcasecmp(p, "source"))
            s.src = value;
        else if (!strcasecmp(p, "env"))
            s.env = value;
        else if (!strcasecmp(p, "type"))
            type = value;
        else
            return err_set(b->e, ERR_USAGE,
                           "--secret %s: unexpected key '%s': expected id=ID[,src=FILE|,env=VAR]",
                           text, p);
    }
    if (!s.id || !*s.id)
        return err_set(b->e, ERR_USAGE, "--secret '%s': expected id=ID[,src=FILE|,env=VAR]", text);
    if ((s.src && !*s.src) || (s.env && !*s.env))
        return err_set(b->e, ERR_USAGE, "--secret %s: %s= without a name", text,
                       s.env ? "env" : "src");
    if (type && strcmp(type, "file") != 0 && strcmp(type, "env") != 0)
        return err_set(b->e, ERR_USAGE, "--secret %s: type '%s' is neither file nor env", text,
                       type);
    if (type && !strcmp(type, "env") && s.src && !s.env) {
        s.env = s.src; /* docker: with type=env the source is a variable */
        s.src = NULL;
    }
    if (!s.src && !s.env) { /* docker: a variable of that name, else a file of that name */
        s.env = getenv(s.id) ? s.id : NULL;
        s.src = s.env ? NULL : s.id;
        s.guessed = true;
    }
    *ret = s;
    return true;
}

static bool read_value(Build *b, const SecretSpec *s, Str *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    Err why = ERR_INIT;
    if (s->env) {
        const char *value = getenv(s->env);
        if (!value)
            return err_set(b->e, ERR_USAGE, "--secret id=%s: environment variable '%s' is not set",
                           s->id, s->env);
        *ret = str_c(arena_strdup(b->arena, value));
        return true;
    }
    if (!fs_read_file(AT_FDCWD, s->src, SECRET_MAX, &text, &why))
        return err_set(b->e, ERR_USAGE, "--secret id=%s: %s%s", s->id, why.msg,
                       s->guessed ? ", and no environment variable has this name: say where the "
                                    "value is with src=FILE or env=VAR"
                                  : "");
    char *copy = arena_alloc(b->arena, text.len + 1);
    memcpy(copy, buf_str(&text), text.len);
    *ret = (Str){copy, text.len};
    return true;
}

bool secrets_read(Build *b)
{
    const StrList *l = &b->opts->secrets;
    if (l->n)
        dump_forbid();
    StepSecret *v = NEW_N(b->arena, StepSecret, l->n + 1);
    for (size_t i = 0; i < l->n; i++) {
        SecretSpec s;
        if (!parse(b, l->v[i], &s) || !read_value(b, &s, &v[i].value))
            return false;
        v[i].id = s.id;
    }
    b->env.secrets = v;
    b->env.nsecret = l->n;
    return true;
}
