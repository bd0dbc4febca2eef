"""--memory, --cpus, --cpuset-cpus and --pids-limit: held by cgroup v2, or refused by name.

The rules are docker's (`docker run --help`; features.md S7), and those of cgroups(7) for delegation. The machine of the
tests may have the controllers in version 1, so what holds is shown under Debian 12's own kernel.
"""

import os
import subprocess
from pathlib import Path

import pytest

from vm import Machine

SCRIPT = r"""
lighter load /base >/dev/null 2>&1
build() { rm -rf c; mkdir c; cat >c/Dockerfile; lighter build -t x "$@" c 2>&1; echo "code=$?"; }

section memory
build --memory 64m <<'X'
FROM busybox
RUN head -c 120m /dev/zero | tail -c 110m >/dev/null
X
section enough
build --memory 64m <<'X'
FROM busybox
RUN head -c 20m /dev/zero | tail -c 19m >/dev/null
X
section swallowed
build --memory 64m <<'X'
FROM busybox
RUN head -c 120m /dev/zero | tail -c 110m | wc -c
X
section seen
build --memory 64m --memory-swap 96m --cpus 0.5 --cpuset-cpus 1 --pids-limit 50 --cpu-shares 512 <<'X'
FROM busybox
RUN cat /proc/self/cgroup; grep Cpus_allowed_list /proc/self/status
X
section values
(sleep 2; cd /sys/fs/cgroup/lighter/lighter-*; for f in memory.max memory.swap.max cpu.max cpuset.cpus pids.max cpu.weight; do
  echo "$f=$(cat $f 2>/dev/null)"; done) &
build --no-cache --memory 64m --memory-swap 96m --cpus 0.5 --cpuset-cpus 1 --pids-limit 50 --cpu-shares 512 <<'X'
FROM busybox
RUN sleep 4
X
wait
section bomb
build --pids-limit 40 <<'X'
FROM busybox
RUN b() { b | b & }; b; sleep 2
X
echo "after=$(ls /proc | grep -c '^[0-9]')"
section full
echo 400 >/proc/sys/kernel/pid_max
build --no-cache <<'X'
FROM busybox
RUN b() { b | b & }; b; sleep 2
X
echo 32768 >/proc/sys/kernel/pid_max
echo "after=$(ls /proc | grep -c '^[0-9]')"
build <<'X'
FROM busybox
RUN echo alive=yes
X
section key
build --memory 512m <<'X'
FROM busybox
RUN echo x >/x
X
build --memory 256m --pids-limit 100 <<'X'
FROM busybox
RUN echo x >/x
X
section left
ls /sys/fs/cgroup/lighter | grep lighter- ; echo "none=1"
section run
lighter run --memory 32m busybox sh -c 'head -c 120m /dev/zero | tail -c 110m >/dev/null'; echo "code=$?"
section parent
(sleep 2; ls -d /sys/fs/cgroup/mine/lighter-*) &
build --no-cache --pids-limit 50 --cgroup-parent /mine <<'X'
FROM busybox
RUN sleep 4
X
wait
section user
chmod 755 /base; mkdir /tmp/user; mount -t ext4 /dev/vda /tmp/user; chown user /tmp/user
cat >/tmp/as-user <<'X'
export HOME=/tmp/user LIGHTER_STORE=/tmp/user/store; mkdir -p $HOME; cd $HOME
lighter load /base >/dev/null 2>&1; mkdir -p c; printf 'FROM busybox\nRUN cat /proc/self/cgroup\n' >c/Dockerfile
lighter build --memory 64m c 2>&1; echo "code=$?"
X
su user -c 'sh /tmp/as-user'
section delegated
mkdir /sys/fs/cgroup/user; echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
chown user /sys/fs/cgroup/user /sys/fs/cgroup/user/cgroup.procs /sys/fs/cgroup/user/cgroup.subtree_control
sh -c 'echo $$ >/sys/fs/cgroup/user/cgroup.procs; su user -c "sh /tmp/as-user"'
find /sys/fs/cgroup/user -name 'lighter-*'
section readonly
mount -o remount,ro /sys/fs/cgroup
build --memory 64m <<'X'
FROM busybox
RUN true
X
"""


