"""Another kernel for the tests: Debian 12's own, in a virtual machine.

It has what the machine of the tests may lack, cgroup v2 with all controllers, and lacks what that may have, one overlay
layer a call. The machine's root is a file system in memory with busybox and lighter in it; a script runs there as root,
and what it prints between the marks of a section is what a test looks at.
"""

import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import one_at_a_time

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lighter" / "vm"
MODULES = ["fs/overlayfs/overlay.ko", "fs/binfmt_misc.ko", *(f"drivers/virtio/{name}.ko" for name in (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci")), "drivers/block/virtio_blk.ko"]
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /new && /bin/busybox mount -t tmpfs -o size=90% root /new
for d in bin lib lib64 etc root modules base context test; do [ ! -e /$d ] || /bin/busybox cp -a /$d /new/; done
exec /bin/busybox switch_root /new /bin/busybox sh /test/main
"""
MAIN = """
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /sbin /usr/bin /usr/sbin /var
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mkdir -p /dev/pts /dev/shm
mount -t tmpfs tmp /tmp; mount -t tmpfs shm /dev/shm; mount -t cgroup2 cgroup /sys/fs/cgroup; chmod 1777 /tmp
for m in {modules}; do insmod /modules/$m; done 2>/dev/null
ip link set lo up
export PATH=/bin HOME=/root LIGHTER_STORE=/tmp/store BUILDKIT_PROGRESS=plain NO_COLOR=1  # the console is a terminal
cd /tmp
section() {{ echo; echo "=== $1"; }}
. /test/script
echo; echo "=== end"
poweroff -f
"""


def kernel():
    """Debian's kernel and its modules, from its package; skips where they cannot be had."""
    if platform.machine() != "x86_64":
        pytest.skip("the virtual machine is x86_64")
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)")
    image = CACHE / "vmlinuz"
    CACHE.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(CACHE / "lock"):
        if not image.exists() or not all((CACHE / "modules" / os.path.basename(name)).exists() for name in MODULES):
            fetch_kernel()
    return image


def fetch_kernel():
    names = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], check=False, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", names)
    if not found:
        pytest.skip("apt knows no linux-image-cloud-amd64")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        done = subprocess.run(["apt-get", "download", "-q", found.group(1)], cwd=work, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            pytest.skip(f"{found.group(1)} cannot be downloaded: {done.stdout.splitlines()[-1]}")
        subprocess.run(["dpkg-deb", "-x", next(Path(work).glob("*.deb")), "tree"], cwd=work, check=True)
        tree, modules = Path(work) / "tree", CACHE / "modules"
        modules.mkdir(exist_ok=True)
        for name in MODULES:
            for path in tree.glob(f"lib/modules/*/kernel/{name}"):
                shutil.copy(path, modules / path.name)
        shutil.copy(next(tree.glob("boot/vmlinuz-*")), CACHE / "vmlinuz.new")
        os.replace(CACHE / "vmlinuz.new", CACHE / "vmlinuz")


def libraries(program):
    said = subprocess.run(["ldd", program], check=False, stdout=subprocess.PIPE, text=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


class Machine:
    """What will be in the machine, and one run of it."""

    def __init__(self, place, lighter, busybox):
        self.image, self.place = kernel(), place
        self.root = place / "initrd"
        for name in ("bin", "lib", "lib64", "etc", "root", "modules", "test"):
            (self.root / name).mkdir(parents=True)
        (self.root / "bin" / "busybox").write_bytes(busybox)
        (self.root / "bin" / "busybox").chmod(0o755)
        self.program(lighter)
        for module in sorted((CACHE / "modules").iterdir()):
            shutil.copy(module, self.root / "modules")
        (self.root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
        (self.root / "etc" / "group").write_text("root:x:0:\nuser:x:1000:\n")

    def program(self, path):
        shutil.copy(path, self.root / "bin" / os.path.basename(path))
        for library in libraries(path):
            target = self.root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)

    def run(self, script, memory=1024, disk=None, timeout=300):
        """Run a script; {section: text}. A section "end" is there when it came to its end."""
        names = " ".join(os.path.basename(name) for name in MODULES)
        (self.root / "test" / "script").write_text(script)
        (self.root / "test" / "main").write_text(MAIN.format(modules=names))
        (self.root / "init").write_text(INIT)
        (self.root / "init").chmod(0o755)
        archive = self.place / "initrd.img"
        listed = subprocess.run(["find", "."], cwd=self.root, check=True, stdout=subprocess.PIPE).stdout
        with open(archive, "wb") as out:
            subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=self.root, check=True, input=listed, stdout=out,
                           stderr=subprocess.DEVNULL)
        words = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(memory), "-kernel", self.image,
                 "-initrd", archive, "-append", "console=ttyS0 quiet panic=-1", "-nographic", "-no-reboot", "-nic", "none"]
        if disk:
            words += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]
        said = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=timeout, check=False).stdout
        return sections(said.decode(errors="replace"))


def sections(text):
    """By their names; lines of the kernel's own log are left out."""
    found, name = {}, None
    for line in text.replace("\r", "").split("\n"):
        mark = re.match(r"=== (.*)", line)
        if mark:
            name = mark.group(1)
            found[name] = ""
        elif name and not re.match(r"\[ *\d+\.\d+\] ", line):
            found[name] += line + "\n"
    return found
