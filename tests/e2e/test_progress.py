"""What a build shows while it runs: the live view, plain lines, folded logs, JSON.

docs/progress.md is what is promised. Expected words of BuildKit are from its client/graph.go and progressui.
"""

import base64
import json
import re
import signal
import unicodedata

import pytest

from harness import LOG, STEP
from test_lighter_run import Screen as RunScreen

TWO = """\
FROM busybox AS a
RUN for i in 1 2 3 4 5; do echo a-$i; sleep 0.1; done
FROM busybox AS b
RUN for i in 1 2 3 4 5; do echo b-$i; sleep 0.1; done; echo x >/x
FROM busybox
COPY --from=a /etc/passwd /a
COPY --from=b /x /b
"""


class Terminal:
    """A terminal that knows what lighter writes; anything else it gets is a failure."""

    def __init__(self, cols):
        self.cols, self.lines, self.y, self.x = cols, [""], 0, 0

    def feed(self, text):
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+|\x1b", text):
            if part == "\r":
                self.x = 0
            elif part == "\n":
                self.y += 1
                if self.y == len(self.lines):
                    self.lines.append("")
            elif part.startswith("\x1b"):
                self.escape(part)
            else:
                assert part.isprintable(), repr(part)
                self.lines[self.y] = self.lines[self.y][:self.x].ljust(self.x) + part + self.lines[self.y][self.x + len(part):]
                self.x += len(part)
        return self

    def escape(self, sequence):
        kind, number = sequence[-1], sequence[2:-1]
        assert kind in "AJKm" or number == "?7", f"{sequence!r} reached the terminal"
        if kind == "A":
            self.y = max(0, self.y - int(number))
        elif kind in "JK":
            self.lines[self.y] = self.lines[self.y][:self.x]
            if kind == "J":
                self.lines[self.y + 1:] = []

    @property
    def text(self):
        return [line.rstrip() for line in self.lines if line.strip()]


class Screen(RunScreen):
    """A build under a terminal that can do something."""

    def __init__(self, lighter, dockerfile, *args, size=(24, 80), env=None, **files):
        context = lighter.context({"Dockerfile": dockerfile, **files})
        super().__init__(lighter, *args, str(context), command="build", size=size, env={"TERM": "xterm", **(env or {})})
        self.cols = size[1]

    def left(self):
        """The lines that are on the screen and above it."""
        return Terminal(self.cols).feed(self.text).text


# ---- the live view -------------------------------------------------------------------------------

def test_a_terminal_shows_what_runs_and_keeps_what_ended(lighter):
    screen = Screen(lighter, TWO)
    screen.wait(r"2 running")
    screen.wait(r"  a-2")
    assert screen.end() == 0
    left = screen.left()
    assert sorted(re.sub(r"\d\.\d\d", "N", line) for line in left[:4]) == [
        "[a 2/2] RUN for i in 1 2 3 4 5; do echo a-$i; sleep 0.1; done  RAN N s",
        "[b 2/2] RUN for i in 1 2 3 4 5; do echo b-$i; sleep 0.1; done; echo x >/x  RAN N s",
        "[stage-2 2/3] COPY --from=a /etc/passwd /a  RAN N s", "[stage-2 3/3] COPY --from=b /x /b  RAN N s"], left
    assert left[4] == "1 of 5 steps  HIT"
    assert left[5].startswith("built sha256:") and len(left) == 6
    again = Screen(lighter, TWO)
    assert again.end() == 0
    assert again.left()[0] == "5 of 5 steps  HIT" and len(again.left()) == 2


@pytest.mark.parametrize("cols", [20, 37, 300])
def test_the_width_of_the_terminal_bounds_every_line(lighter, cols):
    screen = Screen(lighter, TWO, size=(10, cols))
    screen.wait(r"running|building")
    assert screen.end() == 0
    for row in re.findall(r"\x1b\[\?7l(.*?)\x1b\[\?7h", screen.text, re.S):
        for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", row).split("\r\n"):
            assert len(line) < cols
    assert screen.left()[-1].startswith("built sha256:")