@pytest.fixture(scope="module")
def said(binary, bases, busybox_program, place):
    top = place / "vm-limits"
    machine = Machine(top, binary, busybox_program)
    subprocess.run(["cp", "-r", bases("busybox"), machine.root / "base"], check=True)
    disk = top / "disk"
    with open(disk, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", disk], check=True)
    found = machine.run(SCRIPT, disk=disk)
    assert "end" in found, found
    return found


def test_a_step_over_its_memory_is_named_as_that(said):
    text = said["memory"]
    assert "Dockerfile:2: RUN head" in text and "out of memory: it took more than --memory (67.1 MB)" in text
    assert "code=1\n" in text


def test_a_step_below_its_memory_runs(said):
    assert "code=0\n" in said["enough"] and "RAN" in said["enough"]


def test_a_step_that_lost_a_process_and_succeeded_is_warned_of(said):
    assert "code=0\n" in said["swallowed"]
    assert "warning: Dockerfile:2: RUN head" in said["swallowed"] and "1 of its processes were killed" in said["swallowed"]


def test_a_step_sees_itself_at_the_root_of_its_groups_and_on_its_processors(said):
    text = said["seen"]
    assert "| 0::/\n" in text and "| Cpus_allowed_list:\t1\n" in text


def test_limits_are_what_docker_would_write(said):
    text = said["values"]
    for line in ("memory.max=67108864", "cpu.max=50000 100000", "cpuset.cpus=1", "pids.max=50", "cpu.weight=20"):
        assert line + "\n" in text
    assert "memory.swap.max=33554432\n" in text or "memory.swap.max=\n" in text, "a kernel may have no swap"


def test_a_fork_bomb_ends_with_its_step(said):
    text = said["bomb"]
    assert "can't fork" in text
    assert int(text.split("after=")[1].split()[0]) < 120


def test_a_step_that_takes_every_process_number_ends_with_its_init(said):
    """Without a limit: what ends it needs no number, and takes all others with it."""
    text = said["full"]
    assert "can't fork" in text
    assert int(text.split("after=")[1].split()[0]) < 120
    assert "| alive=yes" in text and text.rstrip().endswith("code=0")


def test_limits_are_in_no_key(said):
    first, second = said["key"].split("code=0\n")[:2]
    assert "RUN echo x >/x  RAN" in first and "RUN echo x >/x  HIT" in second


def test_no_group_is_left(said):
    assert said["left"].strip() == "none=1"


def test_lighter_run_is_limited_too(said):
    assert "code=0" not in said["run"] and "code=" in said["run"]


def test_groups_are_made_below_the_one_that_is_asked_for(said):
    assert "/sys/fs/cgroup/mine/lighter-" in said["parent"] and "code=0\n" in said["parent"]


def test_a_user_without_delegation_is_told_how_to_get_it(said):
    text = said["user"]
    assert "systemd-run --user --scope -p Delegate=yes" in text and "'memory'" in text and "code=6\n" in text


def test_a_user_with_a_delegated_group_has_limits(said):
    assert "code=0\n" in said["delegated"] and "lighter-" not in said["delegated"].split("code=0")[1]


def test_what_cannot_be_held_is_refused_and_nothing_runs(said):
    text = said["readonly"]
    assert "code=6\n" in text and "limits need a control group to write to" in text and "RAN" not in text


@pytest.mark.parametrize("args, message", [
    (["--memory", "5m"], "--memory 5m: expected a size of 6m at least"),
    (["--memory", "lots"], "--memory lots: expected a size"),
    (["--memory-swap", "1g"], "--memory-swap 1g: needs --memory too"),
    (["--memory", "1g", "--memory-swap", "512m"], "--memory-swap 512m: expected a size not below --memory"),
    (["--cpus", "0"], "--cpus 0: expected a number of processors"),
    (["--cpus", "1.5x"], "--cpus 1.5x: expected a number of processors"),
    (["--cpus", "1", "--cpu-quota", "50000"], "--cpus 1: it is --cpu-quota in another form"),
    (["--cpuset-cpus", "0-"], "--cpuset-cpus 0-: expected a list"),
    (["--cpuset-mems", "a"], "--cpuset-mems a: expected a list"),
    (["--pids-limit", "x"], "--pids-limit x: expected a number"),
    (["--cpu-shares", "1"], "--cpu-shares 1: expected a number from 2"),
    (["--cgroup-parent", "a/../b"], "--cgroup-parent 'a/../b'"),
])
def test_what_is_no_limit_is_refused(lighter, args, message):
    done = lighter.run_in("FROM busybox\nRUN true\n", *args, code=2)
    assert message in done.error and done.steps == []


def test_where_the_machine_has_no_cgroup_v2_a_limit_is_refused_by_name(lighter):
    controllers = [Path(line.split()[4]) / "cgroup.controllers" for line in open("/proc/self/mountinfo") if " - cgroup2 " in line]
    if any("memory" in path.read_text() for path in controllers if path.exists()):
        pytest.skip("this machine has it")
    done = lighter.run_in("FROM busybox\nRUN true\n", "--memory=64m", code=6)
    assert "limits need cgroup v2 with the controller 'memory'" in done.error and done.steps == []
