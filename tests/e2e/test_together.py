"""Many processes on one store, and what is left when one of them, or the whole machine, stops."""

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from harness import end_process, wait_for
from vm import Machine

SLOW = "FROM busybox\nRUN echo begun; sleep {seconds}; head -c 20 /dev/urandom >/who\n"


def start(lighter, context, dockerfile, *args):
    (context / "Dockerfile").write_text(dockerfile)
    lighter.own(context)
    return lighter.start("build", "--isolation", lighter.isolation, *args, context, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)


def finish(child):
    out, err = child.communicate(timeout=60)
    return child.returncode, err.decode()


def database(lighter):
    return sqlite3.connect(lighter.store / "meta.db", timeout=20)


def notes(lighter):
    return sorted(row[0] for row in database(lighter).execute("SELECT name FROM undurable"))


def settled(lighter):
    wait_for(lambda: not notes(lighter), seconds=20)


@pytest.fixture(params=["root", "rootless", "single", "chroot"])
def mode(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


# ---- one step, several processes -----------------------------------------------------------------

def test_a_step_that_two_builds_need_runs_once(mode):
    context = mode.context({})
    text = SLOW.format(seconds=1)
    one = start(mode, context, text, "-t", "one")
    wait_for(lambda: list((mode.store / "turns").glob("*")) if (mode.store / "turns").exists() else [])
    two = start(mode, context, text, "-t", "two")
    results = [finish(one), finish(two)]
    assert [code for code, _ in results] == [0, 0], results
    assert "waits for another build that runs it" in results[1][1]
    assert "RUN echo begun" in results[1][1] and "| begun" not in results[1][1]
    assert mode.inspect("one")["Id"] == mode.inspect("two")["Id"]
    assert not list((mode.store / "turns").iterdir())


@pytest.mark.parametrize("how", ["fails", "is killed", "is cancelled"])
def test_who_waited_runs_the_step_when_the_other(lighter, how):
    context = lighter.context({})
    # Fails the first time it runs: what it finds is in no key.
    text = ("FROM busybox\nRUN --mount=type=cache,target=/c echo begun; sleep 1; "
            "if [ ! -e /c/again ]; then touch /c/again; %s; fi; echo done >/who\n"
            % ("exit 1" if how == "fails" else "sleep 100"))
    one = start(lighter, context, text)
    wait_for(lambda: list((lighter.store / "turns").glob("*")) if (lighter.store / "turns").exists() else [])
    two = start(lighter, context, text, "-t", "two")
    if how != "fails":
        time.sleep(1.5)
        os.kill(one.pid, signal.SIGKILL if how == "is killed" else signal.SIGINT)
    code, _ = finish(one)
    assert code != 0
    code, err = finish(two)
    assert code == 0, err
    assert "waits for another build" in err and lighter.image("two").rootfs()["who"][1] == b"done\n"


def test_a_build_that_waits_can_be_interrupted(lighter):
    context = lighter.context({})
    text = SLOW.format(seconds=5)
    one = start(lighter, context, text)
    wait_for(lambda: list((lighter.store / "turns").glob("*")) if (lighter.store / "turns").exists() else [])
    two = start(lighter, context, text)
    time.sleep(0.5)
    began = time.monotonic()
    two.send_signal(signal.SIGINT)
    code, _ = finish(two)
    assert code == 130 and time.monotonic() - began < 2
    end_process(one)


def test_with_no_cache_nobody_waits(lighter):
    text = SLOW.format(seconds=1)  # a context for each: start() writes the Dockerfile into it, which the other may be reading
    one, two = (start(lighter, lighter.context({}), text, "--no-cache", "-t", name) for name in ("one", "two"))
    for child in (one, two):
        code, err = finish(child)
        assert code == 0 and "waits" not in err
    assert lighter.inspect("one")["Id"] != lighter.inspect("two")["Id"]


def test_eight_builds_and_collections_at_once_end_well(lighter, bases):
    text = "FROM busybox\nRUN sleep 0.{n}; echo {n} >/f\nCOPY a /\nRUN cat /f /a >/both\n"
    children = [start(lighter, lighter.context({"a": str(n % 3)}), text.format(n=n % 4), "--epoch=content", "-t", f"t{n}",
                      "--max-cache", "1") for n in range(8)]
    stop = threading.Event()

    def collect():
        while not stop.is_set():
            lighter("prune", "--all", "--force", "--isolation", lighter.isolation)

    thread = threading.Thread(target=collect)
    thread.start()
    results = [finish(child) for child in children]
    stop.set()
    thread.join()
    assert [code for code, _ in results] == [0] * 8, [err for code, err in results if code]
    for n in range(8):
        assert lighter.image(f"t{n}").rootfs()["both"][1] == f"{n % 4}\n{n % 3}".encode()
    assert lighter("store", "check", "--isolation", lighter.isolation).code == 0


def test_commands_that_look_do_not_wait_for_a_build(lighter):
    child = start(lighter, lighter.context({}), SLOW.format(seconds=20))
    wait_for(lambda: list((lighter.store / "turns").glob("*")) if (lighter.store / "turns").exists() else [])
    for words in (["images"], ["du"], ["inspect", "busybox"]):
        began = time.monotonic()
        lighter(*words)
        assert time.monotonic() - began < 5 and child.poll() is None
    end_process(child)


# ---- what is not on the disk yet -----------------------------------------------------------------

BUILD = "FROM busybox\nRUN --mount=type=cache,target=/c echo x >>/c/x; wc -l </c/x >/n\nCOPY a /\n"


def build(lighter, context):
    return lighter.build(context, dockerfile=BUILD, tag="app")


def test_nothing_waits_for_what_writes_it_out_and_in_the_end_nothing_is_left(mode):
    context = mode.context({"a": "1"})
    build(mode, context)
    settled(mode)
    again = build(mode, context)
    assert not again.ran and not again.warnings


def crash(lighter, names=None):
    """Make it look as if the machine had stopped before these were written."""
    settled(lighter)
    with database(lighter) as d:
        if names is None:
            names = [row[0] for row in d.execute("SELECT 's' || id FROM snapshot UNION SELECT 'i' || lower(hex(id)) FROM image "
                                                 "UNION SELECT name FROM use WHERE substr(name, 1, 1) = 'd'")]
        for name in names:
            d.execute("INSERT INTO undurable VALUES(?, 'tmp/1-0', 'another boot')", (name,))
    d.close()
    return names


def test_what_another_boot_left_unwritten_is_dropped_and_made_again(mode, bases):
    context = mode.context({"a": "1"})
    build(mode, context)
    crash(mode)
    again = mode.load(bases("busybox")), build(mode, context)
    assert len(again[1].ran) == 2
    assert mode.image("app").rootfs()["n"][1] == b"1\n"  # the cache began empty, for it was torn too
    assert mode("store", "check", "--isolation", mode.isolation).code == 0
    settled(mode)


def test_a_build_says_how_much_was_lost(lighter):
    context = lighter.context({"a": "1"})
    build(lighter, context)
    newest = max(int(p.name) for p in (lighter.store / "snapshots").iterdir())
    crash(lighter, [f"s{newest}"])
    again = build(lighter, context)
    assert any("1 thing" in w and "machine stopped" in w for w in again.warnings), again
    assert again.ran == ["COPY a /"]


def test_what_was_written_survives_another_boot(mode):
    context = mode.context({"a": "1"})
    build(mode, context)
    settled(mode)
    with database(mode) as d:
        d.execute("UPDATE undurable SET boot = 'another boot'")
    assert not build(mode, context).ran


def test_a_torn_blob_is_not_taken_for_the_real_one(lighter, bases):
    context = lighter.context({"a": "1"})
    build(lighter, context)
    lighter.save("app", lighter.directory() / "one.tar")
    settled(lighter)
    blobs = [p.name for p in (lighter.store / "blobs/sha256").iterdir()]
    for name in blobs:
        (lighter.store / "blobs/sha256" / name).write_bytes(b"")
    crash(lighter, ["b" + name for name in blobs])
    lighter.load(bases("busybox"))
    build(lighter, context)
    lighter.save("app", lighter.directory() / "two.tar")
    assert not lighter.damaged_blobs()


def test_a_killed_build_leaves_a_mount_marked_until_it_is_written(lighter):
    context = lighter.context({})
    text = "FROM busybox\nRUN --mount=type=cache,target=/c echo x >/c/x; echo begun; sleep 100\n"
    child = start(lighter, context, text)
    wait_for(lambda: [n for n in notes(lighter) if n.startswith("dmounts/")])
    child.kill()
    finish(child)
    assert [n for n in notes(lighter) if n.startswith("dmounts/")]
    lighter.run_in("FROM busybox\nRUN true\n")  # the next process's child writes it out
    settled(lighter)


# ---- a power cut ---------------------------------------------------------------------------------

CUT = r"""
mount -t ext4 /dev/vda /data 2>/dev/null || {{ mkdir -p /data; mount -t ext4 /dev/vda /data; }}
export LIGHTER_STORE=/data/store
section check
[ ! -e /data/store ] || lighter store check --repair 2>&1
section build
lighter load /base >/dev/null 2>&1
lighter build -q --epoch=content -t app /context; echo "code=$?"
lighter store check; echo "check=$?"
section cut
{before}
(for i in $(seq 100); do echo $i >/context/a; lighter build -q --epoch=content /context; lighter build -q --no-cache --epoch=content /context; done) >/dev/null 2>&1 &
sleep {after}
echo b >/proc/sysrq-trigger
"""
CUT_FILE = ("FROM busybox\nRUN i=0; while [ $i -lt 40 ]; do echo $i $i >/f$i; i=$((i+1)); done\nCOPY . /c/\n"
            "RUN --mount=type=cache,target=/k cat /f1 /c/b >/both; echo x >/k/x\n")


def test_after_power_cuts_the_store_is_whole_and_images_are_right(binary, bases, busybox_program, place):
    top = place / "vm-cut"
    machine = Machine(top, binary, busybox_program)
    subprocess.run(["cp", "-r", bases("busybox"), machine.root / "base"], check=True)
    (machine.root / "context").mkdir()
    for name, text in {"Dockerfile": CUT_FILE, "a": "a", "b": "b"}.items():
        (machine.root / "context" / name).write_text(text)
    disk = top / "disk"
    with open(disk, "wb") as f:
        f.truncate(256 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", disk], check=True)
    ids = set()
    for after in ("0.6", "3", "7", "1.7"):
        said = machine.run(CUT.format(after=after, before=":" if after != "3" else "rm -r /data/store/index"), disk=disk)
        assert "end" not in said and "code=0" in said["build"] and "check=0" in said["build"], said
        ids.add(said["build"].split()[0])
    assert len(ids) == 1, ids
    shutil.rmtree(top)
