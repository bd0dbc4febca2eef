"""The Dockerfile's language end to end: from a text to what the image says and what a step sees."""

import pytest

NS = 10 ** 9


def config(lighter, text, *args, **options):
    """The config of the image that a text on busybox makes."""
    lighter.run_in(f"FROM busybox\n{text}", *args, tag="t", **options)
    return lighter.inspect("t")["Config"]


# ---- the text (F) --------------------------------------------------------------------------------

def test_continued_lines_lose_comments_and_blank_lines_and_keep_blanks(lighter):
    done = lighter.run_in("FROM busybox\nRUN echo a=1 \\\n\n# comment\n   b \\\n\t# another\n  c\n")
    assert done.said("a") == "1 b c"
    assert any("NoEmptyContinuation" in warning or "mpty continuation" in warning for warning in done.warnings)


@pytest.mark.parametrize("text, value", [
    ("# escape=`\nFROM busybox\nRUN echo v=a`\n  b\n", "a  b"),
    ("#escape = `\nFROM busybox\nENV v=a` b\nRUN echo v=$v\n", "a b"),
    ("# just a comment\n# escape=`\nFROM busybox\nRUN echo v=a\\\n  b\n", "a  b"),
    ("# nosuch=1\n# escape=`\nFROM busybox\nRUN echo v=a\\\n  b\n", "a  b"),
    ("\n# escape=`\nFROM busybox\nRUN echo v=a\\\n  b\n", "a  b"),
])
def test_the_escape_directive_counts_at_the_top_alone(lighter, text, value):
    assert " ".join(lighter.run_in(text).said("v").split()) == " ".join(value.split())


@pytest.mark.parametrize("text, said", [
    ("# escape=`\n# escape=`\nFROM busybox\n", "escape"), ("# escape=x\nFROM busybox\n", "escape"),
    ("# syntax=foo/bar\nFROM busybox\n", "--ignore-syntax"), ("#!/bin/x\n# syntax=foo/bar\nFROM busybox\n", "--ignore-syntax"),
])
def test_a_directive_that_cannot_be_followed_is_refused(lighter, text, said):
    assert said in lighter.run_in(text, code=3).error


def test_a_foreign_syntax_is_read_as_ours_when_the_caller_says_so(lighter):
    text = "# syntax=foo/bar\nFROM busybox\nRUN echo v=1\n"
    assert lighter.run_in(text, "--ignore-syntax").said("v") == "1"
    for own in ("docker/dockerfile:1.7-labs", "dockerfile.v0", "mirror.example/docker/dockerfile-upstream:master"):
        assert lighter.run_in(text, "--no-cache", "--build-arg", f"BUILDKIT_SYNTAX={own}").said("v") == "1"


@pytest.mark.parametrize("syntax, warned", [("docker/dockerfile:1", False), ("docker/dockerfile:1-labs", False),
                                            ("docker.io/docker/dockerfile:1.4", False), ("docker/dockerfile:1.999", True)])
def test_docker_s_own_syntax_is_this_one_and_a_newer_one_is_warned_of(lighter, syntax, warned):
    done = lighter.run_in(f"# syntax={syntax}\nFROM busybox\n")
    assert bool(done.warnings) is warned


@pytest.mark.parametrize("line, cmd", [
    ('CMD ["a", "b"]', ["a", "b"]), ("CMD ['a']", ["/bin/sh", "-c", "['a']"]), ('CMD ["a",]', ["/bin/sh", "-c", '["a",]']),
    ("CMD a  b", ["/bin/sh", "-c", "a  b"]), ("cmd a", ["/bin/sh", "-c", "a"]),
])
def test_what_is_no_json_is_shell_form(lighter, line, cmd):
    assert config(lighter, line + "\n")["Cmd"] == cmd


@pytest.mark.parametrize("text, said", [
    ("RUN <<EOF\necho a=1\necho b=2\nEOF\n", {"a": "1", "b": "2"}),
    ("ENV x=1\nRUN <<EOF\necho a=$x\nEOF\n", {"a": "1"}),
    ("RUN <<'EOF'\nx=2; echo a=$x\nEOF\n", {"a": "2"}),
    ("RUN <<-EOF\n\techo a=1\n\tEOF\n", {"a": "1"}),
    ("RUN <<EOF\n#!/bin/sh -e\necho a=$0\nEOF\n", {"a": "/dev/pipes/EOF"}),
    ("RUN cat <<A && cat <<B\na=1\nA\nb=2\nB\n", {"a": "1", "b": "2"}),
    ("RUN cat <<EOF && echo b=2\na=1\nEOF\n", {"a": "1", "b": "2"}),
    ("RUN cat 3<<EOF /dev/fd/3\na=1\nEOF\n", {"a": "1"}),
    ("RUN <<EOF sh\necho a=$((1+1))\nEOF\n", {"a": "2"}),
    ("SHELL [\"/bin/sh\", \"-c\", \"eval \\\"$0\\\"; echo b=2\"]\nRUN <<EOF\necho a=1\nEOF\n", {"a": "1", "b": "2"}),
])
def test_heredocs_of_run_are_scripts(lighter, text, said):
    done = lighter.run_in("FROM busybox\n" + text)
    assert {name: done.said(name) for name in said} == said


