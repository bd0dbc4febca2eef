"""Real go commands beside lighter: toolchains, directories that are proxies, checksum databases and zips that are
wrong. What a go command makes of them without lighter is what it must make of them with it."""

import base64
import collections
import os
import platform
import re
import shutil
import subprocess

import pytest

import gozips
from goclient import DOWNLOAD, MAIN, build, kept, project
from goproxy import Key, Module, Proxy, escaped, flipped


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
    db = sumdb(Module("example.test/toolchain/other"), new)
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
    setting = {"GOSUMDB": sumdb(new).setting()}
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


# ---- zips: go.md S5, S6 --------------------------------------------------------------------------

def test_five_hundred_zips_have_the_hash_that_go_writes_beside_them(go, proxy):  # S5
    mods = [gozips.legal(i) for i in range(500)]
    proxy.add(*mods)
    context = project(go, *mods)
    text = DOWNLOAD + "RUN find /go/pkg/mod/cache/download -name '*.ziphash' | xargs grep -H h1:\n"
    plain = build(go, context, "--go-gateway=off", proxy=proxy, dockerfile=text)
    written = dict(line.split("/download/")[1].split(".ziphash:") for line in plain.log if ".ziphash:" in line)
    assert written == {m.base: m.zip_h1 for m in mods}
    assert build(go, context, "--no-cache", proxy=proxy, dockerfile=text).id == plain.id
    have = kept(go)
    assert {m.base: (have[f"{m.path}@{m.version}"] / "about").read_text().splitlines()[2] for m in mods} == written


EVIL = "evil-of-the-test"
GO_MOD = gozips.Entry("go.mod", b"module x\n")
BAD_ZIPS = {
    "bomb": [gozips.Entry("zeros", bytes(64 << 20), says=1000)],
    "bomb-that-is-told": [gozips.Entry("zeros", b"x", says=501 << 20)],
    "less-than-it-says": [gozips.Entry("a", b"x" * 1000, says=2000)],
    "two-cases": [gozips.Entry("a.go"), gozips.Entry("A.go", b"x")],
    "two-cases-of-a-directory": [gozips.Entry("d/a.go"), gozips.Entry("D/b.go", b"x")],
    "two-of-a-name": [gozips.Entry("a.go"), gozips.Entry("a.go", b"x")],
    "file-and-directory": [gozips.Entry("a"), gozips.Entry("a/b", b"x")],
    "dots": [gozips.Entry("../" * 30 + f"tmp/{EVIL}", b"x")],
    "dots-inside": [gozips.Entry(f"a/../../{EVIL}", b"x")],
    "backslash": [gozips.Entry(f"..\\{EVIL}", b"x")],
    "nested-go.mod": [GO_MOD, gozips.Entry("sub/go.mod", b"module y\n")],
    "go.mod-in-capitals": [gozips.Entry("GO.MOD", b"module x\n")],
    "newline": [gozips.Entry("a\nb", b"x")],
    "symlink": [gozips.Entry("link", b"/etc", mode=0o120777), gozips.Entry(f"link/{EVIL}", b"x")],
}
OUTSIDE = {"absolute": f"/tmp/{EVIL}", "beside": f"example.test/zip/other@v1.0.0/{EVIL}", "no-directory": EVIL}


def bad_zip(name):
    module = Module(f"example.test/zip/{name}")
    if name in OUTSIDE:
        return gozips.of(module, [gozips.Entry(OUTSIDE[name], b"x")], prefix="")
    return gozips.of(module, BAD_ZIPS[name])


@pytest.mark.parametrize("name", [*BAD_ZIPS, *OUTSIDE])
def test_a_zip_that_means_harm_ends_the_build_and_is_not_kept(go, proxy, name):  # S6
    """go.sum names the very bytes: what is wrong is what is in them."""
    module = bad_zip(name)
    proxy.add(module)
    context = project(go, module)
    assert build(go, context, "--go-gateway=off", proxy=proxy, code=None).code != 0, "go takes it"
    failed = build(go, context, proxy=proxy, code=None)
    assert failed.code in (1, 5)
    assert f"{module.path}@v1.0.0: its zip from {proxy.url} is not kept" in failed.stderr
    assert f"{module.path}@v1.0.0" not in kept(go)
    assert not os.path.exists(f"/tmp/{EVIL}")
    for top in ("gomod", "tmp"):
        assert not list((go.store / top).rglob(EVIL)), top


