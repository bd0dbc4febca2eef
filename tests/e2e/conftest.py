"""Fixtures of the end-to-end tests.

They run as root and as an ordinary user. As root, an account with subordinate ids is made for the
rootless half and removed at the end; as an ordinary user, what needs root is skipped by name.

  LIGHTER        the binary to test (default build/lighter)
  LIGHTER_MODE   the mode of tests that ask for none: root, rootless or single (default: what the
                 runner can have)
"""

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import goproxy
from harness import (IS_ROOT, REPO, Account, Image, Lighter, one_at_a_time, remove, unmount)
from servers import Servers


# A shell has its background commands ignore this one, and what is ignored stays so in children.
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


# ---- workers -------------------------------------------------------------------------------------

# With pytest-xdist (-n 2 --dist loadfile) files run beside each other, in the order of their collection. These take
# minutes: begun last, one of them would run on alone.
LONGEST = ["test_go_cache.py", "test_mode_table.py", "test_go_modules.py", "test_chroot.py", "test_registry.py", "test_hostile_files.py",
           "test_limits.py", "test_corner_cases.py", "test_seed.py", "test_load.py", "test_together.py", "test_interop.py"]

NEWNS, MS_REC, MS_PRIVATE, MS_SHARED = 0x00020000, 16384, 1 << 18, 1 << 20


def pytest_configure(config):
    if hasattr(config, "workerinput") and IS_ROOT:
        see_own_mounts()


def see_own_mounts():
    """Tests look at the mounts of the machine before and after, so what another worker mounts must not be among them. They stay
    shared where they were, for a mount of lighter's that comes through to be seen. Who may not do this may not mount either."""
    libc, shared = ctypes.CDLL(None), " shared:" in Path("/proc/self/mountinfo").read_text()
    if libc.unshare(NEWNS) == 0:
        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        if shared:
            libc.mount(b"none", b"/", None, MS_REC | MS_SHARED, None)


def pytest_collection_modifyitems(items):
    order = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


# ---- the session's places ------------------------------------------------------------------------

@pytest.fixture(scope="session")
def place():
    """A directory that every user may enter, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="lighter-e2e-"))
    path.chmod(0o755)
    yield path
    remove(path)


@pytest.fixture(scope="session")
def binary(place):
    """A copy of the binary, so that a build beside the tests does not change it under them."""
    source = Path(os.environ.get("LIGHTER", REPO / "build" / "lighter")).absolute()
    assert source.is_file(), f"no binary '{source}': build it, or name one in LIGHTER"
    target = place / "lighter"
    shutil.copyfile(source, target)
    target.chmod(0o755)
    return target


# ---- bases ---------------------------------------------------------------------------------------

class Bases:
    """Base images by tools/bases, each made at most once and copied to where all users can read."""

    def __init__(self, place):
        self.place, self.known = place / "bases", {}
        self.place.mkdir()

    def __call__(self, name):
        if name not in self.known:
            self.known[name] = self._make(name)
        made = self.known[name]
        if isinstance(made, str):
            pytest.skip(made)
        return made

    def _make(self, name):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        there = (cache / "lighter" / "bases" / name).is_dir()
        if name == "golang-cgo" and not there and not shutil.which("mmdebstrap"):
            return "golang-cgo is not in the cache and mmdebstrap is missing"
        done = subprocess.run([sys.executable, str(REPO / "tools" / "bases"), name], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 3:
            return done.stderr.strip().splitlines()[-1]
        assert done.returncode == 0, done.stderr
        made = Path(done.stdout.splitlines()[-1].split()[1])
        copy = self.place / name
        shutil.copytree(made, copy)
        return copy


@pytest.fixture(scope="session")
def bases(place):
    return Bases(place)


@pytest.fixture(scope="session")
def busybox_program(bases):
    """The bytes of a static busybox, for images without anything else."""
    return Image(bases("busybox")).layers[0].read("bin/busybox")


# ---- Go ------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def go(module_lighters, bases):
    """A store with a golang base, of one file of tests. They use modules, contexts and databases of their own names."""
    return module_lighters(bases=[bases("golang")])


@pytest.fixture
def proxy():
    with goproxy.Proxy() as p:
        yield p


@pytest.fixture
def sumdb():
    """sumdb(*modules): a checksum database with a key of its own, for what a store remembers of one is no other's."""
    made = []

    def make(*modules):
        made.append(goproxy.SumDB(modules, goproxy.Key(f"sums{next(NUMBERS)}.example.test", b"seed of the tests")))
        return made[-1]

    yield make
    for one in made:
        one.close()


NUMBERS = itertools.count()


# ---- who runs lighter ----------------------------------------------------------------------------

