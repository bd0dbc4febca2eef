"""Go packages are compiled once: what a step's GOCACHE holds comes from earlier builds, and no image tells of it."""

import json
import os
import re
import shutil
import threading

import pytest

from goproxy import Module, go_mod, go_sum

STAGES = """\
FROM golang:1.22 AS builder
WORKDIR /app
COPY . .
RUN {run}
FROM scratch
COPY --from=builder {out} /out
"""
BUILD = STAGES.format(run="go build -v -o main .", out="/app/main")
MOD = "module example.test/{name}\n\ngo 1.20\n"
MAIN = 'package main\n\nfunc main() {{ println("{word}") }}\n'


@pytest.fixture(scope="module")
def warm(go):
    """A project that was built. A test may edit it and build it again."""
    context = project(go, "warm")
    build(go, context)
    return context


@pytest.fixture(scope="module")
def cgo(module_lighters, bases):
    return module_lighters(bases=[bases("golang-cgo")])


def project(lighter, word="one", **files):
    return lighter.context({"go.mod": MOD.format(name="main"), "main.go": MAIN.format(word=word), **files})


def build(lighter, context, *args, dockerfile=BUILD, cgo=False, goproxy="off", **options):
    env = {"GOPROXY": goproxy, "GOSUMDB": "off", "GOENV": "off"}
    if not cgo:
        dockerfile = dockerfile.replace("WORKDIR", "ENV CGO_ENABLED=0\nWORKDIR", 1)
    return lighter.build(context, "--epoch=content", *args, dockerfile=dockerfile, env=env, **options)


def compiled(result):
    """What `go build -v` named."""
    return [line for line in result.log if line.split("/")[0] in ("internal", "runtime", "example.test", "math",
                                                                  "unsafe", "errors", "sync", "os", "fmt")]


def generations(lighter):
    return sorted((lighter.store / "gocache").glob("*")) if (lighter.store / "gocache").is_dir() else []


# ---- the point -----------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["root", "rootless", "single"])
def test_after_an_edit_only_what_was_edited_is_compiled_and_the_image_is_the_cold_one(mode, lighters, bases):
    """T1: equal for cold, warm and off."""
    lighter = lighters(mode, bases=[bases("golang")])
    context = project(lighter)
    first = build(lighter, context)
    assert "runtime" in compiled(first)
    (context / "main.go").write_text(MAIN.format(word="two"))
    warm = build(lighter, context)
    assert compiled(warm) == ["example.test/main"]
    off = build(lighter, context, "--go-cache=off", "--no-cache")
    assert "runtime" in compiled(off)
    assert warm.id == off.id != first.id
    assert build(lighter, context, "--no-cache").id == off.id


def test_no_directory_of_ours_is_in_the_layers_of_the_stage(go):
    """What steps of the stage see of their own HOME is what they would see without a build cache."""
    text = STAGES.format(run="go build -o main . && true\nRUN ls -a $PWD/../root > /app/home; ls -a /app/../root/.cach?",
                         out="/app/home")
    result = build(go, project(go, "clean"), dockerfile=text, code=None)
    assert result.code != 0 and "No such file" in result.stderr, "nothing is left of .cache"


def test_what_a_failed_step_compiled_is_not_lost(go):
    context = project(go, "broken", **{"bad.go": "package main\n\nfunc bad() { undefined() }\n"})
    build(go, context, code=1)
    (context / "bad.go").unlink()
    assert compiled(build(go, context)) == ["example.test/main"]


def indexes(lighter, generation="*"):
    """What the store keeps of indexes of source files: they hold the paths of the files."""
    found = [path.read_bytes() for path in (lighter.store / "gocache").glob(f"{generation}/tree/root/.cache/go-build/*/*-d")]
    return [text for text in found if text.startswith(b"go index v")]


DEPENDS = STAGES.replace("COPY . .", "COPY go.mod go.sum ./\nRUN go mod download\nCOPY . .")
DEPENDENT = DEPENDS.format(run="go build -o main .", out="/app/main")
USES = 'package main\n\nimport "{path}"\n\nfunc main() {{ println({name}.Name) }}\n'


