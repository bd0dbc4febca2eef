"""--trace: where the time of a build went, for trace viewers. Expected form: Trace Event Format, JSON Object Format."""

import json
import time

import pytest

TEXT = """\
FROM busybox AS a
RUN sleep 0.7; echo a >/a
FROM busybox AS b
RUN sleep 0.5; head -c 3000000 /dev/zero >/b
FROM busybox
COPY --from=a /a /a
COPY --from=b /b /b
RUN sleep 0.4
"""


def traced(lighter, text, *words, **options):
    """The spans of a build, and how long it took for who called it."""
    path = lighter.directory() / "trace.json"
    context = lighter.context({"Dockerfile": text})
    began = time.monotonic()
    lighter.build(context, "--trace", path, *words, **options)
    took = time.monotonic() - began
    seen = json.loads(path.read_text())["traceEvents"]
    assert all(e["ph"] in "MX" for e in seen) and len({e["pid"] for e in seen}) == 1
    return [e for e in seen if e["ph"] == "X"], took, {e["tid"]: e["args"]["name"] for e in seen if e["name"] == "thread_name"}


def end(span):
    return span["ts"] + span["dur"]


def children(spans, parent):
    """Spans of the same thread inside another, and inside no smaller one."""
    inside = [s for s in spans if s is not parent and s["tid"] == parent["tid"]
              and s["ts"] >= parent["ts"] - 0.001 and end(s) <= end(parent) + 0.001]
    return [s for s in inside if not any(o is not s and o["ts"] <= s["ts"] and end(s) <= end(o) and o["dur"] > s["dur"] for o in inside)]


def test_the_spans_of_a_build_add_up_to_its_time(lighter):
    spans, took, threads = traced(lighter, TEXT)
    whole = next(s for s in spans if s["name"] == "build")
    assert threads[whole["tid"]] == "builder" and whole["ts"] == 0
    assert 0.95 * took - 0.05 <= whole["dur"] / 1e6 <= took, "a process takes some time to begin and end"
    parts = children(spans, whole)
    assert sum(s["dur"] for s in parts) >= 0.95 * whole["dur"]
    for one, other in zip(parts, parts[1:]):
        assert one is other or end(one) <= other["ts"] + 0.001
    names = {s["name"] for s in spans}
    assert {"parse", "resolve images", "plan", "look up", "run steps", "digests of layers", "keep the image", "keep house"} <= names


def test_the_parts_of_a_step_add_up_to_the_step(lighter):
    spans, _, threads = traced(lighter, TEXT)
    steps = [s for s in spans if s["cat"] == "step"]
    assert len(steps) == 5 and {s["args"]["how"] for s in steps} == {"RAN"}
    assert all(threads[s["tid"]] == "worker" for s in steps)
    for step in [s for s in steps if "RUN" in s["name"]]:
        parts = children(spans, step)
        assert {"look up", "root", "mounts", "what Go is lent", "command", "what Go left", "commit", "record"} == {s["name"] for s in parts}
        assert all(s["args"]["step"] == step["args"]["step"] for s in parts)
        assert 0.95 * step["dur"] <= sum(s["dur"] for s in parts) <= step["dur"] * 1.001
    one, other = [s for s in steps if s["name"].startswith(("[a ", "[b "))]
    assert one["tid"] != other["tid"] and one["ts"] < end(other) and other["ts"] < end(one), "they ran beside each other"


def test_threads_do_one_thing_at_a_time(lighter):
    """What is no part of another span begins after it."""
    spans, _, _ = traced(lighter, TEXT)
    for tid in {s["tid"] for s in spans}:
        mine = sorted((s for s in spans if s["tid"] == tid), key=lambda s: (s["ts"], -s["dur"]))
        open_spans = []
        for span in mine:
            while open_spans and end(open_spans[-1]) <= span["ts"] + 0.001:
                open_spans.pop()
            assert not open_spans or end(span) <= end(open_spans[-1]) + 0.001, (span, open_spans[-1])
            open_spans.append(span)


def test_a_build_of_hits_and_one_that_fails_are_traced_too(lighter):
    lighter.run_in(TEXT)
    spans, _, threads = traced(lighter, TEXT)
    assert list(threads.values()) == ["builder"] and any(s["name"] == "look up" for s in spans)
    spans, _, _ = traced(lighter, "FROM busybox\nRUN echo x; exit 3\n", code=1)
    assert [s["args"]["how"] for s in spans if s["cat"] == "step"] == ["FAILED"]
    spans, _, _ = traced(lighter, "FRO busybox\n", code=3)
    assert any(s["name"] == "build" for s in spans)


def test_a_trace_in_the_context_does_not_disturb_it(lighter):
    context = lighter.context({"Dockerfile": "FROM busybox\nCOPY . /all\nRUN ls /all | grep -c . | sed s/^/files=/\n"})
    done = lighter.build(context, "--trace", context / "trace.json", cwd=context)
    assert done.said("files") == "1" and json.loads((context / "trace.json").read_text())
    assert sorted(path.name for path in context.iterdir()) == ["Dockerfile", "trace.json"]


@pytest.mark.parametrize("path", ["", "/nowhere/trace.json", "."])
def test_a_trace_that_cannot_be_written_is_refused_before_anything_is_built(lighter, path):
    refused = lighter.run_in(TEXT, "--trace", path, code=2)
    assert f"--trace '{path}': no file can be written there" in refused.error and not refused.steps
