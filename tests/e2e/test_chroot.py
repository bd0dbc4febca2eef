"""Mode chroot: root of a container that may neither mount nor make namespaces.

The container is unprivileged.py: docker's default capabilities and a filter that refuses the rest.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import IS_ROOT, Lighter, wait_for

UNPRIVILEGED = Path(__file__).with_name("unprivileged.py")

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="needs root")


def contained(lighters, bases, *options, isolation="chroot", base="busybox"):
    """A Lighter in a container that unprivileged.py makes with these options, with a base image."""
    top = Path(tempfile.mkdtemp(prefix="chroot-", dir=lighters.place))
    top.chmod(0o755)
    wrapper = top / "lighter"
    words = " ".join([sys.executable, str(UNPRIVILEGED), *options, str(lighters.binary)])
    wrapper.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    wrapper.chmod(0o755)
    one = Lighter(wrapper, top, None, isolation)
    lighters.made.append(one)
    if base:
        one.load(bases(base))
    return one


@pytest.fixture
def container(lighters, bases):
    """contained(), less its first two arguments."""
    return lambda *options, **words: contained(lighters, bases, *options, **words)


@pytest.fixture
def static_program(temp, needs):
    """A C text as a static program's bytes."""
    needs("gcc")

    def make(text):
        (temp / "p.c").write_text(text)
        subprocess.run(["gcc", "-static", "-w", "-o", temp / "p", temp / "p.c"], check=True)
        return (temp / "p").read_bytes()
    return make


def same_as_root(lighters, bases, lighter, dockerfile, files=None, *args):
    """Build in both modes; the layers' members are compared first, for they say what differs."""
    root = lighters("root", bases=[bases("busybox")])
    images = []
    for one in (root, lighter):
        one.build(one.context(files), "--epoch=content", *args, dockerfile=dockerfile, tag="same")
        images.append(one.image("same"))
    a, b = images
    assert [layer.names() for layer in a.layers] == [layer.names() for layer in b.layers]
    for mine, other in zip(a.layers, b.layers):
        for name in mine.names():
            x, y = mine[name], other[name]
            assert (name, x.type, x.mode, x.uid, x.gid, x.size, x.linkname, x.pax_headers) == \
                (name, y.type, y.mode, y.uid, y.gid, y.size, y.linkname, y.pax_headers)
    assert (a.id, a.digest) == (b.id, b.digest)
    return a


# ---- the same images -----------------------------------------------------------------------------

