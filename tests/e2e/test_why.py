"""Every miss has a cause, and it is named; what will happen is told before, and is what happens."""

import os
import re

import pytest

BASE = """FROM busybox AS b
ARG V=1
ENV A=x
WORKDIR /w
RUN echo one $V
COPY src /src/
RUN --mount=type=bind,source=m,target=/m cat /m/f && cat <<X
hello
X
FROM b
RUN true
COPY --from=b /bin/sh /again
"""
FILES = {"src/main.go": "package main", "src/sub/x": "x", "src/y": "y", "m/f": "mounted", ".dockerignore": "*.tmp\n"}


def why(lighter, context, dockerfile, *args):
    """{what a step's line is: why it ran} of a build."""
    (context / "Dockerfile").write_text(dockerfile)
    lighter.own(context)
    result = lighter.build(context, "--why", *args)
    said = {}
    for line in result.stderr.splitlines():
        found = re.match(r"why: \[[^\]]*\] (.*)", line)
        if found:
            line = found.group(1)
            title = next(t for t in sorted(result.ran, key=len, reverse=True) if line.startswith(t + ": "))
            said[title] = line[len(title) + 2:]
    assert sorted(said) == sorted(set(result.ran)), "each step that ran has its cause"
    return said


def first(said):
    return next(iter(said.values()))


def edit(path, text):
    def do(context):
        (context / path).write_text(text)
    return do


def relink(context):
    (context / "src/link").unlink()
    (context / "src/link").symlink_to("elsewhere")


