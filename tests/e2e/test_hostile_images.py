"""Archives, layouts, registries and engines that lie or never end: a clear error in bounded time and memory."""

import hashlib
import io
import json
import os
import socket
import tarfile
import threading
import time

import pytest

from servers import status
from test_load import Maker, go_arch, good_layer, tar_of
from test_platforms import base_for, two_bases

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PEAK_KIB = 96 << 10


def refused(lighter, *words, code=None, **options):
    """The error of a command that must fail soon, with little memory, and leave nothing visible."""
    began = time.monotonic()
    done = lighter(*words, code=code, watch=True, timeout=60, **options)
    assert done.code in (2, 3, 4, 6, 7), done
    assert time.monotonic() - began < 20 and done.peak_kib < PEAK_KIB, (time.monotonic() - began, done.peak_kib)
    assert "lighter" in done.error and len(done.error) < 2000
    assert not lighter.damaged_blobs()
    return done.error


def layout_of(maker, top):
    """Whatever a Maker holds now, as a directory."""
    return maker.layout(top)


def with_index(maker, *manifests, **more):
    """A layout whose one entry is an index of these descriptors."""
    text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests), **more}).encode()
    top = maker.blob(text, INDEX)
    maker.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    return top


# ---- layouts, for `copy` -------------------------------------------------------------------------

def test_indexes_that_are_nested_too_deep_are_refused(bare, temp):
    maker = base_for(go_arch(), "x")
    top = json.loads(maker.files["index.json"])["manifests"][0]
    for _ in range(40):
        top = with_index(maker, top)
    assert "nested too deep" in refused(bare, "copy", f"oci:{layout_of(maker, temp / 'l')}", f"oci:{temp}/out")
    assert not (temp / "out").exists()


def test_an_index_of_a_hundred_thousand_entries_is_refused(bare, temp):
    maker = base_for(go_arch(), "x")
    entry = json.loads(maker.files["index.json"])["manifests"][0]
    with_index(maker, *[{**entry, "platform": {"os": "linux", "architecture": f"a{n}"}} for n in range(20000)])
    assert refused(bare, "copy", f"oci:{layout_of(maker, temp / 'l')}", f"oci:{temp}/out")


@pytest.mark.parametrize("text", [
    b"[" * 100000, b'{"a":' * 100000, b'{"schemaVersion": 2, "manifests": [' + b"{}," * 50000 + b"{}]}", b"\0" * 1000,
    b'{"schemaVersion": 2, "manifests": "x"}', b"{}" + b" " * (5 << 20), b"\xff\xfe{}", b"",
    b'{"manifests": [{"mediaType": "x", "digest": "sha256:' + b"0" * 64 + b'", "size": -1}]}',
    b'{"manifests": [{"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}]}',
    b'{"manifests": [{"mediaType": "x", "digest": "sha512:' + b"0" * 128 + b'", "size": 1}]}',
    b'{"manifests": [{"mediaType": "' + MANIFEST.encode() + b'", "digest": "sha256:' + b"0" * 64 + b'", "size": 99999999999999999999}]}',
])
def test_an_index_that_is_nonsense_is_refused(bare, temp, text):
    maker = Maker()
    maker.files["index.json"] = text
    top = layout_of(maker, temp / "l")
    refused(bare, "copy", f"oci:{top}", "x")
    refused(bare, "load", top)
    refused(bare, "load", input=maker.archive())
    assert bare.images() == []


@pytest.mark.parametrize("change, said", [
    (lambda d: d.update(size=d["size"] + 1), "smaller than its descriptor says"),
    (lambda d: d.update(size=1), "larger than its descriptor says"),
    (lambda d: d.update(size=1 << 50), "over the limit"),
    (lambda d: d.update(digest="sha256:" + "0" * 64), "0" * 64),
    (lambda d: d.update(mediaType="text/html"), "text/html"),
])
def test_descriptors_that_lie_are_refused(bare, temp, change, said):
    maker = base_for(go_arch(), "x")
    entry = json.loads(maker.files["index.json"])["manifests"][0]
    change(entry)
    with_index(maker, entry)
    top = layout_of(maker, temp / "l")
    assert said in refused(bare, "load", top)
    assert said in refused(bare, "copy", f"oci:{top}", f"oci-archive:{temp}/out.tar")
    assert not (temp / "out.tar").exists() and bare.images() == []


def test_an_index_that_names_itself_is_refused(bare, temp):
    """Its digest cannot be right, so it is found by that."""
    maker = Maker()
    entry = {"mediaType": INDEX, "digest": "sha256:" + "1" * 64, "size": 200}
    text = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    maker.files["blobs/sha256/" + "1" * 64] = text + b" " * (200 - len(text))
    maker.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    assert "1" * 64 in refused(bare, "copy", f"oci:{layout_of(maker, temp / 'l')}", "x")


def test_a_blob_that_is_a_link_or_a_pipe_is_refused(bare, temp):

    layout = base_for(go_arch(), "x").layout(temp / "l")
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    blob.unlink()
    os.mkfifo(blob)
    assert "not a regular file" in refused(bare, "copy", f"oci:{layout}", "x")
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    assert blob.name in refused(bare, "copy", f"oci:{layout}", "x")