SAME = {
    "nothing": "FROM busybox\nRUN true\n",
    "scratch": "FROM busybox AS b\nFROM scratch\nCOPY --from=b /bin/busybox /true\nRUN [\"/true\"]\n",
    "owners and modes": "FROM busybox\nRUN mkdir -p a/b && echo x >a/b/f && chown -R 7:8 a && chmod 2750 a/b && "
                        "chmod 4755 a/b/f && chown -h 5:6 a/b/f\n",
    "deletions": "FROM busybox\nRUN mkdir -p d/e && touch d/e/f d/g h\nRUN rm -r d/e h && rm /etc/group\n"
                 "RUN rm -r d\n",
    "a directory made anew": "FROM busybox\nRUN mkdir d && touch d/1 d/2\nRUN rm -r d && mkdir d && touch d/2 d/3\n"
                             "RUN rm -r d && echo >d\nRUN rm d && mkdir d\n",
    "the same directory twice": "FROM busybox\nRUN rm -rf /usr/share/standin && mkdir /usr/share/standin\n"
                                "RUN rmdir /usr/share/standin && mkdir /usr/share/standin && touch /usr/share/standin/x\n",
    "renames": "FROM busybox\nRUN mkdir -p d/sub e && touch d/sub/f e/g\nRUN mv d d2 && mv e/g e/h\n"
               "RUN mv d2 x && mv e d2 && mv x e\n",
    "new directories are renamed": "FROM busybox\nRUN mkdir /opt/x /tmp/y && touch /tmp/y/f && mv /tmp/y /opt/y && "
                                   "mkdir /tmp/z && mv /tmp/z /opt/z && mv /opt/z /opt/x/z\n",
    "touched and equal": "FROM busybox\nRUN mkdir -p d/empty && touch d/f && chown -R 1:1 d\n"
                         "RUN chown -R 1:1 d\nRUN chmod 755 d/empty\n",
    "made and removed again": "FROM busybox\nRUN mkdir d\nRUN touch d/x && rm d/x\nRUN touch /etc/x && rm /etc/x\n",
    "links": "FROM busybox\nRUN mkdir d && echo x >d/a && ln d/a d/b && ln -s a d/c && ln -s /nowhere d/e\n"
             "RUN ln d/c d/cc && rm d/b\n",
    "a name of many goes": "FROM busybox\nRUN rm /bin/tac\n",
    "pipes and nodes": "FROM busybox\nRUN mkfifo p && mknod n c 1 3\nRUN rm p\n",
    "copies between": "FROM busybox\nRUN mkdir /d && touch /d/1\nCOPY f /d/2\nRUN rm /d/2 && touch /d/3\n"
                      "COPY f /d/2\nCOPY dir /d\nRUN ls /d >/list\n",
    "stages": "FROM busybox AS a\nRUN echo a >/a\nFROM a AS b\nRUN echo b >/b\nFROM a AS c\nRUN echo c >/c\n"
              "FROM busybox\nCOPY --from=b /b /\nCOPY --from=c /c /a /\nRUN cat /a /b /c >/d\n",
    "user and workdir": "FROM busybox\nUSER 1234:99\nWORKDIR /home/w\nRUN id >/tmp/id; pwd >>/tmp/id\n",
    "hosts": "FROM busybox\nRUN ls /etc/hosts /etc/resolv.conf && echo x >/etc/y\n",
    "hosts of the image": "FROM busybox\nCOPY f /etc/hosts\nRUN grep localhost /etc/hosts && touch /x\n",
    "long names": "FROM busybox\nRUN d=/$(printf '%0200d' 1); mkdir -p $d$d$d && touch $d$d$d/f\n"
                  "RUN rm -r /0*1/0*1/0*1\n",
    "cache and secret": "FROM busybox\nRUN --mount=type=cache,target=/c touch /c/x; touch /made\n"
                        "RUN --mount=type=tmpfs,target=/t touch /t/x\n"
                        "RUN --mount=type=cache,target=/etc/deep/c touch /etc/deep/c/x\n",
    "binds": "FROM busybox AS a\nRUN mkdir -p /o/p && echo 1 >/o/p/f && ln -s /o/p /l\nFROM busybox\n"
             "RUN --mount=type=bind,from=a,source=/l,target=/in,rw cat /in/f >/f && touch /in/dropped\n"
             "RUN --mount=type=bind,target=/ctx cat /ctx/f >/g\n"
             "RUN --mount=type=bind,from=a,source=/o/p/f,target=/one cat /one >/h\n",
}


@pytest.mark.parametrize("what", SAME)
def test_the_image_is_that_of_mode_root(lighters, bases, container, what):
    same_as_root(lighters, bases, container(), SAME[what],
                 {"f": "f\n", "dir/x": "x\n", "dir/y/z": "z\n"})


def test_file_capabilities_are_kept(lighters, bases, container, static_program):
    setcap = static_program(r"""
        #include <sys/xattr.h>
        int main(int n, char **v) {
            static const char cap[20] = {1, 0, 0, 2, 0, 4};
            return setxattr(v[1], "security.capability", cap, sizeof cap, 0) != 0; }""")
    image = same_as_root(lighters, bases, container(), "FROM busybox\nCOPY --chmod=755 setcap /\n"
                         "RUN touch /f && /setcap /f\nRUN mv /f /g\n", {"setcap": setcap})
    assert "SCHILY.xattr.security.capability" in image.layers[-1]["g"].pax_headers


def test_without_device_nodes_the_image_is_the_same(lighters, bases, container):
    lighter = container("-nodev")
    same_as_root(lighters, bases, lighter,
                 "FROM busybox\nRUN echo x >/dev/null; echo y >/y; rm -r /usr/share/standin\n")
    assert lighter.run_in("FROM busybox\nRUN test -f /dev/null && echo file=yes\n").said("file") == "yes"


