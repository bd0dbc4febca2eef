"""--platform: several at once, stages that run here for another machine, and what needs an emulator."""

import json
import os
import shutil
import subprocess
import tarfile

import pytest

from harness import Image
from servers import crane
from test_load import Maker, go_arch, tar_of
from test_seed import go_access

OTHER = "arm64" if go_arch() == "amd64" else "amd64"
BOTH = f"linux/{go_arch()},linux/{OTHER}"
COPIED = "FROM scratch\nARG TARGETARCH\nCOPY f /\nENV ARCH=$TARGETARCH\n"


def images_of(layout, ref=None):
    """The images of an index: {architecture: (manifest, config)}."""
    blob = lambda d: json.loads((layout / "blobs/sha256" / d["digest"][7:]).read_bytes())  # noqa: E731
    tops = json.loads((layout / "index.json").read_text())["manifests"]
    top = next(t for t in tops if ref is None or t["annotations"]["org.opencontainers.image.ref.name"] == ref)
    found = {}
    for entry in blob(top)["manifests"]:
        manifest = blob(entry)
        found[entry["platform"]["architecture"]] = (manifest, blob(manifest["config"]))
    return found


def base_for(arch, name, **more):
    """A layout of an image of another machine, whose one program cannot be run here."""
    return Maker().image(tar_of(("etc", "dir", ""), ("etc/arch", "file", arch.encode())),
                         ref=f"docker.io/library/{name}:latest", config={"architecture": arch, **more})


def two_bases(top):
    """A layout with an index of two platforms."""
    makers = [base_for(arch, "base") for arch in (go_arch(), OTHER)]
    both, entries = Maker(), []
    for arch, maker in zip((go_arch(), OTHER), makers):
        both.files.update({k: v for k, v in maker.files.items() if k.startswith("blobs/")})
        entry = json.loads(maker.files["index.json"])["manifests"][0]
        del entry["annotations"]
        entries.append({**entry, "platform": {"os": "linux", "architecture": arch}})
    index = both.blob(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                                  "manifests": entries}).encode(), "application/vnd.oci.image.index.v1+json")
    index["annotations"] = {"org.opencontainers.image.ref.name": "docker.io/library/base:latest"}
    both.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [index]}).encode()
    return both.layout(top)


# ---- an index ------------------------------------------------------------------------------------

def test_two_platforms_make_one_index(bare, temp):
    bare.build(bare.context({"f": "1"}), "--platform", BOTH, "-o", f"type=oci,dest={temp}/dir,tar=false",
               dockerfile=COPIED, tag="both")
    found = images_of(temp / "dir")
    assert set(found) == {"amd64", "arm64"}
    for arch, (_, config) in found.items():
        assert config["architecture"] == arch and f"ARCH={arch}" in config["config"]["Env"]


def test_an_index_is_pushed_whole_and_again_without_a_layer_byte(bare, servers):
    front = servers.front()
    ref = f"{front.host}/team/both:1"
    context = bare.context({"f": os.urandom(50000)})
    bare.build(context, "--platform", BOTH, "--push", dockerfile=COPIED, tag=ref)
    crane("validate", "--insecure", "--remote", ref)
    platforms = {m["platform"]["architecture"] for m in json.loads(crane("manifest", "--insecure", ref))["manifests"]}
    assert platforms == {"amd64", "arm64"}
    assert front.layer_bytes_up > 50000
    front.forget()
    bare("push", ref)
    assert front.layer_bytes_up == 0


def test_a_name_of_two_platforms_is_saved_tagged_loaded_and_removed_whole(bare, temp, lighters):
    bare.build(bare.context({"f": "1"}), "--platform", BOTH, dockerfile=COPIED, tag="both")
    bare("tag", "both", "again")
    bare("save", "--format", "oci-dir", "-o", temp / "dir", "again")
    assert set(images_of(temp / "dir")) == {"amd64", "arm64"}
    assert bare.inspect("both")["Architecture"] == go_arch()
    refused = bare("save", "--format", "docker-archive", "-o", temp / "x", "both", code=2)
    assert "no index of several platforms" in refused.error and not (temp / "x").exists()
    other = lighters()
    other.load(temp / "dir")
    assert other.inspect("again")["Architecture"] == go_arch()
    bare("rmi", "both", "again")
    assert bare.images() == []