def test_a_changed_size_is_seen(lighter):
    screen = Screen(lighter, "FROM busybox\nRUN for i in $(seq 20); do echo $i; sleep 0.1; done\n", size=(24, 100))
    screen.wait(r"  5\b")
    screen.resize(24, 40)
    at = len(screen.text)
    screen.wait(r"  15\b")
    assert screen.end() == 0
    rows = re.findall(r"\x1b\[\?7l(.*?)\x1b\[\?7h", screen.text[at + 2000:], re.S)
    assert rows and all(len(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)) < 40 for row in rows for line in row.split("\r\n"))


def test_the_output_of_a_step_cannot_steer_the_terminal(lighter):
    screen = Screen(lighter, "FROM busybox\nRUN printf '\\033]0;t\\007\\033[2J\\033[31mred\\n\\302\\2331m\\rover\\b\\n\\377\\n' && sleep 0.4 && "
                             "printf '\\346\\274\\242 e\\314\\201\\n' && sleep 0.3\n")
    screen.wait(r"  red")
    screen.wait("漢 e\u0301")
    assert screen.end() == 0
    assert "\x07" not in screen.text and "\x1b]" not in screen.text and "\x1b[2J" not in screen.text
    assert not [c for c in screen.text if unicodedata.category(c) == "Cc" and c not in "\r\n\x1b"]
    screen.left()


def test_control_c_leaves_a_clean_screen(lighter):
    screen = Screen(lighter, "FROM busybox\nRUN echo begun; sleep 60\n")
    screen.wait("  begun")
    screen.type("\x03")
    assert screen.end() == 130
    left = screen.left()
    assert left[0] == "[stage-0 2/2] RUN echo begun; sleep 60  CANCELLED", left
    assert left[1:] == ["1 of 2 steps  HIT", "lighter build: stopped by signal 2"]


def test_a_failure_and_warnings_come_last(lighter):
    screen = Screen(lighter, "FROM busybox\nLABEL a=$nothing\nRUN echo words; exit 3\nRUN true\n", size=(40, 120))
    assert screen.end() == 1
    left = screen.left()
    assert re.fullmatch(r"\[stage-0 2/3\] RUN echo words; exit 3  FAILED [\d.]+ s", left[0]), left
    assert left[1:3] == ["1 of 3 steps  HIT", "1 of 3 steps  SKIPPED"]
    assert left[3].startswith("warning: ") and "UndefinedVar" in left[3]
    assert left[4].startswith("lighter build: Dockerfile:3: RUN echo words; exit 3: exit code 3")


def test_the_view_ends_before_a_shell_opens(lighter):
    screen = Screen(lighter, "FROM busybox\nRUN echo last words; false\n", "--on-error=shell")
    screen.wait(r"a shell in this step's root")
    at = len(screen.text)
    screen.type("echo me=$((1+1)); sleep 0.5\n")
    screen.wait(r"\nme=2")
    screen.type("exit\n")
    assert screen.end() == 1
    assert "\x1b[?7l" not in screen.text[at:], "nothing is drawn over the shell"


def test_a_silent_step_shows_that_it_is_alive(lighter):
    screen = Screen(lighter, "FROM busybox\nRUN sleep 1\n")
    screen.wait(r"0\.8s")
    assert screen.end() == 0
    assert len(set(re.findall(r"\b0\.\ds", screen.text))) > 5


def test_what_a_step_waits_for_is_shown(lighter):
    text = "FROM busybox AS a\nRUN --mount=type=cache,id=c,target=/c,sharing=locked sleep 0.7\n" \
           "FROM busybox AS b\nRUN --mount=type=cache,id=c,target=/c,sharing=locked sleep 0.6\n" \
           "FROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n"
    screen = Screen(lighter, text, env={"NO_COLOR": "1"})
    screen.wait("  waiting for cache 'c', which another step has locked|  waiting for a cache that another step has")
    assert screen.end() == 0


