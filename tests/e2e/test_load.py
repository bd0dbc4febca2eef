"""Archives and layouts from outside: damaged ones are refused whole, hostile ones stay inside."""

import copy
import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from harness import Image, tree_of


# ---- making layouts ------------------------------------------------------------------------------

class Maker:
    """An OCI layout in memory, {path: bytes}, that tests make and then break."""

    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(self, data, media_type):
        name = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{name}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    def image(self, *layers, ref="docker.io/library/bad:latest", config=None, diff_ids=None,
              media="application/vnd.oci.image.layer.v1.tar+gzip"):
        """`layers` are plain tars."""
        descriptors = [self.blob(gzip.compress(tar, mtime=0) if media.endswith("gzip") else tar, media)
                       for tar in layers]
        document = {"architecture": go_arch(), "os": "linux", "config": {"Env": ["PATH=/bin"]},
                    "rootfs": {"type": "layers", "diff_ids": diff_ids or [
                        "sha256:" + hashlib.sha256(tar).hexdigest() for tar in layers]},
                    "history": [{"created_by": "made by a test"} for _ in layers]}
        document.update(config or {})
        manifest = {"schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": self.blob(json.dumps(document).encode(),
                                        "application/vnd.oci.image.config.v1+json"),
                    "layers": descriptors}
        entry = self.blob(json.dumps(manifest).encode(), manifest["mediaType"])
        entry["annotations"] = {"org.opencontainers.image.ref.name": ref}
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        return self

    def archive(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path, data in self.files.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()

    def layout(self, top):
        for path, data in self.files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(data)
        return top

    def path_of(self, kind):
        """The path of the blob that is the manifest, the config or the first layer."""
        entry = json.loads(self.files["index.json"])["manifests"][0]
        manifest_path = "blobs/sha256/" + entry["digest"].split(":")[1]
        if kind == "manifest":
            return manifest_path
        manifest = json.loads(self.files[manifest_path])
        digest = (manifest["config"] if kind == "config" else manifest["layers"][0])["digest"]
        return "blobs/sha256/" + digest.split(":")[1]


def go_arch():
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def tar_of(*members):
    """A tar of (name, kind, content or link target) or of TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, kind, content = member
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "sym": tarfile.SYMTYPE,
                         "link": tarfile.LNKTYPE, "char": tarfile.CHRTYPE,
                         "fifo": tarfile.FIFOTYPE}[kind]
            info.mode = 0o755
            if kind == "file":
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                if isinstance(content, tuple):
                    info.devmajor, info.devminor = content
                else:
                    info.linkname = content or ""
                tar.addfile(info)
    return out.getvalue()


def good_layer(busybox_program):
    return tar_of(("bin", "dir", ""), ("bin/busybox", "file", busybox_program),
                  ("bin/sh", "link", "bin/busybox"), ("etc", "dir", ""),
                  ("etc/passwd", "file", b"root:x:0:0:root:/root:/bin/sh\n"))


# ---- damage --------------------------------------------------------------------------------------

def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def change_json(maker, kind, change):
    """Change a document and everything above it, so that all digests are right again."""
    entry_list = json.loads(maker.files["index.json"])
    entry = entry_list["manifests"][0]
    manifest = json.loads(maker.files.pop(maker.path_of("manifest")))
    if kind == "config":
        document = json.loads(maker.files["blobs/sha256/" + manifest["config"]["digest"].split(":")[1]])
        change(document)
        manifest["config"] = maker.blob(json.dumps(document).encode(), manifest["config"]["mediaType"])
    else:
        change(manifest)
    entry.update(maker.blob(json.dumps(manifest).encode(), entry["mediaType"]))
    maker.files["index.json"] = json.dumps(entry_list).encode()


def set_layer(key, value):
    return lambda manifest: manifest["layers"][0].__setitem__(key, value)


def damage_of(name):
    """name -> a function that breaks a good Maker."""
    def flipped(kind, at):
        def change(m):
            path = m.path_of(kind)
            m.files[path] = flip(m.files[path], at)
        return change

    def cut(kind):
        def change(m):
            path = m.path_of(kind)
            m.files[path] = m.files[path][:-20]
        return change

    def grown(kind):
        def change(m):
            path = m.path_of(kind)
            m.files[path] += b"more"
        return change

    def lost(kind):
        return lambda m: m.files.pop(m.path_of(kind))

    return {
        "a flipped byte in a layer": flipped("layer", 5000),
        "a flipped byte in the config": flipped("config", 30),
        "a flipped byte in the manifest": flipped("manifest", 30),
        "a cut layer": cut("layer"),
        "a cut config": cut("config"),
        "a layer with bytes behind it": grown("layer"),
        "a missing layer": lost("layer"),
        "a missing config": lost("config"),
        "a missing manifest": lost("manifest"),
        "a size of a layer that is too small": lambda m: change_json(
            m, "manifest", set_layer("size", 17)),
        "a size of a layer that is too large": lambda m: change_json(
            m, "manifest", set_layer("size", 1 << 40)),
        "a size of a layer below zero": lambda m: change_json(m, "manifest", set_layer("size", -1)),
        "a wrong digest of a layer": lambda m: change_json(
            m, "manifest", set_layer("digest", "sha256:" + "0" * 64)),
        "a digest that is none": lambda m: change_json(
            m, "manifest", set_layer("digest", "sha256:../../../etc/passwd")),
        "a layer of unknown kind": lambda m: change_json(
            m, "manifest", set_layer("mediaType", "application/x-unknown")),
        "a layer that is not what the config says": lambda m: change_json(
            m, "config", lambda c: c["rootfs"].__setitem__("diff_ids", ["sha256:" + "1" * 64])),
        "fewer layers than the config says": lambda m: change_json(
            m, "manifest", lambda d: d.__setitem__("layers", [])),
        "a config without rootfs": lambda m: change_json(m, "config", lambda c: c.pop("rootfs")),
        "an index that is no JSON": lambda m: m.files.__setitem__("index.json", b"{"),
        "an index that is a list": lambda m: m.files.__setitem__("index.json", b"[]"),
        "an index without images": lambda m: m.files.__setitem__(
            "index.json", b'{"schemaVersion": 2, "manifests": []}'),
        "no index": lambda m: m.files.pop("index.json"),
        "a manifest that is no JSON": lambda m: replace_manifest(m, b"not json"),
        "a manifest deeply nested": lambda m: replace_manifest(m, b"[" * 100000),
        "an image for another machine": lambda m: m.files.__setitem__(
            "index.json", other_platform(m.files["index.json"])),
    }[name]


def replace_manifest(maker, data):
    index = json.loads(maker.files["index.json"])
    index["manifests"][0].update(maker.blob(data, index["manifests"][0]["mediaType"]))
    maker.files["index.json"] = json.dumps(index).encode()


def other_platform(data):
    index = json.loads(data)
    index["manifests"][0]["platform"] = {"os": "linux", "architecture": "s390x"}
    return json.dumps(index).encode()


DAMAGES = ["a flipped byte in a layer", "a flipped byte in the config", "a flipped byte in the manifest",
           "a cut layer", "a cut config", "a layer with bytes behind it", "a missing layer",
           "a missing config", "a missing manifest",
           "a size of a layer that is too small", "a size of a layer that is too large",
           "a size of a layer below zero", "a wrong digest of a layer", "a digest that is none", "a layer of unknown kind",
           "a layer that is not what the config says", "fewer layers than the config says",
           "a config without rootfs", "an index that is no JSON", "an index that is a list",
           "an index without images", "no index", "a manifest that is no JSON",
           "a manifest deeply nested", "an image for another machine"]


@pytest.fixture
def good(busybox_program):
    return Maker().image(good_layer(busybox_program), ref="docker.io/library/good:latest")


def assert_unharmed(lighter, good):
    """Nothing of the failed load is shown, no blob is wrong, and the store still works."""
    assert lighter.images() == []
    assert lighter.damaged_blobs() == []
    assert lighter.leftovers() == []
    lighter("load", input=good.archive())
    assert lighter.run("good", "/bin/busybox", "echo", "works").stdout == "works\n"
    assert [row["repo"] for row in lighter.images()] == ["good"]


@pytest.mark.parametrize("form", ["archive", "layout"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_image_is_refused_and_the_store_goes_on(bare, good, name, form):
    bad = copy.deepcopy(good)
    damage_of(name)(bad)
    if form == "archive":
        refused = bare("load", input=bad.archive(), code=None)
    else:
        refused = bare.load(bare.own(bad.layout(bare.directory())), code=None)
    assert refused.code in (2, 3, 4, 7), repr(refused)
    assert refused.error.startswith("lighter load: ") and len(refused.error) > 20
    assert_unharmed(bare, good)


@pytest.mark.parametrize("keep", [0, 100, 512, 700, 5000, 0.5, 0.9])
def test_a_truncated_archive_is_refused_and_the_store_goes_on(bare, good, keep):
    data = good.archive()
    cut = data[:keep if isinstance(keep, int) else int(len(data) * keep)]
    refused = bare("load", input=cut, code=None)
    assert refused.code in (2, 7), repr(refused)
    assert_unharmed(bare, good)


@pytest.mark.parametrize("data", [b"\0" * 10240, b"this is not a tar at all\n" * 100,
                                  b"\x1f\x8b\x08\x00garbage", b"\x28\xb5\x2f\xfdgarbage",
                                  os.urandom(4096)],
                         ids=["zeroes", "text", "bad gzip", "bad zstd", "noise"])
def test_what_is_no_archive_is_refused(bare, good, data):
    refused = bare("load", input=data, code=None)
    assert refused.code in (2, 7)
    assert_unharmed(bare, good)


# ---- docker's own archives -----------------------------------------------------------------------

def docker_save(maker, tags=("me/app:1",), link_layers=False):
    """The image of a Maker as `docker save` wrote it before version 25: manifest.json comes last."""
    manifest = json.loads(maker.files[maker.path_of("manifest")])
    config = maker.files["blobs/sha256/" + manifest["config"]["digest"].split(":")[1]]
    layers = [gzip.decompress(maker.files["blobs/sha256/" + layer["digest"].split(":")[1]])
              for layer in manifest["layers"]]
    name = hashlib.sha256(config).hexdigest() + ".json"
    out, paths = io.BytesIO(), []
    with tarfile.open(fileobj=out, mode="w") as tar:
        def add(path, data, link=None):
            info = tarfile.TarInfo(path)
            info.size = 0 if link else len(data)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info, None if link else io.BytesIO(data))
        for number, layer in enumerate(layers):
            real = f"{number:064x}"
            add(f"{real}/VERSION", b"1.0")
            add(f"{real}/json", b"{}")
            add(f"{real}/layer.tar", layer)
            paths.append(f"{real}/layer.tar")
            if link_layers:  # as docker shares a layer between images
                add(f"twin{number}/layer.tar", b"", link=f"../{real}/layer.tar")
                paths[-1] = f"twin{number}/layer.tar"
        add(name, config)
        add("manifest.json", json.dumps([{"Config": name, "RepoTags": list(tags),
                                          "Layers": paths}]).encode())
        add("repositories", b"{}")
    return out.getvalue(), "sha256:" + hashlib.sha256(config).hexdigest()


@pytest.mark.parametrize("links", [False, True])
def test_an_archive_of_an_old_docker_save_is_loaded_with_its_id(bare, good, links):
    archive, image_id = docker_save(good, ("me/app:1", "me/app:2"), links)
    bare("load", input=archive)
    assert bare.inspect("me/app:2")["Id"] == bare.inspect("me/app:1")["Id"] == image_id
    assert bare.run("me/app:1", "/bin/sh", "-c", "echo runs").stdout == "runs\n"
    assert not bare.damaged_blobs()


def test_a_damaged_docker_archive_is_refused_whole(bare, good):
    archive, _ = docker_save(good)
    wrong_layer = archive.replace(b"root:x:0:0:root", b"toor:x:0:0:root")
    assert wrong_layer != archive
    assert "layer" in bare("load", input=wrong_layer, code=7).error
    assert "lists no images" in bare("load", input=tar_of(("manifest.json", "file", b"[]")), code=7).error
    lacks = tar_of(("manifest.json", "file", b'[{"Config": "a.json", "Layers": []}]'))
    assert "lacks 'a.json'" in bare("load", input=lacks, code=7).error
    loop = tar_of(("a.json", "sym", "b.json"), ("b.json", "sym", "a.json"),
                  ("manifest.json", "file", b'[{"Config": "a.json", "Layers": []}]'))
    assert "lacks 'a.json'" in bare("load", input=loop, code=7).error
    assert "neither index.json nor manifest.json" in bare("load", input=tar_of(("x", "file", b"")), code=2).error
    assert bare.images() == []


def test_a_directory_that_is_no_layout_is_refused(bare):
    refused = bare.load(bare.directory(), code=None)
    assert refused.code in (2, 7) and "no OCI layout" in refused.error
    assert "nowhere" in bare.load("nowhere", code=2).error


def test_blobs_in_any_order_are_loaded(bare, good):
    shuffled = Maker()
    shuffled.files = dict(sorted(good.files.items(), key=lambda item: item[0], reverse=True))
    bare("load", input=shuffled.archive())
    assert bare.images()[0]["repo"] == "good"


@pytest.mark.parametrize("media", ["application/vnd.oci.image.layer.v1.tar",
                                   "application/vnd.oci.image.layer.v1.tar+gzip",
                                   "application/vnd.docker.image.rootfs.diff.tar.gzip"])
def test_layers_of_every_usual_kind_are_loaded(bare, busybox_program, media):
    maker = Maker().image(good_layer(busybox_program), ref="docker.io/library/kind:latest", media=media)
    bare("load", input=maker.archive())
    assert bare.run("kind", "/bin/busybox", "echo", "ok").stdout == "ok\n"


def test_a_damaged_blob_in_the_store_is_found_and_not_used(bare, good):
    """A store on a bad disk costs a message, never a wrong image."""
    bare("load", input=good.archive())
    blob = bare.store / good.path_of("layer")
    blob.write_bytes(flip(blob.read_bytes(), 5000))
    failed = bare.run_in("FROM good\nRUN echo x\n", code=None)
    assert failed.code in (7,), repr(failed)
    assert "digest" in failed.error or "damaged" in failed.error or "load" in failed.error


# ---- hostile layers ------------------------------------------------------------------------------

def built_on(lighter, layer_tars, code=None, line="RUN [\"/bin/busybox\", \"true\"]"):
    maker = Maker().image(*layer_tars, ref="docker.io/library/evil:latest")
    loaded = lighter("load", input=maker.archive(), code=None)
    if loaded.code:
        return loaded
    return lighter.run_in(f"FROM evil\n{line}\n", tag="result", code=code)


@pytest.fixture(params=["root", "rootless"])
def victim(request, lighters):
    return lighters(request.param)


def hostile(outside):
    up = "../" * 12
    inside = str(outside)[1:]
    return {
        "dots": [(f"{up}{inside}/evil", "file", b"x")],
        "dots in the middle": [("a", "dir", ""), (f"a/{up}{inside}/evil", "file", b"x")],
        "an absolute name": [(f"/{inside}/evil", "file", b"x")],
        "a symbolic link and a file through it": [("l", "sym", str(outside)), ("l/evil", "file", b"x")],
        "a relative link and a file through it": [("l", "sym", up + inside), ("l/evil", "file", b"x")],
        "a chain of links": [("a", "sym", "b"), ("b", "sym", str(outside)), ("a/evil", "file", b"x")],
        "a hard link to the host": [("h", "link", f"{up}{inside}/precious"), ("h", "file", b"x")],
        "an absolute hard link": [("h", "link", f"{outside}/precious"), ("h", "file", b"x")],
        "a hard link through a link": [("l", "sym", str(outside)), ("h", "link", "l/precious")],
        "a whiteout with dots": [(f"{up}{inside}/.wh.precious", "file", b"")],
        "a whiteout through a link": [("l", "sym", str(outside)), ("l/.wh.precious", "file", b"")],
        "an opaque mark through a link": [("l", "sym", str(outside)), ("l/.wh..wh..opq", "file", b"")],
        "a directory over a link": [("l", "sym", str(outside)), ("l", "dir", ""), ("l/evil", "file", b"x")],
        "a whiteout of dot dot": [("a", "dir", ""), ("a/.wh...", "file", b"")],
        "a whiteout of nothing": [("a", "dir", ""), ("a/.wh.", "file", b"")],
        "the root as a file": [(".", "file", b"x")],
        "the root as a link": [("./", "sym", str(outside)), ("evil", "file", b"x")],
        "a whiteout device": [("etc/passwd", "char", (0, 0))],
    }


@pytest.mark.parametrize("name", hostile("/x"))
def test_a_hostile_layer_writes_nothing_outside(victim, busybox_program, temp, name):
    outside = temp / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    outside.chmod(0o777)
    (outside / "precious").chmod(0o666)
    before = tree_of(outside)
    built_on(victim, [good_layer(busybox_program), tar_of(*hostile(outside)[name])])
    assert tree_of(outside) == before
    assert (outside / "precious").read_text() == "precious"
    assert victim.damaged_blobs() == []


def test_a_hostile_layer_stops_no_later_build(victim, busybox_program, good):
    built_on(victim, [good_layer(busybox_program), tar_of((".", "file", b"x"))])
    victim("load", input=good.archive())
    victim.run_in('FROM good\nRUN ["/bin/busybox", "true"]\n')


def test_a_symlinked_mount_point_does_not_lead_a_mount_away(victim, busybox_program, temp):
    """/proc, /dev, /sys, /etc/hosts as links: the sandbox mounts inside the image or refuses."""
    for name in ("proc", "dev", "sys", "etc/hosts", "etc/resolv.conf"):
        members = [("etc", "dir", "")] if name.startswith("etc") else []
        built_on(victim, [good_layer(busybox_program),
                          tar_of(*members, (name, "sym", str(temp)))])
        assert list(temp.iterdir()) == []


def test_overlays_own_attributes_in_a_layer_are_not_obeyed(victim, busybox_program):
    info = tarfile.TarInfo("etc")
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    info.pax_headers = {"SCHILY.xattr.trusted.overlay.opaque": "y",
                        "SCHILY.xattr.user.overlay.opaque": "y",
                        "SCHILY.xattr.trusted.overlay.redirect": "/bin"}
    result = built_on(victim, [good_layer(busybox_program), tar_of(info)],
                      line='RUN ["/bin/busybox", "cat", "/etc/passwd"]')
    assert result.code == 0, repr(result)
    assert any(line.startswith("root:") for line in result.log)


def test_setuid_and_sticky_bits_of_a_base_are_kept(victim, busybox_program):
    info = tarfile.TarInfo("tool")
    info.mode, info.uid, info.gid = 0o4750, 5, 6
    result = built_on(victim, [good_layer(busybox_program), tar_of(info)],
                      line='RUN ["/bin/busybox", "stat", "-c", "is=%a:%u:%g", "/tool"]')
    assert result.said("is") == "4750:5:6"


def test_a_layer_bomb_is_not_read_into_memory(bare, busybox_program):
    """200 MB of zeroes are 200 kB packed: lighter streams them."""
    info = tarfile.TarInfo("zeroes")
    info.size = 200 << 20
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    maker = Maker().image(good_layer(busybox_program), out.getvalue(),
                          ref="docker.io/library/bomb:latest")
    loaded = bare("load", input=maker.archive(), watch=True)
    assert loaded.peak_kib <= 32 * 1024


def test_whiteouts_and_opaque_marks_of_a_base_are_obeyed(victim, busybox_program):
    below = tar_of(("d", "dir", ""), ("d/old", "file", b"x"), ("e", "dir", ""), ("e/gone", "file", b"x"),
                   ("e/kept", "file", b"x"))
    above = tar_of(("d", "dir", ""), ("d/new", "file", b"x"), ("d/.wh..wh..opq", "file", b""),
                   ("e/.wh.gone", "file", b""))
    result = built_on(victim, [good_layer(busybox_program), below, above],
                      line='RUN ["/bin/busybox", "find", "/d", "/e"]')
    assert sorted(result.log) == ["/d", "/d/new", "/e", "/e/kept"]
    files = Image(victim.image("result").layout).rootfs()
    assert files["d"][0].isdir()
    assert "d/old" not in files and "e/gone" not in files
