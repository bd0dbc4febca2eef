/*
 * base/cancel.c - signals to an eventfd.
 */
#include "base/cancel.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int fd = -1;
static volatile sig_atomic_t came;
static atomic_bool wanted;

static void on_signal(int sig)
{
    int saved = errno;
    uint64_t one = 1;
    came = sig;
    atomic_store(&wanted, true);
    (void)!write(fd, &one, sizeof one);
    errno = saved;
}

void cancel_install(void)
{
    static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa;
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    for (size_t i = 0; fd >= 0 && i < NELEM(SIGNALS); i++)
        sigaction(SIGNALS[i], &sa, NULL);
}

void cancel_raise(void)
{
    uint64_t one = 1;
    atomic_store(&wanted, true);
    if (fd >= 0)
        (void)!write(fd, &one, sizeof one);
}

void cancel_clear(void)
{
    uint64_t count;
    atomic_store(&wanted, came != 0);
    if (fd >= 0 && !came)
        (void)!read(fd, &count, sizeof count);
}

bool cancel_wanted(void)
{
    return atomic_load(&wanted);
}

int cancel_fd(void)
{
    return fd;
}

int cancel_signal(void)
{
    return came;
}