def test_a_heredoc_that_is_run_as_a_file_leaves_nothing(lighter):
    lighter.run_in("FROM busybox\nRUN <<EOF\n#!/bin/sh\necho x > /dev/pipes/EOF && exit 1; echo made > /f\nEOF\n", tag="t")
    names = set(lighter.image("t").layers[-1].names())
    assert "f" in names and not any(name.startswith("dev/pipes") for name in names)


@pytest.mark.parametrize("text, said", [("RUN <<EOF\necho\n", "unterminated heredoc"), ("COPY a <<EOF\nEOF\n", "heredoc as a destination")])
def test_a_heredoc_in_a_wrong_place_is_refused(lighter, text, said):
    assert said in lighter.run_in("FROM busybox\n" + text, code=3).error


@pytest.mark.parametrize("text", ["", "# comment\n", "ARG a=1\n", "\n\n"])
def test_a_text_without_stages_is_refused(lighter, text):
    assert "Dockerfile: " in lighter.build(lighter.context({"Dockerfile": text}), code=3).error


# ---- variables (V) -------------------------------------------------------------------------------

def test_variables_are_expanded_where_docker_expands_them_and_nowhere_else(lighter):
    text = """FROM busybox
ENV v=1
ENV e=$v
LABEL l=$v
EXPOSE $v
USER $v
WORKDIR /w$v
VOLUME /v$v
STOPSIGNAL $v
HEALTHCHECK CMD echo $v
CMD echo $v
ENTRYPOINT ["echo", "$v"]
"""
    lighter.run_in(text, tag="t")
    c = lighter.inspect("t")["Config"]
    assert "e=1" in c["Env"] and c["Labels"]["l"] == "1" and list(c["ExposedPorts"]) == ["1/tcp"]
    assert (c["User"], c["WorkingDir"], list(c["Volumes"]), c["StopSignal"]) == ("1", "/w1", ["/v1"], "1")
    assert c["Healthcheck"]["Test"] == ["CMD-SHELL", "echo $v"]
    assert c["Cmd"] == ["/bin/sh", "-c", "echo $v"] and c["Entrypoint"] == ["echo", "$v"]


@pytest.mark.parametrize("text, value", [
    ("ENV v=env\nARG v=arg\n", "arg"), ("ARG v=arg\nENV v=env\n", "env"), ("ENV v=env\nARG v\n", "env"),
])
def test_of_arg_and_env_the_later_counts(lighter, text, value):
    assert lighter.run_in(f"FROM busybox\n{text}RUN echo v=$v\n").said("v") == value


def test_global_arguments_are_seen_by_a_stage_that_declares_them(lighter):
    text = "ARG g=1\nARG t=latest\nFROM busybox:$t AS a\nRUN echo one=$g\nARG g\nRUN echo two=$g\nFROM a\nRUN echo three=$g\n"
    done = lighter.run_in(text)
    assert (done.said("one"), done.said("two"), done.said("three")) == ("", "1", "1")
    done = lighter.run_in(text, "--build-arg", "g=5", "--no-cache")
    assert (done.said("one"), done.said("two"), done.said("three")) == ("", "5", "5")


def test_the_old_form_of_env_takes_the_rest_of_the_line(lighter):
    assert "ONE=TWO= THREE=x" in config(lighter, "ENV ONE TWO= THREE=x\n")["Env"]


@pytest.mark.parametrize("word", ["${}", "${:}", "${x", "${x:?needed}"])
def test_a_broken_or_missing_variable_is_refused_with_its_line(lighter, word):
    assert "<stdin>:2:5: " in lighter.run_in(f"FROM busybox\nENV a={word}\n", code=3).error


