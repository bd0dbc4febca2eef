"""Hostile files: contexts that change under a build, images whose files are traps, names and output that are aimed at the
reader, and steps that fill what they can fill. In every mode where that makes a difference.
"""

import subprocess

import pytest

from test_hostile import compiled, lighter_of


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
