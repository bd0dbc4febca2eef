/*
 * plan/signal.c - names of signals.
 */
#include "plan/signal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A real-time signal: "RTMIN", "RTMIN+3", "RTMAX-14"; glibc keeps two for itself. */
static bool real_time(const char *s)
{
    bool max = !strncasecmp(s, "RTMAX", 5);
    if (!max && strncasecmp(s, "RTMIN", 5) != 0)
        return false;
    s += 5;
    if (!*s)
        return true;
    if (*s != (max ? '-' : '+') || !isdigit((unsigned char)s[1]) || s[1] == '0')
        return false;
    char *end;
    long n = strtol(s + 1, &end, 10);
    return !*end && end - s <= 3 && n <= (max ? 14 : 15);
}

bool signal_ok(const char *word)
{
    static const char *const NAMES[] = {"ABRT", "ALRM", "BUS",    "CHLD",  "CLD",  "CONT",   "FPE",
                                        "HUP",  "ILL",  "INT",    "IO",    "IOT",  "KILL",   "PIPE",
                                        "POLL", "PROF", "PWR",    "QUIT",  "SEGV", "STKFLT", "STOP",
                                        "SYS",  "TERM", "TRAP",   "TSTP",  "TTIN", "TTOU",   "URG",
                                        "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ"};
    const char *digits = word + (*word == '+' || *word == '-');
    if (*digits && !digits[strspn(digits, "0123456789")])
        return digits[strspn(digits, "0")] != 0 && strlen(digits) < 19;
    const char *name = strncasecmp(word, "SIG", 3) ? word : word + 3;
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (!strcasecmp(NAMES[i], name))
            return true;
    return real_time(name);
}
