"""COPY: what lands where, with which owner, mode and time; in both modes.

The rules are docker's (features.md I16 to I18). Most images here begin FROM scratch, so that a layer
holds nothing but what COPY made.
"""

import json
import os
import shutil
import socket
import stat
import time

import pytest

from harness import IS_ROOT, tree_of, xattrs

WHEN = 1600000000


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def copied(lighter, files, *lines, context=None, base="scratch", code=0, args=()):
    """Build COPY lines and give the flattened files above the base, as {path: (info, data)}."""
    context = context or lighter.context(files)
    dockerfile = f"FROM {base}\n" + "\n".join(lines) + "\n"
    result = lighter.build(context, *args, dockerfile=dockerfile, tag="copied", code=code)
    if code != 0:
        return result
    copied.result = result
    return lighter.image("copied").rootfs()


def paths(files):
    return sorted(files)


# ---- the table: source, destination, what is there afterwards ------------------------------------

FILES = {"f": "f", "g": "g", "dir/a": "a", "dir/sub/b": "b", "x1.txt": "1", "x2.txt": "2"}


@pytest.mark.parametrize("line, expected", [
    ("COPY f /d/", ["d", "d/f"]),
    ("COPY f /d/h", ["d", "d/h"]),
    ("COPY f /h", ["h"]),
    ("COPY f h", ["h"]),
    ("COPY f /", ["f"]),
    ("COPY f .", ["f"]),
    ("COPY f ./", ["f"]),
    ("COPY /f /h", ["h"]),
    ("COPY ./f /h", ["h"]),
    ("COPY ../f /h", ["h"]),
    ("COPY ../../../f /h", ["h"]),
    ("COPY dir/../f /h", ["h"]),
    ("COPY f /a/../../../h", ["h"]),
    ("COPY dir /e", ["e", "e/a", "e/sub", "e/sub/b"]),
    ("COPY dir /e/", ["e", "e/a", "e/sub", "e/sub/b"]),
    ("COPY dir/ /e", ["e", "e/a", "e/sub", "e/sub/b"]),
    ("COPY dir/. /e", ["e", "e/a", "e/sub", "e/sub/b"]),
    ("COPY dir /", ["a", "sub", "sub/b"]),
    ("COPY dir/sub /e/", ["e", "e/b"]),
    ("COPY f g /d/", ["d", "d/f", "d/g"]),
    ("COPY f dir /d/", ["d", "d/a", "d/f", "d/sub", "d/sub/b"]),
    ("COPY *.txt /d/", ["d", "d/x1.txt", "d/x2.txt"]),
    ("COPY x?.txt /d/", ["d", "d/x1.txt", "d/x2.txt"]),
    ("COPY x[2-9].txt /d/", ["d", "d/x2.txt"]),
    ("COPY x[^2].txt /d/", ["d", "d/x1.txt"]),
    ("COPY d*/a /e/", ["e", "e/a"]),
    ("COPY di* /e/", ["e", "e/a", "e/sub", "e/sub/b"]),
    ('COPY ["f", "/d/"]', ["d", "d/f"]),
    ("COPY f /very/deep/down/", ["very", "very/deep", "very/deep/down", "very/deep/down/f"]),
])
def test_copy_puts_things_where_docker_puts_them(lighter, line, expected):
    assert paths(copied(lighter, FILES, line)) == expected


def test_a_destination_is_relative_to_workdir(lighter):
    files = copied(lighter, FILES, "WORKDIR /w", "COPY f .", "COPY f sub/", "COPY f ../up")
    assert paths(files) == ["up", "w", "w/f", "w/sub", "w/sub/f"]


def test_a_file_goes_into_a_directory_that_is_there(lighter):
    files = copied(lighter, FILES, "COPY dir /e", "COPY f /e")
    assert files["e/f"][1] == b"f"


def test_a_later_copy_replaces_a_file(lighter):
    assert copied(lighter, FILES, "COPY f /h", "COPY g /h")["h"][1] == b"g"


def test_the_whole_context_is_copied_by_a_dot(lighter):
    assert paths(copied(lighter, FILES, "COPY . /")) == sorted([*FILES, "dir", "dir/sub"])


# ---- what is refused -----------------------------------------------------------------------------

