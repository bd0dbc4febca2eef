"""The main job: the seed's Dockerfile, word for word, becomes a small image that serves HTTP."""

import contextlib
import json
import os
import shutil
import socket
import urllib.request
from pathlib import Path

import pytest

from harness import HELLO, end_process, wait_for

SEED = """\
FROM golang:1.22 AS builder
WORKDIR /app
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -o main .
FROM alpine:latest
RUN apk --no-cache add ca-certificates
WORKDIR /root/
COPY --from=builder /app/main .
CMD ["./main"]
"""

GO_NAMES = ("GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def go_access():
    """How this machine reaches a module proxy: environment, and arguments for `lighter build`."""
    env = {name: os.environ[name] for name in GO_NAMES if name in os.environ}
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    env["GOENV"] = os.environ.get("GOENV") or str(config / "go" / "env")
    args = [word for name in PROXIES if os.environ.get(name)
            for word in ("--build-arg", f"{name}={os.environ[name]}")]
    return env, args


class Seed:
    """A store in which the seed was built once, cold, and its project."""

    def __init__(self, lighter):
        self.lighter = lighter
        self.env, self.args = go_access()
        self.cold = self.build(self.project(), "seed", watch=True)

    def project(self):
        """A fresh clone of the project, with times of its own."""
        top = self.lighter.directory() / "hello"
        shutil.copytree(HELLO, top, copy_function=shutil.copyfile)
        return top

    def build(self, project, tag, *args, **options):
        return self.lighter.build(project, *self.args, *args, tag=tag, env=self.env, timeout=300,
                                  **options)

    def binary(self, tag):
        return self.lighter.image(tag).layers[-1].read("root/main")


@pytest.fixture(scope="module")
def seed(module_lighters, bases):
    return Seed(module_lighters(bases=[bases("golang"), bases("alpine")]))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def serving(lighter, ref):
    """Run the image's own command on a free loopback port; gives its address."""
    addr = f"127.0.0.1:{free_port()}"
    child = lighter.start("run", "--isolation", lighter.isolation, "--rm", "-e", f"ADDR={addr}", ref)
    try:
        yield addr
    finally:
        child.terminate()
        end_process(child)


def get(addr, path="/"):
    def once():
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://{addr}{path}", timeout=2) as answer:
                return json.loads(answer.read())
        return None
    return wait_for(once, 15, 0.05)


def test_the_demo_has_the_seeds_dockerfile_word_for_word():
    assert (HELLO / "Dockerfile").read_text() == SEED


def test_the_seed_runs_all_its_steps_in_an_order_that_its_graph_allows(seed):
    said = seed.cold
    assert sorted(said.ran) == sorted(line for line in SEED.splitlines()
                                      if not line.startswith(("FROM", "CMD")))
    assert said.hit == ["FROM golang:1.22 AS builder", "FROM alpine:latest"]
    builder = [s.title for s in said.steps if s.stage.startswith("builder")]
    assert builder == SEED.splitlines()[:6]
    assert said.ran[-1] == "COPY --from=builder /app/main ."


def test_the_final_image_has_four_layers_and_no_go_toolchain(seed):
    image = seed.lighter.image("seed")
    assert len(image.layers) == 4
    files = image.rootfs()
    assert "root/main" in files
    assert not [path for path in files if path.startswith(("usr/local/go", "go/", "app"))]
    assert image.layers[-1].names() == ["root", "root/main"] or \
        image.layers[-1].names() == ["root/main"]


def test_the_final_image_is_configured_as_docker_would(seed):
    config = seed.lighter.image("seed").config
    assert config["config"]["Cmd"] == ["./main"]
    assert config["config"]["WorkingDir"].rstrip("/") == "/root"
    assert not config["config"].get("Entrypoint")
    assert len([h for h in config["history"] if not h.get("empty_layer")]) == 4
    assert config["history"][-1]["created_by"].startswith("CMD [")


def test_the_image_serves_http(seed):
    with serving(seed.lighter, "seed") as addr:
        assert get(addr)["message"] == "hello from lighter"
        assert get(addr, "/healthz") == {"status": "ok"}


def test_a_rebuild_with_nothing_changed_runs_no_step(seed):
    again = seed.build(seed.project(), "again")
    assert again.ran == []
    assert len(again.hit) == 10
    assert again.id == seed.cold.id


def test_a_rebuild_with_nothing_changed_takes_well_under_100_ms(seed):
    project = seed.project()
    fastest = min(seed.build(project, "again").seconds for _ in range(5))
    assert fastest < 0.1


def test_touched_files_with_the_same_content_are_hits(seed):
    project = seed.project()
    for path in project.rglob("*"):
        os.utime(path, (1, 1))
    assert seed.build(project, "touched").ran == []


def test_an_edit_of_main_go_runs_two_copies_and_one_go_build(seed):
    project = seed.project()
    main = project / "main.go"
    main.write_text(main.read_text().replace("hello from lighter", "hello from an edit"))
    edited = seed.build(project, "edited")
    assert edited.ran == ["COPY . .", "RUN go build -o main .", "COPY --from=builder /app/main ."]
    with serving(seed.lighter, "edited") as addr:
        assert get(addr)["message"] == "hello from an edit"


def test_the_last_copy_is_a_hit_exactly_when_the_binary_comes_out_equal(seed):
    project = seed.project()
    with open(project / "main.go", "a") as f:
        f.write("// A comment at the end.\n")
    commented = seed.build(project, "commented")
    equal = seed.binary("commented") == seed.binary("seed")
    assert commented.ran[:2] == ["COPY . .", "RUN go build -o main ."]
    assert commented.ran[2:] == ([] if equal else ["COPY --from=builder /app/main ."])
    assert (commented.id == seed.cold.id) == equal


def test_an_edit_of_go_mod_runs_the_download_again(seed):
    """Up to the last step before `go build`, which would only take time."""
    project = seed.project()
    upto = "".join(SEED.splitlines(keepends=True)[:5])
    assert seed.build(project, "download", dockerfile=upto).ran == []
    with open(project / "go.mod", "a") as f:
        f.write("\n// A comment.\n")
    edited = seed.build(project, "download", dockerfile=upto)
    assert edited.ran == ["COPY go.mod go.sum ./", "RUN go mod download", "COPY . ."]


def test_what_lighter_itself_needs_for_the_seed_stays_below_32_mib(seed):
    assert 0 < seed.cold.peak_kib <= 32 * 1024


def test_the_build_says_at_its_end_what_was_built_and_what_was_reused(seed):
    last = seed.cold.stderr.rstrip().splitlines()[-1]
    assert seed.cold.id[:19] in last and "seed:latest" in last
    assert "4 layers" in last and "8 run" in last


def test_a_static_binary_on_alpine_gets_no_warning(seed):
    assert seed.cold.warnings == []


# ---- other bases ---------------------------------------------------------------------------------

def test_the_seed_works_on_the_real_alpine(seed, bases):
    layout = bases("alpine-real")
    built = seed.build(seed.project(), "real", "--build-context", f"alpine=oci-layout://{layout}")
    assert len([title for title in built.hit if not title.startswith("FROM")]) == 5
    assert "RUN apk --no-cache add ca-certificates" in built.ran
    assert "etc/alpine-release" in seed.lighter.image("real").rootfs()
    with serving(seed.lighter, "real") as addr:
        assert get(addr, "/healthz") == {"status": "ok"}


CGO_PROGRAM = """\
package main

import (
\t"fmt"
\t"net"
)

func main() {
\taddrs, err := net.LookupHost("localhost")
\tfmt.Println(addrs, err)
}
"""


@pytest.fixture(scope="module")
def cgo(module_lighters, bases):
    """The seed's Dockerfile on a base with gcc, where net is linked against glibc."""
    lighter = module_lighters(bases=[bases("alpine")])
    golang = bases("golang-cgo")

    def build(dockerfile):
        files = {"main.go": CGO_PROGRAM, "go.mod": "module example.com/small\n\ngo 1.22\n",
                 "go.sum": ""}
        return lighter.build(lighter.context(files), "--build-context",
                             f"golang:1.22=oci-layout://{golang}", dockerfile=dockerfile,
                             tag="cgo", timeout=300, env=go_access()[0])
    build.lighter = lighter
    return build


def test_a_glibc_binary_on_alpine_is_warned_of_and_the_fix_is_named(cgo):
    warned = cgo(SEED)
    assert len(warned.warnings) == 1
    assert "/root/main cannot start" in warned.warnings[0]
    assert "CGO_ENABLED=0" in warned.warnings[0]
    again = cgo(SEED)
    assert again.ran == [] and again.warnings == warned.warnings, "a hit repeats the warning"
    assert cgo.lighter.run("cgo", code=None).code != 0, "the warning was right"


def test_without_cgo_the_binary_starts_and_nothing_is_warned_of(cgo):
    fixed = cgo(SEED.replace("RUN go build", "ENV CGO_ENABLED=0\nRUN go build"))
    assert fixed.warnings == []
    assert "127.0.0.1" in cgo.lighter.run("cgo").stdout
