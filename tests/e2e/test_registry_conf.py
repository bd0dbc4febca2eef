"""Which server stands for a registry: mirrors, certificates, proxies, short names, and nobody at all."""

import shutil
import subprocess
import sys

import pytest

from servers import corrupt, crane, docker_config, free_port, skopeo, status


def put_base(front, bases, repo="library/base", tag="1"):
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{bases('busybox')}",
           f"docker://{front.backend.host}/{repo}:{tag}")


def own_conf(lighter, text, name="registries.conf"):
    place = lighter.home / ".config" / "lighter"
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(text)
    lighter.own(lighter.home)


def podman_conf(lighter, text, name="registries.conf"):
    path = lighter.home / ".config" / "containers" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    lighter.own(lighter.home)


@pytest.fixture
def hub(servers, bases):
    """What stands for Docker Hub; nothing is asked of the real one."""
    front = servers.front()
    put_base(front, bases)
    return front


# ---- one line for people behind a block ----------------------------------------------------------

@pytest.mark.parametrize("way", ["env", "option", "bare", "own-conf", "podman", "drop-in", "env-conf", "buildkitd"])
def test_docker_hub_by_a_mirror(bare, hub, way):
    words, env = [], {}
    mirror = f'[[registry]]\nprefix = "docker.io"\n[[registry.mirror]]\nlocation = "{hub.host}"\n'
    if way == "env":
        env["LIGHTER_MIRROR"] = f"docker.io={hub.host}"
    elif way == "option":
        words = ["--registry-mirror", f"docker.io={hub.host}"]
    elif way == "bare":
        env["LIGHTER_MIRROR"] = f"http://{hub.host}"
    elif way == "own-conf":
        own_conf(bare, mirror)
    elif way == "podman":
        podman_conf(bare, mirror)
    elif way == "drop-in":
        podman_conf(bare, mirror, "registries.conf.d/mirror.conf")
    elif way == "env-conf":
        (bare.home / "r.conf").write_text(mirror)
        env["CONTAINERS_REGISTRIES_CONF"] = str(bare.home / "r.conf")
    else:
        path = bare.home / ".config" / "buildkit" / "buildkitd.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f'debug = true\n[registry."docker.io"]\n  mirrors = ["{hub.host}"]\n'
                        f'[registry."{hub.host}"]\n  http = true\n')
    bare.own(bare.home)
    done = bare.run_in("FROM base:1\nRUN echo it=runs", *words, env=env)
    assert done.said("it") == "runs"
    # It is Docker Hub's image by name, whoever gave it.
    assert bare.inspect("docker.io/library/base:1")["RepoTags"] == ["base:1"]
    assert bare.inspect("base:1")["RepoDigests"][0].startswith("base@sha256:")


def test_a_mirror_may_have_a_path(bare, servers, bases):
    front = servers.front()
    put_base(front, bases, repo="cache/hub/library/base")
    bare("pull", "--registry-mirror", f"docker.io={front.host}/cache/hub", "base:1")


def test_mirrors_come_in_their_order_and_a_broken_one_is_passed_over(bare, servers, hub, bases):
    broken, empty = servers.front(), servers.front()
    broken.rule("GET", "/v2/", status(500))
    own_conf(bare, f"""
[[registry]]
prefix = "docker.io"
location = "{hub.host}"
[[registry.mirror]]
location = "127.0.0.1:1"
[[registry.mirror]]
location = "{broken.host}"
[[registry.mirror]]
location = "{empty.host}"
""")
    done = bare("pull", "base:1")
    assert empty.requests("GET", "/manifests/1")[0].status == 404
    assert 1 <= len(broken.requests("GET", "/manifests/1")) <= 2
    assert done.stderr.count("passed over") >= 3 and hub.blob_bytes_down > 1_000_000
    assert bare.run("base:1", "echo", "runs").stdout == "runs\n"


def test_a_mirror_with_a_corrupt_layer_is_not_asked_twice(bare, servers, hub, bases):
    mirror = servers.front(hub.backend)
    mirror.rule("GET", "/blobs/sha256:", corrupt(200))
    own_conf(bare, f'[[registry]]\nprefix = "docker.io"\nlocation = "{hub.host}"\n'
                   f'[[registry.mirror]]\nlocation = "{mirror.host}"\n')
    bare("pull", "base:1", code=None)
    assert bare.damaged_blobs() == []


def test_credentials_of_a_registry_are_never_shown_to_its_mirror(bare, servers, bases):
    guarded = servers.front(auth="basic")
    put_base(guarded, bases)
    mirror = servers.front(guarded.backend)
    mirror.rule("GET", "/v2/", lambda handler: handler.refuse(
        401, "UNAUTHORIZED", "who are you", WWW_Authenticate='Basic realm="mirror"'))
    docker_config(bare, guarded.host)
    own_conf(bare, f'[[registry]]\nlocation = "{guarded.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n')
    bare("pull", f"{guarded.host}/library/base:1")
    assert mirror.log and all(seen.auth is None for seen in mirror.log)