@pytest.fixture(scope="session")
def account():
    """An ordinary user with subordinate ids; made for the session when root runs the tests."""
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is missing (apt-get install uidmap)")
    if not IS_ROOT:
        me = pwd.getpwuid(os.getuid())
        if not any(line.startswith((me.pw_name + ":", f"{me.pw_uid}:"))
                   for line in Path("/etc/subuid").read_text().splitlines()):
            pytest.skip(f"'{me.pw_name}' has no subordinate ids in /etc/subuid")
        yield None
        return
    if not shutil.which("useradd"):
        pytest.skip("useradd is missing")
    name, users = f"lighter-e2e-{os.getpid() % 100000}", Path(tempfile.gettempdir()) / "lighter-e2e-users"
    with one_at_a_time(users):  # useradd does not wait for another one
        subprocess.run(["useradd", "-M", "-d", "/nonexistent", "-s", "/bin/sh", name], check=True,
                       stderr=subprocess.DEVNULL)
    try:
        if not any(line.startswith(name + ":")
                   for line in Path("/etc/subuid").read_text().splitlines()):
            with one_at_a_time(users):
                subprocess.run(["usermod", "--add-subuids", "700000-765535", "--add-subgids",
                                "700000-765535", name], check=True)
        entry = pwd.getpwnam(name)
        yield Account(name, entry.pw_uid, entry.pw_gid)
    finally:
        with one_at_a_time(users):
            subprocess.run(["userdel", name], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def plain_account():
    """An ordinary user without subordinate ids, made for the session; whoever runs the tests is fine
    too, for mode single asks for none."""
    if not IS_ROOT:
        yield None
        return
    if not shutil.which("useradd"):
        pytest.skip("useradd is missing")
    name = f"lighter-one-{os.getpid() % 100000}"
    subprocess.run(["useradd", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", "-M", "-d",
                    "/nonexistent", "-s", "/bin/sh", name], check=True, stderr=subprocess.DEVNULL)
    try:
        entry = pwd.getpwnam(name)
        yield Account(name, entry.pw_uid, entry.pw_gid)
    finally:
        subprocess.run(["userdel", name], check=False, stderr=subprocess.DEVNULL)


class Lighters:
    """Makes Lighters, each with a place of its own, and clears those places away."""

    def __init__(self, binary, place, request):
        self.binary, self.place, self.request = binary, place, request
        self.made = []

    def __call__(self, mode=None, bases=()):
        """A fresh one: mode "root", "rootless", "single", or None for what the runner is."""
        mode = mode or os.environ.get("LIGHTER_MODE") or ("root" if IS_ROOT else "rootless")
        if mode == "root" and not IS_ROOT:
            pytest.skip("mode root needs root")
        whose = {"rootless": "account", "single": "plain_account"}.get(mode)
        who = self.request.getfixturevalue(whose) if whose else None
        top = Path(tempfile.mkdtemp(prefix=f"{mode}-", dir=self.place))
        top.chmod(0o755)
        if who:
            os.chown(top, who.uid, who.gid)
        one = Lighter(self.binary, top, who, mode)
        self.made.append(one)
        for base in bases:
            one.load(base)
        return one

    def clear(self):
        while self.made:
            remove(self.made.pop().place)


@pytest.fixture
def lighters(binary, place, request):
    """Called, it gives a fresh Lighter; all are cleared away after the test."""
    made = Lighters(binary, place, request)
    yield made
    made.clear()


@pytest.fixture(scope="module")
def module_lighters(binary, place, request):
    """The same, kept until the module's end."""
    made = Lighters(binary, place, request)
    yield made
    made.clear()


@pytest.fixture
def lighter(lighters, bases):
    """A fresh store with `busybox` in it, in the runner's own mode."""
    return lighters(bases=[bases("busybox")])


@pytest.fixture
def bare(lighters):
    """A fresh store with nothing in it."""
    return lighters()


@pytest.fixture
def disk(lighter, temp, needs):
    """The store on an ext4 of 64 MB of its own; called, it is unmounted and gives the disk's bytes."""
    needs("mke2fs")
    image, at = temp / "disk", temp / "at"
    at.mkdir()
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, at], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no loop device can be had")
    mounted = [True]

    def taken_out():
        if mounted:
            mounted.pop()
            unmount(at)
        return image.read_bytes()
    loaded, lighter.store = lighter.store, at / "store"
    lighter.load(loaded)
    yield taken_out
    taken_out()


@pytest.fixture
def needs():
    """needs("tool"): skip when it is not installed."""
    def check(*tools):
        for tool in tools:
            if not shutil.which(tool):
                pytest.skip(f"{tool} is not installed")
    return check


@pytest.fixture
def needs_root():
    if not IS_ROOT:
        pytest.skip("needs root")


@pytest.fixture
def servers(place):
    """Makes registries on loopback; all are ended after the test."""
    made = Servers(Path(tempfile.mkdtemp(prefix="servers-", dir=place)))
    made.place.chmod(0o755)
    yield made
    made.stack.close()
    with contextlib.suppress(OSError):
        remove(made.place)


@pytest.fixture
def temp(place):
    """A directory for the test itself."""
    path = Path(tempfile.mkdtemp(prefix="test-", dir=place))
    path.chmod(0o755)
    yield path
    with contextlib.suppress(OSError):
        remove(path)


# ---- report --------------------------------------------------------------------------------------

def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {}
    for report in skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[why.removeprefix("Skipped: ")] = reasons.get(why.removeprefix("Skipped: "), 0) + 1
    for why, count in sorted(reasons.items()):
        terminalreporter.write_line(f"not run on this machine: {count} x {why}")
