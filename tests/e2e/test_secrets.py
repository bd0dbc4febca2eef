"""Secrets: after builds of every end, no byte of one is in the store, an image, a log, an output or a core; in every mode.

What is looked for is the secret as it is, each half of it (should it lie across two blocks), and what base64 and hex make
of it. What a step itself prints or writes of a secret is its own doing, and the first test shows that the search finds it.
"""

import base64
import contextlib
import http.server
import os
import resource
import secrets
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import processes_with, wait_for
from test_contexts import Git, serving
from test_hostile import MODES, NAMESPACED, lighter_of
from test_lighter_run import Screen as RunScreen


@pytest.fixture(params=MODES)
def lighter(request, lighters, bases):
    return lighter_of(request.param, lighters, bases)


# ---- the search ----------------------------------------------------------------------------------

def needles(secret):
    """All forms in which bytes of the secret could be written down."""
    raw, half = secret.encode(), len(secret) // 2
    forms = [raw[:half], raw[half:], raw.hex().encode(), raw[:half].hex().upper().encode(), raw[::-1]]
    for skip in range(3):  # base64 looks at three bytes at a time, whatever stands before
        text = base64.b64encode(b"x" * skip + raw)
        forms.append(text[4 * (skip > 0) + 4:-4])
    return forms


def traces(secret, *places, texts=(), but=()):
    """Where one of the forms is: files with their names, links and attributes below the places, and texts."""
    wanted, found = needles(secret), [f"text {i}" for i, text in enumerate(texts) if any(n in text.encode(errors="surrogateescape") for n in needles(secret))]
    for place in places:
        for top, dirs, files in os.walk(os.fsencode(place)):
            for name in dirs + files:
                path = os.path.join(top, name)
                if Path(os.fsdecode(path)) in but:
                    continue
                data = name + b"\0"
                with contextlib.suppress(OSError):
                    data += os.readlink(path) if os.path.islink(path) else b""
                    data += b"".join(os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False))
                    if os.path.isfile(path) and not os.path.islink(path):
                        with open(path, "rb") as f:
                            data += f.read()
                if any(n in data for n in wanted):
                    found.append(os.fsdecode(path))
    return found


class Kept:
    """A secret of the caller's, as a file and as a variable."""

    def __init__(self, lighter):
        self.value = secrets.token_urlsafe(36)
        self.file = lighter.context({"value": self.value}, name="kept") / "value"
        self.env = {"TOKEN_OF_MINE": self.value}
        self.args = ("--secret", f"id=f,src={self.file}", "--secret", "id=e,env=TOKEN_OF_MINE")

    def traces(self, lighter, *texts):
        return traces(self.value, lighter.place, texts=texts, but=[self.file])


@pytest.fixture
def kept(lighter):
    return Kept(lighter)


USES = """RUN --mount=type=secret,id=f,target=/s/f,mode=0440,uid=7 test -s /s/f && touch /made && sync
RUN --mount=type=secret,id=e,env=INSIDE,target=/e --mount=type=secret,id=f,env=F test -n "$INSIDE$F" && test -s /e && sha256sum /e >/dev/null
USER 1234
RUN --mount=type=secret,id=f,uid=1234 --mount=type=cache,target=/tmp/c,uid=1234 wc -c </run/secrets/f >/tmp/c/n
"""


def test_a_step_that_writes_its_secret_down_is_found_out(lighter, kept):
    for text in ("cat /run/secrets/f; false", "cat /run/secrets/f >/x", "base64 /run/secrets/f >/x", "head -c 24 /run/secrets/f >/x"):
        done = lighter.run_in(f"FROM busybox\nRUN --mount=type=secret,id=f {text}\n", *kept.args, env=kept.env, code=None)
        assert kept.traces(lighter, done.stderr), text


# ---- ends of builds ------------------------------------------------------------------------------

def test_after_builds_that_end_well_or_fail_a_secret_is_nowhere(lighter, kept):
    outputs = []
    for args in ((), ("--no-cache", "--progress", "plain"), ("--quiet",)):
        done = lighter.run_in("FROM busybox\n" + USES, *kept.args, *args, env=kept.env, tag="t")
        outputs += [done.stdout, done.stderr]
    for line in ("RUN --mount=type=secret,id=f --mount=type=secret,id=e,env=X test -s /run/secrets/f && echo no && exit 3",
                 "RUN --mount=type=secret,id=f,target=/etc/passwd/x true", "RUN --mount=type=secret,id=f,target=/proc/x true",
                 "RUN --mount=type=secret,id=f [\"/nothere\"]", "RUN --mount=type=secret,id=f kill -9 $$"):
        failed = lighter.run_in(f"FROM busybox\n{USES}{line}\n", *kept.args, env=kept.env, code=None)
        assert failed.code != 0, failed
        outputs += [failed.stdout, failed.stderr]
    image = lighter.image("t")
    assert not traces(kept.value, image.layout, texts=[image.text()])
    assert not any(n in layer.bytes for layer in image.layers for n in needles(kept.value))
    for words in (["inspect", "t"], ["images"], ["du", "--verbose"], ["store", "check"]):
        outputs.append(lighter(*words, code=None).stdout)
    assert kept.traces(lighter, *outputs) == []


