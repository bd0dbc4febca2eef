"""Faults: killed builds, full disks, two builds at once. Nothing is left, and the next build works."""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import Image, Result, end_process, mounts, processes_with, remove, tree_of, unmount, wait_for

SMALL = """\
FROM busybox AS one
COPY a /a
RUN cat /a >/one && mkdir /d && for i in 1 2 3 4 5 6 7 8; do echo $i >/d/$i; done
RUN rm -rf /d && mkdir /d && echo new >/d/new
FROM busybox
WORKDIR /work
COPY . .
RUN cp a b && chown 7:8 b
COPY --from=one /d /d
COPY --from=one /one /one
RUN rm b
"""


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def start(lighter, dockerfile, *args, context=None):
    """A build in the background, its Dockerfile on stdin."""
    child = lighter.start("build", "--isolation", lighter.isolation, "-f", "-", *args,
                          context or lighter.context(), stdin=subprocess.PIPE)
    child.stdin.write(dockerfile.encode())
    child.stdin.close()
    child.stdin = None
    return child


def marked(tag):
    """A step that waits, and the words that only its own command line holds."""
    marker = f"marker-{os.getpid()}-{tag}-{time.monotonic_ns()}"
    return f"FROM busybox\nRUN echo x >/half; sleep 60; : {marker}\n", marker


def in_step(marker):
    assert wait_for(lambda: processes_with(marker), 10), "the step never started"


# ---- kill ----------------------------------------------------------------------------------------

def test_kill_9_in_the_middle_of_a_step_leaves_no_process_mount_or_file(lighter):
    mounted, outside = mounts(), tree_of(lighter.home)
    dockerfile, marker = marked("kill")
    context = lighter.context({"f": "1"})
    files = tree_of(context)
    child = start(lighter, dockerfile, context=context)
    try:
        in_step(marker)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert wait_for(lambda: not processes_with(marker), 1.0), processes_with(marker)
    finally:
        end_process(child)
    assert wait_for(lambda: mounts() == mounted, 1.0)
    assert tree_of(context) == files
    assert {k: v for k, v in tree_of(lighter.home).items() if k in outside} == outside
    again = lighter.run_in("FROM busybox\nRUN ls /half || echo clean=yes\n")
    assert again.said("clean") == "yes"
    assert lighter.leftovers() == [], "the next build sweeps what the dead one left"
    assert lighter.damaged_blobs() == []


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_the_build_with_its_number_and_cleans_up(lighter, name, code):
    mounted = mounts()
    dockerfile, marker = marked(name)
    child = start(lighter, dockerfile + "RUN echo never=reached\n")
    try:
        in_step(marker)
        child.send_signal(getattr(signal, name))
        _, err = child.communicate(timeout=10)
    finally:
        end_process(child)
    assert child.returncode == code
    said = Result(child.returncode, "", err.decode())
    assert said.log == [] and said.titles("SKIPPED") == ["RUN echo never=reached"]
    assert wait_for(lambda: not processes_with(marker), 1.0)
    assert mounts() == mounted
    assert lighter.leftovers() == []


def test_a_step_that_a_signal_stopped_is_called_cancelled(lighter):
    dockerfile, marker = marked("word")
    child = start(lighter, dockerfile)
    try:
        in_step(marker)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=10)
    finally:
        end_process(child)
    said = Result(child.returncode, "", err.decode())
    assert [step.how for step in said.steps] == ["HIT", "CANCELLED"]


def test_a_failing_stage_cancels_what_runs_beside_it(lighter):
    failed = lighter.run_in("FROM busybox AS slow\nRUN sleep 12\nFROM busybox AS bad\n"
                            "RUN sleep 0.5; exit 9\nFROM scratch\nCOPY --from=slow /x /x\n"
                            "COPY --from=bad /x /y\n", code=1)
    assert "exit code 9" in failed.error
    assert failed.titles("CANCELLED") == ["RUN sleep 12"]


