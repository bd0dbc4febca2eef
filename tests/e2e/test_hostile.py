"""A hostile step: what it tries with the kernel, with processes and with devices is blocked or contained, in every mode.

hostile.c tries, a step of each mode runs it once, and each test looks at some of the answers. A test is of a guard of
ours: what the kernel refuses to whoever asks is not in here, or its docstring says which line of ours it is about.
Mode chroot runs in the container of unprivileged.py, with its filter off where it would stand before ours (-userns).
"""

import contextlib
import os
import platform
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from harness import IS_ROOT, processes_with
from test_chroot import contained, landlock_abi
from test_lighter_run import Screen

HERE = Path(__file__).parent
MODES = ["root", "rootless", "single", "chroot"]
NAMESPACED = MODES[:3]
KINDS = ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup"]
DISK_BYTES = b"HOST-S-DISK!"


def lighter_of(mode, lighters, bases):
    if mode == "chroot":
        if not IS_ROOT:
            pytest.skip("mode chroot needs root")
        return contained(lighters, bases, "-userns")
    return lighters(mode, bases=[bases("busybox")])


def compiled(place, name, *flags):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    target = place / name
    if not target.exists():
        subprocess.run(["gcc", "-O1", "-w", *flags, "-o", target, HERE / f"{name}.c"], check=True)
    return target.read_bytes()


@pytest.fixture(scope="session")
def hostile(place):
    return compiled(place, "hostile", "-static")


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A disk of the host: the numbers of a loop device over a file with known bytes."""
    if not IS_ROOT:
        yield None
        return
    image = tmp_path_factory.mktemp("disk") / "image"
    image.write_bytes(DISK_BYTES.ljust(1 << 20, b"\0"))
    made = subprocess.run(["losetup", "--show", "-f", image], check=False, capture_output=True, text=True)
    if made.returncode:
        yield None
        return
    device = os.stat(made.stdout.strip()).st_rdev
    yield os.major(device), os.minor(device)
    subprocess.run(["losetup", "-d", made.stdout.strip()], check=True)


KERNEL_FILES = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/shmmax", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger",
                "/proc/sys/fs/mqueue/msg_max", "/proc/irq/default_smp_affinity", "/sys/kernel/mm/ksm/run", "/sys/power/state",
                "/sys/kernel/uevent_helper"]


class Answers(dict):
    """What hostile.c printed, by the names of its tries."""

    def __init__(self, mode, log):
        self.mode = mode
        super().__init__(line.split("=", 1) for line in log if "=" in line)

    def of(self, *names):
        return {name: self[name] for name in names}


@pytest.fixture(scope="module")
def victim():
    """A process of the host's, of the user who runs the tests."""
    child = subprocess.Popen(["sleep", "600"])
    yield child.pid
    child.kill()
    child.wait()


@pytest.fixture(scope="module")
def said(request, module_lighters, bases, hostile, disk, victim):
    """What one step of each kind of try said in a mode."""
    mode = request.param
    lighter = lighter_of(mode, module_lighters, bases)
    tries = ["calls", "descriptors"]
    if mode == "chroot":
        tries += [f"processes parent parent host {victim}"]
    else:
        tries += ["rights", f"processes init 1 host {victim}", "writable " + " ".join(filter(os.path.exists, KERNEL_FILES))]
    lines = [f"RUN /hostile {words}\n" for words in tries]
    if disk and mode in ("root", "single"):
        mounts = "--mount=type=cache,target=/c --mount=type=tmpfs,target=/t --mount=type=bind,target=/b,rw"
        lines.append(f"RUN {mounts} /hostile devices {disk[0]} {disk[1]} / /dev /c /t /b\n")
    text = "FROM busybox\nCOPY --chmod=755 hostile /hostile\n" + "".join(lines)
    return Answers(mode, lighter.run_in(text, files={"hostile": hostile}).log)


@pytest.fixture
def lighter(request, lighters, bases):
    return lighter_of(request.param, lighters, bases)


def in_modes(*modes):
    return pytest.mark.parametrize("lighter", modes or MODES, indirect=True)


def said_in(*modes):
    return pytest.mark.parametrize("said", modes or MODES, indirect=True, scope="module")


# ---- system calls --------------------------------------------------------------------------------

@said_in(*NAMESPACED)
def test_no_namespace_can_be_made_in_a_step(said):
    """A new user namespace gives all rights in it, and the kernel makes one for anybody but who is in a chroot."""
    names = [f"{call}_{kind}" for call in ("unshare", "clone") for kind in KINDS] + ["unshare_time"]
    assert said.of(*names) == dict.fromkeys(names, "EPERM")
    assert said["clone3"] == "ENOSYS", "its flags lie in memory, where no filter sees them"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other table of system calls is that of x86")
