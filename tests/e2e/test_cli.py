"""The command line: what it accepts, how it refuses, what it prints."""

import re
import subprocess

import pytest

COMMANDS = ("build", "images", "inspect", "save", "load", "run", "pull", "push", "tag", "login", "logout", "log", "copy", "compare", "verify", "history", "pack")
PROMISED = {
    "pull": ["--platform", "-q", "--lazy", "--authfile", "--tls-verify", "--registry-mirror"],
    "push": ["-q", "--digestfile", "--authfile", "--tls-verify", "--insecure"],
    "tag": [],
    "compare": ["--no-times", "-q"],
    "verify": ["-f", "--build-arg", "--epoch"],
    "history": ["-q", "--no-trunc", "--format"],
    "pack": ["-q"],
    "copy": ["--platform", "-q", "--authfile", "--tls-verify", "--registry-mirror"],
    "log": ["-n", "--format", "-f", "--all"],
    "login": ["-u", "-p", "--password-stdin", "--authfile"],
    "logout": ["--authfile"],
    "build": ["-t", "-f", "--target", "--build-arg", "--build-context", "--no-cache", "--progress",
              "--label", "--iidfile", "--epoch", "--isolation", "-o", "-q", "--trace"],
    "run": ["--rm", "-e", "-v", "-w", "-u"],
    "save": ["-o", "--format"],
    "load": ["-i"],
    "images": ["-q"],
    "inspect": [],
}


def project(lighter, text="FROM busybox\nRUN echo x >/x\n", **files):
    return lighter.context({"Dockerfile": text, **files})


# ---- help and version ----------------------------------------------------------------------------

@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], []])
def test_help_lists_every_command_and_the_exit_codes(bare, words):
    page = bare(*words).stdout
    for name in (*COMMANDS, "version", "help"):
        assert re.search(rf"^  {name}\s", page, re.M), name
    assert "Exit codes" in page


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_lists_its_options(bare, command):
    page = bare(command, "--help").stdout
    for option in PROMISED[command]:
        assert re.search(rf"(^|\s){option}\b", page), option
    assert bare("help", command).stdout == page
    if "-h, --hostname" not in page:  # as docker run has it
        assert bare(command, "-h").stdout == page


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_in_the_help_is_known_to_the_command(bare, command):
    page = bare(command, "--help").stdout.split("known to docker")[0]
    for line in page.splitlines():
        found = re.match(r"\s+(?:-\w, )?(--[a-z-]+)", line)
        if found:
            tried = bare(command, found.group(1), code=None)
            assert "unknown option" not in tried.error, found.group(1)


@pytest.mark.parametrize("word", ["version", "--version", "-v"])
def test_version_is_one_line(bare, word):
    assert re.fullmatch(r"lighter \d+\.\d+\.\d+\n", bare(word).stdout)


def test_help_and_version_make_no_store(bare):
    bare("help")
    bare("version")
    bare("build", "--help")
    assert not bare.store.exists()


# ---- refusals ------------------------------------------------------------------------------------

def test_an_unknown_command_is_named(bare):
    refused = bare("biuld", ".", code=2)
    assert "biuld" in refused.error and "help" in refused.error


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_is_refused_by_name(bare, command):
    assert "--nosuch" in bare(command, "--nosuch=1", code=2).error
    assert "-Z" in bare(command, "-Z", code=2).error


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_of_docker_that_are_not_done_yet_are_refused_by_name(bare, command):
    page = bare(command, "--help").stdout
    names = re.findall(r"--[a-z-]+", page.split("known to docker")[1]) \
        if "known to docker" in page else []
    for name in names:
        refused = bare(command, name + "=x", "busybox", code=2)
        assert refused.error.startswith(f"lighter {command}: {name} is not supported"), name
    if command == "build":
        assert {"--builder", "--cache-from", "--cache-to", "--policy"} <= set(names)