@pytest.mark.parametrize("lines", [0, 2])
@pytest.mark.parametrize("name", ["LIGHTER_TTY_LOG_LINES", "BUILDKIT_TTY_LOG_LINES"])
def test_how_many_lines_of_output_are_shown_can_be_set(lighter, name, lines):
    screen = Screen(lighter, "FROM busybox\nRUN seq 101 109; sleep 0.4\n", env={name: str(lines)})
    assert screen.end() == 0
    assert set(re.findall(r"  (10\d)\b", screen.text)) == {0: set(), 2: {"108", "109"}}[lines]


@pytest.mark.parametrize("env, style", [({}, "live"), ({"TERM": "dumb"}, "plain"), ({"TERM": None}, "plain"),
                                        ({"BUILDKIT_PROGRESS": "plain"}, "plain"), ({"BUILDKIT_PROGRESS": "tty"}, "live"),
                                        ({"BUILDKIT_PROGRESS": "json"}, "json")])
def test_the_view_follows_terminal_and_environment(lighter, env, style):
    screen = Screen(lighter, "FROM busybox\nRUN sleep 0.2\n", env=env)
    assert screen.end() == 0
    assert ("\x1b[?7l" in screen.text) == (style == "live")
    assert ("\n[stage-0 2/2] RUN sleep 0.2\r" in screen.text) == (style == "plain")
    assert screen.text.startswith('{"event":') == (style == "json")


@pytest.mark.parametrize("env, color", [({}, "\x1b[34m"), ({"NO_COLOR": "1"}, None), ({"BUILDKIT_COLORS": "run=light-green"}, "\x1b[92m"),
                                        ({"BUILDKIT_COLORS": "run=0,255,0"}, "\x1b[38;5;46m"), ({"BUILDKIT_COLORS": "nonsense"}, "\x1b[34m"),
                                        ({"NO_COLOR": "1", "BUILDKIT_COLORS": "run=green"}, None)])
@pytest.mark.parametrize("style", ["tty", "plain"])
def test_colours_are_the_callers(lighter, env, color, style):
    screen = Screen(lighter, "FROM busybox\nRUN true\n", f"--progress={style}", env=env)
    assert screen.end() == 0
    assert set(re.findall(r"\x1b\[[0-9;]*m", screen.text)) == ({color, "\x1b[0m"} if color else set())


# ---- plain, quiet, none --------------------------------------------------------------------------

def test_plain_has_no_control_bytes_where_there_is_no_terminal(lighter):
    done = lighter.run_in("FROM busybox\nRUN printf '\\033[31mred\\007\\033[0m\\n'; true\n", env={"TERM": "xterm"})
    assert not [c for c in done.stderr if unicodedata.category(c) == "Cc" and c != "\n"]
    assert done.log == ["red"]


def test_a_cached_step_is_a_hit_and_a_step_after_a_failure_is_skipped(lighter):
    failed = lighter.run_in("FROM busybox\nRUN exit 1\nRUN true\n", code=1)
    assert [step.how for step in failed.steps] == ["HIT", "FAILED", "SKIPPED"]


def test_none_says_nothing_but_an_error(lighter):
    assert lighter.run_in("FROM busybox\nLABEL a=$nothing\nRUN true\n", "--progress=none").stderr == ""
    failed = lighter.run_in("FROM busybox\nRUN exit 3\n", "--progress=none", code=1)
    assert failed.stderr.startswith("lighter build: <stdin>:2: RUN exit 3: exit code 3")


def test_quiet_by_the_environment_is_quiet(lighter):
    done = lighter.run_in("FROM busybox\nLABEL a=$nothing\nRUN true\n", env={"BUILDKIT_PROGRESS": "quiet"})
    assert done.stdout == done.id + "\n" and done.stderr == ""


@pytest.mark.parametrize("words, env, said", [
    (["--progress=fancy"], {}, "--progress=fancy: expected auto, tty, plain, quiet, none, json or rawjson"),
    ([], {"BUILDKIT_PROGRESS": "fancy"}, "BUILDKIT_PROGRESS=fancy: expected"),
    (["--progress=tty"], {}, "--progress=tty: stderr is no terminal"),
])
def test_a_view_that_cannot_be_had_is_refused(lighter, words, env, said):
    assert said in lighter.run_in("FROM busybox\n", *words, env=env, code=2).error