def test_mirrors_for_digests_only_are_not_asked_about_tags(bare, servers, hub, bases):
    mirror = servers.front(hub.backend)
    own_conf(bare, f'[[registry]]\nprefix = "docker.io"\nlocation = "{hub.host}"\nmirror-by-digest-only = true\n'
                   f'[[registry.mirror]]\nlocation = "{mirror.host}"\n')
    bare("pull", "--lazy", "base:1")
    assert not mirror.requests(pattern="/manifests/")
    digest = crane("digest", "--insecure", f"{hub.backend.host}/library/base:1").strip()
    bare("rmi", "base:1")
    bare("pull", f"base@{digest}")
    assert mirror.requests("GET", "/manifests/")


def test_a_push_goes_to_the_registry_and_not_to_its_mirror(lighter, servers, hub):
    mirror = servers.front(hub.backend)
    own_conf(lighter, f'[[registry]]\nlocation = "{hub.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n')
    lighter("push", "busybox", f"{hub.host}/x/y:1")
    assert mirror.log == []


def test_a_blocked_registry_is_refused_without_a_question(bare, hub):
    own_conf(bare, f'[[registry]]\nlocation = "{hub.host}"\nblocked = true\n')
    failed = bare("pull", f"{hub.host}/library/base:1", code=2)
    assert "blocked by" in failed.error and "registries.conf" in failed.error and hub.log == []


@pytest.mark.parametrize("text,said", [
    ("[[registry]\n", "line 1"),
    ('[[registry]]\nlocation = "x"\nlocation = "y"\n', "line 3"),
    ('[[registry]]\nlocaton = "x"\n', "'locaton' is not known"),
    ('[[registry]]\ninsecure = true\n', "neither prefix nor location"),
    ('[[registry]]\nlocation = "x y"\n', "no HOST[:PORT][/PATH]"),
    ('[registry]\nlocation = "x"\n', "[[registry]]"),
    ('unqualified-search-registries = "x"\n', "no list"),
    ('[[registry]]\nlocation = "x"\nblocked = "yes"\n', "no true or false"),
])
def test_a_file_that_cannot_be_read_is_named_with_its_line(bare, text, said):
    own_conf(bare, text)
    failed = bare("pull", "127.0.0.1:1/x", code=2)
    assert "lighter/registries.conf" in failed.error and said in failed.error


# ---- short names ---------------------------------------------------------------------------------

def test_three_spellings_are_one_name(bare, hub):
    env = {"LIGHTER_MIRROR": hub.host}
    bare.run_in("FROM base:1\nRUN echo x >/x", env=env)
    for name in ("docker.io/base:1", "index.docker.io/library/base:1", "docker.io/library/base:1"):
        assert bare.run_in(f"FROM {name}\nRUN echo x >/x", "--offline").ran == []


def test_registries_to_search_come_before_docker_hub_where_lighter_is_told(bare, servers, hub, bases):
    quay = servers.front()
    put_base(quay, bases, repo="team/tool")
    search = f'unqualified-search-registries = ["{quay.host}", "docker.io"]\n'
    # podman's file says so to podman, not to Dockerfiles.
    podman_conf(bare, search)
    env = {"LIGHTER_MIRROR": hub.host}
    bare("pull", "--lazy", "base:1", env=env)
    assert quay.log == []
    own_conf(bare, search)
    bare("pull", "team/tool:1", env=env)
    assert f"{quay.host}/team/tool:1" in bare.inspect("sha256:" + bare.images()[0]["id"])["RepoTags"] + \
        [f"{row['repo']}:{row['tag']}" for row in bare.images()]
    assert bare.run_in("FROM team/tool:1\nRUN echo it=runs", "--offline").said("it") == "runs"


# ---- certificates --------------------------------------------------------------------------------

@pytest.fixture
def safe(servers, hub):
    return servers.front(hub.backend, tls=True)


def certs_d(lighter, host, **files):
    place = lighter.home / ".config" / "containers" / "certs.d" / host
    place.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        shutil.copyfile(source, place / name.replace("_", "."))
    lighter.own(lighter.home)
    return place


def test_an_authority_in_certs_d_is_trusted_and_no_other(bare, servers, safe):
    ref = f"{safe.host}/library/base:1"
    certs = servers.certificates()
    place = certs_d(bare, safe.host, ca_crt=certs.ca)
    bare("pull", ref)
    bare("rmi", ref)
    shutil.copyfile(certs.client, place / "ca.crt")
    failed = bare("pull", ref, code=4)
    assert "certificate" in failed.error and "--tls-verify=false" in failed.error
    assert f"certs.d/{safe.host}/ca.crt" in failed.error
    bare("pull", "--tls-verify=false", ref)
    bare("rmi", ref)
    bare("pull", "--insecure", ref)


