"""A file that two snapshots have and the disk once: a program that one stage makes and another copies. Nobody can tell."""

import hashlib
import os
import threading

import pytest

MADE = """FROM busybox AS made
RUN yes {word} | head -c 2000000 >/prog && chmod 4755 /prog && touch -d @1700000000 /prog
"""
TAKEN = "FROM busybox AS taken\nCOPY --from=made /prog /bin/prog\n"
TELL = "stat -c '%h %s %a %u %g %Y' {path} && sha256sum {path}"


@pytest.fixture(params=["root", "rootless", "single", "chroot"])
def mode(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def names(lighter):
    """Where snapshots have the program: {path in the store: (inode, names)}."""
    found = {}
    for path in (lighter.store / "snapshots").rglob("prog"):
        st = path.lstat()
        found[str(path.relative_to(lighter.store / "snapshots")).partition("/")[2]] = (st.st_ino, st.st_nlink)
    return found


def is_once(lighter):
    found = names(lighter)
    return len(found) == 2 and len(set(found.values())) == 1 and {n for _, n in found.values()} == {2}


def is_apart(lighter):
    found = list(names(lighter).values())
    return len(found) == 2 and len(set(found)) == 2 and {n for _, n in found} == {1}


def said(word, path):
    content = (word + "\n").encode() * 2000000
    return f"1 2000000 4755 0 0 1700000000\n{hashlib.sha256(content[:2000000]).hexdigest()}  {path}"


def test_the_disk_has_it_once_and_the_image_is_that_of_a_copy(mode):
    made = MADE.format(word="once")
    mode.run_in(made + TAKEN, tag="once")
    assert is_once(mode)
    mode.run_in(made + TAKEN.replace("COPY", "COPY --chown=0:0"), tag="copy")
    assert mode.inspect("once")["RootFS"] == mode.inspect("copy")["RootFS"]
    info, content = mode.image("once").rootfs()["bin/prog"]
    assert (info.mode, info.uid, info.mtime, len(content)) == (0o4755, 0, 1700000000, 2000000)
    mode.check()


@pytest.mark.parametrize("over", ["taken", "made"])
def test_a_command_of_a_later_build_sees_one_name(mode, over):
    made = MADE.format(word=over)
    mode.run_in(made + TAKEN, tag="once")
    assert is_once(mode)
    path = {"taken": "/bin/prog", "made": "/prog"}[over]
    tell = f"RUN {{ {TELL.format(path=path)}; }} >/told\n"
    text = made + TAKEN + tell if over == "taken" else made + tell
    mode.run_in(text, tag="told")
    assert mode.image("told").rootfs()["told"][1].decode().strip() == said(over, path)
    assert is_apart(mode) and not list((mode.store / "twins").glob("*/"))
    mode.check()


def test_a_container_sees_one_name(mode):
    mode.run_in(MADE.format(word="run") + TAKEN, tag="once")
    assert is_once(mode)
    told = mode.run("once", "sh", "-c", TELL.format(path="/bin/prog")).stdout.strip()
    assert told == said("run", "/bin/prog") and is_apart(mode)


def test_a_mount_of_the_stage_has_one_name(mode):
    made = MADE.format(word="mount")
    mode.run_in(made + TAKEN, tag="once")
    assert is_once(mode)
    mode.run_in(made + f"FROM busybox\nRUN --mount=from=made,target=/m {{ {TELL.format(path='/m/prog')}; }} >/told\n", tag="told")
    assert mode.image("told").rootfs()["told"][1].decode().strip() == said("mount", "/m/prog")


def test_both_in_one_root_are_two_files(mode):
    text = MADE.format(word="both") + "FROM made\nCOPY --from=made /prog /bin/prog\n"
    mode.run_in(text, tag="both")
    out = mode.directory()
    mode.run_in(text, "-o", f"type=local,dest={out}")
    assert not os.path.samefile(out / "prog", out / "bin/prog")
    told = mode.run("both", "stat", "-c", "%h", "/prog", "/bin/prog").stdout.split()
    assert told == ["1", "1"]


@pytest.mark.parametrize("taken", [
    "FROM busybox\nCOPY --from=made /prog /bin/prog\nRUN true\n",
    "FROM busybox\nCOPY --from=made --chmod=755 /prog /bin/prog\n",
    "FROM busybox\nCOPY --from=made --chown=7 /prog /bin/prog\n",
    "FROM busybox\nCOPY --from=made --link /prog /bin/prog\n",
    "FROM made\nRUN true\nFROM busybox\nCOPY --from=made /prog /bin/prog\n",
])
def test_what_would_be_seen_is_copied(lighter, taken):
    lighter.run_in(MADE.format(word="seen") + taken, tag="seen")
    assert is_once(lighter) == taken.startswith("FROM made")  # nobody needs that stage
    assert is_once(lighter) or is_apart(lighter)


def test_a_file_with_a_second_name_in_its_stage_keeps_it_and_its_copy_has_none(lighter):
    made = MADE.format(word="ln").replace("touch", "ln /prog /also && touch")
    lighter.run_in(made + TAKEN, tag="one")
    found = names(lighter)
    assert found["prog"][1] == 2 and found["bin/prog"][1] == 1


def test_one_goes_and_the_other_stays_whole(mode):
    mode.run_in(MADE.format(word="gone") + TAKEN, tag="once")
    mode("prune", "--all", "--force", *(["--isolation", mode.isolation] if mode.isolation else []))
    assert set(names(mode)) == {"bin/prog"} and len(list((mode.store / "twins").iterdir())) == 1
    assert mode.run("once", "sh", "-c", TELL.format(path="/bin/prog")).stdout.strip() == said("gone", "/bin/prog")
    assert not list((mode.store / "twins").iterdir())


def test_many_that_come_at_once_see_one_name_each(mode):
    mode.run_in(MADE.format(word="many") + TAKEN, tag="once")
    told = []

    def one():
        told.append(mode.run("once", "sh", "-c", TELL.format(path="/bin/prog") + "; sleep 0.3; stat -c %h /bin/prog").stdout.strip())
    threads = [threading.Thread(target=one) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert told == [said("many", "/bin/prog") + "\n1"] * 6


def test_a_program_that_was_taken_once_is_taken_again(lighter):
    made = MADE.format(word="again")
    lighter.run_in(made + TAKEN, tag="once")
    lighter.run_in(made + TAKEN + "FROM scratch\nCOPY --from=taken /bin/prog /three\n", tag="three")
    assert lighter.image("three").rootfs()["three"][0].mode == 0o4755
    assert lighter.run("once", "stat", "-c", "%h", "/bin/prog").stdout.strip() == "1"