def test_a_link_in_a_zip_is_left_to_go_and_not_kept(go, proxy):  # S6
    """go writes a file that holds the link's target; lighter unpacks no such zip itself."""
    module = Module("example.test/zip/link")
    gozips.of(module, [gozips.Entry("go.mod", module.mod), gozips.Entry("link", b"/etc/passwd", mode=0o120777)])
    proxy.add(module)
    context = project(go, module)
    plain = build(go, context, "--go-gateway=off", proxy=proxy)
    seen = build(go, context, "--no-cache", proxy=proxy)
    assert seen.id == plain.id and f"{module.path}@v1.0.0: its zip" in seen.stderr
    assert f"{module.path}@v1.0.0" not in kept(go)


# ---- checksum databases: go.md S1, S4 ------------------------------------------------------------

# Each module by a go command that has seen nothing before.
VERDICTS = """\
FROM golang:1.22
WORKDIR /w
COPY ask list ./
RUN --mount=type=tmpfs,target=/tmp xargs -P 4 -n 1 sh ask < list
"""
ASK = ("GOPATH=/tmp/$$ GOFLAGS=-modcacherw go mod download $1@v1.0.0 >/dev/null 2>&1 && echo $1 ok || echo $1 failed\n"
       "rm -rf /tmp/$$\n")


def resigned(db, size, root):
    return db.key.note(f"go.sum database tree\n{size}\n{base64.b64encode(root).decode()}\n")


