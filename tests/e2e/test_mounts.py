"""RUN --mount: bind, cache, tmpfs and secret; in both modes.

The rules are BuildKit's (convert_runmount.go, solver/llbsolver/mounts and its mount tests; features.md I8 to I14, K2).
"""

import os
import subprocess

import pytest

from harness import end_process, mounts, wait_for

SETUP = "FROM busybox AS one\nRUN mkdir -p /src/sub && echo stage >/src/f && echo s >/src/sub/g && ln -s sub /src/l\n"


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def run(lighter, *lines, files=None, context=None, args=(), code=0, before="", **options):
    """Build `RUN` lines over busybox."""
    dockerfile = before + "FROM busybox\n" + "\n".join(lines) + "\n"
    return lighter.build(context or lighter.context(files), *args, dockerfile=dockerfile, tag="mounted", code=code,
                         **options)


def layer(lighter):
    return lighter.image("mounted").layers[-1]


# ---- bind ----------------------------------------------------------------------------------------

FILES = {"f": "file", "dir/g": "inside", "dir/sub/h": "deep", "run.sh": ("#!/bin/sh\necho ran=yes\n", 0o755)}


def test_a_bind_shows_the_context_and_is_not_in_the_layer(lighter):
    done = run(lighter, "RUN --mount=target=/c echo got=$(cat /c/f /c/dir/g) && /c/run.sh && touch /done",
               files=FILES)
    assert done.said("got") == "fileinside" and done.said("ran") == "yes"
    assert [name for name in layer(lighter).names() if name not in ("proc", "sys", "dev")] == ["done"]


def test_a_bind_shows_one_directory_or_one_file(lighter):
    done = run(lighter, "RUN --mount=source=dir,target=/d --mount=type=bind,source=/dir/g,target=/etc/deep/g "
               "echo got=$(cat /d/sub/h /etc/deep/g)", "RUN test ! -e /etc/deep && test ! -e /d", files=FILES)
    assert done.said("got") == "deepinside"


def test_two_binds_of_one_context_are_two(lighter):
    """BuildKit, testMountDuplicate."""
    context = lighter.context({"a.txt": "foo\n", "b.txt": "bar\n"})
    line = ("RUN --mount=source=.,target=/tmp/test --mount=source=b.txt,target=/tmp/b.txt "
            "echo got=$(cat /tmp/test/a.txt /tmp/b.txt)")
    assert run(lighter, line, context=context).said("got") == "foo bar"
    (context / "a.txt").write_text("updated\n")
    assert run(lighter, line, context=context).said("got") == "updated bar"


def test_a_bind_is_read_only_unless_said_and_what_is_written_is_thrown_away(lighter):
    context = lighter.context(FILES)
    run(lighter, "RUN --mount=target=/c ! touch /c/new", context=context)
    run(lighter, "RUN --mount=target=/c,rw touch /c/new && echo changed >/c/f && rm /c/dir/g && test -e /c/new",
        "RUN --mount=target=/c test ! -e /c/new && grep -q file /c/f && test -e /c/dir/g", context=context)
    assert (context / "f").read_text() == "file" and (context / "dir" / "g").exists()
    assert not (context / "new").exists()


@pytest.mark.parametrize("source, expected", [
    ("", "stage"), (",source=/src", "stage"), (",source=src/sub/..", "stage"), (",source=/src/l", "s"),
])
def test_a_bind_from_a_stage(lighter, source, expected):
    inside = {"": "/m/src/f", ",source=/src/l": "/m/g"}.get(source, "/m/f")
    done = run(lighter, f"RUN --mount=from=one{source},target=/m echo got=$(cat {inside})", before=SETUP)
    assert done.said("got") == expected


def test_a_bind_of_a_stages_file_that_may_be_written_and_is_thrown_away(lighter):
    run(lighter, "RUN --mount=from=one,source=/src/f,target=/f,rw echo new >/f && grep -q new /f",
        "RUN --mount=from=one,source=/src/f,target=/f grep -q stage /f", before=SETUP)


def test_a_bind_from_an_image_and_from_a_named_context(lighter):
    named = lighter.context({"n/x": "named"})
    done = run(lighter, "RUN --mount=from=busybox,source=/etc,target=/m "
               "--mount=from=other,source=n,target=/n echo got=$(head -c 4 /m/passwd) $(cat /n/x)",
               args=("--build-context", f"other={named}"))
    assert done.said("got") == "root named"


