"""Where results go: -o in each form, --load, --push, styles of images; read back by other tools."""

import hashlib
import http.server
import io
import json
import os
import socketserver
import subprocess
import tarfile
import threading
import urllib.parse

import pytest

from harness import Image, plain_name
from servers import crane, skopeo
from test_interop import Podman, podman_or_skip  # noqa: F401
from test_interop import known_good, short_place  # noqa: F401  fixtures

DOCKERFILE = """\
FROM busybox
COPY f /copied/
RUN echo made >/made && ln /made /hard && ln -s made /soft && chmod 4755 /made && chown 12:34 /copied/f && \
    rm /etc/group && mkdir /sticky && chmod 1777 /sticky
ENV GREETING=hello
CMD ["sh", "-c", "echo $GREETING"]
"""
FILES = {"f": "from the context\n"}
REF = "docker.io/library/out:latest"

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


@pytest.fixture
def project(lighter):
    return lighter.context(FILES)


def blobs_of(archive):
    with tarfile.open(archive) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}


def unpacked(layout):
    """The descriptors of an image's layers and what their bytes are unpacked, by the tools of others."""
    image = Image(layout)
    tools = {"gzip": ["gzip", "-dc"], "zstd": ["zstd", "-dc"], "": ["cat"]}
    plain = []
    for layer in image.manifest["layers"]:
        kind = layer["mediaType"].rpartition("+")[2] if "+" in layer["mediaType"] else \
            "gzip" if layer["mediaType"].endswith("gzip") else ""
        plain.append(subprocess.run(tools[kind], input=image.blob(layer), check=True,
                                    stdout=subprocess.PIPE).stdout)
    return image, plain


# ---- archives and layouts ------------------------------------------------------------------------

def test_an_oci_archive_and_a_layout_hold_the_same_image(lighter, project, temp):
    lighter.build(project, "-o", f"type=oci,dest={temp}/a.tar", "-o", f"type=oci,dest={temp}/dir,tar=false",
                  dockerfile=DOCKERFILE, tag="out")
    image = Image(temp / "dir", REF)
    assert image.layers and image.id == lighter.inspect("out")["Id"]
    for source in (f"oci-archive:{temp}/a.tar:{REF}", f"oci:{temp}/dir:{REF}"):
        assert json.loads(skopeo("inspect", source))["Digest"] == image.digest
    assert blobs_of(temp / "a.tar")["blobs/sha256/" + image.digest[7:]] == \
        image.blob(image.entry)


def test_an_archive_goes_to_stdout(lighter, project):
    done = lighter.start("build", "-q", "-o", "type=oci", "-f", "-", project, stdin=subprocess.PIPE)
    out, err = done.communicate(DOCKERFILE.encode(), timeout=60)
    assert done.returncode == 0, err
    assert out.endswith(bytes(1024)), "something follows the archive"
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert "index.json" in tar.getnames()


def test_dockers_archive_is_what_docker_save_writes(lighter, project, temp):
    lighter.build(project, "-t", "me/two:v2", "-o", f"type=docker,dest={temp}/d.tar", dockerfile=DOCKERFILE,
                  tag="out")
    files = blobs_of(temp / "d.tar")
    manifest, = json.loads(files["manifest.json"])
    assert sorted(manifest["RepoTags"]) == ["me/two:v2", "out:latest"]
    config = files[manifest["Config"]]
    assert "sha256:" + hashlib.sha256(config).hexdigest() == lighter.inspect("out")["Id"]
    assert len(manifest["Layers"]) == len(json.loads(config)["rootfs"]["diff_ids"])
    assert set(manifest["Layers"]) <= set(files)
    assert set(json.loads(files["repositories"])) == {"out", "me/two"}
    index = json.loads(files["index.json"])
    media = json.loads(files["blobs/sha256/" + index["manifests"][0]["digest"][7:]])["mediaType"]
    assert media == DOCKER + "distribution.manifest.v2+json"


