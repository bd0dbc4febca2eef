"""`lighter index create`, `lighter history` and `lighter pack`."""

import json

import pytest

from servers import crane, skopeo
from test_load import go_arch
from test_platforms import OTHER, base_for, images_of, two_bases


def push_one(lighter, front, arch, tag):
    """An image for one platform, as one job of a CI matrix leaves it; its digest."""
    ref = f"{front.host}/ci/app:{tag}"
    lighter.run_in("FROM scratch\nCOPY f /\nENV A=$A\n", "--platform", f"linux/{arch}", "--push", tag=ref,
                   files={"f": arch * 5000})
    return ref, crane("digest", "--insecure", ref).strip()


def entries(ref):
    index = json.loads(crane("manifest", "--insecure", ref))
    return {m["platform"]["architecture"]: m["digest"] for m in index["manifests"]}


def test_images_of_two_jobs_become_one_index_and_no_layer_moves(bare, lighters, servers):
    front = servers.front()
    made = {arch: push_one(lighters(), front, arch, arch) for arch in ("amd64", "arm64")}
    front.forget()
    target = f"{front.host}/ci/app:1"
    words = [f"{front.host}/ci/app@{digest}" for _, digest in made.values()]
    done = bare("index", "create", "--push", target, *words)
    assert entries(target) == {arch: digest for arch, (_, digest) in made.items()}
    assert done.stdout.split() == [target, crane("digest", "--insecure", target).strip()]
    assert front.layer_bytes_up == 0 and front.blob_bytes_down < 10000
    crane("validate", "--insecure", "--remote", target)


def test_another_repository_gets_what_it_lacks(bare, lighters, servers):
    front, two = servers.front(), servers.front(servers.backend("olareg"))
    made = {arch: push_one(lighters(), front, arch, arch) for arch in ("amd64", "arm64")}
    target = f"{two.host}/rel/app:1"
    bare("index", "create", "--push", target, *(ref for ref, _ in made.values()))
    crane("validate", "--insecure", "--remote", target)
    assert entries(target) == {arch: digest for arch, (_, digest) in made.items()}


def test_an_image_of_an_index_is_replaced(bare, lighters, servers):
    front = servers.front()
    made = {arch: push_one(lighters(), front, arch, arch) for arch in ("amd64", "arm64")}
    target = f"{front.host}/ci/app:1"
    bare("index", "create", "--push", target, *(ref for ref, _ in made.values()))
    lighter = lighters()
    ref = f"{front.host}/ci/app:new"
    lighter.run_in("FROM scratch\nCOPY f /\n", "--platform", "linux/arm64", "--push", tag=ref, files={"f": "new"})
    bare("index", "create", "--push", "--append", target, ref)
    assert entries(target) == {"amd64": made["amd64"][1], "arm64": crane("digest", "--insecure", ref).strip()}


def test_indexes_are_joined_by_what_they_hold(bare, servers, temp):
    front = servers.front()
    bare("copy", f"oci:{two_bases(temp / 'both')}", f"docker://{front.host}/a/both:1")
    bare("copy", f"oci:{base_for('s390x', 'third').layout(temp / 'third')}", f"docker://{front.host}/a/third:1")
    bare("index", "create", "--push", f"{front.host}/a/all:1", f"{front.host}/a/both:1", f"{front.host}/a/third:1")
    assert set(entries(f"{front.host}/a/all:1")) == {"amd64", "arm64", "s390x"}
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{front.host}/a/all:1"))
    assert {m["digest"] for m in json.loads(crane("manifest", "--insecure", f"{front.host}/a/both:1"))["manifests"]} \
        <= {m["digest"] for m in raw["manifests"]}


def test_images_of_the_store_are_joined_and_used_by_one_name(bare, temp):
    for arch in (go_arch(), OTHER):
        bare.run_in("FROM scratch\nCOPY f /\n", "--platform", f"linux/{arch}", tag=f"app-{arch}", files={"f": arch})
    bare("index", "create", "app", f"app-{OTHER}", f"app-{go_arch()}")
    assert bare.inspect("app")["Architecture"] == go_arch()
    bare("save", "--format", "oci-dir", "-o", temp / "out", "app")
    assert set(images_of(temp / "out")) == {"amd64", "arm64"}