def test_a_bind_from_scratch_is_empty(lighter):
    empty = "FROM scratch AS empty\n"
    run(lighter, 'RUN --mount=from=empty,target=/m test -z "$(ls -A /m)"', before=empty)
    run(lighter, "RUN --mount=type=cache,from=empty,target=/m touch /m/x && stat -c %a /m", before=empty)
    run(lighter, "COPY --from=empty / /made", "RUN rmdir /made", before=empty)
    refused = run(lighter, "COPY --from=empty /f /made/", before=empty, code=3)
    assert "<stdin>:3" in refused.error and "/f" in refused.error


def test_a_bind_of_an_empty_context_is_empty(lighter):
    run(lighter, 'RUN --mount=target=/m test -d /m && test -z "$(ls -A /m)"', files={})
    run(lighter, 'RUN --mount=target=/m test -z "$(ls -A /m)"', files={"x": "1", ".dockerignore": "*\n"})


@pytest.mark.parametrize("spec, named", [
    ("source=nothing", "nothing"), ("source=no*thing", "no*thing"), ("from=one,source=/nothing", "/nothing"),
    ("source=ignored", "ignored"), ("type=cache,from=one,source=/nothing", "/nothing"),
])
def test_a_mount_of_what_is_not_there_names_it_and_the_line(lighter, spec, named):
    refused = run(lighter, f"RUN --mount={spec},target=/m true", before=SETUP, code=3,
                  files={"ignored": "1", ".dockerignore": "ignored\n"})
    assert "<stdin>:4" in refused.error and named in refused.error and "--mount" in refused.error


def test_the_ignore_file_counts_for_binds(lighter):
    run(lighter, "RUN --mount=target=/c test -e /c/seen && test ! -e /c/ignored",
        files={"seen": "1", "ignored": "2", ".dockerignore": "ignored\n"})


def test_a_binds_content_is_in_the_key_and_its_times_are_not(lighter):
    context = lighter.context(FILES)
    line = "RUN --mount=source=dir,target=/d cat /d/g"
    assert run(lighter, line, context=context).ran == [line]
    os.utime(context / "dir" / "g", (1, 1))
    (context / "f").write_text("not in the bind")
    assert run(lighter, line, context=context).ran == []
    (context / "dir" / "g").write_text("changed")
    assert run(lighter, line, context=context).ran == [line]
    (context / "dir" / "g").chmod(0o600)
    assert run(lighter, line, context=context).ran == [line]


def test_hard_links_and_links_in_a_bind_stay_links(lighter):
    context = lighter.context({"d/a": "1"})
    os.link(context / "d" / "a", context / "d" / "b")
    (context / "d" / "l").symlink_to("a")
    run(lighter, "RUN --mount=source=d,target=/d test $(stat -c %i /d/a) = $(stat -c %i /d/b) && "
        "test $(readlink /d/l) = a", context=context)


def test_a_target_is_relative_to_the_working_directory(lighter):
    run(lighter, "WORKDIR /w", "RUN --mount=source=f,target=in/f grep -q file /w/in/f", files=FILES)


@pytest.mark.parametrize("target", ["/", "/..", "."])
def test_the_root_is_no_target(lighter, target):
    assert "<stdin>:2" in run(lighter, f"RUN --mount=target={target} true", code=3).error


# ---- cache ---------------------------------------------------------------------------------------

def test_a_cache_keeps_what_steps_leave_in_it_and_is_in_no_layer(lighter):
    run(lighter, "RUN --mount=type=cache,target=/c echo 1 >>/c/n", "RUN test ! -e /c")
    done = run(lighter, "RUN --mount=type=cache,target=/c echo 2 >>/c/n && echo n=$(cat /c/n)")
    assert done.said("n") == "1 2"
    assert "c/n" not in layer(lighter)


def test_caches_are_told_apart_by_id_and_else_by_target(lighter):
    run(lighter, "RUN --mount=type=cache,target=/a touch /a/a", "RUN --mount=type=cache,id=x,target=/a touch /a/x")
    run(lighter, 'RUN --mount=type=cache,target=/a/. test "$(ls /a)" = a',
        'RUN --mount=type=cache,id=/a,target=/b test "$(ls /b)" = a',
        'RUN --mount=type=cache,target=/c,id=x test "$(ls /c)" = x',
        'RUN --mount=type=cache,target=/d test -z "$(ls /d)"')


def test_the_namespace_argument_tells_caches_apart(lighter):
    line = "RUN --mount=type=cache,target=/c touch /c/$(ls /c | wc -l) && echo n=$(ls /c | wc -l)"
    for namespace, n in (("a", 1), ("b", 1), ("a", 2)):
        done = run(lighter, line, args=("--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={namespace}", "--no-cache"))
        assert done.said("n") == str(n)


