"""The context index: what has not changed is not read, and what has changed is never overlooked."""

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from harness import Lighter, unmount

ALL = "FROM scratch\nCOPY . /all/\n"
FILES = {"a": "one", "b": "two", "d/c": "three", "d/e/f": "four", "d/e/g": "five", "skip/x": "six",
         "empty": None, ".dockerignore": "skip\n*.tmp\n"}


def build(lighter, context, dockerfile=ALL, *args):
    return lighter.build(context, "--epoch=content", *args, dockerfile=dockerfile)


def fresh(lighter):
    """The same lighter with a store that knows nothing."""
    other = Lighter(lighter.binary, lighter.directory(), lighter.account, lighter.isolation)
    return other


def opened(lighter, temp, context, dockerfile=ALL):
    """The names of the context's regular files that a build opens."""
    (context.parent / "Dockerfile.opened").write_text(dockerfile)
    log = temp / "strace"
    env = lighter.environment()
    done = subprocess.run(["strace", "-f", "-qq", "-o", log, "-e", "trace=openat,openat2,open", lighter.binary, "build",
                           "-q", "--epoch=content", "--isolation", lighter.isolation, "-f", context.parent /
                           "Dockerfile.opened", context], env=env, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in context.rglob("*") if path.is_file()}
    calls = [line for line in log.read_text().splitlines() if not re.search("O_DIRECTORY|O_PATH|= -1", line)]
    return {os.path.basename(m.group(1)) for m in (re.search(r'"([^"]*)"', line) for line in calls) if m} & names


@pytest.fixture
def root(lighters, needs_root):
    return lighters("root")


def settle(context):
    """Long enough ago that no file counts as just written."""
    import time
    time.sleep(0.05)


# ---- what is not read ----------------------------------------------------------------------------

def test_a_file_that_has_not_changed_is_not_opened(root, temp, needs):
    needs("strace")
    context = root.context(FILES)
    settle(context)
    build(root, context)
    assert opened(root, temp, context) == {".dockerignore"}


def test_of_many_files_the_one_that_changed_is_opened(root, temp, needs):
    needs("strace")
    context = root.context(FILES | {f"many/file-{i}": str(i) for i in range(500)})
    settle(context)
    build(root, context)
    (context / "many/file-77").write_text("changed")
    # Read for its digest, and again when it is copied; the others are only linked or copied.
    assert "file-77" in opened(root, temp, context)
    settle(context)
    build(root, context)
    assert opened(root, temp, context) == {".dockerignore"}


def test_two_dockerfiles_that_copy_different_directories_share_the_index(root, temp, needs):
    needs("strace")
    context = root.context(FILES)
    settle(context)
    one, two = "FROM scratch\nCOPY d /d\n", "FROM scratch\nCOPY d/e a /e/\n"
    build(root, context, one)
    build(root, context, two)
    assert opened(root, temp, context, one) == {".dockerignore"}
    assert opened(root, temp, context, two) == {".dockerignore"}


def test_excludes_and_parents_are_remembered_too(root, temp, needs):
    needs("strace")
    context = root.context(FILES)
    settle(context)
    text = "FROM scratch\nCOPY --exclude=e d /d\nCOPY --parents d/./e/* /p/\n"
    build(root, context, text)
    assert opened(root, temp, context, text) == {".dockerignore"}


def test_a_touched_file_is_a_hit(root):
    context = root.context(FILES)
    build(root, context)
    os.utime(context / "d/e/f")
    again = build(root, context)
    assert not again.ran


# ---- what is never overlooked --------------------------------------------------------------------

def keep_times(path, change):
    """Change a file and give it back its size and its time, as `cp -p` and some editors do."""
    st = path.stat()
    change()
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def swap(context):
    (context / "a").rename(context / "x")
    (context / "b").rename(context / "a")
    (context / "x").rename(context / "b")


def replace_by_directory(context):
    (context / "a").unlink()
    (context / "a").mkdir()
    (context / "a/inside").write_text("x")


def replace_by_file(context):
    shutil.rmtree(context / "d/e")
    (context / "d/e").write_text("file")


def hard_link(context):
    (context / "b").unlink()
    os.link(context / "a", context / "b")


NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")  # effective, permitted: cap_net_raw
NET_ADMIN = bytes.fromhex("0100000200100000000000000000000000000000")

