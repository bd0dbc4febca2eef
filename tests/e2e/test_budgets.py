"""Budgets that are facts of the binary and not of a clock."""

import re
import subprocess

import pytest

from harness import PeakWatcher


def files_opened(lighter, needs, temp, *words):
    needs("strace")
    log = temp / "strace"
    temp.chmod(0o777)
    done = subprocess.run(["strace", "-f", "-qq", "-o", str(log), "-e", "trace=open,openat,mmap",
                           lighter.binary, *words], check=False, env=lighter.environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not log.exists() or "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    return re.findall(r'open(?:at)?\([^"]*"([^"]+)"[^)]*\)\s+= \d+', log.read_text())


def test_version_opens_nothing_but_libc_and_the_loaders_cache(bare, needs, temp):
    opened = files_opened(bare, needs, temp, "version")
    for path in opened:
        assert re.search(r"/(ld\.so\.(cache|preload)|lib[cm]\.so\.6)$", path), path


def test_a_build_without_network_never_maps_libcurl(lighter, needs, temp):
    context = lighter.context({"f": "1", "Dockerfile": "FROM busybox\nCOPY f /\nRUN true\n"})
    opened = files_opened(lighter, needs, temp, "build", str(context))
    assert not [path for path in opened if "libcurl" in path or "libssl" in path]


def test_the_binary_needs_no_library_but_the_c_library(binary, needs):
    needs("readelf")
    out = subprocess.run(["readelf", "-d", str(binary)], check=True, stdout=subprocess.PIPE,
                         text=True).stdout
    if "libasan" in out or "libubsan" in out:
        pytest.skip("a sanitizer build")
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", out))
    assert needed <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def test_the_binary_is_at_most_10_mb(binary):
    assert binary.stat().st_size <= 10_000_000


def test_an_unchanged_rebuild_starts_no_process_and_enters_no_namespace(lighter, needs, temp):
    needs("strace")
    context = lighter.context({"f": "1", "Dockerfile": "FROM busybox\nCOPY f /\nRUN true\n"})
    lighter.build(context)
    log = temp / "strace"
    subprocess.run(["strace", "-f", "-qq", "-o", str(log), "-e",
                    "trace=execve,unshare,clone,clone3,fork,vfork,mount,fsopen", lighter.binary, "build",
                    "--isolation", lighter.isolation, str(context)], check=True,
                   env=lighter.environment(), stderr=subprocess.DEVNULL)
    calls = re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.M)
    assert calls == ["execve"]


def test_memory_does_not_grow_with_the_size_of_a_layer(lighter):
    dockerfile = "FROM busybox\nRUN head -c 300000000 /dev/zero >/big; head -c 30000000 /dev/urandom >/r\n"
    built = lighter.run_in(dockerfile, tag="big", watch=True)
    assert 0 < built.peak_kib <= 40 * 1024
    child = lighter.start("save", "--isolation", lighter.isolation, "-o", lighter.place / "big.tar", "big")
    watcher = PeakWatcher(child.pid)
    child.communicate()
    assert child.returncode == 0
    assert 0 < watcher.end() <= 48 * 1024, "32 MiB and 8 MiB a parallel job"


def test_memory_does_not_grow_with_the_size_of_a_copied_file(lighter):
    context = lighter.context()
    with open(context / "big", "wb") as f:
        for _ in range(100):
            f.write(b"some content here" * 61681)
    lighter.own(context)
    built = lighter.build(context, dockerfile="FROM scratch\nCOPY big /\n", tag="big", watch=True)
    assert 0 < built.peak_kib <= 40 * 1024


def test_200_steps_and_1000_stages_are_no_trouble(lighter):
    steps = "FROM busybox\n" + "".join(f"ENV A{i}={i}\nRUN true # {i}\n" for i in range(200))
    assert len(lighter.run_in(steps, timeout=60).ran) == 200
    stages = "FROM busybox AS s0\n" + "".join(f"FROM s{i} AS s{i + 1}\nENV A{i}={i}\n"
                                              for i in range(999))
    done = lighter.run_in(stages, timeout=60)
    assert done.seconds < 5
