"""RUN: what a step may do, what it sees, how it ends and what it leaves; in both modes."""

import os
import re
import shutil
import socket
import stat
import subprocess
import time

import pytest

from harness import PLAIN_PATH, mounts, processes_with

DOCKER_CAPS = ("CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
               "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE").split()
CAP_NUMBERS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6,
               "SETUID": 7, "SETPCAP": 8, "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18,
               "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31}

USERS = """\
FROM busybox
RUN echo 'app:x:1234:1235::/home/app:/bin/sh' >>/etc/passwd && \
    printf 'app:x:1235:\\nstaff2:x:777:app\\nother:x:778:nobody\\n' >>/etc/group
"""


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def steps(lighter, *lines, base="busybox", **options):
    return lighter.run_in(f"FROM {base}\n" + "\n".join(lines) + "\n", tag="ran", **options)


def last_layer(lighter):
    return lighter.image("ran").layers[-1]


# ---- forms and environment -----------------------------------------------------------------------

def test_the_shell_form_has_a_shell_and_the_exec_form_has_none(lighter):
    said = steps(lighter, "ENV X=value", "RUN echo shell=$X", 'RUN ["echo", "exec=$X"]')
    assert said.said("shell") == "value"
    assert said.said("exec") == "$X"


def test_the_exec_form_needs_nothing_in_the_image_but_the_program(lighter, busybox_program):
    said = steps(lighter, "COPY busybox /busybox", 'RUN ["/busybox", "echo", "out=of nothing"]',
                 'RUN ["/busybox", "touch", "/made"]', base="scratch",
                 files={"busybox": (busybox_program, 0o755)})
    assert said.said("out") == "of nothing"
    names = set(last_layer(lighter).names())
    assert "made" in names
    assert names <= {"made", "proc", "sys", "dev"}


def test_the_shell_form_without_a_shell_says_what_is_missing(lighter):
    failed = steps(lighter, "COPY f /f", "RUN echo", base="scratch", files={"f": ""}, code=1)
    assert "/bin/sh" in failed.error and "No such file" in failed.error


def test_a_program_that_is_not_there_is_named(lighter):
    failed = steps(lighter, 'RUN ["nosuchprogram", "x"]', code=1)
    assert "nosuchprogram" in failed.error and "PATH" in failed.error


def test_a_step_sees_the_environment_of_the_dockerfile_and_not_the_callers(lighter):
    said = steps(lighter, "ENV A=1 B=two", "ARG C=3", "RUN env", env={"SECRET": "the caller's"})
    assert {"A=1", "B=two", "C=3", "HOME=/root", "HOSTNAME=buildkitsandbox",
            "PATH=" + PLAIN_PATH} <= set(said.log)
    assert not any("SECRET" in line or "LIGHTER" in line for line in said.log)


def test_a_continued_line_is_one_command(lighter):
    said = steps(lighter, "RUN echo one=1 && \\", "    # a comment between", "    echo two=2")
    assert (said.said("one"), said.said("two")) == ("1", "2")


def test_stdin_is_empty(lighter):
    assert steps(lighter, "RUN echo bytes=$(wc -c)").said("bytes") == "0"


def test_the_working_directory_is_workdirs_and_relative_ones_add_up(lighter):
    said = steps(lighter, "ENV D=deep", "WORKDIR /a", "WORKDIR b/$D", "RUN echo in=$PWD; pwd")
    assert said.said("in") == "/a/b/deep"
    assert "a/b/deep" in lighter.image("ran").rootfs()
    assert lighter.inspect("ran")["Config"]["WorkingDir"] == "/a/b/deep"


def test_what_a_step_prints_on_stderr_is_shown_too(lighter):
    said = steps(lighter, "RUN echo 'err=yes' >&2; printf 'unended=line'")
    assert said.said("err") == "yes" and said.said("unended") == "line"


