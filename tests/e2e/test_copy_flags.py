"""COPY's flags, here-documents and patterns; in both modes.

The rules are BuildKit's (its dockerfile tests, github.com/tonistiigi/fsutil/copy and features.md I16 to I24).
Every build here is made twice: what comes from the cache must be what was made.
"""

import os
import socket
import stat

import pytest

WHEN = 1600000000
PEOPLE = ("RUN echo 'app:x:1234:1235::/:/bin/sh' >>/etc/passwd && "
          "printf 'app:x:1235:\\nstaff2:x:777:\\n' >>/etc/group")


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def built(lighter, files, *lines, context=None, base="scratch", code=0, args=()):
    """{path: (info, data)} of a build of these lines; the build again must be all hits and equal."""
    context = context or lighter.context(files)
    dockerfile = f"FROM {base}\n" + "\n".join(lines) + "\n"
    first = lighter.build(context, *args, dockerfile=dockerfile, tag="flags", code=code)
    if code:
        return first
    again = lighter.build(context, *args, dockerfile=dockerfile, tag="flags")
    assert again.ran == [] and again.id == first.id
    assert lighter.leftovers() == []
    built.result, built.image = first, lighter.image("flags")
    return built.image.rootfs()


def mode(files, path):
    return stat.S_IMODE(files[path][0].mode)


def owner(files, path):
    return files[path][0].uid, files[path][0].gid


FILES = {"f": ("f", 0o640), "x": ("x", 0o755), "dir/a": "a", "dir/run": ("r", 0o700), "dir/sub/b": "b"}


# ---- --chown -------------------------------------------------------------------------------------

@pytest.mark.parametrize("who, expected", [
    ("7:8", (7, 8)), ("7", (7, 7)), ("app", (1234, 1235)), ("app:staff2", (1234, 777)),
    ("app:5", (1234, 5)), ("5:app", (5, 1235)), ("0", (0, 0)),
])
def test_chown_takes_names_and_numbers(lighter, who, expected):
    files = built(lighter, FILES, PEOPLE, f"COPY --chown={who} dir /made/here/", base="busybox")
    assert {owner(files, path) for path in
            ("made", "made/here", "made/here/a", "made/here/sub", "made/here/sub/b")} == {expected}


def test_chown_by_number_needs_no_passwd(lighter):
    assert owner(built(lighter, FILES, "COPY --chown=12:34 f /d/"), "d/f") == (12, 34)


@pytest.mark.parametrize("who", ["nobodyknows", "1:nogroupknows", "nobodyknows:1"])
def test_an_unknown_name_in_chown_is_refused_with_its_line(lighter, who):
    refused = built(lighter, FILES, f"COPY --chown={who} f /", base="busybox", code=3)
    assert "<stdin>:2" in refused.error and who in refused.error and "/etc/passwd" in refused.error


def test_chown_takes_variables(lighter):
    files = built(lighter, FILES, "ARG who=5", "ENV grp=6", "COPY --chown=${who}:${grp} f /")
    assert owner(files, "f") == (5, 6)


def test_a_directory_that_is_there_keeps_its_owner_as_a_destination_and_loses_it_as_a_copy(lighter):
    """BuildKit, testCopyChownExistingDir."""
    files = built(lighter, {"src/sub/new": "n"},
                  "RUN mkdir -p /e/sub && touch /e/old && chown -R 501:601 /e && chown 500:600 /e",
                  "COPY --chown=300:400 src /e/", base="busybox")
    assert owner(files, "e") == (500, 600)
    assert owner(files, "e/old") == (501, 601)
    assert owner(files, "e/sub") == owner(files, "e/sub/new") == (300, 400)


def test_chown_keeps_setuid_bits_and_capabilities_survive_a_copy(lighter):
    context = lighter.context({"s": ("s", 0o755)})
    (context / "s").chmod(0o6755)
    assert mode(built(lighter, None, "COPY --chown=5:6 s /", context=context), "s") == 0o6755


