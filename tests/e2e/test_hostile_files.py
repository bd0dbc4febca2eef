"""Hostile files: contexts that change under a build, images whose files are traps, names and output that are aimed at the
reader, and steps that fill what they can fill. In every mode where that makes a difference.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from harness import mounts, tree_of, unmount
from test_hostile import MODES, NAMESPACED, compiled, lighter_of
from test_load import Maker, good_layer, tar_of


@pytest.fixture
def lighter(request, lighters, bases):
    return lighter_of(getattr(request, "param", None), lighters, bases)


def holding(top, needle):
    """Files below `top` that hold these bytes."""
    done = subprocess.run(["grep", "-rlaF", "-e", needle, top], check=False, stdout=subprocess.PIPE, text=True)
    return done.stdout.split("\n")[:-1]


# ---- contexts that change ------------------------------------------------------------------------

@pytest.mark.parametrize("line", ["COPY d/f /x/", "COPY d/* /x/", "ADD d/f /x/", "RUN --mount=type=bind,source=d/f,target=/x cat /x"])
def test_a_directory_that_becomes_a_link_while_it_is_copied_leads_nowhere_else(lighter, place, line):
    """hostile_swap.c puts the link there before every call and takes it away after it: whatever a look-up has seen is another
    thing when it is opened. What is opened follows no link (tree/view.c)."""
    compiled(place, "hostile_swap", "-shared", "-fPIC", "-ldl")
    context, outside = lighter.context({"d/f": "inside"}), lighter.context({"f": "OUTSIDE-THE-CONTEXT"})
    (context / "link").symlink_to(outside)
    lighter.own(context)
    done = lighter.build(context, dockerfile=f"FROM busybox\n{line}\n", code=None,
                         env={"SWAP": str(context), "LD_PRELOAD": str(place / "hostile_swap")})
    assert done.code in (0, 1, 3)
    assert "OUTSIDE" not in done.stderr and holding(lighter.store, "OUTSIDE-THE") == []


# ---- words that are aimed at the reader ----------------------------------------------------------

STEER = "\x1b]0;owned\x07\x9b2J\x7f"  # the title of a window, and by C1's CSI a cleared screen
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(done):
    """Without control characters, be they bytes of their own or C1's two."""
    for text in (done.stdout, done.stderr):
        assert not CONTROLS.search(text) and "\udc9b" not in text, text
    return done


@pytest.mark.parametrize("text", [
    f"RUN echo {STEER}\n", f"RUN false {STEER}\n", f"COPY {STEER} /\n", f"COPY --chown={STEER} f /\n", f"USER {STEER}\nRUN true\n",
    f"WORKDIR /etc/passwd/{STEER}\n", f"RUN [\"{STEER}\"]\n", f"RUN --mount=type=bind,source={STEER},target=/x true\n",
    f"{STEER} x\n", f"FROM busybox AS {STEER}\n", f"FROM {STEER}\n", f"ADD http://127.0.0.1:1/{STEER} /\n", f"COPY *{STEER} /\n",
    f"ENV A={STEER}\nRUN cd \"$A\"\n", f"RUN <<{STEER}\n", f"# syntax={STEER}\n", f"HEALTHCHECK {STEER}\n",
    "RUN printf '\\033]0;o\\007 \\302\\2332J \\2332J \\177 a\\000b\\n'\n", "RUN printf '\\033]0;o\\007 \\302\\2332J \\2332J \\177 a\\000b'; false\n",
])
def test_no_word_of_a_dockerfile_or_a_step_steers_the_terminal(lighter, text):
    """buf_add_clean() is what everything goes through: titles, output, the last lines of a failure, warnings, the message."""
    clean(lighter.run_in(("" if text.startswith("#") else "FROM busybox\n") + text, "--no-cache", files={"f": ""}, code=None))


