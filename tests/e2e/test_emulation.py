"""RUN in a stage for another machine: qemu-user by binfmt_misc, in a machine whose kernel the test may tell so."""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from test_seed import go_access
from vm import CACHE, Machine

PROGRAM = """\
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

func main() {
	if len(os.Args) > 1 {
		out, err := exec.Command(os.Args[0]).CombinedOutput()
		fmt.Printf("child %v %s", err, out)
		os.WriteFile("/made", out, 0o644)
		return
	}
	fmt.Println("runs on", runtime.GOARCH, os.Getuid())
}
"""
SCRIPT = r"""
mkdir -p /ctx; cp /test/app /ctx/app
printf 'FROM scratch\nCOPY app /app\nRUN ["/app", "x"]\n' >/ctx/Dockerfile
build() { section $1; lighter build --isolation root --platform linux/arm64 --no-cache -t it /ctx 2>&1; echo "code=$?"; }
build nothing
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
build mounted
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
echo ":whatever:M::$magic:$mask:/test/qemu:O" >/proc/sys/fs/binfmt_misc/register
build outside
echo -1 >/proc/sys/fs/binfmt_misc/whatever
echo ":other:M::$magic:$mask:/test/qemu:F" >/proc/sys/fs/binfmt_misc/register
build ready
section saved
lighter inspect it | grep Architecture
lighter run --isolation root it 2>&1; lighter save -o /tmp/x.tar it && tar xOf /tmp/x.tar index.json | tr , '\n' | grep architecture
echo 0 >/proc/sys/fs/binfmt_misc/other
build disabled
"""


def emulator():
    """qemu-aarch64-static of Debian's package, kept beside the kernel."""
    if platform.machine() != "x86_64":
        pytest.skip("the virtual machine is x86_64")
    kept = CACHE / "qemu-aarch64-static"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            done = subprocess.run(["apt-get", "download", "-q", "qemu-user-static"], cwd=work, check=False, capture_output=True, text=True)
            if done.returncode:
                pytest.skip("qemu-user-static cannot be downloaded")
            subprocess.run(["dpkg-deb", "-x", next(Path(work).glob("*.deb")), "tree"], cwd=work, check=True)
            os.replace(Path(work) / "tree/usr/bin/qemu-aarch64-static", kept)
    return kept


@pytest.fixture(scope="module")
def said(binary, bases, busybox_program, place, module_lighters):
    lighter = module_lighters(bases=[bases("golang")])
    env, args = go_access()
    out = lighter.directory()
    lighter.build(lighter.context({"go.mod": "module m\ngo 1.22\n", "main.go": PROGRAM}), *args, "-o", out, env=env, timeout=300,
                  dockerfile="FROM golang:1.22 AS b\nWORKDIR /s\nCOPY . .\nRUN CGO_ENABLED=0 GOARCH=arm64 go build -ldflags=-s -o /app .\n"
                             "FROM scratch\nCOPY --from=b /app /app\n")
    machine = Machine(place / "vm-emulation", binary, busybox_program)
    shutil.copy(out / "app", machine.root / "test/app")
    shutil.copy(emulator(), machine.root / "test/qemu")
    found = machine.run(SCRIPT, memory=1536)
    assert "end" in found, found
    return found


@pytest.mark.parametrize("when", ["nothing", "mounted", "disabled"])
def test_without_an_emulator_the_error_names_line_package_and_way_out(said, when):
    assert "code=6" in said[when], said[when]
    for word in ("Dockerfile:3", "linux/arm64", "qemu-user-static", "$BUILDPLATFORM"):
        assert word in said[when].replace("\n", " "), said[when]


def test_an_emulator_that_images_would_have_to_hold_is_not_believed(said):
    assert "code=6" in said["outside"] and "flag F" in said["outside"], said["outside"]


def test_with_an_emulator_a_run_for_another_machine_runs_and_so_do_its_children(said):
    assert "code=0" in said["ready"], said["ready"]
    assert "child <nil> runs on arm64 0" in said["ready"]


def test_the_image_is_for_the_other_machine(said):
    assert '"Architecture": "arm64"' in said["saved"].replace('":"', '": "'), said["saved"]