@pytest.mark.parametrize("spec, shown", [
    ("", "755 0 0"), (",mode=0700", "700 0 0"), (",uid=5", "755 5 0"), (",gid=6", "755 0 6"),
    (",uid=5,gid=6,mode=1777", "1777 5 6"),
])
def test_a_caches_owner_and_mode_are_those_asked_for(lighter, spec, shown):
    done = run(lighter, f"RUN --mount=type=cache,target=/c{spec} echo is=$(stat -c '%a %u %g' /c)")
    assert done.said("is") == shown


def test_a_cache_of_another_owner_is_another_cache(lighter):
    run(lighter, "RUN --mount=type=cache,target=/c touch /c/x",
        'RUN --mount=type=cache,target=/c,uid=5 test -z "$(ls /c)"')


def test_a_read_only_cache_cannot_be_written(lighter):
    run(lighter, "RUN --mount=type=cache,target=/c touch /c/x",
        "RUN --mount=type=cache,target=/c,ro test -e /c/x && ! touch /c/y")


def test_a_cache_begins_with_what_it_is_told_and_keeps_what_comes(lighter):
    before = SETUP + "RUN chmod 2750 /src && chown 5:6 /src /src/f\n"
    spec = "--mount=type=cache,id=c,from=one,source=/src,target=/c"
    done = run(lighter, f"RUN {spec} echo is=$(stat -c '%a %u %g' /c) $(stat -c '%u' /c/f) && cat /c/sub/g && "
               "readlink /c/l && touch /c/new && rm /c/f", before=before)
    assert done.said("is") == "2750 5 6 5"
    run(lighter, f"RUN {spec} test -e /c/new && test ! -e /c/f", before=before)
    run(lighter, 'RUN --mount=type=cache,id=c,target=/c test -z "$(ls /c)"')
    assert lighter.leftovers() == []


def test_a_cache_that_begins_with_a_file_is_a_file(lighter):
    spec = "--mount=type=cache,from=one,source=/src/f,target=/c"
    for n in (2, 3):
        done = run(lighter, f"RUN {spec} echo more >>/c && echo n=$(wc -l </c)", before=SETUP,
                   args=("--no-cache",))
        assert done.said("n") == str(n)


def test_source_without_from_is_a_part_of_the_cache(lighter):
    run(lighter, "RUN --mount=type=cache,id=c,target=/c mkdir -p /c/sel && echo inside >/c/sel/f",
        "RUN --mount=type=cache,id=c,source=sel,target=/s grep -q inside /s/f && touch /s/new",
        "RUN --mount=type=cache,id=c,target=/c test -e /c/sel/new")


@pytest.mark.parametrize("target", ["/etc", "../../../../../../../../etc"])
def test_a_part_of_a_cache_never_leads_out_of_it(lighter, target):
    """BuildKit, testCacheMountSourceEscape."""
    refused = run(lighter, f"RUN --mount=type=cache,id=c,target=/c ln -s {target} /c/sel",
                  "RUN --mount=type=cache,id=c,source=sel,target=/s cat /s/hostname", code=None)
    assert refused.code != 0 and "<stdin>:3" in refused.error


def test_a_cache_is_not_in_the_key(lighter):
    line = "RUN --mount=type=cache,target=/c date +%N >/c/now; echo ran"
    assert run(lighter, line).ran == [line]
    run(lighter, "RUN --mount=type=cache,target=/c rm /c/now")
    assert run(lighter, line).ran == []
    assert run(lighter, line.replace("/c ", "/c,ro ")).code == 0


@pytest.mark.parametrize("sharing", ["shared", "locked", "private"])
def test_one_command_may_have_a_cache_twice(lighter, sharing):
    line = (f"RUN --mount=type=cache,id=x,sharing={sharing},target=/a --mount=type=cache,id=x,sharing={sharing},"
            "target=/b/ touch /a/here && test -e /b/here")
    assert len(run(lighter, line, timeout=30).ran) == 1


def test_a_cache_in_a_cache(lighter):
    """BuildKit, testCacheMountParallel."""
    line = "RUN --mount=type=cache,target=/foo/bar --mount=type=cache,target=/foo/bar/baz echo %d >>/foo/bar/baz/f"
    dockerfile = "".join(f"FROM busybox AS b{i}\n{line % i}\n" for i in (1, 2)) + \
        "FROM scratch\nCOPY --from=b1 /etc/passwd p1\nCOPY --from=b2 /etc/passwd p2\n"
    for _ in range(5):
        lighter.run_in(dockerfile, "--no-cache")
    done = run(lighter, "RUN --mount=type=cache,target=/foo/bar/baz echo n=$(wc -l </foo/bar/baz/f)")
    assert done.said("n") == "10"