def test_annotations_of_the_index_change_no_manifest(bare, lighters, servers):
    front = servers.front()
    made = {arch: push_one(lighters(), front, arch, arch) for arch in ("amd64", "arm64")}
    target = f"{front.host}/ci/app:1"
    bare("index", "create", "--push", "--annotation", "a=1", "--annotation", "manifest-descriptor[linux/arm64]:b=2",
         target, *(ref for ref, _ in made.values()))
    index = json.loads(crane("manifest", "--insecure", target))
    assert index["annotations"] == {"a": "1"} and entries(target) == {arch: d for arch, (_, d) in made.items()}
    assert [m.get("annotations") for m in index["manifests"]] == [None, {"b": "2"}]


@pytest.mark.parametrize("words, said", [
    ([], "needs a name and images"), (["x"], "needs a name and images"), (["UP", "y"], "lowercase"),
    (["--annotation", "a=b", "x", "y"], "is of what --push sends"),
    (["--push", "--annotation", "manifest:a=b", "x", "y"], "manifests stay as they are"),
    (["--dry-run", "x", "y"], "nothing leaves this machine"),
])
def test_wrong_words_of_index_create_are_named(bare, words, said):
    assert said in bare("index", "create", *words, code=2).error


# ---- history -------------------------------------------------------------------------------------

def test_history_lists_what_made_an_image(lighter):
    lighter.run_in("FROM busybox\nRUN dd if=/dev/zero of=/big bs=1000 count=2000 2>/dev/null\nENV A=1\nCMD [\"x\"]\n", tag="h")
    rows = [json.loads(line) for line in lighter("history", "--no-trunc", "--format", "json", "h").stdout.splitlines()]
    config = lighter.image("h").config
    assert [row["CreatedBy"] for row in rows] == [h.get("created_by", "") for h in reversed(config["history"])]
    assert rows[0]["ID"] == lighter.inspect("h")["Id"] and rows[1]["ID"] == "<missing>"
    assert rows[0]["Size"] == "0 B" and rows[2]["Size"].startswith("2.")
    page = lighter("history", "h").stdout.splitlines()
    assert page[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"] and len(page) == len(rows) + 1
    sizes = [int(json.loads(line)["Size"]) for line in
             lighter("history", "--human=false", "--format", "json", "h").stdout.splitlines()]
    layers = [len(layer.bytes) for layer in reversed(lighter.image("h").layers)]
    assert [size for size in sizes if size] == layers
    assert lighter("history", "-q", "h").stdout.splitlines()[0] == lighter.inspect("h")["Id"][7:19]


def test_history_of_a_hostile_image_steers_no_terminal(bare, temp):
    maker = base_for(go_arch(), "bad", history=[{"created_by": "\x1b[31mred\ny\u00e9" * 20, "empty_layer": False}])
    bare.load(maker.layout(temp / "l"))
    assert "\x1b" not in bare("history", "bad").stdout
    assert "\x1b" not in bare("history", "--no-trunc", "bad").stdout


# ---- pack ----------------------------------------------------------------------------------------

def test_pack_makes_what_a_push_then_sends(lighter, servers):
    front = servers.front()
    lighter.run_in("FROM busybox\nRUN echo x >/x\n", tag="p")
    digest = lighter("pack", "-q", "p").stdout.strip()
    assert (lighter.store / "blobs/sha256" / digest[7:]).is_file()
    assert lighter("push", "-q", "p", f"{front.host}/a/p:1").stdout.strip().endswith(digest)
    assert lighter.image("p").digest == digest
    assert "nosuch" in lighter("pack", "nosuch", code=2).error


def test_pack_of_two_platforms_tells_the_index(bare, temp):
    bare.run_in("FROM scratch\nCOPY f /\n", "--platform", "linux/amd64,linux/arm64", tag="p", files={"f": "1"})
    digest = bare("pack", "-q", "p").stdout.strip()
    bare("save", "--format", "oci-dir", "-o", temp / "out", "p")
    assert json.loads((temp / "out/index.json").read_text())["manifests"][0]["digest"] == digest
