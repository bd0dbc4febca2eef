"""`lighter doctor`: what was tried, the mode that follows, and what would give a better one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


UNPRIVILEGED = Path(__file__).with_name("unprivileged.py")
NAMES = {"proc", "root", "overlay", "userns", "userns-limits", "newuidmap", "rootless", "overlay-userns", "lowerdir-plus",
         "seccomp-notify", "chroot", "devices", "landlock", "reflink", "cgroup", "binfmt", "git", "passt", "libcurl"}


class Report:
    def __init__(self, text):
        self.all = json.loads(text)
        self.ok = {fact["name"]: fact["ok"] for fact in self.all["tried"]}
        self.detail = {fact["name"]: fact["detail"] for fact in self.all["tried"]}
        self.mode, self.better = self.all.get("mode"), self.all.get("better", {})


def confined(lighter, *options, code=0, env=None, words=("doctor", "--json")):
    """`lighter doctor` in a container without privileges."""
    done = subprocess.run([sys.executable, UNPRIVILEGED, *options, lighter.binary, *words], check=False,
                          env=lighter.environment(env), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return Report(done.stdout) if "--json" in words else done.stdout


def files_below(top):
    return sorted(os.path.join(at, name) for at, dirs, files in os.walk(top) for name in dirs + files)


def test_everything_is_tried_and_nothing_stays(bare):
    before = files_below(bare.place)
    report = Report(bare("doctor", "--json").stdout)
    assert set(report.ok) == NAMES and report.all["possible"] is True
    assert report.mode == bare.isolation
    assert files_below(bare.place) == before


def test_the_page_for_people_says_the_same(bare):
    page = bare("doctor").stdout
    report = Report(bare("doctor", "--json").stdout)
    for fact in report.all["tried"]:
        assert f"{'yes' if fact['ok'] else 'no ':3}  {fact['title']}" in page
    assert f"mode: {report.mode}\n  {report.all['cost']}" in page


def test_operands_are_refused(bare):
    assert "no arguments" in bare("doctor", "x", code=2).error


def test_root_that_may_mount_has_nothing_better(bare, needs_root):
    report = Report(bare("doctor", "--json").stdout)
    assert report.mode == "root" and report.better == {}
    assert report.ok["root"] and report.ok["overlay"] and report.ok["chroot"] and report.ok["devices"]


def test_an_unprivileged_container_has_mode_chroot(bare, needs_root):
    report = confined(bare)
    assert report.mode == "chroot" and "copies the root" in report.all["cost"]
    assert not any(report.ok[name] for name in ("root", "overlay", "userns", "overlay-userns", "rootless"))
    assert report.ok["chroot"] and report.better["mode"] == "root"


def test_a_pod_is_told_the_lines_of_its_manifest(bare, needs_root):
    how = confined(bare, env={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).better["how"]
    assert "add: [SYS_ADMIN]" in how and "hostUsers: false" in how and "procMount: Unmasked" in how


def test_without_chroot_no_build_is_possible(bare, needs_root):
    report = confined(bare, "-nochroot", code=6)
    assert report.all["possible"] is False and report.mode is None
    assert "CAP_SYS_CHROOT" in report.all["why"] and "add: [SYS_CHROOT]" in report.better["how"]
    assert "no build is possible" in confined(bare, "-nochroot", code=6, words=("doctor",))


def test_device_nodes_are_tried(bare, needs_root):
    report = confined(bare, "-nodev")
    assert not report.ok["devices"] and "/dev/null is a plain file" in report.detail["devices"]


def test_rootless_is_what_an_account_with_ranges_has(lighters):
    lighter = lighters("rootless")
    report = Report(lighter("doctor", "--json").stdout)
    assert report.mode == "rootless" and report.ok["rootless"] and report.ok["overlay-userns"]
    assert "user ids" in report.detail["rootless"] and report.better["mode"] == "root"


def test_newuidmap_is_found_beside_a_short_path(lighters, temp):
    for name in ("git", "sh"):
        os.symlink(shutil.which(name), temp / name)
    report = Report(lighters("rootless")("doctor", "--json", env={"PATH": str(temp)}).stdout)
    assert report.ok["newuidmap"] and report.ok["rootless"] and report.ok["git"]


def test_an_account_without_ranges_is_told_the_command(bare, needs_root):
    done = subprocess.run([bare.binary, "doctor", "--json"], check=False, capture_output=True, text=True,
                          env=bare.environment({"LIGHTER_STORE": "/nowhere"}), user=65534, group=65534,
                          extra_groups=[])
    report = Report(done.stdout)
    assert done.returncode == 0 and report.mode == "single"
    assert "usermod --add-subuids" in report.better["how"] and report.better["mode"] == "rootless"


def in_own_mounts(lighter, script, account):
    """`lighter doctor` as an account, after a script of root's in a mount namespace of its own."""
    words = ["unshare", "-m", "sh", "-ec", f'{script}; exec setpriv --reuid={account.uid} --regid={account.gid} '
             f'--clear-groups "$0" doctor --json', lighter.binary]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=lighter.environment())
    return done.returncode, Report(done.stdout)


def test_a_sysctl_that_forbids_user_namespaces_is_named(lighters, temp, account, needs, needs_root):
    needs("unshare", "setpriv")
    lighter = lighters("rootless")
    (temp / "zero").write_text("0\n")
    (temp / "zero").chmod(0o644)
    code, report = in_own_mounts(
        lighter, f"mount --bind {temp}/zero /proc/sys/user/max_user_namespaces", account)
    assert code in (0, 6) and not report.ok["userns-limits"]
    assert report.detail["userns-limits"].endswith("sysctl -w user.max_user_namespaces=10000")


def test_a_file_system_with_reflinks_is_recognised(bare, temp, needs, needs_root):
    needs("mkfs.xfs", "losetup")
    image, at = temp / "xfs", temp / "at"
    at.mkdir()
    subprocess.run(["truncate", "-s", "400M", image], check=True)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, at], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no loop mounts here")
    try:
        report = Report(bare("doctor", "--json", env={"LIGHTER_STORE": str(at / "store")}).stdout)
        assert report.ok["reflink"]
    finally:
        subprocess.run(["umount", at], check=True)
