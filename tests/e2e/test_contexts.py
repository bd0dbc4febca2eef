"""Where a build's files come from: the main context and named contexts, in every form."""

import bz2
import contextlib
import gzip
import http.server
import io
import lzma
import os
import shutil
import socketserver
import subprocess
import tarfile
import threading

import pytest

from harness import Image
from test_load import tar_of

FILES = {"Dockerfile": "FROM busybox\nCOPY . /ctx/\nRUN cat /ctx/sub/f; ls /ctx\n", "a": "one\n",
         "sub/f": "from=sub\n", "run.sh": ("#!/bin/sh\n", 0o755)}
TIME = 1600000000


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    """A store with busybox, once in each mode."""
    return lighters(request.param, bases=[bases("busybox")])


# ---- servers -------------------------------------------------------------------------------------

class Web:
    """http on 127.0.0.1: `files` are {path: bytes}; a file is known by an ETag. `log` has (path, status)."""

    def __init__(self):
        self.files, self.log = {}, []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                data = web.files.get(self.path)
                etag = f'"{hash(data)}"'
                status = 404 if data is None else 304 if self.headers.get("If-None-Match") == etag else 200
                web.log.append((self.path, status))
                self.send_response(status)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(data) if status == 200 else 0))
                self.end_headers()
                if status == 200:
                    self.wfile.write(data)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"


class Git:
    """Repositories below `top`, by git's own protocol on 127.0.0.1."""

    def __init__(self, top):
        self.top, git = top, self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                wanted = self.request.recv(4)
                while len(wanted) < int(wanted[:4], 16):
                    wanted += self.request.recv(int(wanted[:4], 16) - len(wanted))
                name = wanted[4:].split(b"\0")[0].split(b" /")[1].decode()
                subprocess.run(["git", "-c", "safe.directory=*", "upload-pack", git.top / name],
                               stdin=self.request, stdout=self.request, check=False,
                               env={**os.environ, "GIT_PROTOCOL": "version=2"})

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def url(self, name, rest=""):
        return f"git://127.0.0.1:{self.server.server_address[1]}/{name}{rest}"

    def sh(self, name, command):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.top), "GIT_AUTHOR_DATE": f"{TIME} +0000",
               "GIT_COMMITTER_DATE": f"{TIME} +0000"}
        for who in ("AUTHOR", "COMMITTER"):
            env.update({f"GIT_{who}_NAME": "t", f"GIT_{who}_EMAIL": "t@t"})
        done = subprocess.run(["sh", "-ec", command], cwd=self.top / name, env=env, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().strip()

    def repository(self, name, context):
        """A repository with the files of a directory as the one commit of its branch `main`."""
        shutil.copytree(context, self.top / name, symlinks=True)
        self.sh(name, "git init -q -b main . && git add -Af . && git commit -qm one")


@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.server.shutdown()
    server.server.server_close()
    thread.join()


@pytest.fixture
def web():
    with serving(Web()) as one:
        yield one


@pytest.fixture
def git(needs, temp):
    needs("git")
    with serving(Git(temp)) as one:
        yield one


def tar_of_tree(top):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(top, ".")
    return out.getvalue()


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def ctx_of(lighter, ref):
    """{path: (mode, uid, content)} of what was copied to /ctx."""
    return {path[4:]: (info.mode & 0o7777, info.uid, data) for path, (info, data) in lighter.image(ref).rootfs().items()
            if path.startswith("ctx/")}


# ---- the main context ----------------------------------------------------------------------------

def test_a_directory_given_by_any_name_is_the_context(lighter):
    context = lighter.context(FILES)
    ids = {lighter.build(word, cwd=cwd).id for word, cwd in ((context, None), (".", context), ("..", context / "sub"),
                                                             ("./sub/..", context), (f"{context}/", None))}
    assert len(ids) == 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd],
                         ids=["plain", "gzip", "bzip2", "xz", "zstd"])
