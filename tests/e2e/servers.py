"""Registries for the tests, all on loopback: real ones, and a front before them that is ours.

The front speaks TLS and asks for users or tokens where that is so in life, counts what goes over the
wire, and goes wrong in whatever way a test asks for. It knows nothing of lighter.
"""

import base64
import collections
import contextlib
import http.client
import http.server
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from harness import REPO, wait_for

TOOLS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lighter" / "tools"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def peer(name):
    """A program of tools/peers, or the reason why it cannot be had."""
    if not (TOOLS / name).exists():
        done = subprocess.run([REPO / "tools" / "peers", name], check=False, capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip(done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, done.stderr
    return TOOLS / name


# ---- real registries -----------------------------------------------------------------------------

class Backend:
    """A registry program on a free port of 127.0.0.1."""

    mounts = True          # takes a blob over from another repository
    uploads_status = True  # tells how far an upload came

    def __init__(self, place):
        self.place, self.port = Path(place), free_port()
        self.place.mkdir(parents=True, exist_ok=True)
        self.log = open(self.place / "log", "wb")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL, env=self.environment())
        assert wait_for(self.answers, 20), (self.place / "log").read_text()

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.place)}

    def answers(self):
        with contextlib.suppress(OSError):
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            c.request("GET", "/v2/")
            return c.getresponse().status == 200
        return False

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Distribution(Backend):
    def command(self):
        if not shutil.which("docker-registry"):
            pytest.skip("docker-registry is not installed")
        config = self.place / "config.yml"
        config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self.place}/data}},"
                          f" delete: {{enabled: true}}}}\nhttp: {{addr: '{self.host}'}}\n"
                          "validation: {manifests: {urls: {allow: ['^http:']}}}\n")
        return ["docker-registry", "serve", config]


class Olareg(Backend):
    def command(self):
        return [peer("olareg"), "serve", "--addr", "127.0.0.1", "--port", str(self.port),
                "--dir", self.place / "data"]


class CraneServe(Backend):
    mounts = False
    uploads_status = False

    def command(self):
        (self.place / "data").mkdir(exist_ok=True)
        return [peer("crane"), "registry", "serve", "--address", self.host, "--disk", self.place / "data"]


BACKENDS = {"distribution": Distribution, "olareg": Olareg, "crane": CraneServe}


# ---- certificates --------------------------------------------------------------------------------

class Certificates:
    """An authority, a server's certificate for this machine's names and a client's."""

    def __init__(self, place):
        self.place = Path(place)
        self.place.mkdir(parents=True, exist_ok=True)
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        self.ca, self.ca_key = self.make("ca", None, "CA:TRUE")
        self.cert, self.key = self.make("server", self.ca, "CA:FALSE",
                                        "IP:127.0.0.1,DNS:localhost,DNS:registry.test")
        self.client, self.client_key = self.make("client", self.ca, "CA:FALSE")

    def make(self, name, issuer, constraints, names="DNS:nobody"):
        cert, key = self.place / f"{name}.pem", self.place / f"{name}.key"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert,
                 "-addext", f"basicConstraints=critical,{constraints}", "-addext", f"subjectAltName={names}"]
        if issuer:
            words += ["-CA", issuer, "-CAkey", self.ca_key]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode:  # OpenSSL 1 has no -CA here
            pytest.skip("openssl cannot make certificates: " + done.stderr.strip().splitlines()[-1])
        return cert, key


# ---- the front -----------------------------------------------------------------------------------

class Seen:
    """One request as it went by."""

    def __init__(self, handler):
        self.method, self.path = handler.command, handler.path
        self.headers = dict(handler.headers.items())
        self.auth = handler.headers.get("Authorization")
        self.status, self.when = None, time.monotonic()
        self.received = self.sent = 0  # bytes of bodies, from and to the client

    def __repr__(self):
        return f"<{self.method} {self.path[:90]} {self.status} in={self.received} out={self.sent}>"