def test_a_client_certificate_is_shown(bare, servers, hub):
    certs = servers.certificates()
    front = servers.front(hub.backend, tls=True, client_ca=certs.ca)
    ref = f"{front.host}/library/base:1"
    bare("pull", ref, code=4, timeout=60)
    certs_d(bare, front.host, ca_crt=certs.ca, client_cert=certs.client, client_key=certs.client_key)
    bare("pull", ref)


@pytest.mark.parametrize("left", ["client.key", "client.cert"])
def test_a_key_without_its_certificate_is_named(bare, servers, safe, left):
    certs = servers.certificates()
    place = certs_d(bare, safe.host, ca_crt=certs.ca)
    shutil.copyfile(certs.client, place / left)
    failed = bare("pull", f"{safe.host}/library/base:1", code=2)
    assert left in failed.error and "is missing" in failed.error


def test_ssl_cert_file_is_the_systems_authorities(bare, servers, safe):
    """An authority that certs.d names counts besides those of the system."""
    certs = servers.certificates()
    certs_d(bare, safe.host, ca_crt=certs.client)
    bare("pull", f"{safe.host}/library/base:1", env={"SSL_CERT_FILE": str(certs.ca)})


# ---- proxies -------------------------------------------------------------------------------------

NAMESPACE = """\
set -e
ip link set lo up
ip addr add 10.77.0.1/32 dev lo
"""

PROXY = r"""
import http.client, http.server, select, socket, sys, threading
log = open(sys.argv[1], "a", buffering=1)
names = {"registry.test": "127.0.0.1"}
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def do_CONNECT(self):
        log.write(f"CONNECT {self.path}\n")
        host, _, port = self.path.rpartition(":")
        up = socket.create_connection((names.get(host, host), int(port)))
        self.send_response(200); self.end_headers()
        ends = [self.connection, up]
        while True:
            for s in select.select(ends, [], [])[0]:
                data = s.recv(65536)
                if not data: return up.close()
                ends[1 - ends.index(s)].sendall(data)
    def any(self):
        log.write(f"{self.command} {self.path}\n")
        _, _, rest = self.path.partition("://")
        host, _, path = rest.partition("/")
        name, _, port = host.partition(":")
        c = http.client.HTTPConnection(names.get(name, name), int(port or 80))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        c.request(self.command, "/" + path, body or None, {**dict(self.headers), "Host": host})
        r = c.getresponse(); data = r.read()
        self.send_response(r.status)
        for k, v in r.getheaders():
            if k.lower() not in ("transfer-encoding", "connection", "content-length"): self.send_header(k, v)
        self.send_header("Content-Length", r.getheader("Content-Length") if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(data)
    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = any
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H); s.daemon_threads = True
print(s.server_address[1], flush=True); s.serve_forever()
"""


@pytest.fixture
def proxy(temp):
    """A proxy of ours: its address, and what it was asked for. It knows where 'registry.test' is."""
    log = temp / "proxy.log"
    log.touch()
    child = subprocess.Popen([sys.executable, "-c", PROXY, log], stdout=subprocess.PIPE, text=True)
    port = int(child.stdout.readline())
    yield f"http://127.0.0.1:{port}", lambda: log.read_text().splitlines()
    child.kill()
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_sees_all_traffic_by_http(bare, hub, proxy, name):
    address, log = proxy
    host = f"registry.test:{hub.port}"
    own_conf(bare, f'[[registry]]\nlocation = "http://{host}"\n')
    bare("pull", f"{host}/library/base:1", env={name: address})
    asked = log()
    assert asked and all(f"http://{host}/v2/" in line for line in asked)
    assert len(asked) == len(hub.log)


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_proxy_is_passed_through_with_tls(bare, servers, safe, proxy, name):
    address, log = proxy
    host = f"registry.test:{safe.port}"
    certs_d(bare, host, ca_crt=servers.certificates().ca)
    bare("pull", f"{host}/library/base:1", env={name: address})
    assert set(log()) == {f"CONNECT {host}"}


