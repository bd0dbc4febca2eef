"""The same image from every mode, user, directory and date; and what becomes of times."""

import json
import os
import subprocess
import time

import pytest

from harness import CONTENT_TIME

DOCKERFILE = """\
FROM busybox AS one
WORKDIR /work
COPY . .
RUN mkdir -p out/sub && cat src/a src/b >out/joined && chown -R 7:8 out && chmod 2750 out/sub && \\
    ln out/joined out/hard && ln -s joined out/soft && mkfifo out/pipe && date >/tmp/when && rm /tmp/when
RUN rm -rf /usr/share/standin && mkdir /usr/share/standin && echo new >/usr/share/standin/new
FROM busybox
ENV A=1
USER 4321:99
WORKDIR /home/user
COPY --from=one /work/out /out
RUN echo mine >f && chmod 600 f
RUN rm f
COPY src/a /last/
LABEL kind=test
CMD ["cat", "/out/joined"]
"""

FILES = {"src/a": ("a\n", 0o644), "src/b": ("b\n", 0o755), "src/empty": None, "Dockerfile": DOCKERFILE}


def clone(lighter, when):
    """A clone of the project: modes as git sets them, times of the day it was made."""
    context = lighter.context(FILES)
    for path in context.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (when, when))
    context.chmod(0o755)
    return context


def built(lighter, *args, when=1600000000, **options):
    lighter.build(clone(lighter, when), *args, tag="same", **options)
    return lighter.image("same")


def test_root_and_rootless_give_the_same_digest(lighters, bases):
    """Times are fixed, for they are the one thing that two builds cannot share."""
    a, b = (built(lighters(mode, bases=[bases("busybox")]), "--epoch=content")
            for mode in ("root", "rootless"))
    assert a.config == b.config
    assert [layer.names() for layer in a.layers] == [layer.names() for layer in b.layers]
    assert (a.id, a.digest) == (b.id, b.digest)


def test_two_clones_by_two_users_on_two_dates_give_the_same_digest(lighters, bases):
    digests = set()
    for mode, when, umask in (("root", 1500000000, 0o077), ("rootless", 1700000000, 0o002)):
        lighter = lighters(mode, bases=[bases("busybox")])
        digests.add(built(lighter, "--epoch=content", when=when, umask=umask).digest)
        time.sleep(1.1)
    assert len(digests) == 1


def test_another_day_gives_the_same_digest(lighter, needs):
    needs("faketime")
    first = built(lighter, "--epoch=content").digest
    words = ["faketime", "2031-05-05 05:05:05", lighter.binary, "build", "--no-cache", "-t", "later",
             "--epoch=content", "--isolation", lighter.isolation, str(clone(lighter, 1900000000))]
    options = lighter.account.popen() if lighter.account else {}
    subprocess.run(words, check=True, env=lighter.environment(), stderr=subprocess.DEVNULL, **options)
    assert lighter.image("later").digest == first


@pytest.mark.parametrize("mode", ["root", "rootless"])
def test_the_callers_umask_does_not_matter(lighters, bases, mode):
    digests = set()
    for umask in (0o077, 0o022, 0o000):
        lighter = lighters(mode, bases=[bases("busybox")])
        digests.add(built(lighter, "--epoch=content", umask=umask).digest)
    assert len(digests) == 1


def test_building_again_without_the_cache_gives_the_same_digest(lighter):
    first = built(lighter, "--epoch=content")
    assert built(lighter, "--epoch=content", "--no-cache").digest == first.digest


def test_one_cpu_gives_the_same_digest_as_all(lighter, lighters, bases, needs):
    needs("taskset")
    first = built(lighter, "--epoch=content").digest
    other = lighters(bases=[bases("busybox")])
    words = ["taskset", "-c", "0", other.binary, "build", "-t", "same", "--epoch=content",
             "--isolation", other.isolation, str(clone(other, 1))]
    options = other.account.popen() if other.account else {}
    subprocess.run(words, check=True, env=other.environment(), stderr=subprocess.DEVNULL, **options)
    assert other.image("same").digest == first


# ---- times ---------------------------------------------------------------------------------------

def new_layers(image):
    return image.layers[2:]  # busybox has two


def times(image):
    return {info.mtime for layer in new_layers(image) for info in layer.members.values()}