@pytest.mark.parametrize("dir_form", [False, True])
def test_skopeo_reads_dockers_archive_and_writes_one_that_lighter_reads(lighter, project, temp, dir_form, bare):
    lighter.build(project, "-o", f"type=docker,dest={temp}/d{',tar=false,oci-mediatypes=true' if dir_form else '.tar'}",
                  dockerfile=DOCKERFILE, tag="out")
    source = f"oci:{temp}/d:{REF}" if dir_form else f"docker-archive:{temp}/d.tar:out:latest"
    seen = json.loads(skopeo("inspect", "--config", source))
    assert "GREETING=hello" in seen["config"]["Env"]
    skopeo("copy", "-q", source, f"docker-archive:{temp}/back.tar:out:latest")
    bare.load(temp / "back.tar")
    assert bare.run("out").stdout == "hello\n"
    assert bare.inspect("out")["RootFS"]["Layers"] == lighter.inspect("out")["RootFS"]["Layers"]


def test_save_writes_dockers_archive_of_several_images_and_load_takes_it_back(lighter, project, temp, bare):
    lighter.build(project, dockerfile=DOCKERFILE, tag="out")
    lighter("save", "--format", "docker-archive", "-o", temp / "two.tar", "out", "busybox")
    bare.load(temp / "two.tar")
    for name in ("out", "busybox"):
        assert bare.inspect(name)["Id"] == lighter.inspect(name)["Id"]


def test_podman_loads_dockers_archive(lighters, bases, known_good, needs, short_place, temp):  # noqa: F811
    needs("podman", "unshare", "setpriv")
    lighter = lighters(bases=[bases("alpine")])
    lighter.build(lighter.context(FILES), "-o", f"type=docker,dest={temp}/d.tar", tag="out",
                  dockerfile=DOCKERFILE.replace("busybox", "alpine"))
    podman = podman_or_skip(known_good, short_place, None)
    done = podman.script(("load", "-q", "-i", temp / "d.tar"), ("image", "inspect", "--format", "{{.Id}}", "out"))
    podman.script(("system", "migrate"))
    assert done.returncode == 0, done.stderr
    assert lighter.inspect("out")["Id"].split(":")[1] in done.stdout


def test_nothing_is_left_where_an_archive_could_not_be_written(lighter, project, temp):
    refused = lighter.build(project, "-o", f"type=oci,dest={temp}/no/such/a.tar", dockerfile=DOCKERFILE,
                            code=None)
    assert refused.code != 0 and f"{temp}/no/such" in refused.error
    assert list(temp.iterdir()) == []


# ---- media types, compression, levels ------------------------------------------------------------

@pytest.mark.parametrize("words, media", [
    ("compression=gzip", "layer.v1.tar+gzip"),
    ("compression=gzip,compression-level=1", "layer.v1.tar+gzip"),
    ("compression=gzip,compression-level=0", "layer.v1.tar+gzip"),
    ("compression=gzip,compression-level=9", "layer.v1.tar+gzip"),
    ("compression=zstd", "layer.v1.tar+zstd"),
    ("compression=zstd,compression-level=12", "layer.v1.tar+zstd"),
    ("compression=uncompressed", "layer.v1.tar"),
])
def test_each_compression_holds_the_same_bytes(lighter, project, needs, temp, words, media):
    needs("zstd")
    lighter.build(project, "-o", f"type=oci,dest={temp}/one,tar=false,force-compression=true,{words}",
                  dockerfile=DOCKERFILE, tag="out")
    image, plain = unpacked(temp / "one")
    assert ["sha256:" + hashlib.sha256(p).hexdigest() for p in plain] == image.config["rootfs"]["diff_ids"]
    assert {layer["mediaType"] for layer in image.manifest["layers"]} == {OCI + media}
    assert image.id == lighter.inspect("out")["Id"], "the style is no part of the image's ID"
    json.loads(skopeo("inspect", f"oci:{temp}/one"))


def test_a_level_changes_the_size_and_no_byte_of_the_content(lighter, temp):
    text = "".join(f"line {n * 7919 % 10007}\n" for n in range(60000))
    sizes = {}
    for level in (0, 1, 6, 9):
        lighter.build(lighter.context({"f": text}, "ctx"), "-o",
                      f"type=oci,dest={temp}/{level},tar=false,compression=gzip,compression-level={level}",
                      dockerfile="FROM scratch\nCOPY f /\n")
        sizes[level] = Image(temp / str(level)).manifest["layers"][0]["size"]
    assert sizes[0] > len(text) > sizes[1] > sizes[6] >= sizes[9]