def uses_strings(proxy, name):
    """A module that the proxy has. It imports a package, and so its index has the path of its file."""
    module = Module(f"example.test/{name}", files={
        "a.go": f'package {name}\n\nimport "strings"\n\nvar Name = strings.ToUpper("{name}")\n'})
    proxy.add(module)
    return module


def dependent(go, proxy, name):
    """A project that uses a module of its own, which imports a package; the proxy has the module."""
    module = uses_strings(proxy, name)
    return go.context({"go.mod": go_mod(module), "go.sum": go_sum(module),
                       "main.go": USES.format(path=f"example.test/{name}", name=name)})


def test_indexes_of_modules_and_of_the_library_are_kept_and_those_of_the_project_are_not(go, proxy):
    """go takes an index of a package's files by name, size and time, which an edit may leave as they are."""
    context = dependent(go, proxy, "kept")
    before = len(indexes(go))
    build(go, context, goproxy=proxy.url, dockerfile=DEPENDENT)
    made = indexes(go)
    assert len(made) > before and any(b"/go/pkg/mod/example.test/kept@v1.0.0/a.go" in text for text in made)
    assert any(b"/usr/local/go/src/runtime/" in text for text in made)
    assert not any(b"/app/" in text for text in made)
    main, again = context / "main.go", 'package main\n\nimport "{path}"\n\nfunc main() {{ print({name}.Name) ; }}\n'
    stat = main.stat()
    main.write_text(again.format(path="example.test/kept", name="kept")[:stat.st_size])
    assert main.stat().st_size == stat.st_size
    os.utime(main, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    warm = build(go, context, goproxy=proxy.url, dockerfile=DEPENDENT)
    assert warm.id == build(go, context, "--no-cache", "--go-cache=off", goproxy=proxy.url, dockerfile=DEPENDENT).id


def modules_indexed(lighter):
    """For each generation of the build cache, the modules of example.test whose index is in it."""
    return {one.name: {word.decode() for text in indexes(lighter, one.name)
                       for word in re.findall(rb"/go/pkg/mod/example.test/(\w+)@", text)} for one in generations(lighter)}


def with_another(go, proxy, context, name):
    """The project uses one module more."""
    other = uses_strings(proxy, name)
    text = (context / "go.mod").read_text()
    (context / "go.mod").write_text(text + f"require example.test/{name} v1.0.0\n")
    (context / "go.sum").write_text((context / "go.sum").read_text() + go_sum(other))
    (context / "other.go").write_text(f'package main\n\nimport "example.test/{name}"\n\nfunc init() {{ println({name}.Name) }}\n')


@pytest.mark.parametrize("mode", ["root", "rootless"])
def test_with_a_dependency_more_only_its_own_index_is_made(mode, lighters, bases, proxy):
    """The others are kept with their modules: a new layer of modules begins with them."""
    lighter = lighters(mode, bases=[bases("golang")])
    context = dependent(lighter, proxy, f"first{mode}")
    build(lighter, context, goproxy=proxy.url, dockerfile=DEPENDENT)
    before = modules_indexed(lighter)
    with_another(lighter, proxy, context, f"second{mode}")
    warm = build(lighter, context, goproxy=proxy.url, dockerfile=DEPENDENT)
    made = {name: modules for name, modules in modules_indexed(lighter).items() if name not in before and modules}
    assert sorted(made.values(), key=sorted) == [{f"first{mode}"}, {f"second{mode}"}], "one was given, one was made"
    assert warm.id == build(lighter, context, "--no-cache", "--go-cache=off", goproxy=proxy.url, dockerfile=DEPENDENT).id


def test_an_index_that_is_damaged_is_not_given(go, proxy):
    context = dependent(go, proxy, "hurt")
    notes = set((go.store / "gomod").glob("*/notes/index-*"))
    build(go, context, goproxy=proxy.url, dockerfile=DEPENDENT)
    for note in set((go.store / "gomod").glob("*/notes/index-*")) - notes:
        text = bytearray(note.read_bytes())
        text[-1] ^= 1
        note.write_bytes(text)
    before = modules_indexed(go)
    with_another(go, proxy, context, "unhurt")
    warm = build(go, context, goproxy=proxy.url, dockerfile=DEPENDENT)
    made = [modules for name, modules in modules_indexed(go).items() if name not in before and modules]
    assert made == [{"hurt", "unhurt"}], "both were made anew"
    assert warm.id == build(go, context, "--no-cache", "--go-cache=off", goproxy=proxy.url, dockerfile=DEPENDENT).id


def test_an_index_of_files_that_the_command_alone_saw_is_not_kept(go, proxy):
    """`go build -overlay` shows go another file of a module, and its index is named as if that were the module's own."""
    context = dependent(go, proxy, "shown")
    (context / "other.go").write_text('package shown\n\nimport "errors"\n\nvar Name = errors.New("other").Error()\n')
    (context / "overlay.json").write_text(json.dumps({"Replace": {"/go/pkg/mod/example.test/shown@v1.0.0/a.go": "/app/other.go"}}))
    (context / "build.sh").write_text("go build -overlay overlay.json -o main main.go\n")
    build(go, context, goproxy=proxy.url, dockerfile=DEPENDS.format(run="sh ./build.sh", out="/app/main"))
    assert not any(b"/go/pkg/mod/example.test/shown@v1.0.0/a.go" in text for text in indexes(go))
    text = DEPENDS.format(run="go build -o main main.go", out="/app/main")
    assert build(go, context, goproxy=proxy.url, dockerfile=text).id == \
        build(go, context, "--no-cache", "--go-cache=off", goproxy=proxy.url, dockerfile=text).id


def test_a_module_that_the_command_itself_changes_is_read_anew(go, proxy):
    context = dependent(go, proxy, "edited")
    build(go, context, goproxy=proxy.url, dockerfile=DEPENDENT)
    (context / "change.sh").write_text("cd /go/pkg/mod/example.test/edited@v1.0.0 && chmod u+w . a.go && "
                                       "printf 'package edited\\n\\nimport \"errors\"\\n\\nvar Name = errors.New(\"x\").Error()\\n' > a.go\n")
    text = DEPENDS.format(run="(sh ./change.sh) && go build -o main .", out="/app/main")
    warm = build(go, context, goproxy=proxy.url, dockerfile=text)
    assert "runs again without" in warm.stderr
    assert warm.id == build(go, context, "--no-cache", "--go-cache=off", goproxy=proxy.url, dockerfile=text).id


def test_tests_run_each_time_while_packages_stay_compiled(go):
    """T7: a test that leaves a trace of having run."""
    test = ('package main\n\nimport (\n\t"os"\n\t"testing"\n)\n\nfunc TestTrace(t *testing.T) {\n'
            '\tif err := os.WriteFile("/app/trace", []byte("ran"), 0o644); err != nil {\n\t\tt.Fatal(err)\n\t}\n}\n')
    text = STAGES.format(run="go test . && go vet .", out="/app/trace")
    context = project(go, "tested", **{"main_test.go": test})
    first = build(go, context, dockerfile=text)
    again = build(go, context, "--no-cache", dockerfile=text)
    assert first.id == again.id
    assert not any("(cached)" in line for line in again.log)


# ---- where somebody would see it -----------------------------------------------------------------

def test_a_target_stage_keeps_its_build_cache(go, warm):
    """T2: the image of the stage can build again, offline, and is not mixed up with the other one. See test_go_live.py."""
    build(go, warm)
    build(go, warm, "--target", "builder", "-t", "kept:1")
    again = go.run("kept:1", "go", "build", "-v", "-o", "/tmp/x", ".", args=["--network=none"])
    assert again.code == 0 and "runtime" not in again.stdout + again.stderr


def is_lent(lighter, context, text):
    """Whether a step's key says that its GOCACHE is outside of its layer: then it is no hit for a build with --go-cache=off.
    The command compiles nothing, for it is quicker so."""
    build(lighter, context, "--go-cache=off", dockerfile=text)
    return any("go list" in step for step in build(lighter, context, dockerfile=text).ran)


LIST = STAGES.format(run="go list . > /app/list", out="/app/list")


def test_a_build_cache_that_nobody_sees_is_lent(go):
    assert is_lent(go, project(go, "unseen"), LIST)
    assert is_lent(go, project(go, "beside"), LIST.replace("FROM scratch", "RUN ls /usr /rootless; true\nFROM scratch"))


@pytest.mark.parametrize("reader", [
    "COPY --from=builder /root /r", "COPY --from=builder /root/.cache/go-build/trim.txt /r", "COPY --from=builder / /r",
    "COPY --from=builder /roo* /r", "COPY --from=builder /app/list /root/.cach[e] /r/", "FROM_builder", "RUN_mount"])
def test_a_build_cache_that_another_stage_reads_stays_in_the_layer(go, reader):
    context = project(go, reader.replace('"', ""))
    text = LIST
    if reader == "FROM_builder":
        text = text.replace("FROM scratch", "FROM builder AS derived\nRUN true\nFROM derived")
    elif reader == "RUN_mount":
        text = text.replace("FROM scratch\n", "FROM golang:1.22\nRUN --mount=from=builder,source=/root,target=/r ls -a /r\n")
    else:
        text += reader + "\n"
    if "trim" in reader or "cach[e]" in reader:
        text = text.replace("go list .", "sh ./t.sh && go list .")
        (context / "t.sh").write_text("mkdir -p /root/.cache/go-build; : > /root/.cache/go-build/trim.txt\n")
    assert not is_lent(go, context, text)


def test_a_build_cache_in_the_image_of_any_platform_stays_in_the_layer(go):
    text = ("FROM --platform=$BUILDPLATFORM golang:1.22\nARG TARGETARCH\nWORKDIR /app\nCOPY . .\n"
            "RUN GOARCH=$TARGETARCH go list . > /app/list\n")
    context = project(go, "platforms")
    args = ["--platform=linux/amd64,linux/arm64"]
    build(go, context, "--go-cache=off", *args, dockerfile=text)
    assert not any("go list" in step for step in build(go, context, *args, dockerfile=text).ran)


@pytest.mark.parametrize("words", ["ls ~/.cache", "du -s /root >/dev/null", "go clean -cache", "find / -maxdepth 1 >/dev/null", "ls $HOME",
                                   "tar cf /dev/null /root/* 2>&1 | true", "echo ${HOME}", "ls $GOCACHE"])
def test_a_build_cache_that_a_later_command_speaks_of_stays_in_the_layer(go, words):
    text = STAGES.format(run=f"go list . > /app/list\nRUN {words} || true", out="/app/list")
    assert not is_lent(go, project(go, "named"), text)


def test_a_script_that_removes_the_build_cache_may_do_so(go):
    text = STAGES.format(run="sh ./clean.sh", out="/app/main")
    context = project(go, "removed", **{"clean.sh": "set -e\ngo build -v -o main .\nrm -rf /root/.cache\n"})
    first = build(go, context, dockerfile=text)
    assert build(go, context, "--no-cache", "--go-cache=off", dockerfile=text).id == first.id
    assert build(go, context, "--no-cache", dockerfile=text).id == first.id


def test_a_cache_mount_of_the_users_own_is_left_alone(go):
    text = BUILD.replace("RUN go", "RUN --mount=type=cache,target=/root/.cache/go-build go")
    before = len(generations(go))
    context = project(go, "mounted")
    build(go, context, dockerfile=text)
    assert len(generations(go)) == before
    assert compiled(build(go, context, "--no-cache", dockerfile=text)) == []


def test_another_user_and_another_place_have_theirs(go):
    """T13."""
    text = BUILD.replace("WORKDIR /app\nCOPY . .", "RUN mkdir -p /home/me /app && chown 1000:1000 /home/me /app\nUSER 1000:1000\n"
                         "ENV HOME=/home/me GOCACHE=/home/me/c/x\nWORKDIR /app\nCOPY --chown=1000:1000 . .")
    context = project(go, "user")
    first = build(go, context, dockerfile=text)
    (context / "main.go").write_text(MAIN.format(word="user2"))
    warm = build(go, context, dockerfile=text)
    assert compiled(warm) == ["example.test/main"]
    assert build(go, context, "--no-cache", "--go-cache=off", dockerfile=text).id == warm.id != first.id


@pytest.mark.parametrize("env", ["ENV GOCACHE=relative", "ENV GOCACHE=off", "ENV HOME="])
def test_settings_that_go_refuses_are_refused_as_without(go, env):
    text = BUILD.replace("COPY . .", f"COPY . .\n{env}")
    context = project(go, "refused")
    on = build(go, context, dockerfile=text, code=None)
    off = build(go, context, "--go-cache=off", dockerfile=text, code=None)
    assert on.code == off.code
    assert [line for line in on.log if "GOCACHE" in line] == [line for line in off.log if "GOCACHE" in line]


# ---- safety --------------------------------------------------------------------------------------

def test_projects_do_not_share_what_their_commands_wrote(go, warm):
    other = go.context({path.name: path.read_text() for path in warm.iterdir()})
    assert "runtime" in compiled(build(go, other, "--no-cache"))
    assert "runtime" not in compiled(build(go, warm, "--no-cache"))


def test_an_output_that_is_not_what_its_name_says_is_refused(go):
    """T12: the command changes outputs after it has compiled."""
    poison = "go build -v -o main . && cd ~root/.cach?/go-buil? && for f in */*-d; do echo evil >> $f; done"
    context = project(go, "poison", **{"p.sh": poison.replace("~root", "/root") + "\n"})
    failed = build(go, context, dockerfile=STAGES.format(run="sh ./p.sh", out="/app/main"))
    assert "are not what their names say" in failed.stderr
    good = build(go, context)
    off = build(go, context, "--go-cache=off", "--no-cache")
    assert good.id == off.id


def test_two_builds_at_once_share_one_space(go):
    """T11."""
    context = project(go, "both")
    results = []
    threads = [threading.Thread(target=lambda i=i: results.append(build(
        go, context, dockerfile=BUILD.replace("RUN go", f"RUN : {i}; go")))) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.id for result in results}) == 1 and len(results) == 3
    (context / "main.go").write_text(MAIN.format(word="both2"))
    assert compiled(build(go, context)) == ["example.test/main"]