def test_chown_reaches_links_and_not_what_they_name(lighter):
    context = lighter.context({"d/real": "r"})
    (context / "d" / "link").symlink_to("real")
    (context / "d" / "out").symlink_to("/etc/passwd")
    files = built(lighter, None, "COPY --chown=5:6 d /d/", context=context, base="busybox")
    assert owner(files, "d/link") == owner(files, "d/out") == (5, 6)
    assert owner(files, "etc/passwd") == (0, 0)


# ---- --chmod -------------------------------------------------------------------------------------

@pytest.mark.parametrize("flag, f, x, made", [
    ("0600", 0o600, 0o600, 0o600), ("777", 0o777, 0o777, 0o777), ("4755", 0o4755, 0o4755, 0o755),
    ("u=rwX,go=rX", 0o644, 0o755, 0o755), ("+x", 0o751, 0o755, 0o755), ("g-r", 0o600, 0o715, 0o755),
    ("a=", 0, 0, 0o755),
])
def test_chmod_changes_files_and_a_number_also_made_parents(lighter, flag, f, x, made):
    files = built(lighter, FILES, f"COPY --chmod={flag} f x /d/")
    assert [mode(files, path) for path in ("d/f", "d/x", "d")] == [f, x, made]


def test_chmod_x_adds_execution_to_directories_and_programs_only(lighter):
    context = lighter.context({"d/plain": ("1", 0o600), "d/run": ("2", 0o700), "d/s/y": ("3", 0o600)})
    (context / "d" / "s").chmod(0o700)
    files = built(lighter, None, "COPY --chmod=go=rX d /d/", context=context)
    assert [mode(files, path) for path in ("d/plain", "d/run", "d/s", "d/s/y")] == \
        [0o644, 0o755, 0o755, 0o644]


@pytest.mark.parametrize("flag", ["10000", "888", "u=z", "rwx"])
def test_a_chmod_that_is_none_is_refused_with_its_line(lighter, flag):
    refused = built(lighter, FILES, f"COPY --chmod={flag} f /", code=3)
    assert "<stdin>:2" in refused.error and flag in refused.error


# ---- --link --------------------------------------------------------------------------------------

def test_a_linked_layer_is_the_same_on_another_base(lighter):
    context = lighter.context(FILES)
    diff_ids = []
    for base in ("busybox", "scratch"):
        built(lighter, None, "COPY --link --chown=1:2 dir /a/b/", context=context, base=base)
        diff_ids.append(built.image.layers[-1].diff_id)
    assert built.result.ran == []  # the second base: nothing was copied again
    assert diff_ids[0] == diff_ids[1]


def test_a_linked_copy_runs_again_when_its_files_change(lighter):
    context = lighter.context(FILES)
    built(lighter, None, "COPY --link f /", context=context)
    (context / "f").write_text("other")
    assert built(lighter, None, "COPY --link f /", context=context)["f"][1] == b"other"
    assert built.result.ran == ["COPY --link f /"]


def test_what_follows_a_linked_copy_depends_on_what_lies_below_it(lighter):
    context = lighter.context(FILES)
    for text in ("one", "two"):
        files = built(lighter, None, f"RUN echo {text} >/below", "COPY --link f /", "RUN cp /below /seen",
                      context=context, base="busybox")
        assert files["seen"][1] == text.encode() + b"\n"


def test_a_linked_copy_does_not_follow_links_of_what_lies_below(lighter):
    lines = ("RUN mkdir /real && ln -s real /l && echo old >/real/f", "COPY --link f /l/f")
    files = built(lighter, FILES, *lines, base="busybox")
    assert files["l"][0].isdir() and files["l/f"][1] == b"f"
    assert files["real/f"][1] == b"old\n"


def test_a_linked_copy_gives_its_own_parents_0755_and_root(lighter):
    lines = ("RUN mkdir -m 700 /d && chown 5:6 /d && echo kept >/d/kept", "COPY --link f /d/f")
    files = built(lighter, FILES, *lines, base="busybox")
    assert (mode(files, "d"), owner(files, "d")) == (0o755, (0, 0))
    assert files["d/kept"][1] == b"kept\n"
    built(lighter, FILES, *lines, "RUN ls -ld /d && cat /d/kept /d/f", base="busybox")


