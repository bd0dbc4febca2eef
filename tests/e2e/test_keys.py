"""Cache keys: as documented to the byte; each input alone is a miss; what is no input is a hit."""

import os
import sqlite3

import pytest

from cachekeys import DIR, FILE, LINK, entry, key, selection

TEXT = """\
FROM busybox
ARG A=1
ENV B=2 C=3
WORKDIR /w
COPY src /src/
RUN --mount=type=cache,id=k,target=/k --mount=type=bind,source=bound,target=/b --mount=type=tmpfs,target=/t \
--mount=type=secret,id=s true; echo $A >/o
RUN <<END
echo x >/doc
END
"""
FILES = {"src/f": "1\n", "src/g": ("2\n", 0o755), "src/d/h": "3\n", "bound/b": "4\n", "other": "5\n", ".dockerignore": "**/*.tmp\n"}
STEP = "--mount=type=cache,id=k,target=/k"


# ---- to the byte ---------------------------------------------------------------------------------

def records(lighter):
    """{key: result} of all steps that the store knows."""
    with sqlite3.connect(lighter.store / "meta.db", timeout=20) as d:
        return dict(d.execute("SELECT key, result FROM record").fetchall())


def copy(parent, dest, source, *, chown="", chmod="", unpack="no", link="no"):
    fields = [("dest", dest), ("chown", chown), ("chmod", chmod), ("unpack", unpack), ("link", link), *source]
    return key("copy 2", *([] if link == "yes" else [("parent", parent)]), *fields)


def test_keys_in_the_store_are_what_the_page_says(lighter):
    context = lighter.context({"src/g": ("2\n", 0o755), "src/d/h": "3\n"})
    (context / "src/l").symlink_to("g")
    lighter.own(context)
    lighter.build(context, "--network=none", "--shm-size=1m", "--add-host=x:1.2.3.4", dockerfile="""\
FROM scratch
WORKDIR /w
COPY --chown=1:2 --chmod=600 src/g /d/
COPY src /s/
ADD src/d/h /h
COPY --link <<X /doc
hello
X
COPY --from=busybox /bin/busybox /bin/sh
ENV B=2
ARG A=1
RUN --mount=type=cache,id=k,target=/k,sharing=locked,mode=0700,uid=7 --mount=type=tmpfs,target=/t,size=4096 echo $A
USER 5
RUN ["/bin/sh", "-c", "exit 0"]
""")
    have = records(lighter)
    parent = key("from 1", ("image", "scratch"))

    def follows(step):
        nonlocal parent
        assert step in have, "no step has this key"
        parent = have[step]

    g = selection([("g", 0, 0, 1)], [entry("", FILE, 0o755, content=b"2\n")])
    h = selection([("h", 0, 0, 1)], [entry("", FILE, 0o644, content=b"3\n")])
    src = selection([("src", 1, 0, 4)], [entry("d", DIR, 0o755), entry("d/h", FILE, 0o644, content=b"3\n"),
                                         entry("g", FILE, 0o755, content=b"2\n"), entry("l", LINK, 0o777, link="g")])
    follows(key("workdir 1", ("parent", parent), ("path", "/w"), ("user", "")))
    follows(copy(parent, "/d/", [("source", "src/g"), ("file", g)], chown="1:2", chmod="600"))
    follows(copy(parent, "/s/", [("source", "src"), ("file", src)]))
    follows(copy(parent, "/h", [("source", "src/d/h"), ("file", h)], unpack="files"))
    linked = copy(None, "/doc", [("source", "X"), ("inline", key("inline 1", ("name", "X"), ("content", "hello\n")))], link="yes")
    assert have[linked] == linked
    parent = key("link 1", ("layer", linked), ("on", parent))
    busybox = lighter.image("busybox").layers[0]
    data, mode = busybox.read("bin/busybox"), busybox["bin/busybox"].mode
    follows(copy(parent, "/bin/sh", [("source", "/bin/busybox"),
                                     ("file", selection([("busybox", 0, 0, 1)], [entry("", FILE, mode, content=data)]))]))
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    shape = [("host", ["1.2.3.4\tx"]), ("shm", "1048576")]
    run = [("parent", parent), ("arg", ["/bin/sh", "-c", "echo $A"]), ("env", [path, "B=2", "A=1"]), ("cwd", "/w"), ("user", ""),
           ("network", "none"), ("hostname", "buildkitsandbox"), *shape,
           ("mount", "/k"), ("as", "1 0 2 0 1:700 1:7 0:0"), ("id", "k"), ("variable", ""), ("source", "."), ("nothing", bytes(32)),
           ("mount", "/t"), ("as", "2 0 0 4096 0:0 0:0 0:0"), ("id", ""), ("variable", "")]
    follows(key("run 2", *run))  # it leaves the mount points, and its result has a random number
    wrote_nothing = key("result 1", ("nothing over", parent))
    follows(key("run 2", ("parent", parent), ("arg", ["/bin/sh", "-c", "exit 0"]), ("env", [path, "B=2", "A=1"]), ("cwd", "/w"),
                ("user", "5"), ("network", "none"), ("hostname", "buildkitsandbox"), *shape))
    assert parent == wrote_nothing


