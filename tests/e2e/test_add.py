"""ADD: archives, files of web servers, repositories; in both modes.

The rules are BuildKit's (solver/llbsolver/file/unpack.go, its add and addgit tests; features.md I25 to I27).
Every build here is made twice: what comes from the cache must be what was made.
"""

import bz2
import contextlib
import gzip
import hashlib
import http.server
import io
import lzma
import os
import socket
import stat
import subprocess
import tarfile
import threading
import time

import pytest

from harness import end_process, wait_for

WHEN = 1600000000
STAMP = "Sun, 13 Sep 2020 12:26:40 GMT"


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def built(lighter, files, *lines, context=None, base="scratch", code=0, args=()):
    """{path: (info, data)} of a build of these lines; the build again must be all hits and equal."""
    context = context or lighter.context(files)
    dockerfile = f"FROM {base}\n" + "\n".join(lines) + "\n"
    first = lighter.build(context, *args, dockerfile=dockerfile, tag="added", code=code)
    if code:
        return first
    again = lighter.build(context, *args, dockerfile=dockerfile, tag="added")
    assert again.ran == [] and again.id == first.id
    assert lighter.leftovers() == []
    built.result = first
    return lighter.image("added").rootfs()


def mode(files, path):
    return stat.S_IMODE(files[path][0].mode)


def owner(files, path):
    return files[path][0].uid, files[path][0].gid


def tar(*members):
    """A tar: members are (name, bytes), (name, None) for a directory, or a TarInfo; owner 11:12."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            data = None
            if not isinstance(member, tarfile.TarInfo):
                name, data = member
                member = tarfile.TarInfo(name)
                member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
                member.mode = 0o750 if data is None else 0o640
                member.uid, member.gid, member.mtime = 11, 12, WHEN
                member.size = len(data or b"")
            archive.addfile(member, io.BytesIO(data or b""))
    return out.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mtime, info.mode = kind, target, WHEN, 0o777
    return info


PLAIN = tar(("t/", None), ("t/f", b"inside"))


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


PACKERS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd}


# ---- archives ------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", PACKERS)
def test_an_archive_is_unpacked_whatever_its_name_and_packing(lighter, how, needs):
    if how == "zstd":
        needs("zstd")
    files = built(lighter, {"innocent.txt": PACKERS[how](PLAIN)}, "ADD innocent.txt /d/")
    assert files["d/t/f"][1] == b"inside" and "d/innocent.txt" not in files
    assert (mode(files, "d/t"), mode(files, "d/t/f"), mode(files, "d")) == (0o750, 0o640, 0o755)
    assert owner(files, "d/t") == owner(files, "d/t/f") == (11, 12)
    assert files["d/t/f"][0].mtime == files["d/t"][0].mtime == WHEN


@pytest.mark.parametrize("line", ["COPY a.tar /d/", "ADD --unpack=false a.tar /d/"])
def test_copy_and_unpack_false_keep_the_archive(lighter, line):
    files = built(lighter, {"a.tar": PLAIN}, line)
    assert sorted(files) == ["d", "d/a.tar"] and files["d/a.tar"][1] == PLAIN


@pytest.mark.parametrize("data", [b"", b"no archive", gzip.compress(b"no archive"), bytes(10240),
                                  PLAIN[:300]], ids=["empty", "text", "gzip", "zeros", "cut"])
def test_what_is_no_archive_is_copied(lighter, data):
    assert built(lighter, {"a.tar.gz": data}, "ADD a.tar.gz /d/")["d/a.tar.gz"][1] == data


def test_several_archives_and_files_land_in_one_directory(lighter):
    files = built(lighter, {"1.tar": tar(("a", b"1"), ("b", b"1")), "2.tar": tar(("b", b"2")), "f": "3"},
                  "ADD *.tar f /d/")
    assert [files[f"d/{name}"][1] for name in ("a", "b", "f")] == [b"1", b"2", b"3"]


def test_a_destination_without_slash_is_a_directory_for_an_archive(lighter):
    assert built(lighter, {"a.tar": PLAIN}, "ADD a.tar /d")["d/t/f"][1] == b"inside"


@pytest.mark.parametrize("target", ["real", "/real", "../../real"])
def test_an_archive_goes_through_the_links_of_the_image(lighter, target):
    """The destination's own link, and one below it; neither leads out of the root."""
    lines = (f"RUN mkdir /real && ln -s {target} /dest && mkdir /real/x && ln -s x /real/t",
             "ADD a.tar /dest/")
    files = built(lighter, {"a.tar": tar(("t/f", b"inside"))}, *lines, base="busybox")
    assert files["dest"][0].issym() and files["real/t"][0].issym()
    assert files["real/x/f"][1] == b"inside"


