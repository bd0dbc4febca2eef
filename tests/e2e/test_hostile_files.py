"""Hostile files: contexts that change under a build, images whose files are traps, names and output that are aimed at the
reader, and steps that fill what they can fill. In every mode where that makes a difference.
"""

import json
import re
import subprocess

import pytest

from test_hostile import MODES, compiled, lighter_of


@pytest.fixture
def lighter(request, lighters, bases):
    return lighter_of(getattr(request, "param", None), lighters, bases)


def holding(top, needle):
    """Files below `top` that hold these bytes."""
    done = subprocess.run(["grep", "-rlaF", "-e", needle, top], check=False, stdout=subprocess.PIPE, text=True)
    return done.stdout.split("\n")[:-1]


# ---- contexts that change ------------------------------------------------------------------------

@pytest.mark.parametrize("line", ["COPY d/f /x/", "COPY d/* /x/", "ADD d/f /x/", "RUN --mount=type=bind,source=d/f,target=/x cat /x"])
def test_a_directory_that_becomes_a_link_while_it_is_copied_leads_nowhere_else(lighter, place, line):
    """hostile_swap.c puts the link there before every call and takes it away after it: whatever a look-up has seen is another
    thing when it is opened. What is opened follows no link (tree/view.c)."""
    compiled(place, "hostile_swap", "-shared", "-fPIC", "-ldl")
    context, outside = lighter.context({"d/f": "inside"}), lighter.context({"f": "OUTSIDE-THE-CONTEXT"})
    (context / "link").symlink_to(outside)
    lighter.own(context)
    done = lighter.build(context, dockerfile=f"FROM busybox\n{line}\n", code=None,
                         env={"SWAP": str(context), "LD_PRELOAD": str(place / "hostile_swap")})
    assert done.code in (0, 1, 3)
    assert "OUTSIDE" not in done.stderr and holding(lighter.store, "OUTSIDE-THE") == []


# ---- words that are aimed at the reader ----------------------------------------------------------

STEER = "\x1b]0;owned\x07\x9b2J\x7f"  # the title of a window, and by C1's CSI a cleared screen
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(done):
    """Without control characters, be they bytes of their own or C1's two."""
    for text in (done.stdout, done.stderr):
        assert not CONTROLS.search(text) and "\udc9b" not in text, text
    return done


@pytest.mark.parametrize("text", [
    f"RUN echo {STEER}\n", f"RUN false {STEER}\n", f"COPY {STEER} /\n", f"COPY --chown={STEER} f /\n", f"USER {STEER}\nRUN true\n",
    f"WORKDIR /etc/passwd/{STEER}\n", f"RUN [\"{STEER}\"]\n", f"RUN --mount=type=bind,source={STEER},target=/x true\n",
    f"{STEER} x\n", f"FROM busybox AS {STEER}\n", f"FROM {STEER}\n", f"ADD http://127.0.0.1:1/{STEER} /\n", f"COPY *{STEER} /\n",
    f"ENV A={STEER}\nRUN cd \"$A\"\n", f"RUN <<{STEER}\n", f"# syntax={STEER}\n", f"HEALTHCHECK {STEER}\n",
    "RUN printf '\\033]0;o\\007 \\302\\2332J \\2332J \\177 a\\000b\\n'\n", "RUN printf '\\033]0;o\\007 \\302\\2332J \\2332J \\177 a\\000b'; false\n",
])
def test_no_word_of_a_dockerfile_or_a_step_steers_the_terminal(lighter, text):
    """buf_shown() is what everything goes through: titles, output, the last lines of a failure, warnings, the message."""
    clean(lighter.run_in(("" if text.startswith("#") else "FROM busybox\n") + text, "--no-cache", files={"f": ""}, code=None))


def test_no_name_of_a_file_steers_the_terminal(lighter):
    context = lighter.context({STEER: "x", "d/" + STEER: "y", ".dockerignore": f"d/*{STEER}*\n"})
    clean(lighter.build(context, dockerfile=f"FROM busybox\nCOPY {STEER} /{STEER}\nRUN ls /{STEER}*; cat /{STEER}/x\n", code=1))
    clean(lighter.build(context, dockerfile=f"FROM busybox\nCOPY d/{STEER} /\n", code=3))
    clean(lighter("context", "ls", "--why", "d/" + STEER, context))
    clean(lighter("context", "ls", context))


def test_what_the_store_remembers_steers_no_terminal(lighter):
    lighter.run_in(f"FROM busybox\nRUN true '{STEER}' && echo x >/x\n", tag="t")
    clean(lighter("du", "--verbose"))
    clean(lighter("prune", "--all", "--dry-run"))
    clean(lighter("prune", "--all", "--force"))


@pytest.mark.parametrize("lighter", MODES, indirect=True)
def test_what_an_image_asks_to_be_executed_steers_no_terminal(lighter):
    lighter.run_in(f"FROM busybox\nENTRYPOINT {json.dumps(['/bin/' + STEER])}\nUSER 1\n", tag="t")
    assert "exec '/bin/" in clean(lighter.run("t", code=127)).stderr
    lighter.run_in(f"FROM busybox\nUSER {STEER}\n", tag="t")
    assert "owned" in clean(lighter.run("t", "true", code=None)).stderr
