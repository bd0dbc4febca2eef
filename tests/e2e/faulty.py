"""faulty.c: the library in which calls that change a store go wrong."""

import mmap
import shutil
import struct
import subprocess
import uuid

import pytest

from harness import REPO

# The numbers are faulty.c's.
ONCE, ONWARDS, TORN, KILL, KILLED, SYNCS = range(1, 7)


def compiled(place):
    """The library, made once a session in `place`."""
    target = place / "faulty.so"
    if not target.exists():
        compiler = shutil.which("cc") or pytest.skip("cc is missing")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", target, REPO / "tests/e2e/faulty.c", "-ldl"],
                       check=True)
        target.chmod(0o755)
    return target


class Faulty:
    """What the library is told, and what it tells."""
    HEAD = struct.Struct("IIIiII")

    def __init__(self, place, lighter, boots=False):
        self.library, self.lighter = compiled(place), lighter
        self.path, self.boot = lighter.place / "faulty", lighter.place / "boot"
        self.path.write_bytes(bytes(512))
        self.path.chmod(0o666)
        with open(self.path, "r+b") as f:
            self.state = mmap.mmap(f.fileno(), 512)
        self.boots = boots
        if boots:
            self.restart()

    def env(self, at=0, how=0, number=0):
        """What a command has to have in its environment: call `at` goes wrong; 0: none does."""
        self.state[:] = self.HEAD.pack(0, at, how, number, 0, self.log_synced()).ljust(512, b"\0")
        said = {"LD_PRELOAD": str(self.library), "FAULTY_STATE": str(self.path), "FAULTY_STORE": str(self.lighter.store)}
        return {**said, "FAULTY_BOOT": str(self.boot)} if self.boots else said

    def restart(self):
        """From now on the machine seems to have been started anew: with `boots`, all commands must have the environment."""
        self.boot.write_text(str(uuid.uuid4()) + "\n")
        self.boot.chmod(0o644)

    def told(self):
        """(how many calls there were, the one that was hit or None)."""
        count, _, _, _, fired, _ = self.HEAD.unpack(self.state[:self.HEAD.size])
        return count, self.state[self.HEAD.size:].split(b"\0")[0].decode() if fired else None

    def log_synced(self):
        """How much of the database's log was on the disk when it was synced last."""
        return self.HEAD.unpack(self.state[:self.HEAD.size])[-1]

    def close(self):
        self.state.close()