def test_a_tar_on_stdin_is_the_context(lighter, needs, pack):
    if pack is zstd:
        needs("zstd")
    context = lighter.context({**FILES, ".dockerignore": "a\n"})
    done = lighter.build("-", input=pack(tar_of_tree(context)), tag="t")
    assert done.said("from") == "sub"
    assert ctx_of(lighter, "t")["run.sh"] == (0o755, 0, b"#!/bin/sh\n")
    assert "a" in ctx_of(lighter, "t"), "an ignore file is for directories, as with BuildKit"
    again = lighter.build("-", input=pack(tar_of_tree(context)))
    assert again.ran == [] and again.id == done.id
    assert lighter.leftovers() == []


def test_a_dockerfile_on_stdin_has_no_context(lighter):
    assert lighter.build("-", input="FROM busybox\nRUN echo no=context\n").said("no") == "context"
    refused = lighter.build("-", input="FROM busybox\nCOPY a /\n", code=None)
    assert refused.code == 3 and "<stdin>:2" in refused.error
    assert "no context" in refused.error


@pytest.mark.parametrize("damage", [lambda d: d[:700], lambda d: gzip.compress(d)[:-60], lambda d: gzip.compress(d)[:90],
                                    lambda d: d[:512] + b"\xff" * 512 + d[1024:]],
                         ids=["cut", "cut-gzip", "cut-early", "bad-header"])
def test_a_damaged_tar_is_an_error_and_nothing_is_kept(lighter, damage):
    data = tar_of_tree(lighter.context({**FILES, "noise": os.urandom(3000)}))
    refused = lighter.build("-", input=damage(data), code=None)
    assert refused.code == 2 and "context on stdin: " in refused.error
    assert lighter.leftovers() == []
    assert lighter.build("-", input=data).said("from") == "sub"


@pytest.mark.parametrize("member", [("../out", "file", b"evil"), ("/../../out", "file", b"evil"), ("d/../../out", "file", b"evil")])
def test_a_hostile_tar_writes_nothing_outside(lighter, member):
    before = {path for path in lighter.place.rglob("out")}
    lighter.build("-", input=tar_of(member, ("Dockerfile", "file", b"FROM busybox\n")), code=None)
    assert {path for path in lighter.place.rglob("out")
            if "snapshots" not in path.parts} == before


def test_f_names_a_dockerfile_outside_and_inside_of_a_directory(lighter):
    context = lighter.context({"in/x.df": "FROM busybox\nRUN echo from=inside\n", "x.df": "FROM busybox\nRUN echo from=top\n"})
    other = lighter.context({"x.df": "FROM busybox\nRUN echo from=outside\n"})
    for words, said in ((["-f", "x.df"], "outside"), (["-f", context / "in/x.df"], "inside"),
                        (["-f", f"{context}/in/../x.df"], "top")):
        assert lighter.build(context, *words, "--no-cache", cwd=other).said("from") == said


def test_a_dockerfile_s_link_is_followed_in_a_directory_and_only_inside_of_an_archive(lighter, temp):
    (temp / "outside").write_text("FROM busybox\nRUN echo from=outside\n")
    (temp / "outside").chmod(0o644)
    context = lighter.context({"real": "FROM busybox\nRUN echo from=inside\n"})
    (context / "Dockerfile").symlink_to(temp / "outside")
    assert lighter.build(lighter.own(context)).said("from") == "outside"
    refused = lighter.build("-", input=tar_of_tree(context), code=3)
    assert "Dockerfile: no such file in the context" in refused.error and "outside" not in "".join(refused.log)
    (context / "Dockerfile").unlink()
    for target in ("real", "/real", "../../real"):
        (context / "Dockerfile").symlink_to(target)
        assert lighter.build("-", "--no-cache", input=tar_of_tree(context)).said("from") == "inside", target
        (context / "Dockerfile").unlink()


