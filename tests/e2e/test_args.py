"""Arguments, environment, labels, targets: what decides the image, and what must leave no trace in it."""

import json

import pytest

PROXY = "http://proxy.example:3128"
SHOW = "RUN env | sort; echo x >/x"


def build(lighter, dockerfile, *args, files=None, tag="built", **options):
    return lighter.run_in(dockerfile, *args, files=files, tag=tag, **options)


def trace_of(lighter, text, ref="built"):
    """Where `text` appears in what is shown of an image or kept of it."""
    image = lighter.image(ref)
    found = [name for name, data in (("documents", image.text()),
                                     ("inspect", json.dumps(lighter.inspect(ref)))) if text in data]
    found += ["layer" for layer in image.layers if text.encode() in layer.bytes]
    return found


def store_holds(lighter, text):
    """Files of the store's own records that hold `text`."""
    return [path.name for path in lighter.store.glob("meta.db*") if text.encode() in path.read_bytes()]


# ---- proxies -------------------------------------------------------------------------------------

def test_a_proxy_argument_is_seen_by_run_in_both_cases_without_an_arg_line(lighter):
    said = build(lighter, f"FROM busybox\n{SHOW}\n", "--build-arg", f"HTTP_PROXY={PROXY}",
                 "--build-arg", "no_proxy=.example")
    assert {f"HTTP_PROXY={PROXY}", f"http_proxy={PROXY}", "NO_PROXY=.example",
            "no_proxy=.example"} <= set(said.log)
    assert said.warnings == []


def test_a_proxy_argument_is_in_no_image_history_key_or_record(lighter):
    first = build(lighter, f"FROM busybox\n{SHOW}\n", "--build-arg", f"HTTPS_PROXY={PROXY}")
    assert trace_of(lighter, "proxy.example") == []
    assert store_holds(lighter, "proxy.example") == []
    other = build(lighter, f"FROM busybox\n{SHOW}\n", "--build-arg", "HTTPS_PROXY=http://other")
    none = build(lighter, f"FROM busybox\n{SHOW}\n")
    assert other.ran == none.ran == []
    assert other.id == none.id == first.id


def test_a_proxy_that_the_dockerfile_declares_is_part_of_the_key(lighter):
    dockerfile = f"FROM busybox\nARG HTTP_PROXY\n{SHOW}\n"
    build(lighter, dockerfile, "--build-arg", f"HTTP_PROXY={PROXY}")
    assert build(lighter, dockerfile, "--build-arg", "HTTP_PROXY=http://other").ran == [SHOW]


@pytest.mark.parametrize("where", ["DOCKER_CONFIG", "HOME"])
def test_dockers_config_gives_proxies_to_steps(lighter, where):
    config = {"proxies": {"default": {"httpProxy": PROXY, "httpsProxy": PROXY + "/s",
                                      "noProxy": "localhost"}}}
    if where == "HOME":
        top = lighter.directory("home/.docker")
        env = {}
    else:
        top = lighter.directory()
        env = {"DOCKER_CONFIG": str(top)}
    (top / "config.json").write_text(json.dumps(config))
    said = build(lighter, f"FROM busybox\n{SHOW}\n", env=env)
    assert {f"HTTP_PROXY={PROXY}", f"http_proxy={PROXY}", f"HTTPS_PROXY={PROXY}/s",
            "NO_PROXY=localhost"} <= set(said.log)
    assert trace_of(lighter, "proxy.example") == []
    assert store_holds(lighter, "proxy.example") == []


