"""Real go commands beside lighter: toolchains, directories that are proxies, checksum databases and zips that are
wrong. What a go command makes of them without lighter is what it must make of them with it."""

import os
import platform
import shutil
import subprocess

import pytest

from goclient import build, kept
from goproxy import Key, Module, Proxy, SumDB


@pytest.fixture(scope="module")
def go(module_lighters, bases):
    """A store with a golang base. Tests in it use modules, and keys of databases, of their own names."""
    return module_lighters(bases=[bases("golang")])


@pytest.fixture
def proxy():
    with Proxy() as p:
        yield p


@pytest.fixture
def sumdb():
    """Makes checksum databases, each with a key of its own: sumdb(name, *modules)."""
    made = []

    def make(name, *modules):
        made.append(SumDB(modules, Key(f"{name}.example.test", name.encode())))
        return made[-1]

    yield make
    for one in made:
        one.close()


# ---- toolchains: go.md P9 ------------------------------------------------------------------------

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
SWITCH = """\
FROM golang:1.22 AS builder
ENV GOTOOLCHAIN=auto
WORKDIR /app
COPY go.mod .
RUN go version > /said && cat /said
FROM scratch
COPY --from=builder /said /
"""


def newer(lighter, version):
    return lighter.context({"go.mod": f"module example.test/newer\n\ngo {version}\n"})


def toolchain(version):
    """A toolchain whose go command is a script."""
    said = f"#!/bin/sh\necho go version go{version} of the tests\n"
    return Module("golang.org/toolchain", f"v0.0.1-go{version}.linux-{ARCH}",
                  files={"bin/go": said, "bin/gofmt": said, "pkg/tool/none": "", "src/_go.mod": "module std\n", "VERSION": f"go{version}\n"})


def test_a_toolchain_that_go_mod_asks_for_is_fetched_once_by_all_builds(go, proxy, sumdb):
    """It is in no go.sum, and go asks for nothing but its zip: only the database says that the store has the right one."""
    new = toolchain("1.23.4")
    proxy.add(new)
    db = sumdb("toolchain", Module("example.test/toolchain/other"), new)
    context, setting = newer(go, "1.23.4"), {"GOSUMDB": db.setting()}
    plain = build(go, context, "--go-gateway=off", proxy=proxy, dockerfile=SWITCH, env=setting)
    assert plain.log[-1] == "go version go1.23.4 of the tests"
    proxy.forget()
    for _ in range(2):
        assert build(go, context, "--no-cache", proxy=proxy, dockerfile=SWITCH, env=setting).id == plain.id
    assert proxy.asked() == [f"{new.base}.zip"]
    assert f"{new.path}@{new.version}" in kept(go)


def test_a_toolchain_that_the_database_excludes_is_not_run(go, proxy, sumdb):
    new, evil = toolchain("1.23.5"), toolchain("1.23.5")
    evil.files["bin/go"] = b"#!/bin/sh\necho evil\n"
    evil.zip = evil.pack()
    proxy.add(evil)
    setting = {"GOSUMDB": sumdb("eviltoolchain", new).setting()}
    failed = build(go, newer(go, "1.23.5"), proxy=proxy, dockerfile=SWITCH, env=setting, code=5)
    for part in (f"{new.path}@{new.version}", new.zip_h1, evil.zip_h1, "the checksum database"):
        assert part in failed.error, part
    assert "evil" not in failed.log and f"{new.path}@{new.version}" not in kept(go)


def callers(name):
    """A setting of the one who runs the tests: what `go env` says, or the environment."""
    if shutil.which("go"):
        return subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip()
    return os.environ.get(name, "")


def test_a_real_toolchain_comes_through_the_gateway(go):
    setting = {name: callers(name) for name in ("GOPROXY", "GOSUMDB")}
    if not setting["GOPROXY"].startswith("http") or setting["GOSUMDB"] == "off":
        pytest.skip("no Go module proxy with a checksum database in GOPROXY and GOSUMDB")
    result = go.build(newer(go, "1.23.12"), dockerfile=SWITCH, env={**setting, "GOENV": "off"}, code=None, timeout=300)
    if result.code != 0 and "golang.org/toolchain" in result.stderr and "checksum" not in result.stderr:
        pytest.skip("the proxy in GOPROXY does not serve Go toolchains")
    assert result.code == 0 and f"go version go1.23.12 linux/{ARCH}" in result.log, result
    assert f"golang.org/toolchain@v0.0.1-go1.23.12.linux-{ARCH}" in kept(go)