def start(lighter, kept, dockerfile, *args, **options):
    child = lighter.start("build", "--isolation", lighter.isolation, *kept.args, *args,
                          lighter.context({"Dockerfile": dockerfile}), env=kept.env, **options)
    said = b""
    for line in child.stderr:
        said += line
        if b"| up=yes" in line:
            return child, said
    raise AssertionError(f"the step never came:\n{said.decode()}")


def waiting():
    marker = f"96{time.monotonic_ns()}"
    return marker, ("FROM busybox\nRUN --mount=type=secret,id=f --mount=type=secret,id=e,env=X,target=/e "
                    f"test -s /e && sync && echo up=yes && sleep {marker}\n")


def asleep(marker):
    """The step's last process; the shell says that it is up before it starts this one."""
    pids = wait_for(lambda: processes_with("sleep\0" + marker), 20)
    assert pids
    return pids


def ended(marker):
    assert wait_for(lambda: not processes_with("sleep\0" + marker), 20)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_a_build_that_is_stopped_in_the_middle_a_secret_is_nowhere(lighter, kept, how):
    """While the step runs, too, but for mode chroot; there the keeper cleans up when lighter is killed."""
    marker, text = waiting()
    child, said = start(lighter, kept, text)
    try:
        seen = kept.traces(lighter)
        words = [line for line in processes_with("").values() if any(n.decode() in line for n in needles(kept.value))]
        child.send_signal(how)
        out, err = child.communicate(timeout=30)
        ended(marker)
    finally:
        child.kill()
        child.wait()
    assert words == [], "no command line shows it"
    assert (seen == []) == (lighter.isolation in NAMESPACED), seen
    assert wait_for(lambda: kept.traces(lighter, out.decode(), (said + err).decode()) == [], 10)


@pytest.mark.parametrize("lighter", ["chroot"], indirect=True)
def test_where_lighter_and_the_keeper_of_mode_chroot_are_both_killed_the_next_build_takes_the_secret_away(lighter, kept):
    """What docs/security.md promises for that mode: SIGKILL leaves it until the next build sweeps the store."""
    marker, text = waiting()
    child, _ = start(lighter, kept, text)
    sleeping = asleep(marker)
    children = [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]
    os.kill(child.pid, signal.SIGSTOP)
    for pid in [*children, child.pid, *sleeping]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.communicate(timeout=30)
    ended(marker)
    left = kept.traces(lighter)
    assert left and all(path.startswith(str(lighter.store / "tmp")) for path in left)
    lighter.run_in("FROM busybox\nRUN echo another\n", "--no-cache")
    assert kept.traces(lighter) == []


# ---- the disk below ------------------------------------------------------------------------------