@pytest.mark.parametrize("entry, said", [
    (("Dockerfile", "sym", "Dockerfile"), "too many levels of symbolic links"), (("Dockerfile", "fifo", ""), "no file that can be read"),
    (("Dockerfile", "dir", ""), "no file that can be read"), (("Dockerfile", "file", b"#" * (5 << 20)), "larger than the limit"),
    (("other", "file", b""), "Dockerfile: no such file in the context (name another with -f)"),
])
def test_an_archive_s_dockerfile_that_cannot_be_read_is_told(bare, entry, said):
    refused = bare.build("-", input=tar_of(entry), code=3)
    assert said in refused.error
    assert "../../etc/passwd: no such file in the context" in bare.build("-", "-f", "../../etc/passwd", input=tar_of(entry), code=3).error


def test_a_dockerfile_may_come_through_a_pipe_and_a_signal_ends_the_wait(lighter):
    import signal
    pipe = lighter.context({"x": ""}) / "pipe"
    os.mkfifo(pipe)
    lighter.own(pipe.parent)
    child = lighter.start("build", "-f", pipe, lighter.context())
    with open(pipe, "wb", buffering=0) as writer:  # opened once the other side is
        writer.write(b"FROM busybox\n")
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    child.communicate()
    child = lighter.start("build", "-f", pipe, lighter.context())
    pipe.write_bytes(b"FROM busybox\n")
    child.communicate(timeout=30)
    assert child.returncode == 0


# ---- git -----------------------------------------------------------------------------------------

def test_a_git_repository_is_the_context_and_a_second_build_runs_nothing(lighter, git):
    git.repository("r.git", lighter.context(FILES))
    done = lighter.build(git.url("r.git"), tag="t")
    assert done.said("from") == "sub" and ".git" not in ctx_of(lighter, "t")
    assert lighter.build(git.url("r.git")).ran == []


def test_fragment_and_query_choose_ref_and_directory(lighter, git):
    git.repository("r.git", lighter.context(FILES))
    git.sh("r.git", "git checkout -qb other && mkdir -p deep/er && printf 'FROM busybox\\nRUN echo from=deep\\n' > deep/er/Dockerfile"
                    " && git add -A && git commit -qm two && git tag v1 && git checkout -q main")
    commit = git.sh("r.git", "git rev-parse other")
    for rest in ("#other:deep/er", "#v1:deep/er", f"#{commit}:deep/er", "#refs/heads/other:/deep/er/",
                 "?ref=other&subdir=deep/er", "?tag=v1&subdir=deep/er", f"?ref=other&checksum={commit}&subdir=deep/er"):
        assert lighter.build(git.url("r.git", rest), "--no-cache").said("from") == "deep", rest
    assert lighter.build(git.url("r.git", "#other"), "-f", "deep/er/Dockerfile", "--no-cache").said("from") == "deep"
    for rest, code, word in (("#nosuch", 3, "nosuch"), ("#other:nosuch", 3, "nosuch"), ("?nosuch=1", 2, "nosuch"),
                             ("?ref=other&checksum=" + "0" * 40, 5, "0" * 40)):
        refused = lighter.build(git.url("r.git", rest), code=None)
        assert refused.code == code and word in refused.error, refused


def test_files_of_git_have_the_modes_git_knows_whatever_the_umask(lighter, git):
    git.repository("r.git", lighter.context(FILES))
    old = os.umask(0o077)
    try:
        lighter.build(git.url("r.git"), tag="t")
    finally:
        os.umask(old)
    files = ctx_of(lighter, "t")
    assert (files["a"][0], files["run.sh"][0], files["sub"][0]) == (0o644, 0o755, 0o755)


def test_a_hostile_link_in_git_reads_nothing_outside(lighter, git, temp):
    (temp / "secret").write_text("FROM busybox\nRUN echo from=outside\n")
    context = lighter.context({"x": ""})
    (context / "Dockerfile").symlink_to(temp / "secret")
    git.repository("r.git", context)
    refused = lighter.build(git.url("r.git"), code=3)
    assert "Dockerfile: no such file in the context" in refused.error


def test_a_repository_that_is_not_there_is_a_network_error_that_names_it(lighter, git):
    refused = lighter.build(git.url("nosuch.git"), code=4)
    assert "nosuch.git" in refused.error