# ---- one input at a time -------------------------------------------------------------------------

def write(path, text):
    return lambda context: (context / path).write_text(text)


def relink(context):
    (context / "src/l").unlink()
    (context / "src/l").symlink_to("elsewhere")


def hardlink(context):
    (context / "src/g").unlink()
    os.link(context / "src/same", context / "src/g")


def attribute(context):
    try:
        os.setxattr(context / "src/f", "user.x", b"1")
    except OSError as e:
        pytest.skip(f"this file system keeps no attributes: {e.strerror}")


def replace(old, new):
    return lambda text: text.replace(old, new)


# name: {"do": to the context, "text": to the Dockerfile, "args": options, "env": variables, "first": the step that runs first}
COPY, RUN, DOC = "COPY src", "RUN --mount", "RUN <<END"
MISSES = {
    "a file's content": {"do": write("src/f", "other\n"), "first": COPY},
    "a file's mode": {"do": lambda c: (c / "src/f").chmod(0o600), "first": COPY},
    "setuid": {"do": lambda c: (c / "src/g").chmod(0o4755), "first": COPY},
    "a directory's mode": {"do": lambda c: (c / "src/d").chmod(0o700), "first": COPY},
    "a new file": {"do": write("src/new", ""), "first": COPY},
    "an empty directory": {"do": lambda c: (c / "src/e").mkdir(), "first": COPY},
    "a file less": {"do": lambda c: (c / "src/f").unlink(), "first": COPY},
    "a name": {"do": lambda c: (c / "src/f").rename(c / "src/ff"), "first": COPY},
    "a link's target": {"do": relink, "first": COPY},
    "two files that become one": {"do": hardlink, "first": COPY},
    "an attribute": {"do": attribute, "first": COPY},
    "a rule of the ignore file": {"do": write(".dockerignore", "**/*.tmp\nsrc/f\n"), "first": COPY},
    "the destination": {"text": replace("COPY src /src/", "COPY src /src2/"), "first": COPY},
    "--chown": {"text": replace("COPY src", "COPY --chown=1 src"), "first": "COPY --chown"},
    "--chmod": {"text": replace("COPY src", "COPY --chmod=700 src"), "first": "COPY --chmod"},
    "--link": {"text": replace("COPY src", "COPY --link src"), "first": "COPY --link"},
    "--exclude": {"text": replace("COPY src", "COPY --exclude=f src"), "first": "COPY --exclude"},
    "ADD unpacks": {"text": replace("COPY src", "ADD src"), "first": "ADD src"},
    "the working directory": {"text": replace("WORKDIR /w", "WORKDIR /w2"), "first": "WORKDIR /w2"},
    "a word of the command": {"text": replace("true; echo", "false; echo"), "first": RUN},
    "the shell": {"text": replace("COPY src", 'SHELL ["/bin/sh", "-ec"]\nCOPY src'), "first": RUN},
    "a variable": {"text": replace("B=2", "B=3"), "first": RUN},
    "a variable more": {"text": replace("B=2", "B=2 D=4"), "first": RUN},
    "the order of variables": {"text": replace("B=2 C=3", "C=3 B=2"), "first": RUN},
    "an argument": {"args": ["--build-arg", "A=2"], "first": RUN},
    "an argument that is not set": {"text": replace("ARG A=1", "ARG A"), "first": RUN},
    "an argument that is empty": {"args": ["--build-arg", "A="], "first": RUN},
    "the user": {"text": replace("COPY src", "USER 0\nCOPY src"), "first": RUN},
    "the network of a step": {"text": replace("RUN --mount", "RUN --network=none --mount"), "first": "RUN --network"},
    "the network of all steps": {"args": ["--network=none"], "first": RUN},
    "the security of a step": {"text": replace("RUN --mount", "RUN --security=insecure --mount"),
                               "args": ["--allow=security.insecure"], "first": "RUN --security"},
    "a cache's id": {"text": replace("id=k", "id=k2"), "first": RUN},
    "a cache's place": {"text": replace("target=/k", "target=/k2"), "first": RUN},
    "a cache's sharing": {"text": replace(STEP, STEP + ",sharing=locked"), "first": RUN},
    "a cache's mode": {"text": replace(STEP, STEP + ",mode=0700"), "first": RUN},
    "a cache's owner": {"text": replace(STEP, STEP + ",uid=1"), "first": RUN},
    "a cache's beginning": {"text": replace(STEP, STEP + ",from=busybox,source=/etc"), "first": RUN},
    "what is bound": {"do": write("bound/b", "other\n"), "first": RUN},
    "where it is bound from": {"text": replace("source=bound", "source=src/d"), "first": RUN},
    "that it can be written": {"text": replace("source=bound", "rw,source=bound"), "first": RUN},
    "a tmpfs's size": {"text": replace("target=/t", "target=/t,size=4096"), "first": RUN},
    "a secret's id": {"text": replace("id=s ", "id=s2 "), "first": RUN},
    "a secret's place": {"text": replace("id=s ", "id=s,target=/s "), "first": RUN},
    "a secret's variable": {"text": replace("id=s ", "id=s,env=S "), "first": RUN},
    "a secret's rights": {"text": replace("id=s ", "id=s,mode=0444 "), "first": RUN},
    "a mount more": {"text": replace("--mount=type=tmpfs", "--mount=type=ssh --mount=type=tmpfs"), "first": RUN},
    "the order of mounts": {"text": lambda t: t.replace("type=tmpfs,target=/t", "type=x").replace("type=secret,id=s", "type=tmpfs,target=/t")
                            .replace("type=x", "type=secret,id=s"), "first": RUN},
    "a here-document": {"text": replace("echo x", "echo y"), "first": DOC},
    "a host": {"args": ["--add-host=x:1.2.3.4"], "first": RUN},
    "shared memory": {"args": ["--shm-size=1m"], "first": RUN},
    "a limit of each process": {"args": ["--ulimit=nofile=64:64"], "first": RUN},
    "the host's name": {"args": ["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=other"], "first": RUN},
    "a step less": {"text": replace("WORKDIR /w\n", ""), "first": COPY},
}