def test_a_name_that_had_two_platforms_means_one_after_a_build_for_one(bare, temp):
    context = bare.context({"f": "1"})
    bare.build(context, "--platform", BOTH, dockerfile=COPIED, tag="x")
    bare.build(context, dockerfile=COPIED, tag="x")
    bare("save", "--format", "oci-dir", "-o", temp / "dir", "x")
    assert Image(temp / "dir").config["architecture"] == go_arch()
    assert len([row for row in bare.images() if row["repo"] == "x"]) == 1


def test_the_environment_names_a_platform_as_for_docker(bare):
    bare.run_in("FROM scratch\nCOPY f /\n", files={"f": "1"}, tag="x",
                env={"DOCKER_DEFAULT_PLATFORM": f"linux/{OTHER}"})
    assert bare.inspect("x")["Architecture"] == OTHER


def test_variants_are_in_the_config(bare):
    bare.run_in("FROM scratch\nCOPY f /\nARG TARGETVARIANT\nENV V=$TARGETVARIANT\n", "--platform", "linux/arm/v7",
                files={"f": "1"}, tag="x")
    seen = bare.inspect("x")
    assert (seen["Architecture"], seen["Variant"]) == ("arm", "v7") and "V=v7" in seen["Config"]["Env"]


# ---- what runs where -----------------------------------------------------------------------------

def test_a_stage_for_this_machine_runs_once_for_both(lighter, temp):
    text = ("FROM --platform=$BUILDPLATFORM busybox AS tools\nRUN echo once >/tool\n"
            "FROM --platform=$BUILDPLATFORM busybox AS each\nARG TARGETARCH\nRUN echo $TARGETARCH >/arch\n"
            "FROM scratch\nCOPY --from=tools /tool /\nCOPY --from=each /arch /\n")
    done = lighter.run_in(text, "--platform", BOTH, "-o", f"{temp}/out")
    assert len([t for t in done.ran if "once" in t]) == 1
    assert len([t for t in done.ran if "TARGETARCH" in t]) == 2
    for arch in ("amd64", "arm64"):
        assert (temp / "out" / f"linux_{arch}" / "arch").read_text() == arch + "\n"
        assert (temp / "out" / f"linux_{arch}" / "tool").read_text() == "once\n"


def test_no_cache_filter_means_a_stage_of_every_platform(bare):
    text = "FROM scratch AS a\nCOPY f /\nFROM scratch AS b\nARG TARGETARCH\nENV A=$TARGETARCH\nCOPY --from=a /f /\nCOPY f /x-$TARGETARCH\n"
    context = bare.context({"f": "1"})
    bare.build(context, "--platform", BOTH, dockerfile=text)
    assert len(bare.build(context, "--platform", BOTH, "--no-cache-filter", "b", dockerfile=text).ran) == 3
    assert bare.build(context, "--platform", BOTH, "--no-cache-filter", "a", dockerfile=text).ran == ["COPY f /"]


def test_each_platform_gets_its_own_base(bare, temp):
    layout = two_bases(bare.directory())
    bare.own(layout)
    bare.build(bare.context({"f": "1"}), "--platform", BOTH, "--build-context", f"base=oci-layout://{layout}",
               "-o", f"type=tar,dest={temp}/x.tar", dockerfile="FROM base\nCOPY f /\n", tag="x")
    with tarfile.open(temp / "x.tar") as tar:
        for arch in ("amd64", "arm64"):
            assert tar.extractfile(f"linux_{arch}/etc/arch").read() == arch.encode()
    assert bare.build(bare.context({"f": "1"}), "--platform", BOTH, "--build-context",
                      f"base=oci-layout://{layout}", dockerfile="FROM base\nCOPY f /\n").ran == []


