"""`lighter context` and `lighter image`: questions about contexts, ignore files and names."""

import json
import os
import re
import select
import subprocess

import pytest

FILES = {"a.go": "1", "docs/x.md": "22", "docs/api/y.md": "333", "docs.txt": "", "README.md": "4444"}


def listed(lighter, context, *args, **options):
    return lighter("context", "ls", *args, context, **options).stdout.splitlines()


# ---- ls ------------------------------------------------------------------------------------------

def test_all_is_listed_sorted_by_bytes_with_slashes_behind_directories(bare):
    names = listed(bare, bare.context(FILES))
    assert names == ["README.md", "a.go", "docs.txt", "docs/", "docs/api/", "docs/api/y.md", "docs/x.md"]
    assert names == sorted(names)


def test_the_ignore_file_of_the_context_counts_and_another_replaces_it(bare):
    context = bare.context({**FILES, ".dockerignore": "*.md\n**/*.md\n!docs/api/*.md\n"})
    assert listed(bare, context) == [".dockerignore", "a.go", "docs.txt", "docs/", "docs/api/", "docs/api/y.md"]
    other = bare.context({"some.dockerignore": "docs\n"}) / "some.dockerignore"
    assert listed(bare, context, "--ignore-file", other) == [".dockerignore", "README.md", "a.go", "docs.txt"]


def test_what_is_listed_is_what_a_build_copies(bare):
    context = bare.context({**FILES, ".dockerignore": "*\n!docs\ndocs/*.md\n!docs/api/*\n!a.*"})
    bare.build(context, dockerfile="FROM scratch\nCOPY . /\n", tag="all")
    [layer] = bare.image("all").layers
    copied = {name + "/" * layer[name].isdir() for name in layer.names()}
    assert copied == set(listed(bare, context)) == {"a.go", "docs/", "docs/api/", "docs/api/y.md"}


def test_an_exception_for_a_directory_that_is_not_excluded_brings_nothing_back(bare):
    """As BuildKit's walk does, though its rule for single paths says otherwise."""
    context = bare.context({**FILES, ".dockerignore": "**/*.md\n!docs\n"})
    assert "docs/x.md" not in listed(bare, context)
    question = json.dumps({"ignore": "**/*.md\n!docs\n", "path": "docs/x.md"})
    assert bare("context", "match", input=question).stdout == '{"match":false}\n'
    refused = bare.build(context, dockerfile="FROM scratch\nCOPY docs/x.md /\n", code=3)
    assert "excluded by .dockerignore line 1" in refused.error


def test_sizes_stand_in_front_and_add_up(bare):
    context = bare.context(FILES)
    (context / "link").symlink_to("a.go")
    rows = [line.split("\t") for line in listed(bare, context, "--sizes")]
    assert rows == [["4", "README.md"], ["1", "a.go"], ["0", "docs.txt"], ["0", "docs/"], ["0", "docs/api/"],
                    ["3", "docs/api/y.md"], ["2", "docs/x.md"], ["0", "link"], ["10", "total"]]


@pytest.mark.parametrize("name, shown", [
    (b"new\nline", r'"new\nline"'),
    (b"tab\there", r'"tab\there"'),
    (b"bell\x07 del\x7f \x01", r'"bell\a del\177 \001"'),
    (b'"quoted"', r'"\"quoted\""'),
    (b"back\\slash\r", r'"back\\slash\r"'),
    (b"back\\slash", "back\\slash"),
    (b'a"b', 'a"b'),
    (b" blank ", " blank "),
    ("süß 日本".encode(), "süß 日本"),
    (b"\xff\xfe", "\udcff\udcfe"),
])
def test_a_name_cannot_break_the_list(bare, name, shown):
    context = bare.context({"a": "", "zz": ""})
    (context / os.fsdecode(name)).touch()
    assert sorted(listed(bare, context)) == sorted(["a", shown, "zz"])
    assert f"0\t{shown}" in listed(bare, context, "--sizes")


def test_a_strange_directory_is_quoted_with_what_is_in_it(bare):
    context = bare.context({"d\n/f": ""})
    assert listed(bare, context) == [r'"d\n/"', r'"d\n/f"']


def test_an_empty_context_lists_nothing(bare):
    assert bare("context", "ls", bare.context()).stdout == ""


def test_links_are_listed_and_never_followed(bare):
    context = bare.context({"d/f": ""})
    (context / "d" / "up").symlink_to("..")
    (context / "self").symlink_to("self")
    (context / "out").symlink_to("/etc")
    assert listed(bare, context) == ["d/", "d/f", "d/up", "out", "self"]


def test_sockets_are_left_out_and_pipes_are_not(bare):
    context = bare.context({"f": ""})
    os.mkfifo(context / "pipe")
    assert listed(bare, context) == ["f", "pipe"]


