"""--on-error=shell: what a failed step left can be looked at where it is; in every mode."""

import os

import pytest

from test_lighter_run import Screen as RunScreen

IS_ROOT = os.geteuid() == 0

DOCKERFILE = """\
FROM busybox
ENV FROM_ENV=yes
WORKDIR /work
RUN echo before >/before
USER 1234
RUN --mount=type=cache,target=/cache,uid=1234 --mount=type=secret,id=s,uid=1234 \\
    echo made >/tmp/made && echo kept >/cache/kept && echo last words && false
"""


@pytest.fixture(params=["root", "rootless", "single", "chroot"])
def lighter(request, lighters, bases):
    if request.param in ("root", "chroot") and not IS_ROOT:
        pytest.skip(f"mode {request.param} needs root")
    return lighters(request.param, bases=[bases("busybox")])


class Screen(RunScreen):
    """A build under a terminal."""

    def __init__(self, lighter, *args, dockerfile=DOCKERFILE):
        context = lighter.context({"Dockerfile": dockerfile, "secret": "hidden"})
        super().__init__(lighter, *args, "--secret", f"id=s,src={context}/secret", str(context), command="build")


def test_a_shell_opens_where_the_step_failed(lighter):
    screen = Screen(lighter, "--on-error=shell")
    screen.wait("last words")
    screen.wait(r"a shell in this step's root")
    screen.type("echo $(pwd) $FROM_ENV $(cat /before /tmp/made /cache/kept /run/secrets/s) $(id -u)-x\n")
    screen.wait(r"\r\n/work yes before made kept hidden 1234-x\r\n[^\n]*[$#] ")
    screen.type("exit 3\n")
    assert screen.end() == 1, "the build failed, whatever the shell says"
    assert "Dockerfile:6: RUN" in screen.text.rpartition("exit 3")[2]


def test_what_the_shell_changes_is_dropped_and_the_next_build_runs_the_step_again(lighter):
    text = "FROM busybox\nRUN echo $(ls /made 2>/dev/null)- && test -e /made\n"
    screen = Screen(lighter, "--on-error=shell", dockerfile=text)
    screen.wait(r"a shell in this step's root")
    screen.type("touch /made; exit\n")
    screen.end()
    assert lighter.leftovers() == []
    again = lighter.build(lighter.context({"Dockerfile": text}), code=1)
    assert again.log == ["-"]


def test_a_build_without_a_terminal_ends_at_the_failure_and_says_so(lighter):
    done = lighter.run_in("FROM busybox\nRUN false\n", "--on-error=shell", code=1)
    assert "--on-error=shell: there is no terminal, so a failure ends the build" in done.stderr


def test_steps_beside_the_failed_one_are_stopped_before_the_shell_opens(lighter):
    text = "FROM busybox AS a\nRUN sleep 60\nFROM busybox AS b\nRUN sleep 0.3; false\nFROM busybox\nCOPY --from=a /x /\nCOPY --from=b /x /\n"
    screen = Screen(lighter, "--on-error=shell", dockerfile=text)
    screen.wait(r"CANCELLED")
    screen.wait(r"a shell in this step's root")
    screen.type("echo me=$((1+1))\n")
    screen.wait("me=2")
    screen.type("exit\n")
    assert screen.end() == 1


def test_the_word_is_checked(lighter):
    assert "--on-error=ask: expected stop or shell" in lighter.run_in("FROM busybox\n", "--on-error=ask", code=2).error
