"""What the end-to-end tests share: lighter as a user meets it, and an independent reader of images.

Nothing here knows lighter's insides. The image reader is written from the OCI specification with the
standard library alone, so that a test's oracle is not the code it tests.
"""

import contextlib
import dataclasses
import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
HELLO = REPO / "examples" / "hello"
PLAIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONTENT_TIME = 946684800  # 2000-01-01, what --epoch=content gives every file of a new layer

IS_ROOT = os.geteuid() == 0


# ---- what lighter said ---------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Step:
    stage: str
    title: str
    how: str


STEP = re.compile(r"^\[([^\]]+)\] (?!\| )(.*)  (HIT|RAN|FAILED|CANCELLED|SKIPPED)"
                  r"(?: (?:[0-9.]+ s|\d+ m \d\d s))?$")
LOG = re.compile(r"^\[([^\]]+)\] \| ?(.*)$")


class Result:
    """One finished command. `steps` are in the order they ended, `log` is what RUN steps printed."""

    def __init__(self, code, stdout, stderr, image_id=None, seconds=0.0, peak_kib=0):
        self.code, self.stdout, self.stderr = code, stdout, stderr
        self.id, self.seconds, self.peak_kib = image_id, seconds, peak_kib
        self.steps, self.log, self.warnings = [], [], []
        for line in stderr.split("\n"):
            said, step = LOG.match(line), STEP.match(line)
            if said:
                self.log.append(said.group(2))
            elif step:
                self.steps.append(Step(*step.groups()))
            elif line.startswith("warning: "):
                self.warnings.append(line[len("warning: "):])

    def titles(self, how):
        return [step.title for step in self.steps if step.how == how]

    @property
    def ran(self):
        return self.titles("RAN")

    @property
    def hit(self):
        return self.titles("HIT")

    @property
    def error(self):
        """Everything from lighter's own message on."""
        at = re.search(r"^lighter[ :]", self.stderr, re.M)
        return self.stderr[at.start():] if at else ""

    def said(self, name):
        """The value of a `name=value` line that a step printed."""
        for line in self.log:
            if line.startswith(name + "="):
                return line[len(name) + 1:]
        raise AssertionError(f"no step printed '{name}=...':\n{self.stderr}")

    def __repr__(self):
        return f"<exit {self.code}>\n{self.stdout}\n{self.stderr}"


# ---- lighter -------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Account:
    """Who runs a command; None everywhere means the one who runs the tests."""
    name: str
    uid: int
    gid: int

    def popen(self):
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