@pytest.mark.parametrize("args, said", [
    (["--progress=fancy", "."], "--progress"),
    (["-o", "type=magic,dest=x", "."], "type 'magic' is not known: expected image, registry"),
    (["-o", "type=local", "."], "needs dest=DIR"),
    (["-o", "", "."], "needs a path, or type=TYPE"),
    (["-o", "dest=x", "."], "needs type=TYPE"),
    (["-o", "type=tar,dest=", "."], "dest= needs a path"),
    (["-o", "type=tar,dest=x,compression=gzip", "."], "it holds no image"),
    (["-o", "type=oci,dest=x,compression=magic", "."], "expected gzip, zstd or uncompressed"),
    (["-o", "type=oci,dest=x,compression=estargz", "."], "estargz is not supported: use gzip"),
    (["-o", "type=oci,dest=x,compression-level=10", "."], "gzip has 0 to 9"),
    (["-o", "type=oci,dest=x,compression=zstd,compression-level=23", "."], "zstd has 0 to 22"),
    (["-o", "type=oci,dest=x,compression=zstd,oci-mediatypes=false", "."], "exclude each other"),
    (["-o", "type=oci,dest=x,tar=maybe", "."], "tar=maybe is neither true nor false"),
    (["-o", "type=oci,dest=x,buildinfo=true", "."], "buildinfo is not supported"),
    (["-o", "type=oci,dest=x,colour=red", "."], "'colour' is not known"),
    (["-o", "type=oci,tar=false", "."], "tar=false needs dest=DIR"),
    (["-o", "type=oci,push=true,dest=x", "."], "push is of type=image"),
    (["-o", "type=image,push=true", "."], "needs a name to push to"),
    (["-o", "type=image,push-by-digest=true", "."], "push-by-digest needs push=true"),
    (["-o", "type=local,dest=x,mode=delete", "."], "mode=delete is not supported"),
    (["-o", "type=image,\"name=x", "."], "unclosed \""),
    (["-o", "type=image,na\"me=x", "."], "bare \""),
    (["-o", "type=image,annotation.=x", "."], "expected annotation.NAME=VALUE"),
    (["-o", "type=image,annotation-somewhere.a=x", "."], "no place for an annotation"),
    (["--annotation", "x", "."], "[PLACE:]NAME=VALUE"),
    (["--annotation", "somewhere:a=b", "."], "no place for an annotation"),
    (["--annotation", "index:a=b", "."], "an image for one platform has none"),
    (["--push", "."], "needs a name to push to"),
    (["--push", "--offline", "-t", "x", "."], "--offline and --push exclude each other"),
    (["--platform", "windows/amd64", "."], "builds images for linux"),
    (["--platform", "linux/a/b/c", "."], "--platform"),
    (["--platform", "linux/amd64,linux/arm64", "--load", "."], "no index of several platforms"),
    (["--platform", "linux/amd64,linux/arm64", "-o", "type=local,dest=x,platform-split=false", "."],
     "platform-split=false"),
    (["--rm=false", "."], "--on-error=shell"),
    (["--disable-content-trust=false", "."], "knows no Notary"),
    (["--sbom=true", "."], "no attestations are made"),
    (["--provenance", "mode=max", "."], "no attestations are made"),
    (["--attest", "type=sbom", "."], "no attestations are made"),
    (["--build-context", "x", "."], "NAME=SOURCE"),
    (["-t", "UPPER case", "."], "--tag"),
    (["-t", "x@sha256:" + "0" * 64, "."], "digest"),
    ([], "context"),
    ([".", ".."], "'..'"),
    (["-"], "stdin: it is empty: neither a tar archive nor a Dockerfile"),
    (["-f", "-", "-"], "stdin cannot be the Dockerfile (-f -) and the context (-) at once"),
    (["https://u:pass@example.com/x.git?nosuch=1"], "context 'https://xxxxx:xxxxx@example.com/x.git?nosuch=1'"),
    ([""], "'.' is the current directory"),
    (["--build-context", "=x", "."], "NAME=SOURCE"),
    (["--build-context", "x=", "."], "NAME=SOURCE"),
    (["--build-context", "x=nowhere", "."], "--build-context x: 'nowhere' is no directory"),
    (["--build-context", "x=Dockerfile", "."], "--build-context x: 'Dockerfile' is no directory"),
    (["--build-context", "x=ftp://h/f", "."], "no directory, git repository, URL"),
    (["--build-context", "x=oci-layout://", "."], "oci-layout://DIR[:TAG]"),
    (["--build-context", "x=docker-image://", "."], "--build-context x=docker-image://"),
    (["--build-context", "x=docker-image://UP", "."], "must be lowercase"),
    (["--secret", "id=a", "."], "src=FILE or env=VAR"),
    (["--secret", "a", "."], "id=ID[,src=FILE|,env=VAR]"),
    (["--secret", "src=x", "."], "id=ID[,src=FILE|,env=VAR]"),
    (["--secret", "id=a,src=", "."], "src= without a name"),
    (["--secret", "id=a,src=.", "."], "'.': read: Is a directory"),
    (["--secret", "id=a,env=NO_SUCH", "."], "environment variable 'NO_SUCH' is not set"),
    (["--secret", "id=a,src=/dev/zero", "."], "larger than the limit"),
    (["--secret", "id=a,type=ssh", "."], "'ssh' is neither file nor env"),
    (["--build-arg", "=x", "."], "NAME[=VALUE]"),
    (["--build-arg", "", "."], "NAME[=VALUE]"),
    (["--label", "=x", "."], "NAME=VALUE"),
    (["--build-arg", "BUILDKIT_SYNTAX=foo/bar", "."], "--ignore-syntax"),
    (["--build-arg", "BUILDKIT_SYNTAX=x/notdocker/dockerfile", "."], "--ignore-syntax"),
    (["--isolation=magic", "."], "magic"),
    (["-t"], "--tag"),
])
def test_wrong_words_for_build_are_usage_errors(bare, args, said):
    context = project(bare)
    refused = bare("build", *args, code=2, cwd=context)
    assert said in refused.error


