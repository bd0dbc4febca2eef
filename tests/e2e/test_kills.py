"""SIGKILL at random moments: whatever it hits, the store is in order and the next build is right.

  LIGHTER_KILLS  how many processes are killed, over all modes (default 40)
  LIGHTER_SEED   where the dice begin (default 1); a failure says with which seed it comes back
"""

import os
import random
import signal
import time

import pytest

from harness import mounts, wait_for
from projects import Oracle, Project

KILLS = int(os.environ.get("LIGHTER_KILLS", "40"))
SEED = int(os.environ.get("LIGHTER_SEED", "1"))
A_PROJECT = 10  # so many kills, then another Dockerfile and another context


# ---- kills ---------------------------------------------------------------------------------------

class Killer:
    def __init__(self, lighter, dice):
        self.lighter, self.dice = lighter, dice
        self.usual = 0.3  # seconds a build takes, as the last ones have shown
        self.dead = self.behind = self.spared = 0

    def start(self, words, text=None):
        child = self.lighter.start(*words, stdin=-1)
        child.stdin.write((text or "").encode())
        child.stdin.close()
        child.stdin = None
        return child

    def build(self, project):
        words = ["build", "--isolation", self.lighter.isolation, "--epoch=content", "-f", "-"]
        words += self.dice.choice([[], ["-t", "app"], ["-t", "app"], ["-t", "other"]])
        words += self.dice.choice([[], [], [], ["--max-cache", "1MB"], ["--no-cache"],
                                   ["-o", f"type=oci,dest={self.lighter.home / 'out.tar'}"]])
        return [*words, project.top]

    def command(self, project):
        """Mostly builds; else what makes room, and what packs."""
        what = self.dice.random()
        if what < 0.85:
            return self.build(project), project.dockerfile()
        mode = ["--isolation", self.lighter.isolation]
        return self.dice.choice([["prune", "--all", "--force", *mode], ["rmi", *mode, "--force", "app"],
                                 ["save", *mode, "-o", self.lighter.home / "saved.tar", "app"],
                                 ["store", "check", *mode]]), None

    def __call__(self, project):
        """Kill one process, and tell what it was."""
        words, text = self.command(project)
        child = self.start(words, text)
        if self.dice.random() < 0.2:  # it has reported, and the one it leaves behind is at work
            child.communicate(timeout=60)
            pids = self.lighter.writers_out()
            time.sleep(self.dice.choice([0, 0, 0.002, 0.01]))
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                    self.behind += 1
                except ProcessLookupError:
                    pass
            self.spared += not pids
            return f"{words[0]}, and what it left behind"
        after = self.dice.uniform(0, 1.2 * self.usual)
        time.sleep(after)
        child.kill()
        child.communicate()
        if child.returncode == -signal.SIGKILL:
            self.dead += 1
        else:
            self.spared += 1
            self.usual *= 0.7  # sooner next time
        return f"{' '.join(map(str, words))} after {after:.3f} s, exit {child.returncode}"

    def right(self, project, want):
        began = time.monotonic()
        built = self.lighter.build(project.top, "--epoch=content", dockerfile=project.dockerfile(), tag="app")
        self.usual = 0.8 * self.usual + 0.2 * (time.monotonic() - began)
        assert built.id == want, project.dockerfile()


@pytest.mark.parametrize("mode", ["root", "rootless", "single", "chroot"])
def test_after_a_kill_the_store_is_in_order_and_the_next_build_is_right(lighters, bases, mode):
    dice = random.Random(f"{mode} {SEED}")
    lighter = lighters(mode, bases=[bases("busybox")])
    oracle, killer = Oracle(lighter, bases("busybox")), Killer(lighter, dice)
    for n in range(KILLS // 4):
        if n % A_PROJECT == 0:
            project = Project(lighter, dice)
            lighter("prune", "--force", *(["--all"] if dice.random() < 0.5 else []), "--isolation", mode)
        project.edit()
        if dice.random() < 0.1:
            lighter.load(bases("busybox"))
        what = killer(project)
        where = f"kill {n} of seed {SEED}, {mode}: {what}"
        try:
            lighter.check()
            killer.right(project, oracle(project))
        except AssertionError as e:
            raise AssertionError(f"{where}\n{e}") from None
    print(f"\n{mode}: {killer.dead} killed at work, {killer.behind} that were left behind, {killer.spared} too late")
    assert killer.dead + killer.behind >= (KILLS // 12 if KILLS >= 200 else 1)
    assert KILLS < 200 or killer.behind
    assert wait_for(lambda: not [line for line in mounts() if str(lighter.place) in line], 2.0)
    assert wait_for(lambda: not lighter.writers_out(), 30)
    lighter.run_in("FROM busybox\nRUN echo a step of its own\n", "--no-cache")
    assert lighter.leftovers() == [] and lighter.damaged_blobs() == []