@said_in()
def test_the_filter_counts_for_the_other_table_of_system_calls_too(said):
    assert said["userfaultfd_32bit"] in ("EPERM", "signal 11"), "a kernel may be without that table"


@pytest.mark.parametrize("call", ["add_key", "keyctl_join", "keyctl_read", "request_key"])
@said_in()
def test_keyrings_are_closed_to_a_step(said, call):
    assert said[call] == "EPERM"


@pytest.mark.parametrize("call", [
    "io_uring", "userfaultfd", "perf", "fanotify", "open_tree", "set_mempolicy", "kcmp", "pidfd_getfd", "personality",
    "socket_alg", "socket_vsock"])
@said_in()
def test_a_call_that_docker_denies_and_the_kernel_allows_anybody_is_denied(said, call):
    assert said[call] == "EPERM"


@in_modes()
def test_keys_of_the_callers_session_are_not_in_that_of_a_step_without_the_filter(lighter, hostile, place):
    """An insecure step has no filter, nor has one of another user in mode chroot: their session is a new one."""
    wrapper = lighter.directory() / "with-a-key"
    (lighter.place / "hostile").write_bytes(hostile)
    (lighter.place / "hostile").chmod(0o755)
    wrapper.write_text(f'#!/bin/sh\nexec {lighter.place}/hostile in-session a-key {lighter.binary} "$@"\n')
    wrapper.chmod(0o755)
    lighter.binary = str(wrapper)
    how, args = ("", ()) if lighter.isolation == "chroot" else ("--security=insecure ", ("--allow", "security.insecure"))
    done = lighter.run_in(f"FROM busybox\nCOPY --chmod=755 hostile /hostile\nUSER {'1000' if not how else '0'}\n"
                          f"RUN {how}/hostile key a-key\n", *args, files={"hostile": hostile})
    assert done.said("session_key") in ("ENOKEY", "EPERM", "ENOSYS")


# ---- rights --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", [
    "mount", "bind", "remount", "umount", "unmask", "move_mount", "pivot_root", "fsopen", "clone_tree", "host_name"])
@said_in(*NAMESPACED)
def test_mounts_and_names_are_not_the_steps_to_change(said, name):
    """Root of the step's own namespaces could, where filter and dropped rights are both gone."""
    assert said[name] == "EPERM"


@pytest.mark.parametrize("name", [
    "adjust_clock", "set_clock", "immutable", "interface", "trusted_attribute", "bpf", "kexec", "load_module",
    "unload_module", "dmesg", "reboot", "acct", "swapon", "by_handle", "packet_socket", "raw_socket"])
@said_in("root")
def test_what_only_root_of_the_machine_may_do_root_in_a_step_may_not(said, name):
    """By dropped rights; most of these the filter refuses as well."""
    assert said[name] == "EPERM"


@said_in(*NAMESPACED)
def test_files_of_the_kernel_cannot_be_opened_for_writing(said):
    """Mounted read-only: /proc/sys, /proc/irq, /proc/sysrq-trigger and /sys are root's to write, and limits of the step's own
    ipc namespace those of any root (Linux 6.9)."""
    answers = {name: said[name] for name in KERNEL_FILES if name in said}
    if said.mode == "root":
        assert answers and set(answers.values()) == {"EROFS"}, answers
    elif said.mode in NAMESPACED:
        assert answers and set(answers.values()) <= {"EROFS", "EACCES"}, answers


@in_modes(*NAMESPACED)
def test_a_mount_on_dev_does_not_uncover_what_is_masked(lighter):
    """The mask is /dev/null, and the step's own could be a link to what it covers."""
    done = lighter.run_in("FROM busybox AS evil\nRUN mkdir /d && ln -s /proc/timer_list /d/null\nFROM busybox\n"
                          "RUN --mount=type=bind,from=evil,source=/d,target=/dev echo seen=$(cat /proc/timer_list /proc/keys | wc -c)\n")
    assert done.said("seen") == "0"


# ---- devices -------------------------------------------------------------------------------------

@pytest.mark.parametrize("where", ["/", "/dev", "/c", "/t", "/b"])
@said_in("root", "single")
def test_a_disk_of_the_host_cannot_be_opened_by_a_node_that_a_step_makes(said, disk, where):
    """Nodes can be made, for images have them; every mount of the step says nodev."""
    if not disk:
        pytest.skip("no loop device can be had")
    assert said[f"bytes {where}"] == ""
    if said.mode == "root":
        assert said[f"make {where}"] == "ok"
        assert said.of(f"read {where}", f"write {where}") == dict.fromkeys((f"read {where}", f"write {where}"), "EACCES")