def test_nothing_of_a_long_output_is_clipped(lighter):
    said = steps(lighter, "RUN seq 1 20000; head -c 100000 /dev/zero | tr '\\0' x")
    assert [line for line in said.log if line.isdigit()] == [str(i) for i in range(1, 20001)]
    assert sum(line.count("x") for line in said.log) == 100000


def test_control_bytes_of_a_step_do_not_reach_the_terminal(lighter):
    said = steps(lighter, "RUN printf '\\033]0;title\\007\\033[2Jclear=1\\n'")
    assert "\x1b" not in said.stderr and "\x07" not in said.stderr


# ---- users ---------------------------------------------------------------------------------------

ID = 'RUN echo "is=$(id -u):$(id -g):$(id -G)"; echo home=$HOME'


@pytest.mark.parametrize("user, ids, home", [
    ("app", "1234:1235:1235 777", "/home/app"),
    ("1234", "1234:1235:1235 777", "/home/app"),
    ("app:staff2", "1234:777:777", "/home/app"),
    ("app:99", "1234:99:99", "/home/app"),
    ("4321", "4321:0:0", "/"),
    ("4321:99", "4321:99:99", "/"),
    ("root", None, "/root"),
])
def test_user_is_who_docker_says(lighter, user, ids, home):
    said = lighter.run_in(USERS + f"USER {user}\n{ID}\n")
    uid, gid, groups = said.said("is").split(":")
    if ids:
        assert (uid, gid) == tuple(ids.split(":")[:2])
        assert sorted(set(groups.split())) == sorted(ids.split(":")[2].split())
    else:
        assert (uid, gid) == ("0", "0")
    assert said.said("home") == home


def test_an_unknown_user_is_named(lighter):
    failed = steps(lighter, "USER nobodyknows", "RUN id", code=1)
    assert "nobodyknows" in failed.error


def test_an_ordinary_user_has_no_capabilities_and_cannot_write_roots_files(lighter):
    said = steps(lighter, "USER 4321", "RUN grep CapEff /proc/self/status; echo x >/etc/passwd "
                 "|| echo denied=yes")
    assert any(line.split() == ["CapEff:", "0" * 16] for line in said.log)
    assert said.said("denied") == "yes"


def test_files_of_a_step_belong_to_its_user(lighter):
    steps(lighter, "USER 4321:99", "RUN echo x >/tmp/f")
    info = last_layer(lighter)["tmp/f"]
    assert (info.uid, info.gid) == (4321, 99)


def test_workdir_belongs_to_user(lighter):
    steps(lighter, "USER 4321:99", "WORKDIR /made/by/user", "RUN echo x >f")
    files = lighter.image("ran").rootfs()
    for path in ("made", "made/by", "made/by/user", "made/by/user/f"):
        assert (files[path][0].uid, files[path][0].gid) == (4321, 99), path


@pytest.mark.parametrize("user, owner", [("4321", (4321, 4321)), ("nobodyknows", (0, 0)),
                                         ("app", (1234, 1235))])
def test_workdir_belongs_to_user_as_buildkit_reads_it(lighter, user, owner):
    """A number is the group too, and a name that is not in /etc/passwd is root."""
    lighter.run_in(USERS + f"USER {user}\nWORKDIR /made\n", tag="ran")
    info = last_layer(lighter)["made"]
    assert (info.uid, info.gid) == owner


def test_workdir_leaves_a_directory_that_is_there_as_it_is(lighter):
    steps(lighter, "USER 4321:99", "WORKDIR /etc")
    info = lighter.image("ran").rootfs()["etc"][0]
    assert (info.uid, info.gid, stat.S_IMODE(info.mode)) == (0, 0, 0o755)


def test_owners_and_setuid_bits_reach_the_layer(lighter):
    steps(lighter, "RUN mkdir /d && echo x >/d/f && chown 7:8 /d/f && chmod 4750 /d/f && "
          "chown 60000:60000 /d && chmod 3777 /d")
    layer = last_layer(lighter)
    assert (layer["d"].uid, layer["d"].gid, layer["d"].mode & 0o7777) == (60000, 60000, 0o3777)
    assert (layer["d/f"].uid, layer["d/f"].gid, layer["d/f"].mode & 0o7777) == (7, 8, 0o4750)


