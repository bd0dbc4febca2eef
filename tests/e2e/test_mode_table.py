"""One table over all modes: the same builds, with equal image digests, and what a step costs in each.

The table stands in docs/modes.md between two marks; this test makes it. `make modes-table` runs it with
LIGHTER_WRITE_DOCS=1 and many repetitions, which writes the section anew; otherwise the builds are compared, each mode
is measured shortly, and the section must have the same rows.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import test_chroot
import test_modes
import test_single
from harness import HELLO, REPO

MODES = ["root", "rootless", "single", "chroot"]
BEGIN, END = "<!-- modes: made by tests/e2e/test_mode_table.py -->", "<!-- modes: end -->"
WRITES = os.environ.get("LIGHTER_WRITE_DOCS") == "1"
STEPS, ROUNDS = (200, 8) if WRITES else (20, 2)

FILES = {"f": "f\n", "dir/x": "x\n", "dir/y/z": "z\n"}
SEED = {path.name: path.read_text() for path in HELLO.iterdir() if path.is_file()}
PACKAGES = "FROM alpine\nRUN {} && rm -rf /var/log /lib/apk/db/scripts.tar /etc/*-\n"

# name: (Dockerfile, files, bases, modes that cannot, for the reason in the table's notes)
BUILDS = {
    "the seed's Dockerfile": (SEED["Dockerfile"], SEED, ["golang", "alpine"], {}),
    "stages, owners, links, fifos, users": (test_modes.DOCKERFILE, test_modes.FILES, ["busybox"], {}),
    "`apk add` with the real apk": (PACKAGES.format("apk add --no-cache ca-certificates git"), {}, ["alpine-real"], {}),
    "`adduser`, `chown`, `install -o`": (PACKAGES.format(
        "addgroup -S app && adduser -S -G app app && install -o app -g app -m 4750 /bin/busybox /usr/bin/app"), {}, ["alpine-real"], {}),
    "a Debian package with a user of its own, capabilities": (
        test_single.DEBIAN, {"cap.pl": test_single.CAP}, ["golang-cgo"], {}),
}
BUILDS.update({f"steps: {name}": (text, FILES, ["busybox"], {}) for name, text in test_chroot.SAME.items()})
NO_NODES = "no"  # a user namespace with a range of ids makes no device nodes
BUILDS["steps: pipes and nodes"][3]["rootless"] = NO_NODES

NAMES = {"golang": "golang:1.22", "alpine": "alpine", "alpine-real": "alpine", "busybox": "busybox", "golang-cgo": "golang-cgo"}


@pytest.fixture(scope="module")
def makers(module_lighters, bases, needs_all):
    """The lighters of all modes; a base is loaded when it is first needed."""
    made = {mode: module_lighters(mode) for mode in MODES}
    loaded = set()

    def lighter(mode, names):
        for name in names:
            if (mode, name) not in loaded:
                made[mode].load(bases(name), "-t", NAMES[name])
                loaded.add((mode, name))
        return made[mode]
    return lighter


@pytest.fixture(scope="module")
def needs_all():
    if os.geteuid() != 0:
        pytest.skip("a table over all modes needs root")
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed")


@pytest.fixture(scope="module")
def compared(makers):
    """{build: {mode: "equal" or why not}}, as they are compared."""
    return {}


@pytest.mark.parametrize("name", BUILDS)
def test_every_mode_gives_one_digest(makers, compared, name):
    text, files, bases, cannot = BUILDS[name]
    ids, row = {}, {}
    for mode in MODES:
        if mode in cannot:
            row[mode] = cannot[mode]
            continue
        lighter = makers(mode, bases)
        ids[mode] = lighter.build(lighter.context(files), "--epoch=content", dockerfile=text).id
        row[mode] = "equal"
    assert len(set(ids.values())) == 1, ids
    compared[name] = row


def test_the_seed_builds_in_a_plain_container(makers, module_lighters, bases):
    """Word for word, with docker's default rights and no more."""
    plain, root = test_chroot.contained(module_lighters, bases, base=None), makers("root", [])
    for one in (plain, root):
        for base in ("golang", "alpine"):
            one.load(bases(base), "-t", NAMES[base])  # in the table's store another base may have the name
    ids = {one.build(one.context(SEED), "--epoch=content", dockerfile=SEED["Dockerfile"], timeout=600).id for one in (plain, root)}
    assert len(ids) == 1