def test_a_proxy_argument_wins_over_dockers_config(lighter):
    top = lighter.directory()
    (top / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://config"}}}')
    said = build(lighter, f"FROM busybox\n{SHOW}\n", "--build-arg", f"http_proxy={PROXY}",
                 env={"DOCKER_CONFIG": str(top)})
    assert f"HTTP_PROXY={PROXY}" in said.log and f"http_proxy={PROXY}" in said.log


def test_a_broken_docker_config_is_named(lighter):
    top = lighter.directory()
    (top / "config.json").write_text("{not json")
    broken = build(lighter, f"FROM busybox\n{SHOW}\n", env={"DOCKER_CONFIG": str(top)}, code=2)
    assert str(top / "config.json") in broken.error


def test_the_callers_proxy_variables_do_not_reach_a_step_by_themselves(lighter):
    said = build(lighter, f"FROM busybox\n{SHOW}\n", env={"HTTP_PROXY": PROXY, "http_proxy": PROXY})
    assert not any("PROXY" in line.upper() for line in said.log)


# ---- the caller's Go settings --------------------------------------------------------------------

GO = {"GOPROXY": "https://goproxy.example", "GOSUMDB": "off", "GOPRIVATE": "git.example/*",
      "GONOPROXY": "none.example", "GONOSUMDB": "nosum.example"}


def test_the_callers_go_settings_are_seen_by_run_and_leave_no_trace(lighter):
    first = build(lighter, f"FROM busybox\n{SHOW}\n", env={**GO, "GOFLAGS": "-mod=mod"})
    assert {f"{name}={value}" for name, value in GO.items()} <= set(first.log)
    assert not any(line.startswith("GOFLAGS") for line in first.log)
    assert trace_of(lighter, "goproxy.example") == []
    assert store_holds(lighter, "goproxy.example") == []
    other = build(lighter, f"FROM busybox\n{SHOW}\n", env={"GOPROXY": "direct"})
    assert other.ran == [] and other.id == first.id


@pytest.mark.parametrize("where", ["GOENV", "XDG_CONFIG_HOME", "HOME"])
def test_the_users_go_env_file_is_read(lighter, where):
    top = lighter.directory("home/.config/go" if where == "HOME" else "conf/go")
    (top / "env").write_text("# comment\nGOPROXY=https://file.example,direct\nGOFLAGS=-x\nGOSUMDB=off\n")
    env = {"GOENV": {"GOENV": str(top / "env")}, "XDG_CONFIG_HOME": {"XDG_CONFIG_HOME": str(top.parent)},
           "HOME": {}}[where]
    said = build(lighter, f"FROM busybox\n{SHOW}\n", env=env)
    assert {"GOPROXY=https://file.example,direct", "GOSUMDB=off"} <= set(said.log)
    assert not any(line.startswith("GOFLAGS") for line in said.log)
    assert trace_of(lighter, "file.example") == []


def test_the_environment_wins_over_the_go_env_file(lighter):
    top = lighter.directory()
    (top / "env").write_text("GOPROXY=https://file.example\n")
    said = build(lighter, f"FROM busybox\n{SHOW}\n",
                 env={"GOENV": str(top / "env"), "GOPROXY": "https://env.example"})
    assert said.said("GOPROXY") == "https://env.example"


def test_goenv_off_reads_no_file(lighter):
    top = lighter.directory("home/.config/go")
    (top / "env").write_text("GOPROXY=https://file.example\n")
    said = build(lighter, f"FROM busybox\n{SHOW}\n", env={"GOENV": "off"})
    assert not any(line.startswith("GOPROXY") for line in said.log)


@pytest.mark.parametrize("line", ["ENV GOPROXY=https://dockerfile.example",
                                  "ARG GOPROXY=https://dockerfile.example"])
def test_a_value_in_the_dockerfile_wins_over_the_callers(lighter, line):
    said = build(lighter, f"FROM busybox\n{line}\n{SHOW}\n", env=GO)
    assert said.said("GOPROXY") == "https://dockerfile.example"
    assert said.said("GOSUMDB") == "off"


def test_a_value_in_the_dockerfile_wins_over_a_proxy_argument(lighter):
    said = build(lighter, f"FROM busybox\nENV http_proxy=http://dockerfile\n{SHOW}\n",
                 "--build-arg", f"http_proxy={PROXY}")
    assert said.said("http_proxy") == "http://dockerfile"


# ---- build arguments -----------------------------------------------------------------------------

def test_an_argument_has_its_default_unless_it_is_given(lighter):
    dockerfile = "FROM busybox\nARG V=default\nRUN echo v=$V\n"
    assert build(lighter, dockerfile).said("v") == "default"
    assert build(lighter, dockerfile, "--build-arg", "V=given").said("v") == "given"
    assert build(lighter, dockerfile, "--build-arg=V=").said("v") == ""


def test_an_argument_without_value_takes_the_callers_or_none(lighter):
    dockerfile = "FROM busybox\nARG V=default\nRUN echo v=$V\n"
    assert build(lighter, dockerfile, "--build-arg", "V", env={"V": "caller"}).said("v") == "caller"
    assert build(lighter, dockerfile, "--build-arg", "V").said("v") == "default"
    assert build(lighter, "FROM busybox\nARG V\nRUN echo v=${V-unset}\n").said("v") == "unset"


def test_an_argument_runs_only_the_steps_after_it(lighter):
    dockerfile = "FROM busybox\nRUN echo before >/b\nARG V\nRUN echo after >/a\n"
    build(lighter, dockerfile, "--build-arg", "V=1")
    assert build(lighter, dockerfile, "--build-arg", "V=2").ran == ["RUN echo after >/a"]


def test_an_argument_of_another_stage_is_not_seen(lighter):
    said = build(lighter, "ARG G=global\nFROM busybox AS one\nARG V=1\nRUN true\nFROM busybox\n"
                 "RUN echo \"v=$V g=$G\"\nARG G\nRUN echo again=$G\n", "--build-arg", "V=x")
    assert said.said("v") == " g="
    assert said.said("again") == "global"


def test_env_wins_over_an_argument_of_the_same_name(lighter):
    said = build(lighter, "FROM busybox\nARG V=arg\nENV V=env\nRUN echo v=$V\n", "--build-arg",
                 "V=given")
    assert said.said("v") == "env"


def test_an_argument_that_no_line_takes_is_warned_of(lighter):
    said = build(lighter, "FROM busybox\nARG V\nRUN true\n", "--build-arg", "TYPO=1")
    assert len(said.warnings) == 1 and "TYPO" in said.warnings[0]


def test_arguments_are_in_the_history_of_run_and_not_in_the_environment_of_the_image(lighter):
    build(lighter, "FROM busybox\nARG V\nRUN echo $V\n", "--build-arg", "V=seen")
    image = lighter.image("built")
    assert "RUN |1 V=seen /bin/sh -c echo $V # buildkit" in image.created_by
    assert not any(kv.startswith("V=") for kv in image.config["config"]["Env"])


def test_from_takes_an_argument(lighter):
    dockerfile = "ARG BASE=nosuchimage\nARG TAG=latest\nFROM ${BASE}:${TAG}\nRUN echo ok=yes\n"
    assert build(lighter, dockerfile, "--build-arg", "BASE=busybox").said("ok") == "yes"
    assert "nosuchimage" in build(lighter, dockerfile, code=4).error


def test_the_platform_arguments_are_there_where_they_are_declared(lighter):
    said = build(lighter, "FROM busybox\nRUN echo before=$TARGETOS\nARG TARGETOS\nARG TARGETARCH\n"
                 "ARG BUILDPLATFORM\nRUN echo after=$TARGETOS/$TARGETARCH=$BUILDPLATFORM\n")
    assert said.said("before") == ""
    os_arch, platform = said.said("after").split("=")
    assert os_arch == platform and os_arch.startswith("linux/")


# ---- words ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("word, value", [
    ("$A", "one"), ("${A}", "one"), ("${A}two", "onetwo"), ("${N:-d}", "d"), ("${A:-d}", "one"),
    ("${A:+set}", "set"), ("${N:+set}", ""), ("${E-d}", ""), ("${E:-d}", "d"), (r"\$A", "$A"),
    ("'$A'", "$A"), ('"$A $N"', "one "), ("a\\ b", "a b"), ('"a  b"', "a  b"),
])
def test_words_are_expanded_as_docker_does(lighter, word, value):
    build(lighter, f"FROM busybox\nENV A=one E=\nENV X={word}\n")
    assert f"X={value}" in lighter.inspect("built")["Config"]["Env"]


