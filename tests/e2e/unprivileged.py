#!/usr/bin/python3
"""Run a command as root of a container without privileges: unprivileged.py [-OPTION...] COMMAND...

Docker's default capabilities and nothing else, and a seccomp filter that refuses what its default
profile refuses to such a container: mounts and namespaces. The machine's files stay as they are.

  -userns    user namespaces may be made, with mounts in them (what CRI-O's profile allows)
  -nodev     no CAP_MKNOD, as in a pod that drops it
  -nochroot  no CAP_SYS_CHROOT
"""

import ctypes
import errno
import os
import platform
import struct
import sys

CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP = 0, 1, 3, 4, 5, 6, 7, 8
NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP = 10, 13, 18, 27, 29, 31
DEFAULT = {CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE,
           NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP}

ARCHS = {  # audit number; mount, umount2, pivot_root, unshare, setns, clone, keyctl
    "x86_64": (0xC000003E, [165, 166, 155, 250], [272, 308], 56),
    "aarch64": (0xC00000B7, [40, 39, 41, 219], [97, 268], 220),
}
NEW_MOUNTS = [428, 429, 430, 431, 432, 433, 442]  # open_tree ... fspick, mount_setattr
CLONE3 = 435
CLONE_NEW = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD, JEQ, JSET, RET = 0x20, 0x15, 0x45, 0x06

libc = ctypes.CDLL(None, use_errno=True)


def check(value, what):
    if value < 0:
        sys.exit(f"unprivileged.py: {what}: {os.strerror(ctypes.get_errno())}")


def program(userns):
    audit, refused, namespaces, clone = ARCHS[platform.machine()]
    refused = [] if userns else refused + NEW_MOUNTS + namespaces
    code = [(LOAD, 0, 0, 4), (JEQ, 1, 0, audit), (RET, 0, 0, RET_ALLOW), (LOAD, 0, 0, 0)]
    for nr in refused:
        code += [(JEQ, 0, 1, nr), (RET, 0, 0, RET_ERRNO | errno.EPERM)]
    code += [(JEQ, 0, 1, CLONE3), (RET, 0, 0, RET_ERRNO | errno.ENOSYS)]
    if not userns:
        code += [(JEQ, 0, 3, clone), (LOAD, 0, 0, 16), (JSET, 0, 1, CLONE_NEW),
                 (RET, 0, 0, RET_ERRNO | errno.EPERM)]
    code += [(RET, 0, 0, RET_ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in code), len(code)


def confine(options):
    text, n = program("-userns" in options)
    space = ctypes.create_string_buffer(text, len(text))
    prog = ctypes.create_string_buffer(struct.pack("@HP", n, ctypes.addressof(space)))
    check(libc.prctl(22, 2, prog, 0, 0), "seccomp")  # while CAP_SYS_ADMIN is there
    keep = DEFAULT - ({MKNOD} if "-nodev" in options else set()) \
        - ({SYS_CHROOT} if "-nochroot" in options else set())
    cap = 0
    while libc.prctl(23, cap, 0, 0, 0) >= 0:
        if cap not in keep:
            check(libc.prctl(24, cap, 0, 0, 0), f"drop capability {cap}")
        cap += 1
    mask = sum(1 << cap for cap in keep)
    head = struct.pack("=Ii", 0x20080522, 0)
    data = struct.pack("=IIIIII", mask, mask, 0, mask >> 32, mask >> 32, 0)
    check(libc.syscall({"x86_64": 126, "aarch64": 91}[platform.machine()], head, data), "capset")


def main():
    words = sys.argv[1:]
    options = []
    while words and words[0].startswith("-"):
        options.append(words.pop(0))
    confine(options)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