def test_an_archive_is_not_unpacked_onto_a_file(lighter):
    refused = built(lighter, {"a.tar": PLAIN, "f": "1"}, "COPY f /d", "ADD a.tar /d", code=1)
    assert "<stdin>:3" in refused.error and "/d" in refused.error
    assert "<stdin>:3" in built(lighter, {"a.tar": PLAIN, "f": "1"}, "COPY f /d", "ADD a.tar /d/", code=1).error


def test_an_entry_of_an_archive_replaces_what_is_there_and_directories_merge(lighter):
    archive = tar(("was-dir", b"file"), ("was-file/", None), ("merged/", None), ("merged/new", b"new"),
                  ("was-link", b"file"))
    lines = ("RUN mkdir -p /d/was-dir/below /d/merged && touch /d/was-file /d/merged/old /d/target && "
             "ln -s target /d/was-link", "ADD a.tar /d/")
    files = built(lighter, {"a.tar": archive}, *lines, base="busybox")
    assert files["d/was-dir"][1] == b"file" and "d/was-dir/below" not in files
    assert files["d/was-file"][0].isdir() and files["d/was-link"][1] == b"file"
    assert files["d/merged/new"][1] == b"new" and files["d/merged/old"][1] == b"" == files["d/target"][1]
    assert (mode(files, "d/merged"), owner(files, "d/merged")) == (0o750, (11, 12))


@pytest.mark.parametrize("name", [".", "./"])
def test_an_entry_of_the_root_leaves_the_destination_as_it_is(lighter, name):
    files = built(lighter, {"a.tar": tar((name, None), ("./f", b"1"))}, "ADD a.tar /d/")
    assert (mode(files, "d"), owner(files, "d"), files["d/f"][1]) == (0o755, (0, 0), b"1")


def test_chown_counts_for_archives_and_chmod_does_not(lighter):
    files = built(lighter, {"a.tar": PLAIN}, "ADD --chown=5:6 --chmod=777 a.tar /d/e/")
    assert {owner(files, path) for path in ("d", "d/e", "d/e/t", "d/e/t/f")} == {(5, 6)}
    assert (mode(files, "d/e"), mode(files, "d/e/t/f")) == (0o755, 0o640)


def test_links_in_an_archive_stay_links(lighter):
    archive = tar(("f", b"1"), link("soft", "f"), link("out", "/etc/passwd"), link("hard", "f", tarfile.LNKTYPE))
    files = built(lighter, {"a.tar": archive}, "ADD a.tar /d/")
    assert (files["d/soft"][0].linkname, files["d/out"][0].linkname) == ("f", "/etc/passwd")
    assert {files["d/f"][0].islnk(), files["d/hard"][0].islnk()} == {True, False}


@pytest.mark.parametrize("members", [
    (("../../escaped", b"x"),), (link("l", "/"), ("l/escaped", b"x")),
    (link("l", "../../../../../.."), ("l/escaped", b"x")),
], ids=["dotdot", "absolute", "relative"])
def test_no_archive_writes_outside_its_destination(lighter, members):
    result = lighter.run_in("FROM scratch\nADD a.tar /d/e/\n", files={"a.tar": tar(*members)}, tag="added",
                            code=None)
    if result.code == 0:
        assert "d/e/escaped" in lighter.image("added").rootfs()
    assert not os.path.exists("/escaped")


def test_a_damaged_archive_fails_and_leaves_nothing(lighter):
    packed = gzip.compress(tar(("f", os.urandom(100000))))
    refused = built(lighter, {"a.tar.gz": packed[:-5000]}, "ADD a.tar.gz /d/", code=1)
    assert "<stdin>:2" in refused.error and "a.tar.gz" in refused.error
    assert lighter.leftovers() == []


def test_a_link_to_an_archive_is_unpacked(lighter):
    context = lighter.context({"real": PLAIN})
    (context / "a.tar").symlink_to("real")
    assert built(lighter, None, "ADD a.tar /d/", context=context)["d/t/f"][1] == b"inside"


def test_a_linked_add_of_an_archive_does_not_see_what_lies_below(lighter):
    files = built(lighter, {"a.tar": PLAIN}, "RUN mkdir /real && ln -s real /d", "ADD --link a.tar /d/",
                  base="busybox")
    assert files["d"][0].isdir() and files["d/t/f"][1] == b"inside" and "real/t" not in files


# ---- web servers ---------------------------------------------------------------------------------