def test_no_name_of_a_file_steers_the_terminal(lighter):
    context = lighter.context({STEER: "x", "d/" + STEER: "y", ".dockerignore": f"d/*{STEER}*\n"})
    clean(lighter.build(context, dockerfile=f"FROM busybox\nCOPY {STEER} /{STEER}\nRUN ls /{STEER}*; cat /{STEER}/x\n", code=1))
    clean(lighter.build(context, dockerfile=f"FROM busybox\nCOPY d/{STEER} /\n", code=3))
    clean(lighter("context", "ls", "--why", "d/" + STEER, context))
    clean(lighter("context", "ls", context))


def test_what_the_store_remembers_steers_no_terminal(lighter):
    lighter.run_in(f"FROM busybox\nRUN true '{STEER}' && echo x >/x\n", tag="t")
    clean(lighter("du", "--verbose"))
    clean(lighter("prune", "--all", "--dry-run"))
    clean(lighter("prune", "--all", "--force"))


@pytest.mark.parametrize("lighter", MODES, indirect=True)
def test_what_an_image_asks_to_be_executed_steers_no_terminal(lighter):
    lighter.run_in(f"FROM busybox\nENTRYPOINT {json.dumps(['/bin/' + STEER])}\nUSER 1\n", tag="t")
    assert "exec '/bin/" in clean(lighter.run("t", code=127)).stderr
    lighter.run_in(f"FROM busybox\nUSER {STEER}\n", tag="t")
    assert "is not in the image's /etc/passwd" in clean(lighter.run("t", "true", code=None)).stderr


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
def test_a_pipe_in_the_place_of_an_ignore_file_is_refused_and_not_waited_for(lighter, name):
    context = lighter.context({"Dockerfile": "FROM busybox\nCOPY . /c/\n"})
    os.mkfifo(context / name)
    lighter.own(context)
    assert name in lighter.build(context, code=3, timeout=20).error


def own_mounts(lighter):
    """Others may mount things meanwhile."""
    return [line for line in mounts() if str(lighter.place) in line]


# ---- images that are traps -----------------------------------------------------------------------

def load_trap(lighter, busybox_program, *members):
    """An image `trap` of busybox with these members over it."""
    tools = tar_of(("tmp", "dir", ""), *((f"bin/{name}", "sym", "busybox") for name in ("cat", "ls", "test", "touch", "true", "wc")))
    made = Maker().image(good_layer(busybox_program), tools, tar_of(*members), ref="docker.io/library/trap:latest",
                         media="application/vnd.oci.image.layer.v1.tar")
    lighter("load", input=made.archive())


LOOK = """echo masked=$(cat /proc/timer_list /proc/keys 2>/dev/null | wc -c)
(echo x >/proc/sys/kernel/domainname) 2>/dev/null || echo closed=yes
test -c /dev/null && echo null=yes
echo hosts=$(cat /etc/hosts | wc -l)
touch /made
"""
TRAPS = {
    "a link out": ("sym", "{outside}/victim"), "a link up": ("sym", "../../../../../../../../..{outside}/victim"),
    "a link to what is not there": ("sym", "{outside}/not-there"), "a link to itself": ("sym", "{itself}"), "a link to /etc": ("sym", "/etc"),
    "a link into /proc": ("sym", "/proc/self/root/etc/passwd"), "a link to a file of the kernel": ("sym", "/proc/sys/kernel/domainname"),
    "a directory": ("dir", ""), "a file": ("file", b"x"), "a pipe": ("fifo", ""), "a link to a device": ("sym", "/dev/null"),
}


