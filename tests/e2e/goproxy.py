"""A Go module proxy of the tests' own: modules made of texts, served right or wrong, every request counted.

The hashes are computed here by the rules of the Go modules reference, with the standard library alone.
"""

import base64
import hashlib
import http.server
import io
import json
import threading
import time
import urllib.parse
import zipfile


def escaped(text):
    return "".join("!" + c.lower() if c.isupper() else c for c in text)


def h1(files):
    """The hash of {name: bytes}. Source: Go modules reference, "go.sum files"."""
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files, key=str.encode))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


class Module:
    """One version of a module."""

    def __init__(self, path, version="v1.0.0", files=None, requires=(), go="1.20", time="2024-01-15T10:20:30Z", packed=None):
        """`packed` is a zip made elsewhere; `files` are then what go reads in it."""
        self.path, self.version, self.time = path, version, time
        self.base = f"{escaped(path)}/@v/{escaped(version)}"
        lines = [f"module {path}", "", f"go {go}"]
        lines += [f"require {m.path} {m.version}" for m in requires]
        self.requires = list(requires)
        self.mod = ("\n".join(lines) + "\n").encode()
        self.files = {"go.mod": self.mod}
        for name, text in (files or {"a.go": f"package {path.rsplit('/', 1)[-1].split('.')[0].lower()}\n\nconst Name = {json.dumps(path)}\n"}).items():
            self.files[name] = text.encode() if isinstance(text, str) else text
        self.zip = packed or self.pack()

    def pack(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
            for name in sorted(self.files):
                info = zipfile.ZipInfo(f"{self.path}@{self.version}/{name}", (1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                z.writestr(info, self.files[name])
        return buffer.getvalue()

    @property
    def zip_h1(self):
        prefix = f"{self.path}@{self.version}/"
        return h1({prefix + name: data for name, data in self.files.items()})

    @property
    def mod_h1(self):
        return h1({"go.mod": self.mod})

    def sums(self):
        return f"{self.path} {self.version} {self.zip_h1}\n{self.path} {self.version}/go.mod {self.mod_h1}\n"


def all_of(modules):
    """The modules with all that they require, each once."""
    found = {}
    def add(m):
        if (m.path, m.version) not in found:
            found[m.path, m.version] = m
            for r in m.requires:
                add(r)
    for m in modules:
        add(m)
    return list(found.values())


def go_sum(*modules):
    return "".join(sorted(line for m in all_of(modules) for line in m.sums().splitlines(True)))


def go_mod(*modules, name="example.test/main", go="1.20"):
    direct = "".join(f"require {m.path} {m.version}\n" for m in modules)
    indirect = "".join(f"require {m.path} {m.version} // indirect\n" for m in all_of(modules) if m not in modules)
    return f"module {name}\n\ngo {go}\n\n{direct}{indirect}"


class Proxy:
    """Serves modules on loopback. `faults` maps the end of a path to what is done instead: a status,
    or a function (handler, body) -> None that answers itself."""

    def __init__(self, modules=(), delay=0.0):
        self.modules, self.faults, self.requests, self.delay = {}, {}, [], delay
        self.files = {}  # a module's path and version, escaped -> module
        self.extra = {}  # path -> bytes
        self.lock = threading.Lock()
        self.add(*modules)
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def log_message(self, *args):
                pass

            def do_GET(self):
                owner.answer(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def add(self, *modules):
        for m in all_of(modules):
            self.modules[m.path, m.version] = self.files[m.base] = m

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- what was asked

    def asked(self, end=""):
        with self.lock:
            return [path for path in self.requests if path.endswith(end)]

    def forget(self):
        with self.lock:
            self.requests.clear()

    # -- answers

    def body(self, path):
        if path in self.extra:
            return self.extra[path]
        stem, _, ending = path.rpartition(".")
        m = self.files.get(stem)
        if m and ending in ("zip", "mod"):
            return m.zip if ending == "zip" else m.mod
        if m and ending == "info":
            return json.dumps({"Version": m.version, "Time": m.time}).encode()
        if path.endswith(("/@v/list", "/@latest")):
            stem = path.rpartition("/@v/list" if path.endswith("list") else "/@latest")[0]
            found = sorted((m for m in self.modules.values() if escaped(m.path) == stem), key=lambda m: m.version)
            if found and path.endswith("list"):
                return "".join(m.version + "\n" for m in found).encode()
            if found:
                return json.dumps({"Version": found[-1].version, "Time": found[-1].time}).encode()
        return None

    def answer(self, handler):
        path = urllib.parse.unquote(handler.path.lstrip("/"))
        with self.lock:
            self.requests.append(path)
        if self.delay:
            time.sleep(self.delay)
        body = self.body(path)
        for end, fault in self.faults.items():
            if not path.endswith(end):
                continue
            if callable(fault):
                fault(handler, body)
                return
            self.send(handler, fault, b"the test says so\n")
            return
        if body is None:
            self.send(handler, 404, b"not found\n")
        else:
            self.send(handler, 200, body)

    @staticmethod
    def send(handler, status, body, length=None):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)


# ---- a checksum database -------------------------------------------------------------------------

# Ed25519 as RFC 8032, section 6 has it, without a thought about speed.
P, ORDER = 2 ** 255 - 19, 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
BY = 4 * pow(5, P - 2, P) % P
BX = next(x if x % 2 == 0 else P - x for r in [pow((BY * BY - 1) * pow(D * BY * BY + 1, P - 2, P) % P, (P + 3) // 8, P)]
          for x in [r if (r * r - (BY * BY - 1) * pow(D * BY * BY + 1, P - 2, P)) % P == 0 else r * pow(2, (P - 1) // 4, P) % P])


def added(p, q):
    (x1, y1), (x2, y2) = p, q
    k = D * x1 * x2 * y1 * y2 % P
    return ((x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P) % P)


def times(n, p):
    r = (0, 1)
    while n:
        if n & 1:
            r = added(r, p)
        p, n = added(p, p), n >> 1
    return r


def packed(p):
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


class Key:
    def __init__(self, name, seed):
        h = hashlib.sha512(seed).digest()
        self.a = int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix, self.name = h[32:], name
        self.public = packed(times(self.a, (BX, BY)))
        self.hash = hashlib.sha256(name.encode() + b"\n\x01" + self.public).digest()[:4]

    def verifier(self):
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(bytes([1]) + self.public).decode()}"

    def note(self, text):
        message = text.encode()
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % ORDER
        point = packed(times(r, (BX, BY)))
        k = int.from_bytes(hashlib.sha512(point + self.public + message).digest(), "little") % ORDER
        signature = point + ((r + k * self.a) % ORDER).to_bytes(32, "little")
        return f"{text}\n\u2014 {self.name} {base64.b64encode(self.hash + signature).decode()}\n"


def tree_hash(leaves):
    """RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def numbered(n):
    """How a tile's number is written: in threes of digits, and all but the last begin with an x."""
    groups = f"{n:0{-(-len(str(n)) // 3) * 3}}"
    groups = [groups[i:i + 3] for i in range(0, len(groups), 3)]
    return "/".join(["x" + g for g in groups[:-1]] + groups[-1:])


class SumDB(Proxy):
    """A checksum database. Its records are those of the modules in their order; `records` may be changed, and
    made more or fewer, at any time. Source: Go design document 25530; Go modules reference, "Checksum database"."""

    def __init__(self, modules=(), key=None):
        self.key = key or Key("sums.example.test", b"seed of the tests")
        self.records, self.listed, self.notes = [], {}, {}
        self.list(*modules)
        super().__init__()

    def list(self, *modules):
        for m in modules:
            self.listed[f"{escaped(m.path)}@{escaped(m.version)}"] = len(self.records)
            self.records.append(m.sums())

    def setting(self):
        return f"{self.key.verifier()} {self.url}"

    def leaves(self):
        return [hashlib.sha256(b"\x00" + r.encode()).digest() for r in self.records]

    def tree(self):
        """The signed tree of all records. Signing takes its time, so it is done once for each tree."""
        leaves = self.leaves()
        text = f"go.sum database tree\n{len(leaves)}\n{base64.b64encode(tree_hash(leaves)).decode()}\n"
        with self.lock:
            if text not in self.notes:
                self.notes[text] = self.key.note(text)
            return self.notes[text]

    def tiles(self):
        """{path: hashes}, of full tiles and of those at the right edge."""
        level, hashes, found = 0, self.leaves(), {}
        while hashes:
            for n in range(-(-len(hashes) // 256)):
                part = hashes[256 * n:256 * n + 256]
                found[f"tile/8/{level}/{numbered(n)}" + (f".p/{len(part)}" if len(part) < 256 else "")] = b"".join(part)
            hashes = [tree_hash(hashes[256 * n:256 * n + 256]) for n in range(len(hashes) // 256)]
            level += 1
        return found

    def body(self, path):
        if path == "latest":
            return self.tree().encode()
        if path.startswith("tile/"):
            return self.tiles().get(path)
        if path.startswith("lookup/") and path[7:] in self.listed:
            i = self.listed[path[7:]]
            return f"{i}\n{self.records[i]}\n{self.tree()}".encode()
        return None


# ---- faults --------------------------------------------------------------------------------------

def truncated(handler, body):
    Proxy.send(handler, 200, body[:len(body) // 2], len(body))
    handler.close_connection = True


def too_short(handler, body):
    """Half of it, and the header says that this is all."""
    Proxy.send(handler, 200, body[:len(body) // 2])


def flipped(handler, body):
    at = len(body) // 3
    Proxy.send(handler, 200, body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])


def other(module):
    """What another module's zip would be, under this one's name."""
    def answer(handler, _):
        Proxy.send(handler, 200, module.zip)
    return answer


def hung_up(handler, _):
    handler.close_connection = True
    handler.connection.close()