# Two processes: the first says that it has the cache and waits for a file in the second cache, `gate`.

GATE = "--mount=type=cache,id=gate,target=/gate"
HOLD = ("RUN {gate} --mount=type=cache,id=c,sharing={sharing},target=/c touch /c/held /gate/held && "
        "while test ! -e /gate/open; do sleep 0.05; done; echo first >>/c/log")
LOOK = ("RUN {gate} --mount=type=cache,id=c,sharing={sharing},target=/c echo held=$(ls /c | grep -c held); "
        "echo second >>/c/log; touch /gate/open")


def start(lighter, line):
    child = lighter.start("build", "--no-cache", "--isolation", lighter.isolation, "-f", "-", lighter.context(),
                          stdin=subprocess.PIPE)
    child.stdin.write(f"FROM busybox\n{line}\n".encode())
    child.stdin.close()
    child.stdin = None
    return child


def find(lighter, name):
    return list((lighter.store / "mounts").glob(f"*/data/{name}"))


@pytest.mark.parametrize("sharing, held", [("shared", "1"), ("private", "0")])
def test_a_shared_cache_is_seen_by_two_at_once_and_a_private_one_is_not(lighter, sharing, held):
    first = start(lighter, HOLD.format(gate=GATE, sharing=sharing))
    try:
        assert wait_for(lambda: find(lighter, "held"), 30)
        done = run(lighter, LOOK.format(gate=GATE, sharing=sharing))
        assert done.said("held") == held
        assert first.wait(30) == 0
    finally:
        end_process(first)
    # the copy that is free again is taken again, with what is in it
    assert "held=1" in run(lighter, LOOK.format(gate=GATE, sharing=sharing), args=("--no-cache",)).log


def test_a_locked_cache_is_waited_for_and_the_wait_is_said(lighter):
    first = start(lighter, HOLD.format(gate=GATE, sharing="locked"))
    second = None
    try:
        assert wait_for(lambda: find(lighter, "held"), 30)
        second = start(lighter, "RUN --mount=type=cache,id=c,sharing=locked,target=/c cat /c/log; echo second >>/c/log")
        said = b""
        while b"waiting for cache 'c'" not in said:
            line = second.stderr.readline()
            assert line, said
            said += line
        assert second.poll() is None
        run(lighter, f"RUN {GATE} touch /gate/open")
        assert first.wait(30) == 0 and second.wait(30) == 0
    finally:
        end_process(first)
        if second:
            end_process(second)
    assert [log.read_text() for log in find(lighter, "log")] == ["first\nsecond\n"]


def test_a_killed_build_gives_its_locked_cache_back_and_leaves_no_mount(lighter):
    there = mounts()
    first = start(lighter, HOLD.format(gate=GATE, sharing="locked"))
    try:
        assert wait_for(lambda: find(lighter, "held"), 30)
    finally:
        end_process(first)
    done = run(lighter, "RUN --mount=type=cache,id=c,sharing=locked,target=/c echo n=$(ls /c)", timeout=30)
    assert done.said("n") == "held"
    assert mounts() == there
    assert lighter.leftovers() == []


def test_two_steps_that_want_two_locked_caches_in_other_orders_both_end(lighter):
    one, two = (f"--mount=type=cache,id={name},sharing=locked,target=/{name}" for name in "xy")
    dockerfile = (f"FROM busybox AS a\nRUN {one} {two} sleep 0.2\nFROM busybox AS b\nRUN {two} {one} sleep 0.2\n"
                  "FROM scratch\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n")
    for _ in range(5):
        lighter.run_in(dockerfile, "--no-cache", timeout=60)


def test_many_builds_make_one_cache_at_once(lighter):
    line = "RUN --mount=type=cache,target=/c touch /c/$(cat /proc/sys/kernel/random/uuid)"
    children = [start(lighter, line) for _ in range(6)]
    try:
        assert [child.wait(60) for child in children] == [0] * 6
    finally:
        for child in children:
            end_process(child)
    done = run(lighter, "RUN --mount=type=cache,target=/c echo n=$(ls /c | wc -l)")
    assert done.said("n") == "6"


# ---- tmpfs ---------------------------------------------------------------------------------------