def test_ctrl_c_of_a_terminal_reaches_the_whole_group_and_ends_the_build(lighter):
    dockerfile, marker = marked("group")
    child = lighter.start("build", "--isolation", lighter.isolation, "-f", "-", lighter.context(),
                          stdin=subprocess.PIPE, start_new_session=True)
    child.stdin.write(dockerfile.encode())
    child.stdin.close()
    child.stdin = None
    try:
        in_step(marker)
        os.killpg(child.pid, signal.SIGINT)
        child.communicate(timeout=10)
    finally:
        end_process(child)
    assert child.returncode == 130
    assert wait_for(lambda: not processes_with(marker), 1.0)
    assert lighter.leftovers() == []


def test_kill_9_of_lighter_run_ends_its_command(lighter):
    marker = f"marker-run-{os.getpid()}-{time.monotonic_ns()}"
    mounted = mounts()
    child = lighter.start("run", "--isolation", lighter.isolation, "busybox", "sh", "-c",
                          f"sleep 60; : {marker}")
    try:
        assert wait_for(lambda: len(processes_with(marker)) > 1, 10)
        child.kill()
        child.communicate()
        assert wait_for(lambda: not processes_with(marker), 1.0)
    finally:
        end_process(child)
    assert mounts() == mounted


def test_a_stopped_build_goes_on(lighter):
    child = start(lighter, "FROM busybox\nRUN sleep 0.3; echo x >/x\n", "-t", "stopped")
    time.sleep(0.1)
    child.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    child.send_signal(signal.SIGCONT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 0, err


def digest_of_small(lighter, tag):
    lighter.build(lighter.context({"a": "content\n"}), "--epoch=content", dockerfile=SMALL, tag=tag)
    return lighter.image(tag).digest


def test_kill_9_at_fifteen_moments_never_changes_what_a_build_gives(lighter, lighters, bases):
    want = digest_of_small(lighter, "undisturbed")
    mounted = mounts()
    victim = lighters(lighter.isolation, bases=[bases("busybox")])
    context = victim.context({"a": "content\n"})
    dice = random.Random(3)
    for i in range(15):
        child = start(victim, SMALL, "--epoch=content", "-t", "victim",
                      *(["--no-cache"] if i % 3 == 0 else []), context=context)
        time.sleep(dice.uniform(0.0, 0.18))
        child.kill()
        child.communicate()
    assert victim.damaged_blobs() == []
    assert digest_of_small(victim, "after") == want
    victim.run_in("FROM busybox\nRUN echo a step of its own\n", "--no-cache")
    assert victim.leftovers() == []
    assert wait_for(lambda: mounts() == mounted, 1.0)


@pytest.mark.parametrize("what", ["load", "save"])
def test_kill_9_of_load_and_save_leaves_a_store_that_works(lighter, lighters, bases, what):
    out = lighter.directory()
    lighter.run_in("FROM busybox\nRUN head -c 8000000 /dev/urandom >/big\n", tag="big")
    lighter.save("big", out / "big.tar")
    dice = random.Random(4)
    victim = lighters(lighter.isolation, bases=[bases("busybox")])
    if what == "save":
        victim.load(out / "big.tar")
        victim.run_in("FROM big\nRUN head -c 8000000 /dev/urandom >/more\n", tag="more")
    for _ in range(6):
        words = ("load", out / "big.tar") if what == "load" else \
            ("save", "--isolation", victim.isolation, "-o", victim.place / "x.tar", "more")
        child = victim.start(*words)
        time.sleep(dice.uniform(0.0, 0.12))
        child.kill()
        child.communicate()
    assert victim.damaged_blobs() == []
    victim.load(out / "big.tar")
    assert victim.inspect("big")["Id"] == lighter.inspect("big")["Id"]
    if what == "save":
        assert Image(victim.image("more").layout).layers


# ---- at the same time ----------------------------------------------------------------------------

def together(*jobs):
    """Run functions at the same time; gives their results, or raises the first failure."""
    results, failures = [None] * len(jobs), []

    def call(i):
        try:
            results[i] = jobs[i]()
        except BaseException as e:
            failures.append(e)
    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


def test_two_equal_builds_at_once_give_the_same_image(lighter):
    def one(tag):
        return lambda: lighter.build(lighter.context({"a": "content\n"}), "--epoch=content",
                                     dockerfile=SMALL, tag=tag)
    results = together(*[one(f"same{i}") for i in range(4)])
    assert len({result.id for result in results}) == 1
    assert lighter.leftovers() == []
    assert len({lighter.image(f"same{i}").digest for i in range(4)}) == 1


def test_different_builds_at_once_do_not_disturb_each_other(lighter):
    def one(i):
        return lambda: lighter.run_in(
            f"FROM busybox\nCOPY f /f\nRUN echo {i} >/i; sleep 0.2; cat /f /i | tr -d '\\n' | "
            "sed s/^/got=/\n", files={"f": f"{i}+"}, tag=f"job{i}")
    for i, result in enumerate(together(*[one(i) for i in range(6)])):
        assert result.said("got") == f"{i}+{i}"
        assert lighter.image(f"job{i}").rootfs()["i"][1] == f"{i}\n".encode()
    assert {row["repo"] for row in lighter.images()} == {"busybox", *(f"job{i}" for i in range(6))}


def test_many_at_once_on_a_new_store_all_succeed(lighters, bases):
    """The first one makes the store, and nobody can say who is first."""
    for _ in range(8):
        lighter = lighters()

        def load(one=lighter):
            return one.load(bases("busybox"))

        def build(one=lighter):
            return one.run_in("FROM b\nRUN echo x >/x\n", "--build-context",
                              f"b=oci-layout://{bases('busybox')}")

        together(load, load, build, load, build, load)
        assert lighter.damaged_blobs() == []
        assert Image(lighter.store, "docker.io/library/busybox:latest").layers
    assert lighter.run("busybox", "echo", "ok").stdout == "ok\n"


def test_a_sweep_leaves_a_running_build_alone(lighter):
    child = start(lighter, "FROM busybox\nRUN sleep 1; echo x >/x\n", "-t", "slow")
    time.sleep(0.3)
    for i in range(3):
        lighter.run_in(f"FROM busybox\nRUN echo {i} >/quick\n")
    _, err = child.communicate(timeout=20)
    assert child.returncode == 0, err
    assert lighter.image("slow").rootfs()["x"][1] == b"x\n"


# ---- places that fail ----------------------------------------------------------------------------

def test_a_read_only_store_is_named(lighters, bases):
    lighter = lighters("rootless")
    lighter.directory("store")
    lighter.store.chmod(0o555)
    failed = lighter.load(bases("busybox"), code=None)
    assert failed.code in (6, 7)
    assert str(lighter.store) in failed.error and "ermission denied" in failed.error
    failed = lighter.run_in("FROM scratch\nCOPY f /\n", files={"f": ""}, code=None)
    assert failed.code in (6, 7)
    assert str(lighter.store) in failed.error


def test_a_store_below_a_file_is_named(lighters, bases):
    lighter = lighters()
    (lighter.place / "file").write_text("")
    failed = lighter.load(bases("busybox"), env={"LIGHTER_STORE": str(lighter.place / "file" / "s")},
                          code=None)
    assert failed.code in (6, 7)
    assert str(lighter.place / "file") in failed.error


def test_a_store_whose_database_is_garbage_is_named(lighter):
    for path in lighter.store.glob("meta.db*"):
        path.write_bytes(b"this is not a database, it is garbage" * 100)
    failed = lighter.run_in("FROM busybox\nRUN true\n", code=7)
    assert str(lighter.store) in failed.error


def test_a_store_that_lost_a_snapshot_makes_it_again(lighter):
    dockerfile = "FROM busybox\nRUN echo 1 >/one\nRUN echo 2 >/two\n"
    lighter.run_in(dockerfile, tag="lost")
    for path in (lighter.store / "snapshots").iterdir():
        remove(path)
    said = lighter.run_in(dockerfile + "RUN cat /one /two | tr -d '\\n' | sed s/^/got=/\n", tag="lost")
    assert said.said("got") == "12"


class SmallDisk:
    """A tmpfs in a private place, so small that things fail."""

    def __init__(self, path, size):
        self.path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "lighter-e2e", str(path)],
                       check=True)

    def grow(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)

    def end(self):
        unmount(self.path)


