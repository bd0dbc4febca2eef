"""Debian 12's own kernel (6.1): overlays by one classic mount, no user attributes in memory, Landlock without scopes."""

import subprocess

import pytest

from test_modes import DOCKERFILE, FILES
from vm import Machine

SCRIPT = r"""
mkdir /data; mount -t ext4 /dev/vda /data; chmod 1777 /data; chmod -R a+rX /base /context
digest() {
  section $1
  export LIGHTER_STORE=/data/$1
  mkdir -p $LIGHTER_STORE; [ $1 != single ] || chown user $LIGHTER_STORE
  cat >/tmp/go <<X
export HOME=/tmp LIGHTER_STORE=/data/$1 
lighter load /base >/dev/null
lighter build --isolation $1 -q --epoch=content /context; echo "code=\$?"
X
  if [ $1 = single ]; then su user -c 'sh /tmp/go'; else sh /tmp/go; fi 2>&1
}
section doctor
lighter doctor
digest root
digest chroot
digest single
section deep
export LIGHTER_STORE=/data/root
mkdir /tmp/deep; (echo FROM busybox; for i in $(seq 120); do echo "RUN echo $i >/f$i"; done; echo "RUN ls /f* | wc -l >/n && cat /n") >/tmp/deep/Dockerfile
lighter build /tmp/deep 2>&1 | grep '| 120'
"""


@pytest.fixture(scope="module")
def said(binary, bases, busybox_program, place, module_lighters):
    top = place / "vm-kernels"
    machine = Machine(top, binary, busybox_program)
    subprocess.run(["cp", "-r", bases("busybox"), machine.root / "base"], check=True)
    context = module_lighters().context(FILES, name="vm-context")
    subprocess.run(["cp", "-r", context, machine.root / "context"], check=True)
    disk = top / "disk"
    with open(disk, "wb") as f:
        f.truncate(256 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", disk], check=True)
    found = machine.run(SCRIPT, disk=disk)
    assert "end" in found, found
    return found


def test_the_kernel_is_one_that_mounts_overlays_the_old_way(said):
    assert "no   overlay layers one by one" in said["doctor"]


def test_what_the_machine_lacks_is_named(said):
    assert "no   newuidmap and newgidmap: newuidmap is not in PATH" in said["doctor"]
    assert "yes  cgroup v2 with memory, cpu and pids" in said["doctor"]


@pytest.mark.parametrize("mode", ["root", "chroot", "single"])
def test_the_image_is_that_of_this_machines_kernel(said, mode, lighters, bases):
    lighter = lighters(bases=[bases("busybox")])
    here = lighter.build(lighter.context(FILES), "--epoch=content").id
    assert "code=0\n" in said[mode], said[mode]
    assert here in said[mode]


def test_a_hundred_and_twenty_layers_fit_into_one_page_of_options(said):
    assert "| 120" in said["deep"]
