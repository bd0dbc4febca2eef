"""`lighter copy`: between registries, layouts, archives and the store, and no digest changes."""

import json
import os
import subprocess

import pytest

from harness import Image
from servers import crane, skopeo
from test_load import go_arch
from test_outputs import blobs_of
from test_platforms import OTHER, base_for, images_of, two_bases

NAME = "docker.io/library/base:latest"


def top_of(layout):
    entry, = json.loads((layout / "index.json").read_text())["manifests"]
    return entry["digest"]


@pytest.fixture
def both(temp):
    """A layout with an index of two platforms."""
    return two_bases(temp / "both")


@pytest.fixture
def front(servers):
    return servers.front()


def test_the_digest_is_the_same_everywhere(bare, both, front, temp):
    digest = top_of(both)
    ref = f"{front.host}/a/base:1"
    steps = [(f"oci:{both}", f"oci-archive:{temp}/1.tar:{NAME}"), (f"oci-archive:{temp}/1.tar", f"docker://{ref}"),
             (f"docker://{ref}", f"oci:{temp}/2:{NAME}"), (f"oci:{temp}/2", f"docker://{front.host}/b/base:2"),
             (f"docker://{front.host}/b/base:2", f"oci-archive:{temp}/3.tar")]
    for source, dest in steps:
        done = bare("copy", source, dest)
        assert done.stdout.split() == [dest, digest]
    assert crane("digest", "--insecure", ref).strip() == digest
    crane("validate", "--insecure", "--remote", ref)
    assert json.loads(skopeo("inspect", "--raw", f"oci:{temp}/2:{NAME}")) == \
        json.loads(crane("manifest", "--insecure", f"{front.host}/b/base:2"))
    assert {n: hash(d) for n, d in blobs_of(temp / "1.tar").items() if n.startswith("blobs/")} == \
        {n: hash(d) for n, d in blobs_of(temp / "3.tar").items() if n.startswith("blobs/")}


def test_the_bytes_are_kept_whatever_they_look_like(bare, front, temp, bases):
    """An image as docker's tools of ten years made them: spaces in its documents, docker's media types."""
    ref = f"{front.host}/old/image:1"
    subprocess.run(["skopeo", "copy", "-q", "--format", "v2s2", "--dest-tls-verify=false", f"oci:{bases('busybox')}",
                    f"docker://{ref}"], check=True)
    digest = crane("digest", "--insecure", ref).strip()
    assert bare("copy", "-q", f"docker://{ref}", f"docker://{front.host}/new/image:1").stdout.strip() == digest
    assert crane("manifest", "--insecure", f"{front.host}/new/image:1") == crane("manifest", "--insecure", ref)


def test_between_repositories_of_one_registry_layers_are_mounted(bare, front, bases):
    ref = f"{front.host}/a/image:1"
    bare("copy", f"oci:{bases('busybox')}", f"docker://{ref}")
    assert front.layer_bytes_up > 100000
    front.forget()
    bare("copy", f"docker://{ref}", f"docker://{front.host}/b/image:1")
    assert front.layer_bytes_up == 0 and front.blob_bytes_down < 100000
    bare("copy", f"docker://{ref}", f"docker://{front.host}/b/image:2")
    assert front.layer_bytes_up == 0


def test_between_registries_bytes_pass_through(lighters, servers, bases):
    one, two = servers.front(), servers.front(servers.backend("olareg"))
    digest = lighters()("copy", "-q", f"oci:{bases('busybox')}", f"docker://{one.host}/a/b:1").stdout.strip()
    assert lighters()("copy", "-q", f"docker://{one.host}/a/b:1", f"docker://{two.host}/c/d:1").stdout.strip() == digest
    crane("validate", "--insecure", "--remote", f"{two.host}/c/d:1")


def test_one_platform_of_an_index(bare, both, temp, front):
    bare("copy", "--platform", f"linux/{OTHER}", f"oci:{both}", f"oci:{temp}/one")
    assert Image(temp / "one").config["architecture"] == OTHER
    bare("copy", f"oci:{both}", f"docker://{front.host}/a/b:1")
    bare("copy", "--platform", f"linux/{OTHER}", f"docker://{front.host}/a/b:1", f"oci:{temp}/two")
    assert Image(temp / "two").digest == Image(temp / "one").digest
    refused = bare("copy", "--platform", "linux/s390x", f"docker://{front.host}/a/b:1", f"oci:{temp}/three", code=4)
    assert "has no image for linux/s390x" in refused.error and not (temp / "three").exists()


