"""RUN --mount=type=ssh: a step speaks with the caller's agent, in every mode.

The step's client is the machine's own ssh-add, brought in as a named context with its libraries. The rules are
docker's (Dockerfile reference, "RUN --mount=type=ssh"; features.md I12).
"""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

MODES = ["root", "rootless", "single", "chroot"]
ADD = "LD_LIBRARY_PATH=/t /t/ld.so /t/ssh-add -l"


@pytest.fixture(params=MODES)
def lighter(request, lighters, bases):
    if not shutil.which("ssh-agent"):
        pytest.skip("ssh-agent is not installed (openssh-client)")
    if request.param in ("root", "chroot") and os.geteuid() != 0:
        pytest.skip(f"mode {request.param} needs root")
    return lighters(request.param, bases=[bases("busybox")])


@pytest.fixture
def tools(lighter):
    """A context with ssh-add and what it needs to start."""
    top = lighter.directory("tools")
    program = shutil.which("ssh-add")
    said = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", said):
        shutil.copy(library, top / ("ld.so" if "/ld-" in library else os.path.basename(library)))
    shutil.copy(program, top / "ssh-add")
    return lighter.own(top)


def make_key(lighter, name="key", passphrase=""):
    key = lighter.directory("keys") / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", key], check=True)
    lighter.own(key.parent)
    return key


class Agent:
    """An agent of the caller's with one key in it, and how often somebody connected is not known to it."""

    def __init__(self, lighter, key):
        self.socket = lighter.directory("agent") / "s"
        who = lighter.account.popen() if lighter.account else {}
        self.process = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket], stdout=subprocess.DEVNULL, **who)
        while not self.socket.exists():
            time.sleep(0.01)
        subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(self.socket)}, **who)

    def end(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def agent(lighter):
    one = Agent(lighter, make_key(lighter))
    yield one
    one.end()


def build(lighter, tools, run, *args, user="", **options):
    text = f"FROM busybox\nCOPY --from=tools . /t/\n{user}\nRUN {run}\n"
    return lighter.run_in(text, "--build-context", f"tools={tools}", *args, **options)


def test_a_step_sees_the_keys_of_the_callers_agent(lighter, tools, agent):
    done = build(lighter, tools, f"--mount=type=ssh echo sock=$SSH_AUTH_SOCK; {ADD}", "--ssh", "default",
                 env={"SSH_AUTH_SOCK": str(agent.socket)})
    assert done.said("sock") == "/run/buildkit/ssh_agent.0"
    assert any("key (ED25519)" in line for line in done.log), done


def test_an_agent_may_be_named_by_its_socket_and_have_another_target(lighter, tools, agent):
    done = build(lighter, tools, f"--mount=type=ssh,id=two,target=/a/b,required SSH_AUTH_SOCK=/a/b {ADD}",
                 "--ssh", f"two={agent.socket}")
    assert any("key (ED25519)" in line for line in done.log), done


def test_keys_that_are_named_are_in_an_agent_of_the_builds_own_which_ends_with_it(lighter, tools):
    one, two = make_key(lighter, "one"), make_key(lighter, "two")
    done = build(lighter, tools, f"--mount=type=ssh {ADD}", "--ssh", f"default={one},{two}",
                 env={"XDG_RUNTIME_DIR": str(lighter.directory("run"))})
    assert sum("(ED25519)" in line for line in done.log) == 2, done
    assert os.listdir(lighter.place / "run") == []
    assert not any(str(lighter.place) in line for line in commands()), "no agent is left"


def commands():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        if text.startswith("ssh-agent"):
            yield text


def test_an_agent_of_the_builds_own_does_not_outlive_a_build_that_is_killed(lighter, tools):
    key = make_key(lighter)
    context = lighter.context({"Dockerfile": "FROM busybox\nRUN --mount=type=ssh echo up=1 && sleep 60\n"})
    child = lighter.start("build", "--isolation", lighter.isolation, "--ssh", f"default={key}", context,
                          env={"XDG_RUNTIME_DIR": str(lighter.directory("run"))})
    for line in child.stderr:
        if b"| up=1" in line:
            break
    assert any(str(lighter.place) in line for line in commands())
    child.send_signal(signal.SIGKILL)
    child.communicate()
    for _ in range(200):
        if not any(str(lighter.place) in line for line in commands()):
            return
        time.sleep(0.02)
    raise AssertionError("the agent lives on")


def test_a_user_that_is_not_root_gets_a_socket_of_its_own(lighter, tools, agent):
    done = build(lighter, tools, f"--mount=type=ssh,uid=1234,gid=99,mode=0640 stat -c mode=%a $SSH_AUTH_SOCK; {ADD}",
                 "--ssh", f"default={agent.socket}", user="USER 1234")
    assert done.said("mode") == "640"
    assert any("key (ED25519)" in line for line in done.log), done


def test_without_an_agent_a_step_runs_unless_it_requires_one(lighter, tools):
    done = build(lighter, tools, "--mount=type=ssh echo sock=$SSH_AUTH_SOCK-; ls /run/buildkit 2>&1 || echo none=1")
    assert done.said("sock") == "-" and done.said("none") == "1"
    error = build(lighter, tools, "--mount=type=ssh,required true", code=3).error
    assert "<stdin>:4: RUN --mount: no SSH agent 'default' is forwarded" in error and "--ssh default=KEYFILE" in error


def test_the_socket_is_in_no_layer_and_the_agent_in_no_key(lighter, tools, agent):
    dockerfile = f"FROM busybox\nCOPY --from=tools . /t/\nRUN --mount=type=ssh {ADD} && echo x >/x\n"
    context = lighter.context({"Dockerfile": dockerfile})
    args = ["--build-context", f"tools={tools}"]
    assert lighter.build(context, *args, "--ssh", f"default={agent.socket}", tag="a").ran
    assert lighter.build(context, *args).ran == [], "who asks for nothing gets the same result"
    names = lighter.image("a").layers[-1].names()
    assert [name for name in names if "buildkit" in name or "run" in name.split("/")] == []
    assert "SSH_AUTH_SOCK" not in str(lighter.image("a").config)


def test_a_service_that_is_gone_is_one_that_hangs_up(lighter, tools, agent):
    agent.process.send_signal(signal.SIGSTOP)
    agent.process.kill()
    agent.process.wait()
    done = build(lighter, tools, f"--mount=type=ssh {ADD} 2>&1 || echo failed=1", "--ssh", f"default={agent.socket}")
    assert done.said("failed") == "1"


@pytest.mark.parametrize("args, said", [
    (["--ssh", "default"], "--ssh default: SSH_AUTH_SOCK is not set"),
    (["--ssh", "=x"], "--ssh '=x': expected ID[=SOCKET|=KEY[,KEY]]"),
    (["--ssh", "a=/nowhere"], "--ssh a=/nowhere: '/nowhere': No such file or directory"),
])
def test_what_cannot_be_forwarded_is_refused_before_a_step_runs(lighter, args, said):
    done = lighter.run_in("FROM busybox\nRUN true\n", *args, code=2)
    assert said in done.error and done.steps == []


def test_a_key_with_a_passphrase_is_refused_by_name(lighter):
    key = make_key(lighter, "closed", "secret")
    done = lighter.run_in("FROM busybox\nRUN true\n", "--ssh", f"default={key}", code=2)
    assert "--ssh" in done.error and "passphrase" in done.error and done.steps == []