# ---- layers --------------------------------------------------------------------------------------

def header(name, size=0, kind=b"0"):
    """A tar header of any kind, whatever it says."""
    h = bytearray(512)
    h[:len(name)] = name
    h[100:108], h[108:116], h[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    h[124:136] = b"%011o\0" % size if size < 8 ** 11 else b"\x80" + size.to_bytes(11, "big")
    h[136:148], h[148:156], h[156:157], h[257:265] = b"00000000000\0", b" " * 8, kind, b"ustar\x0000"
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def load_and_use(lighter, busybox_program, layer):
    """Load an image with the layer over a good one and run on it: what fails, fails soon."""
    maker = Maker().image(good_layer(busybox_program), layer, ref="docker.io/library/evil:latest")
    began = time.monotonic()
    done = lighter("load", input=maker.archive(), code=None, watch=True, timeout=100)
    assert done.peak_kib < PEAK_KIB
    if not done.code:
        done = lighter.run_in('FROM evil\nRUN ["/bin/busybox", "true"]\n', code=None, watch=True, timeout=200)
        assert done.peak_kib < PEAK_KIB
    assert time.monotonic() - began < 120
    assert not lighter.damaged_blobs() and lighter.leftovers() == []
    return done


@pytest.mark.parametrize("layer, said", [
    (header(b"f", 1 << 60), ""), (header(b"f", (1 << 63) - 1), ""), (header(b"f", 8 ** 11 - 1), ""),
    (header(b"f", 1 << 40) + b"x" * 512, ""), (header(b"PaxHeader", 1 << 40, b"x"), ""),
    (header(b"././@LongLink", 1 << 40, b"L"), ""), (header(b"f", 0, b"S") + bytes(1024), ""),
    (header(b"PaxHeader", 30, b"x") + b"30 GNU.sparse.realsize=9999999".ljust(512, b"\0") + header(b"f") + bytes(1024), None),
    (header(b"PaxHeader", 26, b"x") + b"26 size=9223372036854775807\n".ljust(512, b"\0") + header(b"f") + bytes(1024), ""),
], ids=range(9))
def test_sizes_that_no_file_has_are_refused(bare, busybox_program, layer, said):
    done = load_and_use(bare, busybox_program, layer)
    assert said is None or done.code in (1, 3, 7), done


def test_a_name_that_comes_a_hundred_thousand_times_is_one_file(bare, busybox_program):
    layer = b"".join([header(b"f", 5) + b"hello".ljust(512, b"\0")] * 100000) + bytes(1024)
    assert load_and_use(bare, busybox_program, layer).code == 0


def test_a_hundred_thousand_entries_are_no_trouble_for_memory(bare, busybox_program):
    layer = b"".join(header(b"%d/%d" % (n // 1000, n)) for n in range(100000)) + bytes(1024)
    began = time.monotonic()
    maker = Maker().image(good_layer(busybox_program), layer, ref="docker.io/library/many:latest")
    done = bare("load", input=maker.archive(), watch=True, timeout=200)
    done = bare.run_in('FROM many\nRUN ["/bin/busybox", "ls", "/99/99999"]\n', watch=True, timeout=400)
    assert done.log == ["/99/99999"] and done.peak_kib < PEAK_KIB and time.monotonic() - began < 120


# ---- docker's archives ---------------------------------------------------------------------------

def archive(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def config_for(*layers):
    return json.dumps({"architecture": go_arch(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [
        "sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]}}).encode()


@pytest.mark.parametrize("manifest, said", [
    (b"[" * 100000, "manifest.json"), (b"{}", "lists no images"), (b"[{}]", "lacks 'Config'"), (b"[1]", "lacks"),
    (b'[{"Config": "../../etc/passwd", "Layers": []}]', "lacks"), (b'[{"Config": "c.json"}]', "0 layers and config 1"),
    (b'[{"Config": "c.json", "Layers": [1]}]', "lacks"), (b'[{"Config": "c.json", "Layers": ["c.json"]}]', ""),
    (b'[{"Config": "l.tar", "Layers": ["l.tar"]}]', ""), (b"[" + b"{}," * 5000 + b"{}]", "too many"),
    (b" " * (5 << 20) + b"[]", "over the limit"),
])
def test_a_manifest_of_dockers_that_lies_is_refused(bare, manifest, said):
    layer = tar_of(("f", "file", b"x"))
    data = archive(("l.tar", layer), ("c.json", config_for(layer)), ("manifest.json", manifest))
    assert said in refused(bare, "load", input=data)
    assert bare.images() == []


def test_an_archive_of_very_many_files_is_refused(bare):
    data = archive(*[(f"{n}/layer.tar", b"") for n in range(5000)], ("manifest.json", b"[]"))
    assert "more than 4096 files" in refused(bare, "load", input=data)


def test_a_docker_layer_that_unpacks_to_other_bytes_is_refused(bare):
    layer, other = tar_of(("f", "file", b"x")), tar_of(("f", "file", b"y"))
    data = archive(("l.tar", other), ("c.json", config_for(layer)),
                   ("manifest.json", b'[{"Config": "c.json", "Layers": ["l.tar"]}]'))
    assert "does not unpack to what the image config says" in refused(bare, "load", input=data)


def test_names_that_are_none_are_passed_over(bare, busybox_program):
    layer = good_layer(busybox_program)
    data = archive(("l.tar", layer), ("c.json", config_for(layer)), ("manifest.json", json.dumps([
        {"Config": "c.json", "Layers": ["l.tar"], "RepoTags": ["../../x", "UP", "\x1b[31m", None, 7, "ok:1"]}]).encode()))
    bare("load", input=data)
    assert [(row["repo"], row["tag"]) for row in bare.images()] == [("ok", "1")]


# ---- registries, for `copy` and `index create` ---------------------------------------------------

@pytest.fixture
def front(servers):
    return servers.front()


def answer(text, kind=INDEX):
    def do(handler):
        handler.answer(200, text, **{"Content-Type": kind, "Docker-Content-Digest": "sha256:" + hashlib.sha256(text).hexdigest()})
    return do


@pytest.mark.parametrize("words", [["copy", "docker://{}/a/b:1", "oci:{}"], ["index", "create", "x", "{}/a/b:1"]])
@pytest.mark.parametrize("text, said", [
    (b"[" * 100000, "/a/b"), (b"{}", ""), (b'{"manifests": [' + b"{}," * 100000 + b"{}]}", ""),
    (json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": "sha256:" + "0" * 64, "size": 7}]}).encode(), "0" * 64),
    (b"x" * (5 << 20), ""),
])
def test_documents_of_registries_that_are_nonsense_are_refused(bare, front, temp, words, text, said):
    front.rule("GET", r"/v2/a/b/manifests/1", answer(text))
    assert said in refused(bare, *(word.format(front.host if "/a/b" in word else temp / "out") for word in words))
    assert not (temp / "out").exists() and bare.images() == []


def test_a_child_with_another_size_than_its_index_says_is_refused(bare, front, temp):
    bare("copy", f"oci:{two_bases(temp / 'both')}", f"docker://{front.host}/a/b:1")
    index = json.loads((temp / "both/index.json").read_text())["manifests"][0]
    text = json.loads((temp / "both/blobs/sha256" / index["digest"][7:]).read_text())
    text["manifests"][0]["size"] += 1
    front.rule("GET", r"/v2/a/b/manifests/2", answer(json.dumps(text).encode()))
    bare("prune", "--all", "--force")
    assert "its index says" in refused(bare, "copy", f"docker://{front.host}/a/b:2", f"oci:{temp}/out")


def test_a_registry_that_has_no_blobs_leaves_no_archive(bare, front, temp):
    bare("copy", f"oci:{two_bases(temp / 'both')}", f"docker://{front.host}/a/b:1")
    bare("prune", "--all", "--force")
    front.rule("GET", r"/v2/a/b/blobs/", status(404))
    assert "a/b" in refused(bare, "copy", f"docker://{front.host}/a/b:1", f"oci-archive:{temp}/out.tar")
    assert not (temp / "out.tar").exists()


# ---- engines -------------------------------------------------------------------------------------

class Liar:
    """A socket that answers every request with the same bytes, or never stops."""

    def __init__(self, path, head, body=b"", endless=False):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        path.chmod(0o666)
        self.sock.listen()
        self.head, self.body, self.endless = head, body, endless
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                one, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(one,), daemon=True).start()

    def talk(self, one):
        try:
            one.recv(65536)
            one.sendall(self.head + self.body)
            while self.endless:
                one.sendall(self.body)
        except OSError:
            pass
        one.close()


ZEROS = b"\0" * 65536


@pytest.mark.parametrize("head, body, endless", [
    (b"", b"", False), (b"nonsense\r\n\r\n", b"", False),
    (b"HTTP/1.1 200 OK\r\n\r\n", b"", False), (b"HTTP/1.1 200 OK\r\n\r\n", b"not a tar" * 1000, False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x", False),
    (b"HTTP/1.1 500 no\r\nContent-Length: 99\r\n\r\n", b'{"message": "' + b"A" * 86, False),
    (b"HTTP/1.1 302 go\r\nLocation: http://localhost/images/x/get\r\nContent-Length: 0\r\n\r\n", b"", False),
    (b"HTTP/1.1 404 no\r\n\r\n", b"A" * 65536, True),
    (b"HTTP/1.1 200 OK\r\nX: " , b"A" * 65536, True),
])
def test_an_engine_that_lies_is_refused(bare, temp, head, body, endless):
    liar = Liar(temp / "d.sock", head, body, endless)
    error = refused(bare, "build", "-f", "-", "--build-context", "base=docker-daemon:x", bare.context(),
                    input="FROM base\n", env={"DOCKER_HOST": f"unix://{temp}/d.sock"})
    assert "d.sock" in error
    liar.sock.close()
