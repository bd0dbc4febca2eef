"""Each change of the store goes wrong once: whatever failed, nothing is wrong after it.

A library put before libc (faulty.c) counts the calls that change the store, and makes one of them fail, or all from
one on, or cuts a write in two, or kills the process there. A command may fail, and then says what it could not do;
the next ones find a store in order, and give the right image.

  LIGHTER_FAULTS  how many faults are made (default 100), or "all": each call, in each way
  LIGHTER_SEED    where the dice begin (default 1)
"""

import errno
import os
import random
import re
import subprocess

import pytest

from faulty import KILL, KILLED, ONCE, ONWARDS, TORN, Faulty
from harness import wait_for

FAULTS = os.environ.get("LIGHTER_FAULTS", "100")
SEED = os.environ.get("LIGHTER_SEED", "1")

WAYS = {
    "fails once, EIO": (ONCE, errno.EIO),
    "fails once, ENOSPC": (ONCE, errno.ENOSPC),
    "full from here on": (ONWARDS, errno.ENOSPC),
    "read-only from here on": (ONWARDS, errno.EROFS),
    "torn, then full": (TORN, errno.ENOSPC),
    "killed before": (KILL, 0),
    "killed after": (KILLED, 0),
}
# How a message ends: with the place, and libc's words for the error, or SQLite's.
NAMED = re.compile(r"['/][^:]*(:\d+)?: (write: |read: )?(Input/output error|No space left on device|Read-only file system|disk I/O error|"
                   r"database or disk is full|attempt to write a readonly database|unable to open database file)")
# What lies at the top of a store; `broken-` is a database that was set aside.
TOP = {"blobs", "builds", "gc.lock", "index", "index.json", "index.lock", "leases", "logs", "meta.db", "meta.db-shm", "meta.db-wal", "mounts",
       "oci-layout", "snapshots", "tmp", "turns", "uses"}


# ---- what is done while it goes wrong ------------------------------------------------------------

DOCKERFILE = """\
FROM busybox AS one
RUN --mount=type=cache,target=/c [ -e /c/whole ] || { echo made >/c/.new && mv /c/.new /c/whole; }; cat /c/whole >/d
COPY sub /sub/
FROM busybox
WORKDIR /work
COPY . .
COPY --from=one /d /sub/f /of/
RUN cat f >g; ln g h; rm -r /of; mkdir /of; echo x >/of/x
ADD <<END /doc
text
END
"""
FILES = {"f": "1\n", "sub/f": "2\n", "sub/g": ("3\n", 0o755)}


class Stores:
    """Stores as commands find them, made once and copied for each fault."""

    def __init__(self, lighter, base):
        self.lighter, self.base = lighter, base
        self.context = lighter.context(FILES)
        self.edited = lighter.context({**FILES, "f": "edited\n", "more": "4\n"})
        self.ready, self.want = {}, None
        self.keep("nothing")
        lighter.load(base)
        self.keep("a base")
        self.want = self.build(self.context).id
        lighter("tag", "app", "again")
        self.keep("a build")
        lighter.save("app", lighter.home / "app.tar")
        self.keep("a packed image")

    def build(self, context, **options):
        return self.lighter.build(context, "--epoch=content", dockerfile=DOCKERFILE, tag="app", **options)

    def settle(self):
        assert wait_for(lambda: not self.lighter.writers_out(), 30, 0.002)

    def keep(self, name):
        self.settle()
        self.ready[name] = self.lighter.place / f"kept {name}"
        if self.lighter.store.exists():
            self.copy(self.lighter.store, self.ready[name])

    def give(self, name):
        # What a killed process was the parent of may still be dying.
        assert wait_for(lambda: subprocess.run(["rm", "-rf", self.lighter.store], check=False).returncode == 0)
        if self.ready[name].exists():
            self.copy(self.ready[name], self.lighter.store)

    @staticmethod
    def copy(source, target):
        subprocess.run(["cp", "-a", source, target], check=True)