def lie(how, module, db):
    """What a database says of a module instead of the truth: a function of the true answer."""
    i = db.listed[f"{module.path}@v1.0.0"]
    evil = Module(module.path, files={"a.go": "package evil\n"})
    if how in ("zip", "mod"):  # the tree itself holds it
        db.records[i] = (module.sums().replace(module.zip_h1, evil.zip_h1) if how == "zip" else
                         module.sums().replace(module.mod_h1, evil.zip_h1))
        return None
    change = {
        "record": lambda b: b.replace(module.zip_h1.encode(), evil.zip_h1.encode()),
        "number": lambda b: b.replace(b"%d\n" % i, b"%d\n" % ((i + 1) % len(db.records)), 1),
        "signature": lambda b: b[:-12] + (b"AAAA" if b[-12:-8] != b"AAAA" else b"BBBB") + b[-8:],
        "size": lambda b: b.replace(b"tree\n%d\n" % len(db.records), b"tree\n%d\n" % (len(db.records) + 1)),
        "cut": lambda b: b[:len(b) // 2],
        "unsigned": lambda b: b[:b.rindex("\u2014".encode())],
    }[how]
    return lambda handler, body: Proxy.send(handler, 200, change(body))


def verdicts(lighter, proxy, db, mods):
    """{path: what go alone says of it}, {path: whether lighter has it as proven}."""
    proxy.add(*mods)
    context = lighter.context({"ask": ASK, "list": "".join(m.path + "\n" for m in mods)})
    setting = {"GOSUMDB": db.setting()}
    plain = build(lighter, context, "--go-gateway=off", proxy=proxy, dockerfile=VERDICTS, env=setting)
    alone = dict(line.split() for line in plain.log if line.endswith((" ok", " failed")))
    seen = build(lighter, context, "--no-cache", proxy=proxy, dockerfile=VERDICTS, env=setting, code=None)
    assert len(alone) == len(mods) and seen.code == (5 if "failed" in alone.values() else 0), seen
    have = kept(lighter)
    return alone, {m.path: "ok" if f"{m.path}@v1.0.0" in have else "failed" for m in mods}


LIES = ("zip", "mod", "record", "number", "signature", "size", "cut", "unsigned")


def test_records_are_believed_and_refused_as_by_go(go, proxy, sumdb):  # S1, S2
    mods = [Module(f"example.test/verdict/m{i}") for i in range(120)]
    db = sumdb(*mods)
    told = {m.path: LIES[i // 2 % len(LIES)] for i, m in enumerate(mods) if i % 2 and i < 96}
    for m in mods:
        fault = lie(told[m.path], m, db) if m.path in told else None
        if fault:
            db.faults[f"lookup/{m.path}@v1.0.0"] = fault
    alone, ours = verdicts(go, proxy, db, mods)
    assert ours == alone
    assert {path for path, said in alone.items() if said == "failed"} == set(told)


def spread(db, mods, size):
    """A database of so many records, the modules spread among them."""
    for i, m in enumerate(mods):
        grow(db, (size - 1) * (i + 1) // len(mods))
        db.list(m)


@pytest.mark.parametrize("how", ["root", "key", "tile"])
def test_trees_are_believed_and_refused_as_by_go(go, proxy, sumdb, how):  # S1, S2
    mods = [Module(f"example.test/tree/{how}{i}") for i in range(40 if how == "tile" else 20)]
    db = sumdb()
    spread(db, mods, 513)
    wrong = set(range(len(mods)))
    if how == "root":
        note = resigned(db, len(db.records), b"r" * 32)
        db.tree = lambda: note
    elif how == "key":
        setting = db.setting()
        db.key, db.setting = Key(db.key.name, b"somebody else's"), lambda: setting
    else:
        db.faults["tile/8/0/001"] = flipped
        wrong = {i for i, m in enumerate(mods) if 256 <= db.listed[f"{m.path}@v1.0.0"] < 512}
    alone, ours = verdicts(go, proxy, db, mods)
    assert ours == alone
    assert {path for path, said in alone.items() if said == "failed"} == {mods[i].path for i in wrong}


def test_a_tile_that_go_forgets_to_check_is_checked(go, proxy, sumdb):  # S2
    """Go 1.22 holds as many tiles as the tree has complete subtrees against nothing: of 600 records that is four."""
    a = Module("example.test/tree/unchecked")
    db = sumdb()
    grow(db, 300)
    db.list(a)
    grow(db, 600)
    db.faults["tile/8/0/001"] = flipped
    failed = prove(go, proxy, db, a, code=5)
    assert "tiles that do not add up to the signed tree of 600 records" in failed.error
    assert f"{a.path}@v1.0.0" not in kept(go)


PROVE = "FROM golang:1.22\nWORKDIR /m\nRUN go mod download -json {path}@v1.0.0\n"


def prove(lighter, proxy, db, module, *args, base="golang:1.22", **options):
    proxy.add(module)
    text = PROVE.format(path=module.path).replace("golang:1.22", base)
    return build(lighter, lighter.context({}), *args, proxy=proxy, dockerfile=text, env={"GOSUMDB": db.setting()}, **options)


def remembered(lighter, db):
    """The size of the newest tree that the store remembers of a database."""
    found = [text for text in ((path / "newest").read_text() for path in (lighter.store / "gomod" / "sumdb").glob("*") if (path / "newest").exists())
             if f"\u2014 {db.key.name} " in text]
    assert len(found) == 1
    return int(found[0].splitlines()[1])


def grow(db, size, word=""):
    db.records += [f"example.test/filler v0.0.{k} h1:{word}\n" for k in range(len(db.records), size)]


def test_a_tree_that_grows_from_part_of_a_tile_into_the_next_is_followed(go, proxy, sumdb):  # S4
    db = sumdb()
    for size in (200, 255, 256, 300, 1000):
        module = Module(f"example.test/grows/m{size}")
        grow(db, size - 1)
        db.list(module)
        assert prove(go, proxy, db, module).ran
        assert f"{module.path}@v1.0.0" in kept(go)
        assert remembered(go, db) == size


def test_an_older_tree_of_the_same_history_is_none_the_worse(go, proxy, sumdb):  # S4
    a, b = Module("example.test/older/a"), Module("example.test/older/b")
    db = sumdb(a, b)
    older = db.tree()
    grow(db, 300)
    assert prove(go, proxy, db, a).ran and remembered(go, db) == 300
    db.tree = lambda: older
    assert prove(go, proxy, db, b).ran
    assert f"{b.path}@v1.0.0" in kept(go) and remembered(go, db) == 300


@pytest.mark.parametrize("size", [150, 300, 600])
def test_a_tree_that_is_no_part_of_the_remembered_one_is_an_alarm_of_go_and_of_ours(go, proxy, sumdb, size):  # S3, S4
    """Shrunk, changed at its size, grown: one record of the past is another."""
    a, b = Module(f"example.test/forked{size}/a"), Module(f"example.test/forked{size}/b")
    db = sumdb(a)
    grow(db, 300)
    assert prove(go, proxy, db, a, "-t", f"forked:{size}").ran
    db.records = db.records[:100] + ["example.test/other v1.0.0 h1:\n"]
    grow(db, size - 1)
    db.list(b)
    alone = prove(go, proxy, db, b, "--go-gateway=off", base=f"forked:{size}", code=1)
    assert "SECURITY ERROR" in alone.stderr
    failed = prove(go, proxy, db, b, "--no-cache", code=5)
    assert "SECURITY" in failed.error and "two histories" in failed.error and db.key.name in failed.error
    assert f"{b.path}@v1.0.0" not in kept(go)
    assert remembered(go, db) == 300


# ---- a directory that is a proxy: go.md P3 -------------------------------------------------------

# Without lighter's gateway, and without a network: a go command and a directory.
DIRECTORY = """\
FROM golang:1.22
WORKDIR /app
COPY . .
ENV GOPROXY=file:///view,{behind}
RUN --mount=type=bind,from=view,target=/view go mod download && go mod verify && go list -deps . | grep example.test/view/
"""


@pytest.fixture(scope="module")
def view(go):
    """A copy of what a step sees of the store, and a project that needs it: (directory, project, modules)."""
    b = Module("example.test/view/B", version="v1.0.0-RC1", files={"b.go": "package b\n"})
    a = Module("example.test/view/a", requires=[b], files={"a.go": 'package a\n\nimport _ "example.test/view/B"\n'})
    context = project(go, a, files={"main.go": 'package main\n\nimport _ "example.test/view/a"\n\nfunc main() {}\n'})
    with Proxy([a]) as proxy:
        before = set((go.store / "gomod").glob("view-*"))
        build(go, context, proxy=proxy)
    made, = set((go.store / "gomod").glob("view-*")) - before
    copy = go.directory() / "view"
    shutil.copytree(made / "p", copy)
    return go.own(copy), context, (a, b)


def from_directory(lighter, context, directory, behind, network, code=0):
    return lighter.build(context, "--no-cache", "--go-gateway=off", f"--network={network}", "--build-context", f"view={directory}",
                         dockerfile=DIRECTORY.format(behind=behind), env={"GOSUMDB": "off"}, code=code)


def test_what_the_store_shows_is_enough_for_a_go_that_has_nothing_else(go, view):
    directory, context, mods = view
    log = from_directory(go, context, directory, "off", "none").log
    assert "all modules verified" in log and {m.path for m in mods} <= set(log)


@pytest.mark.parametrize("ending", ["info", "mod", "zip"])
def test_a_file_that_the_directory_lacks_is_asked_of_the_proxy_behind_it_alone(go, proxy, view, ending):
    directory, context, (_, b) = view
    missing = directory / f"{b.base}.{ending}"
    text = missing.read_bytes()
    missing.unlink()
    try:
        from_directory(go, context, directory, "off", "none", code=1)
        proxy.add(b)
        from_directory(go, context, directory, proxy.url, "host")
        assert proxy.asked() == [f"{b.base}.{ending}"]
    finally:
        missing.write_bytes(text)


# ---- what go asks for: go.md P10 -----------------------------------------------------------------

def of_name(shape, name, *imports, version="v1.0.0", go="1.20", requires=None, suffix=""):
    """A package that imports others; it requires them, or what is said."""
    lines = "".join(f'import _ "{m.path}"\n' for m in imports)
    return Module(f"example.test/{shape}/{name}{suffix}", version, {"x.go": f"package x\n\n{lines}\nconst Name = 1\n"},
                  requires=imports if requires is None else requires, go=go)


def main_of(*imports, test=()):
    files = {"main.go": "package main\n\n" + "".join(f'import _ "{path}"\n' for path in imports) + "\nfunc main() {}\n"}
    if test:
        files["main_test.go"] = "package main\n\n" + "".join(f'import _ "{path}"\n' for path in test)
    return files


def mod_of(shape, *requires, go="1.20", more=""):
    return f"module example.test/{shape}/main\n\ngo {go}\n\n" + "".join(f"require {m.path} {m.version}\n" for m in requires) + more


def shapes():
    """{name: (modules of the proxy, files of the project, its directories with a go.mod)}."""
    found = {}

    def shape(name, mods, files, *dirs):
        found[name] = (mods, files, dirs or (".",))

    a = of_name("plain", "a")
    shape("plain", [a], {"go.mod": mod_of("plain", a), **main_of(a.path)})
    c = of_name("chain", "c")
    a = of_name("chain", "a", of_name("chain", "b", c))
    shape("chain", [a], {"go.mod": mod_of("chain", a), **main_of(a.path)})
    fork, local = of_name("replaced", "fork"), of_name("replaced", "needed")
    shape("replaced", [fork, local], {
        "go.mod": mod_of("replaced", more="require example.test/replaced/a v1.0.0\nrequire example.test/replaced/l v0.0.0\n"
                         f"replace example.test/replaced/a => {fork.path} v1.0.0\nreplace example.test/replaced/l => ./l\n"),
        "l/go.mod": mod_of("replaced", local).replace("/main", "/l"), "l/l.go": f'package l\n\nimport _ "{local.path}"\n',
        **main_of("example.test/replaced/a", "example.test/replaced/l")})
    a = of_name("incompatible", "a", version="v2.1.0+incompatible")
    gozips.of(a, [gozips.Entry("x.go", a.files["x.go"])])
    a.mod = f"module {a.path}\n".encode()
    shape("incompatible", [a], {"go.mod": mod_of("incompatible", a), **main_of(a.path)})
    a = of_name("pseudo", "a", version="v0.0.0-20240115102030-0123456789ab")
    shape("pseudo", [a], {"go.mod": mod_of("pseudo", a), **main_of(a.path)})
    for name, line in (("old", "1.16"), ("pruned", "1.17")):  # go 1.16 reads the go.mod of all, go 1.17 of what it needs
        deep = of_name(name, "b", go=line, requires=[of_name(name, "unused", go=line, requires=[of_name(name, "deeper", go=line)])])
        a = of_name(name, "a", deep, go=line)
        shape(name, [a], {"go.mod": mod_of(name, a, go=line), **main_of(a.path)})
    one, two = of_name("workspace", "a"), of_name("workspace", "a", version="v1.1.0")
    shape("workspace", [one, two], {
        "go.work": "go 1.20\n\nuse (\n\t.\n\t./lib\n)\n", "go.mod": mod_of("workspace", one), **main_of(one.path),
        "lib/go.mod": mod_of("workspace", two).replace("/main", "/lib"), "lib/l.go": f'package lib\n\nimport _ "{two.path}"\n'}, ".", "lib")
    one, two = of_name("versions", "c"), of_name("versions", "c", version="v1.1.0")
    a, b = of_name("versions", "a", one), of_name("versions", "b", two)
    shape("versions", [a, b], {"go.mod": mod_of("versions", a, b, more=f"exclude {one.path} v1.0.0\n"), **main_of(a.path, b.path)})
    a = of_name("major", "a", version="v2.0.0", suffix="/v2")
    shape("major", [a], {"go.mod": mod_of("major", a), **main_of(a.path)})
    a = of_name("capitals", "A", version="v1.0.0-RC1")
    shape("capitals", [a], {"go.mod": mod_of("capitals", a), **main_of(a.path)})
    a, t = of_name("tested", "a"), of_name("tested", "t")
    shape("tested", [a, t], {"go.mod": mod_of("tested", a, t), **main_of(a.path, test=[t.path])})
    return found


def named_by(sums):
    """The files of a proxy that go.sum lines answer for."""
    found = set()
    for line in sums:
        path, version, _ = line.split()
        base = f"{escaped(path)}/@v/{escaped(version.removesuffix('/go.mod'))}"
        found |= {f"{base}.mod"} if version.endswith("/go.mod") else {f"{base}.zip", f"{base}.info"}
    return found


def test_go_asks_for_nothing_outside_go_sum_and_neither_do_we(go, proxy):
    """go.sum files are those that `go mod tidy` writes, of projects of every kind."""
    every = shapes()
    proxy.add(*(m for mods, _, _ in every.values() for m in mods))
    files = {f"{name}/{path}": text for name, (_, shape, _) in every.items() for path, text in shape.items()}
    tidied = build(go, go.context(files), "--go-gateway=off", proxy=proxy, dockerfile="FROM golang:1.22\nWORKDIR /s\nCOPY . .\nRUN " + " && ".join(
        f"(cd {name}/{directory} && GOWORK=off go mod tidy && for f in go.mod go.sum; do sed \"s#^#{name}/{directory}/$f #\" $f; done)"
        for name, (_, _, dirs) in every.items() for directory in dirs) + "\n")
    lines, sums = {}, {name: [] for name in every}
    for path, _, line in (line.partition(" ") for line in tidied.log if line.split(" ")[0].endswith(("go.mod", "go.sum"))):
        path = path.replace("/./", "/")
        lines.setdefault(path, []).append(line)
        if path.endswith("go.sum"):
            sums[path.split("/")[0]].append(line)
    context = go.context({**files, **{path: "\n".join(text) + "\n" for path, text in lines.items()}})
    text = "FROM golang:1.22\n" + "".join(f"WORKDIR /s/{name}\nCOPY {name}/ ./\nRUN go list -deps -test {' '.join(f'./{d}' for d in dirs)} >/dev/null"
                                           + (" && go mod download\n" if name not in ("old", "workspace") else "\n") for name, (_, _, dirs) in every.items())
    for gateway, asks in (("off", True), ("on", True), ("on", False)):
        proxy.forget()
        build(go, context, "--no-cache", f"--go-gateway={gateway}", proxy=proxy, dockerfile=text)
        for name in every:
            asked = {path for path in proxy.asked() if path.startswith(f"example.test/{name}/")}
            assert bool(asked) == asks, (name, gateway)
            assert asked <= named_by(sums[name]), (name, gateway)


# ---- a single-stage image: go.md T2 --------------------------------------------------------------

SINGLE = """\
FROM golang:1.22 AS builder
ENV CGO_ENABLED=0
WORKDIR /app
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -o /main .
"""


def files_of(lighter, ref):
    """Kind, mode and name of each file of the caches. Names in a build cache are hashes, of times too: their kind counts."""
    said = lighter.run(ref, "sh", "-c", "find /go /root -exec stat -c '%F %a %n' {} +", args=["--network=none"])
    assert said.code == 0
    return collections.Counter(re.sub(r"go-build/[0-9a-f]{2}/[0-9a-f]{64}", "go-build/#", line) for line in said.stdout.splitlines())


def test_a_single_stage_image_has_all_files_of_a_cold_one_and_builds_offline(go, proxy):
    b = Module("example.test/single/B", files={"b.go": "package b\n\nconst Name = 1\n"})
    a = Module("example.test/single/a", requires=[b], files={"a.go": 'package a\n\nimport b "example.test/single/B"\n\nconst Name = b.Name\n'})
    proxy.add(a)
    context = project(go, a, files={"main.go": MAIN.format(path=a.path)})
    build(go, context, proxy=proxy, dockerfile=SINGLE + "FROM scratch\nCOPY --from=builder /main /\n")  # what there is to share
    build(go, context, "--no-cache", "-t", "single:on", proxy=proxy, dockerfile=SINGLE)
    build(go, context, "--no-cache", "--go-cache=off", "--go-gateway=off", "--go-parts=off", "-t", "single:off", proxy=proxy, dockerfile=SINGLE)
    warm, cold = files_of(go, "single:on"), files_of(go, "single:off")
    assert warm == cold
    assert sum("go-build/#-d" in name for name in cold.elements()) > 50 and any(f"{b.base}.zip" in name for name in cold)
    for ref in ("single:on", "single:off"):
        again = go.run(ref, "sh", "-c", "GOPROXY=off GOFLAGS=-mod=mod go build -v -o /tmp/x . && /tmp/x", args=["--network=none"])
        assert again.code == 0 and (again.stdout + again.stderr).split() == ["1"], "nothing is compiled or asked for"
