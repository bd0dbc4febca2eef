"""`lighter run` as docker's users know it: terminals, mounts, exit codes; in every mode that can have them.

The rules are those of `docker run --help` (features.md M3).
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module", params=["root", "rootless", "single", "chroot"])
def lighter(request, module_lighters, bases):
    if request.param in ("root", "chroot") and not IS_ROOT:
        pytest.skip(f"mode {request.param} needs root")
    return module_lighters(request.param, bases=[bases("busybox")])


class Screen:
    """lighter under a terminal of ours, with what it printed there."""

    def __init__(self, lighter, *args, size=(24, 80), command="run", env=None):
        self.ours, self.theirs = pty.openpty()
        self.resize(*size)
        self.text, options = "", lighter.account.popen() if lighter.account else {}
        if lighter.account:
            os.fchown(self.theirs, lighter.account.uid, -1)
        self.before = termios.tcgetattr(self.theirs)
        self.child = subprocess.Popen([lighter.binary, command, "--isolation", lighter.isolation, *args], stdin=self.theirs,
                                      stdout=self.theirs, stderr=self.theirs, cwd=lighter.place, env=lighter.environment(env),
                                      preexec_fn=self.own_session, **options)

    def own_session(self):
        os.setsid()
        fcntl.ioctl(self.theirs, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.ours, text.encode())

    def wait(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"no {pattern!r} in {self.text!r}"
            if select.select([self.ours], [], [], 0.1)[0]:
                self.text += os.read(self.ours, 4096).decode(errors="replace")
        return re.search(pattern, self.text)

    def end(self):
        code = self.child.wait(20)
        while select.select([self.ours], [], [], 0.05)[0]:
            self.text += os.read(self.ours, 4096).decode(errors="replace")
        after = termios.tcgetattr(self.theirs)
        os.close(self.ours)
        os.close(self.theirs)
        assert after == self.before, "the terminal is as it was"
        return code


# ---- terminals -----------------------------------------------------------------------------------

def test_a_shell_under_a_terminal_is_typed_to_and_its_code_is_ours(lighter):
    screen = Screen(lighter, "-it", "busybox", "sh")
    screen.wait(r"[#$] ")
    screen.type("echo $((40+2)) term=$TERM\n")
    screen.wait(r"\n42 term=xterm\r\n")
    screen.type("exit 7\n")
    assert screen.end() == 7


def test_a_command_has_a_terminal_of_its_own_with_the_size_of_ours(lighter):
    screen = Screen(lighter, "-it", "busybox", "sh", "-c", "stty size; read x; stty size; test -t 0 -a -t 1 -a -t 2 && echo three=yes",
                    size=(33, 99))
    screen.wait(r"33 99\r\n")
    screen.resize(44, 111)
    screen.type("\n")
    screen.wait(r"44 111\r\n")
    screen.wait(r"three=yes")
    assert screen.end() == 0


def test_an_interrupt_that_is_typed_goes_to_the_command(lighter):
    screen = Screen(lighter, "-it", "busybox", "sh", "-c", "trap 'echo caught=int; exit 5' INT; echo up; while :; do sleep 0.05; done")
    screen.wait("up\r\n")
    screen.type("\x03")
    screen.wait("caught=int")
    assert screen.end() == 5


def test_the_callers_terminal_cannot_be_reached_from_inside(lighter):
    screen = Screen(lighter, "-t", "busybox", "sh", "-c", "ls /dev/pts | grep -v ptmx | wc -l | sed s/^/seen=/; tty; echo")
    screen.wait(r"seen=\d")
    assert screen.end() == 0
    if lighter.isolation != "chroot":
        assert "seen=1" in screen.text and "/dev/pts/0" in screen.text


def test_what_is_printed_last_is_not_lost(lighter):
    screen = Screen(lighter, "-t", "busybox", "sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo END")
    screen.wait("END", seconds=60)
    assert screen.end() == 0
    assert screen.text.count("x") == 300000


def test_a_terminal_is_refused_where_there_is_none_to_connect_it_with(lighter):
    assert "-it: stdin is no terminal" in lighter.run("busybox", "sh", args=["-it"], code=2).error
    assert lighter.run("busybox", "sh", "-c", "test -t 1 && echo one=yes", args=["-t"]).stdout == "one=yes\r\n"


def test_sigterm_reaches_the_command_under_a_terminal(lighter):
    screen = Screen(lighter, "-it", "busybox", "sh", "-c", "trap 'echo caught=term; exit 9' TERM; echo up; while :; do sleep 0.05; done")
    screen.wait("up\r\n")
    screen.child.send_signal(signal.SIGTERM)
    screen.wait("caught=term")
    assert screen.end() == 9


# ---- codes ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("command, code, said", [
    (["/nowhere"], 127, "exec '/nowhere': No such file or directory"),
    (["nosuch"], 127, "exec 'nosuch': executable file not found in PATH"),
    (["/etc"], 126, "exec '/etc': Permission denied"),
    (["/etc/passwd"], 126, "exec '/etc/passwd': Permission denied"),
])
def test_what_cannot_be_executed_has_the_code_of_shells(lighter, command, code, said):
    done = lighter.run("busybox", *command, code=code)
    assert f"lighter run: {said}" in done.stderr


# ---- files and variables -------------------------------------------------------------------------

def test_variables_come_from_files_and_options_and_the_last_word_wins(lighter):
    path = lighter.directory() / "env"
    path.write_text("# comment\n\nA=1\n  B=two words \nC\nD=file\r\nHERE\n")
    lighter.own(path.parent)
    done = lighter.run("busybox", "sh", "-c", 'echo "$A|$B|${C-unset}|$D|$HERE"', args=["--env-file", path, "-e", "D=option"],
                       env={"HERE": "caller"})
    assert done.stdout == "1|two words |unset|option|caller\n"
    assert "--env-file: open '/nowhere'" in lighter.run("busybox", "true", args=["--env-file", "/nowhere"], code=7).error


def test_the_host_name_is_the_one_asked_for(lighter):
    done = lighter.run("busybox", "sh", "-c", "echo $HOSTNAME; hostname", args=["-h", "box"])
    assert done.stdout.split() == (["box", "box"] if lighter.isolation != "chroot" else ["box", os.uname().nodename])


def test_memory_is_mounted_where_it_is_asked_for(lighter):
    done = lighter.run("busybox", "sh", "-c", "touch /m/x && ls /m", args=["--tmpfs", "/m"])
    assert done.stdout == "x\n"
    if lighter.isolation == "chroot":
        return
    for args in (["--tmpfs", "/m:size=64k"], ["--mount", "type=tmpfs,target=/m,tmpfs-size=64k"]):
        done = lighter.run("busybox", "sh", "-c", "head -c 200000 /dev/zero >/m/x 2>/dev/null; stat -c %s /m/x", args=args)
        assert done.stdout == "65536\n"


def test_a_bind_may_be_read_only_in_the_long_form_as_in_the_short(lighter):
    there = lighter.context({"f": "host's\n"})
    for args in (["--mount", f"type=bind,source={there},target=/d,readonly"], ["-v", f"{there}:/d:ro"]):
        done = lighter.run("busybox", "sh", "-c", "cat /d/f; (echo x >/d/f) 2>/dev/null; cat /d/f | wc -l", args=args)
        assert done.stdout.splitlines()[0] == "host's"
        assert (there / "f").read_text() == "host's\n"


def test_the_root_may_be_read_only(lighter):
    if lighter.isolation == "chroot":
        assert "--read-only: in mode chroot" in lighter.run("busybox", "true", args=["--read-only"], code=6).error
        return
    done = lighter.run("busybox", "sh", "-c", "(touch /x) 2>/dev/null || echo no; touch /m/x && echo yes; touch /dev/shm/x && echo shm",
                       args=["--read-only", "--tmpfs", "/m"])
    assert done.stdout.split() == ["no", "yes", "shm"]


def test_privileged_gives_all_rights(lighter):
    if lighter.isolation == "chroot":
        assert "mode chroot has no more rights" in lighter.run("busybox", "true", args=["--privileged"], code=6).error
        return
    done = lighter.run("busybox", "sh", "-c", "mkdir /m && mount -t tmpfs x /m && echo mounted", args=["--privileged"])
    assert done.stdout == "mounted\n"
    assert lighter.run("busybox", "sh", "-c", "mkdir /m; mount -t tmpfs x /m", code=None).code != 0


@pytest.mark.parametrize("args, said", [
    (["-v", "data:/d"], "'data' would be a named volume, and lighter keeps none; a directory is written './data'"),
    (["-v", "/x:/d:z"], "'z' is neither ro nor rw"),
    (["--mount", "type=bind,target=/d"], "expected type=bind with a source, or type=tmpfs"),
    (["--mount", "type=volume,source=x,target=/d"], "expected type=bind with a source, or type=tmpfs"),
    (["--mount", "type=tmpfs"], "needs target=DIR"),
    (["--mount", "type=tmpfs,target=/d,color=red"], "'color' is not known"),
    (["--tmpfs", "d"], "'d' must be absolute"), (["--tmpfs", "/d:mode=1"], "only size=SIZE is known"),
    (["--cap-add", "SYS_ADMIN"], "docker's default rights, or --privileged"), (["-d"], "no daemon that could keep it"),
    (["--name", "x"], "nothing stays"), (["-p", "80:80"], "ports are there as they are"),
])
def test_what_cannot_be_had_is_refused_by_name(lighter, args, said):
    assert said in lighter.run("busybox", "true", args=args, code=2).error
