"""Same input, same bytes: --epoch=content and SOURCE_DATE_EPOCH, whoever builds, wherever, whenever and how."""

import io
import json
import os
import shutil
import tarfile

import pytest

from harness import CONTENT_TIME, Image
from servers import crane
from test_contexts import git  # noqa: F401  a fixture

DOCKERFILE = """\
FROM busybox
WORKDIR /app
COPY --chmod=644 src/ ./src/
COPY --chmod=755 run.sh .
RUN cat src/*.txt >all && ln all twin && mkdir -p d/e && chown 7:8 d && dd if=/dev/zero of=big bs=1024 count=3000 2>/dev/null
ENV A=1
CMD ["./run.sh"]
"""
FILES = {"Dockerfile": DOCKERFILE, "run.sh": ("#!/bin/sh\ncat all\n", 0o755),
         **{f"src/{n}.txt": f"text {n}\n" * 40 for n in range(30)}}


def digest_of(lighter, context, temp, *words, **options):
    """The manifest's digest, for which layers are packed."""
    out = lighter.directory() / "out"
    lighter.build(context, *words, "-o", f"type=oci,dest={out},tar=false", **options)
    return Image(out).digest


@pytest.fixture(scope="module")
def first(module_lighters, bases):
    """The digest that all others must have."""
    lighter = module_lighters(bases=[bases("busybox")])
    return digest_of(lighter, lighter.context(FILES), None, "--epoch=content")


def fresh(lighters, bases, mode=None):
    return lighters(mode, bases=[bases("busybox")])


@pytest.mark.parametrize("mode", ["root", "rootless", "single"])
def test_each_mode_gives_the_same_digest(first, lighters, bases, temp, mode):
    lighter = fresh(lighters, bases, mode)
    assert digest_of(lighter, lighter.context(FILES), temp, "--epoch=content") == first


def test_one_processor_gives_the_same_digest(first, lighters, bases, temp, needs):
    needs("taskset")
    lighter = fresh(lighters, bases)
    assert digest_of(lighter, lighter.context(FILES), temp, "--epoch=content",
                     before=["taskset", "-c", "0"]) == first


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_each_umask_gives_the_same_digest(first, lighters, bases, temp, mask):
    """Of the builder; a file's mode in the context is the file's, which --chmod settles here."""
    lighter = fresh(lighters, bases)
    assert digest_of(lighter, lighter.context(FILES), temp, "--epoch=content", umask=mask) == first


def test_another_date_gives_the_same_digest(first, lighters, bases, temp):
    lighter = fresh(lighters, bases)
    context = lighter.context(FILES)
    for top, dirs, files in os.walk(context):
        for name in dirs + files:
            os.utime(os.path.join(top, name), (1234567890, 1234567890))
    assert digest_of(lighter, context, temp, "--epoch=content") == first


def archive_of(context):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.add(context, arcname=".")
    return out.getvalue()


def test_a_tar_on_stdin_gives_the_same_digest(first, lighters, bases, temp):
    lighter = fresh(lighters, bases)
    out = lighter.directory() / "out"
    words = ["--isolation", lighter.isolation] if lighter.isolation else []
    lighter("build", *words, "--epoch=content", "-o", f"type=oci,dest={out},tar=false", "-",
            input=archive_of(lighter.context(FILES)))
    assert Image(out).digest == first


def test_a_git_repository_gives_the_same_digest(first, lighters, bases, git):  # noqa: F811
    lighter = fresh(lighters, bases)
    git.repository("r.git", lighter.context(FILES))
    assert digest_of(lighter, git.url("r.git"), None, "--epoch=content") == first


def test_the_order_of_names_in_the_directory_does_not_matter(first, lighters, bases, temp):
    lighter = fresh(lighters, bases)
    files = dict(sorted(FILES.items(), reverse=True))
    assert digest_of(lighter, lighter.context(files), temp, "--epoch=content") == first


def test_a_build_without_the_cache_gives_the_same_digest(first, lighters, bases, temp):
    lighter = fresh(lighters, bases)
    context = lighter.context(FILES)
    digest_of(lighter, context, temp, "--epoch=content")
    assert digest_of(lighter, context, temp, "--epoch=content", "--no-cache") == first


# ---- times ---------------------------------------------------------------------------------------

def test_source_date_epoch_dates_everything_and_no_layer_of_the_base(lighters, bases, temp):
    ids = []
    for _ in range(2):
        lighter = fresh(lighters, bases)
        lighter.build(lighter.context(FILES), tag="dated", env={"SOURCE_DATE_EPOCH": "1600000000"})
        image = lighter.image("dated")
        ids.append(image.digest)
    base = lighter.image("busybox").manifest["layers"]
    assert ids[0] == ids[1]
    assert image.manifest["layers"][:len(base)] == base
    assert image.config["created"] == "2020-09-13T12:26:40Z"
    own = [info for layer in image.layers[len(base):] for info in layer.members.values()]
    assert own and max(info.mtime for info in own) == 1600000000


def test_rewrite_timestamp_false_dates_the_config_alone(lighters, bases, temp):
    lighter = fresh(lighters, bases)
    out = lighter.directory() / "out"
    lighter.build(lighter.context(FILES), "-o", f"type=oci,dest={out},tar=false,rewrite-timestamp=false",
                  env={"SOURCE_DATE_EPOCH": "1600000000"})
    image = Image(out)
    assert image.config["created"] == "2020-09-13T12:26:40Z"
    assert max(info.mtime for info in image.layers[-1].members.values()) > 1600000000


def test_rewrite_timestamp_needs_a_time(lighters, bases):
    lighter = fresh(lighters, bases)
    refused = lighter.build(lighter.context(FILES), "-o", "type=image,rewrite-timestamp=true", code=2)
    assert "needs a time: --epoch=N or SOURCE_DATE_EPOCH" in refused.error


def test_files_and_tars_have_the_time_of_the_rule(lighters, bases):
    lighter = fresh(lighters, bases)
    out = lighter.directory()
    lighter.build(lighter.context(FILES), "--epoch=content", "-o", out / "dir", "-o", f"type=tar,dest={out}/x.tar")
    assert (out / "dir/app/run.sh").stat().st_mtime == CONTENT_TIME
    with tarfile.open(out / "x.tar") as tar:
        assert tar.getmember("app/run.sh").mtime == CONTENT_TIME


def test_a_layer_built_again_after_ten_commits_is_not_sent_again(lighters, bases, servers, temp):
    """The COPY of what never changes stands behind one of what always does, so it is built each time."""
    front = servers.front()
    blob = os.urandom(100000)
    layers = set()
    for commit in range(10):
        lighter = fresh(lighters, bases)
        context = lighter.context({"version": str(commit), "blob": blob})
        ref = f"{front.host}/app:{commit}"
        lighter.build(context, "--epoch=content", "--push", tag=ref,
                      dockerfile="FROM busybox\nCOPY --chmod=644 version /\nCOPY --chmod=644 blob /blob\n")
        layers.add(json.loads(crane("manifest", "--insecure", ref))["layers"][-1]["digest"])
        if commit:
            assert front.layer_bytes_up < 20000
        front.forget()
        lighters.clear()
    assert len(layers) == 1


def test_the_same_tree_from_two_clones_gives_one_digest(first, lighters, bases, temp):
    lighter = fresh(lighters, bases)
    context = lighter.context(FILES)
    clone = lighter.directory() / "clone"
    shutil.copytree(context, clone, copy_function=shutil.copyfile)
    lighter.own(clone)
    assert digest_of(lighter, clone, temp, "--epoch=content") == first