def test_the_systems_authorities_lie_in_a_file_or_in_a_directory_under_the_hashes_of_their_names(bare, servers, safe, proxy, temp):
    certs = servers.certificates()
    ref, place = f"registry.test:{safe.port}/library/base:1", temp / "authorities"
    place.mkdir()
    shutil.copyfile(certs.ca, place / "ca.pem")
    env = {"https_proxy": proxy[0], "SSL_CERT_DIR": str(place), "SSL_CERT_FILE": str(certs.client)}
    assert "certificate" in bare("pull", ref, code=4, env=env).error
    name = subprocess.run(["openssl", "x509", "-noout", "-hash", "-in", certs.ca], check=True, capture_output=True, text=True).stdout.strip()
    (place / "ca.pem").rename(place / f"{name}.0")
    bare("pull", ref, env=env)
    bare("rmi", ref)
    bare("pull", ref, env={**env, "SSL_CERT_DIR": "/nowhere", "SSL_CERT_FILE": str(certs.ca)})
    bare("rmi", ref)
    (place / f"{name}.0").unlink()
    bare("pull", ref, env={**env, "SSL_CERT_FILE": str(certs.ca)})


def test_a_server_without_tls_is_not_talked_to_by_http_unless_somebody_says_so(bare, hub, proxy):
    address, log = proxy
    host = f"registry.test:{hub.port}"
    env = {"https_proxy": address, "http_proxy": address}
    failed = bare("pull", f"{host}/library/base:1", env=env, code=4)
    assert "does not speak TLS" in failed.error and "registries.conf" in failed.error
    assert hub.requests("GET", "/v2/") == []
    bare("pull", "--tls-verify=false", f"{host}/library/base:1", env=env)


def test_this_machine_is_never_asked_of_a_proxy(bare, hub, proxy):
    address, log = proxy
    bare("pull", f"{hub.host}/library/base:1", env={"http_proxy": address})
    assert log() == []


@pytest.mark.parametrize("no_proxy,direct", [("10.77.0.0/16", True), ("10.78.0.0/16", False), ("10.77.0.1", True)])
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_takes_networks(bare, bases, temp, needs_root, needs, no_proxy, direct, name):
    """In a network namespace of its own, where 10.77.0.1 is this machine."""
    needs("unshare", "ip")
    if subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("network namespaces cannot be made")
    port = free_port()
    script = NAMESPACE + f"""
cd {temp}
python3 - <<'END' &
import http.server, json
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): open("server.log", "a").write(self.path + "\\n")
    def do_GET(self):
        self.send_response(404); self.send_header("Content-Length", "0"); self.end_headers()
http.server.ThreadingHTTPServer(("10.77.0.1", {port}), H).serve_forever()
END
server=$!
for i in $(seq 50); do python3 -c "import socket; socket.create_connection(('10.77.0.1', {port}))" 2>/dev/null && break; sleep 0.1; done
{bare.binary} pull 10.77.0.1:{port}/x/y || true
kill $server
"""
    own_conf(bare, f'[[registry]]\nlocation = "http://10.77.0.1:{port}"\n')
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], check=False, capture_output=True, text=True, timeout=60,
                          env=bare.environment({"http_proxy": "http://127.0.0.1:1", name: no_proxy}))
    reached = (temp / "server.log").exists()
    assert reached == direct, done.stderr


# ---- nobody at all -------------------------------------------------------------------------------

def test_offline_asks_nobody(bare, hub):
    env = {"LIGHTER_MIRROR": hub.host}
    for words in (["--offline"], []):
        extra = {} if words else {"LIGHTER_OFFLINE": "1"}
        failed = bare.run_in("FROM base:1", *words, env={**env, **extra}, code=4)
        assert "--offline" in failed.error and "'base:1'" in failed.error
    assert hub.log == []
    bare("pull", "base:1", env=env)
    hub.forget()
    assert bare.run_in("FROM base:1\nRUN echo it=runs", "--offline", env=env).said("it") == "runs"
    assert hub.log == []
    assert "--offline" in bare("pull", "--offline", "base:1", code=2).error
    assert "LIGHTER_OFFLINE" in bare.run_in("FROM base:1", env={"LIGHTER_OFFLINE": "maybe"}, code=2).error


def test_offline_an_add_of_an_url_is_refused(lighter, hub):
    failed = lighter.run_in(f"FROM scratch\nADD http://{hub.host}/v2/ /x", "--offline", code=4)
    assert "--offline" in failed.error and hub.log == []


def test_a_build_without_network_never_loads_libcurl(lighter, needs):
    needs("strace")
    trace = lighter.directory("traces") / "trace"
    context = lighter.context({"f": "x"})
    words = ["strace", "-f", "-e", "trace=openat,open,connect", "-o", trace, lighter.binary, "build", "-f", "-", context]
    for text in ("FROM busybox\nCOPY f /f\nRUN echo x >/x",) * 2:
        done = subprocess.run(list(map(str, words)), input=text.encode(), env=lighter.environment(), check=False,
                              capture_output=True)
        if b"ptrace" in done.stderr and done.returncode:
            pytest.skip("strace may not trace here")
        assert done.returncode == 0, done.stderr
        seen = trace.read_text()
        assert "libcurl" not in seen and "registries.conf" not in seen
        assert "AF_INET" not in seen
