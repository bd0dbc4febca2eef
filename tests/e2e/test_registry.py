"""Images to and from real registries, each also behind TLS and tokens, read by independent clients."""

import contextlib
import hashlib
import http.client
import json
import re
import sqlite3
import subprocess

import pytest

from harness import Image
from servers import crane, docker_config, skopeo

DOCKERFILE = """\
FROM {base}
RUN dd if=/dev/zero bs=1024 count=300 2>/dev/null | tr '\\0' x > /big && echo made > /made
COPY f /copied
CMD ["cat", "/made", "/copied"]
"""


@pytest.fixture(params=["distribution", "olareg", "crane"])
def kind(request):
    return request.param


@pytest.fixture(params=["plain", "tls+token"])
def registry(request, servers, kind):
    """A front before each of three registries."""
    backend = servers.backend(kind)
    if request.param == "plain":
        return servers.front(backend)
    return servers.front(backend, tls=True, auth="token")


def log_in(lighter, registry):
    if registry.auth:
        docker_config(lighter, registry.host)


def client_config(temp, registry):
    """Credentials for other clients, as environment."""
    (temp / "config.json").write_text(json.dumps({"auths": {registry.host: {
        "auth": "bWU6bXktc2VjcmV0"}}} if registry.auth else {}))
    return {"PATH": "/usr/bin:/bin", "HOME": str(temp), "DOCKER_CONFIG": str(temp),
            "REGISTRY_AUTH_FILE": str(temp / "config.json")}


def layers_of(front, repo, tag):
    manifest = json.loads(crane("manifest", "--insecure", f"{front.backend.host}/{repo}:{tag}"))
    return manifest


# ---- there and back ------------------------------------------------------------------------------

def test_what_is_pushed_is_what_independent_clients_read(lighter, registry, temp):
    log_in(lighter, registry)
    ref = f"{registry.host}/team/app:v1"
    lighter.run_in(DOCKERFILE.format(base="busybox"), "--tag", ref, files={"f": "from the context\n"})
    done = lighter("push", ref)
    digest = done.stdout.split()[-1]
    env = client_config(temp, registry)
    crane("validate", "--insecure", "--remote", ref, env=env)
    assert crane("digest", "--insecure", ref, env=env).strip() == digest
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{ref}", env=env))
    assert seen["Digest"] == digest
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{ref}", env=env)
    assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == digest
    assert json.loads(raw) == lighter.image(ref).manifest


def test_what_others_push_is_pulled_byte_for_byte(lighters, registry, bases, temp):
    lighter = lighters()
    log_in(lighter, registry)
    ref = f"{registry.host}/team/base:v1"
    env = client_config(temp, registry)
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{bases('busybox')}", f"docker://{ref}", env=env)
    digest = crane("digest", "--insecure", ref, env=env).strip()
    assert lighter("pull", ref).stdout.split() == [ref, digest]
    image = lighter.image(ref)
    assert image.digest == digest
    assert image.manifest == Image(bases("busybox")).manifest
    built = lighter.run_in(f"FROM {ref}\nRUN echo it=runs", "--offline")
    assert built.said("it") == "runs"


def test_a_second_push_sends_no_layer_byte(lighter, registry):
    log_in(lighter, registry)
    ref = f"{registry.host}/team/app:v1"
    lighter.run_in(DOCKERFILE.format(base="busybox"), "--tag", ref, files={"f": "x"})
    lighter("push", ref)
    assert registry.layer_bytes_up > 1_000_000
    registry.forget()
    lighter("push", ref)
    assert registry.layer_bytes_up == 0
    assert not registry.requests("POST", "mount=")