# ---- what a step costs ---------------------------------------------------------------------------

def bare(busybox):
    """ms of a fork and an exec of what the steps run."""
    best = []
    for _ in range(STEPS):
        t = time.perf_counter()
        os.waitpid(os.posix_spawn(busybox, ["sh", "-c", "true"], {}), 0)
        best.append(time.perf_counter() - t)
    return min(best) * 1000


def dockerfile(n):
    return "FROM busybox\n" + "".join(f"RUN true #{i}\n" for i in range(n))


def timed(*words, **options):
    t = time.perf_counter()
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    assert done.returncode == 0, done.stdout.decode(errors="replace")
    return (time.perf_counter() - t) * 1000


def patient(*words, **options):
    """buildah now and then fails to seal the copy of itself that it makes: "Device or resource busy"."""
    for _ in range(4):
        with contextlib.suppress(AssertionError):
            return timed(*words, **options)
    return timed(*words, **options)


def lighter_steps(lighter):
    """ms a step: of a build with many, less one with one."""
    words, seconds = [], []
    who = lighter.account.popen() if lighter.account else {}
    for n in (1, STEPS + 1):
        words = [lighter.binary, "build", "-q", "--no-cache", "--isolation", lighter.isolation,
                 lighter.context({"Dockerfile": dockerfile(n)})]
        seconds.append(timed(*words, env=lighter.environment(), cwd=lighter.place, **who))
    return (seconds[1] - seconds[0]) / STEPS


TIMES = """
import subprocess, sys, time
count, name, *words = sys.argv[1:]
best = []
for i in range(int(count)):
    t = time.perf_counter()
    done = subprocess.run([*words, f"{name}-{i}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    best.append(time.perf_counter() - t)
    if done.returncode:
        sys.exit(done.stdout.decode())
print(min(best) * 1000)
"""