def sandboxes(binary):
    """Processes of this program's that make or keep a step's surroundings; another one's tests may run beside these."""
    found = []
    for pid in processes_with("--sandbox-child"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/exe") == str(binary):
                found.append(pid)
    return found


@pytest.mark.parametrize("lighter", ["chroot"], indirect=True)
@pytest.mark.parametrize("end", ["well", "badly", signal.SIGINT, signal.SIGKILL])
def test_no_block_of_the_disk_holds_a_secret_of_mode_chroot_afterwards(lighter, kept, disk, end, binary):
    """It is overwritten where it lies (shred() in chroot_place.c), also where the step has moved or linked it elsewhere or lighter
    was killed meanwhile. The step waits until it is on the disk."""
    if isinstance(end, str):
        text = f"FROM busybox\nRUN --mount=type=secret,id=f --mount=type=secret,id=e,target=/d/e sync; echo up=yes; {'true' if end == 'well' else 'false'}\n"
        lighter.run_in(text, *kept.args, env=kept.env, code=None)
    else:
        marker, text = waiting()
        child, _ = start(lighter, kept, text)
        child.send_signal(end)
        child.communicate(timeout=30)
        ended(marker)
        assert wait_for(lambda: not sandboxes(binary), 10)
    found = disk()
    assert not any(n in found for n in needles(kept.value))


# ---- shells, agents, repositories ----------------------------------------------------------------

class Screen(RunScreen):
    def __init__(self, lighter, kept, dockerfile):
        self.secret_env = kept.env
        environment = lighter.environment
        lighter.environment = lambda env=None: environment({**kept.env, **(env or {})})
        super().__init__(lighter, "--on-error=shell", *kept.args, str(lighter.context({"Dockerfile": dockerfile})), command="build")
        lighter.environment = environment


def test_after_a_shell_in_a_failed_step_its_secret_is_nowhere(lighter, kept):
    screen = Screen(lighter, kept, "FROM busybox\nRUN --mount=type=secret,id=f --mount=type=secret,id=e,env=X test -z \"$X\"\n")
    screen.wait(r"a shell in this step's root")
    screen.type("test $(wc -c </run/secrets/f) = ${#X} && echo same=$((1+1))\n")
    screen.wait("same=2")
    screen.type("exit\n")
    assert screen.end() == 1
    assert kept.traces(lighter, screen.text) == []


def test_no_byte_of_a_key_for_an_agent_is_in_the_store(lighter, needs):
    needs("ssh-agent", "ssh-keygen")
    key = lighter.directory("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    lighter.own(key.parent)
    outputs = []
    for code, command in ((0, "test -S $SSH_AUTH_SOCK"), (1, "false")):
        done = lighter.run_in(f"FROM busybox\nRUN --mount=type=ssh {command}\n", "--ssh", f"default={key}", code=code,
                              env={"XDG_RUNTIME_DIR": str(lighter.directory("run"))})
        outputs += [done.stdout, done.stderr]
    for line in key.read_text().splitlines()[2:-1]:  # the first says what it is, to everybody
        assert traces(line, lighter.place, texts=outputs, but=[key]) == []


class AskingGit:
    """Repositories over plain HTTP, for who has the password."""

    def __init__(self, top, user, password):
        wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.refused = 0
        asking = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args, **words):
                super().__init__(*args, directory=str(top), **words)

            def log_message(self, *args):
                pass

            def do_GET(self):
                if self.headers.get("Authorization") == wanted:
                    return super().do_GET()
                asking.refused += 1
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=x")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://{user}:{password}@127.0.0.1:{self.server.server_address[1]}"


def test_a_password_in_the_address_of_a_repository_is_nowhere_afterwards(lighter, needs, temp):
    needs("git")
    password = secrets.token_urlsafe(36)
    git = Git(temp)
    git.server.server_close()
    git.repository("r.git", lighter.context({"Dockerfile": "FROM busybox\nCOPY . /c\nRUN ls -a /c\n", "f": "x"}))
    shutil.move(temp / "r.git" / ".git", temp / "bare.git")
    git.sh("bare.git", "git --git-dir=. config core.bare true && git --git-dir=. update-server-info")
    temp.chmod(0o755)
    with serving(AskingGit(temp, "me", password)) as server:
        url = f"{server.base}/bare.git"
        keep = ("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
        outputs = [lighter.build(url, tag="t"), lighter.build(url, *keep, tag="k"), lighter.build(url + "#nosuch", code=None),
                   lighter.build(f"{server.base}/nosuch.git", code=None), lighter.build(url.replace("me:", "you:"), "--no-cache", code=None),
                   lighter.run_in("FROM busybox\nCOPY --from=r f /\n", "--build-context", f"r={url}", tag="n")]
    assert [done.code for done in outputs] == [0, 0, 3, 4, 4, 0] and server.refused, outputs
    assert traces(password, lighter.place, texts=[text for done in outputs for text in (done.stdout, done.stderr)]) == []
    for tag in ("t", "k", "n"):
        image = lighter.image(tag)
        assert not traces(password, image.layout, texts=[image.text()])
        assert not any(n in layer.bytes for layer in image.layers for n in needles(password))


# ---- cores ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("sig", [signal.SIGSEGV, signal.SIGQUIT])
def test_a_core_of_lighter_s_processes_holds_no_secret(lighter, kept, sig):
    """Builders that have secrets, and who holds a step's description, say that they are not to be dumped (base/dump.h)."""
    if Path("/proc/sys/kernel/core_pattern").read_text()[0] in "|/":
        pytest.skip("cores do not go into the working directory (kernel.core_pattern)")
    marker, text = waiting()
    child, _ = start(lighter, kept, text, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2))
    try:
        sleeping = asleep(marker)
        own = [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()] + [child.pid]
        os.kill(child.pid, signal.SIGSTOP)  # it would end the others
        for pid in own:
            os.kill(pid, sig)
        os.kill(child.pid, signal.SIGCONT)
        child.communicate(timeout=30)
        for pid in sleeping:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended(marker)
    finally:
        child.kill()
        child.wait()
    cores = [path for path in lighter.place.rglob("core*") if path.is_file()]
    assert [path for path in kept.traces(lighter) if Path(path) in cores] == []