@pytest.mark.parametrize("what", TRAPS)
@pytest.mark.parametrize("lighter", MODES, indirect=True)
def test_a_trap_where_lighter_puts_something_into_the_root_catches_nothing(lighter, bases, busybox_program, temp, what):
    """/etc/hosts, /etc/resolv.conf, /dev, /proc and /sys: places are found with the step's root as root (fs_open_in_root)."""
    (temp / "victim").write_text("theirs")
    temp.chmod(0o777)
    before, there = tree_of(temp), own_mounts(lighter)
    kind, content = TRAPS[what]
    for path in ("etc/hosts", "etc/resolv.conf", "dev", "proc", "sys"):
        text = content.format(outside=temp, itself="/" + path) if isinstance(content, str) else content
        load_trap(lighter, busybox_program, (path, kind, text))
        done = lighter.run_in("FROM trap\nCOPY look /\nRUN sh /look\n", "--no-cache", files={"look": LOOK}, code=None, timeout=30)
        why = done.error.split("RUN sh /look: ")[-1]
        assert done.code == 0 or path in why or "/etc/hosts" in why, done
        if done.code == 0 and lighter.isolation != "chroot":
            assert (done.said("masked"), done.said("closed")) == ("0", "yes"), done
        if done.code == 0 and (lighter.isolation != "chroot" or " of the kernel" not in what and " device" not in what):
            assert done.said("null" if path == "dev" else "hosts") in ("yes", "2"), "what lighter puts there is there"
        assert tree_of(temp) == before and (temp / "victim").read_text() == "theirs"
        assert own_mounts(lighter) == there and lighter.leftovers() == []


@pytest.mark.parametrize("members", [
    [("etc/passwd", "fifo", ""), ("etc/group", "fifo", "")], [("etc/passwd", "dir", "")], [("etc/passwd", "sym", "/etc/passwd")],
    [("etc/passwd", "sym", "/proc/kmsg")], [("etc/passwd", "sym", "/dev/zero"), ("etc/group", "sym", "/dev/stdin")],
    [("etc/passwd", "sym", "../../../../../../../etc/passwd")], [("etc/passwd", "file", b"app:x:0:0\n" * (1 << 20))],
    [("etc/passwd", "file", b"app:x:99999999999:-1:::\n:::::::::\napp\nroot:x:x:x\n\0app:x:1:1::/:\n")],
], ids=["pipes", "directory", "itself", "kmsg", "zero", "up", "ten megabytes", "nonsense"])
@pytest.mark.parametrize("lighter", MODES, indirect=True)
def test_a_trap_where_names_of_users_are_looked_up_ends_the_step_and_not_lighter(lighter, busybox_program, members):
    """Nothing is waited for, nothing endless is read, and no file of the host's is asked."""
    load_trap(lighter, busybox_program, *members)
    for text in ("USER app\nRUN true\n", "USER app:app\nWORKDIR /w\nRUN true\n", "COPY --chown=app f /\n"):
        done = lighter.run_in("FROM trap\n" + text, "--no-cache", files={"f": ""}, code=None, timeout=30)
        assert done.code in (1, 3, 6, 7) and ("passwd" in done.error or "app" in done.error or "/proc" in done.error), done
    assert lighter.leftovers() == []


@pytest.mark.parametrize("lighter", MODES, indirect=True)
def test_no_destination_leads_out_of_the_image(lighter, temp):
    """COPY, ADD, WORKDIR and mounts, through links that a step before them has made."""
    temp.chmod(0o777)
    (temp / "d").mkdir(mode=0o777)
    before = tree_of(temp)
    links = f"FROM busybox\nRUN ln -s {temp}/d /l && ln -s ../../../../../../..{temp}/d /u && ln -s l /m && mkdir /w && ln -s {temp} /w/t\n"
    files = {"f": "f", "d/g": "g", "t.tar": tar_of(("in-tar", "file", b"x"))}
    for at in ("/l", "/u", "/m", "/w/t/d"):
        lines = (f"COPY f {at}/", f"COPY f {at}/new", f"COPY d {at}/", f"ADD t.tar {at}/", f"WORKDIR {at}/a/b", f"COPY --chown=7:7 d {at}",
                 f"RUN --mount=type=cache,target={at}/c touch {at}/c/x", f"RUN --mount=type=tmpfs,target={at} touch {at}/x",
                 f"RUN --mount=type=bind,target={at}/b ls {at}/b", f"RUN mkdir -p {at} && touch {at}/made")
        lighter.run_in(links + "\n".join(lines) + "\n", files=files)
        assert tree_of(temp) == before
    lighter.run_in(links + "ADD t.tar /l/\n", files=files, tag="t")
    assert f"{temp}/d/in-tar"[1:] in lighter.image("t").rootfs(), "it is the image's own"