CAUSES = {
    # name: (what is done to the context, the Dockerfile's change, options, what is said)
    "a file's content": (edit("src/main.go", "package other"), None, (), "src/main.go changed"),
    "a file's mode": (lambda c: (c / "src/y").chmod(0o755), None, (), "src/y has mode 0755, and had 0644"),
    "a new file": (edit("src/new", "x"), None, (), "src/new is new"),
    "a deleted file": (lambda c: (c / "src/y").unlink(), None, (), "src/y is gone"),
    "a link's target": (relink, None, (), "src/link is a link to elsewhere, and was one to y"),
    "an attribute": (lambda c: os.setxattr(c / "src/y", "user.note", b"x"), None, (), "src/y has other attributes"),
    "the ignore file": (edit(".dockerignore", "src/y\n"), None, (), "the ignore file changed, and so src/y is gone"),
    "what a mount shows": (edit("m/f", "other"), None, (), "files that are mounted on /m changed"),
    "a variable": (None, ("ENV A=x", "ENV A=y"), (), "A is `y`, was `x`"),
    "an argument": (None, None, ("--build-arg", "V=2"), "V is `2`, was `1`"),
    "an argument that is unset instead of empty": (None, ("ARG V=", "ARG V"), (), "V is unset, was ``"),
    "the base": (None, ("FROM busybox AS b", "FROM other AS b"), (), "the base is `other`, was `busybox`"),
    "the command": (None, ("echo one", "echo two"), (), "the command is `echo two $V`, was `echo one $V`"),
    "a here-document": (None, ("hello", "goodbye"), (), "goodbye"),
    "the shell": (None, ("WORKDIR /w", 'WORKDIR /w\nSHELL ["/bin/sh", "-ec"]'), (), "SHELL is `/bin/sh -ec`, was `/bin/sh -c`"),
    "the user": (None, ("RUN echo one", "USER 5\nRUN echo one"), (), "USER is new (`5`)"),
    "the directory": (None, ("WORKDIR /w", "WORKDIR /v"), (), "WORKDIR is `/v`, was `/w`"),
    "--chown": (None, ("COPY src", "COPY --chown=7 src"), (), "--chown is new (`7`)"),
    "a flag": (None, ("RUN echo one", "RUN --network=none echo one"), (), "the network is `none`, was `host`"),
    "another order": (None, ("WORKDIR /w\nRUN echo one $V\n", "RUN echo one $V\nWORKDIR /w\n"), (), "it comes after `FROM busybox AS b`, and came after `WORKDIR /w`"),
    "the destination": (None, ("src /src/\n", "src /elsewhere/\n"), (), "the destination is `/elsewhere/`, was `/src/`"),
    "an option of the build": (None, None, ("--add-host", "h:1.2.3.4"), "--add-host changed"),
    "a step that never was": (None, ("RUN true", "RUN true\nRUN echo new"), (), "it was not built here before"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_miss_is_named(lighter, bases, cause):
    change, edited, options, words = CAUSES[cause]
    context = lighter.context(FILES)
    (context / "src/link").symlink_to("y")
    lighter.run_in("FROM busybox\nLABEL other=1\n", "-t", "other")
    before = BASE
    if "unset" in cause:
        before = BASE.replace("ARG V=1", "ARG V=")
    why(lighter, context, before)
    if change:
        change(context)
    said = why(lighter, context, before.replace(*edited) if edited else before, *options)
    assert any(words in line for line in said.values()), said
    if cause not in ("a here-document", "a step that never was"):
        assert words in first(said), said


def test_what_follows_a_step_that_ran_says_so(lighter):
    context = lighter.context(FILES)
    why(lighter, context, BASE)
    said = why(lighter, context, BASE.replace("echo one", "touch /new; echo one"))
    assert said["COPY src /src/"] == "`RUN touch /new; echo one $V` before it ran again"


def test_a_base_that_moved_is_named(lighter):
    context = lighter.context(FILES)
    why(lighter, context, BASE)
    lighter.run_in("FROM busybox\nRUN echo >/moved\n", "-t", "busybox")
    assert first(why(lighter, context, BASE)) == "busybox is another image than before"


def test_several_causes_are_all_named_and_many_files_are_counted(lighter):
    context = lighter.context(FILES | {f"src/f{i}": "1" for i in range(9)})
    why(lighter, context, BASE)
    for i in range(9):
        (context / f"src/f{i}").write_text("2")
    said = why(lighter, context, BASE.replace("COPY src /src/", "COPY --chmod=600 src /src/"))
    line = next(v for k, v in said.items() if "src /src/" in k)
    assert "--chmod is new (`600`)" in line and "and" in line and "more" in line, line


def test_why_tells_afterwards_and_chooses_by_words(lighter):
    context = lighter.context(FILES)
    why(lighter, context, BASE)
    (context / "src/main.go").write_text("package other")
    why(lighter, context, BASE)
    lines = lighter("why").stdout.splitlines()
    assert any("COPY src /src/: src/main.go changed" in line for line in lines)
    assert lighter("why", "COPY src").stdout.splitlines() == [line for line in lines if "COPY src" in line]
    assert "lists them" in lighter("why", "nothing like that", code=2).error


def test_a_build_of_hits_keeps_the_last_causes(lighter):
    context = lighter.context(FILES)
    why(lighter, context, BASE)
    said = lighter("why").stdout
    assert why(lighter, context, BASE) == {} and lighter("why").stdout == said


def test_why_in_a_store_without_builds_says_so(bare):
    assert "no build has run a step" in bare("why", code=2).error


def test_secrets_are_in_no_cause(lighter):
    context = lighter.context(FILES)
    text = "FROM busybox\nRUN --mount=type=secret,id=s,env=S echo {}\n"
    env = {"TOKEN": "hunter2-secret"}
    (context / "Dockerfile").write_text(text.format(1))
    lighter.build(context, "--secret", "id=s,env=TOKEN", env=env)
    (context / "Dockerfile").write_text(text.format(2))
    result = lighter.build(context, "--why", "--secret", "id=s,env=TOKEN", env=env)
    assert "hunter2" not in result.stderr + lighter("why").stdout


# ---- lighter plan --------------------------------------------------------------------------------

def plan(lighter, context, dockerfile, *args):
    (context / "Dockerfile").write_text(dockerfile)
    lines = lighter("plan", "--isolation", lighter.isolation, *args, context).stdout.splitlines()
    return {m.group(2): m.group(1) for m in (re.match(r"(HIT|RUN|\?) +\[[^\]]*\] (.*)", line) for line in lines) if m}


PLANNED = [
    ("nothing", None, None, ()),
    ("a file", edit("src/main.go", "package other"), None, ()),
    ("a mount", edit("m/f", "x"), None, ()),
    ("a command", None, ("echo one", "echo two"), ()),
    ("a late command", None, ("RUN true", "RUN false || true"), ()),
    ("an argument", None, None, ("--build-arg", "V=9")),
    ("one stage again", None, None, ("--no-cache-filter", "b")),
    ("everything again", None, None, ("--no-cache",)),
]


@pytest.mark.parametrize("name, change, edited, options", PLANNED, ids=[p[0] for p in PLANNED])
def test_what_is_predicted_is_what_happens(lighter, name, change, edited, options):
    context = lighter.context(FILES)
    (context / "Dockerfile").write_text(BASE)
    lighter.build(context)
    if change:
        change(context)
    text = BASE.replace(*edited) if edited else BASE
    said = plan(lighter, context, text, *options)
    assert plan(lighter, context, text, *options) == said  # a dry run changes nothing
    result = lighter.build(context, *options)
    assert said and set(said) == {step.title for step in result.steps}
    for title, word in said.items():
        how = {step.how for step in result.steps if step.title == title}
        assert word == "?" or how == {"HIT" if word == "HIT" else "RAN"}, (title, word, how)
    if name == "nothing":
        assert set(said.values()) == {"HIT"}


def test_plan_of_a_new_project_builds_nothing(lighter):
    context = lighter.context(FILES)
    said = plan(lighter, context, BASE)
    assert said["WORKDIR /w"] == "RUN" and said["RUN true"] == "?"
    assert not lighter.build(context).hit[1:]


# ---- running again -------------------------------------------------------------------------------

def test_no_cache_filter_runs_the_steps_of_one_stage(lighter):
    context = lighter.context(FILES)
    text = "FROM busybox AS one\nRUN echo 1\nFROM busybox AS two\nRUN echo 2\nCOPY --from=one /bin/sh /x\n"
    (context / "Dockerfile").write_text(text)
    lighter.build(context)
    assert lighter.build(context, "--no-cache-filter", "one").ran == ["RUN echo 1"]
    assert lighter.build(context, "--no-cache-filter", "two").ran == ["RUN echo 2", "COPY --from=one /bin/sh /x"]
    result = lighter.build(context, "--no-cache-filter", "three,ONE")
    assert result.ran == ["RUN echo 1"]
    assert any("no stage that is built is called 'three'" in w for w in result.warnings)


def test_no_cache_leaves_cache_mounts_alone(lighter):
    text = "FROM busybox\nRUN --mount=type=cache,target=/c echo x >>/c/x; wc -l </c/x\n"
    context = lighter.context({"Dockerfile": text})
    for n, option in enumerate((None, "--no-cache", "--no-cache-filter=stage-0")):
        result = lighter.build(context, *([option] if option else []))
        assert result.log == [str(n + 1)]


@pytest.mark.parametrize("mode", ["root", "rootless", "single", "chroot"])
def test_check_cache_names_what_is_not_reproducible(lighters, bases, mode):
    lighter = lighters(mode, bases=[bases("busybox")])
    context = lighter.context({"a": "x"})
    text = "FROM busybox\nRUN cat /proc/uptime >/when 2>/dev/null || date >/when; echo same >/same\nRUN echo y >/y\nCOPY a /\n"
    (context / "Dockerfile").write_text(text)
    lighter.build(context)
    import time
    time.sleep(1.1)
    result = lighter.build(context, "--check-cache=100%", code=5)
    assert [w for w in result.warnings if "not reproducible" in w] == [
        "[stage-0 2/4] RUN cat /proc/uptime >/when 2>/dev/null || date >/when; echo same >/same is not reproducible: "
        "/when has other content"]
    assert "of 3 steps" in result.error
    assert not lighter.build(context).ran  # the records are what they were


def test_check_cache_is_content_with_what_is_reproducible(lighter):
    context = lighter.context({"a": "x", "Dockerfile": "FROM busybox\nRUN echo y >/y\nCOPY a /\n"})
    lighter.build(context)
    result = lighter.build(context, "--check-cache=1")
    assert "1 steps were run again, and gave what they gave before" in result.stderr
    assert "expected 1% to 100%" in lighter.build(context, "--check-cache=0", code=2).error