class Web:
    """Hands out `files`, {path: bytes}; keeps what it was asked for."""

    def __init__(self):
        web = self
        self.files, self.asked, self.stamp = {}, [], STAMP

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web.asked.append((self.command, self.path))
                data = web.files.get(self.path.split("?")[0])
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                if web.stamp:
                    self.send_header("Last-Modified", web.stamp)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data or b"")

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web():
    one = Web()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_a_file_of_the_web_is_0600_with_the_servers_time(lighter, web):
    web.files["/a/name.txt"] = b"content"
    files = built(lighter, {}, f"ADD {web.url}/a/name.txt?query=1 /d/", f"ADD {web.url}/a/name.txt /other")
    assert sorted(files) == ["d", "d/name.txt", "other"]
    for path in ("d/name.txt", "other"):
        assert (files[path][1], mode(files, path), files[path][0].mtime) == (b"content", 0o600, WHEN)
        assert owner(files, path) == (0, 0)


def test_flags_count_for_files_of_the_web(lighter, web):
    web.files["/f"] = b"content"
    files = built(lighter, {}, f"ADD --chmod=u+x,go=r --chown=5:6 {web.url}/f /d/f",
                  f"ADD --chmod=755 {web.url}/f /e/")
    assert (mode(files, "d/f"), owner(files, "d/f"), owner(files, "d")) == (0o744, (5, 6), (5, 6))
    assert (mode(files, "e/f"), mode(files, "e")) == (0o755, 0o755)


def test_an_archive_of_the_web_is_a_file_unless_unpack_is_said(lighter, web):
    web.files["/a.tar.gz"] = gzip.compress(PLAIN)
    files = built(lighter, {}, f"ADD {web.url}/a.tar.gz /kept/", f"ADD --unpack {web.url}/a.tar.gz /open/",
                  f"ADD --unpack=true --chown=5:6 {web.url}/a.tar.gz /mine/")
    assert files["kept/a.tar.gz"][1] == web.files["/a.tar.gz"]
    assert files["open/t/f"][1] == b"inside" and owner(files, "open/t/f") == (11, 12)
    assert owner(files, "mine/t/f") == (5, 6)


def test_a_changed_file_of_the_web_is_added_again_and_an_equal_one_is_not(lighter, web):
    web.files["/f"] = b"one"
    context = lighter.context()
    assert built(lighter, None, f"ADD {web.url}/f /f", context=context)["f"][1] == b"one"
    web.files["/f"] = b"two"
    assert built(lighter, None, f"ADD {web.url}/f /f", context=context)["f"][1] == b"two"
    assert len(built.result.ran) == 1


def test_a_checksum_is_kept_to(lighter, web):
    web.files["/f"] = b"content"
    good = "sha256:" + hashlib.sha256(b"content").hexdigest()
    assert built(lighter, {}, f"ADD --checksum={good} {web.url}/f /")["f"][1] == b"content"
    refused = built(lighter, {}, f"ADD --checksum=sha256:{'0' * 64} {web.url}/f /", code=5)
    assert "<stdin>:2" in refused.error and good[7:] in refused.error


def test_a_file_of_the_web_that_is_not_there_is_named(lighter, web):
    refused = built(lighter, {}, f"ADD {web.url}/nothing /", code=4)
    assert "<stdin>:2" in refused.error and f"{web.url}/nothing" in refused.error and "404" in refused.error


def test_a_local_file_beside_one_of_the_web(lighter, web):
    web.files["/f"] = b"web"
    files = built(lighter, {"g": "local", "a.tar": PLAIN}, f"ADD g a.tar {web.url}/f /d/")
    assert (files["d/f"][1], files["d/g"][1], files["d/t/f"][1]) == (b"web", b"local", b"inside")


# ---- repositories --------------------------------------------------------------------------------