def test_several_sources_without_a_final_slash_are_warned_of(lighter):
    """BuildKit takes it (the build vectors show it), and the files replace one another."""
    files = copied(lighter, FILES, "COPY f g /d")
    assert any("<stdin>:2" in line and "/d" in line for line in copied.result.warnings)
    assert paths(files) == ["d"] and files["d"][1] == b"g"


def test_a_missing_source_names_dockerfile_line_and_file(lighter):
    refused = copied(lighter, FILES, "COPY f /", "COPY nowhere.txt /d/", code=3)
    assert "<stdin>:3" in refused.error
    assert "nowhere.txt" in refused.error
    assert "dockerignore" not in refused.error


def test_a_missing_source_names_the_dockerignore_line_that_hid_it(lighter):
    files = dict(FILES, **{".dockerignore": "# a comment\n\n*.log\nx*\n!x1.txt\n"})
    refused = copied(lighter, files, "COPY x2.txt /", code=3)
    assert "x2.txt" in refused.error
    assert ".dockerignore line 4" in refused.error


def test_a_wildcard_without_match_warns_and_succeeds(lighter):
    files = copied(lighter, FILES, "COPY f nomatch* /d/")
    assert paths(files) == ["d", "d/f"]
    assert any("nomatch*" in line for line in copied.result.warnings)


def test_a_directory_does_not_replace_a_file(lighter):
    refused = copied(lighter, FILES, "COPY f /h", "COPY dir /h", code=1)
    assert "/h" in refused.error and "non-directory" in refused.error
    refused = copied(lighter, FILES, "COPY f /e/sub", "COPY dir /e", code=1)
    assert "/e/sub" in refused.error


def test_a_file_does_not_replace_a_directory(lighter):
    files = {"one/x": "file", "two/x/y": "directory"}
    refused = copied(lighter, files, "COPY two /e", "COPY one /e", code=1)
    assert "/e/x" in refused.error


def test_a_file_as_a_parent_is_refused(lighter):
    assert "/h" in copied(lighter, FILES, "COPY f /h", "COPY g /h/d/", code=1).error


def test_an_unreadable_file_is_an_error_that_names_it(lighter):
    if lighter.isolation == "root":
        pytest.skip("root reads everything")
    context = lighter.context({"open": "1", "closed": ("2", 0)})
    refused = copied(lighter, None, "COPY . /", context=context, code=None)
    assert refused.code in (1, 3)
    assert "closed" in refused.error and "Permission denied" in refused.error


def test_copying_from_an_unknown_stage_or_image_says_so(lighter):
    refused = copied(lighter, FILES, "COPY --from=nostage /x /y", code=4)
    assert "nostage" in refused.error


def test_a_missing_path_in_a_stage_is_refused_by_name(lighter):
    lighter.build(lighter.context(FILES), code=0,
                  dockerfile="FROM scratch AS one\nCOPY f /f\nFROM scratch\nCOPY --from=one /f /f\n")
    refused = lighter.build(lighter.context(FILES), code=3, dockerfile=
                            "FROM scratch AS one\nCOPY f /f\nFROM scratch\nCOPY --from=one /no /f\n")
    assert "/no" in refused.error and "one" in refused.error


# ---- owner, mode, time, links, attributes --------------------------------------------------------

def test_everything_copied_belongs_to_root_whoever_builds(lighter):
    files = copied(lighter, FILES, "COPY . /d/")
    assert {(info.uid, info.gid) for info, _ in files.values()} == {(0, 0)}
    assert {(info.uname, info.gname) for info, _ in files.values()} <= {("", ""), ("root", "root")}


def test_foreign_owners_in_the_context_become_root_too(lighter, needs_root):
    context = lighter.context(FILES)
    os.chown(context / "f", 12345, 54321)
    info, _ = copied(lighter, None, "COPY f /", context=context)["f"]
    assert (info.uid, info.gid) == (0, 0)


def test_modes_are_kept_and_made_parents_are_0755(lighter):
    context = lighter.context({"plain": ("1", 0o640), "program": ("2", 0o755),
                               "suid": ("3", 0o644), "closed/x": ("4", 0o600)})
    (context / "suid").chmod(0o4755)
    (context / "closed").chmod(0o2700)
    files = copied(lighter, None, "COPY . /a/b/", context=context)
    mode = {path: stat.S_IMODE(info.mode) for path, (info, _) in files.items()}
    assert mode == {"a": 0o755, "a/b": mode["a/b"], "a/b/plain": 0o640, "a/b/program": 0o755,
                    "a/b/suid": 0o4755, "a/b/closed": 0o2700, "a/b/closed/x": 0o600}