def test_a_bases_layers_stay_as_they_came_unless_forced(lighter, project, temp):
    base = lighter.image("busybox").manifest["layers"]
    out = f"type=oci,dest={temp}/one,tar=false,compression=uncompressed"
    lighter.build(project, "-o", out, dockerfile=DOCKERFILE)
    layers = Image(temp / "one").manifest["layers"]
    assert layers[:len(base)] == base and layers[-1]["mediaType"] == OCI + "layer.v1.tar"


def test_dockers_media_types_are_dockers_everywhere(lighter, project, temp, servers):
    front = servers.front()
    ref = f"{front.host}/team/app:v2s2"
    lighter.build(project, "-o", f"type=image,name={ref},push=true,oci-mediatypes=false",
                  dockerfile=DOCKERFILE)
    crane("validate", "--insecure", "--remote", ref)
    manifest = json.loads(crane("manifest", "--insecure", ref))
    assert manifest["mediaType"] == DOCKER + "distribution.manifest.v2+json"
    assert manifest["config"]["mediaType"] == DOCKER + "container.image.v1+json"
    assert {layer["mediaType"] for layer in manifest["layers"]} == {DOCKER + "image.rootfs.diff.tar.gzip"}


@pytest.mark.parametrize("words", ["compression=gzip", "compression=gzip,compression-level=1",
                                   "compression=zstd"])
def test_one_thread_and_four_write_the_same_bytes(lighters, needs, temp, words):
    needs("taskset")
    digests = []
    for number in range(2):
        lighter = lighters()
        text = bytes(n * n % 251 for n in range(5 << 20))
        lighter.build(lighter.context({"f": text}), "--epoch=content", "-o",
                      f"type=oci,dest={temp}/{number},tar=false,{words}",
                      dockerfile="FROM scratch\nCOPY --chmod=644 f /\n",
                      before=["taskset", "-c", "0"] if number else [])
        digests.append(Image(temp / str(number)).digest)
    assert digests[0] == digests[1]


# ---- annotations ---------------------------------------------------------------------------------

def test_annotations_are_where_they_were_asked_for(lighter, project, temp):
    lighter.build(project, "--platform", "linux/amd64,linux/arm64", "--annotation", "plain=1",
                  "--annotation", "index,manifest:both=2", "--annotation", "manifest[linux/arm64]:arm=3",
                  "--annotation", "manifest-descriptor:entry=4", "--annotation", "index-descriptor:top=5",
                  "-o", f"type=oci,dest={temp}/dir,tar=false,annotation.own=6",
                  dockerfile="FROM scratch\nCOPY f /\n", tag="out")
    top = json.loads((temp / "dir" / "index.json").read_text())["manifests"][0]
    blob = lambda d: json.loads((temp / "dir/blobs/sha256" / d["digest"][7:]).read_bytes())  # noqa: E731
    index = blob(top)
    by_arch = {d["platform"]["architecture"]: d for d in index["manifests"]}
    assert index["annotations"] == {"both": "2"}
    assert top["annotations"]["top"] == "5"
    assert all(d["annotations"] == {"entry": "4"} for d in by_arch.values())
    common = {"plain": "1", "both": "2", "own": "6"}
    assert blob(by_arch["amd64"])["annotations"] == common
    assert blob(by_arch["arm64"])["annotations"] == {**common, "arm": "3"}


def test_an_annotation_without_an_output_is_on_what_is_pushed_later(lighter, project, servers):
    front = servers.front()
    lighter.build(project, "--annotation", "org.opencontainers.image.title=it=me", dockerfile=DOCKERFILE,
                  tag="out")
    lighter("push", "out", f"{front.host}/a/b:1")
    manifest = json.loads(crane("manifest", "--insecure", f"{front.host}/a/b:1"))
    assert manifest["annotations"] == {"org.opencontainers.image.title": "it=me"}


def test_dockers_media_types_take_no_annotation(lighter, project, temp):
    refused = lighter.build(project, "--annotation", "a=b", "-o", f"type=docker,dest={temp}/x",
                            dockerfile=DOCKERFILE, code=2)
    assert "docker's media types know no annotations" in refused.error


# ---- registries ----------------------------------------------------------------------------------

def test_type_registry_pushes_under_each_name(lighter, project, servers):
    front = servers.front()
    names = [f"{front.host}/team/app:{tag}" for tag in ("v1", "latest")]
    lighter.build(project, "-o", f'type=registry,"name={",".join(names)}"', dockerfile=DOCKERFILE)
    first, second = (crane("digest", "--insecure", name) for name in names)
    assert first == second
    assert len([row for row in lighter.images() if row["repo"].endswith("team/app")]) == 2