def test_many_generations_become_one(go, warm):
    before = set(generations(go))
    for i in range(11):
        (warm / "main.go").write_text(MAIN.format(word=f"many{i}"))
        result = build(go, warm)
        assert compiled(result) == ["example.test/main"]
    made = [path for path in generations(go) if path not in before]
    assert any((path / "about").read_text().count("\n") > 1 for path in made)
    assert build(go, warm, "--no-cache", "--go-cache=off").id == result.id


def test_a_toolchain_that_was_patched_compiles_everything_anew(go, warm):
    """T6: go itself asks only for the version, which is the same."""
    patch = "RUN printf x >> $(go env GOROOT)/pkg/tool/linux_amd64/compile\nRUN go build"
    assert "runtime" in compiled(build(go, warm, dockerfile=BUILD.replace("RUN go build", patch)))


def test_a_toolchain_that_the_command_itself_patches_is_seen(go, warm):
    (warm / "p.sh").write_text("printf x >> $(go env GOROOT)/pkg/tool/linux_amd64/compile\ngo build -v -o main .\n")
    result = build(go, warm, dockerfile=STAGES.format(run="sh ./p.sh", out="/app/main"))
    assert "runs again without" in result.stderr and "runtime" in compiled(result)


def test_a_toolchain_that_is_not_beside_the_go_command_is_lent_nothing(go):
    context = project(go, "elsewhere")
    text = BUILD.replace("WORKDIR", "RUN cp -a /usr/local/go /go2\nENV GOROOT=/go2\nWORKDIR")
    build(go, context, dockerfile=text)
    assert "runtime" in compiled(build(go, context, "--no-cache", dockerfile=text))