# ---- which mode ----------------------------------------------------------------------------------

def test_auto_takes_it_where_nothing_else_is_to_be_had(container):
    lighter = container(isolation=None)
    assert lighter.run_in("FROM busybox\nRUN test -e /proc/self || echo mode=chroot\n").said("mode") == "chroot"


def test_a_missing_capability_is_named(container):
    lighter = container("-nochroot", base=None)
    refused = lighter.run_in("FROM scratch\nRUN true\n", code=6)
    assert "CAP_SYS_CHROOT" in refused.error and "add: [SYS_CHROOT]" in refused.error


def test_a_store_is_not_shared_with_mode_root(container):
    lighter = container()
    lighter.run_in("FROM busybox\nRUN true\n")
    lighter.isolation, lighter.binary = "root", str(lighter.place.parent / "lighter")
    assert "was filled in mode 'chroot'" in lighter.run_in("FROM busybox\nRUN true\n", code=6).error


def test_a_step_without_network_is_refused(container):
    refused = container().run_in("FROM busybox\nRUN --network=none true\n", code=6)
    assert "network namespace" in refused.error and "lighter doctor" in refused.error


# ---- what a step sees ----------------------------------------------------------------------------

def test_standard_files_work(container):
    said = container().run_in("FROM busybox\nRUN echo one; echo two >/dev/stdout; echo three >&2; "
                              "echo four >/dev/stderr; echo five; cat /dev/stdin; head -c4 /dev/zero | wc -c\n"
                              "USER 1000\nRUN echo six >/dev/stdout; echo x >/dev/null\n")
    assert said.log == ["one", "two", "three", "four", "five", "4", "six"]


def test_a_long_output_comes_whole(container):
    said = container().run_in("FROM busybox\nRUN seq 200000\n")
    assert said.log == [str(i) for i in range(1, 200001)]


def test_rights_are_those_of_a_container(container, static_program):
    show = static_program(r"""
        #include <stdio.h>
        #include <sys/prctl.h>
        #include <unistd.h>
        int main(void) { printf("caps="); for (int i = 0; i < 41; i++) if (prctl(PR_CAPBSET_READ, i) == 1) printf("%d ", i);
                         printf("\nnnp=%d\nchroot=%d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), chroot("/")); }""")
    said = container().build(container(base=None).context({"show": (show, 0o755)}), dockerfile="FROM busybox\n"
                             "COPY show /\nRUN /show | sed 's/^/root-/'\nUSER 7\nRUN /show | sed 's/^/user-/'\n")
    caps = "0 1 3 4 5 6 7 8 10 27 29 31 "
    assert said.said("root-caps") == said.said("user-caps") == caps
    assert (said.said("root-nnp"), said.said("user-nnp")) == ("1", "0")  # so sudo works for users
    assert (said.said("root-chroot"), said.said("user-chroot")) == ("-1", "-1")  # no second chroot


def landlock_abi():
    try:
        import ctypes
        return ctypes.CDLL(None).syscall(444, None, 0, 1)
    except OSError:
        return 0


ESCAPE = r"""
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int n, char **v) {
    mkdir("/hole", 0755);
    if (chroot("/hole") < 0) perror("chroot");
    for (int i = 0; i < 64; i++) chdir("..");
    chroot(".");
    int fd = open(v[1], O_RDONLY), out = open(v[2], O_WRONLY | O_CREAT, 0644);
    printf("read=%d\nwrite=%d\n", fd >= 0, out >= 0);
    printf("kill=%d\n", kill(getppid(), SIGKILL));
    printf("trace=%ld\n", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    fflush(stdout);
    return 0;
}"""


@pytest.mark.skipif(landlock_abi() < 6, reason="Landlock before ABI 6")
def test_root_cannot_leave_its_root(container, static_program, temp):
    (temp / "theirs").write_text("x")
    lighter = container()
    context = lighter.context({"escape": (static_program(ESCAPE), 0o755)})
    said = lighter.build(context, dockerfile=f"FROM busybox\nCOPY escape /\nRUN exec /escape {temp}/theirs {temp}/new\n")
    assert [said.said(name) for name in ("read", "write", "kill", "trace")] == ["0", "0", "-1", "-1"]
    assert not (temp / "new").exists()