def test_values_of_one_env_line_see_the_environment_before_it(lighter):
    build(lighter, "FROM busybox\nENV A=old\nENV A=new B=$A\n")
    assert {"A=new", "B=old"} <= set(lighter.inspect("built")["Config"]["Env"])


def test_the_escape_directive_changes_the_escape_character(lighter):
    said = build(lighter, "# escape=`\nFROM busybox\nRUN echo one=1 && `\n    echo two=C:\\\\x\n")
    assert said.said("one") == "1"


# ---- the image's configuration -------------------------------------------------------------------

def test_the_configuration_is_what_the_dockerfile_says(lighter):
    build(lighter, """\
FROM busybox
ENV A=1 B="two words"
ENV OLD style value
LABEL one=1 "two words"="a b"
EXPOSE 80 443/tcp 53/udp
WORKDIR /srv
USER app:staff
ENTRYPOINT ["/entry", "point"]
CMD ["a", "b"]
""")
    config = lighter.inspect("built")["Config"]
    assert config["Env"][-3:] == ["A=1", "B=two words", "OLD=style value"]
    assert config["Labels"] == {"one": "1", "two words": "a b"}
    assert set(config["ExposedPorts"]) == {"80/tcp", "443/tcp", "53/udp"}
    assert (config["User"], config["WorkingDir"]) == ("app:staff", "/srv")
    assert (config["Entrypoint"], config["Cmd"]) == (["/entry", "point"], ["a", "b"])


def test_the_shell_form_of_cmd_is_run_by_a_shell(lighter):
    build(lighter, "FROM busybox\nCMD echo $HOME\n")
    assert lighter.inspect("built")["Config"]["Cmd"] == ["/bin/sh", "-c", "echo $HOME"]
    assert lighter.run("built").stdout == "/root\n"


def test_an_entrypoint_drops_the_command_of_the_base(lighter):
    build(lighter, 'FROM busybox\nENTRYPOINT ["echo"]\n')
    assert not lighter.inspect("built")["Config"].get("Cmd")
    build(lighter, 'FROM busybox\nCMD ["own"]\nENTRYPOINT ["echo"]\n')
    assert lighter.inspect("built")["Config"]["Cmd"] == ["own"]