def test_push_by_digest_sets_no_tag(lighter, project, servers, temp):
    front = servers.front()
    lighter.build(project, "-o", f"type=image,name={front.host}/team/app,push=true,push-by-digest=true",
                  "--metadata-file", temp / "meta.json", dockerfile=DOCKERFILE)
    digest = json.loads((temp / "meta.json").read_text())["containerimage.digest"]
    crane("validate", "--insecure", "--remote", f"{front.host}/team/app@{digest}")
    crane("digest", "--insecure", f"{front.host}/team/app:latest", code=1)


def test_a_push_that_is_refused_is_told_before_anything_is_built(lighter, project, servers):
    front = servers.front(auth="token", anonymous=True)
    refused = lighter.build(project, "-o", f"type=registry,name={front.host}/team/app",
                            dockerfile=DOCKERFILE, code=4)
    assert refused.ran == [] and front.host in refused.error


# ---- file systems --------------------------------------------------------------------------------

def test_a_tar_holds_the_file_system(lighter, project, temp):
    lighter.build(project, "-o", f"type=tar,dest={temp}/root.tar", dockerfile=DOCKERFILE, tag="out")
    expected = lighter.image("out").rootfs()
    with tarfile.open(temp / "root.tar") as tar:
        found = {plain_name(info.name): info for info in tar}
        found.pop("", None)
        assert sorted(found) == sorted(expected)
        for name, (info, data) in expected.items():
            got = found[name]
            assert (got.mode, got.uid, got.gid, int(got.mtime)) == (info.mode, info.uid, info.gid, int(info.mtime)), name
            if data is not None:
                assert tar.extractfile(got).read() == data, name
    assert found["soft"].issym() and "etc/group" not in found


def test_dash_is_a_tar_on_stdout(lighter, project):
    done = lighter.start("build", "-q", "-o", "-", "-f", "-", project, stdin=subprocess.PIPE)
    out, err = done.communicate(DOCKERFILE.encode(), timeout=60)
    assert done.returncode == 0, err
    assert out.endswith(bytes(1024)), "something follows the archive"
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert tar.extractfile("copied/f").read() == FILES["f"].encode()


@pytest.mark.parametrize("word", ["{}", "type=local,dest={}"])
def test_a_directory_holds_files_of_the_caller(lighter, project, temp, word):
    out = lighter.directory("bin-out")
    lighter.build(project, "-o", word.format(out), dockerfile=DOCKERFILE)
    assert (out / "copied/f").read_text() == FILES["f"]
    assert (out / "made").stat().st_mode & 0o7777 == 0o4755
    assert os.path.samefile(out / "made", out / "hard") and os.readlink(out / "soft") == "made"
    assert (out / "sticky").stat().st_mode & 0o7777 == 0o1777
    assert {path.lstat().st_uid for path in out.rglob("*")} == {out.stat().st_uid}
    assert not list(out.rglob(".lighter-unfinished"))


def test_a_local_output_follows_no_link_that_lies_there(lighter, temp):
    out, outside = lighter.directory(), lighter.directory()
    os.symlink(outside, out / "dir")
    os.symlink(outside / "victim", out / "file")
    lighter.build(lighter.context({"d/x": "1", "file": "2"}), "-o", out,
                  dockerfile="FROM scratch\nCOPY d /dir\nCOPY file /file\n")
    assert list(outside.iterdir()) == []
    assert (out / "dir/x").read_text() == "1" and (out / "file").read_text() == "2"
    assert not (out / "dir").is_symlink() and not (out / "file").is_symlink()


def test_a_local_output_adds_to_what_is_there(lighter):
    out = lighter.directory()
    (out / "kept").write_text("mine")
    (out / "f").write_text("old")
    lighter.build(lighter.context(FILES), "-o", out, dockerfile="FROM scratch\nCOPY f /\n")
    assert (out / "kept").read_text() == "mine" and (out / "f").read_text() == FILES["f"]