def test_a_tmpfs_is_empty_in_memory_and_as_large_as_said(lighter):
    done = run(lighter, "RUN mkdir /t && touch /t/below",
               "RUN --mount=type=tmpfs,target=/t,size=2m echo size=$(df -k /t | tail -1 | awk '{print $2}') "
               "kind=$(stat -f -c %T /t) && test ! -e /t/below && touch /t/x && "
               "! head -c 3000000 /dev/zero >/t/big 2>/dev/null", "RUN test -e /t/below && test ! -e /t/x")
    assert done.said("size") == "2048 kind=tmpfs"


# ---- secrets -------------------------------------------------------------------------------------

def secret_file(lighter, text="s3cret\n"):
    path = lighter.directory() / "secret"
    path.write_text(text)
    return str(lighter.own(path.parent) / "secret")


def test_a_secret_is_a_file_that_root_alone_reads_and_is_nowhere_else(lighter):
    done = run(lighter, "RUN --mount=type=secret,id=tok echo is=$(stat -c '%a %u %g' /run/secrets/tok) "
               "len=$(wc -c </run/secrets/tok) && cp /run/secrets/tok /tmp/x && rm /tmp/x",
               "RUN test ! -e /run/secrets", args=("--secret", f"id=tok,src={secret_file(lighter)}"))
    assert done.said("is") == "400 0 0 len=7"
    image = lighter.image("mounted")
    assert "s3cret" not in image.text() and all(b"s3cret" not in one.bytes for one in image.layers)
    found = subprocess.run(["grep", "-rlaF", "s3cret", lighter.store], stdout=subprocess.PIPE, check=False)
    assert found.stdout == b""


@pytest.mark.parametrize("spec, path, shown", [
    ("target=/a/b", "/a/b", "400 0 0"), ("target=/t,mode=0440,uid=5,gid=6", "/t", "440 5 6"),
    ("mode=0444", "/run/secrets/tok", "444 0 0"), ("uid=9", "/run/secrets/tok", "400 9 0"),
    ("target=rel", "/rel", "400 0 0"),
])
def test_a_secrets_place_mode_and_owner_are_those_asked_for(lighter, spec, path, shown):
    done = run(lighter, f"RUN --mount=type=secret,id=tok,{spec} echo is=$(stat -c '%a %u %g' {path}) && cat {path}",
               args=("--secret", f"id=tok,src={secret_file(lighter)}"))
    assert done.said("is") == shown and "s3cret" in done.log


def test_a_secret_as_a_variable_goes_before_one_of_the_dockerfile(lighter):
    done = run(lighter, "ENV TOKEN=old", 'RUN --mount=type=secret,id=tok,env=TOKEN ["env"]',
               "RUN --mount=type=secret,id=tok,env=TOKEN test ! -e /run/secrets/tok && echo got=$TOKEN",
               "RUN echo after=$TOKEN", args=("--secret", f"id=tok,src={secret_file(lighter, 'new')}"))
    assert [line for line in done.log if line.startswith("TOKEN=")] == ["TOKEN=new"]
    assert done.said("got") == "new" and done.said("after") == "old"


def test_a_secret_can_be_a_variable_and_a_file(lighter):
    done = run(lighter, "RUN --mount=type=secret,id=tok,env=A,target=/f echo got=$A $(cat /f)",
               args=("--secret", "id=tok,env=MINE"), env={"MINE": "value"})
    assert done.said("got") == "value value"


def test_a_required_secret_that_is_not_given_is_named_and_another_is_left_out(lighter):
    refused = run(lighter, "RUN --mount=type=secret,id=tok,required true", code=3)
    assert "<stdin>:2" in refused.error and "tok" in refused.error and "--secret id=tok" in refused.error
    run(lighter, "RUN --mount=type=secret,id=tok test ! -e /run/secrets/tok")


def test_a_secrets_value_is_not_in_the_key_and_its_place_is(lighter):
    line = "RUN --mount=type=secret,id=tok cat /run/secrets/tok"
    run(lighter, line, args=("--secret", f"id=tok,src={secret_file(lighter)}"))
    assert run(lighter, line, args=("--secret", f"id=tok,src={secret_file(lighter, 'other')}")).ran == []
    moved = line.replace("id=tok", "id=tok,target=/x").replace("/run/secrets/tok", "/x")
    assert run(lighter, moved, args=("--secret", f"id=tok,src={secret_file(lighter)}")).ran == [moved]


def test_an_ordinary_user_reads_a_secret_that_is_given_to_them(lighter):
    done = run(lighter, "USER 1234:1234", "RUN --mount=type=secret,id=tok,uid=1234 cat /run/secrets/tok",
               "RUN --mount=type=secret,id=tok ! cat /run/secrets/tok",
               args=("--secret", f"id=tok,src={secret_file(lighter)}"))
    assert "s3cret" in done.log