def test_labels_of_the_command_line_win_and_run_no_step(lighter):
    dockerfile = "FROM busybox\nLABEL a=dockerfile b=kept\nRUN echo x >/x\n"
    build(lighter, dockerfile)
    again = build(lighter, dockerfile, "--label", "a=option", "--label", "c")
    assert again.ran == []
    assert lighter.inspect("built")["Config"]["Labels"] == {"a": "option", "b": "kept", "c": ""}


def test_history_has_one_entry_an_instruction(lighter):
    build(lighter, "FROM busybox\nENV A=1\nRUN true\nWORKDIR /w\nCMD [\"x\"]\n")
    config = lighter.image("built").config
    own = config["history"][2:]
    assert [h["created_by"].split()[0] for h in own] == ["ENV", "RUN", "WORKDIR", "CMD"]
    assert [bool(h.get("empty_layer")) for h in own] == [True, False, False, True]


# ---- stages and contexts -------------------------------------------------------------------------

STAGES = """\
FROM busybox AS first
RUN echo 1 >/one
FROM nosuchimage AS broken
RUN echo never
FROM first AS second
RUN echo 2 >/two
FROM busybox
RUN echo 3 >/three
"""


@pytest.mark.parametrize("target, ran", [
    ("first", ["RUN echo 1 >/one"]), ("0", ["RUN echo 1 >/one"]),
    ("second", ["RUN echo 1 >/one", "RUN echo 2 >/two"]), ("SECOND", ["RUN echo 1 >/one",
                                                                     "RUN echo 2 >/two"]),
    (None, ["RUN echo 3 >/three"]),
])
def test_only_the_stages_that_the_target_needs_are_built(lighter, target, ran):
    said = build(lighter, STAGES, *(["--target", target] if target else []))
    assert said.ran == ran
    assert "nosuchimage" not in said.stderr


def test_an_unknown_target_is_named_with_a_suggestion(lighter):
    failed = build(lighter, STAGES, "--target", "secnd", code=3)
    assert "secnd" in failed.error and "second" in failed.error


def test_a_named_context_replaces_an_image(lighter, bases):
    layout = bases("distroless")
    build(lighter, "FROM busybox\nCOPY f /\n", "--build-context", f"busybox=oci-layout://{layout}",
          files={"f": ""})
    assert "home/nonroot" in lighter.image("built").rootfs()


def test_a_named_context_may_name_the_image_otherwise_or_another_image_of_the_store(lighter):
    build(lighter, "FROM busybox\nRUN echo x >/x\n", tag="other:v1")
    said = build(lighter, "FROM docker.io/library/alpine:latest\nRUN ls /x\n", "--build-context",
                 "alpine=docker-image://other:v1")
    assert "/x" in said.log


def test_a_layout_with_several_images_wants_a_tag(lighter):
    build(lighter, "FROM busybox\nRUN echo 2 >/two\n", tag="second:v2")
    both = lighter.directory() / "both"
    lighter("save", "--isolation", lighter.isolation, "--format", "oci-dir", "-o", both, "busybox",
            "second:v2")
    asked = build(lighter, "FROM x\nRUN ls /two\n", "--build-context", f"x=oci-layout://{both}",
                  code=2)
    assert "2 images" in asked.error
    assert "/two" in build(lighter, "FROM x\nRUN ls /two\n", "--build-context",
                           f"x=oci-layout://{both}:v2").log


def test_a_changed_layout_is_another_base(lighter, lighters, bases):
    other = lighters(bases=[bases("busybox")])
    other.run_in("FROM busybox\nRUN echo 1 >/v\n", tag="base")
    layout = other.image("base").layout
    args = ("--build-context", f"b=oci-layout://{layout}")
    assert build(lighter, "FROM b\nRUN echo v=$(cat /v)\n", *args).said("v") == "1"
    other.run_in("FROM busybox\nRUN echo 2 >/v\n", tag="base")
    layout2 = other.image("base").layout
    args = ("--build-context", f"b=oci-layout://{layout2}")
    assert build(lighter, "FROM b\nRUN echo v=$(cat /v)\n", *args).said("v") == "2"


def test_a_stage_wins_over_an_image_of_the_same_name(lighter):
    said = build(lighter, "FROM busybox AS alpine\nRUN echo x >/x\nFROM alpine\nRUN ls /x\n")
    assert "/x" in said.log


def test_a_rebuilt_base_runs_the_steps_on_it_again(lighter):
    build(lighter, "FROM busybox\nRUN echo 1 >/v\n", tag="base")
    assert build(lighter, "FROM base\nRUN echo v=$(cat /v)\n").said("v") == "1"
    build(lighter, "FROM busybox\nRUN echo 2 >/v\n", tag="base")
    assert build(lighter, "FROM base\nRUN echo v=$(cat /v)\n").said("v") == "2"
