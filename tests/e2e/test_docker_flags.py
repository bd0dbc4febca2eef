"""Every flag of `docker build` and `docker buildx build`: done, without effect here, or refused by name.

The list is docker's own: docs/reference/commandline/build.md of docker/cli 28 and docs/reference/buildx_build.md
of docker/buildx 0.29, with the flags that older versions took.
"""

import re
import subprocess

import pytest

DOCKERFILE = "FROM scratch\nCOPY f /\n"

DONE, NOTHING, REFUSED, LIMIT = "done", "without effect", "refused", "done where the machine has control groups"

# flag, a value or None, what lighter does with it
FLAGS = [
    ("--add-host", "db:10.0.0.1", DONE),
    ("--allow", "network.host", DONE),
    ("--annotation", "a=b", DONE),
    ("--attest", "type=provenance,disabled=true", NOTHING),
    ("--attest", "type=sbom", REFUSED),
    ("--build-arg", "A=1", DONE),
    ("--build-context", "other=.", DONE),
    ("--builder", "mine", REFUSED),
    ("--cache-from", "type=registry,ref=x", REFUSED),
    ("--cache-to", "type=inline", REFUSED),
    ("--call", "outline", REFUSED),
    ("--cgroup-parent", "mine", LIMIT),
    ("--check", None, REFUSED),
    ("--compress", None, NOTHING),
    ("--cpu-period", "100000", LIMIT),
    ("--cpu-quota", "50000", LIMIT),
    ("--cpu-shares", "512", LIMIT),
    ("-c", "512", LIMIT),
    ("--cpuset-cpus", "0", LIMIT),
    ("--cpuset-mems", "0", LIMIT),
    ("--debug", None, NOTHING),
    ("-D", None, NOTHING),
    ("--detach", None, REFUSED),
    ("--disable-content-trust", None, NOTHING),
    ("--disable-content-trust=false", None, REFUSED),
    ("--file", "Dockerfile", DONE),
    ("-f", "Dockerfile", DONE),
    ("--force-rm", None, NOTHING),
    ("--iidfile", "iid", DONE),
    ("--invoke", "sh", REFUSED),
    ("--isolation", "default", NOTHING),
    ("--isolation", "hyperv", REFUSED),
    ("--label", "a=b", DONE),
    ("--load", None, DONE),
    ("--memory", "512m", LIMIT),
    ("-m", "512m", LIMIT),
    ("--memory-swap", "-1", REFUSED),  # as docker refuses it without --memory
    ("--metadata-file", "meta.json", DONE),
    ("--network", "none", DONE),
    ("--no-cache", None, DONE),
    ("--no-cache-filter", "0", DONE),
    ("--output", "type=cacheonly", DONE),
    ("-o", "out", DONE),
    ("--platform", "linux/arm64", DONE),
    ("--policy", "x", REFUSED),
    ("--print", "outline", REFUSED),
    ("--progress", "plain", DONE),
    ("--progress", "quiet", DONE),
    ("--progress", "rawjson", DONE),
    ("--progress", "fancy", REFUSED),
    ("--provenance", "false", NOTHING),
    ("--provenance=false", None, NOTHING),
    ("--provenance", "mode=max", REFUSED),
    ("--pull", None, DONE),
    ("--pull=false", None, DONE),
    ("--quiet", None, DONE),
    ("-q", None, DONE),
    ("--resource", "x", REFUSED),
    ("--rm", None, NOTHING),
    ("--rm=true", None, NOTHING),
    ("--rm=false", None, REFUSED),
    ("--root", "/x", REFUSED),
    ("--sbom=false", None, NOTHING),
    ("--sbom", "true", REFUSED),
    ("--secret", "id=s,src=f", DONE),
    ("--security-opt", "seccomp=unconfined", REFUSED),
    ("--server-config", "x", REFUSED),
    ("--shm-size", "128m", DONE),
    ("--squash", None, DONE),
    ("--tag", "a/b:c", DONE),
    ("-t", "a/b:c", DONE),
    ("--target", "0", DONE),
    ("--ulimit", "nofile=1024:2048", DONE),
]


@pytest.fixture
def project(bare):
    return bare.context({"f": "1", "Dockerfile": DOCKERFILE})


@pytest.mark.parametrize("flag, value, does", FLAGS)
def test_each_flag_of_docker_build_is_done_or_refused_by_name(bare, project, flag, value, does):
    words = [flag] + ([value] if value is not None else [])
    done = bare("build", *words, ".", cwd=project, code=None, env={"PATH": "/nonexistent"})
    if does == REFUSED:
        assert done.code == 2 and flag.split("=")[0] in done.error, done
        return
    if does == LIMIT and done.code == 6:
        assert "limits need cgroup v2" in done.error
    else:
        assert done.code == 0, done
    name = flag.split("=")[0]
    assert re.search(rf"^ *(-\w, )?{name}\b|^ *{name}, ", bare("build", "--help").stdout, re.M), name


def test_push_is_a_flag_too(bare, project):
    assert "--tag" in bare("build", "--push", project, code=2).error


@pytest.mark.parametrize("words", [["build"], ["buildx", "build"], ["image", "build"], ["builder", "build"],
                                   ["buildx", "b"]])
def test_each_spelling_of_build_is_build(bare, project, words):
    bare(*words, "-t", "spelled", project)
    assert bare.inspect("spelled")["Id"]


@pytest.mark.parametrize("words, like", [
    (["image", "ls"], ["images"]), (["image", "list"], ["images"]), (["image", "inspect", "x"], ["inspect", "x"]),
    (["image", "tag", "x", "y"], ["tag", "x", "y"]), (["image", "save", "-o", "a.tar", "x"], None),
    (["image", "load", "-i", "a.tar"], None), (["image", "rm", "y"], None),
    (["image", "history", "x"], ["history", "x"]), (["system", "df"], ["du"]), (["buildx", "du"], ["du"]), (["buildx", "version"], ["version"]),
])
def test_the_long_names_of_docker_are_those_commands(bare, project, words, like):
    bare("build", "-t", "x", "-t", "y", project)
    bare("save", "-o", "a.tar", "x", cwd=bare.place)
    done = bare(*words, cwd=bare.place)
    if like:
        assert done.stdout.split()[:3] == bare(*like).stdout.split()[:3]


def test_a_script_that_calls_docker_runs_with_a_link_of_that_name(bare, project):
    link = bare.directory() / "docker"
    link.symlink_to(bare.binary)
    script = bare.context({"build.sh": """\
set -e
docker build --pull=false --rm --force-rm --no-cache -t me/app:1 -t me/app:latest --label v=1 .
docker buildx build --load --provenance=false -t me/app:2 .
docker image ls
docker tag me/app:1 me/app:3
docker save me/app:1 me/app:3 -o all.tar
docker rmi me/app:1 me/app:2 me/app:3 me/app:latest
docker load -i all.tar
docker inspect me/app:3 >/dev/null
"""})
    (script / "f").write_text("1")
    (script / "Dockerfile").write_text(DOCKERFILE)

    done = subprocess.run(["sh", "build.sh"], cwd=bare.own(script), capture_output=True, text=True, check=False,
                          env=bare.environment({"PATH": f"{link.parent}:/usr/bin:/bin", "DOCKER_HOST": ""}))
    assert done.returncode == 0, done.stdout + done.stderr