HITS = {
    "nothing": {},
    "times of files": {"do": lambda c: [os.utime(p, (1, 1)) for p in c.rglob("*")]},
    "a file written anew": {"do": lambda c: [(c / "src/f").unlink(), (c / "src/f").write_text("1\n")]},
    "a file that no step names": {"do": write("other", "other\n")},
    "a file that is ignored": {"do": write("src/x.tmp", "x")},
    "the mode of a directory of which the content is copied": {"do": lambda c: (c / "src").chmod(0o700)},
    "comments and spaces": {"text": lambda t: "# a comment\n\n" + t.replace("COPY src /src/", "copy   src   /src/")},
    "another stage": {"text": lambda t: "FROM busybox AS other\nRUN exit 1\n" + t},
    "the image's config": {"text": lambda t: t + "CMD x\nEXPOSE 80\nLABEL a=b\n"},
    "a label": {"args": ["--label", "x=y"]},
    "a tag": {"args": ["-t", "other"]},
    "the time rule": {"args": ["--epoch=5"]},
    "a secret's value": {"args": ["--secret", "id=s,env=SECRET"], "env": {"SECRET": "new"}},
    "proxies": {"args": ["--build-arg", "http_proxy=http://127.0.0.1:1", "--build-arg", "NO_PROXY=x"]},
    "the caller's proxies": {"env": {"HTTP_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}},
    "the caller's Go settings": {"env": {"GOPROXY": "off", "GOSUMDB": "off", "GOPRIVATE": "x", "GONOSUMDB": "x", "GONOPROXY": "x"}},
    "the caller's environment": {"env": {"A": "7", "B": "8", "LANG": "de_DE.UTF-8", "TZ": "Asia/Tokyo"}},
    "an argument that nobody declares": {"args": ["--build-arg", "UNKNOWN=1"]},
    "an argument of the same value": {"args": ["--build-arg", "A=1"]},
    "an argument declared after the steps": {"text": lambda t: t + "ARG LATE=1\n", "args": ["--build-arg", "LATE=2"]},
    "memory": {"args": ["--memory=512m", "--memory-swap=1g"], "limits": True},
    "processors": {"args": ["--cpus=1", "--cpu-shares=5"], "limits": True},
    "processes": {"args": ["--pids-limit=1000"], "limits": True},
    "the view": {"args": ["--progress=json"]},
    "the ceiling of the cache": {"args": ["--max-cache=10GB"]},
}


@pytest.fixture(scope="module")
def lighter(module_lighters, bases):
    return module_lighters("root", bases=[bases("busybox")])


def prepare(lighter, name):
    """A context of its own, in which everything was built."""
    context = lighter.context({**FILES, "src/same": ("2\n", 0o755), "src/case": name})
    (context / "src/l").symlink_to("g")
    lighter.own(context)
    lighter.build(context, dockerfile=TEXT)
    assert lighter.build(context, dockerfile=TEXT).ran == [], "or it says nothing that a step runs"
    return context


def vary(lighter, name, case):
    context = prepare(lighter, name)
    case.get("do", lambda c: None)(context)
    lighter.own(context)
    return lighter.build(context, *case.get("args", []), dockerfile=case.get("text", str)(TEXT), env=case.get("env"), code=None)


@pytest.mark.parametrize("name", MISSES)
def test_an_input_that_differs_is_a_miss(lighter, name):
    said = vary(lighter, name, MISSES[name])
    assert said.code == 0, said
    assert said.ran and said.ran[0].startswith(MISSES[name]["first"]), said


@pytest.mark.parametrize("name", HITS)
def test_what_is_no_input_is_a_hit(lighter, name):
    said = vary(lighter, name, HITS[name])
    if said.code == 6 and HITS[name].get("limits"):
        pytest.skip(said.error.splitlines()[0])
    assert said.code == 0, said
    assert said.ran == [], said


def test_what_a_cache_holds_is_no_input_and_a_base_that_moved_is_one(lighter):
    text = "FROM base\nRUN --mount=type=cache,id=held,target=/k echo x >>/k/x; wc -l </k/x >/n\n"
    lighter.run_in("FROM busybox\nLABEL v=1\n", tag="base")
    assert lighter.run_in(text).ran
    lighter.run_in("FROM busybox\nRUN --mount=type=cache,id=held,target=/k echo x >>/k/x\n", "--no-cache")
    assert lighter.run_in(text).ran == []
    lighter.run_in("FROM busybox\nLABEL v=2\n", tag="base")
    assert len(lighter.run_in(text).ran) == 1


def test_after_an_equal_result_everything_hits_although_its_step_ran_again(lighter):
    text = "FROM busybox AS b\nCOPY f /f\nRUN sed s/#.*// /f >/bin/out\nFROM busybox\nCOPY --from=b /bin/out /out\nRUN cat /out >/again\n"
    assert len(lighter.run_in(text, files={"f": "code # one\n"}).ran) == 4
    assert lighter.run_in(text, files={"f": "code # two\n"}).ran == ["COPY f /f", "RUN sed s/#.*// /f >/bin/out"]