def test_link_with_chmod_is_a_plain_copy(lighter):
    files = built(lighter, FILES, "RUN mkdir /real && ln -s real /l",
                  "COPY --link --chmod=600 f /l/", base="busybox")
    assert files["l"][0].issym() and mode(files, "real/f") == 0o600


@pytest.mark.parametrize("dest", [".", "", "./"])
def test_a_linked_copy_goes_to_the_working_directory(lighter, dest):
    lines = ('COPY --link ["f", "%s"]' % dest,)
    assert built(lighter, FILES, "WORKDIR /w/w", *lines)["w/w/f"][1] == b"f"


# ---- --parents -----------------------------------------------------------------------------------

TREE = {f"a/{path}": path for path in ("b/c/d/foo", "b/c/d/e/bay", "b2/c/d/e/bar", "b/c2/d/e/baz",
                                        "b/c2/d/e2/baz")}


@pytest.mark.parametrize("line, expected", [
    ("a/b/c/d/foo /o/", ["a/b/c/d/foo"]),
    ("./a/b/c/d /o/", ["a/b/c/d/e/bay", "a/b/c/d/foo"]),
    ("a/b/c/d/. /o/", ["a/b/c/d/e/bay", "a/b/c/d/foo"]),
    ("a/b/./c/d /o/", ["c/d/e/bay", "c/d/foo"]),
    ("/a/./b/./c /o/", ["b/c/d/e/bay", "b/c/d/foo"]),
    ("/a/./*/c /o/", ["b/c/d/e/bay", "b/c/d/foo", "b2/c/d/e/bar"]),
    ("/a/b*/./c/**/e /o/", ["c/d/e/bar", "c/d/e/bay"]),
    ("/a/b/c*/./d/**/baz /a/b*/./c/**/bar /o/", ["c/d/e/bar", "d/e/baz", "d/e2/baz"]),
    ("**/baz /o/", ["a/b/c2/d/e/baz", "a/b/c2/d/e2/baz"]),
    ("a/b2*/x /o/", []),
    ("a/b/./x* /o/", []),
])
def test_parents_keeps_what_is_named_behind_the_pivot(lighter, line, expected):
    files = built(lighter, TREE, f"COPY --parents {line}")
    assert sorted(p[2:] for p, (info, _) in files.items() if info.isreg()) == expected
    assert files["o"][0].isdir()
    named = {"/".join(p.split("/")[:i]) for p in expected for i in range(1, p.count("/") + 1)}
    assert {p[2:] for p, (info, _) in files.items() if info.isdir() and p != "o"} == named


@pytest.mark.parametrize("source", ["a/nothing", "a/./nothing", "nothing/./a"])
def test_parents_of_a_plain_name_that_is_not_there_is_refused(lighter, source):
    refused = built(lighter, TREE, f"COPY --parents {source} /o/", code=3)
    assert "<stdin>:2" in refused.error and "nothing" in refused.error


@pytest.mark.parametrize("source", [".", "a/./", "/a/b/./."])
def test_parents_of_nothing_behind_the_pivot_is_refused_with_the_way_out(lighter, source):
    """To BuildKit this is a list of no patterns: "not found"."""
    refused = built(lighter, TREE, f"COPY --parents {source} /o/", code=3)
    assert "<stdin>:2" in refused.error and "behind the pivot" in refused.error
    assert "o/b/c/d/foo" in built(lighter, TREE, "COPY --parents a/./* /o/")


def test_parents_gives_directories_that_are_there_a_mode_and_no_owner(lighter):
    """They are only passed through; fsutil's createParentDirs changes the mode of one that exists."""
    context = lighter.context({"p/q/f": ("f", 0o600)})
    (context / "p").chmod(0o711)
    (context / "p" / "q").chmod(0o711)
    lines = ("RUN mkdir -p /p/q && chown 5:6 /p /p/q && chmod 777 /p/q && touch -d @1 /p /p/q",
             "COPY --parents --chown=7:8 --chmod=604 p/q/f /", "COPY --parents --chown=7:8 p/q/f /n/")
    files = built(lighter, None, *lines, context=context, base="busybox")
    assert [owner(files, path) for path in ("p", "p/q", "p/q/f")] == [(5, 6), (5, 6), (7, 8)]
    assert [mode(files, path) for path in ("p", "p/q", "p/q/f")] == [0o711, 0o711, 0o604]
    assert files["p/q"][0].mtime == 1
    assert [owner(files, path) for path in ("n", "n/p", "n/p/q")] == [(7, 8)] * 3
    assert mode(files, "n/p/q") == 0o711


