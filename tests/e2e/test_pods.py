"""Root of a user namespace that somebody else made: a pod with hostUsers: false (features.md N7; remote.md 4.1, row E)."""

import json
import os
import sys
from pathlib import Path

import pytest

import test_chroot
from harness import Lighter

FIRST = 300000
HERE = Path(__file__).resolve().parent
FILES = {"f": "f\n", "dir/x": "x\n", "dir/y/z": "z\n"}


class Pod(Lighter):
    """lighter as such a root, with a store that is its own."""

    def __init__(self, binary, place, masked):
        super().__init__(binary, place)
        self.words = [sys.executable, str(HERE / "userns.py"), *(["-masked"] if masked else []), str(FIRST)]
        for path in (self.place, self.home):
            os.chown(path, FIRST, FIRST)

    def start(self, *args, **options):
        return super().start(*args, before=self.words, **options)


@pytest.fixture(params=[False, True], ids=["unmasked", "masked"])
def pod(request, binary, place, bases, needs_root):
    one = Pod(binary, place / f"pod-{os.urandom(4).hex()}", request.param)
    one.place.chmod(0o755)
    one.masked = request.param
    one.load(bases("busybox"))
    return one


def test_the_mode_is_root_with_overlays_of_a_user_namespace(pod):
    report = json.loads(pod("doctor", "--json").stdout)
    fresh = next(fact for fact in report["tried"] if fact["name"] == "proc")
    assert report["mode"] == "root" and fresh["ok"] is not pod.masked
    if pod.masked:
        assert "procMount: Unmasked" in fresh["detail"]


@pytest.mark.parametrize("what", ["owners and modes", "a directory made anew", "renames", "stages", "hosts", "cache and secret", "binds"])
def test_the_image_is_that_of_mode_root(pod, lighters, bases, what):
    root = lighters("root", bases=[bases("busybox")])
    ids = {one.build(one.context(FILES), "--epoch=content", dockerfile=test_chroot.SAME[what]).id for one in (pod, root)}
    assert len(ids) == 1


def test_a_step_finds_itself_and_masks_stay(pod):
    done = pod.run_in("FROM busybox\nRUN echo exe=$(readlink /proc/self/exe) && echo n=$(cat /proc/timer_list | wc -c) && "
                      "(echo 1 >/proc/sys/kernel/sysrq) 2>/dev/null || echo sys=closed\n")
    assert done.said("exe").startswith("/bin/") and done.said("n") == "0" and done.said("sys") == "closed"


def test_a_store_of_a_pod_is_refused_to_the_machines_root(pod, lighters):
    pod.run_in("FROM busybox\nRUN true\n")
    other = lighters("root")
    other.store = pod.store
    assert "was filled in mode 'root of a user namespace'" in other.run_in("FROM busybox\n", code=6).error