# ---- how a step ends -----------------------------------------------------------------------------

def test_a_failing_step_shows_its_code_its_last_lines_and_where_it_stands(lighter):
    failed = steps(lighter, "# a comment", "RUN seq 1 100; echo the last word >&2; exit 7",
                   "RUN echo never=reached", code=1)
    assert [step.how for step in failed.steps] == ["HIT", "FAILED", "SKIPPED"]
    assert "<stdin>:3" in failed.error
    assert "exit code 7" in failed.error
    assert "    100\n    the last word\n" in failed.error
    assert re.search(r"^-->\s+3 \| RUN seq 1 100;", failed.error, re.M)
    log = re.search(r"full log: (\S+)", failed.error).group(1)
    with open(log) as f:
        assert f.read() == "\n".join(map(str, range(1, 101))) + "\nthe last word\n"
    assert lighter.images()[0]["repo"] == "busybox" and len(lighter.images()) == 1


def test_a_failed_step_is_not_remembered(lighter):
    steps(lighter, "RUN echo x >/half; exit 1", code=1)
    assert [s.how for s in steps(lighter, "RUN echo x >/half; exit 1", code=1).steps][-1] == "FAILED"


def test_the_exit_code_is_one_whatever_the_steps_was(lighter):
    for code in (2, 3, 7, 127, 255):
        assert f"exit code {code}" in steps(lighter, f"RUN exit {code}", code=1).error


@pytest.mark.parametrize("signal, number, name", [
    ("SEGV", 11, "Segmentation fault"), ("KILL", 9, "Killed"), ("TERM", 15, "Terminated")])
def test_a_signal_that_ended_a_step_is_named(lighter, signal, number, name):
    failed = steps(lighter, f"RUN kill -{signal} $$", code=1)
    assert f"signal {number} ({name})" in failed.error


def test_a_background_process_does_not_keep_the_step(lighter):
    said = steps(lighter, "RUN sleep 4242 & echo done=yes", timeout=20)
    assert said.said("done") == "yes"
    assert not processes_with("sleep\0" + "4242")


def test_a_detached_process_dies_with_its_step(lighter):
    steps(lighter, "RUN setsid sh -c 'sleep 4243 >/dev/null 2>&1 &' ; echo", timeout=20)
    assert not processes_with("sleep\0" + "4243")


def test_orphans_are_reaped_while_the_step_runs(lighter):
    said = steps(lighter, "RUN for i in 1 2 3 4 5; do (sh -c 'sleep 0.05 & exit 0'); done; sleep 0.3; "
                 "echo zombies=$(grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l)")
    assert said.said("zombies") == "0"


def test_the_step_sees_only_its_own_processes(lighter):
    said = steps(lighter, "RUN echo seen=$(ls -d /proc/[0-9]* | wc -l); echo me=$$")
    assert int(said.said("seen")) <= 6
    assert int(said.said("me")) <= 5


# ---- what a step sees of the machine -------------------------------------------------------------

def test_resolv_conf_and_hosts_are_there_and_not_in_the_layer(lighter):
    said = steps(lighter, "RUN cat /etc/hosts; echo size=$(wc -c </etc/resolv.conf); touch /made")
    assert any("localhost" in line for line in said.log)
    assert said.said("size").isdigit()
    assert last_layer(lighter).names() == ["made"]


def test_the_images_own_hosts_file_is_kept_below_the_mount(lighter):
    """Files the sandbox mounts over keep what the image had."""
    dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY hosts /etc/hosts\n" \
                 'RUN ["/bin/busybox", "touch", "/made"]\n'
    program = lighter.image("busybox").layers[0].read("bin/busybox")
    lighter.build(lighter.context({"hosts": "the image's own\n", "busybox": (program, 0o755)}),
                  dockerfile=dockerfile, tag="own")
    assert lighter.image("own").rootfs()["etc/hosts"][1] == b"the image's own\n"