def test_the_history_of_git_is_kept_when_a_build_argument_asks_for_it(lighter, git):
    git.repository("r.git", lighter.context(FILES))
    lighter.build(git.url("r.git"), "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", tag="t")
    assert ".git/HEAD" in ctx_of(lighter, "t")


# ---- http ----------------------------------------------------------------------------------------

def test_a_tar_of_a_web_server_is_the_context_and_is_fetched_once(lighter, web):
    web.files["/c.tgz"] = gzip.compress(tar_of_tree(lighter.context(FILES)))
    done = lighter.build(web.url("/c.tgz"), tag="t")
    assert done.said("from") == "sub"
    again = lighter.build(web.url("/c.tgz"))
    assert again.id == done.id and again.ran == []
    assert [status for _, status in web.log] == [200, 304]


def test_a_dockerfile_of_a_web_server_is_built_without_context(lighter, web):
    web.files["/some/Dockerfile.x"] = b"FROM busybox\nRUN echo from=web\n"
    assert lighter.build(web.url("/some/Dockerfile.x")).said("from") == "web"
    web.files["/bad"] = b"FROM busybox\nCPOY a b\n"
    assert "bad:2:1: unknown instruction: CPOY" in lighter.build(web.url("/bad"), code=3).error


def test_f_names_a_file_inside_of_a_web_server_s_tar(lighter, web):
    web.files["/c.tar"] = tar_of_tree(lighter.context({"in/x.df": "FROM busybox\nRUN echo from=inside\n"}))
    assert lighter.build(web.url("/c.tar"), "-f", "in/x.df").said("from") == "inside"
    assert "nosuch.df: no such file in the context" in lighter.build(web.url("/c.tar"), "-f", "nosuch.df", code=3).error


def test_what_a_web_server_has_not_is_a_network_error(lighter, web):
    refused = lighter.build(web.url("/nosuch.tar"), code=4)
    assert web.url("/nosuch.tar") in refused.error and "404" in refused.error


def test_directory_tar_git_and_web_give_one_digest(lighter, git, web):
    """I34 of the feature list."""
    context = lighter.context(FILES)
    git.repository("r.git", context)
    web.files["/c.tar"] = tar_of_tree(context)
    (context / ".git").mkdir()  # as in a work tree, where it would be ignored
    (context / ".dockerignore").write_text(".git\n.dockerignore\n")
    forms = {"dir": [context], "tar": ["-"], "git": [git.url("r.git")], "web": [web.url("/c.tar")]}
    ids = {}
    for form, words in forms.items():
        lighter.build(*words, "--epoch=content", "--no-cache", tag=form, **({"input": web.files["/c.tar"]} if form == "tar" else {}))
        image = lighter.image(form)
        ids[form] = image.layers[-2].diff_id, image.layers[-1].diff_id, image.id
    assert len(set(ids.values())) == 1, ids


# ---- named contexts ------------------------------------------------------------------------------

NAMED = "FROM busybox\nCOPY --from=src /f /copied\nRUN --mount=from=src,target=/m echo f=$(cat /m/f); ls /m\n"


def test_a_named_directory_is_copied_from_and_mounted_less_its_own_ignore_file(lighter):
    named = lighter.context({"f": "here\n", "hidden": "x", ".dockerignore": "hidden\n"})
    done = lighter.run_in(NAMED, "--build-context", f"src={named}", files={".dockerignore": "f\n"}, tag="t")
    assert done.said("f") == "here" and "hidden" not in done.log
    assert lighter.image("t").rootfs()["copied"][1] == b"here\n"


def test_named_contexts_of_git_and_web_are_copied_from_and_mounted(lighter, git, web):
    context = lighter.context({"f": "here\n"})
    git.repository("r.git", context)
    web.files["/c.tar"] = tar_of_tree(context)
    for spec in (git.url("r.git"), git.url("r.git", "#main"), web.url("/c.tar")):
        assert lighter.run_in(NAMED, "--no-cache", "--build-context", f"src={spec}").said("f") == "here", spec