CGO = {"main.go": 'package main\n\n// #include <answer.h>\nimport "C"\n\nfunc main() { println(C.ANSWER) }\n'}
HEADER = ("FROM golang:1.22 AS builder\nENV CGO_ENABLED=1\nRUN echo '#define ANSWER {n}' > /usr/include/answer.h\nWORKDIR /app\n"
          "COPY . .\nRUN {mount}go build -o main . && ./main 2>&1 | tee said\nFROM scratch\nCOPY --from=builder /app/said /\n")


def test_a_header_of_the_system_that_changed_is_seen(cgo):
    """T5: a cache mount by hand gives the program of the old header; ours does not."""
    context = cgo.context({"go.mod": MOD.format(name="c"), **CGO})
    assert "41" in build(cgo, context, dockerfile=HEADER.format(n=41, mount=""), cgo=True).log
    assert "42" in build(cgo, context, dockerfile=HEADER.format(n=42, mount=""), cgo=True).log
    by_hand = "--mount=type=cache,target=/root/.cache/go-build "
    build(cgo, context, dockerfile=HEADER.format(n=41, mount=by_hand), cgo=True)
    assert "41" in build(cgo, context, dockerfile=HEADER.format(n=42, mount=by_hand), cgo=True).log, "the hole"


@pytest.mark.parametrize("file, compiles", [("/go/pkg/sumdb/sum.test/latest", False), ("/usr/share/thing", True)])
def test_what_a_checksum_database_said_is_nothing_to_a_compiler(cgo, file, compiles):
    """`go mod download` writes it into a layer; of most other files nobody knows."""
    context = project(cgo)
    for word in ("one", "two"):
        text = STAGES.format(run=f"mkdir -p {os.path.dirname(file)} && echo {word} >{file}\nRUN go build -v -o main .", out="/app/main")
        result = build(cgo, context, dockerfile=text, cgo=True)
    assert ("runtime" in compiled(result)) == compiles