def test_a_missing_context_is_a_usage_error(bare):
    assert "context 'nowhere': No such file" in bare("build", "nowhere", code=2).error
    context = project(bare)
    refused = bare("build", context / "Dockerfile", code=2)
    assert "is not a directory" in refused.error and "named with -f" in refused.error
    assert "is not a directory" in bare("build", "/dev/null", code=2).error


@pytest.mark.parametrize("data, words, code, said", [
    (b"\0" * 3000000, ["-"], 2, "it is no text: neither a tar archive nor a Dockerfile"),
    (b"\x1f\x8b no gzip", ["-"], 2, "neither a tar archive nor a Dockerfile"),
    (b"FROM busybox\n", ["-f", "x", "-"], 2, "no tar archive, plain or packed with gzip"),
    (b"#" * (5 << 20), ["-"], 3, "context on stdin: it is no tar archive, and for a Dockerfile it is too long"),
    (b"#" * (5 << 20), ["-f", "-", "."], 3, "Dockerfile: stdin: larger than the limit of 4194304 bytes"),
    (b"FROM busybox\0\n", ["-f", "-", "."], 3, "<stdin>: holds a NUL byte"),
    (b"", ["-f", "-", "."], 3, "<stdin>: the Dockerfile cannot be empty"),
], ids=["zeros", "bad-gzip", "text-and-file", "huge", "huge-dockerfile", "nul", "empty"])
def test_what_stdin_gives_is_judged_by_its_content(bare, data, words, code, said):
    assert said in bare("build", *words, input=data, code=code, cwd=project(bare)).error
    assert bare.leftovers() == []


