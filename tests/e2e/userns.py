#!/usr/bin/python3
"""Run a command as root of a user namespace that somebody else made: userns.py [-masked] FIRST COMMAND...

That is what a pod with hostUsers: false and CAP_SYS_ADMIN has: 65,536 ids from FIRST on, all capabilities in them. Needs
root.

  -masked  parts of /proc are hidden, as a container's runtime hides them
"""

import ctypes
import os
import sys

NEWNS, NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE, MS_BIND = 16384, 1 << 18, 4096

libc = ctypes.CDLL(None, use_errno=True)


def check(value, what):
    if value < 0:
        sys.exit(f"userns.py: {what}: {os.strerror(ctypes.get_errno())}")


def mask():
    check(libc.unshare(NEWNS), "unshare")
    check(libc.mount(b"", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    check(libc.mount(b"/dev/null", b"/proc/timer_list", None, MS_BIND, None), "mask /proc/timer_list")
    check(libc.mount(b"tmpfs", b"/proc/acpi", b"tmpfs", 1, None), "mask /proc/acpi")


def main():
    words = sys.argv[1:]
    if words[0] == "-masked":
        words.pop(0)
        mask()
    first = words.pop(0)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        check(libc.unshare(NEWUSER), "unshare")
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.execvp(words[0], words)
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{name}", "w", encoding="ascii") as f:
            f.write(f"0 {first} 65536")
    os.write(done[1], b"x")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