def test_content_epoch_gives_every_file_one_time(lighter):
    image = built(lighter, "--epoch=content")
    assert times(image) == {CONTENT_TIME}
    assert image.config["created"] == "2000-01-01T00:00:00Z"
    assert {h["created"] for h in image.config["history"][2:]} == {"2000-01-01T00:00:00Z"}


def test_an_epoch_in_seconds_is_the_latest_time_and_older_ones_stay(lighter):
    image = built(lighter, "--epoch=1650000000", when=1600000000)
    assert max(times(image)) == 1650000000
    assert 1600000000 in times(image)
    assert image.config["created"] == "2022-04-15T05:20:00Z"
    older = built(lighter, "--epoch=1", when=1600000000)
    assert max(times(older)) == 1


def test_source_date_epoch_is_the_same_as_the_option(lighter):
    by_option = built(lighter, "--epoch=1650000000")
    by_environment = built(lighter, env={"SOURCE_DATE_EPOCH": "1650000000"})
    by_argument = built(lighter, "--build-arg", "SOURCE_DATE_EPOCH=1650000000")
    assert by_option.digest == by_environment.digest == by_argument.digest


def test_by_default_times_of_files_are_kept(lighter):
    began = int(time.time())
    image = built(lighter, when=1600000000)
    assert new_layers(image)[-1]["last/a"].mtime == 1600000000
    made = new_layers(image)[2]["home/user/f"].mtime
    assert began - 1 <= made <= time.time() + 1


def test_by_default_created_is_when_the_step_ran_and_hits_repeat_it(lighter):
    first = built(lighter)
    time.sleep(1.1)
    again = built(lighter)
    assert again.config["created"] == first.config["created"]
    assert again.digest == first.digest


def test_base_layers_keep_their_digests_whatever_the_epoch(lighter, bases):
    index = json.loads((bases("busybox") / "index.json").read_text())
    blob = index["manifests"][0]["digest"].split(":")[1]
    base = json.loads((bases("busybox") / "blobs" / "sha256" / blob).read_text())["layers"]
    for args in ([], ["--epoch=0"], ["--epoch=content"]):
        image = built(lighter, *args)
        assert [(d["digest"], d["size"]) for d in image.manifest["layers"][:2]] == \
            [(d["digest"], d["size"]) for d in base]


def test_changing_the_epoch_runs_no_step(lighter):
    built(lighter)
    again = lighter.build(clone(lighter, 1), "--epoch=content")
    assert again.ran == []


def test_a_bad_epoch_is_a_usage_error(lighter):
    for value in ("yesterday", "-1", "1.5", "99999999999999999999"):
        assert value in lighter.build(clone(lighter, 1), f"--epoch={value}", code=2).error


# ---- owners --------------------------------------------------------------------------------------

def test_a_store_of_one_user_is_refused_to_a_mode_that_would_change_its_owners(lighters, bases,
                                                                               needs_root):
    rootless = lighters("rootless", bases=[bases("busybox")])
    rootless.run_in("FROM busybox\nRUN touch /x\n")
    refused = rootless("build", rootless.context({"Dockerfile": "FROM busybox\nRUN touch /y\n"}),
                       code=None, user=0, group=0)
    assert refused.code in (6, 7), "root must not mix its files into a rootless store"
    assert str(rootless.store) in refused.error


def test_files_of_a_rootless_store_belong_to_the_user_or_their_subordinate_ids(lighters, bases):
    lighter = lighters("rootless", bases=[bases("busybox")])
    lighter.run_in("FROM busybox\nRUN touch /x && chown 5:6 /x\n", tag="ids")
    owner = (lighter.store / "meta.db").stat().st_uid
    roots = set()
    for top, dirs, files in os.walk(lighter.store):
        roots |= {os.lstat(os.path.join(top, name)).st_uid for name in dirs + files}
    assert owner in roots
    assert 0 not in roots
    info = lighter.image("ids").rootfs()["x"][0]
    assert (info.uid, info.gid) == (5, 6)


def test_an_unpacked_mode_is_the_modes_of_the_base(lighter):
    said = lighter.run_in("FROM busybox\nRUN stat -c 'tmp=%a' /tmp; stat -c 'root=%a' /root; "
                          "stat -c 'etc=%a:%u:%g:%Y' /etc/passwd\n")
    assert said.said("tmp") == "1777"
    assert said.said("root") == "700"
    assert said.said("etc").startswith("644:0:0:1700000000")