def test_made_parents_are_0755_whatever_the_callers_umask(lighter):
    lighter.build(lighter.context({"f": "1"}), tag="umask", umask=0o077,
                  dockerfile="FROM scratch\nCOPY f /a/b/\n")
    files = lighter.image("umask").rootfs()
    assert stat.S_IMODE(files["a"][0].mode) == stat.S_IMODE(files["a/b"][0].mode) == 0o755


def test_times_of_files_and_directories_are_kept(lighter):
    context = lighter.context({"dir/x": "1", "f": "2"})
    for path in ("dir/x", "dir", "f"):
        os.utime(context / path, (WHEN, WHEN))
    files = copied(lighter, None, "COPY . /d/", context=context)
    assert {path: files[path][0].mtime for path in ("d/dir/x", "d/dir", "d/f")} == \
        {"d/dir/x": WHEN, "d/dir": WHEN, "d/f": WHEN}


def test_hard_links_stay_hard_links_with_the_mode_of_their_file(lighter):
    context = lighter.context({"dir/one": ("same", 0o750)})
    os.link(context / "dir" / "one", context / "dir" / "two")
    files = copied(lighter, None, "COPY dir /d/", context=context)
    info = files["d/two"][0]
    assert info.islnk() and info.linkname == "d/one"
    assert stat.S_IMODE(info.mode) == 0o750


def test_hard_links_survive_a_copy_between_stages(lighter):
    context = lighter.context({"dir/one": "same"})
    os.link(context / "dir" / "one", context / "dir" / "two")
    files = copied(lighter, None, "COPY dir /d/", "FROM scratch", "COPY --from=0 /d /e",
                   context=context)
    assert files["e/two"][0].islnk() and files["e/two"][0].linkname == "e/one"


def test_user_attributes_are_seen_by_steps_and_are_not_in_the_image(lighter):
    """docker's layers carry file capabilities and no other attribute."""
    context = lighter.context({"f": "1", "dir/x": "2"})
    try:
        os.setxattr(context / "f", "user.colour", b"blue\xff")
        os.setxattr(context / "dir", "user.kind", b"directory")
    except OSError:
        pytest.skip("the file system of the temporary directory keeps no user attributes")
    files = copied(lighter, None, "COPY . /d/", context=context)
    assert xattrs(files["d/f"][0]) == {}
    assert xattrs(files["d/dir"][0]) == {}


def test_an_attribute_changes_the_key(lighter):
    context = lighter.context({"f": "1"})
    try:
        os.setxattr(context / "f", "user.colour", b"blue")
    except OSError:
        pytest.skip("the file system of the temporary directory keeps no user attributes")
    copied(lighter, None, "COPY f /", context=context)
    os.setxattr(context / "f", "user.colour", b"red")
    copied(lighter, None, "COPY f /", context=context)
    assert copied.result.ran == ["COPY f /"]


# ---- symbolic links ------------------------------------------------------------------------------

def test_a_sources_own_link_is_followed(lighter):
    context = lighter.context({"real/x": "x"})
    (context / "tofile").symlink_to("real/x")
    (context / "todir").symlink_to("real")
    files = copied(lighter, None, "COPY tofile /t", "COPY todir /d", "COPY todir/x /y",
                   context=context)
    assert files["t"][0].isreg() and files["t"][1] == b"x"
    assert files["d"][0].isdir() and files["d/x"][1] == b"x"
    assert files["y"][1] == b"x"


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../../../../etc/hostname"])
def test_a_sources_link_is_never_followed_out_of_the_context(lighter, target):
    context = lighter.context({"etc/hostname": "the context's own"})
    (context / "link").symlink_to(target)
    assert copied(lighter, None, "COPY link /h", context=context)["h"][1] == b"the context's own"
    (context / "etc" / "hostname").unlink()
    refused = copied(lighter, None, "COPY link /h", context=context, code=3)
    assert "link" in refused.error


def test_a_sources_link_in_the_middle_of_a_path_stays_inside(lighter):
    context = lighter.context({"f": "1"})
    (context / "out").symlink_to("/etc")
    assert "out/hostname" in copied(lighter, None, "COPY out/hostname /h", context=context,
                                    code=3).error