def test_build_arguments_for_the_builder_itself_have_their_effect(lighter):
    done = lighter.run_in("FROM busybox\nRUN echo host=$(hostname)\n", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=my-host")
    assert done.said("host") == "my-host" and done.warnings == []
    count = "FROM busybox\nRUN --mount=type=cache,target=/c echo >> /c/f; echo n=$(wc -l < /c/f)\n"
    seen = [lighter.run_in(count, "--no-cache", *args).said("n")
            for args in ([], ["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=other"], [])]
    assert seen == ["1", "1", "2"]


# ---- instructions (I) ----------------------------------------------------------------------------

@pytest.mark.parametrize("line, health", [
    ("NONE", {"Test": ["NONE"]}),
    ("CMD true", {"Test": ["CMD-SHELL", "true"]}),
    ('CMD ["a", "b"]', {"Test": ["CMD", "a", "b"]}),
    ("--interval=5m CMD x", {"Test": ["CMD-SHELL", "x"], "Interval": 300 * NS}),
    ("--timeout=1500ms CMD x", {"Test": ["CMD-SHELL", "x"], "Timeout": 1500000000}),
    ("--start-period=1h2m3s CMD x", {"Test": ["CMD-SHELL", "x"], "StartPeriod": 3723 * NS}),
    ("--start-interval=1ms CMD x", {"Test": ["CMD-SHELL", "x"], "StartInterval": 1000000}),
    ("--retries=3 --interval=1s CMD x", {"Test": ["CMD-SHELL", "x"], "Interval": NS, "Retries": 3}),
])
def test_the_health_check_is_in_the_config(lighter, line, health):
    lighter.run_in(f"FROM busybox\nHEALTHCHECK {line}\n", tag="t")
    assert lighter.image("t").config["config"]["Healthcheck"] == health
    assert lighter.inspect("t")["Config"]["Healthcheck"] == health


@pytest.mark.parametrize("line, said", [("--interval=1us CMD x", "1ms"), ("--retries=-1 CMD x", "retries"), ("--timeout=x CMD x", "x"),
                                        ("NOPE x", "NOPE"), ("CMD", "HEALTHCHECK"), ("NONE x", "NONE")])
def test_a_wrong_health_check_is_refused(lighter, line, said):
    refused = lighter.run_in(f"FROM busybox\nHEALTHCHECK {line}\n", code=3)
    assert "<stdin>:2" in refused.error and said in refused.error


def test_triggers_fire_in_a_child_in_order_and_not_in_its_child(lighter):
    lighter.run_in("FROM busybox\nONBUILD ENV a=1\nONBUILD RUN echo one=$a >> /fired\nONBUILD COPY f /copied\nONBUILD RUN echo two >> /fired\n",
                   tag="parent:1")
    assert lighter.inspect("parent:1")["Config"]["OnBuild"] == \
        ["ENV a=1", "RUN echo one=$a >> /fired", "COPY f /copied", "RUN echo two >> /fired"]
    assert "fired" not in lighter.image("parent:1").rootfs()
    lighter.run_in("FROM parent:1\nRUN cat /fired\n", files={"f": "x"}, tag="child:1")
    assert lighter.image("child:1").rootfs()["fired"][1] == b"one=1\ntwo\n"
    assert not lighter.inspect("child:1")["Config"].get("OnBuild")
    done = lighter.run_in("FROM child:1\nRUN echo lines=$(wc -l < /fired)\n", tag="grandchild:1")
    assert done.said("lines") == "2"


def test_a_trigger_can_copy_from_a_stage_and_from_an_image(lighter):
    lighter.run_in("FROM busybox\nRUN echo image > /i\n", tag="other:1")
    lighter.run_in("FROM busybox\nONBUILD COPY --from=helper /s /s\nONBUILD COPY --from=other:1 /i /i\n"
                   "ONBUILD RUN --mount=from=helper,target=/m cat /m/s\n", tag="parent:1")
    done = lighter.run_in("FROM busybox AS helper\nRUN echo stage=1 > /s\nFROM parent:1\nRUN cat /i\n", tag="t")
    assert done.said("stage") == "1" and "image" in done.log
    missing = lighter.run_in("FROM parent:1\n", code=None)
    assert missing.code in (3, 4) and "helper" in missing.error


@pytest.mark.parametrize("line", ["ONBUILD ONBUILD RUN x", "ONBUILD FROM busybox", "ONBUILD MAINTAINER me", "ONBUILD"])
def test_what_cannot_be_a_trigger_is_refused(lighter, line):
    assert "<stdin>:2" in lighter.run_in(f"FROM busybox\n{line}\n", code=3).error


def test_shell_is_used_by_run_and_kept(lighter):
    text = 'FROM busybox\nSHELL ["/bin/sh", "-xc"]\nRUN echo v=1\nFROM scratch\n'
    done = lighter.run_in(text, "--target", "0", tag="t")
    assert "+ echo 'v=1'" in done.log or "+ echo v=1" in done.log
    assert lighter.inspect("t")["Config"]["Shell"] == ["/bin/sh", "-xc"]
    assert "SHELL" in lighter.run_in("FROM busybox\nSHELL /bin/sh -c\n", code=3).error


@pytest.mark.parametrize("signal, ok", [("9", True), ("SIGTERM", True), ("term", True), ("SIGRTMIN+3", True), ("NOPE", False), ("0", False)])
def test_stopsignal_is_checked_and_kept_as_written(lighter, signal, ok):
    done = lighter.run_in(f"FROM busybox\nSTOPSIGNAL {signal}\n", tag="t", code=0 if ok else 3)
    if ok:
        assert lighter.inspect("t")["Config"]["StopSignal"] == signal
    else:
        assert signal in done.error


def test_maintainer_is_the_author(lighter):
    lighter.run_in("FROM busybox\nMAINTAINER me <me@example.com>\n", tag="t")
    assert lighter.image("t").config["author"] == "me <me@example.com>"


def test_everything_of_a_base_is_inherited(lighter):
    lighter.run_in('FROM busybox\nENV a=b\nCMD ["c"]\nENTRYPOINT ["e"]\nWORKDIR /w\nUSER 5\nLABEL l=m\nVOLUME /v\nEXPOSE 80\n'
                   'STOPSIGNAL 9\nSHELL ["/bin/sh", "-ec"]\nHEALTHCHECK CMD x\n', tag="base:1")
    lighter.run_in("FROM base:1\nLABEL own=yes\n", tag="t")
    base, own = lighter.inspect("base:1")["Config"], lighter.inspect("t")["Config"]
    own["Labels"].pop("own")
    assert own == base
    assert len(lighter.image("t").created_by) == len(lighter.image("base:1").created_by) + 1


def test_a_circle_of_stages_is_told_with_its_members(lighter):
    refused = lighter.run_in("FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\nRUN --mount=from=a,target=/a true\n", code=3)
    assert "a -> b -> a" in refused.error


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_the_place_of_an_error_is_told_with_the_lines(lighter, bad):
    lines = ["FROM busybox", "RUN true", "RUN true", "RUN true"]
    lines[bad] = "RUN echo \\\n  and && exit 7"
    refused = lighter.run_in("\n".join(lines) + "\n", code=1)
    assert f"<stdin>:{bad + 1}" in refused.error and f"-->{bad + 1:4} | RUN echo" in refused.error and "exit code 7" in refused.error


# ---- secrets -------------------------------------------------------------------------------------

def test_a_secret_is_nowhere_after_the_build(lighter):
    secret = "s3cr3t-hunter2-value"
    context = lighter.context({"token": secret})
    text = """FROM busybox
RUN --mount=type=secret,id=f test "$(cat /run/secrets/f)" = "$want" || test -s /run/secrets/f
RUN --mount=type=secret,id=e,env=TOKEN test -n "$TOKEN"
RUN --mount=type=secret,id=f,target=/here,mode=0440,uid=5,gid=6 stat -c 'rights=%a %u %g' /here
RUN --mount=type=secret,id=none test ! -e /run/secrets/none && echo none=absent
"""
    options = {"env": {"SECRET": secret}}
    words = ("--secret", f"id=f,src={context}/token", "--secret", "id=e,env=SECRET")
    done = lighter.run_in(text, *words, tag="t", **options)
    assert done.said("rights") == "440 5 6" and done.said("none") == "absent"
    failed = lighter.run_in(text + "RUN --mount=type=secret,id=f exit 3\n", *words, code=1, **options)
    assert secret not in done.stderr + failed.stderr
    image = lighter.image("t")
    assert secret not in image.text() and not any(secret.encode() in layer.bytes for layer in image.layers)
    for path in lighter.store.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
        assert secret not in path.name


def test_a_changed_secret_is_no_miss_and_a_missing_one_that_is_required_is_named(lighter):
    text = "FROM busybox\nRUN --mount=type=secret,id=s,required=true cat /run/secrets/s > /dev/null\n"
    for value, ran in (("one", 1), ("two", 0)):
        assert len(lighter.run_in(text, "--secret", "id=s,env=S", env={"S": value}).ran) == ran
    refused = lighter.run_in(text, "--no-cache", code=None)
    assert refused.code in (2, 3) and "secret" in refused.error and "--secret id=s" in refused.error


def test_the_check_build_argument_counts_over_the_directive(lighter):
    text = "# check=skip=all\nFROM busybox\nENV A=$NOWHERE\n"
    assert "UndefinedVar" not in lighter.run_in(text).stderr
    told = lighter.run_in(text, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true", code=5)
    assert "UndefinedVar" in told.stderr
    refused = lighter.run_in(text, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=nonsense", code=2)
    assert "BUILDKIT_DOCKERFILE_CHECK" in refused.error


def test_a_misspelt_stage_in_from_is_suggested(lighter):
    refused = lighter.run_in("FROM busybox AS builder\nFROM scratch\nCOPY --from=bilder /x /\n", code=None)
    assert refused.code == 4 and "<stdin>:3" in refused.error and "did you mean builder?" in refused.error


def test_keep_git_dir_as_a_build_argument_is_a_truth_value(lighter):
    refused = lighter("build", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=maybe",
                      "https://127.0.0.1:1/x.git", code=2)
    assert "BUILDKIT_CONTEXT_KEEP_GIT_DIR=maybe" in refused.stderr