# ---- processes -----------------------------------------------------------------------------------

def running(word):
    return subprocess.run(["pgrep", "-fx", f"sleep {word}"], check=False, capture_output=True,
                          text=True).stdout.split()


def test_background_processes_end_with_the_step(container):
    lighter = container()
    lighter.run_in("FROM busybox\nRUN sleep 98761 & (setsid sh -c 'setsid sleep 98761 & sleep 98761' &) ; sleep 0.2\n"
                   "RUN echo next\n")
    assert running(98761) == []


def test_a_step_that_forks_all_the_time_ends(container):
    lighter = container()
    lighter.run_in("FROM busybox\nRUN (while true; do sleep 98762 & sleep 0.01; done) & sleep 0.3\n")
    assert running(98762) == []


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_stopped_leaves_no_process(container, sig):
    lighter = container()
    child = lighter.start("build", "--isolation=chroot", "-f", "-", lighter.context(), stdin=subprocess.PIPE)
    child.stdin.write(b"FROM busybox\nRUN setsid sleep 98763 & sleep 98763\n")
    child.stdin.close()
    assert wait_for(lambda: len(running(98763)) == 2)
    child.send_signal(sig)
    child.wait(30)
    assert wait_for(lambda: running(98763) == [])
    child.stdout.close()
    child.stderr.close()


def test_exit_codes_and_signals_are_named(container):
    lighter = container()
    assert "exit code 7" in lighter.run_in("FROM busybox\nRUN exit 7\n", code=1).error
    assert "killed by signal 15" in lighter.run_in("FROM busybox\nRUN kill -15 $$\n", code=1).error
    assert "nothere" in lighter.run_in("FROM busybox\nRUN [\"nothere\"]\n", code=1).error
    assert lighter.leftovers() == []


# ---- mounts --------------------------------------------------------------------------------------

def test_a_cache_is_kept_and_in_no_layer(container):
    lighter = container()
    text = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/var/c,mode=0700,uid=5 " \
           "stat -c rights=%a:%u /var/c; echo $N >>/var/c/log; echo log=$(cat /var/c/log)\n"
    first = lighter.run_in(text, "--build-arg", "N=1", tag="c")
    again = lighter.run_in(text, "--build-arg", "N=2", tag="c")
    assert (first.said("rights"), first.said("log"), again.said("log")) == ("700:5", "1", "1 2")
    assert not any("log" in name for name in lighter.image("c").layers[-1].names())


def test_a_read_only_cache_is_a_copy(container):
    lighter = container()
    lighter.run_in("FROM busybox\nRUN --mount=type=cache,target=/c echo 1 >/c/f\n")
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,ro echo got=$(cat /c/f); rm /c/f\n"
    assert lighter.run_in(text).said("got") == "1"
    assert lighter.run_in(text, "--no-cache").said("got") == "1"


