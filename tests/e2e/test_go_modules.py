"""Go modules come through the module store: what a step sees of proxies is what its own GOPROXY says,
what is kept is proven, and no image tells of it."""

import hashlib
import json
import os
import shutil
import signal
import threading
import time

import pytest

from goclient import DOWNLOAD, MAIN, build, kept, project
from goproxy import (Module, Proxy, flipped, go_mod, go_sum, hung_up, other, too_short, truncated)
from harness import wait_for


@pytest.fixture
def cold(lighters, bases):
    return lighters(bases=[bases("golang")])


@pytest.fixture
def tun(needs):
    """passt may open its device: as udev makes it; a machine without udev has it for root alone."""
    needs("pasta")
    before = os.stat("/dev/net/tun").st_mode
    if os.geteuid() == 0:
        os.chmod("/dev/net/tun", 0o666)
    yield
    if os.geteuid() == 0:
        os.chmod("/dev/net/tun", before)


# ---- what is the same ----------------------------------------------------------------------------

def test_a_download_leaves_the_same_layer_through_the_store_and_past_it(cold, proxy):
    b = Module("example.test/Same/B")
    a = Module("example.test/same/a", requires=[b])
    proxy.add(a)
    context = project(cold, a)
    plain = build(cold, context, "--go-gateway=off", proxy=proxy)
    assert "example.test/same/a@v1.0.0" not in kept(cold)
    ids = {build(cold, context, "--no-cache", proxy=proxy).id}
    ids |= {build(cold, context, "--no-cache", proxy=proxy).id}
    ids |= {build(cold, context, "--no-cache", "--go-offline", proxy=proxy).id}
    assert ids == {plain.id}


@pytest.mark.parametrize("network", ["host", "none", "passt"])
def test_the_store_serves_every_network_mode(go, proxy, network, request):
    if network == "passt":
        request.getfixturevalue("tun")
    a = Module(f"example.test/net/{network}")
    proxy.add(a)
    context = project(go, a)
    plain = build(go, context, "--go-gateway=off", proxy=proxy)
    first = build(go, context, "--no-cache", f"--network={network}", proxy=proxy)
    assert first.id == plain.id
    proxy.forget()
    assert build(go, context, "--no-cache", f"--network={network}", proxy=proxy).id == plain.id
    assert proxy.asked() == []


def test_a_step_in_a_network_of_its_own_reaches_proxies_only_through_the_gateway(go, proxy, tun):
    """passt leads nowhere on the caller's loopback, where the proxy is."""
    a = Module("example.test/gate/a")
    proxy.add(a)
    text = "FROM golang:1.22\nWORKDIR /m\nRUN go mod init x && go get example.test/gate/a@latest\n"
    context = go.context({})
    assert build(go, context, "--network=passt", proxy=proxy, dockerfile=text).ran
    assert "example.test/gate/a/@v/list" in proxy.asked()
    failed = build(go, context, "--network=passt", "--no-cache", "--go-gateway=off", proxy=proxy, dockerfile=text,
                   code=1)
    assert "connection refused" in failed.stderr or "dial tcp" in failed.stderr


def test_what_is_downloaded_is_fetched_once_by_all_builds(go, proxy):
    """P5, between builds: the second one asks for nothing, whatever its project is called."""
    a = Module("example.test/once/a", requires=[Module("example.test/once/b")])
    proxy.add(a)
    build(go, project(go, a), proxy=proxy)
    assert len(proxy.asked("example.test/once/a/@v/v1.0.0.zip")) == 1
    proxy.forget()
    build(go, project(go, a, name="example.test/second"), proxy=proxy)
    assert proxy.asked() == []


@pytest.mark.parametrize("listed", [True, False])
def test_many_clients_at_once_ask_the_proxy_once(go, proxy, sumdb, listed):
    """P5: 32 go commands, each with a module cache of its own, and a slow proxy. What go.sum lists was fetched before;
    what only the database knows they all ask for at the same time."""
    mods = [Module(f"example.test/many{listed}/m{i}") for i in range(4)]
    top = Module(f"example.test/many{listed}/top", requires=mods)
    proxy.add(top)
    proxy.delay = 0.05
    text = DOWNLOAD.replace("RUN go mod download", "RUN for i in $(seq 32); do GOFLAGS=-mod=mod GOMODCACHE=/m$i go mod download & done; "
                            f"wait; ls -d /m*/cache/download/{top.base}.zip | wc -l")
    context = project(go, top) if listed else go.context({"go.mod": go_mod(top), "go.sum": ""})
    result = build(go, context, proxy=proxy, dockerfile=text, env={"GOSUMDB": sumdb(top, *mods).setting()})
    assert "32" in result.log
    asked = proxy.asked()
    assert {f"{m.base}.{ending}" for m in (top, *mods) for ending in ("zip", "mod")} <= set(asked)
    assert sorted(asked) == sorted(set(asked)), "an URL was asked for twice"


# ---- the proxies' words --------------------------------------------------------------------------

CODES = (200, 400, 401, 403, 404, 410, 429, 500, 502, 503, "refused")