class Repositories:
    """A git daemon over a directory."""

    def __init__(self, top):
        self.top = top
        with contextlib.closing(socket.socket()) as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.daemon = subprocess.Popen(
            ["git", "daemon", "--export-all", f"--base-path={top}", "--listen=127.0.0.1",
             f"--port={self.port}", "--reuseaddr"], stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(top), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                 "GIT_CONFIG_VALUE_0": "*"}, start_new_session=True)
        assert wait_for(self.answers), "git daemon does not answer"

    def answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def url(self, name):
        return f"git://127.0.0.1:{self.port}/{name}"

    def git(self, name, *words):
        env = {**os.environ, "HOME": str(self.top), "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_DATE": f"{WHEN} +0000",
               "GIT_COMMITTER_DATE": f"{WHEN} +0000"}
        for who in ("AUTHOR", "COMMITTER"):
            env.update({f"GIT_{who}_NAME": "n", f"GIT_{who}_EMAIL": "e"})
        return subprocess.run(["git", "-C", str(self.top / name), *words], check=True, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode().strip()

    def commit(self, name, files):
        top = self.top / name
        if not top.exists():
            top.mkdir(parents=True)
            self.git(name, "init", "-q", "-b", "main")
        for path, text in files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(text)
            (top / path).chmod(0o755 if path.endswith(".sh") else 0o600)
        self.git(name, "add", "-A")
        self.git(name, "commit", "-q", "-m", "m")
        return self.git(name, "rev-parse", "HEAD")


@pytest.fixture
def repositories(temp, needs):
    needs("git")
    if not os.path.exists(os.path.join(subprocess.check_output(["git", "--exec-path"]).decode().strip(),
                                       "git-daemon")):
        pytest.skip("git daemon is missing")
    one = Repositories(temp)
    yield one
    os.killpg(one.daemon.pid, 15)
    end_process(one.daemon)


def test_a_repository_is_added_without_its_git_directory(lighter, repositories):
    repositories.commit("r.git", {"f": "1", "run.sh": "2", "sub/g": "3"})
    files = built(lighter, {}, f"ADD {repositories.url('r.git')} /d")
    assert sorted(files) == ["d", "d/f", "d/run.sh", "d/sub", "d/sub/g"]
    assert (mode(files, "d/f"), mode(files, "d/run.sh"), mode(files, "d/sub")) == (0o644, 0o755, 0o755)
    assert owner(files, "d/sub/g") == (0, 0)


def test_a_repositorys_ref_subdirectory_and_flags_count(lighter, repositories):
    repositories.commit("r.git", {"sub/g": "old"})
    repositories.git("r.git", "tag", "v1")
    repositories.commit("r.git", {"sub/g": "new"})
    url = repositories.url("r.git")
    files = built(lighter, {}, f"ADD --chown=5:6 --chmod=u=rwX,go= {url}#v1:sub /d/",
                  f"ADD {url}?ref=v1&subdir=sub /q/", f"ADD {url}#main /m/")
    assert files["d/g"][1] == files["q/g"][1] == b"old" and files["m/sub/g"][1] == b"new"
    assert (owner(files, "d/g"), mode(files, "d/g")) == ((5, 6), 0o600)


def test_a_repository_with_its_git_directory_is_one_to_git(lighter, repositories):
    commit = repositories.commit("r.git", {"f": "1"})
    files = built(lighter, {}, f"ADD --keep-git-dir=true {repositories.url('r.git')} /d/")
    assert "d/.git/HEAD" in files and any(commit in (data or b"").decode("latin1")
                                          for path, (_, data) in files.items() if path.startswith("d/.git/"))


def test_a_new_commit_is_added_and_an_old_one_is_a_hit(lighter, repositories):
    repositories.commit("r.git", {"f": "1"})
    line, context = f"ADD {repositories.url('r.git')} /d/", lighter.context()
    assert built(lighter, None, line, context=context)["d/f"][1] == b"1"
    repositories.commit("r.git", {"f": "2"})
    assert built(lighter, None, line, context=context)["d/f"][1] == b"2"


def test_a_checksum_of_a_repository_is_its_commit(lighter, repositories):
    commit = repositories.commit("r.git", {"f": "1"})
    url = repositories.url("r.git")
    assert "d/f" in built(lighter, {}, f"ADD --checksum={commit} {url} /d/")
    assert "d/f" in built(lighter, {}, f"ADD --checksum={commit} {url}?checksum={commit} /d/")
    refused = lighter.run_in(f"FROM scratch\nADD --checksum={'0' * 40} {url} /d/\n", code=None)
    assert refused.code != 0 and "<stdin>:2" in refused.error
    refused = built(lighter, {}, f"ADD --checksum={'0' * 40} {url}?checksum={commit} /d/", code=3)
    assert "checksum mismatch" in refused.error and "<stdin>:2" in refused.error


def test_an_empty_repository_directory_is_no_crash(lighter, repositories):
    repositories.commit("r.git", {"f": "1"})
    repositories.git("r.git", "rm", "-q", "f")
    repositories.git("r.git", "commit", "-q", "-m", "empty")
    files = built(lighter, {}, f"ADD {repositories.url('r.git')} /d/")
    assert sorted(files) == ["d"]


def test_a_repository_that_is_not_there_is_named(lighter, repositories):
    refused = lighter.run_in(f"FROM scratch\nADD {repositories.url('none.git')} /d/\n", code=None)
    assert refused.code != 0 and "<stdin>:2" in refused.error and "none.git" in refused.error


def test_a_fresh_build_in_another_store_is_equal(lighters, bases, web):
    web.files["/f"] = b"content"
    ids = set()
    for isolation in ("root", "rootless"):
        lighter = lighters(isolation, bases=[bases("busybox")])
        context = lighter.context({"a.tar": PLAIN})
        for _ in range(2):
            ids.add(lighter.build(context, "--epoch=content", "--no-cache", dockerfile=
                                  f"FROM scratch\nADD a.tar /a/\nADD {web.url}/f /w/\n").id)
    assert len(ids) == 1