@in_modes("root")
def test_a_disk_of_the_host_cannot_be_opened_by_a_node_of_the_image(lighter, disk):
    if not disk:
        pytest.skip("no loop device can be had")
    lighter.run_in(f"FROM busybox\nRUN mknod /disk b {disk[0]} {disk[1]}\n", tag="nodes")
    for text in ("RUN head -c 12 /disk || echo closed=yes\n", "RUN --mount=type=bind,from=nodes,target=/n head -c 12 /n/disk || echo closed=yes\n",
                 "COPY --from=nodes /disk /copied\nRUN head -c 12 /copied || echo closed=yes\n"):
        done = lighter.run_in("FROM nodes\n" + text)
        assert done.said("closed") == "yes" and DISK_BYTES.decode() not in done.stderr


@in_modes("root")
def test_a_step_that_may_do_everything_has_devices(lighter, disk):
    if not disk:
        pytest.skip("no loop device can be had")
    done = lighter.run_in(f"FROM busybox\nRUN --security=insecure mknod /disk b {disk[0]} {disk[1]} && head -c 12 /disk\n",
                          "--allow", "security.insecure")
    assert DISK_BYTES.decode() in done.log


# ---- processes -----------------------------------------------------------------------------------

@said_in()
def test_a_step_has_no_descriptor_but_the_standard_ones(said):
    assert said["descriptors"] == "0"


@in_modes()
def test_no_working_directory_leads_out_by_a_descriptor(lighter):
    """CVE-2024-21626: the store is open while lighter makes the step ready, and closed when it enters the directory."""
    for fd in range(3, 12):
        run = lighter.run("busybox", "sh", "-c", "ls -a . .. ../..", args=["-w", f"/proc/self/fd/{fd}"], code=None)
        assert "snapshots" not in run.stdout, run
        failed = lighter.run_in(f"FROM busybox\nWORKDIR /proc/self/fd/{fd}\nRUN ls -a . .. ../..\n", code=None)
        assert "snapshots" not in failed.stderr, failed


@said_in(*NAMESPACED)
def test_the_init_of_a_step_cannot_be_looked_into_or_traced(said):
    """It has more rights than the command, and gives no core: both keep /proc/1 closed."""
    tries = {name: value for name, value in said.items() if name.startswith("init ") and name not in ("init stop", "init queue")}
    assert len(tries) == 14 and set(tries.values()) <= {"EACCES", "EPERM"}, tries


@pytest.mark.skipif(landlock_abi() < 6, reason="Landlock before ABI 6")
@said_in()
def test_processes_of_the_host_are_neither_seen_nor_signalled_nor_traced(said):
    """By the pid namespace, and in mode chroot by Landlock's scope."""
    tries = {name: value for name, value in said.items() if name.startswith("host ")}
    assert len(tries) == 16 and set(tries.values()) <= {"ENOENT", "ESRCH", "EPERM", "EACCES"}, tries


@pytest.mark.skipif(landlock_abi() < 6, reason="Landlock before ABI 6")
@said_in("chroot")
def test_the_keeper_of_a_step_in_a_chroot_cannot_be_traced_or_signalled(said):
    """By Landlock's scope; /proc is not there."""
    names = [f"parent {what}" for what in ("attach", "seize", "read", "write", "stop", "queue")]
    assert said.of(*names) == dict.fromkeys(names, "EPERM")


@in_modes()
def test_a_step_that_kills_what_started_it_is_still_ended_and_the_next_one_runs(lighter):
    """Pid 1 of a namespace is not killed from inside; the keeper of mode chroot is shielded by Landlock's scope."""
    marker = f"98{os.getpid()}"
    done = lighter.run_in(f"FROM busybox\nRUN kill -9 $PPID; kill -STOP $PPID; kill -SEGV $PPID; setsid sleep {marker} & sleep 0.1; echo alive=yes\n"
                          "RUN echo next=yes\n")
    assert (done.said("alive"), done.said("next")) == ("yes", "yes")
    assert processes_with("sleep\0" + marker) == {} and lighter.leftovers() == []


@in_modes()
def test_a_daemon_that_a_step_leaves_ends_with_it(lighter):
    """It ignores every signal that can be ignored and has no parent, session or descriptor of the step's."""
    marker = f"97{os.getpid()}"
    daemon = f"trap '' HUP INT QUIT TERM USR1 USR2; cd /tmp; exec </dev/null >/dev/null 2>&1; while :; do sleep {marker}; done"
    lighter.run_in("FROM busybox\nCOPY d /d\nRUN (setsid sh -c '(setsid sh -c \"(setsid sh /d &) &\" &) &' &); sleep 0.2\nRUN true\n",
                   files={"d": daemon})
    assert processes_with("sleep\0" + marker) == {}


