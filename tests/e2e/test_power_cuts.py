"""A machine that stops: what was written last is cut, empty, zeros or not there; the next command drops it or heals it.

The stop is played: nothing can be synced for a while (faulty.c), the files that were written meanwhile are damaged in
the ways file systems do it, the database's log ends anywhere behind what was on the disk, and the next command sees
another boot. test_together.py has the real thing, in a virtual machine.

  LIGHTER_CUTS  how many stops, over all modes (default 16)
  LIGHTER_SEED  where the dice begin (default 1)
"""

import os
import random

import pytest

from faulty import SYNCS, Faulty
from harness import Image, wait_for
from projects import Oracle, Project

CUTS = int(os.environ.get("LIGHTER_CUTS", "16"))
SEED = int(os.environ.get("LIGHTER_SEED", "1"))
WAL_HEADER = 32


def files_of(store):
    """{path: what changes when it is written} of all files of a store."""
    found = {}
    for top, _, names in os.walk(store):
        for name in names:
            path = os.path.join(top, name)
            st = os.lstat(path)
            found[path] = (st.st_ino, st.st_ctime_ns, st.st_size)
    return found


class Disk:
    """What of a store is on the disk for certain, and what a stop may do to the rest."""

    def __init__(self, store, faulty, dice):
        self.store, self.faulty, self.dice = store, faulty, dice
        self.files, self.log_before = files_of(store), self.log()

    def log(self):
        """The head of the database's log, and how long it is."""
        path = self.store / "meta.db-wal"
        return (path.read_bytes()[:WAL_HEADER], path.stat().st_size) if path.exists() else (b"", 0)

    def stop(self):
        """Damage what was written since; gives what was done, for messages."""
        done = []
        fate = self.dice.choice(["any", "any", "empty", "half", "zeros", "gone", "whole"])
        for path, now in sorted(files_of(self.store).items()):
            name = os.path.relpath(path, self.store)
            # The database itself is synced before its log is emptied, and a lock has no content.
            if self.files.get(path) == now or name.startswith("meta.db") or name.endswith(".lock"):
                continue
            what = fate if fate != "any" else self.dice.choice(["empty", "half", "zeros", "gone", "whole"])
            done.append(f"{name}: {what}")
            self.damage(path, what)
        (self.store / "meta.db-shm").unlink(missing_ok=True)
        head, size = self.log()
        kept = min(size, max(self.faulty.log_synced(), self.log_before[1] if head == self.log_before[0] else 0))
        if size:
            cut = self.dice.choice([size, kept, self.dice.randint(kept, size)])
            os.truncate(self.store / "meta.db-wal", cut)
            done.append(f"log: {cut} of {size} bytes, {kept} were on the disk")
        return done

    @staticmethod
    def damage(path, what):
        size = os.lstat(path).st_size
        if what == "gone":
            os.unlink(path)
        elif what != "whole" and os.path.isfile(path) and not os.path.islink(path):
            os.truncate(path, size // 2 if what == "half" else 0)
            if what == "zeros":
                os.truncate(path, size)


class Machine:
    def __init__(self, lighter, base, faulty, dice):
        self.lighter, self.base, self.faulty, self.dice = lighter, base, faulty, dice
        self.mode = ["--isolation", lighter.isolation]

    def do(self, *words, unsynced=False, **options):
        return self.lighter(*words, env=self.faulty.env(how=SYNCS if unsynced else 0), **options)

    def build(self, project, *args, unsynced=False):
        return self.lighter.build(project.top, "--epoch=content", *args, dockerfile=project.dockerfile(), tag="app",
                                  env=self.faulty.env(how=SYNCS if unsynced else 0)).id

    def load(self, unsynced=False):
        self.do("load", self.base, unsynced=unsynced)

    def save(self):
        """The image as a user gets it, every digest of it checked."""
        dest = self.lighter.directory() / "layout"
        self.do("save", *self.mode, "--format", "oci-dir", "-o", dest, "app")
        assert Image(dest).layers

    def settle(self):
        assert wait_for(lambda: not self.lighter.writers_out(), 30, 0.002)

    def work(self, project):
        """Some commands whose results are not on the disk when the machine stops."""
        for _ in range(self.dice.randint(1, 3)):
            what = self.dice.random()
            project.edit()
            self.build(project, *(["--no-cache"] if what < 0.2 else []), unsynced=True)
            if what > 0.8:
                self.do("save", *self.mode, "-o", self.lighter.home / "saved.tar", "app", unsynced=True)
            elif what > 0.7:
                self.do("prune", "--all", "--force", *self.mode, unsynced=True)
        self.settle()

    def first(self):
        """What is done first when the machine is up again."""
        self.do(*self.dice.choice([["images"], ["du", *self.mode], ["store", "check", *self.mode], ["prune", "--force", *self.mode],
                                   ["log"], ["load", self.base]]))

    def in_order(self):
        self.lighter.check(env=self.faulty.env())


@pytest.fixture(params=["root", "rootless"])
def machine(request, lighters, bases, place):
    lighter = lighters(request.param)
    faulty = Faulty(place, lighter, boots=True)
    yield Machine(lighter, bases("busybox"), faulty, random.Random(SEED))
    faulty.close()


def test_a_blob_that_no_row_knows_is_not_believed_in_another_boot(machine):
    """The log's end was lost, and with it the note that the blob was not on the disk."""
    blobs = machine.lighter.store / "blobs" / "sha256"
    machine.do("images")
    for blob in (machine.base / "blobs" / "sha256").iterdir():
        (blobs / blob.name).write_bytes(bytes(blob.stat().st_size))
    machine.lighter.own(blobs)
    machine.faulty.restart()
    machine.load()
    assert machine.lighter.damaged_blobs() == []
    assert machine.lighter.run("busybox", "echo", "ok", env=machine.faulty.env()).stdout == "ok\n"


CACHE = "FROM busybox\nRUN --mount=type=cache,target=/c,id={id} echo x >>/c/x; echo n=$(wc -l </c/x)\n"


def test_a_cache_that_was_used_after_it_was_on_the_disk_begins_empty_and_another_stays(machine):
    machine.load()
    for id in ("kept", "torn"):
        said = machine.lighter.run_in(CACHE.format(id=id), env=machine.faulty.env())
        assert said.said("n") == "1"
        machine.settle()
    before = (machine.lighter.store / "meta.db-wal").read_bytes()
    said = machine.lighter.run_in(CACHE.format(id="torn"), "--no-cache", env=machine.faulty.env(how=SYNCS))
    assert said.said("n") == "2"
    machine.settle()
    (machine.lighter.store / "meta.db-wal").write_bytes(before)  # its note is lost
    (machine.lighter.store / "meta.db-shm").unlink()
    machine.faulty.restart()
    for id, n in (("torn", "1"), ("kept", "2")):
        said = machine.lighter.run_in(CACHE.format(id=id), "--no-cache", env=machine.faulty.env())
        assert said.said("n") == n, id


def test_an_index_of_the_layout_that_was_cut_is_written_anew_in_another_boot(machine):
    machine.load()
    machine.do("save", *machine.mode, "-o", machine.lighter.home / "saved.tar", "busybox")
    machine.settle()
    whole = {name: (machine.lighter.store / name).read_bytes() for name in ("index.json", "oci-layout")}
    for name in whole:
        os.truncate(machine.lighter.store / name, 0)
    machine.faulty.restart()
    machine.do("images")
    assert {name: (machine.lighter.store / name).read_bytes() for name in whole} == whole


def test_nothing_is_lost_when_the_machine_was_shut_down(machine):
    project = Project(machine.lighter, machine.dice)
    machine.load()
    machine.build(project)
    machine.settle()
    machine.faulty.restart()
    again = machine.lighter.build(project.top, "--epoch=content", dockerfile=project.dockerfile(), env=machine.faulty.env())
    assert not again.ran and not again.warnings


@pytest.mark.parametrize("mode", ["root", "rootless", "single", "chroot"])
def test_what_a_stop_of_the_machine_has_damaged_is_dropped_and_made_again(lighters, bases, place, mode):
    dice = random.Random(f"{mode} {SEED}")
    lighter = lighters(mode)
    faulty = Faulty(place, lighter, boots=True)
    oracle, machine = Oracle(lighter, bases("busybox")), Machine(lighter, bases("busybox"), faulty, dice)
    for n in range(CUTS // 4):
        if n % 4 == 0:
            project = Project(lighter, dice)
        machine.load()
        machine.build(project)
        machine.settle()
        disk = Disk(lighter.store, faulty, dice)
        machine.work(project)
        done = disk.stop()
        faulty.restart()
        try:
            machine.first()
            machine.in_order()
            machine.load()
            assert machine.build(project) == oracle(project), project.dockerfile()
            machine.in_order()
            machine.save()
            project.edit()
            assert machine.build(project) == oracle(project), project.dockerfile()
            assert lighter.damaged_blobs() == []
        except AssertionError as e:
            raise AssertionError(f"stop {n} of seed {SEED}, {mode}:\n" + "\n".join(done) + f"\n{e}") from None
    faulty.close()