EDITS = {
    "same size and time": lambda c: keep_times(c / "a", lambda: (c / "a").write_text("eno")),
    "another file by rename": lambda c: keep_times(c / "a", lambda: ((c / "n").write_text("neo"),
                                                                    (c / "n").rename(c / "a"))),
    "content": lambda c: (c / "d/c").write_text("another"),
    "a new file": lambda c: (c / "d/e/new").write_text("new"),
    "a deleted file": lambda c: (c / "d/e/g").unlink(),
    "a new directory": lambda c: (c / "d/empty").mkdir(),
    "a deleted directory": lambda c: (c / "empty").rmdir(),
    "two files that changed places": swap,
    "a file's mode": lambda c: (c / "a").chmod(0o755),
    "a directory's mode": lambda c: (c / "d/e").chmod(0o700),
    "a file that became a directory": replace_by_directory,
    "a directory that became a file": replace_by_file,
    "a link": lambda c: (c / "d/link").symlink_to("../a"),
    "a second name": hard_link,
    "what is ignored": lambda c: (c / ".dockerignore").write_text("d\n"),
    "what is ignored no more": lambda c: (c / ".dockerignore").write_text(""),
    "an ignored directory of which a part is brought back":
        lambda c: ((c / "skip/y").write_text("y"), (c / ".dockerignore").write_text("skip\n!skip/y\n")),
    "a capability": lambda c: os.setxattr(c / "a", "security.capability", NET_RAW),
    "a pipe": lambda c: os.mkfifo(c / "pipe"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_gives_the_image_that_a_store_without_an_index_gives(root, edit):
    context = root.context(FILES)
    settle(context)
    before = build(root, context).id
    try:
        EDITS[edit](context)
    except OSError as e:
        pytest.skip(f"the file system here has no such thing: {e}")
    after = build(root, context).id
    assert after != before
    assert after == build(fresh(root), context).id
    assert build(root, context).id == after


def test_a_link_that_points_elsewhere_is_seen(root):
    context = root.context({"a": "x", "b": "y"})
    (context / "link").symlink_to("a")
    before = build(root, context).id
    (context / "link").unlink()
    (context / "link").symlink_to("b")
    assert build(root, context).id == build(fresh(root), context).id != before


def test_names_that_part_or_join_are_seen(root):
    context = root.context({"a": "same"})
    os.link(context / "a", context / "b")
    one = build(root, context).id
    (context / "b").unlink()
    shutil.copy2(context / "a", context / "b")
    two = build(root, context).id
    assert one != two == build(fresh(root), context).id


def test_an_attribute_that_changes_is_seen(root):
    context = root.context({"a": "x"})
    os.setxattr(context / "a", "security.capability", NET_RAW)
    settle(context)
    one = build(root, context).id
    assert build(root, context).id == one
    os.setxattr(context / "a", "security.capability", NET_ADMIN)
    two = build(root, context).id
    os.removexattr(context / "a", "security.capability")
    assert len({one, two, build(root, context).id}) == 3


def test_a_directorys_attribute_is_seen(root):
    context = root.context(FILES)
    build(root, context)
    os.setxattr(context / "d", "user.note", b"x")
    assert build(root, context).ran
    assert not build(root, context).ran
    os.setxattr(context / "d", "user.note", b"y")
    assert build(root, context).ran


def test_a_context_that_is_another_directory_under_the_same_name_is_another(root):
    context = root.context({"a": "x", "b": "y"})
    before = build(root, context).id
    context.rename(context.with_name("elsewhere"))
    other = root.context({"a": "X", "b": "Y"}, name=context.name)
    assert build(root, other).id == build(fresh(root), other).id != before


def test_a_context_on_a_disk_image_is_read_for_the_next_image_has_its_times(root, temp, needs):
    needs("mksquashfs")
    place, found = temp / "mounted", []
    place.mkdir()
    for text in "one", "two":
        subprocess.run(["mksquashfs", root.context({"a": text}), temp / text, "-quiet", "-no-progress", "-mkfs-time", "1",
                        "-all-time", "1"], check=True, stdout=subprocess.DEVNULL)
        if subprocess.run(["mount", "-o", "loop,ro", temp / text, place], check=False, capture_output=True).returncode:
            pytest.skip("nothing can be mounted from a file here")
        try:
            build(root, place, ALL, "-t", "x")
            found.append(root.image("x").rootfs()["all/a"][1])
        finally:
            unmount(place)
    assert found == [b"one", b"two"]


def test_directories_that_come_and_go_while_the_context_is_read_stop_nothing(root):
    context = root.context({f"d{i}/f": str(i) for i in range(200)})
    stop = threading.Event()

    def come_and_go(name):
        while not stop.is_set():
            (context / name / "x/y").mkdir(parents=True)
            (context / name / "x/link").symlink_to("f")
            shutil.rmtree(context / name)

    threads = [threading.Thread(target=come_and_go, args=(f"tmp{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    try:
        results = [build(root, context, ALL, "-t", "x") for _ in range(30)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(r.code == 0 for r in results)
    last = build(root, context, ALL, "-t", "x")
    assert {p.split("/")[1] for p in root.image("x").rootfs() if "/" in p} == {f"d{i}" for i in range(200)}
    assert last.id == build(fresh(root), context).id


# ---- what is written while it is read ------------------------------------------------------------

@contextlib.contextmanager
def coarse(temp):
    """A file system whose times have no fractions, as on older disks: writes within a second leave one time."""
    image, place = temp / "coarse.img", temp / "coarse"
    place.mkdir()
    subprocess.run(["truncate", "-s", "16M", image], check=True)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-I", "128", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted from a file here")
    try:
        yield place
    finally:
        unmount(place)


def flicker(lighter, context, path, change, texts, dockerfile):
    """Build while a file goes to and fro between two texts; then each text must give what it says."""
    for _ in range(8):
        stop = threading.Event()

        def write():
            while not stop.is_set():
                for text in texts:
                    change(path, text)
                    time.sleep(0.0003)

        thread = threading.Thread(target=write)
        thread.start()
        lighter.build(context, dockerfile=dockerfile, code=None)
        stop.set()
        thread.join()
        for text in texts:
            change(path, text)
            time.sleep(0.03)
            lighter.build(context, dockerfile=dockerfile, tag="x")
            assert lighter.image("x").rootfs()["out/f"][1] == text.encode()
        lighter("prune", "--force", "--all")
        lighter("rmi", "x")


def overwrite(path, text):
    with open(path, "r+") as f:
        f.write(text)


def overwrite_tar(path, text):
    with open(path, "r+b") as f:  # a header of 512 bytes comes first
        f.seek(512)
        f.write(text.encode())


@pytest.mark.parametrize("dockerfile", ["FROM scratch\nCOPY d /out/\n", "FROM scratch\nCOPY d/f /out/\n"])
def test_a_key_never_leads_to_bytes_that_were_written_in_the_same_moment(root, temp, dockerfile, needs):
    needs("mke2fs")
    with coarse(temp) as place:
        (place / "d").mkdir()
        for name in "afz":
            (place / "d" / name).write_text("-" * 20)
        flicker(root, place, place / "d/f", overwrite, ["A" * 20, "B" * 20], dockerfile)


def test_an_archive_that_is_written_while_it_is_unpacked_is_not_taken_for_another(root):
    context = root.context({"f": "-" * 20, "tail": os.urandom(200_000)})
    subprocess.run(["tar", "-cf", context / "x.tar", "--format=ustar", "-C", context, "f", "tail"], check=True)
    flicker(root, context, context / "x.tar", overwrite_tar, ["A" * 20, "B" * 20], "FROM scratch\nADD x.tar /out/\n")


# ---- an index that is no index -------------------------------------------------------------------

def index_of(lighter, what="the context"):
    """The one file in which is kept what was seen of the context, or what a copy wrote."""
    paths = [path for path in (lighter.store / "index").iterdir()
             if path.read_bytes().startswith(b"lighter index 1") == (what == "the context")]
    assert len(paths) == 1
    return paths[0]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x40
    path.write_bytes(data)


BREAKS = {
    "empty": lambda p: p.write_bytes(b""),
    "cut": lambda p: os.truncate(p, p.stat().st_size // 2),
    "cut by one byte": lambda p: os.truncate(p, p.stat().st_size - 1),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"x"),
    "zeros": lambda p: p.write_bytes(bytes(p.stat().st_size)),
    "something else": lambda p: p.write_text("hello"),
    "one bit of the header": lambda p: flip(p, 20),
    "one bit of a digest": lambda p: flip(p, 64 + 70),
    "one bit at the end": lambda p: flip(p, -3),
    "gone": lambda p: p.unlink(),
}


@pytest.mark.parametrize("what", ["the context", "a copy"])
@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_index_is_as_good_as_none(root, how, what):
    context = root.context(FILES)
    settle(context)
    first = build(root, context)
    BREAKS[how](index_of(root, what))
    again = build(root, context)
    assert again.id == first.id and not again.ran and not again.warnings
    (context / "a").write_text("eno")
    assert build(root, context).id == build(fresh(root), context).id != first.id


def test_an_index_that_cannot_be_written_is_told_of_and_hurts_nothing(root):
    context = root.context(FILES)
    build(root, context)
    index_of(root).unlink()
    index_of(root, "a copy").unlink()
    (root.store / "index").rmdir()
    (root.store / "index").write_text("in the way")
    result = build(root, context)
    assert any("index" in w or "files of the context" in w for w in result.warnings)


def test_an_index_is_listed_and_can_be_dropped(root):
    context = root.context(FILES)
    build(root, context)
    assert f"files of {context}" in root("du", "--verbose").stdout
    assert "source.local" in root("du", "--verbose").stdout
    root("prune", "--force", "--all", "--filter", "type=source.local")
    assert not list((root.store / "index").iterdir())
    assert not build(root, context).ran