class Lighter:
    """The binary, with a store and a home of its own and an environment that holds nothing else."""

    def __init__(self, binary, place, account=None, isolation=None):
        self.binary, self.place, self.account = str(binary), Path(place), account
        self.isolation = isolation
        self.home, self.store = self.place / "home", self.place / "store"
        self._lock, self._n = threading.Lock(), 0
        self.directory("home")

    # -- directories that belong to who runs lighter

    def directory(self, name=None):
        """A directory of the runner's own; made if need be."""
        with self._lock:
            self._n += 1
            path = self.place / (name or f"dir-{self._n}")
        path.mkdir(parents=True, exist_ok=True)
        self.own(path)
        return path

    def own(self, path):
        """Give a tree to who runs lighter, as if they had made it."""
        if self.account:
            for top, dirs, files in os.walk(os.fsencode(path)):
                for name in [b""] + dirs + files:
                    os.lchown(os.path.join(top, name), self.account.uid, self.account.gid)
        return path

    def context(self, files=None, name=None):
        """A build context: {path: text, bytes, None for a directory, or (content, mode)}."""
        top = self.directory(name)
        for path, content in (files or {}).items():
            target, mode = top / path, 0o644
            if isinstance(content, tuple):
                content, mode = content
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
            target.chmod(mode)
        return self.own(top)

    # -- commands

    def environment(self, env=None):
        base = {"PATH": os.environ.get("PATH", PLAIN_PATH), "HOME": str(self.home),
                "LIGHTER_STORE": str(self.store), "LC_ALL": "C"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                base[name] = os.environ[name]
        base.update(env or {})
        return {name: value for name, value in base.items() if value is not None}

    def start(self, *args, env=None, before=(), **options):
        """Start a command and do not wait; `before` are words in front of it."""
        if self.account:
            options = {**self.account.popen(), **options}
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        options.setdefault("cwd", self.place)
        return subprocess.Popen([*before, self.binary, *map(os.fspath, args)], env=self.environment(env),
                                **options)

    def __call__(self, *args, input=None, code=0, timeout=120, watch=False, iidfile=None, **options):
        """Run a command to its end; `code` is the exit code it must have, None for any."""
        began = time.monotonic()
        data = input.encode() if isinstance(input, str) else input
        options.setdefault("stdin", subprocess.DEVNULL if data is None else subprocess.PIPE)
        child = self.start(*args, **options)
        watcher = PeakWatcher(child.pid) if watch else None
        try:
            out, err = child.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError(f"not done after {timeout} s: lighter {args}\n"
                                 + err.decode(errors="replace")) from None
        image_id = iidfile.read_text() if iidfile and iidfile.exists() else None
        result = Result(child.returncode, (out or b"").decode(errors="surrogateescape"),
                        (err or b"").decode(errors="surrogateescape"), image_id,
                        time.monotonic() - began, watcher.end() if watcher else 0)
        if code is not None:
            assert result.code == code, f"expected exit {code}, got {result!r}"
        return result

    def build(self, context, *args, dockerfile=None, tag=None, **options):
        """`lighter build`; `dockerfile` is a text given on stdin, else the context holds one."""
        with self._lock:
            self._n += 1
            iidfile = self.home / f"iid-{self._n}"
        words = ["build", "--iidfile", iidfile]
        if tag:
            words += ["-t", tag]
        if self.isolation:
            words += ["--isolation", self.isolation]
        if dockerfile is not None:
            words += ["-f", "-"]
            options["input"] = dockerfile
        return self(*words, *args, context, iidfile=iidfile, **options)

    def run_in(self, dockerfile, *args, files=None, **options):
        """Build a Dockerfile text whose context does not matter, and give the result."""
        return self.build(self.context(files), *args, dockerfile=dockerfile, **options)

    def load(self, path, *args, **options):
        return self("load", *args, path, **options)

    def save(self, ref, dest, form="oci-archive", **options):
        words = ["--isolation", self.isolation] if self.isolation else []
        return self("save", *words, "--format", form, "-o", dest, ref, **options)

    def run(self, ref, *command, args=(), **options):
        words = ["--isolation", self.isolation] if self.isolation else []
        return self("run", *words, *args, ref, *command, **options)

    def inspect(self, ref):
        return json.loads(self("inspect", ref).stdout)[0]

    def images(self):
        """The rows of `lighter images` as dicts."""
        rows = self("images").stdout.splitlines()
        fields = ("repo", "tag", "id")
        return [dict(zip(fields, row.split()), row=row) for row in rows[1:]]

    def image(self, ref):
        """The image as `lighter save` gives it, read by our own reader."""
        dest = self.directory() / "layout"
        self.save(ref, dest, "oci-dir")
        return Image(dest)

    # -- the store, seen from outside

    def damaged_blobs(self):
        """Blobs whose bytes are not what their name says. There must never be one."""
        bad = []
        for blob in (self.store / "blobs" / "sha256").glob("*"):
            if hashlib.sha256(blob.read_bytes()).hexdigest() != blob.name:
                bad.append(blob.name)
        return bad

    def check(self, env=None):
        """`lighter store check`, which must find nothing."""
        words = ["--isolation", self.isolation] if self.isolation else []
        said = self("store", "check", *words, code=None, env=env)
        assert said.code == 0 and "in order" in said.stdout, said

    def writers_out(self):
        """Processes on this store: when no command runs, those left behind to write it out."""
        found, mark = [], f"LIGHTER_STORE={self.store}".encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if (os.readlink(f"/proc/{pid}/exe") == self.binary and
                        mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                    found.append(int(pid))
        return found

    def leftovers(self):
        """What lies under the store's tmp/."""
        tmp = self.store / "tmp"
        return sorted(os.listdir(tmp)) if tmp.is_dir() else []


class PeakWatcher:
    """Follows the high-water mark of one process' own memory, in KiB."""

    def __init__(self, pid):
        self.pid, self.peak, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.over.wait(0.01):
            with contextlib.suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
                if found:
                    self.peak = max(self.peak, int(found.group(1)))

    def end(self):
        self.over.set()
        self.thread.join()
        return self.peak


# ---- images --------------------------------------------------------------------------------------

def plain_name(name):
    while name.startswith("./"):
        name = name[2:]
    return name.rstrip("/") if name not in (".", "./") else ""


class Layer:
    """One layer: its tar's members by path, last one wins, in the order of the archive."""

    def __init__(self, descriptor, packed, diff_id):
        self.descriptor, self.diff_id = descriptor, diff_id
        self.packed = packed
        self.bytes = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
        self.members, self._data = {}, {}
        with tarfile.open(fileobj=io.BytesIO(self.bytes), errors="surrogateescape") as tar:
            for info in tar:
                name = plain_name(info.name)
                self.members[name] = info
                if info.isreg():
                    self._data[name] = tar.extractfile(info).read()

    def __contains__(self, path):
        return path in self.members

    def __getitem__(self, path):
        return self.members[path]

    def names(self):
        return [name for name in self.members if name]

    def read(self, path):
        """The bytes of a file, through a hard link if need be."""
        info = self.members[path]
        return self._data[plain_name(info.linkname)] if info.islnk() else self._data[path]


class Image:
    """An image in an OCI layout, every digest checked while it is read."""

    def __init__(self, layout, ref=None):
        self.layout = Path(layout)
        index = json.loads((self.layout / "index.json").read_text())
        assert json.loads((self.layout / "oci-layout").read_text())["imageLayoutVersion"] == "1.0.0"
        entries = [entry for entry in index["manifests"]
                   if ref is None or entry.get("annotations", {}).get(
                       "org.opencontainers.image.ref.name") == ref]
        self.entry = entries[0]
        self.digest = self.entry["digest"]
        self.manifest = json.loads(self.blob(self.entry))
        self.id = self.manifest["config"]["digest"]
        self.config = json.loads(self.blob(self.manifest["config"]))
        self._layers = None

    def blob(self, descriptor):
        data = (self.layout / "blobs" / "sha256" / descriptor["digest"].split(":")[1]).read_bytes()
        assert len(data) == descriptor["size"], "a blob's size is not its descriptor's"
        assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
        return data

    @property
    def layers(self):
        if self._layers is None:
            self._layers = []
            diff_ids = self.config["rootfs"]["diff_ids"]
            assert len(diff_ids) == len(self.manifest["layers"])
            for descriptor, diff_id in zip(self.manifest["layers"], diff_ids):
                layer = Layer(descriptor, self.blob(descriptor), diff_id)
                assert "sha256:" + hashlib.sha256(layer.bytes).hexdigest() == diff_id
                self._layers.append(layer)
        return self._layers

    @property
    def created_by(self):
        return [entry.get("created_by", "") for entry in self.config["history"]]

    def text(self):
        """All documents as one text, to look for what must not be in them."""
        return json.dumps(self.config) + json.dumps(self.manifest) + json.dumps(self.entry)

    def rootfs(self):
        """What a container sees: {path: (TarInfo, bytes or None)}, whiteouts applied."""
        files = {}

        def remove(path, itself):
            for known in [p for p in files if p.startswith(path + "/") or (itself and p == path)]:
                del files[known]

        for layer in self.layers:
            for name in layer.names():  # an opaque mark hides what is below, wherever it stands
                head, tail = os.path.split(name)
                if tail == ".wh..wh..opq":
                    remove(head, False)
                elif tail.startswith(".wh."):
                    remove(os.path.join(head, tail[4:]), True)
            for name in layer.names():
                if os.path.basename(name).startswith(".wh."):
                    continue
                info = layer[name]
                if name in files and not (info.isdir() and files[name][0].isdir()):
                    remove(name, True)
                data = layer.read(name) if info.isreg() or info.islnk() else None
                files[name] = (info, data)
        return files


def xattrs(info):
    """The extended attributes in a tar member's PAX header, as bytes."""
    prefix = "SCHILY.xattr."
    return {key[len(prefix):]: value.encode("utf-8", "surrogateescape")
            for key, value in info.pax_headers.items() if key.startswith(prefix)}


# ---- the machine ---------------------------------------------------------------------------------

def processes_with(marker):
    """Processes whose command line holds `marker`: {pid: command line}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            line = Path("/proc", pid, "cmdline").read_bytes()
            if marker.encode() in line:
                found[int(pid)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def wait_for(what, seconds=10.0, every=0.01):
    """The first true answer of what(), or its last one when time is up."""
    end = time.monotonic() + seconds
    while True:
        answer = what()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(every)


def unmount(place):
    """What a build wrote goes to the disk after its end, so the file system of a store may be busy for a moment."""
    assert wait_for(lambda: subprocess.run(["umount", place], check=False, stderr=subprocess.DEVNULL).returncode == 0, 20)


def mounts():
    """The mounts that this process sees, as the kernel numbers them."""
    return sorted(Path("/proc/self/mountinfo").read_text().splitlines())


def tree_of(top):
    """Every path below `top` with what would betray a change."""
    seen = {}
    for path in sorted(Path(top).rglob("*")):
        with contextlib.suppress(OSError):
            st = path.lstat()
            seen[str(path)] = (st.st_mode, st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns)
    return seen


@contextlib.contextmanager
def one_at_a_time(path):
    """For what only one of the processes that run tests may do at a time; `path` is a file for the lock."""
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(path):
    """Remove a tree that may hold files of subordinate ids."""
    shutil.rmtree(path, ignore_errors=True)
    if os.path.exists(path) and not IS_ROOT and shutil.which("unshare"):
        subprocess.run(["unshare", "--map-root-user", "--map-auto", "rm", "-rf", str(path)],
                       stderr=subprocess.DEVNULL, check=False)


def end_process(child):
    """End one process that a test started."""
    if child.poll() is None:
        child.send_signal(signal.SIGKILL)
    child.communicate()