def test_links_inside_a_copied_tree_are_kept_as_they_are(lighter):
    context = lighter.context({"dir/x": "x"})
    (context / "dir" / "good").symlink_to("x")
    (context / "dir" / "dangling").symlink_to("/no/where")
    files = copied(lighter, None, "COPY dir /d", context=context)
    assert files["d/good"][0].linkname == "x"
    assert files["d/dangling"][0].linkname == "/no/where"


def test_a_destinations_link_is_followed_inside_the_image(lighter):
    files = copied(lighter, FILES, "RUN ln -s /etc /out", "COPY f /out/", base="busybox")
    assert files["out"][0].issym()
    assert files["etc/f"][1] == b"f"


@pytest.mark.parametrize("up", ["", "../../../../../../../.."])
def test_a_destinations_link_never_leads_out_of_the_image(lighter, temp, up):
    temp.chmod(0o777)
    outside = temp / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    files = copied(lighter, FILES, f"RUN ln -s {up}{outside} /out && mkdir -p {outside}",
                   "COPY f /out/", "COPY dir /out/e", base="busybox")
    assert tree_of(outside) == {}
    inside = str(outside)[1:]
    assert files[f"{inside}/f"][1] == b"f"
    assert files[f"{inside}/e/a"][1] == b"a"


def test_a_link_that_is_the_last_part_of_the_destination_is_followed(lighter):
    files = copied(lighter, FILES, "RUN echo old >/t && ln -s t /l", "COPY f /l", base="busybox")
    assert files["l"][0].issym()
    assert files["t"][1] == b"f"


def test_a_link_in_the_image_at_a_copied_trees_place_does_not_lead_a_file_away(lighter):
    """A file of a tree replaces a link of the same name; it is not written through it."""
    files = copied(lighter, {"dir/x": "new"},
                   "RUN echo precious >/target && mkdir /d && ln -s /target /d/x", "COPY dir /d/",
                   base="busybox")
    assert files["target"][1] == b"precious\n"
    assert files["d/x"][0].isreg() and files["d/x"][1] == b"new"


# ---- stages and images ---------------------------------------------------------------------------

@pytest.mark.parametrize("stage", ["one", "ONE", "0"])
def test_copy_from_finds_a_stage_by_name_and_by_number(lighter, stage):
    dockerfile = ("FROM scratch AS one\nCOPY f /f\nFROM scratch AS two\nCOPY g /f\n"
                  f"FROM scratch\nCOPY --from={stage} /f /h\n")
    lighter.build(lighter.context(FILES), dockerfile=dockerfile, tag="stages")
    assert lighter.image("stages").rootfs()["h"][1] == b"f"


def test_copy_from_takes_an_image_that_no_stage_stands_on(lighter):
    files = copied(lighter, {}, "COPY --from=busybox /etc/passwd /users")
    assert files["users"][1].startswith(b"root:")


def test_copy_from_an_image_keeps_owners(lighter):
    dockerfile = ("FROM busybox AS one\nRUN echo 1 >/f && chown 123:456 /f\n"
                  "FROM scratch\nCOPY --from=one /f /f\n")
    lighter.build(lighter.context(), dockerfile=dockerfile, tag="owners")
    info = lighter.image("owners").rootfs()["f"][0]
    assert (info.uid, info.gid) == (123, 456)


def test_copy_from_does_not_see_what_a_stage_deleted(lighter):
    dockerfile = ("FROM busybox AS one\nRUN mkdir /d && echo 1 >/d/gone && echo 2 >/d/kept\n"
                  "RUN rm /d/gone\nFROM scratch\nCOPY --from=one /d /d\n")
    lighter.build(lighter.context(), dockerfile=dockerfile, tag="deleted")
    assert paths(lighter.image("deleted").rootfs()) == ["d", "d/kept"]


def test_copy_from_does_not_see_below_an_opaque_directory(lighter):
    dockerfile = ("FROM busybox AS one\nRUN mkdir /d && echo 1 >/d/old\n"
                  "RUN rm -rf /d && mkdir /d && echo 2 >/d/new\n"
                  "FROM scratch\nCOPY --from=one /d /d\n")
    lighter.build(lighter.context(), dockerfile=dockerfile, tag="opaque")
    assert paths(lighter.image("opaque").rootfs()) == ["d", "d/new"]


def test_dockerignore_does_not_apply_to_stages(lighter):
    files = {".dockerignore": "secret\n", "f": "1"}
    dockerfile = ("FROM busybox AS one\nRUN echo 1 >/secret\nFROM scratch\n"
                  "COPY --from=one /secret /secret\n")
    lighter.build(lighter.context(files), dockerfile=dockerfile, tag="ignored")
    assert "secret" in lighter.image("ignored").rootfs()