@pytest.mark.parametrize("words", [["-"], ["-f", "-", "."]])
def test_a_closed_stdin_is_an_error_and_nothing_takes_its_place(bare, words):
    shell = f"exec {bare.binary} build {' '.join(words)} <&-"
    done = subprocess.run(["sh", "-c", shell], env=bare.environment(), cwd=project(bare), timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2 and b"read stdin: Bad file descriptor" in done.stderr


def test_closed_standard_files_do_not_take_what_is_meant_for_a_terminal(lighter):
    shell = f"exec {lighter.binary} build {project(lighter)} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], env=lighter.environment(), timeout=30, check=False).returncode == 0
    assert lighter.damaged_blobs() == []
    for path in lighter.store.rglob("*"):
        if path.is_file() and path.parent.name != "sha256":
            assert b"RUN echo x >/x  RAN" not in path.read_bytes(), path


def test_a_missing_dockerfile_is_a_dockerfile_error_that_names_it(bare):
    assert "Dockerfile" in bare("build", bare.context({"f": ""}), code=3).error
    assert "other.df" in bare("build", "-f", "other.df", bare.context({"f": ""}), code=3).error
    assert "Dockerfile: read '.': Is a directory" in bare("build", "-f", ".", bare.context({"f": ""}), code=3).error
    context = bare.context({"other.df": ""})
    assert "the Dockerfile cannot be empty" in bare("build", "-f", "", bare.context({"Dockerfile": ""}), code=3).error
    hint = bare("build", "-f", "other.df", context, code=3).error
    assert f"-f counts from the current directory: did you mean '{context}/other.df'?" in hint


def test_an_unreadable_dockerfile_is_named(lighters):
    lighter = lighters("rootless")
    context = lighter.context({"Dockerfile": ("FROM scratch\n", 0o000)})
    refused = lighter("build", context, code=3)
    assert f"open '{context}/Dockerfile': Permission denied" in refused.error


# ---- Dockerfile errors ---------------------------------------------------------------------------

@pytest.mark.parametrize("line, said", [
    ("CPOY a b", "COPY"), ("RNU x", "RUN"), ("WROKDIR /", "WORKDIR"), ("ENTRYPONT x", "ENTRYPOINT"),
])
def test_an_unknown_instruction_is_named_with_file_line_and_the_near_word(lighter, line, said):
    refused = lighter.build(project(lighter, f"FROM busybox\n\n# comment\n{line}\n"), code=3)
    assert "Dockerfile:4:1" in refused.error
    assert f"unknown instruction: {line.split()[0]}" in refused.error
    assert f"did you mean {said}" in refused.error


@pytest.mark.parametrize("line, said", [
    ("RUN --device=vendor.com/class=x true", "RUN --device: not supported"),
    ("RUN --security=insecure true", "security.insecure is not allowed"),
    ("RUN --network=host true", "network.host is not allowed"),
    ("RUN --mount=type=ssh,source=x true", "ssh does not support source"),
    ("COPY --nosuch x /", "unknown flag: --nosuch"), ("RUN --nosuch x", "unknown flag: --nosuch"),
    ("RUN --mout=type=cache,target=/x x", "did you mean mount"),
])
def test_what_is_not_done_is_refused_with_file_line_and_name(lighter, line, said):
    refused = lighter.build(project(lighter, f"FROM busybox\nRUN true\n{line}\n", x=""), code=3)
    assert re.search(r"Dockerfile:3:", refused.error)
    assert said in refused.error


@pytest.mark.parametrize("line", ["RUN --device=x true", "RUN --security=insecure true", "RUN --network=host true"])
def test_what_is_not_done_is_refused_before_anything_ran(lighter, line):
    assert lighter.build(project(lighter, f"FROM busybox\nRUN true\n{line}\n"), code=3).steps == []


def test_several_errors_are_told_in_one_run(lighter):
    text = "FROM busybox\nCPOY x y\nRNU z\nRUN true\nCOPY x\nHEALTHCHECK --interval=1us CMD true\n"
    refused = lighter.build(project(lighter, text), code=3)
    for line in (2, 3, 5, 6):
        assert f"Dockerfile:{line}:1: " in refused.error
        assert f"-->{line:4} | " in refused.error
    assert "Dockerfile:4" not in refused.error


@pytest.mark.parametrize("text, line, said", [
    ("RUN true\n", 1, "FROM"), ("FROM busybox\nCOPY x\n", 2, "COPY"), ("FROM busybox\nENV\n", 2, "ENV"),
    ("FROM busybox AS 1bad\n", 1, "1bad"), ("FROM busybox a b\n", 1, "FROM"),
    ("FROM busybox\nCOPY --from=0 /a /b\n", 2, "circular"),
    ("FROM busybox\nEXPOSE many\n", 2, "many"), ("FROM\n", 1, "FROM"),
])
def test_a_malformed_line_is_refused_with_file_and_line(lighter, text, line, said):
    refused = lighter.build(project(lighter, text), code=3)
    assert f"Dockerfile:{line}" in refused.error and said in refused.error


def test_an_empty_dockerfile_is_refused(lighter):
    for text in ("", "\n\n# only a comment\n", "ARG X=1\n"):
        assert "Dockerfile: " in lighter.build(project(lighter, text), code=3).error


def test_a_cycle_between_stages_is_refused(lighter):
    text = "FROM busybox AS a\nCOPY --from=b /x /x\nFROM busybox AS b\nCOPY --from=a /x /x\n"
    assert "circular" in lighter.build(project(lighter, text), code=3).error


def test_an_image_that_is_not_there_says_how_to_bring_it(lighter):
    refused = lighter.build(project(lighter, "FROM nosuch:1\n"), code=4)
    assert "nosuch:1" in refused.error
    assert "lighter load" in refused.error and "--build-context" in refused.error


# ---- which Dockerfile ----------------------------------------------------------------------------

def test_a_dockerfile_may_come_from_stdin_or_a_path_or_be_lowercase(lighter):
    context = lighter.context({"dockerfile": "FROM busybox\nRUN echo from=lower\n",
                               "sub/Other.df": "FROM busybox\nRUN echo from=path\n"})
    assert lighter.build(context).said("from") == "lower"
    assert lighter.build(context, "-f", context / "sub" / "Other.df").said("from") == "path"
    assert lighter.build(".", "-f", "sub/Other.df", "--no-cache", cwd=context).said("from") == "path"
    stdin = lighter.build(context, dockerfile="FROM busybox\nRUN echo from=stdin\n")
    assert stdin.said("from") == "stdin"


def test_windows_line_ends_and_a_byte_order_mark_are_taken(lighter):
    context = lighter.context({"Dockerfile": b"\xef\xbb\xbfFROM busybox\r\nRUN echo a=1 && \\\r\n"
                                             b"  echo b=2\r\n"})
    said = lighter.build(context)
    assert (said.said("a"), said.said("b")) == ("1", "2")


# ---- output --------------------------------------------------------------------------------------

@pytest.mark.parametrize("option", ["-q", "--quiet", "--progress=quiet"])
def test_quiet_prints_exactly_the_image_id(lighter, option):
    done = lighter("build", option, project(lighter))
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.stdout)
    assert done.stderr == ""