# ---- what is read --------------------------------------------------------------------------------

def opened(lighter, tmp, *args):
    """Directories below the context that lighter opens."""
    trace = tmp / "trace"
    done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=openat,open", "-o", str(trace),
                           lighter.binary, *map(str, args)], env=lighter.environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0 and b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    return re.findall(r'"([^"]*)", [^)]*O_NOFOLLOW[^)]*O_DIRECTORY|"([^"]*)", [^)]*O_DIRECTORY[^)]*O_NOFOLLOW',
                      trace.read_text())


def test_no_directory_is_opened_that_the_ignore_file_closes(bare, needs, temp):
    needs("strace")
    context = bare.context({"node_modules/a/b/f": "", "docs/f": "", "src/deep/f": "", "src/x/f": "",
                            ".dockerignore": "*\n!src/deep\n!docs/f\n"})
    names = sorted(one or two for one, two in opened(bare, temp, "context", "ls", context))
    assert names == [".", "deep", "docs", "src"]


def test_a_closed_directory_is_an_error_that_names_it_unless_it_is_excluded(lighters):
    lighter = lighters("rootless")
    context = lighter.context({"closed/f": "", "open/f": ""})
    (context / "closed").chmod(0)
    try:
        refused = lighter("context", "ls", context, code=3)
        assert "'closed/'" in refused.error and "Permission denied" in refused.error
        for text in ("closed\n", "*\n!open\n!**/x\n"):
            (context / ".dockerignore").write_text(text)
            assert "open/f" in listed(lighter, context)
    finally:
        (context / "closed").chmod(0o755)


# ---- why -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, said", [
    ("README.md", "excluded by .dockerignore line 3: `*.md`"),
    ("a.go", "sent: no pattern matches"),
    ("docs/x.md", "sent: .dockerignore line 5: `!docs/x.md` brings it back"),
    ("docs/api/y.md", "excluded by .dockerignore line 4: `docs`, which matches its directory 'docs'"),
    ("docs", "sent for what is sent below it; itself excluded by .dockerignore line 4: `docs`"),
    ("docs/api", "excluded by .dockerignore line 4: `docs`, which matches its directory 'docs'"),
    ("nowhere", "not there"),
])
def test_why_names_the_line(bare, path, said):
    context = bare.context({**FILES, ".dockerignore": "# what is not sent\n\n*.md\ndocs\n!docs/x.md\n"})
    assert bare("context", "ls", "--why", path, context).stdout == said + "\n"


def test_why_without_an_ignore_file(bare):
    assert bare("context", "ls", "--why", "a.go", bare.context(FILES)).stdout == "sent: no pattern matches\n"


# ---- match ---------------------------------------------------------------------------------------

def test_match_answers_line_by_line_and_tells_refusals_in_its_exit_code(bare):
    questions = [{"patterns": ["a"], "path": "a/b"}, {"ignore": "a\n!a/b\n", "path": "a/b"}]
    ask = "".join(json.dumps(q) + "\n" for q in questions)
    assert bare("context", "match", input=ask).stdout == '{"match":true}\n{"match":false}\n'
    ask += json.dumps({"patterns": ["["], "path": "a"}) + "\n" + json.dumps(questions[0])
    lines = bare("context", "match", input=ask, code=3).stdout.splitlines()
    assert [list(json.loads(line)) for line in lines] == [["match"], ["match"], ["error"], ["match"]]
    assert "'['" in json.loads(lines[2])["error"]


def test_match_answers_while_its_input_stays_open(bare):
    child = bare.start("context", "match", stdin=subprocess.PIPE)
    for want in (True, False):
        child.stdin.write(json.dumps({"patterns": ["a"], "path": "a" if want else "b"}).encode() + b"\n")
        child.stdin.flush()
        assert select.select([child.stdout], [], [], 60)[0], "no answer while stdin is open"
        assert json.loads(child.stdout.readline()) == {"match": want}
    child.stdin.close()
    assert child.wait(30) == 0


@pytest.mark.parametrize("bad, said", [
    ("{", "not JSON"), ("[]", "'path'"), ('{"path":"a"}', "'patterns'"), ('{"patterns":["a"]}', "'path'"),
    ('{"patterns":"a","path":"a"}', "no list"), ('{"patterns":[1],"path":"a"}', "strings"),
    ('{"patterns":[],"ignore":"","path":"a"}', "either"), ('{"path":"a","path":"b"}', "not JSON"),
    ('{"patterns":["a\\u0000"],"path":"a"}', "not JSON"),
])
def test_a_malformed_question_is_a_usage_error_with_its_line(bare, bad, said):
    good = json.dumps({"patterns": ["a"], "path": "a"})
    refused = bare("context", "match", input=f"{good}\n\n{bad}\n{good}\n", code=2)
    assert refused.stdout == '{"match":true}\n'
    assert "line 3" in refused.error and said in refused.error