def test_an_option_goes_before_the_environment(lighter):
    assert lighter.run_in("FROM busybox\nRUN true\n", "--progress=plain", env={"BUILDKIT_PROGRESS": "json"}).ran


# ---- folded logs ---------------------------------------------------------------------------------

GITHUB, GITLAB = {"GITHUB_ACTIONS": "true"}, {"GITLAB_CI": "true"}


def groups(text):
    """{name: lines} of the groups in a log, balanced and none inside another; and the lines outside."""
    found, outside, open_name = {}, [], None
    for line in text.split("\n"):
        begin = re.match(r"::group::(.*)", line) or re.match(r"\x1b\[0Ksection_start:\d+:([A-Za-z0-9_]+)\r\x1b\[0K", line)
        ends = line == "::endgroup::" or re.match(r"\x1b\[0Ksection_end:\d+:([A-Za-z0-9_]+)\r\x1b\[0K", line)
        if begin:
            assert open_name is None
            open_name = begin.group(1)
            assert open_name not in found
            found[open_name] = []
        elif ends:
            assert open_name is not None and (ends is True or ends.group(1) == open_name)
            open_name = None
        else:
            (outside if open_name is None else found[open_name]).append(line)
    assert open_name is None
    return found, outside


@pytest.mark.parametrize("env", [GITHUB, GITLAB])
def test_a_log_folds_the_output_of_each_step(lighter, env):
    done = lighter.run_in(TWO, env=env)
    found, outside = groups(done.stderr)
    assert sorted(found.values()) == [[f"[{x} 2/2] | {x}-{i}" for i in range(1, 6)] for x in "ab"]
    assert sum(STEP.match(line) is not None for line in outside) == 5
    assert not [line for line in outside if LOG.match(line)]
    assert len(done.ran) == 4 and len(done.log) == 10


@pytest.mark.parametrize("env", [GITHUB, GITLAB])
def test_a_failure_closes_its_group_and_is_told_outside_of_it(lighter, env):
    failed = lighter.run_in("FROM busybox AS a\nRUN echo begun; sleep 20\nFROM busybox AS b\nRUN sleep 0.3; echo last words; exit 3\n"
                            "FROM busybox\nCOPY --from=a /x /\nCOPY --from=b /x /\n", env=env, code=1)
    found, outside = groups(failed.stderr)
    assert sorted(found.values()) == [["[a 2/2] | begun"], ["[b 2/2] | last words"]]
    assert any("exit code 3" in line for line in outside) and "    last words" in outside


def test_a_log_with_nothing_to_fold_has_no_marks(lighter):
    text = "FROM busybox\nRUN true\n"
    lighter.run_in(text, env=GITHUB)
    for text, env in ((text, GITHUB), ("FROM busybox\nRUN echo x\n", {}), ("FROM busybox\nRUN echo y\n", {"GITHUB_ACTIONS": "false"}),
                      ("FROM busybox\nRUN echo z\n", {**GITHUB, "LIGHTER_CI_GROUPS": "0"}), ("FROM busybox\nRUN echo w\n", {**GITLAB, "LIGHTER_CI_GROUPS": "0"})):
        assert not re.search("::group|section_", lighter.run_in(text, env=env).stderr)


# ---- JSON ----------------------------------------------------------------------------------------