def test_two_builds_take_turns_with_one_cache(container):
    lighter = container()
    results = []

    def one(n):
        results.append(lighter.run_in(
            "FROM busybox\nRUN --mount=type=cache,target=/c for i in 1 2 3 4 5; do echo "
            f"{n} >>/c/log; sleep 0.05; done; echo log=$(cat /c/log | tr -d '\\n')\n").said("log"))
    threads = [threading.Thread(target=one, args=(n,)) for n in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert max(results, key=len) in ("1111122222", "2222211111")


def test_a_step_that_breaks_its_cache_loses_only_that(container):
    lighter = container()
    lighter.run_in("FROM busybox\nRUN --mount=type=cache,target=/c,mode=0711 echo 1 >/c/f; mv /c /d\n")
    assert lighter.run_in("FROM busybox\nRUN --mount=type=cache,target=/c,mode=0711 echo "
                          "rights=$(stat -c %a /c)\n").said("rights") == "711"


SECRET = "correct-horse-battery-staple"


def test_a_secret_is_nowhere_afterwards(container, temp):
    (temp / "secret").write_text(SECRET)
    lighter = container()
    args = ["--secret", f"id=s,src={temp}/secret"]
    text = "FROM busybox\nRUN --mount=type=secret,id=s,mode=0440,uid=3 stat -c rights=%a:%u /run/secrets/s; " \
           "wc -c </run/secrets/s; touch /made; exit {}\n"
    said = lighter.run_in(text.format(0), *args, tag="s")
    assert said.said("rights") == "440:3" and said.log[-1] == str(len(SECRET))
    lighter.run_in(text.format(1), *args, code=1)
    assert lighter.image("s").layers[-1].names() == ["made"] or "made" in lighter.image("s").layers[-1]
    found = subprocess.run(["grep", "-rlF", SECRET, lighter.store], check=False, capture_output=True, text=True)
    assert found.stdout == ""


def test_sizes_that_cannot_be_held_are_refused_by_name(container):
    lighter = container()
    refused = lighter.run_in("FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m true\n", code=6)
    assert "tmpfs '/t'" in refused.error and "a size cannot be held in mode chroot" in refused.error
    refused = lighter.run_in("FROM busybox\nRUN true\n", "--shm-size=1m", code=6)
    assert "--shm-size needs a mount of its own" in refused.error


def test_tmpfs_has_the_mode_of_what_it_hides(container):
    said = container().run_in("FROM busybox\nRUN --mount=type=tmpfs,target=/root stat -c root=%a /root\n"
                              "RUN --mount=type=tmpfs,target=/new stat -c new=%a /new\n")
    assert (said.said("root"), said.said("new")) == ("700", "1777")


def test_targets_that_cannot_be_are_refused(container):
    lighter = container()
    for target in ("/proc/x", "/bin/sh"):
        assert target in lighter.run_in(
            f"FROM busybox\nRUN --mount=type=tmpfs,target={target} true\n", code=1).error


# ---- lighter run ---------------------------------------------------------------------------------

def test_run_has_a_copy_of_the_image(container, temp):
    lighter = container()
    (temp / "f").write_text("mine\n")
    said = lighter.run("busybox", "sh", "-c", "rm -r /etc; cat /v/f /w; echo x >/v/f; exit 3",
                       args=["-v", f"{temp}:/v:ro", "-v", f"{temp}/f:/w:ro"], code=3)
    assert said.stdout == "mine\nmine\n" and (temp / "f").read_text() == "mine\n"
    refused = lighter.run("busybox", "true", args=["-v", f"{temp}:/v"], code=6)
    assert str(temp) in refused.error and ":ro" in refused.error
    assert lighter.leftovers() == []


# ---- random steps --------------------------------------------------------------------------------

def random_steps(seed, n=6, commands=8):
    """RUN lines that make, move, remove and change files with few names, so that they meet."""
    pick = random.Random(seed)

    def path():
        return "/t/" + "/".join(pick.choice("abc") for _ in range(pick.randint(1, 3)))

    def command():
        p, q = path(), path()
        return pick.choice([
            f"mkdir -p {p}", f"mkdir -p {p}", f"echo {pick.randint(0, 9)} >{p}", f"echo x >>{p}", f"rm -rf {p}",
            f"mv {p} {q}", f"cp -a {p} {q}", f"chmod {pick.choice(['700', '755', '644'])} {p}",
            f"chown {pick.randint(0, 3)}:{pick.randint(0, 3)} {p}", f"chown -R 0:0 {p}", f"touch {p}",
            f"ln -sfn {q} {p}", f"rm -rf {p} && mkdir {p}", f"rmdir {p}"])
    # Times differ between two builds, and cp -a copies them: --epoch=content makes them one.
    return "FROM busybox\nRUN mkdir /t\n" + "".join(
        "RUN " + "; ".join(f"{{ {command()}; }} 2>/dev/null" for _ in range(commands)) + "; true\n"
        if pick.random() < 0.8 else f"COPY f /t/d/{pick.choice('abc')}\n" for _ in range(n))


@pytest.mark.parametrize("seed", range(12))
def test_random_steps_give_the_image_of_mode_root(lighters, bases, container, seed):
    same_as_root(lighters, bases, container(), random_steps(seed), {"f": "f\n"})