def test_a_web_server_s_text_is_no_named_context(lighter, web):
    web.files["/text"] = b"FROM busybox\n"
    refused = lighter.run_in(NAMED, "--build-context", f"src={web.url('/text')}", code=2)
    assert "--build-context src" in refused.error and "no tar archive" in refused.error


def test_a_named_image_is_copied_from_and_mounted(lighter, lighters):
    lighter.run_in("FROM busybox\nRUN echo here > /f\n", tag="made:1")
    layout = lighter.directory() / "layout"
    lighter.save("made:1", layout, "oci-dir")
    for spec in ("docker-image://made:1", "docker-image://docker.io/library/made:1", f"oci-layout://{layout}"):
        assert lighter.run_in(NAMED, "--no-cache", "--build-context", f"src={spec}").said("f") == "here", spec
    digest = Image(layout).digest
    assert lighter.run_in(NAMED, "--no-cache", "--build-context", f"src=oci-layout://{layout}@{digest}").said("f") == "here"


@pytest.mark.parametrize("name", ["nosuch", "nosuch:latest", "docker.io/library/nosuch", "library/nosuch"])
@pytest.mark.parametrize("used", ["nosuch", "docker.io/library/nosuch:latest"])
def test_an_image_is_replaced_by_any_of_its_names(lighter, name, used):
    done = lighter.run_in(f"FROM {used}\nRUN echo built=yes\n", "--build-context", f"{name}=docker-image://busybox")
    assert done.said("built") == "yes"


def test_another_tag_is_another_image(lighter):
    assert "nosuch:2" in lighter.run_in("FROM nosuch:2\n", "--build-context", "nosuch=docker-image://busybox", code=4).error


def test_a_directory_stands_for_an_image(lighter):
    named = lighter.context({"f": "here\n"})
    lighter.run_in("FROM base\nENV a=1\n", "--build-context", f"base={named}", tag="t")
    assert lighter.image("t").rootfs()["f"][1] == b"here\n"


def test_a_context_stands_for_a_stage_whose_parts_are_broken(lighter):
    text = "FROM nosuch:1 AS gone\nRUN exit 1\nFROM gone AS build\nRUN exit 2\nFROM busybox\nCOPY --from=build /f /f\nRUN cat /f\n"
    named = lighter.context({"f": "built=elsewhere\n"})
    done = lighter.run_in(text, "--build-context", f"build={named}")
    assert done.said("built") == "elsewhere"
    assert not [step for step in done.steps if "exit" in step.title]
    assert lighter.run_in(text, "--build-context", f"BUILD={named}").id == done.id, "names of stages have no case"


def test_the_last_context_of_a_name_counts(lighter):
    one, two = lighter.context({"f": "one\n"}), lighter.context({"f": "two\n"})
    assert lighter.run_in(NAMED, "--build-context", f"src={one}", "--build-context", f"src={two}").said("f") == "two"


def test_contexts_that_nothing_names_are_not_opened(lighter, web):
    closed = lighter.context({"f": ("", 0)})
    done = lighter.run_in("FROM busybox\nFROM busybox AS unused\nCOPY --from=w / /\nFROM busybox\nRUN echo built=yes\n",
                          "--build-context", f"w={web.url('/nosuch.tar')}", "--build-context", "l=oci-layout:///nosuch",
                          "--build-context", "i=docker-image://nosuch", "--build-context", f"d={closed}",
                          "--build-context", "g=git://127.0.0.1:1/nosuch.git")
    assert done.said("built") == "yes" and web.log == []


@pytest.mark.parametrize("spec, code, said", [
    ("oci-layout:///nosuch", 2, "/nosuch"), ("docker-image://nosuch", 4, "nosuch"),
    ("git://127.0.0.1:1/nosuch.git", 4, "--build-context src"), ("http://127.0.0.1:1/nosuch.tar", 4, "--build-context src"),
])
def test_a_context_that_is_named_and_cannot_be_had_is_told_by_name(lighter, spec, code, said):
    refused = lighter.run_in(NAMED, "--build-context", f"src={spec}", code=code)
    assert said in refused.error and refused.steps == []