def test_a_sibling_repository_gets_its_layers_by_mount(lighter, registry, temp):
    log_in(lighter, registry)
    ref, other = f"{registry.host}/team/app:v1", f"{registry.host}/team/copy:v2"
    lighter.run_in(DOCKERFILE.format(base="busybox"), "--tag", ref, files={"f": "x"})
    lighter("push", ref)
    registry.forget()
    done = lighter("push", ref, other)
    layers = len(lighter.inspect(ref)["RootFS"]["Layers"])
    assert registry.layer_bytes_up < 10_000  # the image's config at most
    if registry.backend.mounts:
        assert len(registry.requests("POST", "mount=.*&from=team/app")) == layers
        assert done.stderr.count("mounted sha256:") == layers
    else:  # its repositories share all blobs
        assert done.stderr.count("there is sha256:") == layers + 1
    crane("validate", "--insecure", "--remote", other, env=client_config(temp, registry))


def test_a_base_of_the_same_registry_is_mounted_and_never_fetched(lighters, registry, bases, temp):
    """Nothing runs on the base and the registry has its layers: no byte of them need travel."""
    if not registry.backend.mounts:
        pytest.skip("crane registry serve does not mount")
    lighter = lighters()
    log_in(lighter, registry)
    env = client_config(temp, registry)
    base, ref = f"{registry.host}/team/base:v1", f"{registry.host}/team/app:v1"
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{bases('busybox')}", f"docker://{base}", env=env)
    registry.forget()
    lighter.run_in(f"FROM {base}\nENV A=b\nLABEL x=y\nCOPY --link f /f", "--tag", ref, "--push", files={"f": "x"})
    assert registry.blob_bytes_down < 5_000 and registry.layer_bytes_up < 5_000
    crane("validate", "--insecure", "--remote", ref, env=env)


# ---- laziness ------------------------------------------------------------------------------------

@pytest.fixture
def plain(servers):
    return servers.front()


def put_base(front, bases, name="busybox", repo="lib/base", tag="v1"):
    ref = f"{front.host}/{repo}:{tag}"
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{bases(name)}", f"docker://{ref}")
    front.forget()
    return ref


def test_a_cached_build_asks_nobody_and_an_unpacked_base_is_never_fetched_again(bare, plain, bases):
    ref = put_base(plain, bases)
    text = f"FROM {ref}\nRUN echo x > /x"
    bare.run_in(text)
    assert len(plain.requests("GET", "/manifests/")) == 1
    assert plain.blob_bytes_down > 1_000_000
    plain.forget()
    again = bare.run_in(text)
    assert again.ran == [] and plain.log == []
    bare.run_in(f"FROM {ref}\nRUN echo y > /y")
    assert plain.log == []


def test_a_base_on_which_nothing_runs_is_not_fetched(bare, plain, bases):
    ref = put_base(plain, bases)
    bare.run_in(f"FROM {ref}\nCOPY --link f /f\nENV A=b", files={"f": "x"})
    got = plain.requests("GET", "/blobs/")
    assert len(got) == 1 and plain.blob_bytes_down < 2_000  # the config


def test_pull_asks_what_a_tag_means_with_one_head(bare, plain, bases):
    ref = put_base(plain, bases)
    text = f"FROM {ref}\nRUN echo x > /x"
    bare.run_in(text)
    plain.forget()
    bare.run_in(text, "--pull")
    assert [seen.method for seen in plain.requests(pattern="/v2/lib/")] == ["HEAD"]
    put_base(plain, bases, "alpine")
    moved = bare.run_in(f"FROM {ref}\nRUN cat /etc/os-release | head -n 1")
    assert plain.log == []  # the tag that is here wins
    moved = bare.run_in(f"FROM {ref}\nRUN echo x > /x", "--pull")
    assert moved.ran == ["RUN echo x > /x"]
    assert len(plain.requests("GET", "/manifests/")) == 1


def test_a_digest_is_never_asked_for_twice(bare, plain, bases):
    ref = put_base(plain, bases)
    digest = crane("digest", "--insecure", ref).strip()
    text = f"FROM {plain.host}/lib/base@{digest}\nRUN echo x > /x"
    bare.run_in(text)
    plain.forget()
    bare.run_in(text, "--pull")
    assert plain.log == []


