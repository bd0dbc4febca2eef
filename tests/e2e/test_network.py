"""--network=passt: a network of the step's own with a way out, and none to the host.

Another host is a network namespace that the test makes, behind a pair of virtual interfaces. The rules are those of
features.md S6: what is outside is reached, the host's loopback is not.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

SERVER = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"from=outside\\n")
    def log_message(self, *a): pass
http.server.HTTPServer((sys.argv[1], 8080), H).serve_forever()
"""


TUN = "/dev/net/tun"


@pytest.fixture(params=["root", "rootless", "single"])
def lighter(request, lighters, bases, needs, needs_root):
    needs("pasta", "ip")
    before = os.stat(TUN).st_mode
    os.chmod(TUN, 0o666)  # as udev makes it; a machine without udev has it for root alone
    yield lighters(request.param, bases=[bases("busybox")])
    os.chmod(TUN, before)


@pytest.fixture(scope="module")
def outside():
    """The address of a host that is reached through this one."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("another host needs root and ip (iproute2)")
    name, n = f"lighter{os.getpid() % 10000}", os.getpid() % 250 + 1
    ours, theirs = f"198.18.{n}.1", f"198.18.{n}.2"
    inside = ["ip", "netns", "exec", name]
    made = [["ip", "netns", "add", name],
            ["ip", "link", "add", f"lt{n}", "type", "veth", "peer", "name", "eth0", "netns", name],
            ["ip", "addr", "add", f"{ours}/30", "dev", f"lt{n}"], ["ip", "link", "set", f"lt{n}", "up"],
            [*inside, "ip", "addr", "add", f"{theirs}/30", "dev", "eth0"], [*inside, "ip", "link", "set", "eth0", "up"]]
    server = None
    try:
        for words in made:
            subprocess.run(words, check=True)
        server = subprocess.Popen([*inside, sys.executable, "-c", SERVER, theirs])
        for _ in range(300):
            try:
                socket.create_connection((theirs, 8080), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield theirs
    finally:
        if server:
            server.kill()
            server.wait()
        subprocess.run(["ip", "link", "del", f"lt{n}"], check=False)
        subprocess.run(["ip", "netns", "del", name], check=False)


def get(host, port=8080):
    """
    A command that prints what a server says. busybox' wget is not to be trusted with this libc, and Debian 12's passt
    not with a side that closes early.
    """
    return f"{{ printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep .4; }} | timeout 10 nc {host} {port}"


def run(lighter, *lines, args=("--network=passt",), **options):
    return lighter.run_in("FROM busybox\n" + "\n".join(f"RUN {line}" for line in lines) + "\n", *args, **options)


def test_a_step_reaches_another_host_through_passt(lighter, outside):
    done = run(lighter, get(outside), "grep -c : /proc/net/dev | sed s/^/interfaces=/")
    assert done.said("from") == "outside" and done.said("interfaces") == "2"


def test_the_hosts_loopback_is_not_reached(lighter, outside):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0)
        gateway = "ip route | sed -n 's/default via \\([^ ]*\\) .*/\\1/p'"
        done = run(lighter, f"for h in 127.0.0.1 $({gateway}); do nc -w 1 $h {port} </dev/null || echo no=$h; done")
        assert len([line for line in done.log if line.startswith("no=")]) == 2
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_step_without_a_network_of_its_own_does_reach_it(lighter):
    """What the two tests above would not notice is a server that nobody can reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, reached = server.getsockname()[1], []

        def serve():
            one, _ = server.accept()
            reached.append(one.recv(1000))
            one.sendall(b"HTTP/1.0 200 OK\r\n\r\nfrom=loopback\n")
            one.close()
        threading.Thread(target=serve, daemon=True).start()
        assert run(lighter, get("127.0.0.1", port), args=()).said("from") == "loopback"
        assert reached


def test_the_word_is_in_the_key(lighter):
    assert run(lighter, "echo x >/x").ran
    assert run(lighter, "echo x >/x").ran == []
    assert run(lighter, "echo x >/x", args=("--network=pasta",)).ran == []
    assert run(lighter, "echo x >/x", args=()).ran


def test_a_step_with_a_flag_of_its_own_keeps_it(lighter):
    done = run(lighter, "--network=none grep -c : /proc/net/dev | sed s/^/alone=/")
    assert done.said("alone") == "1"


def test_a_program_that_does_not_work_is_quoted(lighter, temp):
    (temp / "pasta").write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    (temp / "pasta").chmod(0o755)
    error = run(lighter, "true", env={"PATH": f"{temp}:{os.environ['PATH']}"}, code=6).error
    assert "<stdin>:2: RUN true: --network=passt: no such luck" in error


@pytest.mark.parametrize("lighter", ["rootless", "single"], indirect=True)
def test_a_user_who_may_not_open_the_device_is_told_so(lighter):
    os.chmod(TUN, 0o600)
    error = run(lighter, "true", code=6).error
    assert "you may not open /dev/net/tun; as root: chmod 666 /dev/net/tun" in error and "syslog" not in error


def status(pid):
    """The name and the parent of a process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            text = f.read()
    except OSError:
        return "", 0
    return text[text.index("(") + 1:text.rindex(")")], int(text[text.rindex(")") + 1:].split()[1])


def helpers(builder):
    """Processes of passt whose parent is a helper of this builder's."""
    found = {pid: status(pid) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))}
    return [pid for pid, (name, parent) in found.items()
            if name.startswith(("pasta", "passt")) and status(parent)[1] == builder]


@pytest.mark.parametrize("lighter", ["root"], indirect=True)
@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_passt_ends_with_the_step(lighter, how):
    context = lighter.context({"Dockerfile": "FROM busybox\nRUN echo up=1 && sleep 60\n"})
    child = lighter.start("build", "--isolation", lighter.isolation, "--network=passt", context)
    for line in child.stderr:
        if b"| up=1" in line:
            break
    running = helpers(child.pid)
    assert running, "it runs"
    child.send_signal(signal.SIGINT if how == "ends" else signal.SIGKILL)
    child.communicate()
    for _ in range(200):
        if not any(status(pid)[0].startswith(("pasta", "passt")) for pid in running):
            return
        time.sleep(0.02)
    raise AssertionError("passt lives on")


def test_lighter_run_has_it_too(lighter, outside):
    done = lighter.run("busybox", "sh", "-c", get(outside), args=["--network=passt"])
    assert done.stdout.endswith("from=outside\n")