def commands(stores):
    """{name: (what the store holds before, words, stdin)}."""
    one, top = stores.lighter, stores.context
    mode = ["--isolation", one.isolation]
    build = ["build", *mode, "--epoch=content", "-t", "app", "-f", "-", top]
    return {
        "load": ("nothing", ["load", stores.base], None),
        "build": ("a base", build, DOCKERFILE),
        "build with output": ("a base", [*build, "-o", f"type=oci,dest={one.home / 'out.tar'}"], DOCKERFILE),
        "build of hits": ("a build", build, DOCKERFILE),
        "build of an edit": ("a build", [*build[:-1], stores.edited], DOCKERFILE),
        "build without cache": ("a packed image", [*build, "--no-cache", "--max-cache", "1"], DOCKERFILE),
        "save": ("a build", ["save", *mode, "-o", one.home / "saved.tar", "app"], None),
        "prune": ("a packed image", ["prune", "--all", "--force", *mode], None),
        "rmi": ("a packed image", ["rmi", *mode, "app", "again"], None),
        "check": ("a packed image", ["store", "check", "--repair", *mode], None),
    }


class Trial:
    def __init__(self, stores, faulty):
        self.stores, self.faulty, self.lighter = stores, faulty, stores.lighter
        self.commands = commands(stores)

    def do(self, name, at=0, how=0, number=0):
        """Run a command in which one call goes wrong; gives its result."""
        before, words, text = self.commands[name]
        self.stores.give(before)
        result = self.lighter(*words, input=text, code=None, timeout=30, env=self.faulty.env(at, how, number))
        self.stores.settle()
        return result

    def calls(self, name):
        result = self.do(name)
        assert result.code == 0, result
        return self.faulty.told()[0]

    def failed_well(self, result, way):
        if result.code == 0 or result.code == -9 and "killed" in way:
            return
        assert result.code in (1, 6, 7), "an exit code of its own"
        if "killed" not in way:
            assert NAMED.search(result.error), "the message names what went wrong"

    def whole_after(self):
        """The store is in order, and what is built next is right."""
        self.lighter.check()
        self.lighter.load(self.stores.base)
        built = self.stores.build(self.stores.context)
        assert built.id == self.stores.want, built
        self.lighter.check()
        assert self.lighter.damaged_blobs() == [] and self.lighter.leftovers() == []
        assert set(os.listdir(self.lighter.store)) <= TOP

    def __call__(self, name, at, way):
        """None: no such call was made; "" when all was well; else what was wrong."""
        try:
            result = self.do(name, at, *WAYS[way])
        except AssertionError as e:
            return f"---- {name}, call {at} {way}: {self.faulty.told()[1]}\n{e}"
        hit = self.faulty.told()[1]
        if not hit:  # threads take turns as they like, and the end may come earlier
            return None
        try:
            self.failed_well(result, way)
            self.whole_after()
            return ""
        except AssertionError as e:
            return f"---- {name}, call {at} {way}: {hit}\n{result!r}\n{e}"


@pytest.fixture(params=["root", "rootless", "single", "chroot"])
def trial(request, lighters, bases, place):
    stores = Stores(lighters(request.param), bases("busybox"))
    faulty = Faulty(place, stores.lighter)
    yield Trial(stores, faulty)
    faulty.close()


def plan(trial, dice):
    """Which faults are made: (command, call, way)."""
    calls = {name: trial.calls(name) for name in trial.commands}
    assert all(calls.values()), calls
    every = [(name, at, way) for name, n in calls.items() for at in range(1, n + 1) for way in WAYS]
    if FAULTS == "all":
        return every
    return [(name, dice.randint(1, calls[name]), way) for name, way in
            (dice.choice([(name, way) for name in calls for way in WAYS]) for _ in range(int(FAULTS) // 4))]


def test_whatever_fails_is_named_and_nothing_is_wrong_after_it(trial):
    dice = random.Random(f"{trial.lighter.isolation} {SEED}")
    faults = plan(trial, dice)
    said = [trial(*fault) for fault in faults]
    wrong = [text for text in said if text]
    print(f"\n{trial.lighter.isolation}: {len(faults) - said.count(None)} faults of {len(faults)}, {len(wrong)} with consequences")
    assert not wrong, "\n".join(wrong[:20])
    assert said.count(None) <= len(faults) * 0.1
