"""Go packages are compiled once where the build cache is in the image, too: there it is what a cold build leaves."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from goproxy import Module, go_mod, go_sum
from harness import processes_with, wait_for

MOD = "module example.test/main\n\ngo 1.20\n"
MAIN = 'package main\n\nimport _ "errors"\n\nfunc main() {{ println("{word}") }}\n'
TEST = 'package main\n\nimport "testing"\n\nfunc TestIt(t *testing.T) { println("ran") }\n'
SINGLE = """\
FROM golang:1.22
ENV CGO_ENABLED=0
WORKDIR /app
COPY . .
RUN {run}
"""
OTHERS = "RUN mkdir -p /home/me && chown -R 7:8 /home/me /app\nUSER 7:8\nENV HOME=/home/me\nRUN"
C = 'package main\n\n// int two(void) { return 2; }\nimport "C"\n\nfunc two() int { return int(C.two()) }\n'

# Dockerfiles whose image has a build cache; what else is in their contexts.
LIVE = {
    "one stage": (SINGLE.format(run="go build -v -o main ."), {}),
    "a script": (SINGLE.format(run="sh ./build.sh"), {"build.sh": "cd /app && go build -v -o main .\n"}),
    "another user": (SINGLE.format(run="go build -v -o main .").replace("RUN", OTHERS), {}),
    "another place": (SINGLE.format(run="go build -v -o main .").replace("WORKDIR", "ENV GOCACHE=/cache/of/go\nWORKDIR"), {}),
    "a narrow umask": (SINGLE.format(run="umask 027 && go build -v -o main ."), {}),
    "two commands": (SINGLE.format(run="go vet . && go build -v -o main .\nRUN go build -v -o other ./other"),
                     {"other/main.go": MAIN.format(word="other").replace('"fmt"', '(\n\t"fmt"\n\t_ "sort"\n)')}),
    "tests": (SINGLE.format(run="go test -v . && go build -v -o main ."), {"main_test.go": TEST}),
    "a list": (SINGLE.format(run="go build -v -o main .\nRUN find /root/.cache | sort >/list"), {}),
    "a stage of its own": (SINGLE.format(run="go build -v -o main .").replace("golang:1.22", "golang:1.22 AS b") +
                           "FROM scratch\nCOPY --from=b /root/.cache /c\nCOPY --from=b /app/main /\n", {}),
    "a base that has one": (SINGLE.format(run="go build -v -o main .").replace("golang:1.22", "golang:1.22 AS b") +
                            "FROM b\nCOPY . .\nRUN go build -v -o again .\n", {}),
}


def fill(lighter, files):
    """A context, always the same directory, so that all tests of a store share what was compiled."""
    shutil.rmtree(lighter.place / "live", ignore_errors=True)
    context = lighter.context(files, name="live")
    for path in context.rglob("*"):
        os.utime(path, (1700000000, 1700000000))
    return context


def project(lighter, files):
    return fill(lighter, {"go.mod": MOD, "main.go": MAIN.format(word="one"), **files})


def edit(lighter, context, word):
    """go makes no index of a directory in which a file was changed within two seconds."""
    path = context / "main.go"
    path.write_text(MAIN.format(word=word))
    os.utime(path, (1700000000 + len(word), 1700000000 + len(word)))
    lighter.own(context)


def build(lighter, context, dockerfile, *args, tag=None):
    env = {"GOPROXY": "off", "GOSUMDB": "off", "GOENV": "off"}
    return lighter.build(context, *args, dockerfile=dockerfile, env=env, tag=tag)


def compiled(result):
    names = ("internal", "runtime", "example.test", "math", "unsafe", "errors", "sync", "os", "fmt", "reflect", "io", "testing")
    return [line for line in result.log if line.split("/")[0] in names and "\t" not in line]


def contents(lighter, tag):
    """All of an image but the toolchain: {path: (type, mode, owner, content)}. Times of entries are no content."""
    lighter.run_in(f"FROM scratch\nCOPY --from={tag} --exclude=usr --exclude=lib* / /\n", tag="contents")
    files = lighter.image("contents").rootfs()
    tests = {path[-66:-2].encode() for path, (_, content) in files.items()
             if path.endswith("-d") and re.search(rb"(?m)^(ok|PASS)|^# test log", content or b"")}  # they say how long it took
    found = {}
    for path, (info, content) in files.items():
        if path.endswith("-a") and content and content.startswith(b"v1 "):
            content = content[:68] if content[68:132] in tests else content[:-21]
        if path.endswith("/trim.txt"):
            content = bool(re.fullmatch(rb"\d{10}", content))
        if path.endswith("-d") and path[-66:-2].encode() in tests:
            path, content = "a test's output", b""
        found[path] = (info.type, info.mode, info.uid, info.gid, content)
    return found


def differences(one, other):
    return {path: (one.get(path), other.get(path)) for path in one.keys() | other.keys() if one.get(path) != other.get(path)}


def check(lighter, cold, text, files):
    context = project(lighter, files | {"text": text})
    build(lighter, context, text)
    edit(lighter, context, "two")
    warm = build(lighter, context, text, tag="warm")
    assert set(compiled(warm)) <= {"example.test/main", "example.test/main/other", "example.test/main [example.test/main.test]"}, warm
    assert not any("runs again" in line for line in warm.stderr.splitlines()), warm.stderr
    plain = build(cold, context, text, "--go-cache=off", tag="cold")
    assert not any("HIT" in line and "RUN" in line for line in plain.stderr.splitlines())
    assert differences(contents(lighter, "warm"), contents(cold, "cold")) == {}
    return context


@pytest.mark.parametrize("mode", ["root", "rootless", "single"])
def test_an_edit_compiles_what_was_edited_and_the_image_has_all(mode, lighters, bases):
    lighter, cold = (lighters(mode, bases=[bases("golang")]) for _ in range(2))
    check(lighter, cold, *LIVE["one stage"])
    again = lighter.run("warm", "go", "build", "-v", "-o", "/tmp/x", ".", args=["--network=none"])
    assert again.code == 0 and not again.stdout + again.stderr, "all that was compiled is there"
    assert lighter("store", "check", *(["--isolation", lighter.isolation] if lighter.isolation else [])).code == 0


@pytest.fixture(scope="module")
def pair(module_lighters, bases):
    return [module_lighters(bases=[bases("golang")]) for _ in range(2)]


def entries(lighter, tag):
    """The entries of build caches in each layer."""
    return [sorted(name for name in layer.names() if name.endswith("-a")) for layer in lighter.image(tag).layers]


@pytest.mark.parametrize("what", list(LIVE)[1:])
def test_what_is_left_is_what_a_cold_build_leaves(pair, what):
    context = check(*pair, *LIVE[what])
    if what in ("two commands", "a base that has one"):  # what an earlier layer has is not put into the next one again
        warm, plain = entries(pair[0], "warm"), entries(pair[1], "cold")
        assert warm == plain and sum(len(names) > 0 for names in warm) >= 2
    if what == "tests":
        edit(pair[0], context, "three")
        log = build(pair[0], context, LIVE[what][0]).log
        assert "ran" in log and not any("(cached)" in line for line in log)


def test_a_program_with_c_leaves_what_go_made_of_it(module_lighters, bases):
    lighter, cold = (module_lighters(bases=[bases("golang-cgo")]) for _ in range(2))
    check(lighter, cold, SINGLE.format(run="go build -v -o main .").replace("ENV CGO_ENABLED=0\n", ""), {"two.go": C})


# ---- modules that a build unpacks ----------------------------------------------------------------

MODULES = SINGLE.format(run="go build -v -o main .")
USES = 'package main\n\nimport "example.test/{name}"\n\nfunc main() {{ println({name}.Name, "{word}") }}\n'


@pytest.fixture
def modules(proxy):
    """Two that a program may use; each has a directory more than it needs."""
    made = [Module(f"example.test/{name}", files={"a.go": f'package {name}\n\nimport "errors"\n\nvar Name = errors.New("{name}").Error()\n',
                                                  "sub/s.go": "package sub\n", "README": name}) for name in ("used", "unused")]
    for module in made:
        proxy.add(module)
    return made


def needs(lighter, modules, files=None):
    return fill(lighter, {"go.mod": go_mod(*modules), "go.sum": go_sum(*modules), "main.go": USES.format(name="used", word="one"),
                          **(files or {})})


def build_with(lighter, proxy, context, dockerfile, *args, tag=None):
    env = {"GOPROXY": proxy.url, "GOSUMDB": "off", "GOENV": "off"}
    return lighter.build(context, *args, dockerfile=dockerfile, env=env, tag=tag)


def unpacked(lighter):
    """Snapshots that have the files of a module."""
    return [p for p in (lighter.store / "snapshots").glob("*/go/pkg/mod/example.test/*@*") if p.is_dir()]


@pytest.mark.parametrize("mode", ["root", "rootless"])
def test_a_build_unpacks_no_module_again_and_the_image_has_those_that_it_used(mode, lighters, bases, proxy, modules):
    lighter, cold = (lighters(mode, bases=[bases("golang")]) for _ in range(2))
    context = needs(lighter, modules)
    build_with(lighter, proxy, context, MODULES)
    before = len(unpacked(lighter))
    (context / "main.go").write_text(USES.format(name="used", word="two"))
    os.utime(context / "main.go", (1700000001, 1700000001))
    lighter.own(context)
    warm = build_with(lighter, proxy, context, MODULES, tag="warm")
    assert compiled(warm) == ["example.test/main"] and not any("downloading" in line for line in warm.log)
    assert len(unpacked(lighter)) == before
    plain = build_with(cold, proxy, context, MODULES, "--go-cache=off", "--go-parts=off", tag="cold")
    assert any("downloading" in line for line in plain.log)
    left = contents(lighter, "warm")
    assert differences(left, contents(cold, "cold")) == {}
    assert "go/pkg/mod/example.test/used@v1.0.0/sub/s.go" in left and "go/pkg/mod/example.test/unused@v1.0.0" not in left


@pytest.mark.parametrize("run", [
    "make", "CGO_ENABLED=0 go vet ./... && go build -v -o main .", "cd /app && go test . && go build -o main .",
    "go list -m -f '{{.Dir}}' all >/list && go build -o main .", "go mod vendor && go build -o main .", "go build -modcacherw -o main .",
    "ls /go/pkg/mod/example.test >/before; go build -o main .", "go build -o main . && chmod -R u+w $GOPATH/pkg", "rm -r /app/gone && go build -o main .",
    "go build -o main . && rm -r /go/pkg/mod/cache", "go build -o main . && go clean -modcache"])
def test_whatever_else_a_command_does_the_image_is_the_cold_one(pair, proxy, modules, run):
    lighter, cold = pair
    context = needs(lighter, modules, {"Makefile": "all:\n\tgo build -v -o main .\n", "gone": None, "gone/x": "", "run": run,
                                       "main_test.go": 'package main\n\nimport "testing"\n\nfunc TestIt(t *testing.T) {}\n'})
    text = SINGLE.format(run=run).replace("RUN", "RUN ln -sf /usr/local/go/bin/go /bin/make\nRUN", 1) if run == "make" else SINGLE.format(run=run)
    text = text.replace("ln -sf /usr/local/go/bin/go /bin/make", "printf '#!/bin/sh\\nexec go build -v -o main .\\n' >/bin/make && chmod 755 /bin/make")
    build_with(lighter, proxy, context, text, tag="warm")
    build_with(cold, proxy, context, text, "--go-parts=off", tag="cold")
    assert differences(contents(lighter, "warm"), contents(cold, "cold")) == {}


def test_a_command_that_takes_files_away_runs_twice_once(pair, proxy, modules):
    """A layer over unpacked modules cannot say it: the next time it is lent none."""
    lighter = pair[0]
    context = needs(lighter, modules, {"gone": "x", "s.sh": "rm /app/gone && go build -v -gcflags=-l -o main .\n"})
    text = (SINGLE.format(run="sh ./s.sh") + "FROM scratch\nCOPY --from=0 /app/main /\n")
    first = build_with(lighter, proxy, context, text)
    assert "it changed modules that lighter unpacked for it" in first.stderr and first.stderr.count("runs again") == 1
    assert sum("runtime" in line.split() for line in first.log) <= 1, "it was not compiled twice"
    assert "runs again" not in build_with(lighter, proxy, context, text, "--no-cache").stderr


def test_a_target_that_was_a_stage_finds_what_the_stage_compiled(pair):
    lighter = pair[0]
    context = project(lighter, {"name": "target"})
    text = LIVE["one stage"][0].replace("golang:1.22", "golang:1.22 AS b") + "FROM scratch\nCOPY --from=b /app/main /\n"
    build(lighter, context, text)
    edit(lighter, context, "target")
    assert compiled(build(lighter, context, text, "--target=b", tag="b")) == ["example.test/main"]
    assert any(path.startswith("root/.cache/go-build/") for path in lighter.image("b").rootfs())


@pytest.mark.parametrize("script", ["go build -v -o main . && rm -rf /root/.cache", "go build -v -o main . && rm -f /root/.cache/go-build/*/*-d",
                                    "rm -rf /root/.cache && go build -v -o main ."])
def test_a_script_that_changes_what_it_was_lent_runs_again_without(pair, script):
    lighter, cold = pair
    context = project(lighter, {"s.sh": f"set -e\ncd /app\n{script}\n"})
    text = SINGLE.format(run="sh ./s.sh")
    build(lighter, context, SINGLE.format(run="go build -v -o main ."))
    warm = build(lighter, context, text, tag="warm")
    assert "runtime" in compiled(warm) and "it changed the build cache that lighter lends it" in warm.stderr
    build(cold, context, text, "--go-cache=off", tag="cold")
    assert differences(contents(lighter, "warm"), contents(cold, "cold")) == {}


def test_what_cannot_be_followed_is_not_lent_in_the_end(lighters, bases):
    """More files are opened than the kernel keeps in mind, while nobody reads it: then it is not known which."""
    lighter = lighters("root" if os.geteuid() == 0 else "rootless", bases=[bases("golang")])
    marker = f"{os.getpid()}.25"
    opens = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    context = project(lighter, {"s.sh": (
        f"set -e\ncd /app\ngo build -v -o main .\nsleep {marker} & \nsleep 1\ncd /root/.cache/go-build\nn=0\n"
        f"while [ $n -le {opens} ]; do for f in */*-a; do : <$f; n=$((n+1)); done; done\nkill $!\necho flooded\n")})
    build(lighter, context, SINGLE.format(run="go build -v -o main ."))
    child = lighter.start("build", "-f", "-", "--isolation", lighter.isolation or "auto", context, stdin=subprocess.PIPE,
                          env={"GOPROXY": "off", "GOSUMDB": "off", "GOENV": "off"})
    child.stdin.write(SINGLE.format(run="timeout 60 sh ./s.sh").encode())
    child.stdin.close()
    child.stdin = None
    wait_for(lambda: processes_with(marker), 60)
    os.kill(child.pid, signal.SIGSTOP)
    wait_for(lambda: not processes_with(marker), 60)
    os.kill(child.pid, signal.SIGCONT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0 and b"it used more of what lighter lends it than could be followed, so it runs again without" in err, err


def test_a_build_cache_behind_a_link_is_left_alone(pair):
    lighter, cold = pair
    text = SINGLE.format(run="go build -v -o main .").replace("WORKDIR", "RUN mkdir /else && mv /root /else/root && ln -s /else/root /root\nWORKDIR", 1)
    context = project(lighter, {"link": ""})
    build(lighter, context, SINGLE.format(run="go build -v -o main ."))
    assert "runs again" not in build(lighter, context, text, tag="warm").stderr
    build(cold, context, text, "--go-cache=off", tag="cold")
    assert differences(contents(lighter, "warm"), contents(cold, "cold")) == {}


def test_where_the_kernel_tells_nothing_a_command_runs_twice_once_a_day(lighters, bases):
    """No inotify is to be had in this user namespace."""
    lighter = lighters("single", bases=[bases("golang")])
    none = ["unshare", "-r", "sh", "-c", 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$0" "$@"']
    context = project(lighter, {})

    def once(word):
        edit(lighter, context, word)
        return lighter.build(context, dockerfile=LIVE["one stage"][0], before=none,
                             env={"GOPROXY": "off", "GOSUMDB": "off", "GOENV": "off"})
    assert "runs again" not in once("one").stderr, "nothing is lent yet"
    assert "than could be followed, so it runs again without" in once("two").stderr
    third = once("three")
    assert "runs again" not in third.stderr and "runtime" in compiled(third)
