"""SIGKILL at random moments: whatever it hits, the store is in order and the next build is right.

  LIGHTER_KILLS  how many processes are killed, over both modes (default 40)
  LIGHTER_SEED   where the dice begin (default 1); a failure says with which seed it comes back
"""

import hashlib
import io
import os
import random
import signal
import tarfile
import time

import pytest

from harness import Lighter, mounts, remove, wait_for

KILLS = int(os.environ.get("LIGHTER_KILLS", "40"))
SEED = int(os.environ.get("LIGHTER_SEED", "1"))
A_PROJECT = 10  # so many kills, then another Dockerfile and another context


# ---- random projects -----------------------------------------------------------------------------

def archive(text):
    """A tar with one file, whose bytes follow from the text alone."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("in/tar", "in/more/tar"):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


# What a stage is made of. {n} is the step's number, {k} a digit that edits change. Every step does the
# same each time it runs, whatever a cache mount holds and wherever it was killed before.
PARTS = [
    "RUN for i in $(seq 20); do echo {k} $i >/run{n}-$i; done",
    "RUN mkdir -p /dir{n}/a/b && echo {k} >/dir{n}/a/b/c && ln -s a /dir{n}/link && chown 7:8 /dir{n}/a",
    "RUN rm -rf /etc/passwd /d && mkdir /d && echo {k} >/d/new{n}",
    "RUN head -c {k}000000 /dev/zero | tr '\\0' x >/big{n}",
    "RUN true",
    "RUN --mount=type=cache,target=/c,id=c{k} [ -e /c/whole ] || {{ echo made >/c/.new && mv /c/.new /c/whole; }}; "
    "cat /c/whole >/cached{n}; echo {n} >>/c/log",
    "RUN --mount=type=bind,source=sub,target=/b cat /b/* >/bound{n}",
    "COPY . /all{n}/",
    "COPY sub /sub{n}",
    "COPY --chown=7:8 --chmod=u+x sub/0 /owned{n}",
    "COPY --link sub /linked{n}/",
    "COPY --exclude=*1 sub /some{n}/",
    "ADD a.tar /tar{n}/",
    "WORKDIR /work{n}/deep",
    "COPY <<EOF /doc{n}\nline {k}\nEOF",
]


class Project:
    """A Dockerfile and a context, which change a little between builds."""

    def __init__(self, lighter, dice):
        self.lighter, self.dice = lighter, dice
        self.parts = [[dice.randrange(len(PARTS)) for _ in range(dice.randrange(2, 5))]
                      for _ in range(dice.randrange(1, 4))]
        self.digit = 1
        many = 330 if dice.random() < 0.4 else 6  # a COPY of more than 300 files may be written as a difference
        self.files = {f"sub/{i}": "0" for i in range(many)}
        self.top = lighter.directory()
        self.write({**self.files, "top": "0", "a.tar": "0"})

    def write(self, files):
        for name, text in files.items():
            self.files[name] = text
            path = self.top / name
            if text is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(archive(text) if name == "a.tar" else text.encode())
            path.chmod(0o644)
            path.parent.chmod(0o755)
        self.lighter.own(self.top)

    def edit(self):
        if self.dice.random() < 0.2:
            self.digit = self.dice.randrange(1, 4)
        for _ in range(self.dice.randrange(1, 3)):
            name = self.dice.choice(["sub/0", "sub/1", "sub/2", "sub/new", "top", "a.tar"])
            gone = name not in ("a.tar", "sub/0") and self.dice.random() < 0.3
            self.write({name: None if gone else str(self.dice.randrange(3))})

    def dockerfile(self):
        lines, n = [], 0
        for stage, parts in enumerate(self.parts):
            lines.append(f"FROM busybox AS s{stage}")
            for part in parts:
                n += 1
                lines.append(PARTS[part].format(n=n, k=self.digit))
            if stage:
                lines.append(f"COPY --from=s{stage - 1} /bin/busybox /mark /of{stage}/")
            lines.append(f"COPY top* sub/0 /mark/\nRUN cat /mark/* | wc -c >/count{stage}")
        return "\n".join(lines) + "\n"

    def content(self):
        """What the image follows from."""
        return hashlib.sha256(repr((self.dockerfile(), sorted(self.files.items(), key=str))).encode()).hexdigest()


class Oracle:
    """The image that a store which knows nothing gives."""

    def __init__(self, lighter, base):
        self.lighter, self.base, self.known = lighter, base, {}

    def __call__(self, project):
        content = project.content()
        if content not in self.known:
            one = Lighter(self.lighter.binary, self.lighter.directory(), self.lighter.account, self.lighter.isolation)
            one.load(self.base)
            self.known[content] = one.build(project.top, "--epoch=content", dockerfile=project.dockerfile()).id
            remove(one.place)
        return self.known[content]


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
        return self.dice.choice([["prune", "--all", "--force", *mode], ["rmi", "--force", "app"],
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
        return f"{' '.join(map(str, words))} after {after:.3f} s, exit {child.returncode}"

    def right(self, project, want):
        began = time.monotonic()
        built = self.lighter.build(project.top, "--epoch=content", dockerfile=project.dockerfile(), tag="app")
        self.usual = 0.8 * self.usual + 0.2 * (time.monotonic() - began)
        assert built.id == want, project.dockerfile()


@pytest.mark.parametrize("mode", ["root", "rootless"])
def test_after_a_kill_the_store_is_in_order_and_the_next_build_is_right(lighters, bases, mode):
    dice = random.Random(f"{mode} {SEED}")
    lighter = lighters(mode, bases=[bases("busybox")])
    oracle, killer = Oracle(lighter, bases("busybox")), Killer(lighter, dice)
    for n in range(KILLS // 2):
        if n % A_PROJECT == 0:
            project = Project(lighter, dice)
            lighter("prune", "--force", *(["--all"] if dice.random() < 0.5 else []), "--isolation", mode)
        project.edit()
        if dice.random() < 0.1:
            lighter.load(bases("busybox"))
        what = killer(project)
        where = f"kill {n} of seed {SEED}, {mode}: {what}"
        said = lighter("store", "check", "--isolation", mode, code=None)
        assert said.code == 0 and "in order" in said.stdout, f"{where}\n{said!r}"
        try:
            killer.right(project, oracle(project))
        except AssertionError as e:
            raise AssertionError(f"{where}\n{e}") from None
    print(f"\n{mode}: {killer.dead} killed at work, {killer.behind} that were left behind, {killer.spared} too late")
    assert killer.dead >= KILLS // 2 // 3
    assert KILLS < 100 or killer.behind
    assert wait_for(lambda: not [line for line in mounts() if str(lighter.place) in line], 2.0)
    assert wait_for(lambda: not lighter.writers_out(), 30)
    lighter.run_in("FROM busybox\nRUN echo a step of its own\n", "--no-cache")
    assert lighter.leftovers() == [] and lighter.damaged_blobs() == []