def test_names_that_lighter_uses_itself_are_names(lighter):
    out = lighter.directory()
    lighter.build(lighter.context({".lighter-unfinished": "1", ".wh.x": "2", "d/.lighter-unfinished": "3"}), "-o", out,
                  dockerfile="FROM scratch\nCOPY .lighter-unfinished /\nCOPY d /.lighter-unfinished-2\n")
    assert (out / ".lighter-unfinished").read_text() == "1"
    assert (out / ".lighter-unfinished-2/.lighter-unfinished").read_text() == "3"


def test_a_device_cannot_go_to_a_directory_and_goes_to_a_tar(lighters, bases, needs_root, temp):
    lighter = lighters("root", bases=[bases("busybox")])
    text = "FROM busybox\nRUN mknod /dev-null c 1 3\n"
    refused = lighter.run_in(text, "-o", temp / "dir", code=2)
    assert "'/dev-null' is a device node" in refused.error and "type=tar" in refused.error
    lighter.run_in(text, "-o", f"type=tar,dest={temp}/x.tar")
    with tarfile.open(temp / "x.tar") as tar:
        assert tar.getmember("dev-null").ischr()


def test_rootless_files_belong_to_the_caller_and_the_tar_to_root(lighters, bases, temp):
    lighter = lighters("rootless", bases=[bases("busybox")])
    out = lighter.directory()
    lighter.build(lighter.context(FILES), "-o", out / "dir", "-o", f"type=tar,dest={out}/x.tar",
                  dockerfile=DOCKERFILE)
    owner = lighter.account.uid if lighter.account else os.getuid()
    assert {path.lstat().st_uid for path in (out / "dir").rglob("*")} == {owner}
    with tarfile.open(out / "x.tar") as tar:
        assert tar.getmember("made").uid == 0 and tar.getmember("copied/f").uid == 12


# ---- nothing, names, reports ---------------------------------------------------------------------

def test_cacheonly_names_nothing_and_keeps_the_steps(lighter, project):
    lighter.build(project, "-o", "type=cacheonly", dockerfile=DOCKERFILE, tag="out")
    assert {row["repo"] for row in lighter.images()} == {"busybox", "<none>"}
    assert lighter.build(project, dockerfile=DOCKERFILE).ran == []


def test_the_metadata_file_has_what_buildx_writes(lighter, project, servers, temp):
    front = servers.front()
    ref = f"{front.host}/team/app:v1"
    lighter.build(project, "--push", "--metadata-file", temp / "m.json", "--iidfile", temp / "iid",
                  dockerfile=DOCKERFILE, tag=ref)
    meta = json.loads((temp / "m.json").read_text())
    assert meta["containerimage.digest"] == crane("digest", "--insecure", ref).strip()
    assert meta["containerimage.config.digest"] == lighter.inspect(ref)["Id"]
    assert meta["containerimage.descriptor"]["digest"] == meta["containerimage.digest"]
    assert meta["containerimage.descriptor"]["mediaType"] == OCI + "manifest.v1+json"
    assert meta["image.name"] == ref and meta["buildx.build.ref"]


def test_squash_makes_one_layer_of_all_that_are_built(lighter, project, temp):
    plain = lighter.build(project, dockerfile=DOCKERFILE, tag="plain")
    lighter.build(project, "--squash", dockerfile=DOCKERFILE, tag="flat")
    assert plain.ran
    many, one = lighter.image("plain"), lighter.image("flat")
    nbase = len(lighter.image("busybox").layers)
    assert len(one.layers) == nbase + 1 < len(many.layers)
    expected, found = many.rootfs(), one.rootfs()
    assert sorted(expected) == sorted(found)
    for name, (info, data) in expected.items():
        got = found[name][0]
        assert (info.mode, info.uid, info.gid, info.issym(), data) == \
            (got.mode, got.uid, got.gid, got.issym(), found[name][1]), name
    assert len(one.config["history"]) == len(many.config["history"]) + 1
    assert sum(not entry.get("empty_layer") for entry in one.config["history"]) == nbase + 1
    assert lighter.build(project, "--squash", dockerfile=DOCKERFILE).ran == []


# ---- engines on sockets --------------------------------------------------------------------------