def test_an_equal_file_from_a_stage_that_ran_again_is_a_hit(lighter):
    dockerfile = ("FROM busybox AS one\nCOPY source /\nRUN grep -v '^#' /source >/out\n"
                  "FROM busybox\nCOPY --from=one /out /out\nRUN cat /out\n")
    lighter.build(lighter.context({"source": "a\n"}), dockerfile=dockerfile)
    again = lighter.build(lighter.context({"source": "# comment\na\n"}), dockerfile=dockerfile)
    assert again.ran == ["COPY source /", "RUN grep -v '^#' /source >/out"]


def test_a_file_that_only_changed_its_mode_is_copied_again(lighter):
    context = lighter.context({"f": ("1", 0o644)})
    copied(lighter, None, "COPY f /", context=context)
    (context / "f").chmod(0o755)
    files = copied(lighter, None, "COPY f /", context=context)
    assert copied.result.ran == ["COPY f /"]
    assert stat.S_IMODE(files["f"][0].mode) == 0o755


def test_a_file_of_equal_size_and_time_but_other_bytes_is_copied_again(lighter):
    context = lighter.context({"f": "one"})
    os.utime(context / "f", (WHEN, WHEN))
    copied(lighter, None, "COPY f /", context=context)
    (context / "f").write_text("two")
    os.utime(context / "f", (WHEN, WHEN))
    assert copied(lighter, None, "COPY f /", context=context)["f"][1] == b"two"


# ---- odd files -----------------------------------------------------------------------------------

def test_fifos_are_copied_and_sockets_are_left_out(lighter, monkeypatch):
    context = lighter.context({"d/f": "1"})
    os.mkfifo(context / "d" / "fifo")
    monkeypatch.chdir(context / "d")  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("sock")
    lighter.own(context)
    files = copied(lighter, None, "COPY d /d", context=context)
    assert paths(files) == ["d", "d/f", "d/fifo"]
    assert files["d/fifo"][0].isfifo()


@pytest.mark.parametrize("name", [
    b"with space", b" leading", b"trailing ", b"new\nline", b"tab\there", b"not-utf8-\xff\xfe",
    "größe-字".encode(), b"n" * 255, b"back\\slash", b"quote'\"s", b"$dollar", b"*star?",
    b"-dash", b"#hash", b"=",
], ids=lambda name: repr(name[:12]))
def test_a_copied_directory_keeps_every_name(lighter, name):
    context = lighter.context({"d/f": "1"})
    with open(os.path.join(os.fsencode(context), b"d", name), "wb") as f:
        f.write(b"odd")
    lighter.own(context)
    files = copied(lighter, None, "COPY d /d", context=context)
    assert files["d/" + os.fsdecode(name)][1] == b"odd"


def test_the_json_form_copies_names_with_spaces(lighter):
    files = copied(lighter, {"a file": "1"}, 'COPY ["a file", "/another file"]')
    assert files["another file"][1] == b"1"


def test_a_file_named_like_a_whiteout_does_not_become_one(lighter):
    """It can be refused or kept, but it must not delete its neighbour."""
    files = {"one/x": "keep me", "two/.wh.x": "not a deletion"}
    result = lighter.build(lighter.context(files), code=None, tag="wh",
                           dockerfile="FROM scratch\nCOPY one /d\nCOPY two /d\n")
    if result.code == 0:
        assert lighter.image("wh").rootfs()["d/x"][1] == b"keep me"
    else:
        assert ".wh.x" in result.error


def test_a_deep_tree_is_copied_to_its_last_file(lighter):
    deep = "/".join(["directory"] * 120)
    files = copied(lighter, {f"top/{deep}/f": "1"}, "COPY top /top")
    assert files[f"top/{deep}/f"][1] == b"1"


def test_empty_directories_and_files_are_copied(lighter):
    files = copied(lighter, {"d/empty": None, "d/nothing": ""}, "COPY d /d")
    assert files["d/empty"][0].isdir()
    assert files["d/nothing"][1] == b""


def test_a_large_file_arrives_whole(lighter):
    data = os.urandom(1 << 20) * 9
    assert copied(lighter, {"big": data}, "COPY big /")["big"][1] == data