def test_a_directory_that_is_named_itself_is_another_step_than_one_that_is_passed_through(lighter):
    context = lighter.context({"p/f": "f"})
    below = "RUN mkdir /p && chown 5:6 /p"
    one = built(lighter, None, below, "COPY --parents p/f /", context=context, base="busybox")
    two = built(lighter, None, below, "COPY --parents p /", context=context, base="busybox")
    assert owner(one, "p") == (5, 6) and owner(two, "p") == (0, 0)


# ---- --exclude -----------------------------------------------------------------------------------

MEDIA = {"d1/1.png": "", "d1/1.txt": "", "d2/2.pdf": "", "d2/2.png": "", "d3/s/3.png": "", "d3/s/3.txt": ""}


@pytest.mark.parametrize("flags, source, expected", [
    ("--exclude=*/*.png", ".", ["d1", "d1/1.txt", "d2", "d2/2.pdf", "d3", "d3/s", "d3/s/3.png",
                                 "d3/s/3.txt"]),
    ("--exclude=**/*.png", ".", ["d1", "d1/1.txt", "d2", "d2/2.pdf", "d3", "d3/s", "d3/s/3.txt"]),
    ("--exclude=*.png --exclude=*.pdf", "d*", ["1.txt", "s", "s/3.png", "s/3.txt"]),
    ("--exclude=*", "d*", []),
    ("--exclude=* --exclude=!d1", ".", ["d1", "d1/1.png", "d1/1.txt"]),
    ("--exclude=** --exclude=!**/*.txt", ".", ["d1", "d1/1.txt", "d3", "d3/s", "d3/s/3.txt"]),
    ("--exclude=d3/s --exclude=d1/", ".", ["d2", "d2/2.pdf", "d2/2.png", "d3"]),
])
def test_exclude_leaves_out_what_matches_below_the_source(lighter, flags, source, expected):
    files = built(lighter, MEDIA, f"COPY {flags} {source} /o/")
    assert sorted(p[2:] for p in files if p != "o") == expected


def test_exclude_does_not_leave_out_the_source_itself(lighter):
    assert built(lighter, FILES, "COPY --exclude=f --exclude=dir f dir /o/")["o/f"][1] == b"f"


def test_exclude_works_with_parents_and_stages(lighter):
    files = built(lighter, TREE, "COPY . /t", "FROM scratch",
                  "COPY --from=0 --parents --exclude=**/e /t/a/./b/c /o/")
    assert sorted(p for p, (info, _) in files.items() if info.isreg()) == ["o/b/c/d/foo"]


def test_a_change_of_an_excluded_file_is_a_hit(lighter):
    context = lighter.context(MEDIA)
    built(lighter, None, "COPY --exclude=**/*.png . /o/", context=context)
    (context / "d1" / "1.png").write_text("changed")
    built(lighter, None, "COPY --exclude=**/*.png . /o/", context=context)
    assert built.result.ran == []


# ---- here-documents ------------------------------------------------------------------------------

def test_heredocs_become_files_by_their_names(lighter):
    files = built(lighter, FILES, "ENV who=me", "COPY <<one <<'two' f /d/", "$who \"q\" ${who}", "one",
                  "$who", "two")
    assert files["d/one"][1] == b'me "q" me\n' and files["d/two"][1] == b"$who\n"
    assert files["d/f"][1] == b"f" and mode(files, "d/one") == 0o644


def test_a_heredoc_takes_flags_and_a_name_of_its_own(lighter):
    files = built(lighter, {}, "COPY --chown=5:6 --chmod=u=rwx,go= <<EOF /d/name", "text", "EOF")
    assert (files["d/name"][1], mode(files, "d/name"), owner(files, "d/name")) == \
        (b"text\n", 0o700, (5, 6))