@pytest.mark.parametrize("separator", [",", "|"])
def test_after_each_answer_go_goes_on_or_stops_as_without_the_gateway(go, separator):
    """P1: eleven answers of the first proxy, and whether the second one is asked."""
    mods = {code: Module(f"example.test/code{code}x{'comma' if separator == ',' else 'bar'}") for code in CODES}
    text = "FROM golang:1.22\nWORKDIR /m\nRUN go mod init x; " + "; ".join(
        f"go mod download {m.path}@v1.0.0 >/dev/null 2>&1 && echo {code} ok || echo {code} failed"
        for code, m in mods.items()) + "; true\n"
    seen = {}
    for gateway in ("on", "off"):
        with Proxy() as first, Proxy(mods.values()) as second:
            first.add(mods[200])
            for code, m in mods.items():
                if code == "refused":
                    first.faults[f"{m.base}.info"] = first.faults[f"{m.base}.mod"] = hung_up
                elif code != 200:
                    first.faults[f"{m.base}.info"] = first.faults[f"{m.base}.mod"] = code
                    first.faults[f"{m.base}.zip"] = code
            result = build(go, go.context({}), f"--go-gateway={gateway}", "--no-cache", dockerfile=text,
                           goproxy=f"{first.url}{separator}{second.url}")
            asked = {path.split("/")[1] for path in second.asked()}
            seen[gateway] = (sorted(line for line in result.log if line.endswith((" ok", " failed"))), asked)
    assert seen["on"] == seen["off"]
    assert "404 ok" in seen["on"][0]
    assert ("500 ok" if separator == "|" else "500 failed") in seen["on"][0]


def test_capitals_are_escaped_and_plain_ones_refused(go, proxy):
    """P2: a name that is not escaped is no request, whatever the proxy would say."""
    upper, lower = Module("example.test/Case/X", version="v1.0.0-RC1"), Module("example.test/case/x", version="v1.0.0")
    proxy.add(upper, lower)
    ask = 'for p in $(echo $GOPROXY | tr ",|" "  "); do case $p in http*) wget -q -O- $p/$1 >/dev/null && echo $1 ok || echo $1 refused;; esac; done\n'
    paths = {f"{upper.base}.mod": "ok", "example.test/Case/X/@v/v1.0.0-RC1.mod": "refused", "example.test/!case/!x/@v/v1.0.0-RC1.mod": "refused",
             "example.test/Case/x/@v/list": "refused", "example.test/!case/!x/@v/list": "ok", "example.test/!Case/x/@v/list": "refused",
             "sumdb/sums.example.test/lookup/example.test/Case/X@v1.0.0-!r!c1": "refused"}
    proxy.extra.update({path: b"v1.0.0\n" for path, said in paths.items() if said == "refused"})
    text = DOWNLOAD.replace("go.sum", "go.sum ask") + "RUN " + "; ".join(f"sh ask '{path}'" for path in paths) + "\n"
    result = build(go, project(go, upper, lower, files={"ask": ask}), proxy=proxy, dockerfile=text)
    assert {path.split("/@v/")[0] for path in proxy.asked(".zip")} == {"example.test/!case/!x", "example.test/case/x"}
    assert {"example.test/Case/X@v1.0.0-RC1", "example.test/case/x@v1.0.0"} <= set(kept(go))
    assert [line for line in result.log if line.endswith((" ok", " refused"))] == [f"{path} {said}" for path, said in paths.items()]
    assert not set(proxy.asked()) & {path for path, said in paths.items() if said == "refused"}


def test_lists_and_branches_are_asked_for_each_time_and_versions_once(go, proxy, sumdb):
    """P7. The database proves the versions, for there is no go.sum."""
    a = Module("example.test/fresh/a")
    proxy.add(a)
    proxy.extra["example.test/fresh/a/@v/main.info"] = proxy.body(a.base + ".info")
    text = ("FROM golang:1.22\nWORKDIR /m\nRUN go mod init x && go list -m -versions example.test/fresh/a && "
            "go get example.test/fresh/a@latest && go get example.test/fresh/a@main && go mod download\n")
    setting = {"GOSUMDB": sumdb(a).setting()}
    for versions in ([f"{a.base}.info", f"{a.base}.mod", f"{a.base}.zip"], []):
        proxy.forget()
        build(go, go.context({}), "--no-cache", proxy=proxy, dockerfile=text, env=setting)
        assert len(proxy.asked("fresh/a/@v/list")) >= 1
        assert len(proxy.asked("fresh/a/@v/main.info")) == 1
        assert sorted(path for path in proxy.asked() if path.startswith(a.base)) == versions


def test_a_proxy_that_is_off_for_the_caller_leaves_the_store(go, proxy):
    """P8: with GOPROXY=off nobody is asked, and what the store has is enough."""
    a = Module("example.test/off/a")
    proxy.add(a)
    context = project(go, a, files={"main.go": MAIN.format(path=a.path)})
    plain = build(go, context, proxy=proxy)
    proxy.forget()
    text = DOWNLOAD.replace("go.sum", "go.sum main.go").replace("go mod download", "go run . 2>&1")
    assert "example.test/off/a" in build(go, context, goproxy="off", dockerfile=text).log
    assert proxy.asked() == [] and plain.ran
    refused = build(go, context, proxy=proxy, code=1, dockerfile=DOWNLOAD.replace("COPY", "ENV GOPROXY=off\nCOPY"))
    assert "module lookup disabled by GOPROXY=off" in refused.stderr


# ---- wrong bytes ---------------------------------------------------------------------------------

@pytest.mark.parametrize("fault", [truncated, too_short, flipped])
def test_a_damaged_zip_fails_the_build_and_is_not_kept(go, proxy, fault):
    """P4."""
    a = Module(f"example.test/bad/{fault.__name__}", files={"a.go": "package a\n" + "// x\n" * 2000, "b.txt": os.urandom(4000)})
    proxy.add(a)
    proxy.faults[f"{a.base}.zip"] = fault
    context = project(go, a)
    failed = build(go, context, proxy=proxy, code=None)
    assert failed.code in (1, 5)
    assert f"{a.path}@v1.0.0" not in kept(go)
    proxy.faults.clear()
    assert build(go, context, proxy=proxy).ran