def test_the_store_gives_and_takes_all_platforms(bare, both, temp, front):
    bare("copy", f"oci:{both}", "mine:1")
    assert bare.inspect("mine:1")["Architecture"] == go_arch()
    bare("copy", "mine:1", f"oci:{temp}/out")
    found, expected = images_of(temp / "out"), images_of(both)
    assert {arch: m for arch, (m, _) in found.items()} == {arch: m for arch, (m, _) in expected.items()}
    bare("copy", "mine:1", f"docker://{front.host}/x/y:1")
    crane("validate", "--insecure", "--remote", f"{front.host}/x/y:1")
    bare("copy", f"docker://{front.host}/x/y:1", "again:2")
    assert bare.inspect("again:2")["Id"] == bare.inspect("mine:1")["Id"]
    bare("copy", "--platform", f"linux/{OTHER}", "mine:1", "other")
    assert bare.inspect("other")["Architecture"] == OTHER


def test_dockers_archives_on_both_sides(lighter, temp, bare, front):
    lighter("copy", "busybox", f"docker-archive:{temp}/d.tar:my/box:3")
    assert json.loads(skopeo("inspect", "--config", f"docker-archive:{temp}/d.tar:my/box:3"))
    bare("copy", f"docker-archive:{temp}/d.tar:my/box:3", "box")
    assert bare.inspect("box")["Id"] == lighter.inspect("busybox")["Id"]
    bare("copy", f"docker-archive:{temp}/d.tar", f"docker://{front.host}/a/box:1")
    crane("validate", "--insecure", "--remote", f"{front.host}/a/box:1")
    bare("copy", f"docker://{front.host}/a/box:1", f"docker-archive:{temp}/e.tar:e")
    assert "sha256:" + json.loads(blobs_of(temp / "e.tar")["manifest.json"])[0]["Config"].rpartition("/")[2] == \
        bare.inspect("box")["Id"]
    refused = bare("copy", f"docker-archive:{temp}/d.tar:nosuch", "x", code=2)
    assert "holds no such image" in refused.error


def test_a_layout_of_several_images_needs_a_name(bare, temp, bases):
    layout = base_for(go_arch(), "one").layout(temp / "l")
    bare("copy", f"oci:{bases('busybox')}", f"oci:{layout}:two")
    refused = bare("copy", f"oci:{layout}", "x", code=2)
    assert "holds 2 images" in refused.error and "by its tag" in refused.error
    bare("copy", f"oci:{layout}:two", f"oci:{temp}/m")
    assert "holds 0 images called three" in bare("copy", f"oci:{layout}:three", "x", code=2).error


def test_damage_is_found_on_the_way(bare, both, temp, front):
    blob = max((both / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused = bare("copy", f"oci:{both}", f"oci:{temp}/out", code=7)
    assert blob.name in refused.error and not (temp / "out").exists()
    blob.unlink()
    assert blob.name in bare("copy", f"oci:{both}", f"docker://{front.host}/a/b:1", code=7).error
    assert front.requests("PUT", "manifests") == []


@pytest.mark.parametrize("words, said", [
    ([], "needs FROM and TO"), (["a"], "needs FROM and TO"), (["a", "b", "c"], "needs FROM and TO"),
    (["oci:", "b"], "names no path"), (["docker://", "b"], "names no image"),
    (["nosuch", "oci:x"], "nosuch"), (["--all", "a", "b"], "copied whole"), (["a", "UP"], "lowercase"),
    (["a", "b@sha256:" + "0" * 64], "give a tag"), (["oci:/nosuch", "b"], "/nosuch"),
    (["oci-archive:/nosuch", "b"], "/nosuch"), (["--platform", "x/y/z/w", "a", "b"], "x/y/z/w"),
])
def test_wrong_words_are_named(bare, words, said):
    assert said in bare("copy", *words, code=2).error


def test_offline_copies_what_is_here(bare, both, temp):
    bare("copy", "--offline", f"oci:{both}", f"oci-archive:{temp}/a.tar")
    refused = bare("copy", "--offline", "docker://127.0.0.1:1/a/b", f"oci:{temp}/x", code=4)
    assert "--offline" in refused.error and not os.path.exists(temp / "x")