def test_an_archive_in_a_heredoc_and_an_empty_one_are_files(lighter):
    files = built(lighter, {}, "ADD <<empty.tar /d/", "empty.tar")
    assert files["d/empty.tar"][1] == b""


def test_a_heredoc_leaves_nothing_behind_when_the_build_fails(lighter):
    built(lighter, {}, "COPY <<one /d/one/", "x", "one", "COPY <<two /d/one/one/", "x", "two", code=1)
    assert lighter.leftovers() == []


# ---- patterns ------------------------------------------------------------------------------------

def test_a_pattern_does_not_go_through_links_to_directories(lighter):
    context = lighter.context({"d1/f": "1", "real/sub/f": "2"})
    (context / "d2").symlink_to("real")
    (context / "d1" / "sub").symlink_to("../real/sub")
    assert sorted(built(lighter, None, "COPY d*/f /o/", context=context)) == ["o", "o/f"]
    assert built(lighter, None, "COPY d*/f /o/", context=context)["o/f"][1] == b"1"
    assert built(lighter, None, "COPY d*/sub/f /o/", context=context) == {}
    # before the first pattern, links are followed, and so is a link that matches
    assert sorted(built(lighter, None, "COPY d2/s* /o/", context=context)) == ["o", "o/f"]
    assert sorted(built(lighter, None, "COPY d[2] /o/", context=context)) == ["o", "o/sub", "o/sub/f"]


def test_a_pattern_that_matches_a_link_to_nothing_is_refused_by_name(lighter):
    context = lighter.context({"f1": "1"})
    (context / "f2").symlink_to("nowhere")
    refused = built(lighter, None, "COPY f* /o/", context=context, code=3)
    assert "<stdin>:2" in refused.error and "'f2'" in refused.error and "nowhere" in refused.error
    assert built(lighter, None, "COPY . /o/", context=context)["o/f2"][0].issym()


def test_brackets_name_odd_files(lighter):
    files = {"t/test[0].txt": "0", "t/[xyz]/f": "1", "t/star*": "2"}
    assert built(lighter, files, "COPY t/test[[]0].txt /o/")["o/test[0].txt"][1] == b"0"
    assert built(lighter, files, "COPY t/[[]xyz]/f /o/")["o/f"][1] == b"1"
    assert built(lighter, files, "COPY t/star[*] /o/")["o/star*"][1] == b"2"


def test_hard_links_are_kept_within_each_thing_that_a_pattern_matches(lighter):
    context = lighter.context({"d1/a": "same", "d2/z": "z"})
    os.link(context / "d1" / "a", context / "d2" / "b")
    os.link(context / "d1" / "a", context / "d2" / "c")
    files = built(lighter, None, "COPY d* /o/", context=context)
    assert files["o/b"][0].isreg() and files["o/b"][1] == b"same"
    assert files["o/c"][0].islnk() and files["o/c"][0].linkname == "o/b"


# ---- destinations --------------------------------------------------------------------------------

def test_a_destination_link_to_nothing_gets_what_it_names(lighter):
    lines = ("RUN ln -s /a/b/c /l && ln -s ../x/y/f /home/m", "COPY f /l/", "COPY f /l/down/",
             "COPY x /home/m", "COPY dir /l/tree")
    files = built(lighter, FILES, *lines, base="busybox")
    assert files["a/b/c/f"][1] == files["a/b/c/down/f"][1] == b"f"
    assert files["x/y/f"][1] == b"x" and files["a/b/c/tree/sub/b"][1] == b"b"


def test_a_directory_does_not_replace_a_link_to_a_directory(lighter):
    refused = built(lighter, {"d/lib/f": "1"}, "RUN mkdir /real && ln -s real /lib2 && mkdir /t && "
                    "ln -s ../real /t/lib", "COPY d /t/", base="busybox", code=1)
    assert "non-directory" in refused.error and "/t/lib" in refused.error and "<stdin>:3" in refused.error


def test_an_existing_file_named_with_a_slash_is_refused(lighter):
    refused = built(lighter, FILES, "COPY f /h", "COPY x /h/", code=1)
    assert "<stdin>:3" in refused.error and "/h" in refused.error