@pytest.mark.parametrize("separator", [",", "|"])
def test_bytes_that_go_sum_excludes_are_named_and_end_the_build(go, proxy, separator):
    a = Module(f"example.test/wrong/{'a' if separator == ',' else 'b'}")
    bad = Module(a.path, files={"a.go": "package evil\n"})
    proxy.add(a)
    proxy.faults[f"{a.base}.zip"] = other(bad)
    with Proxy([a]) as behind:
        failed = build(go, project(go, a), goproxy=f"{proxy.url}{separator}{behind.url}", code=5)
    for part in (a.path, "v1.0.0", a.zip_h1, bad.zip_h1, proxy.url, "go.sum"):
        assert part in failed.error, part
    where = kept(go).get(f"{a.path}@v1.0.0")
    assert not where or separator == "|" and (where / "zip").read_bytes() == a.zip, "only what is right is kept"


def test_a_go_mod_that_go_sum_excludes_is_not_used(go, proxy):
    a = Module("example.test/wrong/mod")
    proxy.add(a)
    proxy.faults[f"{a.base}.mod"] = lambda h, _: Proxy.send(h, 200, a.mod + b"// more\n")
    failed = build(go, project(go, a), proxy=proxy, code=5)
    assert "its go.mod is not what go.sum says" in failed.error


def test_what_nothing_proves_is_passed_on_and_not_kept(go, proxy):
    a = Module("example.test/silent/a")
    proxy.add(a)
    text = "FROM golang:1.22\nWORKDIR /m\nRUN go mod init x && go get example.test/silent/a@v1.0.0\n"
    assert build(go, go.context({}), proxy=proxy, dockerfile=text).ran
    assert f"{a.path}@v1.0.0" not in kept(go)


def test_a_module_that_another_project_proved_is_no_part_of_this_one(go, proxy):
    """A go.sum can name any bytes; that must not reach a project whose go.sum names others."""
    evil = Module("example.test/mine/a", files={"a.go": "package a\n\nconst Name = \"evil\"\n"})
    good = Module("example.test/mine/a", files={"a.go": "package a\n\nconst Name = \"good\"\n"})
    with Proxy([evil]) as theirs:
        build(go, project(go, evil), proxy=theirs)
    proxy.add(good)
    main = {"main.go": MAIN.format(path="example.test/mine/a")}
    text = DOWNLOAD.replace("go.mod go.sum", "go.mod go.sum main.go").replace("go mod download", "go run . 2>&1")
    assert "good" in build(go, project(go, good, files=main), proxy=proxy, dockerfile=text).log