def test_proc_is_masked(lighter):
    said = steps(lighter, "RUN echo kcore=$(head -c 10 /proc/kcore | wc -c); "
                 "echo keys=$(cat /proc/keys | wc -c); "
                 "echo timers=$(cat /proc/timer_list | wc -c); "
                 "echo scsi=$(ls -A /proc/scsi 2>/dev/null | wc -l); "
                 "echo firmware=$(ls -A /sys/firmware | wc -l)")
    for name in ("kcore", "keys", "timers", "scsi", "firmware"):
        assert said.said(name) == "0", name


@pytest.mark.parametrize("path", ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/x",
                                  "/proc/irq/x"])
def test_the_kernels_settings_are_read_only(lighter, path):
    said = steps(lighter, f"RUN (echo h >{path}) 2>&1 || echo refused=yes")
    assert said.said("refused") == "yes"


def test_sys_is_mounted_read_only(lighter):
    said = steps(lighter, "RUN grep ' /sys ' /proc/mounts | cut -d' ' -f4 | sed s/^/options=/")
    assert "ro" in said.said("options").split(",")


def test_dev_has_docker_s_devices_and_no_disks(lighter):
    said = steps(lighter, "RUN ls /dev | tr '\\n' ' ' | sed s/^/dev=/; echo; echo x >/dev/null && "
                 "echo random=$(head -c 4 /dev/urandom | wc -c); touch /dev/shm/x && echo shm=yes; "
                 "echo o >/dev/stdout")
    assert set(said.said("dev").split()) == {
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero"}
    assert (said.said("random"), said.said("shm")) == ("4", "yes")


def test_a_steps_writes_to_dev_are_not_in_the_layer(lighter):
    steps(lighter, "RUN touch /dev/x /dev/shm/y /made")
    assert last_layer(lighter).names() == ["made"]


# ---- rights --------------------------------------------------------------------------------------

def test_root_in_a_step_has_dockers_capabilities_less_raw_sockets_in_a_network_that_it_could_misuse(lighter):
    want = sum(1 << CAP_NUMBERS[name] for name in DOCKER_CAPS if name != "NET_RAW" or lighter.isolation != "root")
    said = steps(lighter, "RUN grep ^Cap /proc/self/status")
    have = {line.split(":")[0]: int(line.split()[1], 16) for line in said.log}
    assert have["CapEff"] == have["CapPrm"] == have["CapBnd"] == want
    assert have["CapInh"] == have["CapAmb"] == 0


def test_a_seccomp_filter_is_in_force(lighter):
    said = steps(lighter, "RUN grep '^Seccomp:' /proc/self/status")
    assert said.log[-1].split() == ["Seccomp:", "2"]


PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(const char *name, long rc)
{
    printf("%s=%s\n", name, rc >= 0 ? "allowed" : strerrorname_np(errno));
}
int main(void)
{
    char buf[64] = {0};
    say("unshare_user", unshare(CLONE_NEWUSER));
    say("unshare_mount", unshare(CLONE_NEWNS));
    say("mount", mount("x", "/tmp", "tmpfs", 0, ""));
    say("umount", umount2("/proc", MNT_DETACH));
    say("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    say("bpf", syscall(SYS_bpf, 0, buf, sizeof buf));
    say("perf", syscall(SYS_perf_event_open, buf, 0, -1, -1, 0));
    say("setns", setns(0, 0));
    say("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    say("clone3", syscall(SYS_clone3, 0, 0));
    say("open_by_handle", syscall(SYS_open_by_handle_at, 0, 0, 0));
    say("userfaultfd", syscall(SYS_userfaultfd, 0));
    say("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    return 0;
}
"""


@pytest.fixture(scope="module")
def probe(place):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    source, target = place / "probe.c", place / "probe"
    source.write_text(PROBE)
    subprocess.run(["gcc", "-static", "-o", str(target), str(source)], check=True)
    return target.read_bytes()


def test_system_calls_that_docker_denies_are_denied(lighter, probe):
    said = steps(lighter, "COPY probe /probe", 'RUN ["/probe"]', base="scratch",
                 files={"probe": (probe, 0o755)})
    assert said.said("clone3") == "ENOSYS", "libc then falls back to clone"
    for name in ("unshare_user", "unshare_mount", "mount", "umount", "keyctl", "add_key", "bpf",
                 "perf", "setns", "kexec", "open_by_handle", "userfaultfd", "reboot"):
        assert said.said(name) == "EPERM", name


def test_device_nodes_of_disks_cannot_be_used(lighter):
    said = steps(lighter, "RUN mount -t tmpfs x /mnt 2>&1 || echo mount=refused")
    assert said.said("mount") == "refused"


def test_a_step_leaves_no_mount_on_the_host(lighter, temp):
    before = mounts()
    child = lighter.start("build", "--isolation", lighter.isolation, "-f", "-", lighter.context(),
                          stdin=subprocess.PIPE)
    child.stdin.write(b"FROM busybox\nRUN sleep 0.5\n")
    child.stdin.close()
    child.stdin = None
    while child.poll() is None:
        assert mounts() == before
        time.sleep(0.05)
    child.communicate()
    assert child.returncode == 0
    assert mounts() == before


def test_a_step_cannot_reach_the_hosts_files(lighter, temp):
    (temp / "secret").write_text("the host's")
    said = steps(lighter, f"RUN cat {temp}/secret 2>&1 || echo hidden=yes; "
                 f"cat /proc/1/root{temp}/secret 2>&1 || echo root=hidden; "
                 "ls -l /proc/self/fd | grep -v -E '/dev/null|pipe:|/proc|total' | grep -c -- '->' | "
                 "sed s/^/open=/")
    assert said.said("hidden") == "yes" and said.said("root") == "hidden"
    assert said.said("open") == "0", "no descriptor of the builder is open in the step"


def test_the_caller_s_umask_does_not_reach_a_step(lighter):
    steps(lighter, "RUN touch /f && mkdir /d", umask=0o077)
    layer = last_layer(lighter)
    assert (layer["f"].mode & 0o777, layer["d"].mode & 0o777) == (0o644, 0o755)


# ---- what a step leaves --------------------------------------------------------------------------

def test_a_layer_holds_what_the_step_changed_and_nothing_else(lighter):
    steps(lighter, "RUN echo x >>/etc/passwd && mkdir -p /new/dir")
    names = [name for name in last_layer(lighter).names() if name not in ("etc",)]
    assert sorted(names) == ["etc/passwd", "new", "new/dir"]


def test_names_in_a_layer_are_sorted(lighter):
    steps(lighter, "RUN mkdir /d && cd /d && touch b a c B A _ a.b a-b && mkdir a_d && touch a_d/x")
    names = [os.fsencode(name) for name in last_layer(lighter).names()]
    assert [n.split(b"/") for n in names] == sorted(n.split(b"/") for n in names) or \
        names == sorted(names)


def test_a_deleted_file_is_gone_and_leaves_a_whiteout(lighter):
    steps(lighter, "RUN rm /etc/passwd && rm -rf /usr/share/standin")
    image = lighter.image("ran")
    assert {"etc/.wh.passwd", "usr/share/.wh.standin"} <= set(image.layers[-1].names())
    assert "etc/passwd" not in image.rootfs()
    again = lighter.run_in("FROM ran\nRUN ls -A /etc /usr/share | sed s/^/seen=/\n")
    assert "seen=passwd" not in again.log and "seen=standin" not in again.log


def test_a_replaced_directory_hides_what_was_in_it(lighter):
    steps(lighter, "RUN mkdir /d && touch /d/old /d/kept", "RUN rm -rf /d && mkdir /d && touch /d/new")
    files = lighter.image("ran").rootfs()
    assert "d/new" in files and "d/old" not in files and "d/kept" not in files
    again = lighter.run_in("FROM ran\nRUN echo d=$(ls -A /d)\n")
    assert again.said("d") == "new"


def test_a_replaced_directory_hides_what_was_in_it_for_other_tools_too(lighter, needs, needs_root,
                                                                       temp):
    needs("umoci")
    steps(lighter, "RUN mkdir /d && touch /d/old", "RUN rm -rf /d && mkdir /d && touch /d/new",
          "RUN rm /etc/group")
    layout = lighter.image("ran").layout
    done = subprocess.run(["umoci", "unpack", "--image", f"{layout}:docker.io/library/ran:latest",
                           str(temp / "bundle")], check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert os.listdir(temp / "bundle" / "rootfs" / "d") == ["new"]
    assert not (temp / "bundle" / "rootfs" / "etc" / "group").exists()


@pytest.mark.parametrize("change, kind", [
    ("rm /x && mkdir /x && touch /x/y", "dir"), ("rm /x && ln -s /etc /x", "sym")])
def test_a_file_can_become_something_else_and_come_back(lighter, change, kind):
    steps(lighter, "RUN echo 1 >/x", f"RUN {change}")
    info = lighter.image("ran").rootfs()["x"][0]
    assert info.isdir() if kind == "dir" else info.issym()
    steps(lighter, "RUN echo 1 >/x", f"RUN {change}", "RUN rm -rf /x && echo 3 >/x")
    files = lighter.image("ran").rootfs()
    assert files["x"][1] == b"3\n" and "x/y" not in files


def test_a_directory_renamed_below_moves_with_its_files(lighter):
    steps(lighter, "RUN mkdir -p /a/b && echo 1 >/a/b/f", "RUN mv /a /z")
    files = lighter.image("ran").rootfs()
    assert files["z/b/f"][1] == b"1\n" and "a" not in files


def test_odd_names_and_kinds_survive_a_step(lighter):
    steps(lighter, "RUN mkdir /d && cd /d && touch 'a b' \"$(printf 'n\\nl')\" \"$(printf '\\377')\" "
          "&& mkfifo p && ln -s gone l && ln 'a b' hard && mknod null c 1 3 2>/dev/null; true")
    layer = last_layer(lighter)
    assert "d/a b" in layer and "d/n\nl" in layer and "d/" + os.fsdecode(b"\xff") in layer
    assert layer["d/p"].isfifo() and layer["d/l"].linkname == "gone"
    assert layer["d/hard"].islnk() or layer["d/a b"].islnk()


def test_an_empty_step_has_a_layer_so_that_history_and_layers_agree(lighter):
    steps(lighter, "RUN true")
    image = lighter.image("ran")
    assert len(image.layers) == 3
    assert image.layers[-1].names() == []
    assert len([h for h in image.config["history"] if not h.get("empty_layer")]) == 3


def test_thirty_steps_that_do_nothing_are_remembered_and_cost_little(lighter):
    lines = [f"RUN true # {i}" for i in range(30)]
    first = steps(lighter, *lines)
    again = steps(lighter, *lines)
    assert len(first.ran) == 30 and again.ran == [] and len(again.hit) == 31
    assert again.id == first.id
    assert len(lighter.image("ran").layers) == 32


def test_120_layers_are_one_file_system(lighter):
    lines = [f"RUN echo {i} >/f{i}; echo {i} >/same" for i in range(120)]
    said = steps(lighter, *lines, "RUN echo count=$(ls / | grep -c ^f[0-9]) same=$(cat /same)")
    assert said.said("count") == "120 same=119"
    assert len(lighter.image("ran").layers) == 123


def test_the_classic_mount_interface_gives_the_same(lighter):
    """Debian 12's kernel has no other."""
    lines = [f"RUN echo {i} >/f{i}" for i in range(60)]
    said = steps(lighter, *lines, "RUN echo count=$(ls / | grep -c ^f[0-9])",
                 env={"LIGHTER_TEST_CLASSIC_MOUNT": "1"})
    assert said.said("count") == "60"


# ---- order ---------------------------------------------------------------------------------------

def test_stages_that_do_not_depend_on_each_other_overlap(lighter):
    """Each waits for the other on the loopback device, so one after the other would never end."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    said = lighter.run_in(f"""\
FROM busybox AS listens
RUN timeout 20 nc -l -p {port} </dev/null >/heard
FROM busybox AS connects
RUN i=0; while [ $i -lt 200 ]; do echo hello | nc -w 1 127.0.0.1 {port} && exit 0; i=$((i+1)); sleep 0.05; done; exit 1
FROM scratch
COPY --from=listens /heard /a
COPY --from=connects /etc/passwd /b
""", timeout=60)
    assert len(said.ran) == 4


def test_a_failing_stage_is_reported_and_what_needs_it_is_skipped(lighter):
    failed = lighter.run_in("FROM busybox AS bad\nRUN exit 9\nFROM busybox\nCOPY --from=bad /x /x\n",
                            code=1)
    assert failed.titles("FAILED") == ["RUN exit 9"]
    assert "COPY --from=bad /x /x" in failed.titles("SKIPPED")


def test_no_cache_runs_every_step_again(lighter):
    steps(lighter, "RUN echo x >/x", "COPY f /", files={"f": "1"})
    again = lighter.run_in("FROM busybox\nRUN echo x >/x\nCOPY f /\n", "--no-cache",
                           files={"f": "1"})
    assert again.ran == ["RUN echo x >/x", "COPY f /"]


# ---- lighter run ---------------------------------------------------------------------------------

def test_lighter_run_gives_the_commands_own_code_and_output(lighter):
    done = lighter.run("busybox", "sh", "-c", "echo out; echo err >&2; exit 5", code=5)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_lighter_run_counts_signals_as_shells_do(lighter):
    assert lighter.run("busybox", "sh", "-c", "kill -9 $$", code=None).code == 137


def test_lighter_run_drops_what_the_command_wrote(lighter):
    lighter.run("busybox", "touch", "/made")
    lighter.run("busybox", "ls", "/made", code=1)
    assert not lighter.leftovers()


def test_lighter_run_takes_environment_directory_user_and_volume(lighter):
    shared = lighter.context({"in": "from the host\n"})
    done = lighter.run("busybox", "sh", "-c", 'echo "$A $PWD $(id -u):$(id -g)"; cat /v/in; '
                       "touch /v/x 2>/dev/null || echo ro",
                       args=["-e", "A=1", "-w", "/etc", "-u", "12:34", "-v", f"{shared}:/v:ro"])
    assert done.stdout == "1 /etc 12:34\nfrom the host\nro\n"
    lighter.run("busybox", "sh", "-c", "echo out >/v/out", args=["-v", f"{shared}:/v"])
    assert (shared / "out").read_text() == "out\n"


def test_lighter_run_joins_entrypoint_and_command_as_docker_does(lighter):
    lighter.run_in('FROM busybox\nENTRYPOINT ["echo", "entry"]\nCMD ["cmd"]\n', tag="entry")
    assert lighter.run("entry").stdout == "entry cmd\n"
    assert lighter.run("entry", "other").stdout == "entry other\n"
    assert lighter.run("entry", "x", args=["--entrypoint", "printf"]).stdout == "x"


def test_lighter_run_gives_its_stdin_to_the_command_that_is_interactive(lighter):
    assert lighter.run("busybox", "cat", args=["-i"], input="given").stdout == "given"
    assert lighter.run("busybox", "cat", input="given").stdout == "", "as docker does"


def test_auto_takes_the_mode_this_user_can_have(lighter):
    done = lighter("run", "busybox", "cat", "/proc/self/uid_map").stdout.split()
    assert (done == ["0", "0", "4294967295"]) == (lighter.isolation == "root")


def test_mode_root_is_refused_to_an_ordinary_user(lighter):
    if lighter.isolation == "root":
        pytest.skip("this one is root")
    refused = lighter("build", "--isolation", "root", lighter.context({"Dockerfile": "FROM scratch"}),
                      code=6)
    assert "root" in refused.error