def test_a_new_destination_has_the_time_of_the_directory_whose_contents_it_gets(lighter):
    context = lighter.context({"d/f": "1"})
    os.utime(context / "d", (WHEN, WHEN))
    files = built(lighter, None, "COPY d /o", "COPY d /p/q/", context=context)
    assert files["o"][0].mtime == files["p/q"][0].mtime == WHEN


# ---- odd things ----------------------------------------------------------------------------------

def test_a_socket_by_its_name_is_not_there(lighter, monkeypatch):
    context = lighter.context({"f": "1"})
    monkeypatch.chdir(context)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("sock")
    lighter.own(context)
    refused = built(lighter, None, "COPY sock /s", context=context, code=3)
    assert "<stdin>:2" in refused.error and "sock" in refused.error


def test_devices_and_fifos_of_a_stage_are_copied(lighter):
    if lighter.isolation == "rootless":
        pytest.skip("a user namespace makes no devices")
    files = built(lighter, {}, "RUN mkdir /d && mknod /d/null c 1 3 && mknod /d/b b 7 200 && mkfifo /d/p",
                  "FROM scratch", "COPY --from=0 --chown=5:6 /d /d", base="busybox")
    info = files["d/null"][0]
    assert info.ischr() and (info.devmajor, info.devminor) == (1, 3)
    info = files["d/b"][0]
    assert info.isblk() and (info.devmajor, info.devminor) == (7, 200)
    assert files["d/p"][0].isfifo() and owner(files, "d/p") == (5, 6)


def test_a_device_that_means_a_deletion_is_refused(lighter):
    if lighter.isolation == "rootless":
        pytest.skip("needs a device")
    context = lighter.context({"d/f": "1"})
    os.mknod(context / "d" / "gone", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    refused = built(lighter, None, "RUN mkdir /d && touch /d/gone", "COPY d /d", context=context,
                    base="busybox", code=1)
    assert "d/gone" in refused.error


def test_an_unreadable_directory_that_is_excluded_is_passed_over(lighter):
    """It could hold the exception; `context ls` passes it over as well."""
    if lighter.isolation == "root":
        pytest.skip("root reads everything")
    context = lighter.context({"f": "1", "closed/keep": "2", "open/keep": "3", "open/not": "4",
                               ".dockerignore": "closed\nopen\n!*/keep\n"})
    for right in (0, 0o400, 0o100):
        (context / "closed").chmod(right)
        try:
            files = built(lighter, None, "COPY . /o/", context=context)
            assert sorted(files) == ["o", "o/.dockerignore", "o/f", "o/open", "o/open/keep"]
            files = built(lighter, None, "COPY */keep /o/", context=context)
            assert sorted(files) == ["o", "o/keep"]
        finally:
            (context / "closed").chmod(0o755)


def test_an_unreadable_directory_that_is_wanted_is_named(lighter):
    if lighter.isolation == "root":
        pytest.skip("root reads everything")
    context = lighter.context({"f": "1", "closed/x": "2"})
    (context / "closed").chmod(0)
    try:
        refused = built(lighter, None, "COPY . /o/", context=context, code=3)
        assert "'closed'" in refused.error and "<stdin>:2" in refused.error
    finally:
        (context / "closed").chmod(0o755)


def test_a_fresh_build_in_another_store_is_equal(lighters, bases):
    lines = ["FROM busybox AS one", PEOPLE, "COPY --chown=app --chmod=u=rwX,go=rX dir /dir",
             "COPY --link --parents dir/./sub/* f /deep/er/", "COPY --exclude=a dir /ex", "COPY <<E /doc",
             "text", "E", "FROM busybox", "COPY --from=one / /all/"]
    ids = set()
    for isolation in ("root", "rootless"):
        lighter = lighters(isolation, bases=[bases("busybox")])
        for _ in range(2):
            ids.add(lighter.build(lighter.context(FILES), "--epoch=content", "--no-cache",
                                  dockerfile="\n".join(lines) + "\n").id)
    assert len(ids) == 1