def test_a_killed_download_leaves_nothing_that_is_served(cold, proxy):
    """P6: half a zip lies in the store's tmp/ when lighter is killed."""
    a = Module("example.test/killed/a", files={"a.bin": os.urandom(1 << 20)})
    proxy.add(a)
    over = threading.Event()

    def stalled(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:len(body) // 2])
        handler.wfile.flush()
        over.wait(60)

    proxy.faults[f"{a.base}.zip"] = stalled
    context = project(cold, a)
    child = cold.start("build", "-f", "-", str(context), env={"GOPROXY": proxy.url, "GOSUMDB": "off", "GOENV": "off"},
                       stdin=open(cold.context({"Dockerfile": DOWNLOAD}) / "Dockerfile", "rb"))
    half = wait_for(lambda: [path for path in (cold.store / "tmp").glob("*/module*/zip") if path.stat().st_size], 60)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    over.set()
    assert half and 0 < half[0].stat().st_size < len(a.zip)
    assert not list((cold.store / "gomod").rglob("*zip"))
    proxy.faults.clear()
    assert build(cold, context, proxy=proxy).ran
    assert (kept(cold)[f"{a.path}@v1.0.0"] / "zip").read_bytes() == a.zip


# ---- the checksum database -----------------------------------------------------------------------

GET = "FROM golang:1.22\nWORKDIR /m\nRUN go mod init x && go get {path}@v1.0.0 && cat go.sum\n"


def test_a_module_that_only_the_database_knows_is_proven_by_it_and_kept(go, proxy, sumdb):
    a, b = Module("example.test/sumdb/A"), Module("example.test/sumdb/b")
    proxy.add(a, b)
    db = sumdb(b, a)
    text = GET.format(path=a.path)
    plain = build(go, go.context({}), "--go-gateway=off", proxy=proxy, dockerfile=text, env={"GOSUMDB": db.setting()})
    seen = build(go, go.context({}), "--no-cache", proxy=proxy, dockerfile=text, env={"GOSUMDB": db.setting()})
    assert seen.log == plain.log
    assert f"{a.path}@v1.0.0" in kept(go)


def test_bytes_that_the_database_excludes_end_the_build(go, proxy, sumdb):
    a = Module("example.test/sumdb/wrong")
    bad = Module(a.path, files={"a.go": "package evil\n"})
    proxy.add(bad)
    failed = build(go, go.context({}), proxy=proxy, dockerfile=GET.format(path=a.path), env={"GOSUMDB": sumdb(a).setting()}, code=5)
    for part in ("the checksum database", a.path, "v1.0.0", a.zip_h1, bad.zip_h1, proxy.url):
        assert part in failed.error, part
    assert f"{a.path}@v1.0.0" not in kept(go)


@pytest.mark.parametrize("what", ["signature", "record", "tile"])
def test_a_database_that_is_not_right_proves_nothing(go, proxy, sumdb, what):
    """S2: go stops, and nothing is kept."""
    a, b = Module(f"example.test/sumdb/{what}"), Module("example.test/sumdb/other")
    proxy.add(a, b)
    db = sumdb(b, a)
    if what == "signature":
        db.key.a += 1
    elif what == "record":
        db.faults[f"{a.path}@v1.0.0"] = lambda h, body: Proxy.send(h, 200, body.replace(a.zip_h1.encode(), b.zip_h1.encode()))
    else:
        db.faults["000.p/2"] = flipped
    failed = build(go, go.context({}), proxy=proxy, dockerfile=GET.format(path=a.path), env={"GOSUMDB": db.setting()}, code=None)
    assert failed.code in (1, 5)
    assert f"{a.path}@v1.0.0" not in kept(go)


# ---- settings ------------------------------------------------------------------------------------

def test_a_step_that_writes_its_environment_down_runs_again_without_ours(go, proxy):
    """T8."""
    a = Module("example.test/tells/a")
    proxy.add(a)
    text = DOWNLOAD + "RUN env | grep -v HOSTNAME > /e; ls /dev > /d; cat /proc/self/mountinfo | wc -l > /n; sleep 0\n"
    context = project(go, a)
    plain = build(go, context, "--go-gateway=off", proxy=proxy, dockerfile=text)
    told = build(go, context, "--no-cache", proxy=proxy, dockerfile=text)
    assert "runs again without" in told.stderr
    assert told.id == plain.id


def test_a_setting_that_go_env_wrote_holds(go, proxy):
    """T9."""
    a = Module("example.test/written/a")
    proxy.add(a)
    text = DOWNLOAD.replace("COPY", f"RUN go env -w GOPROXY={proxy.url} GOSUMDB=off\nCOPY")
    result = go.build(project(go, a), dockerfile=text, env={"GOENV": "off"})
    assert result.ran and proxy.asked(f"{a.base}.mod")
    both = "FROM golang:1.22\nWORKDIR /m\n" + f"RUN go env -w GOPROXY={proxy.url} GOSUMDB=off && go mod init x && go get {a.path}\n"
    assert go.build(go.context({}), dockerfile=both, env={"GOENV": "off"}).ran


def test_a_private_module_is_not_kept(go, proxy):
    """T10: GOPRIVATE says so, and a netrc leaves the proxy to go itself."""
    a = Module("example.test/private/a")
    proxy.add(a)
    text = ("FROM golang:1.22\nENV GOPRIVATE=example.test/private GONOPROXY=none\nWORKDIR /app\nCOPY go.mod go.sum ./\n"
            "RUN --mount=type=secret,id=netrc,target=/root/.netrc go mod download\n")
    secret = go.context({"netrc": "machine 127.0.0.1 login me password secret-of-the-test\n"}) / "netrc"
    result = build(go, project(go, a), "--secret", f"id=netrc,src={secret}", proxy=proxy, dockerfile=text)
    assert result.ran and proxy.asked(f"{a.base}.zip")
    assert f"{a.path}@v1.0.0" not in kept(go)
    again = text.replace("--mount=type=secret,id=netrc,target=/root/.netrc ", "")
    assert build(go, project(go, a), proxy=proxy, dockerfile=again).ran
    assert f"{a.path}@v1.0.0" not in kept(go)


def test_another_user_reads_the_store_too(go, proxy):
    """T13."""
    a = Module("example.test/user/a")
    proxy.add(a)
    text = ("FROM golang:1.22\nRUN mkdir -p /home/me && chown 1000:1000 /home/me\nUSER 1000:1000\nENV HOME=/home/me GOPATH=/home/me/go\n"
            "WORKDIR /home/me/app\nCOPY --chown=1000:1000 go.mod go.sum ./\nRUN go mod download\n")
    context = project(go, a)
    plain = build(go, context, "--go-gateway=off", proxy=proxy, dockerfile=text)
    assert build(go, context, "--no-cache", proxy=proxy, dockerfile=text).id == plain.id


def test_a_vendored_project_asks_nobody(go, proxy):
    """T14."""
    a = Module("example.test/vendored/a")
    proxy.add(a)
    files = {"main.go": MAIN.format(path=a.path), "vendor/modules.txt": f"# {a.path} v1.0.0\n## explicit; go 1.20\n{a.path}\n",
             f"vendor/{a.path}/a.go": a.files["a.go"].decode()}
    whole = "FROM golang:1.22\nWORKDIR /app\nCOPY . .\nRUN go run . 2>&1\n"
    apart = whole.replace("COPY . .", "COPY go.mod go.sum ./\nCOPY vendor vendor\nCOPY main.go .")
    for text in (whole, apart):
        assert a.path in build(go, project(go, a, files=files), proxy=proxy, dockerfile=text).log
        assert proxy.asked() == []


def test_workspaces_and_replacements_are_built(go, proxy):
    """T15: go.work, a directory as replacement, and a fork."""
    a, fork = Module("example.test/work/a"), Module("example.test/work/fork", files={
        "b.go": "package b\n\nconst Name = \"fork\"\n"})
    proxy.add(a, fork)
    files = {
        "go.work": "go 1.20\n\nuse (\n\t./app\n\t./lib\n)\n",
        "app/go.mod": f"module example.test/app\n\ngo 1.20\n\nrequire {a.path} v1.0.0\n\nrequire example.test/local v0.0.0\n\n"
                      f"require example.test/work/b v1.0.0\n\nreplace example.test/local => ./local\n\n"
                      f"replace example.test/work/b => {fork.path} v1.0.0\n",
        "app/go.sum": go_sum(a, fork),
        "app/local/go.mod": "module example.test/local\n\ngo 1.20\n",
        "app/local/l.go": "package local\n\nconst Name = \"local\"\n",
        "app/main.go": "package main\n\nimport (\n\t\"example.test/lib\"\n\t\"example.test/local\"\n"
                       "\ta \"example.test/work/a\"\n\tb \"example.test/work/b\"\n)\n\n"
                       "func main() { println(a.Name, b.Name, local.Name, lib.Name) }\n",
        "lib/go.mod": "module example.test/lib\n\ngo 1.20\n",
        "lib/lib.go": "package lib\n\nconst Name = \"lib\"\n",
    }
    text = "FROM golang:1.22\nWORKDIR /w\nCOPY . .\nRUN cd app && go run . 2>&1\n"
    context = go.context(files)
    assert "example.test/work/a fork local lib" in build(go, context, proxy=proxy, dockerfile=text).log
    assert not [path for path in proxy.asked() if "/work/b/" in path or "/local/" in path or "/lib/" in path]
    assert f"{fork.path}@v1.0.0" in kept(go)
    proxy.forget()
    assert "example.test/work/a fork local lib" in build(go, context, "--no-cache", proxy=proxy, dockerfile=text).log
    assert proxy.asked() == []


# ---- offline -------------------------------------------------------------------------------------

def test_offline_names_what_is_missing_and_asks_nobody(cold, proxy):
    a, b = Module("example.test/offline/a"), Module("example.test/offline/b")
    proxy.add(a, b)
    context = project(cold, a, b)
    failed = build(cold, context, "--go-offline", proxy=proxy, code=4)
    assert "example.test/offline/a@v1.0.0 (zip)" in failed.error
    assert "example.test/offline/b@v1.0.0 (go.mod)" in failed.error
    assert proxy.asked() == []
    plain = build(cold, context, proxy=proxy)
    proxy.close()
    assert build(cold, context, "--go-offline", "--no-cache", proxy=proxy).id == plain.id


def test_the_store_lists_and_drops_modules(cold, proxy):
    a = Module("example.test/listed/a")
    proxy.add(a)
    build(cold, project(cold, a), proxy=proxy)
    listed = cold("du", "--verbose", *(["--isolation", cold.isolation] if cold.isolation else [])).stdout
    assert "example.test/listed/a@v1.0.0" in listed
    cold("prune", "--all", "-f", *(["--isolation", cold.isolation] if cold.isolation else []), code=None)
    assert f"{a.path}@v1.0.0" not in kept(cold)


# ---- parts of `go mod download` ------------------------------------------------------------------

def trees(lighter):
    return {name for name, where in kept(lighter).items() if (where / "tree").is_dir()}


def layers(lighter, ref):
    return lighter.inspect(ref)["RootFS"]["Layers"]


@pytest.mark.parametrize("mode", ["root", "rootless", "single"])
def test_a_download_from_parts_leaves_the_layer_of_a_plain_one(mode, lighters, bases, proxy):
    """T1, for gateway and parts; capitals, directories, a module without a go.mod of its own in the zip."""
    lighter = lighters(mode, bases=[bases("golang")])
    deep = Module("example.test/Deep/B", files={"a/b/c.go": "package c\n", "LICENSE": "free\n", "b.go": "package b\n"})
    a = Module("example.test/parts/a", requires=[deep])
    proxy.add(a)
    context = project(lighter, a)
    ids = {build(lighter, context, "--no-cache", option, proxy=proxy).id
           for option in ("--go-gateway=off", "--go-gateway=on", "--go-parts=off", "--go-parts=on")}
    assert len(ids) == 1
    assert trees(lighter) == {"example.test/Deep/B@v1.0.0", "example.test/parts/a@v1.0.0"}


def test_a_download_from_parts_has_the_same_layer_whenever_it_runs(go, proxy):
    a = Module("example.test/times/a")
    proxy.add(a)
    context = project(go, a)
    seen = []
    for name in ("times:1", "times:2"):
        go.build(context, "--no-cache", "-t", name, dockerfile=DOWNLOAD.replace("COPY go.mod go.sum ./", "COPY go.mod go.sum /app/"),
                 env={"GOPROXY": proxy.url, "GOSUMDB": "off", "GOENV": "off"})
        seen.append(layers(go, name)[-1])
        time.sleep(1.1)
    assert seen[0] == seen[1]


def test_one_dependency_more_is_fetched_and_unpacked_alone(go, proxy):
    """T3."""
    old = [Module(f"example.test/more/m{i}") for i in range(4)]
    new = Module("example.test/more/new")
    proxy.add(*old, new)
    build(go, project(go, *old), proxy=proxy)
    before = trees(go)
    proxy.forget()
    context = project(go, *old, new)
    result = build(go, context, proxy=proxy)
    assert len(proxy.asked()) <= 3, proxy.asked()
    assert trees(go) - before == {"example.test/more/new@v1.0.0"}
    assert result.id == build(go, context, "--no-cache", "--go-gateway=off", proxy=proxy).id


def rewrite(context, *modules):
    (context / "go.mod").write_text(go_mod(*modules))
    (context / "go.sum").write_text(go_sum(*modules))


def holders(lighter, tree):
    """The snapshots that have a module's tree."""
    return [path for path in (lighter.store / "snapshots").glob(f"*/go/pkg/mod/{tree}") if path.is_dir()]


@pytest.mark.parametrize("mode", ["root", "rootless", "single"])
def test_layers_of_one_project_share_the_trees_of_modules_and_are_those_of_plain_downloads(mode, lighters, bases, proxy):
    """Modules come and go; a directory goes with the last that was in it, and what another has in it stays."""
    lighter = lighters(mode, bases=[bases("golang")])
    a, b, c, deep, new = (Module(f"example.test/{name}") for name in ("share/a", "share/b", "share/low/c", "Alone/in/here", "share/new"))
    proxy.add(a, b, c, deep, new)
    context = project(lighter, a, b, c, deep)
    for modules in ([a, b, c, deep], [a, b, c, deep, new], [a, b, new], [c, new], [a, c, deep, new], [deep]):
        rewrite(context, *modules)
        layer = build(lighter, context, "-t", "shared:1", proxy=proxy)
        assert layer.ran
        plain = build(lighter, context, "--no-cache", "--go-gateway=off", "-t", "plain:1", proxy=proxy)
        assert layer.id == plain.id, [m.path for m in modules]
        seen = lighter.run("shared:1", "find", "/go/pkg/mod", "-type", "d").stdout
        assert seen == lighter.run("plain:1", "find", "/go/pkg/mod", "-type", "d").stdout and f"{modules[0].path.split('/')[0]}" in seen
    assert len(holders(lighter, "example.test/share/new@v1.0.0")) == 2 + 4, \
        "one for all, another since more was gone than left, and one for each plain download"


def test_where_dependencies_come_one_by_one_the_many_stay_where_they_are(go, proxy):
    old, new = ([Module(f"example.test/grow/{name}{i}") for i in range(n)] for name, n in (("m", 30), ("n", 8)))
    proxy.add(*old, *new)
    context = project(go, *old)
    build(go, context, proxy=proxy)
    for i in range(len(new)):
        rewrite(context, *old, *new[:i + 1])
        last = build(go, context, proxy=proxy)
    assert [len(holders(go, f"example.test/grow/{name}@v1.0.0")) for name in ("m0", "n0", "n6")] == [1, 2, 1], \
        "one takes the place of the small ones, and has what they have"
    assert last.id == build(go, context, "--no-cache", "--go-gateway=off", proxy=proxy).id


def test_a_version_with_other_files_than_before_is_not_mixed_with_what_it_was(go, proxy):
    """Whoever moves a tag and go.sum: the trees of the older builds have the same path."""
    first = Module("example.test/moved/a", files={"a.go": "package a\n", "old.go": "package a\n"})
    then = Module("example.test/moved/a", files={"a.go": "package a\n\nconst Then = 1\n", "new.go": "package a\n"})
    beside = Module("example.test/moved/b")
    private = DOWNLOAD.replace("WORKDIR", "ENV GOPRIVATE=example.test/moved/a GONOPROXY=none\nWORKDIR")
    context = project(go, first, beside)
    proxy.add(first, beside)
    build(go, context, proxy=proxy)
    proxy.add(then)
    rewrite(context, then, beside)
    for text in (private, DOWNLOAD):  # go unpacks what is private itself
        seen = build(go, context, proxy=proxy, dockerfile=text + "RUN ls /go/pkg/mod/example.test/moved/a@v1.0.0\n")
        assert "new.go" in seen.log and "old.go" not in seen.log
        assert seen.id == build(go, context, "--no-cache", "--go-gateway=off", proxy=proxy,
                                dockerfile=text + "RUN ls /go/pkg/mod/example.test/moved/a@v1.0.0\n").id


def test_a_project_whose_trees_were_dropped_unpacks_them_again(cold, proxy):
    a, b = Module("example.test/dropped/a"), Module("example.test/dropped/b")
    proxy.add(a, b)
    context = project(cold, a)
    build(cold, context, proxy=proxy)
    assert cold("prune", "-a", "-f").code == 0
    assert not holders(cold, "example.test/dropped/a@v1.0.0")
    rewrite(context, a, b)
    again = build(cold, context, proxy=proxy)
    assert holders(cold, "example.test/dropped/a@v1.0.0")
    assert again.id == build(cold, context, "--no-cache", "--go-gateway=off", proxy=proxy).id


def test_a_part_that_was_not_asked_for_is_not_in_the_layer(go, proxy):
    """T4: a go.mod beside it wants another module."""
    a, other_one = Module("example.test/unasked/a"), Module("example.test/unasked/b")
    proxy.add(a, other_one)
    files = {"tool/go.mod": go_mod(other_one, name="example.test/tool"), "tool/go.sum": go_sum(other_one)}
    text = "FROM golang:1.22\nCOPY tool/go.mod tool/go.sum /tool/\nWORKDIR /app\nCOPY go.mod go.sum ./\nRUN go mod download\n" \
           "RUN ls /go/pkg/mod/example.test/unasked\n"
    context = project(go, a, files=files)
    result = build(go, context, proxy=proxy, dockerfile=text)
    assert "a@v1.0.0" in result.log and "b@v1.0.0" not in result.log
    assert "example.test/unasked/b@v1.0.0" in trees(go)
    assert result.id == build(go, context, "--no-cache", "--go-gateway=off", proxy=proxy, dockerfile=text).id


@pytest.mark.parametrize("words", ["ENV GOFLAGS=-modcacherw", "ENV GOMODCACHE=/elsewhere/m", "ENV GOPATH=/a/b", "RUN mkdir -p /go/pkg/mod/x",
                                   "RUN mkdir -m 0700 -p /go/pkg", "USER 1000:1000\nENV HOME=/tmp GOPATH=/tmp/go"])
def test_parts_are_right_whatever_the_settings(go, proxy, words):
    a = Module("example.test/set/a", files={"x/y.go": "package y\n"})
    proxy.add(a)
    text = DOWNLOAD.replace("RUN go", f"{words}\nRUN go")
    context = project(go, a)
    assert (build(go, context, proxy=proxy, dockerfile=text).id
            == build(go, context, "--no-cache", "--go-gateway=off", proxy=proxy, dockerfile=text).id)


def test_modules_from_parts_are_built_and_verified_offline(go, proxy):
    a = Module("example.test/verify/a")
    proxy.add(a)
    text = DOWNLOAD.replace("go.mod go.sum", "go.mod go.sum main.go") + (
        "RUN --network=none GOPROXY=off GOFLAGS=-mod=readonly go mod verify && GOPROXY=off go run . 2>&1\n")
    log = build(go, project(go, a, files={"main.go": MAIN.format(path=a.path)}), proxy=proxy, dockerfile=text).log
    assert "all modules verified" in log and a.path in log


# ---- .info, .mod and lists of versions -----------------------------------------------------------

BUILT = "FROM golang:1.22\nWORKDIR /app\nCOPY . .\nRUN CGO_ENABLED=0 go build -o /main .\n"


def require(context, *modules, listed=()):
    """A main module that reads all go.mod files of its graph, as before Go 1.17; go.sum may list more."""
    imports = "".join(f'import _ "{m.path}"\n' for m in modules)
    (context / "go.mod").write_text("module example.test/main\n\ngo 1.16\n\n" + "".join(f"require {m.path} {m.version}\n" for m in modules))
    (context / "go.sum").write_text(go_sum(*modules, *listed))
    (context / "main.go").write_text(f"package main\n\n{imports}\nfunc main() {{}}\n")


def having(lighter, file):
    """The snapshots that have a file of the module cache's downloads."""
    return [path for path in (lighter.store / "snapshots").glob(f"*/go/pkg/mod/cache/download/{file}") if path.is_file()]


@pytest.mark.parametrize("mode", ["root", "rootless", "single"])
@pytest.mark.parametrize("text", [DOWNLOAD, BUILT], ids=["download", "build"])
def test_versions_come_and_go_and_the_layer_is_the_one_of_a_plain_command(mode, text, lighters, bases, proxy):
    """A list of versions names those whose go.mod the command has read: what only lay there is not among them."""
    lighter = lighters(mode, bases=[bases("golang")])
    old, b, last = (Module("example.test/many/B", version, go="1.16") for version in ("v1.0.0", "v1.1.0", "v1.10.0-rc.1"))
    a, new = Module("example.test/many/a", requires=[old], go="1.16"), Module("example.test/many/new", go="1.16")
    proxy.add(a, b, last, new)
    context = project(lighter, a)
    for modules in ([a, b], [a, b], [a, b, new], [b], [a, last], [a], [last, new]):
        require(context, *modules, listed=[a, b, last, new])
        seen = build(lighter, context, "--no-cache", "-t", "seen:1", proxy=proxy, dockerfile=text)
        assert "runs again" not in seen.stderr, seen.stderr
        plain = build(lighter, context, "--no-cache", "--go-gateway=off", "-t", "plain:1", proxy=proxy, dockerfile=text)
        assert layers(lighter, "seen:1")[-1] == layers(lighter, "plain:1")[-1] or text is BUILT, lighter("compare", "seen:1", "plain:1", code=None).stdout
        listed = ["find", "/go/pkg/mod", "(", "-type", "f", "-o", "-type", "d", ")", "-exec", "sh", "-c", '[ -d "$1" ] || sha256sum "$1"; stat -c "%n %a %u %g" "$1"', "x", "{}", ";"]
        assert sorted(lighter.run("seen:1", *listed).stdout.splitlines()) == sorted(lighter.run("plain:1", *listed).stdout.splitlines())


def test_a_list_that_names_no_version_is_there_all_the_same(go, proxy):
    """go lists no version with capitals: it looks for names of files, in which those are escaped."""
    capital, beside = Module("example.test/capital/a", "v1.0.0-RC1", go="1.16"), Module("example.test/capital/b", go="1.16")
    proxy.add(capital, beside)
    context = project(go, capital)
    for modules in ([capital], [capital, beside], [beside], [capital, beside]):
        require(context, *modules, listed=[capital, beside])
        seen = build(go, context, "--no-cache", "-t", "seen:1", proxy=proxy)
        plain = build(go, context, "--no-cache", "--go-gateway=off", "-t", "plain:1", proxy=proxy)
        assert seen.id == plain.id, go("compare", "seen:1", "plain:1", code=None).stdout


@pytest.mark.parametrize("text", [DOWNLOAD, BUILT], ids=["download", "build"])
def test_what_a_proxy_said_once_is_written_once(text, go, proxy):
    place = f"example.test/once{len(text)}"
    old, new = [Module(f"{place}/m{i}") for i in range(12)], [Module(f"{place}/n{i}") for i in range(3)]
    proxy.add(*old, *new)
    context = project(go, *old)
    for i in range(len(new) + 1):
        require(context, *old, *new[:i])
        assert build(go, context, proxy=proxy, dockerfile=text).ran
    assert len(having(go, f"{old[0].base}.mod")) == 2, "what the first command wrote, and what all others were lent"
    assert len(having(go, f"{old[0].path}/@v/list")) == 2
    assert [len(having(go, f"{m.base}.mod")) for m in new] == [2, 2, 1]


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_where_the_proxy_says_something_else_that_is_in_the_layer(go, proxy, known):
    first, then = (Module(f"example.test/said{known}/a".lower(), time=f"202{i}-01-15T10:20:30Z") for i in range(2))
    beside = Module(f"example.test/said{known}/b".lower())
    proxy.add(first, beside)
    context = project(go, first, beside)
    for option in ([], ["--no-cache"]):
        build(go, context, *option, proxy=proxy)
    proxy.add(then)
    shutil.rmtree(go.store / "gomod" / "texts" / "info")
    for view in (go.store / "gomod").glob("view-*"):
        shutil.rmtree(view)
    if known:
        build(go, project(go, then, files={"other": ""}), proxy=proxy)
    seen = build(go, context, "--no-cache", "-t", "seen:1", proxy=proxy)
    assert "2021-01-15" in go.run("seen:1", "cat", f"/go/pkg/mod/cache/download/{then.base}.info").stdout
    assert seen.id == build(go, context, "--no-cache", "--go-gateway=off", proxy=proxy).id


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_a_version_whose_go_mod_is_another_than_before_is_read_anew(go, proxy, known):
    path = f"example.test/anew{known}/a".lower()
    first, then = Module(path), Module(path, go="1.19")
    beside = Module(f"example.test/anew{known}/b".lower())
    proxy.add(first, beside)
    context = project(go, first, beside)
    for option in ([], ["--no-cache"]):
        build(go, context, *option, proxy=proxy)
    proxy.add(then)
    rewrite(context, then, beside)
    if known:
        build(go, project(go, then, files={"other": ""}), proxy=proxy)
    seen = build(go, context, "-t", "seen:1", proxy=proxy)
    assert "go 1.19" in go.run("seen:1", "cat", f"/go/pkg/mod/cache/download/{then.base}.mod").stdout
    assert seen.id == build(go, context, "--no-cache", "--go-gateway=off", proxy=proxy).id


def test_where_the_kernel_tells_nothing_the_proxys_words_are_asked_for(lighters, bases, proxy):
    """No inotify is to be had in this user namespace: the first download of the day runs twice, and modules lie there all the same."""
    lighter = lighters("single", bases=[bases("golang")])
    none = ["unshare", "-r", "sh", "-c", 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$0" "$@"']
    modules = [Module(f"example.test/mute/m{i}") for i in range(3)]
    proxy.add(*modules)
    context = project(lighter, modules[0])
    for i in range(len(modules)):
        rewrite(context, *modules[:i + 1])
        seen = build(lighter, context, "-t", "seen:1", proxy=proxy, before=none)
        assert ("than could be followed, so it runs again without" in seen.stderr) == (i == 0)
    assert len(holders(lighter, "example.test/mute/m0@v1.0.0")) == 2, "of the plain run, and one for the others"
    assert seen.id == build(lighter, context, "--no-cache", "--go-gateway=off", proxy=proxy, before=none).id


def test_a_command_that_runs_other_programs_too_is_not_believed(go, proxy):
    """What it leaves as a proxy's word is no word of a proxy's for the next one."""
    a = Module("example.test/forged/a")
    proxy.add(a)
    text = ("FROM golang:1.22 AS b\nWORKDIR /app\nCOPY . .\nRUN sh ./x.sh\n"
            "FROM golang:1.22\nCOPY --from=b /said /said\n")
    forge = "printf forged >/go/pkg/mod/cache/download/example.test/forged/a/@v/v1.0.0.info\n"
    context = project(go, a, files={"main.go": MAIN.format(path=a.path), "x.sh": "go mod download\ngo build -o /main .\n" + forge + "touch /said\n"})
    build(go, context, proxy=proxy, dockerfile=text)
    (context / "x.sh").write_text("go mod download\ngo build -o /main .\ncp /go/pkg/mod/cache/download/example.test/forged/a/@v/v1.0.0.info /said\n")
    build(go, context, "-t", "said:1", proxy=proxy, dockerfile=text)
    assert '"Version":"v1.0.0"' in go.run("said:1", "cat", "/said").stdout


# ---- what it was made of -------------------------------------------------------------------------

def test_the_metadata_file_lists_the_modules_with_their_hashes(go, proxy):
    b = Module("example.test/made/B")
    a = Module("example.test/made/a", requires=[b])
    proxy.add(a)
    context = project(go, a)
    want = [{"module": m.path, "version": "v1.0.0", "h1": m.zip_h1, "zip": "sha256:" + hashlib.sha256(m.zip).hexdigest()}
            for m in (b, a)]
    for _ in range(2):  # the second build has nothing to run
        where = go.context({}) / "metadata.json"
        build(go, context, "--metadata-file", where, proxy=proxy)
        assert json.loads(where.read_text())["lighter.go.modules"] == want
    build(go, context, "--metadata-file", where, "--go-gateway=off", proxy=proxy)
    assert "lighter.go.modules" not in json.loads(where.read_text())


# ---- said before it begins -----------------------------------------------------------------------

VERSION = "FROM golang:1.22\nENV GOLANG_VERSION=1.22.12 GOTOOLCHAIN=local\nWORKDIR /app\nCOPY . .\nRUN go version\n"


def test_a_go_that_is_too_old_is_named_before_it_is_run(go, proxy):
    a = Module("example.test/said/a")
    for line, said in (("1.23.4", True), ("1.22.12", False), ("1.22", False), ("1.23", True)):
        result = build(go, project(go, a, go=line), "--no-cache", proxy=proxy, dockerfile=VERSION)
        assert (f"go.mod asks for go {line}, and the base has 1.22.12" in result.stderr) == said, line
    result = build(go, project(go, a, go="1.23.4"), proxy=proxy, dockerfile=VERSION.replace("local", "auto").replace("go version", "true"))
    assert "asks for go" not in result.stderr


def test_lines_that_go_sum_lacks_are_named(go, proxy):
    a, b = Module("example.test/said/b"), Module("example.test/said/c")
    proxy.add(a, b)
    context = go.context({"go.mod": go_mod(a, b), "go.sum": go_sum(a)})
    said = build(go, context, proxy=proxy, dockerfile=VERSION).stderr
    assert "go.sum has no line for 1 of the modules that go.mod requires: example.test/said/c@v1.0.0" in said and "go mod tidy" in said
    assert "go.sum has no line" not in build(go, project(go, a, b), proxy=proxy, dockerfile=VERSION).stderr


@pytest.mark.parametrize("files, said", [({".git": "gitdir: ../x\n"}, "a file that leads out of it"), ({".git/HEAD": "ref: refs/heads/main\n"}, "without its objects"),
                                         ({".git/HEAD": "x\n", ".git/objects/x": "x"}, None),
                                         ({".git/HEAD": "x\n", ".dockerignore": ".git\n"}, None)])
def test_half_a_repository_is_named(go, proxy, files, said):
    a = Module("example.test/said/d")
    stderr = build(go, project(go, a, files=files), "--no-cache", proxy=proxy, dockerfile=VERSION).stderr
    assert (said in stderr) if said else ("'.git' of the context" not in stderr)