def test_quiet_still_tells_why_a_build_failed(lighter):
    failed = lighter("build", "-q", project(lighter, "FROM busybox\nRUN echo why; exit 3\n"), code=1)
    assert failed.stdout == ""
    assert "exit code 3" in failed.stderr and "why" in failed.stderr


def test_the_image_id_is_in_the_iidfile_and_is_the_configs_digest(lighter):
    done = lighter.build(project(lighter), tag="named")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", done.id)
    assert lighter.inspect("named")["Id"] == lighter.image("named").id == done.id


def test_an_iidfile_that_cannot_be_written_is_a_usage_error(lighter):
    assert "--iidfile" in lighter("build", "--iidfile", "/no/where/iid", project(lighter), code=2).error


def test_plain_progress_goes_to_stderr_and_stdout_is_empty(lighter):
    done = lighter.build(project(lighter))
    assert done.stdout == ""
    assert done.stderr.startswith("building Dockerfile: 2 steps\n")
    assert done.stderr.count("HIT") == 1 and done.stderr.count("RAN") == 1


def test_images_shows_names_sizes_and_layers(lighter):
    lighter.build(project(lighter), tag="registry.example:5000/team/app:v1.2")
    rows = {row["repo"]: row for row in lighter.images()}
    assert rows["registry.example:5000/team/app"]["tag"] == "v1.2"
    assert rows["busybox"]["tag"] == "latest"
    assert rows["busybox"]["row"].rstrip().endswith(" 2")
    assert lighter("images").stdout.splitlines()[0].split() == \
        ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE", "LAYERS"]