def test_save_fetches_what_is_missing_and_offline_it_says_so(bare, plain, bases):
    ref = put_base(plain, bases)
    bare("pull", "--lazy", ref)
    assert plain.blob_bytes_down < 2_000
    failed = bare("save", "--offline", "-o", bare.home / "x.tar", ref, code=4)
    assert "--offline" in failed.error and not (bare.home / "x.tar").exists()
    assert bare("store", "check").code == 0
    image = bare.image(ref)
    assert image.manifest == Image(bases("busybox")).manifest and len(image.layers) == 2
    assert bare("store", "check").code == 0


def test_the_stores_layout_names_no_image_whose_layers_are_elsewhere(bare, plain, bases):
    ref = put_base(plain, bases)
    bare("pull", "--lazy", ref)
    assert json.loads((bare.store / "index.json").read_text())["manifests"] == []
    bare("pull", ref)
    assert json.loads(skopeo("inspect", f"oci:{bare.store}:{ref}"))["Layers"]


def test_a_layer_that_lost_its_bytes_is_fetched_again(bare, plain, bases):
    ref = put_base(plain, bases)
    bare("pull", ref)
    biggest = max((bare.store / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
    biggest.write_bytes(b"damaged")
    assert bare("store", "check", "--repair").code == 0
    assert bare.run(ref, "echo", "whole").stdout == "whole\n"
    assert bare.image(ref).manifest == Image(bases("busybox")).manifest
    assert bare("store", "check").code == 0


def test_run_pulls_an_image_that_is_not_here(bare, plain, bases):
    ref = put_base(plain, bases)
    assert bare.run(ref, "echo", "pulled").stdout == "pulled\n"


def test_a_build_context_can_be_an_image_of_a_registry(bare, plain, bases):
    ref = put_base(plain, bases)
    built = bare.run_in("FROM golang:1.22\nRUN echo it=runs", "--build-context", f"golang:1.22=docker-image://{ref}")
    assert built.said("it") == "runs"


def test_rootless_the_same_base_is_fetched_and_unpacked(lighters, plain, bases):
    lighter = lighters("rootless")
    ref = put_base(plain, bases)
    built = lighter.run_in(f"FROM {ref}\nRUN echo it=runs && chown 12:34 /etc/group", "--tag", f"{plain.host}/x/y:1", "--push")
    assert built.said("it") == "runs"
    crane("validate", "--insecure", "--remote", f"{plain.host}/x/y:1")


def test_what_prune_and_rmi_leave_of_a_pulled_image_is_enough_or_fetched_again(bare, plain, bases):
    ref = put_base(plain, bases)
    text = f"FROM {ref}\nRUN echo x >/x"
    bare.run_in(text)
    bare("prune", "--all", "--force")
    assert bare("store", "check").code == 0
    bare.run_in(text, "--offline")  # the layers' bytes stay while there is a tag
    bare("rmi", ref)
    bare("prune", "--all", "--force")
    assert bare("store", "check").code == 0
    plain.forget()
    assert bare.run_in(text).ran == ["RUN echo x >/x"]
    assert plain.blob_bytes_down > 1_000_000


def test_a_store_of_an_older_lighter_is_taken_over(bare, plain, bases):
    bare.load(bases("busybox"))
    with contextlib.closing(sqlite3.connect(bare.store / "meta.db")) as db:
        db.executescript("DROP TABLE origin; DROP TABLE doc; PRAGMA user_version = 2;")
    ref = put_base(plain, bases)
    bare("pull", ref)
    assert {row["repo"] for row in bare.images()} == {"busybox", ref.rpartition(":")[0]}
    assert bare("store", "check").code == 0


# ---- forms ---------------------------------------------------------------------------------------

def test_an_index_gives_this_machines_image(bare, plain, bases, temp):
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[subprocess.check_output(["uname", "-m"], text=True).strip()]
    put_base(plain, bases, repo="lib/multi", tag="native")
    native = f"{plain.host}/lib/multi:native"
    foreign = f"{plain.host}/lib/multi:foreign"
    crane("mutate", "--insecure", "--set-platform", "linux/s390x", "-t", foreign, native)
    crane("index", "append", "--insecure", "-m", foreign, "-m", native, "-t", f"{plain.host}/lib/multi:both")
    plain.forget()
    ref = f"{plain.host}/lib/multi:both"
    index = crane("digest", "--insecure", ref).strip()
    assert bare("pull", ref).stdout.split() == [ref, index]
    assert bare.inspect(ref)["Architecture"] == arch
    # By the index's digest too, and without a question.
    plain.forget()
    assert bare.run_in(f"FROM {plain.host}/lib/multi@{index}\nRUN echo it=runs").said("it") == "runs"
    assert plain.log == []
    other = bare("pull", "--platform", "linux/s390x", ref)
    assert other.code == 0 and bare.inspect(ref)["Architecture"] == "s390x"
    # The tag is another machine's now: a build gets this one's.
    assert bare.run_in(f"FROM {ref}\nRUN echo again=runs").said("again") == "runs"
    failed = bare("pull", "--platform", "linux/riscv64", ref, code=4)
    assert "no image for linux/riscv64" in failed.error


def test_docker_and_zstd_images_are_pulled_and_built_on(bare, plain, bases):
    for name, words in {"docker": ["--format", "v2s2"], "zstd": ["--format", "oci", "--dest-compress-format", "zstd",
                                                              "--dest-compress"]}.items():
        ref = f"{plain.host}/lib/{name}:1"
        skopeo("copy", "-q", "--dest-tls-verify=false", *words, f"oci:{bases('busybox')}", f"docker://{ref}")
        raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{ref}")
        target = f"{plain.host}/out/{name}:1"
        built = bare.run_in(f"FROM {ref}\nRUN echo it={name}", "--tag", target, "--push")
        assert built.said("it") == name
        crane("validate", "--insecure", "--remote", target)
        bare("push", ref, f"{plain.host}/out/{name}:same")
        assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{plain.host}/out/{name}:same") == raw


def test_foreign_layers_are_kept_by_their_descriptor_and_not_pushed(bare, servers, bases):
    """A layer that is somewhere else is fetched from there when a step runs, and sent nowhere."""
    plain = servers.front()
    ref = put_base(plain, bases)
    manifest = json.loads(crane("manifest", "--insecure", ref))
    elsewhere = servers.front(plain.backend)
    layer = manifest["layers"][0]
    layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    layer["urls"] = [f"http://{elsewhere.host}/v2/lib/base/blobs/{layer['digest']}"]
    body = json.dumps(manifest).encode()
    c = http.client.HTTPConnection("127.0.0.1", plain.backend.port)
    c.request("PUT", "/v2/lib/base/manifests/foreign", body, {"Content-Type": manifest["mediaType"]})
    assert c.getresponse().status == 201
    # The registry itself does not have it.
    plain.rule("GET", re.escape(layer["digest"]), lambda handler: handler.refuse(404, "BLOB_UNKNOWN", "unknown"))
    target = f"{plain.host}/out/foreign:1"
    built = bare.run_in(f"FROM {plain.host}/lib/base:foreign\nRUN echo it=runs", "--tag", target, "--push")
    assert built.said("it") == "runs"
    assert elsewhere.blob_bytes_down > 0
    pushed = json.loads(crane("manifest", "--insecure", target))
    assert pushed["layers"][0]["urls"] == layer["urls"]
    assert not plain.requests(pattern=f"/v2/out/foreign/.*{layer['digest']}")


def test_schema_1_is_refused_with_a_sentence(bare, plain):
    def old(handler):
        handler.answer(200, {"schemaVersion": 1, "name": "x", "tag": "y"},
                       Content_Type="application/vnd.docker.distribution.manifest.v1+prettyjws")
    plain.rule("GET", "/manifests/", old)
    failed = bare("pull", f"{plain.host}/old/image:1", code=4)
    assert "schema 1" in failed.error and "push it again" in failed.error


@pytest.mark.parametrize("body,said", [
    (b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
     b'"application/vnd.cncf.helm.config.v1+json","digest":"sha256:' + b"a" * 64 + b'","size":2},"layers":[]}',
     "is no container image"),
    (b'{"schemaVersion":2,"mediaType":"application/x-unheard-of"}', "'application/x-unheard-of' is no image"),
    (b"not json", "no image"),
    (b"[" * 5000, "no image"),
    (b" " * (5 << 20), "more than the limit"),
])
def test_documents_that_are_no_image_are_refused(bare, plain, body, said):
    plain.rule("GET", "/manifests/", lambda handler: handler.answer(200, body, Content_Type="application/json"))
    failed = bare("pull", f"{plain.host}/odd/thing:1", code=4)
    assert said in failed.error and bare.images() == []


def test_attestations_are_no_images(bare, plain, bases):
    ref = put_base(plain, bases)
    manifest = json.loads(crane("manifest", "--insecure", ref))
    digest = crane("digest", "--insecure", ref).strip()
    size = len(crane("manifest", "--insecure", ref))
    entries = [{"mediaType": manifest["mediaType"], "digest": digest, "size": size,
                "platform": {"os": "unknown", "architecture": "unknown"},
                "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}]
    body = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                       "manifests": entries}).encode()
    plain.rule("GET", "/manifests/attested", lambda handler: handler.answer(
        200, body, Content_Type="application/vnd.oci.image.index.v1+json"))
    failed = bare("pull", f"{plain.host}/lib/base:attested", code=4)
    assert "has no image for linux/" in failed.error


# ---- pushing -------------------------------------------------------------------------------------

def test_several_names_cost_one_upload(lighter, plain):
    names = [f"{plain.host}/a/app:1", f"{plain.host}/a/app:2", f"{plain.host}/b/app:1"]
    words = [word for name in names for word in ("--tag", name)]
    lighter.run_in(DOCKERFILE.format(base="busybox"), *words, "--push", files={"f": "x"})
    digests = {crane("digest", "--insecure", name).strip() for name in names}
    assert len(digests) == 1
    layers = len(lighter.inspect(names[0])["RootFS"]["Layers"])
    assert len(plain.requests("PUT", "/v2/a/app/blobs/uploads/")) == layers + 1
    assert len(plain.requests("PUT", "/v2/b/app/blobs/uploads/")) == 1  # its config; layers are mounted


def test_a_push_that_would_be_refused_is_refused_before_anything_is_built(lighter, servers):
    front = servers.front(auth="token", anonymous=True)
    failed = lighter.run_in("FROM busybox\nRUN echo ran", "--tag", f"{front.host}/a/b:1", "--push", code=4)
    assert failed.steps == [] and failed.seconds < 3
    assert "lighter login" in failed.error
    assert lighter("push", "busybox", f"{front.host}/a/b:1", code=4).seconds < 3


def test_push_needs_a_name(lighter):
    failed = lighter.run_in("FROM busybox", "--push", code=2)
    assert "--tag" in failed.error


def test_tag_gives_a_name_and_rmi_takes_it(lighter):
    lighter("tag", "busybox", "me/box:1", "localhost:5000/box")
    names = {(row["repo"], row["tag"]) for row in lighter.images()}
    assert {("me/box", "1"), ("localhost:5000/box", "latest"), ("busybox", "latest")} <= names
    assert "cannot be chosen" in lighter("tag", "busybox", "x@sha256:" + "a" * 64, code=2).error
    assert "no image" in lighter("tag", "nothing", "x", code=2).error
    lighter("rmi", "me/box:1")
    assert ("me/box", "1") not in {(row["repo"], row["tag"]) for row in lighter.images()}


def test_inspect_tells_what_registries_call_an_image(bare, plain, bases):
    ref = put_base(plain, bases)
    bare("pull", ref)
    digest = crane("digest", "--insecure", ref).strip()
    assert bare.inspect(ref)["RepoDigests"] == [f"{plain.host}/lib/base@{digest}"]


def test_the_digest_file_names_what_was_pushed(lighter, plain, temp):
    ref = f"{plain.host}/a/b:1"
    lighter.directory("out")
    lighter("push", "--digestfile", lighter.place / "out" / "digest", "busybox", f"docker://{ref}")
    assert (lighter.place / "out" / "digest").read_text() == crane("digest", "--insecure", ref).strip()


def test_layers_are_sent_while_others_are_still_packed(lighter, plain):
    """The small layer is there before the registry is asked about the big one."""
    blob = b"".join(hashlib.sha512(b"%d" % i).digest() for i in range(600_000))
    ref = f"{plain.host}/a/app:1"
    lighter.run_in("FROM busybox\nCOPY big /big\nCOPY small /small", "--tag", ref, "--push", files={"big": blob * 2, "small": "x"})
    layers = json.loads(crane("manifest", "--insecure", ref))["layers"]
    big = max(layers, key=lambda d: d["size"])
    asked = plain.requests("HEAD", f"/v2/a/app/blobs/{big['digest']}")[0].when
    done = [seen.when for seen in plain.requests("PUT", "/v2/a/app/blobs/uploads/") if seen.received < 5_000]
    assert min(done) < asked


def test_the_manifest_is_the_last_thing_sent(lighter, plain):
    lighter.run_in(DOCKERFILE.format(base="busybox"), "--tag", f"{plain.host}/a/b:1", "--push", files={"f": "x"})
    sent = [seen for seen in plain.log if seen.method == "PUT"]
    assert "/manifests/" in sent[-1].path and len([seen for seen in sent if "/manifests/" in seen.path]) == 1


@pytest.mark.parametrize("word", ["push", "pull"])
def test_memory_does_not_follow_the_size_of_a_layer(lighters, bases, plain, word):
    lighter = lighters(bases=[bases("busybox")])
    blob = b"".join(hashlib.sha512(b"%d" % i).digest() for i in range(500_000)) * 6  # 192 MB
    ref = f"{plain.host}/a/app:1"
    lighter.run_in("FROM busybox\nCOPY big /big", "--tag", ref, files={"big": blob})
    lighter.directory("tmp-archive")
    lighter.save(ref, lighter.place / "packed.tar")  # so that no packing is measured
    done = lighter("push", ref, watch=True)
    if word == "pull":
        other = lighters()
        done = other("pull", ref, watch=True)
        build = other.run_in(f"FROM {ref}\nRUN true", watch=True)
        assert build.peak_kib < 64 << 10
    assert 0 < done.peak_kib < 64 << 10


# ---- podman --------------------------------------------------------------------------------------

@pytest.fixture
def podman(temp, needs_root, needs):
    """podman with a storage of its own."""
    needs("podman")
    words = ["podman", "--root", str(temp / "root"), "--runroot", str(temp / "run"), "--storage-driver", "vfs"]

    def run(*more):
        done = subprocess.run([*words, *map(str, more)], check=False, capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"podman {more}:\n{done.stdout}{done.stderr}"
        return done.stdout

    yield run
    subprocess.run([*words, "system", "reset", "-f"], check=False, capture_output=True)


def test_podman_pulls_what_lighter_pushed(lighter, plain, podman):
    ref = f"{plain.host}/team/app:v1"
    lighter.run_in(DOCKERFILE.format(base="busybox"), "--tag", ref, "--push", files={"f": "from the context\n"})
    podman("pull", "-q", "--tls-verify=false", ref)
    seen = json.loads(podman("image", "inspect", ref))[0]
    assert "sha256:" + seen["Id"] == lighter.inspect(ref)["Id"]
    assert seen["RootFS"]["Layers"] == lighter.inspect(ref)["RootFS"]["Layers"]


def test_lighter_builds_on_what_podman_pushed(bare, plain, podman, bases):
    ref = f"{plain.host}/team/base:v1"
    podman("pull", "-q", f"oci:{bases('busybox')}")
    image = podman("images", "-q").split()[0]
    podman("push", "-q", "--tls-verify=false", image, f"docker://{ref}")
    assert bare.run_in(f"FROM {ref}\nRUN echo it=runs").said("it") == "runs"