def test_bases_of_both_platforms_come_from_a_registry(bare, servers, temp):
    front = servers.front()
    layout = two_bases(temp / "layout")
    subprocess.run(["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{layout}",
                    f"docker://{front.host}/base:1"], check=True)
    text = f"FROM {front.host}/base:1\nCOPY f /\n"
    context = bare.context({"f": "1"})
    bare.build(context, "--platform", BOTH, "-o", f"{temp}/out", dockerfile=text)
    for arch in ("amd64", "arm64"):
        assert (temp / f"out/linux_{arch}/etc/arch").read_text() == arch
    bare.build(context, "--platform", BOTH, "--offline", dockerfile=text)
    assert bare.build(context, dockerfile=text, tag="one").ran == []
    assert bare.inspect("one")["Architecture"] == go_arch()


def emulated():
    place = "/proc/sys/fs/binfmt_misc"
    return os.path.isdir(place) and any("aarch64" in n or "x86_64" in n for n in os.listdir(place))


def test_a_run_for_another_machine_says_what_would_run_it(bare):
    if emulated():
        pytest.skip("an emulator is registered on this machine")
    layout = bare.own(base_for(OTHER, "base").layout(bare.directory()))
    refused = bare.run_in("FROM base\nRUN echo hi\n", "--platform", f"linux/{OTHER}", "--build-context",
                          f"base=oci-layout://{layout}", code=6)
    for word in ("Dockerfile:2", f"linux/{OTHER}", "qemu-user-static", "$BUILDPLATFORM", "$TARGETARCH"):
        assert word in refused.error.replace("<stdin>", "Dockerfile").replace("stdin", "Dockerfile"), refused


def test_everything_but_run_works_for_another_machine(bare):
    layout = bare.own(base_for(OTHER, "base").layout(bare.directory()))
    done = bare.run_in("FROM base\nWORKDIR /w\nCOPY f .\nADD a.tar /\nENV A=1\nCMD [\"x\"]\n", "--platform",
                       f"linux/{OTHER}", "--build-context", f"base=oci-layout://{layout}", tag="x",
                       files={"f": "1", "a.tar": tar_of(("u", "file", b"u"))})
    assert len(done.ran) == 3 and bare.inspect("x")["Architecture"] == OTHER


def test_a_base_of_the_wrong_platform_is_named(bare):
    layout = bare.own(base_for(OTHER, "base").layout(bare.directory()))
    refused = bare.run_in("FROM base\n", "--build-context", f"base=oci-layout://{layout}", code=None)
    assert refused.code != 0 and f"linux/{OTHER}" in refused.error


def test_go_compiles_for_both_machines_without_an_emulator(lighters, bases, temp):
    lighter = lighters(bases=[bases("golang")])
    env, args = go_access()
    context = lighter.context({"go.mod": "module m\ngo 1.22\n",
                               "main.go": 'package main\nimport "runtime"\nfunc main() { println(runtime.GOARCH) }\n'})
    text = ("FROM --platform=$BUILDPLATFORM golang:1.22 AS build\nWORKDIR /src\nCOPY . .\nARG TARGETOS TARGETARCH\n"
            "RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .\n"
            "FROM scratch\nCOPY --from=build /app /app\nENTRYPOINT [\"/app\"]\n")
    done = lighter.build(context, *args, "--platform", BOTH, "-o", f"{temp}/out", dockerfile=text, tag="app",
                         env=env, timeout=300)
    assert len([t for t in done.ran if "go build" in t]) == 2
    assert len([t for t in done.ran if t.startswith("COPY . .")]) == 1
    machines = {arch: (temp / f"out/linux_{arch}/app").read_bytes()[18] for arch in ("amd64", "arm64")}
    assert machines == {"amd64": 62, "arm64": 183}
    assert lighter.run("app").stderr.strip().endswith(go_arch())
    if shutil.which("qemu-aarch64-static") and OTHER == "arm64":
        said = subprocess.run(["qemu-aarch64-static", f"{temp}/out/linux_arm64/app"], capture_output=True, text=True,
                              check=True)
        assert said.stderr.strip() == "arm64"