# ---- floods --------------------------------------------------------------------------------------

@pytest.mark.parametrize("lighter", [None, "chroot"], ids=["here", "chroot"], indirect=True)
def test_a_gigabyte_without_a_newline_takes_no_memory(lighter):
    """A line is shown in pieces of 8 KiB (ui/plain.c), and the tail of a failure is a ring."""
    done = lighter.run_in("FROM busybox\nRUN dd if=/dev/zero bs=1M count=1024 2>/dev/null | tr '\\0' x; false\n", code=1, watch=True,
                          stderr=subprocess.DEVNULL)
    assert done.peak_kib < 40 << 10


@pytest.mark.parametrize("lighter", MODES, indirect=True)
def test_a_step_that_takes_the_last_inode_fails_and_the_next_build_has_them_again(lighter, needs_root):
    """The store is a file system with few of them; what a failed step wrote is removed."""
    small = lighter.directory("small")
    who = lighter.account
    options = "size=16m,nr_inodes=900" + (f",uid={who.uid},gid={who.gid},mode=700" if who else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "lighter-e2e", small], check=True)
    try:
        old, lighter.store = lighter.store, small / "store"
        lighter.load(old)
        for fill in ("i=0; while touch $i; do i=$((i+1)); done", "dd if=/dev/zero of=/big bs=1M"):
            failed = lighter.run_in(f"FROM busybox\nWORKDIR /d\nRUN {fill}; false\n", code=None)
            assert failed.code in (1, 7) and "No space left" in failed.stderr, failed
            assert os.statvfs(small).f_ffree > 200, "what it wrote takes no room when the build has ended"
            assert lighter.leftovers() == []
            done = lighter.run_in("FROM busybox\nRUN echo next=yes >/made && cat /made\n", "--no-cache", tag="t")
            assert done.said("next") == "yes" and "made" in lighter.image("t").rootfs()
        assert lighter.damaged_blobs() == []
    finally:
        unmount(small)


# ---- others on this machine ----------------------------------------------------------------------

AS_NOBODY = "import os,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execvp(sys.argv[1], sys.argv[1:])"


def as_nobody(*words):
    return subprocess.run([sys.executable, "-c", AS_NOBODY, *map(str, words)], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True).stdout


@pytest.mark.parametrize("lighter", NAMESPACED, indirect=True)
def test_another_user_reads_and_executes_nothing_of_a_store_whose_directory_was_open_to_all(lighter, bases, needs_root):
    """Snapshots and caches hold other systems' setuid programs, the database build arguments: the store closes its directory."""
    loaded = lighter.store
    lighter.store = lighter.directory("open-to-all") / "store"
    lighter.store.mkdir(mode=0o755)
    lighter.own(lighter.store.parent)
    lighter.load(loaded)
    lighter.run_in("FROM busybox\nARG TOKEN\nRUN --mount=type=cache,target=/c cp /bin/busybox /c/setuid; cp /bin/busybox /setuid; "
                   "chmod 4755 /c/setuid /setuid; true $TOKEN\n", "--build-arg", "TOKEN=of-the-owner-alone", tag="t")
    seen = subprocess.run(["find", lighter.store, "-name", "setuid"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    assert len(seen) == 2 and holding(lighter.store, "of-the-owner-alone")
    assert as_nobody("find", lighter.store, "-mindepth", "1") == ""
    assert [as_nobody(path, "echo", "executed") for path in seen] == ["", ""]
    assert as_nobody("cat", *lighter.store.glob("meta.db*")) == ""


@pytest.mark.parametrize("there", [{"blobs/x": ""}, {"mine": ""}])
def test_a_directory_with_something_in_it_keeps_its_mode(lighters, bases, there):
    lighter = lighters()
    lighter.context(there, name="store").chmod(0o755)
    lighter.load(bases("busybox"))
    assert lighter.store.stat().st_mode & 0o777 == 0o755
