/*
 * base/late.c - a list of descriptors.
 */
#include "base/late.h"

#include <linux/close_range.h>
#include <pthread.h>
#include <unistd.h>

/* More are closed at once. */
enum { LATE_MAX = 64 };

static struct {
    pthread_mutex_t lock;
    int fds[LATE_MAX];
    size_t n;
} late = {.lock = PTHREAD_MUTEX_INITIALIZER};

void late_close(int fd)
{
    pthread_mutex_lock(&late.lock);
    bool full = late.n == LATE_MAX;
    if (!full)
        late.fds[late.n++] = fd;
    pthread_mutex_unlock(&late.lock);
    if (full)
        (void)close(fd);
}

void late_close_now(void)
{
    pthread_mutex_lock(&late.lock);
    while (late.n)
        (void)close(late.fds[--late.n]);
    pthread_mutex_unlock(&late.lock);
}

/* The least descriptor of the list that is not less than `first`; -1: there is none. */
static int next(int first)
{
    int found = -1;
    for (size_t i = 0; i < late.n; i++)
        if (late.fds[i] >= first && (found < 0 || late.fds[i] < found))
            found = late.fds[i];
    return found;
}

void late_close_others(int first)
{
    for (int at = next(first); at >= 0; at = next(first)) {
        if (at > first)
            (void)close_range((unsigned)first, (unsigned)at - 1, 0);
        first = at + 1;
    }
    (void)close_range((unsigned)first, ~0U, 0);
}