def test_a_sparse_file_has_its_content(lighter):
    context = lighter.context()
    with open(context / "sparse", "wb") as f:
        f.seek(5 << 20)
        f.write(b"end")
    lighter.own(context)
    assert copied(lighter, None, "COPY sparse /", context=context)["sparse"][1] == \
        bytes(5 << 20) + b"end"


def test_a_thousand_files_are_copied(lighter):
    many = {f"d/{i % 10}/{i}": str(i) for i in range(1000)}
    files = copied(lighter, many, "COPY d /d")
    assert len([1 for info, _ in files.values() if info.isreg()]) == 1000


# ---- .dockerignore -------------------------------------------------------------------------------

def test_dockerignore_hides_what_it_names_except_its_exceptions(lighter):
    files = {"a.txt": "", "keep.txt": "", "sub/deep/file": "", "sub/deep/no": "", "sub/x": "",
             "logs/1.log": "", "logs/deep/2.log": "", "vendor/v": "",
             ".dockerignore": "*\n!keep.txt\n!sub\nsub/deep/no\n!logs/**/*.log\nlogs/1.log\n"}
    assert paths(copied(lighter, files, "COPY . /")) == [
        "keep.txt", "logs", "logs/deep", "logs/deep/2.log", "sub", "sub/deep", "sub/deep/file",
        "sub/x"]


def test_a_change_of_an_ignored_file_is_a_hit(lighter):
    context = lighter.context({"f": "1", "x.log": "1", ".dockerignore": "*.log\n.dockerignore\n"})
    copied(lighter, None, "COPY . /", context=context)
    (context / "x.log").write_text("2")
    copied(lighter, None, "COPY . /", context=context)
    assert copied.result.ran == []


def test_the_dockerfiles_own_ignore_file_wins(lighter):
    context = lighter.context({
        "a": "", "b": "", ".dockerignore": "a\n", "df/prod.Dockerfile.dockerignore": "b\n",
        "df/prod.Dockerfile": "FROM scratch\nCOPY . /\n", "Dockerfile": "FROM scratch\nCOPY . /\n"})
    lighter.build(context, tag="common")
    lighter.build(context, "-f", context / "df" / "prod.Dockerfile", tag="prod")
    common, prod = lighter.image("common").rootfs(), lighter.image("prod").rootfs()
    assert "a" not in common and "b" in common
    assert "a" in prod and "b" not in prod


def test_the_dockerfile_is_read_even_when_it_is_ignored(lighter):
    context = lighter.context({"Dockerfile": "FROM scratch\nCOPY . /\n", "f": "",
                               ".dockerignore": "Dockerfile\n.dockerignore\n"})
    lighter.build(context, tag="ignored")
    assert paths(lighter.image("ignored").rootfs()) == ["f"]


def test_a_context_of_many_ignored_files_is_not_read(lighter):
    """Unreadable, so reading one would fail."""
    if IS_ROOT and lighter.isolation == "root":
        pytest.skip("root reads everything")
    context = lighter.context({"f": "1", "node_modules/x": ("", 0),
                               ".dockerignore": "node_modules\n"})
    (context / "node_modules").chmod(0)
    try:
        assert "f" in copied(lighter, None, "COPY . /", context=context)
    finally:
        (context / "node_modules").chmod(0o755)