def events(result):
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_every_line_of_json_is_an_event(lighter):
    done = lighter.run_in("FROM busybox\nLABEL a=$nothing\nRUN printf 'one\\n\\033two\\n\\377\\346\\274\\242'\n", "--progress=json", tag="named")
    seen = [e for e in events(done) if not e["event"].startswith("task")]
    tasks = [e for e in events(done) if e["event"].startswith("task")]
    begun, over = (sorted(e["text"] for e in tasks if e["event"] == name) for name in ("task", "task-done"))
    assert begun == over and len(begun) == 2 and begun[0].startswith("unpacking layer 1 of 2 of busybox, ")
    assert [e["event"] for e in seen] == ["warning", "build", "step", "start", "log", "log", "log", "step", "note", "done"]
    assert all(isinstance(e["time"], float) for e in seen)
    assert seen[1]["format"] == 1 and seen[1]["steps"] == 2
    assert {k: seen[2][k] for k in ("step", "stage", "title", "kind", "how")} == {
        "step": 1, "stage": "stage-0 1/2", "title": "FROM busybox", "kind": "from", "how": "HIT"}
    assert [e["line"] for e in seen[4:7]] == ["one", "\033two", "\ufffd漢"]
    ran = seen[7]
    assert ran["how"] == "RAN" and ran["seconds"] > 0 and re.fullmatch("sha256:[0-9a-f]{64}", ran["key"])
    end = seen[-1]
    assert end["ok"] is True and end["image"] == done.id and end["exit_code"] == 0
    assert (end["steps"], end["hit"], end["ran"]) == (2, 1, 1) and end["names"] == ["docker.io/library/named:latest"]
    assert done.stdout == ""


def test_a_failure_is_an_event_too(lighter):
    failed = lighter.run_in("FROM busybox\nRUN exit 3\nRUN true\n", "--progress=json", code=1)
    seen = events(failed)
    assert [e["how"] for e in seen if e["event"] == "step"] == ["HIT", "FAILED", "SKIPPED"]
    assert seen[-1]["ok"] is False and seen[-1]["exit_code"] == 1 and "exit code 3" in seen[-1]["error"]
    wrong = events(lighter.run_in("FRO busybox\n", "--progress=json", code=3))
    assert wrong[-1]["event"] == "done" and wrong[-1]["exit_code"] == 3 and "FRO" in wrong[-1]["error"]


def test_a_cancelled_build_says_so_in_json(lighter):
    child = lighter.start("build", "--isolation", lighter.isolation, "--progress=json",
                          lighter.context({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 60\n"}))
    while b'"begun"' not in child.stderr.readline():
        pass
    child.send_signal(signal.SIGINT)
    rest = [json.loads(line) for line in child.stderr.read().splitlines()]
    assert child.wait(10) == 130
    assert rest[-1]["event"] == "done" and rest[-1]["cancelled"] is True and rest[-1]["exit_code"] == 130


def test_a_long_line_in_json_comes_in_pieces(lighter):
    done = lighter.run_in("FROM busybox\nRUN head -c 100000 /dev/zero | tr '\\0' x; echo; echo end\n", "--progress=json")
    logs = [e for e in events(done) if e["event"] == "log"]
    assert "".join(e["line"] for e in logs[:-1]) == "x" * 100000 and logs[-1]["line"] == "end"
    assert all(e.get("cut") for e in logs[:-2]) and not logs[-2].get("cut")


def test_rawjson_is_what_buildkit_writes(lighter):
    done = lighter.run_in("FROM busybox\nLABEL a=$nothing\nRUN printf 'a\\377b'; sleep 0.1\n", "--progress=rawjson")
    status = events(done)
    vertexes, logs = {}, b""
    for one in status:
        assert set(one) <= {"vertexes", "statuses", "logs", "warnings"}
        for v in one.get("vertexes", []):
            vertexes.setdefault(v["digest"], {}).update(v)
        for entry in one.get("logs", []):
            assert entry["vertex"] in vertexes and entry["stream"] == 1
            logs += base64.b64decode(entry["data"])
    assert logs == b"a\377b"
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in vertexes)
    first, second = vertexes.values()
    assert first["name"] == "[stage-0 1/2] FROM busybox" and first["cached"] is True
    assert second["name"].startswith("[stage-0 2/2] RUN printf") and "cached" not in second
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", second["started"]) and second["started"] < second["completed"]
    assert any(b"UndefinedVar" in base64.b64decode(w["short"]) for one in status for w in one.get("warnings", []))


def test_a_failed_vertex_has_an_error_in_rawjson(lighter):
    failed = lighter.run_in("FROM busybox\nRUN exit 3\n", "--progress=rawjson", code=1)
    lines = [line for line in failed.stderr.splitlines() if line.startswith("{")]
    assert any(v.get("error") for line in lines for v in json.loads(line).get("vertexes", []))
    assert "exit code 3" in failed.error