@in_modes("chroot")
@pytest.mark.parametrize("user", ["0", "1000"])
def test_a_step_in_a_chroot_cannot_leave_it_by_a_second_one(lighter, hostile, temp, user):
    """It has no right to call chroot(2), not by a setuid program either. Landlock, the other wall, lets modes of files and
    sockets with a path through."""
    (temp / "theirs").write_text("x")
    temp.chmod(0o777)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(temp / "socket"))
        (temp / "socket").chmod(0o777)
        listener.listen()
        done = lighter.run_in(f"FROM busybox\nCOPY --chmod=4755 hostile /hostile\nRUN chmod 777 /\nUSER {user}\n"
                              f"RUN exec /hostile leave {temp}/theirs {temp}/socket\n", files={"hostile": hostile})
    assert done.said("chroot") == "EPERM"
    assert [done.said(name) for name in ("stat", "read", "chmod", "connect")] == ["ENOENT"] * 4
    assert (temp / "theirs").stat().st_mode & 0o777 == 0o644


@in_modes(*NAMESPACED)
def test_the_callers_environment_is_not_in_the_init_that_an_insecure_step_may_look_into(lighter):
    """It may hold what other steps have as secrets. The launcher, of which init is a fork, gets little of it."""
    done = lighter.run_in("FROM busybox\nRUN --security=insecure tr '\\0' '\\n' </proc/1/environ; cat /proc/1/mem >/dev/null; echo over=yes\n",
                          "--allow", "security.insecure", env={"MINE": "the-callers-own"})
    assert done.said("over") == "yes" and "the-callers-own" not in done.stderr
    assert any(line.startswith("PATH=") for line in done.log), "it could look"


@in_modes(*NAMESPACED)
def test_lighters_own_program_cannot_be_written_by_a_step(lighter, hostile, place):
    """CVE-2019-5736. While lighter runs the kernel keeps its file from being written; what stays is a mount that is read-only."""
    if platform.machine() != "x86_64":
        pytest.skip("hostile_ld.c is for x86_64")
    linker = re.search(rb"/lib[^\0]*/ld-[^\0]*", Path(lighter.binary).read_bytes()[:8192])
    if not linker:
        pytest.skip("lighter is linked statically")
    evil = compiled(place, "hostile_ld", "-fno-stack-protector", "-fPIC", "-nostdlib", "-shared", "-Wl,-e,_start")
    mine = lighter.directory() / "lighter"
    shutil.copy(lighter.binary, mine)
    lighter.own(mine.parent)
    lighter.binary = str(mine)
    before = mine.read_bytes()
    done = lighter.run_in(f"FROM busybox\nCOPY --chmod=755 hostile /hostile\nCOPY --chmod=755 evil {linker.group().decode()}\n"
                          "RUN [\"/proc/self/exe\"]\n", files={"hostile": hostile, "evil": evil})
    assert done.said("program") == "there"
    assert done.said("program_truncate") == "EROFS" and done.said("program_write") != "ok"
    assert mine.read_bytes() == before


# ---- sockets and terminals -----------------------------------------------------------------------

@pytest.mark.skipif(landlock_abi() < 6, reason="Landlock before ABI 6")
@in_modes()
def test_abstract_sockets_of_the_host_are_not_reached_by_a_step(lighter, hostile):
    """The network is the caller's, and such sockets belong to it; containerd's shims once trusted whoever connects."""
    name = f"lighter-e2e-{os.getpid()}-{lighter.isolation}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        done = lighter.run_in(f"FROM busybox\nCOPY --chmod=755 hostile /hostile\nRUN /hostile abstract {name}\n", files={"hostile": hostile})
    assert done.said("abstract") == "EPERM"


@in_modes()
@pytest.mark.parametrize("words", [[], ["-i"]])
def test_nothing_is_typed_into_the_callers_terminal(lighter, hostile, words):
    """TIOCSTI is for the terminal that controls the session, and a command's session is its own. It has the caller's as stdout."""
    if Path("/proc/sys/dev/tty/legacy_tiocsti").read_text() == "0\n":
        pytest.skip("the kernel lets nobody type (dev.tty.legacy_tiocsti)")
    lighter.run_in("FROM busybox\nCOPY --chmod=755 hostile /hostile\n", files={"hostile": hostile}, tag="t")
    screen = Screen(lighter, *words, "t", "/hostile", "type")
    screen.wait(r"type 3=\w+")
    screen.end()
    assert re.findall(r"type \d=(\w+)", screen.text) == ["EPERM" if words else "ENOTTY", "EPERM", "EPERM", "EBADF"]
    assert "typed-by-hostile" not in screen.text, "what is typed is echoed"