EDITS = {
    "a file that changed": lambda c: (c / "d/f").write_text("two"),
    "a file that is gone": lambda c: (c / "d/f").unlink(),
    "a directory that is gone": lambda c: shutil.rmtree(c / "d"),
    "a new file": lambda c: (c / "d/new").write_text("two"),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("text", ["COPY . /b/", "RUN --mount=target=/m cp -r /m /b"])
def test_an_edit_between_two_copies_is_in_the_second_or_in_none(lighter, bases, edit, text):
    lighter.load(bases("busybox"))
    context = lighter.context({"d/f": "one", "g": "one"})
    child = lighter.start("build", "--isolation", lighter.isolation, "-t", "x", "-f", "-", context, stdin=-1)
    child.stdin.write(f"FROM busybox\nCOPY . /a/\nRUN echo begun; sleep 1\n{text}\n".encode())
    child.stdin.close()
    for line in child.stderr:
        if b"| begun" in line:
            break
    EDITS[edit](context)
    child.stdin = None
    _, err = child.communicate()
    assert child.returncode == 0, err
    files = lighter.image("x").rootfs()
    assert files["a/d/f"][1] == b"one"
    seen = {p[2:]: f[1] for p, f in files.items() if p.startswith("b/")}
    now = {str(p.relative_to(context)): p.read_bytes() for p in context.rglob("*") if p.is_file()}
    before = {"d/f": b"one", "g": b"one"}
    assert {p: data for p, data in seen.items() if data} in (now, before)
    assert not lighter.build(context, dockerfile=f"FROM busybox\nCOPY . /c/\n").code
    again = lighter.build(context, dockerfile=f"FROM busybox\n{text}\n", tag="y")
    files = lighter.image("y").rootfs()
    assert {p[2:]: f[1] for p, f in files.items() if p.startswith("b/") and f[1]} == now, again


def test_a_file_that_changes_during_the_build_is_never_a_mix(lighter):
    """Either the build fails and names it, or the image holds one of the two versions."""
    context = lighter.context({"f": "old " * 200000})
    child = lighter.start("build", "--isolation", lighter.isolation, "-t", "mix", "-f", "-", context,
                          stdin=-1)
    child.stdin.write(b"FROM scratch\nCOPY f /\n")
    child.stdin.close()
    while child.poll() is None:
        (context / "f").write_text("new " * 200000)
        time.sleep(0.001)
    child.stdin = None
    _, err = child.communicate()
    if child.returncode == 0:
        data = lighter.image("mix").rootfs()["f"][1]
        # Who writes empties it first, and it may have been copied then.
        assert data in (b"old " * 200000, b"new " * 200000, b"")
    else:
        assert b"changed while" in err


# ---- a file that a step of this build made -------------------------------------------------------

BIG = """\
FROM busybox AS made
RUN mkdir /d && yes {word} | head -c 3000000 >/d/big && chmod 0751 /d/big && chown 5:6 /d/big && ln -s d/big /link && touch -d @{when} /d/big
FROM busybox AS final
RUN mkdir -m 0700 /there && echo old >/file && ln -s /there /to
{line}
"""


@pytest.mark.parametrize("line", ["COPY --from=made /d/big /", "COPY --from=made /d/big /there", "COPY --from=made /d/big /new/dir/",
                                  "COPY --from=made /d/big /bin/",
                                  "COPY --from=made /d/big /file", "COPY --from=made /link /to/x", "COPY --link --from=made /d/big /a/b",
                                  "COPY --from=made --chown=7:8 --chmod=u+s,g-w /d/big /x", "COPY --from=made --chmod=0600 /d/big /y\nRUN chmod 0644 /y"])
def test_a_big_file_is_written_and_named_while_it_is_read_for_the_key(lighter, line):
    """The image is the one that comes out when the file's digest is known before."""
    context, trace = lighter.context({"x": ""}), lighter.directory() / "trace.json"
    text = BIG.format(word=line.replace(" ", "_").replace("\n", "_"), when=WHEN, line=line)

    def build(*args):
        result = lighter.build(context, "--trace", trace, *args, dockerfile=text, tag="ahead")
        known = {"write ahead", "copy", "take the file itself"}
        return result.id, known & {e["name"] for e in json.loads(trace.read_text())["traceEvents"]}
    first, ahead = build("--epoch=content")
    as_it_is = line.startswith("COPY --from=made /d/big ") and "RUN" not in line
    assert ahead == {"write ahead", "take the file itself" if as_it_is else "copy"}
    assert build("--epoch=content", "--no-cache-filter", "final") == (first, set())
    assert lighter.image("ahead").rootfs()
    assert lighter("store", "check").code == 0
    assert build("--no-cache")[1], "with the times that directories have"
    checked = lighter("store", "check")
    assert checked.code == 0, checked.stdout + checked.stderr


def test_what_was_written_ahead_of_a_hit_is_dropped(lighter):
    """A step that ran again made the same file: the copy is the one that is there."""
    context = lighter.context({"x": "1"})
    text = ("FROM busybox AS made\nCOPY x /x\nRUN head -c 3000000 /dev/zero >/big && touch -d @1 /big\n"
            "FROM scratch\nCOPY --from=made /big /\n")
    first = lighter.build(context, dockerfile=text)
    (context / "x").write_text("2")
    again = lighter.build(context, dockerfile=text)
    assert again.id == first.id and any("RUN" in step for step in again.ran) and not any("--from" in step for step in again.ran)
    assert not any((lighter.store / "tmp").iterdir())
    assert lighter("store", "check").code == 0
