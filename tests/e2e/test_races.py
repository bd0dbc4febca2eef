"""Two commands at once on one store, of all kinds: what each gives is right, and the store is in order after it.

  LIGHTER_RACES  how many races, over both modes (default 16)
  LIGHTER_SEED   where the dice begin (default 1)
"""

import os
import random
import subprocess
import time

import pytest

from harness import Image
from projects import Oracle, Project

RACES = int(os.environ.get("LIGHTER_RACES", "16"))
SEED = int(os.environ.get("LIGHTER_SEED", "1"))


class Racer:
    """One command of a race: what it is, and what must be true of its end."""

    def __init__(self, lighter, words, text=None, want=None, refused=None):
        self.lighter, self.words, self.want, self.refused = lighter, words, want, refused
        self.text = (text or "").encode()
        self.child = None

    def start(self):
        self.child = self.lighter.start(*self.words, stdin=subprocess.PIPE)
        self.child.stdin.write(self.text)
        self.child.stdin.close()
        self.child.stdin = None

    def finish(self):
        out, err = (data.decode() for data in self.child.communicate(timeout=120))
        told = f"{' '.join(map(str, self.words))}: exit {self.child.returncode}\n{out}\n{err}"
        if self.child.returncode and self.refused and self.refused in err:
            return
        assert self.child.returncode == 0, told
        self.want(out, told)


class Race:
    def __init__(self, lighter, base, oracle, dice):
        self.lighter, self.base, self.oracle, self.dice = lighter, base, oracle, dice
        self.mode = ["--isolation", lighter.isolation]

    def build(self, project, *args, tag="app"):
        right = self.oracle(project)

        def want(out, told):
            assert out.split()[-1] == right, told

        words = ["build", "-q", *self.mode, "--epoch=content", "-f", "-", "-t", tag, *args, project.top]
        return Racer(self.lighter, words, project.dockerfile(), want)

    def plain(self, *words, said="", refused=None):
        def want(out, told):
            assert said in out, told

        return Racer(self.lighter, [*words], want=want, refused=refused)

    def save(self):
        dest = self.lighter.directory() / "layout"

        def want(_, told):
            assert Image(dest).layers, told

        return Racer(self.lighter, ["save", *self.mode, "--format", "oci-dir", "-o", dest, "app"], want=want, refused="app")

    def any(self, project):
        """What runs beside a build."""
        return self.dice.choice([
            lambda: self.build(project),
            lambda: self.build(project, "--no-cache", tag="again"),
            lambda: self.build(project, "--max-cache", "1"),
            lambda: self.plain("prune", "--all", "--force", *self.mode),
            lambda: self.plain("prune", "--force", *self.mode),
            lambda: self.plain("rmi", *self.mode, "--force", "app", refused="app"),
            lambda: self.plain("load", self.base),
            lambda: self.plain("store", "check", *self.mode, said="in order"),
            lambda: self.plain("tag", "app", "again", refused="app"),
            lambda: self.plain("du", *self.mode),
            self.save,
        ])()

    def run(self, racers):
        for racer in racers:
            racer.start()
            time.sleep(self.dice.choice([0, 0, 0.005, 0.02, 0.1]))
        failed = []
        for racer in racers:
            try:
                racer.finish()
            except AssertionError as e:
                failed.append(str(e))
        assert not failed, "\n".join(failed)

    def whole(self, project):
        self.lighter.check()
        built = self.lighter.build(project.top, "--epoch=content", dockerfile=project.dockerfile())
        assert built.id == self.oracle(project), built


@pytest.mark.parametrize("mode", ["root", "rootless"])
def test_what_two_commands_at_once_give_is_right(lighters, bases, mode):
    dice = random.Random(f"{mode} {SEED}")
    lighter = lighters(mode, bases=[bases("busybox")])
    oracle = Oracle(lighter, bases("busybox"))
    race = Race(lighter, bases("busybox"), oracle, dice)
    for n in range(RACES // 2):
        if n % 5 == 0:
            project, other = Project(lighter, dice), Project(lighter, dice)
        project.edit()
        racers = [race.build(project), race.any(dice.choice([project, other]))]
        dice.shuffle(racers)
        names = [" ".join(map(str, racer.words)) for racer in racers]
        try:
            race.run(racers)
            race.whole(dice.choice([project, other]))
        except AssertionError as e:
            raise AssertionError(f"race {n} of seed {SEED}, {mode}: {names}\n{e}") from None
    assert lighter.damaged_blobs() == []


@pytest.mark.parametrize("mode", ["root", "rootless"])
def test_eight_builds_at_once_and_what_makes_room_beside_them_give_what_each_alone_gives(lighters, bases, mode):
    dice = random.Random(f"eight {mode} {SEED}")
    lighter = lighters(mode, bases=[bases("busybox")])
    race = Race(lighter, bases("busybox"), Oracle(lighter, bases("busybox")), dice)
    for _ in range(max(1, RACES // 30)):
        projects = [Project(lighter, dice) for _ in range(4)]
        builds = [race.build(project, *args, tag=f"t{n % 3}") for n, (project, args) in enumerate(
            [(project, args) for project in projects for args in ([], ["--max-cache", "1"])])]
        race.run([*builds, race.plain("prune", "--all", "--force", *race.mode), race.plain("rmi", *race.mode, "--force", "t0", refused="t0"),
                  race.plain("prune", "--force", *race.mode)])
        for project in projects:
            race.whole(project)
    assert lighter.damaged_blobs() == []