def test_images_quiet_prints_ids_and_a_name_selects(lighter):
    done = lighter.build(project(lighter), tag="mine:v1")
    lighter.build(project(lighter), tag="mine2:v1")
    assert lighter("images", "-q", "mine:v1").stdout == done.id[7:19] + "\n"
    assert len(lighter("images", "-q", "mine").stdout.splitlines()) == 1
    assert lighter("images", "-q", "nosuch").stdout == ""


def test_an_image_may_have_several_names_and_a_name_moves(lighter):
    one = lighter.build(project(lighter), "-t", "a:1", "-t", "b:2")
    assert lighter.inspect("a:1")["RepoTags"] and lighter.inspect("b:2")["Id"] == one.id
    assert sorted(lighter.inspect("a:1")["RepoTags"]) == ["a:1", "b:2"]
    two = lighter.build(project(lighter, "FROM busybox\nRUN echo y >/y\n"), tag="a:1")
    assert lighter.inspect("a:1")["Id"] == two.id
    assert lighter.inspect("b:2")["Id"] == one.id


@pytest.mark.parametrize("name", ["{id}", "{hex}", "{hex12}", "full", "docker.io/library/full:latest"])
def test_an_image_is_found_by_id_prefix_and_names(lighter, name):
    done = lighter.build(project(lighter), tag="full")
    name = name.format(id=done.id, hex=done.id[7:], hex12=done.id[7:19])
    assert lighter.inspect(name)["Id"] == done.id


def test_inspect_is_shaped_as_dockers(lighter):
    lighter.build(project(lighter), tag="shape")
    seen = lighter.inspect("shape")
    assert {"Id", "RepoTags", "Created", "Architecture", "Os", "Size", "Config", "RootFS"} <= set(seen)
    assert seen["RootFS"]["Type"] == "layers" and len(seen["RootFS"]["Layers"]) == 3


@pytest.mark.parametrize("words", [["inspect", "nosuch"], ["save", "-o", "x", "nosuch"],
                                   ["push", "nosuch", "127.0.0.1:1/x"], ["tag", "nosuch", "x"]])
def test_a_name_that_is_not_in_the_store_is_a_usage_error(lighter, words):
    refused = lighter(*words, code=2)
    assert "nosuch" in refused.error and "lighter images" in refused.error


def test_offline_an_image_that_is_not_in_the_store_is_asked_of_nobody(lighter):
    refused = lighter("run", "--offline", "nosuch", "true", code=4)
    assert "'nosuch'" in refused.error and "--offline" in refused.error and refused.seconds < 1
    refused = lighter.run_in("FROM nosuch", "--offline", code=4)
    assert "'nosuch'" in refused.error and refused.seconds < 1
    assert "exclude" in lighter.run_in("FROM nosuch", "--offline", "--pull", code=2).error


def test_run_takes_a_command_with_its_own_options(lighter):
    assert lighter("run", "busybox", "sh", "-c", "echo $0 $1", "--help", "-q").stdout == "--help -q\n"


def test_options_end_at_two_dashes(lighter):
    context = project(lighter)
    lighter("build", "--", context)


def test_a_closed_stdout_or_stderr_does_not_break_a_build(lighter):
    """As `lighter build 2>&1 | head -1` does."""
    child = lighter.start("build", "--isolation", lighter.isolation, "-t", "piped",
                          project(lighter, "FROM busybox\nRUN seq 1 50000\nRUN echo x >/x\n"))
    child.stderr.read(1)
    child.stderr.close()
    child.stdout.read()
    child.stdout.close()
    assert child.wait(30) in (0, -13, 141), "ended, one way or the other"
    assert lighter.leftovers() == [] or lighter.build(project(lighter, "FROM busybox\nRUN true\n"))


def test_the_default_store_of_an_ordinary_user_is_below_the_data_home(lighters, bases):
    lighter = lighters("rootless")
    env = {"LIGHTER_STORE": None, "XDG_DATA_HOME": str(lighter.directory("data"))}
    lighter("load", bases("busybox"), env=env)
    assert (lighter.place / "data" / "lighter" / "index.json").is_file()
    lighter("load", bases("busybox"), env={"LIGHTER_STORE": None})
    assert (lighter.home / ".local" / "share" / "lighter" / "index.json").is_file()