def test_a_header_beside_the_package_that_changed_is_seen(cgo):
    """go hashes the files of a package, not what they include from elsewhere."""
    files = {"go.mod": MOD.format(name="c"), "csrc/answer.h": "#define ANSWER 41\n",
             "main.go": CGO["main.go"].replace("// #include", "// #cgo CFLAGS: -I${SRCDIR}/csrc\n// #include")}
    text = HEADER.replace("RUN echo '#define ANSWER {n}' > /usr/include/answer.h\n", "").format(mount="")
    context = cgo.context(files)
    assert "41" in build(cgo, context, dockerfile=text, cgo=True).log
    (context / "csrc" / "answer.h").write_text("#define ANSWER 42\n")
    assert "42" in build(cgo, context, dockerfile=text, cgo=True).log


def test_a_header_that_the_command_itself_installs_is_seen(cgo):
    """What it was lent was compiled with the header of the layer."""
    text = HEADER.format(n=41, mount="(test ! -e new.txt || echo '#define ANSWER 42' > /usr/include/answer.h) && ")
    context = cgo.context({"go.mod": MOD.format(name="c"), **CGO})
    assert "41" in build(cgo, context, dockerfile=text, cgo=True).log
    (context / "new.txt").touch()
    result = build(cgo, context, dockerfile=text, cgo=True)
    assert "runs again without" in result.stderr and result.log[-1] == "42"


