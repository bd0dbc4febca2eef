"""A store that cannot be written to, for a while: read-only, or on a disk that is full. What fails says so; nothing is lost."""

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import unmount, wait_for
from vm import Machine

TEXT = "FROM busybox\nRUN echo a >/a; mkdir /d; dd if=/dev/zero of=/d/b bs=1000 count=300\nCOPY f g /\nRUN rm /a\n"
FILES = {"f": "1\n", "g": "2" * 100000}
# A command in a mount namespace of its own, in which the store is read-only.
READ_ONLY = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"']


@pytest.fixture
def built(lighters, bases, needs_root):
    """A store with an image in it, its context, and the image's ID."""
    lighter = lighters("root", bases=[bases("busybox")])
    context = lighter.context(FILES)
    id = lighter.build(context, "--epoch=content", dockerfile=TEXT, tag="app").id
    return lighter, context, id


# ---- read-only -----------------------------------------------------------------------------------

def read_only(lighter, *words, **options):
    return lighter(*words, before=[*READ_ONLY, str(lighter.store)], **options)


@pytest.mark.parametrize("words", [["images"], ["inspect", "app"], ["du"], ["log"]], ids=lambda words: words[0])
def test_what_only_looks_needs_no_store_that_can_be_written(built, words):
    lighter, _, _ = built
    assert wait_for(lambda: not lighter.writers_out(), 30)
    want = lighter(*words)
    assert read_only(lighter, *words).stdout == want.stdout


@pytest.mark.parametrize("what", ["build", "load", "rmi", "prune", "tag", "check"])
def test_what_writes_names_the_store_that_is_read_only_and_works_when_it_is_not(built, bases, what):
    lighter, context, id = built
    mode = ["--isolation", "root"]
    words = {"build": ["build", *mode, "--no-cache", "-f", "-", context], "load": ["load", bases("busybox")], "rmi": ["rmi", "app"],
             "prune": ["prune", "--all", "--force", *mode], "tag": ["tag", "app", "other"],
             "check": ["store", "check", "--repair", *mode]}[what]
    failed = read_only(lighter, *words, input=TEXT, code=None)
    assert failed.code in (6, 7), failed
    assert re.search("['/].*: (Read-only file system|attempt to write a readonly database)", failed.error), failed
    assert str(lighter.store) in failed.error
    lighter.check()
    again = lighter.build(context, "--epoch=content", dockerfile=TEXT, tag="app")
    assert again.id == id and not again.ran


def test_a_build_of_hits_on_a_read_only_store_gives_the_image_or_names_the_store(built):
    lighter, context, id = built
    said = read_only(lighter, "build", "-q", "--isolation", "root", "--epoch=content", "-f", "-", context, input=TEXT, code=None)
    assert said.stdout.strip() == id or (said.code == 7 and str(lighter.store) in said.error), said


REMOUNT = """
mkdir -p /data; mount -t ext4 /dev/vda /data; export LIGHTER_STORE=/data/store
lighter load /base >/dev/null 2>&1
section first
lighter build -q --epoch=content -t app /context; echo "code=$?"
section during
(lighter build --epoch=content /context/slow >/tmp/said 2>&1; echo "code=$?" >>/tmp/said) &
for i in $(seq 100); do grep -q begun /tmp/said && break; sleep 0.1; done
echo u >/proc/sysrq-trigger
wait
cat /tmp/said
section look
lighter images; echo "code=$?"
section again
lighter build --no-cache /context 2>&1; echo "code=$?"
section after
umount /data; mount -t ext4 /dev/vda /data || echo not mounted
lighter build -q --epoch=content -t app /context; echo "code=$?"
lighter build -q --epoch=content /context/slow; echo "slow=$?"
lighter store check; echo "check=$?"
"""


def test_a_disk_that_becomes_read_only_during_a_build_is_named_and_the_next_build_is_right(binary, bases, busybox_program, place):
    top = place / "vm-read-only"
    machine = Machine(top, binary, busybox_program)
    subprocess.run(["cp", "-r", bases("busybox"), machine.root / "base"], check=True)
    for name, text in {"context": "FROM busybox\nCOPY f /\nRUN cat /f >/g\n",
                       "context/slow": "FROM busybox\nRUN echo begun; sleep 3; echo x >/x\nCOPY f /\nRUN cat /f >/g\n"}.items():
        (machine.root / name).mkdir()
        (machine.root / name / "Dockerfile").write_text(text)
        (machine.root / name / "f").write_text("1")
    disk = top / "disk"
    with open(disk, "wb") as f:
        f.truncate(128 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", disk], check=True)
    said = machine.run(REMOUNT, disk=disk)
    assert "end" in said and "code=0" in said["first"], said
    assert "code=0" not in said["during"] and re.search("Read-only|readonly|I/O error", said["during"]), said["during"]
    assert "busybox" in said["look"] and "code=0" in said["look"], said["look"]
    assert re.search("code=[67]", said["again"]) and "/data/store" in said["again"], said["again"]
    assert said["after"].split()[0] == said["first"].split()[0], said
    assert "code=0" in said["after"] and "slow=0" in said["after"] and "check=0" in said["after"], said["after"]


# ---- full ----------------------------------------------------------------------------------------

@pytest.fixture
def disk(needs_root):
    path = Path(tempfile.mkdtemp(prefix="lighter-e2e-disk-"))
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=777", "lighter-e2e", path], check=True)
    except subprocess.CalledProcessError:
        path.rmdir()
        pytest.skip("this machine lets nobody mount a tmpfs")
    yield path
    unmount(path)
    path.rmdir()


def used(path):
    out = subprocess.run(["df", "--output=used", "--block-size=1024", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(out.split()[-1])


def resize(path, kib):
    subprocess.run(["mount", "-o", f"remount,size={kib}k", path], check=True)


def test_wherever_a_disk_is_full_the_build_says_so_and_more_room_ends_it(lighters, bases, disk, built):
    _, context, id = built
    lighter = lighters("root")
    lighter.store = disk / "store"
    lighter.load(bases("busybox"))
    lighter.build(context, "--epoch=content", dockerfile="FROM busybox\nRUN true\n")
    failures = 0
    for n in range(200):
        room = n * 12
        resize(disk, used(disk) + room)
        said = lighter.build(context, "--epoch=content", dockerfile=TEXT, tag="app", code=None)
        if said.code == 0:
            break
        failures += 1
        assert said.code in (1, 6, 7), said
        assert re.search("No space left on device|database or disk is full", said.stderr), said
        resize(disk, 64 << 10)
        lighter.check()
        if n % 8 == 0:
            assert lighter.build(context, "--epoch=content", dockerfile=TEXT, tag="app").id == id
            lighter("rmi", "app")
        lighter("prune", "--all", "--force", "--isolation", "root")
        lighter.build(context, "--epoch=content", dockerfile="FROM busybox\nRUN true\n")
    assert failures > 5 and said.code == 0 and said.id == id
    resize(disk, 64 << 10)
    lighter.check()
    assert lighter.damaged_blobs() == []