def test_a_long_conversation_gets_every_answer(bare):
    questions = [{"patterns": ["*7"], "path": str(n)} for n in range(20000)]
    done = bare("context", "match", input="".join(json.dumps(q) + "\n" for q in questions))
    assert [json.loads(line)["match"] for line in done.stdout.splitlines()] == \
        [n % 10 == 7 for n in range(20000)]


# ---- image ref -----------------------------------------------------------------------------------

def test_a_name_comes_back_in_its_parts(bare):
    digest = "sha256:" + "ab" * 32
    done = bare("image", "ref", input=f"ubuntu\nlocalhost:5000/me/app:v1@{digest}\nUPPER\n\nb", code=3)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"name": "docker.io/library/ubuntu", "familiar": "ubuntu", "domain": "docker.io",
                        "path": "library/ubuntu", "tag": None, "digest": None}
    assert lines[1] == {"name": "localhost:5000/me/app", "familiar": "localhost:5000/me/app",
                        "domain": "localhost:5000", "path": "me/app", "tag": "v1", "digest": digest}
    assert [list(line) for line in lines[2:4]] == [["error"], ["error"]] and "lowercase" in lines[2]["error"]
    assert lines[4]["name"] == "docker.io/library/b" and len(lines) == 5


def test_names_that_are_all_good_end_well_and_no_names_too(bare):
    assert bare("image", "ref", input="a\nb:1\n").stdout.count("\n") == 2
    assert bare("image", "ref", input="").stdout == ""


# ---- refusals and help ---------------------------------------------------------------------------

@pytest.mark.parametrize("words, code, said", [
    (["context", "ls"], 2, "one directory"),
    (["context", "ls", "a", "b"], 2, "'b'"),
    (["context", "ls", "nowhere"], 2, "'nowhere'"),
    (["context", "ls", "--ignore-file", "nowhere", "."], 2, "'nowhere'"),
    (["context", "ls", "--why", "x", "--sizes", "."], 2, "--why"),
    (["context", "ls", "--nosuch", "."], 2, "'lighter context ls --help'"),
    (["context", "match", "x"], 2, "'x'"),
    (["image", "ref", "x"], 2, "'x'"),
    (["context"], 2, "lighter help context"),
    (["context", "sl"], 2, "did you mean ls?"),
    (["image", "rfe"], 2, "did you mean ref?"),
    (["imges"], 2, "did you mean images?"),
    (["help", "context", "mtch"], 2, "did you mean match?"),
])
def test_wrong_words_are_usage_errors_that_say_what_to_do(bare, words, code, said):
    assert said in bare(*words, code=code).error


def test_a_malformed_ignore_file_is_refused_with_its_line(bare):
    context = bare.context({".dockerignore": "a\n[\n"})
    assert ".dockerignore:2: " in bare("context", "ls", context, code=3).error


def test_a_full_disk_is_told(bare):
    with open("/dev/full", "w") as full:
        refused = bare("context", "ls", bare.context(FILES), stdout=full, code=None)
    assert refused.code != 0 and "write" in refused.error


@pytest.mark.parametrize("group, commands", [("context", ["ls", "match"]), ("image", ["ref"])])
def test_help_of_a_group_lists_its_commands_and_theirs_their_options(bare, group, commands):
    page = bare("help", group).stdout
    assert page == bare(group, "--help").stdout == bare(group, "-h").stdout
    for command in commands:
        assert re.search(rf"^  {command}\s", page, re.M)
        own = bare("help", group, command).stdout
        assert own == bare(group, command, "--help").stdout
        assert own.startswith(f"usage: lighter {group} {command}")
    assert re.search(rf"^  {group}\s", bare("help").stdout, re.M)


def test_questions_make_no_store(bare):
    bare("context", "ls", bare.context(FILES))
    bare("image", "ref", input="a\n")
    assert not bare.store.exists()


def test_a_copy_of_a_large_tree_gets_the_right_files(bare):
    """Each file is asked about with what is known of its directory."""
    files = {f"d{n % 40}/{'keep' if n % 3 else 'drop'}{n}.{'md' if n % 5 else 'go'}": "" for n in range(2000)}
    context = bare.context({**files, ".dockerignore": "**/drop*\n!**/*.go\nd7\n"})
    bare.build(context, dockerfile="FROM scratch\nCOPY . /\n", tag="all")
    [layer] = bare.image("all").layers
    want = {path for path in files
            if not path.startswith("d7/") and ("keep" in path or path.endswith(".go"))} | {".dockerignore"}
    assert {name for name in layer.names() if not layer[name].isdir()} == want