def test_an_edit_of_a_program_with_c_compiles_only_what_was_edited(cgo):
    context = cgo.context({"go.mod": MOD.format(name="main"), **CGO, "other.go": "package main\n"})
    text = HEADER.format(n=7, mount="").replace("go build", "go build -v")
    assert "runtime" in compiled(build(cgo, context, dockerfile=text, cgo=True))
    (context / "other.go").write_text("package main\n\nvar Other = 1\n")
    warm = build(cgo, context, dockerfile=text, cgo=True)
    assert compiled(warm) == ["example.test/main"]
    assert build(cgo, context, "--no-cache", "--go-cache=off", dockerfile=text, cgo=True).id == warm.id


# ---- the store -----------------------------------------------------------------------------------

def test_a_step_that_is_checked_gets_nothing_and_comes_out_equal(go, warm):
    """--check-cache: the step runs again as if alone."""
    build(go, warm)
    result = build(go, warm, "--check-cache=100%")
    assert "not reproducible" not in result.stderr


def test_compiled_packages_are_listed_and_dropped(lighters, bases):
    lighter = lighters(bases=[bases("golang")])
    context = project(lighter, "listed")
    build(lighter, context)
    mode = ["--isolation", lighter.isolation] if lighter.isolation else []
    assert "go.buildcache" in lighter("du", "--verbose", *mode).stdout
    lighter("prune", "--all", "-f", *mode, code=None)
    assert generations(lighter) == []
    assert "runtime" in compiled(build(lighter, context, "--no-cache"))


def test_a_damaged_space_costs_a_compile(go):
    context = project(go, "damaged")
    before = set(generations(go))
    build(go, context)
    for path in set(generations(go)) - before:
        shutil.rmtree(path)
    assert "runtime" in compiled(build(go, context, "--no-cache"))