@pytest.fixture
def small_disk(needs_root):
    path = Path(tempfile.mkdtemp(prefix="lighter-e2e-disk-"))
    try:
        disk = SmallDisk(path, "8m")
    except subprocess.CalledProcessError:
        path.rmdir()
        pytest.skip("this machine lets nobody mount a tmpfs")
    yield disk
    disk.end()
    path.rmdir()


def full(lighters, bases, disk):
    lighter = lighters("root")
    lighter.store = disk.path / "store"
    lighter.load(bases("busybox"))
    return lighter


def test_a_full_disk_under_a_copy_names_the_store_and_more_room_ends_it(lighters, bases, small_disk):
    lighter = full(lighters, bases, small_disk)
    big = lighter.context({"big": os.urandom(1 << 20) * 20})
    failed = lighter.build(big, dockerfile="FROM busybox\nCOPY big /\nRUN ls -l /big\n", code=7)
    assert str(lighter.store) in failed.error and "No space left" in failed.error
    assert lighter.leftovers() == []
    small_disk.grow("64m")
    lighter.build(big, dockerfile="FROM busybox\nCOPY big /\nRUN ls -l /big\n", tag="big")
    assert lighter.damaged_blobs() == []


def test_a_full_disk_under_a_step_fails_the_step_and_more_room_ends_it(lighters, bases, small_disk):
    lighter = full(lighters, bases, small_disk)
    dockerfile = "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1000000 count=20\n"
    failed = lighter.run_in(dockerfile, code=None)
    assert failed.code in (1, 7)
    assert "No space left" in failed.stderr
    assert lighter.leftovers() == []
    small_disk.grow("64m")
    lighter.run_in(dockerfile, tag="big")
    assert len(lighter.image("big").rootfs()["big"][1]) == 20000000