class Rule:
    """What goes wrong: for requests that match, so many times (None: always), after so many others."""

    def __init__(self, method, pattern, do, times=None, after=0, min_body=0):
        self.method, self.pattern, self.do = method, re.compile(pattern), do
        self.left, self.after, self.min_body = times, after, min_body

    def takes(self, handler):
        if handler.command != self.method or not self.pattern.search(handler.path) or self.left == 0:
            return False
        if int(handler.headers.get("Content-Length") or 0) < self.min_body:
            return False
        if self.after:
            self.after -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front = None

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.front.connections += 1

    # -- answers

    def answer(self, status, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.seen.status = status
        self.send_response(status)
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]:
                self.send_header(name.replace("_", "-"), str(one))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.seen.sent += len(body)

    def refuse(self, status, code="DENIED", message="requested access to the resource is denied", **headers):
        self.answer(status, {"errors": [{"code": code, "message": message}]}, **headers)

    def hang_up(self, reset=False):
        """Close at once; with reset, so that the other side sees a broken connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR) if not reset else self.connection.close()

    # -- requests

    @property
    def chunked(self):
        return "chunked" in (self.headers.get("Transfer-Encoding") or "")

    def body_parts(self):
        while self.chunked:
            size = int(self.rfile.readline().split(b";")[0], 16)
            part = self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return
            self.seen.received += size
            yield part
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            part = self.rfile.read(min(left, 1 << 16))
            if not part:
                raise ConnectionError("the client went away")
            left -= len(part)
            self.seen.received += len(part)
            yield part

    def drop_body(self):
        for _ in self.body_parts():
            pass

    def handle_expect_100(self):
        # A rule may answer before the body comes; it says so by `early`.
        rule = self.front.early(self)
        if rule:
            self.seen = self.front.note(self)
            rule.do(self)
            return False
        return super().handle_expect_100()

    def serve(self):
        self.seen = self.front.note(self)
        try:
            if self.path.startswith("/token"):
                return self.front.token(self)
            rule = self.front.rule_for(self)
            if rule:
                return rule.do(self)
            if self.front.let_in(self):
                self.forward()
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = serve

    def forward(self, change=None, drop=(), limit=None):
        """Pass the request on and the answer back.

        change(part, offset)  makes other bytes of the body's
        drop                  request headers that are not passed on
        limit                 bytes of the answer's body after which the connection is closed
        """
        c = http.client.HTTPConnection("127.0.0.1", self.front.backend.port, timeout=60)
        headers = [(name, value) for name, value in self.headers.items()
                   if name.lower() not in ("authorization", "expect", "connection") and name not in drop]
        if self.front.tls and self.front.tell_scheme:
            headers.append(("X-Forwarded-Proto", "https"))
        c.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            c.putheader(name, value)
        c.endheaders()
        for part in self.body_parts():
            c.send(b"%x\r\n%s\r\n" % (len(part), part) if self.chunked else part)
        if self.chunked:
            c.send(b"0\r\n\r\n")
        answer = c.getresponse()
        self.seen.status = answer.status
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length")
        body = b"" if self.command == "HEAD" else None
        if length is None and self.command != "HEAD" and answer.status not in (204, 304):
            body = answer.read()
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD" or answer.status in (204, 304):
            return c.close()
        offset = 0
        while True:
            part = body if body is not None else answer.read(1 << 16)
            if body is not None:
                body = b""
            if not part:
                break
            part = change(part, offset) if change else part
            if limit is not None and offset + len(part) >= limit:
                part = part[:limit - offset]
                self.wfile.write(part)
                self.seen.sent += len(part)
                c.close()
                return self.hang_up()
            self.wfile.write(part)
            self.seen.sent += len(part)
            offset += len(part)
        c.close()


class ThreadingServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # clients hang up whenever they like


class Front:
    """A server before a registry.

    auth  None, "basic" or "token"; with "token" anybody may pull if `anonymous`
    tls   Certificates, or None
    """

    def __init__(self, backend, tls=None, auth=None, users=None, anonymous=False, client_ca=None):
        self.backend, self.tls, self.auth, self.anonymous = backend, tls, auth, anonymous
        self.users = users if users is not None else {"me": "my-secret"}
        self.identity = {}           # identity token -> user
        self.tokens = {}             # token -> (scopes, when it ends)
        self.token_life = 300
        self.tell_scheme = True
        self.log, self.rules, self.connections = [], [], 0
        self.early_rules = []
        self.lock = threading.Lock()
        self.server = ThreadingServer(("127.0.0.1", 0), type("Handler", (Handler,), {"front": self}))
        self.port = self.server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            if client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(client_ca)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def scheme(self):
        return "https" if self.tls else "http"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # -- what went by

    def note(self, handler):
        seen = Seen(handler)
        with self.lock:
            self.log.append(seen)
        return seen

    def forget(self):
        with self.lock:
            self.log.clear()

    def requests(self, method=None, pattern=""):
        return [seen for seen in self.log
                if (method is None or seen.method == method) and re.search(pattern, seen.path)]

    @property
    def layer_bytes_up(self):
        """Bytes that came in with uploads."""
        return sum(seen.received for seen in self.log if "/blobs/uploads/" in seen.path)

    @property
    def blob_bytes_down(self):
        return sum(seen.sent for seen in self.log if re.search(r"/blobs/sha256:", seen.path))

    # -- what goes wrong

    def rule(self, method, pattern, do, **when):
        self.rules.append(Rule(method, pattern, do, **when))

    def rule_early(self, method, pattern, do, **when):
        self.early_rules.append(Rule(method, pattern, do, **when))

    def rule_for(self, handler):
        with self.lock:
            return next((rule for rule in self.rules if rule.takes(handler)), None)

    def early(self, handler):
        with self.lock:
            return next((rule for rule in self.early_rules if rule.takes(handler)), None)

    # -- who may come in

    @staticmethod
    def wanted(method, path):
        """The (repository, action) pairs that a request needs."""
        found = re.match(r"^/v2/(.+?)/(?:manifests|blobs|referrers|tags)/", path)
        if not found:
            return set()
        wants = {(found[1], "pull" if method in ("GET", "HEAD") and "/uploads/" not in path else "push")}
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        if "mount" in query and "from" in query:
            wants.add((query["from"][0], "pull"))
        return wants

    def user_of(self, header):
        if not header or not header.startswith("Basic "):
            return None
        user, _, password = base64.b64decode(header[6:]).decode().partition(":")
        return user if self.users.get(user) == password else False

    def let_in(self, handler):
        if self.auth is None:
            return True
        if self.auth == "basic":
            if self.user_of(handler.seen.auth):
                return True
            handler.drop_body()
            handler.refuse(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="test"')
            return False
        return self.token_ok(handler)

    def token_ok(self, handler):
        wants = self.wanted(handler.command, handler.path)
        header = handler.seen.auth or ""
        scopes, end = self.tokens.get(header[7:], (set(), 0)) if header.startswith("Bearer ") else (set(), 0)
        if end > time.monotonic() and wants <= scopes:
            return True
        handler.drop_body()
        by_repo = collections.defaultdict(set)
        for repo, action in wants:
            by_repo[repo] |= {"pull", action}
        scope = " ".join(f"repository:{repo}:{','.join(sorted(actions))}" for repo, actions in by_repo.items())
        challenge = f'Bearer realm="{self.scheme}://{self.host}/token",service="test.registry"'
        if scope:
            challenge += f',scope="{scope}"'
        if header and end > time.monotonic():
            challenge += ',error="insufficient_scope"'
        handler.refuse(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        return False

    def token(self, handler):
        form = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        if handler.command == "POST":
            body = b"".join(handler.body_parts()).decode()
            form = urllib.parse.parse_qs(body)
            user = self.identity.get(form.get("refresh_token", [""])[0], False)
            if form.get("grant_type") != ["refresh_token"] or form.get("service") != ["test.registry"]:
                return handler.refuse(400, "UNSUPPORTED", "bad grant")
            form["scope"] = form.get("scope", [""])[0].split()
        else:
            user = self.user_of(handler.seen.auth)
        if user is False or (user is None and not self.anonymous):
            return handler.answer(401, {"details": "incorrect username or password"})
        scopes = set()
        for scope in form.get("scope", []):
            kind, repo, actions = scope.split(":", 2)
            assert kind == "repository", scope
            scopes |= {(repo, action) for action in actions.split(",")
                       if self.may(user, repo, action)}
        token = secrets.token_urlsafe(24)
        self.tokens[token] = (scopes, time.monotonic() + self.token_life)
        handler.answer(200, {"token": token, "expires_in": self.token_life})

    def may(self, user, repo, action):
        """What users may do: everything, others pull; a test may say otherwise."""
        return user is not None or action == "pull"


# ---- things that go wrong ------------------------------------------------------------------------

def status(code, **headers):
    def do(handler):
        handler.drop_body()
        handler.refuse(code, "UNKNOWN", f"made to say {code}", **headers)
    return do


def status_early(code):
    """Answer before the body was read, and close."""
    def do(handler):
        handler.refuse(code, "UNKNOWN", f"made to say {code}", Connection="close")
        handler.close_connection = True
    return do


def cut(nbytes):
    return lambda handler: handler.forward(limit=nbytes)


def corrupt(at):
    def change(part, offset):
        if offset <= at < offset + len(part):
            part = bytearray(part)
            part[at - offset] ^= 0x20
        return bytes(part)
    return lambda handler: handler.forward(change=change)


def no_ranges(handler):
    handler.forward(drop=("Range",))


def redirect(url, code=307):
    def do(handler):
        handler.drop_body()
        handler.answer(code, b"", Location=url(handler) if callable(url) else url)
    return do


def reset_after(nbytes):
    """Read so much of a body, then break the connection."""
    def do(handler):
        left = nbytes
        while left > 0:
            part = handler.rfile.read(min(left, 1 << 16))
            if not part:
                break
            left -= len(part)
            handler.seen.received += len(part)
        handler.hang_up(reset=True)
    return do


def pass_part(nbytes):
    """Let the registry have the first bytes of an upload, then break the connection to the client."""
    def do(handler):
        c = http.client.HTTPConnection("127.0.0.1", handler.front.backend.port, timeout=60)
        data = handler.rfile.read(nbytes)
        handler.seen.received += len(data)
        path = urllib.parse.urlsplit(handler.path)
        query = "&".join(p for p in path.query.split("&") if not p.startswith("digest="))
        c.request("PATCH", path.path + ("?" + query if query else ""), body=data,
                  headers={"Host": handler.headers["Host"], "Content-Type": "application/octet-stream"})
        assert c.getresponse().status == 202
        handler.hang_up(reset=True)
    return do


# ---- fixtures ------------------------------------------------------------------------------------

class Servers:
    """Makes registries and fronts, and ends them with the test."""

    def __init__(self, place):
        self.place, self.stack, self.n = Path(place), contextlib.ExitStack(), 0
        self.made_certificates = None

    def backend(self, kind="distribution"):
        self.n += 1
        made = BACKENDS[kind](self.place / f"registry-{self.n}")
        self.stack.callback(made.close)
        return made

    def front(self, backend=None, **options):
        if options.get("tls") is True:
            options["tls"] = self.certificates()
        made = Front(backend or self.backend(), **options)
        self.stack.callback(made.close)
        return made

    def certificates(self):
        if not self.made_certificates:
            self.made_certificates = Certificates(self.place / "certificates")
        return self.made_certificates


def docker_config(lighter, host, user="me", password="my-secret", **more):
    """Write the lighter user's ~/.docker/config.json."""
    place = lighter.home / ".docker"
    place.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (place / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}, **more}))
    lighter.own(place)


def crane(*words, code=0, **options):
    done = subprocess.run([peer("crane"), *map(str, words)], check=False, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, **options)
    if code is not None:
        assert done.returncode == code, f"crane {words}:\n{done.stdout}{done.stderr}"
    return done.stdout


def skopeo(*words, **options):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    done = subprocess.run(["skopeo", *map(str, words)], check=False, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, **options)
    assert done.returncode == 0, f"skopeo {words}:\n{done.stdout}{done.stderr}"
    return done.stdout