class Crun:
    """A bundle over a directory that is there: no overlay is mounted, no image looked at, nothing kept."""

    def __init__(self, place, rootfs):
        self.bundle, self.state = place / "bundle", place / "state"
        self.bundle.mkdir()
        subprocess.run(["crun", "spec"], cwd=self.bundle, check=True)
        spec = json.loads((self.bundle / "config.json").read_text())
        spec["process"].update(terminal=False, args=["sh", "-c", "true"])
        spec["process"].pop("rlimits", None)
        spec["root"] = {"path": str(rootfs), "readonly": False}
        spec["linux"].pop("resources", None)
        spec["linux"]["namespaces"] = [{"type": t} for t in ("mount", "pid", "ipc", "uts")]
        spec["mounts"] = [m for m in spec["mounts"] if m["type"] not in ("cgroup", "sysfs")]
        (self.bundle / "config.json").write_text(json.dumps(spec))
        self.n = itertools.count()

    def __call__(self):
        # crun refuses a host that has both cgroup hierarchies, though it is to leave cgroups alone: show it none.
        hidden = "[ -d /sys/fs/cgroup/unified ] && mount -t tmpfs none /sys/fs/cgroup; exec \"$@\""
        words = ["crun", "--root", self.state, "--cgroup-manager=disabled", "run", "-b", self.bundle]
        done = subprocess.run(["unshare", "--mount", "sh", "-c", hidden, "sh", sys.executable, "-c", TIMES, str(max(STEPS // 5, 5)),
                               f"lighter-{os.getpid()}-{next(self.n)}", *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return float(done.stdout)


class Buildah:
    """RUN lines in one layer, with the isolation that needs no runtime."""

    def __init__(self, place, layout):
        self.place = place
        (place / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/root"\nrunroot = "{place}/run"\n')
        (place / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        self.env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(place / "storage.conf")}
        timed("skopeo", "--policy", place / "policy.json", "copy", "-q", f"oci:{layout}:docker.io/library/busybox:latest",
              "containers-storage:docker.io/library/busybox:latest", env=self.env)

    def __call__(self):
        n, seconds = max(STEPS // 10, 3), []
        for steps in (1, n + 1):
            context = self.place / f"context{steps}"
            context.mkdir(exist_ok=True)
            (context / "Dockerfile").write_text(dockerfile(steps))
            seconds.append(patient("buildah", "bud", "--signature-policy", self.place / "policy.json", "--pull-never", "--no-cache",
                                 "--isolation", "chroot", "-q", context, env=self.env))
        return (seconds[1] - seconds[0]) / n


@pytest.fixture(scope="module")
def costs(makers, bases, place, busybox_program):
    """{who: the least ms a step of some interleaved rounds}."""
    for tool in ("crun", "buildah"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    top = place / "mode-costs"
    (top / "rootfs" / "bin").mkdir(parents=True)
    (top / "buildah").mkdir()
    busybox = top / "rootfs" / "bin" / "busybox"
    busybox.write_bytes(busybox_program)
    busybox.chmod(0o755)
    os.symlink("busybox", busybox.parent / "sh")
    for name in ("proc", "dev", "etc", "tmp"):
        (top / "rootfs" / name).mkdir()
    who = {"fork and exec": lambda: bare(str(busybox)), "`crun run`, no overlay": Crun(top, top / "rootfs"),
           "`buildah bud --isolation chroot`": Buildah(top / "buildah", bases("busybox"))}
    for mode in MODES:
        lighter = makers(mode, ["busybox"])
        lighter_steps(lighter)
        who[f"lighter, `{mode}`"] = lambda lighter=lighter: lighter_steps(lighter)
    found = {}
    for _ in range(ROUNDS):
        for name, measure in who.items():
            found.setdefault(name, []).append(measure())
    yield {name: (min(v), statistics.median(v)) for name, v in found.items()}
    subprocess.run(["buildah", "rm", "-a"], env={**os.environ, "CONTAINERS_STORAGE_CONF": str(top / "buildah" / "storage.conf")},
                   check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def table(compared, costs):
    lines = ["| build | " + " | ".join(f"`{mode}`" for mode in MODES) + " |", "|---|" + "---|" * len(MODES)]
    lines += [f"| {name} | " + " | ".join(row[mode] for mode in MODES) + " |" for name, row in compared.items()]
    floor = costs["fork and exec"][0]
    lines += ["", f"| `RUN true`, {STEPS} steps, {ROUNDS} interleaved rounds | ms a step, minimum | median | minimum over fork and exec |",
              "|---|---|---|---|"]
    lines += [f"| {name} | {low:.2f} | {middle:.2f} | {low - floor:.2f} |" for name, (low, middle) in costs.items()]
    return lines


def rows(lines):
    """What must not change by itself: the first words of each row, and what is said of builds."""
    return [re.sub(r"(\| -?[0-9.]+ )+\|$|, \d+ steps, \d+ interleaved rounds", "", line) for line in lines if line.startswith("|")]


def test_the_table_in_the_documentation_is_this_one(compared, costs):
    assert list(compared) == list(BUILDS)
    page = (REPO / "docs" / "modes.md").read_text()
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    new = table(compared, costs)
    if WRITES:
        (REPO / "docs" / "modes.md").write_text(before + BEGIN + "\n" + "\n".join(new) + "\n" + END + after)
        return
    assert rows(old.splitlines()) == rows(new)


def test_a_step_of_lighter_costs_less_than_one_of_buildah_in_the_same_run(costs):
    """Ratios within one run; no time is asserted. crun, which mounts no layers, is in the table alone: on a machine with other
    work the two are too near."""
    for mode in MODES:
        assert costs[f"lighter, `{mode}`"][0] < costs["`buildah bud --isolation chroot`"][0], costs


def test_the_seed_is_the_demo(makers):
    assert Path(HELLO / "Dockerfile").read_text() == SEED["Dockerfile"]