class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The two requests of docker's API that lighter makes, over a unix socket."""
    daemon_threads = True

    def __init__(self, path):
        self.loaded, self.images, self.fails = [], {}, None
        super().__init__(str(path), EngineHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class EngineHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "unix"

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.fails:
            return self.answer(200, json.dumps({"error": self.server.fails}).encode() + b"\r\n")
        self.server.loaded.append(body)
        return self.answer(200, b'{"stream":"Loaded image"}\n')

    def do_GET(self):
        name = urllib.parse.unquote(self.path.removeprefix("/images/").removesuffix("/get"))
        if name not in self.server.images:
            return self.answer(404, b'{"message":"No such image: ' + name.encode() + b'"}')
        return self.answer(200, self.server.images[name], "application/x-tar")


@pytest.fixture
def engine(temp):
    made = Engine(temp / "docker.sock")
    (temp / "docker.sock").chmod(0o666)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def engine_env(engine):
    return {"DOCKER_HOST": f"unix://{engine.server_address}"}


@pytest.mark.parametrize("words", [["--load"], ["-o", "type=docker"]])
def test_load_gives_the_image_to_the_engine(lighter, project, engine, engine_env, words):
    lighter.build(project, *words, dockerfile=DOCKERFILE, tag="out", env=engine_env)
    archive, = engine.loaded
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        manifest, = json.load(tar.extractfile("manifest.json"))
    assert manifest["RepoTags"] == ["out:latest"]
    assert "sha256:" + manifest["Config"].rpartition("/")[2] == lighter.inspect("out")["Id"]


def test_an_engine_that_refuses_is_quoted(lighter, project, engine, engine_env):
    engine.fails = "no space left on device"
    refused = lighter.build(project, "--load", dockerfile=DOCKERFILE, env=engine_env, code=4)
    assert "no space left on device" in refused.error


def test_an_engine_that_is_not_there_is_named_before_the_build(lighter, project, temp):
    refused = lighter.build(project, "--load", dockerfile=DOCKERFILE, code=6,
                            env={"DOCKER_HOST": f"unix://{temp}/none.sock"})
    assert f"{temp}/none.sock" in refused.error and refused.ran == []
    refused = lighter.build(project, "--load", dockerfile=DOCKERFILE, code=6,
                            env={"DOCKER_HOST": "tcp://127.0.0.1:2375"})
    assert "unix://" in refused.error


def test_load_without_an_engine_says_where_the_image_is(lighter, project, temp):
    if os.path.exists("/var/run/docker.sock") or os.path.exists("/run/podman/podman.sock"):
        pytest.skip("an engine listens on this machine")
    done = lighter.build(project, "--load", dockerfile=DOCKERFILE, tag="out", env={"PATH": str(temp)})
    assert "neither docker nor podman is here" in done.stderr


@pytest.mark.parametrize("context", ["docker-image://mine:1", "docker-daemon:mine:1"])
def test_a_base_comes_from_the_engine_where_no_registry_gives_it(bare, lighters, bases, engine, engine_env, temp,
                                                                 context):
    maker = lighters(bases=[bases("busybox")])
    maker("tag", "busybox", "mine:1")
    maker("save", "--format", "docker-archive", "-o", temp / "mine.tar", "mine:1")
    engine.images["mine:1"] = (temp / "mine.tar").read_bytes()
    words = ["--build-context", f"base={context}", "--offline"]
    done = bare.run_in("FROM base\nRUN echo ran >/x\n", *words, env=engine_env)
    assert done.ran and engine.server_address in done.stderr
    missing = bare.run_in("FROM base\n", "--build-context", f"base={context}x", "--offline", env=engine_env,
                          code=4)
    assert "mine:1x" in missing.error


def test_podman_is_given_the_image_as_a_program(lighter, project, temp):
    """A stand-in for podman's program that keeps what it is given."""
    tools = lighter.context({"podman": ('#!/bin/sh\n[ "$*" = "load -q" ] || exit 9\nexec /bin/cat >"$0.got"\n',
                                        0o755)})
    if os.path.exists("/var/run/docker.sock") or os.path.exists("/run/podman/podman.sock"):
        pytest.skip("an engine listens on this machine")
    lighter.build(project, "--load", dockerfile=DOCKERFILE, tag="out", env={"PATH": str(tools)})
    manifest, = json.loads(blobs_of(tools / "podman.got")["manifest.json"])
    assert manifest["RepoTags"] == ["out:latest"]
    (tools / "podman").write_text("#!/bin/sh\nexit 3\n")
    refused = lighter.build(project, "--load", dockerfile=DOCKERFILE, env={"PATH": str(tools)}, code=6)
    assert "'podman load' failed (exit code 3)" in refused.error