def test_a_full_disk_under_a_load_names_the_store_and_keeps_what_was_there(lighters, bases, small_disk):
    other = lighters("root", bases=[bases("busybox")])
    other.run_in("FROM busybox\nRUN head -c 12000000 /dev/urandom >/big\n", tag="big")
    archive = other.directory() / "big.tar"
    other.save("big", archive)
    lighter = full(lighters, bases, small_disk)
    failed = lighter.load(archive, code=7)
    assert str(lighter.store) in failed.error and "No space left" in failed.error
    assert [row["repo"] for row in lighter.images()] == ["busybox"]
    assert lighter.damaged_blobs() == [] and lighter.leftovers() == []
    small_disk.grow("64m")
    lighter.load(archive)
    assert lighter.run("big", "ls", "/big").stdout == "/big\n"


def test_a_full_disk_under_a_save_names_the_place(lighters, bases, small_disk):
    lighter = lighters("root", bases=[bases("busybox")])
    lighter.run_in("FROM busybox\nRUN head -c 12000000 /dev/urandom >/big\n", tag="big")
    failed = lighter.save("big", small_disk.path / "big.tar", code=None)
    assert failed.code in (6, 7, 2)
    assert str(small_disk.path) in failed.error and "No space left" in failed.error
    assert not (small_disk.path / "big.tar").exists()


def test_a_context_that_vanishes_is_an_error(lighter):
    context = lighter.context({"f": "1"})
    dockerfile = "FROM busybox\nRUN sleep 0.5\nCOPY f /f\n"
    child = start(lighter, dockerfile, context=context)
    time.sleep(0.2)
    shutil.rmtree(context)
    _, err = child.communicate(timeout=20)
    assert child.returncode in (0, 1, 3), err
    assert child.returncode == 0 or b"f" in err.split(b"lighter build:")[-1]
