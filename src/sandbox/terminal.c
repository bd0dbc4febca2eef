/*
 * sandbox/terminal.c - between two terminals.
 */
#include "sandbox/terminal.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "base/fs.h"

/* Not in the headers of Debian 12's libc where _XOPEN_SOURCE says otherwise. */
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static void copy_size(int master)
{
    struct winsize w;
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0)
        (void)ioctl(master, TIOCSWINSZ, &w);
}

int terminal_open(int *ret_master, int *ret_slave)
{
    int unlocked = 0;
    scoped(fd) int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        return -1;
    /* By the other side's descriptor, for its name belongs to a devpts that may not be mounted. */
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -1;
    copy_size(master);
    *ret_slave = slave;
    *ret_master = fd_take(&master);
    return 0;
}

static volatile sig_atomic_t resized;

static void on_resize(int sig)
{
    (void)sig;
    resized = 1;
}

void terminal_begin(Terminal *t, int master, bool input)
{
    struct termios raw;
    struct sigaction act = {.sa_handler = on_resize};
    t->master = master;
    t->input = input;
    (void)sigaction(SIGWINCH, &act, NULL);
    copy_size(master);
    (void)fcntl(master, F_SETFL, O_NONBLOCK);
    if (!input || tcgetattr(STDIN_FILENO, &t->before) < 0)
        return;
    raw = t->before;
    cfmakeraw(&raw);
    t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void terminal_poll(const Terminal *t, struct pollfd p[static TERMINAL_POLL])
{
    bool reads = t->master >= 0 && t->input && !t->ended && !t->n;
    p[0] = (struct pollfd){t->master, (short)(POLLIN | (t->n ? POLLOUT : 0)), 0};
    p[1] = (struct pollfd){reads ? STDIN_FILENO : -1, POLLIN, 0};
}

/* False when the command's side is closed for good. */
static bool print(const Terminal *t)
{
    char block[16 << 10];
    Err ignored = ERR_INIT;
    ssize_t n = read(t->master, block, sizeof block);
    if (n > 0)
        (void)!fs_write_all(STDOUT_FILENO, block, (size_t)n, &ignored);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void type(Terminal *t)
{
    ssize_t n = write(t->master, t->typed + t->start, t->n);
    if (n > 0) {
        t->start += (size_t)n;
        t->n -= (size_t)n;
    }
}

static void listen_to(Terminal *t)
{
    ssize_t n = read(STDIN_FILENO, t->typed, sizeof t->typed);
    t->start = 0;
    t->n = n > 0 ? (size_t)n : 0;
    t->ended = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

void terminal_step(Terminal *t, const struct pollfd p[static TERMINAL_POLL])
{
    if (t->master < 0)
        return;
    if (resized) {
        resized = 0;
        copy_size(t->master);
    }
    if (p[1].fd >= 0 && p[1].revents)
        listen_to(t);
    if (t->n)
        type(t);
    if (p[0].revents && !print(t)) {
        close(t->master);
        t->master = -1;
    }
}

void terminal_done(Terminal *t)
{
    if (t->raw)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
    t->raw = false;
    if (t->master < 0)
        return;
    while (print(t) && errno != EAGAIN)
        errno = 0;
    close(t->master);
    t->master = -1;
}
